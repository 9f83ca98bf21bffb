//! `Protected` and `OffsetsCovered`: what the samples of consumer progress prove on the grounds of the last observation. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::arrival::{self, Arrivals};
use super::evidence::terms;
use super::grounds::{Grounds, GroundsOfMapping};
use super::lag::Lag;
use super::samples::SourceSamples;
use super::{Scope, lag};
use crate::api::SYNC_CHECKPOINTS_ANNOTATION;
use crate::api::condition::{condition_type, offsets, protected};
use crate::api::plan::{DisasterRecoveryPlanStatus, MessageEvidence};
use crate::controller::conditions::{ConditionState, Truth, find, join_limited};
use crate::controller::evidence::progress::{Doubt, Judgement, MAX_CLOCK_SKEW_MS, MAX_LIST_AGE_MS, Terms, Track};
use crate::controller::resource::Expiry;
use crate::telemetry::metrics::{ConsumerGroupLag, MappingMeasures};

/// Maximum age of an observation of the items that `Protected` rests on.
pub const MAX_ITEMS_AGE: Duration = Duration::from_secs(900);
/// Minimum objective with which this process relies on a proof of another one.
const MIN_INHERITED_OBJECTIVE: Duration = Duration::from_secs(60);
/// Maximum duration of a proof: the maximum age of a list.
const MAX_PROOF: Duration = Duration::from_secs(300);
/// Maximum time from the moment at which a proof is marked as ending until the mark is written.
const WRITE_DELAY: Duration = Duration::from_secs(2);

const ITEMS_TOO_OLD: &str = "no observation of the topic mappings is recent enough";

/// A condition, and the end of the evidence that it rests on.
struct Concluded {
    state: ConditionState,
    until: Option<Timestamp>,
    /// Whether it is Unknown only since this process has read too little so far.
    is_new: bool,
}

impl Concluded {
    fn without_end(state: ConditionState) -> Self {
        Self { state, until: None, is_new: false }
    }

    fn until_ms(state: ConditionState, until_ms: i64) -> Self {
        Self { state, until: Timestamp::from_millisecond(until_ms).ok(), is_new: false }
    }
}

/// Sets `Protected`, `OffsetsCovered` and the sums of consumer progress by the evidence.
pub fn refresh(scope: &Scope<'_>, status: &mut DisasterRecoveryPlanStatus) -> Vec<Expiry> {
    let grounds = scope.evidence.grounds.as_ref().filter(|it| it.generation == scope.generation());
    let Some(grounds) = grounds else { return unobserved(scope, status) };
    let (protected, covered) = match grounds.settled.as_deref() {
        Some((protected, covered)) => {
            status.topic_mappings.iter_mut().for_each(|it| it.backlog = None);
            (Concluded::without_end(protected.clone()), Concluded::without_end(covered.clone()))
        }
        None => {
            summarize(scope, grounds, status);
            arrival::summarize(scope, grounds, status);
            let found = Findings::new(scope, grounds);
            (found.protected(scope, grounds), found.offsets_covered(scope, grounds))
        }
    };
    let mut expiries = Vec::new();
    for (condition_type, concluded) in
        [(condition_type::PROTECTED, protected), (condition_type::OFFSETS_COVERED, covered)]
    {
        let concluded = inherited(scope, status, condition_type, concluded);
        if condition_type == condition_type::PROTECTED {
            expiries.extend(mark_ending(scope, status, &concluded));
        }
        expiries.extend(concluded.until.map(|at| Expiry { condition_type, at }));
        scope.set(&mut status.head, condition_type, concluded.state);
    }
    expiries
}

