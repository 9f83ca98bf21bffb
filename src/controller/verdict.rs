//! The outcome of a decision, for every kind: waiting and refusing are values, not errors. Plain values.

use crate::api::condition::ready;

/// The kind of work in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Creation of the cloud side, or of a part of it.
    Creating,
    /// A change, start or stop of the cloud side.
    Updating,
    /// A failover to the other site.
    FailingOver,
    /// A reversal of replication.
    Reprotecting,
    /// The cancellation of a failover.
    Cancelling,
    /// Deletion of the cloud side.
    Deleting,
}

impl Work {
    /// The reason of `Ready` while the work is in progress.
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

    /// The work on a `noun`, as conditions describe it.
    pub fn describe(self, noun: &str) -> String {
        match self {
            Self::Creating => format!("the {noun} is being created"),
            Self::Updating => format!("the {noun} is being changed"),
            Self::FailingOver => "the other site is becoming the active one".into(),
            Self::Reprotecting => "replication is being reversed".into(),
            Self::Cancelling => "the failover is being cancelled".into(),
            Self::Deleting => format!("the {noun} is being deleted"),
        }
    }
}

/// The outcome of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The cloud matches the spec.
    InSync,
    /// The steps continue the work.
    Acting(Work),
    /// The operator does nothing until the cloud changes.
    Waiting {
        /// The work in progress.
        work: Work,
        /// The change that the operator waits for.
        on: String,
    },
    /// A person has to act.
    Refused {
        /// A reason of the condition `Synced`.
        reason: &'static str,
        /// Outcome, cause and remedy.
        message: String,
    },
    /// The deletion is complete. Shared code removes the finalizer, and runs no step of the decision.
    Released {
        /// The note on a cloud side that stays: what, and why.
        left: Option<String>,
    },
}

impl Verdict {
    /// The work in progress.
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
