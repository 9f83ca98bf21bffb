//! Changes of the plan and of items' topics that the API may refuse: whether to send one now, to stop items for it, or to wait.
//! Status has one entry for each change that was sent and that the cloud does not show.

use std::time::Duration;

use jiff::Timestamp;

use super::{Scope, runs, window_end};
use crate::api::plan::{DisasterRecoveryPlanStatus, PendingUpdate, UpdateOutcome, UpdatePolicy};
use crate::cloud::error::{Class, Error};
use crate::cloud::rocketmq::ItemView;
use crate::controller::conditions::{join_limited, seconds};
use crate::controller::plan::observe::Observed;
use crate::controller::resource::MAX_PAUSE;

/// The field of a change of the plan itself in [`PendingUpdate`].
const PLAN: &str = "plan";
/// Time until the next attempt at a refused change: each attempt may stop replication for a moment.
const REFUSED_RETRY_INTERVAL: Duration = Duration::from_secs(3600);
/// Time until the next attempt at a change that the API refused because items run. Such an attempt stops nothing.
const WAIT_RETRY_INTERVAL: Duration = Duration::from_secs(300);
/// Maximum time for which a change is repeated that the API refuses although the paused items are stopped: it may see them later.
const STOPPED_RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// A wanted change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The changed part, as in [`PendingUpdate`].
    pub field: String,
    /// The key by which later reconciles recognize the change. Values of the cloud are not in it: an actor who keeps changing one
    /// does not make a new change each time.
    pub key: String,
    /// The item whose topics change. Absent for a change of the plan itself.
    pub item_id: Option<i64>,
    /// Whether an item runs that the API may want stopped.
    pub running: bool,
}

/// What to do about a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// Send it.
    Send,
    /// Stop the items that run, then send it.
    Pause,
    /// The API refuses it while items run, with this message, and no item may be stopped for it.
    Wait(String),
    /// The same, and it is time for another attempt while they run.
    Retry(String),
    /// The operator sent it, and its effect may show until this time.
    Sent(Timestamp),
    /// The API refused it. The operator does not repeat it for now.
    Refused(String),
}

impl Change {
    /// A change of the plan itself, in these fields.
    pub(super) fn of_plan(scope: &Scope<'_>, observed: &Observed, fields: &[String], running: bool) -> Self {
        Self { field: PLAN.into(), key: key(scope, observed, fields), item_id: None, running }
    }

    /// A change of the topics of a mapping's item.
    pub(super) fn of_topics(scope: &Scope<'_>, mapping: &str, topics: &str, item: &ItemView) -> Self {
        let key = [generation(scope), topics.to_owned()].join("; ");
        let field = format!("topicMappings[{mapping}]");
        Self { field, key: shortened(&key), item_id: Some(item.item_id), running: runs(item) }
    }

    /// Whether the change was sent and does not show.
    pub(super) fn is_pending(&self, status: &DisasterRecoveryPlanStatus) -> bool {
        self.pending(status).is_some()
    }

