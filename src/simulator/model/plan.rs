//! Plans between two instances.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::instance::Instance;
use super::item::{Item, ItemStatus, ItemView};
use super::messages::Messages;
use super::plan_type::PlanType;
use super::rules::{PasswordEcho, Rules};
use super::text::wall_time;

/// The status of a plan. The API's third status, DELETED, does not occur: a deleted plan is not found (inferred).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PlanStatus {
    /// No item runs.
    Created,
    /// At least one item runs (inferred).
    Running,
}

/// The body of Create- and UpdatePlan. An update leaves absent fields alone.
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
    /// Whether consumer progress can be synchronised.
    pub sync_checkpoint_enabled: Option<bool>,
}

/// One stored plan.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The id that the cloud assigned.
    pub plan_id: i64,
    /// The region of the endpoint that created it; other regions do not show it (inferred).
    pub region_id: String,
    pub plan_name: String,
    /// The description.
    pub plan_desc: Option<String>,
    /// The directions of replication.
    pub plan_type: PlanType,
    /// The two instances, passwords in clear.
    pub instances: Vec<Instance>,
    /// As in [`PlanInput`].
    pub auto_sync_checkpoint: bool,
    /// As in [`PlanInput`].
    pub sync_checkpoint_enabled: bool,
    /// Returned unchanged; its content in the cloud is not documented.
    pub ext_info: BTreeMap<String, String>,
    /// Time of creation, ms.
    pub created_at: i64,
    /// Time of the last change, ms.
    pub updated_at: i64,
    /// Time from which Get and List return it, ms.
    pub visible_at: i64,
    pub items: BTreeMap<i64, Item>,
    /// The time of the last advance, ms.
    pub(super) advanced: i64,
}

/// A plan as Get and List return it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    /// The id that the cloud assigned.
    pub plan_id: i64,
    pub plan_name: String,
    /// The description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_desc: Option<String>,
    /// The directions of replication.
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
    /// The region of the plan; only [`Model::inspect`](super::Model::inspect) returns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region_id: Option<String>,
    /// The items; only [`Model::inspect`](super::Model::inspect) returns them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<ItemView>,
}

/// The filter of List.
#[derive(Debug, Clone, Default)]
pub struct PlanFilter {
    /// Only plans with this instance.
    pub instance_id: Option<String>,
    /// Only plans with this text in name or description.
    pub filter: Option<String>,
}

impl Plan {
    /// Whether any item runs.
    pub fn status(&self) -> PlanStatus {
        let runs = self.items.values().any(|item| item.status == ItemStatus::Running);
        if runs { PlanStatus::Running } else { PlanStatus::Created }
    }

    /// The plan as Get and List return it.
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

    /// Whether an item runs or changes.
    pub(super) fn is_busy(&self) -> bool {
        self.items.values().any(|item| item.status == ItemStatus::Running || item.status.is_transitional())
    }

    /// The directions of replication, each from the index of its source to that of its target.
    pub(super) fn directions(&self) -> Vec<(usize, usize)> {
        match self.plan_type {
            PlanType::ActiveActive => vec![(0, 1), (1, 0)],
            PlanType::ActivePassive if self.instances.first().is_some_and(Instance::is_active) => vec![(0, 1)],
            PlanType::ActivePassive => vec![(1, 0)],
        }
    }

    pub(super) fn advance(
        &mut self,
        now: i64,
        (rules, messages): (&Rules, &Messages),
        next_checkpoint: &mut i64,
        automatic: &dyn Fn(&str) -> bool,
    ) {
        let before = self.advanced.min(now);
        self.advanced = now;
        let directions = self.directions();
        let synced =
            self.sync_checkpoint_enabled && self.auto_sync_checkpoint && self.plan_type == PlanType::ActivePassive;
        for item in self.items.values_mut() {
            if let Some(at) = item.settle(now) {
                item.cover(&self.instances, &directions, rules, next_checkpoint, at);
            }
            // A test that changes the rules has advanced the cloud before.
            item.checkpoints.iter_mut().for_each(|checkpoint| checkpoint.follow_idle(rules, before));
            if synced {
                item.synchronise((before, now), (rules, messages), automatic);
            }
        }
    }
}
