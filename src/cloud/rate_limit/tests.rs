use super::*;

const MAX_WAIT: Duration = Duration::from_secs(5);
const GET: ApiOperation = ApiOperation::GetDisasterRecoveryPlan;
const LIST: ApiOperation = ApiOperation::ListDisasterRecoveryPlans;

fn shared(identity: &Identity, operation: ApiOperation) -> BucketKey<'_> {
    BucketKey { owner: Owner::Shared(identity), product: "rocketmq", region: "cn-hangzhou", operation }
}

fn account(id: &str) -> Identity {
    Identity::of_account(id)
}

/// Takes all slots of the next five seconds, and returns their number.
fn exhaust(limit: &RateLimit, key: BucketKey<'_>, now: Instant) -> usize {
    std::iter::from_fn(|| limit.reserve(key, now, MAX_WAIT).ok()).count()
}

fn used<'a>(usage: &'a [Usage], identity: &str, account: &str, operation: ApiOperation) -> Option<&'a Usage> {
    usage.iter().find(|it| it.identity == identity && it.account == account && it.operation == operation)
}

#[test]
fn every_operation_and_region_has_own_slots() {
    let (limit, now, one) = (RateLimit::new(10), Instant::now(), account("1"));
    assert_eq!(exhaust(&limit, shared(&one, GET), now), 51);
    assert!(limit.take(shared(&one, GET), now).is_err());
    let ebs = BucketKey { product: "ebs", ..shared(&one, GET) };
    let elsewhere = BucketKey { region: "cn-shanghai", ..shared(&one, GET) };
    let other = account("2");
    for free in [shared(&one, LIST), ebs, elsewhere, shared(&other, GET)] {
        assert_eq!(limit.take(free, now), Ok(()), "{free:?}");
    }
    // An equal identity is the same.
    assert!(limit.take(shared(&account("1"), GET), now).is_err());
}

#[test]
fn throttling_slows_one_operation_only() {
    let (limit, now, one) = (RateLimit::new(36), Instant::now(), account("1"));
    let others = [
        shared(&one, LIST),
        BucketKey { region: "cn-shanghai", ..shared(&one, GET) },
        BucketKey { product: "ebs", ..shared(&one, GET) },
        BucketKey { owner: Owner::Shared(&account("2")), ..shared(&one, GET) },
    ];
    others.iter().for_each(|key| assert_eq!(limit.take(*key, now), Ok(())));
    limit.throttled(shared(&one, GET), Some(Duration::from_secs(30)), now);
    assert_eq!(limit.reserve(shared(&one, GET), now, MAX_WAIT), Err(Duration::from_secs(30)));
    for usage in limit.usage(now) {
        let throttled = usage.totals.throttled == 1;
        let rates = Rates { limit: 36.0, allowed: if throttled { 0.0 } else { 36.0 } };
        assert_eq!(usage.rates, Some(rates), "{usage:?}");
    }
    others.iter().for_each(|key| assert!(limit.reserve(*key, now, Duration::ZERO).is_ok(), "{key:?}"));
}

#[test]
fn rates_are_by_product_and_operation() {
    let limit = RateLimit::new(135).with_rate("ebs", 36).with_max(ApiOperation::ClearReplicaGroupDrill, 9);
    let (now, one) = (Instant::now(), account("1"));
    let ebs = |operation| BucketKey { product: "ebs", ..shared(&one, operation) };
    for (key, slots) in [
        (shared(&one, GET), 15 + 5 * 135),
        (ebs(ApiOperation::StartDiskReplicaGroup), 4 + 5 * 36),
        (ebs(ApiOperation::ClearReplicaGroupDrill), 1 + 5 * 9),
    ] {
        assert_eq!(exhaust(&limit, key, now), slots, "{key:?}");
    }
    let low = RateLimit::new(135).with_rate("ebs", 5).with_max(ApiOperation::ClearReplicaGroupDrill, 9);
    assert_eq!(exhaust(&low, ebs(ApiOperation::ClearReplicaGroupDrill), now), 1 + 5 * 5);
}

