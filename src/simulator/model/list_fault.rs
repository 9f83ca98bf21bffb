//! Faults of reads: entries that are missing, pages that do not fit together, and entries with other fields.

use std::collections::{BTreeMap, BTreeSet};
use std::slice;

use serde_json::{Value, json};

use super::checkpoint::ProgressData;
use super::plan::PlanView;

/// The fault of a read; the default is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListFault {
    hidden: Selection,
    /// Whether the total of a list counts the hidden entries.
    counted: bool,
    /// The number of entries that no page shows, for each page after the first.
    shift: usize,
    /// The entries whose status is replaced.
    with_status: Selection,
    /// The status that replaces theirs.
    status: String,
    /// The checkpoints whose progress has no timestamps.
    without_timestamps: Selection,
    /// The checkpoints that have no times of observation.
    without_fetch_times: Selection,
    /// The topics that the lag of a consumer group lacks.
    without_topics: Selection,
    /// Time of observation and progress that checkpoints show instead of their own, by side and ID.
    frozen: BTreeMap<(&'static str, String), (i64, Option<ProgressData>)>,
}

/// The names of both sides of a checkpoint.
const SIDES: [&str; 2] = ["sourceProgress", "targetProgress"];

/// The entries that a fault affects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Selection {
    #[default]
    None,
    /// Those with these IDs.
    Some(BTreeSet<String>),
    All,
}

impl Selection {
    /// The entries with these IDs, or all entries if there are none.
    fn of(ids: &[String]) -> Selection {
        if ids.is_empty() { Selection::All } else { Selection::Some(ids.iter().cloned().collect()) }
    }

    fn contains(&self, id: &str) -> bool {
        match self {
            Selection::None => false,
            Selection::Some(ids) => ids.contains(id),
            Selection::All => true,
        }
    }
}

impl ListFault {
    /// Entries with these IDs are missing, or all entries if there are none. `counted`: the total counts them.
    pub fn gap(ids: &[String], counted: bool) -> ListFault {
        ListFault { hidden: Selection::of(ids), counted, ..ListFault::default() }
    }

    /// Each page after the first begins so many entries later than the page before it ended.
    pub fn shifted_pages(by: u32) -> ListFault {
        ListFault { shift: usize::try_from(by).unwrap_or(usize::MAX), ..ListFault::default() }
    }

    /// Entries with these IDs have this status, or all entries if there are none.
    pub fn unknown_status(ids: &[String], status: &str) -> ListFault {
        ListFault { with_status: Selection::of(ids), status: status.to_owned(), ..ListFault::default() }
    }

    /// Checkpoints with these IDs have no timestamps of progress, or all checkpoints if there are none.
    pub fn without_timestamps(ids: &[String]) -> ListFault {
        ListFault { without_timestamps: Selection::of(ids), ..ListFault::default() }
    }

    /// Checkpoints with these IDs have no times of observation, or all checkpoints if there are none.
    pub fn without_fetch_times(ids: &[String]) -> ListFault {
        ListFault { without_fetch_times: Selection::of(ids), ..ListFault::default() }
    }

    /// The lag of a consumer group lacks these topics, or all topics if there are none.
    pub fn without_topics(names: &[String]) -> ListFault {
        ListFault { without_topics: Selection::of(names), ..ListFault::default() }
    }

    /// Checkpoints with these IDs have the progress that they have in a past state, or all checkpoints of that state if
    /// there are no IDs.
    pub fn frozen_progress(ids: &[String], past: Vec<PlanView>) -> ListFault {
        let selection = Selection::of(ids);
        let mut frozen = BTreeMap::new();
        for view in past.into_iter().flat_map(|plan| plan.items).flat_map(|item| item.checkpoints) {
            let id = view.checkpoint_id.to_string();
            if !selection.contains(&id) {
                continue;
            }
            for (name, side) in SIDES.into_iter().zip([view.source_progress, view.target_progress]) {
                frozen.insert((name, id.clone()), (side.last_fetch_time, side.progress_data));
            }
        }
        ListFault { frozen, ..ListFault::default() }
    }

    /// Whether the read shows nothing of this resource.
    pub(in super::super) fn hides(&self, id: &str) -> bool {
        self.hidden.contains(id)
    }

    /// Whether the read shows no entry at all.
    pub(in super::super) fn hides_everything(&self) -> bool {
        self.hidden == Selection::All
    }

    /// Replaces the status of the affected entries in an answer: one entry or a list of them. `id` and `status` are the
    /// names of their fields.
    pub(in super::super) fn replace_status(&self, shown: &mut Value, (id, status): (&str, &str)) {
        for entry in entries(shown) {
            if self.with_status.contains(&id_text(&entry[id])) {
                entry[status] = json!(self.status);
            }
        }
    }

    /// Replaces or removes the progress of the affected checkpoints of a list.
    pub(in super::super) fn replace_progress(&self, shown: &mut Value) {
        for checkpoint in entries(shown) {
            let id = id_text(&checkpoint["checkpointId"]);
            for name in SIDES {
                let Some(Value::Object(side)) = checkpoint.get_mut(name) else { continue };
                if let Some((fetched, progress)) = self.frozen.get(&(name, id.clone())) {
                    side.insert("lastFetchTime".to_owned(), json!(fetched));
                    side.remove("progressData");
                    side.extend(progress.iter().map(|progress| ("progressData".to_owned(), json!(progress))));
                }
                if self.without_fetch_times.contains(&id) {
                    side.remove("lastFetchTime");
                }
                if self.without_timestamps.contains(&id)
                    && let Some(Value::Object(progress)) = side.get_mut("progressData")
                {
                    progress.remove("consumeTimestamp");
                }
            }
        }
    }

    /// Removes the affected topics from the lags of topics.
    pub(in super::super) fn remove_topics(&self, lags: &mut Value) {
        if let Value::Object(lags) = lags {
            lags.retain(|topic, _| !self.without_topics.contains(topic));
        }
    }

    /// The entries that a list shows, and its total.
    pub(super) fn shown<T>(&self, mut all: Vec<(String, T)>) -> (Vec<(String, T)>, usize) {
        let complete = all.len();
        all.retain(|(id, _)| !self.hides(id));
        let total = if self.counted { complete } else { all.len() };
        (all, total)
    }

    /// The number of entries that no page showed before the page with this index, from 0.
    pub(super) fn skipped(&self, page: usize) -> usize {
        self.shift.saturating_mul(page)
    }
}

/// The entries of a list, or the single entry.
fn entries(shown: &mut Value) -> &mut [Value] {
    match shown {
        Value::Array(list) => list,
        entry => slice::from_mut(entry),
    }
}

/// The text of an ID, which is a number in RocketMQ.
fn id_text(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}
