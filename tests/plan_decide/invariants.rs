//! The invariants of a world: after every reconcile, and at rest.

use std::collections::BTreeSet;

use disaster_recovery_operator::api::plan::{DisasterRecoveryPlan, ItemPolicy, MappingState, UpdatePolicy};
use disaster_recovery_operator::controller::plan::decide::{Step, Verdict};
use disaster_recovery_operator::simulator::model::{Item, ItemStatus};
use proptest::prelude::*;

use super::trial::{Trial, same_pair};
use test_support::driver::plan::*;
use test_support::driver::world::Passed;

impl Trial {
    /// Checks what holds after every reconcile with these steps.
    pub(crate) fn invariants(&mut self, steps: &[Step]) -> Result<(), TestCaseError> {
        let keep = self.world.object.spec.item_policy == ItemPolicy::Keep && !self.world.deleting();
        for step in steps {
            let (plan_id, item) = target(step);
            prop_assert!(plan_id.is_none_or(|id| !self.strangers.contains_key(&id)), "a stranger's plan: {step:?}");
            if let (true, Some(item)) = (keep, item) {
                prop_assert!(!self.foreign.contains(&item), "a foreign item: {step:?}");
            }
            if let (Step::DeleteItem { plan_id, item_id }, false) = (step, self.world.deleting()) {
                let named = self.named_items(*plan_id);
                prop_assert!(!named.contains(item_id), "an item that the spec names: {step:?}");
            }
            prop_assert!(self.world.deleting() || !matches!(step, Step::DeletePlan { .. }), "{step:?}");
            if let (Step::StopItem { plan_id, item_id }, false) = (step, self.world.deleting()) {
                let plan = self.world.plan(*plan_id);
                let topics = plan.as_ref().and_then(|plan| Some((plan, plan.items.get(item_id)?.topics.iter())));
                let runs = topics.is_some_and(|(plan, topics)| {
                    let mut mappings = self.world.object.spec.topic_mappings.iter();
                    mappings
                        .any(|it| it.state == MappingState::Running && same_pair(topics.clone(), it, plan, &self.world))
                });
                prop_assert!(!runs || !self.world.status.paused_items.is_empty(), "stopped for no update: {step:?}");
            }
        }
        let own: Vec<_> =
            self.world.plans().into_iter().filter(|it| !self.strangers.contains_key(&it.plan_id)).collect();
        prop_assert!(own.len() <= 1, "{} plans", own.len());
        for plan in own {
            let mut pairs = BTreeSet::new();
            for item in plan.items.values() {
                let pair: BTreeSet<_> = item.topics.iter().map(|it| (&it.instance_id, &it.topic_name)).collect();
                prop_assert!(pairs.insert(pair), "two items of one pair: {:?}", item.topics);
            }
        }
        for (id, before) in &self.strangers {
            let now = self.world.snapshot(*id);
            prop_assert_eq!(now.as_ref(), Some(before), "a stranger's plan changed");
        }
        Ok(())
    }

