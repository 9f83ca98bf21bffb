//! The condition types and reasons that appear in `status.conditions`, by the names that users match on.

/// The types of conditions.
pub mod condition_type {
    /// The cloud side exists and is as the spec says.
    pub const READY: &str = "Ready";
    /// The cloud matches the spec.
    pub const SYNCED: &str = "Synced";
    /// A failover now would lose no more than the objective.
    pub const PROTECTED: &str = "Protected";
    /// Every consumer group of the source has a synchronized offset at the destination.
    pub const OFFSETS_COVERED: &str = "OffsetsCovered";
    /// kstatus: work on the spec is in progress. Present only while it is True.
    pub const RECONCILING: &str = "Reconciling";
    /// kstatus: a person has to act before the work can continue. Present only while it is True.
    pub const STALLED: &str = "Stalled";
    /// A planned failover to the other site would begin now.
    pub const FAILOVER_READY: &str = "FailoverReady";
    /// A drill is overdue and cannot be cleared: its disks are billed. Present only while it is True.
    pub const DRILL_NOT_CLEARED: &str = "DrillNotCleared";
}

/// Reasons of `Ready`.
pub mod ready {
    /// The cloud side runs as the spec says.
    pub const AVAILABLE: &str = "Available";
    /// The plan or a mapping is being created.
    pub const CREATING: &str = "Creating";
    /// The plan or a mapping is being changed.
    pub const UPDATING: &str = "Updating";
    /// The object is being deleted.
    pub const DELETING: &str = "Deleting";
    /// Every mapping is stopped, as the spec says.
    pub const STOPPED: &str = "Stopped";
    /// A part of the cloud side does not run as the spec says, or its state is unknown.
    pub const NOT_READY: &str = "NotReady";
    /// The other site's disks are in use, as the spec says, and replication is not reversed (reprotect: Manual).
    pub const FAILED_OVER: &str = "FailedOver";
    /// The other site is becoming the active one.
    pub const FAILING_OVER: &str = "FailingOver";
    /// Replication is being reversed.
    pub const REPROTECTING: &str = "Reprotecting";
    /// A failover is being cancelled.
    pub const CANCELLING: &str = "Cancelling";
}

/// Reasons of `Synced`.
pub mod synced {
    /// The cloud matches the spec.
    pub const IN_SYNC: &str = "InSync";
    /// The operator is changing the cloud as the spec says.
    pub const PROGRESSING: &str = "Progressing";
    /// Another actor changed the cloud.
    pub const DRIFTED: &str = "Drifted";
    /// An operator process with another Lease served the object: its calls may not have ended.
    pub const TAKING_OVER: &str = "TakingOver";
    /// The API refused a value of the spec.
    pub const INVALID_SPEC: &str = "InvalidSpec";
    /// The spec changes a field that the API cannot change.
    pub const IMMUTABLE_FIELD: &str = "ImmutableField";
    /// The API refuses a change while items run, and `spec.updatePolicy` does not let the operator stop them.
    pub const UPDATE_WAITS: &str = "UpdateWaits";
    /// Two plans carry this object's mark, or two items map one pair of topics.
    pub const TWIN: &str = "Twin";
    /// The API changes the group only while replication is stopped, and the spec wants it to run.
    pub const REPLICATION_RUNNING: &str = "ReplicationRunning";
    /// The operator refuses a planned failover: the recovery point is unknown or too old, or pairs are not replicated.
    pub const FAILOVER_REFUSED: &str = "FailoverRefused";
    /// The request was not begun in time; it never begins.
    pub const FAILOVER_EXPIRED: &str = "FailoverExpired";
    /// The request goes back to the former site, and replication is not reversed.
    pub const NOT_REVERSED_YET: &str = "NotReversedYet";
    /// The request cancels a failover, and the group is not failed over, or replication is reversed.
    pub const NOTHING_TO_CANCEL: &str = "NothingToCancel";
    /// Replication is not reversed: the former site may hold the only copy of the last writes.
    pub const REPROTECT_WAITS: &str = "ReprotectWaits";
    /// The disks that would be copied are not known to hold the data.
    pub const COPY_REFUSED: &str = "CopyRefused";
    /// Replication cannot be reversed or started while disks are attached to instances.
    pub const DISKS_ATTACHED: &str = "DisksAttached";
    /// The group is in a status that only a person can end.
    pub const GROUP_FAILED: &str = "GroupFailed";
    /// The group that `spec.replicaGroupId` names does not exist.
    pub const GROUP_NOT_FOUND: &str = "GroupNotFound";
    /// An unmarked plan with the same name exists.
    pub const NAME_CONFLICT: &str = "NameConflict";
    /// The plan carries another owner's mark.
    pub const OWNED_BY_ANOTHER: &str = "OwnedByAnother";
    /// The plan that `spec.planId` names does not exist.
    pub const PLAN_NOT_FOUND: &str = "PlanNotFound";
    /// A Secret or another source of credentials is missing or incomplete.
    pub const CREDENTIALS_NOT_FOUND: &str = "CredentialsNotFound";
    /// The cloud refused the key or the permission.
    pub const ACCESS_DENIED: &str = "AccessDenied";
    /// The changed credentials do not find the cloud side of this object: they may belong to another cloud account.
    pub const ACCOUNT_CHANGED: &str = "AccountChanged";
    /// The account's endpoints are not allowed. The operator sends no request to them.
    pub const ENDPOINT_REFUSED: &str = "EndpointRefused";
    /// The cloud throttles the calls.
    pub const THROTTLED: &str = "Throttled";
    /// The cloud cannot be reached, or its service fails.
    pub const CLOUD_UNAVAILABLE: &str = "CloudUnavailable";
    /// `spec.suspend` is true.
    pub const SUSPENDED: &str = "Suspended";
    /// `spec.managementPolicy` is Observe.
    pub const OBSERVE_ONLY: &str = "ObserveOnly";
    /// The deletion cannot continue.
    pub const DELETION_BLOCKED: &str = "DeletionBlocked";
}

