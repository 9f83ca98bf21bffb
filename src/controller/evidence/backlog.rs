//! How long the message backlog of a topic proves a recovery point objective. Pure.
//!
//! The API shows for how long the oldest message has waited that was not replicated yet. So every message that was stored earlier is at
//! the destination. All times are in ms since 1970 UTC.

use super::packed::Packed;
use super::progress::{MAX_LIST_AGE_MS, Terms};

/// The distance between two store times that does not contradict. Each is about as old as the cloud's last observation of it.
const TOLERANCE_MS: i64 = 10_000;
/// The API cuts the time for which a message has waited to whole seconds.
const ROUNDING_MS: i64 = 1_000;

/// The backlog of one topic, as one answer shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The start of the request.
    pub requested_ms: i64,
    /// The number of messages that wait.
    pub messages: Option<i64>,
    /// The time for which the oldest of them has waited.
    pub delay_ms: Option<i64>,
    /// The store time of the message that was replicated last.
    pub replicated_ms: Option<i64>,
    /// The start of the first request since which messages wait and none is replicated.
    pub stuck_since_ms: Option<i64>,
}

/// A reading as samples keep it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptReading {
    requested_ms: i64,
    messages: Packed,
    delay_ms: Packed,
    replicated_ms: Packed,
    stuck_since_ms: Packed,
}

impl From<Reading> for KeptReading {
    fn from(reading: Reading) -> Self {
        Self {
            requested_ms: reading.requested_ms,
            messages: reading.messages.into(),
            delay_ms: reading.delay_ms.into(),
            replicated_ms: reading.replicated_ms.into(),
            stuck_since_ms: reading.stuck_since_ms.into(),
        }
    }
}

impl From<KeptReading> for Reading {
    fn from(kept: KeptReading) -> Self {
        Self {
            requested_ms: kept.requested_ms,
            messages: kept.messages.get(),
            delay_ms: kept.delay_ms.get(),
            replicated_ms: kept.replicated_ms.get(),
            stuck_since_ms: kept.stuck_since_ms.get(),
        }
    }
}

/// What a consumer group of the source has consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consumed {
    /// The store time of the message that it consumed last.
    pub stored_ms: i64,
    /// A time since which the topic is replicated. Absent where the API does not say of any topic what was replicated last.
    pub replicated_since_ms: Option<i64>,
}

/// What a reading says about a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Every message is within the objective.
    Within {
        /// The end of the proof.
        until_ms: i64,
    },
    /// A message waits for longer than the objective.
    Exceeded,
    /// Nothing proves or refutes it.
    Unknown(Doubt),
}

/// The cause of a doubt about a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The answer is too old.
    TooOld,
    /// The answer does not say for how long a message has waited.
    NoDelay,
    /// Answers contradict each other about how long messages wait.
    Inconsistent,
    /// Consumers of the source consumed a message that should be replicated, and the message that was replicated last is older.
    Contradictory,
    /// Messages wait for longer than the answer says of any topic.
    Unassigned,
    /// The answer proves less than the objective.
    Unproven,
    /// The answer proved the objective until now.
    Expired,
}

impl Reading {
    /// Adds what the reading before this one shows.
    pub fn after(self, before: Option<Reading>) -> Self {
        let waits = |it: &Reading| it.messages.is_some_and(|messages| messages > 0);
        let same = |it: &Reading| self.replicated_ms.is_some() && it.replicated_ms == self.replicated_ms;
        let stuck = before.filter(|it| waits(it) && waits(&self) && same(it));
        let stuck_since_ms = stuck.map(|it| it.stuck_since_ms.unwrap_or(it.requested_ms));
        Self { stuck_since_ms, ..self }
    }

    /// How long the oldest message has waited. Nothing waits where the API counts no message, whatever else it leaves out.
    pub fn delay_ms(&self) -> Option<i64> {
        self.delay_ms.or_else(|| self.messages.filter(|it| *it == 0))
    }

