//! Who signs the calls of one pass.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::cache::CredentialsCache;
use super::{Credentials, CredentialsError, Issued};
use crate::cloud::error::Error;

/// Who signs the calls of a pass: what an identity gave at its beginning, renewed when it is due.
#[derive(Clone)]
pub struct Signer(Arc<Held>);

struct Held {
    cache: Option<Arc<CredentialsCache>>,
    issued: Mutex<Issued>,
}

impl Signer {
    /// One that never changes.
    pub fn fixed(credentials: Credentials) -> Self {
        Self(Arc::new(Held { cache: None, issued: Mutex::new(Issued::without_expiry(credentials)) }))
    }

    /// One with the credentials that an identity has at `now`.
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

    /// What signs the next call. Where renewing fails, what there is: whether it is good, the cloud says.
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

    /// The cloud refused a call to `place` for its key: whether the next one is signed with another. Where the call
    /// changes something, only with another of the same identity: what another one sees was not looked at.
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

    /// The cloud refused a call to `place` for its key, and nothing is to be done about it now.
    pub fn report_refused(&self, refused: &Credentials, endpoint: &str, error: &Error, now: Timestamp) {
        if let Some(cache) = &self.0.cache {
            cache.report_refused(refused, endpoint, error, now);
        }
    }

    /// The cloud took a call to `place`.
    pub fn report_accepted(&self, endpoint: &str) {
        if let Some(cache) = &self.0.cache {
            cache.report_accepted(endpoint);
        }
    }
}

/// What became of credentials that the cloud refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// There are no others.
    No,
    /// There are others.
    Yes,
    /// There are others, of another identity.
    ByAnother,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer([redacted])")
    }
}
