//! What a decision is made of: steps with their client tokens, what is remembered before they are made, and the verdict.
//! Plain values.

use jiff::Timestamp;

use crate::api::disk_replica_group::{Direction, Drift, DrillsStatus};
use crate::cloud::ebs::{ClientToken, GroupChange, NewGroup, NewPair};
use crate::cloud::operation::ApiOperation;
use crate::cloud::sign::payload_hash;
use crate::controller::decision::Verdict;
use crate::controller::disk_replica_group::lifecycle::Lifecycle;

/// A call that changes the cloud.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Makes the group.
    CreateGroup(NewGroup),
    /// Makes a pair.
    CreatePair {
        /// Its name in the spec.
        pair: String,
        /// What to send.
        new: NewPair,
    },
    /// Puts a pair into the group.
    AddPair {
        /// The pair.
        pair_id: String,
    },
    /// Takes a pair out of the group.
    RemovePair {
        /// The pair.
        pair_id: String,
    },
    /// Deletes a pair that is in no group.
    DeletePair {
        /// The pair.
        pair_id: String,
    },
    /// Changes the group; absent fields stay.
    ModifyGroup(GroupChange),
    /// Starts replication, or one synchronization.
    StartGroup {
        /// One synchronization only.
        one_shot: bool,
    },
    /// Stops replication.
    StopGroup,
    /// Opens the secondary disks for use.
    FailoverGroup,
    /// NamespaceLimit replication round, or takes the failover back.
    ReprotectGroup {
        /// NamespaceLimit it round.
        reverse: bool,
    },
    /// Deletes the group, which has no pairs.
    DeleteGroup,
    /// Clones the secondary disks.
    StartDrill,
    /// Deletes the clones.
    ClearDrill {
        /// The drill.
        drill_id: String,
    },
}

impl Action {
    /// The operation of the API.
    pub fn operation(&self) -> ApiOperation {
        match self {
            Self::CreateGroup(_) => ApiOperation::CreateDiskReplicaGroup,
            Self::CreatePair { .. } => ApiOperation::CreateDiskReplicaPair,
            Self::AddPair { .. } => ApiOperation::AddDiskReplicaPair,
            Self::RemovePair { .. } => ApiOperation::RemoveDiskReplicaPair,
            Self::DeletePair { .. } => ApiOperation::DeleteDiskReplicaPair,
            Self::ModifyGroup(_) => ApiOperation::ModifyDiskReplicaGroup,
            Self::StartGroup { .. } => ApiOperation::StartDiskReplicaGroup,
            Self::StopGroup => ApiOperation::StopDiskReplicaGroup,
            Self::FailoverGroup => ApiOperation::FailoverDiskReplicaGroup,
            Self::ReprotectGroup { .. } => ApiOperation::ReprotectDiskReplicaGroup,
            Self::DeleteGroup => ApiOperation::DeleteDiskReplicaGroup,
            Self::StartDrill => ApiOperation::StartReplicaGroupDrill,
            Self::ClearDrill { .. } => ApiOperation::ClearReplicaGroupDrill,
        }
    }

    /// The call as status names it: the operation and what it is about.
    pub fn call(&self) -> String {
        let change;
        let about = match self {
            // Another change is another call.
            Self::ModifyGroup(wanted) => {
                change = payload_hash(format!("{wanted:?}").as_bytes())[..8].to_owned();
                &change
            }
            Self::CreatePair { pair, .. } => pair,
            Self::AddPair { pair_id } | Self::RemovePair { pair_id } | Self::DeletePair { pair_id } => pair_id,
            Self::ClearDrill { drill_id } => drill_id,
            Self::StartGroup { one_shot: true } => "OneShot",
            Self::ReprotectGroup { reverse: true } => "Reverse",
            Self::ReprotectGroup { reverse: false } => "Cancel",
            Self::CreateGroup(_)
            | Self::StartGroup { one_shot: false }
            | Self::StopGroup
            | Self::FailoverGroup
            | Self::DeleteGroup
            | Self::StartDrill => return self.operation().to_string(),
        };
        format!("{}/{about}", self.operation())
    }

    /// Whether the API takes a client token: then the call is written to status before it is made.
    pub fn has_token(&self) -> bool {
        !matches!(self, Self::ClearDrill { .. })
    }

    /// Whether it is about one pair or drill only: what becomes of it holds up nothing else.
    pub fn stands_alone(&self) -> bool {
        matches!(
            self,
            Self::CreatePair { .. }
                | Self::AddPair { .. }
                | Self::RemovePair { .. }
                | Self::DeletePair { .. }
                | Self::StartDrill
                | Self::ClearDrill { .. }
        )
    }
}

/// A call with everything that it needs; made again, it repeats and does not double.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What is called.
    pub action: Action,
    /// The group, once there is one.
    pub group_id: String,
    /// Which way the group replicates, so that each call goes to its region.
    pub direction: Direction,
    /// What the tokens derive from besides the object and the call.
    pub sequence: i64,
    /// When it was last made with these tokens, where nobody knows what became of that.
    pub lost: Option<Timestamp>,
    /// The client token.
    pub token: ClientToken,
    /// The client token where the call has to be made in the other region.
    pub elsewhere: ClientToken,
}

/// What a pass does.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The steps, in their order.
    pub steps: Vec<Step>,
    /// What they come to.
    pub verdict: Verdict,
    /// Where the cloud differs from the spec.
    pub drift: Vec<Drift>,
    /// The life of the group as this pass carries it on, the steps that it begins included.
    pub life: Lifecycle,
    /// The drills as this pass carries them on.
    pub drills: Option<DrillsStatus>,
    /// What of the drills goes on, so that it is looked at again soon.
    pub drill_busy: bool,
    /// Why the clones of a drill are still there though they should not be.
    pub drill_overdue: Option<String>,
    /// Whether the request for a drill was taken up.
    pub drill_handled: bool,
    /// The calls that were answered and whose effect is waited for.
    pub awaited: Vec<String>,
    /// Whether the bound group was looked for and is not there.
    pub missing: bool,
    /// When a drill is due next, or is to be cleared.
    pub drill_at: Option<Timestamp>,
}
