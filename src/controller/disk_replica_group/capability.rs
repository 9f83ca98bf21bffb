//! What a failover to the other site would do now, for either mode. One function answers it: for the beginning of a failover, the
//! check after its last synchronization, `Protected`, `FailoverReady` and the preview in status. Pure.

use jiff::{SignedDuration, Timestamp};

use super::lifecycle::Lifecycle;
use super::observe::Observed;
use super::{Scope, resolve};
use crate::api::disk_replica_group::{
    Direction, FailoverMode, FailoverPreview, FailoverPreviews, Operation, Pair, Phase,
};
use crate::cloud::ebs::{GroupView, PairView, ReplicationStatus as S};

/// The failover in question.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Planned or Forced.
    pub mode: FailoverMode,
    /// The names of pairs whose data may be given up.
    pub leave_behind: &'a [String],
    /// Whether the last synchronization is done, so that only the opening of the disks is left.
    pub synchronized: bool,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Capability {
    /// The reasons why the operator does not begin it now; none, if it does.
    pub refusals: Vec<Refusal>,
    /// The pairs whose data it gives up.
    pub pairs_left_behind: Vec<String>,
    /// The recovery point of a forced failover.
    pub recovery_point: Option<Timestamp>,
    /// The time of writes that it loses at most, in seconds, in steps of the objective.
    pub expected_loss_seconds: Option<i64>,
}

/// A reason against a failover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The status of the group allows none, or none yet.
    Status(String),
    /// Pairs never completed a synchronization in the present direction.
    NeverSynchronized(String),
    /// Pairs are not replicated.
    NotReplicated(String),
    /// The recovery point is unknown or older than the objective.
    RecoveryPoint(String),
    /// The API allows the next single synchronization later.
    SynchronizationLimit(String),
}

impl Refusal {
    /// The reason, in words.
    pub fn text(&self) -> &str {
        match self {
            Self::Status(text)
            | Self::NeverSynchronized(text)
            | Self::NotReplicated(text)
            | Self::RecoveryPoint(text)
            | Self::SynchronizationLimit(text) => text,
        }
    }
}

impl Capability {
    /// Whether the operator begins it now.
    pub fn is_possible(&self) -> bool {
        self.refusals.is_empty()
    }

    /// All refusals in one text.
    pub fn refusal(&self) -> Option<String> {
        let texts: Vec<_> = self.refusals.iter().map(Refusal::text).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }
}

/// What a failover to the other site would do now.
pub fn capability(
    scope: &Scope<'_>,
    lifecycle: &Lifecycle,
    group: &GroupView,
    observed: &Observed,
    question: Question<'_>,
) -> Capability {
    let planned = question.mode == FailoverMode::Planned;
    let mut answer = Capability::default();
    if let Some(text) = refused_by_status(lifecycle, group) {
        answer.refusals.push(Refusal::Status(text));
        return answer;
    }
    if planned && group.status == S::FailoverFailed {
        let text = "the group failed to fail over (failover_failed), and takes no last synchronization: mode: Forced repeats it";
        answer.refusals.push(Refusal::Status(text.into()));
        return answer;
    }
    answer.recovery_point = lifecycle.valid_recovery_point(group);
    let unsynchronized = unsynchronized_pairs(scope, lifecycle, group, observed);
    let unreplicated = unreplicated_pairs(scope, group, observed);
    let left = |name: &String| question.leave_behind.contains(name);
    let named = |found: &[(String, String)]| {
        let found = found.iter().filter(|(name, _)| !left(name)).map(|(name, why)| format!("{name} ({why})"));
        found.collect::<Vec<_>>().join(", ")
    };
    answer.pairs_left_behind = unsynchronized.iter().map(|(name, _)| name).filter(|name| left(name)).cloned().collect();
    let (from, to) = (lifecycle.direction.production().as_str(), lifecycle.direction.standby().as_str());
    let never = named(&unsynchronized);
    if !never.is_empty() {
        answer.refusals.push(Refusal::NeverSynchronized(format!(
            "pairs never completed a synchronization from {from} to {to}: {never}; wait for it, or name them in \
             failover.leaveBehind to give up their data"
        )));
    }
    if planned {
        let failing = named(&unreplicated);
        if !failing.is_empty() && never.is_empty() {
            answer.refusals.push(Refusal::NotReplicated(format!(
                "pairs are not replicated: {failing}; repair them, or set failover.mode: Forced"
            )));
        }
        if never.is_empty() {
            answer
                .refusals
                .extend(recovery_point_refusal(scope, answer.recovery_point, (from, to)).map(Refusal::RecoveryPoint));
        }
        if !question.synchronized {
            answer.refusals.extend(synchronization_limit(scope).map(Refusal::SynchronizationLimit));
        }
    }
    if !planned && answer.recovery_point.is_none() && never.is_empty() {
        answer.refusals.extend(recovery_point_refusal(scope, None, (from, to)).map(Refusal::RecoveryPoint));
    }
    let loss = match planned {
        true => Some(0),
        false => answer.recovery_point.map(|point| loss_at_most(scope, point)),
    };
    answer.expected_loss_seconds = loss.filter(|_| answer.pairs_left_behind.is_empty());
    answer
}

