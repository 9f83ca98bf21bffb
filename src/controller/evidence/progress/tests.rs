use super::*;

/// Every time here is in seconds after this one, in ms.
const BASE_MS: i64 = 1_740_000_000_000;
const OBJECTIVE_S: i64 = 60;

/// A time in ms.
fn at(s: i64) -> i64 {
    BASE_MS + s * 1000
}

fn terms() -> Terms {
    Terms { objective_ms: OBJECTIVE_S * 1000, skew_ms: 0 }
}

/// A reading at `t`: S, T and the last synchronization, each in seconds. The cloud fetched both sides at `t`.
fn reading(t: i64, source: Option<i64>, target: Option<i64>, synced: Option<i64>) -> Reading {
    Reading {
        source_ms: source.map(at),
        target_ms: target.map(at),
        last_sync_ms: synced.map(at),
        source_fetched_ms: Some(at(t)),
        target_fetched_ms: Some(at(t)),
        requested_ms: at(t),
    }
}

fn track(readings: &[Reading]) -> Track {
    let mut track = Track::new(None);
    readings.iter().for_each(|it| track.record(*it, OBJECTIVE_S * 1000));
    track
}

/// The covered time in seconds.
fn covered(readings: &[Reading]) -> Option<i64> {
    track(readings).covered_ms().map(|ms| (ms - BASE_MS) / 1000)
}

/// A judgement in short, with times in seconds.
fn judged(track: &Track, now: i64, terms: Terms) -> String {
    match track.judge(at(now), terms) {
        Judgement::Within { until_ms } => format!("within until {}", (until_ms - BASE_MS) / 1000),
        Judgement::TargetAhead { by_ms } => format!("ahead by {}", by_ms / 1000),
        other @ (Judgement::NeverSynced | Judgement::Exceeded | Judgement::Unknown(_)) => format!("{other:?}"),
    }
}

#[test]
fn covered_time_is_the_later_of_two() {
    for (name, readings, expected) in [
        ("target before its synchronization", vec![reading(100, Some(99), Some(80), Some(90))], Some(80)),
        ("synchronization before the target", vec![reading(100, Some(99), Some(95), Some(90))], Some(90)),
        ("never synchronized", vec![reading(100, Some(99), Some(80), None)], None),
        ("no target", vec![reading(100, Some(99), None, Some(90))], None),
        ("no source", vec![reading(100, None, Some(80), Some(90))], Some(80)),
        // An idle group: what it consumed long ago is at the target.
        ("caught up", vec![reading(100, Some(10), Some(10), Some(12))], Some(100)),
        ("caught up, never synchronized", vec![reading(100, Some(10), Some(10), None)], Some(100)),
        (
            "an earlier sample is reached",
            vec![reading(50, Some(49), Some(20), Some(50)), reading(100, Some(99), Some(49), Some(60))],
            Some(50),
        ),
        (
            "the newest of the reached samples",
            vec![
                reading(20, Some(19), Some(0), Some(0)),
                reading(40, Some(39), Some(0), Some(0)),
                reading(60, Some(59), Some(45), Some(1)),
            ],
            Some(40),
        ),
        // A fast clock of the source's broker.
        ("target in the future", vec![reading(100, Some(500), Some(500), Some(600))], Some(100)),
        ("nothing", vec![], None),
    ] {
        assert_eq!(covered(&readings), expected, "{name}");
    }
}

#[test]
fn earlier_of_fetch_and_request_counts() {
    for (fetched, expected) in [(Some(70), Some(70)), (Some(130), Some(100)), (None, Some(10))] {
        let reading = Reading { source_fetched_ms: fetched.map(at), ..reading(100, Some(10), Some(10), Some(12)) };
        // Without a fetch time there is no sample: the synchronization alone counts.
        assert_eq!(covered(&[reading]), expected, "{fetched:?}");
    }
}

