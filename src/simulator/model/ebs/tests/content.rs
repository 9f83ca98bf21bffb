//! Which calls are reported as opening or overwriting a disk wrongly, and which are not.

use ViolationKind as K;

use super::edges::{normal, reverse};
use super::*;

/// The reported disks.
fn reported(disks: &Disks) -> Vec<(&str, K)> {
    disks.violations().iter().map(|it| (it.disk.as_str(), it.kind)).collect()
}

#[track_caller]
fn assert_nothing_reported(disks: &Disks) {
    assert!(disks.violations().is_empty(), "{:#?}", disks.violations());
}

/// The pair of `pair_input(number)` in the other direction.
fn reversed_input(number: usize) -> DiskPairInput {
    let DiskPairInput { disk, source_zone, destination_disk, destination_zone, .. } = pair_input(number);
    DiskPairInput {
        disk: destination_disk,
        source_zone: destination_zone,
        destination_disk: disk,
        destination_region: text(HERE),
        destination_zone: source_zone,
        ..DiskPairInput::default()
    }
}

/// Fails a running group over as planned and replicates the other way: normal at `now + 5000`.
fn fail_over_as_planned(disks: &mut Disks, group: &str, (from, to): (&str, &str), now: i64) {
    disks.stop_group(from, group, now).unwrap();
    disks.start_group(from, group, true, now + 1000).unwrap();
    disks.failover_group(to, group, now + 2000).unwrap();
    disks.reprotect_group(to, group, true, now + 3000).unwrap();
    disks.start_group(to, group, false, now + 4000).unwrap();
    assert_eq!(status(disks, group, now + 5000), S::Normal);
}

/// A synchronized pair and one that was added at rest, stopped at T0 + 3000; failovers are accepted before the first
/// copy.
fn with_blank_disk() -> (Disks, String, String) {
    let (mut disks, group, _) = normal();
    disks.rules.failover_before_first_copy = true;
    disks.stop_group(HERE, &group, T0 + 2000).unwrap();
    let blank = disks.create_pair(HERE, pair_input(1), T0 + 2000).unwrap();
    disks.add_pair(HERE, (&group, &blank), T0 + 3000).unwrap();
    (disks, group, blank)
}

#[test]
fn failover_to_blank_disk_is_reported() {
    let (mut disks, group, blank) = with_blank_disk();
    disks.rules.failover_before_first_copy = false;
    assert_eq!(code(disks.failover_group(THERE, &group, T0 + 3000)), denied("InvalidStatus"));
    assert_nothing_reported(&disks);
    disks.rules.failover_before_first_copy = true;
    disks.failover_group(THERE, &group, T0 + 3000).unwrap();
    disks.failover_group(THERE, &group, T0 + 3500).unwrap();
    let [violation] = disks.violations() else { panic!("{:#?}", disks.violations()) };
    assert_eq!((violation.at_ms, violation.action), (T0 + 3000, "FailoverDiskReplicaGroup"));
    assert_eq!((violation.group.as_ref(), &violation.pair), (Some(&group), &blank));
    assert_eq!(reported(&disks), [("d-destination-1", K::BlankOpened)]);
    assert_eq!(disks.inspect().violations, disks.violations());
    disks.clear_violations();
    assert_nothing_reported(&disks);
}

#[test]
fn failover_during_first_copy_is_reported() {
    let (mut disks, group, _) = group();
    disks.start_group(HERE, &group, false, T0 + 1000).unwrap();
    assert_eq!(code(disks.failover_group(THERE, &group, T0 + 1500)), denied("InvalidStatus"));
    disks.rules.failover_before_first_copy = true;
    disks.failover_group(THERE, &group, T0 + 1500).unwrap();
    assert_eq!(reported(&disks), [("d-destination-0", K::BlankOpened)]);
}

#[test]
fn failover_before_copy_back_is_reported() {
    let (mut disks, group, _) = normal();
    reverse(&mut disks, &group);
    assert_eq!(code(disks.failover_group(HERE, &group, T0 + 4000)), denied("InvalidStatus"));
    assert_nothing_reported(&disks);
    disks.rules.failover_before_first_copy = true;
    disks.failover_group(HERE, &group, T0 + 4000).unwrap();
    assert_eq!(reported(&disks), [("d-source-0", K::StaleOpened)]);
}

