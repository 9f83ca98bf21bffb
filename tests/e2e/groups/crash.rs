//! The operator is stopped dead after every single call to the cloud and every single write to Kubernetes, in failovers after
//! every second one: there is one group with its pairs, one site is active, everything that was asked for is done once, and
//! nothing else is.

use std::collections::BTreeMap;
use std::time::Duration;

use disaster_recovery_operator::api::DRILL_ANNOTATION;
use disaster_recovery_operator::api::disk_replica_group::{
    Direction, DiskReplicaGroup, DrillResult, OperationType, Phase, RequestPhase, Site,
};
use disaster_recovery_operator::simulator::model::ebs::{DiskRules, ReplicaStatus};
use serde_json::json;

use super::trouble::tokens;
use super::{Groups, history, quick, spec, spec_with};
use crate::enumerate::{Scenario, everywhere};

/// What is done to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disks {
    Create,
    Failover,
    Failback,
    Forced,
    /// Replication is reversed after a forced failover.
    Overwrite,
    Cancel,
    /// A planned failover is withdrawn before the disks are opened.
    Withdraw,
    /// A planned failover expires before the disks are opened.
    Expire,
    Drill,
    Delete,
    DeleteWhileCreating,
}

use Disks as D;

impl Disks {
    /// The spec that it begins with.
    fn first(self) -> serde_json::Value {
        match self {
            D::Drill => spec_with(json!({ "drill": { "schedule": "0 0 1 1 *", "keepFor": "1s" } })),
            _ => spec(),
        }
    }

    /// The number of logical changes by operation of the API.
    fn changes(self) -> &'static [(&'static str, usize)] {
        match self {
            D::Create => &[
                ("AddDiskReplicaPair", 2),
                ("CreateDiskReplicaGroup", 1),
                ("CreateDiskReplicaPair", 2),
                ("StartDiskReplicaGroup/false", 1),
            ],
            D::Failover | D::Failback => &[
                ("FailoverDiskReplicaGroup", 1),
                ("ReprotectDiskReplicaGroup/true", 1),
                ("StartDiskReplicaGroup/false", 1),
                ("StartDiskReplicaGroup/true", 1),
                ("StopDiskReplicaGroup", 1),
            ],
            D::Forced => &[("FailoverDiskReplicaGroup", 1)],
            D::Overwrite => &[("ReprotectDiskReplicaGroup/true", 1), ("StartDiskReplicaGroup/false", 1)],
            D::Cancel => &[("ReprotectDiskReplicaGroup/false", 1), ("StartDiskReplicaGroup/false", 1)],
            D::Withdraw | D::Expire => &[("StartDiskReplicaGroup/false", 1)],
            // To clear takes no token.
            D::Drill => &[("ClearReplicaGroupDrill", 0), ("StartReplicaGroupDrill", 1)],
            D::Delete => &[
                ("DeleteDiskReplicaGroup", 1),
                ("DeleteDiskReplicaPair", 2),
                ("RemoveDiskReplicaPair", 2),
                ("StopDiskReplicaGroup", 1),
            ],
            // It depends on when.
            D::DeleteWhileCreating => &[],
        }
    }

    /// The operations in the final status, the oldest first.
    fn operations(self) -> Vec<(OperationType, Site, Phase)> {
        use OperationType::{Cancel, Failback, Failover, Reprotect};
        use Phase::{Cancelled, Failed, Succeeded};
        let there = (Failover, Site::Destination, Succeeded);
        let reversed = (Reprotect, Site::Destination, Succeeded);
        match self {
            D::Create | D::Drill | D::Delete | D::DeleteWhileCreating => vec![],
            D::Forced => vec![there],
            D::Failover | D::Overwrite => vec![there, reversed],
            D::Failback => {
                vec![there, reversed, (Failback, Site::Source, Succeeded), (Reprotect, Site::Source, Succeeded)]
            }
            D::Cancel => vec![there, (Cancel, Site::Source, Succeeded)],
            D::Withdraw => vec![(Failover, Site::Destination, Cancelled)],
            D::Expire => vec![(Failover, Site::Destination, Failed)],
        }
    }

    /// Where the request stands at the end.
    fn request(self) -> Option<RequestPhase> {
        match self {
            D::Create | D::Drill | D::Delete | D::DeleteWhileCreating => None,
            D::Expire => Some(RequestPhase::Expired),
            _ => Some(RequestPhase::Succeeded),
        }
    }

    /// The site that is active at the end.
    fn site(self) -> Site {
        match self {
            D::Failover | D::Forced | D::Overwrite => Site::Destination,
            _ => Site::Source,
        }
    }
}

impl Scenario for Disks {
    type Kind = DiskReplicaGroup;

    async fn stage(self) -> Groups {
        let mut world = Groups::with(DiskRules { delay_ms: 50, ..quick() }).await;
        // Only work in progress requeues the object, except clones that are kept for a while.
        world.settings.poll_interval = Duration::from_millis(if self == D::Drill { 300 } else { 3_600_000 });
        world
    }

    fn stride(self) -> usize {
        match self {
            D::Create | D::Drill | D::Delete | D::DeleteWhileCreating => 1,
            // tests/group_decide stops it after every call and every write of these, on a store.
            D::Failover | D::Failback | D::Forced | D::Overwrite | D::Cancel | D::Withdraw | D::Expire => 2,
        }
    }

