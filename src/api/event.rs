//! The reasons and actions of events, by the names that users match on. Refusals are reported with the reason of `Synced`.

/// The reasons of events.
pub mod reason {
    /// The operator created a plan or group.
    pub const CREATED: &str = "Created";
    /// The operator took an existing plan or group over.
    pub const ADOPTED: &str = "Adopted";
    /// The object and its cloud side are deleted.
    pub const DELETED: &str = "Deleted";
    /// The object is deleted, and its cloud side stays.
    pub const RETAINED: &str = "Retained";
    /// The bound plan is not found any more.
    pub const PLAN_GONE: &str = "PlanGone";
    /// The bound group is not found any more.
    pub const GROUP_GONE: &str = "GroupGone";
    /// The cloud differs from a spec that it matched before.
    pub const DRIFT_FOUND: &str = "DriftFound";
    /// The operator corrected a difference that another actor made.
    pub const DRIFT_CORRECTED: &str = "DriftCorrected";
    /// Items are stopped so that the plan can be changed.
    pub const ITEMS_PAUSED: &str = "ItemsPaused";
    /// Requested checkpoints were synchronized.
    pub const CHECKPOINTS_SYNCED: &str = "CheckpointsSynced";
    /// Requested checkpoints were not synchronized, or not all of them.
    pub const CHECKPOINTS_NOT_SYNCED: &str = "CheckpointsNotSynced";
    /// The recovery point objective is exceeded.
    pub const OBJECTIVE_EXCEEDED: &str = "ObjectiveExceeded";
    /// The recovery point objective is met again.
    pub const OBJECTIVE_MET: &str = "ObjectiveMet";
    /// A failover to the destination began.
    pub const FAILOVER_STARTED: &str = "FailoverStarted";
    /// A failover to the destination succeeded.
    pub const FAILOVER_COMPLETED: &str = "FailoverCompleted";
    /// A failover back to the source began.
    pub const FAILBACK_STARTED: &str = "FailbackStarted";
    /// A failover back to the source succeeded.
    pub const FAILBACK_COMPLETED: &str = "FailbackCompleted";
    /// The cancellation of a failover began.
    pub const CANCEL_STARTED: &str = "CancelStarted";
    /// A failover was cancelled.
    pub const CANCEL_COMPLETED: &str = "CancelCompleted";
    /// The reversal of replication began.
    pub const REPROTECT_STARTED: &str = "ReprotectStarted";
    /// Replication was reversed and started again.
    pub const REPROTECT_COMPLETED: &str = "ReprotectCompleted";
    /// A request for a failover expired before it could begin.
    pub const FAILOVER_EXPIRED: &str = "FailoverExpired";
    /// The operator refuses a request for a failover.
    pub const FAILOVER_REFUSED: &str = "FailoverRefused";
    /// An operation of a group failed.
    pub const OPERATION_FAILED: &str = "OperationFailed";
    /// An operation of a group ended before it reached its goal.
    pub const OPERATION_CANCELLED: &str = "OperationCancelled";
    /// A drill began.
    pub const DRILL_STARTED: &str = "DrillStarted";
    /// A drill that is due or requested did not begin.
    pub const DRILL_NOT_STARTED: &str = "DrillNotStarted";
    /// A drill cloned the disks and was cleared.
    pub const DRILL_SUCCEEDED: &str = "DrillSucceeded";
    /// A drill did not clone the disks.
    pub const DRILL_FAILED: &str = "DrillFailed";
    /// The disks of a drill are not cleared in time.
    pub const DRILL_NOT_CLEARED: &str = "DrillNotCleared";
    /// An account has credentials that the cloud accepts.
    pub const CREDENTIALS_AVAILABLE: &str = "CredentialsAvailable";
    /// An account has no credentials, or the cloud refuses them.
    pub const CREDENTIALS_UNAVAILABLE: &str = "CredentialsUnavailable";
    /// The credentials in use cannot be renewed.
    pub const CREDENTIALS_NOT_RENEWED: &str = "CredentialsNotRenewed";
    /// A deleted account is kept while objects use it.
    pub const ACCOUNT_IN_USE: &str = "AccountInUse";
    /// The operator cannot read the object and does nothing for it.
    pub const UNREADABLE: &str = "Unreadable";
}

/// The actions of the operator at the time of an event.
pub mod action {
    /// It compared the cloud with the spec.
    pub const OBSERVE: &str = "Observe";
    /// It changed the cloud side.
    pub const UPDATE: &str = "Update";
    /// It created a plan.
    pub const CREATE_PLAN: &str = "CreatePlan";
    /// It deleted a plan.
    pub const DELETE_PLAN: &str = "DeletePlan";
    /// It created a group.
    pub const CREATE_GROUP: &str = "CreateGroup";
    /// It deleted a group.
    pub const DELETE_GROUP: &str = "DeleteGroup";
    /// It took an existing plan or group over.
    pub const ADOPT: &str = "Adopt";
    /// It released an object.
    pub const RELEASE: &str = "Release";
    /// It stopped an item.
    pub const STOP_ITEM: &str = "StopItem";
    /// It synchronized checkpoints.
    pub const SYNC_CHECKPOINTS: &str = "SyncCheckpoints";
    /// It failed a group over or back.
    pub const FAILOVER: &str = "Failover";
    /// It reversed replication, or cancelled a failover.
    pub const REPROTECT: &str = "Reprotect";
    /// It began a drill.
    pub const START_DRILL: &str = "StartDrill";
    /// It cleared a drill.
    pub const CLEAR_DRILL: &str = "ClearDrill";
    /// It obtained credentials.
    pub const AUTHENTICATE: &str = "Authenticate";
    /// It read the object from Kubernetes.
    pub const READ: &str = "Read";
}
