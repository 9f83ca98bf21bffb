//! ACS3-HMAC-SHA256, the request signature of Alibaba Cloud's OpenAPI. Pure functions: no clock, no environment.
//!
//! Source: help page "Request syntax and signature method V3"; the official Python SDK (tea_openapi 0.4.6) agrees with
//! it on every vector in `tests/acs3-vectors.json`.

use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

/// The algorithm's name, which begins the string to sign and the `Authorization` header.
pub const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// All characters but the unreserved ones of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Encodes one query key, query value or path segment by RFC 3986: unreserved characters stay, all others become `%XX`
/// of their UTF-8 bytes (a space is `%20`, never `+`).
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// The lower-case hexadecimal SHA-256 of a body, as `x-acs-content-sha256` carries it.
pub fn payload_hash(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

/// The canonical query: sorted by key, encoded, joined with `&`; an empty value is `key=`.
pub fn canonical_query<K: AsRef<str>, V: AsRef<str>>(query: &[(K, V)]) -> String {
    let mut pairs: Vec<_> = query.iter().map(|(key, value)| (encode(key.as_ref()), encode(value.as_ref()))).collect();
    pairs.sort();
    let pairs: Vec<_> = pairs.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join("&")
}

/// The canonical request, which the signature covers.
pub struct Canonical {
    /// The canonical request, line by line.
    pub request: String,
    /// The signed headers' names, lower case, sorted, joined with `;`.
    pub signed_headers: String,
}

/// Builds the canonical request.
///
/// `path` is the path as sent (`/` for RPC), `query` the decoded pairs, `headers` all headers to sign
/// (names in any case, values as sent; a name may repeat), `payload_hash` the value of `x-acs-content-sha256`.
pub fn canonical_request<K: AsRef<str>, V: AsRef<str>>(
    method: &str,
    path: &str,
    query: &[(K, V)],
    headers: &[(&str, &str)],
    payload_hash: &str,
) -> Canonical {
    let mut by_name = std::collections::BTreeMap::<String, Vec<&str>>::new();
    for (name, value) in headers {
        by_name.entry(name.to_ascii_lowercase()).or_default().push(value.trim());
    }
    let mut lines = String::new();
    for (name, values) in &mut by_name {
        values.sort_unstable();
        lines.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    let signed_headers = by_name.into_keys().collect::<Vec<_>>().join(";");
    let query = canonical_query(query);
    let request = format!("{method}\n{path}\n{query}\n{lines}\n{signed_headers}\n{payload_hash}");
    Canonical { request, signed_headers }
}

/// The lower-case hexadecimal signature of a canonical request.
pub fn signature(access_key_secret: &str, canonical_request: &str) -> String {
    let to_sign = format!("{ALGORITHM}\n{}", payload_hash(canonical_request.as_bytes()));
    // HMAC takes a key of any length, so this cannot fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(access_key_secret.as_bytes()) else {
        return String::new();
    };
    mac.update(to_sign.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// The value of the `Authorization` header for a canonical request.
pub fn authorization(access_key_id: &str, access_key_secret: &str, canonical: &Canonical) -> String {
    let Canonical { request, signed_headers } = canonical;
    let signature = signature(access_key_secret, request);
    format!("{ALGORITHM} Credential={access_key_id},SignedHeaders={signed_headers},Signature={signature}")
}
