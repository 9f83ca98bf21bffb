//! The replication groups, pairs and drills of disks as EBS 2021-07-30 has them: plain data, every time an argument.
//!
//! Sources: help pages, SDK 5.0.1 and the API's metadata. What those leave open is marked "inferred": a test must not
//! take it for a promise of the cloud.

mod drift;
mod drill;
mod failure;
mod group;
mod page;
mod pair;
mod status;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends where it fails")]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use drift::{DiskGroupEdit, DrillEdit};
pub use drill::{Drill, DrillPair, DrillStatus, DrillView};
pub use group::{DiskGroup, DiskGroupInput, DiskGroupView, GroupFilter, Place};
pub use page::{EbsPage, EbsPaging};
pub use pair::{DiskPair, DiskPairInput, DiskPairView, PairFilter};
use serde::Serialize;
use serde_json::Value;
pub use status::{GroupOperation, ReplicaStatus};

use super::Failure;

/// Which region counts as the production site once replication runs the other way round. The documents say that the
/// sites "remain unchanged" and that data then flows from the secondary to the primary one; which region then takes
/// which operation they do not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Production {
    /// The region that data comes from (inferred).
    #[default]
    Source,
    /// The region that was production when the group was created.
    Primary,
}

/// The rules by which the simulated disks behave.
#[derive(Debug, Clone)]
pub struct DiskRules {
    /// How long every status lasts that passes by itself, in ms.
    pub delay_ms: i64,
    /// How long the first full copy takes, in ms; the delay where nothing is given.
    pub initial_sync_ms: Option<i64>,
    /// The time between two recovery points while replication is normal, in ms (the cloud: up to 15 minutes).
    pub cycle_ms: i64,
    /// The least time between two one-shot synchronisations, in ms (the cloud: half of the RPO of 900 s).
    pub one_shot_interval_ms: i64,
    /// Which region counts as production after a reversal.
    pub production: Production,
    /// The most groups that a region has as their first production: `OperationDenied.QuotaExceed` beyond. None given: no
    /// limit (the cloud's is not documented; what counts is inferred).
    pub most_groups: Option<usize>,
    /// The most of those that may be without pairs: `OperationDenied.TooMuchEmptyGroup` beyond. None given: no limit (the
    /// cloud's is not documented; what counts is inferred).
    pub most_empty_groups: Option<usize>,
    /// Whether drills are shown and cleared in both regions of their group. The documents name the secondary site for
    /// starting one and do not say more (inferred: only where it was started, where its disks are).
    pub drills_in_both_regions: bool,
    /// Whether Source* and Destination* name what they named at creation, also after a reversal. The documents do not say
    /// (that they change round is inferred).
    pub names_stay: bool,
}

impl Default for DiskRules {
    fn default() -> DiskRules {
        DiskRules {
            delay_ms: 0,
            initial_sync_ms: None,
            cycle_ms: 10_000,
            one_shot_interval_ms: 450_000,
            production: Production::Source,
            most_groups: None,
            most_empty_groups: None,
            drills_in_both_regions: false,
            names_stay: false,
        }
    }
}

/// A status that ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Transition {
    to: ReplicaStatus,
    due: i64,
}

/// The disks' side of one account, in all regions.
#[derive(Debug, Clone)]
pub struct Disks {
    /// The rules; a test may change them at any time.
    pub rules: DiskRules,
    now: i64,
    groups: BTreeMap<String, DiskGroup>,
    pairs: BTreeMap<String, DiskPair>,
    drills: BTreeMap<String, Drill>,
    attached: BTreeSet<String>,
    frozen: bool,
    /// By region, action and token: the request and its result.
    tokens: BTreeMap<(String, String, String), (String, Value)>,
    next_id: u32,
}

