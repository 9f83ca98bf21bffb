//! The steps and details of a decision about a plan. Plain values.

use super::update::Change;
use crate::api::plan::DisasterRecoveryPlan;
use crate::cloud::rocketmq::{ItemTopic, Plan};
use crate::controller::resource;
use crate::controller::verdict::Verdict;

/// One call that changes the cloud.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Creates the plan. The intent is in status before.
    CreatePlan {
        /// The request.
        plan: Plan,
    },
    /// Changes the plan.
    UpdatePlan {
        plan_id: i64,
        /// The request; absent fields stay.
        plan: Plan,
    },
    /// Adds an item. The intent is in status before.
    AddItem {
        /// The plan; absent for the one that an earlier step of the decision creates.
        plan_id: Option<i64>,
        /// The mapping's name.
        mapping: String,
        /// The request.
        topics: Vec<ItemTopic>,
    },
    /// Changes an item's topics.
    UpdateItem {
        plan_id: i64,
        item_id: i64,
        /// The request.
        topics: Vec<ItemTopic>,
    },
    StartItem {
        plan_id: i64,
        item_id: i64,
    },
    StopItem {
        plan_id: i64,
        item_id: i64,
    },
    /// Deletes a stopped item.
    DeleteItem {
        plan_id: i64,
        item_id: i64,
    },
    /// Deletes a plan without items.
    DeletePlan {
        plan_id: i64,
    },
}

impl Step {
    /// The existing item that the step changes.
    pub(super) fn item_id(&self) -> Option<i64> {
        match self {
            Self::UpdateItem { item_id, .. }
            | Self::StartItem { item_id, .. }
            | Self::StopItem { item_id, .. }
            | Self::DeleteItem { item_id, .. } => Some(*item_id),
            Self::CreatePlan { .. } | Self::UpdatePlan { .. } | Self::AddItem { .. } | Self::DeletePlan { .. } => None,
        }
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
        }
    }
}

/// The part of a decision that only the status of a plan uses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    /// The IDs of the items that are stopped for a change, or that this decision stops for one, until they run again.
    pub paused: Vec<String>,
    /// The wanted changes of the plan and of items' topics.
    pub changes: Vec<Change>,
    /// The hash of name and description, where the plan was compared and has them as the spec says.
    pub synced_texts: Option<String>,
    /// The message on changes that wait while the plan is as the spec says in all else. No person has to act.
    pub update_waits: Option<String>,
}

/// A decision about a plan.
pub type Decision = resource::Decision<DisasterRecoveryPlan>;

impl Decision {
    pub(super) fn new(steps: Vec<Step>, verdict: Verdict) -> Self {
        Self { verdict, steps, drift: vec![], intents: None, details: Details::default() }
    }

    pub(super) fn refused(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(vec![], Verdict::Refused { reason, message: message.into() })
    }

    /// The decision with items that are stopped for a change.
    pub(super) fn pausing(mut self, paused: Vec<String>) -> Self {
        self.details.paused = paused;
        self
    }
}
