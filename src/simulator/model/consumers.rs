//! Applications and replicators at run time: how messages are produced, replicated and consumed, and which consumer
//! groups there are.

use std::collections::BTreeMap;

use super::account::Model;
use super::checkpoint::Checkpoint;
use super::failure::Failure;
use super::item::Item;
use super::messages::{Messages, Production};
use super::plan::Plan;
use super::progress::Consumption;

impl Model {
    /// Changes how applications store messages from now on, in one source topic (instance and topic) or in all, also those
    /// of later items.
    pub fn set_production(&mut self, topic: Option<(&str, &str)>, production: Production, now: i64) {
        self.advance(now);
        self.messages.change(topic, production, now);
    }

    /// Changes how the replicator of an item (ids of plan and item), or of every item there is, moves from now on, in all
    /// directions. It stays so until the next change, whatever the status of the item is: a replicator stands still while
    /// its item does not run, and then continues with the speed that was set. `Busy` is the default.
    pub fn set_replication(&mut self, item: Option<(i64, i64)>, to: Consumption, now: i64) -> Result<(), Failure> {
        self.advance(now);
        let Some((plan_id, item_id)) = item else {
            let items = self.plans.values_mut().flat_map(|plan| plan.items.values_mut());
            items.for_each(|item| item.set_replication(to, now));
            return Ok(());
        };
        let plan = self.plans.get_mut(&plan_id).ok_or_else(Failure::plan_not_found)?;
        plan.items.get_mut(&item_id).ok_or_else(Failure::item_not_found)?.set_replication(to, now);
        Ok(())
    }

    /// Changes how a group moves at the source from now on, for its checkpoints in all items, and ends their holds by
    /// [`Model::set_checkpoint`]. A checkpoint that is created later is that of a busy group, or of an offline one.
    pub fn set_consumption(&mut self, group: &str, consumption: Consumption, now: i64) {
        self.advance(now);
        let idle = consumption == Consumption::Offline;
        if idle {
            self.rules.idle_groups.insert(group.to_owned());
        } else {
            self.rules.idle_groups.remove(group);
        }
        for checkpoint in checkpoints_mut(&mut self.plans).filter(|checkpoint| checkpoint.consumer_group_id == group) {
            checkpoint.idle = idle;
            checkpoint.consume(consumption, now);
        }
    }

    /// Changes how the group of one checkpoint moves at the source from now on, and ends a hold.
    pub fn set_checkpoint_consumption(
        &mut self,
        checkpoint_id: i64,
        consumption: Consumption,
        now: i64,
    ) -> Result<(), Failure> {
        self.advance(now);
        self.checkpoint_mut(checkpoint_id)?.0.consume(consumption, now);
        Ok(())
    }

    /// Lets the consumers of a group at the target run on their own, so far ahead of the source, in all items:
    /// synchronisations then set `lastSyncTime` only. Without a distance they end, and their progress stays until the
    /// next synchronisation.
    pub fn set_target_ahead(&mut self, group: &str, ahead_ms: Option<i64>, now: i64) {
        self.advance(now);
        for checkpoint in checkpoints_mut(&mut self.plans).filter(|checkpoint| checkpoint.consumer_group_id == group) {
            checkpoint.run_ahead(ahead_ms, &self.messages, now);
        }
    }

    /// As [`Model::set_target_ahead`], for one checkpoint.
    pub fn set_checkpoint_target_ahead(
        &mut self,
        checkpoint_id: i64,
        ahead_ms: Option<i64>,
        now: i64,
    ) -> Result<(), Failure> {
        self.advance(now);
        let (checkpoint, messages) = self.checkpoint_mut(checkpoint_id)?;
        checkpoint.run_ahead(ahead_ms, messages, now);
        Ok(())
    }

    /// Adds a consumer group that subscribes to every topic, or to those of one item (ids of plan and item). Its
    /// checkpoints have no synchronisation until the next one. Without effect where it exists.
    pub fn add_group(&mut self, group: &str, item: Option<(i64, i64)>, now: i64) -> Result<(), Failure> {
        self.change_groups(item, now, |rules, items, all| {
            if all && !rules.contains(&group.to_owned()) {
                rules.push(group.to_owned());
            }
            for item in items {
                item.absent_groups.remove(group);
                if !all {
                    item.extra_groups.insert(group.to_owned());
                }
            }
        })
    }

    /// Removes a consumer group with its checkpoints from all items, or from one item (ids of plan and item).
    pub fn remove_group(&mut self, group: &str, item: Option<(i64, i64)>, now: i64) -> Result<(), Failure> {
        self.change_groups(item, now, |rules, items, all| {
            if all {
                rules.retain(|known| known != group);
            }
            for item in items {
                item.extra_groups.remove(group);
                if !all {
                    item.absent_groups.insert(group.to_owned());
                }
            }
        })
    }

    /// Calls `change` with the groups of the rules, the selected items and whether those are all items; then adds and
    /// removes checkpoints.
    fn change_groups(
        &mut self,
        item: Option<(i64, i64)>,
        now: i64,
        change: impl FnOnce(&mut Vec<String>, &mut [&mut Item], bool),
    ) -> Result<(), Failure> {
        self.advance(now);
        if let Some((plan_id, item_id)) = item {
            let plan = self.plans.get(&plan_id).ok_or_else(Failure::plan_not_found)?;
            plan.items.get(&item_id).ok_or_else(Failure::item_not_found)?;
        }
        let Model { plans, rules, next_checkpoint, .. } = self;
        let all = plans.values_mut().flat_map(|plan| {
            let plan_id = plan.plan_id;
            plan.items.values_mut().map(move |item| (plan_id, item))
        });
        let selected = all.filter(|(plan_id, it)| item.is_none_or(|ids| ids == (*plan_id, it.item_id)));
        let mut selected: Vec<_> = selected.map(|(_, item)| item).collect();
        change(&mut rules.consumer_groups, &mut selected, item.is_none());
        for plan in plans.values_mut() {
            let directions = plan.directions();
            for item in plan.items.values_mut().filter(|item| item.has_run()) {
                item.cover(&plan.instances, &directions, rules, next_checkpoint, now);
            }
        }
        Ok(())
    }

    /// The checkpoint with this id in any item, and the messages.
    pub(super) fn checkpoint_mut(&mut self, checkpoint_id: i64) -> Result<(&mut Checkpoint, &Messages), Failure> {
        let found = checkpoints_mut(&mut self.plans).find(|checkpoint| checkpoint.checkpoint_id == checkpoint_id);
        Ok((found.ok_or_else(Failure::checkpoint_not_found)?, &self.messages))
    }
}

fn checkpoints_mut(plans: &mut BTreeMap<i64, Plan>) -> impl Iterator<Item = &mut Checkpoint> {
    plans.values_mut().flat_map(|plan| plan.items.values_mut()).flat_map(|item| &mut item.checkpoints)
}
