//! Requests and answers of the simulated products.

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures::stream;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use uuid::Uuid;

use super::faults::FaultKind;
use super::model::Failure;

/// Maximum body size, bytes; far above any call of the API.
pub(super) const BODY_LIMIT: usize = 1 << 20;

/// Query parameters that the record of a request masks.
const SECRET_PARAMETERS: [&str; 2] = ["OIDCToken", "SecurityToken"];

/// The parts of a request that signature and operations need.
#[derive(Clone)]
pub(super) struct Incoming {
    pub(super) method: Method,
    /// As sent, percent-encoded.
    pub(super) path: String,
    /// Decoded. The SDK sends `+` for a space and signs it as `%20`.
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    /// The Host header, or the authority of the URI for a request in process without that header.
    pub(super) host: String,
    pub(super) body: Bytes,
    /// The fault that a caller in process gave the request, as an extension.
    pub(super) fault: Option<FaultKind>,
}

impl Incoming {
    pub(super) fn new(parts: &Parts, body: Bytes) -> Incoming {
        let host = parts.headers.get(http::header::HOST).map(|host| String::from_utf8_lossy(host.as_bytes()));
        let authority = || parts.uri.authority().map(|authority| authority.as_str().to_owned());
        Incoming {
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            query: decoded_query(parts.uri.query().unwrap_or_default()),
            headers: parts.headers.clone(),
            host: host.map(String::from).or_else(authority).unwrap_or_default(),
            body,
            fault: parts.extensions.get().cloned(),
        }
    }

    /// The first value of a header.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    /// All values of the headers in a `SignedHeaders` list.
    pub(super) fn signed_values(&self, names: &str) -> Vec<(String, String)> {
        let mut values = Vec::new();
        for name in names.split(';') {
            if name == "host" {
                values.push((name.to_owned(), self.host.clone()));
                continue;
            }
            for value in self.headers.get_all(name) {
                values.push((name.to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
            }
        }
        values
    }

    /// The query for the record of requests, with secret values masked.
    pub(super) fn query_without_tokens(&self) -> Vec<(String, String)> {
        let is_secret = |name: &str| SECRET_PARAMETERS.iter().any(|secret| secret.eq_ignore_ascii_case(name));
        let shown = |(name, value): &(String, String)| {
            (name.clone(), if is_secret(name) { "***".to_owned() } else { value.clone() })
        };
        self.query.iter().map(shown).collect()
    }

    /// Parameters of an RPC request, from form and query; the query wins.
    pub(super) fn rpc_parameters(&self) -> Vec<(String, String)> {
        let form = self.header("content-type").is_some_and(|kind| kind.starts_with("application/x-www-form-url"));
        let body = if form { String::from_utf8_lossy(&self.body).into_owned() } else { String::new() };
        decoded_query(&body).into_iter().chain(self.query.iter().cloned()).collect()
    }

    /// A non-empty parameter of an RPC request.
    pub(super) fn rpc_parameter(&self, name: &str) -> Option<String> {
        let last = self.rpc_parameters().into_iter().rev().find(|(key, _)| key == name);
        last.map(|(_, value)| value).filter(|value| !value.is_empty())
    }

    /// The first query parameter with this name.
    pub(super) fn parameter(&self, name: &str) -> Option<&String> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

/// Decodes the pairs of a query or a form.
pub(super) fn decoded_query(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(&key.replace('+', " ")), decoded(&value.replace('+', " ")))
        })
        .collect()
}

/// Decodes percent-encoding.
pub(super) fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Whether a host is a loopback address.
pub(super) fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    ["127.0.0.1", "localhost", "[::1]"].contains(&name)
}

/// The region of a host for a product: `{product}.{region}.aliyuncs.com` (or `{product}-vpc.…`) in process; a loopback
/// address is in the default region.
pub(super) fn region_of(host: &str, product: &str, default_region: &str) -> Option<String> {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if is_loopback(host) {
        return Some(default_region.to_owned());
    }
    let (service, region) = name.strip_suffix(".aliyuncs.com")?.split_once('.')?;
    let known = service == product || service.strip_suffix("-vpc") == Some(product);
    (known && !region.is_empty() && !region.contains('.')).then(|| region.to_owned())
}

