//! Claims of an OIDC token. Their signature is not checked: the model has no issuer's key.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::issued::time;

/// The claims of a JWT that the token service uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// `sub`.
    pub subject: String,
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: Vec<String>,
    /// `exp`, s since the epoch.
    pub expires_at: i64,
    /// `iat`, s since the epoch.
    pub issued_at: Option<i64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// The claims in JSON; seconds may have a fraction.
#[derive(Deserialize)]
struct Payload {
    sub: String,
    iss: String,
    aud: Audience,
    exp: f64,
    iat: Option<f64>,
}

impl Claims {
    /// Parses a JWT. None if it is malformed or one of `sub`, `iss`, `aud` and `exp` is missing.
    pub fn read(token: &str) -> Option<Claims> {
        let parts: Vec<_> = token.split('.').collect();
        let [header, payload, signature] = parts.as_slice() else { return None };
        // A line break after the token, as in files, is invalid.
        if !signature.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
            return None;
        }
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok();
        serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&decoded(header)?).ok()?;
        let payload: Payload = serde_json::from_slice(&decoded(payload)?).ok()?;
        let audience = match payload.aud {
            Audience::One(one) => vec![one],
            Audience::Many(many) => many,
        };
        Some(Claims {
            subject: payload.sub,
            issuer: payload.iss,
            audience,
            expires_at: payload.exp as i64,
            issued_at: payload.iat.map(|at| at as i64),
        })
    }

    /// Expiry of the token in the cloud's format.
    pub fn expiration(&self) -> String {
        time(self.expires_at.saturating_mul(1000))
    }

    /// Time of issue of the token in the cloud's format.
    pub fn issuance(&self) -> Option<String> {
        self.issued_at.map(|at| time(at.saturating_mul(1000)))
    }
}