#[test]
fn copy_of_opened_blank_disk_is_reported() {
    let (mut disks, group, _) = with_blank_disk();
    disks.failover_group(THERE, &group, T0 + 3000).unwrap();
    disks.reprotect_group(THERE, &group, true, T0 + 4000).unwrap();
    disks.clear_violations();
    disks.start_group(THERE, &group, false, T0 + 5000).unwrap();
    let expected = [("d-source-0", K::UnreplicatedWritesOverwritten), ("d-source-1", K::BlankCopiedOver)];
    assert_eq!(reported(&disks), expected);
}

#[test]
fn reversed_pair_of_blank_disk_is_reported() {
    let (mut disks, ..) = group();
    let pair = disks.create_pair(HERE, pair_input(1), T0 + 1000).unwrap();
    disks.delete_pair(HERE, &pair, T0 + 2000).unwrap();
    let reversed = disks.create_pair(THERE, reversed_input(1), T0 + 3000).unwrap();
    disks.start_pair(THERE, &reversed, false, T0 + 4000).unwrap();
    assert_eq!(reported(&disks), [("d-source-1", K::BlankCopiedOver)]);
    let [violation] = disks.violations() else { panic!("{:#?}", disks.violations()) };
    assert_eq!((violation.action, violation.group.as_ref()), ("StartDiskReplicaPair", None));
}

#[test]
fn copy_over_disk_in_use_is_reported() {
    let (mut disks, group, pair) = normal();
    disks.failover_group(THERE, &group, T0 + 2000).unwrap();
    disks.advance(T0 + 3000);
    disks.drop_pair(&pair).unwrap();
    let again = disks.create_pair(HERE, pair_input(0), T0 + 3000).unwrap();
    disks.start_pair(HERE, &again, true, T0 + 4000).unwrap();
    assert_eq!(reported(&disks), [("d-destination-0", K::StaleCopiedOver)]);
}

#[test]
fn forced_failover_then_copy_back_is_reported() {
    for one_shot in [false, true] {
        let (mut disks, group, _) = normal();
        reverse(&mut disks, &group);
        assert_nothing_reported(&disks);
        disks.start_group(THERE, &group, one_shot, T0 + 4000).unwrap();
        disks.start_group(THERE, &group, one_shot, T0 + 4500).unwrap();
        assert_eq!(reported(&disks), [("d-source-0", K::UnreplicatedWritesOverwritten)]);
    }
}

#[test]
fn failover_during_last_sync_loses_writes() {
    let (mut disks, group, _) = normal();
    disks.stop_group(HERE, &group, T0 + 2000).unwrap();
    disks.start_group(HERE, &group, true, T0 + 3000).unwrap();
    disks.failover_group(THERE, &group, T0 + 3500).unwrap();
    disks.reprotect_group(THERE, &group, true, T0 + 4500).unwrap();
    disks.start_group(THERE, &group, false, T0 + 5500).unwrap();
    assert_eq!(reported(&disks), [("d-source-0", K::UnreplicatedWritesOverwritten)]);
}

#[test]
fn planned_failover_with_running_writers_loses_writes() {
    let (mut disks, group, _) = normal();
    disks.rules.writes_stop_with_last_sync = false;
    fail_over_as_planned(&mut disks, &group, (HERE, THERE), T0 + 2000);
    assert_eq!(reported(&disks), [("d-source-0", K::UnreplicatedWritesOverwritten)]);
}

#[test]
fn failover_at_console_opens_disks() {
    let (mut disks, group, _) = normal();
    disks.advance(T0 + 5000);
    let failovered = DiskGroupEdit { status: Some(S::Failovered), ..DiskGroupEdit::default() };
    disks.edit_group(&group, failovered).unwrap();
    disks.reprotect_group(THERE, &group, true, T0 + 5000).unwrap();
    disks.start_group(THERE, &group, false, T0 + 6000).unwrap();
    assert_eq!(reported(&disks), [("d-source-0", K::UnreplicatedWritesOverwritten)]);
}

