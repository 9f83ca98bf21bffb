//! Plans: Create, Update, Get, List and Delete.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Failure, Instance, Item, ItemStatus, ItemView, Model, Page, Paging, PasswordEcho, Rules, given, instance, wall_time,
};

/// Which way messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PlanType {
    /// One way, from the ACTIVE instance to the PASSIVE one.
    ActivePassive,
    /// Both ways; consumer progress is then never synchronised by itself.
    ActiveActive,
}

impl PlanType {
    fn parse(text: &str) -> Result<PlanType, Failure> {
        match text {
            "ACTIVE_PASSIVE" => Ok(PlanType::ActivePassive),
            "ACTIVE_ACTIVE" => Ok(PlanType::ActiveActive),
            _ => Err(Failure::invalid("planType", "it must be one of ACTIVE_PASSIVE, ACTIVE_ACTIVE")),
        }
    }
}

/// The status of a plan. The API's third one, DELETED, is never seen: a deleted plan is not found (inferred).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PlanStatus {
    /// No item runs.
    Created,
    /// At least one item runs (inferred).
    Running,
}

/// The body of Create- and UpdatePlan. Absent fields are left as they are by an update.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PlanInput {
    /// Required to create. Names need not be unique (inferred).
    pub plan_name: Option<String>,
    /// Free text.
    pub plan_desc: Option<String>,
    /// `ACTIVE_PASSIVE` or `ACTIVE_ACTIVE`; required to create, cannot be changed.
    pub plan_type: Option<String>,
    /// Exactly two; required to create.
    pub instances: Option<Vec<Instance>>,
    /// Effective only together with `syncCheckpointEnabled`, and only one way.
    pub auto_sync_checkpoint: Option<bool>,
    /// Whether consumer progress can be synchronised at all.
    pub sync_checkpoint_enabled: Option<bool>,
}

/// One stored plan.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The cloud's id.
    pub plan_id: i64,
    /// The region whose endpoint created it, the only one that shows it (inferred).
    pub region_id: String,
    /// The name.
    pub plan_name: String,
    /// The description.
    pub plan_desc: Option<String>,
    /// One way or both.
    pub plan_type: PlanType,
    /// The two instances, passwords in clear.
    pub instances: Vec<Instance>,
    /// As in [`PlanInput`].
    pub auto_sync_checkpoint: bool,
    /// As in [`PlanInput`].
    pub sync_checkpoint_enabled: bool,
    /// Shown as it is; the cloud does not say what it holds.
    pub ext_info: BTreeMap<String, String>,
    /// When it was created, ms.
    pub created_at: i64,
    /// When it was last changed, ms.
    pub updated_at: i64,
    /// When Get and List begin to show it, ms.
    pub visible_at: i64,
    /// Its items by id.
    pub items: BTreeMap<i64, Item>,
}

/// A plan as Get and List show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    /// The cloud's id.
    pub plan_id: i64,
    /// The name.
    pub plan_name: String,
    /// The description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_desc: Option<String>,
    /// One way or both.
    pub plan_type: PlanType,
    /// Whether any item runs.
    pub plan_status: PlanStatus,
    /// The two instances.
    pub instances: Vec<Instance>,
    /// As in [`PlanInput`].
    pub auto_sync_checkpoint: bool,
    /// As in [`PlanInput`].
    pub sync_checkpoint_enabled: bool,
    /// As in [`Plan`].
    pub ext_info: BTreeMap<String, String>,
    /// `YYYY-MM-DD HH:mm:ss`, UTC (zone inferred).
    pub create_time: String,
    /// `YYYY-MM-DD HH:mm:ss`, UTC (zone inferred).
    pub update_time: String,
    /// The region that shows the plan; only what [`Model::inspect`] returns has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region_id: Option<String>,
    /// The items; only what [`Model::inspect`] returns has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<ItemView>,
}

/// Which plans List returns.
#[derive(Debug, Clone, Default)]
pub struct PlanFilter {
    /// Only plans that involve this instance.
    pub instance_id: Option<String>,
    /// Only plans whose name or description contains this.
    pub filter: Option<String>,
}

impl Plan {
    /// Whether any item runs.
    pub fn status(&self) -> PlanStatus {
        let runs = self.items.values().any(|item| item.status == ItemStatus::Running);
        if runs { PlanStatus::Running } else { PlanStatus::Created }
    }

