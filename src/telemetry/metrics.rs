//! Metrics in OpenMetrics text, in base units. The name of every family starts with `disaster_recovery_`.

mod cloud;
mod conditions;
mod disk_groups;
mod family;
mod groups;
mod mappings;
mod measurements;
mod records;
mod reference;
mod rows;
mod scrape;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::hash::Hash;
use std::mem::replace;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use self::cloud::Cloud;
use self::disk_groups::DiskNumbers;
pub use self::disk_groups::{DrillMeasures, GroupMeasures};
pub use self::groups::ConsumerGroupLag;
pub use self::mappings::{MappingMeasures, MessageBacklog, SyncRound};
pub use self::measurements::Measurements;
use self::records::{Key, Records};
pub use self::reference::reference;
use self::rows::{Rows, Shared};
pub use self::scrape::Scrape;
use crate::cloud::client::Finished;
use crate::cloud::rate_limit::RateLimit;

/// Prefix of every family.
const PREFIX: &str = "disaster_recovery";
/// Kind of [`Metrics::lags`].
pub const PLAN: &str = "DisasterRecoveryPlan";
/// Kind of [`Metrics::disk_group`].
pub const DISK_GROUP: &str = "DiskReplicaGroup";
/// Kind of [`Metrics::credentials`].
pub const ACCOUNT: &str = "AlibabaCloudAccount";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    kind: String,
    result: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: String,
}

/// The numbers of one object. Parts that can be large are shared with a scrape in progress.
#[derive(Clone, Debug, Default)]
struct Record {
    conditions: Rows,
    evidence: Rows,
    mappings: Rows,
    groups: Rows,
    /// Number of consumer groups that count for this object.
    group_count: usize,
    /// None for kinds without drift.
    drift_corrections: Option<u32>,
    /// Recovery point objective, in seconds.
    objective: Option<f64>,
    /// Expiry of temporary credentials.
    credentials: Option<Timestamp>,
    disks: Option<Arc<DiskNumbers>>,
}

