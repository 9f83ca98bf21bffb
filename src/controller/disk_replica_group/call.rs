//! The calls that change a group, as `status.pendingCalls` names them: the API's operation and its subject.

use std::fmt;

use crate::api::disk_replica_group::{DiskReplicaGroupStatus, PendingCall};
use crate::cloud::operation::ApiOperation;

/// A call that changes a group, its pairs or its drills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    CreateGroup,
    /// Creates the pair of this name.
    CreatePair(String),
    /// Adds the pair with this ID to the group.
    AddPair(String),
    /// Removes the pair with this ID from the group.
    RemovePair(String),
    /// Deletes the pair with this ID.
    DeletePair(String),
    /// Changes the group's fields; the text distinguishes one change from another.
    ModifyGroup(String),
    /// Starts replication.
    StartGroup,
    /// Starts one synchronization.
    Synchronize,
    /// Stops replication.
    StopGroup,
    /// Opens the secondary disks.
    FailoverGroup,
    /// Reverses replication.
    Reverse,
    /// Cancels a failover.
    Cancel,
    DeleteGroup,
    /// Begins a drill.
    StartDrill,
    /// Clears the drill with this ID.
    ClearDrill(String),
}

impl Call {
    /// The operation of the API.
    pub fn operation(&self) -> ApiOperation {
        match self {
            Self::CreateGroup => ApiOperation::CreateDiskReplicaGroup,
            Self::CreatePair(_) => ApiOperation::CreateDiskReplicaPair,
            Self::AddPair(_) => ApiOperation::AddDiskReplicaPair,
            Self::RemovePair(_) => ApiOperation::RemoveDiskReplicaPair,
            Self::DeletePair(_) => ApiOperation::DeleteDiskReplicaPair,
            Self::ModifyGroup(_) => ApiOperation::ModifyDiskReplicaGroup,
            Self::StartGroup | Self::Synchronize => ApiOperation::StartDiskReplicaGroup,
            Self::StopGroup => ApiOperation::StopDiskReplicaGroup,
            Self::FailoverGroup => ApiOperation::FailoverDiskReplicaGroup,
            Self::Reverse | Self::Cancel => ApiOperation::ReprotectDiskReplicaGroup,
            Self::DeleteGroup => ApiOperation::DeleteDiskReplicaGroup,
            Self::StartDrill => ApiOperation::StartReplicaGroupDrill,
            Self::ClearDrill(_) => ApiOperation::ClearReplicaGroupDrill,
        }
    }

    /// The subject of the call, where the operation alone does not identify the call.
    fn subject(&self) -> Option<&str> {
        match self {
            Self::CreatePair(subject)
            | Self::AddPair(subject)
            | Self::RemovePair(subject)
            | Self::DeletePair(subject)
            | Self::ModifyGroup(subject)
            | Self::ClearDrill(subject) => Some(subject),
            Self::Synchronize => Some("OneShot"),
            Self::Reverse => Some("Reverse"),
            Self::Cancel => Some("Cancel"),
            Self::CreateGroup
            | Self::StartGroup
            | Self::StopGroup
            | Self::FailoverGroup
            | Self::DeleteGroup
            | Self::StartDrill => None,
        }
    }

    /// Parses a call from its text in status. An unknown text was written by another actor and counts as no call.
    pub fn parse(text: &str) -> Option<Self> {
        let subject = text.split_once('/').map(|(_, subject)| subject.to_owned()).unwrap_or_default();
        let all = [
            Self::CreateGroup,
            Self::CreatePair(subject.clone()),
            Self::AddPair(subject.clone()),
            Self::RemovePair(subject.clone()),
            Self::DeletePair(subject.clone()),
            Self::ModifyGroup(subject.clone()),
            Self::StartGroup,
            Self::Synchronize,
            Self::StopGroup,
            Self::FailoverGroup,
            Self::Reverse,
            Self::Cancel,
            Self::DeleteGroup,
            Self::StartDrill,
            Self::ClearDrill(subject),
        ];
        all.into_iter().find(|call| call.to_string() == text)
    }

    /// Whether the status names this call as pending.
    pub fn pending<'a>(&self, status: &'a DiskReplicaGroupStatus) -> Option<&'a PendingCall> {
        status.pending_calls.iter().find(|it| self.is(it))
    }

    /// Whether a pending call is this one.
    pub fn is(&self, pending: &PendingCall) -> bool {
        Self::parse(&pending.call).as_ref() == Some(self)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.operation())?;
        self.subject().map_or(Ok(()), |subject| write!(f, "/{subject}"))
    }
}

/// The calls that the status names as pending.
pub fn pending_calls(status: &DiskReplicaGroupStatus) -> impl Iterator<Item = Call> {
    status.pending_calls.iter().filter_map(|it| Call::parse(&it.call))
}

/// Whether a pair may have been created by a call whose effect is not visible yet.
pub fn creates_pair(status: &DiskReplicaGroupStatus) -> bool {
    pending_calls(status).any(|it| matches!(it, Call::CreatePair(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_reads_back_from_its_text() {
        let pair = || "pair-1".to_owned();
        for (call, text) in [
            (Call::CreateGroup, "CreateDiskReplicaGroup"),
            (Call::CreatePair("data/1".into()), "CreateDiskReplicaPair/data/1"),
            (Call::AddPair(pair()), "AddDiskReplicaPair/pair-1"),
            (Call::RemovePair(pair()), "RemoveDiskReplicaPair/pair-1"),
            (Call::DeletePair(pair()), "DeleteDiskReplicaPair/pair-1"),
            (Call::ModifyGroup("0a1b2c3d".into()), "ModifyDiskReplicaGroup/0a1b2c3d"),
            (Call::StartGroup, "StartDiskReplicaGroup"),
            (Call::Synchronize, "StartDiskReplicaGroup/OneShot"),
            (Call::StopGroup, "StopDiskReplicaGroup"),
            (Call::FailoverGroup, "FailoverDiskReplicaGroup"),
            (Call::Reverse, "ReprotectDiskReplicaGroup/Reverse"),
            (Call::Cancel, "ReprotectDiskReplicaGroup/Cancel"),
            (Call::DeleteGroup, "DeleteDiskReplicaGroup"),
            (Call::StartDrill, "StartReplicaGroupDrill"),
            (Call::ClearDrill("drill-1".into()), "ClearReplicaGroupDrill/drill-1"),
        ] {
            assert_eq!(call.to_string(), text);
            assert_eq!(Call::parse(text), Some(call));
        }
    }

    #[test]
    fn text_of_another_actor_is_no_call() {
        for text in ["", "Reboot", "StopDiskReplicaGroup/now", "ReprotectDiskReplicaGroup", "CreateDiskReplicaPair"] {
            assert_eq!(Call::parse(text), None, "{text}");
        }
    }
}
