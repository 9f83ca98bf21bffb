//! The jobs of an observer, and what they have shown of each object. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::controller::access::{InventoryKey, Key};
use crate::controller::evidence::agenda::{self, Agenda, Due, Places};
use crate::controller::evidence::packed::PackedTime;
use crate::controller::inventory::Inventories;
use crate::controller::resource::{Lane, Scheduled};

/// The reads of each account and region at a time. The rate limit bounds them first, unless the cloud is slow.
const PLACES: Places = Places { all: 64, first: 32, renewals: 56 };

/// A job between reconciles.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Job<T> {
    /// Brings the status of an object up to date, when evidence expires.
    Refresh(Arc<Key>),
    /// Reads a part of the cloud side of an object.
    Read(Arc<Key>, T),
    /// Reads an inventory.
    Inventory(InventoryKey),
}

/// What has jobs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    Object(Arc<Key>),
    Inventory(InventoryKey),
}

impl<T: Ord + Clone> agenda::Job for Job<T> {
    type Owner = Owner;

    fn owner(&self) -> Owner {
        match self {
            Self::Refresh(object) | Self::Read(object, _) => Owner::Object(object.clone()),
            Self::Inventory(inventory) => Owner::Inventory(inventory.clone()),
        }
    }

    /// The namespace of the object. Inventories serve all namespaces.
    fn tenant(&self) -> &str {
        match self {
            Self::Refresh(object) | Self::Read(object, _) => &object.0,
            Self::Inventory(_) => "",
        }
    }
}

/// What the jobs of an object have shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// Whether a refresh is due although no evidence expires.
    pub(super) stale: bool,
    /// The time of the next refresh at the earliest, and the number of failed ones in a row.
    pub(super) refresh_from: PackedTime,
    pub(super) refresh_failures: u32,
    /// The number of refreshes in a row for which the cache was late.
    pub(super) cache_late: u32,
    /// The number of reads in a row that had no credentials, and the time of the next attempt.
    pub(super) blocked: (u32, PackedTime),
}

pub(super) struct State<T: Ord + Clone> {
    pub(super) agenda: Agenda<Job<T>, Arc<Lane>>,
    pub(super) objects: BTreeMap<Arc<Key>, Known>,
    /// The lanes of the jobs, each once.
    lanes: BTreeSet<Arc<Lane>>,
    pub(super) inventories: Inventories,
}

impl<T: Ord + Clone> State<T> {
    /// Without objects.
    pub(super) fn new() -> Self {
        let (objects, lanes, inventories) = (BTreeMap::new(), BTreeSet::new(), Inventories::default());
        Self { agenda: Agenda::new(PLACES), objects, lanes, inventories }
    }

    /// The key of an object, which its jobs share.
    pub(super) fn shared(&self, object: &Key) -> Arc<Key> {
        self.objects.get_key_value(object).map_or_else(|| Arc::new(object.clone()), |(key, _)| key.clone())
    }

    /// A lane, which its jobs share.
    pub(super) fn lane(&mut self, lane: Lane) -> Arc<Lane> {
        if let Some(known) = self.lanes.get(&lane) {
            return known.clone();
        }
        // Nothing is kept of lanes without jobs.
        self.lanes.retain(|it| Arc::strong_count(it) > 1);
        let lane = Arc::new(lane);
        self.lanes.insert(lane.clone());
        lane
    }

    /// Whether a read of an object is in progress.
    pub(super) fn is_read(&self, object: &Arc<Key>) -> bool {
        self.agenda.running().any(|job| matches!(job, Job::Read(read, _) if read == object))
    }

    pub(super) fn known(&mut self, object: &Key) -> &mut Known {
        let object = self.shared(object);
        self.objects.entry(object).or_default()
    }

    /// Replaces the scheduled reads of an object.
    pub(super) fn set_tasks(&mut self, object: &Arc<Key>, lane: &Lane, tasks: Vec<Scheduled<T>>) {
        let blocked = self.known(object).blocked.1.get();
        self.agenda.retain(&Owner::Object(object.clone()), |job| match job {
            Job::Read(_, scheduled) => tasks.iter().any(|it| it.task == *scheduled),
            Job::Refresh(_) | Job::Inventory(_) => true,
        });
        for it in tasks {
            let job = Job::Read(object.clone(), it.task);
            // The end of a job that runs schedules it again.
            if !self.agenda.runs(&job) {
                let at = blocked.map_or(it.due, |blocked| it.due.max(blocked));
                let renews = it.renews && blocked.is_none();
                let region = it.region.unwrap_or_else(|| lane.1.clone());
                let lane = Some(self.lane((lane.0.clone(), region)));
                self.agenda.set(job, Due { at, expires: it.expires, renews, lane });
            }
        }
    }
}
