//! Conditions: sets them, keeps their transition times, and computes what every kind reports in the same way. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::access::AccountError;
use super::decision::Verdict;
use crate::api::condition::{condition_type, ready, synced};
use crate::cloud::credentials::CredentialsError;
use crate::cloud::error::{Class, Error};

/// The status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Whether it holds is not known.
    Unknown,
}

impl Truth {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// What a condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionState {
    /// Whether it holds.
    pub truth: Truth,
    /// Why, as one word that programs match on.
    pub reason: &'static str,
    /// Why, for people.
    pub message: String,
}

impl ConditionState {
    /// It holds.
    pub fn yes(reason: &'static str, message: impl Into<String>) -> Self {
        Self { truth: Truth::True, reason, message: message.into() }
    }

    /// It does not hold.
    pub fn no(reason: &'static str, message: impl Into<String>) -> Self {
        Self { truth: Truth::False, reason, message: message.into() }
    }

    /// Whether it holds is not known.
    pub fn unknown(reason: &'static str, message: impl Into<String>) -> Self {
        Self { truth: Truth::Unknown, reason, message: message.into() }
    }
}

/// The condition of a type.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|it| it.type_ == kind)
}

/// Sets a condition. Its transition time stays unless its status changes.
pub fn set(
    conditions: &mut Vec<Condition>,
    kind: &str,
    statement: ConditionState,
    generation: Option<i64>,
    now: Timestamp,
) {
    let ConditionState { truth, reason, message } = statement;
    let kept =
        find(conditions, kind).filter(|it| it.status == truth.as_str()).map(|it| it.last_transition_time.clone());
    let new = Condition {
        type_: kind.into(),
        status: truth.as_str().into(),
        reason: reason.into(),
        message,
        observed_generation: generation,
        // Conditions carry whole seconds.
        last_transition_time: kept.unwrap_or_else(|| Time(seconds(now))),
    };
    match conditions.iter_mut().find(|it| it.type_ == kind) {
        Some(old) => *old = new,
        None => conditions.push(new),
    }
}

/// Removes a condition that is present only while it is true.
pub fn remove(conditions: &mut Vec<Condition>, kind: &str) {
    conditions.retain(|it| it.type_ != kind);
}

/// A time without the part below the second, which the API server would cut off.
pub fn seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// The object that conditions are about, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct ConditionSetter<'a> {
    /// The generation of the spec.
    pub generation: Option<i64>,
    /// The last generation of the spec that the cloud matched.
    pub synced_generation: Option<i64>,
    /// Whether the object is being deleted.
    pub deleting: bool,
    /// Whether the cloud is only looked at.
    pub observing: bool,
    /// Whether the last observation that was whole, or else this process's first try, is younger than three polls.
    pub fresh: bool,
    /// The conditions besides `Ready` that become unknown with time, each with its reason for that.
    pub passing: &'a [(&'static str, &'static str)],
    /// The time.
    pub now: Timestamp,
}

