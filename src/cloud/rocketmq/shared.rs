//! Lists of plans that several callers share: a caller joins the list that begins next, and never one that began before it asked. A
//! thousand plans that are created at once do not cost a thousand lists of all plans. A list that cannot be read answers those too that wait
//! for the next one: a failure proves nothing that could be old, and a dead endpoint is reported to all after one timeout.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::time::Instant;

use super::{PlanView, RocketMq};
use crate::cloud::error::{Class, Error};
use crate::cloud::list::List;
use crate::cloud::operation::ApiOperation;
use crate::cloud::rate_limit::Priority;
use crate::cloud::wire::broken;

/// Minimum time between the starts of two lists of one caller while others wait: more of them share the next one.
const MIN_INTERVAL: Duration = Duration::from_millis(250);
/// The interval, where that is longer, as a multiple of the time that the last list took: of ten thousand plans it takes much of a core.
const INTERVAL_PER_LIST: u32 = 3;
/// Maximum time from the end of a list until the next one begins.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Whether a caller needs a plan of the list.
type Wanted = Box<dyn Fn(&PlanView) -> bool + Send + Sync>;
/// The list without the plans that no caller needs.
type Outcome = Result<Arc<List<PlanView>>, Error>;

/// The lists of one caller and region.
#[derive(Default)]
struct Turns {
    /// Held while a list is read.
    reading: Arc<tokio::sync::Mutex<Last>>,
    next: Option<Next>,
}

/// The last list.
#[derive(Default)]
struct Last {
    /// The earliest start of the next one.
    next: Option<Instant>,
    /// The failure and its time, for those that waited.
    failure: Option<(Error, Instant)>,
}

/// The list that has not begun.
struct Next {
    wants: Arc<Mutex<Vec<Wanted>>>,
    list: Shared<BoxFuture<'static, Outcome>>,
}

/// The lists of plans that are in progress or wait.
#[derive(Default)]
pub struct SharedLists {
    all: Mutex<HashMap<String, Turns>>,
}

impl SharedLists {
    /// The list of all plans that begins next, without those that no caller wants.
    pub(super) async fn next(self: &Arc<Self>, cloud: &RocketMq, wanted: Wanted) -> Outcome {
        let key = cloud.caller();
        let list = {
            let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
            let turns = all.entry(key.clone()).or_default();
            let next = turns.next.get_or_insert_with(|| {
                let wants = Arc::<Mutex<Vec<Wanted>>>::default();
                let list = self.clone().read(key, turns.reading.clone(), cloud.clone(), wants.clone());
                Next { wants, list: list.boxed().shared() }
            });
            next.wants.lock().unwrap_or_else(PoisonError::into_inner).push(wanted);
            next.list.clone()
        };
        list.await
    }

    async fn read(
        self: Arc<Self>,
        key: String,
        reading: Arc<tokio::sync::Mutex<Last>>,
        cloud: RocketMq,
        wants: Arc<Mutex<Vec<Wanted>>>,
    ) -> Outcome {
        let waited = reading.try_lock().is_err();
        let mut last = reading.lock_owned().await;
        let failure = last.failure.take().filter(|(_, at)| waited && at.elapsed() < MIN_INTERVAL);
        if let Some((failure, _)) = failure {
            self.begin(&key);
            drop(last);
            self.end(&key);
            return Err(failure);
        }
        if let Some(next) = last.next {
            tokio::time::sleep_until(next).await;
        }
        let began = Instant::now();
        // Its callers may give up, and it ends nowhere.
        last.next = Some(next_start(began, began));
        self.begin(&key);
        let wants = std::mem::take(&mut *wants.lock().unwrap_or_else(PoisonError::into_inner));
        let list = cloud
            .with_priority(Priority::Change)
            .list_plans_as(|plan| wants.iter().any(|wanted| wanted(&plan)).then(|| Box::new(plan)))
            .await;
        last.next = Some(next_start(began, Instant::now()));
        let failure = list.as_ref().err().filter(|error| error.class == Class::Unavailable);
        last.failure = failure.cloned().map(|error| (error, Instant::now()));
        drop(last);
        self.end(&key);
        let list = list?;
        // The signer may have taken another identity meanwhile, whose list proves nothing to the other callers.
        if cloud.caller() != key {
            return Err(broken(
                ApiOperation::ListDisasterRecoveryPlans,
                "another caller than the request: the credentials were replaced meanwhile",
            ));
        }
        let complete = list.is_complete();
        let wanted = list.into_entries().into_iter().flatten().map(|plan| *plan).collect();
        Ok(Arc::new(if complete { List::Complete(wanted) } else { List::Incomplete(wanted) }))
    }

