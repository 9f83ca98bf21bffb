//! Pages of a list.

use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::list_fault::ListFault;

/// The requested page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paging {
    number: i64,
    size: i64,
    fault: ListFault,
}

impl Paging {
    /// A page of plans or items: number 1 to 100,000,000 (default 1), size 10 to 10,000 (default 10), according to the
    /// API's metadata.
    pub fn of_plans_or_items(number: Option<i64>, size: Option<i64>) -> Result<Paging, Failure> {
        Paging::checked(number, size, 10, 10_000)
    }

    /// A page of checkpoints: its size starts at 1, and no upper bound is documented.
    pub fn of_checkpoints(number: Option<i64>, size: Option<i64>) -> Result<Paging, Failure> {
        Paging::checked(number, size, 1, i64::MAX)
    }

    fn checked(number: Option<i64>, size: Option<i64>, min: i64, max: i64) -> Result<Paging, Failure> {
        let paging = Paging { number: number.unwrap_or(1), size: size.unwrap_or(10), fault: ListFault::default() };
        if !(1..=100_000_000).contains(&paging.number) {
            return Err(Failure::invalid("pageNumber", "it must be between 1 and 100000000"));
        }
        if !(min..=max).contains(&paging.size) {
            return Err(Failure::invalid("pageSize", &format!("it must be between {min} and {max}")));
        }
        Ok(paging)
    }

    /// The same page of a list with a fault.
    pub(in super::super) fn with_fault(self, fault: &ListFault) -> Paging {
        Paging { fault: fault.clone(), ..self }
    }

    /// The page of a complete list of entries with their ids; empty past the end.
    pub(super) fn page<T>(&self, all: Vec<(i64, T)>, scroll: bool) -> Page<T> {
        let all = all.into_iter().map(|(id, entry)| (id.to_string(), entry)).collect();
        let (mut shown, total) = self.fault.shown(all);
        let total_count = i64::try_from(total).unwrap_or(i64::MAX);
        let before = usize::try_from(self.number - 1).unwrap_or(usize::MAX);
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        let shift = self.fault.skipped(before).checked_rem(shown.len()).unwrap_or_default();
        shown.rotate_left(shift);
        let part = shown.into_iter().skip(before.saturating_mul(size)).take(size);
        let list = part.map(|(_, entry)| entry).collect();
        // No request parameter accepts it, so its content does not matter.
        let scroll_id = scroll.then(|| format!("scroll-{}", self.number));
        Page { page_number: self.number, page_size: self.size, total_count, list, scroll_id }
    }
}

/// A page as the API returns it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// The requested number, from 1.
    pub page_number: i64,
    /// The requested size, not the number of entries in `list`.
    pub page_size: i64,
    /// Number of entries on all pages.
    pub total_count: i64,
    /// The entries, by ascending id (order inferred).
    pub list: Vec<T>,
    /// Plans and items only; no request can use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scroll_id: Option<String>,
}
