//! Numbers and times that may be absent, in little space: evidence of thousands of plans consists of them. Pure.

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

/// Many numbers, most of them close to the one before: each as its distance from that, in as few bytes as it needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers(Box<[u8]>);

impl Numbers {
    /// Packs numbers.
    pub fn new(numbers: impl IntoIterator<Item = Option<i64>>) -> Self {
        let (mut bytes, mut before) = (Vec::new(), 0_i64);
        for number in numbers {
            let mut rest = number.map_or(0, |number| {
                let distance = number.wrapping_sub(before);
                before = number;
                // The sign is the lowest bit, so that small negative distances are short too. 0 stands for an absent number.
                u128::from(((distance << 1) ^ (distance >> 63)).cast_unsigned()) + 1
            });
            while rest > 0x7f {
                bytes.push((rest & 0x7f) as u8 | 0x80);
                rest >>= 7;
            }
            bytes.push(rest as u8);
        }
        Self(bytes.into())
    }

    /// The numbers.
    pub fn iter(&self) -> impl Iterator<Item = Option<i64>> {
        let (mut bytes, mut before) = (self.0.iter(), 0_i64);
        std::iter::from_fn(move || {
            let (mut packed, mut shift) = (0_u128, 0);
            loop {
                let byte = *bytes.next()?;
                packed |= u128::from(byte & 0x7f).checked_shl(shift)?;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            let Some(distance) = packed.checked_sub(1) else { return Some(None) };
            let distance = u64::try_from(distance).ok()?;
            before = before.wrapping_add((distance >> 1).cast_signed() ^ -(distance & 1).cast_signed());
            Some(Some(before))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn many_numbers_are_what_they_were(numbers in prop::collection::vec(any::<Option<i64>>(), 0..20)) {
            prop_assert_eq!(Numbers::new(numbers.iter().copied()).iter().collect::<Vec<_>>(), numbers);
        }
    }

    #[test]
    fn extreme_numbers_are_what_they_were() {
        let numbers = [Some(i64::MIN), Some(i64::MAX), None, Some(0), Some(i64::MIN), Some(i64::MIN), Some(-1)];
        assert_eq!(Numbers::new(numbers).iter().collect::<Vec<_>>(), numbers);
        let times = (0..100).map(|s| Some(1_740_000_000_000 + s * 10_000));
        assert!(Numbers::new(times).0.len() < 310);
    }

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
