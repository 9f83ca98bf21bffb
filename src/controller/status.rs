//! The part of status that every kind has: `Synced`, `Ready`, `Reconciling` and `Stalled` after a reconcile that acted, without
//! an observation, and while `spec.suspend` is true. Pure.

use super::conditions::{ConditionState, Truth, failure, find, join_limited, remove, set};
use super::events::{Change, EventRecord};
use super::resource::{Expiry, Ran, Report, Resource, Scope};
use super::steps::primary_failure;
use super::verdict::{Verdict, Work};
use crate::api::condition::{condition_type, ready, synced};
use crate::api::{RECONCILE_ANNOTATION, StatusHead};
use crate::cloud::error::{Class, Error};

/// All events of a reconcile that acted: the kind's own first.
pub fn events<K: Resource>(before: &Scope<'_, K>, after: &K::Status, ran: &Ran<'_, K>) -> Vec<EventRecord> {
    let mut records = K::events(before, after, ran);
    records.extend(Change::new(before.status, after).events(&ran.decision.verdict));
    records
}

impl<K: Resource> Scope<'_, K> {
    /// Sets a condition for the object's generation.
    pub fn set(&self, head: &mut StatusHead, condition_type: &str, state: ConditionState) {
        set(&mut head.conditions, condition_type, state, self.generation(), self.now);
    }

    /// Sets `Reconciling` and `Stalled`, which kstatus expects only while they are True.
    fn set_progress(
        &self,
        head: &mut StatusHead,
        reconciling: Option<(&'static str, &str)>,
        stalled: Option<(&'static str, &str)>,
    ) {
        for (condition_type, found) in [(condition_type::RECONCILING, reconciling), (condition_type::STALLED, stalled)]
        {
            match found {
                Some((reason, message)) => self.set(head, condition_type, ConditionState::yes(reason, message)),
                None => remove(&mut head.conditions, condition_type),
            }
        }
    }

    /// The status while `spec.suspend` is true.
    pub fn suspended(&self) -> K::Status {
        let mut status = self.next_status();
        let head = status.as_mut();
        let text = "spec.suspend is true: nothing is read or changed until it is false";
        let state = match self.deleting() {
            true => ConditionState::no(synced::DELETION_BLOCKED, format!("{text}; the deletion waits for that too")),
            false => ConditionState::unknown(synced::SUSPENDED, text),
        };
        self.set(head, condition_type::SYNCED, state);
        for (condition_type, reason) in K::DESCRIPTOR.expiring {
            self.set(head, condition_type, ConditionState::unknown(reason, text));
        }
        // `Ready` for another spec proves nothing about this one.
        if find(&head.conditions, condition_type::READY).is_none() || head.synced_generation != self.generation() {
            self.set(head, condition_type::READY, ConditionState::unknown(ready::NOT_READY, text));
        }
        self.set_progress(head, None, None);
        status
    }

    /// The status after a reconcile without an observation: the cause, and the results of the last observation until they
    /// expire. `stalled` is true where a person has to act.
    pub fn unobserved(&self, synced: &ConditionState, stalled: bool) -> K::Status {
        let mut status = self.next_status();
        let head = status.as_mut();
        head.last_handled_reconcile_at = self.annotation(RECONCILE_ANNOTATION).map(Into::into);
        let state = match self.deleting() {
            true => ConditionState::no(synced::DELETION_BLOCKED, synced.message.clone()),
            false => synced.clone(),
        };
        self.set(head, condition_type::SYNCED, state);
        let behind = self.spec_not_reached(head);
        self.expire(head, synced, stalled, behind);
        K::refresh(self, &mut status);
        let head = status.as_mut();
        let difference = self.lasting_difference(head);
        let stalled = match (stalled, &difference) {
            (true, _) => Some((synced.reason, synced.message.as_str())),
            (false, Some(message)) => Some((synced::OBSERVE_ONLY, message.as_str())),
            (false, None) => None,
        };
        let reconciling = self.work_in_progress(head, behind).filter(|_| stalled.is_none() && !self.deleting());
        self.set_progress(head, reconciling, stalled);
        status
    }

    /// Whether no reconcile compared the cloud with this generation of the spec. In observe mode, each reconcile of this spec
    /// compares it.
    fn spec_not_reached(&self, head: &StatusHead) -> bool {
        let ready = find(&head.conditions, condition_type::READY);
        let compared =
            ready.is_some_and(|it| it.observed_generation == self.generation() && it.status != Truth::Unknown.as_str());
        head.synced_generation != self.generation() && !(self.observe_only() && compared)
    }

    /// Makes `Ready` Unknown where no recent evidence supports it.
    fn expire(&self, head: &mut StatusHead, synced: &ConditionState, stalled: bool, behind: bool) {
        if self.deleting() {
            self.set(head, condition_type::READY, ConditionState::no(ready::DELETING, DELETING));
        } else if stalled || !self.evidence_recent() || !self.ready_is_about_spec(head, behind) {
            let text = match (stalled, self.evidence_recent()) {
                (true, _) => synced.message.as_str(),
                (false, false) => EXPIRED,
                (false, true) if self.observe_only() => "the cloud could not be seen since the spec changed",
                (false, true) => "the spec is not carried out yet, and the cloud cannot be seen",
            };
            self.set(head, condition_type::READY, ConditionState::unknown(ready::NOT_READY, text));
        }
    }

    /// The status between reconciles: what the evidence of this process says now, and the expiry of that evidence. `unlisted` is the
    /// error of the inventory that shows the object, if it fails.
    pub fn refreshed(&self, unlisted: Option<&Error>) -> (K::Status, Vec<Expiry>) {
        let mut status = self.status.clone();
        let head = status.as_mut();
        let known = find(&head.conditions, condition_type::READY).is_some_and(|it| it.reason != ready::DELETING);
        if self.deleting() || self.object.management().suspend || !known {
            return (status, self.expiries());
        }
        let current = head.observed_generation == self.generation();
        if let Some(error) = unlisted.filter(|_| current) {
            let (synced, stalled) = failure(error);
            if stalled {
                self.set(head, condition_type::READY, ConditionState::unknown(ready::NOT_READY, &synced.message));
                self.set_progress(head, None, Some((synced.reason, &synced.message)));
            }
            self.set(head, condition_type::SYNCED, synced);
        }
        let certain =
            find(&head.conditions, condition_type::READY).is_some_and(|it| it.status != Truth::Unknown.as_str());
        if certain && !self.evidence_recent() {
            let text = unlisted.map_or_else(|| EXPIRED.to_owned(), |error| format!("{EXPIRED}: {error}"));
            self.set(head, condition_type::READY, ConditionState::unknown(ready::NOT_READY, text));
        }
        let expiries = self.refresh(&mut status);
        K::settle_tasks(self, &mut status);
        (status, expiries)
    }

    /// The expiry of the evidence of each condition that rests on some. Nothing is observed of an object that is suspended, and no
    /// condition of one that is being deleted rests on an observation.
    pub fn expiries(&self) -> Vec<Expiry> {
        if self.deleting() || self.object.management().suspend {
            return vec![];
        }
        self.refresh(&mut self.status.clone())
    }

    /// Sets the kind's own conditions by the evidence. The expiry of the evidence of each condition.
    fn refresh(&self, status: &mut K::Status) -> Vec<Expiry> {
        let mut all = K::refresh(self, status);
        all.extend(self.evidence_until().map(|at| Expiry { condition_type: condition_type::READY, at }));
        all
    }

    /// Makes the conditions of a kind Unknown that rest on an observation of a reconcile, once it is too old.
    pub fn expire_observed(&self, head: &mut StatusHead) -> Vec<Expiry> {
        let mut all = Vec::new();
        for (condition_type, reason) in K::DESCRIPTOR.expiring {
            all.extend(self.evidence_until().map(|at| Expiry { condition_type, at }));
            if self.evidence_recent() && find(&head.conditions, condition_type).is_some() {
                continue;
            }
            let text = if self.evidence_recent() { "nothing was seen of the cloud yet" } else { EXPIRED };
            self.set(head, condition_type, ConditionState::unknown(reason, text));
        }
        all
    }

    /// Whether `Ready` is about this spec. `Ready` for another spec is not, nor is `Ready=True` before the spec is reached.
    fn ready_is_about_spec(&self, head: &StatusHead, behind: bool) -> bool {
        find(&head.conditions, condition_type::READY).is_some_and(|it| {
            !behind || (it.status != Truth::True.as_str() && it.observed_generation == self.generation())
        })
    }

    /// The work that the last observation found in progress. The duration of a failover includes an outage.
    fn work_in_progress(&self, head: &StatusHead, behind: bool) -> Option<(&'static str, &'static str)> {
        let working = find(&head.conditions, condition_type::RECONCILING).map(|it| it.reason.as_str());
        match working {
            Some(ready::FAILING_OVER) => {
                Some((ready::FAILING_OVER, "when the cloud was last seen, the other site was becoming the active one"))
            }
            Some(ready::REPROTECTING) => {
                Some((ready::REPROTECTING, "when the cloud was last seen, replication was being reversed"))
            }
            Some(ready::CANCELLING) => {
                Some((ready::CANCELLING, "when the cloud was last seen, a failover was being cancelled"))
            }
            // kstatus must not take the last observation for the new spec.
            Some(_) | None if behind && self.observe_only() => {
                Some((ready::UPDATING, "the spec is compared once the cloud can be seen"))
            }
            Some(_) | None if behind => Some((ready::UPDATING, "the spec is carried out once the cloud can be seen")),
            Some(_) | None => None,
        }
    }

    /// A difference that observe mode found and does not correct. It lasts until its evidence expires.
    fn lasting_difference(&self, head: &StatusHead) -> Option<String> {
        let found = find(&head.conditions, condition_type::STALLED)?;
        let lasts = self.observe_only() && self.evidence_recent() && !self.deleting();
        let same = found.reason == synced::OBSERVE_ONLY && found.observed_generation == self.generation();
        (lasts && same).then(|| found.message.clone())
    }

    /// The status before this reconcile, for this generation. A requested reconcile forgets refusals.
    fn next_status(&self) -> K::Status {
        let mut status = self.status.clone();
        status.as_mut().observed_generation = self.generation();
        if self.reconcile_requested() {
            K::forget_refusals(&mut status);
        }
        status
    }

    /// The status after a reconcile that acted: the kind's report, and the conclusions of shared code. `Ready` is True only
    /// while no work is in progress and no person has to act, so that it agrees with kstatus.
    pub fn concluded(&self, report: Report<K>, ran: &Ran<'_, K>) -> K::Status {
        let Report { mut status, ready, synced, .. } = report;
        let head = status.as_mut();
        head.observed_generation = self.generation();
        head.last_handled_reconcile_at = self.annotation(RECONCILE_ANNOTATION).map(Into::into);
        let (synced, stalled) = synced.unwrap_or_else(|| self.synced(head, ran));
        if !self.deleting() && synced.truth == Truth::True {
            head.synced_generation = self.generation();
        }
        let ready = match self.deleting() {
            true => ConditionState::no(ready::DELETING, DELETING),
            false => ready,
        };
        self.conclude(head, ready, synced, &ran.decision.verdict, stalled);
        status
    }

    fn conclude(
        &self,
        head: &mut StatusHead,
        ready: ConditionState,
        synced: ConditionState,
        verdict: &Verdict,
        stalled: bool,
    ) {
        let refused = stalled || verdict.refuses();
        // In observe mode the operator does not correct a difference. Work in progress ends without it.
        let observed = self.observe_only() && !refused && ready.truth == Truth::False;
        let lasts = ready.reason == ready::NOT_READY;
        let found = ready.message.clone();
        let reconciling = match verdict.work() {
            _ if refused => None,
            _ if observed => (!lasts).then_some((ready.reason, found.as_str())),
            work => work.map(|work| (work.reason(), synced.message.as_str())),
        };
        let stalled = match refused {
            true => Some((synced.reason, synced.message.as_str())),
            false => (observed && lasts).then_some((synced::OBSERVE_ONLY, found.as_str())),
        };
        let why = stalled.map(|(_, message)| (ready::NOT_READY, message)).or(reconciling);
        let ready = match why.filter(|_| ready.truth == Truth::True) {
            Some((reason, message)) => ConditionState::no(reason, message),
            None => ready,
        };
        self.set(head, condition_type::READY, ready);
        self.set_progress(head, reconciling, stalled);
        self.set(head, condition_type::SYNCED, synced);
    }

    /// `Synced` after a reconcile that acted, and whether a failure needs a person.
    fn synced(&self, head: &StatusHead, ran: &Ran<'_, K>) -> (ConditionState, bool) {
        let failed = primary_failure(ran.acted);
        let stalled = failed.is_some_and(|error| failure(error).1);
        let verdict = &ran.decision.verdict;
        let state = match (failed, verdict) {
            (Some(error), _) if self.deleting() => ConditionState::no(synced::DELETION_BLOCKED, error.to_string()),
            // A refusal by the operator is more useful than a conflict that passes.
            (Some(Error { class: Class::Conflict, .. }) | None, Verdict::Refused { reason, message }) => {
                ConditionState::no(reason, message.clone())
            }
            (Some(error), _) => failure(error).0,
            (None, _) => self.synced_by_verdict(head, verdict),
        };
        (state, stalled)
    }

    fn synced_by_verdict(&self, head: &StatusHead, verdict: &Verdict) -> ConditionState {
        let fields: Vec<_> = head.drift.iter().map(|it| it.field.clone()).collect();
        let fields = join_limited(&fields);
        let noun = K::DESCRIPTOR.noun;
        if self.observe_only() && !self.deleting() {
            return match head.drift.is_empty() {
                true => {
                    ConditionState::yes(synced::OBSERVE_ONLY, "the cloud matches the spec; nothing is ever changed")
                }
                false => ConditionState::no(
                    synced::OBSERVE_ONLY,
                    format!("the cloud differs in {fields}; nothing is changed, since managementPolicy is Observe"),
                ),
            };
        }
        let drifted = !self.deleting() && self.synced_before() && !head.drift.is_empty();
        match verdict {
            Verdict::InSync if self.deleting() => {
                ConditionState::no(synced::PROGRESSING, Work::Deleting.describe(noun))
            }
            Verdict::InSync => ConditionState::yes(synced::IN_SYNC, "the cloud matches the spec"),
            Verdict::Refused { reason, message } => ConditionState::no(reason, message.clone()),
            _ if drifted => {
                ConditionState::no(synced::DRIFTED, format!("somebody changed {fields}; it is being corrected"))
            }
            Verdict::Waiting { on, .. } => ConditionState::no(synced::PROGRESSING, on.clone()),
            Verdict::Acting(Work::Creating | Work::Updating) if !head.drift.is_empty() => {
                ConditionState::no(synced::PROGRESSING, format!("changing {fields}"))
            }
            Verdict::Acting(work) => ConditionState::no(synced::PROGRESSING, work.describe(noun)),
            Verdict::Released { .. } => ConditionState::no(synced::PROGRESSING, Work::Deleting.describe(noun)),
        }
    }
}

const DELETING: &str = "the object is being deleted";
const EXPIRED: &str = "no observation of the cloud is recent enough";
