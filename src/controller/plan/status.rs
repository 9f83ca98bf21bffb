//! Says in status what a pass saw and did. Pure: the old status, the pass and the time in, the new status out.

use std::time::Duration;

use jiff::Timestamp;
use secrecy::ExposeSecret;

use super::act::{Acted, Outcome};
use super::diff::{Decision, Phase, Step, Verdict, given_up, still_hidden, window};
use super::lag::{self, GroupLag};
use super::observe::{Binding, Observed, Sight};
use super::owner::{self, Owner};
use super::resolve::{self, Items};
use crate::api::condition::{kind, offsets, protected, ready, synced};
use crate::api::plan::{
    CreationStatus, DisasterRecoveryPlanSpec, DisasterRecoveryPlanStatus, ItemCreationStatus, ManagementPolicy,
    MappingState, SentCredentials, TopicMapping, TopicMappingStatus, UpdateAttempts,
};
use crate::cloud::error::{Class, Error};
use crate::cloud::rocketmq::{ItemStatus, PlanView};
use crate::conditions::{self, Statement, Truth};

/// The pass that a status is about.
#[derive(Clone, Copy, Debug)]
pub struct Pass<'a> {
    /// The generation of the spec.
    pub generation: Option<i64>,
    /// Whether the object is being deleted.
    pub deleting: bool,
    /// The status as the API server has it, the intents of this pass included.
    pub old: &'a DisasterRecoveryPlanStatus,
    /// The spec.
    pub spec: &'a DisasterRecoveryPlanSpec,
    /// Where the plan is.
    pub binding: &'a Binding,
    /// The value of the annotation that asks for a pass.
    pub reconcile_requested: Option<&'a str>,
    /// The value of the annotation that asks for a synchronization of all checkpoints.
    pub sync_requested: Option<&'a str>,
    /// How often the cloud is looked at, in ms.
    pub poll_ms: i64,
    /// Whether the last complete observation, of this pass or before, is younger than three polls.
    pub fresh: bool,
    /// How long an item may take to become visible after the call that made it.
    pub visibility_window: Duration,
    /// The time.
    pub now: Timestamp,
}

/// What the pass came to.
#[derive(Clone, Copy, Debug)]
pub enum Report<'a> {
    /// It observed, decided and acted.
    Ran {
        /// What it saw.
        seen: &'a Observed,
        /// What it decided.
        decision: &'a Decision,
        /// What it did.
        acted: &'a [Acted],
    },
    /// It could not observe.
    Failed {
        /// What `Synced` says of it.
        synced: &'a Statement,
        /// Whether a person has to act.
        stalled: bool,
    },
    /// It was not to do anything.
    Suspended,
}

/// The status with the intents of the decision's calls that have no client token, if there are any. It is written before
/// them, so that a crash or a lost answer is followed by looking and not by doing it again.
pub fn intended(
    old: &DisasterRecoveryPlanStatus,
    decision: &Decision,
    nonce: &str,
    now: Timestamp,
) -> Option<DisasterRecoveryPlanStatus> {
    let (mut new, time) = (old.clone(), conditions::seconds(now));
    for step in &decision.steps {
        let nonce = nonce.to_owned();
        match step {
            Step::CreatePlan { .. } => new.creation = Some(CreationStatus { nonce, time }),
            Step::AddItem { topics, .. } => {
                let topics = resolve::pair(topics);
                new.item_creations.retain(|it| it.topics != topics);
                new.item_creations.push(ItemCreationStatus { topics, nonce, time, item_id: None });
            }
            Step::UpdatePlan { .. }
            | Step::UpdateItem { .. }
            | Step::StartItem { .. }
            | Step::StopItem { .. }
            | Step::DeleteItem { .. }
            | Step::DeletePlan { .. }
            | Step::SyncCheckpoints { .. } => {}
        }
    }
    (new != *old).then_some(new)
}

/// The most differences that status names: thousands of items to be pruned must not make the object too large.
const MOST_DRIFT: usize = 50;
/// How often a change of the plan is made that the API accepts and does not keep.
const MOST_ATTEMPTS: i32 = 5;

