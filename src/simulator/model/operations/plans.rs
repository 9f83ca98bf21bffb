//! The operations on plans.

use std::collections::BTreeMap;

use super::super::account::Model;
use super::super::failure::Failure;
use super::super::instance;
use super::super::page::{Page, Paging};
use super::super::plan::{Plan, PlanFilter, PlanInput, PlanView};
use super::super::plan_type::PlanType;
use super::super::rules::PasswordEcho;
use super::super::text::given;

impl Model {
    /// CreateDisasterRecoveryPlan: the new plan's id.
    ///
    /// There is no client token and no unique name: a repeated request creates a second plan.
    pub fn create_plan(&mut self, region: &str, input: PlanInput, now: i64) -> Result<i64, Failure> {
        let plan_name = given(input.plan_name.as_ref()).ok_or_else(|| Failure::missing("planName"))?.to_owned();
        let plan_type = given(input.plan_type.as_ref()).ok_or_else(|| Failure::missing("planType"))?;
        let plan_type = PlanType::parse(plan_type)?;
        let instances = input.instances.ok_or_else(|| Failure::missing("instances"))?;
        let plan_id = self.next_plan;
        let instances = instance::create(instances, plan_type, plan_id, &self.rules)?;
        let plan = Plan {
            plan_id,
            region_id: region.to_owned(),
            plan_name,
            plan_desc: input.plan_desc,
            plan_type,
            instances,
            auto_sync_checkpoint: input.auto_sync_checkpoint.unwrap_or_default(),
            sync_checkpoint_enabled: input.sync_checkpoint_enabled.unwrap_or_default(),
            ext_info: BTreeMap::new(),
            created_at: now,
            updated_at: now,
            visible_at: now.saturating_add(self.rules.visibility_delay_ms),
            items: BTreeMap::new(),
            advanced: now,
        };
        self.plans.insert(plan_id, plan);
        self.next_plan += 1;
        Ok(plan_id)
    }

    /// UpdateDisasterRecoveryPlan: changes every given field or, on a refusal, none.
    pub fn update_plan(&mut self, region: &str, plan_id: i64, input: PlanInput, now: i64) -> Result<(), Failure> {
        self.advance_plan(plan_id, now);
        let rules = self.rules.clone();
        let plan = self.find_mut(region, plan_id)?;
        if plan.is_busy() && !rules.update_while_running {
            return Err(Failure::plan_status());
        }
        if let Some(plan_type) = given(input.plan_type.as_ref())
            && PlanType::parse(plan_type)? != plan.plan_type
        {
            return Err(Failure::immutable("planType"));
        }
        if input.plan_name.is_some() && given(input.plan_name.as_ref()).is_none() {
            return Err(Failure::invalid("planName", "it must not be empty"));
        }
        if let Some(instances) = input.instances {
            plan.instances = instance::update(&plan.instances, instances, plan.plan_type, &rules)?;
        }
        if let Some(plan_name) = input.plan_name {
            plan.plan_name = plan_name;
        }
        if input.plan_desc.is_some() {
            plan.plan_desc = input.plan_desc;
        }
        plan.auto_sync_checkpoint = input.auto_sync_checkpoint.unwrap_or(plan.auto_sync_checkpoint);
        plan.sync_checkpoint_enabled = input.sync_checkpoint_enabled.unwrap_or(plan.sync_checkpoint_enabled);
        plan.updated_at = now;
        Ok(())
    }

    /// GetDisasterRecoveryPlan.
    pub fn get_plan(&mut self, region: &str, plan_id: i64, now: i64) -> Result<PlanView, Failure> {
        self.advance_plan(plan_id, now);
        Ok(self.find_visible(region, plan_id, now)?.view(self.rules.password_echo))
    }

    /// ListDisasterRecoveryPlans: the region's plans.
    pub fn list_plans(&mut self, region: &str, filter: &PlanFilter, paging: &Paging, now: i64) -> Page<PlanView> {
        let wanted = |plan: &&Plan| {
            let text = given(filter.filter.as_ref()).unwrap_or_default();
            let described = plan.plan_desc.as_deref().unwrap_or_default();
            let instance = given(filter.instance_id.as_ref());
            plan.region_id == region
                && plan.visible_at <= now
                && (plan.plan_name.contains(text) || described.contains(text))
                && instance.is_none_or(|id| plan.instances.iter().any(|instance| instance.id() == id))
        };
        let ids = self.plans.values().filter(wanted).map(|plan| (plan.plan_id, plan.plan_id)).collect();
        let Page { page_number, page_size, total_count, list: ids, scroll_id } = paging.page(ids, true);
        let echo = self.rules.password_echo;
        let shown = ids.into_iter().filter_map(|id| {
            self.advance_plan(id, now);
            Some(self.plans.get(&id)?.view(echo))
        });
        Page { page_number, page_size, total_count, list: shown.collect(), scroll_id }
    }

    /// DeleteDisasterRecoveryPlan: deletes a plan and its items when no item runs or changes.
    pub fn delete_plan(&mut self, region: &str, plan_id: i64, now: i64) -> Result<(), Failure> {
        self.advance_plan(plan_id, now);
        if self.find(region, plan_id)?.is_busy() {
            return Err(Failure::plan_status());
        }
        self.plans.remove(&plan_id);
        Ok(())
    }

    /// All plans of all regions with items, checkpoints and clear passwords, for assertions only.
    pub fn inspect(&mut self, now: i64) -> Vec<PlanView> {
        self.advance(now);
        let plan_view = |plan: &Plan| PlanView {
            region_id: Some(plan.region_id.clone()),
            items: plan
                .items
                .values()
                .map(|item| item.inspect(plan.plan_id, &self.rules, &self.messages, now))
                .collect(),
            ..plan.view(PasswordEcho::Clear)
        };
        self.plans.values().map(plan_view).collect()
    }
}