#[test]
fn copy_over_last_copy_is_reported() {
    let (mut disks, ..) = group();
    disks.put_user_data("d-destination-1", true);
    let pair = disks.create_pair(HERE, pair_input(1), T0 + 1000).unwrap();
    disks.start_pair(HERE, &pair, false, T0 + 2000).unwrap();
    assert_eq!(reported(&disks), [("d-destination-1", K::OtherDataOverwritten)]);
}

#[test]
fn copy_over_other_copy_is_not_reported() {
    let (mut disks, _, pair) = normal();
    disks.drop_pair(&pair).unwrap();
    let other = DiskPairInput { disk: text("d-other"), ..pair_input(0) };
    let other = disks.create_pair(HERE, other, T0 + 2000).unwrap();
    disks.start_pair(HERE, &other, false, T0 + 3000).unwrap();
    assert_nothing_reported(&disks);
}

#[test]
fn first_copy_and_cycles_are_not_reported() {
    let (mut disks, group, _) = normal();
    disks.advance(T0 + 33_000);
    disks.stop_group(HERE, &group, T0 + 33_000).unwrap();
    disks.start_group(HERE, &group, false, T0 + 34_000).unwrap();
    disks.failover_group(THERE, &group, T0 + 35_000).unwrap();
    assert_nothing_reported(&disks);
}

#[test]
fn planned_failover_and_failback_are_not_reported() {
    let (mut disks, group, _) = normal();
    disks.rules.one_shot_interval_ms = 0;
    for round in 0..2 {
        let now = T0 + 2000 + round * 60_000;
        fail_over_as_planned(&mut disks, &group, (HERE, THERE), now);
        fail_over_as_planned(&mut disks, &group, (THERE, HERE), now + 30_000);
    }
    assert_nothing_reported(&disks);
}

#[test]
fn cancelled_failover_is_not_reported() {
    let (mut disks, group, _) = normal();
    for round in 0..2 {
        let now = T0 + 2000 + round * 60_000;
        disks.failover_group(THERE, &group, now).unwrap();
        disks.reprotect_group(THERE, &group, false, now + 30_000).unwrap();
        disks.start_group(HERE, &group, false, now + 30_000).unwrap();
        assert_eq!(status(&mut disks, &group, now + 31_000), S::Normal);
    }
    assert_nothing_reported(&disks);
}

#[test]
fn writes_continue_after_cancelled_planned_failover() {
    let (mut disks, group, _) = normal();
    disks.stop_group(HERE, &group, T0 + 2000).unwrap();
    disks.start_group(HERE, &group, true, T0 + 3000).unwrap();
    disks.failover_group(THERE, &group, T0 + 4000).unwrap();
    disks.reprotect_group(THERE, &group, false, T0 + 5000).unwrap();
    disks.failover_group(THERE, &group, T0 + 6000).unwrap();
    disks.reprotect_group(THERE, &group, true, T0 + 7000).unwrap();
    assert_nothing_reported(&disks);
    disks.start_group(THERE, &group, false, T0 + 8000).unwrap();
    assert_eq!(reported(&disks), [("d-source-0", K::UnreplicatedWritesOverwritten)]);
}

#[test]
fn pair_added_at_rest_is_not_reported() {
    let (mut disks, group, _) = with_blank_disk();
    disks.start_group(HERE, &group, false, T0 + 3000).unwrap();
    assert_eq!(status(&mut disks, &group, T0 + 4000), S::Normal);
    disks.failover_group(THERE, &group, T0 + 4000).unwrap();
    assert_nothing_reported(&disks);
}

#[test]
fn drill_is_not_reported() {
    let (mut disks, group, _) = normal();
    let drill = disks.start_drill(THERE, &group, T0 + 2000).unwrap();
    disks.clear_drill(THERE, (&group, &drill), T0 + 3000).unwrap();
    disks.advance(T0 + 4000);
    assert_nothing_reported(&disks);
}
