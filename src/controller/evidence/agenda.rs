//! The queue of timed jobs: what is due when, and how many jobs of one lane run at a time. Pure. A lane has the jobs of one account
//! and region, so that a region or credentials that do not answer delay no others. Where more jobs are due than a lane has places, the
//! tenant with the fewest running jobs goes first, so that one with many delays no other.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::packed::ShortTime;

/// The places of each lane.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// Maximum number of concurrent jobs.
    pub all: usize,
    /// Maximum number of them that renew no valid evidence. Reads that never end must not keep evidence from being renewed.
    pub first: usize,
    /// Maximum number of them that renew valid evidence, so that new evidence is gained as well.
    pub renewals: usize,
}

/// A job of a queue.
pub trait Job: Ord + Clone {
    /// What has the job. The few jobs of one owner need little memory.
    type Owner: Ord + Clone;

    /// The owner of the job.
    fn owner(&self) -> Self::Owner;

    /// The tenant who competes with others for the places of a lane.
    fn tenant(&self) -> &str;
}

/// When a job is due, and how urgent it is among the due jobs of its lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due<L> {
    /// The time from which the job may run.
    pub at: Timestamp,
    /// The expiry of the evidence that the job renews. The earliest goes first.
    pub expires: Timestamp,
    /// Whether the job renews evidence that is valid when the job is due.
    pub renews: bool,
    /// The lane; `None` for a job that makes no cloud call.
    pub lane: Option<L>,
}

/// A job that waits for its time, or for a place in its lane.
#[derive(Clone, Debug)]
struct Entry<J, L> {
    job: J,
    /// As in [`Due`].
    at: ShortTime,
    expires: ShortTime,
    renews: bool,
    lane: Option<L>,
    waits_in_lane: bool,
}

impl<J: Job, L: Clone> Entry<J, L> {
    fn new(job: J, due: Due<L>) -> Self {
        let Due { at, expires, renews, lane } = due;
        Self { job, at: at.into(), expires: expires.into(), renews, lane, waits_in_lane: false }
    }

    fn due(&self) -> Due<L> {
        Due { at: self.at.into(), expires: self.expires.into(), renews: self.renews, lane: self.lane.clone() }
    }
}

#[derive(Clone, Debug)]
struct Lane<J> {
    places: Places,
    /// The number of running jobs, and of those among them that renew nothing.
    running: usize,
    first: usize,
    /// The tenants with running or due jobs.
    tenants: BTreeMap<String, Tenant<J>>,
}

/// The jobs of one tenant in a lane.
#[derive(Clone, Debug)]
struct Tenant<J> {
    running: usize,
    /// The due jobs that renew valid evidence, and those that do not, by urgency.
    renewals: BTreeSet<(Timestamp, J)>,
    others: BTreeSet<(Timestamp, J)>,
}

impl<J> Tenant<J> {
    fn waiting(&self, renews: bool) -> &BTreeSet<(Timestamp, J)> {
        if renews { &self.renewals } else { &self.others }
    }

    fn waiting_mut(&mut self, renews: bool) -> &mut BTreeSet<(Timestamp, J)> {
        if renews { &mut self.renewals } else { &mut self.others }
    }

    fn is_idle(&self) -> bool {
        self.running == 0 && self.renewals.is_empty() && self.others.is_empty()
    }
}

impl<J: Job> Lane<J> {
    fn new(places: Places) -> Self {
        Self { places, running: 0, first: 0, tenants: BTreeMap::new() }
    }

    fn add(&mut self, renews: bool, expires: Timestamp, job: J) {
        let new = || Tenant { running: 0, renewals: BTreeSet::new(), others: BTreeSet::new() };
        let tenant = self.tenants.entry(job.tenant().to_owned()).or_insert_with(new);
        tenant.waiting_mut(renews).insert((expires, job));
    }

    fn remove(&mut self, renews: bool, expires: Timestamp, job: &J) {
        if let Some(tenant) = self.tenants.get_mut(job.tenant()) {
            tenant.waiting_mut(renews).remove(&(expires, job.clone()));
        }
    }

