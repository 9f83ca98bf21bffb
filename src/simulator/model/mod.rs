//! What the simulated cloud remembers and how it moves: plain data, no clock (every time is an argument, in milliseconds
//! since the epoch), no IO.
//!
//! Sources: help pages and SDK 5.1.0 of ApsaraMQ for RocketMQ, API version 2022-08-01. What those leave open is marked
//! "inferred": a test must not take it for a promise of the cloud.

mod checkpoint;
mod drift;
pub mod ebs;
mod failure;
mod instance;
mod item;
mod page;
mod plan;
pub mod sts;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends where it fails")]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use checkpoint::{Checkpoint, CheckpointTimes, CheckpointView, Place, Progress, ProgressData};
pub use drift::ForeignPlan;
pub use failure::Failure;
pub use instance::{Instance, MessageProperty};
pub use item::{Change, Item, ItemInput, ItemStatus, ItemView, Topic};
pub use page::{Page, Paging};
pub use plan::{Plan, PlanFilter, PlanInput, PlanStatus, PlanType, PlanView};
use serde::{Deserialize, Serialize};

/// How a stored password comes back in Get and List; the SDK's response type has the field, no page says what is in it
/// (inferred, hence all three).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PasswordEcho {
    /// As `******`.
    #[default]
    Masked,
    /// As it was given.
    Clear,
    /// Not at all.
    Omitted,
}

/// The rules by which one simulated cloud behaves.
#[derive(Debug, Clone)]
pub struct Rules {
    /// How long an item stays CREATING or CHANGING, in ms.
    pub delay_ms: i64,
    /// How long a created plan or item stays unseen by Get and List, in ms.
    pub visibility_delay_ms: i64,
    /// The time between two automatic synchronisations of a running item, in ms (the cloud: 10 s).
    pub sync_interval_ms: i64,
    /// The ALIYUN_ROCKETMQ instances that exist; none given: all do. An unknown one is `Instance.NotFound`.
    pub instances: Option<BTreeSet<String>>,
    /// The topics that exist on ALIYUN_ROCKETMQ instances; none given: all do. An unknown one is `Topic.NotFound`.
    pub topics: Option<BTreeSet<String>>,
    /// The consumer groups that subscribe to every topic on both sides; each gives a checkpoint an item and direction.
    pub consumer_groups: Vec<String>,
    /// The groups that do not consume at the source: their timestamp stays where it was.
    pub idle_groups: BTreeSet<String>,
    /// Whether UpdatePlan is allowed while an item runs; the documents do not say (inferred: no).
    pub update_while_running: bool,
    /// How passwords come back.
    pub password_echo: PasswordEcho,
    /// Whether a checkpoint that was never synchronised says `lastSyncTime: 0` instead of nothing.
    pub never_synced_as_zero: bool,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            delay_ms: 0,
            visibility_delay_ms: 0,
            sync_interval_ms: 10_000,
            instances: None,
            topics: None,
            consumer_groups: vec!["GID_ORDERS".to_owned(), "GID_BILLING".to_owned()],
            idle_groups: BTreeSet::new(),
            update_while_running: false,
            password_echo: PasswordEcho::Masked,
            never_synced_as_zero: false,
        }
    }
}

/// The whole state of the disaster-recovery side of one account, in all regions.
///
/// Every operation moves the state to its `now` first, so that what a caller sees depends on the calls and their times
/// alone.
#[derive(Debug, Clone)]
pub struct Model {
    /// The rules; a test may change them at any time.
    pub rules: Rules,
    now: i64,
    plans: BTreeMap<i64, Plan>,
    next_plan: i64,
    next_item: i64,
    next_checkpoint: i64,
    offline: BTreeSet<String>,
    frozen: bool,
}

impl Model {
    /// An empty account. Ids start where the documents' examples do: plans at 1300000016, items at 100070284.
    pub fn new(rules: Rules) -> Model {
        Model {
            rules,
            now: 0,
            plans: BTreeMap::new(),
            next_plan: 1_300_000_016,
            next_item: 100_070_284,
            next_checkpoint: 1_000_000_001,
            offline: BTreeSet::new(),
            frozen: false,
        }
    }

    /// Moves everything to `now`: finishes the changes that are due, consumes at the sources, synchronises checkpoints.
    ///
    /// A clock that was set back finishes nothing early and synchronises nothing twice.
    pub fn advance(&mut self, now: i64) {
        let before = self.now.min(now);
        self.now = now;
        let Model { rules, plans, next_checkpoint, offline, frozen, .. } = self;
        let automatic = |group: &str| !*frozen && !offline.contains(group);
        for plan in plans.values_mut() {
            plan.advance(before, now, rules, next_checkpoint, &automatic);
        }
    }

    /// All plans of all regions, whatever Get and List would show.
    pub fn plans(&self) -> impl Iterator<Item = &Plan> {
        self.plans.values()
    }

    /// A plan by its id, in whatever region.
    pub fn plan(&self, plan_id: i64) -> Option<&Plan> {
        self.plans.get(&plan_id)
    }

    /// A plan by its id, to be changed without any rule applied.
    pub fn plan_mut(&mut self, plan_id: i64) -> Option<&mut Plan> {
        self.plans.get_mut(&plan_id)
    }

    /// The plan of that id and region, or the cloud's answer when there is none.
    fn find(&self, region: &str, plan_id: i64) -> Result<&Plan, Failure> {
        self.plans.get(&plan_id).filter(|plan| plan.region_id == region).ok_or_else(Failure::plan_not_found)
    }

    fn find_mut(&mut self, region: &str, plan_id: i64) -> Result<&mut Plan, Failure> {
        self.plans.get_mut(&plan_id).filter(|plan| plan.region_id == region).ok_or_else(Failure::plan_not_found)
    }

    /// As [`Model::find`], for the operations that only read: a plan that is still becoming visible is not there.
    fn find_visible(&self, region: &str, plan_id: i64, now: i64) -> Result<&Plan, Failure> {
        Some(self.find(region, plan_id)?).filter(|plan| plan.visible_at <= now).ok_or_else(Failure::plan_not_found)
    }
}

/// A time as plans and items show it: `YYYY-MM-DD HH:mm:ss`. The zone is unstated; UTC is inferred.
fn wall_time(at: i64) -> String {
    jiff::Timestamp::from_millisecond(at)
        .map(|at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
        .unwrap_or_else(|_| "1970-01-01 00:00:00".to_owned())
}

/// The text of an optional field, an empty one counting as absent.
fn given(field: Option<&String>) -> Option<&str> {
    field.map(String::as_str).filter(|text| !text.is_empty())
}
