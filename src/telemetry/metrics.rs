//! Metrics in OpenMetrics text, with base units. Every family starts with `disaster_recovery_`.

mod disk_groups;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use self::disk_groups::{DiskGroups, Shown};
pub use self::disk_groups::{DrillMeasures, GroupMeasures};
use crate::cloud::client::Finished;
use crate::controller::plan::lag::GroupLag;

/// The kind that [`Metrics::lags`] are of.
pub const PLAN: &str = "DisasterRecoveryPlan";
/// The kind that [`Metrics::disk_group`] is of.
pub const DISK_GROUP: &str = "DiskReplicaGroup";
/// The kind that [`Metrics::credentials`] are of.
pub const ACCOUNT: &str = "AlibabaCloudAccount";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    product: String,
    action: String,
    code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    product: String,
    action: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PassLabels {
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

/// Objects of different kinds may have one name.
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

/// The series of one object, to be removed with it.
#[derive(Default)]
struct Series {
    conditions: Vec<ConditionLabels>,
    groups: Vec<Group>,
    disks: Shown,
}

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    request_seconds: Family<Operation, Histogram>,
    passes: Family<PassLabels, Counter>,
    pass_seconds: Family<KindLabels, Histogram>,
    conditions: Family<ConditionLabels, Gauge>,
    lag: Family<Group, Seconds>,
    never_synced: Family<Group, Gauge>,
    last_sync: Family<Group, Seconds>,
    objective: Family<KindObject, Seconds>,
    credentials: Family<Object, Seconds>,
    leader: Gauge,
    disk_groups: DiskGroups,
    series: Mutex<HashMap<KindObject, Series>>,
    codes: Mutex<HashSet<String>>,
}