/// What `Synced` says of a failed call, and whether a person has to act.
pub fn failure(error: &Error) -> (Statement, bool) {
    let message = error.to_string();
    match error.class {
        Class::Denied => (Statement::no(synced::ACCESS_DENIED, message), true),
        Class::Invalid => (Statement::no(synced::INVALID_SPEC, message), true),
        Class::Conflict | Class::NotFound => (Statement::no(synced::PROGRESSING, message), false),
        Class::Throttled { .. } => (Statement::unknown(synced::THROTTLED, message), false),
        Class::Unavailable | Class::Ambiguous => (Statement::unknown(synced::CLOUD_UNAVAILABLE, message), false),
    }
}

/// The first failure among the outcomes.
pub fn first_failure(acted: &[Acted]) -> Option<&Error> {
    acted.iter().find_map(|it| match &it.outcome {
        Outcome::Failed(error) => Some(error),
        Outcome::Done | Outcome::CreatedPlan(_) | Outcome::AddedItem(_) | Outcome::Synced { .. } | Outcome::Skipped => {
            None
        }
    })
}

/// The status after a pass.
pub fn status(pass: &Pass<'_>, report: &Report<'_>) -> DisasterRecoveryPlanStatus {
    let mut new = pass.old.clone();
    new.observed_generation = pass.generation;
    match report {
        Report::Suspended => suspended(pass, &mut new),
        Report::Failed { synced, stalled } => {
            let statement = if pass.deleting {
                Statement::no(synced::DELETION_BLOCKED, synced.message.clone())
            } else {
                (*synced).clone()
            };
            set(pass, &mut new, kind::SYNCED, statement);
            not_seen(pass, &mut new);
            let stalled = stalled.then_some((synced.reason, synced.message.as_str()));
            // The spec is not reached: kstatus must not take the last that was seen for it.
            let behind = new.synced_generation != pass.generation && stalled.is_none() && !pass.deleting;
            let reconciling = behind.then_some((ready::UPDATING, "the spec is carried out once the cloud can be seen"));
            progress(pass, &mut new, reconciling, stalled);
            new.last_handled_reconcile_at = pass.reconcile_requested.map(Into::into);
        }
        Report::Ran { seen, decision, acted } => {
            ran(pass, &mut new, seen, decision, acted);
            new.last_handled_reconcile_at = pass.reconcile_requested.map(Into::into);
        }
    }
    new
}

fn set(pass: &Pass<'_>, new: &mut DisasterRecoveryPlanStatus, kind: &str, statement: Statement) {
    conditions::set(&mut new.conditions, kind, statement, pass.generation, pass.now);
}

