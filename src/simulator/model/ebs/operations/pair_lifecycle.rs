//! Start and Stop of pairs without a group; a pair in a group follows its group.

use super::super::super::failure::Failure;
use super::super::disks::Disks;
use super::super::pair::DiskPair;
use super::super::status::{GroupOperation, ReplicaStatus, Transition};

impl Disks {
    /// The pair, if it is in no group and its status allows the operation. Both disks' regions accept the call.
    fn single_pair(
        &mut self,
        (region, id): (&str, &str),
        operation: GroupOperation,
        now: i64,
    ) -> Result<DiskPair, Failure> {
        self.advance(now);
        let pair = self.find_pair(region, id)?;
        if pair.group.is_some() {
            // The documentation refuses it; the code is inferred.
            return Err(Failure::operation_refused("A pair of a group is started and stopped with its group."));
        }
        if operation.allowed(pair.status) { Ok(pair) } else { Err(Failure::invalid_status()) }
    }

    fn change_pair(&mut self, mut pair: DiskPair, through: ReplicaStatus, to: ReplicaStatus, due: i64) {
        (pair.status, pair.transition) = (through, Some(Transition { to, due }));
        self.pairs.insert(pair.id.clone(), pair);
    }

    /// StartDiskReplicaPair; one synchronisation with `one_shot`.
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
        if one_shot && pair.last_one_shot.is_some_and(|last| now - last < self.rules.one_shot_interval_ms) {
            return Err(Failure::manual_sync_limit());
        }
        self.report_copies("StartDiskReplicaPair", std::slice::from_ref(&pair));
        if !one_shot {
            let through = if first { ReplicaStatus::InitialSyncing } else { ReplicaStatus::Syncing };
            self.change_pair(pair, through, ReplicaStatus::Normal, due);
            return Ok(());
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
