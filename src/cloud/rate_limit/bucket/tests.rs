use proptest::prelude::*;

use super::*;

const MAX_WAIT: Duration = Duration::from_secs(5);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The waits of `calls` changes at one time.
fn waits(bucket: &mut Bucket, calls: usize, now: Instant) -> Vec<Duration> {
    let reserve = |_| bucket.reserve(now, Duration::from_secs(3600)).expect("soon enough");
    (0..calls).map(reserve).map(|it| it.at.saturating_duration_since(now)).collect()
}

/// The number of samples that find a free slot at one time.
fn taken(bucket: &mut Bucket, now: Instant) -> usize {
    std::iter::from_fn(|| bucket.take(now).ok()).count()
}

fn close(one: Duration, other: Duration) -> bool {
    one.abs_diff(other) < Duration::from_micros(10)
}

#[test]
fn burst_is_free_and_further_changes_wait() {
    let now = Instant::now();
    for (limit, burst) in [(135, 15), (36, 4), (90, 10), (9, 1), (1, 1)] {
        let mut bucket = Bucket::new(limit, now);
        let waits = waits(&mut bucket, burst + 3, now);
        assert!(waits[..burst].iter().all(Duration::is_zero), "{limit}: {waits:?}");
        for (position, wait) in (1..).zip(&waits[burst..]) {
            assert!(close(*wait, Duration::from_secs(position) / limit), "{limit}: {waits:?}");
        }
    }
}

#[test]
fn too_long_a_wait_takes_no_slot() {
    let now = Instant::now();
    let mut bucket = Bucket::new(9, now);
    waits(&mut bucket, 1 + 45, now);
    let wait = bucket.reserve(now, MAX_WAIT).expect_err("five seconds are taken");
    assert!(close(wait, MAX_WAIT + Duration::from_secs(1) / 9));
    assert_eq!(bucket.reserve(now, MAX_WAIT), Err(wait));
    assert!(bucket.reserve(now + ms(200), MAX_WAIT).is_ok());
}

#[test]
fn samples_leave_part_of_burst_to_changes() {
    let now = Instant::now();
    for (limit, samples) in [(135, 11), (90, 7), (36, 3), (27, 2), (18, 1), (9, 1), (1, 1)] {
        assert_eq!(taken(&mut Bucket::new(limit, now), now), samples, "{limit}");
    }
    // What changes took in advance is theirs.
    let mut bucket = Bucket::new(36, now);
    waits(&mut bucket, 40, now);
    assert_eq!(taken(&mut bucket, now + ms(1000)), 0);
    assert_eq!(taken(&mut bucket, now + ms(1060)), 1);
}

#[test]
fn throttling_pauses_and_halves_once_a_second() {
    let now = Instant::now();
    let mut bucket = Bucket::new(36, now);
    bucket.throttled(Some(ms(3000)), now);
    bucket.throttled(None, now + ms(999));
    assert_eq!(bucket.allowed(now), 0.0);
    assert_eq!(bucket.allowed(now + ms(3000)), 18.0);
    assert_eq!(bucket.reserve(now, ms(2999)), Err(ms(3000)));
    assert_eq!(bucket.take(now).map_err(|wait| wait >= ms(3000)), Err(true));
    let waits = waits(&mut bucket, 2, now);
    assert_eq!(waits[0], ms(3000));
    assert!(waits[1] > ms(3050) && waits[1] < ms(3056), "{waits:?}");
    bucket.throttled(None, now + ms(1000));
    assert_eq!(bucket.allowed(now + ms(3000)), 9.0);
}

#[test]
fn rate_recovers_by_thirtieth_each_second() {
    let now = Instant::now();
    let mut bucket = Bucket::new(36, now);
    (0..20).for_each(|second| bucket.throttled(Some(ms(500)), now + ms(second * 1000)));
    let paused = now + ms(19_500);
    // Each second between two pauses of half a second recovers a little.
    let floor = bucket.allowed(paused);
    assert!((36.0 / 64.0..2.0).contains(&floor), "{floor}");
    assert!((bucket.allowed(paused + ms(10_000)) - floor - 12.0).abs() < 0.001);
    assert_eq!(bucket.allowed(paused + ms(30_000)), 36.0);
    // A pause has an upper limit.
    bucket.throttled(Some(Duration::from_secs(86_400)), paused);
    assert_eq!(bucket.allowed(paused + ms(899_999)), 0.0);
    assert!(bucket.allowed(paused + ms(900_000)) > 0.0);
}

#[test]
fn rate_never_falls_below_64th() {
    let now = Instant::now();
    let mut bucket = Bucket::new(64, now);
    // No time to recover.
    (0..20).for_each(|second| bucket.throttled(Some(Duration::from_secs(60)), now + ms(second * 1000)));
    assert_eq!(bucket.allowed(now + ms(79_000)), 1.0);
}

#[test]
fn throttling_voids_reservations() {
    let now = Instant::now();
    let mut bucket = Bucket::new(9, now);
    let reservations: Vec<_> = (0..20).map(|_| bucket.reserve(now, MAX_WAIT).expect("soon enough")).collect();
    assert!(reservations.iter().all(|it| bucket.is_valid(it)));
    bucket.throttled(None, now + ms(100));
    assert!(!reservations.iter().any(|it| bucket.is_valid(it)));
    // Their slots are free again.
    assert!(bucket.reserve(now + ms(600), ms(300)).is_ok_and(|it| bucket.is_valid(&it)));
}

