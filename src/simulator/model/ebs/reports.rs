//! Reports of the calls that open or overwrite a disk wrongly.

use super::disks::Disks;
use super::pair::DiskPair;
use super::violation::{Violation, ViolationKind};

impl Disks {
    /// The calls that opened or overwrote a disk wrongly, in order, since the start or the last
    /// [`Disks::clear_violations`].
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Deletes all reports.
    pub fn clear_violations(&mut self) {
        self.violations.clear();
    }

    /// Reports the pairs whose destination a failover opens wrongly.
    pub(super) fn report_openings(&mut self, action: &'static str, pairs: &[DiskPair]) {
        for pair in pairs {
            match self.contents.of(&pair.destination_disk) {
                None => self.report(action, pair, ViolationKind::BlankOpened),
                Some(_) if !pair.synced => self.report(action, pair, ViolationKind::StaleOpened),
                Some(_) => {}
            }
        }
    }

    /// Reports the pairs whose destination a synchronisation overwrites wrongly.
    pub(super) fn report_copies(&mut self, action: &'static str, pairs: &[DiskPair]) {
        for pair in pairs {
            if let Some(kind) = self.contents.loss(&pair.source_disk, &pair.destination_disk) {
                self.report(action, pair, kind);
            }
        }
    }

    fn report(&mut self, action: &'static str, pair: &DiskPair, kind: ViolationKind) {
        let disk = pair.destination_disk.clone();
        self.violations.push(Violation {
            at_ms: self.now,
            action,
            group: pair.group.clone(),
            pair: pair.id.clone(),
            message: kind.message(action, &disk, &pair.id),
            disk,
            kind,
        });
    }
}
