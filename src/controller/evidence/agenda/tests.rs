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
