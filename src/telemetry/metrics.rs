//! Metrics in OpenMetrics text, in base units. The name of every family starts with `disaster_recovery_`.

mod cloud;
mod disk_groups;
mod mappings;
mod measurements;
mod reference;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
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
use self::disk_groups::{DiskGroups, DiskSeries};
pub use self::disk_groups::{DrillMeasures, GroupMeasures};
pub use self::mappings::{MappingMeasures, MessageBacklog, SyncRound};
use self::mappings::{MappingSeries, Mappings};
pub use self::measurements::Measurements;
pub use self::reference::reference;
use crate::cloud::client::Finished;
use crate::cloud::rate_limit::RateLimit;

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
struct KindLabels {
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Object {
    namespace: String,
    name: String,
}

/// Labels of one object. Objects of different kinds may share a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindObject {
    kind: String,
    namespace: String,
    name: String,
}

impl KindObject {
    fn new(kind: &str, namespace: &str, name: &str) -> Self {
        Self { kind: kind.into(), namespace: namespace.into(), name: name.into() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConditionLabels {
    kind: String,
    namespace: String,
    name: String,
    r#type: String,
    status: String,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EvidenceLabels {
    kind: String,
    namespace: String,
    name: String,
    r#type: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Group {
    namespace: String,
    name: String,
    mapping: String,
    source_instance: String,
    topic: String,
    consumer_group: String,
}

type Seconds = Gauge<f64, AtomicU64>;

/// Lag of one consumer group and topic of one mapping of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerGroupLag {
    /// Name of the mapping.
    pub mapping: String,
    /// ID of the instance that the progress comes from.
    pub source_instance: String,
    /// Consumer group.
    pub group: String,
    /// Topic on the source.
    pub topic: String,
    /// Time that the destination is behind the source, in milliseconds. None if it was never synchronized.
    pub lag_ms: Option<i64>,
    /// Time of the last synchronization, in milliseconds since 1970 UTC.
    pub last_sync_ms: Option<i64>,
}

/// Series of one object, removed together with it.
#[derive(Default)]
struct Series {
    conditions: Vec<ConditionLabels>,
    evidence: Vec<EvidenceLabels>,
    mappings: MappingSeries,
    groups: Vec<Group>,
    disks: DiskSeries,
}

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    cloud: Cloud,
    reconciles: Family<ReconcileLabels, Counter>,
    reconcile_seconds: Family<KindLabels, Histogram>,
    conditions: Family<ConditionLabels, Gauge>,
    evidence: Family<EvidenceLabels, Seconds>,
    mappings: Mappings,
    drift_corrections: Family<KindObject, Counter>,
    lag: Family<Group, Seconds>,
    never_synced: Family<Group, Gauge>,
    last_sync: Family<Group, Seconds>,
    objective: Family<KindObject, Seconds>,
    credentials: Family<Object, Seconds>,
    leader: Gauge,
    unreadable: Family<KindLabels, Gauge>,
    disk_groups: DiskGroups,
    series: Mutex<HashMap<KindObject, Series>>,
}

/// Maximum number of consumer groups of one plan with series of their own.
const MAX_GROUPS: usize = 2000;

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn durations() -> Histogram {
    Histogram::new([0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

impl Metrics {
    /// Registers every family. The registry appends a full stop to each help text; the reference of metrics uses these texts.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("disaster_recovery");
        let reconciles = Family::default();
        let reconcile_seconds = Family::<KindLabels, Histogram>::new_with_constructor(durations as fn() -> Histogram);
        let (conditions, drift_corrections, objective) = (Family::default(), Family::default(), Family::default());
        let (lag, never_synced, last_sync) = (Family::default(), Family::default(), Family::default());
        let evidence = Family::default();
        let (credentials, leader, unreadable) = (Family::default(), Gauge::default(), Family::default());

        let help = "1 for the status and the reason that a condition of an object has; its other statuses and \
            reasons have no series";
        registry.register("condition_status", help, Family::clone(&conditions));
        let help = "When the evidence ends that a condition rests on, in seconds since 1970 UTC; in the past while the condition \
            is Unknown for lack of a recent observation; no series for a condition that rests on none";
        registry.register_with_unit("evidence_expiration_timestamp", help, Unit::Seconds, Family::clone(&evidence));
        let help = "How often somebody else changed what an object describes in the cloud and the operator \
            corrected it; 0 from the first pass on";
        registry.register("drift_corrections", help, Family::clone(&drift_corrections));
        let help = "What spec.recoveryPointObjective says: the lag or age above which an object is not protected";
        registry.register_with_unit("recovery_point_objective", help, Unit::Seconds, Family::clone(&objective));
        let help = "How far the progress of a consumer group at the destination was behind the source when it was sampled, exactly; \
            no series for one that was never synchronized";
        registry.register_with_unit("checkpoint_lag", help, Unit::Seconds, Family::clone(&lag));
        let help = "1 for a consumer group whose progress was never synchronized, else 0";
        registry.register("checkpoint_never_synced", help, Family::clone(&never_synced));
        let help = "When the progress of a consumer group was last synchronized, in seconds since 1970 UTC";
        registry.register_with_unit("checkpoint_last_sync_timestamp", help, Unit::Seconds, Family::clone(&last_sync));
        let mappings = Mappings::register(&mut registry);
        let disk_groups = DiskGroups::register(&mut registry);
        let help = "When the temporary credentials of an account end, in seconds since 1970 UTC; they are \
            renewed before; no series for a permanent key, nor while there are none";
        registry.register_with_unit(
            "credentials_expiration_timestamp",
            help,
            Unit::Seconds,
            Family::clone(&credentials),
        );
        let help = "1 while this process leads, else 0; always 1 without leader election";
        registry.register("leader", help, leader.clone());
        let help = "How many objects of a kind the operator cannot read and does nothing for; every process that runs \
            counts them, whether it leads or not";
        registry.register("unreadable_objects", help, Family::clone(&unreadable));
        let help = "How many passes over objects of a kind ended, by result: success, or error where the \
            Kubernetes API failed or the object was changed meanwhile; failures of the cloud are in the \
            conditions";
        registry.register("reconciliations", help, Family::clone(&reconciles));
        let help = "How long passes over objects of a kind took";
        registry.register_with_unit("reconciliation_duration", help, Unit::Seconds, reconcile_seconds.clone());
        let cloud = Cloud::register(&mut registry);
        Self {
            registry,
            cloud,
            reconciles,
            reconcile_seconds,
            conditions,
            evidence,
            mappings,
            drift_corrections,
            lag,
            never_synced,
            last_sync,
            objective,
            credentials,
            leader,
            unreadable,
            disk_groups,
            series: Mutex::default(),
        }
    }

    /// Encodes all metrics as OpenMetrics text.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        text::encode(&mut out, &self.registry).unwrap_or_default();
        out
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

    fn with_series(&self, object: KindObject, with: impl FnOnce(&mut Series)) {
        let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        with(all.entry(object).or_default());
    }

    /// Exports the conditions of an object and removes its former ones.
    pub fn conditions(&self, kind: &str, namespace: &str, name: &str, conditions: &[Condition]) {
        let labels = |it: &Condition| ConditionLabels {
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
            r#type: it.type_.clone(),
            status: it.status.clone(),
            reason: it.reason.clone(),
        };
        let new: Vec<_> = conditions.iter().map(labels).collect();
        let object = KindObject::new(kind, namespace, name);
        if kind != ACCOUNT {
            // A query finds an increase only in a series that exists before it.
            self.drift_corrections.get_or_create(&object).inc_by(0);
        }
        self.with_series(object, |series| {
            // A scrape during the change finds both series rather than none, because a gap would restart an alert.
            for labels in &new {
                self.conditions.get_or_create(labels).set(1);
            }
            for old in series.conditions.iter().filter(|old| !new.contains(old)) {
                self.conditions.remove(old);
            }
            series.conditions = new;
        });
    }

    /// Exports the expiry of the evidence of an object's conditions, and removes the former ones.
    pub fn evidence(&self, kind: &str, namespace: &str, name: &str, expiries: &[(&str, Timestamp)]) {
        let labels = |condition_type: &str| EvidenceLabels {
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
            r#type: condition_type.into(),
        };
        let new: Vec<_> = expiries.iter().map(|(condition_type, _)| labels(condition_type)).collect();
        self.with_series(KindObject::new(kind, namespace, name), |series| {
            for (labels, (_, at)) in new.iter().zip(expiries) {
                self.evidence.get_or_create(labels).set(at.as_millisecond() as f64 / 1000.0);
            }
            for old in series.evidence.iter().filter(|old| !new.contains(old)) {
                self.evidence.remove(old);
            }
            series.evidence = new;
        });
    }

    /// Exports the exact numbers of a plan's mappings, and removes former ones.
    pub fn mappings(&self, namespace: &str, name: &str, measures: &MappingMeasures) {
        self.with_series(KindObject::new(PLAN, namespace, name), |series| {
            self.mappings.export(namespace, name, &mut series.mappings, measures);
        });
    }

    /// Counts a correction of drift.
    pub fn drift_corrected(&self, kind: &str, namespace: &str, name: &str) {
        self.drift_corrections.get_or_create(&KindObject::new(kind, namespace, name)).inc();
    }

    /// Exports the exact lags of a plan, removes its former ones, and exports its objective in milliseconds.
    pub fn lags(&self, namespace: &str, name: &str, lags: &[ConsumerGroupLag], objective_ms: i64) {
        let labels = |lag: &ConsumerGroupLag| Group {
            namespace: namespace.into(),
            name: name.into(),
            mapping: lag.mapping.clone(),
            source_instance: lag.source_instance.clone(),
            topic: lag.topic.clone(),
            consumer_group: lag.group.clone(),
        };
        let seconds = |ms: i64| ms as f64 / 1000.0;
        let mut lags: Vec<_> = lags.iter().collect();
        if lags.len() > MAX_GROUPS {
            // Keeps the groups that were never synchronized, then those with the largest lag.
            lags.sort_by_key(|lag| std::cmp::Reverse(lag.lag_ms.unwrap_or(i64::MAX)));
            lags.truncate(MAX_GROUPS);
        }
        let object = KindObject::new(PLAN, namespace, name);
        self.objective.get_or_create(&object).set(seconds(objective_ms));
        self.with_series(object, |series| {
            let new: Vec<_> = lags.iter().map(|lag| labels(lag)).collect();
            for old in series.groups.iter().filter(|old| !new.contains(old)) {
                self.remove_group(old);
            }
            for (labels, lag) in new.iter().zip(&lags) {
                self.never_synced.get_or_create(labels).set(i64::from(lag.last_sync_ms.is_none()));
                if let Some(ms) = lag.lag_ms {
                    self.lag.get_or_create(labels).set(seconds(ms));
                } else {
                    self.lag.remove(labels);
                }
                if let Some(ms) = lag.last_sync_ms {
                    self.last_sync.get_or_create(labels).set(seconds(ms));
                } else {
                    self.last_sync.remove(labels);
                }
            }
            series.groups = new;
        });
    }

    fn remove_group(&self, labels: &Group) {
        self.lag.remove(labels);
        self.never_synced.remove(labels);
        self.last_sync.remove(labels);
    }

    /// Exports the measures of a disk group and removes its former ones. Without measures, the series of its present state
    /// are removed; the objective and the results of the last failover and drill stay.
    pub fn disk_group(&self, namespace: &str, name: &str, measures: Option<&GroupMeasures>) {
        let object = KindObject::new(DISK_GROUP, namespace, name);
        if let Some(measures) = measures {
            self.objective.get_or_create(&object).set(measures.objective_seconds);
        }
        let disks = Object { namespace: namespace.into(), name: name.into() };
        self.with_series(object, |series| self.disk_groups.export(&disks, &mut series.disks, measures));
    }

    /// Exports the time of a disk group's next drill, in seconds since 1970 UTC, or removes it.
    pub fn drill_due(&self, namespace: &str, name: &str, due: Option<f64>) {
        self.disk_groups.due(&Object { namespace: namespace.into(), name: name.into() }, due);
    }

    /// Exports the expiry of an account's temporary credentials, or removes it.
    pub fn credentials(&self, namespace: &str, name: &str, expires: Option<Timestamp>) {
        let account = Object { namespace: namespace.into(), name: name.into() };
        match expires {
            Some(at) => {
                self.credentials.get_or_create(&account).set(at.as_millisecond() as f64 / 1000.0);
            }
            None => {
                self.credentials.remove(&account);
            }
        }
    }

    /// Removes every series of an object.
    pub fn forget(&self, kind: &str, namespace: &str, name: &str) {
        if kind == ACCOUNT {
            self.credentials(namespace, name, None);
        }
        let object = KindObject::new(kind, namespace, name);
        self.objective.remove(&object);
        self.drift_corrections.remove(&object);
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner).remove(&object).unwrap_or_default();
        for labels in &series.conditions {
            self.conditions.remove(labels);
        }
        for labels in &series.evidence {
            self.evidence.remove(labels);
        }
        self.mappings.forget(&series.mappings);
        series.groups.iter().for_each(|labels| self.remove_group(labels));
        if kind == DISK_GROUP {
            self.disk_groups.forget(&Object { namespace: namespace.into(), name: name.into() }, series.disks);
        }
    }
}
