//! Limits, regions, tokens, attached disks and pairs on their own.

use super::*;

fn all() -> EbsPaging {
    EbsPaging::new(None, None, None, None).unwrap()
}

/// The sites that the group and the pair have in a region.
fn sites(disks: &mut Disks, region: &str, now: i64) -> (&'static str, &'static str) {
    let group = disks.describe_groups(region, &GroupFilter::default(), &all(), now).list[0].site;
    let pair = disks.describe_pairs(region, &PairFilter::default(), &all(), now).list[0].site;
    (group, pair)
}

/// A group after its first full copy, normal at T0 + 2000.
pub(super) fn normal() -> (Disks, String, String) {
    let (mut disks, group, pair) = group();
    disks.start_group(HERE, &group, false, T0 + 1000).unwrap();
    disks.advance(T0 + 2000);
    (disks, group, pair)
}

/// Fails a normal group over and reverses it: stopped at T0 + 4000.
pub(super) fn reverse(disks: &mut Disks, group: &str) {
    disks.failover_group(THERE, group, T0 + 2000).unwrap();
    disks.reprotect_group(THERE, group, true, T0 + 3000).unwrap();
    assert_eq!(status(disks, group, T0 + 4000), S::Stopped);
}

#[test]
fn group_limits_apply_per_region() {
    let (mut disks, ..) = group();
    disks.rules.max_empty_groups = Some(1);
    let empty = disks.create_group(HERE, group_input(), T0 + 1000).unwrap();
    assert_eq!(code(disks.create_group(HERE, group_input(), T0 + 1000)), denied("TooMuchEmptyGroup"));
    disks.create_group("cn-beijing", group_input(), T0 + 1000).unwrap();
    disks.rules.max_groups = Some(2);
    assert_eq!(code(disks.create_group(HERE, group_input(), T0 + 1000)), denied("QuotaExceed"));
    disks.drop_group(&empty).unwrap();
    disks.create_group(HERE, group_input(), T0 + 1000).unwrap();
    disks.rules = DiskRules::default();
    disks.create_group(HERE, group_input(), T0 + 1000).unwrap();
}

#[test]
fn client_token_is_scoped_to_region_and_action() {
    let mut disks = Disks::new(DiskRules::default());
    let create = |disks: &mut Disks| disks.create_group(HERE, group_input(), T0).map(|id| json!(id));
    let mut id = |region, action, request: &str| {
        disks.once((region, action, Some("t")), request.to_owned(), create).map(|id| id.to_string())
    };
    let first = id(HERE, "A", "x").unwrap();
    assert_eq!(id(HERE, "A", "x").unwrap(), first);
    assert_ne!(id(THERE, "A", "y").unwrap(), first);
    assert_ne!(id(HERE, "B", "y").unwrap(), first);
    assert_eq!(code(id(HERE, "A", "y")), (400, "IdempotentParameterMismatch".to_owned()));
}

#[test]
fn both_regions_report_their_site() {
    for (production, reversed) in
        [(Production::Source, ("backup", "backup")), (Production::Primary, ("production", "production"))]
    {
        let (mut disks, group, _) = normal();
        disks.rules.production = production;
        assert_eq!(sites(&mut disks, HERE, T0 + 2000), ("production", "production"));
        assert_eq!(sites(&mut disks, THERE, T0 + 2000), ("backup", "backup"));
        assert_eq!(code(disks.failover_group(HERE, &group, T0 + 2000)), denied("OperateNotAllowedForPrimary"));
        assert_eq!(code(disks.failover_group("cn-beijing", &group, T0 + 2000)), (404, "NoSuchResource".to_owned()));
        reverse(&mut disks, &group);
        assert_eq!(sites(&mut disks, HERE, T0 + 4000), reversed, "{production:?}");
        assert_ne!(sites(&mut disks, THERE, T0 + 4000), reversed, "{production:?}");
        let primary = if production == Production::Source { THERE } else { HERE };
        assert_eq!(code(disks.failover_group(primary, &group, T0 + 4000)), denied("OperateNotAllowedForPrimary"));
    }
}

