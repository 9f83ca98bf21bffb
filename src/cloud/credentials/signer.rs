//! The signer of the calls of one reconcile.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::cache::CredentialsCache;
use super::{Credentials, CredentialsError, Issued, masked};
use crate::cloud::error::Error;
use crate::cloud::rate_limit::Identity;

/// The signer of the calls of one reconcile: the credentials of a cache at the beginning, renewed when due.
#[derive(Clone)]
pub struct Signer(Arc<Held>);

struct Held {
    cache: Option<Arc<CredentialsCache>>,
    issued: Mutex<Issued>,
}

impl Signer {
    /// A signer with fixed credentials.
    pub fn fixed(credentials: Credentials) -> Self {
        Self(Arc::new(Held { cache: None, issued: Mutex::new(Issued::without_expiry(credentials)) }))
    }

    /// A signer with the credentials of `cache` at `now`.
    pub async fn of(cache: &Arc<CredentialsCache>, now: Timestamp) -> Result<Self, CredentialsError> {
        let issued = Mutex::new(cache.credentials(now).await?);
        Ok(Self(Arc::new(Held { cache: Some(cache.clone()), issued })))
    }

    /// Who signs, for people.
    pub fn identity(&self) -> String {
        self.issued().identity.clone()
    }

    /// A hash that distinguishes the signer from others, and stays when temporary credentials are renewed: of the role, else of the
    /// whole access key.
    pub fn key(&self) -> String {
        let issued = self.issued();
        let secret = issued.credentials.access_key_secret.expose_secret();
        let parts = match issued.expires {
            Some(_) => [issued.identity.as_str(), ""],
            None => [issued.credentials.access_key_id.as_str(), secret],
        };
        hex::encode(Sha256::digest(parts.join("\n")))
    }

    /// Who the service counts calls for: the account of a role, else the key. Renewal does not change it.
    pub fn counted_for(&self) -> Identity {
        counted_for(&self.issued())
    }

    fn issued(&self) -> MutexGuard<'_, Issued> {
        self.0.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The credentials for the next call. If renewal fails, the present ones: the cloud decides whether they are valid.
    pub async fn credentials(&self, now: Timestamp) -> Credentials {
        let held = self.issued().clone();
        if let (Some(cache), Some(_)) = (&self.0.cache, held.expires)
            && let Ok(issued) = cache.credentials(now).await
        {
            *self.issued() = issued.clone();
            return issued.credentials;
        }
        held.credentials
    }

    /// Reports that the cloud refused the key of a call to `endpoint`, and replaces it if the cache has another. For a
    /// changing call the other key must have the same identity, since the operator has not observed with another
    /// identity.
    pub async fn replace(
        &self,
        refused: &Credentials,
        endpoint: &str,
        error: &Error,
        changing: bool,
        now: Timestamp,
    ) -> Replaced {
        let Some(cache) = &self.0.cache else { return Replaced::No };
        let Some(issued) = cache.replacement_for(refused, endpoint, error, now).await else { return Replaced::No };
        if changing && issued.identity != self.identity() {
            return Replaced::ByAnother;
        }
        *self.issued() = issued;
        Replaced::Yes
    }

    /// Reports that the cloud refused the key of a call to `endpoint`, without replacing it.
    pub fn report_refused(&self, refused: &Credentials, endpoint: &str, error: &Error, now: Timestamp) {
        if let Some(cache) = &self.0.cache {
            cache.report_refused(refused, endpoint, error, now);
        }
    }

    /// Reports that the cloud accepted the key of a call to `endpoint`.
    pub fn report_accepted(&self, endpoint: &str) {
        if let Some(cache) = &self.0.cache {
            cache.report_accepted(endpoint);
        }
    }
}

fn counted_for(issued: &Issued) -> Identity {
    let Issued { credentials, identity, .. } = issued;
    if let Some(account) = account_of(identity) {
        return Identity::of_account(account);
    }
    let masked = masked(&credentials.access_key_id);
    match *identity == masked {
        true => Identity::of_key(&credentials.access_key_id, masked),
        // The keys of an instance's role change; the role has no ARN here.
        false => Identity::of_role(identity.clone()),
    }
}

/// The ID of the account in an ARN, such as `acs:ram::1234567890123456:role/disaster-recovery`.
fn account_of(arn: &str) -> Option<&str> {
    let (account, _) = arn.strip_prefix("acs:ram::")?.split_once(':')?;
    (!account.is_empty()).then_some(account)
}

/// The outcome of replacing refused credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// The cache has no others.
    No,
    /// The signer has others now.
    Yes,
    /// The cache has credentials of another identity, which the signer does not use.
    ByAnother,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issued(access_key_id: &str, identity: &str) -> Issued {
        let credentials = Credentials {
            access_key_id: access_key_id.into(),
            access_key_secret: "secret".into(),
            security_token: Some("token".into()),
        };
        Issued { credentials, expires: None, identity: identity.into() }
    }

    #[test]
    fn roles_and_keys_of_one_account_share_identity() {
        let account = Identity::of_account("1234567890123456");
        for (key, role) in [("STS.one", "orders"), ("STS.two", "orders"), ("STS.three", "payments")] {
            let arn = format!("acs:ram::1234567890123456:role/{role}");
            assert_eq!(counted_for(&issued(key, &arn)), account, "{role}");
        }
        assert_ne!(counted_for(&issued("STS.one", "acs:ram::6543210987654321:role/orders")), account);
        let role = "ECS RAM role disaster-recovery";
        assert_eq!(counted_for(&issued("STS.one", role)), counted_for(&issued("STS.two", role)));
        // A key with the name of an account is another caller.
        let key = Issued::without_expiry(issued("1234567890123456", "").credentials);
        assert_ne!(counted_for(&key), account);
        // Keys that look alike are not the same.
        let similar = ["LTAI5tExampleKeyId0001", "LTAI5tAnotherOneXX0001"];
        let [one, other] = similar.map(|id| Issued::without_expiry(issued(id, "").credentials));
        assert_eq!(one.identity, other.identity);
        assert_ne!(counted_for(&one), counted_for(&other));
        let shown = format!("{:?}", counted_for(&one));
        assert!(shown.contains("LTAI****0001") && !shown.contains("secret") && !shown.contains("token"), "{shown}");
    }
}