/// Reasons of `Protected`.
pub mod protected {
    /// The largest lag is within the objective.
    pub const WITHIN_OBJECTIVE: &str = "WithinObjective";
    /// The largest lag is above the objective.
    pub const OBJECTIVE_EXCEEDED: &str = "ObjectiveExceeded";
    /// A consumer group was never synchronized.
    pub const NEVER_SYNCED: &str = "NeverSynced";
    /// The destination is ahead of the source: a failover would skip messages.
    pub const TARGET_AHEAD: &str = "TargetAhead";
    /// Messages wait for longer than the objective.
    pub const BACKLOG_EXCEEDED: &str = "BacklogExceeded";
    /// It is not known how long messages wait at the source.
    pub const BACKLOG_UNKNOWN: &str = "BacklogUnknown";
    /// The clocks of the operator and of the cloud differ too much, so that no age is known.
    pub const CLOCK_SKEW: &str = "ClockSkew";
    /// A mapping does not run.
    pub const REPLICATION_STOPPED: &str = "ReplicationStopped";
    /// No recent observation proves or refutes it.
    pub const UNKNOWN: &str = "Unknown";
}

/// Reasons of `FailoverReady`.
pub mod failover_ready {
    /// A planned failover would begin now.
    pub const POSSIBLE: &str = "Possible";
    /// A planned failover would be refused.
    pub const REFUSED: &str = "Refused";
    /// No recent observation proves or refutes it.
    pub const UNKNOWN: &str = "Unknown";
}

/// Reasons of `OffsetsCovered`.
pub mod offsets {
    /// Every group is synchronized.
    pub const ALL_GROUPS: &str = "AllGroups";
    /// Some groups were never synchronized.
    pub const GROUPS_NOT_SYNCED: &str = "GroupsNotSynced";
    /// The plan does not synchronize consumer progress.
    pub const SYNC_DISABLED: &str = "SyncDisabled";
    /// No recent observation proves or refutes it.
    pub const UNKNOWN: &str = "Unknown";
}

/// Reasons of `DrillNotCleared`.
pub mod drill {
    /// The cloud did not delete the clones in time.
    pub const CLEAR_OVERDUE: &str = "ClearOverdue";
}

/// Reasons of `Ready` of an account, besides those of [`ready`].
pub mod account {
    /// The Secret does not exist.
    pub const SECRET_NOT_FOUND: &str = "SecretNotFound";
    /// A key of the Secret, or a variable of the environment, is missing or empty.
    pub const KEY_MISSING: &str = "KeyMissing";
    /// The file with the token of the operator's service account cannot be read.
    pub const TOKEN_FILE_UNREADABLE: &str = "TokenFileUnreadable";
    /// Kubernetes issues no token of the service account.
    pub const TOKEN_REQUEST_FAILED: &str = "TokenRequestFailed";
    /// The metadata service of the ECS instance issues no credentials.
    pub const METADATA_UNAVAILABLE: &str = "MetadataUnavailable";
    /// STS denies the role.
    pub const ASSUME_ROLE_DENIED: &str = "AssumeRoleDenied";
    /// The cloud refuses the access key or its signature.
    pub const ACCESS_KEY_REFUSED: &str = "AccessKeyRefused";
    /// The credentials or the token for them have expired.
    pub const EXPIRED: &str = "Expired";
    /// The operator's clock is too far from the cloud's.
    pub const CLOCK_SKEW: &str = "ClockSkew";
    /// An endpoint is not allowed.
    pub const ENDPOINT_REFUSED: &str = "EndpointRefused";
    /// The credentials in use are valid and cannot be renewed before they expire. `Ready` is True.
    pub const NOT_RENEWED: &str = "NotRenewed";
    /// The namespace may not use the operator's own identity.
    pub const CREDENTIALS_NOT_FOUND: &str = super::synced::CREDENTIALS_NOT_FOUND;
    /// STS or Kubernetes cannot be reached.
    pub const UNAVAILABLE: &str = super::synced::CLOUD_UNAVAILABLE;
}
