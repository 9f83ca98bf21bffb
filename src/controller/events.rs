//! The events that every kind tells alike, by comparing the conditions before and after a pass. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::resource::EventRecord;
use crate::api::condition::{condition_type, protected, synced};
use crate::controller::conditions;

/// What was known before a pass, and what is known after it.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The conditions before.
    pub before: &'a [Condition],
    /// The conditions after.
    pub after: &'a [Condition],
    /// The fields that differed before.
    pub drift: &'a [String],
    /// Whether the cloud had matched the spec of the same generation before.
    pub corrected: bool,
}

impl Change<'_> {
    /// The reasons of a condition before and after.
    pub fn reasons(&self, kind: &str) -> (&str, &str) {
        let reason = |all| conditions::find(all, kind).map_or("", |it| it.reason.as_str());
        (reason(self.before), reason(self.after))
    }

    /// What a condition says after.
    pub fn message(&self, kind: &str) -> String {
        conditions::find(self.after, kind).map(|it| it.message.clone()).unwrap_or_default()
    }

    /// Whether a condition has this reason now and had not before.
    pub fn entered(&self, kind: &str, reason: &str) -> bool {
        let (before, after) = self.reasons(kind);
        after == reason && before != reason
    }

    /// A difference that was found, or corrected.
    pub fn drift(&self) -> Vec<EventRecord> {
        let mut told = vec![];
        let (before, after) = self.reasons(condition_type::SYNCED);
        if self.entered(condition_type::SYNCED, synced::DRIFTED) {
            told.push(EventRecord::warning("DriftFound", "Observe", self.message(condition_type::SYNCED)));
        }
        let drifted = before == synced::DRIFTED || self.corrected;
        if drifted && !self.drift.is_empty() && after == synced::IN_SYNC {
            told.push(EventRecord::normal("DriftCorrected", "Update", format!("corrected {}", self.drift.join(", "))));
        }
        told
    }

    /// What a person has to do, where that is new.
    pub fn refused(&self, reason: &'static str, message: &str) -> Option<EventRecord> {
        let (before, _) = self.reasons(condition_type::SYNCED);
        (before != reason).then(|| EventRecord::warning(reason, "Observe", message.to_owned()))
    }

    /// The objective that is exceeded, or met again.
    pub fn objective(&self) -> Option<EventRecord> {
        let (before, after) = self.reasons(condition_type::PROTECTED);
        if self.entered(condition_type::PROTECTED, protected::OBJECTIVE_EXCEEDED) {
            return Some(EventRecord::warning("ObjectiveExceeded", "Observe", self.message(condition_type::PROTECTED)));
        }
        let met = before == protected::OBJECTIVE_EXCEEDED && after == protected::WITHIN_OBJECTIVE;
        met.then(|| EventRecord::normal("ObjectiveMet", "Observe", self.message(condition_type::PROTECTED)))
    }
}
