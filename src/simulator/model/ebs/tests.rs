mod content;
mod edges;
mod points;

use serde_json::json;

use super::super::Failure;
use super::GroupOperation as O;
use super::ReplicaStatus as S;
use super::*;

const HERE: &str = "cn-hangzhou";
const THERE: &str = "cn-shanghai";
const T0: i64 = 1_740_724_080_000;

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn group_input() -> DiskGroupInput {
    DiskGroupInput {
        name: text("orders-db"),
        source_zone: text("cn-hangzhou-h"),
        destination_region: text(THERE),
        destination_zone: text("cn-shanghai-b"),
        ..DiskGroupInput::default()
    }
}

fn pair_input(number: usize) -> DiskPairInput {
    DiskPairInput {
        disk: Some(format!("d-source-{number}")),
        source_zone: text("cn-hangzhou-h"),
        destination_disk: Some(format!("d-destination-{number}")),
        destination_region: text(THERE),
        destination_zone: text("cn-shanghai-b"),
        ..DiskPairInput::default()
    }
}

/// A group with one pair, created and not started, and the pair; each transitional status takes a second.
fn group() -> (Disks, String, String) {
    let mut disks = Disks::new(DiskRules { delay_ms: 1000, ..DiskRules::default() });
    let group = disks.create_group(HERE, group_input(), T0).unwrap();
    let pair = disks.create_pair(HERE, pair_input(0), T0).unwrap();
    disks.add_pair(HERE, (&group, &pair), T0 + 1000).unwrap();
    (disks, group, pair)
}

fn status(disks: &mut Disks, group: &str, now: i64) -> S {
    disks.advance(now);
    disks.group(group).unwrap().status
}

fn code<T: std::fmt::Debug>(result: Result<T, Failure>) -> (u16, String) {
    let failure = result.unwrap_err();
    (failure.status, failure.code)
}

/// A token of one region and action.
fn here(token: &str) -> (&str, &str, Option<&str>) {
    (HERE, "CreateDiskReplicaGroup", Some(token))
}

fn denied(code: &str) -> (u16, String) {
    (403, format!("OperationDenied.{code}"))
}

