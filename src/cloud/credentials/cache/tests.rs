use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};

use secrecy::ExposeSecret;

use super::*;
use crate::cloud::credentials::provider;
use crate::cloud::credentials::signer::Signer;

const PAUSE: Duration = Duration::from_secs(5);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).expect("a time")
}

fn key(id: &str) -> Credentials {
    Credentials {
        access_key_id: id.into(),
        access_key_secret: format!("{id}-secret").into(),
        security_token: Some(format!("{id}-token").into()),
    }
}

fn issued(id: &str, expires: i64) -> Result<Issued, CredentialsError> {
    Ok(Issued { credentials: key(id), expires: Some(at(expires)), identity: "acs:ram::1:role/r".into() })
}

fn error(class: Class, code: &str) -> Error {
    Error {
        class,
        operation: ApiOperation::AssumeRole,
        code: code.into(),
        message: "m".into(),
        request_id: Some("R".into()),
    }
}

fn down() -> Result<Issued, CredentialsError> {
    Err(CredentialsError::Unreachable(error(Class::Unavailable, "Timeout")))
}

fn forbidden() -> Result<Issued, CredentialsError> {
    Err(CredentialsError::Refused(error(Class::Denied, "NoPermission")))
}

fn refusal(code: &str) -> Error {
    error(Class::Denied, code)
}

type Script = Arc<Mutex<VecDeque<Result<Issued, CredentialsError>>>>;

/// A cache whose source gives the outcomes of the script in order.
struct Scene {
    cache: Arc<CredentialsCache>,
    script: Script,
    asked: Arc<AtomicU32>,
    told: Arc<AtomicU32>,
}

