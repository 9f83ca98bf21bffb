//! RRSA: a RAM role, assumed with a token of a Kubernetes service account.

use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};

use super::{CredentialsError, Provider, provider};
use crate::cloud::error::{Class, Error};
use crate::cloud::operation::ApiOperation;
use crate::cloud::sts::{OidcRequest, Sts, failed};

/// The ARN of the role, as the vendor's webhook sets it on a pod.
pub const ROLE_ARN: &str = "ALIBABA_CLOUD_ROLE_ARN";
/// The ARN of the OIDC identity provider, as the vendor's webhook sets it on a pod.
pub const PROVIDER_ARN: &str = "ALIBABA_CLOUD_OIDC_PROVIDER_ARN";
/// The path of the token, as the vendor's webhook sets it on a pod.
pub const TOKEN_FILE: &str = "ALIBABA_CLOUD_OIDC_TOKEN_FILE";
/// The name of the session, optional.
pub const SESSION_NAME: &str = "ALIBABA_CLOUD_ROLE_SESSION_NAME";
/// The default name of the session.
pub const DEFAULT_SESSION_NAME: &str = "disaster-recovery-operator";
/// The audience of tokens that STS accepts.
pub const AUDIENCE: &str = "sts.aliyuncs.com";

/// The source of the token. Each call reads or requests it again.
pub type TokenSource = Arc<dyn Fn() -> BoxFuture<'static, Result<SecretString, CredentialsError>> + Send + Sync>;

/// The token in a file that Kubernetes replaces regularly.
pub fn file(path: PathBuf) -> TokenSource {
    Arc::new(move || {
        let path = path.clone();
        Box::pin(async move {
            let shown = path.display().to_string();
            let unreadable = |why: String| CredentialsError::TokenFileUnreadable { path: shown.clone(), why };
            let text = tokio::fs::read_to_string(&path).await.map_err(|error| unreadable(error.to_string()))?;
            match text.trim() {
                "" => Err(unreadable("it is empty".into())),
                token => Ok(token.into()),
            }
        })
    })
}

/// The role to assume.
#[derive(Clone, Debug)]
pub struct Assumed {
    /// The ARN of the role.
    pub role_arn: String,
    /// The ARN of the OIDC identity provider.
    pub provider_arn: String,
    /// The name of the session.
    pub session_name: String,
}

/// Credentials of a role for a token.
pub fn of(sts: Sts, assumed: Assumed, token: TokenSource) -> Provider {
    provider(move || {
        let (sts, assumed, token) = (sts.clone(), assumed.clone(), token.clone());
        async move {
            let Assumed { role_arn, provider_arn, session_name } = assumed;
            let token = token().await?;
            // The API takes 4 to 20,000 characters and refuses any other length.
            if !(4..=20_000).contains(&token.expose_secret().len()) {
                let code = "AuthenticationFail.OIDCToken.Invalid";
                let message = "the token of the service account is no token: STS takes 4 to 20,000 characters";
                return Err(CredentialsError::Refused(Error {
                    class: Class::Denied,
                    operation: ApiOperation::AssumeRoleWithOidc,
                    code: code.into(),
                    message: message.into(),
                    request_id: None,
                }));
            }
            let request = OidcRequest { role_arn, provider_arn, session_name, token };
            sts.assume_role_with_oidc(&request).await.map_err(failed)
        }
    })
}