/// The expected status right after each call: one row a status, one column an operation in the order of
/// `GroupOperation::ALL`; `=` keeps the status, `-` means refused. Written by hand from the documentation, not from the
/// code's table.
const TABLE: [(S, [&str; 10]); 19] = [
    // Modify, AddPair, RemovePair, Start, StartOneShot, Stop, Failover, Reprotect, Delete, StartDrill
    (S::Invalid, ["-", "-", "=", "-", "-", "-", "-", "-", "=", "-"]),
    (S::Creating, ["-", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
    (S::Created, ["=", "=", "=", "syncing", "manual_syncing", "-", "-", "-", "=", "-"]),
    (S::CreateFailed, ["-", "-", "-", "-", "-", "-", "-", "-", "=", "-"]),
    (S::InitialSyncing, ["-", "-", "-", "=", "-", "stopping", "-", "-", "-", "-"]),
    (S::ManualSyncing, ["-", "-", "-", "-", "=", "stopping", "failovering", "-", "-", "="]),
    (S::Syncing, ["-", "-", "-", "=", "-", "stopping", "failovering", "-", "-", "="]),
    (S::Normal, ["-", "-", "-", "=", "-", "stopping", "failovering", "-", "-", "="]),
    (S::Stopping, ["-", "-", "-", "-", "-", "=", "failovering", "-", "-", "="]),
    (S::Stopped, ["=", "=", "=", "syncing", "manual_syncing", "=", "failovering", "-", "=", "="]),
    (S::StopFailed, ["-", "-", "-", "-", "-", "stopping", "failovering", "-", "-", "="]),
    (S::Failovering, ["-", "-", "-", "-", "-", "-", "=", "-", "-", "-"]),
    (S::Failovered, ["-", "-", "-", "-", "-", "-", "=", "reprotecting", "=", "-"]),
    (S::FailoverFailed, ["-", "-", "-", "-", "-", "-", "failovering", "-", "-", "-"]),
    (S::Reprotecting, ["-", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
    (S::ReprotectFailed, ["-", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
    (S::Deleting, ["-", "-", "-", "-", "-", "-", "-", "-", "=", "-"]),
    (S::DeleteFailed, ["-", "-", "-", "-", "-", "-", "-", "-", "=", "-"]),
    (S::Deleted, ["-", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
];

#[test]
fn group_operations_by_status_follow_documentation() {
    for wanted in S::ALL {
        let (_, cells) = TABLE.iter().find(|(status, _)| *status == wanted).unwrap_or_else(|| panic!("{wanted:?}"));
        for (operation, cell) in O::ALL.into_iter().zip(cells) {
            let what = format!("{operation:?} in {wanted:?}");
            let (mut disks, group, pair) = group();
            let spare = disks.create_pair(HERE, pair_input(1), T0).unwrap();
            // One full copy is complete, so that the status alone decides.
            disks.start_group(HERE, &group, false, T0 + 1000).unwrap();
            disks.advance(T0 + 2000);
            disks.edit_group(&group, DiskGroupEdit { status: Some(wanted), ..DiskGroupEdit::default() }).unwrap();
            let now = T0 + 3000;
            let result = match operation {
                O::Modify => disks.modify_group(HERE, &group, DiskGroupInput::default(), now),
                O::AddPair => disks.add_pair(HERE, (&group, &spare), now),
                O::RemovePair => disks.remove_pair(HERE, (&group, &pair), now),
                O::Start => disks.start_group(HERE, &group, false, now),
                O::StartOneShot => disks.start_group(HERE, &group, true, now),
                O::Stop => disks.stop_group(HERE, &group, now),
                O::Failover => disks.failover_group(THERE, &group, now),
                O::Reprotect => disks.reprotect_group(THERE, &group, true, now),
                O::Delete => disks.delete_group(HERE, &group, now),
                O::StartDrill => disks.start_drill(THERE, &group, now).map(|_| ()),
            };
            let found = disks.group(&group).unwrap().status;
            if *cell == "-" {
                let expected = match operation {
                    O::AddPair => "GroupStatusCannotAddPair",
                    O::RemovePair => "GroupStatusCannotRemovePair",
                    _ => "InvalidStatus",
                };
                assert_eq!(code(result), denied(expected), "{what}");
                assert_eq!(found, wanted, "{what}");
                continue;
            }
            if operation == O::Delete {
                // The pair is still in it.
                assert_eq!(code(result), denied("GroupHasPair"), "{what}");
            } else {
                // The pair of an invalid or otherwise edited group has the group's status, which allows as much.
                result.unwrap_or_else(|failure| panic!("{what}: {failure}"));
            }
            let expected = if *cell == "=" { json!(wanted) } else { json!(cell) };
            assert_eq!(json!(found), expected, "{what}");
        }
    }
}

#[test]
fn group_fails_over_and_back() {
    let (mut disks, group, pair) = group();
    assert_eq!(code(disks.failover_group(THERE, &group, T0 + 1000)), denied("InvalidStatus"));
    disks.start_group(HERE, &group, false, T0 + 1000).unwrap();
    assert_eq!(status(&mut disks, &group, T0 + 1999), S::InitialSyncing);
    assert_eq!(disks.group(&group).unwrap().last_recover_point, None);
    assert_eq!(code(disks.start_drill(THERE, &group, T0 + 1999)), denied("RecoverPointNotFound"));
    assert_eq!(status(&mut disks, &group, T0 + 2000), S::Normal);
    let point = |disks: &Disks| disks.group(&group).unwrap().last_recover_point.unwrap() - T0;
    assert_eq!(point(&disks), 2000);
    disks.advance(T0 + 33_000);
    assert_eq!(point(&disks), 32_000);
    disks.freeze(true);
    disks.advance(T0 + 60_000);
    assert_eq!(point(&disks), 32_000);

    assert_eq!(code(disks.failover_group(HERE, &group, T0 + 60_000)), denied("OperateNotAllowedForPrimary"));
    disks.failover_group(THERE, &group, T0 + 60_000).unwrap();
    assert_eq!(status(&mut disks, &group, T0 + 60_999), S::Failovering);
    assert_eq!(status(&mut disks, &group, T0 + 61_000), S::Failovered);
    assert_eq!(point(&disks), 32_000);
    assert_eq!(disks.pair(&pair).unwrap().status, S::Failovered);

    // Cancelled, then failed over again.
    disks.reprotect_group(THERE, &group, false, T0 + 61_000).unwrap();
    assert_eq!(status(&mut disks, &group, T0 + 61_000), S::Stopped);
    assert_eq!(disks.group(&group).unwrap().source.region, HERE);
    disks.failover_group(THERE, &group, T0 + 61_000).unwrap();
    disks.attach("d-source-0", true);
    disks.advance(T0 + 62_000);
    let refused = code(disks.reprotect_group(THERE, &group, true, T0 + 62_000));
    assert_eq!(refused, (403, "OperationDenied".to_owned()));
    assert_eq!(code(disks.reprotect_group(HERE, &group, true, T0 + 62_000)), denied("OperateNotAllowedForPrimary"));
    disks.attach("d-source-0", false);
    disks.reprotect_group(THERE, &group, true, T0 + 62_000).unwrap();
    assert_eq!(status(&mut disks, &group, T0 + 62_500), S::Reprotecting);
    assert_eq!(status(&mut disks, &group, T0 + 63_000), S::Stopped);
    let reversed = disks.group(&group).unwrap().clone();
    assert_eq!((reversed.source.region.as_str(), reversed.primary.region.as_str()), (THERE, HERE));
    assert_eq!(disks.pair(&pair).unwrap().source_disk, "d-destination-0");

    // The way back: the other region is production, and no full copy in this direction exists.
    assert_eq!(code(disks.start_group(HERE, &group, false, T0 + 63_000)), denied("OperateNotAllowedForStandby"));
    assert_eq!(code(disks.failover_group(HERE, &group, T0 + 63_000)), denied("InvalidStatus"));
    disks.start_group(THERE, &group, false, T0 + 63_000).unwrap();
    assert_eq!(status(&mut disks, &group, T0 + 64_000), S::Normal);
    disks.failover_group(HERE, &group, T0 + 64_000).unwrap();
    disks.reprotect_group(HERE, &group, true, T0 + 65_000).unwrap();
    assert_eq!(status(&mut disks, &group, T0 + 66_000), S::Stopped);
    assert_eq!(disks.group(&group).unwrap().source.region, HERE);
}

#[test]
fn fail_next_fails_one_transition() {
    let cases = [(S::Stopping, S::StopFailed), (S::Failovering, S::FailoverFailed)];
    for (through, failed) in cases {
        let (mut disks, group, _) = group();
        disks.start_group(HERE, &group, false, T0 + 1000).unwrap();
        disks.advance(T0 + 2000);
        disks.edit_group(&group, DiskGroupEdit { fail_next: Some(true), ..DiskGroupEdit::default() }).unwrap();
        let mut call = |at| match through {
            S::Stopping => disks.stop_group(HERE, &group, at),
            _ => disks.failover_group(THERE, &group, at),
        };
        call(T0 + 2000).unwrap();
        call(T0 + 3000).unwrap();
        assert_eq!(status(&mut disks, &group, T0 + 3000), through, "it continues from {failed:?}");
        assert!([S::Stopped, S::Failovered].contains(&status(&mut disks, &group, T0 + 4000)));
    }
}

#[test]
fn one_shot_creates_one_recovery_point_per_interval() {
    let (mut disks, group, _) = group();
    disks.attach("d-destination-0", true);
    let attached = code(disks.start_group(HERE, &group, true, T0 + 1000));
    assert_eq!(attached, (400, "OperationDenied.StandbyDeviceAttached".to_owned()));
    disks.attach("d-destination-0", false);
    disks.start_group(HERE, &group, true, T0 + 1000).unwrap();
    assert_eq!(status(&mut disks, &group, T0 + 1500), S::ManualSyncing);
    assert_eq!(status(&mut disks, &group, T0 + 2000), S::Stopped);
    assert_eq!(disks.group(&group).unwrap().last_recover_point, Some(T0 + 2000));
    assert_eq!(code(disks.start_group(HERE, &group, true, T0 + 3000)), denied("ManualSyncLimit"));
    disks.start_group(HERE, &group, true, T0 + 451_000).unwrap();
}

#[test]
fn pair_refusals_have_their_codes() {
    let (mut disks, group, pair) = group();
    let now = T0 + 1000;
    assert_eq!(code(disks.create_pair(HERE, pair_input(0), now)), (403, "OperationDenied".to_owned()));
    assert_eq!(code(disks.delete_pair(HERE, &pair, now)), (403, "OperationDenied".to_owned()));
    assert_eq!(code(disks.add_pair(HERE, (&group, &pair), now)), denied("PairInAnotherGroup"));
    assert_eq!(code(disks.add_pair(THERE, (&group, &pair), now)), denied("OperateNotAllowedForStandby"));
    assert_eq!(code(disks.add_pair("cn-beijing", (&group, &pair), now)), (404, "NoSuchResource".to_owned()));
    let fresh = disks.create_pair(HERE, pair_input(1), now).unwrap();
    assert_eq!(code(disks.add_pair(HERE, (&group, &fresh), now)), denied("PairInitializing"));
    assert_eq!(code(disks.remove_pair(HERE, (&group, &fresh), now)), denied("PairNotInGroup"));
    let elsewhere = DiskPairInput { destination_zone: text("cn-shanghai-c"), ..pair_input(2) };
    let elsewhere = disks.create_pair(HERE, elsewhere, now).unwrap();
    let now = now + 1000;
    assert_eq!(code(disks.add_pair(HERE, (&group, &elsewhere), now)), denied("PairGroupAZoneConflict"));
    let more: Vec<_> = (3..20).map(|number| disks.create_pair(HERE, pair_input(number), now).unwrap()).collect();
    let now = now + 1000;
    for pair in &more[..16] {
        disks.add_pair(HERE, (&group, pair), now).unwrap();
    }
    assert_eq!(code(disks.add_pair(HERE, (&group, &more[16]), now)), denied("PairsExceedInGroup"));
    for pair in more[..16].iter().chain([&pair]) {
        disks.remove_pair(HERE, (&group, pair), now).unwrap();
    }
    assert_eq!(code(disks.remove_pair(HERE, (&group, &pair), now)), denied("NoPairInGroup"));
    assert_eq!(code(disks.start_group(HERE, &group, false, now)), denied("NoPairInGroup"));
    assert_eq!(code(disks.delete_pair(THERE, &pair, now)), denied("OperateNotAllowedForStandby"));
    disks.delete_pair(HERE, &pair, now).unwrap();
    disks.delete_group(HERE, &group, now).unwrap();
    disks.advance(now + 1000);
    assert!(disks.pair(&pair).is_none() && disks.group(&group).is_none());
    let wrong = DiskGroupInput { rpo: Some(600), ..group_input() };
    assert_eq!(code(disks.create_group(HERE, wrong, now)), (400, "InvalidParameter".to_owned()));
}

#[test]
fn drill_is_created_and_clearing_can_fail() {
    let (mut disks, group, _) = group();
    disks.start_group(HERE, &group, false, T0 + 1000).unwrap();
    disks.advance(T0 + 2000);
    assert_eq!(code(disks.start_drill(HERE, &group, T0 + 2000)), denied("StartDrillShouldOnDestRegion"));
    let drill = disks.start_drill(THERE, &group, T0 + 2000).unwrap();
    assert_eq!(code(disks.clear_drill(THERE, (&group, &drill), T0 + 2500)), denied("InvalidStatus"));
    let paging = EbsPaging::new(None, None, None, None).unwrap();
    let found = |disks: &mut Disks, now| {
        let page = disks.describe_drills(THERE, (&group, Some(&drill)), &paging, now).unwrap();
        page.list.first().map(|drill| (drill.status, drill.recover_point, drill.pairs_info.len()))
    };
    let point = (T0 + 2000) / 1000;
    assert_eq!(found(&mut disks, T0 + 3000), Some((DrillStatus::Executed, point, 1)));
    disks.edit_drill(&drill, &DrillEdit { fail_next: Some(true), status: None }).unwrap();
    disks.clear_drill(THERE, (&group, &drill), T0 + 3000).unwrap();
    assert_eq!(found(&mut disks, T0 + 3500), Some((DrillStatus::Clearing, point, 1)));
    assert_eq!(found(&mut disks, T0 + 4000), Some((DrillStatus::ClearFailed, point, 1)));
    disks.clear_drill(THERE, (&group, &drill), T0 + 4000).unwrap();
    assert_eq!(found(&mut disks, T0 + 5000), None);
    assert_eq!(code(disks.clear_drill(THERE, (&group, &drill), T0 + 5000)), (404, "NoSuchResource".to_owned()));
}

#[test]
fn client_token_executes_one_call_once() {
    let mut disks = Disks::new(DiskRules::default());
    let create = |disks: &mut Disks| disks.create_group(HERE, group_input(), T0).map(|id| json!(id));
    let first = disks.once(here("t"), "a".to_owned(), create).unwrap();
    assert_eq!(disks.once(here("t"), "a".to_owned(), create).unwrap(), first);
    let other = disks.once(here("t"), "b".to_owned(), create);
    assert_eq!(code(other), (400, "IdempotentParameterMismatch".to_owned()));
    assert_eq!(disks.once(here("ü"), "a".to_owned(), create).unwrap_err().status, 400);
    assert_eq!(disks.once(here(&"x".repeat(65)), "a".to_owned(), create).unwrap_err().status, 400);
    let failed = disks.once(here("u"), "c".to_owned(), |_| Err(Failure::no_such_resource()));
    assert_eq!(failed.unwrap_err().status, 404);
    assert_ne!(disks.once(here("u"), "d".to_owned(), create).unwrap(), first, "a refusal uses no token up");
}

#[test]
fn both_paging_styles_list_each_group_once() {
    let mut disks = Disks::new(DiskRules::default());
    for _ in 0..5 {
        disks.create_group(HERE, group_input(), T0).unwrap();
    }
    let filter = GroupFilter::default();
    let (mut token, mut listed) = (None, Vec::new());
    loop {
        let paging = EbsPaging::new(Some(2), token.as_deref(), None, None).unwrap();
        let page = disks.describe_groups(THERE, &filter, &paging, T0);
        assert!(page.list.len() <= 2 && page.numbers.is_none());
        listed.extend(page.list.into_iter().map(|group| (group.replica_group_id, group.site)));
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(listed.len(), 5);
    assert!(listed.iter().all(|(_, site)| *site == "backup"));
    let page = |number| EbsPaging::new(None, None, Some(number), Some(2)).unwrap();
    let numbered: Vec<_> = (1..4).flat_map(|n| disks.describe_groups(THERE, &filter, &page(n), T0).list).collect();
    assert_eq!(numbered.len(), 5);
    let all = EbsPaging::new(None, None, None, None).unwrap();
    assert!(disks.describe_groups("cn-beijing", &filter, &all, T0).list.is_empty());
    assert_eq!(EbsPaging::new(Some(501), None, None, None).unwrap_err().status, 400);
    assert_eq!(EbsPaging::new(None, Some("made-up"), None, None).unwrap_err().status, 400);
    assert_eq!(EbsPaging::new(Some(1), None, Some(1), None).unwrap_err().code, "InvalidParameter.Conflict");
}

#[test]
fn reprotect_delete_and_create_can_fail() {
    let (mut disks, group, pair) = group();
    let fail = || DiskGroupEdit { fail_next: Some(true), ..DiskGroupEdit::default() };
    let failovered = DiskGroupEdit { status: Some(S::Failovered), ..fail() };
    disks.edit_group(&group, failovered).unwrap();
    disks.reprotect_group(THERE, &group, true, T0 + 2000).unwrap();
    assert_eq!(status(&mut disks, &group, T0 + 3000), S::ReprotectFailed);
    assert_eq!(disks.group(&group).unwrap().source.region, HERE, "it was not reversed");
    disks.edit_group(&group, DiskGroupEdit { status: Some(S::Stopped), ..fail() }).unwrap();
    disks.remove_pair(HERE, (&group, &pair), T0 + 3000).unwrap();
    disks.delete_group(HERE, &group, T0 + 3000).unwrap();
    assert_eq!(status(&mut disks, &group, T0 + 4000), S::DeleteFailed);
    disks.delete_group(HERE, &group, T0 + 4000).unwrap();
    disks.advance(T0 + 5000);
    assert!(disks.group(&group).is_none());
    let other = disks.create_group(HERE, group_input(), T0 + 5000).unwrap();
    disks.edit_group(&other, fail()).unwrap();
    assert_eq!(status(&mut disks, &other, T0 + 6000), S::CreateFailed);
}

#[test]
fn production_rule_decides_site_after_reversal() {
    for (production, site) in [(Production::Source, "backup"), (Production::Primary, "production")] {
        let (mut disks, group, _) = group();
        disks.rules.production = production;
        let failovered = DiskGroupEdit { status: Some(S::Failovered), ..DiskGroupEdit::default() };
        disks.edit_group(&group, failovered).unwrap();
        disks.reprotect_group(THERE, &group, true, T0 + 2000).unwrap();
        let paging = EbsPaging::new(None, None, None, None).unwrap();
        let page = disks.describe_groups(HERE, &GroupFilter::default(), &paging, T0 + 3000);
        assert_eq!((page.list[0].status, page.list[0].site), (S::Stopped, site), "{production:?}");
        let region = if production == Production::Source { THERE } else { HERE };
        disks.start_group(region, &group, false, T0 + 3000).unwrap();
    }
}