const JSON: &str = "application/json;charset=utf-8";
const HTML: &str = "text/html";
const TEXT: &str = "text/plain";

/// An answer and its delivery.
pub(super) struct Answer {
    pub(super) status: u16,
    /// The business or gateway code; `200` on success.
    pub(super) code: String,
    body: String,
    content_type: &'static str,
    retry_after_ms: Option<u64>,
    /// Whether the connection breaks before the body arrives.
    broken: bool,
    /// Delay of the answer, ms.
    late_ms: u64,
}

impl Answer {
    fn json(status: u16, code: &str, body: &Value) -> Answer {
        let (code, body) = (code.to_owned(), body.to_string());
        Answer { status, code, body, content_type: JSON, retry_after_ms: None, broken: false, late_ms: 0 }
    }

    /// JSON without an envelope.
    pub(super) fn bare_json(body: &Value) -> Answer {
        Answer::json(200, "200", body)
    }

    /// Plain text.
    pub(super) fn text(body: String) -> Answer {
        Answer { body, content_type: TEXT, ..Answer::json(200, "200", &Value::Null) }
    }

    /// A refusal without a code, as a web server sends it.
    pub(super) fn page(status: u16) -> Answer {
        let body = format!("<html><head><title>{status}</title></head><body>{status}</body></html>");
        Answer { body, content_type: HTML, ..Answer::json(status, "", &Value::Null) }
    }

    /// A result in RocketMQ's envelope.
    pub(super) fn success(data: &Value) -> Answer {
        let body = json!({
            "requestId": request_id(), "success": true, "data": data, "code": "200", "message": "success",
            "httpStatusCode": 200,
        });
        Answer::json(200, "200", &body)
    }

    /// The PascalCase fields of a result plus the request id, as RPC products send them.
    pub(super) fn plain_success(mut data: Value) -> Answer {
        data["RequestId"] = json!(request_id());
        Answer::json(200, "200", &data)
    }

    /// A refusal: the gateway's body, or RocketMQ's envelope, with HTTP 200 if `errors_as_http_200` is set.
    pub(super) fn failure(failure: &Failure, host: &str, errors_as_http_200: bool) -> Answer {
        let Failure { status, code, message, gateway } = failure;
        let denied = json!({"AuthPrincipalDisplayName": "simulator", "NoPermissionType": "ImplicitDeny"});
        if *gateway {
            let mut body = json!({
                "RequestId": request_id(), "HostId": host, "Code": code, "Message": message,
                "Recommend": format!("https://api.aliyun.com/troubleshoot?q={code}"),
            });
            if code == "Forbidden.Action" || code == "NoPermission" {
                body["AccessDeniedDetail"] = denied;
            }
            return Answer::json(*status, code, &body);
        }
        let mut body = json!({
            "requestId": request_id(), "success": false, "code": code, "message": message, "httpStatusCode": status,
        });
        if code == "NoPermission" {
            body["accessDeniedDetail"] = denied;
        }
        Answer::json(if errors_as_http_200 { 200 } else { *status }, code, &body)
    }

    /// A throttled request, with `Throttling.User` or the product's own code.
    pub(super) fn throttled(code: &str, host: &str, retry_after_ms: Option<u64>) -> Answer {
        let failure = Failure::gateway(400, code, "Request was denied due to user flow control.");
        Answer { retry_after_ms, ..Answer::failure(&failure, host, false) }
    }

    /// An answer that does not arrive.
    pub(super) fn lost() -> Answer {
        Answer { broken: true, ..Answer::json(200, "", &Value::Null) }
    }

