//! What the methods take for an answer, and what they refuse.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::Full;

use super::super::client::{Bytes, from_service};
use super::super::credentials::Credentials;
use super::super::credentials::signer::Signer;
use super::super::rate_limit::{Priority, RateLimit};
use super::*;

/// The API of a service that gives these answers one after the other, and the number of those it gave. It repeats the last one.
fn api<B: Into<Vec<u8>>>(answers: impl IntoIterator<Item = B>) -> (RocketMq, Arc<AtomicUsize>) {
    let answers: Vec<Bytes> = answers.into_iter().map(|body| Bytes::from(body.into())).collect();
    let given = Arc::new(AtomicUsize::new(0));
    let count = given.clone();
    let service = tower::service_fn(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let body = answers[number.min(answers.len() - 1)].clone();
        async move { Ok::<_, Infallible>(http::Response::new(Full::new(body))) }
    });
    let (rate_limit, deadline) = (Arc::new(RateLimit::new(1_000_000)), Duration::from_secs(5));
    let client = Client::new(from_service(service), rate_limit, deadline, Arc::new(|_| {}));
    let key = Credentials { access_key_id: "id".into(), access_key_secret: "secret".into(), security_token: None };
    let (endpoint, region) = ("https://rocketmq.cn-hangzhou.aliyuncs.com".into(), "cn-hangzhou".into());
    let (signer, priority) = (Some(Signer::fixed(key)), Priority::Change);
    let target = Target { product: PRODUCT, version: VERSION, endpoint, region, signer, priority };
    (RocketMq::new(client, target), given)
}

/// The class and the code of a failure.
fn failure<T>(outcome: Result<T, Error>) -> Result<T, (Class, String)> {
    outcome.map_err(|error| (error.class, error.code))
}

fn broken_read<T>() -> Result<T, (Class, String)> {
    Err((Class::Unavailable, "BrokenAnswer".into()))
}

async fn got(answer: impl Into<Vec<u8>>) -> Result<PlanView, (Class, String)> {
    failure(api([answer]).0.get_plan(1).await)
}

