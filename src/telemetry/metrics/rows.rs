//! Rows of texts and numbers in one allocation: a fraction of the memory of structs with owned strings. Numbers are written
//! with as few bytes as they need, and a text that occurred before as its position.

use std::collections::{HashMap, HashSet};
use std::iter;
use std::sync::Arc;

/// Rows, as written by [`Rows::new`]. Cloned without a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Rows(Option<Arc<[u8]>>);

impl Rows {
    pub(super) fn new<'a, R: Field<'a>>(rows: impl IntoIterator<Item = R>) -> Self {
        let mut packer = Packer::default();
        rows.into_iter().for_each(|row| row.pack(&mut packer));
        Self((!packer.bytes.is_empty()).then(|| packer.bytes.into()))
    }

    /// The rows, which are of the type that they were written with.
    pub(super) fn iter<'a, R: Field<'a>>(&'a self) -> impl Iterator<Item = R> {
        let all = self.0.as_deref().unwrap_or_default();
        let mut unpacker = Unpacker { all, rest: all };
        iter::from_fn(move || R::unpack(&mut unpacker))
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |bytes| bytes.len())
    }

    fn is_shared(&self) -> bool {
        self.0.as_ref().is_some_and(|bytes| Arc::strong_count(bytes) > 1)
    }
}

/// Rows that many objects have in common, each stored once.
#[derive(Debug, Default)]
pub(super) struct Shared {
    all: HashSet<Rows>,
    /// Number of entries at which unused ones are dropped.
    max_entries: usize,
}

impl Shared {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The stored rows that equal these.
    pub(super) fn share(&mut self, rows: Rows) -> Rows {
        if let Some(known) = self.all.get(&rows) {
            return known.clone();
        }
        if self.all.len() >= self.max_entries {
            self.all.retain(Rows::is_shared);
            self.max_entries = (2 * self.all.len()).max(64);
        }
        self.all.insert(rows.clone());
        rows
    }
}

#[derive(Default)]
pub(super) struct Packer<'a> {
    bytes: Vec<u8>,
    positions: HashMap<&'a str, usize>,
}

impl Packer<'_> {
    fn number(&mut self, number: i64) {
        // The sign is the lowest bit, so that small negative numbers are short too.
        let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
        while rest > 0x7f {
            self.bytes.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        self.bytes.push(rest as u8);
    }

    fn size(&mut self, size: usize) {
        self.number(i64::try_from(size).unwrap_or(i64::MAX));
    }
}

pub(super) struct Unpacker<'a> {
    all: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Unpacker<'a> {
    fn number(&mut self) -> Option<i64> {
        let (mut number, mut shift) = (0_u64, 0);
        loop {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            shift += 7;
            if byte & 0x80 == 0 {
                return Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed());
            }
        }
    }

    fn size(&mut self) -> Option<usize> {
        self.number()?.try_into().ok()
    }

    fn bytes(&mut self, size: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(size)?;
        self.rest = rest;
        Some(bytes)
    }
}

/// A field of a row, or a row.
pub(super) trait Field<'a>: Sized {
    fn pack(self, to: &mut Packer<'a>);
    /// None at the end of the rows.
    fn unpack(from: &mut Unpacker<'a>) -> Option<Self>;
}

impl<'a> Field<'a> for i64 {
    fn pack(self, to: &mut Packer<'a>) {
        to.number(self);
    }

    fn unpack(from: &mut Unpacker<'a>) -> Option<Self> {
        from.number()
    }
}

/// An even number is twice the size of the text that follows; an odd one has the position at which the same text follows.
impl<'a> Field<'a> for &'a str {
    fn pack(self, to: &mut Packer<'a>) {
        if let Some(position) = to.positions.get(self) {
            to.size(2 * position + 1);
            return;
        }
        to.positions.insert(self, to.bytes.len());
        to.size(2 * self.len());
        to.bytes.extend_from_slice(self.as_bytes());
    }

    fn unpack(from: &mut Unpacker<'a>) -> Option<Self> {
        let size = from.size()?;
        let bytes = if size % 2 == 0 {
            from.bytes(size / 2)?
        } else {
            let mut former = Unpacker { all: from.all, rest: from.all.get(size / 2..)? };
            let size = former.size()?;
            former.bytes(size / 2)?
        };
        str::from_utf8(bytes).ok()
    }
}

impl<'a, F: Field<'a>> Field<'a> for Option<F> {
    fn pack(self, to: &mut Packer<'a>) {
        to.number(i64::from(self.is_some()));
        if let Some(field) = self {
            field.pack(to);
        }
    }

    fn unpack(from: &mut Unpacker<'a>) -> Option<Self> {
        match from.number()? {
            0 => Some(None),
            _ => F::unpack(from).map(Some),
        }
    }
}

macro_rules! tuple {
    ($($field:ident)+) => {
        impl<'a, $($field: Field<'a>),+> Field<'a> for ($($field),+) {
            fn pack(self, to: &mut Packer<'a>) {
                #[expect(non_snake_case, reason = "fields have the names of their types")]
                let ($($field),+) = self;
                $($field.pack(to);)+
            }

            fn unpack(from: &mut Unpacker<'a>) -> Option<Self> {
                Some(($($field::unpack(from)?),+))
            }
        }
    };
}

tuple!(A B);
tuple!(A B C);
tuple!(A B C D);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Row<'a> = ((&'a str, &'a str), Option<i64>, i64);

    proptest! {
        #[test]
        fn rows_are_read_as_they_were_written(
            rows in prop::collection::vec((("[ab]{0,2}", ".{0,80}"), any::<Option<i64>>(), any::<i64>()), 0..20)
        ) {
            let rows: Vec<Row> = rows.iter().map(|((a, b), c, d)| ((a.as_str(), b.as_str()), *c, *d)).collect();
            let packed = Rows::new(rows.iter().copied());
            prop_assert_eq!(packed.iter::<Row>().collect::<Vec<_>>(), rows);
        }

        #[test]
        fn foreign_bytes_end_the_rows(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let size = bytes.len();
            prop_assert!(Rows(Some(bytes.into())).iter::<Row>().count() <= size);
        }
    }

    #[test]
    fn extreme_numbers_and_repeated_texts_are_kept() {
        let numbers = [0, 1, -1, 63, 64, -64, -65, i64::MAX, i64::MIN];
        assert_eq!(Rows::new(numbers).iter::<i64>().collect::<Vec<_>>(), numbers);
        let text = "a".repeat(1000);
        let packed = Rows::new([text.as_str(); 100]);
        assert!(packed.bytes() < 1000 + 100 * 3, "{}", packed.bytes());
        assert!(packed.iter::<&str>().all(|it| it == text) && packed.iter::<&str>().count() == 100);
        assert_eq!(Rows::new([""; 0]), Rows::default());
    }

    #[test]
    fn equal_rows_are_stored_once_while_used() {
        let mut shared = Shared::default();
        let first = shared.share(Rows::new(["a"]));
        let second = shared.share(Rows::new(["a"]));
        assert!(Arc::ptr_eq(&first.0.unwrap(), second.0.as_ref().unwrap()));
        for number in 0..10_000 {
            shared.share(Rows::new([number]));
        }
        assert!(shared.all.len() <= 64 && shared.all.contains(&second), "{}", shared.all.len());
    }
}
