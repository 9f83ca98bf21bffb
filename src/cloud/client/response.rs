//! Reads an answer of the API: its data, or the failure.

use std::time::Duration;

use http::HeaderMap;
use serde_json::Value;

use super::super::error::{Class, Error, classify};
use super::request::{Call, Style};

/// The data of an answer and its request ID.
pub(super) type Answer = (Value, Option<String>);

/// The parts of an answer that a failure contains.
struct Parts<'a> {
    status: u16,
    retry_after: Option<Duration>,
    request_id: Option<String>,
    call: &'a Call,
}

impl Parts<'_> {
    fn classify(&self, status: u16, code: &str) -> Class {
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
pub(super) fn parse(status: u16, headers: &HeaderMap, body: &[u8], call: &Call) -> Result<Answer, Error> {
    let answer = serde_json::from_slice::<Value>(body).ok().filter(Value::is_object);
    let text = |names| text(answer.as_ref(), body, names);
    let code = text(["Code", "code"]).filter(|code| !code.is_empty());
    let message = text(["Message", "message"]).unwrap_or_default();
    let request_id = text(["RequestId", "requestId"]).or_else(|| header(headers, "x-acs-request-id").map(Into::into));
    let parts = Parts { status, retry_after: retry_after(headers), request_id, call };
    if !(200..300).contains(&status) {
        return Err(match code {
            Some(code) => parts.failed(parts.classify(status, &code), code, message),
            None if parts.retry_after.is_some() || status == 429 => {
                parts.failed(parts.classify(status, ""), format!("HTTP {status}"), message)
            }
            None => parts.broken("a body that is no error of the API"),
        });
    }
    let Some(mut answer) = answer else { return Err(parts.broken("a body that is no JSON object")) };
    let accepted = success(&answer).unwrap_or_else(|| message.is_empty() || code.as_deref().is_none_or(is_fine));
    if !accepted {
        let code = code.unwrap_or_else(|| "Unknown".into());
        return Err(parts.failed(parts.classify(failed_status(&answer), &code), code, message));
    }
    let data = match call.style {
        Style::Roa => answer.get_mut("data").map(Value::take).unwrap_or_default(),
        Style::Rpc => answer,
    };
    Ok((data, parts.request_id))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The wait that the service asks for, if it is longer than 0 ms.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let ms = header(headers, "x-acs-retry-after")?.trim().parse().ok()?;
    (ms > 0).then(|| Duration::from_millis(ms))
}

/// The text of the first of two spellings of a field, or of the XML element with the first.
fn text(answer: Option<&Value>, body: &[u8], names: [&str; 2]) -> Option<String> {
    match answer.and_then(|json| names.iter().find_map(|name| json.get(name))) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => element(body, names[0]),
    }
}

/// Whether the answer reports success, if it says so.
fn success(answer: &Value) -> Option<bool> {
    match answer.get("success").or_else(|| answer.get("Success")) {
        Some(Value::Bool(success)) => Some(*success),
        Some(Value::String(text)) => Some(!text.eq_ignore_ascii_case("false")),
        _ => None,
    }
}

/// Whether a code means success. Without `success` in the answer, only another code makes a failure (as in the vendor's
/// Terraform provider).
fn is_fine(code: &str) -> bool {
    ["success", "ok", "200", "0"].iter().any(|fine| code.eq_ignore_ascii_case(fine))
}

/// The HTTP status that the body of a failure names, 400 if it names none.
fn failed_status(answer: &Value) -> u16 {
    let status = answer.get("httpStatusCode").or_else(|| answer.get("HttpStatusCode")).and_then(Value::as_u64);
    status.and_then(|status| u16::try_from(status).ok()).filter(|status| *status >= 400).unwrap_or(400)
}

/// The text of an XML element, for the gateway's XML errors.
fn element(body: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(body).ok().filter(|text| text.contains("<Error>"))?;
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inner, _) = rest.split_once(&format!("</{name}>"))?;
    Some(inner.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::operation::ApiOperation;

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
        parse(status, &HeaderMap::new(), body.as_bytes(), &call).map(|(data, _)| data)
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
    fn unreadable_answer_to_change_is_ambiguous() {
        for body in ["<html>Bad gateway</html>", "{\"data\":", "[]", ""] {
            for status in [200, 502, 403] {
                assert_eq!(answer(status, body, true).expect_err(body).class, Class::Ambiguous, "{status} {body}");
                assert_eq!(answer(status, body, false).expect_err(body).class, Class::Unavailable, "{status} {body}");
            }
        }
    }
}