    /// No caller joins the list from now on.
    fn begin(&self, key: &str) {
        if let Some(turns) = self.all.lock().unwrap_or_else(PoisonError::into_inner).get_mut(key) {
            turns.next = None;
        }
    }

    /// Keeps nothing of a caller without lists.
    fn end(&self, key: &str) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.get(key).is_some_and(|it| it.next.is_none() && Arc::strong_count(&it.reading) == 1) {
            all.remove(key);
        }
    }
}

/// The earliest start of the list after one that began and ended then.
fn next_start(began: Instant, ended: Instant) -> Instant {
    let interval = MIN_INTERVAL.max((ended - began) * INTERVAL_PER_LIST);
    (began + interval).min(ended + MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use bytes::Bytes;
    use http_body_util::Full;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::cloud::client::{Client, Target, from_service};
    use crate::cloud::credentials::Credentials;
    use crate::cloud::credentials::signer::Signer;
    use crate::cloud::rate_limit::RateLimit;

    /// An API with three plans that answers as often as it is allowed to.
    #[derive(Clone)]
    struct Cloud {
        requests: Arc<AtomicUsize>,
        allowed: Arc<Semaphore>,
        fails: Arc<AtomicBool>,
        shared: Arc<SharedLists>,
    }

    impl Cloud {
        fn new(allowed: usize) -> Self {
            let allowed = Arc::new(Semaphore::new(allowed));
            Self { requests: Arc::default(), allowed, fails: Arc::default(), shared: Arc::default() }
        }

        /// The API as the caller with this key sees it.
        fn of(&self, key: &str) -> RocketMq {
            let (requests, allowed, fails) = (self.requests.clone(), self.allowed.clone(), self.fails.clone());
            let service = tower::service_fn(move |_| {
                requests.fetch_add(1, Ordering::SeqCst);
                let (allowed, fails) = (allowed.clone(), fails.clone());
                async move {
                    allowed.acquire().await.expect("it is never closed").forget();
                    if fails.load(Ordering::SeqCst) {
                        let body = Full::new(Bytes::from_static(br#"{"code":"ServiceUnavailable","message":"later"}"#));
                        let answer = http::Response::builder().status(503).body(body);
                        return Ok(answer.expect("an answer"));
                    }
                    let plans = [1, 2, 3].map(|id| serde_json::json!({ "planId": id, "planStatus": "RUNNING" }));
                    let body = serde_json::json!({ "success": true, "data": { "totalCount": 3, "list": plans } });
                    Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(Bytes::from(body.to_string()))))
                }
            });
            let (rate_limit, deadline) = (Arc::new(RateLimit::new(100)), Duration::from_secs(5));
            let client = Client::new(from_service(service), rate_limit, deadline, Arc::new(|_| {}));
            let key =
                Credentials { access_key_id: key.into(), access_key_secret: "secret".into(), security_token: None };
            let (product, version, priority) = (super::super::PRODUCT, super::super::VERSION, Priority::Change);
            let (endpoint, region) = ("https://rocketmq.test".to_owned(), "test".to_owned());
            let signer = Some(Signer::fixed(key));
            let target = Target { product, version, endpoint, region, signer, priority };
            RocketMq::new(client, target).sharing(self.shared.clone())
        }

        fn requests(&self) -> usize {
            self.requests.load(Ordering::SeqCst)
        }

        fn allow(&self, answers: usize) {
            self.allowed.add_permits(answers);
        }
    }

    /// Asks for the plan with this ID. The IDs of the list.
    async fn find(cloud: RocketMq, id: i64) -> Vec<i64> {
        let list = cloud.find_plans(move |plan| plan.plan_id == id).await.expect("a list");
        assert!(list.is_complete());
        list.entries().iter().map(|plan| plan.plan_id).collect()
    }

    async fn until(what: impl Fn() -> bool) {
        while !what() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn callers_share_the_list_that_begins_next() {
        let cloud = Cloud::new(0);
        let first = tokio::spawn(find(cloud.of("a"), 1));
        until(|| cloud.requests() == 1).await;
        // The first list began before these callers asked.
        let later: Vec<_> = [2, 3, 3].map(|id| tokio::spawn(find(cloud.of("a"), id))).into();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        cloud.allow(1);
        assert_eq!(first.await.expect("no panic"), [1], "it has only what was wanted");
        cloud.allow(1);
        for it in later {
            assert_eq!(it.await.expect("no panic"), [2, 3]);
        }
        assert_eq!(cloud.requests(), 2);
        assert!(cloud.shared.all.lock().expect("no panic").is_empty(), "nothing is kept");
    }

    #[tokio::test(start_paused = true)]
    async fn failed_list_answers_all_that_wait() {
        let cloud = Cloud::new(0);
        let list = |id: i64| {
            let caller = cloud.of("a");
            tokio::spawn(async move { caller.find_plans(move |plan| plan.plan_id == id).await })
        };
        let first = list(1);
        until(|| cloud.requests() == 1).await;
        let later = [list(2), list(3)];
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        cloud.fails.store(true, Ordering::SeqCst);
        cloud.allow(100);
        let failed = first.await.expect("no panic").expect_err("it fails");
        let attempts = cloud.requests();
        for it in later {
            assert_eq!(it.await.expect("no panic").expect_err("it fails"), failed);
        }
        assert_eq!(cloud.requests(), attempts, "no list of their own");
        cloud.fails.store(false, Ordering::SeqCst);
        assert_eq!(find(cloud.of("a"), 3).await, [3], "the next caller reads a list");
        assert!(cloud.shared.all.lock().expect("no panic").is_empty(), "nothing is kept");
    }

    #[test]
    fn long_lists_leave_pauses() {
        let began = Instant::now();
        for (took_ms, next_ms) in [(0, 250), (50, 250), (100, 300), (400, 1_200), (1_000, 3_000), (5_000, 7_000)] {
            let [ended, next] = [took_ms, next_ms].map(|ms| began + Duration::from_millis(ms));
            assert_eq!(next_start(began, ended), next, "{took_ms} ms");
        }
    }

    #[tokio::test]
    async fn callers_with_other_credentials_share_nothing() {
        let cloud = Cloud::new(2);
        let both = futures::future::join(find(cloud.of("a"), 1), find(cloud.of("b"), 2)).await;
        assert_eq!((both, cloud.requests()), ((vec![1], vec![2]), 2));
    }

    #[tokio::test]
    async fn caller_that_gives_up_stops_no_other() {
        let cloud = Cloud::new(0);
        let first = tokio::spawn(find(cloud.of("a"), 1));
        until(|| cloud.requests() == 1).await;
        let waiting = tokio::spawn(find(cloud.of("a"), 2));
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        first.abort();
        waiting.abort();
        assert!(first.await.is_err() && waiting.await.is_err());
        cloud.allow(3);
        assert_eq!(find(cloud.of("a"), 3).await, [2, 3], "the list that had not begun serves the next caller");
        assert_eq!(find(cloud.of("a"), 3).await, [3]);
    }
}
