//! The steps and details of a decision about a plan. Plain values.

use crate::api::plan::DisasterRecoveryPlan;
use crate::api::plan::{DisasterRecoveryPlanStatus, Drift};
use crate::cloud::rocketmq::{ItemTopic, Plan};
use crate::controller::resource;
use crate::controller::verdict::Verdict;

/// One call that changes the cloud.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Makes the plan. Only after the intent was written to status.
    CreatePlan {
        /// What to send.
        plan: Plan,
    },
    /// Changes the plan.
    UpdatePlan {
        /// The plan.
        plan_id: i64,
        /// What to send; absent fields stay.
        plan: Plan,
    },
    /// Makes an item. Only after the intent was written to status.
    AddItem {
        /// The plan.
        plan_id: i64,
        /// The mapping's name.
        mapping: String,
        /// What to send.
        topics: Vec<ItemTopic>,
    },
    /// Changes an item's topics.
    UpdateItem {
        /// The plan.
        plan_id: i64,
        /// The item.
        item_id: i64,
        /// What to send.
        topics: Vec<ItemTopic>,
    },
    /// Starts an item.
    StartItem {
        /// The plan.
        plan_id: i64,
        /// The item.
        item_id: i64,
    },
    /// Stops an item.
    StopItem {
        /// The plan.
        plan_id: i64,
        /// The item.
        item_id: i64,
    },
    /// Deletes a stopped item.
    DeleteItem {
        /// The plan.
        plan_id: i64,
        /// The item.
        item_id: i64,
    },
    /// Deletes a plan without items.
    DeletePlan {
        /// The plan.
        plan_id: i64,
    },
    /// Synchronizes checkpoints once.
    SyncCheckpoints {
        /// The plan.
        plan_id: i64,
        /// Item and checkpoint.
        checkpoints: Vec<(i64, i64)>,
    },
}

impl Step {
    /// The item that the step is about, where it is about one that exists.
    pub(super) fn item_id(&self) -> Option<i64> {
        match self {
            Self::UpdateItem { item_id, .. }
            | Self::StartItem { item_id, .. }
            | Self::StopItem { item_id, .. }
            | Self::DeleteItem { item_id, .. } => Some(*item_id),
            Self::CreatePlan { .. }
            | Self::UpdatePlan { .. }
            | Self::AddItem { .. }
            | Self::DeletePlan { .. }
            | Self::SyncCheckpoints { .. } => None,
        }
    }

    /// Whether it has nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::SyncCheckpoints { checkpoints, .. } if checkpoints.is_empty())
    }

    /// The name in logs.
    pub fn label(&self) -> &'static str {
        match self {
            Self::CreatePlan { .. } => "CreatePlan",
            Self::UpdatePlan { .. } => "UpdatePlan",
            Self::AddItem { .. } => "AddItem",
            Self::UpdateItem { .. } => "UpdateItem",
            Self::StartItem { .. } => "StartItem",
            Self::StopItem { .. } => "StopItem",
            Self::DeleteItem { .. } => "DeleteItem",
            Self::DeletePlan { .. } => "DeletePlan",
            Self::SyncCheckpoints { .. } => "SyncCheckpoints",
        }
    }
}

/// What only the status of a plan needs to know of a decision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    /// Whether items are stopped so that the plan can be changed, as status remembers it.
    pub pause_for_update: bool,
    /// The change of the plan and of items' topics that is wanted, as [`UpdateAttempts`](crate::api::plan::UpdateAttempts)
    /// names it.
    pub change: Option<String>,
    /// What a person has to do if the API refuses to change the plan while items run.
    pub blocked_by: Option<String>,
}

/// A decision about a plan.
pub type Decision = resource::Decision<DisasterRecoveryPlan>;

impl Decision {
    pub(super) fn new(steps: Vec<Step>, verdict: Verdict) -> Self {
        Self { verdict, steps, drift: vec![], intents: None, details: Details::default() }
    }

    pub(super) fn refused(
        reason: &'static str,
        message: impl Into<String>,
        drift: Vec<Drift>,
        status: &DisasterRecoveryPlanStatus,
    ) -> Self {
        let verdict = Verdict::Refused { reason, message: message.into() };
        Self { drift, ..Self::new(vec![], verdict) }.pausing(!status.paused_items.is_empty())
    }

    /// The decision with or without items that are stopped so that the plan can be changed.
    pub(super) fn pausing(mut self, pause_for_update: bool) -> Self {
        self.details.pause_for_update = pause_for_update;
        self
    }
}
