//! Reads an answer of the API: its data, or the failure.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::error::{Class, Error, classify};
use super::super::wire::Data;
use super::json;
use super::request::{Call, Style};
use super::xml::{self, XmlError};

/// Maximum of the wait that the service asks for. With the jitter of a requeue it is 15 minutes.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(810);
/// The code that stands for none.
const NO_CODE: &str = "Unknown";

/// The data of an answer and its request ID.
pub(super) type Answer = (Data, Option<String>);

/// The parts of an answer that a failure contains.
struct Parts<'a> {
    status: u16,
    retry_after: Option<Duration>,
    request_id: Option<String>,
    call: &'a Call,
}

impl Parts<'_> {
    /// The class of a code. One that no service of the vendor would write says nothing, and its HTTP status neither: another program may
    /// have answered.
    fn classify(&self, status: u16, code: &str) -> Class {
        let code = if code.is_empty() || is_code(code) { code } else { NO_CODE };
        classify(status, code, self.retry_after, self.call.changing)
    }

    fn failed(&self, class: Class, code: String, message: String) -> Error {
        Error { class, operation: self.call.operation, code, message, request_id: self.request_id.clone() }
    }

    /// The failure of an answer that no part of the API writes.
    fn broken(&self, what: &str) -> Error {
        let class = self.classify(self.status.max(500), "");
        self.failed(class, "BrokenAnswer".into(), format!("HTTP {} with {what}", self.status))
    }
}

/// Reads an answer: its `data` (all of it if the product has no envelope), or the failure. Reads both casings of the
/// error body, and the gateway's XML.
pub(super) fn parse(status: u16, headers: &HeaderMap, body: &Bytes, call: &Call) -> Result<Answer, Error> {
    let json = json::object(body);
    let answer: Option<Envelope<'_>> = json.as_deref().and_then(|text| serde_json::from_slice(text).ok());
    let fields = answer.as_ref();
    let xml = if answer.is_none() { xml::error(body).unwrap_or_default() } else { XmlError::default() };
    let code = || fields.and_then(|it| text(it.code())).or(xml.code.clone()).filter(|code| !code.is_empty());
    let message = || fields.and_then(|it| text(it.message())).or(xml.message.clone()).unwrap_or_default();
    let request_id = fields.and_then(|it| text(it.request_id())).or(xml.request_id.clone());
    let request_id = request_id.or_else(|| header(headers, "x-acs-request-id").map(Into::into));
    let parts = Parts { status, retry_after: retry_after(headers), request_id, call };
    if !(200..300).contains(&status) {
        return Err(match code() {
            Some(code) => parts.failed(parts.classify(status, &code), code, message()),
            None if parts.retry_after.is_some() || status == 429 => {
                parts.failed(parts.classify(status, ""), format!("HTTP {status}"), message())
            }
            None => parts.broken("a body that is no error of the API"),
        });
    }
    let (Some(json), Some(answer)) = (&json, &answer) else {
        return Err(parts.broken("a body that is no JSON object"));
    };
    let accepted = answer.success().unwrap_or_else(|| message().is_empty() || code().as_deref().is_none_or(is_fine));
    if !accepted {
        let code = code().unwrap_or_else(|| NO_CODE.into());
        let class = match answer.failed_status() {
            // The service itself says so, with whatever code.
            404 if !is_code(&code) => parts.classify(404, ""),
            status => parts.classify(status, &code),
        };
        return Err(parts.failed(class, code, message()));
    }
    let data = match (call.style, answer.data) {
        (Style::Roa, Some(data)) => Data::new(json.slice_ref(data.get().as_bytes())),
        (Style::Roa, None) => Data::null(),
        (Style::Rpc, _) => Data::new(json.clone()),
    };
    Ok((data, parts.request_id))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The wait that the service asks for, if it is longer than 0 ms. None of months: what asks for it may be broken.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let ms = header(headers, "x-acs-retry-after")?.trim().parse().ok()?;
    (ms > 0).then(|| Duration::from_millis(ms).min(MAX_RETRY_AFTER))
}

