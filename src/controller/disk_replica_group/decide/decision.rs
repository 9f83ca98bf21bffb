//! The steps and details of a decision about a group. Plain values.

use jiff::Timestamp;

use crate::api::disk_replica_group::{Direction, DiskReplicaGroup, DrillsStatus};
use crate::cloud::ebs::{ClientToken, GroupChange, NewGroup, NewPair};
use crate::cloud::sign::payload_hash;
use crate::controller::disk_replica_group::call::Call;
use crate::controller::disk_replica_group::lifecycle::Lifecycle;
use crate::controller::disk_replica_group::request::RequestState;
use crate::controller::resource;

/// A call that changes the cloud.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    CreateGroup(NewGroup),
    CreatePair {
        /// The pair's name in the spec.
        pair: String,
        /// The request.
        new: NewPair,
    },
    /// Adds a pair to the group.
    AddPair {
        pair_id: String,
    },
    /// Removes a pair from the group.
    RemovePair {
        pair_id: String,
    },
    /// Deletes a pair that is in no group.
    DeletePair {
        pair_id: String,
    },
    /// Changes the group; absent fields stay.
    ModifyGroup(GroupChange),
    /// Starts replication, or one synchronization.
    StartGroup {
        /// Whether to start one synchronization only.
        one_shot: bool,
    },
    /// Stops replication.
    StopGroup,
    /// Opens the secondary disks for use.
    FailoverGroup,
    /// Reverses replication, or cancels the failover.
    ReprotectGroup {
        /// Whether to reverse replication, and not to cancel the failover.
        reverse: bool,
    },
    /// Deletes the group, which has no pairs.
    DeleteGroup,
    /// Clones the secondary disks.
    StartDrill,
    /// Deletes the clones.
    ClearDrill {
        drill_id: String,
    },
}

impl Action {
    /// The call, as status names it.
    pub fn call(&self) -> Call {
        match self {
            Self::CreateGroup(_) => Call::CreateGroup,
            Self::CreatePair { pair, .. } => Call::CreatePair(pair.clone()),
            Self::AddPair { pair_id } => Call::AddPair(pair_id.clone()),
            Self::RemovePair { pair_id } => Call::RemovePair(pair_id.clone()),
            Self::DeletePair { pair_id } => Call::DeletePair(pair_id.clone()),
            // Each change of the fields is a call of its own.
            Self::ModifyGroup(change) => {
                Call::ModifyGroup(payload_hash(format!("{change:?}").as_bytes())[..8].to_owned())
            }
            Self::StartGroup { one_shot: false } => Call::StartGroup,
            Self::StartGroup { one_shot: true } => Call::Synchronize,
            Self::StopGroup => Call::StopGroup,
            Self::FailoverGroup => Call::FailoverGroup,
            Self::ReprotectGroup { reverse: true } => Call::Reverse,
            Self::ReprotectGroup { reverse: false } => Call::Cancel,
            Self::DeleteGroup => Call::DeleteGroup,
            Self::StartDrill => Call::StartDrill,
            Self::ClearDrill { drill_id } => Call::ClearDrill(drill_id.clone()),
        }
    }

    /// Whether the API accepts a client token. Such a call is written to status before it is made.
    pub fn has_token(&self) -> bool {
        !matches!(self, Self::ClearDrill { .. })
    }

    /// Whether the action concerns one pair or drill only, so that its result delays nothing else.
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

/// A call with all its details. A repetition has the same token and no second effect.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The call.
    pub action: Action,
    /// The group's ID; empty while there is no group.
    pub group_id: String,
    /// The direction of replication, which selects the region of the call.
    pub direction: Direction,
    /// The number from which, with the object and the call, the tokens derive.
    pub sequence: i64,
    /// The time of the last attempt with these tokens, if its result is unknown.
    pub lost: Option<Timestamp>,
    pub token: ClientToken,
    /// The client token for the other region, in case the call belongs there.
    pub elsewhere: ClientToken,
}

/// The part of a decision that only the status of a group uses.
#[derive(Clone, Debug, PartialEq)]
pub struct Details {
    /// The lifecycle of the group after this decision, including the steps that it begins.
    pub lifecycle: Lifecycle,
    /// The state of the request after this decision.
    pub request: RequestState,
    /// The drills after this decision.
    pub drills: Option<DrillsStatus>,
    /// Whether a drill changes soon, so that the next observation comes soon.
    pub drill_busy: bool,
    /// The reason why the clones of a drill exist longer than they should.
    pub drill_overdue: Option<String>,
    /// Whether the requested drill begins with this decision.
    pub drill_handled: bool,
    /// The accepted calls whose effect is not visible yet.
    pub awaited: Vec<Call>,
    /// Whether the bound group was not found.
    pub missing: bool,
    /// The time when the next drill is due, or the current one has to be cleared.
    pub drill_at: Option<Timestamp>,
}

/// A decision about a group.
pub type Decision = resource::Decision<DiskReplicaGroup>;