/// Everything as it is, for assertions and the admin API.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DiskInspection {
    /// The groups, as their production region shows them.
    pub groups: Vec<DiskGroupView>,
    /// All pairs.
    pub pairs: Vec<DiskPairView>,
    /// All drills, those too whose group is gone.
    pub drills: Vec<DrillView>,
    /// The disks that are attached to an instance.
    pub attached_disks: BTreeSet<String>,
}

impl Disks {
    /// An account without groups.
    pub fn new(rules: DiskRules) -> Disks {
        let (groups, pairs, drills, attached, tokens) = Default::default();
        Disks { rules, now: 0, groups, pairs, drills, attached, frozen: false, tokens, next_id: 1 }
    }

    /// Moves everything to `now`: ends the transitions that are due and makes recovery points.
    pub fn advance(&mut self, now: i64) {
        self.now = now;
        let Disks { rules, groups, pairs, drills, frozen, .. } = self;
        pairs.retain(|_, pair| pair.advance(now, rules, *frozen));
        groups.retain(|_, group| group.advance(now, rules, *frozen, pairs));
        drills.retain(|_, drill| drill.advance(now));
    }

    /// A group by its id, in whatever region.
    pub fn group(&self, id: &str) -> Option<&DiskGroup> {
        self.groups.get(id)
    }

    /// A pair by its id, in whatever region.
    pub fn pair(&self, id: &str) -> Option<&DiskPair> {
        self.pairs.get(id)
    }

    /// Everything as it is.
    pub fn inspect(&self) -> DiskInspection {
        let production = |group: &DiskGroup| group.production(&self.rules).to_owned();
        DiskInspection {
            groups: self.groups.values().map(|group| self.group_view(group, &production(group))).collect(),
            pairs: self.pairs.values().map(|pair| self.pair_view(pair, pair.production(&self.rules))).collect(),
            drills: self.drills.values().map(Drill::view).collect(),
            attached_disks: self.attached.clone(),
        }
    }

    /// Does `call` once for each ClientToken of a region and action: the same request again has the first result again,
    /// another one with the same token is refused. `request` is everything else that the call consists of. A call that
    /// is refused uses no token up (inferred).
    pub fn once(
        &mut self,
        (region, action, token): (&str, &str, Option<&str>),
        request: String,
        call: impl FnOnce(&mut Disks) -> Result<Value, Failure>,
    ) -> Result<Value, Failure> {
        let Some(token) = token else { return call(self) };
        if token.len() > 64 || !token.is_ascii() {
            return Err(Failure::invalid_ebs("ClientToken", "it must be ASCII and at most 64 characters long"));
        }
        let key = (region.to_owned(), action.to_owned(), token.to_owned());
        if let Some((first, result)) = self.tokens.get(&key) {
            if *first != request {
                let message = "The request uses the same client token as a previous, but non-identical request.";
                return Err(Failure::gateway(400, "IdempotentParameterMismatch", message));
            }
            return Ok(result.clone());
        }
        let result = call(self)?;
        self.tokens.insert(key, (request, result.clone()));
        Ok(result)
    }

    fn new_id(&mut self, prefix: &str) -> String {
        let id = format!("{prefix}-sim{:08}", self.next_id);
        self.next_id += 1;
        id
    }
}

/// The only recovery point objective that there is, s.
const RPO: i64 = 900;

fn check_rpo(rpo: Option<i64>) -> Result<(), Failure> {
    match rpo {
        None | Some(RPO) => Ok(()),
        Some(_) => Err(Failure::invalid_ebs("RPO", "900 is the only value")),
    }
}

fn check_length(name: &str, text: Option<&String>, most: usize) -> Result<(), Failure> {
    match text {
        Some(text) if !(2..=most).contains(&text.chars().count()) => {
            Err(Failure::invalid_ebs(name, &format!("it must be 2 to {most} characters long")))
        }
        Some(_) | None => Ok(()),
    }
}

fn required(name: &str, field: Option<&String>) -> Result<String, Failure> {
    field.filter(|text| !text.is_empty()).cloned().ok_or_else(|| Failure::missing(name))
}