#[test]
fn drill_stays_in_its_region_after_reversal() {
    let (mut disks, group, _) = normal();
    let drill = disks.start_drill(THERE, &group, T0 + 2000).unwrap();
    reverse(&mut disks, &group);
    let now = T0 + 4000;
    let shown = |disks: &mut Disks, region| {
        let page = disks.describe_drills(region, (&group, None), &all(), now).unwrap();
        page.list.into_iter().map(|drill| drill.status).collect::<Vec<_>>()
    };
    assert_eq!(shown(&mut disks, THERE), [DrillStatus::Executed]);
    assert!(shown(&mut disks, HERE).is_empty());
    assert_eq!(code(disks.clear_drill(HERE, (&group, &drill), now)), (404, "NoSuchResource".to_owned()));
    assert_eq!(code(disks.start_drill(THERE, &group, now)), denied("StartDrillShouldOnDestRegion"));
    disks.rules.drills_in_both_regions = true;
    assert_eq!(shown(&mut disks, HERE), [DrillStatus::Executed]);
    disks.rules.drills_in_both_regions = false;
    disks.clear_drill(THERE, (&group, &drill), now).unwrap();
    assert_eq!(shown(&mut disks, THERE), [DrillStatus::Clearing]);
}

#[test]
fn attached_disks_refuse_start_and_reversal() {
    let (mut disks, group, _) = group();
    let attached = |source, destination| DiskGroupEdit {
        attached: Some(source),
        standby_attached: Some(destination),
        ..DiskGroupEdit::default()
    };
    disks.edit_group(&group, attached(true, true)).unwrap();
    let refused = (400, "OperationDenied.StandbyDeviceAttached".to_owned());
    assert_eq!(code(disks.start_group(HERE, &group, false, T0 + 1000)), refused);
    disks.edit_group(&group, attached(true, false)).unwrap();
    disks.start_group(HERE, &group, false, T0 + 1000).unwrap();
    disks.failover_group(THERE, &group, T0 + 2000).unwrap();
    assert_eq!(code(disks.reprotect_group(THERE, &group, true, T0 + 3000)), (403, "OperationDenied".to_owned()));
    disks.reprotect_group(THERE, &group, false, T0 + 3000).unwrap();
    disks.failover_group(THERE, &group, T0 + 3000).unwrap();
    disks.edit_group(&group, attached(false, true)).unwrap();
    disks.reprotect_group(THERE, &group, true, T0 + 4000).unwrap();
    assert_eq!(status(&mut disks, &group, T0 + 5000), S::Stopped);
    // The attached disks are now the source.
    disks.start_group(THERE, &group, false, T0 + 5000).unwrap();
}

#[test]
fn single_pair_starts_and_stops_in_either_region() {
    let (mut disks, _, grouped) = group();
    let pair = disks.create_pair(HERE, pair_input(1), T0).unwrap();
    let now = T0 + 1000;
    let status = |disks: &mut Disks, now| {
        disks.advance(now);
        disks.pair(&pair).unwrap().status
    };
    assert_eq!(code(disks.start_pair(HERE, &grouped, false, now)), (403, "OperationDenied".to_owned()));
    assert_eq!(code(disks.stop_pair(HERE, &grouped, now)), (403, "OperationDenied".to_owned()));
    assert_eq!(code(disks.stop_pair(HERE, &pair, now)), denied("InvalidStatus"));
    assert_eq!(code(disks.start_pair("cn-beijing", &pair, false, now)), (404, "NoSuchResource".to_owned()));
    disks.attach("d-destination-1", true);
    let refused = (400, "OperationDenied.StandbyDeviceAttached".to_owned());
    assert_eq!(code(disks.start_pair(HERE, &pair, false, now)), refused);
    disks.attach("d-destination-1", false);
    disks.start_pair(THERE, &pair, true, now).unwrap();
    assert_eq!(status(&mut disks, now), S::ManualSyncing);
    assert_eq!(status(&mut disks, now + 1000), S::Stopped);
    assert_eq!(code(disks.start_pair(THERE, &pair, true, now + 1000)), denied("ManualSyncLimit"));
    disks.start_pair(HERE, &pair, false, now + 1000).unwrap();
    assert_eq!(status(&mut disks, now + 2000), S::Normal);
    assert_eq!(status(&mut disks, now + 33_000), S::Normal);
    assert_eq!(disks.pair(&pair).unwrap().last_recover_point, Some(now + 32_000));
    disks.stop_pair(THERE, &pair, now + 33_000).unwrap();
    assert_eq!(status(&mut disks, now + 34_000), S::Stopped);
}