/// The conditions of another spec or of another process. They last until their evidence expires.
fn unobserved(scope: &Scope<'_>, status: &mut DisasterRecoveryPlanStatus) -> Vec<Expiry> {
    let mut expiries = Vec::new();
    for (condition_type, reason) in
        [(condition_type::PROTECTED, protected::UNKNOWN), (condition_type::OFFSETS_COVERED, offsets::UNKNOWN)]
    {
        let known = find(&status.head.conditions, condition_type);
        let about_spec = known.is_some_and(|it| it.observed_generation == scope.generation());
        let until = match &scope.evidence.grounds {
            Some(grounds) => {
                let proven = match condition_type {
                    condition_type::PROTECTED => scope.evidence.proven_until(),
                    _ => scope.evidence.progress_proven_until(),
                };
                proven.map(|until| until.min(items_until(grounds)))
            }
            None => inherited_until(scope, status, condition_type).filter(|_| about_spec),
        };
        let lasts = until.is_some_and(|until| scope.now < until);
        expiries.push(Expiry { condition_type, at: until.unwrap_or(scope.now) });
        match find(&status.head.conditions, condition_type) {
            Some(_) if lasts => {}
            Some(it) if it.status == Truth::Unknown.as_str() => {}
            Some(_) => {
                let text = "no observation of the cloud is recent enough";
                scope.set(&mut status.head, condition_type, ConditionState::unknown(reason, text));
            }
            None => {
                let text = "nothing was seen of the cloud yet";
                scope.set(&mut status.head, condition_type, ConditionState::unknown(reason, text));
            }
        }
    }
    expiries
}

/// Keeps True of another process while this process has read too little to judge by.
fn inherited(
    scope: &Scope<'_>,
    status: &DisasterRecoveryPlanStatus,
    condition_type: &'static str,
    concluded: Concluded,
) -> Concluded {
    let Some(until) = inherited_until(scope, status, condition_type).filter(|until| scope.now < *until) else {
        return concluded;
    };
    let Some(known) = find(&status.head.conditions, condition_type) else { return concluded };
    let valid = known.status == Truth::True.as_str() && known.observed_generation == scope.generation();
    if !concluded.is_new || !valid {
        return concluded;
    }
    let reason = match condition_type {
        condition_type::PROTECTED => protected::WITHIN_OBJECTIVE,
        _ => offsets::ALL_GROUPS,
    };
    let state = ConditionState::yes(reason, known.message.clone());
    Concluded { state, until: Some(until), is_new: true }
}

/// The end of a condition that another process set to True. When that process last renewed its lease, at least the ending part of a
/// proof was left, unless status has the mark.
fn inherited_until(
    scope: &Scope<'_>,
    status: &DisasterRecoveryPlanStatus,
    condition_type: &'static str,
) -> Option<Timestamp> {
    if condition_type != condition_type::PROTECTED {
        return scope.inherited_until();
    }
    let left = ending_part(scope)?.checked_sub(WRITE_DELAY)?;
    let renewed = scope.former_renewal.filter(|_| !status.protection_ends)?;
    renewed.checked_add(left).ok()
}

/// The last part of a proof, in which it counts as ending. `None` with a short objective: each of its proofs ends soon.
fn ending_part(scope: &Scope<'_>) -> Option<Duration> {
    let objective = Duration::from(scope.object.spec.recovery_point_objective);
    (objective >= MIN_INHERITED_OBJECTIVE).then(|| objective.min(MAX_PROOF) / 8)
}

/// Marks a proof of `Protected` that ends soon, so that no other process relies on it. Returns the time of the mark.
fn mark_ending(scope: &Scope<'_>, status: &mut DisasterRecoveryPlanStatus, concluded: &Concluded) -> Option<Expiry> {
    let marked = concluded.until.filter(|_| concluded.state.truth == Truth::True && !concluded.is_new);
    let at = ending_part(scope).zip(marked).and_then(|(part, until)| until.checked_sub(part).ok());
    status.protection_ends = at.is_some_and(|at| at <= scope.now) || (concluded.is_new && status.protection_ends);
    at.filter(|at| scope.now < *at).map(|at| Expiry { condition_type: condition_type::PROTECTED, at })
}

/// The end of what the last observation of the items is evidence for.
fn items_until(grounds: &Grounds) -> Timestamp {
    grounds.items_at.saturating_add(MAX_ITEMS_AGE).unwrap_or(Timestamp::MAX)
}

