//! Plans between two instances.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::instance::Instance;
use super::item::{Item, ItemStatus, ItemView};
use super::plan_type::PlanType;
use super::rules::{PasswordEcho, Rules};
use super::text::wall_time;

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
    pub(super) fn is_busy(&self) -> bool {
        self.items.values().any(|item| item.status == ItemStatus::Running || item.status.is_transitional())
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
