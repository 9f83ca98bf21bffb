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
mod tests {
    use std::collections::VecDeque;

    use super::*;

    impl Job for u32 {
        type Owner = u32;

        /// Each pair has an owner.
        fn owner(&self) -> u32 {
            self / 2
        }

        /// Each thousand is a tenant; the third has all that follow.
        fn tenant(&self) -> &str {
            ["a", "b", "c"][(*self as usize / 1000).min(2)]
        }
    }

    type Jobs = Agenda<u32, &'static str>;

    const PLACES: Places = Places { all: 16, first: 8, renewals: 14 };

    fn agenda() -> Jobs {
        Agenda::new(PLACES)
    }

    fn at(s: i64) -> Timestamp {
        Timestamp::from_second(1_740_000_000 + s).unwrap_or_default()
    }

    /// A job of a lane that is due at one time, and renews evidence until another.
    fn due(lane: &'static str, s: i64, expires: i64) -> Due<&'static str> {
        Due { at: at(s), expires: at(expires), renews: true, lane: Some(lane) }
    }

    fn timer(s: i64) -> Due<&'static str> {
        Due { at: at(s), expires: at(s), renews: true, lane: None }
    }

    #[test]
    fn job_begins_when_it_is_due() {
        let mut jobs = agenda();
        jobs.set(1, due("a", 10, 20));
        jobs.set(2, timer(5));
        assert_eq!((jobs.next(), jobs.at(&1), jobs.at(&3)), (Some(at(5)), Some(at(10)), None));
        assert_eq!([4, 5, 9, 10, 11].map(|s| jobs.begin(at(s))), [vec![], vec![2], vec![], vec![1], vec![]]);
        assert_eq!((jobs.next(), jobs.runs(&1), jobs.runs(&2)), (None, true, true));
        jobs.end(&1);
        assert!(!jobs.runs(&1));
    }

    #[test]
    fn last_time_of_job_counts() {
        type Change = fn(&mut Jobs);
        let changes: [(&str, Change, [Vec<u32>; 3]); 5] = [
            ("as it was", |jobs| jobs.set(1, due("a", 10, 10)), [vec![], vec![1], vec![]]),
            ("earlier", |jobs| jobs.set(1, due("a", 5, 10)), [vec![1], vec![], vec![]]),
            ("later", |jobs| jobs.set(1, due("a", 15, 15)), [vec![], vec![], vec![1]]),
            ("another lane", |jobs| jobs.set(1, due("b", 10, 10)), [vec![], vec![1], vec![]]),
            ("removed", |jobs| jobs.remove(&1), [vec![], vec![], vec![]]),
        ];
        for (name, change, expected) in changes {
            let mut jobs = agenda();
            jobs.set(1, due("a", 10, 10));
            change(&mut jobs);
            assert_eq!([5, 10, 15].map(|s| jobs.begin(at(s))), expected, "{name}");
        }
    }

    #[test]
    fn lane_runs_limited_jobs_by_urgency() {
        let mut jobs = agenda();
        // The later a job is due, the more urgent it is.
        for job in 0..40 {
            jobs.set(job, due("a", i64::from(job), 1000 - i64::from(job)));
        }
        assert_eq!(jobs.begin(at(50)), (26..40).rev().collect::<Vec<_>>());
        assert_eq!(jobs.begin(at(50)), Vec::<u32>::new(), "the lane is full");
        assert_eq!(jobs.next(), None, "the end of a job, not a time, begins the next one");
        jobs.end(&30);
        assert_eq!(jobs.begin(at(50)), [25]);
        jobs.end(&25);
        jobs.end(&26);
        // One that is due only now is more urgent than those that wait.
        jobs.set(99, due("a", 60, 1));
        assert_eq!((jobs.begin(at(59)), jobs.begin(at(60))), (vec![24, 23], vec![]));
        jobs.end(&24);
        assert_eq!(jobs.begin(at(60)), [99]);
    }

    #[test]
    fn blocked_lane_delays_no_other() {
        let mut jobs = agenda();
        for job in 0..100 {
            jobs.set(job, due("a", 0, 0));
        }
        assert_eq!(jobs.begin(at(0)).len(), PLACES.renewals);
        jobs.set(200, due("b", 1, 900));
        jobs.set(201, timer(1));
        assert_eq!(jobs.begin(at(1)), [201, 200]);
        assert_eq!(jobs.begin(at(1_000)), Vec::<u32>::new());
    }

