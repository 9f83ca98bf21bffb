//! What a pass comes to, for every kind: waiting and refusing are values, not errors. Plain values.

use crate::api::condition::ready;

/// What kind of work goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// The cloud side, or a part of it, is being made.
    Creating,
    /// It is being changed, started or stopped.
    Updating,
    /// The other site is becoming the active one.
    FailingOver,
    /// Replication is being turned round.
    Reprotecting,
    /// A failover is being taken back.
    Cancelling,
    /// The cloud side is being deleted.
    Deleting,
}

impl Work {
    /// The reason of `Ready` while it goes on.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Creating => ready::CREATING,
            Self::Updating => ready::UPDATING,
            Self::FailingOver => ready::FAILING_OVER,
            Self::Reprotecting => ready::REPROTECTING,
            Self::Cancelling => ready::CANCELLING,
            Self::Deleting => ready::DELETING,
        }
    }
}

/// What a pass comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The cloud matches the spec.
    InSync,
    /// The steps carry the work on.
    Acting(Work),
    /// There is nothing to do but to wait for the cloud.
    Waiting {
        /// The work that goes on.
        work: Work,
        /// What is waited for.
        on: String,
    },
    /// A person has to act.
    Refused {
        /// A reason of the condition `Synced`.
        reason: &'static str,
        /// What is wrong and what to do.
        message: String,
    },
    /// Nothing is left to delete: the finalizer may go.
    Released {
        /// What was left in the cloud, where something was.
        left: Option<String>,
    },
}

impl Verdict {
    /// The work that goes on.
    pub fn work(&self) -> Option<Work> {
        match self {
            Self::Acting(work) | Self::Waiting { work, .. } => Some(*work),
            Self::InSync | Self::Refused { .. } | Self::Released { .. } => None,
        }
    }

    /// Whether a person has to act.
    pub fn refuses(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}