#[test]
fn frozen_fetch_times_extend_no_proof() {
    let seen = reading(100, Some(90), Some(90), Some(95));
    let mut track = track(&[seen]);
    let before = track.covered_ms();
    for t in [110, 130, 150, 400] {
        track.record(Reading { requested_ms: at(t), ..seen }, OBJECTIVE_S * 1000);
        assert_eq!(track.covered_ms(), before, "{t}");
    }
    assert_eq!(judged(&track, 154, terms()), "within until 155");
    assert_eq!(judged(&track, 155, terms()), "Unknown(Unproven)");
}

#[test]
fn absence_covers_until_group_appears() {
    let mut track = Track::new(Some(at(50)));
    assert_eq!(track.covered_ms(), Some(at(50)));
    track.record(reading(60, Some(59), None, None), OBJECTIVE_S * 1000);
    assert_eq!(judged(&track, 104, terms()), "within until 105");
    assert_eq!(judged(&track, 105, terms()), "NeverSynced");
    track.record(reading(70, Some(69), Some(20), Some(70)), OBJECTIVE_S * 1000);
    assert_eq!(track.covered_ms(), Some(at(50)), "the target shows less");
    track.record(reading(80, Some(79), Some(69), Some(80)), OBJECTIVE_S * 1000);
    assert_eq!(track.covered_ms(), Some(at(70)));
}

#[test]
fn judgement_follows_its_evidence() {
    let behind = |s, t| reading(100, Some(s), Some(t), Some(100));
    let one = |reading| track(&[reading]);
    for (name, track, now, expected) in [
        ("within", one(behind(99, 99)), 100, "within until 155"),
        ("within by the target", one(behind(99, 60)), 100, "within until 115"),
        ("last second of a proof", one(behind(99, 60)), 114, "within until 115"),
        ("end of a proof", one(behind(99, 60)), 115, "Unknown(Unproven)"),
        ("more than the objective apart, proven", one(behind(160, 99)), 100, "within until 154"),
        ("more than the objective apart", one(behind(160, 99)), 154, "Exceeded"),
        ("as far apart as the objective", one(behind(99, 39)), 100, "Unknown(Unproven)"),
        ("a second further", one(behind(99, 38)), 100, "Exceeded"),
        ("an old list", one(behind(99, 38)), 400, "Unknown(ListTooOld)"),
        ("a list of almost five minutes", one(behind(99, 38)), 399, "Exceeded"),
        ("never synchronized", one(reading(100, Some(99), None, None)), 100, "NeverSynced"),
        ("never synchronized, old", one(reading(100, Some(99), None, None)), 400, "Unknown(ListTooOld)"),
        ("never synchronized, caught up", one(reading(100, Some(9), Some(9), None)), 100, "within until 155"),
        ("no source", one(reading(100, None, Some(20), Some(100))), 100, "Unknown(NoTimestamps)"),
        ("no source, proven", one(reading(100, None, Some(99), Some(100))), 100, "within until 154"),
        ("no target", one(reading(100, Some(99), None, Some(100))), 100, "Unknown(NoTimestamps)"),
        ("nothing", Track::new(None), 0, "Unknown(ListTooOld)"),
    ] {
        assert_eq!(judged(&track, now, terms()), expected, "{name}");
    }
    let unfetched = Reading { source_fetched_ms: None, ..behind(99, 40) };
    assert_eq!(judged(&one(unfetched), 100, terms()), "Unknown(NoTimestamps)");
}

#[test]
fn old_sample_beyond_target_refutes_after_objective() {
    // The source goes slowly: it is never far ahead of the target.
    let mut track = track(&[reading(100, Some(50), Some(40), Some(40))]);
    for t in [120, 140, 155, 160] {
        track.record(reading(t, Some(51), Some(40), Some(40)), OBJECTIVE_S * 1000);
        assert_eq!(judged(&track, t, terms()), "Unknown(Unproven)", "{t}");
    }
    track.record(reading(161, Some(51), Some(40), Some(40)), OBJECTIVE_S * 1000);
    assert_eq!(judged(&track, 161, terms()), "Exceeded", "the source was at 50 more than the objective ago");
    // The same sample refutes nothing once the target has it.
    track.record(reading(165, Some(51), Some(50), Some(165)), OBJECTIVE_S * 1000);
    assert_eq!(judged(&track, 165, terms()), "Unknown(Unproven)");
}

