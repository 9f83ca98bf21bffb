//! The metadata of an ECS instance with a role: tokens (IMDSv2 only) and the keys of the role.

use super::issued::Issued;
use super::service::Sts;

/// How long a key of the metadata lives, s.
const KEY_SECONDS: i64 = 6 * 3600;
/// The longest life of a token, s.
const MAX_TOKEN_SECONDS: i64 = 21_600;
/// The session that the instance's keys belong to.
const SESSION: &str = "vm-ram-i-sim00000001";

/// Why the metadata are not told. They have no codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataRefusal {
    /// The life that was asked for is none: HTTP 400.
    InvalidTtl,
    /// The token is missing, unknown or over: HTTP 403. The documents do not say what is answered (inferred).
    InvalidToken,
    /// No role is attached, or another one: HTTP 404.
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
    /// A token that opens the metadata for so many seconds.
    pub fn put_metadata_token(&mut self, seconds: Option<i64>, now: i64) -> Result<String, MetadataRefusal> {
        let seconds = seconds.filter(|seconds| (1..=MAX_TOKEN_SECONDS).contains(seconds));
        let seconds = seconds.ok_or(MetadataRefusal::InvalidTtl)?;
        self.metadata_tokens.retain(|_, end| *end > now);
        let token = Issued::new(self.count(), ("metadata", SESSION), now, 0).access_key_secret;
        self.metadata_tokens.insert(token.clone(), now.saturating_add(seconds * 1000));
        Ok(token)
    }

    /// The name of the role that is attached.
    pub fn metadata_role(&self, token: Option<&str>, now: i64) -> Result<String, MetadataRefusal> {
        let good = token.and_then(|token| self.metadata_tokens.get(token)).is_some_and(|end| *end > now);
        if !good {
            return Err(MetadataRefusal::InvalidToken);
        }
        self.metadata.role_name().map(str::to_owned).ok_or(MetadataRefusal::NoSuchRole)
    }

    /// A key of the role that is attached: the one that was given last, until half of its life is over, it was revoked or
    /// another role is attached.
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
