//! Checks of ACS3-HMAC-SHA256 signatures.
//!
//! Source: help page "Request syntax and signature method V3" for the signed parts, DOC 48054 for codes. The code for a
//! missing or unsigned header is inferred.

use std::collections::{HashSet, VecDeque};

use super::config::AccessKey;
use super::http::Incoming;
use super::model::Failure;
use crate::cloud::sign;

/// Maximum difference between `x-acs-date` and the server's clock, either way, ms.
const WINDOW_MS: i64 = 15 * 60 * 1000;

/// The parts of the `Authorization` header.
struct Authorization {
    key_id: String,
    signed_headers: String,
    signature: String,
}

impl Authorization {
    fn parse(incoming: &Incoming) -> Option<Authorization> {
        let text = incoming.header("authorization")?;
        let mut parts = [("Credential", None), ("SignedHeaders", None), ("Signature", None)];
        for part in text.strip_prefix(sign::ALGORITHM)?.trim().split(',') {
            let (name, value) = part.trim().split_once('=')?;
            parts.iter_mut().find(|(known, _)| *known == name)?.1 = Some(value.to_owned());
        }
        let [(_, key_id), (_, signed_headers), (_, signature)] = parts;
        Some(Authorization { key_id: key_id?, signed_headers: signed_headers?, signature: signature? })
    }
}

/// The key id that a request claims.
pub(super) fn claimed_key(incoming: &Incoming) -> Option<String> {
    Authorization::parse(incoming).map(|authorization| authorization.key_id)
}

/// Checks the signature, but not whether the nonce is new, and returns the key id. `known` finds a key by its id.
pub(super) fn verify(
    incoming: &Incoming,
    known: impl FnOnce(&str) -> Option<AccessKey>,
    now: i64,
) -> Result<String, Failure> {
    let authorization = Authorization::parse(incoming)
        .ok_or_else(|| incomplete("the Authorization header is missing or is not ACS3-HMAC-SHA256"))?;
    for name in ["x-acs-action", "x-acs-version", "x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256"] {
        if incoming.header(name).is_none_or(|value| value.is_empty()) {
            return Err(incomplete(&format!("the header {name} is missing")));
        }
    }
    check_date(&incoming.header("x-acs-date").unwrap_or_default(), now)?;
    let key = known(&authorization.key_id)
        .ok_or_else(|| Failure::gateway(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found."))?;
    if key.inactive {
        return Err(Failure::gateway(400, "InvalidAccessKeyId.Inactive", "Specified access key is disabled."));
    }
    check_token(incoming, &key, now)?;
    check_signed_headers(incoming, &authorization)?;
    let hash = sign::payload_hash(&incoming.body);
    if incoming.header("x-acs-content-sha256").as_deref() != Some(&hash) {
        return Err(mismatch("x-acs-content-sha256 is not the hash of the body"));
    }
    let headers = incoming.signed_values(&authorization.signed_headers);
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let canonical = sign::canonical_request(incoming.method.as_str(), &incoming.path, &incoming.query, &headers, &hash);
    if canonical.signed_headers != authorization.signed_headers {
        return Err(mismatch("SignedHeaders is not sorted, or names a header that is not there"));
    }
    if sign::signature(&key.secret, &canonical.request) != authorization.signature {
        let hash = sign::payload_hash(canonical.request.as_bytes());
        return Err(mismatch(&format!("server string to sign is:{}\\n{hash}", sign::ALGORITHM)));
    }
    Ok(authorization.key_id)
}

fn incomplete(why: &str) -> Failure {
    let message = format!("The request signature does not conform to Aliyun standards: {why}.");
    Failure::gateway(400, "IncompleteSignature", message)
}

fn mismatch(why: &str) -> Failure {
    let message = format!("Specified signature does not match our calculation. {why}");
    Failure::gateway(400, "SignatureDoesNotMatch", message)
}

/// Checks that a time is well-formed and near the server's.
pub(super) fn check_date(text: &str, now: i64) -> Result<(), Failure> {
    let plain = text.len() == "2023-10-26T10:22:32Z".len() && text.ends_with('Z');
    let date = text.parse::<jiff::Timestamp>().ok().filter(|_| plain).ok_or_else(|| {
        let message = "Specified time stamp or date value is not well formatted.";
        Failure::gateway(400, "InvalidTimeStamp.Format", message)
    })?;
    if (date.as_millisecond() - now).abs() > WINDOW_MS {
        let message = "Specified time stamp or date value is expired.";
        return Err(Failure::gateway(400, "InvalidTimeStamp.Expired", message));
    }
    Ok(())
}

fn check_token(incoming: &Incoming, key: &AccessKey, now: i64) -> Result<(), Failure> {
    let refused = |code: &str, message: &str| Err(Failure::gateway(400, code, message));
    match (&key.security_token, incoming.header("x-acs-security-token")) {
        (None, None) => Ok(()),
        (None, Some(_)) => refused("InvalidSecurityToken.Malformed", "The specified SecurityToken is malformed."),
        (Some(_), None) => refused("MissingSecurityToken", "SecurityToken is mandatory for this action."),
        (Some(known), Some(given)) if *known != given => refused(
            "InvalidSecurityToken.MismatchWithAccessKey",
            "Specified SecurityToken mismatch with the AccessKey.",
        ),
        (Some(_), Some(_)) if key.expires_at_ms.is_some_and(|end| end <= now) => {
            refused("InvalidSecurityToken.Expired", "Specified SecurityToken is expired.")
        }
        (Some(_), Some(_)) => Ok(()),
    }
}

/// Checks that host, content-type and every x-acs-* header of the request are signed (the help page requires it of the
/// common headers).
fn check_signed_headers(incoming: &Incoming, authorization: &Authorization) -> Result<(), Failure> {
    let signed: HashSet<_> = authorization.signed_headers.split(';').collect();
    let sent = incoming.headers.keys().map(http::HeaderName::as_str);
    let due = sent.filter(|name| *name == "content-type" || name.starts_with("x-acs-"));
    match due.chain(["host"]).find(|name| !signed.contains(name)) {
        Some(name) => Err(incomplete(&format!("the header {name} is not signed"))),
        None => Ok(()),
    }
}

/// Used nonces, kept while a request with one of them could still be within the window.
#[derive(Debug, Default)]
pub(super) struct Nonces {
    used: HashSet<String>,
    order: VecDeque<(i64, String)>,
}

impl Nonces {
    /// Records a nonce as used; refuses one that was used before.
    pub(super) fn consume(&mut self, nonce: &str, now: i64) -> Result<(), Failure> {
        while self.order.front().is_some_and(|(at, _)| now - at > 2 * WINDOW_MS) {
            if let Some((_, old)) = self.order.pop_front() {
                self.used.remove(&old);
            }
        }
        if !self.used.insert(nonce.to_owned()) {
            let message = "Specified signature nonce was used already.";
            return Err(Failure::gateway(400, "SignatureNonceUsed", message));
        }
        self.order.push_back((now, nonce.to_owned()));
        Ok(())
    }
}