/// What the samples say about the consumer groups that count, and about messages.
struct Findings {
    /// The groups that were never synchronized, by a recent list.
    never_synced: Vec<String>,
    /// Those of them that nothing proves to be within the objective.
    uncovered: Vec<String>,
    exceeded: Vec<String>,
    ahead: Vec<String>,
    /// The groups whose samples prove too little.
    unproven: Vec<String>,
    /// What is not known of mappings and groups.
    gaps: Vec<String>,
    /// The earliest end of the groups' proofs.
    proven_until_ms: i64,
    /// The start of the oldest recent list.
    listed_ms: i64,
    /// The start of the oldest list, recent or not.
    oldest_ms: i64,
    /// Whether the spec can accept a gap: a mapping without checkpoints, or a group without timestamps.
    acceptable: bool,
    /// The number of groups that count.
    groups: usize,
    /// The number of gaps and unproven groups that the next samples may end.
    new: usize,
    /// What is known of messages.
    arrivals: Arrivals,
}

impl Findings {
    fn new(scope: &Scope<'_>, grounds: &Grounds) -> Self {
        let mut found = Self {
            never_synced: vec![],
            uncovered: vec![],
            exceeded: vec![],
            ahead: vec![],
            unproven: vec![],
            gaps: grounds.gaps.to_vec(),
            proven_until_ms: i64::MAX,
            listed_ms: i64::MAX,
            oldest_ms: i64::MAX,
            acceptable: false,
            groups: 0,
            new: 0,
            arrivals: Arrivals::new(scope, grounds),
        };
        let terms = terms(scope, scope.evidence);
        for mapping in grounds.mappings.iter().filter(|_| grounds.synchronizes) {
            found.add_mapping(scope, grounds, mapping, terms);
        }
        found
    }

    fn add_mapping(&mut self, scope: &Scope<'_>, grounds: &Grounds, mapping: &GroundsOfMapping, terms: Terms) {
        let now_ms = scope.now.as_millisecond();
        let samples = scope.evidence.mappings.get(&mapping.name);
        let (before, mut silent) = (self.groups, Vec::new());
        for source_id in &grounds.sources {
            let source = samples.and_then(|it| it.source(source_id));
            let listed_ms = source.and_then(SourceSamples::complete_ms);
            self.oldest_ms = listed_ms.map_or(self.oldest_ms, |ms| ms.min(self.oldest_ms));
            let recent = listed_ms.filter(|ms| now_ms.saturating_sub(*ms) < MAX_LIST_AGE_MS);
            match recent {
                Some(ms) => self.listed_ms = self.listed_ms.min(ms),
                // An item that does not run may have no list. An old list shows nothing of the present.
                None if !mapping.runs => continue,
                None => {
                    self.new += usize::from(listed_ms.is_none());
                    self.gaps.push(format!("{} ({})", mapping.name, unread(source)));
                }
            }
            let counted = self.groups;
            for (group, topic, track) in source.into_iter().flat_map(SourceSamples::tracks) {
                if !lag::is_ignored(&scope.object.spec, group) {
                    let name = || format!("{group} of topic {topic} from {source_id}");
                    self.add_group(&mapping.name, &name, &track, now_ms, terms);
                }
            }
            if self.groups == counted && recent.is_some() {
                silent.push(source_id);
            }
        }
        let expected = mapping.expects_checkpoints() && (grounds.two_way || self.groups == before);
        for source_id in silent.into_iter().filter(|_| expected) {
            self.acceptable = true;
            let gap = format!("{} (no checkpoint from {source_id} of a consumer group that counts)", mapping.name);
            self.gaps.push(gap);
        }
    }

    fn add_group(&mut self, mapping: &str, name: &dyn Fn() -> String, track: &Track, now_ms: i64, terms: Terms) {
        // One that the newest list lacks may be gone: what refutes it counts, and it proves nothing.
        self.groups += usize::from(!track.is_missing());
        if track.never_synced() && now_ms.saturating_sub(track.listed_ms()) < MAX_LIST_AGE_MS {
            self.never_synced.push(name());
        }
        match track.judge(now_ms, terms) {
            Judgement::Within { until_ms } => self.proven_until_ms = self.proven_until_ms.min(until_ms),
            Judgement::NeverSynced => self.uncovered.push(name()),
            Judgement::Exceeded => self.exceeded.push(name()),
            Judgement::TargetAhead { .. } => self.ahead.push(name()),
            Judgement::Unknown(Doubt::NoTimestamps) => {
                self.acceptable = true;
                self.gaps.push(format!("{mapping} ({}: progress without timestamps)", name()));
            }
            Judgement::Unknown(Doubt::ListTooOld | Doubt::Unproven) => {
                self.new += usize::from(track.is_new());
                self.unproven.push(name());
            }
        }
    }

