//! A RAM role, assumed with other credentials.

use std::sync::Arc;

use super::cache::CredentialsCache;
use super::signer::Signer;
use super::{Provider, provider};
use crate::cloud::sts::{RoleRequest, Sts, failed};

/// Credentials of a role, requested with the credentials of `base`.
pub fn of(sts: Sts, base: Arc<CredentialsCache>, request: RoleRequest) -> Provider {
    provider(move || {
        let (sts, base, request) = (sts.clone(), base.clone(), request.clone());
        async move {
            let signer = Signer::of(&base, sts.now()).await?;
            sts.assume_role(signer, &request).await.map_err(failed)
        }
    })
}