/// The text of a field.
fn text(field: Value) -> Option<String> {
    match field {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Whether a text is a code as the vendor's services write them, such as `Throttling.User`.
fn is_code(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|first| first.is_ascii_alphabetic())
        && chars.all(|it| it.is_ascii_alphanumeric() || matches!(it, '.' | '_' | '-'))
}

/// Whether a code means success. Without `success` in the answer, only another code makes a failure (as in the vendor's
/// Terraform provider).
fn is_fine(code: &str) -> bool {
    ["success", "ok", "200", "0"].iter().any(|fine| code.eq_ignore_ascii_case(fine))
}

/// The fields around the data, as they are written. Of two spellings the first one that is there counts.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Envelope<'a> {
    #[serde(borrow, rename = "Code", deserialize_with = "written")]
    pascal_code: Field<'a>,
    #[serde(borrow, rename = "code", deserialize_with = "written")]
    camel_code: Field<'a>,
    #[serde(borrow, rename = "Message", deserialize_with = "written")]
    pascal_message: Field<'a>,
    #[serde(borrow, rename = "message", deserialize_with = "written")]
    camel_message: Field<'a>,
    #[serde(borrow, rename = "RequestId", deserialize_with = "written")]
    pascal_request_id: Field<'a>,
    #[serde(borrow, rename = "requestId", deserialize_with = "written")]
    camel_request_id: Field<'a>,
    #[serde(borrow, rename = "Success", deserialize_with = "written")]
    pascal_success: Field<'a>,
    #[serde(borrow, rename = "success", deserialize_with = "written")]
    camel_success: Field<'a>,
    #[serde(borrow, rename = "HttpStatusCode", deserialize_with = "written")]
    pascal_status: Field<'a>,
    #[serde(borrow, rename = "httpStatusCode", deserialize_with = "written")]
    camel_status: Field<'a>,
    #[serde(borrow)]
    data: Field<'a>,
}

/// A field; none if it is absent.
type Field<'a> = Option<&'a RawValue>;

/// Reads a field that may be null.
fn written<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Field<'a>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// The value of a field, null if it is absent.
fn value(field: Field<'_>) -> Value {
    field.and_then(|text| serde_json::from_str(text.get()).ok()).unwrap_or_default()
}