    /// Whether the next samples may end every doubt.
    fn is_new(&self, grounds: &Grounds) -> bool {
        let (new, doubts) = match grounds.two_way {
            true => (0, 0),
            false => (self.new, self.gaps.len() + self.unproven.len()),
        };
        let (new, doubts) = (new + self.arrivals.new, doubts + self.arrivals.unknown.len());
        new > 0 && new == doubts
    }

    /// `Protected`: whether a failover now would lose no more than the objective.
    fn protected(&self, scope: &Scope<'_>, grounds: &Grounds) -> Concluded {
        let items_ms = items_until(grounds).as_millisecond();
        if items_ms <= scope.now.as_millisecond() {
            return Concluded::without_end(ConditionState::unknown(protected::UNKNOWN, ITEMS_TOO_OLD));
        }
        if let Some(state) = &grounds.not_replicating {
            return Concluded::until_ms(ConditionState::clone(state), items_ms);
        }
        if let Some(refuted) = self.refuted(scope, grounds) {
            return refuted;
        }
        let counts_messages = scope.object.spec.message_evidence == MessageEvidence::Required;
        let nothing_to_read = grounds.nothing_to_cover && counts_messages;
        if !grounds.two_way && !grounds.synchronizes && !nothing_to_read {
            let text = "the plan does not synchronize consumer progress, so that its lag is not known: set \
                        syncCheckpointEnabled: true";
            return Concluded::without_end(ConditionState::unknown(protected::UNKNOWN, text));
        }
        if terms(scope, scope.evidence).skew_ms > MAX_CLOCK_SKEW_MS {
            let text = format!(
                "the clocks of the operator and of the cloud differ by more than {} s, so that no age is known: correct the time of \
                 the operator's node",
                MAX_CLOCK_SKEW_MS / 1000
            );
            return Concluded::without_end(ConditionState::unknown(protected::CLOCK_SKEW, text));
        }
        if let Some(state) = self.doubt(scope, grounds) {
            return Concluded { is_new: self.is_new(grounds), ..Concluded::without_end(state) };
        }
        let objective = objective(scope);
        let text = match (grounds.two_way, scope.object.spec.message_evidence) {
            (true, _) => format!("every message is within {objective} in both directions"),
            (false, MessageEvidence::Required) => {
                format!("every consumer group and every message is within {objective}")
            }
            (false, MessageEvidence::NotRequired) => {
                format!(
                    "every consumer group is within {objective}; messages were not counted (messageEvidence: NotRequired)"
                )
            }
        };
        let progress_ms = self.proven_until_ms.min(self.listed_ms.saturating_add(MAX_LIST_AGE_MS));
        let progress_ms = if grounds.two_way { i64::MAX } else { progress_ms };
        let messages_ms = self.arrivals.proven_until_ms.unwrap_or(i64::MAX);
        let until_ms = progress_ms.min(messages_ms).min(items_ms);
        Concluded::until_ms(ConditionState::yes(protected::WITHIN_OBJECTIVE, text), until_ms)
    }

