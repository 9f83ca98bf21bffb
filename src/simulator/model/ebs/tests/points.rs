//! When recovery points appear.

use super::edges::normal;
use super::*;

/// The group's recovery point after T0, ms.
fn point(disks: &mut Disks, group: &str, now: i64) -> Option<i64> {
    disks.advance(T0 + now);
    disks.group(group).unwrap().last_recover_point.map(|at| at - T0)
}

#[test]
fn cycle_point_appears_after_its_transfer() {
    let (mut disks, group, pair) = normal();
    disks.rules.transfer_ms = 4000;
    for (now, shown) in [(2000, 2000), (15_999, 2000), (16_000, 12_000), (25_000, 12_000)] {
        assert_eq!(point(&mut disks, &group, now), Some(shown), "{now}");
    }
    assert_eq!(disks.pair(&pair).unwrap().last_recover_point, Some(T0 + 12_000));
    // The cycle of 22_000 is in progress and is given up.
    disks.stop_group(HERE, &group, T0 + 25_000).unwrap();
    assert_eq!(point(&mut disks, &group, 30_000), Some(12_000));
}

#[test]
fn cycle_may_take_longer_than_its_interval() {
    let (mut disks, group, _) = normal();
    disks.rules.transfer_ms = 25_000;
    for (now, shown) in [(36_999, 2000), (37_000, 12_000), (47_000, 22_000)] {
        assert_eq!(point(&mut disks, &group, now), Some(shown), "{now}");
    }
}

#[test]
fn point_appears_later_than_end_of_synchronization() {
    let (mut disks, group, pair) = group();
    disks.rules.point_delay_ms = 3000;
    disks.start_group(HERE, &group, false, T0 + 1000).unwrap();
    assert_eq!(status(&mut disks, &group, T0 + 2000), S::Normal);
    assert!(disks.pair(&pair).unwrap().synced);
    for (now, shown) in [(2000, None), (4999, None), (5000, Some(2000))] {
        assert_eq!(point(&mut disks, &group, now), shown, "{now}");
    }
    disks.stop_group(HERE, &group, T0 + 6000).unwrap();
    disks.start_group(HERE, &group, true, T0 + 7000).unwrap();
    assert_eq!(status(&mut disks, &group, T0 + 8000), S::Stopped);
    for (now, shown) in [(8000, 2000), (10_999, 2000), (11_000, 8000)] {
        assert_eq!(point(&mut disks, &group, now), Some(shown), "{now}");
    }
}

#[test]
fn single_pair_has_delayed_points_too() {
    let (mut disks, ..) = group();
    (disks.rules.point_delay_ms, disks.rules.transfer_ms) = (3000, 4000);
    let pair = disks.create_pair(HERE, pair_input(1), T0).unwrap();
    disks.start_pair(HERE, &pair, false, T0 + 1000).unwrap();
    for (now, shown) in [(2000, None), (5000, Some(2000)), (15_999, Some(2000)), (16_000, Some(12_000))] {
        disks.advance(T0 + now);
        assert_eq!(disks.pair(&pair).unwrap().last_recover_point.map(|at| at - T0), shown, "{now}");
    }
}