    /// Checks that the cloud matches the spec, by the model's own state alone.
    fn matches_spec(&mut self) -> Result<(), TestCaseError> {
        let world = &mut self.world;
        let spec = world.object.spec.clone();
        let own: Vec<_> = world.plans().into_iter().filter(|it| !self.strangers.contains_key(&it.plan_id)).collect();
        prop_assert_eq!(own.len(), 1, "plans");
        let plan = own[0].clone();
        prop_assert_eq!(Some(&plan.plan_name), spec.plan_name.as_ref());
        let desc = plan.plan_desc.clone().unwrap_or_default();
        match &spec.plan_desc {
            Some(text) => prop_assert_eq!(&desc, &format!("{text} {MARK}")),
            None => prop_assert!(desc.ends_with(MARK), "{desc}"),
        }
        if let Some(enabled) = spec.sync_checkpoint_enabled {
            prop_assert_eq!(plan.sync_checkpoint_enabled, enabled);
        }
        if let Some(auto) = spec.auto_sync_checkpoint {
            prop_assert_eq!(plan.auto_sync_checkpoint, auto);
        }
        for (want, found) in spec.instances.iter().zip(&plan.instances) {
            if let Some(property) = &want.message_property {
                let found = found.message_property.clone().unwrap_or_default();
                prop_assert_eq!(
                    (&found.property_key, &found.property_value),
                    (&property.property_key, &property.property_value)
                );
            }
            if want.credentials_secret_ref.is_some() {
                prop_assert_eq!(
                    (found.username.as_deref(), found.password.as_deref()),
                    (Some("replicator"), Some(PASSWORD))
                );
            }
        }
        let mut named = BTreeSet::new();
        for mapping in &spec.topic_mappings {
            let items: Vec<_> =
                plan.items.values().filter(|item| same_pair(item.topics.iter(), mapping, &plan, world)).collect();
            prop_assert_eq!(items.len(), 1, "items of mapping {}", mapping.name);
            named.insert(items[0].item_id);
            let stopped = matches!(items[0].status, ItemStatus::ManualStopped | ItemStatus::OverdueStopped);
            match mapping.state {
                MappingState::Running => prop_assert_eq!(items[0].status, ItemStatus::Running, "{}", mapping.name),
                MappingState::Stopped => prop_assert!(stopped, "{}: {:?}", mapping.name, items[0].status),
            }
        }
        for item in plan.items.keys() {
            prop_assert!(named.contains(item) || spec.item_policy == ItemPolicy::Keep, "item {item} is not pruned");
        }
        if spec.item_policy == ItemPolicy::Keep {
            for item in &self.foreign {
                prop_assert!(plan.items.contains_key(item), "foreign item {item} is gone");
            }
        }
        Ok(())
    }

    /// Checks the causes of an update that waits: the cloud refuses it while items run, and no item may be stopped for it.
    fn wait_is_justified(&mut self) -> Result<(), TestCaseError> {
        prop_assert!(!self.world.model().rules.update_while_running, "the cloud refuses no update");
        let plan = self.own_plan();
        let spec = &self.world.object.spec;
        let runs = |item: &&Item| item.status == ItemStatus::Running;
        let named =
            |item: &Item| spec.topic_mappings.iter().any(|it| same_pair(item.topics.iter(), it, &plan, &self.world));
        let (running, foreign) = match spec.update_policy {
            UpdatePolicy::Wait => (plan.items.values().any(|it| runs(&it)), false),
            UpdatePolicy::PauseItems => (false, plan.items.values().filter(runs).any(|it| !named(it))),
        };
        prop_assert!(running || foreign || self.world.condition("Ready").starts_with("True/"), "nothing is in the way");
        Ok(())
    }

    /// Checks that the item of every running mapping runs, where it has one.
    pub(crate) fn running_mappings_run(&self) -> Result<(), TestCaseError> {
        let plan = self.own_plan();
        for mapping in self.world.object.spec.topic_mappings.iter().filter(|it| it.state == MappingState::Running) {
            for item in plan.items.values().filter(|it| same_pair(it.topics.iter(), mapping, &plan, &self.world)) {
                prop_assert_eq!(item.status, ItemStatus::Running, "{}", mapping.name);
            }
        }
        Ok(())
    }

    /// Checks the cloud after the last reconcile: it matches the spec, or an update waits.
    pub(crate) fn at_rest(&mut self, last: &Passed<DisasterRecoveryPlan>) -> Result<(), TestCaseError> {
        match &last.decision.verdict {
            _ if last.update_waits() => self.wait_is_justified(),
            Verdict::InSync => {
                prop_assert_eq!(&last.decision.drift, &vec![]);
                self.matches_spec()
            }
            other => Err(TestCaseError::fail(format!("{other:?}"))),
        }
    }
}

/// The plan and the item of a step.
fn target(step: &Step) -> (Option<i64>, Option<i64>) {
    match step {
        Step::CreatePlan { .. } => (None, None),
        Step::AddItem { plan_id, .. } => (*plan_id, None),
        Step::UpdatePlan { plan_id, .. } | Step::DeletePlan { plan_id } => (Some(*plan_id), None),
        Step::UpdateItem { plan_id, item_id, .. }
        | Step::StartItem { plan_id, item_id }
        | Step::StopItem { plan_id, item_id }
        | Step::DeleteItem { plan_id, item_id } => (Some(*plan_id), Some(*item_id)),
    }
}