    /// `Protected` where a failover now would certainly lose more than the objective, or skip messages.
    fn refuted(&self, scope: &Scope<'_>, grounds: &Grounds) -> Option<Concluded> {
        let progress_ms = self.listed_ms.saturating_add(MAX_LIST_AGE_MS);
        let by_progress = |names: &[String]| !names.is_empty() && !grounds.two_way;
        let objective = objective(scope);
        let (reason, text, until_ms) = if by_progress(&self.uncovered) {
            (protected::NEVER_SYNCED, format!("never synchronized: {}", join_limited(&self.uncovered)), progress_ms)
        } else if by_progress(&self.ahead) {
            let text = format!(
                "the destination is ahead of the source, so that a failover would skip messages: {}. Reset the offset of these \
                 consumer groups at the destination, or stop their consumers there",
                join_limited(&self.ahead)
            );
            (protected::TARGET_AHEAD, text, progress_ms)
        } else if !self.arrivals.exceeded.is_empty() {
            let names = join_limited(&self.arrivals.exceeded);
            let text = format!("messages wait for more than {objective} before they reach the destination: {names}");
            (protected::BACKLOG_EXCEEDED, text, self.arrivals.refuted_until_ms)
        } else if by_progress(&self.exceeded) {
            let text = format!("consumer progress is more than {objective} behind: {}", join_limited(&self.exceeded));
            (protected::OBJECTIVE_EXCEEDED, text, progress_ms)
        } else {
            return None;
        };
        Some(Concluded::until_ms(ConditionState::no(reason, text), until_ms))
    }

    /// `Protected` where something is not known.
    fn doubt(&self, scope: &Scope<'_>, grounds: &Grounds) -> Option<ConditionState> {
        if let Some(text) = self.unknown_progress().filter(|_| !grounds.two_way) {
            return Some(ConditionState::unknown(protected::UNKNOWN, text));
        }
        if !self.unproven.is_empty() && !grounds.two_way {
            let text = format!(
                "no sample proves that consumer progress is within {}: {}. The consumers are catching up, or the cloud shows \
                 progress that does not advance",
                objective(scope),
                join_limited(&self.unproven)
            );
            return Some(ConditionState::unknown(protected::UNKNOWN, text));
        }
        if !self.arrivals.unknown.is_empty() {
            let remedy = match self.arrivals.acceptable {
                true => ". Where this lasts, messageEvidence: NotRequired accepts consumer progress alone",
                false => "",
            };
            let text = format!("the message backlog is not known: {}{remedy}", join_limited(&self.arrivals.unknown));
            return Some(ConditionState::unknown(protected::BACKLOG_UNKNOWN, text));
        }
        None
    }

    /// `OffsetsCovered`: whether every consumer group has an offset at the destination.
    fn offsets_covered(&self, scope: &Scope<'_>, grounds: &Grounds) -> Concluded {
        let items_ms = items_until(grounds).as_millisecond();
        if items_ms <= scope.now.as_millisecond() {
            return Concluded::without_end(ConditionState::unknown(offsets::UNKNOWN, ITEMS_TOO_OLD));
        }
        if !grounds.synchronizes && !grounds.nothing_to_cover {
            let text = "syncCheckpointEnabled is false: consumers start without an offset after a failover";
            return Concluded::without_end(ConditionState::no(offsets::SYNC_DISABLED, text));
        }
        let ends_ms = self.listed_ms.saturating_add(MAX_LIST_AGE_MS);
        if !self.never_synced.is_empty() {
            let remedy = match (grounds.two_way, lag::round_interval(&scope.object.spec)) {
                (true, _) => format!(
                    "the cloud synchronizes no progress of an ACTIVE_ACTIVE plan by itself: each side has offsets of its own, or annotate \
                     {SYNC_CHECKPOINTS_ANNOTATION}"
                ),
                (false, Some(_)) => {
                    "the operator synchronizes them in its next round, see status.checkpointSync".into()
                }
                (false, None) => format!(
                    "automatic synchronization skips groups that are offline at the destination: start a consumer there, set \
                     checkpointSync: {{by: Operator}}, or annotate {SYNC_CHECKPOINTS_ANNOTATION}"
                ),
            };
            let text = format!("not synchronized: {}; {remedy}", join_limited(&self.never_synced));
            return Concluded::until_ms(ConditionState::no(offsets::GROUPS_NOT_SYNCED, text), ends_ms);
        }
        if let Some(text) = self.unknown_progress() {
            let is_new = self.new > 0 && self.new >= self.gaps.len();
            let state = ConditionState::unknown(offsets::UNKNOWN, text);
            return Concluded { is_new, ..Concluded::until_ms(state, self.oldest_ms.saturating_add(MAX_LIST_AGE_MS)) };
        }
        if self.groups == 0 && !grounds.nothing_to_cover {
            let text = "the cloud reports no consumer group yet";
            return Concluded::without_end(ConditionState::unknown(offsets::UNKNOWN, text));
        }
        let state = ConditionState::yes(offsets::ALL_GROUPS, "every consumer group is synchronized");
        Concluded::until_ms(state, ends_ms.min(items_ms))
    }