    /// The next due job that is not running, of the tenant with the fewest running jobs.
    fn take(&mut self, renews: bool, is_running: impl Fn(&J) -> bool) -> Option<J> {
        if !self.has_place(renews) {
            return None;
        }
        // A job that runs begins again only after its end.
        let ready = |tenant: &Tenant<J>| tenant.waiting(renews).iter().find(|(_, job)| !is_running(job)).map(|it| it.0);
        let candidates = self.tenants.values_mut().filter_map(|it| Some((it.running, ready(it)?, it)));
        let (_, _, tenant) = candidates.min_by_key(|(running, expires, _)| (*running, *expires))?;
        let waiting = tenant.waiting(renews);
        let taken = waiting.iter().find(|(_, job)| !is_running(job)).cloned()?;
        tenant.waiting_mut(renews).remove(&taken);
        tenant.running += 1;
        (self.running, self.first) = (self.running + 1, self.first + usize::from(!renews));
        Some(taken.1)
    }

    fn end(&mut self, renews: bool, job: &J) {
        self.running = self.running.saturating_sub(1);
        self.first = self.first.saturating_sub(usize::from(!renews));
        if let Some(tenant) = self.tenants.get_mut(job.tenant()) {
            tenant.running = tenant.running.saturating_sub(1);
        }
    }

    fn has_place(&self, renews: bool) -> bool {
        let (running, max) =
            if renews { (self.running - self.first, self.places.renewals) } else { (self.first, self.places.first) };
        self.running < self.places.all && running < max
    }

    /// Whether nothing runs or waits. Keeps nothing of tenants without jobs.
    fn is_idle(&mut self) -> bool {
        self.tenants.retain(|_, tenant| !tenant.is_idle());
        self.tenants.is_empty()
    }
}

/// All jobs of a kind. A job is scheduled at most once, and does not run twice at the same time.
#[derive(Clone, Debug)]
pub struct Agenda<J: Job, L> {
    places: Places,
    /// The jobs that wait, by their owner.
    entries: BTreeMap<J::Owner, Vec<Entry<J, L>>>,
    /// The owners with a job that is not due, and the time of the first of these jobs.
    times: BTreeSet<(ShortTime, J::Owner)>,
    lanes: BTreeMap<L, Lane<J>>,
    /// The lane of each running job, and whether the job renews valid evidence.
    running: BTreeMap<J, Option<(L, bool)>>,
}

impl<J: Job, L: Ord + Clone> Agenda<J, L> {
    /// Without jobs. Each lane has these places.
    pub fn new(places: Places) -> Self {
        let (entries, times, lanes, running) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        Self { places, entries, times, lanes, running }
    }

    /// Schedules a job, or moves it.
    pub fn set(&mut self, job: J, due: Due<L>) {
        if self.entry(&job).is_some_and(|entry| entry.due() == due) {
            return;
        }
        self.remove(&job);
        let owner = job.owner();
        self.change(&owner, |entries| {
            entries.reserve_exact(1);
            entries.push(Entry::new(job, due));
        });
    }

    /// Drops a job. One that runs ends by itself.
    pub fn remove(&mut self, job: &J) {
        self.retain(&job.owner(), |it| it != job);
    }

    /// Drops the other jobs of an owner. Those that run end by themselves.
    pub fn retain(&mut self, owner: &J::Owner, keep: impl Fn(&J) -> bool) {
        let gone = self.change(owner, |entries| entries.extract_if(.., |it| !keep(&it.job)).collect::<Vec<_>>());
        for entry in gone.into_iter().filter(|it| it.waits_in_lane) {
            if let Some(lane) = entry.lane.as_ref().and_then(|lane| self.lanes.get_mut(lane)) {
                lane.remove(entry.renews, entry.expires.into(), &entry.job);
            }
        }
    }

    fn entry(&self, job: &J) -> Option<&Entry<J, L>> {
        self.entries.get(&job.owner())?.iter().find(|it| it.job == *job)
    }

