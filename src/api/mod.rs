//! The custom resources: what users write and read. Their doc comments are what `kubectl explain` prints.

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

/// The annotation that says which way the bound group replicates, where a backup that drops status keeps it.
pub const DIRECTION_ANNOTATION: &str = "disasterrecovery.dev/direction";

/// The annotation whose new value asks for one drill now; it is echoed in `status.lastHandledDrillAt`.
pub const DRILL_ANNOTATION: &str = "disasterrecovery.dev/drill-requested-at";

/// The annotation whose new value asks for a pass now; it is echoed in `status.lastHandledReconcileAt`.
pub const RECONCILE_ANNOTATION: &str = "disasterrecovery.dev/reconcile-requested-at";

/// The annotation whose new value asks for one synchronization of every checkpoint; it is echoed in
/// `status.lastHandledSyncCheckpointsAt`.
pub const SYNC_CHECKPOINTS_ANNOTATION: &str = "disasterrecovery.dev/sync-checkpoints-requested-at";

/// The finalizer that keeps an object until its cloud side is gone or let go.
pub const FINALIZER: &str = "disasterrecovery.dev/cloud-resource";

/// The finalizer that keeps an account while objects use it.
pub const IN_USE_FINALIZER: &str = "disasterrecovery.dev/in-use";
