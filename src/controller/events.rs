//! Event records, and the events that every kind has: drift, refusals, the objective. Pure.

use super::conditions::find;
use super::verdict::Verdict;
use crate::api::StatusHead;
use crate::api::condition::{condition_type, protected, synced};
use crate::api::event::{action, reason};

/// An event to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRecord {
    /// Whether it is a warning.
    pub warning: bool,
    /// The reason, a constant of [`reason`] or a reason of `Synced`.
    pub reason: &'static str,
    /// The action, a constant of [`action`].
    pub action: &'static str,
    /// The text for people.
    pub note: String,
}

impl EventRecord {
    /// An event that needs no attention.
    pub fn normal(reason: &'static str, action: &'static str, note: impl Into<String>) -> Self {
        Self { warning: false, reason, action, note: note.into() }
    }

    /// An event that needs the attention of a person.
    pub fn warning(reason: &'static str, action: &'static str, note: impl Into<String>) -> Self {
        Self { warning: true, reason, action, note: note.into() }
    }
}

/// The shared part of status before and after a reconcile.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    before: &'a StatusHead,
    after: &'a StatusHead,
}

impl<'a> Change<'a> {
    /// Compares two statuses.
    pub fn new(before: &'a impl AsRef<StatusHead>, after: &'a impl AsRef<StatusHead>) -> Self {
        Self { before: before.as_ref(), after: after.as_ref() }
    }

    /// Whether a condition has this reason now and had another one before.
    fn entered(&self, condition_type: &str, reason: &str) -> bool {
        reason_of(self.after, condition_type) == reason && reason_of(self.before, condition_type) != reason
    }

    /// The message of a condition after the reconcile.
    pub fn message(&self, condition_type: &str) -> String {
        find(&self.after.conditions, condition_type).map(|it| it.message.clone()).unwrap_or_default()
    }

    /// Whether a condition that is present only while it is True appeared.
    pub fn appeared(&self, condition_type: &str) -> bool {
        find(&self.before.conditions, condition_type).is_none()
            && find(&self.after.conditions, condition_type).is_some()
    }

    /// The events that every kind has.
    pub fn events(&self, verdict: &Verdict) -> Vec<EventRecord> {
        let all =
            [self.drift_found(), self.correction(), self.blocked(verdict), self.refused(verdict), self.objective()];
        all.into_iter().flatten().collect()
    }

    fn drift_found(&self) -> Option<EventRecord> {
        let note = self.message(condition_type::SYNCED);
        let found = self.entered(condition_type::SYNCED, synced::DRIFTED);
        found.then(|| EventRecord::warning(reason::DRIFT_FOUND, action::OBSERVE, note))
    }

    /// Whether a difference is gone from a spec that the cloud matched before.
    pub fn drift_corrected(&self) -> bool {
        let drifted = reason_of(self.before, condition_type::SYNCED) == synced::DRIFTED
            || self.before.synced_generation == self.after.synced_generation;
        let in_sync = reason_of(self.after, condition_type::SYNCED) == synced::IN_SYNC;
        drifted && !self.before.drift.is_empty() && in_sync
    }

    fn correction(&self) -> Option<EventRecord> {
        let fields: Vec<_> = self.before.drift.iter().map(|it| it.field.as_str()).collect();
        let note = format!("corrected {}", fields.join(", "));
        self.drift_corrected().then(|| EventRecord::normal(reason::DRIFT_CORRECTED, action::UPDATE, note))
    }

    /// A refusal by the cloud that a person has to resolve.
    fn blocked(&self, verdict: &Verdict) -> Option<EventRecord> {
        if verdict.refuses() {
            return None;
        }
        let reasons = [synced::UPDATE_WAITS, synced::DISKS_ATTACHED];
        let entered = reasons.into_iter().find(|reason| self.entered(condition_type::SYNCED, reason))?;
        Some(EventRecord::warning(entered, action::OBSERVE, self.message(condition_type::SYNCED)))
    }

    /// A refusal by the operator that a person has to resolve. Drift has an event of its own.
    fn refused(&self, verdict: &Verdict) -> Option<EventRecord> {
        let Verdict::Refused { reason, message } = verdict else { return None };
        let new = *reason != synced::DRIFTED && reason_of(self.before, condition_type::SYNCED) != *reason;
        new.then(|| EventRecord::warning(reason, action::OBSERVE, message.clone()))
    }

    /// The event of an objective that is exceeded, or met again.
    pub fn objective(&self) -> Option<EventRecord> {
        let note = self.message(condition_type::PROTECTED);
        let [before, after] = [self.before, self.after].map(|head| reason_of(head, condition_type::PROTECTED));
        let exceeded = |reason| [protected::OBJECTIVE_EXCEEDED, protected::BACKLOG_EXCEEDED].contains(&reason);
        if exceeded(after) && !exceeded(before) {
            return Some(EventRecord::warning(reason::OBJECTIVE_EXCEEDED, action::OBSERVE, note));
        }
        let met = exceeded(before) && after == protected::WITHIN_OBJECTIVE;
        met.then(|| EventRecord::normal(reason::OBJECTIVE_MET, action::OBSERVE, note))
    }
}

fn reason_of<'a>(head: &'a StatusHead, condition_type: &str) -> &'a str {
    find(&head.conditions, condition_type).map_or("", |it| it.reason.as_str())
}
