//! The client token, by which EBS distinguishes a repeated call from a new one.

use std::fmt;

use super::super::sign::payload_hash;

/// Maximum length of a token in characters (help page of ReprotectDiskReplicaGroup).
const MAX_LENGTH: usize = 64;

/// A client token. A repeat with the same token and parameters returns the result of the first call; with other
/// parameters it fails with the code `IdempotentParameterMismatch` (help page 25693).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientToken(String);

/// The error for a text that is no client token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a client token has 1 to 64 printable ASCII characters")]
pub struct NoClientToken;

impl ClientToken {
    /// Accepts a text of 1 to 64 printable ASCII characters; upper and lower case differ.
    pub fn new(text: impl Into<String>) -> Result<Self, NoClientToken> {
        let text = text.into();
        let fits = !text.is_empty() && text.len() <= MAX_LENGTH && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if fits { Ok(Self(text)) } else { Err(NoClientToken) }
    }

    /// The token of one operation of one object, always the same: `uid` is the object's UID, `operation` names the
    /// operation (with the pair's name if there are several), and `sequence` is the generation or the number of earlier
    /// calls.
    ///
    /// A text that does not fit into a token is hashed.
    pub fn of(uid: &str, operation: &str, sequence: i64) -> Self {
        let text = format!("{uid}-{operation}-{sequence}");
        let hash = Self(payload_hash(text.as_bytes()));
        Self::new(text).unwrap_or(hash)
    }

    /// The text, as it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

    #[test]
    fn texts_that_ebs_refuses_are_no_tokens() {
        for text in [String::new(), "a".repeat(65), "tök".into(), "a\nb".into()] {
            assert_eq!(ClientToken::new(text.clone()), Err(NoClientToken), "{text}");
        }
        for text in ["a".repeat(64), "tok 1/a~b*c+d".into()] {
            assert_eq!(ClientToken::new(text.clone()).map(|token| token.to_string()), Ok(text));
        }
    }

    #[test]
    fn token_follows_from_object_operation_and_sequence() {
        let token = |operation, sequence| ClientToken::of(UID, operation, sequence).to_string();
        assert_eq!(token("failover", 3), format!("{UID}-failover-3"));
        let long = "create-pair-with-a-name-that-is-long";
        assert_eq!(token(long, 3), token(long, 3));
        assert_eq!(token(long, 3).len(), 64);
        assert_ne!(token(long, 3), token(long, 4));
        assert_ne!(token("daten-ä", 3), token("daten-ö", 3));
        assert!(token("daten-ä", 3).is_ascii());
    }
}
