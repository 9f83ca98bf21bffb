//! What the conditions of every kind say alike: while nothing may be done, while nothing is seen, and whether work goes on.
//! Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::verdict::Verdict;
use crate::api::condition::{kind, ready, synced};
use crate::conditions::{self, Statement, Truth};

/// The object that conditions are about, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// The generation of the spec.
    pub generation: Option<i64>,
    /// The last generation of the spec that the cloud matched.
    pub synced_generation: Option<i64>,
    /// Whether the object is being deleted.
    pub deleting: bool,
    /// Whether the last observation that was whole is younger than three polls.
    pub fresh: bool,
    /// The conditions besides `Ready` that become unknown with time, each with its reason for that.
    pub passing: &'a [(&'static str, &'static str)],
    /// The time.
    pub now: Timestamp,
}

impl Standing<'_> {
    /// Sets a condition.
    pub fn set(&self, all: &mut Vec<Condition>, kind: &str, statement: Statement) {
        conditions::set(all, kind, statement, self.generation, self.now);
    }

    /// kstatus: `Reconciling` and `Stalled` are there only while they are true.
    pub fn progress(
        &self,
        all: &mut Vec<Condition>,
        reconciling: Option<(&'static str, &str)>,
        stalled: Option<(&'static str, &str)>,
    ) {
        for (kind, found) in [(kind::RECONCILING, reconciling), (kind::STALLED, stalled)] {
            match found {
                Some((reason, message)) => self.set(all, kind, Statement::yes(reason, message)),
                None => conditions::remove(all, kind),
            }
        }
    }

    /// `spec.suspend` is true.
    pub fn suspended(&self, all: &mut Vec<Condition>) {
        let text = "spec.suspend is true: nothing is read or changed until it is false";
        let statement = if self.deleting {
            Statement::no(synced::DELETION_BLOCKED, format!("{text}; the deletion waits for that too"))
        } else {
            Statement::unknown(synced::SUSPENDED, text)
        };
        self.set(all, kind::SYNCED, statement);
        for (kind, reason) in self.passing {
            self.set(all, kind, Statement::unknown(reason, text));
        }
        // What was ready for another spec says nothing of this one.
        if conditions::find(all, kind::READY).is_none() || self.synced_generation != self.generation {
            self.set(all, kind::READY, Statement::unknown(ready::NOT_READY, text));
        }
        self.progress(all, None, None);
    }

    /// The cloud could not be seen: why, and the last that was seen until it is older than three polls.
    pub fn unseen(&self, all: &mut Vec<Condition>, synced: &Statement, stalled: bool) {
        let statement = if self.deleting {
            Statement::no(synced::DELETION_BLOCKED, synced.message.clone())
        } else {
            synced.clone()
        };
        self.set(all, kind::SYNCED, statement);
        if self.deleting {
            self.set(all, kind::READY, Statement::no(ready::DELETING, "the object is being deleted"));
        }
        let text = "nothing was seen of the cloud for more than three polls";
        for (kind, reason) in [(kind::READY, ready::NOT_READY)].iter().chain(self.passing) {
            let ready = *kind == kind::READY;
            let behind = ready && self.synced_generation != self.generation;
            // Nobody looks again before a person acted.
            let blind = ready && stalled;
            let known = self.fresh && !behind && !blind && conditions::find(all, kind).is_some();
            let said = known || (ready && self.deleting);
            if !said {
                let text = if blind { synced.message.as_str() } else { text };
                self.set(all, kind, Statement::unknown(reason, text));
            }
        }
        let stalled = stalled.then_some((synced.reason, synced.message.as_str()));
        // The spec is not reached: kstatus must not take the last that was seen for it.
        let behind = self.synced_generation != self.generation && stalled.is_none() && !self.deleting;
        let reconciling = behind.then_some((ready::UPDATING, "the spec is carried out once the cloud can be seen"));
        self.progress(all, reconciling, stalled);
    }

    /// The pass is over: `Ready`, `Synced`, and by the verdict whether work goes on or a person has to act, which `stalled` may
    /// say too. `Ready` is true only while neither is, so that who waits for it goes on no earlier than who reads kstatus.
    pub fn conclude(
        &self,
        all: &mut Vec<Condition>,
        ready: Statement,
        synced: Statement,
        verdict: &Verdict,
        stalled: bool,
    ) {
        // Nobody mends what is only looked at.
        let watched = ready.reason == ready::NOT_READY && synced.reason == synced::OBSERVE_ONLY;
        let stalled = stalled || watched || verdict.refuses();
        let message = if watched { ready.message.clone() } else { synced.message.clone() };
        let working = verdict.work().filter(|_| !stalled);
        let reconciling = working.map(|work| (work.reason(), message.as_str()));
        let stalled = stalled.then_some((synced.reason, message.as_str()));
        let why = stalled.map(|(_, message)| (ready::NOT_READY, message)).or(reconciling);
        let ready = match why.filter(|_| ready.truth == Truth::True) {
            Some((reason, message)) => Statement::no(reason, message),
            None => ready,
        };
        self.set(all, kind::READY, ready);
        self.progress(all, reconciling, stalled);
        self.set(all, kind::SYNCED, synced);
    }
}