    async fn begin(self, world: &Groups) {
        world.create("db", self.first()).await;
        if matches!(self, D::Create | D::DeleteWhileCreating) {
            return;
        }
        let operator = world.operator().await;
        world.protected().await;
        match self {
            D::Failback => {
                world.force(Site::Destination).await;
                world.protected().await;
            }
            D::Overwrite | D::Cancel => {
                world.go_to("Destination", "Forced").await;
                world.condition("db", "Synced", "False", "ReprotectWaits").await;
            }
            D::Withdraw | D::Expire => drop(world.hold_up(json!({ "validFor": "1m" })).await),
            _ => {}
        }
        operator.stop().await;
        world.cloud.clear_requests();
        world.cloud.clear_faults();
        match self {
            D::Failover => world.plan("Destination").await,
            D::Failback => world.plan("Source").await,
            D::Forced => world.go_to("Destination", "Forced").await,
            D::Overwrite => world.overwrite(Site::Source).await,
            D::Cancel => world.go_to("Source", "Cancel").await,
            D::Withdraw => world.go_to("Source", "Planned").await,
            D::Expire => world.advance(Duration::from_mins(1)),
            D::Drill => world.annotate("db", DRILL_ANNOTATION, "now").await,
            D::Delete => world.delete("db").await,
            D::Create | D::DeleteWhileCreating => {}
        }
    }

    async fn end(self, world: &Groups) {
        match self {
            D::Delete => world.gone("db").await,
            D::Drill => {
                let ended = |drills: &disaster_recovery_operator::api::disk_replica_group::DrillsStatus| {
                    drills.current.is_none() && drills.last.is_some()
                };
                world.status("db", "the drill was cleared", |it| it.drills.as_ref().is_some_and(ended)).await;
                // What asked for it asks for no second one.
                world.polls(3).await;
            }
            D::Failover | D::Failback => {
                world.resume_points().await;
                world.protected().await;
            }
            D::Forced => drop(world.condition("db", "Synced", "False", "ReprotectWaits").await),
            D::Expire => {
                world.condition("db", "Synced", "False", "FailoverExpired").await;
                world.until(ReplicaStatus::Normal).await;
            }
            D::Create | D::Overwrite | D::Cancel | D::Withdraw | D::DeleteWhileCreating => {
                world.protected().await;
            }
        }
    }

    async fn meanwhile(self, world: &Groups) -> bool {
        if self == D::DeleteWhileCreating {
            world.delete("db").await;
        }
        self == D::DeleteWhileCreating
    }

    async fn end_again(self, world: &Groups) {
        match self {
            D::DeleteWhileCreating => world.gone("db").await,
            _ => self.end(world).await,
        }
    }

    async fn check(self, world: &Groups) {
        let mut found: BTreeMap<String, usize> = BTreeMap::new();
        for (call, tokens) in tokens(world) {
            let (operation, about) = call.split_once('/').unwrap_or((&call, ""));
            let flag = if ["true", "false"].contains(&about) { format!("/{about}") } else { String::new() };
            *found.entry(format!("{operation}{flag}")).or_default() += tokens.len();
        }
        let found: Vec<_> = found.iter().map(|(call, times)| (call.as_str(), *times)).collect();
        if self != D::DeleteWhileCreating {
            assert_eq!(found, self.changes(), "{:#?}", world.cloud.requests());
        }
        if matches!(self, D::Delete | D::DeleteWhileCreating) {
            world.assert_nothing();
            return;
        }
        let status = world.get("db").await.and_then(|it| it.status).expect("a status");
        assert_eq!(history(&status), self.operations(), "{status:#?}");
        assert_eq!(status.request.as_ref().map(|it| it.phase), self.request(), "{status:#?}");
        if self == D::Forced {
            assert_eq!((status.active_site, status.direction), (Some(self.site()), Some(Direction::Forward)));
            assert_eq!((world.group().status, world.disks().pairs.len()), (ReplicaStatus::Failovered, 2));
        } else {
            world.assert_one(&status, self.site(), &["data", "logs"]);
            assert_eq!(world.group().status, ReplicaStatus::Normal);
        }
        assert!(world.disks().drills.is_empty(), "{:#?}", world.disks());
        if self == D::Drill {
            let last = status.drills.and_then(|it| it.last).expect("a drill");
            assert_eq!(last.result, Some(DrillResult::Succeeded), "{last:#?}");
            assert!(last.recovery_point.is_some() && last.cleared_at.is_some(), "{last:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_during_creation_leaves_one_group() {
    everywhere(D::Create).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_during_planned_failover_completes_it_once() {
    everywhere(D::Failover).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_during_failback_completes_it_once() {
    everywhere(D::Failback).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_during_forced_failover_completes_it_once() {
    everywhere(D::Forced).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_during_consented_reversal_completes_it_once() {
    everywhere(D::Overwrite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_during_withdrawal_restarts_replication_once() {
    everywhere(D::Withdraw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_during_expiry_restarts_replication_once() {
    everywhere(D::Expire).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_during_cancellation_cancels_once() {
    everywhere(D::Cancel).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_during_drill_clears_it() {
    everywhere(D::Drill).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_during_deletion_leaves_nothing() {
    everywhere(D::Delete).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_after_crash_during_creation_leaves_nothing() {
    everywhere(D::DeleteWhileCreating).await;
}