/// No process tells more error codes apart.
const MOST_CODES: usize = 200;
/// No plan shows more consumer groups; status tells of the worst of all.
const MOST_GROUPS: usize = 2000;

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registers every family.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("disaster_recovery");
        let buckets = || Histogram::new([0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]);
        let request_seconds = Family::<Operation, Histogram>::new_with_constructor(buckets);
        let pass_seconds = Family::<KindLabels, Histogram>::new_with_constructor(buckets);
        let metrics = Self {
            requests: Family::default(),
            request_seconds,
            passes: Family::default(),
            pass_seconds,
            conditions: Family::default(),
            lag: Family::default(),
            never_synced: Family::default(),
            last_sync: Family::default(),
            objective: Family::default(),
            credentials: Family::default(),
            leader: Gauge::default(),
            disk_groups: DiskGroups::register(&mut registry),
            series: Mutex::default(),
            codes: Mutex::default(),
            registry: Registry::default(),
        };
        registry.register(
            "cloud_requests",
            "Requests to the cloud API by product, action and code",
            metrics.requests.clone(),
        );
        let help = "Time that a request to the cloud API took";
        registry.register_with_unit("cloud_request_duration", help, Unit::Seconds, metrics.request_seconds.clone());
        registry.register("reconciliations", "Passes by kind and result", metrics.passes.clone());
        registry.register_with_unit(
            "reconciliation_duration",
            "Time that a pass took",
            Unit::Seconds,
            metrics.pass_seconds.clone(),
        );
        let help = "1 for the status that a condition of an object has";
        registry.register("condition_status", help, metrics.conditions.clone());
        let help = "How far consumer progress at the destination is behind the source";
        registry.register_with_unit("checkpoint_lag", help, Unit::Seconds, metrics.lag.clone());
        let help = "1 for a consumer group whose progress was never synchronized";
        registry.register("checkpoint_never_synced", help, metrics.never_synced.clone());
        let help = "When consumer progress was last synchronized, in seconds since 1970 UTC";
        registry.register_with_unit("checkpoint_last_sync_timestamp", help, Unit::Seconds, metrics.last_sync.clone());
        let help = "The lag above which an object is not protected";
        registry.register_with_unit("recovery_point_objective", help, Unit::Seconds, metrics.objective.clone());
        let help =
            "When the temporary credentials of an account end, in seconds since 1970 UTC; they are renewed before";
        registry.register_with_unit(
            "credentials_expiration_timestamp",
            help,
            Unit::Seconds,
            metrics.credentials.clone(),
        );
        registry.register("leader", "1 while this process leads, else 0", metrics.leader.clone());
        Self { registry, ..metrics }
    }

    /// The exposition text.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        text::encode(&mut out, &self.registry).unwrap_or_default();
        out
    }

    /// Counts a request to the cloud.
    pub fn requested(&self, finished: &Finished<'_>) {
        let Finished { product, action, code, duration } = finished;
        let (product, action) = ((*product).to_owned(), (*action).to_owned());
        // Codes are the other side's words: it must not be able to make up any number of series.
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = codes.contains(*code) || (codes.len() < MOST_CODES && codes.insert((*code).to_owned()));
        let code = if known { (*code).to_owned() } else { "Other".into() };
        drop(codes);
        let operation = Operation { product: product.clone(), action: action.clone() };
        self.requests.get_or_create(&Request { product, action, code }).inc();
        self.request_seconds.get_or_create(&operation).observe(duration.as_secs_f64());
    }

    /// Exports whether this process leads, which it does also where there is no election. Until told, it does not.
    pub fn leading(&self, leading: bool) {
        self.leader.set(i64::from(leading));
    }

    /// Counts a pass.
    pub fn reconciled(&self, kind: &str, result: &str, duration: Duration) {
        self.passes.get_or_create(&PassLabels { kind: kind.into(), result: result.into() }).inc();
        self.pass_seconds.get_or_create(&KindLabels { kind: kind.into() }).observe(duration.as_secs_f64());
    }

    fn with_series(&self, object: KindObject, with: impl FnOnce(&mut Series)) {
        let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        with(all.entry(object).or_default());
    }

    /// Exports the conditions of an object, in place of those exported before.
    pub fn conditions(&self, kind: &str, namespace: &str, name: &str, conditions: &[Condition]) {
        let labels = |it: &Condition| ConditionLabels {
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
            r#type: it.type_.clone(),
            status: it.status.clone(),
        };
        let new: Vec<_> = conditions.iter().map(labels).collect();
        self.with_series(KindObject::new(kind, namespace, name), |series| {
            for old in series.conditions.iter().filter(|old| !new.contains(old)) {
                self.conditions.remove(old);
            }
            for labels in &new {
                self.conditions.get_or_create(labels).set(1);
            }
            series.conditions = new;
        });
    }

    /// Exports exact lags of a plan, in place of those exported before, and its objective in ms.
    pub fn lags(&self, namespace: &str, name: &str, lags: &[GroupLag], objective_ms: i64) {
        let labels = |lag: &GroupLag| Group {
            namespace: namespace.into(),
            name: name.into(),
            mapping: lag.mapping.clone(),
            source_instance: lag.source_instance.clone(),
            topic: lag.topic.clone(),
            consumer_group: lag.group.clone(),
        };
        let seconds = |ms: i64| ms as f64 / 1000.0;
        let mut lags: Vec<_> = lags.iter().collect();
        if lags.len() > MOST_GROUPS {
            // The worst of them: never synchronized, then the furthest behind.
            lags.sort_by_key(|lag| std::cmp::Reverse(lag.lag_ms.unwrap_or(i64::MAX)));
            lags.truncate(MOST_GROUPS);
        }
        let object = KindObject::new(PLAN, namespace, name);
        self.objective.get_or_create(&object).set(seconds(objective_ms));
        self.with_series(object, |series| {
            let new: Vec<_> = lags.iter().map(|lag| labels(lag)).collect();
            for old in series.groups.iter().filter(|old| !new.contains(old)) {
                self.remove_group(old);
            }
            for (labels, lag) in new.iter().zip(&lags) {
                self.never_synced.get_or_create(labels).set(i64::from(lag.lag_ms.is_none()));
                if let Some(ms) = lag.lag_ms {
                    self.lag.get_or_create(labels).set(seconds(ms));
                } else {
                    self.lag.remove(labels);
                }
                if let Some(ms) = lag.last_sync_ms {
                    self.last_sync.get_or_create(labels).set(seconds(ms));
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

    /// Exports what is measured of a group of disks, in place of what was exported before. While nothing can be measured,
    /// what is a measure of now is taken back; the objective and what the last failover and drill came to stay.
    pub fn disk_group(&self, namespace: &str, name: &str, measures: Option<&GroupMeasures>) {
        let object = KindObject::new(DISK_GROUP, namespace, name);
        if let Some(measures) = measures {
            self.objective.get_or_create(&object).set(measures.objective_seconds);
        }
        let disks = Object { namespace: namespace.into(), name: name.into() };
        self.with_series(object, |series| self.disk_groups.export(&disks, &mut series.disks, measures));
    }

    /// Exports when the temporary credentials of an account end; nothing where they do not.
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
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner).remove(&object).unwrap_or_default();
        for labels in &series.conditions {
            self.conditions.remove(labels);
        }
        series.groups.iter().for_each(|labels| self.remove_group(labels));
        if kind == DISK_GROUP {
            self.disk_groups.forget(&Object { namespace: namespace.into(), name: name.into() }, series.disks);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lag(group: &str, lag_ms: Option<i64>) -> GroupLag {
        let (mapping, source_instance, topic) = ("orders".into(), "rmq-a".into(), "orders".into());
        GroupLag { mapping, source_instance, group: group.into(), topic, lag_ms, last_sync_ms: Some(1_740_724_080_343) }
    }

    #[test]
    fn lags_are_exact_and_leave_with_their_group_and_object() {
        let metrics = Metrics::new();
        metrics.lags("ns", "orders", &[lag("GID_A", Some(1_234)), lag("GID_B", None)], 300_000);
        let text = metrics.text();
        assert!(text.contains("disaster_recovery_checkpoint_lag_seconds{"), "{text}");
        assert!(text.contains("consumer_group=\"GID_A\"} 1.234"), "{text}");
        let objective = "objective_seconds{kind=\"DisasterRecoveryPlan\",namespace=\"ns\",name=\"orders\"} 300.0";
        assert!(text.contains(objective), "{text}");
        metrics.lags("ns", "orders", &[lag("GID_A", Some(0))], 300_000);
        assert!(!metrics.text().contains("GID_B"));
        metrics.forget(PLAN, "ns", "orders");
        assert!(!metrics.text().contains("orders"));
    }

    #[test]
    fn objects_of_two_kinds_with_one_name_keep_apart() {
        let metrics = Metrics::new();
        metrics.lags("ns", "orders", &[lag("GID_A", Some(1_234))], 300_000);
        metrics.disk_group("ns", "orders", Some(&GroupMeasures { objective_seconds: 900.0, ..Default::default() }));
        metrics.forget(DISK_GROUP, "ns", "orders");
        assert!(metrics.text().contains("GID_A") && !metrics.text().contains("DiskReplicaGroup"));
        metrics.disk_group("ns", "orders", Some(&GroupMeasures::default()));
        metrics.forget(PLAN, "ns", "orders");
        let text = metrics.text();
        assert!(!text.contains("GID_A") && !text.contains(PLAN) && text.contains(DISK_GROUP), "{text}");
    }

    #[test]
    fn the_other_side_cannot_make_up_series_without_end() {
        let metrics = Metrics::new();
        for number in 0..1000 {
            let (product, action, code) = ("rocketmq", "GetDisasterRecoveryPlan", format!("Code{number}"));
            metrics.requested(&Finished { product, action, code: &code, duration: Duration::ZERO });
        }
        let text = metrics.text();
        let series = text.lines().filter(|line| line.starts_with("disaster_recovery_cloud_requests_total{")).count();
        assert_eq!(series, MOST_CODES + 1);
        let other = format!("code=\"Other\"}} {}", 1000 - MOST_CODES);
        assert!(text.contains(&other), "{text}");
    }

    #[test]
    fn a_process_leads_once_it_is_told() {
        let metrics = Metrics::new();
        let led =
            || metrics.text().lines().filter(|line| line.starts_with("disaster_recovery_leader ")).collect::<String>();
        assert_eq!(led(), "disaster_recovery_leader 0");
        metrics.leading(true);
        assert_eq!(led(), "disaster_recovery_leader 1");
        metrics.leading(false);
        assert_eq!(led(), "disaster_recovery_leader 0");
    }

    #[test]
    fn the_end_of_credentials_leaves_with_their_account() {
        let metrics = Metrics::new();
        metrics.credentials("ns", "main", Some(Timestamp::UNIX_EPOCH));
        let series = "disaster_recovery_credentials_expiration_timestamp_seconds{namespace=\"ns\",name=\"main\"} 0.0";
        assert!(metrics.text().contains(series), "{}", metrics.text());
        metrics.forget(ACCOUNT, "ns", "main");
        assert!(!metrics.text().contains("main"));
    }
}