/// Both failovers to the other site, as status shows them.
pub fn previews(
    scope: &Scope<'_>,
    lifecycle: &Lifecycle,
    group: &GroupView,
    observed: &Observed,
) -> (FailoverPreviews, [Capability; 2]) {
    let of =
        |mode| capability(scope, lifecycle, group, observed, Question { mode, leave_behind: &[], synchronized: false });
    let answers = [of(FailoverMode::Planned), of(FailoverMode::Forced)];
    let left_behind = match refused_by_status(lifecycle, group) {
        None => unsynchronized_pairs(scope, lifecycle, group, observed).into_iter().map(|(name, _)| name).collect(),
        Some(_) => vec![],
    };
    let preview = |mode, answer: &Capability| FailoverPreview {
        possible: answer.is_possible(),
        refusals: answer.refusals.iter().map(|it| it.text().to_owned()).collect(),
        expected_loss_seconds: answer.expected_loss_seconds,
        pairs_left_behind: left_behind.clone(),
        estimated_seconds: estimated_seconds(&lifecycle.failovers, mode),
        calls: calls(mode),
    };
    let [planned, forced] = &answers;
    let shown = FailoverPreviews {
        planned: preview(FailoverMode::Planned, planned),
        forced: preview(FailoverMode::Forced, forced),
    };
    (shown, answers)
}

/// The reason why no failover is possible in the status of the group.
fn refused_by_status(lifecycle: &Lifecycle, group: &GroupView) -> Option<String> {
    let status = group.status.as_str();
    match &group.status {
        S::Created | S::InitialSyncing => Some("the first synchronization has not ended".into()),
        S::Failovered | S::Reprotecting | S::ReprotectFailed => Some(format!(
            "the group is failed over ({status}): a failover back is possible once replication is reversed and every pair \
             completed a synchronization; mode: Cancel goes back at once and discards writes at the {}",
            lifecycle.direction.standby().as_str()
        )),
        S::Failovering => Some("a failover is in progress".into()),
        S::Invalid | S::CreateFailed | S::DeleteFailed => Some(format!("the group cannot be used ({status})")),
        S::Creating | S::Deleting | S::Deleted | S::Other(_) => Some(format!("the group is {status}")),
        S::ManualSyncing | S::Syncing | S::Normal | S::Stopping | S::Stopped | S::StopFailed | S::FailoverFailed => {
            None
        }
    }
}

/// The pairs of the spec and of the group that never completed a synchronization in the present direction, each with the cause.
pub fn unsynchronized_pairs(
    scope: &Scope<'_>,
    lifecycle: &Lifecycle,
    group: &GroupView,
    observed: &Observed,
) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let spec = &scope.object.spec;
    for want in &spec.pairs {
        let why = match group_pair(scope, want, group, observed) {
            None => Some("not in the group"),
            Some(pair) if lifecycle.is_synchronized(pair) => None,
            Some(_) => Some("not synchronized yet"),
        };
        found.extend(why.map(|why| (want.name.clone(), why.to_owned())));
    }
    let wanted: Vec<_> = spec.pairs.iter().filter_map(|want| group_pair(scope, want, group, observed)).collect();
    let others = observed.pairs.iter().filter(|pair| resolve::in_group(pair, group) && !wanted.contains(pair));
    for pair in others.filter(|pair| !lifecycle.is_synchronized(pair)) {
        found.push((pair.replica_pair_id.clone(), "not synchronized yet".to_owned()));
    }
    // An incomplete list may lack members.
    let listed = |id: &String| observed.pairs.iter().any(|pair| pair.replica_pair_id == *id);
    for id in group.pair_ids.iter().filter(|id| !observed.pairs_complete && !listed(id)) {
        found.push((id.clone(), "not shown by the list of pairs".to_owned()));
    }
    if found.is_empty() && wanted.is_empty() && group.pair_ids.is_empty() {
        found.push(("none".to_owned(), "the group has no pairs".to_owned()));
    }
    found
}

