//! Of several candidates for a lease never two work at once, under any delays, losses and stops.
#![allow(clippy::expect_used, reason = "a test that cannot go on ends and says why")]

use std::time::{Duration, Instant};

use disaster_recovery_operator::leadership::election::{Election, LeaseState, LeaseWrite, Timing};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const TIMING: Timing = Timing {
    lease_duration: Duration::from_secs(15),
    renew_deadline: Duration::from_secs(10),
    retry_period: Duration::from_secs(2),
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What the API server has: a write against another version than the one it has is refused.
#[derive(Default)]
struct Server {
    lease: Option<Lease>,
    version: u64,
}

impl Server {
    fn write(&mut self, made: &LeaseWrite) -> Option<Lease> {
        let lease = match (made, &self.lease) {
            (LeaseWrite::Create(lease), None) => lease,
            (LeaseWrite::Replace(lease), Some(there))
                if lease.metadata.resource_version == there.metadata.resource_version =>
            {
                lease
            }
            (LeaseWrite::Create(_) | LeaseWrite::Replace(_) | LeaseWrite::Wait, _) => return None,
        };
        self.version += 1;
        let mut lease = (**lease).clone();
        lease.metadata.resource_version = Some(self.version.to_string());
        self.lease = Some(lease);
        self.lease.clone()
    }

    fn spec(&self) -> LeaseSpec {
        self.lease.clone().and_then(|lease| lease.spec).expect("there is a lease")
    }
}

/// One attempt without any delay.
fn attempt(candidate: &mut Election, server: &mut Server, now: Instant) {
    candidate.observe(server.lease.clone(), now);
    let made = candidate.next_write(now, Timestamp::UNIX_EPOCH);
    if let Some(lease) = server.write(&made) {
        candidate.record_write(lease, now, now);
    }
}

fn leads(candidate: &Election, now: Instant) -> bool {
    matches!(candidate.state(now), LeaseState::Holder { .. })
}

#[test]
fn first_candidate_leads_second_waits_since_last_change() {
    let (mut server, start) = (Server::default(), Instant::now());
    let [mut a, mut b] = ["a", "b"].map(|identity| Election::new("lease", identity, TIMING));
    attempt(&mut a, &mut server, start);
    assert_eq!(a.state(start), LeaseState::Holder { renew_deadline: start + seconds(10) });
    assert_eq!(server.spec().holder_identity.as_deref(), Some("a"));
    assert_eq!((server.spec().lease_transitions, server.spec().lease_duration_seconds), (Some(0), Some(15)));
    // Observed late: it counts from then, not from the time that is written in it.
    let seen = start + seconds(4);
    attempt(&mut b, &mut server, seen);
    assert_eq!((b.state(seen), b.holder().as_deref()), (LeaseState::Candidate, Some("a")));
    // Seen again without a change, it is no younger.
    attempt(&mut b, &mut server, seen + seconds(14));
    assert!(!leads(&b, seen + seconds(14)));
    attempt(&mut b, &mut server, seen + seconds(15));
    assert!(leads(&b, seen + seconds(15)));
    assert_eq!((server.spec().holder_identity.as_deref(), server.spec().lease_transitions), (Some("b"), Some(1)));
    // The former leader has stopped long before.
    assert_eq!(a.state(start + seconds(10)), LeaseState::Lost);
}

#[test]
fn renewal_keeps_acquire_time_and_extends_from_start() {
    let (mut server, start) = (Server::default(), Instant::now());
    let [mut a, mut b] = ["a", "b"].map(|identity| Election::new("lease", identity, TIMING));
    attempt(&mut a, &mut server, start);
    let acquired = server.spec().acquire_time;
    attempt(&mut b, &mut server, start);
    let (begun, now) = (start + seconds(8), start + seconds(9));
    let made = a.next_write(begun, Timestamp::from_second(8).expect("a time"));
    let lease = server.write(&made).expect("it is taken");
    a.record_write(lease, begun, now);
    assert_eq!(a.state(now), LeaseState::Holder { renew_deadline: start + seconds(18) });
    assert_eq!((server.spec().acquire_time, server.spec().lease_transitions), (acquired, Some(0)));
    for second in 9..24 {
        attempt(&mut b, &mut server, start + seconds(second));
    }
    assert!(!leads(&b, start + seconds(23)));
    attempt(&mut b, &mut server, start + seconds(24));
    assert!(leads(&b, start + seconds(24)));
}

#[test]
fn only_the_holder_releases_and_lease_is_free() {
    let (mut server, now) = (Server::default(), Instant::now());
    let [mut a, mut b] = ["a", "b"].map(|identity| Election::new("lease", identity, TIMING));
    attempt(&mut a, &mut server, now);
    attempt(&mut b, &mut server, now);
    assert_eq!(b.released(Timestamp::UNIX_EPOCH), None);
    let free = a.released(Timestamp::UNIX_EPOCH).expect("it is its own");
    server.write(&LeaseWrite::Replace(Box::new(free))).expect("it is taken");
    assert_eq!(server.spec().holder_identity.as_deref(), Some(""));
    attempt(&mut b, &mut server, now + seconds(1));
    assert!(leads(&b, now + seconds(1)));
    assert_eq!(server.spec().lease_transitions, Some(1));
}

#[test]
fn deleted_lease_is_waited_for() {
    let (mut server, start) = (Server::default(), Instant::now());
    let [mut a, mut b] = ["a", "b"].map(|identity| Election::new("lease", identity, TIMING));
    attempt(&mut a, &mut server, start);
    attempt(&mut b, &mut server, start);
    server.lease = None;
    attempt(&mut b, &mut server, start + seconds(1));
    assert!(!leads(&b, start + seconds(1)));
    attempt(&mut a, &mut server, start + seconds(2));
    assert!(leads(&a, start + seconds(2)), "its holder makes it again");
    server.lease = None;
    attempt(&mut b, &mut server, start + seconds(15));
    assert!(leads(&b, start + seconds(15)), "but it does not wait for ever");
}

#[test]
fn removed_holder_is_waited_for() {
    let (mut server, start) = (Server::default(), Instant::now());
    let [mut a, mut b] = ["a", "b"].map(|identity| Election::new("lease", identity, TIMING));
    attempt(&mut a, &mut server, start);
    attempt(&mut b, &mut server, start);
    let lease = server.lease.as_mut().expect("there is a lease");
    lease.spec.as_mut().expect("it has a spec").holder_identity = None;
    attempt(&mut b, &mut server, start + seconds(1));
    assert!(!leads(&b, start + seconds(1)), "its holder may not know yet");
    attempt(&mut b, &mut server, start + seconds(15));
    assert!(leads(&b, start + seconds(15)));
    assert_eq!(a.state(start + seconds(10)), LeaseState::Lost);
}

#[test]
fn leader_that_finds_another_holder_stops() {
    let (mut server, now) = (Server::default(), Instant::now());
    let mut a = Election::new("lease", "a", TIMING);
    attempt(&mut a, &mut server, now);
    let lease = server.lease.as_mut().expect("there is a lease");
    lease.spec.as_mut().expect("it has a spec").holder_identity = Some("b".into());
    attempt(&mut a, &mut server, now + seconds(2));
    assert_eq!(a.state(now + seconds(2)), LeaseState::Lost);
}

#[test]
fn lost_answer_is_found_at_next_attempt() {
    let (mut server, now) = (Server::default(), Instant::now());
    let mut a = Election::new("lease", "a", TIMING);
    server.write(&a.next_write(now, Timestamp::UNIX_EPOCH)).expect("it is made");
    assert_eq!(a.state(now), LeaseState::Candidate);
    attempt(&mut a, &mut server, now + seconds(2));
    assert_eq!(a.state(now + seconds(2)), LeaseState::Holder { renew_deadline: now + seconds(12) });
    assert_eq!(server.spec().lease_transitions, Some(0));
}

#[test]
fn pauses_are_positive_and_end_with_the_lease() {
    let (mut server, start) = (Server::default(), Instant::now());
    let [mut a, mut b] = ["a", "b"].map(|identity| Election::new("lease", identity, TIMING));
    assert_eq!(b.retry_delay(start, 0.0), seconds(2));
    assert_eq!(b.retry_delay(start, 1.0), Duration::from_millis(2400));
    attempt(&mut a, &mut server, start);
    attempt(&mut b, &mut server, start);
    assert_eq!(a.retry_delay(start, 1.0), seconds(2));
    assert_eq!(a.retry_delay(start + seconds(9), 1.0), seconds(1), "no longer than it leads");
    assert_eq!(b.retry_delay(start + seconds(14), 1.0), seconds(1));
    assert_eq!(b.retry_delay(start + Duration::from_millis(14_999), 1.0), Duration::from_millis(200));
    assert_eq!(b.retry_delay(start + seconds(15), 0.0), seconds(2), "and it is free: the API server fails");
}

#[test]
fn timings_that_leave_no_margin_are_refused() {
    assert_eq!(TIMING.check(), Ok(()));
    let with = |change: fn(&mut Timing)| {
        let mut timing = TIMING;
        change(&mut timing);
        timing.check().expect_err("it is refused")
    };
    assert!(with(|it| it.lease_duration = seconds(11)).contains("longer than the renew deadline, by the retry period"));
    assert!(with(|it| it.renew_deadline = Duration::from_millis(2400)).contains("1.2 times the retry period"));
    assert!(with(|it| it.retry_period = Duration::ZERO).contains("more than nothing"));
    assert!(with(|it| it.lease_duration = Duration::from_millis(15_500)).contains("whole seconds"));
}

/// What a candidate waits for.
enum Waiting {
    /// Its next attempt.
    Pause,
    /// The answer to a read: what the server had.
    Read(Option<Lease>),
    /// The answer to a write, or that none comes.
    Write,
    /// Nothing more: a write that was begun then was answered so.
    Wrote(Option<Lease>, Instant),
}

/// A candidate in the course of its attempts, as those of [`disaster_recovery_operator::leadership::Candidate`].
struct Process {
    election: Election,
    /// Whether it believes to lead.
    leading: bool,
    waiting: Waiting,
    /// Whether the attempt read the lease already.
    read: bool,
    /// Until when it waits, in ms.
    until: u64,
    /// Its last write: answers to others are not waited for any more.
    ticket: usize,
}

/// A write on its way to the server.
struct Sent {
    arrives: u64,
    made: LeaseWrite,
    by: usize,
    ticket: usize,
    begun: Instant,
    /// How long its answer takes.
    answer: u64,
}

/// No answer is waited for longer, in ms.
const CALL_DEADLINE: u64 = 5_000;

/// Three candidates, two minutes of troubles and two without, in milliseconds: which identity might work when.
fn run(seed: u64) -> (Vec<(String, Instant, Instant)>, Instant) {
    const TROUBLE: u64 = 120_000;
    let (mut random, mut server, start) = (StdRng::seed_from_u64(seed), Server::default(), Instant::now());
    let at = |ms: u64| start + Duration::from_millis(ms);
    let new = |number: usize, epoch: usize, until: u64| Process {
        election: Election::new("lease", &format!("{number}/{epoch}"), TIMING),
        leading: false,
        waiting: Waiting::Pause,
        read: false,
        until,
        ticket: 0,
    };
    let mut all: Vec<_> = (0..3).map(|number| new(number, 0, number as u64)).collect();
    let (mut epochs, mut tickets) = ([0; 3], 0);
    let (mut sent, mut worked): (Vec<Sent>, Vec<(String, Instant, Instant)>) = (vec![], vec![]);
    for now in 0..2 * TROUBLE {
        while let Some(first) = sent.iter().position(|it| it.arrives <= now) {
            let Sent { made, by, ticket, begun, answer, .. } = sent.swap_remove(first);
            let written = server.write(&made);
            let process = &mut all[by];
            if process.ticket == ticket && matches!(process.waiting, Waiting::Write) && now + answer < process.until {
                (process.waiting, process.until) = (Waiting::Wrote(written, begun), now + answer);
            }
        }
        let trouble = now < TROUBLE;
        let delay = |random: &mut StdRng| match trouble && random.random_ratio(1, 5) {
            true => random.random_range(1..8_000),
            false => random.random_range(1..50),
        };
        for number in 0..all.len() {
            let process = &mut all[number];
            if process.until > now {
                continue;
            }
            // Stopped, anywhere; the answer is there when it continues.
            if trouble && random.random_ratio(1, 30) {
                process.until = now + random.random_range(1..30_000);
                continue;
            }
            // A leader waits for nothing beyond the renew deadline.
            let lead_ends = match process.election.state(at(now)) {
                LeaseState::Holder { renew_deadline } => (renew_deadline - start).as_millis() as u64,
                LeaseState::Candidate => u64::MAX,
                LeaseState::Lost => {
                    // It ends, and another begins.
                    epochs[number] += 1;
                    *process = new(number, epochs[number], now + 1);
                    continue;
                }
            };
            let mut write = false;
            match std::mem::replace(&mut process.waiting, Waiting::Pause) {
                Waiting::Pause if process.leading => (process.read, write) = (false, true),
                Waiting::Pause => {
                    let answer = delay(&mut random);
                    (process.read, process.until) = (true, now + answer.min(CALL_DEADLINE));
                    if answer < CALL_DEADLINE {
                        process.waiting = Waiting::Read(server.lease.clone());
                        continue;
                    }
                }
                Waiting::Read(lease) => {
                    process.election.observe(lease, at(now));
                    write = true;
                }
                // Another candidate wrote it meanwhile: a leader reads it again immediately.
                Waiting::Wrote(None, _) if process.leading && !process.read => {
                    process.read = true;
                    process.waiting = Waiting::Read(server.lease.clone());
                    process.until = (now + delay(&mut random)).min(lead_ends);
                    continue;
                }
                Waiting::Wrote(Some(lease), begun) => process.election.record_write(lease, begun, at(now)),
                Waiting::Wrote(None, _) | Waiting::Write => {}
            }
            let made = process.election.next_write(at(now), Timestamp::from_millisecond(now as i64).expect("a time"));
            if write && made != LeaseWrite::Wait {
                tickets += 1;
                let (arrives, answer) = (now + delay(&mut random), delay(&mut random));
                sent.push(Sent { arrives, made, by: number, ticket: tickets, begun: at(now), answer });
                (process.ticket, process.waiting) = (tickets, Waiting::Write);
                process.until = (now + CALL_DEADLINE).min(lead_ends);
                continue;
            }
            if let LeaseState::Holder { renew_deadline } = process.election.state(at(now)) {
                process.leading = true;
                worked.push((format!("{number}/{}", epochs[number]), at(now), renew_deadline));
            }
            process.until = now + 1 + process.election.retry_delay(at(now), random.random()).as_millis() as u64;
        }
    }
    (worked, at(2 * TROUBLE))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn at_most_one_leads_and_eventually_one(seed: u64) {
        let (mut worked, end) = run(seed);
        worked.sort_by_key(|it| it.1);
        let mut latest: Option<(String, Instant)> = None;
        for (who, from, until) in worked {
            if let Some((before, end)) = &latest {
                prop_assert!(*before == who || *end <= from, "{before} may work for {:?} after {who} began", *end - from);
            }
            let end = latest.filter(|it| it.0 == who).map_or(until, |it| it.1.max(until));
            latest = Some((who, end));
        }
        let (_, last) = latest.expect("one candidate led");
        prop_assert!(last > end, "no candidate leads at the end");
    }
}
