//! The operations that the client calls, so that the rest of the program compares variants and never names.

use std::fmt;

/// Declares [`ApiOperation`] with the API's own name of each variant.
macro_rules! operations {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// The operation of a call, a failed call or a finished request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ApiOperation {
            $($(#[$doc])* #[doc = concat!("`", $name, "`")] $variant,)+
        }

        impl ApiOperation {
            /// The API's own name of the operation.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

operations! {
    CreateDisasterRecoveryPlan = "CreateDisasterRecoveryPlan",
    UpdateDisasterRecoveryPlan = "UpdateDisasterRecoveryPlan",
    GetDisasterRecoveryPlan = "GetDisasterRecoveryPlan",
    ListDisasterRecoveryPlans = "ListDisasterRecoveryPlans",
    DeleteDisasterRecoveryPlan = "DeleteDisasterRecoveryPlan",
    AddDisasterRecoveryItem = "AddDisasterRecoveryItem",
    UpdateDisasterRecoveryItem = "UpdateDisasterRecoveryItem",
    GetDisasterRecoveryItem = "GetDisasterRecoveryItem",
    ListDisasterRecoveryItems = "ListDisasterRecoveryItems",
    StartDisasterRecoveryItem = "StartDisasterRecoveryItem",
    StopDisasterRecoveryItem = "StopDisasterRecoveryItem",
    DeleteDisasterRecoveryItem = "DeleteDisasterRecoveryItem",
    ListDisasterRecoveryCheckpoints = "ListDisasterRecoveryCheckpoints",
    SyncDisasterRecoveryCheckpoint = "SyncDisasterRecoveryCheckpoint",
    GetConsumerGroupLag = "GetConsumerGroupLag",

    CreateDiskReplicaGroup = "CreateDiskReplicaGroup",
    DescribeDiskReplicaGroups = "DescribeDiskReplicaGroups",
    ModifyDiskReplicaGroup = "ModifyDiskReplicaGroup",
    DeleteDiskReplicaGroup = "DeleteDiskReplicaGroup",
    StartDiskReplicaGroup = "StartDiskReplicaGroup",
    StopDiskReplicaGroup = "StopDiskReplicaGroup",
    FailoverDiskReplicaGroup = "FailoverDiskReplicaGroup",
    ReprotectDiskReplicaGroup = "ReprotectDiskReplicaGroup",
    AddDiskReplicaPair = "AddDiskReplicaPair",
    RemoveDiskReplicaPair = "RemoveDiskReplicaPair",
    CreateDiskReplicaPair = "CreateDiskReplicaPair",
    DescribeDiskReplicaPairs = "DescribeDiskReplicaPairs",
    DeleteDiskReplicaPair = "DeleteDiskReplicaPair",
    StartReplicaGroupDrill = "StartReplicaGroupDrill",
    DescribeReplicaGroupDrills = "DescribeReplicaGroupDrills",
    ClearReplicaGroupDrill = "ClearReplicaGroupDrill",

    AssumeRole = "AssumeRole",
    AssumeRoleWithOidc = "AssumeRoleWithOIDC",

    /// No operation of an API: one whole observation, which exceeded its time limit.
    Observation = "observing",
    /// No operation of an API: a source of credentials, which exceeded its time limit.
    CredentialsSource = "credentials",
}

impl fmt::Display for ApiOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