#[test]
fn new_limit_keeps_throttling() {
    let now = Instant::now();
    let mut bucket = Bucket::new(100, now);
    waits(&mut bucket, 111, now);
    bucket.throttled(Some(ms(1000)), now);
    bucket.set_limit(50, now);
    assert_eq!((bucket.limit(), bucket.allowed(now), bucket.allowed(now + ms(1000))), (50.0, 0.0, 25.0));
    let mut idle = Bucket::new(135, now);
    idle.set_limit(9, now);
    assert_eq!(waits(&mut idle, 2, now)[0], Duration::ZERO);
    assert!(idle.reserve(now, Duration::ZERO).is_err(), "the burst is a smaller one");
}

#[test]
fn unused_bucket_expires_after_hour() {
    let now = Instant::now();
    let mut bucket = Bucket::new(9, now);
    assert!(!bucket.is_unused(now + ms(3_599_999)));
    assert!(bucket.is_unused(now + ms(3_600_000)));
    assert_eq!(bucket.take(now + ms(1)), Ok(()));
    assert!(!bucket.is_unused(now + ms(3_600_000)));
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Change,
    Sample,
    Throttle(u64),
    Limit(u32),
}

fn events() -> impl Strategy<Value = Vec<(u64, Event)>> {
    let event = prop_oneof![
        20 => Just(Event::Change),
        20 => Just(Event::Sample),
        1 => (0_u64..3000).prop_map(Event::Throttle),
        1 => prop_oneof![Just(1_u32), Just(9), Just(36), Just(135)].prop_map(Event::Limit),
    ];
    let pause = prop_oneof![6 => Just(0_u64), 3 => 0..40_u64, 1 => 0..1500_u64];
    prop::collection::vec((pause, event), 1..800)
}

/// The times of the calls that a bucket lets through: samples at once, changes at their slots unless a throttled call
/// voids them.
fn calls(bucket: &mut Bucket, start: Instant, events: &[(u64, Event)]) -> Vec<Instant> {
    let (mut now, mut calls, mut waiting) = (start, vec![], Vec::<Reservation>::new());
    for (pause, event) in events {
        now += ms(*pause);
        waiting.retain(|it| {
            if it.at <= now && bucket.is_valid(it) {
                calls.push(it.at);
            }
            it.at > now
        });
        match event {
            Event::Change => waiting.extend(bucket.reserve(now, MAX_WAIT)),
            Event::Sample => calls.extend(bucket.take(now).ok().map(|()| now)),
            Event::Throttle(pause) => bucket.throttled(Some(ms(*pause)), now),
            Event::Limit(_) => {}
        }
    }
    calls.extend(waiting.iter().filter(|it| bucket.is_valid(it)).map(|it| it.at));
    calls.sort_unstable();
    calls
}

proptest! {
    #[test]
    fn no_second_exceeds_rate_and_burst(limit in prop_oneof![1_u32..=20, 20_u32..=150], events in events()) {
        let start = Instant::now();
        let mut bucket = Bucket::new(limit, start);
        let calls = calls(&mut bucket, start, &events);
        let max = f64::from(limit) + (f64::from(limit) / 9.0).max(1.0) + 0.01;
        for (position, first) in calls.iter().enumerate() {
            let second = calls[position..].iter().take_while(|at| at.duration_since(*first) < ms(1000)).count();
            prop_assert!(second as f64 <= max, "{second} calls in a second at {limit}");
        }
    }

    #[test]
    fn defaults_stay_within_published_limits(events in events()) {
        let start = Instant::now();
        for (limit, published) in [(135, 150), (36, 40), (9, 10), (90, 100)] {
            let calls = calls(&mut Bucket::new(limit, start), start, &events);
            for (position, first) in calls.iter().enumerate() {
                let second = calls[position..].iter().take_while(|at| at.duration_since(*first) < ms(1000)).count();
                prop_assert!(second <= published, "{second} calls in a second at {limit}");
            }
        }
    }

    #[test]
    fn waiting_sample_never_delays_change(limit in 1_u32..=150, events in events()) {
        let start = Instant::now();
        let (mut bucket, mut now, mut last) = (Bucket::new(limit, start), start, start);
        for (pause, event) in events {
            now += ms(pause);
            match event {
                Event::Sample => {
                    let mut without = bucket.clone();
                    match bucket.take(now) {
                        // It has no slot, so that changes find what they would find without it.
                        Err(wait) => {
                            prop_assert!(!wait.is_zero());
                            let (one, other) = (bucket.clone().reserve(now, MAX_WAIT), without.reserve(now, MAX_WAIT));
                            prop_assert_eq!(one, other);
                        }
                        // A slot is left for a change at the same time, where the burst has room for both.
                        Ok(()) if bucket.allowed(now) >= 18.0 => {
                            prop_assert_eq!(bucket.clone().reserve(now, Duration::ZERO).map(|it| it.at), Ok(now));
                        }
                        Ok(()) => {}
                    }
                }
                Event::Change => {
                    // The first change has the first slot.
                    if let Ok(reservation) = bucket.reserve(now, MAX_WAIT) {
                        prop_assert!(reservation.at >= now && reservation.at.max(last) == reservation.at);
                        last = reservation.at;
                    }
                }
                Event::Throttle(pause) => {
                    bucket.throttled(Some(ms(pause)), now);
                    last = now;
                }
                Event::Limit(limit) => {
                    bucket.set_limit(limit, now);
                    last = now;
                }
            }
        }
    }

    #[test]
    fn wait_for_sample_ends_with_slot(limit in 1_u32..=150, events in events()) {
        let start = Instant::now();
        let mut bucket = Bucket::new(limit, start);
        calls(&mut bucket, start, &events);
        let mut now = start + events.iter().map(|it| ms(it.0)).sum();
        let mut tries = 0;
        while let Err(wait) = bucket.take(now) {
            // Timers have a resolution of a millisecond.
            now += wait.max(ms(1));
            tries += 1;
            prop_assert!(tries < 100, "no slot at {limit}");
        }
    }
}
