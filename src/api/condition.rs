//! The condition types and reasons that appear in `status.conditions`, by the names that users match on.

/// The types of conditions.
pub mod kind {
    /// The plan exists and every mapping is as the spec asks for.
    pub const READY: &str = "Ready";
    /// The cloud matches the spec.
    pub const SYNCED: &str = "Synced";
    /// A failover now would lose no more than the objective.
    pub const PROTECTED: &str = "Protected";
    /// Every consumer group that the source knows has a synchronized offset at the destination.
    pub const OFFSETS_COVERED: &str = "OffsetsCovered";
    /// kstatus: work towards the spec goes on. Present only while it does.
    pub const RECONCILING: &str = "Reconciling";
    /// kstatus: nothing goes on until a person acts. Present only while that is so.
    pub const STALLED: &str = "Stalled";
}

/// Reasons of `Ready`.
pub mod ready {
    /// Everything that should run runs.
    pub const AVAILABLE: &str = "Available";
    /// The plan or a mapping is being made.
    pub const CREATING: &str = "Creating";
    /// The plan or a mapping is being changed.
    pub const UPDATING: &str = "Updating";
    /// The object is being deleted.
    pub const DELETING: &str = "Deleting";
    /// Every mapping is stopped, as the spec says.
    pub const STOPPED: &str = "Stopped";
    /// Something that should run does not, or nothing is known.
    pub const NOT_READY: &str = "NotReady";
}

/// Reasons of `Synced`.
pub mod synced {
    /// The cloud matches the spec.
    pub const IN_SYNC: &str = "InSync";
    /// A change of the spec is being carried out.
    pub const PROGRESSING: &str = "Progressing";
    /// The cloud was changed by somebody else.
    pub const DRIFTED: &str = "Drifted";
    /// The API refused what the spec says.
    pub const INVALID_SPEC: &str = "InvalidSpec";
    /// The spec asks for what the API cannot change.
    pub const IMMUTABLE_FIELD: &str = "ImmutableField";
    /// The API refuses to change the plan while items run that this object does not name.
    pub const ITEMS_RUNNING: &str = "ItemsRunning";
    /// A plan of that name exists and nobody marked it.
    pub const NAME_CONFLICT: &str = "NameConflict";
    /// The plan carries another owner's mark.
    pub const OWNED_BY_ANOTHER: &str = "OwnedByAnother";
    /// The plan that `spec.planId` names does not exist.
    pub const PLAN_NOT_FOUND: &str = "PlanNotFound";
    /// A Secret or another source of credentials is missing or incomplete.
    pub const CREDENTIALS_NOT_FOUND: &str = "CredentialsNotFound";
    /// The cloud refused the key or the permission.
    pub const ACCESS_DENIED: &str = "AccessDenied";
    /// The cloud asks for fewer calls.
    pub const THROTTLED: &str = "Throttled";
    /// The cloud cannot be reached or fails.
    pub const CLOUD_UNAVAILABLE: &str = "CloudUnavailable";
    /// `spec.suspend` is true.
    pub const SUSPENDED: &str = "Suspended";
    /// `spec.managementPolicy` is Observe.
    pub const OBSERVE_ONLY: &str = "ObserveOnly";
    /// The deletion cannot go on.
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
    /// A mapping does not run.
    pub const REPLICATION_STOPPED: &str = "ReplicationStopped";
    /// Nothing recent is known.
    pub const UNKNOWN: &str = "Unknown";
}

/// Reasons of `OffsetsCovered`.
pub mod offsets {
    /// Every group is synchronized.
    pub const ALL_GROUPS: &str = "AllGroups";
    /// Some groups never were.
    pub const GROUPS_NOT_SYNCED: &str = "GroupsNotSynced";
    /// The plan does not synchronize consumer progress.
    pub const SYNC_DISABLED: &str = "SyncDisabled";
    /// Nothing recent is known.
    pub const UNKNOWN: &str = "Unknown";
}
