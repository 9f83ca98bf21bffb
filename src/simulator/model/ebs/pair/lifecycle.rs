//! Starting and stopping a pair that is in no group; in one, it does what its group does.

use super::super::{DiskRules, Disks, GroupOperation, ReplicaStatus, Transition};
use super::{DiskPair, Failure};

impl DiskPair {
    /// Whether it is still there.
    pub(in super::super) fn advance(&mut self, now: i64, rules: &DiskRules, frozen: bool) -> bool {
        if let Some(Transition { to, due }) = self.transition.filter(|transition| transition.due <= now) {
            let from = std::mem::replace(&mut self.status, to);
            self.transition = None;
            if to == ReplicaStatus::Deleted {
                return false;
            }
            if to == ReplicaStatus::Normal || from == ReplicaStatus::ManualSyncing {
                (self.normal_since, self.last_recover_point, self.synced) = (due, Some(due), true);
            }
        }
        if self.status == ReplicaStatus::Normal && self.group.is_none() && !frozen {
            let behind = now.saturating_sub(self.normal_since).max(0) % rules.cycle_ms.max(1);
            self.last_recover_point = self.last_recover_point.max(Some(now - behind));
        }
        true
    }
}

impl Disks {
    /// A pair that is in no group, if its status allows the operation. Either disk's region will do.
    fn single_pair(
        &mut self,
        (region, id): (&str, &str),
        operation: GroupOperation,
        now: i64,
    ) -> Result<DiskPair, Failure> {
        self.advance(now);
        let pair = self.seen_pair(region, id)?;
        if pair.group.is_some() {
            // The documents refuse it; the code is inferred.
            return Err(Failure::operation_refused("A pair of a group is started and stopped with its group."));
        }
        if operation.allowed(pair.status) { Ok(pair) } else { Err(Failure::invalid_status()) }
    }

    fn change_pair(&mut self, mut pair: DiskPair, through: ReplicaStatus, to: ReplicaStatus, due: i64) {
        (pair.status, pair.transition) = (through, Some(Transition { to, due }));
        self.pairs.insert(pair.id.clone(), pair);
    }

    /// StartDiskReplicaPair; once only with `one_shot`.
    pub fn start_pair(&mut self, region: &str, id: &str, one_shot: bool, now: i64) -> Result<(), Failure> {
        let operation = if one_shot { GroupOperation::StartOneShot } else { GroupOperation::Start };
        let mut pair = self.single_pair((region, id), operation, now)?;
        if !matches!(pair.status, ReplicaStatus::Created | ReplicaStatus::Stopped) {
            return Ok(());
        }
        if self.attached.contains(&pair.destination_disk) {
            return Err(Failure::standby_attached());
        }
        let first = pair.last_recover_point.is_none();
        let due = now + self.rules.initial_sync_ms.filter(|_| first).unwrap_or(self.rules.delay_ms);
        if !one_shot {
            let through = if first { ReplicaStatus::InitialSyncing } else { ReplicaStatus::Syncing };
            self.change_pair(pair, through, ReplicaStatus::Normal, due);
            return Ok(());
        }
        if pair.last_one_shot.is_some_and(|last| now - last < self.rules.one_shot_interval_ms) {
            return Err(Failure::manual_sync_limit());
        }
        pair.last_one_shot = Some(now);
        self.change_pair(pair, ReplicaStatus::ManualSyncing, ReplicaStatus::Stopped, due);
        Ok(())
    }

    /// StopDiskReplicaPair.
    pub fn stop_pair(&mut self, region: &str, id: &str, now: i64) -> Result<(), Failure> {
        let pair = self.single_pair((region, id), GroupOperation::Stop, now)?;
        if !matches!(pair.status, ReplicaStatus::Stopping | ReplicaStatus::Stopped) {
            self.change_pair(pair, ReplicaStatus::Stopping, ReplicaStatus::Stopped, now + self.rules.delay_ms);
        }
        Ok(())
    }
}
