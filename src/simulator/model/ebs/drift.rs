//! Changes of disks, groups and drills behind the operator's back.

use serde::Deserialize;

use super::super::failure::Failure;
use super::disks::Disks;
use super::drill::DrillStatus;
use super::status::ReplicaStatus;

/// An edit of a group; absent fields stay.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DiskGroupEdit {
    /// Its status, which then stays until the next operation.
    pub status: Option<ReplicaStatus>,
    pub group_name: Option<String>,
    pub description: Option<String>,
    /// Whether recovery time control is on.
    pub enable_rtc: Option<bool>,
    /// Whether the source disks are attached to an instance.
    pub attached: Option<bool>,
    /// Whether the destination disks are attached to an instance.
    pub standby_attached: Option<bool>,
    /// The last recovery point, s since the epoch.
    pub last_recover_point: Option<i64>,
    /// Whether the next transition fails.
    pub fail_next: Option<bool>,
}

/// An edit of a drill.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DrillEdit {
    /// Its status, which then stays until the next operation.
    pub status: Option<DrillStatus>,
    /// Whether its next transition, creation or clearing, fails.
    pub fail_next: Option<bool>,
}

impl Disks {
    /// Edits a group without any rule.
    pub fn edit_group(&mut self, id: &str, edit: DiskGroupEdit) -> Result<(), Failure> {
        let pairs: Vec<_> = self.pairs.values().filter(|pair| pair.group.as_deref() == Some(id)).cloned().collect();
        let group = self.groups.get_mut(id).ok_or_else(Failure::no_such_resource)?;
        if let Some(status) = edit.status {
            group.transition = None;
            group.points.begin_cycles(self.now);
            group.set_status(status, &mut self.pairs);
        }
        group.name = edit.group_name.or_else(|| group.name.take());
        group.description = edit.description.or_else(|| group.description.take());
        group.enable_rtc = edit.enable_rtc.unwrap_or(group.enable_rtc);
        group.fail_next = edit.fail_next.unwrap_or(group.fail_next);
        if let Some(seconds) = edit.last_recover_point {
            let point = seconds.saturating_mul(1000);
            group.last_recover_point = Some(point);
            for pair in self.pairs.values_mut().filter(|pair| pair.group.as_deref() == Some(id)) {
                pair.last_recover_point = Some(point);
            }
        }
        for pair in pairs {
            if let Some(attached) = edit.attached {
                self.attach(&pair.source_disk, attached);
            }
            if let Some(attached) = edit.standby_attached {
                self.attach(&pair.destination_disk, attached);
            }
        }
        self.settle();
        Ok(())
    }

    /// Attaches a disk to an instance, or detaches it.
    pub fn attach(&mut self, disk: &str, attached: bool) {
        if attached {
            self.attached.insert(disk.to_owned());
        } else {
            self.attached.remove(disk);
        }
    }

    /// Puts user data on a disk, on which the user writes from now on, or makes the disk blank.
    pub fn put_user_data(&mut self, disk: &str, present: bool) {
        self.contents.put(disk, present);
    }

    /// Stops or resumes new recovery points, so that lag grows.
    pub fn freeze(&mut self, frozen: bool) {
        self.frozen = frozen;
    }

    /// Deletes a group at once and keeps its pairs.
    pub fn drop_group(&mut self, id: &str) -> Result<(), Failure> {
        self.groups.remove(id).ok_or_else(Failure::no_such_resource)?;
        for pair in self.pairs.values_mut().filter(|pair| pair.group.as_deref() == Some(id)) {
            pair.group = None;
        }
        Ok(())
    }

    /// Deletes a pair at once.
    pub fn drop_pair(&mut self, id: &str) -> Result<(), Failure> {
        self.pairs.remove(id).map(|_| ()).ok_or_else(Failure::no_such_resource)
    }

    /// Edits a drill without any rule.
    pub fn edit_drill(&mut self, id: &str, edit: &DrillEdit) -> Result<(), Failure> {
        let drill = self.drills.get_mut(id).ok_or_else(Failure::no_such_resource)?;
        if let Some(status) = edit.status {
            (drill.status, drill.due) = (status, None);
        }
        drill.fail_next = edit.fail_next.unwrap_or(drill.fail_next);
        Ok(())
    }
}