    #[test]
    fn tenant_with_many_jobs_delays_no_other() {
        let mut jobs = agenda();
        // Those of the first tenant are more urgent.
        (0..500).for_each(|job| jobs.set(job, due("a", 0, 0)));
        assert_eq!(jobs.begin(at(0)).len(), PLACES.renewals);
        (1000..1500).chain(2000..2002).for_each(|job| jobs.set(job, due("a", 1, 900)));
        assert_eq!(jobs.begin(at(1)), Vec::<u32>::new());
        let mut begun = Vec::new();
        for ended in 0..6 {
            jobs.end(&ended);
            begun.extend(jobs.begin(at(1)));
        }
        assert_eq!(begun, [1000, 2000, 1001, 2001, 1002, 1003], "the tenant with the fewest running jobs goes first");
        // Alone again, the first tenant takes all places.
        (6..14).chain([1000, 1001, 1002, 1003, 2000, 2001]).for_each(|job| jobs.end(&job));
        (1004..1500).for_each(|job| jobs.remove(&job));
        assert_eq!(jobs.begin(at(2)), (14..28).collect::<Vec<_>>());
    }

    #[test]
    fn free_place_goes_past_two_thousand_jobs() {
        let mut jobs = agenda();
        // Reads of the busy tenant are due again as soon as they end, and more urgent than those of the other.
        (2000..4000).for_each(|job| jobs.set(job, due("a", 0, 0)));
        let mut running: VecDeque<_> = jobs.begin(at(0)).into();
        for job in 0..20 {
            let now = at(1 + i64::from(job));
            jobs.set(job, due("a", 1 + i64::from(job), 900));
            assert_eq!(jobs.begin(now), Vec::<u32>::new(), "the lane is full");
            let ended = running.pop_front().unwrap_or_default();
            jobs.end(&ended);
            jobs.set(ended, due("a", 0, 0));
            assert_eq!(jobs.begin(now), [job], "the first free place");
            jobs.end(&job);
            running.extend(jobs.begin(now));
            assert_eq!(running.len(), PLACES.renewals, "the busy tenant takes what the other leaves");
        }
    }

    #[test]
    fn reads_without_end_leave_places_to_renewals() {
        let mut jobs = agenda();
        let first = |s| Due { renews: false, ..due("a", s, s) };
        (0..40).for_each(|job| jobs.set(job, first(0)));
        assert_eq!(jobs.begin(at(0)).len(), PLACES.first);
        (100..140).for_each(|job| jobs.set(job, due("a", 1, 50)));
        assert_eq!(jobs.begin(at(1)), (100..108).collect::<Vec<_>>());
        // Nor do renewals take all places.
        (0..8).for_each(|job| jobs.end(&job));
        assert_eq!(jobs.begin(at(1)), [108, 109, 110, 111, 112, 113, 8, 9]);
    }

    #[test]
    fn job_never_runs_twice_at_once() {
        for lane in [Some("a"), None] {
            let when = |s| Due { at: at(s), expires: at(s), renews: true, lane };
            let mut jobs = agenda();
            jobs.set(1, when(0));
            assert_eq!(jobs.begin(at(0)), [1], "{lane:?}");
            jobs.set(1, when(1));
            assert_eq!(jobs.begin(at(5)), Vec::<u32>::new(), "{lane:?}");
            jobs.end(&1);
            jobs.set(1, when(6));
            assert_eq!((jobs.begin(at(6)), jobs.begin(at(9))), (vec![1], vec![]), "{lane:?}");
        }
    }

    #[test]
    fn waiting_job_begins_after_its_own_end() {
        let mut jobs = agenda();
        jobs.set(1, due("a", 0, 0));
        jobs.begin(at(0));
        jobs.set(1, due("a", 1, 1));
        jobs.set(2, due("a", 1, 5));
        assert_eq!(jobs.begin(at(1)), [2], "the running one holds its place for no other");
        jobs.end(&1);
        assert_eq!(jobs.begin(at(1)), [1]);
    }

    #[test]
    fn waiting_job_can_move_or_leave() {
        let mut jobs = agenda();
        for job in 0..20 {
            jobs.set(job, due("a", 0, i64::from(job)));
        }
        assert_eq!(jobs.begin(at(0)).len(), PLACES.renewals);
        jobs.remove(&14);
        jobs.set(17, due("a", 100, 100));
        jobs.set(18, due("b", 0, 0));
        assert_eq!(jobs.begin(at(0)), [18], "in another lane");
        (0..4).for_each(|job| jobs.end(&job));
        assert_eq!((jobs.begin(at(0)), jobs.at(&17)), (vec![15, 16, 19], Some(at(100))));
        assert_eq!(jobs.begin(at(100)), [17]);
    }

    #[test]
    fn end_of_job_frees_lane_that_it_began_in() {
        let mut jobs = agenda();
        for job in 0..17 {
            jobs.set(job, due("a", 0, i64::from(job)));
        }
        jobs.begin(at(0));
        // Its object has another account now.
        jobs.set(0, due("b", 0, 0));
        assert_eq!(jobs.begin(at(0)), Vec::<u32>::new());
        jobs.end(&0);
        assert_eq!(jobs.begin(at(0)), [14, 0]);
        jobs.end(&0);
        jobs.end(&0);
        jobs.set(50, due("a", 0, 0));
        assert_eq!(jobs.begin(at(0)), Vec::<u32>::new(), "a second end frees nothing");
    }
}
