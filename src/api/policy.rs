//! The policies that the kinds share: management and deletion.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the deletion of the object does to its side of the cloud.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// What the object manages is stopped and deleted.
    #[default]
    Delete,
    /// It is left as it is.
    Retain,
}

/// Whether the operator may change the cloud.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ManagementPolicy {
    /// It creates, changes and deletes as the spec says.
    #[default]
    Manage,
    /// It only reads: no call that changes the cloud, ever.
    Observe,
}
