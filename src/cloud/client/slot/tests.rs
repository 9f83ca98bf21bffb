use std::sync::Arc;

use super::super::super::operation::ApiOperation;
use super::super::super::rate_limit::{Identity, Owner};
use super::*;

fn key(identity: &Identity) -> BucketKey<'_> {
    let operation = ApiOperation::ListDisasterRecoveryCheckpoints;
    BucketKey { owner: Owner::Shared(identity), product: "rocketmq", region: "cn-hangzhou", operation }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// Waits for a slot in another task, which returns the outcome and the wait.
fn caller(
    limit: &Arc<RateLimit>,
    identity: &Identity,
    priority: Priority,
) -> tokio::task::JoinHandle<(Result<(), Duration>, Duration)> {
    let (limit, identity, started) = (limit.clone(), identity.clone(), Instant::now());
    tokio::spawn(async move { (wait_for(&limit, key(&identity), priority).await, started.elapsed()) })
}

#[tokio::test(start_paused = true)]
async fn samples_wait_in_turn_and_changes_go_first() {
    let (limit, identity) = (Arc::new(RateLimit::new(36)), Identity::of_account("1"));
    let samples: Vec<_> = (0..100).map(|_| caller(&limit, &identity, Priority::Sample)).collect();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(97)).await;
        assert_eq!(caller(&limit, &identity, Priority::Change).await.expect("ended"), (Ok(()), Duration::ZERO));
    }
    let mut last = Duration::ZERO;
    for sample in samples {
        let (outcome, wait) = sample.await.expect("ended");
        assert!(outcome.is_ok() && wait >= last, "{outcome:?} after {wait:?}");
        last = wait;
    }
    // 120 calls at 36 a second.
    assert!((3000..3600).contains(&last.as_millis()), "{last:?}");
    let usage = limit.usage(now());
    assert_eq!((usage.len(), usage[0].totals.exhausted), (1, 0));
    assert!(usage[0].totals.waited > Duration::from_secs(100));
}

#[tokio::test(start_paused = true)]
async fn change_is_given_up_at_once_beyond_five_seconds() {
    let (limit, identity) = (Arc::new(RateLimit::new(9)), Identity::of_account("1"));
    let changes: Vec<_> = (0..46).map(|_| caller(&limit, &identity, Priority::Change)).collect();
    tokio::task::yield_now().await;
    let (outcome, wait) = caller(&limit, &identity, Priority::Change).await.expect("ended");
    assert!(outcome.is_err_and(|wait| wait > MAX_WAIT) && wait.is_zero());
    for change in changes {
        let (outcome, wait) = change.await.expect("ended");
        assert!(outcome.is_ok() && wait <= MAX_WAIT + Duration::from_millis(2), "{outcome:?} after {wait:?}");
    }
    assert_eq!(limit.usage(now())[0].totals.exhausted, 1);
}

#[tokio::test(start_paused = true)]
async fn sample_is_given_up_after_minute() {
    let (limit, identity) = (Arc::new(RateLimit::new(9)), Identity::of_account("1"));
    // Two changes always wait, so that no slot is ever free.
    let changes = [(); 2].map(|()| {
        let (limit, identity) = (limit.clone(), identity.clone());
        tokio::spawn(async move { while wait_for(&limit, key(&identity), Priority::Change).await.is_ok() {} })
    });
    tokio::task::yield_now().await;
    let samples = [(); 2].map(|()| caller(&limit, &identity, Priority::Sample));
    for sample in samples {
        let (outcome, wait) = sample.await.expect("ended");
        assert!(
            outcome.is_err() && wait.abs_diff(MAX_SAMPLE_WAIT) < Duration::from_secs(1),
            "{outcome:?} after {wait:?}"
        );
    }
    changes.iter().for_each(tokio::task::JoinHandle::abort);
    assert_eq!(limit.usage(now())[0].totals.exhausted, 2);
}

#[tokio::test(start_paused = true)]
async fn long_pause_gives_samples_up_at_once() {
    let (limit, identity) = (Arc::new(RateLimit::new(36)), Identity::of_account("1"));
    limit.throttled(key(&identity), Some(Duration::from_secs(61)), now());
    for priority in [Priority::Sample, Priority::Change] {
        let (outcome, wait) = caller(&limit, &identity, priority).await.expect("ended");
        assert!(outcome.is_err_and(|wait| wait.as_secs() == 61) && wait.is_zero(), "{priority:?}: {outcome:?}");
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (outcome, wait) = caller(&limit, &identity, Priority::Sample).await.expect("ended");
    assert!(outcome.is_ok() && wait.as_secs() == 59, "{outcome:?} after {wait:?}");
}

#[tokio::test(start_paused = true)]
async fn throttling_delays_changes_that_wait() {
    let (limit, identity) = (Arc::new(RateLimit::new(9)), Identity::of_account("1"));
    let changes: Vec<_> = (0..5).map(|_| caller(&limit, &identity, Priority::Change)).collect();
    tokio::task::yield_now().await;
    limit.throttled(key(&identity), Some(Duration::from_secs(2)), now());
    let mut waits = vec![];
    for change in changes {
        let (outcome, wait) = change.await.expect("ended");
        assert!(outcome.is_ok(), "{outcome:?} after {wait:?}");
        waits.push(wait.as_secs());
    }
    assert_eq!(waits, [0, 2, 2, 2, 2], "the first was made before");
    // A pause beyond the five seconds ends the wait.
    let _first = limit.reserve(key(&identity), now(), MAX_WAIT);
    let change = caller(&limit, &identity, Priority::Change);
    tokio::task::yield_now().await;
    limit.throttled(key(&identity), Some(Duration::from_secs(30)), now());
    let (outcome, wait) = change.await.expect("ended");
    assert!(outcome.is_err() && wait < Duration::from_secs(1), "{outcome:?} after {wait:?}");
}