impl ConditionSetter<'_> {
    /// Sets a condition.
    pub fn set(&self, all: &mut Vec<Condition>, kind: &str, statement: ConditionState) {
        set(all, kind, statement, self.generation, self.now);
    }

    /// kstatus: `Reconciling` and `Stalled` are there only while they are true.
    pub fn progress(
        &self,
        all: &mut Vec<Condition>,
        reconciling: Option<(&'static str, &str)>,
        stalled: Option<(&'static str, &str)>,
    ) {
        for (kind, found) in [(condition_type::RECONCILING, reconciling), (condition_type::STALLED, stalled)] {
            match found {
                Some((reason, message)) => self.set(all, kind, ConditionState::yes(reason, message)),
                None => remove(all, kind),
            }
        }
    }

    /// `spec.suspend` is true.
    pub fn suspended(&self, all: &mut Vec<Condition>) {
        let text = "spec.suspend is true: nothing is read or changed until it is false";
        let statement = if self.deleting {
            ConditionState::no(synced::DELETION_BLOCKED, format!("{text}; the deletion waits for that too"))
        } else {
            ConditionState::unknown(synced::SUSPENDED, text)
        };
        self.set(all, condition_type::SYNCED, statement);
        for (kind, reason) in self.passing {
            self.set(all, kind, ConditionState::unknown(reason, text));
        }
        // What was ready for another spec says nothing of this one.
        if find(all, condition_type::READY).is_none() || self.synced_generation != self.generation {
            self.set(all, condition_type::READY, ConditionState::unknown(ready::NOT_READY, text));
        }
        self.progress(all, None, None);
    }

    /// The cloud could not be seen: why, and the last that was seen until it is older than three polls.
    pub fn unseen(&self, all: &mut Vec<Condition>, synced: &ConditionState, stalled: bool) {
        let statement = if self.deleting {
            ConditionState::no(synced::DELETION_BLOCKED, synced.message.clone())
        } else {
            synced.clone()
        };
        self.set(all, condition_type::SYNCED, statement);
        if self.deleting {
            self.set(all, condition_type::READY, ConditionState::no(ready::DELETING, "the object is being deleted"));
        }
        // Of what is only looked at, any pass over this spec is as good as one that matched.
        let of_this_spec = |it: &&Condition| it.observed_generation == self.generation;
        let looked = find(all, condition_type::READY).filter(of_this_spec).map(|it| it.status.as_str());
        let compared = self.observing && looked.is_some_and(|status| status != Truth::Unknown.as_str());
        let behind = self.synced_generation != self.generation && !compared;
        let (unreached, awaited) = match self.observing {
            true => (
                "the cloud could not be seen since the spec changed",
                "the spec is compared once the cloud can be seen",
            ),
            false => (
                "the spec is not carried out yet, and the cloud cannot be seen",
                "the spec is carried out once the cloud can be seen",
            ),
        };
        for (kind, reason) in [(condition_type::READY, ready::NOT_READY)].iter().chain(self.passing) {
            let ready = *kind == condition_type::READY;
            // Nobody looks again before a person acted.
            let blind = ready && stalled;
            // What was ready for another spec says nothing of this one.
            let about = |it: &Condition| {
                !ready || !behind || (it.status != Truth::True.as_str() && it.observed_generation == self.generation)
            };
            let known = self.fresh && !blind && find(all, kind).is_some_and(about);
            let said = known || (ready && self.deleting);
            if !said {
                let text = match (blind, self.fresh) {
                    (true, _) => synced.message.as_str(),
                    (false, false) => "nothing was seen of the cloud for more than three polls",
                    (false, true) if ready => unreached,
                    (false, true) => "nothing was seen of the cloud yet",
                };
                self.set(all, kind, ConditionState::unknown(reason, text));
            }
        }
        let lasting = self.lasting(all);
        let stalled = stalled.then_some((synced.reason, synced.message.as_str()));
        let stalled = stalled.or(lasting.as_deref().map(|message| (synced::OBSERVE_ONLY, message)));
        let working = find(all, condition_type::RECONCILING).map(|it| it.reason.as_str());
        // How long a failover takes is counted through an outage.
        let reconciling = match working {
            Some(ready::FAILING_OVER) => {
                Some((ready::FAILING_OVER, "when the cloud was last seen, the other site was becoming the active one"))
            }
            Some(ready::REPROTECTING) => {
                Some((ready::REPROTECTING, "when the cloud was last seen, replication was being turned round"))
            }
            Some(ready::CANCELLING) => {
                Some((ready::CANCELLING, "when the cloud was last seen, a failover was being taken back"))
            }
            // The spec is not reached: kstatus must not take the last that was seen for it.
            Some(_) | None if behind => Some((ready::UPDATING, awaited)),
            Some(_) | None => None,
        };
        self.progress(all, reconciling.filter(|_| stalled.is_none() && !self.deleting), stalled);
    }

    /// What was found of a cloud that is only looked at, and that nobody mends: it lasts until it is old.
    fn lasting(&self, all: &[Condition]) -> Option<String> {
        let of_this_spec =
            |it: &&Condition| it.reason == synced::OBSERVE_ONLY && it.observed_generation == self.generation;
        let found = find(all, condition_type::STALLED).filter(of_this_spec);
        found.filter(|_| self.observing && self.fresh && !self.deleting).map(|it| it.message.clone())
    }

    /// The pass is over: `Ready`, `Synced`, and by the verdict whether work goes on or a person has to act, which `stalled` may
    /// say too. `Ready` is true only while neither is, so that who waits for it goes on no earlier than who reads kstatus.
    pub fn conclude(
        &self,
        all: &mut Vec<Condition>,
        ready: ConditionState,
        synced: ConditionState,
        verdict: &Verdict,
        stalled: bool,
    ) {
        let refused = stalled || verdict.refuses();
        // Nobody here mends what is only looked at; what goes on there ends by itself.
        let watched = self.observing && !refused && ready.truth == Truth::False;
        let lasts = ready.reason == ready::NOT_READY;
        let found = ready.message.clone();
        let reconciling = match verdict.work() {
            _ if refused => None,
            _ if watched => (!lasts).then_some((ready.reason, found.as_str())),
            work => work.map(|work| (work.reason(), synced.message.as_str())),
        };
        let stalled = if refused {
            Some((synced.reason, synced.message.as_str()))
        } else {
            (watched && lasts).then_some((synced::OBSERVE_ONLY, found.as_str()))
        };
        let why = stalled.map(|(_, message)| (ready::NOT_READY, message)).or(reconciling);
        let ready = match why.filter(|_| ready.truth == Truth::True) {
            Some((reason, message)) => ConditionState::no(reason, message),
            None => ready,
        };
        self.set(all, condition_type::READY, ready);
        self.progress(all, reconciling, stalled);
        self.set(all, condition_type::SYNCED, synced);
    }
}

/// What `Synced` says of a failed call, and whether a person has to act.
pub fn failure(error: &Error) -> (ConditionState, bool) {
    let message = error.to_string();
    match error.class {
        Class::Denied => (ConditionState::no(synced::ACCESS_DENIED, message), true),
        Class::Invalid => (ConditionState::no(synced::INVALID_SPEC, message), true),
        Class::Conflict | Class::NotFound => (ConditionState::no(synced::PROGRESSING, message), false),
        Class::Throttled { .. } => (ConditionState::unknown(synced::THROTTLED, message), false),
        Class::Unavailable | Class::Ambiguous => (ConditionState::unknown(synced::CLOUD_UNAVAILABLE, message), false),
    }
}

/// What `Synced` says where there is nobody to sign calls, and whether a person has to act.
pub fn unusable(error: &AccountError) -> (ConditionState, bool) {
    let message = error.to_string();
    match (error, error.why()) {
        (AccountError::Endpoint { .. }, _) => (ConditionState::no(synced::ENDPOINT_REFUSED, message), true),
        (_, Some(CredentialsError::Refused(_))) => (ConditionState::no(synced::ACCESS_DENIED, message), true),
        (_, Some(CredentialsError::Unreachable(error))) => (ConditionState { message, ..failure(error).0 }, false),
        (_, Some(CredentialsError::Expired { .. })) => {
            (ConditionState::unknown(synced::CLOUD_UNAVAILABLE, message), false)
        }
        _ => (ConditionState::no(synced::CREDENTIALS_NOT_FOUND, message), true),
    }
}

/// At most five entries, and how many more there are.
pub fn listed(entries: &[String]) -> String {
    let head = entries.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    match entries.len().saturating_sub(5) {
        0 => head,
        more => format!("{head} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_its_time_until_its_status_changes() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let mut all = vec![];
        set(&mut all, "Ready", ConditionState::no("Creating", "a"), Some(1), at(10));
        set(&mut all, "Ready", ConditionState::no("Updating", "b"), Some(2), at(20));
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].last_transition_time.0, all[0].reason.as_str()), (at(10), "Updating"));
        set(&mut all, "Ready", ConditionState::yes("Available", "c"), Some(2), at(30));
        assert_eq!(all[0].last_transition_time.0, at(30));
        remove(&mut all, "Ready");
        assert!(all.is_empty());
    }
}