impl Envelope<'_> {
    fn code(&self) -> Value {
        value(self.pascal_code.or(self.camel_code))
    }

    fn message(&self) -> Value {
        value(self.pascal_message.or(self.camel_message))
    }

    fn request_id(&self) -> Value {
        value(self.pascal_request_id.or(self.camel_request_id))
    }

    /// Whether the answer reports success, if it says so.
    fn success(&self) -> Option<bool> {
        match value(self.camel_success.or(self.pascal_success)) {
            Value::Bool(success) => Some(success),
            Value::String(text) => Some(!text.eq_ignore_ascii_case("false")),
            _ => None,
        }
    }

    /// The HTTP status that the body of a failure names, 400 if it names none.
    fn failed_status(&self) -> u16 {
        let status = value(self.camel_status.or(self.pascal_status)).as_u64();
        status.and_then(|status| u16::try_from(status).ok()).filter(|status| *status >= 400).unwrap_or(400)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::operation::ApiOperation;

    /// The data of an answer as a tree.
    fn answer(status: u16, body: &str, changing: bool) -> Result<Value, Error> {
        of_style(Style::Roa, status, body, changing)
    }

    fn of_style(style: Style, status: u16, body: &str, changing: bool) -> Result<Value, Error> {
        let call = Call {
            operation: ApiOperation::GetDisasterRecoveryPlan,
            method: http::Method::GET,
            path: "/".into(),
            query: vec![],
            body: None,
            style,
            changing,
            repeatable: false,
            secrets: vec![],
        };
        let (data, _) = parse(status, &HeaderMap::new(), &Bytes::from(body.to_owned()), &call)?;
        Ok(data.read().expect("JSON"))
    }

    #[test]
    fn rpc_answer_is_returned_whole() {
        let rpc = |status, body| of_style(Style::Rpc, status, body, true);
        let body = r#"{"RequestId":"C123F94F-4E38-19AE-942A-A8D6F44F****","data":7}"#;
        assert_eq!(
            rpc(200, body),
            Ok(serde_json::json!({"RequestId": "C123F94F-4E38-19AE-942A-A8D6F44F****", "data": 7}))
        );
        for refused in [
            r#"{"Success":false,"Code":"OperationDenied.InvalidStatus","Message":"m","HttpStatusCode":403}"#,
            r#"{"success":false,"code":"OperationDenied.InvalidStatus","message":"m"}"#,
            r#"{"RequestId":"R","Code":"OperationDenied.InvalidStatus","Message":"m"}"#,
        ] {
            assert_eq!(rpc(200, refused).expect_err(refused).class, Class::Conflict, "{refused}");
        }
        let xml = "<Error><Code>Forbidden.Action</Code><Message>m</Message></Error>";
        assert_eq!(rpc(403, xml).expect_err("refused").class, Class::Denied);
        assert_eq!(rpc(200, "[]").expect_err("no object").class, Class::Ambiguous);
    }

    #[test]
    fn both_casings_and_xml_are_read() {
        let pascal = r#"{"RequestId":"R1","HostId":"h","Code":"MissingplanName","Message":"planName is mandatory."}"#;
        let camel = r#"{"requestId":"R1","success":false,"code":"MissingplanName","message":"planName is mandatory."}"#;
        let xml = "<?xml version='1.0'?><Error><RequestId>R1</RequestId><Code>MissingplanName</Code><Message>planName is mandatory.</Message></Error>";
        for body in [pascal, camel, xml] {
            let error = answer(400, body, true).expect_err(body);
            let text = "GetDisasterRecoveryPlan failed: MissingplanName: planName is mandatory (request id R1)";
            assert_eq!(error.to_string(), text);
            assert_eq!(error.class, Class::Invalid);
        }
    }

    #[test]
    fn success_false_is_error_composite_sample_is_not() {
        let refused =
            r#"{"success":false,"code":"DisasterRecoveryPlanStatus.Error","message":"m","httpStatusCode":400}"#;
        assert_eq!(answer(200, refused, true).expect_err("refused").class, Class::Conflict);
        let sample = r#"{"success":true,"data":true,"code":"DisasterRecoveryPlanStatus.Error","message":"m"}"#;
        assert_eq!(answer(200, sample, true), Ok(Value::Bool(true)));
        let number = r#"{"success":true,"data":{"list":[]},"code":200,"message":"The instance cannot be found."}"#;
        assert!(answer(200, number, false).is_ok());
        let bare = r#"{"code":"Instance.NotFound","message":"no such instance"}"#;
        assert_eq!(answer(200, bare, false).expect_err("refused").class, Class::Invalid);
        assert_eq!(answer(200, r#"{"data":7}"#, false), Ok(Value::from(7)));
    }

    #[test]
    fn envelope_is_read_tolerantly() {
        let refused = |class: Class, code: &str| Err((class, code.to_owned()));
        for (body, expected) in [
            (r#"{"success":"true","code":"X","message":"m","data":1}"#, Ok(Value::from(1))),
            (r#"{"success":null,"code":"OK","message":"m","data":1}"#, Ok(Value::from(1))),
            (r#"{"success":[],"code":0,"message":"m","data":{"data":1}}"#, Ok(serde_json::json!({"data": 1}))),
            (r#"{"Success":false,"success":true,"data":null}"#, Ok(Value::Null)),
            (r#"{"success":false,"code":"X","success":true,"data":1,"data":[2]}"#, Ok(serde_json::json!([2]))),
            (r#"{"code":"X","message":""}"#, Ok(Value::Null)),
            (r#"{"code":"X"}"#, Ok(Value::Null)),
            (r#"{"succ\u0065ss":false,"code":"X"}"#, refused(Class::Invalid, "X")),
            (r#"{"success":"False","code":"X","data":1}"#, refused(Class::Invalid, "X")),
            (r#"{"success":0,"code":"X","message":7,"data":1}"#, refused(Class::Invalid, "X")),
            (r#"{"success":false,"Code":"A","code":"B"}"#, refused(Class::Invalid, "A")),
            (r#"{"success":false,"Code":null,"code":"B"}"#, refused(Class::Unavailable, "Unknown")),
            (r#"{"success":false,"code":{"code":"B"}}"#, refused(Class::Unavailable, "Unknown")),
            (r#"{"success":false,"code":""}"#, refused(Class::Unavailable, "Unknown")),
            (r#"{"success":false,"code":1.50}"#, refused(Class::Unavailable, "1.5")),
            (r#"{"success":false,"code":404,"httpStatusCode":404}"#, refused(Class::NotFound, "404")),
            (
                r#"{"success":false,"code":"403 Forbidden","httpStatusCode":403}"#,
                refused(Class::Unavailable, "403 Forbidden"),
            ),
            (r#"{"success":false,"code":503,"httpStatusCode":503}"#, refused(Class::Unavailable, "503")),
            (r#"{"success":false,"code":503,"httpStatusCode":"503"}"#, refused(Class::Unavailable, "503")),
            (r#"{"success":false,"code":503,"httpStatusCode":200}"#, refused(Class::Unavailable, "503")),
            (r#"{"success":false,"code":503,"HttpStatusCode":503}"#, refused(Class::Unavailable, "503")),
            (
                r#"{"success":false,"code":503,"HttpStatusCode":503,"httpStatusCode":[]}"#,
                refused(Class::Unavailable, "503"),
            ),
        ] {
            assert_eq!(answer(200, body, false).map_err(|error| (error.class, error.code)), expected, "{body}");
        }
        let failed = answer(400, r#"{"code":7,"message":8,"requestId":9}"#, false).expect_err("refused");
        assert_eq!((failed.code.as_str(), failed.message.as_str()), ("7", "8"));
        assert_eq!(failed.request_id.as_deref(), Some("9"));
    }

    #[test]
    fn xml_within_json_is_no_error() {
        let body = r#"{"error":"<Error><Code>Forbidden</Code></Error>"}"#;
        assert_eq!(answer(403, body, false).expect_err(body).class, Class::Unavailable);
    }

    #[test]
    fn wait_that_the_service_asks_for_has_a_bound() {
        let (minute, max) = (Duration::from_secs(60), MAX_RETRY_AFTER);
        for (value, expected) in [
            ("60000", Some(minute)),
            (" 60000 ", Some(minute)),
            ("900000", Some(max)),
            ("7776000000", Some(max)),
            ("18446744073709551615", Some(max)),
            ("99999999999999999999999", None),
            ("0", None),
            ("-1", None),
            ("soon", None),
        ] {
            let headers = HeaderMap::from_iter([(
                http::HeaderName::from_static("x-acs-retry-after"),
                http::HeaderValue::from_static(value),
            )]);
            assert_eq!(retry_after(&headers), expected, "{value}");
        }
    }

    #[test]
    fn unreadable_answer_to_change_is_ambiguous() {
        let quoted = "<html>no <Error><Code>Forbidden</Code></Error></html>";
        for body in ["<html>Bad gateway</html>", quoted, "{\"data\":", "[]", ""] {
            for status in [200, 502, 403] {
                assert_eq!(answer(status, body, true).expect_err(body).class, Class::Ambiguous, "{status} {body}");
                assert_eq!(answer(status, body, false).expect_err(body).class, Class::Unavailable, "{status} {body}");
            }
        }
    }
}
