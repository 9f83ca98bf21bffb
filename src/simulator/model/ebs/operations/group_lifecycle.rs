//! Start, Stop, Failover and Reprotect of groups.

use super::super::super::failure::Failure;
use super::super::disks::Disks;
use super::super::group::DiskGroup;
use super::super::status::{GroupOperation, ReplicaStatus};

impl Disks {
    /// The group, if the call is in the right region, the status allows it and the group has the pairs that the
    /// operation needs.
    fn group_for_operation(
        &mut self,
        (region, id): (&str, &str),
        operation: GroupOperation,
        now: i64,
    ) -> Result<DiskGroup, Failure> {
        self.advance(now);
        let group = self.find_group(region, id)?;
        match operation {
            GroupOperation::Failover | GroupOperation::Reprotect => {
                group.check_secondary_region(region, &self.rules)?;
            }
            _ => group.check_production_region(region, &self.rules)?,
        }
        let early = operation == GroupOperation::Failover && self.rules.failover_before_first_copy;
        if !(early && group.status == ReplicaStatus::InitialSyncing) {
            group.allows(operation)?;
        }
        if operation != GroupOperation::Stop && group.pairs_in(&self.pairs).next().is_none() {
            return Err(Failure::no_pair_in_group());
        }
        Ok(group)
    }

    fn change(&mut self, mut group: DiskGroup, through: ReplicaStatus, to: ReplicaStatus, due: i64) {
        group.enter(through, to, due, &mut self.pairs);
        self.groups.insert(group.id.clone(), group);
    }

    /// StartDiskReplicaGroup; one synchronisation with `one_shot`.
    pub fn start_group(&mut self, region: &str, id: &str, one_shot: bool, now: i64) -> Result<(), Failure> {
        let operation = if one_shot { GroupOperation::StartOneShot } else { GroupOperation::Start };
        let mut group = self.group_for_operation((region, id), operation, now)?;
        if !matches!(group.status, ReplicaStatus::Created | ReplicaStatus::Stopped) {
            return Ok(());
        }
        let pairs: Vec<_> = group.pairs_in(&self.pairs).cloned().collect();
        if pairs.iter().any(|pair| self.attached.contains(&pair.destination_disk)) {
            return Err(Failure::standby_attached());
        }
        if one_shot && group.last_one_shot.is_some_and(|last| now - last < self.rules.one_shot_interval_ms) {
            return Err(Failure::manual_sync_limit());
        }
        self.report_copies("StartDiskReplicaGroup", &pairs);
        let first = pairs.iter().any(|pair| pair.last_recover_point.is_none());
        let takes = self.rules.initial_sync_ms.filter(|_| first).unwrap_or(self.rules.delay_ms);
        if one_shot {
            group.last_one_shot = Some(now);
            group.stopped_before_sync = group.status == ReplicaStatus::Stopped;
            self.change(group, ReplicaStatus::ManualSyncing, ReplicaStatus::Stopped, now + takes);
        } else {
            let through = if first { ReplicaStatus::InitialSyncing } else { ReplicaStatus::Syncing };
            self.change(group, through, ReplicaStatus::Normal, now + takes);
        }
        Ok(())
    }

    /// StopDiskReplicaGroup.
    pub fn stop_group(&mut self, region: &str, id: &str, now: i64) -> Result<(), Failure> {
        let group = self.group_for_operation((region, id), GroupOperation::Stop, now)?;
        if !matches!(group.status, ReplicaStatus::Stopping | ReplicaStatus::Stopped) {
            self.change(group, ReplicaStatus::Stopping, ReplicaStatus::Stopped, now + self.rules.delay_ms);
        }
        Ok(())
    }

    /// FailoverDiskReplicaGroup, in the region of the secondary site. Keeps the last recovery point.
    pub fn failover_group(&mut self, region: &str, id: &str, now: i64) -> Result<(), Failure> {
        let group = self.group_for_operation((region, id), GroupOperation::Failover, now)?;
        let pairs: Vec<_> = group.pairs_in(&self.pairs).cloned().collect();
        if !self.rules.failover_before_first_copy && pairs.iter().any(|pair| !pair.synced) {
            // The documentation requires the first full copy; the code is inferred.
            return Err(Failure::invalid_status());
        }
        if !matches!(group.status, ReplicaStatus::Failovering | ReplicaStatus::Failovered) {
            self.report_openings("FailoverDiskReplicaGroup", &pairs);
            self.change(group, ReplicaStatus::Failovering, ReplicaStatus::Failovered, now + self.rules.delay_ms);
        }
        Ok(())
    }

    /// ReprotectDiskReplicaGroup: reverses replication, or cancels the failover at once (`reverse` false).
    pub fn reprotect_group(&mut self, region: &str, id: &str, reverse: bool, now: i64) -> Result<(), Failure> {
        let mut group = self.group_for_operation((region, id), GroupOperation::Reprotect, now)?;
        if !reverse {
            group.transition = None;
            group.set_status(ReplicaStatus::Stopped, &mut self.pairs);
            self.groups.insert(group.id.clone(), group);
            self.settle();
            return Ok(());
        }
        if let Some(pair) = group.pairs_in(&self.pairs).find(|pair| self.attached.contains(&pair.source_disk)) {
            // The documentation requires detached primary disks; the code is inferred.
            let message = format!("The disk {} must be detached from its instance first.", pair.source_disk);
            return Err(Failure::operation_refused(message));
        }
        self.change(group, ReplicaStatus::Reprotecting, ReplicaStatus::Stopped, now + self.rules.delay_ms);
        Ok(())
    }
}
