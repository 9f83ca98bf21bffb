//! Lists of the API. A list is complete only if the pages fit together: the number of distinct IDs is the total that every page
//! reports. A list that changes while the client reads its pages is read again, and then it is incomplete.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::error::{Class, Error};
use super::operation::ApiOperation;
use super::wire::{broken, each, misshapen};

/// Maximum number of reads of a list until one is complete.
pub(super) const MAX_READS: usize = 3;
/// Maximum entries of a list, which the client keeps in memory.
const MAX_ENTRIES: usize = 100_000;

/// A list, from all its pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum List<T> {
    /// Every entry.
    Complete(Vec<T>),
    /// Entries that certainly exist. What the list lacks may exist as well.
    Incomplete(Vec<T>),
}

impl<T> List<T> {
    /// The entries that the list shows, each once.
    pub fn entries(&self) -> &[T] {
        match self {
            Self::Complete(entries) | Self::Incomplete(entries) => entries,
        }
    }

    /// The entries that the list shows, each once.
    pub fn into_entries(self) -> Vec<T> {
        match self {
            Self::Complete(entries) | Self::Incomplete(entries) => entries,
        }
    }

    /// Whether an entry that the list lacks does not exist, as far as one read proves it.
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Complete(_))
    }

    /// The entries of a complete list. An incomplete one is [`Class::Unavailable`].
    pub fn complete(self, operation: ApiOperation) -> Result<Vec<T>, Error> {
        match self {
            Self::Complete(entries) => Ok(entries),
            Self::Incomplete(_) => Err(incomplete(operation)),
        }
    }

    /// Both lists as one.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let complete = self.is_complete() && other.is_complete();
        let mut entries = self.into_entries();
        entries.extend(other.into_entries());
        if complete { Self::Complete(entries) } else { Self::Incomplete(entries) }
    }

    /// The list without the entries that do not fulfil a condition.
    #[must_use]
    pub fn filtered(self, keep: impl Fn(&T) -> bool) -> Self {
        let filtered = |mut entries: Vec<T>| {
            entries.retain(|it| keep(it));
            entries
        };
        match self {
            Self::Complete(entries) => Self::Complete(filtered(entries)),
            Self::Incomplete(entries) => Self::Incomplete(filtered(entries)),
        }
    }
}

/// The error for a decision that needs a complete list.
pub fn incomplete(operation: ApiOperation) -> Error {
    let message =
        "the list changed each time it was read: the entries of its pages are not as many as their total".into();
    Error { class: Class::Unavailable, operation, code: "Incomplete".into(), message, request_id: None }
}

/// The pages of a list that the client has read so far.
pub(super) struct Pages<T, Id> {
    operation: ApiOperation,
    entries: BTreeMap<Id, T>,
    /// The number of entries, repeated ones included.
    read: usize,
    /// The total of the first page.
    total: Option<i64>,
    /// Whether an entry came twice, or a page had another total.
    changed: bool,
}

impl<T, Id: Ord> Pages<T, Id> {
    pub(super) fn new(operation: ApiOperation) -> Self {
        Self { operation, entries: BTreeMap::new(), read: 0, total: None, changed: false }
    }

    /// Adds a page, each entry as soon as it is read: `entry` returns its ID and what to keep of it. A page may come without its
    /// list if there are no entries. Returns whether the list of pages continues: pages may be shorter than requested, so that only
    /// the total or an empty page ends it.
    pub(super) fn add<E: DeserializeOwned>(
        &mut self,
        page: Option<&RawValue>,
        total: Option<i64>,
        entry: impl Fn(E) -> (Id, T),
    ) -> Result<bool, Error> {
        let before = self.read;
        if let Some(page) = page {
            each(page, |it| self.push(entry(it))).map_err(|_| misshapen(self.operation))?;
        }
        if self.read > MAX_ENTRIES {
            return Err(broken(self.operation, format!("more than {MAX_ENTRIES} entries")));
        }
        let (first, empty) = (before == 0, self.read == before);
        self.changed |= !first && total != self.total;
        if first {
            self.total = total;
        }
        let end = total.and_then(|total| usize::try_from(total).ok());
        Ok(!empty && end.is_none_or(|end| self.read < end))
    }