    /// Judges the topic at `now_ms`, by what consumer groups of the source have consumed.
    pub fn judge(&self, now_ms: i64, consumed: impl IntoIterator<Item = Consumed>, terms: Terms) -> Judgement {
        if now_ms.saturating_sub(self.requested_ms) >= MAX_LIST_AGE_MS {
            return Judgement::Unknown(Doubt::TooOld);
        }
        let Some(delay_ms) = self.delay_ms() else { return Judgement::Unknown(Doubt::NoDelay) };
        if delay_ms > terms.objective_ms {
            return match self.messages {
                Some(0) => Judgement::Unknown(Doubt::Inconsistent),
                Some(_) | None => Judgement::Exceeded,
            };
        }
        let stuck_ms = self.stuck_since_ms.map_or(0, |since_ms| self.requested_ms.saturating_sub(since_ms));
        if stuck_ms.saturating_sub(delay_ms) > TOLERANCE_MS {
            return Judgement::Unknown(Doubt::Inconsistent);
        }
        let arrived_ms = self.requested_ms.saturating_sub(delay_ms);
        if consumed.into_iter().any(|it| self.contradicts(it, arrived_ms, terms)) {
            return Judgement::Unknown(Doubt::Contradictory);
        }
        let until_ms = terms.proof_end_ms(arrived_ms).min(self.requested_ms.saturating_add(MAX_LIST_AGE_MS));
        match now_ms < until_ms {
            true => Judgement::Within { until_ms },
            false if self.requested_ms < until_ms => Judgement::Unknown(Doubt::Expired),
            false => Judgement::Unknown(Doubt::Unproven),
        }
    }