    /// The message on unknown consumer progress, if there is any.
    fn unknown_progress(&self) -> Option<String> {
        let remedy = match self.acceptable {
            true => {
                ". Where this lasts, set consumers: None for a topic without consumers, and add retired groups to \
                 ignoredConsumerGroups"
            }
            false => "",
        };
        let text = format!("consumer progress is not known: {}{remedy}", join_limited(&self.gaps));
        (!self.gaps.is_empty()).then_some(text)
    }
}

/// The objective, for people.
fn objective(scope: &Scope<'_>) -> String {
    lag::duration(lag::objective_ms(&scope.object.spec) / 1000)
}

/// The reason why there is no recent list from a source.
fn unread(source: Option<&SourceSamples>) -> String {
    match source {
        Some(source) => match source.failure() {
            Some(error) => format!("its checkpoints cannot be read: {error}"),
            None if source.is_incomplete() => "its list of checkpoints cannot be read whole".into(),
            None => "its checkpoints were not read for more than 5m".into(),
        },
        None => "its checkpoints are not read yet".into(),
    }
}

/// The exact lags of the consumer groups that count, in the order of messages and status.
fn exact_lags<'a>(scope: &Scope<'a>) -> Vec<Lag<'a>> {
    let Some(grounds) = scope.evidence.grounds.as_ref().filter(|it| it.synchronizes) else { return vec![] };
    let mut all = Vec::new();
    for mapping in &grounds.mappings {
        let Some(samples) = scope.evidence.mappings.get(&mapping.name) else { continue };
        for (source_id, source) in samples.sources() {
            for (group, topic, track) in source.tracks().filter(|it| !lag::is_ignored(&scope.object.spec, it.0)) {
                all.push(Lag::new(&mapping.name, source_id, group, topic, &track));
            }
        }
    }
    all.sort_by_key(Lag::place);
    all
}

/// The exact lags of the consumer groups that count, for the metrics.
pub fn lags(scope: &Scope<'_>) -> Vec<ConsumerGroupLag> {
    exact_lags(scope).into_iter().map(ConsumerGroupLag::from).collect()
}

/// The exact numbers of the mappings.
pub fn measures(scope: &Scope<'_>) -> MappingMeasures {
    let (sampled, backlogs) = (scope.evidence.sampled_ms(), arrival::backlogs(scope));
    MappingMeasures { sampled, backlogs, rounds: scope.evidence.rounds.measures() }
}

/// Sums consumer progress up in status. A plan that does not synchronize it has none.
fn summarize(scope: &Scope<'_>, grounds: &Grounds, status: &mut DisasterRecoveryPlanStatus) {
    if !grounds.synchronizes {
        status.checkpoints = None;
        status.topic_mappings.iter_mut().for_each(|it| it.checkpoints = None);
        return;
    }
    // Until this process has samples, the sums of another one stay.
    let sampled = |mapping: &str| scope.evidence.mappings.get(mapping).is_some_and(|it| it.sources().next().is_some());
    if !grounds.mappings.iter().any(|it| sampled(&it.name)) {
        return;
    }
    let (lags, usual) = (exact_lags(scope), lag::Usual::new(&scope.object.spec));
    for entry in status.topic_mappings.iter_mut().filter(|it| sampled(&it.name)) {
        let from = lags.partition_point(|it| *it.mapping < *entry.name);
        let own = lags.get(from..).unwrap_or_default();
        let own = &own[..own.partition_point(|it| it.mapping == entry.name)];
        entry.checkpoints = Some(lag::summary(own, usual, entry.checkpoints.as_ref()));
    }
    status.checkpoints = Some(lag::plan_checkpoints(&lags, usual, status.checkpoints.as_ref()));
}