    /// The plan as Get and List show it.
    pub fn view(&self, echo: PasswordEcho) -> PlanView {
        PlanView {
            plan_id: self.plan_id,
            plan_name: self.plan_name.clone(),
            plan_desc: self.plan_desc.clone(),
            plan_type: self.plan_type,
            plan_status: self.status(),
            instances: self.instances.iter().map(|instance| instance.echo(echo)).collect(),
            auto_sync_checkpoint: self.auto_sync_checkpoint,
            sync_checkpoint_enabled: self.sync_checkpoint_enabled,
            ext_info: self.ext_info.clone(),
            create_time: wall_time(self.created_at),
            update_time: wall_time(self.updated_at),
            region_id: None,
            items: Vec::new(),
        }
    }

    /// Whether an item runs or is about to do something.
    fn is_busy(&self) -> bool {
        self.items.values().any(|item| item.status == ItemStatus::Running || item.status.is_passing())
    }

    /// The ways that messages go, each from the index of its source to that of its destination.
    pub(super) fn directions(&self) -> Vec<(usize, usize)> {
        match self.plan_type {
            PlanType::ActiveActive => vec![(0, 1), (1, 0)],
            PlanType::ActivePassive if self.instances.first().is_some_and(Instance::is_active) => vec![(0, 1)],
            PlanType::ActivePassive => vec![(1, 0)],
        }
    }

    pub(super) fn advance(
        &mut self,
        before: i64,
        now: i64,
        rules: &Rules,
        next_checkpoint: &mut i64,
        automatic: &dyn Fn(&str) -> bool,
    ) {
        let directions = self.directions();
        let synced =
            self.sync_checkpoint_enabled && self.auto_sync_checkpoint && self.plan_type == PlanType::ActivePassive;
        for item in self.items.values_mut() {
            if item.settle(now) {
                item.cover(&self.instances, &directions, rules, next_checkpoint, now);
            }
            item.consume(now, rules);
            if synced {
                item.synchronise(before, now, rules, automatic);
            }
        }
    }
}

impl Model {
    /// CreateDisasterRecoveryPlan: the new plan's id.
    ///
    /// No client token and no unique name: a request that is sent twice creates two plans.
    pub fn create_plan(&mut self, region: &str, input: PlanInput, now: i64) -> Result<i64, Failure> {
        self.advance(now);
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
        };
        self.plans.insert(plan_id, plan);
        self.next_plan += 1;
        Ok(plan_id)
    }

    /// UpdateDisasterRecoveryPlan: all of it or nothing.
    pub fn update_plan(&mut self, region: &str, plan_id: i64, input: PlanInput, now: i64) -> Result<(), Failure> {
        self.advance(now);
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
        self.advance(now);
        Ok(self.find_visible(region, plan_id, now)?.view(self.rules.password_echo))
    }

    /// ListDisasterRecoveryPlans: the region's plans.
    pub fn list_plans(&mut self, region: &str, filter: &PlanFilter, paging: Paging, now: i64) -> Page<PlanView> {
        self.advance(now);
        let wanted = |plan: &&Plan| {
            let text = given(filter.filter.as_ref()).unwrap_or_default();
            let described = plan.plan_desc.as_deref().unwrap_or_default();
            let instance = given(filter.instance_id.as_ref());
            plan.region_id == region
                && plan.visible_at <= now
                && (plan.plan_name.contains(text) || described.contains(text))
                && instance.is_none_or(|id| plan.instances.iter().any(|instance| instance.id() == id))
        };
        let plans = self.plans.values().filter(wanted).map(|plan| plan.view(self.rules.password_echo)).collect();
        paging.cut(plans, true)
    }

    /// DeleteDisasterRecoveryPlan: with all its items, once none of them runs or changes.
    pub fn delete_plan(&mut self, region: &str, plan_id: i64, now: i64) -> Result<(), Failure> {
        self.advance(now);
        if self.find(region, plan_id)?.is_busy() {
            return Err(Failure::plan_status());
        }
        self.plans.remove(&plan_id);
        Ok(())
    }

    /// All plans of all regions with their items and checkpoints, passwords in clear: for assertions, not for the wire.
    pub fn inspect(&mut self, now: i64) -> Vec<PlanView> {
        self.advance(now);
        let plan_view = |plan: &Plan| PlanView {
            region_id: Some(plan.region_id.clone()),
            items: plan.items.values().map(|item| item.inspect(plan.plan_id, &self.rules, now)).collect(),
            ..plan.view(PasswordEcho::Clear)
        };
        self.plans.values().map(plan_view).collect()
    }
}
