//! The state of one account.

use std::collections::{BTreeMap, BTreeSet};

use super::failure::Failure;
use super::item::Item;
use super::messages::Messages;
use super::plan::Plan;
use super::rules::Rules;

/// The disaster-recovery state of one account in all regions.
///
/// Every operation first advances the plans that it is about to its `now`, so that results depend only on the calls and their times.
#[derive(Debug, Clone)]
pub struct Model {
    /// The rules, which a test may change at any time.
    pub rules: Rules,
    /// The time of the last advance of all plans, ms.
    pub(super) now: i64,
    /// The time of the last advance of any plan, ms.
    pub(super) latest: i64,
    pub(super) plans: BTreeMap<i64, Plan>,
    pub(super) next_plan: i64,
    pub(super) next_item: i64,
    pub(super) next_checkpoint: i64,
    pub(super) offline: BTreeSet<String>,
    pub(super) frozen: bool,
    pub(super) messages: Messages,
}

impl Model {
    /// An empty account. Ids start with the examples of the documentation: plans at 1300000016, items at 100070284.
    pub fn new(rules: Rules) -> Model {
        Model {
            rules,
            now: 0,
            latest: 0,
            plans: BTreeMap::new(),
            next_plan: 1_300_000_016,
            next_item: 100_070_284,
            next_checkpoint: 1_000_000_001,
            offline: BTreeSet::new(),
            frozen: false,
            messages: Messages::default(),
        }
    }

    /// Advances the state to `now`: ends the changes that are due, replicates and consumes messages, synchronises checkpoints.
    ///
    /// After the clock was set back, no change ends early and no checkpoint is synchronised twice.
    pub fn advance(&mut self, now: i64) {
        self.now = now;
        self.advance_plans(now, |_| true);
    }

    /// As [`Model::advance`], for one plan: an operation on it depends on no other plan, and there may be thousands.
    pub(super) fn advance_plan(&mut self, plan_id: i64, now: i64) {
        let Model { rules, plans, next_checkpoint, offline, frozen, messages, .. } = self;
        let automatic = |group: &str| !*frozen && !offline.contains(group);
        if let Some(plan) = plans.get_mut(&plan_id) {
            plan.advance(now, (rules, messages), next_checkpoint, &automatic);
        }
        self.latest = now;
    }

    /// As [`Model::advance`], for the plans that `over` selects.
    pub(super) fn advance_plans(&mut self, now: i64, over: impl Fn(&Plan) -> bool) {
        let Model { rules, plans, next_checkpoint, offline, frozen, messages, .. } = self;
        let automatic = |group: &str| !*frozen && !offline.contains(group);
        for plan in plans.values_mut().filter(|plan| over(plan)) {
            plan.advance(now, (rules, messages), next_checkpoint, &automatic);
        }
        self.latest = now;
    }

    /// All plans of all regions, also those that Get and List do not show.
    pub fn plans(&self) -> impl Iterator<Item = &Plan> {
        self.plans.values()
    }

    /// The plan with this id in any region.
    pub fn plan(&self, plan_id: i64) -> Option<&Plan> {
        self.plans.get(&plan_id)
    }

    /// The plan with this id, for changes without any rule.
    pub fn plan_mut(&mut self, plan_id: i64) -> Option<&mut Plan> {
        self.plans.get_mut(&plan_id)
    }

    /// The plan with this id in the region, or the cloud's refusal.
    pub(super) fn find(&self, region: &str, plan_id: i64) -> Result<&Plan, Failure> {
        self.plans.get(&plan_id).filter(|plan| plan.region_id == region).ok_or_else(Failure::plan_not_found)
    }

    pub(super) fn find_mut(&mut self, region: &str, plan_id: i64) -> Result<&mut Plan, Failure> {
        self.plans.get_mut(&plan_id).filter(|plan| plan.region_id == region).ok_or_else(Failure::plan_not_found)
    }

    /// As [`Model::find`], for operations that only read: a plan that is not visible yet does not exist for them.
    pub(super) fn find_visible(&self, region: &str, plan_id: i64, now: i64) -> Result<&Plan, Failure> {
        Some(self.find(region, plan_id)?).filter(|plan| plan.visible_at <= now).ok_or_else(Failure::plan_not_found)
    }

    pub(super) fn visible_item(&self, region: &str, ids: (i64, i64), now: i64) -> Result<(&Plan, &Item), Failure> {
        let plan = self.find_visible(region, ids.0, now)?;
        let item = plan.items.get(&ids.1).filter(|item| item.visible_at <= now).ok_or_else(Failure::item_not_found)?;
        Ok((plan, item))
    }
}
