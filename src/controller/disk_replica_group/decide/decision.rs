//! The steps and details of a decision about a group. Plain values.

use jiff::Timestamp;

use crate::api::disk_replica_group::{Direction, DiskReplicaGroup, DrillsStatus};
use crate::cloud::ebs::{ClientToken, GroupChange, NewGroup, NewPair};
use crate::cloud::sign::payload_hash;
use crate::controller::disk_replica_group::call::Call;
use crate::controller::disk_replica_group::lifecycle::Lifecycle;
use crate::controller::resource;

/// A call that changes the cloud.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Creates the group.
    CreateGroup(NewGroup),
    /// Creates a pair.
    CreatePair {
        /// Its name in the spec.
        pair: String,
        /// What to send.
        new: NewPair,
    },
    /// Adds a pair to the group.
    AddPair {
        /// The pair.
        pair_id: String,
    },
    /// Removes a pair from the group.
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
    /// The call, as status names it.
    pub fn call(&self) -> Call {
        match self {
            Self::CreateGroup(_) => Call::CreateGroup,
            Self::CreatePair { pair, .. } => Call::CreatePair(pair.clone()),
            Self::AddPair { pair_id } => Call::AddPair(pair_id.clone()),
            Self::RemovePair { pair_id } => Call::RemovePair(pair_id.clone()),
            Self::DeletePair { pair_id } => Call::DeletePair(pair_id.clone()),
            // Another change is another call.
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

/// What only the status of a group needs to know of a decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Details {
    /// The lifecycle of the group after this decision, including the steps that it begins.
    pub lifecycle: Lifecycle,
    /// The drills after this decision.
    pub drills: Option<DrillsStatus>,
    /// Whether a drill changes soon, so that the next observation comes soon.
    pub drill_busy: bool,
    /// Why the clones of a drill still exist though they should not.
    pub drill_overdue: Option<String>,
    /// Whether the requested drill begins with this decision.
    pub drill_handled: bool,
    /// The calls that the cloud accepted and whose effect is not visible yet.
    pub awaited: Vec<Call>,
    /// Whether the bound group was not found.
    pub missing: bool,
    /// The time when the next drill is due, or the present one has to be cleared.
    pub drill_at: Option<Timestamp>,
}

/// A decision about a group.
pub type Decision = resource::Decision<DiskReplicaGroup>;