#[test]
fn changed_budget_keeps_buckets() {
    let (limit, now, one) = (RateLimit::new(135), Instant::now(), account("1"));
    let budget = |rate| Budget::new("shop/main".into(), rate).with_max("ebs", 40);
    let (low, high) = (budget(18), budget(90));
    let own = |budget| BucketKey { owner: Owner::Account(budget), ..shared(&one, GET) };
    assert_eq!(exhaust(&limit, own(&low), now), 2 + 5 * 18);
    assert!(exhaust(&limit, shared(&one, GET), now) > 0);
    assert!(limit.reserve(own(&high), now, Duration::ZERO).is_err(), "the slots are taken");
    assert_eq!(limit.reserve(shared(&one, GET), now, MAX_WAIT).map_err(|wait| wait > MAX_WAIT), Err(true));
    let usage = limit.usage(now);
    let own = used(&usage, "", "shop/main", GET).expect("it is used");
    assert_eq!(own.rates.map(|it| it.limit), Some(90.0));
    let ebs = BucketKey { owner: Owner::Account(&high), product: "ebs", ..shared(&one, GET) };
    assert_eq!(exhaust(&limit, ebs, now), 4 + 5 * 40);
}

#[test]
fn usage_lasts_until_hour_without_use() {
    let (limit, now, one) = (RateLimit::new(18), Instant::now(), account("1"));
    assert_eq!(limit.usage(now), []);
    limit.waited(shared(&one, GET), now, Duration::from_millis(100));
    limit.exhausted(shared(&one, GET), now, Duration::from_millis(5000));
    limit.throttled(shared(&one, GET), None, now);
    let later = now + Duration::from_secs(1800);
    assert!(limit.reserve(shared(&one, LIST), later, MAX_WAIT).is_ok());
    let usage = limit.usage(now + Duration::from_millis(500));
    let used = used(&usage, "1", "", GET).expect("it is used");
    assert_eq!((used.product, used.region.as_str()), ("rocketmq", "cn-hangzhou"));
    assert_eq!(used.rates, Some(Rates { limit: 18.0, allowed: 9.0 }));
    let totals = Totals { waited: Duration::from_millis(5100), exhausted: 1, throttled: 1 };
    assert_eq!(used.totals, totals);
    let left: Vec<_> = limit.usage(now + Duration::from_secs(3600)).iter().map(|it| it.operation).collect();
    assert_eq!(left, [LIST]);
}

#[test]
fn identities_that_look_alike_are_reported_together() {
    let (limit, now) = (RateLimit::new(18), Instant::now());
    let [one, other] = ["LTAI-one-0001", "LTAI-two-0001"].map(|id| Identity::of_key(id, "LTAI****0001".into()));
    limit.throttled(shared(&one, GET), Some(Duration::from_secs(5)), now);
    limit.throttled(shared(&other, GET), Some(Duration::from_secs(1)), now);
    let usage = limit.usage(now + Duration::from_secs(1));
    assert_eq!(usage.len(), 1, "{usage:?}");
    assert_eq!(usage[0].rates, Some(Rates { limit: 36.0, allowed: 9.0 }));
    assert_eq!((usage[0].identity.as_str(), usage[0].totals.throttled), ("LTAI****0001", 2));
}

#[test]
fn number_of_reported_buckets_is_limited() {
    let (limit, now, one) = (RateLimit::new(18), Instant::now(), account("1"));
    for number in 0..MAX_REPORTED + 10 {
        let region = format!("region-{number}");
        limit.throttled(BucketKey { region: &region, ..shared(&one, GET) }, None, now);
    }
    let usage = limit.usage(now);
    assert_eq!(usage.len(), MAX_REPORTED + 1);
    let rest = used(&usage, "Other", "", GET).expect("the rest is reported");
    assert_eq!((rest.region.as_str(), rest.rates, rest.totals.throttled), ("Other", None, 10));
    // Totals never fall.
    let rest = limit.usage(now + Duration::from_secs(3600));
    assert_eq!(rest.iter().map(|it| it.totals.throttled).collect::<Vec<_>>(), [10]);
}
