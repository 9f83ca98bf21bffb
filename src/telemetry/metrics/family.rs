//! Families of series that are built from the records of objects at a scrape.

use std::fmt;

use prometheus_client::encoding::{EncodeGaugeValue, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::Record;

/// Name and value of a label.
pub(super) type Label<'a> = (&'static str, &'a str);

/// An object that has series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Object<'a> {
    pub(super) kind: &'static str,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

impl<'a> Object<'a> {
    pub(super) fn labels(&self) -> [Label<'a>; 2] {
        [("namespace", self.namespace), ("name", self.name)]
    }

    pub(super) fn labels_with_kind(&self) -> [Label<'a>; 3] {
        [("kind", self.kind), ("namespace", self.namespace), ("name", self.name)]
    }
}

/// Writes the samples that an object has in a family.
type Write = fn(&Object<'_>, &Record, &mut Samples<'_>) -> fmt::Result;

/// A family. An object may have any number of series in it.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) unit: Option<Unit>,
    pub(super) metric_type: MetricType,
    pub(super) write: Write,
}

impl Family {
    pub(super) const fn gauge(name: &'static str, help: &'static str, write: Write) -> Self {
        Self { name, help, unit: None, metric_type: MetricType::Gauge, write }
    }

    pub(super) const fn seconds(name: &'static str, help: &'static str, write: Write) -> Self {
        Self { name, help, unit: Some(Unit::Seconds), metric_type: MetricType::Gauge, write }
    }

    pub(super) const fn counter(name: &'static str, help: &'static str, write: Write) -> Self {
        Self { name, help, unit: None, metric_type: MetricType::Counter, write }
    }
}

/// Samples of one family.
pub(super) struct Samples<'a> {
    family: MetricEncoder<'a>,
    count: usize,
}

impl<'a> Samples<'a> {
    pub(super) fn new(family: MetricEncoder<'a>) -> Self {
        Self { family, count: 0 }
    }

    /// Number of samples that were added.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Adds a sample of a gauge. Its labels are those of the object and those of the series.
    pub(super) fn gauge(
        &mut self,
        object: &[Label<'_>],
        labels: &[Label<'_>],
        value: impl EncodeGaugeValue,
    ) -> fmt::Result {
        self.add(object, labels, &ConstGauge::new(value))
    }

    /// Adds the only sample of an object, if there is a value.
    pub(super) fn optional(&mut self, object: &[Label<'_>], value: Option<impl EncodeGaugeValue>) -> fmt::Result {
        value.map_or(Ok(()), |value| self.gauge(object, &[], value))
    }

    /// Adds a sample of a counter.
    pub(super) fn counter(&mut self, object: &[Label<'_>], value: u64) -> fmt::Result {
        self.add(object, &[], &ConstCounter::new(value))
    }

    fn add(&mut self, object: &[Label<'_>], labels: &[Label<'_>], metric: &impl EncodeMetric) -> fmt::Result {
        self.count += 1;
        metric.encode(self.family.encode_family(&(object, labels))?)
    }
}

/// Milliseconds in seconds.
pub(super) fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}
