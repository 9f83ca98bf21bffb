//! The connector for production and the proxy of the environment. The environment is the process's, so that the test runs
//! its own program once more in another.

use std::process::Command;
use std::time::Duration;

use axum::Router;
use disaster_recovery_operator::cloud::client::{Bytes, https};
use http::Request;
use tokio::net::TcpListener;
use tower::ServiceExt;

/// Where the second process finds what is on this machine.
const HERE: &str = "DR_OPERATOR_TEST_HERE";

/// A server that answers its name to everything; returns its URL.
async fn server(name: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answering = axum::serve(listener, Router::new().fallback(move || std::future::ready(name)));
    tokio::spawn(answering.into_future());
    format!("http://{address}")
}

#[tokio::test]
async fn plain_text_requests_bypass_the_proxy() {
    if let Ok(here) = std::env::var(HERE) {
        return in_an_environment_with_a_proxy(&here).await;
    }
    let (proxy, here) = (server("the proxy").await, server("this machine").await);
    let run = move || {
        let mut program = Command::new(std::env::current_exe().unwrap());
        program.args(["--exact", "--nocapture", "proxy::plain_text_requests_bypass_the_proxy"]);
        for name in ["NO_PROXY", "no_proxy", "HTTP_PROXY", "ALL_PROXY", "REQUEST_METHOD"] {
            program.env_remove(name);
        }
        program.env("http_proxy", &proxy).env("all_proxy", &proxy).env(HERE, &here).output().unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

async fn in_an_environment_with_a_proxy(here: &str) {
    let http = https(Duration::from_millis(500)).unwrap();
    let get = async |url: &str| {
        let request = Request::get(url).body(Bytes::new()).unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(2), http.clone().oneshot(request)).await.ok()?.ok()?;
        Some(String::from_utf8(answer.into_body().to_vec()).unwrap())
    };
    assert_eq!(get("http://elsewhere.example/").await.as_deref(), Some("the proxy"), "there is a proxy");
    assert_eq!(get(here).await.as_deref(), Some("this machine"));
    let by_name = here.replace("127.0.0.1", "localhost");
    assert_eq!(get(&by_name).await.as_deref(), Some("this machine"));
    assert_ne!(get("http://100.100.100.200/").await.as_deref(), Some("the proxy"));
}
