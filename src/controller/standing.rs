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
    /// Whether the cloud is only looked at.
    pub observing: bool,
    /// Whether the last observation that was whole, or else this process's first try, is younger than three polls.
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
        // Of what is only looked at, any pass over this spec is as good as one that matched.
        let of_this_spec = |it: &&Condition| it.observed_generation == self.generation;
        let looked = conditions::find(all, kind::READY).filter(of_this_spec).map(|it| it.status.as_str());
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
        for (kind, reason) in [(kind::READY, ready::NOT_READY)].iter().chain(self.passing) {
            let ready = *kind == kind::READY;
            // Nobody looks again before a person acted.
            let blind = ready && stalled;
            // What was ready for another spec says nothing of this one.
            let about = |it: &Condition| {
                !ready || !behind || (it.status != Truth::True.as_str() && it.observed_generation == self.generation)
            };
            let known = self.fresh && !blind && conditions::find(all, kind).is_some_and(about);
            let said = known || (ready && self.deleting);
            if !said {
                let text = match (blind, self.fresh) {
                    (true, _) => synced.message.as_str(),
                    (false, false) => "nothing was seen of the cloud for more than three polls",
                    (false, true) if ready => unreached,
                    (false, true) => "nothing was seen of the cloud yet",
                };
                self.set(all, kind, Statement::unknown(reason, text));
            }
        }
        let lasting = self.lasting(all);
        let stalled = stalled.then_some((synced.reason, synced.message.as_str()));
        let stalled = stalled.or(lasting.as_deref().map(|message| (synced::OBSERVE_ONLY, message)));
        let working = conditions::find(all, kind::RECONCILING).map(|it| it.reason.as_str());
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
        let found = conditions::find(all, kind::STALLED).filter(of_this_spec);
        found.filter(|_| self.observing && self.fresh && !self.deleting).map(|it| it.message.clone())
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
            Some((reason, message)) => Statement::no(reason, message),
            None => ready,
        };
        self.set(all, kind::READY, ready);
        self.progress(all, reconciling, stalled);
        self.set(all, kind::SYNCED, synced);
    }
}