/// All metrics of the process. The series of objects are built from their records at a scrape.
pub struct Metrics {
    records: Records,
    shared_conditions: Mutex<Shared>,
    group_metrics: bool,
    registry: Registry,
    cloud: Cloud,
    reconciles: Family<ReconcileLabels, Counter>,
    reconcile_seconds: Family<KindLabels, Histogram>,
    leader: Gauge,
    unreadable: Family<KindLabels, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn durations() -> Histogram {
    Histogram::new([0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0])
}

/// The last item with each label set, because OpenMetrics forbids a second sample with it.
fn last_of_each<'a, T, L: Eq + Hash>(items: &'a [T], labels: impl Fn(&'a T) -> L) -> Vec<&'a T> {
    let mut found = HashSet::with_capacity(items.len());
    let mut last: Vec<_> = items.iter().rev().filter(|item| found.insert(labels(item))).collect();
    last.reverse();
    last
}

impl Metrics {
    /// Registers every family that is not of objects. The registry appends a full stop to each help text; the reference of metrics uses
    /// these texts.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let reconciles = Family::default();
        let reconcile_seconds = Family::<KindLabels, Histogram>::new_with_constructor(durations as fn() -> Histogram);
        let (leader, unreadable) = (Gauge::default(), Family::default());
        let help = "1 while this process leads, else 0; always 1 without leader election";
        registry.register("leader", help, leader.clone());
        let help = "How many objects of a kind the operator cannot read and does nothing for; every process that runs \
            counts them, whether it leads or not";
        registry.register("unreadable_objects", help, Family::clone(&unreadable));
        let build = Family::<BuildLabels, Gauge>::default();
        build.get_or_create(&BuildLabels { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build_info", "1; the label has the version of the program", build);
        let help = "How many passes over objects of a kind ended, by result: success, error where the \
            Kubernetes API failed or the object was changed meanwhile, or panic for a defect of the program; \
            failures of the cloud are in the conditions";
        registry.register("reconciliations", help, Family::clone(&reconciles));
        let help = "How long passes over objects of a kind took";
        registry.register_with_unit("reconciliation_duration", help, Unit::Seconds, reconcile_seconds.clone());
        let cloud = Cloud::register(&mut registry);
        Self {
            records: Records::default(),
            shared_conditions: Mutex::default(),
            group_metrics: true,
            registry,
            cloud,
            reconciles,
            reconcile_seconds,
            leader,
            unreadable,
        }
    }

    /// Sets whether consumer groups have series of their own. They do by default.
    pub fn with_group_metrics(mut self, group_metrics: bool) -> Self {
        self.group_metrics = group_metrics;
        self
    }

    /// Encodes all metrics as OpenMetrics text.
    pub fn text(&self) -> String {
        self.scrape().collect()
    }

    /// Encodes all metrics as OpenMetrics text in pieces. Each object has the numbers of this time in all of them.
    pub fn scrape(&self) -> Scrape {
        let mut rest = String::new();
        // Writing to a string cannot fail.
        text::encode(&mut rest, &self.registry).unwrap_or_default();
        let families = conditions::FAMILIES.iter().chain(&groups::FAMILIES).chain(&mappings::FAMILIES);
        let families = families.chain(&disk_groups::FAMILIES).chain(&conditions::CREDENTIALS);
        Scrape::new(self.records.snapshot(), families.collect(), rest)
    }

    /// Counts a request to the cloud.
    pub fn requested(&self, finished: &Finished<'_>) {
        self.cloud.requested(finished);
    }

    /// Exports the use of a rate limit, and of those created from it, from now on.
    pub fn budget(&self, rate_limit: Arc<RateLimit>) {
        self.cloud.rate_limits.watch(rate_limit);
    }

    /// Exports whether this process leads: false by default, true without leader election.
    pub fn leading(&self, leading: bool) {
        self.leader.set(i64::from(leading));
    }

    /// Adds to the number of objects of a kind that do not parse. The series begins with the first call.
    pub fn unreadable(&self, kind: &str, change: i64) {
        self.unreadable.get_or_create(&KindLabels { kind: kind.into() }).inc_by(change);
    }

    /// Counts a reconcile and its duration.
    pub fn reconciled(&self, kind: &str, result: &str, duration: Duration) {
        self.reconciles.get_or_create(&ReconcileLabels { kind: kind.into(), result: result.into() }).inc();
        self.reconcile_seconds.get_or_create(&KindLabels { kind: kind.into() }).observe(duration.as_secs_f64());
    }

    /// Exports the conditions of an object and removes its former ones.
    pub fn conditions(&self, kind: &'static str, namespace: &str, name: &str, conditions: &[Condition]) {
        let conditions = conditions::pack(conditions);
        let conditions = self.shared_conditions.lock().unwrap_or_else(PoisonError::into_inner).share(conditions);
        self.records.update(Key::new(kind, namespace, name), |record| {
            if kind != ACCOUNT {
                // A query finds an increase only in a series that exists before it.
                record.drift_corrections.get_or_insert_default();
            }
            replace(&mut record.conditions, conditions)
        });
    }

    /// Exports the expiry of the evidence of an object's conditions, and removes the former ones.
    pub fn evidence(&self, kind: &'static str, namespace: &str, name: &str, expiries: &[(&str, Timestamp)]) {
        let evidence = conditions::pack_evidence(expiries);
        let key = Key::new(kind, namespace, name);
        self.records.update(key, |record| replace(&mut record.evidence, evidence));
    }

    /// Exports the exact numbers of a plan's mappings, and removes former ones.
    pub fn mappings(&self, namespace: &str, name: &str, measures: &MappingMeasures) {
        let mappings = mappings::pack(measures);
        let key = Key::new(PLAN, namespace, name);
        self.records.update(key, |record| replace(&mut record.mappings, mappings));
    }

    /// Counts a correction of drift.
    pub fn drift_corrected(&self, kind: &'static str, namespace: &str, name: &str) {
        self.records.update(Key::new(kind, namespace, name), |record| {
            record.drift_corrections = Some(record.drift_corrections.unwrap_or_default().saturating_add(1));
        });
    }

    /// Exports the exact lags of a plan, removes its former ones, and exports its objective in milliseconds.
    pub fn lags(&self, namespace: &str, name: &str, lags: &[ConsumerGroupLag], objective_ms: i64) {
        let key = Key::new(PLAN, namespace, name);
        let lags = if self.group_metrics { groups::distinct(lags) } else { vec![] };
        let count = self.records.reserve_groups(key.clone(), lags.len().min(groups::MAX_GROUPS));
        let groups = groups::pack(lags, count);
        self.records.update(key, |record| {
            (record.group_count, record.objective) = (count, Some(family::seconds(objective_ms)));
            replace(&mut record.groups, groups)
        });
    }

    /// Exports the measures of a disk group and removes its former ones. Without measures, the series of its present state
    /// are removed; the objective and the results of the last failover and drill stay.
    pub fn disk_group(&self, namespace: &str, name: &str, measures: Option<&GroupMeasures>) {
        self.records.update(Key::new(DISK_GROUP, namespace, name), |record| {
            if let Some(measures) = measures {
                record.objective = Some(measures.objective_seconds);
            }
            Arc::make_mut(record.disks.get_or_insert_default()).replace(measures);
        });
    }

    /// Exports the time of a disk group's next drill, in seconds since 1970 UTC, or removes it.
    pub fn drill_due(&self, namespace: &str, name: &str, due: Option<f64>) {
        self.records.update(Key::new(DISK_GROUP, namespace, name), |record| {
            Arc::make_mut(record.disks.get_or_insert_default()).drill_due = due;
        });
    }

    /// Exports the expiry of an account's temporary credentials, or removes it.
    pub fn credentials(&self, namespace: &str, name: &str, expires: Option<Timestamp>) {
        self.records.update(Key::new(ACCOUNT, namespace, name), |record| record.credentials = expires);
    }

    /// Removes every series of an object.
    pub fn forget(&self, kind: &'static str, namespace: &str, name: &str) {
        self.records.remove(&Key::new(kind, namespace, name));
    }
}
