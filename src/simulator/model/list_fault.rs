//! Faults of reads: entries that are missing, and pages that do not fit together.

use std::collections::BTreeSet;

/// The fault of a read; the default is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListFault {
    hidden: Hidden,
    /// Whether the total of a list counts the hidden entries.
    counted: bool,
    /// The number of entries that no page shows, for each page after the first.
    shift: usize,
}

/// The entries that a read does not show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Hidden {
    #[default]
    None,
    /// Those with these IDs.
    Some(BTreeSet<String>),
    All,
}

impl ListFault {
    /// Entries with these IDs are missing, or all entries if there are none. `counted`: the total counts them.
    pub fn gap(ids: &[String], counted: bool) -> ListFault {
        let hidden = if ids.is_empty() { Hidden::All } else { Hidden::Some(ids.iter().cloned().collect()) };
        ListFault { hidden, counted, ..ListFault::default() }
    }

    /// Each page after the first begins so many entries later than the page before it ended.
    pub fn shifted_pages(by: u32) -> ListFault {
        ListFault { shift: usize::try_from(by).unwrap_or(usize::MAX), ..ListFault::default() }
    }

    /// Whether the read shows nothing of this resource.
    pub(in super::super) fn hides(&self, id: &str) -> bool {
        match &self.hidden {
            Hidden::None => false,
            Hidden::Some(ids) => ids.contains(id),
            Hidden::All => true,
        }
    }

    /// Whether the read shows no entry at all.
    pub(in super::super) fn hides_everything(&self) -> bool {
        self.hidden == Hidden::All
    }

    /// The entries that a list shows, and its total.
    pub(super) fn shown<T>(&self, mut all: Vec<(String, T)>) -> (Vec<(String, T)>, usize) {
        let complete = all.len();
        all.retain(|(id, _)| !self.hides(id));
        let total = if self.counted { complete } else { all.len() };
        (all, total)
    }

    /// The number of entries that no page showed before the page with this index, from 0.
    pub(super) fn skipped(&self, page: usize) -> usize {
        self.shift.saturating_mul(page)
    }
}
