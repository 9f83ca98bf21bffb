//! The user data on disks: which disk holds which writes.

use std::collections::BTreeMap;

use super::violation::ViolationKind;

/// The user data on a disk: the writes of a lineage up to a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Content {
    /// The lineage: the writes on one disk from the time when the user began to write there, on top of its origin.
    lineage: usize,
    /// The time of the last write, ms since the epoch. Absent while the user writes on the disk.
    as_of_ms: Option<i64>,
}

/// The content of a disk when a lineage began on it.
#[derive(Debug, Clone, Copy)]
enum Origin {
    /// User data that no other disk holds.
    User,
    /// Nothing: a blank disk was opened.
    Blank,
    /// The copy of another disk.
    Copy(Content),
}

/// The user data on the disks of an account.
#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    /// By disk; none for a blank disk. A disk that no pair named yet is absent.
    disks: BTreeMap<String, Option<Content>>,
    /// The origin of each lineage.
    origins: Vec<Origin>,
}

impl Contents {
    /// The content of a disk; none when it is blank.
    pub(super) fn of(&self, disk: &str) -> Option<Content> {
        self.disks.get(disk).copied().flatten()
    }

    /// Adds the disks of a new pair. Of disks that no pair named yet, the source holds the user's data and the
    /// destination is blank.
    pub(super) fn add(&mut self, source: &str, destination: &str) {
        if !self.disks.contains_key(source) {
            self.begin_writes(source);
        }
        if !self.disks.contains_key(destination) {
            self.set(destination, None);
        }
    }

    /// Puts user data on a disk, on which the user writes from now on, or makes the disk blank.
    pub(super) fn put(&mut self, disk: &str, present: bool) {
        match self.of(disk) {
            _ if !present => self.set(disk, None),
            None => {
                self.disks.remove(disk);
                self.begin_writes(disk);
            }
            Some(Content { as_of_ms: Some(_), .. }) => self.begin_writes(disk),
            Some(Content { as_of_ms: None, .. }) => {}
        }
    }

    /// Copies the source as of a time over the destination.
    pub(super) fn copy(&mut self, source: &str, destination: &str, at_ms: i64) {
        let as_of = |content: Content| content.as_of_ms.map_or(at_ms, |as_of_ms| as_of_ms.min(at_ms));
        let copied = self.of(source).map(|content| Content { as_of_ms: Some(as_of(content)), ..content });
        self.set(destination, copied);
    }

    /// Opens the destination: from now on the user writes there and no longer on the source. The last write on the
    /// source is the last one that was copied with `writers_stopped`, and else is as late as the opening.
    pub(super) fn open(&mut self, source: &str, destination: &str, writers_stopped: bool, at_ms: i64) {
        let copied = self.of(destination).and_then(|content| content.as_of_ms).filter(|_| writers_stopped);
        if let Some(content) = self.of(source) {
            let as_of_ms = content.as_of_ms.or(copied).or(Some(at_ms));
            self.set(source, Some(Content { as_of_ms, ..content }));
        }
        self.begin_writes(destination);
    }

    /// Discards the writes on the destination since it was opened. From now on the user writes on the source again.
    pub(super) fn close(&mut self, source: &str, destination: &str) {
        if let Some(content) = self.of(destination) {
            let before = match self.origins.get(content.lineage) {
                Some(Origin::Copy(before)) => Some(*before),
                Some(Origin::Blank) => None,
                Some(Origin::User) | None => Some(content),
            };
            self.set(destination, before);
        }
        if let Some(content) = self.of(source) {
            self.set(source, Some(Content { as_of_ms: None, ..content }));
        }
    }

    /// The wrong that copying the source over the destination does. None when it loses no write: the source holds
    /// those of the destination, or the destination is the copy of a third disk.
    pub(super) fn loss(&self, source: &str, destination: &str) -> Option<ViolationKind> {
        let lost = self.of(destination)?;
        let Some(kept) = self.of(source) else { return Some(ViolationKind::BlankCopiedOver) };
        if self.contains(kept, lost) {
            return None;
        }
        let root = self.root(kept);
        if root == self.root(lost) {
            let is_newer = lost.as_of_ms.is_none_or(|lost| kept.as_of_ms.is_some_and(|kept| kept < lost));
            return Some(match is_newer {
                true => ViolationKind::StaleCopiedOver,
                false => ViolationKind::UnreplicatedWritesOverwritten,
            });
        }
        if matches!(self.origins.get(root), Some(Origin::Blank)) {
            return Some(ViolationKind::BlankCopiedOver);
        }
        let third = |(disk, content): (&String, &Option<Content>)| {
            disk != destination && content.is_some_and(|content| self.contains(content, lost))
        };
        (!self.disks.iter().any(third)).then_some(ViolationKind::OtherDataOverwritten)
    }

    /// Begins a lineage on a disk.
    fn begin_writes(&mut self, disk: &str) {
        let origin = match self.disks.get(disk) {
            None => Origin::User,
            Some(None) => Origin::Blank,
            Some(Some(content)) => Origin::Copy(*content),
        };
        let lineage = self.origins.len();
        self.origins.push(origin);
        self.set(disk, Some(Content { lineage, as_of_ms: None }));
    }

    fn set(&mut self, disk: &str, content: Option<Content>) {
        match self.disks.get_mut(disk) {
            Some(held) => *held = content,
            None => {
                self.disks.insert(disk.to_owned(), content);
            }
        }
    }

    /// The content, and what it was written on top of, back to the beginning.
    fn ancestry(&self, content: Content) -> impl Iterator<Item = Content> {
        std::iter::successors(Some(content), move |content| match self.origins.get(content.lineage) {
            Some(Origin::Copy(before)) => Some(*before),
            _ => None,
        })
    }

    /// The first lineage of a content.
    fn root(&self, content: Content) -> usize {
        self.ancestry(content).last().unwrap_or(content).lineage
    }

    /// Whether a content has every write of another one.
    fn contains(&self, content: Content, other: Content) -> bool {
        let is_as_late = |content: Content| {
            content.as_of_ms.is_none_or(|as_of_ms| other.as_of_ms.is_some_and(|other| other <= as_of_ms))
        };
        self.ancestry(content).any(|content| content.lineage == other.lineage && is_as_late(content))
    }
}
