//! Violations: calls that open or overwrite a disk wrongly.

use serde::Serialize;

/// A call that opened or overwrote a disk wrongly. Whether the user consented is for the test to decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Violation {
    /// The time of the call, ms since the epoch.
    pub at_ms: i64,
    /// The call's action, such as `FailoverDiskReplicaGroup`.
    pub action: &'static str,
    /// The group's id; absent for a pair without a group.
    pub group: Option<String>,
    /// The pair's id.
    pub pair: String,
    /// The disk that was opened or overwritten.
    pub disk: String,
    pub kind: ViolationKind,
    pub message: String,
}

/// The wrong that a call did to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum ViolationKind {
    /// A failover opened a blank disk.
    BlankOpened,
    /// A failover opened a disk to which no synchronisation in the present direction completed.
    StaleOpened,
    /// A blank disk was copied over user data.
    BlankCopiedOver,
    /// Older user data was copied over newer.
    StaleCopiedOver,
    /// The last writes before a failover were overwritten, and no other disk got them.
    UnreplicatedWritesOverwritten,
    /// The only disk with its user data was overwritten with other data.
    OtherDataOverwritten,
}

impl ViolationKind {
    /// The message of a report.
    pub(super) fn message(self, action: &str, disk: &str, pair: &str) -> String {
        let (effect, cause) = match self {
            ViolationKind::BlankOpened => ("opens", "it is blank, because no synchronization to it ever completed"),
            ViolationKind::StaleOpened => {
                ("opens", "it holds old data, because no synchronization in the present direction completed")
            }
            ViolationKind::BlankCopiedOver => ("overwrites", "it holds user data, and the source disk is blank"),
            ViolationKind::StaleCopiedOver => ("overwrites", "it holds newer user data than the source disk"),
            ViolationKind::UnreplicatedWritesOverwritten => {
                ("overwrites", "it holds the last writes before a failover, which were never replicated")
            }
            ViolationKind::OtherDataOverwritten => {
                ("overwrites", "no other disk holds its user data, and the source disk holds other data")
            }
        };
        format!("{action} {effect} the disk {disk} of the pair {pair}: {cause}.")
    }
}
