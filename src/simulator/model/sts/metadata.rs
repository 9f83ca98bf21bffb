//! The metadata of an ECS instance with a role: tokens (IMDSv2 only) and the keys of the role.

use super::issued::Issued;
use super::service::Sts;

/// Lifetime of a key of the metadata service, s.
const KEY_SECONDS: i64 = 6 * 3600;
/// Maximum lifetime of a metadata token, s.
const MAX_TOKEN_SECONDS: i64 = 21_600;
/// The session name of the instance's keys.
const SESSION: &str = "vm-ram-i-sim00000001";

/// A refusal of the metadata service, which has no codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataRefusal {
    /// The requested lifetime is invalid: HTTP 400.
    InvalidTtl,
    /// The token is missing, unknown or expired: HTTP 403. The answer is not documented (inferred).
    InvalidToken,
    /// No role or another role is attached: HTTP 404.
    NoSuchRole,
}

impl MetadataRefusal {
    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            MetadataRefusal::InvalidTtl => 400,
            MetadataRefusal::InvalidToken => 403,
            MetadataRefusal::NoSuchRole => 404,
        }
    }
}

impl Sts {
    /// Issues a metadata token that is valid for `seconds`.
    pub fn put_metadata_token(&mut self, seconds: Option<i64>, now: i64) -> Result<String, MetadataRefusal> {
        let seconds = seconds.filter(|seconds| (1..=MAX_TOKEN_SECONDS).contains(seconds));
        let seconds = seconds.ok_or(MetadataRefusal::InvalidTtl)?;
        self.metadata_tokens.retain(|_, end| *end > now);
        let token = Issued::new(self.count(), ("metadata", SESSION), now, 0).access_key_secret;
        self.metadata_tokens.insert(token.clone(), now.saturating_add(seconds * 1000));
        Ok(token)
    }

    /// The name of the attached role.
    pub fn metadata_role(&self, token: Option<&str>, now: i64) -> Result<String, MetadataRefusal> {
        let good = token.and_then(|token| self.metadata_tokens.get(token)).is_some_and(|end| *end > now);
        if !good {
            return Err(MetadataRefusal::InvalidToken);
        }
        self.metadata.role_name().map(str::to_owned).ok_or(MetadataRefusal::NoSuchRole)
    }

    /// A key of the attached role: the last one, until half of its lifetime is over, it is revoked or another role is
    /// attached.
    pub fn metadata_key(&mut self, role: &str, token: Option<&str>, now: i64) -> Result<Issued, MetadataRefusal> {
        if self.metadata_role(token, now)? != role {
            return Err(MetadataRefusal::NoSuchRole);
        }
        let arn = self.metadata.role_arn.clone().ok_or(MetadataRefusal::NoSuchRole)?;
        let last = self.metadata_key.as_deref().and_then(|id| self.issued_key(id));
        if let Some(last) = last.filter(|last| last.role_arn == arn && !last.is_past_half_lifetime(now)) {
            return Ok(last.clone());
        }
        let key = self.issue(&arn, SESSION, KEY_SECONDS, now);
        self.metadata_key = Some(key.access_key_id.clone());
        Ok(key)
    }
}