#[tokio::test(start_paused = true)]
async fn tolerated_answers_are_read() {
    let plan = PlanView { plan_id: 1, ..PlanView::default() };
    let named = |name: &str| PlanView { plan_name: Some(name.into()), ..plan.clone() };
    let deep = |depth: usize| format!(r#"{{"data":{{"planId":1,"x":{}{}}}}}"#, "[".repeat(depth), "]".repeat(depth));
    for (answer, expected) in [
        (r#"{"data":{"planId":1}}"#.to_owned(), &plan),
        (r#" {"requestId":"R", "success":true, "data" : {"planId":"1"} , "code":200}"#.to_owned() + "\r\n ", &plan),
        (r#"{"data":{"planId":1,"planName":null,"planStatus":null,"instances":null}}"#.into(), &plan),
        (r#"{"data":{"planId":1,"x":{"y":[1.5,-0,1e300,"\ud83d\ude00",{}]},"":false},"y":[{"data":2}]}"#.into(), &plan),
        (r#"{"data":{"planId":1,"plan_name":"x","PlanName":"x"}}"#.into(), &plan),
        (r#"{"data":{"planId":1,"planName":"a\"\\\u00e9\ud83d\ude00\n"}}"#.into(), &named("a\"\\é😀\n")),
        // Of a field that comes twice the last one counts.
        (r#"{"data":{"planId":7,"planName":"x","planId":1,"planName":"y"}}"#.into(), &named("y")),
        (r#"{"data":{"planId":1,"plan\u004eame":"x","planName":"y"}}"#.into(), &named("y")),
        (r#"{"data":{"planId":1,"planName":7,"planName":"y"}}"#.into(), &named("y")),
        (r#"{"data":false,"success":false,"code":"X","data":{"planId":1},"success":true}"#.into(), &plan),
        (deep(125), &plan),
    ] {
        assert_eq!(got(answer.clone()).await.as_ref(), Ok(expected), "{answer}");
    }
    let full = r#"{"data":{"planId":1,"planStatus":"MIGRATING","autoSyncCheckpoint":true,"syncCheckpointEnabled":false,
        "instances":[{"instanceId":"i","password":"******","messageProperty":{"propertyKey":"k"}},{}]}}"#;
    let plan = got(full).await.expect("a plan");
    assert_eq!(plan.plan_status, PlanStatus::Other("MIGRATING".into()));
    assert_eq!((plan.auto_sync_checkpoint, plan.sync_checkpoint_enabled), (Some(true), Some(false)));
    let [first, second] = &plan.instances[..] else { panic!("{plan:?}") };
    assert_eq!((first.instance_id.as_deref(), second), (Some("i"), &Instance::default()));
    assert_eq!(first.password.as_ref().map(Password::expose), Some("******"));
    assert_eq!(first.message_property.as_ref().and_then(|it| it.property_key.as_deref()), Some("k"));
}

#[tokio::test(start_paused = true)]
async fn unreadable_answers_are_refused() {
    let deep = |depth: usize| format!(r#"{{"data":{{"planId":1,"x":{}{}}}}}"#, "[".repeat(depth), "]".repeat(depth));
    for answer in [
        "",
        "null",
        "[]",
        r#"[{"planId":1}]"#,
        r#""text""#,
        "<html/>",
        r#"{"data":{"planId":1}"#,
        r#"{"data":{"planId":1}} x"#,
        r#"{"data":{"planId":1}}{}"#,
        r#"{"data":{"planId":1},}"#,
        r#"{"data":{"planId":1,"x":tru}}"#,
        r#"{"data":{"planId":1,"x":01}}"#,
        r#"{"data":{"planId":1,"x":'y'}}"#,
        // Not in a field that is read.
        r#"{"data":{"planId":1,"x":1e999}}"#,
        r#"{"data":{"planId":1,"x":"\ud800"}}"#,
        r#"{"data":{"planId":1,"\ud800":1}}"#,
        r#"{"data":{"planId":1},"x":"\q"}"#,
        "{\"data\":{\"planId\":1,\"x\":\"a\nb\"}}",
        &deep(126),
        // Of another shape.
        r#"{"data":true}"#,
        r#"{"data":false}"#,
        r#"{"data":7}"#,
        r#"{"data":"{}"}"#,
        r#"{"data":[]}"#,
        r#"{"data":{}}"#,
        r#"{"data":{"planId":null}}"#,
        r#"{"data":{"planId":""}}"#,
        r#"{"data":{"planId":1.0}}"#,
        r#"{"data":{"planId":-0}}"#,
        r#"{"data":{"planId":9223372036854775808}}"#,
        r#"{"data":{"planId":"1.0"}}"#,
        r#"{"data":{"planId":" 1"}}"#,
        r#"{"data":{"planId":true}}"#,
        r#"{"data":{"planId":[1]}}"#,
        r#"{"data":{"planId":1,"planName":7}}"#,
        r#"{"data":{"planId":1,"planStatus":1}}"#,
        r#"{"data":{"planId":1,"autoSyncCheckpoint":"true"}}"#,
        r#"{"data":{"planId":1,"instances":{}}}"#,
        r#"{"data":{"planId":1,"instances":[null]}}"#,
        r#"{"data":{"planId":1,"instances":[{"instanceId":7}]}}"#,
        // Another plan.
        r#"{"data":{"planId":2}}"#,
    ] {
        assert_eq!(got(answer).await, broken_read(), "{answer}");
    }
    assert_eq!(got(*b"{\"data\":{\"planId\":1},\"x\":\"\xff\"}").await, broken_read());
    for answer in [r#"{"data":null}"#, "{}", r#"{"success":true,"Data":{"planId":1}}"#] {
        assert_eq!(got(answer).await, Err((Class::NotFound, "NoData".into())), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn answers_to_changes_are_acknowledgements() {
    fn lost<T>(code: &str) -> Result<T, (Class, String)> {
        Err((Class::Ambiguous, code.to_owned()))
    }
    for (data, expected) in [
        ("7", Ok(7)),
        (r#""7""#, Ok(7)),
        ("-7", Ok(-7)),
        ("null", lost("BrokenAnswer")),
        (r#""""#, lost("BrokenAnswer")),
        (r#""x""#, lost("BrokenAnswer")),
        ("7.5", lost("BrokenAnswer")),
        ("true", lost("BrokenAnswer")),
        ("{}", lost("BrokenAnswer")),
    ] {
        let (api, _) = api([format!(r#"{{"data":{data}}}"#)]);
        assert_eq!(failure(api.create_plan(&Plan::default()).await), expected, "{data}");
    }
    for (answer, expected) in [
        (r#"{"data":true}"#, Ok(())),
        (r#"{"data":null}"#, Ok(())),
        ("{}", Ok(())),
        (r#"{"data":"false"}"#, Ok(())),
        (r#"{"data":{"x":false}}"#, Ok(())),
        (r#"{"data": false }"#, Err((Class::Conflict, "False".to_owned()))),
        ("[]", lost("BrokenAnswer")),
    ] {
        assert_eq!(failure(api([answer]).0.delete_plan(1).await), expected, "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn odd_lags_break_no_other() {
    let lag = async |data: &str| {
        let lag = failure(api([format!(r#"{{"data":{data}}}"#)]).0.consumer_group_lag("i", "g").await)?;
        let ready: Vec<_> = lag.topic_lag_map.into_iter().map(|(topic, it)| (topic, it.ready_count)).collect();
        Ok((lag.total_lag.ready_count, ready))
    };
    let nothing = (None, vec![]);
    for (data, expected) in [
        ("{}", nothing.clone()),
        (r#"{"totalLag":null,"topicLagMap":null}"#, nothing.clone()),
        (r#"{"totalLag":7,"topicLagMap":{}}"#, nothing.clone()),
        (r#"{"totalLag":{"readyCount":"7"},"instanceId":"","consumerGroupId":"g"}"#, (Some(7), vec![])),
        (r#"{"totalLag":{"readyCount":7,"inflightCount":1.5}}"#, nothing),
        (
            r#"{"topicLagMap":{"b":{"readyCount":1,"readyCount":2},"a":[],"c":"x","b2":{"readyCount":null}}}"#,
            (None, vec![("a".into(), None), ("b".into(), Some(2)), ("b2".into(), None), ("c".into(), None)]),
        ),
    ] {
        assert_eq!(lag(data).await, Ok(expected), "{data}");
    }
    for data in ["7", r#"{"topicLagMap":[]}"#, r#"{"topicLagMap":{"a":1e999}}"#, r#"{"instanceId":"other"}"#] {
        assert_eq!(lag(data).await, broken_read(), "{data}");
    }
}

/// A page of plans.
fn page(total: Option<i64>, plan_ids: &[i64]) -> String {
    let list: Vec<_> =
        plan_ids.iter().map(|id| json!({"planId": id, "planName": format!("of {plan_ids:?}")})).collect();
    json!({"success": true, "data": {"totalCount": total, "list": list}}).to_string()
}

/// The IDs of a list of plans, in its order, whether it is complete, and the number of calls.
async fn listed(answers: &[String]) -> Result<(Vec<i64>, bool, usize), (Class, String)> {
    let (api, calls) = api(answers.to_vec());
    let list = failure(api.list_plans().await)?;
    let complete = list.is_complete();
    Ok((list.entries().iter().map(|plan| plan.plan_id).collect(), complete, calls.load(Ordering::SeqCst)))
}

#[tokio::test(start_paused = true)]
async fn pages_are_read_until_they_fit_together() {
    let of = |pages: &[(Option<i64>, &[i64])]| pages.iter().map(|(total, ids)| page(*total, ids)).collect::<Vec<_>>();
    let thrice = |answers: &[String]| [answers; 3].concat();
    type Read = (&'static [i64], bool, usize);
    let cases: [(Vec<String>, Read); 9] = [
        (of(&[(Some(0), &[])]), (&[], true, 1)),
        (vec![r#"{"data":{"totalCount":"0"}}"#.into()], (&[], true, 1)),
        (of(&[(Some(3), &[3, 1]), (Some(3), &[2])]), (&[1, 2, 3], true, 2)),
        // Shifted pages: an entry comes twice in place of another one. The next read is whole.
        (of(&[(Some(3), &[1, 2]), (Some(3), &[2]), (Some(3), &[1, 2, 3])]), (&[1, 2, 3], true, 3)),
        // Another total on a later page, three times.
        (thrice(&of(&[(Some(3), &[1, 2]), (Some(4), &[3, 4])])), (&[1, 2, 3, 4], false, 6)),
        // An empty page before the end, three times.
        (thrice(&of(&[(Some(3), &[1, 2]), (Some(3), &[])])), (&[1, 2], false, 6)),
        // No total: only an empty page ends it.
        (thrice(&of(&[(None, &[1]), (None, &[2]), (None, &[])])), (&[1, 2], false, 9)),
        (thrice(&of(&[(Some(2), &[1, 1])])), (&[1], false, 3)),
        (thrice(&of(&[(Some(2), &[1, 2, 3])])), (&[1, 2, 3], false, 3)),
    ];
    for (answers, (ids, complete, calls)) in cases {
        assert_eq!(listed(&answers).await, Ok((ids.to_vec(), complete, calls)), "{answers:?}");
    }
    // Of an entry that comes twice the last one counts.
    let (twice, _) = api(thrice(&of(&[(Some(3), &[1, 2]), (Some(3), &[2])])));
    let list = twice.list_plans().await.expect("a list");
    let names: Vec<_> = list.entries().iter().map(|plan| plan.plan_name.as_deref()).collect();
    assert_eq!(names, [Some("of [1, 2]"), Some("of [2]")]);
}

#[tokio::test(start_paused = true)]
async fn pages_without_their_list_are_refused() {
    for data in [
        "{}",
        r#"{"totalCount":1}"#,
        r#"{"totalCount":1,"list":null}"#,
        r#"{"totalCount":1,"list":{}}"#,
        r#"{"totalCount":1,"list":[null]}"#,
        r#"{"totalCount":1.5,"list":[{"planId":1}]}"#,
        r#"{"totalCount":2,"list":[{"planId":1},{"planName":"x"}]}"#,
        r#"{"list":[{"planId":1}],"totalCount":[]}"#,
        "[]",
        "null",
    ] {
        let answers = [format!(r#"{{"data":{data}}}"#)];
        assert_eq!(listed(&answers).await, broken_read(), "{data}");
    }
    let twice = r#"{"data":{"list":[{"planId":9}],"totalCount":9,"totalCount":1,"list":[{"planId":8,"planId":1}]}}"#;
    assert_eq!(listed(&[twice.to_owned()]).await, Ok((vec![1], true, 1)));
}