#[test]
fn proof_ends_before_it_is_refuted() {
    // More than the objective apart, but only since a moment ago.
    let track = track(&[reading(100, Some(99), Some(99), Some(100)), reading(110, Some(260), Some(99), Some(100))]);
    assert_eq!(judged(&track, 154, terms()), "within until 155");
    assert_eq!(judged(&track, 155, terms()), "Exceeded");
}

#[test]
fn target_ahead_is_measured_beyond_fetch_distance() {
    let ahead = |by: i64, source_fetched: Option<i64>, target_fetched: Option<i64>| Reading {
        source_fetched_ms: source_fetched.map(at),
        target_fetched_ms: target_fetched.map(at),
        ..reading(100, Some(50), Some(50 + by), Some(100))
    };
    let (now, within) = (Some(100), "within until 155");
    for (name, reading, expected) in [
        ("tolerated", ahead(10, now, now), within),
        ("ahead", ahead(11, now, now), "ahead by 11"),
        ("explained by a later fetch", ahead(15, Some(95), now), "within until 150"),
        ("beyond a later fetch", ahead(16, Some(95), now), "ahead by 16"),
        ("an earlier fetch explains nothing", ahead(11, now, Some(40)), "ahead by 11"),
        ("no fetch time", ahead(11, None, now), "within until 116"),
    ] {
        assert_eq!(judged(&track(&[reading]), 100, terms()), expected, "{name}");
    }
    let track = track(&[ahead(30, now, now)]);
    assert_eq!(judged(&track, 399, terms()), "ahead by 30");
    assert_eq!(judged(&track, 400, terms()), "Unknown(ListTooOld)", "nothing is known of the present");
}

#[test]
fn margin_and_skew_shorten_proof() {
    let track = track(&[reading(100, Some(99), Some(99), Some(100))]);
    for (skew_ms, objective_s, expected) in [
        (0, 60, "within until 155"),
        (20_000, 60, "within until 135"),
        (54_000, 60, "within until 101"),
        (55_000, 60, "Unknown(Unproven)"),
        (0, 604_800, "within until 604895"),
    ] {
        let terms = Terms { objective_ms: objective_s * 1000, skew_ms };
        assert_eq!(judged(&track, 100, terms), expected, "{skew_ms} {objective_s}");
    }
    let endless = |skew_ms| Terms { objective_ms: i64::MAX, skew_ms };
    assert!(judged(&track, 100, endless(0)).starts_with("within"));
    assert_eq!(judged(&track, 100, endless(i64::MAX)), "Unknown(Unproven)");
}

#[test]
fn source_that_goes_back_proves_no_more() {
    // An offset was reset at the source: the target is ahead of it from then on.
    let mut track = track(&[reading(100, Some(99), Some(60), Some(60))]);
    track.record(reading(110, Some(30), Some(60), Some(60)), OBJECTIVE_S * 1000);
    assert_eq!(judged(&track, 110, terms()), "ahead by 30");
    // It reads the same messages again, and the target waits for it.
    track.record(reading(120, Some(55), Some(60), Some(60)), OBJECTIVE_S * 1000);
    assert_eq!(track.covered_ms(), Some(at(120)), "the present progress is at the target");
    track.record(reading(130, Some(65), Some(60), Some(60)), OBJECTIVE_S * 1000);
    assert_eq!(track.covered_ms(), Some(at(120)));
}

#[test]
fn target_that_goes_back_loses_its_proof() {
    let mut track = track(&[reading(80, Some(79), Some(79), Some(80)), reading(100, Some(99), Some(99), Some(100))]);
    assert_eq!(track.covered_ms(), Some(at(100)));
    for (target, expected) in [(98, 98), (85, 85), (79, 80), (20, 20)] {
        track.record(reading(110, Some(109), Some(target), Some(105)), OBJECTIVE_S * 1000);
        assert_eq!(track.covered_ms(), Some(at(expected)), "{target}");
    }
}