    fn pending<'a>(&self, status: &'a DisasterRecoveryPlanStatus) -> Option<&'a PendingUpdate> {
        status.pending_updates.iter().find(|it| it.field == self.field && it.change == self.key)
    }

    /// What to do about the change. `pausable`: items may be stopped for it.
    pub(super) fn attempt(&self, scope: &Scope<'_>, pausable: bool) -> Attempt {
        let Some(pending) = self.pending(scope.status).filter(|_| !scope.reconcile_requested()) else {
            return Attempt::Send;
        };
        let end = |interval| window_end(pending.time, interval, scope.now);
        match pending.outcome {
            UpdateOutcome::RefusedWhileRunning if pause_is_over(scope.status, scope.now) => {
                Attempt::Refused(PAUSED_TOO_LONG.into())
            }
            UpdateOutcome::RefusedWhileRunning if !self.running => Attempt::Send,
            UpdateOutcome::RefusedWhileRunning if pausable => Attempt::Pause,
            UpdateOutcome::RefusedWhileRunning if end(WAIT_RETRY_INTERVAL).is_some() => {
                Attempt::Wait(pending.message.clone())
            }
            UpdateOutcome::Refused if end(REFUSED_RETRY_INTERVAL).is_some() => {
                Attempt::Refused(pending.message.clone())
            }
            UpdateOutcome::Sent => end(scope.visibility_window).map_or(Attempt::Send, Attempt::Sent),
            UpdateOutcome::RefusedWhileRunning => Attempt::Retry(pending.message.clone()),
            UpdateOutcome::Refused => Attempt::Send,
        }
    }

    /// The entry after a call with this result, if there has to be one. `pending` is what status had for the change.
    pub fn settled(&self, scope: &Scope<'_>, result: Result<(), &Error>) -> Option<PendingUpdate> {
        let known = self.pending(scope.status).cloned();
        let paused = !scope.status.paused_items.is_empty();
        let entry = |outcome, message: String| {
            let (field, change) = (self.field.clone(), self.key.clone());
            Some(PendingUpdate { field, change, outcome, time: seconds(scope.now), message })
        };
        let advice = format!(
            "it is tried again in an hour, when the spec or the Secret changes, or when {} is annotated",
            crate::api::RECONCILE_ANNOTATION
        );
        let sent_before = known.as_ref().is_some_and(|it| it.outcome == UpdateOutcome::Sent);
        match result {
            Ok(()) | Err(Error { class: Class::Ambiguous, .. }) if sent_before => {
                let cause = result
                    .err()
                    .map_or_else(|| "the API accepts the change and does not keep it".into(), ToString::to_string);
                entry(UpdateOutcome::Refused, format!("{cause}; {advice}"))
            }
            Ok(()) | Err(Error { class: Class::Ambiguous, .. }) => entry(UpdateOutcome::Sent, String::new()),
            // The API takes the change only while items are stopped, and did not keep it then.
            Err(error @ Error { class: Class::Conflict, .. }) if self.running && sent_before => {
                entry(UpdateOutcome::Refused, format!("{error}; {advice}"))
            }
            Err(error @ Error { class: Class::Conflict, .. }) if self.running => {
                entry(UpdateOutcome::RefusedWhileRunning, error.to_string())
            }
            Err(error @ Error { class: Class::Conflict, .. }) if paused => {
                let since = scope.status.paused_since.unwrap_or(scope.now);
                match window_end(since, STOPPED_RETRY_TIMEOUT, scope.now) {
                    Some(_) => known,
                    None => entry(UpdateOutcome::Refused, format!("{error}; {advice}")),
                }
            }
            Err(error @ Error { class: Class::Invalid | Class::Denied | Class::NotFound, .. }) if paused => {
                entry(UpdateOutcome::Refused, format!("{error}; {advice}"))
            }
            // A deletion does not try for ever.
            Err(error @ Error { class: Class::Invalid | Class::NotFound, .. }) if scope.deleting() => {
                entry(UpdateOutcome::Refused, format!("{error}; {advice}"))
            }
            Err(_) if scope.deleting() => known.or_else(|| entry(UpdateOutcome::Sent, String::new())),
            Err(_) => known,
        }
    }

    /// The entry of a change that no call was made for.
    pub fn kept(&self, scope: &Scope<'_>) -> Option<PendingUpdate> {
        let mut known = self.pending(scope.status).cloned()?;
        if known.outcome == UpdateOutcome::RefusedWhileRunning && pause_is_over(scope.status, scope.now) {
            known.outcome = UpdateOutcome::Refused;
            known.time = seconds(scope.now);
            known.message = PAUSED_TOO_LONG.into();
        }
        Some(known)
    }
}

/// Whether the spec lets the operator stop items for changes.
pub(super) fn may_pause(scope: &Scope<'_>) -> bool {
    scope.object.spec.update_policy == UpdatePolicy::PauseItems
}

/// The message on a change that waits: outcome, cause and remedy. `others` are the running items that the spec does not name.
pub(super) fn waiting(scope: &Scope<'_>, what: &str, cause: &str, others: &[i64]) -> String {
    let others: Vec<_> = others.iter().map(ToString::to_string).collect();
    let remedy = match scope.object.spec.update_policy {
        _ if !others.is_empty() => {
            format!("Items {} run and are not in topicMappings: stop them, or name them there", join_limited(&others))
        }
        UpdatePolicy::Wait => {
            "Stop the items, or set updatePolicy: PauseItems, which stops them for the change".to_owned()
        }
        UpdatePolicy::PauseItems => "Stop the items to let the change be made".to_owned(),
    };
    format!("{what} waits, and replication continues: the API refuses it while items run ({cause}). {remedy}")
}

/// The message on a change that did not succeed within [`MAX_PAUSE`].
const PAUSED_TOO_LONG: &str = "the change was not made within ten minutes with stopped items: they run again, and the operator \
                               repeats the change in an hour";

/// Whether items are paused for longer than [`MAX_PAUSE`].
pub(super) fn pause_is_over(status: &DisasterRecoveryPlanStatus, now: Timestamp) -> bool {
    let since = status.paused_since.filter(|_| !status.paused_items.is_empty());
    since.is_some_and(|since| window_end(since, MAX_PAUSE, now).is_none())
}

fn key(scope: &Scope<'_>, observed: &Observed, fields: &[String]) -> String {
    let secrets = observed.credentials.iter().flat_map(|all| all.values()).map(|it| it.resource_version.clone());
    let parts: Vec<_> = [generation(scope)].into_iter().chain(secrets).chain(fields.iter().cloned()).collect();
    shortened(&parts.join("; "))
}

fn generation(scope: &Scope<'_>) -> String {
    scope.generation().unwrap_or_default().to_string()
}

fn shortened(key: &str) -> String {
    key.chars().take(500).collect()
}
