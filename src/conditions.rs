//! Conditions: set them, keep their times while their status stays, and tell whether anything changed.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

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
pub struct Statement {
    /// Whether it holds.
    pub truth: Truth,
    /// Why, as one word that programs match on.
    pub reason: &'static str,
    /// Why, for people.
    pub message: String,
}

impl Statement {
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
pub fn set(conditions: &mut Vec<Condition>, kind: &str, statement: Statement, generation: Option<i64>, now: Timestamp) {
    let Statement { truth, reason, message } = statement;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_its_time_until_its_status_changes() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let mut all = vec![];
        set(&mut all, "Ready", Statement::no("Creating", "a"), Some(1), at(10));
        set(&mut all, "Ready", Statement::no("Updating", "b"), Some(2), at(20));
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].last_transition_time.0, all[0].reason.as_str()), (at(10), "Updating"));
        set(&mut all, "Ready", Statement::yes("Available", "c"), Some(2), at(30));
        assert_eq!(all[0].last_transition_time.0, at(30));
        remove(&mut all, "Ready");
        assert!(all.is_empty());
    }
}
