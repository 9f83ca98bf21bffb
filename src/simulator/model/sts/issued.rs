//! Keys that the token service issued.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::rules::parts_of_role;

/// A temporary key. Neither its `Debug` nor its JSON shows the secret or the token.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Issued {
    /// The id, `STS.…`.
    pub access_key_id: String,
    #[serde(skip)]
    pub access_key_secret: String,
    /// The token that requests with the key must contain.
    #[serde(skip)]
    pub security_token: String,
    /// The ARN of its role.
    pub role_arn: String,
    /// The name of its session.
    pub session: String,
    /// Time of issue, ms since the epoch.
    #[serde(rename = "issuedAt", serialize_with = "as_time")]
    pub issued_at_ms: i64,
    /// Expiry, ms since the epoch: a whole second.
    #[serde(rename = "expiration", serialize_with = "as_time")]
    pub expires_at_ms: i64,
    /// Whether it was revoked before its expiry.
    pub revoked: bool,
}

impl Issued {
    pub(super) fn new(number: u64, (role_arn, session): (&str, &str), now: i64, end: i64) -> Issued {
        let derived = |what: &str| Sha256::digest(format!("{what}/{number}/{now}/{role_arn}/{session}"));
        let id = hex::encode_upper(derived("id"));
        // Real tokens are long and contain characters that a query must encode.
        let token = STANDARD.encode([derived("token"), derived("more"), derived("most")].concat());
        Issued {
            access_key_id: format!("STS.N{}", id.get(..24).unwrap_or_default()),
            access_key_secret: hex::encode(derived("secret")),
            security_token: format!("CAIS+/{token}="),
            role_arn: role_arn.to_owned(),
            session: session.to_owned(),
            issued_at_ms: now,
            expires_at_ms: end,
            revoked: false,
        }
    }

    /// Expiration in the cloud's format.
    pub fn expiration(&self) -> String {
        time(self.expires_at_ms)
    }

    /// LastUpdated of the metadata: the time of issue.
    pub fn last_updated(&self) -> String {
        time(self.issued_at_ms)
    }

    /// The ARN of the session.
    pub fn user_arn(&self) -> String {
        let (account, name) = parts_of_role(&self.role_arn).unwrap_or_default();
        format!("acs:ram::{account}:assumed-role/{name}/{}", self.session)
    }

    /// The id of the session: the role's id, which derives from its ARN, and the session's name.
    pub fn user_id(&self) -> String {
        let hash = Sha256::digest(&self.role_arn);
        let number = hash.iter().take(7).fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
        format!("3{number:017}:{}", self.session)
    }

    /// Whether more than half of its lifetime is over, or the key is revoked.
    pub(super) fn is_past_half_lifetime(&self, now: i64) -> bool {
        let half = (self.expires_at_ms - self.issued_at_ms) / 2;
        self.revoked || now >= self.issued_at_ms + half
    }
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued")
            .field("access_key_id", &self.access_key_id)
            .field("role_arn", &self.role_arn)
            .field("session", &self.session)
            .field("expires_at_ms", &self.expires_at_ms)
            .field("revoked", &self.revoked)
            .finish_non_exhaustive()
    }
}

/// A time in the format of the token service: UTC, whole seconds.
pub(super) fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_else(|_| "1970-01-01T00:00:00Z".to_owned())
}

fn as_time<S: Serializer>(ms: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time(*ms))
}