impl Scene {
    fn new(renewed: bool) -> Self {
        let (script, asked, told) = (Script::default(), Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let (answers, asking, telling) = (script.clone(), asked.clone(), told.clone());
        let source = provider(move || {
            asking.fetch_add(1, Ordering::SeqCst);
            let answer = answers.lock().expect("script").pop_front().expect("asked more often than there are answers");
            async move {
                tokio::task::yield_now().await;
                answer
            }
        });
        let on_change: OnChange = Arc::new(move || {
            telling.fetch_add(1, Ordering::SeqCst);
        });
        let cache = match renewed {
            true => CredentialsCache::renewed(source, PAUSE, on_change),
            false => CredentialsCache::read_each_time(source, on_change),
        };
        Self { cache: Arc::new(cache), script, asked, told }
    }

    fn then(&self, answer: Result<Issued, CredentialsError>) -> &Self {
        self.script.lock().expect("script").push_back(answer);
        self
    }

    async fn id(&self, now: i64) -> Result<String, CredentialsError> {
        self.cache.credentials(at(now)).await.map(|issued| issued.credentials.access_key_id)
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }

    fn told(&self) -> u32 {
        self.told.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_callers_asks_the_source() {
    let scene = Scene::new(true);
    scene.then(issued("first", 3600));
    let callers = (0..50).map(|_| {
        let cache = scene.cache.clone();
        tokio::spawn(async move { cache.credentials(at(0)).await })
    });
    for caller in futures::future::join_all(callers).await {
        assert_eq!(caller.expect("no panic").expect("credentials").credentials.access_key_id, "first");
    }
    assert_eq!(scene.asked(), 1);

    // When renewal is due, all are served and one asks.
    scene.then(issued("second", 7200));
    let callers = (0..50).map(|_| {
        let cache = scene.cache.clone();
        tokio::spawn(async move { cache.credentials(at(3000)).await })
    });
    for caller in futures::future::join_all(callers).await {
        assert!(caller.expect("no panic").is_ok());
    }
    assert_eq!((scene.asked(), scene.id(3000).await), (2, Ok("second".into())));
}

/// The endpoint of the calls.
const ENDPOINT: &str = "https://rocketmq.example";

#[tokio::test]
async fn renewal_begins_at_lead_or_last_third() {
    for (life, early) in [(3600, 900), (900, 300), (7200, 900)] {
        let scene = Scene::new(true);
        scene.then(issued("first", life)).then(issued("second", 2 * life));
        assert_eq!(scene.id(0).await, Ok("first".into()));
        let due = scene.cache.due().expect("they end").duration_since(at(life - early));
        assert!(due.as_secs_f64().abs() < 1.0, "{due}");
        assert_eq!(scene.id(life - early - 1).await, Ok("first".into()));
        assert_eq!(scene.id(life - early + 1).await, Ok("second".into()));
        assert_eq!(scene.asked(), 2);
    }
}

#[tokio::test]
async fn credentials_are_used_until_expiry_while_renewal_fails() {
    let scene = Scene::new(true);
    scene.then(issued("first", 3600)).then(down()).then(down());
    assert_eq!(scene.id(0).await, Ok("first".into()));
    assert_eq!(scene.id(3000).await, Ok("first".into()));
    assert!(scene.cache.health(None, at(0)).failing.is_some());
    assert_eq!(scene.told(), 1);
    // The source is not asked in between.
    assert_eq!(scene.id(3004).await, Ok("first".into()));
    assert_eq!(scene.asked(), 2);
    assert_eq!(scene.id(3599).await, Ok("first".into()));
    let CredentialsError::Expired { at: ended, why } = scene.id(3600).await.expect_err("they ended") else {
        panic!("it is said that they ended");
    };
    assert_eq!((ended, why.passing(), scene.asked()), (at(3600), true, 3));
    // A person must act on this error, so it does not name the expiry.
    scene.then(forbidden()).then(issued("second", 9000));
    assert!(matches!(scene.id(3700).await, Err(CredentialsError::Refused(_))));
    assert_eq!(scene.told(), 2, "another reason is told");
    assert_eq!(scene.id(3800).await, Ok("second".into()));
    assert!(scene.cache.health(None, at(0)).failing.is_none());
    assert_eq!(scene.told(), 3);
}

#[tokio::test]
async fn pauses_double_up_to_a_minute() {
    let scene = Scene::new(true);
    let mut now = 0;
    for pause in [5, 10, 20, 40, 60, 60, 60] {
        scene.then(down());
        assert!(scene.id(now).await.is_err());
        let asked = scene.asked();
        assert!(scene.id(now + pause - 1).await.is_err());
        assert_eq!(scene.asked(), asked, "asked again before {pause} s");
        now += pause + 1;
    }
    // A clock that was set back does not prolong the pause.
    scene.then(issued("first", 3600));
    assert_eq!(scene.id(-86_400).await, Ok("first".into()));
}

#[tokio::test]
async fn waiting_callers_share_a_failure() {
    let scene = Scene::new(true);
    scene.then(down());
    // The callers of a moment earlier wait for the one that asks.
    let callers: Vec<_> = (0..20).map(|caller| scene.id(-caller)).collect();
    let answers = futures::future::join_all(callers).await;
    assert!(answers.iter().all(Result::is_err));
    assert_eq!(scene.asked(), 1);
}

#[tokio::test]
async fn credentials_expired_when_issued_name_the_clock() {
    let scene = Scene::new(true);
    scene.then(issued("first", 0)).then(issued("second", 3600));
    let error = scene.id(600).await.expect_err("it is over");
    assert!(matches!(error, CredentialsError::EndedWhenIssued { expires, .. } if expires == at(0)), "{error:?}");
    assert!(error.to_string().contains("clock") && !error.passing());
    for later in [600, 601, 604] {
        assert!(scene.id(later).await.is_err());
    }
    assert_eq!(scene.asked(), 1, "the source is left alone");
    // Correcting the clock ends the pause.
    assert_eq!(scene.id(0).await, Ok("second".into()));
}

#[tokio::test]
async fn aborted_or_panicking_caller_blocks_no_other() {
    let asked = Arc::new(AtomicU32::new(0));
    let asking = asked.clone();
    let source = provider(move || {
        let time = asking.fetch_add(1, Ordering::SeqCst);
        async move {
            match time {
                0 => std::future::pending().await,
                1 => panic!("a source that panics"),
                _ => issued("third", 3600),
            }
        }
    });
    let cache = Arc::new(CredentialsCache::renewed(source, PAUSE, Arc::new(|| {})));
    let caller = |cache: &Arc<CredentialsCache>| {
        let cache = cache.clone();
        tokio::spawn(async move { cache.credentials(at(0)).await })
    };
    let first = caller(&cache);
    while asked.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let (second, third) = (caller(&cache), caller(&cache));
    tokio::task::yield_now().await;
    first.abort();
    assert!(second.await.expect_err("the source panicked").is_panic());
    assert_eq!(third.await.expect("served").expect("credentials").credentials.access_key_id, "third");
}

#[tokio::test]
async fn refused_credentials_are_replaced_once() {
    let scene = Scene::new(true);
    scene.then(issued("first", 3600)).then(issued("second", 7200));
    assert_eq!(scene.id(0).await, Ok("first".into()));
    let error = refusal("InvalidSecurityToken.Expired");
    // Many calls are refused at once.
    for _ in 0..10 {
        let other = scene.cache.replacement_for(&key("first"), ENDPOINT, &error, at(100)).await.expect("others");
        assert_eq!(other.credentials.access_key_id, "second");
    }
    assert_eq!(scene.asked(), 2);
    assert_eq!(scene.told(), 1, "it is told once");
    // The refusal of the first does not count for the second.
    assert!(scene.cache.health(Some(&key("second")), at(100)).refused.is_none());
    // The source is not asked as fast as calls are refused.
    for now in 100..104 {
        assert!(scene.cache.replacement_for(&key("second"), ENDPOINT, &error, at(now)).await.is_none());
    }
    assert_eq!(scene.asked(), 2);
    assert!(scene.cache.health(Some(&key("second")), at(105)).refused.is_some());
    assert!(scene.cache.health(Some(&key("second")), at(705)).refused.is_none(), "nobody has asked for long");
    scene.then(issued("third", 9000));
    let other = scene.cache.replacement_for(&key("second"), ENDPOINT, &error, at(106)).await.expect("others");
    assert_eq!(other.credentials.access_key_id, "third");
    // The cloud refuses one after the other: the third counts as refused until a call is accepted.
    assert!(scene.cache.health(Some(&key("third")), at(106)).refused.is_some());
    let told = scene.told();
    scene.cache.report_accepted("https://ebs.example");
    assert!(scene.cache.health(None, at(106)).refused.is_some(), "another place");
    scene.cache.report_accepted(ENDPOINT);
    scene.cache.report_accepted(ENDPOINT);
    assert!(scene.cache.health(None, at(106)).refused.is_none());
    assert_eq!(scene.told(), told + 1);
}

#[tokio::test]
async fn refused_key_stays_in_use_without_another() {
    let scene = Scene::new(true);
    scene.then(issued("first", 3600)).then(down()).then(issued("second", 7200));
    assert_eq!(scene.id(0).await, Ok("first".into()));
    let error = refusal("SignatureDoesNotMatch");
    assert!(scene.cache.replacement_for(&key("first"), ENDPOINT, &error, at(100)).await.is_none());
    assert_eq!(scene.id(101).await, Ok("first".into()));
    assert_eq!(scene.id(200).await, Ok("second".into()), "as soon as there is");
}

#[tokio::test]
async fn repeated_failures_keep_their_text() {
    let scene = Scene::new(true);
    let refused = |id: &str| Error { request_id: Some(id.into()), ..refusal("NoPermission") };
    scene.then(Err(CredentialsError::Refused(refused("one")))).then(Err(CredentialsError::Refused(refused("two"))));
    assert_eq!(scene.id(0).await.expect_err("refused"), scene.id(100).await.expect_err("refused once more"));
    assert_eq!(scene.asked(), 2);
    for id in ["one", "two"] {
        let error = Error { request_id: Some(id.into()), ..refusal("InvalidTimeStamp.Expired") };
        scene.cache.report_refused(&key("first"), ENDPOINT, &error, at(100));
        let health = scene.cache.health(None, at(100));
        assert_eq!(health.refused, Some(Error { request_id: None, ..error }), "the log has it");
        assert!(health.judged);
    }
}

#[tokio::test]
async fn requested_renewal_waits_for_the_pause() {
    let scene = Scene::new(true);
    scene.then(issued("first", 3600)).then(issued("second", 7200));
    assert_eq!(scene.id(0).await, Ok("first".into()));
    scene.cache.renew();
    assert_eq!(scene.id(1).await, Ok("first".into()), "not a moment after it was issued");
    assert_eq!(scene.id(100).await, Ok("second".into()));
}

#[tokio::test]
async fn wrong_clock_does_not_ask_the_source() {
    let scene = Scene::new(true);
    scene.then(issued("first", 3600));
    assert_eq!(scene.id(0).await, Ok("first".into()));
    let error = refusal("InvalidTimeStamp.Expired");
    assert!(scene.cache.replacement_for(&key("first"), ENDPOINT, &error, at(100)).await.is_none());
    assert_eq!((scene.asked(), scene.id(100).await), (1, Ok("first".into())));
    let health = scene.cache.health(Some(&key("other")), at(100));
    assert_eq!(health.refused.map(|it| it.code), Some(error.code), "whatever the key");
}

#[tokio::test]
async fn credentials_read_each_time_change_immediately() {
    let scene = Scene::new(false);
    scene.then(issued("first", 3600)).then(issued("second", 3600)).then(forbidden()).then(forbidden());
    assert_eq!(scene.id(0).await, Ok("first".into()));
    assert_eq!(scene.id(0).await, Ok("second".into()));
    assert!(scene.id(0).await.is_err() && scene.id(0).await.is_err());
    assert!(scene.cache.health(None, at(0)).failing.is_some());
    assert_eq!(scene.told(), 1);
    scene.then(issued("same", 3600)).then(issued("same", 3600)).then(issued("new", 3600));
    assert_eq!(scene.id(0).await, Ok("same".into()));
    assert!(scene.cache.health(None, at(0)).failing.is_none());
    let error = refusal("InvalidAccessKeyId.NotFound");
    assert!(scene.cache.replacement_for(&key("same"), ENDPOINT, &error, at(0)).await.is_none(), "there is no other");
    assert!(scene.cache.replacement_for(&key("same"), ENDPOINT, &error, at(0)).await.is_some());
}

#[tokio::test]
async fn signer_uses_and_renews_cached_credentials() {
    let scene = Scene::new(true);
    scene.then(issued("first", 3600)).then(issued("second", 7200)).then(down());
    let signer = Signer::of(&scene.cache, at(0)).await.expect("credentials");
    assert_eq!(signer.identity(), "acs:ram::1:role/r");
    assert_eq!(signer.credentials(at(10)).await.access_key_id, "first");
    assert_eq!(signer.credentials(at(3000)).await.access_key_id, "second");
    // The credentials expired and there are no others: the cloud decides.
    assert_eq!(signer.credentials(at(7200)).await.access_key_id, "second");
    assert_eq!(scene.asked(), 3);
    let shown = format!("{signer:?} {:?} {:?}", scene.cache, issued("first", 1));
    assert!(!shown.contains(key("first").access_key_secret.expose_secret()), "{shown}");
    assert!(!shown.contains("first-token") && !shown.contains("second"), "{shown}");
}