#[test]
fn late_reading_changes_nothing() {
    let newest = reading(100, Some(99), Some(99), Some(100));
    let fetched = |source: i64, target: i64| Reading {
        source_fetched_ms: Some(at(source)),
        target_fetched_ms: Some(at(target)),
        ..reading(110, Some(10), Some(10), Some(10))
    };
    for (name, reading, late) in [
        ("both before", fetched(90, 90), true),
        ("the source before", fetched(90, 100), true),
        ("the target before", fetched(100, 90), true),
        ("neither before", fetched(100, 100), false),
        ("one before and one after", fetched(90, 105), false),
        ("both after", fetched(105, 105), false),
        ("no times", Reading { source_fetched_ms: None, target_fetched_ms: None, ..fetched(0, 0) }, false),
    ] {
        let mut track = track(&[newest]);
        track.record(reading, OBJECTIVE_S * 1000);
        assert_eq!(track.reading() == newest, late, "{name}");
        // The list was read all the same.
        assert_eq!(track.listed_ms(), at(110), "{name}");
    }
}

#[test]
fn sample_fetched_before_another_is_dropped() {
    let mut track = track(&[reading(100, Some(99), Some(50), Some(50))]);
    let mixed = Reading {
        source_fetched_ms: Some(at(80)),
        target_fetched_ms: Some(at(110)),
        ..reading(110, Some(70), Some(75), Some(50))
    };
    track.record(mixed, OBJECTIVE_S * 1000);
    assert_eq!(track.reading(), mixed);
    assert_eq!(track.covered_ms(), Some(at(50)), "the order of its times is not known");
}

#[test]
fn thinning_never_lengthens_proof() {
    // A track without a limit, by the rule of the design: the newest t whose S is not beyond T.
    let mut seed = 42_u64;
    let mut random = |below: i64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(seed >> 33).unwrap_or(0) % below
    };
    let objective_ms = 3_600_000;
    for _ in 0..200 {
        let (mut track, mut all, mut t, mut source, mut target) = (Track::new(None), vec![], 0, 0, 0);
        for _ in 0..60 {
            t += 1 + random(90);
            source = (source + random(80) - 5).max(0);
            target = (target + random(60)).min(source);
            all.push((source, t));
            let reading = Reading { last_sync_ms: None, ..reading(t, Some(source), Some(target), None) };
            track.record(reading, objective_ms);
            let exact = all.iter().rev().find(|(s, _)| *s <= target).map(|(_, t)| at(*t));
            assert!(track.covered_ms() <= exact, "{:?} {exact:?}", track.covered_ms());
            assert!(track.samples.len() <= MAX_SAMPLES);
            assert_eq!(track.samples.last().map(|it| it.last_ms), Some(at(t)));
        }
    }
}

#[test]
fn equal_samples_need_one_place() {
    let mut track = Track::new(None);
    for t in 0..100 {
        track.record(reading(t, Some(5), Some(1), Some(1)), 3_600_000);
    }
    assert_eq!(track.samples, [Sample { source_ms: at(5), first_ms: at(0), last_ms: at(99) }]);
}

#[test]
fn one_sample_beyond_objective_is_kept() {
    let mut track = Track::new(None);
    for t in [0, 10, 20, 30, 75, 81, 200] {
        track.record(reading(t, Some(t), Some(-100), Some(-100)), OBJECTIVE_S * 1000);
    }
    let kept: Vec<_> = track.samples.iter().map(|it| (it.first_ms - BASE_MS) / 1000).collect();
    assert_eq!(kept, [81, 200]);
}

#[test]
fn lag_is_measured_at_last_list() {
    let mut track = track(&[reading(100, Some(99), Some(70), Some(100))]);
    assert_eq!(track.lag_ms(), Some(30_000));
    // The same progress in a later list.
    track.record(Reading { requested_ms: at(160), ..track.reading() }, OBJECTIVE_S * 1000);
    assert_eq!(track.lag_ms(), Some(90_000));
    assert_eq!(Track::new(None).lag_ms(), None);
    assert_eq!(self::track(&[reading(100, Some(99), None, None)]).lag_ms(), None);
}