fn group_pair<'a>(scope: &Scope<'_>, want: &Pair, group: &GroupView, observed: &'a Observed) -> Option<&'a PairView> {
    resolve::pair(want, scope.status, &observed.pairs).filter(|pair| resolve::in_group(pair, group))
}

/// The pairs of the spec in whose replication the cloud reports an error, each with the cause.
fn unreplicated_pairs(scope: &Scope<'_>, group: &GroupView, observed: &Observed) -> Vec<(String, String)> {
    resolve::unreplicated_pairs(&scope.object.spec, scope.status, group, &observed.pairs)
}

/// The reason why the recovery point does not allow a planned failover.
fn recovery_point_refusal(scope: &Scope<'_>, point: Option<Timestamp>, (from, to): (&str, &str)) -> Option<String> {
    let Some(point) = point else {
        return Some(format!(
            "the recovery point is unknown: no synchronization from {from} to {to} was completed yet; wait for one"
        ));
    };
    let objective = objective(scope);
    (scope.now.duration_since(point) > objective).then(|| {
        format!(
            "the last recovery point ({point}) is older than the objective of {} min; wait for a newer one, or set \
             failover.mode: Forced to lose the writes since then",
            objective.as_mins()
        )
    })
}

/// The reason why the API would refuse the last synchronization: half the objective has to pass between two of them.
fn synchronization_limit(scope: &Scope<'_>) -> Option<String> {
    let last = scope.status.last_single_synchronization_at?;
    let next = last.saturating_add(objective(scope) / 2).unwrap_or(Timestamp::MAX);
    (next > scope.now && last <= scope.now).then(|| {
        format!(
            "the last synchronization is possible at {next}: half the objective has to pass between two single ones"
        )
    })
}

fn objective(scope: &Scope<'_>) -> SignedDuration {
    SignedDuration::try_from(std::time::Duration::from(scope.object.spec.recovery_point_objective)).unwrap_or_default()
}

/// The time since a recovery point in seconds, rounded up to whole objectives: a steady group shows one number.
pub fn loss_at_most(scope: &Scope<'_>, point: Timestamp) -> i64 {
    let step = objective(scope).as_secs().max(1);
    let age = scope.now.duration_since(point).as_secs().max(1);
    age.saturating_add(step - 1) / step * step
}

/// The duration of the last successful failover of this mode, rounded up to minutes.
fn estimated_seconds(failovers: &[Operation], mode: FailoverMode) -> Option<i64> {
    let of_mode = |it: &&Operation| it.mode == Some(mode) && it.phase == Phase::Succeeded;
    let seconds = failovers.iter().find(of_mode)?.recovery_time_seconds?;
    Some(seconds.saturating_add(59) / 60 * 60)
}

/// The calls of a failover, in order.
fn calls(mode: FailoverMode) -> Vec<String> {
    let calls: &[&str] = match mode {
        FailoverMode::Planned => &["StopDiskReplicaGroup", "StartDiskReplicaGroup/OneShot", "FailoverDiskReplicaGroup"],
        FailoverMode::Forced => &["FailoverDiskReplicaGroup"],
        FailoverMode::Cancel => &["ReprotectDiskReplicaGroup/Cancel"],
    };
    calls.iter().map(|call| (*call).to_owned()).collect()
}

/// Whether replication may copy a pair in this direction: its production disk is known to hold the data. The source does from
/// the beginning. The destination does once the pair completed a synchronization.
pub fn holds_data(scope: &Scope<'_>, name: &str, pair: Option<&PairView>, direction: Direction) -> bool {
    let known = scope.status.pairs.iter().find(|it| it.name == name).is_some_and(|it| it.synchronized.is_some());
    let reported = pair.is_some_and(|pair| pair.last_recover_point.is_some_and(|at| at > 0));
    direction == Direction::Forward || known || reported
}
