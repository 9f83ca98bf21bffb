//! The messages of source topics. That applications store a message each ms, or none, is the simulator's simplification
//! (inferred). Copies that replication stores do not count: a two-way plan does not replicate them again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::place::Place;

/// Maximum number of quiet times that a history keeps; the oldest are dropped first.
const MAX_GAPS: usize = 1024;

/// How applications store messages in a topic from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum Production {
    /// A message each ms.
    Steady,
    /// None: the message of now is the last one.
    Quiet,
}

/// A time without messages: after `after` and before `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gap {
    /// Store time of the last message before it, ms.
    after: i64,
    /// Store time of the first message after it, ms; absent while the topic is quiet.
    until: Option<i64>,
}

impl Gap {
    fn ends_after(&self, at: i64) -> bool {
        self.until.is_none_or(|until| at < until)
    }
}

/// The messages of one topic, now and in the past. A topic without gaps has a message for each ms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stored {
    /// By ascending time.
    gaps: Vec<Gap>,
}

impl Stored {
    /// Store time of the last message at `at`, ms.
    pub(super) fn last(&self, at: i64) -> i64 {
        let gap = self.gaps.iter().rev().find(|gap| gap.after <= at);
        gap.filter(|gap| gap.ends_after(at)).map_or(at, |gap| gap.after)
    }

    /// Store time of the first message after that of `at`, ms; absent if none is known.
    pub(super) fn next(&self, at: i64) -> Option<i64> {
        let next = at.saturating_add(1);
        let gap = self.gaps.iter().rev().find(|gap| gap.after < next);
        gap.filter(|gap| gap.ends_after(next)).map_or(Some(next), |gap| gap.until)
    }

    /// The newest time, ms, until which no message is newer than that of `at`.
    pub(super) fn newest_without_more(&self, at: i64) -> i64 {
        self.next(at).map_or(i64::MAX, |next| next - 1)
    }

    /// The ms with a message after `from` and until `to`.
    pub(super) fn ms_between(&self, from: i64, to: i64) -> i64 {
        let quiet = |gap: &Gap| {
            let end = gap.until.map_or(to, |until| until - 1).min(to);
            end.saturating_sub(gap.after.max(from)).max(0)
        };
        to.saturating_sub(from).max(0) - self.gaps.iter().map(quiet).sum::<i64>()
    }

    /// Changes how messages are stored from `at` on. After the clock was set back, it replaces later changes.
    fn change(&mut self, to: Production, at: i64) {
        self.gaps.retain(|gap| gap.after < at);
        let current = self.gaps.last_mut().filter(|gap| gap.ends_after(at));
        match (to, current) {
            (Production::Steady, Some(gap)) => gap.until = Some(at),
            (Production::Quiet, Some(gap)) => gap.until = None,
            (Production::Steady, None) => {}
            (Production::Quiet, None) => {
                if self.gaps.len() == MAX_GAPS {
                    self.gaps.remove(0);
                }
                self.gaps.push(Gap { after: at, until: None });
            }
        }
    }
}

/// The messages of all source topics.
#[derive(Debug, Clone, Default)]
pub(super) struct Messages {
    /// The topics without an entry in `topics`.
    others: Stored,
    /// By instance and topic.
    topics: BTreeMap<String, BTreeMap<String, Stored>>,
}

impl Messages {
    /// The messages of the topic at a place.
    pub(super) fn of(&self, place: &Place) -> &Stored {
        let found = self.topics.get(&place.instance_id).and_then(|topics| topics.get(&place.topic_name));
        found.unwrap_or(&self.others)
    }

    /// Changes how messages are stored in one topic (instance and topic), or in all topics, from `at` on.
    pub(super) fn change(&mut self, topic: Option<(&str, &str)>, to: Production, at: i64) {
        if let Some((instance, topic)) = topic {
            let topics = self.topics.entry(instance.to_owned()).or_default();
            topics.entry(topic.to_owned()).or_insert_with(|| self.others.clone()).change(to, at);
            return;
        }
        self.others.change(to, at);
        self.topics.values_mut().flat_map(BTreeMap::values_mut).for_each(|stored| stored.change(to, at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(changes: &[(Production, i64)]) -> Stored {
        let mut stored = Stored::default();
        changes.iter().for_each(|(to, at)| stored.change(*to, *at));
        stored
    }

    #[test]
    fn messages_match_each_ms_of_history() {
        use Production::{Quiet, Steady};
        // Changes, and whether a time has a message.
        type Row = (&'static [(Production, i64)], fn(i64) -> bool);
        let table: [Row; 6] = [
            (&[], |_| true),
            (&[(Quiet, 30)], |at| at <= 30),
            (&[(Quiet, 30), (Quiet, 50)], |at| at <= 30),
            (&[(Quiet, 30), (Steady, 50), (Steady, 60)], |at| at <= 30 || at >= 50),
            (&[(Quiet, 30), (Steady, 50), (Quiet, 50), (Steady, 70)], |at| at <= 30 || at == 50 || at >= 70),
            // The clock was set back.
            (&[(Quiet, 30), (Steady, 80), (Quiet, 40), (Quiet, 20), (Steady, 25)], |at| at <= 20 || at >= 25),
        ];
        for (changes, has_message) in table {
            let stored = stored(changes);
            for at in 0..100 {
                assert_eq!(Some(stored.last(at)), (0..=at).rev().find(|it| has_message(*it)), "{changes:?} {at}");
                let next = stored.next(at).filter(|next| *next < 100);
                assert_eq!(next, (at + 1..100).find(|it| has_message(*it)), "{changes:?} {at}");
                for to in 0..100 {
                    let expected = (at + 1..=to).filter(|it| has_message(*it)).count();
                    assert_eq!(stored.ms_between(at, to), expected as i64, "{changes:?} {at} {to}");
                }
            }
        }
    }

    #[test]
    fn history_is_bounded() {
        let mut stored = Stored::default();
        for at in 0..3_000 {
            stored.change(Production::Quiet, at * 10);
            stored.change(Production::Steady, at * 10 + 5);
        }
        assert_eq!(stored.gaps.len(), MAX_GAPS);
        assert_eq!((stored.last(29_994), stored.next(29_990)), (29_990, Some(29_995)));
    }
}