    /// The answer under a fault. `done` executes the request as the kind demands; kinds that do not execute it never call
    /// `done`. With `gateway`, errors have the gateway's body whatever the fault says.
    pub(super) fn faulty(fault: &FaultKind, host: &str, gateway: bool, done: impl FnOnce() -> Answer) -> Answer {
        let error = |status: &u16, code: &String, message: &String, pascal_case: &bool| {
            let (status, code, message) = (*status, code.clone(), message.clone());
            Answer::failure(&Failure { status, code, message, gateway: gateway || *pascal_case }, host, false)
        };
        match fault {
            FaultKind::Error { status, code, message, pascal_case } => error(status, code, message, pascal_case),
            FaultKind::ErrorAfter { status, code, message, pascal_case } => {
                done();
                error(status, code, message, pascal_case)
            }
            FaultKind::Throttle { retry_after_ms } => Answer::throttled("Throttling.User", host, *retry_after_ms),
            FaultKind::Slow { ms } => Answer { late_ms: *ms, ..done() },
            FaultKind::ReplyLost => Answer { broken: true, ..done() },
            FaultKind::Lost | FaultKind::ExecutedLate { .. } => Answer::lost(),
            // Only the execution differs.
            FaultKind::NoEffect
            | FaultKind::Twice
            | FaultKind::Stale { .. }
            | FaultKind::Frozen { .. }
            | FaultKind::Gap { .. }
            | FaultKind::ShiftedPages { .. }
            | FaultKind::UnknownStatus { .. }
            | FaultKind::WithoutTimestamps { .. }
            | FaultKind::WithoutFetchTimes { .. }
            | FaultKind::FrozenProgress { .. }
            | FaultKind::WithoutTopics { .. } => done(),
            FaultKind::Html { status } => {
                let body = "<html><head><title>Bad Gateway</title></head><body>upstream</body></html>".to_owned();
                Answer { body, content_type: HTML, ..Answer::json(*status, "", &Value::Null) }
            }
            FaultKind::Garbage => {
                let body = r#"{"requestId":"#.to_owned();
                Answer { body, ..Answer::json(200, "", &Value::Null) }
            }
            FaultKind::SuccessFalse { code, message } => {
                Answer::failure(&Failure::business(200, code, message.clone()), host, true)
            }
        }
    }

    /// Sends the answer, after its delay.
    pub(super) async fn send(self) -> Response {
        if self.late_ms > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(self.late_ms)).await;
        }
        let body = if self.broken {
            let broken = std::io::Error::other("the simulator broke the connection");
            Body::from_stream(stream::iter([Err::<Bytes, _>(broken)]))
        } else {
            Body::from(self.body)
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(self.content_type));
        if let Some(ms) = self.retry_after_ms {
            response.headers_mut().insert("x-acs-retry-after", ms.into());
        }
        response
    }
}

/// A time as the header `Date` has it (RFC 9110, IMF-fixdate), to the second.
pub(super) fn http_date(at_ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(at_ms).unwrap_or_default();
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn request_id() -> String {
    Uuid::new_v4().to_string().to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_has_region_of_its_product_only() {
        let region = |host| region_of(host, "rocketmq", "cn-beijing");
        for (host, expected) in [
            ("rocketmq.cn-hangzhou.aliyuncs.com", Some("cn-hangzhou")),
            ("rocketmq-vpc.cn-hangzhou.aliyuncs.com:443", Some("cn-hangzhou")),
            ("127.0.0.1:4711", Some("cn-beijing")),
            ("localhost", Some("cn-beijing")),
            ("ebs.cn-hangzhou.aliyuncs.com", None),
            ("rocketmq.aliyuncs.com", None),
            ("rocketmq.cn-hangzhou.example.com", None),
            ("rocketmq.cn-hangzhou.\t.aliyuncs.com", None),
        ] {
            assert_eq!(region(host).as_deref(), expected, "{host}");
        }
    }

    #[test]
    fn http_date_has_fixed_format() {
        // The example of RFC 9110.
        assert_eq!(http_date(784_111_777_000), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(784_111_777_999), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn query_plus_is_decoded_as_space() {
        let pairs = decoded_query("a=x+y%2Bz&b=&c&%C3%A4=%E4%BD%A0");
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("a", "x y+z"), ("b", ""), ("c", ""), ("ä", "你")]);
    }
}