/// kstatus: `Reconciling` and `Stalled` are there only while they are true.
fn progress(
    pass: &Pass<'_>,
    new: &mut DisasterRecoveryPlanStatus,
    reconciling: Option<(&'static str, &str)>,
    stalled: Option<(&'static str, &str)>,
) {
    for (kind, found) in [(kind::RECONCILING, reconciling), (kind::STALLED, stalled)] {
        match found {
            Some((reason, message)) => set(pass, new, kind, Statement::yes(reason, message)),
            None => conditions::remove(&mut new.conditions, kind),
        }
    }
}

fn suspended(pass: &Pass<'_>, new: &mut DisasterRecoveryPlanStatus) {
    let text = "spec.suspend is true: nothing is read or changed until it is false";
    let statement = if pass.deleting {
        Statement::no(synced::DELETION_BLOCKED, format!("{text}; the deletion waits for that too"))
    } else {
        Statement::unknown(synced::SUSPENDED, text)
    };
    set(pass, new, kind::SYNCED, statement);
    set(pass, new, kind::PROTECTED, Statement::unknown(protected::UNKNOWN, text));
    set(pass, new, kind::OFFSETS_COVERED, Statement::unknown(offsets::UNKNOWN, text));
    // What was ready for another spec says nothing of this one.
    if conditions::find(&new.conditions, kind::READY).is_none() || new.synced_generation != pass.generation {
        set(pass, new, kind::READY, Statement::unknown(ready::NOT_READY, text));
    }
    progress(pass, new, None, None);
}

/// What is said while the cloud cannot be seen: the last that was seen, until it is older than three polls.
fn not_seen(pass: &Pass<'_>, new: &mut DisasterRecoveryPlanStatus) {
    if pass.deleting {
        set(pass, new, kind::READY, Statement::no(ready::DELETING, "the object is being deleted"));
    }
    let text = "nothing was seen of the cloud for more than three polls";
    let stale = [
        (kind::READY, ready::NOT_READY),
        (kind::PROTECTED, protected::UNKNOWN),
        (kind::OFFSETS_COVERED, offsets::UNKNOWN),
    ];
    for (kind, reason) in stale {
        let behind = kind == kind::READY && new.synced_generation != pass.generation;
        let known = pass.fresh && !behind && conditions::find(&new.conditions, kind).is_some();
        let deleting = pass.deleting && kind == kind::READY;
        if !known && !deleting {
            set(pass, new, kind, Statement::unknown(reason, text));
        }
    }
}

fn ran(pass: &Pass<'_>, new: &mut DisasterRecoveryPlanStatus, seen: &Observed, decision: &Decision, acted: &[Acted]) {
    let failed = first_failure(acted);
    identity(pass, new, seen, decision, acted);
    mappings(pass, new, seen, acted);
    sent_credentials(pass, new, seen, acted);
    let refused_while_running = update_failed(acted, Class::Conflict).is_some()
        && seen.items.iter().any(|item| item.item_status == ItemStatus::Running);
    let blocked_by = decision.blocked_by.as_deref().filter(|_| refused_while_running);
    pauses(pass, new, seen, decision, acted, refused_while_running && blocked_by.is_none());
    new.drift = decision.drift.iter().take(MOST_DRIFT).cloned().collect();
    let correcting = pass.old.synced_generation == pass.generation && !pass.deleting;
    if (correcting || !pass.old.paused_items.is_empty())
        && matches!(decision.verdict, Verdict::Acting(_) | Verdict::Waiting { .. })
    {
        // What was found is not corrected before all runs again.
        let lasting = pass.old.drift.iter().filter(|old| !decision.drift.iter().any(|new| new.field == old.field));
        new.drift.extend(lasting.cloned());
    }
    let synchronized = acted.iter().any(|it| matches!(it.outcome, Outcome::Synced { .. }));
    if synchronized || pass.spec.management_policy == ManagementPolicy::Observe {
        new.last_handled_sync_checkpoints_at = pass.sync_requested.map(Into::into);
    }

    let plan = plan_of(pass, seen);
    let instances = plan.map(|plan| resolve::instances(pass.spec, plan)).unwrap_or_default();
    let items = resolve::items(pass.spec, &pass.old.topic_mappings, &instances, &seen.items);
    coverage(pass, new, seen, plan, &items);
    set(pass, new, kind::READY, readiness(pass, decision, plan, &items));

    let synced = match blocked_by {
        Some(message) if !pass.deleting => Statement::no(synced::ITEMS_RUNNING, message),
        _ => synchrony(pass, new, seen, decision, failed, refused_while_running),
    };
    let reached = synced.truth == Truth::True;
    if !pass.deleting && reached {
        new.synced_generation = pass.generation;
    }
    let phase = |phase: Phase| match phase {
        Phase::Creating => ready::CREATING,
        Phase::Updating => ready::UPDATING,
        Phase::Deleting => ready::DELETING,
    };
    let stalled_by_failure = failed.map(|error| failure(error).1).unwrap_or_default();
    let message = synced.message.clone();
    let stalled = stalled_by_failure || blocked_by.is_some() || matches!(decision.verdict, Verdict::Refused { .. });
    let reconciling = match &decision.verdict {
        Verdict::Acting(it) | Verdict::Waiting { phase: it, .. } if !stalled => Some((phase(*it), message.as_str())),
        _ => None,
    };
    let stalled = stalled.then_some((synced.reason, message.as_str()));
    progress(pass, new, reconciling, stalled);
    set(pass, new, kind::SYNCED, synced);
}

/// The failure of the plan's update, if it is of that class.
fn update_failed(acted: &[Acted], class: Class) -> Option<&Error> {
    acted.iter().find_map(|it| match (&it.step, &it.outcome) {
        (Step::UpdatePlan { .. }, Outcome::Failed(error)) if error.class == class => Some(error),
        _ => None,
    })
}

/// Which items are stopped for the plan's sake, and which change it has refused for good.
fn pauses(
    pass: &Pass<'_>,
    new: &mut DisasterRecoveryPlanStatus,
    seen: &Observed,
    decision: &Decision,
    acted: &[Acted],
    refused_while_running: bool,
) {
    if !decision.pause_for_update {
        new.paused_items.clear();
    }
    if refused_while_running && new.paused_items.is_empty() {
        let running = seen.items.iter().filter(|item| item.item_status == ItemStatus::Running);
        new.paused_items = running.map(|item| item.item_id.to_string()).collect();
    }
    let asked_again = pass.reconcile_requested != pass.old.last_handled_reconcile_at.as_deref();
    let Some(change) = decision.change.clone().filter(|_| !asked_again) else {
        new.update_attempts = None;
        return;
    };
    let expired = |it: &UpdateAttempts| it.refused_at.is_some() && !given_up(it, pass.now);
    let known = pass.old.update_attempts.clone().filter(|it| it.change == change && !expired(it));
    let mut attempts = known.unwrap_or(UpdateAttempts { change, times: 0, refusal: None, refused_at: None });
    let paused = !pass.old.paused_items.is_empty();
    let advice = format!(
        "it is tried again in an hour, or when the spec or the Secret changes, or when {} is annotated",
        crate::api::RECONCILE_ANNOTATION
    );
    for it in acted.iter().filter(|it| matches!(it.step, Step::UpdatePlan { .. })) {
        match &it.outcome {
            // A change that is refused before any item was stopped for it costs nothing to be tried again.
            Outcome::Failed(error @ Error { class: Class::Invalid | Class::Denied, .. }) if paused => {
                attempts.refusal = Some(format!("{error}; {advice}"));
            }
            Outcome::Failed(Error { class: Class::Conflict, .. }) if paused && !refused_while_running => {
                attempts.times += 1;
            }
            Outcome::Done => attempts.times += 1,
            _ => {}
        }
        if attempts.times >= MOST_ATTEMPTS {
            attempts.refusal = Some(match &it.outcome {
                Outcome::Failed(error) => format!("{error}; {advice}"),
                _ => format!("the API accepts the change and does not keep it; {advice}"),
            });
        }
    }
    if attempts.refusal.is_some() {
        attempts.refused_at.get_or_insert(conditions::seconds(pass.now));
    }
    new.update_attempts = Some(attempts).filter(|it| it.times > 0 || it.refusal.is_some());
}

/// The plan's ID and status, and whether a Create may still be unanswered.
fn identity(
    pass: &Pass<'_>,
    new: &mut DisasterRecoveryPlanStatus,
    seen: &Observed,
    decision: &Decision,
    acted: &[Acted],
) {
    match (&seen.plan, plan_of(pass, seen)) {
        (Sight::Found(_), Some(plan)) => {
            let observing = pass.spec.management_policy == ManagementPolicy::Observe;
            let ours = owner_of(plan, pass.binding) == Owner::Us;
            if observing || ours {
                new.plan_id = Some(plan.plan_id.to_string());
            }
            new.plan_status = Some(plan.plan_status.as_str().into());
            // Another plan says nothing of the one that an unanswered Create may have made.
            if ours || !matches!(decision.verdict, Verdict::Waiting { .. }) {
                new.creation = None;
            }
        }
        (Sight::Found(_), None) => new.plan_status = None,
        (Sight::Absent { missing, .. }, _) => {
            // A plan that was just made may not be visible yet, and one that is not found is looked for once more.
            let known = new.creation.is_some() || matches!(decision.verdict, Verdict::Waiting { .. });
            if !known {
                new.plan_id = None;
            }
            if missing.is_some() && new.creation.is_none() {
                new.missing_since.get_or_insert(conditions::seconds(pass.now));
            }
            new.plan_status = None;
        }
    }
    if matches!(seen.plan, Sight::Found(_)) || acted.iter().any(|it| matches!(it.outcome, Outcome::CreatedPlan(_))) {
        new.missing_since = None;
    }
    for it in acted {
        if !matches!(it.step, Step::CreatePlan { .. }) {
            continue;
        }
        match &it.outcome {
            Outcome::CreatedPlan(id) => new.plan_id = Some(id.to_string()),
            Outcome::Failed(Error { class: Class::Ambiguous, .. }) => new.plan_id = None,
            Outcome::Failed(_) | Outcome::Skipped | Outcome::Done | Outcome::AddedItem(_) | Outcome::Synced { .. } => {
                (new.plan_id, new.creation) = (None, None);
            }
        }
    }
}

/// The plan, unless it is another owner's: then it says nothing about this object. Who only observes may observe any.
fn plan_of<'a>(pass: &Pass<'_>, seen: &'a Observed) -> Option<&'a PlanView> {
    match &seen.plan {
        Sight::Found(plan) => {
            let observing = pass.spec.management_policy == ManagementPolicy::Observe;
            let foreign = matches!(owner_of(plan, pass.binding), Owner::Another(_));
            (observing || !foreign).then_some(plan.as_ref())
        }
        Sight::Absent { .. } => None,
    }
}

fn owner_of(plan: &PlanView, binding: &Binding) -> Owner {
    owner::owner(plan.plan_desc.as_deref().unwrap_or_default(), &binding.mark)
}

/// The mappings of the spec with their items.
fn mappings(pass: &Pass<'_>, new: &mut DisasterRecoveryPlanStatus, seen: &Observed, acted: &[Acted]) {
    let Some(plan) = plan_of(pass, seen) else {
        new.topic_mappings.clear();
        new.items = Some(format!("0/{}", pass.spec.topic_mappings.len()));
        new.checkpoints = None;
        return;
    };
    let instances = resolve::instances(pass.spec, plan);
    let items = resolve::items(pass.spec, &pass.old.topic_mappings, &instances, &seen.items);
    let added = |name: &str| {
        acted.iter().find_map(|it| match &it.step {
            Step::AddItem { mapping, .. } if mapping == name => Some(&it.outcome),
            _ => None,
        })
    };
    // An intent stays until its item is seen, surely was not made, or should long have been seen.
    let failed: Vec<String> = acted
        .iter()
        .filter_map(|it| match (&it.step, &it.outcome) {
            (Step::AddItem { .. }, Outcome::AddedItem(_) | Outcome::Failed(Error { class: Class::Ambiguous, .. })) => {
                None
            }
            (Step::AddItem { topics, .. }, _) => Some(resolve::pair(topics)),
            _ => None,
        })
        .collect();
    for it in acted {
        if let (Step::AddItem { topics, .. }, Outcome::AddedItem(id)) = (&it.step, &it.outcome) {
            let pair = resolve::pair(topics);
            let begun = new.item_creations.iter_mut().find(|it| it.topics == pair);
            begun.into_iter().for_each(|it| it.item_id = Some(id.to_string()));
        }
    }
    let visible: Vec<String> = seen.items.iter().map(|item| resolve::pair(&item.topics)).collect();
    let mapped: Vec<String> = {
        let wanted = pass.spec.topic_mappings.iter().filter(|it| items.mapped.contains_key(it.name.as_str()));
        wanted.map(|it| resolve::pair(&resolve::topics(pass.spec, it, &instances))).collect()
    };
    new.item_creations.retain(|it| {
        let window = window(pass.visibility_window, it.item_id.is_some());
        let hidden = still_hidden(it.time, window, pass.now).is_some();
        hidden && !failed.contains(&it.topics) && !visible.contains(&it.topics) && !mapped.contains(&it.topics)
    });
    let mut all = Vec::with_capacity(pass.spec.topic_mappings.len());
    for mapping in &pass.spec.topic_mappings {
        let old = pass.old.topic_mappings.iter().find(|it| it.name == mapping.name);
        let pair = resolve::pair(&resolve::topics(pass.spec, mapping, &instances));
        let begun = new.item_creations.iter().any(|it| it.topics == pair);
        let mut entry = TopicMappingStatus {
            name: mapping.name.clone(),
            item_id: None,
            item_status: None,
            checkpoints: old.and_then(|it| it.checkpoints.clone()),
        };
        match (items.mapped.get(mapping.name.as_str()), added(&mapping.name)) {
            (Some(item), _) => {
                entry.item_id = Some(item.item_id.to_string());
                entry.item_status = Some(item.item_status.as_str().into());
            }
            (None, Some(Outcome::AddedItem(id))) => entry.item_id = Some(id.to_string()),
            (None, _) => entry.item_id = old.and_then(|it| it.item_id.clone()).filter(|_| begun),
        }
        all.push(entry);
    }
    let running = items.mapped.values().filter(|item| item.item_status == ItemStatus::Running).count();
    new.items = Some(format!("{running}/{}", pass.spec.topic_mappings.len()));
    new.topic_mappings = all;
}

/// Which Secrets the cloud has, so that a rotation is noticed.
fn sent_credentials(pass: &Pass<'_>, new: &mut DisasterRecoveryPlanStatus, seen: &Observed, acted: &[Acted]) {
    let sent = acted.iter().any(|it| match (&it.step, &it.outcome) {
        (Step::CreatePlan { .. }, Outcome::CreatedPlan(_)) => true,
        (Step::UpdatePlan { plan, .. }, Outcome::Done) => plan.instances.is_some(),
        _ => false,
    });
    let named =
        |name: &str| pass.spec.instances.iter().any(|it| it.name == name && it.credentials_secret_ref.is_some());
    new.sent_credentials.retain(|it| named(&it.instance));
    if let (true, Ok(credentials)) = (sent, &seen.credentials) {
        let entry = |(instance, it): (&String, &super::observe::AclCredentials)| SentCredentials {
            instance: instance.clone(),
            secret_name: it.secret_name.clone(),
            resource_version: it.resource_version.clone(),
            echoed: false,
        };
        new.sent_credentials = credentials.iter().map(entry).collect();
    }
    let (Some(plan), Ok(credentials)) = (plan_of(pass, seen), &seen.credentials) else { return };
    let instances = resolve::instances(pass.spec, plan);
    for entry in &mut new.sent_credentials {
        let ours = credentials.get(&entry.instance).and_then(|it| it.password.as_ref());
        let found = instances.get(entry.instance.as_str()).and_then(|it| it.password.as_ref());
        if let (Some(ours), Some(found)) = (ours, found) {
            entry.echoed |= found.expose() == ours.expose_secret();
        }
    }
}

/// Whether everything runs as the spec says.
fn readiness(pass: &Pass<'_>, decision: &Decision, plan: Option<&PlanView>, items: &Items<'_>) -> Statement {
    if pass.deleting {
        return Statement::no(ready::DELETING, "the object is being deleted");
    }
    let Some(_) = plan else {
        return match &decision.verdict {
            Verdict::Refused { message, .. } => Statement::no(ready::NOT_READY, message.clone()),
            _ => Statement::no(ready::CREATING, "the plan is being created"),
        };
    };
    let current = pass.old.synced_generation == pass.generation;
    let overdue = |it: &TopicMapping| {
        let status = items.mapped.get(it.name.as_str()).map(|item| &item.item_status);
        it.state == MappingState::Running && status == Some(&ItemStatus::OverdueStopped)
    };
    let current = current || pass.spec.topic_mappings.iter().any(overdue);
    match &decision.verdict {
        Verdict::Refused { message, .. } if !current => return Statement::no(ready::NOT_READY, message.clone()),
        Verdict::Acting(Phase::Creating) => return Statement::no(ready::CREATING, "topic mappings are being added"),
        Verdict::Waiting { phase: Phase::Creating, on } => return Statement::no(ready::CREATING, on.clone()),
        Verdict::Acting(_) if !current => return Statement::no(ready::UPDATING, "a change of the spec is carried out"),
        Verdict::Waiting { on, .. } => return Statement::no(ready::UPDATING, on.clone()),
        Verdict::Acting(_) | Verdict::Refused { .. } | Verdict::InSync | Verdict::Released { .. } => {}
    }
    let mut stopped = Vec::new();
    for mapping in pass.spec.topic_mappings.iter().filter(|it| it.state == MappingState::Running) {
        match items.mapped.get(mapping.name.as_str()).map(|item| &item.item_status) {
            Some(ItemStatus::Running) => {}
            Some(ItemStatus::OverdueStopped) => {
                stopped.push(format!("{} (OVERDUE_STOPPED: settle the overdue payment)", mapping.name));
            }
            Some(other) => stopped.push(format!("{} ({})", mapping.name, other.as_str())),
            None => stopped.push(format!("{} (absent)", mapping.name)),
        }
    }
    let all = pass.spec.topic_mappings.len();
    if !stopped.is_empty() && !pass.old.paused_items.is_empty() {
        return Statement::no(ready::UPDATING, "topic mappings are stopped while the plan is changed");
    }
    if !stopped.is_empty() {
        return Statement::no(ready::NOT_READY, format!("topic mappings do not run: {}", listed(&stopped)));
    }
    if all > 0 && pass.spec.topic_mappings.iter().all(|it| it.state == MappingState::Stopped) {
        return Statement::no(ready::STOPPED, "every topic mapping is stopped, as the spec says");
    }
    Statement::yes(ready::AVAILABLE, format!("the plan is as the spec says; topic mappings: {all}"))
}

/// At most five entries, and how many more there are.
fn listed(entries: &[String]) -> String {
    let head = entries.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    match entries.len().saturating_sub(5) {
        0 => head,
        more => format!("{head} and {more} more"),
    }
}

/// Lags, and what they mean for a failover.
fn coverage(
    pass: &Pass<'_>,
    new: &mut DisasterRecoveryPlanStatus,
    seen: &Observed,
    plan: Option<&PlanView>,
    items: &Items<'_>,
) {
    let unknown =
        |text: &str| (Statement::unknown(protected::UNKNOWN, text), Statement::unknown(offsets::UNKNOWN, text));
    let (protection, covered) = match (plan, &seen.checkpoints) {
        _ if pass.deleting => unknown("the object is being deleted"),
        (None, _) if matches!(seen.plan, Sight::Found(_)) => unknown("the plan is another owner's"),
        (None, _) => {
            let text = "there is no plan";
            (Statement::no(protected::REPLICATION_STOPPED, text), Statement::unknown(offsets::UNKNOWN, text))
        }
        (Some(_), Err(error)) if !pass.fresh => {
            unknown(&format!("no checkpoint was read for more than three polls: {error}"))
        }
        (Some(_), Err(_)) => match (replicates(pass, items), still_true(new)) {
            (Err(statement), _) => {
                set(pass, new, kind::PROTECTED, statement);
                return;
            }
            (Ok(()), true) if pass.old.synced_generation == pass.generation => return,
            (Ok(()), _) => unknown("no checkpoint was read yet"),
        },
        (Some(plan), Ok(checkpoints)) => {
            let lags = lag::lags(items, checkpoints);
            let objective_ms = objective_ms(pass.spec);
            let disabled = plan.sync_checkpoint_enabled == Some(false);
            if disabled {
                new.checkpoints = None;
                new.topic_mappings.iter_mut().for_each(|it| it.checkpoints = None);
            } else {
                let stale_ms = pass.poll_ms.saturating_mul(20).max(900_000);
                for entry in &mut new.topic_mappings {
                    let own = lags.iter().filter(|it| it.mapping == entry.name);
                    entry.checkpoints = Some(lag::summary(own, objective_ms, entry.checkpoints.as_ref()));
                }
                new.checkpoints =
                    Some(lag::plan_checkpoints(&lags, objective_ms, pass.old.checkpoints.as_ref(), stale_ms));
            }
            (protection(pass, &lags, objective_ms, disabled, items), covered(&lags, disabled))
        }
    };
    set(pass, new, kind::PROTECTED, protection);
    set(pass, new, kind::OFFSETS_COVERED, covered);
}

fn still_true(new: &DisasterRecoveryPlanStatus) -> bool {
    conditions::find(&new.conditions, kind::PROTECTED).is_some()
        && conditions::find(&new.conditions, kind::OFFSETS_COVERED).is_some()
}

/// The objective in ms.
pub fn objective_ms(spec: &DisasterRecoveryPlanSpec) -> i64 {
    let objective = Duration::from(spec.recovery_point_objective);
    i64::try_from(objective.as_millis()).unwrap_or(i64::MAX)
}

/// Whether every mapping replicates, or what is said where one does not.
fn replicates(pass: &Pass<'_>, items: &Items<'_>) -> Result<(), Statement> {
    let runs = |name: &str| items.mapped.get(name).is_some_and(|item| item.item_status == ItemStatus::Running);
    let stopped: Vec<_> =
        pass.spec.topic_mappings.iter().filter(|it| !runs(&it.name)).map(|it| it.name.clone()).collect();
    if pass.spec.topic_mappings.is_empty() {
        return Err(Statement::no(protected::REPLICATION_STOPPED, "no topic is replicated: add topicMappings"));
    }
    if !stopped.is_empty() {
        let text = format!("topic mappings do not replicate: {}", listed(&stopped));
        return Err(Statement::no(protected::REPLICATION_STOPPED, text));
    }
    Ok(())
}

fn protection(pass: &Pass<'_>, lags: &[GroupLag], objective_ms: i64, disabled: bool, items: &Items<'_>) -> Statement {
    if let Err(statement) = replicates(pass, items) {
        return statement;
    }
    if disabled {
        let text = "the plan does not synchronize consumer progress, so that its lag is not known: set \
                    syncCheckpointEnabled: true";
        return Statement::unknown(protected::UNKNOWN, text);
    }
    let never: Vec<_> = lags.iter().filter(|it| it.lag_ms.is_none()).map(named).collect();
    if !never.is_empty() {
        return Statement::no(protected::NEVER_SYNCED, format!("never synchronized: {}", listed(&never)));
    }
    let behind: Vec<_> = lags.iter().filter(|it| it.lag_ms.is_some_and(|ms| ms > objective_ms)).map(named).collect();
    let objective = lag::duration(objective_ms / 1000);
    if !behind.is_empty() {
        let text = format!("consumer progress is more than {objective} behind: {}", listed(&behind));
        return Statement::no(protected::OBJECTIVE_EXCEEDED, text);
    }
    if lags.is_empty() {
        return Statement::unknown(protected::UNKNOWN, "the cloud reports no consumer group yet");
    }
    Statement::yes(protected::WITHIN_OBJECTIVE, format!("every consumer group is within {objective}"))
}

fn covered(lags: &[GroupLag], disabled: bool) -> Statement {
    if disabled {
        return Statement::no(
            offsets::SYNC_DISABLED,
            "syncCheckpointEnabled is false: consumers start anew after a failover",
        );
    }
    let never: Vec<_> = lags.iter().filter(|it| it.lag_ms.is_none()).map(named).collect();
    if !never.is_empty() {
        let text = format!(
            "not synchronized: {}; automatic synchronization skips groups that are offline at the destination: start a \
             consumer there, or annotate {}",
            listed(&never),
            crate::api::SYNC_CHECKPOINTS_ANNOTATION
        );
        return Statement::no(offsets::GROUPS_NOT_SYNCED, text);
    }
    if lags.is_empty() {
        return Statement::unknown(offsets::UNKNOWN, "the cloud reports no consumer group yet");
    }
    Statement::yes(offsets::ALL_GROUPS, "every consumer group is synchronized")
}

fn named(lag: &GroupLag) -> String {
    format!("{} of topic {} from {}", lag.group, lag.topic, lag.source_instance)
}

/// Whether the cloud matches the spec.
fn synchrony(
    pass: &Pass<'_>,
    new: &DisasterRecoveryPlanStatus,
    seen: &Observed,
    decision: &Decision,
    failed: Option<&Error>,
    refused_while_running: bool,
) -> Statement {
    let fields = || listed(&new.drift.iter().map(|it| it.field.clone()).collect::<Vec<_>>());
    if pass.deleting {
        return match (failed, &decision.verdict) {
            (Some(error), _) => Statement::no(synced::DELETION_BLOCKED, error.to_string()),
            (None, Verdict::Refused { reason, message }) => Statement::no(reason, message.clone()),
            (None, Verdict::Waiting { on, .. }) => Statement::no(synced::PROGRESSING, on.clone()),
            (None, Verdict::Acting(_) | Verdict::InSync | Verdict::Released { .. }) => {
                Statement::no(synced::PROGRESSING, "the cloud side is being deleted")
            }
        };
    }
    let drifted = pass.old.synced_generation == pass.generation && !new.drift.is_empty();
    if refused_while_running {
        let text = "the API refuses to change the plan while items run: they are stopped for it and started again";
        return match drifted {
            true => Statement::no(synced::DRIFTED, format!("somebody changed {}; {text}", fields())),
            false => Statement::no(synced::PROGRESSING, text),
        };
    }
    match (failed, &decision.verdict) {
        // That the plan still refuses is what a person has to act on.
        (Some(Error { class: Class::Conflict, .. }) | None, Verdict::Refused { reason, message }) => {
            return Statement::no(reason, message.clone());
        }
        (Some(error), _) => return failure(error).0,
        (None, _) => {}
    }
    if let Err(error) = &seen.checkpoints {
        return failure(error).0;
    }
    if pass.spec.management_policy == ManagementPolicy::Observe {
        return match new.drift.is_empty() {
            true => Statement::yes(synced::OBSERVE_ONLY, "the cloud matches the spec; nothing is ever changed"),
            false => Statement::no(
                synced::OBSERVE_ONLY,
                format!("the cloud differs in {}; nothing is changed, since managementPolicy is Observe", fields()),
            ),
        };
    }
    match &decision.verdict {
        Verdict::InSync => Statement::yes(synced::IN_SYNC, "the cloud matches the spec"),
        _ if drifted => Statement::no(synced::DRIFTED, format!("somebody changed {}; it is being corrected", fields())),
        Verdict::Waiting { on, .. } => Statement::no(synced::PROGRESSING, on.clone()),
        Verdict::Acting(_) | Verdict::Refused { .. } | Verdict::Released { .. } => {
            let text = if new.drift.is_empty() {
                "the cloud is being changed".into()
            } else {
                format!("changing {}", fields())
            };
            Statement::no(synced::PROGRESSING, text)
        }
    }
}