    /// Changes the waiting jobs of an owner.
    fn change<R>(&mut self, owner: &J::Owner, change: impl FnOnce(&mut Vec<Entry<J, L>>) -> R) -> R {
        let first = |entries: &[Entry<J, L>]| entries.iter().filter(|it| !it.waits_in_lane).map(|it| it.at).min();
        let entries = self.entries.entry(owner.clone()).or_default();
        let before = first(entries);
        let result = change(entries);
        let after = first(entries);
        if entries.is_empty() {
            self.entries.remove(owner);
        }
        if before != after {
            if let Some(at) = before {
                self.times.remove(&(at, owner.clone()));
            }
            self.times.extend(after.map(|at| (at, owner.clone())));
        }
        result
    }

    /// The time of a scheduled job.
    pub fn at(&self, job: &J) -> Option<Timestamp> {
        self.entry(job).map(|entry| entry.at.into())
    }

    /// The time of the next job that is not due.
    pub fn next(&self) -> Option<Timestamp> {
        self.times.first().map(|(at, _)| (*at).into())
    }

    /// The jobs that begin at `now`: those that are due and have a place in their lane.
    pub fn begin(&mut self, now: Timestamp) -> Vec<J> {
        // The end of a running job schedules the object's jobs again.
        let mut begun: Vec<_> =
            self.take_unlaned(now).into_iter().filter(|job| self.running.insert(job.clone(), None).is_none()).collect();
        while let Some((at, owner)) = self.times.first().cloned()
            && at <= ShortTime::from(now)
        {
            let due = self.change(&owner, |entries| {
                let due = entries.iter_mut().filter(|it| !it.waits_in_lane && it.at <= now.into());
                due.map(|it| {
                    it.waits_in_lane = true;
                    (it.due(), it.job.clone())
                })
                .collect::<Vec<_>>()
            });
            for (due, job) in due {
                let Some(lane) = due.lane else { continue };
                let lane = self.lanes.entry(lane).or_insert_with(|| Lane::new(self.places));
                lane.add(due.renews, due.expires, job);
            }
        }
        let mut taken = Vec::new();
        for (name, lane) in &mut self.lanes {
            for renews in [true, false] {
                while let Some(job) = lane.take(renews, |job| self.running.contains_key(job)) {
                    self.running.insert(job.clone(), Some((name.clone(), renews)));
                    taken.push(job);
                }
            }
        }
        self.lanes.retain(|_, lane| !lane.is_idle());
        for job in &taken {
            // Its lane does not have it any more.
            self.change(&job.owner(), |entries| entries.retain(|it| it.job != *job));
        }
        begun.extend(taken);
        begun
    }

    /// The jobs without a lane that begin at `now`.
    pub fn begin_unlaned(&mut self, now: Timestamp) -> Vec<J> {
        let due = self.take_unlaned(now);
        self.running.extend(due.iter().map(|job| (job.clone(), None)));
        due
    }

    /// Takes the jobs without a lane that are due at `now`.
    fn take_unlaned(&mut self, now: Timestamp) -> Vec<J> {
        let now = ShortTime::from(now);
        let is_due = |it: &Entry<J, L>| it.lane.is_none() && it.at <= now;
        let owners = self.times.iter().take_while(|(at, _)| *at <= now).map(|(_, owner)| owner);
        let owners: Vec<_> =
            owners.filter(|owner| self.entries.get(owner).is_some_and(|it| it.iter().any(is_due))).cloned().collect();
        let take = |owner| self.change(owner, |entries| entries.extract_if(.., |it| is_due(it)).collect::<Vec<_>>());
        owners.iter().flat_map(take).map(|it| it.job).collect()
    }

    /// Ends a job that began. Its lane has a place again.
    pub fn end(&mut self, job: &J) {
        if let Some(Some((lane, renews))) = self.running.remove(job)
            && let Some(lane) = self.lanes.get_mut(&lane)
        {
            lane.end(renews, job);
        }
    }

    /// The running jobs.
    pub fn running(&self) -> impl Iterator<Item = &J> {
        self.running.keys()
    }

    /// Whether a job runs.
    pub fn runs(&self, job: &J) -> bool {
        self.running.contains_key(job)
    }
}

#[cfg(test)]
mod tests;
