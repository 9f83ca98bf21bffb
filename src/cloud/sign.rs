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
    pairs.sort_unstable();
    let mut text = String::new();
    for (key, value) in &pairs {
        let separator = if text.is_empty() { "" } else { "&" };
        text.extend([separator, key, "=", value]);
    }
    text
}

/// The canonical request, which the signature covers.
pub struct Canonical {
    /// The canonical request, line by line.
    pub request: String,
    /// The signed headers' names, lower case, sorted, joined with `;`.
    pub signed_headers: String,
    /// The canonical query.
    pub query: String,
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
    let query = canonical_query(query);
    let mut headers: Vec<_> = headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.trim())).collect();
    headers.sort_unstable();
    let mut signed_headers = String::new();
    let mut request = String::new();
    request.extend([method, "\n", path, "\n", &query, "\n"]);
    for same in headers.chunk_by(|one, other| one.0 == other.0) {
        let (name, separator) = (same[0].0.as_str(), if signed_headers.is_empty() { "" } else { ";" });
        signed_headers.extend([separator, name]);
        request.extend([name, ":"]);
        for (number, (_, value)) in same.iter().enumerate() {
            request.extend([if number == 0 { "" } else { "," }, value]);
        }
        request.push('\n');
    }
    request.extend(["\n", &signed_headers, "\n", payload_hash]);
    Canonical { request, signed_headers, query }
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
    let Canonical { request, signed_headers, query: _ } = canonical;
    let signature = signature(access_key_secret, request);
    format!("{ALGORITHM} Credential={access_key_id},SignedHeaders={signed_headers},Signature={signature}")
}
