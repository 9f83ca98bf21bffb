//! Whether the messages of a plan arrive at the destination: what the samples of the message backlog say, for `Protected`, for status
//! and for metrics. Pure.

use super::backlog::{Arrival, BacklogSource, NotCounted, Replicator};
use super::evidence::terms;
use super::grounds::Grounds;
use super::{Scope, lag};
use crate::api::plan::{Backlog, DisasterRecoveryPlanStatus};
use crate::controller::evidence::backlog::Doubt;
use crate::controller::evidence::progress::MAX_LIST_AGE_MS;
use crate::telemetry::metrics::MessageBacklog;

/// What the samples say about the messages of every mapping that runs.
#[derive(Default)]
pub struct Arrivals {
    /// The mappings with a message that waits for longer than the objective.
    pub exceeded: Vec<String>,
    /// What is not known.
    pub unknown: Vec<String>,
    /// The number of doubts that the next sample may end.
    pub new: usize,
    /// Whether the spec can accept the doubts: `messageEvidence: NotRequired`.
    pub acceptable: bool,
    /// The earliest end of the proofs, in ms. `None` where nothing is proven.
    pub proven_until_ms: Option<i64>,
    /// The end of what the answers refute, in ms.
    pub refuted_until_ms: i64,
}

impl Arrivals {
    /// What the samples say at the time of the scope.
    pub fn new(scope: &Scope<'_>, grounds: &Grounds) -> Self {
        let mut found = Self { acceptable: !grounds.two_way, refuted_until_ms: i64::MAX, ..Self::default() };
        for replicator in grounds.replicators.iter().filter(|it| !it.topics.is_empty()) {
            match &replicator.source {
                Ok(source) => found.add(scope, replicator, source),
                Err(cause) => found.unknown.push(format!("{} ({})", replicator.instance, not_counted(*cause))),
            }
        }
        found
    }

    fn add(&mut self, scope: &Scope<'_>, replicator: &Replicator, source: &BacklogSource) {
        let (now_ms, terms) = (scope.now.as_millisecond(), terms(scope, scope.evidence));
        let samples = scope.evidence.backlog(&replicator.instance);
        let requested_ms = samples.and_then(|it| it.requested_ms());
        let (mut whole, mut expired, known) = (None, Vec::new(), self.unknown.len());
        for (mapping, topic) in &replicator.topics {
            let of = |why: &str| format!("{mapping} from {} ({why})", replicator.instance);
            match scope.evidence.arrival(replicator, mapping, now_ms, terms) {
                Arrival::Within { until_ms } => {
                    self.proven_until_ms = Some(self.proven_until_ms.map_or(until_ms, |known| known.min(until_ms)));
                }
                Arrival::Exceeded => {
                    let end_ms = requested_ms.unwrap_or(now_ms).saturating_add(MAX_LIST_AGE_MS);
                    self.refuted_until_ms = self.refuted_until_ms.min(end_ms);
                    self.exceeded.push(format!("{mapping} from {}", replicator.instance));
                }
                Arrival::NotRead => whole = Some(String::from("it is not read yet")),
                Arrival::Failed(error) => whole = Some(format!("it cannot be read: {error}")),
                Arrival::Missing => {
                    self.unknown.push(of(&format!("the answer about {} lacks topic {topic}", source.group)));
                }
                Arrival::Unknown(doubt @ Doubt::Expired) => expired.push(of(doubt_text(doubt))),
                Arrival::Unknown(doubt) => self.unknown.push(of(doubt_text(doubt))),
            }
        }
        // One answer is about every topic. Where it leaves a topic open for long, the next one comes late for the others.
        if self.unknown.len() == known && whole.is_none() {
            self.unknown.append(&mut expired);
        }
        if let Some(why) = whole {
            let failed = samples.is_some_and(|it| it.failure().is_some());
            self.new += usize::from(requested_ms.is_none() && !failed);
            self.unknown.push(format!("{} ({why})", replicator.instance));
        }
    }
}

fn not_counted(cause: NotCounted) -> &'static str {
    match cause {
        NotCounted::External => "the API counts no messages of external clusters",
        NotCounted::NoGroup => "the plan shows no consumer group of the replication",
        NotCounted::NoInstance => "the plan does not show the instance",
    }
}

fn doubt_text(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::TooOld => "it was not read for more than 5m",
        Doubt::NoDelay => "the answer does not say how long messages have waited",
        Doubt::Inconsistent => "answers contradict each other about how long messages wait",
        Doubt::Expired => "the last answer proves the objective no longer",
        Doubt::Unassigned => "messages wait that the answer assigns to no topic",
        Doubt::Contradictory => {
            "consumers of the source have consumed later messages than the answer says were replicated"
        }
        Doubt::Unproven => "a message waits for almost as long as the objective",
    }
}

/// The exact backlogs of the mappings that run.
pub fn backlogs(scope: &Scope<'_>) -> Vec<MessageBacklog> {
    let mut all = Vec::new();
    for replicator in scope.evidence.grounds.iter().flat_map(|it| &it.replicators) {
        let Some(samples) = scope.evidence.backlog(&replicator.instance) else { continue };
        for (mapping, topic) in &replicator.topics {
            let Some((reading, delay_ms)) = samples.topic(topic).and_then(|it| Some((it, it.delay_ms()?))) else {
                continue;
            };
            all.push(MessageBacklog {
                mapping: mapping.to_string(),
                source_instance: samples.of().instance_id.to_string(),
                topic: topic.to_string(),
                messages: reading.messages,
                delay_ms,
                requested_ms: reading.requested_ms,
            });
        }
    }
    all
}

/// Sums the message backlog up in status. An old one is not shown.
pub fn summarize(scope: &Scope<'_>, grounds: &Grounds, status: &mut DisasterRecoveryPlanStatus) {
    let sampled = grounds.replicators.iter().any(|it| scope.evidence.backlog(&it.instance).is_some());
    let recent = |it: &MessageBacklog| scope.now.as_millisecond().saturating_sub(it.requested_ms) < MAX_LIST_AGE_MS;
    let all: Vec<_> = backlogs(scope).into_iter().filter(recent).collect();
    // Until this process has samples, those of another one stay.
    if sampled && all.is_empty() && !scope.evidence.has_backlog() {
        return;
    }
    let usual = lag::Usual { round_ms: 0, ..lag::Usual::new(&scope.object.spec) };
    for entry in &mut status.topic_mappings {
        let own: Vec<_> = all.iter().filter(|it| it.mapping == entry.name).collect();
        let before = entry.backlog.take();
        // What is known of one direction says nothing of both.
        if own.len() < grounds.replicators.iter().filter(|it| it.topics.contains_key(entry.name.as_str())).count() {
            continue;
        }
        let Some(delay_ms) = own.iter().map(|it| it.delay_ms).max() else { continue };
        let known = before.as_ref().map(|it| it.delay_seconds);
        let messages = own.iter().try_fold(0_i64, |sum, it| Some(sum.saturating_add(it.messages?)));
        let delay_seconds = lag::rounded_seconds(delay_ms, usual, known);
        entry.backlog = match before {
            // That everything has arrived is shown exactly.
            _ if (delay_ms, messages) == (0, Some(0)) => Some(Backlog { messages, delay_seconds: 0 }),
            // The number changes all the time.
            Some(before) if before.delay_seconds == delay_seconds => Some(before),
            Some(_) | None => Some(Backlog { messages, delay_seconds }),
        };
    }
}
