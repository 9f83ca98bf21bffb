//! The statuses of groups and pairs, and which operation is allowed in which.

use serde::{Deserialize, Serialize};

/// The status of a replication pair or of a group of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaStatus {
    /// Broken by an external change, such as a deleted disk.
    Invalid,
    /// Being created.
    Creating,
    /// Created, never started.
    Created,
    CreateFailed,
    /// The first full copy is in progress. The API's list of group statuses lacks it, yet the notes on Start name it
    /// for groups.
    InitialSyncing,
    /// A one-shot synchronisation is in progress.
    ManualSyncing,
    /// Catching up before it is normal.
    Syncing,
    /// Replicating in cycles.
    Normal,
    /// Being stopped.
    Stopping,
    /// Not replicating.
    Stopped,
    /// Stopping failed.
    StopFailed,
    /// Being failed over.
    Failovering,
    /// Failed over: the secondary disks can be written.
    Failovered,
    /// Failing over failed.
    FailoverFailed,
    /// Being reversed.
    Reprotecting,
    /// Reversing failed.
    ReprotectFailed,
    /// Being deleted.
    Deleting,
    DeleteFailed,
    /// Deleted; occurs only where a test sets it.
    Deleted,
}

use ReplicaStatus as S;

impl ReplicaStatus {
    pub const ALL: [ReplicaStatus; 19] = [
        S::Invalid,
        S::Creating,
        S::Created,
        S::CreateFailed,
        S::InitialSyncing,
        S::ManualSyncing,
        S::Syncing,
        S::Normal,
        S::Stopping,
        S::Stopped,
        S::StopFailed,
        S::Failovering,
        S::Failovered,
        S::FailoverFailed,
        S::Reprotecting,
        S::ReprotectFailed,
        S::Deleting,
        S::DeleteFailed,
        S::Deleted,
    ];

    /// Whether data is being copied to the destination disks.
    pub(super) fn copies(self) -> bool {
        matches!(self, S::InitialSyncing | S::ManualSyncing | S::Syncing | S::Normal)
    }

    /// Whether the user writes on the destination disks; none where the status alone does not tell.
    pub(super) fn opens_destination(self) -> Option<bool> {
        match self {
            S::Failovered | S::Reprotecting | S::ReprotectFailed => Some(true),
            S::Created | S::Stopping | S::Stopped | S::StopFailed => Some(false),
            other => other.copies().then_some(false),
        }
    }

    /// The status after a failed transition through this status; the same status where a transition cannot fail.
    pub(super) fn failed(self) -> ReplicaStatus {
        match self {
            S::Creating => S::CreateFailed,
            S::Stopping => S::StopFailed,
            S::Failovering => S::FailoverFailed,
            S::Reprotecting => S::ReprotectFailed,
            S::Deleting => S::DeleteFailed,
            S::InitialSyncing | S::ManualSyncing | S::Syncing => S::Invalid,
            other => other,
        }
    }
}

/// Operations on a group that depend on its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupOperation {
    /// ModifyDiskReplicaGroup.
    Modify,
    /// AddDiskReplicaPair.
    AddPair,
    /// RemoveDiskReplicaPair.
    RemovePair,
    /// StartDiskReplicaGroup.
    Start,
    /// StartDiskReplicaGroup with `OneShot=true`.
    StartOneShot,
    /// StopDiskReplicaGroup.
    Stop,
    /// FailoverDiskReplicaGroup.
    Failover,
    /// ReprotectDiskReplicaGroup.
    Reprotect,
    /// DeleteDiskReplicaGroup.
    Delete,
    /// StartReplicaGroupDrill (statuses inferred: those with a possible recovery point on the secondary site).
    StartDrill,
}

use GroupOperation as O;

impl GroupOperation {
    pub const ALL: [GroupOperation; 10] = [
        O::Modify,
        O::AddPair,
        O::RemovePair,
        O::Start,
        O::StartOneShot,
        O::Stop,
        O::Failover,
        O::Reprotect,
        O::Delete,
        O::StartDrill,
    ];

    /// Whether the documentation (operation notes of the API's metadata and SDK) allows it in that status. Where it
    /// names `syncing`, `initial_syncing` counts too, except for Failover, which needs the first full copy (inferred).
    pub fn allowed(self, status: ReplicaStatus) -> bool {
        match self {
            O::Modify | O::AddPair => matches!(status, S::Created | S::Stopped),
            O::RemovePair => matches!(status, S::Created | S::Stopped | S::Invalid),
            O::Start => matches!(status, S::Created | S::InitialSyncing | S::Syncing | S::Normal | S::Stopped),
            O::StartOneShot => matches!(status, S::Created | S::ManualSyncing | S::Stopped),
            O::Stop => matches!(
                status,
                S::ManualSyncing
                    | S::InitialSyncing
                    | S::Syncing
                    | S::Normal
                    | S::Stopping
                    | S::StopFailed
                    | S::Stopped
            ),
            O::Failover => matches!(
                status,
                S::ManualSyncing
                    | S::Syncing
                    | S::Normal
                    | S::Stopping
                    | S::StopFailed
                    | S::Stopped
                    | S::Failovering
                    | S::FailoverFailed
                    | S::Failovered
            ),
            O::Reprotect => status == S::Failovered,
            O::Delete => matches!(
                status,
                S::Created | S::CreateFailed | S::Stopped | S::Failovered | S::Deleting | S::DeleteFailed | S::Invalid
            ),
            O::StartDrill => {
                matches!(status, S::ManualSyncing | S::Syncing | S::Normal | S::Stopping | S::StopFailed | S::Stopped)
            }
        }
    }

    /// The refusal's code, always with HTTP 403.
    pub fn refusal(self) -> &'static str {
        match self {
            O::AddPair => "OperationDenied.GroupStatusCannotAddPair",
            O::RemovePair => "OperationDenied.GroupStatusCannotRemovePair",
            _ => "OperationDenied.InvalidStatus",
        }
    }
}

/// A transition out of a status, and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Transition {
    pub(super) to: ReplicaStatus,
    pub(super) due: i64,
}
