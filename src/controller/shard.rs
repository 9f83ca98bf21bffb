//! The shards of a large installation: operator processes that each serve a part of the objects.

use std::str::FromStr;

use crate::api::SHARD_LABEL;

/// One of several operator processes, which serves the objects with its number as label [`SHARD_LABEL`]. The first one also serves
/// objects without a number of another, and the accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u16,
    count: u16,
}

impl Shard {
    /// The only process.
    pub const ALL: Self = Self { index: 0, count: 1 };

    /// Whether this is the first shard, which serves everything that has no shard of its own.
    pub fn is_first(self) -> bool {
        self.index == 0
    }

    /// Whether no other shard exists.
    pub fn is_only(self) -> bool {
        self.count == 1
    }

    /// The labels of its objects besides those that `selector` names. Each object matches exactly one shard.
    pub fn selector(self, selector: Option<&str>) -> Option<String> {
        let own = match self {
            Self { count: 1, .. } => None,
            Self { index: 0, count } => {
                let others: Vec<_> = (1..count).map(|index| index.to_string()).collect();
                Some(format!("{SHARD_LABEL} notin ({})", others.join(",")))
            }
            Self { index, .. } => Some(format!("{SHARD_LABEL}={index}")),
        };
        let all: Vec<_> = selector.map(str::to_owned).into_iter().chain(own).collect();
        (!all.is_empty()).then(|| all.join(","))
    }

    /// The lease of the shard, by that of the first one.
    pub fn lease(self, first: &str) -> String {
        if self.is_first() { first.to_owned() } else { format!("{first}-shard-{}", self.index) }
    }

    /// Its part of a rate limit, which the shards share.
    pub fn part_of(self, rate: u32) -> u32 {
        (rate / u32::from(self.count)).max(1)
    }
}

impl FromStr for Shard {
    type Err = String;

    /// Parses INDEX/COUNT.
    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        match parsed {
            Some((index, count)) if index < count => Ok(Self { index, count }),
            Some(_) | None => Err("write INDEX/COUNT, such as 0/3, 1/3 and 2/3 for three shards".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(text: &str) -> Shard {
        text.parse().expect("it parses")
    }

    #[test]
    fn only_an_index_below_the_count_is_accepted() {
        for text in ["", "1", "1/", "/1", "1/1", "2/1", "-1/2", "0/0", "a/b", "0/1/2", "0/70000"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
        assert_eq!(shard("0/1"), Shard::ALL);
    }

    #[test]
    fn shards_select_disjoint_objects() {
        let selectors = |of: Option<&str>| ["0/1", "0/3", "1/3", "2/3"].map(|it| shard(it).selector(of));
        let label = "disasterrecovery.dev/shard";
        let own = [None, Some(format!("{label} notin (1,2)")), Some(format!("{label}=1")), Some(format!("{label}=2"))];
        assert_eq!(selectors(None), own);
        let team = own.map(|own| Some(own.map_or("team=a".into(), |own| format!("team=a,{own}"))));
        assert_eq!(selectors(Some("team=a")), team);
    }

    #[test]
    fn each_shard_has_a_lease_and_a_part_of_the_rate() {
        assert_eq!(["0/1", "0/3", "2/3"].map(|it| shard(it).lease("dr")), ["dr", "dr", "dr-shard-2"]);
        assert_eq!([(135, "0/1"), (135, "1/4"), (1, "1/4")].map(|(rate, it)| shard(it).part_of(rate)), [135, 33, 1]);
    }
}
