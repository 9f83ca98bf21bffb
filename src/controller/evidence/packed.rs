//! A number or a time that may be absent, in the space of a number: evidence of thousands of plans consists of them. Pure.

use std::fmt;

use jiff::Timestamp;

/// The number that stands for an absent one.
const ABSENT: i64 = i64::MIN;

/// A number that may be absent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Packed(i64);

impl Packed {
    /// No number.
    pub const NONE: Self = Self(ABSENT);

    /// The number.
    pub fn get(self) -> Option<i64> {
        (self.0 != ABSENT).then_some(self.0)
    }
}

impl Default for Packed {
    fn default() -> Self {
        Self::NONE
    }
}

impl From<Option<i64>> for Packed {
    fn from(number: Option<i64>) -> Self {
        Self(number.unwrap_or(ABSENT))
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// A time from 1678 to 2262, to which other times are moved.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShortTime(i64);

impl From<Timestamp> for ShortTime {
    fn from(at: Timestamp) -> Self {
        let range = i128::from(ABSENT + 1)..=i128::from(i64::MAX);
        let nanoseconds = at.as_nanosecond().clamp(*range.start(), *range.end());
        Self(i64::try_from(nanoseconds).unwrap_or_default())
    }
}

impl From<ShortTime> for Timestamp {
    fn from(at: ShortTime) -> Self {
        Self::from_nanosecond(at.0.into()).unwrap_or_default()
    }
}

impl fmt::Debug for ShortTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Timestamp::from(*self).fmt(f)
    }
}

/// Such a time that may be absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PackedTime(Packed);

impl PackedTime {
    /// The time.
    pub fn get(self) -> Option<Timestamp> {
        self.0.get().map(|nanoseconds| ShortTime(nanoseconds).into())
    }
}

impl From<Option<Timestamp>> for PackedTime {
    fn from(at: Option<Timestamp>) -> Self {
        Self(at.map(|at| ShortTime::from(at).0).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_number_is_what_it_was() {
        for number in [None, Some(0), Some(-1), Some(i64::MAX), Some(1_740_000_000_000)] {
            assert_eq!(Packed::from(number).get(), number);
        }
    }

    #[test]
    fn packed_time_is_what_it_was() {
        let exact = Timestamp::new(1_740_000_000, 123_456_789).unwrap_or_default();
        for at in [None, Some(Timestamp::UNIX_EPOCH), Some(exact)] {
            assert_eq!(PackedTime::from(at).get(), at);
        }
        let [first, last] = [Timestamp::MIN, Timestamp::MAX].map(|at| PackedTime::from(Some(at)).get());
        assert!(first < Some(Timestamp::UNIX_EPOCH) && last > Some(exact), "beyond the range counts as its end");
    }
}
