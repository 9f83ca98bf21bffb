//! The `Date` header, and a clock that is off.

use axum::body::Body;
use disaster_recovery_operator::simulator::{Config, FaultKind};
use http::Request;
use serde_json::json;
use test_support::requests::{Key, answer, signed};
use tower::ServiceExt;

use super::stage::{ROCKETMQ, Stage, T0};

const LIST: (&str, &str) = ("ListDisasterRecoveryPlans", "/disaster_recovery");

/// The status and the `Date` header of an answer.
async fn date(stage: &Stage, request: Request<Body>) -> (u16, String) {
    let response = stage.simulator.router().oneshot(request).await.unwrap();
    let date = response.headers()["date"].to_str().unwrap().to_owned();
    assert_eq!(response.headers().get_all("date").iter().count(), 1);
    (response.status().as_u16(), date)
}

fn list(stage: &Stage) -> Request<Body> {
    signed(&stage.simulator, &Key::usual(), ROCKETMQ, LIST, (&[], &[]))
}

#[tokio::test]
async fn every_answer_has_date_of_simulated_clock() {
    let stage = Stage::new();
    let begin = "Fri, 28 Feb 2025 06:28:00 GMT".to_owned();
    assert_eq!(date(&stage, list(&stage)).await, (200, begin.clone()));
    stage.advance(999);
    let unsigned = || Request::get("/disaster_recovery").header("host", ROCKETMQ.1).body(Body::empty()).unwrap();
    assert_eq!(date(&stage, unsigned()).await, (400, begin.clone()));
    let admin = |path: &str| Request::get(format!("/_simulator{path}")).body(Body::empty()).unwrap();
    assert_eq!(date(&stage, admin("/plans")).await, (200, begin.clone()));
    assert_eq!(date(&stage, admin("/nothing")).await, (404, begin));
    stage.advance(1);
    stage.simulator.set_clock_offset_ms(86_400_000);
    for (kind, status) in [
        (FaultKind::Html { status: 502 }, 502),
        (FaultKind::Throttle { retry_after_ms: None }, 400),
        (FaultKind::refusal(500, "InternalError"), 500),
    ] {
        let mut request = list(&stage);
        request.extensions_mut().insert(kind);
        assert_eq!(date(&stage, request).await, (status, "Sat, 01 Mar 2025 06:28:01 GMT".to_owned()));
    }
}

#[tokio::test]
async fn clock_offset_shifts_all_times() {
    for offset_ms in [-90_000, 90_000] {
        let stage = Stage::with(Config { clock_offset_ms: offset_ms, ..Config::default() });
        let (plan, begin) = (stage.synchronized_plan().await, T0 + offset_ms);
        stage.advance(12_000);
        assert_eq!(stage.simulator.now_ms(), begin + 12_000);
        for checkpoint in stage.checkpoints(plan).await {
            assert_eq!(checkpoint["lastSyncTime"], begin + 10_000);
            let (source, target) = (&checkpoint["sourceProgress"], &checkpoint["targetProgress"]);
            assert_eq!(source["progressData"]["consumeTimestamp"], begin + 12_000);
            assert_eq!(target["progressData"]["consumeTimestamp"], begin + 10_000);
            assert_eq!([&source["lastFetchTime"], &target["lastFetchTime"]], [begin + 12_000; 2]);
        }
        let expected = jiff::Timestamp::from_millisecond(begin + 12_000).unwrap().strftime("%H:%M:%S GMT").to_string();
        assert!(date(&stage, list(&stage)).await.1.ends_with(&expected));
        // What the client signed by its own clock is outside of the window of the cloud.
        let early = list(&stage);
        stage.admin("POST", "/clock", json!({"offsetMs": offset_ms + 16 * 60_000})).await;
        let (status, body) = answer(&stage.simulator, early).await;
        assert_eq!((status, &body["Code"]), (400, &json!("InvalidTimeStamp.Expired")));
    }
}
