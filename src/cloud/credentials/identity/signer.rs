//! Who signs the calls of one pass.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::super::{Credentials, CredentialsError, Issued};
use super::Identity;
use crate::cloud::error::Error;

/// Who signs the calls of a pass: what an identity gave at its beginning, renewed when it is due.
#[derive(Clone)]
pub struct Signer(Arc<Held>);

struct Held {
    identity: Option<Arc<Identity>>,
    issued: Mutex<Issued>,
}

impl Signer {
    /// One that never changes.
    pub fn fixed(credentials: Credentials) -> Self {
        Self(Arc::new(Held { identity: None, issued: Mutex::new(Issued::lasting(credentials)) }))
    }

    /// One with the credentials that an identity has at `now`.
    pub async fn of(identity: &Arc<Identity>, now: Timestamp) -> Result<Self, CredentialsError> {
        let issued = Mutex::new(identity.credentials(now).await?);
        Ok(Self(Arc::new(Held { identity: Some(identity.clone()), issued })))
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
        if let (Some(identity), Some(_)) = (&self.0.identity, held.expires)
            && let Ok(issued) = identity.credentials(now).await
        {
            *self.issued() = issued.clone();
            return issued.credentials;
        }
        held.credentials
    }

    /// The cloud refused a call for its key: whether the next one is signed with another.
    pub async fn replace(&self, refused: &Credentials, error: &Error, now: Timestamp) -> bool {
        let Some(identity) = &self.0.identity else { return false };
        let Some(issued) = identity.instead_of(refused, error, now).await else { return false };
        *self.issued() = issued;
        true
    }

    /// The cloud refused a call for its key, and nothing is to be done about it now.
    pub fn refused(&self, refused: &Credentials, error: &Error, now: Timestamp) {
        if let Some(identity) = &self.0.identity {
            identity.refused(refused, error, now);
        }
    }

    /// The cloud took a call.
    pub fn accepted(&self) {
        if let Some(identity) = &self.0.identity {
            identity.accepted();
        }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer([redacted])")
    }
}
