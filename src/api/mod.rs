//! The custom resources. `kubectl explain` prints the doc comments of their fields.

#![warn(missing_docs)]

pub mod account;
pub mod condition;
pub mod disk_replica_group;
mod disk_replica_group_status;
mod drift;
pub mod event;
mod head;
pub mod manifest;
pub mod plan;
mod plan_status;
mod policy;

pub use self::drift::Drift;
pub use self::head::StatusHead;

/// The API group of every kind.
pub const GROUP: &str = "disasterrecovery.dev";

/// The annotation that names the bound plan and survives a backup that drops status.
pub const PLAN_ID_ANNOTATION: &str = "disasterrecovery.dev/plan-id";

/// The annotation that names the bound replication group and survives a backup that drops status.
pub const GROUP_ID_ANNOTATION: &str = "disasterrecovery.dev/replica-group-id";

/// The annotation with the direction of the bound group, which survives a backup that drops status.
pub const DIRECTION_ANNOTATION: &str = "disasterrecovery.dev/direction";

/// The annotation whose new value requests one drill now. `status.lastHandledDrillAt` has the last handled value.
pub const DRILL_ANNOTATION: &str = "disasterrecovery.dev/drill-requested-at";

/// The annotation whose new value triggers a reconcile. `status.lastHandledReconcileAt` has the last handled value.
pub const RECONCILE_ANNOTATION: &str = "disasterrecovery.dev/reconcile-requested-at";

/// The annotation whose new value requests one synchronization of every checkpoint. `status.lastHandledSyncCheckpointsAt` has the
/// last handled value.
pub const SYNC_CHECKPOINTS_ANNOTATION: &str = "disasterrecovery.dev/sync-checkpoints-requested-at";

/// The label that assigns a plan or a group to one of several operator processes, by its number.
pub const SHARD_LABEL: &str = "disasterrecovery.dev/shard";

/// Whether the operator reads or writes an annotation. Others with the prefix of the API group are notes of other actors.
pub fn is_own_annotation(name: &str) -> bool {
    let own = [
        PLAN_ID_ANNOTATION,
        GROUP_ID_ANNOTATION,
        DIRECTION_ANNOTATION,
        DRILL_ANNOTATION,
        RECONCILE_ANNOTATION,
        SYNC_CHECKPOINTS_ANNOTATION,
    ];
    own.contains(&name)
}

/// The finalizer that keeps an object until its cloud side is deleted or released.
pub const FINALIZER: &str = "disasterrecovery.dev/cloud-resource";

/// The finalizer that keeps an account while objects use it.
pub const IN_USE_FINALIZER: &str = "disasterrecovery.dev/in-use";
