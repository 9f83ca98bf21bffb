//! The signer of the calls of one reconcile.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::cache::CredentialsCache;
use super::{Credentials, CredentialsError, Issued};
use crate::cloud::error::Error;

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
