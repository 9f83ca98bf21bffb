//! The text of a scrape, in pieces: that of ten thousand plans is some fifty megabytes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;

use super::family::{Family, Samples};
use super::records::Snapshot;

/// Number of samples after which a piece ends with the object.
const PIECE_SAMPLES: usize = 256;

/// The text of a scrape as pieces of some kilobytes, each encoded when it is requested.
pub struct Scrape {
    records: Arc<Snapshot>,
    families: Vec<&'static Family>,
    /// The family and the record at which the next piece begins.
    family: usize,
    record: usize,
    /// Whether former pieces have samples of this family.
    has_samples: bool,
    /// Text after these families.
    rest: Option<String>,
}

impl Scrape {
    pub(super) fn new(records: Snapshot, families: Vec<&'static Family>, rest: String) -> Self {
        let (records, rest) = (Arc::new(records), Some(rest));
        Self { records, families, family: 0, record: 0, has_samples: false, rest }
    }
}

impl Iterator for Scrape {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        while let Some(family) = self.families.get(self.family) {
            let (text, end) = piece(&self.records, self.record, family);
            let samples = samples(&text);
            let piece = match (samples.is_empty(), self.has_samples) {
                (true, _) => None,
                (false, true) => Some(samples.to_owned()),
                (false, false) => Some(text),
            };
            (self.record, self.has_samples) = (end, true);
            if end == self.records.len() {
                (self.family, self.record, self.has_samples) = (self.family + 1, 0, false);
            }
            if piece.is_some() {
                return piece;
            }
        }
        self.rest.take()
    }
}

/// Samples of a family from a record on, after the description of the family.
#[derive(Debug)]
struct Piece {
    records: Arc<Snapshot>,
    from: usize,
    end: AtomicUsize,
    family: &'static Family,
}

impl Collector for Piece {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Family { name, help, unit, metric_type, write } = self.family;
        let encoder = encoder.encode_descriptor(name, help, unit.as_ref(), *metric_type)?;
        let (mut samples, mut end) = (Samples::new(encoder), self.from);
        for (key, record) in self.records.iter().skip(self.from) {
            if samples.count() >= PIECE_SAMPLES {
                break;
            }
            write(&key.object(), record, &mut samples)?;
            end += 1;
        }
        self.end.store(end, Ordering::Relaxed);
        Ok(())
    }
}

/// Encodes a family from a record on, and returns the record after the last encoded one.
fn piece(records: &Arc<Snapshot>, from: usize, family: &'static Family) -> (String, usize) {
    let end = AtomicUsize::new(records.len());
    let piece = Arc::new(Piece { records: records.clone(), from, end, family });
    let mut registry = Registry::with_prefix(super::PREFIX);
    registry.register_collector(Box::new(piece.clone()));
    let mut text = String::new();
    // Writing to a string cannot fail.
    text::encode_registry(&mut text, &registry).unwrap_or_default();
    (text, piece.end.load(Ordering::Relaxed))
}

/// The text after the description of its family.
fn samples(text: &str) -> &str {
    let mut rest = text;
    while rest.starts_with('#') {
        rest = rest.split_once('\n').map_or("", |it| it.1);
    }
    rest
}
