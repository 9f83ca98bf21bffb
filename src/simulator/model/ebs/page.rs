//! The two paging styles of EBS: by token and by number.

use super::super::failure::Failure;
use super::super::list_fault::ListFault;

/// The requested part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EbsPaging {
    by_token: bool,
    after: Option<String>,
    number: usize,
    size: usize,
    fault: ListFault,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct EbsPage<T> {
    /// The entries, by ascending id (order inferred).
    pub list: Vec<T>,
    /// The token for the rest, if there is any.
    pub next_token: Option<String>,
    /// Total, page number and page size; absent in the token style, whose TotalCount is invalid.
    pub numbers: Option<(usize, usize, usize)>,
}

/// The prefix of a token; the rest is the last id on the page.
const TOKEN: &str = "after:";

impl EbsPaging {
    /// `MaxResults` (1 to 500, default 10) and `NextToken`, or `PageNumber` (from 1) and `PageSize` (1 to 100, default
    /// 10). Without either style the first page has a token too.
    pub fn new(
        max_results: Option<i64>,
        next_token: Option<&str>,
        page_number: Option<i64>,
        page_size: Option<i64>,
    ) -> Result<EbsPaging, Failure> {
        let checked = |name: &str, value: Option<i64>, default: usize, max: i64| match value {
            None => Ok(default),
            Some(value) if (1..=max).contains(&value) => Ok(usize::try_from(value).unwrap_or(default)),
            Some(_) => Err(Failure::invalid_ebs(name, &format!("it must be between 1 and {max}"))),
        };
        let by_token = max_results.is_some() || next_token.is_some();
        if by_token && (page_number.is_some() || page_size.is_some()) {
            let message = "NextToken and MaxResults do not go together with PageNumber and PageSize.";
            return Err(Failure::gateway(400, "InvalidParameter.Conflict", message));
        }
        let after = match next_token {
            None => None,
            Some(token) => match token.strip_prefix(TOKEN) {
                Some(id) => Some(id.to_owned()),
                None => return Err(Failure::invalid_ebs("NextToken", "no answer held it")),
            },
        };
        let number = checked("PageNumber", page_number, 1, i64::from(i32::MAX))?;
        let size = if by_token {
            checked("MaxResults", max_results, 10, 500)?
        } else {
            checked("PageSize", page_size, 10, 100)?
        };
        Ok(EbsPaging { by_token, after, number, size, fault: ListFault::default() })
    }

    /// The same part of a list with a fault.
    pub(in super::super::super) fn with_fault(self, fault: &ListFault) -> EbsPaging {
        EbsPaging { fault: fault.clone(), ..self }
    }

    /// The part of a complete list, which is in ascending order of ids.
    pub(super) fn page<T>(&self, all: Vec<(String, T)>) -> EbsPage<T> {
        let (mut shown, total) = self.fault.shown(all);
        let skip = if self.by_token {
            let seen = shown.iter().filter(|(id, _)| self.after.as_ref().is_some_and(|after| id <= after)).count();
            seen.saturating_add(self.fault.skipped(usize::from(self.after.is_some())))
        } else {
            let before = self.number - 1;
            let shift = self.fault.skipped(before).checked_rem(shown.len()).unwrap_or_default();
            shown.rotate_left(shift);
            before.saturating_mul(self.size)
        };
        let more = skip.saturating_add(self.size) < shown.len();
        let part: Vec<_> = shown.into_iter().skip(skip).take(self.size).collect();
        let next_token = part.last().filter(|_| more).map(|(id, _)| format!("{TOKEN}{id}"));
        let numbers = (!self.by_token).then_some((total, self.number, self.size));
        EbsPage { list: part.into_iter().map(|(_, entry)| entry).collect(), next_token, numbers }
    }
}