    /// Adds an entry. Of one that comes twice the last one counts.
    fn push(&mut self, (id, kept): (Id, T)) {
        self.read += 1;
        if self.read <= MAX_ENTRIES {
            self.changed |= self.entries.insert(id, kept).is_some();
        }
    }

    /// The list, once it does not continue.
    pub(super) fn counted(self) -> List<T> {
        let total = self.total.and_then(|total| usize::try_from(total).ok());
        let complete = !self.changed && total == Some(self.entries.len());
        self.list(complete)
    }

    /// The list, where the service gives each page by a token and no total means anything.
    pub(super) fn by_token(self) -> List<T> {
        let complete = !self.changed;
        self.list(complete)
    }

    fn list(self, complete: bool) -> List<T> {
        let entries = self.entries.into_values().collect();
        if complete { List::Complete(entries) } else { List::Incomplete(entries) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(pages: &[(&[i32], Option<i64>)]) -> (bool, List<i32>) {
        let mut read = Pages::new(ApiOperation::ListDisasterRecoveryPlans);
        let mut continues = true;
        for (entries, total) in pages {
            assert!(continues, "the list ended before {entries:?}");
            let page = serde_json::value::to_raw_value(entries).expect("JSON");
            continues = read.add(Some(&page), *total, |id| (id, id)).expect("a page");
        }
        (continues, read.counted())
    }

    #[test]
    fn list_is_complete_with_distinct_total_only() {
        for (pages, complete) in [
            (&[(&[1, 2][..], Some(3)), (&[3], Some(3))][..], true),
            (&[(&[1, 2, 3], Some(3))], true),
            (&[(&[], Some(0))], true),
            // Fewer entries than the total, and an entry that came twice in place of another one.
            (&[(&[1, 2], Some(3)), (&[], Some(3))], false),
            (&[(&[1, 2], Some(3)), (&[2], Some(3))], false),
            // An entry was deleted or created between two pages.
            (&[(&[1, 2], Some(4)), (&[4], Some(3))], false),
            (&[(&[1, 2], Some(3)), (&[3], Some(4)), (&[4], Some(4))], false),
            (&[(&[1, 2, 3], Some(2))], false),
            (&[(&[1], None), (&[2], None), (&[], None)], false),
        ] {
            let (continues, list) = list(pages);
            assert_eq!((continues, list.is_complete()), (false, complete), "{pages:?}: {list:?}");
        }
    }

    #[test]
    fn endless_list_is_refused() {
        let mut read = Pages::new(ApiOperation::ListDisasterRecoveryPlans);
        let page = serde_json::value::to_raw_value(&vec![7; MAX_ENTRIES]).expect("JSON");
        assert_eq!(read.add(Some(&page), None, |id: i32| (id, id)), Ok(true));
        let error = read.add(Some(&page), None, |id: i32| (id, id)).expect_err("too many entries");
        assert_eq!((error.class, error.code.as_str()), (Class::Unavailable, "BrokenAnswer"));
        assert_eq!(read.entries.len(), 1);
    }

    #[test]
    fn entries_are_handed_over_as_they_are_read() {
        let mut read = Pages::new(ApiOperation::ListDisasterRecoveryPlans);
        let seen = std::cell::RefCell::new(vec![]);
        let entry = |id: i32| {
            seen.borrow_mut().push(id);
            (id, ())
        };
        // The third entry cannot be read: the two before it were handed over by then.
        let page = RawValue::from_string(r#"[2, 1, "x", 3]"#.into()).expect("JSON");
        assert!(read.add(Some(&page), Some(4), entry).is_err());
        assert_eq!(seen.take(), [2, 1]);
    }

    #[test]
    fn incomplete_list_is_an_error_where_needed() {
        let (_, list) = list(&[(&[1, 2], Some(3)), (&[2], Some(3))]);
        assert_eq!(list.entries(), [1, 2]);
        let error = list.complete(ApiOperation::ListDisasterRecoveryPlans).expect_err("it lacks one");
        assert_eq!((error.class, error.code.as_str()), (Class::Unavailable, "Incomplete"));
    }
}
