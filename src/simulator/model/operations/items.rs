//! The operations on items.

use std::collections::BTreeSet;

use super::super::account::Model;
use super::super::failure::Failure;
use super::super::item::{Change, Item, ItemInput, ItemStatus, ItemView, checked};
use super::super::page::{Page, Paging};
use super::super::progress::Consumption;
use super::super::text::given;

impl Model {
    /// AddDisasterRecoveryItem: the new item's id. The same pair of topics may be added twice (inferred).
    pub fn add_item(&mut self, region: &str, plan_id: i64, input: ItemInput, now: i64) -> Result<i64, Failure> {
        self.advance_plan(plan_id, now);
        let rules = self.rules.clone();
        let item_id = self.next_item;
        let plan = self.find_mut(region, plan_id)?;
        let topics = checked(input, &plan.instances, &rules)?;
        let item = Item {
            item_id,
            status: ItemStatus::Creating,
            change: Some(Change { to: ItemStatus::Running, at: now.saturating_add(rules.delay_ms) }),
            topics,
            created_at: now,
            updated_at: now,
            visible_at: now.saturating_add(rules.visibility_delay_ms),
            running_since: None,
            replication: Consumption::Busy,
            replications: Vec::new(),
            checkpoints: Vec::new(),
            extra_groups: BTreeSet::new(),
            absent_groups: BTreeSet::new(),
        };
        plan.items.insert(item_id, item);
        self.next_item += 1;
        Ok(item_id)
    }

    /// UpdateDisasterRecoveryItem: CHANGING, then the former status.
    pub fn update_item(&mut self, region: &str, ids: (i64, i64), input: ItemInput, now: i64) -> Result<(), Failure> {
        self.advance_plan(ids.0, now);
        let rules = self.rules.clone();
        let plan = self.find_mut(region, ids.0)?;
        let item = plan.items.get_mut(&ids.1).ok_or_else(Failure::item_not_found)?;
        let topics = checked(input, &plan.instances, &rules)?;
        if item.status.is_transitional() {
            return Err(Failure::item_status());
        }
        item.topics = topics;
        item.begin(item.status, now, rules.delay_ms);
        Ok(())
    }

    /// StartDisasterRecoveryItem: only from MANUAL_STOPPED.
    pub fn start_item(&mut self, region: &str, ids: (i64, i64), now: i64) -> Result<(), Failure> {
        self.switch(region, ids, ItemStatus::ManualStopped, ItemStatus::Running, now)
    }

    /// StopDisasterRecoveryItem: only from RUNNING.
    pub fn stop_item(&mut self, region: &str, ids: (i64, i64), now: i64) -> Result<(), Failure> {
        self.switch(region, ids, ItemStatus::Running, ItemStatus::ManualStopped, now)
    }

    fn switch(
        &mut self,
        region: &str,
        ids: (i64, i64),
        from: ItemStatus,
        to: ItemStatus,
        now: i64,
    ) -> Result<(), Failure> {
        self.advance_plan(ids.0, now);
        let delay_ms = self.rules.delay_ms;
        let item = self.find_mut(region, ids.0)?.items.get_mut(&ids.1).ok_or_else(Failure::item_not_found)?;
        if item.status != from {
            return Err(Failure::item_status());
        }
        item.begin(to, now, delay_ms);
        Ok(())
    }

    /// DeleteDisasterRecoveryItem: only a stopped item.
    pub fn delete_item(&mut self, region: &str, ids: (i64, i64), now: i64) -> Result<(), Failure> {
        self.advance_plan(ids.0, now);
        let plan = self.find_mut(region, ids.0)?;
        if !plan.items.get(&ids.1).ok_or_else(Failure::item_not_found)?.status.is_stopped() {
            return Err(Failure::item_status());
        }
        plan.items.remove(&ids.1);
        Ok(())
    }

    /// GetDisasterRecoveryItem.
    pub fn get_item(&mut self, region: &str, ids: (i64, i64), now: i64) -> Result<ItemView, Failure> {
        self.advance_plan(ids.0, now);
        Ok(self.visible_item(region, ids, now)?.1.view(ids.0))
    }

    /// ListDisasterRecoveryItems: with exactly this topic name, or with `filter` in a topic name.
    pub fn list_items(
        &mut self,
        region: &str,
        plan_id: i64,
        (topic_name, filter): (Option<&String>, Option<&String>),
        paging: &Paging,
        now: i64,
    ) -> Result<Page<ItemView>, Failure> {
        self.advance_plan(plan_id, now);
        let (exact, part) = (given(topic_name), given(filter).unwrap_or_default());
        let wanted = |item: &&Item| {
            item.visible_at <= now
                && exact.is_none_or(|exact| item.names_topic(|name| name == exact))
                && item.names_topic(|name| name.contains(part))
        };
        let plan = self.find_visible(region, plan_id, now)?;
        let items = plan.items.values().filter(wanted);
        Ok(paging.page(items.map(|item| (item.item_id, item.view(plan_id))).collect(), true))
    }
}