    /// Whether a message was consumed at the source that must have been replicated before `arrived_ms`, and was not.
    fn contradicts(&self, consumed: Consumed, arrived_ms: i64, terms: Terms) -> bool {
        // The oldest message that waits may itself be consumed at the source.
        let waits_from_ms = arrived_ms.saturating_sub(ROUNDING_MS).saturating_sub(terms.margin_ms());
        let Some(replicated_ms) = self.replicated_ms.or(consumed.replicated_since_ms) else { return false };
        consumed.stored_ms < waits_from_ms && consumed.stored_ms.saturating_sub(replicated_ms) > TOLERANCE_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(objective_s: i64, skew_s: i64) -> Terms {
        Terms { objective_ms: objective_s * 1000, skew_ms: skew_s * 1000 }
    }

    /// A reading at 1,000 s, of a message that has waited so many seconds.
    fn waiting(delay_s: i64) -> Reading {
        let (messages, delay_ms) = (Some(7), Some(delay_s * 1000));
        let replicated_ms = Some(1_000_000 - delay_s * 1000);
        Reading { requested_ms: 1_000_000, messages, delay_ms, replicated_ms, stuck_since_ms: None }
    }

    /// A judgement in short, with times in seconds.
    fn judged(reading: Reading, now_s: i64, consumed_s: &[i64], terms: Terms) -> String {
        let consumed = |s: &i64| Consumed { stored_ms: s * 1000, replicated_since_ms: Some(950_000) };
        match reading.judge(now_s * 1000, consumed_s.iter().map(consumed), terms) {
            Judgement::Within { until_ms } => format!("within until {}", until_ms / 1000),
            other @ (Judgement::Exceeded | Judgement::Unknown(_)) => format!("{other:?}"),
        }
    }

    #[test]
    fn judgement_follows_its_evidence() {
        let (minute, skewed, hour) = (terms(60, 0), terms(60, 20), terms(3_600, 0));
        let unsaid = Reading { delay_ms: None, ..waiting(0) };
        let nothing = Reading { messages: Some(0), ..unsaid };
        for (name, reading, now, terms, expected) in [
            ("nothing waits", waiting(0), 1_000, minute, "within until 1055"),
            ("a message waits", waiting(20), 1_000, minute, "within until 1035"),
            ("last second", waiting(20), 1_034, minute, "within until 1035"),
            ("end of the proof", waiting(20), 1_035, minute, "Unknown(Expired)"),
            ("as long as the objective", waiting(60), 1_000, minute, "Unknown(Unproven)"),
            ("longer than the objective", waiting(61), 1_000, minute, "Exceeded"),
            ("longer than the objective, old", waiting(61), 1_299, minute, "Exceeded"),
            ("longer than the objective, too old", waiting(61), 1_300, minute, "Unknown(TooOld)"),
            ("a long objective", waiting(0), 1_000, hour, "within until 1300"),
            ("a long objective, old", waiting(0), 1_300, hour, "Unknown(TooOld)"),
            ("a long delay", waiting(3_500), 1_000, hour, "within until 1095"),
            ("clock skew", waiting(0), 1_000, skewed, "within until 1035"),
            ("no delay", unsaid, 1_000, minute, "Unknown(NoDelay)"),
            (
                "too long, and no message",
                Reading { messages: Some(0), ..waiting(61) },
                1_000,
                minute,
                "Unknown(Inconsistent)",
            ),
            ("no delay, and no message", nothing, 1_000, minute, "within until 1055"),
            ("nothing said", Reading { messages: None, ..unsaid }, 1_000, minute, "Unknown(NoDelay)"),
        ] {
            assert_eq!(judged(reading, now, &[], terms), expected, "{name}");
        }
    }

    #[test]
    fn messages_that_nothing_replicates_wait() {
        let next = |s: i64, before: &Reading| Reading { requested_ms: s * 1000, ..waiting(0) }.after(Some(*before));
        let first = waiting(0);
        let second = next(1_010, &first);
        assert_eq!(judged(second, 1_010, &[], terms(60, 0)), "within until 1065");
        let third = next(1_011, &second);
        assert_eq!(judged(third, 1_011, &[], terms(60, 0)), "Unknown(Inconsistent)", "they wait for 11 s");
        let said = Reading { delay_ms: Some(1_000), ..third };
        assert_eq!(judged(said, 1_011, &[], terms(60, 0)), "within until 1065");
        let moved = Reading { replicated_ms: Some(1_001_000), ..third }.after(Some(second));
        assert_eq!(judged(moved, 1_011, &[], terms(60, 0)), "within until 1066");
        let untold = |s: i64, before: &Reading| Reading { replicated_ms: None, ..next(s, before) }.after(Some(*before));
        let unsaid = untold(1_030, &untold(1_000, &first));
        assert_eq!(judged(unsaid, 1_030, &[], terms(60, 0)), "within until 1085", "nothing says that it stands still");
        let none = Reading { messages: Some(0), ..third }.after(Some(second));
        assert_eq!(judged(none, 1_011, &[], terms(60, 0)), "within until 1066");
    }

    #[test]
    fn consumed_messages_contradict_older_replication() {
        let within = "within until 1055";
        let last = |s: i64| Reading { replicated_ms: Some(s * 1000), ..waiting(0) };
        let never = Reading { replicated_ms: None, ..waiting(0) };
        for (name, reading, consumed, expected) in [
            ("consumed as far as replicated", last(990), vec![990], within),
            ("a little further", last(983), vec![993], within),
            ("further", last(982), vec![993], "Unknown(Contradictory)"),
            ("one of several", last(100), vec![90, 120, 100], "Unknown(Contradictory)"),
            ("perhaps the message that waits", last(100), vec![994], within),
            ("consumed after the request", last(100), vec![1_001], within),
            ("a quiet topic", last(100), vec![100, 90], within),
            ("never replicated, and quiet since before", never, vec![949], within),
            ("never replicated", never, vec![961], "Unknown(Contradictory)"),
        ] {
            assert_eq!(judged(reading, 1_000, &consumed, terms(60, 0)), expected, "{name}");
        }
        assert_eq!(judged(last(100), 1_000, &[980], terms(60, 20)), "within until 1035", "clock skew");
        // What has not arrived yet contradicts nothing.
        let behind = Reading { replicated_ms: Some(970_000), ..waiting(30) };
        assert_eq!(judged(behind, 1_000, &[999], terms(60, 0)), "within until 1025");
        // A message every 40 s: the consumers of the source have the one that waits.
        let rare = Reading { replicated_ms: Some(921_000), ..waiting(38) };
        assert_eq!(judged(rare, 1_000, &[961], terms(60, 0)), "within until 1017");
    }
}
