//! The operations of STS 2015-04-01 (RPC): from parameters to the model and back.

use http::Method;
use serde_json::{Value, json};

use super::http::{Incoming, is_loopback, region_of};
use super::model::Failure;
use super::model::sts::{AssumeRoleInput, Caller, Claims, Issued, OidcInput, Sts};
use super::signature;

/// The product, as it starts the host name.
pub(super) const PRODUCT: &str = "sts";
/// The API's version.
pub(super) const VERSION: &str = "2015-04-01";
/// The endpoint that names no region.
const CENTRAL_ENDPOINT: &str = "sts.aliyuncs.com";

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    AssumeRole,
    AssumeRoleWithOidc,
}

/// What says which action is meant: the header, or the parameter where there is no such header.
pub(super) fn named_action(incoming: &Incoming) -> Option<String> {
    incoming.header("x-acs-action").or_else(|| incoming.rpc_parameter("Action"))
}

/// The region of an endpoint; the central one stands for the default.
pub(super) fn region(host: &str, default_region: &str) -> Option<String> {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    match name == CENTRAL_ENDPOINT {
        true => Some(default_region.to_owned()),
        false => region_of(host, PRODUCT, default_region),
    }
}

/// Whether a request to a loopback address is meant for this product and not for another one that has no paths.
pub(super) fn is_addressed(incoming: &Incoming) -> bool {
    is_loopback(&incoming.host) && Operation::route(incoming).is_some()
}

impl Operation {
    /// The operation that is named, by POST or GET of `/`.
    pub(super) fn route(incoming: &Incoming) -> Option<Operation> {
        let rpc = incoming.path == "/" && [Method::POST, Method::GET].contains(&incoming.method);
        match named_action(incoming).filter(|_| rpc)?.as_str() {
            "AssumeRole" => Some(Operation::AssumeRole),
            "AssumeRoleWithOIDC" => Some(Operation::AssumeRoleWithOidc),
            _ => None,
        }
    }

    /// The action's name.
    pub(super) fn action(self) -> &'static str {
        match self {
            Operation::AssumeRole => "AssumeRole",
            Operation::AssumeRoleWithOidc => "AssumeRoleWithOIDC",
        }
    }

    /// Whether its requests are signed; the others prove who they are by a token.
    pub(super) fn is_signed(self) -> bool {
        self == Operation::AssumeRole
    }

    /// What a caller without the right to it is told.
    pub(super) fn denied(self) -> Failure {
        match self {
            Operation::AssumeRole => Failure::sts_no_permission(),
            Operation::AssumeRoleWithOidc => Failure::oidc_no_permission(),
        }
    }

    /// Carries it out: the fields of the reply. `caller` is whose key signed it.
    pub(super) fn perform(
        self,
        incoming: &Incoming,
        sts: &mut Sts,
        caller: &Caller,
        now: i64,
    ) -> Result<Value, Failure> {
        let text = |name: &str| incoming.rpc_parameter(name);
        let duration = text("DurationSeconds").map(|text| text.parse()).transpose();
        let duration = duration.map_err(|_| Failure::invalid_sts("DurationSeconds", "it must be an integer"))?;
        let (role_arn, session) = (text("RoleArn"), text("RoleSessionName"));
        match self {
            Operation::AssumeRole => {
                let external_id = text("ExternalId");
                let input = AssumeRoleInput { role_arn, session, duration, external_id };
                Ok(reply(&sts.assume_role(caller, &input, now)?))
            }
            Operation::AssumeRoleWithOidc => {
                let (provider_arn, token) = (text("OIDCProviderArn"), text("OIDCToken"));
                let input = OidcInput { role_arn, provider_arn, token, session, duration };
                let (issued, claims) = sts.assume_role_with_oidc(&input, now)?;
                let mut reply = reply(&issued);
                reply["OIDCTokenInfo"] = token_info(&claims);
                Ok(reply)
            }
        }
    }
}

/// What is asked of a request without a signature: the version, and a time where it says one.
pub(super) fn check_unsigned(incoming: &Incoming, now: i64) -> Result<(), Failure> {
    if let Some(date) = incoming.rpc_parameter("Timestamp").or_else(|| incoming.header("x-acs-date")) {
        signature::check_date(&date, now)?;
    }
    let version = incoming.header("x-acs-version").or_else(|| incoming.rpc_parameter("Version"));
    match version.as_deref() {
        Some(VERSION) => Ok(()),
        Some(_) => Err(Failure::api_not_found()),
        None => Err(Failure::missing("Version")),
    }
}

fn reply(issued: &Issued) -> Value {
    json!({
        "AssumedRoleUser": {"Arn": issued.user_arn(), "AssumedRoleId": issued.user_id()},
        "Credentials": {
            "AccessKeyId": issued.access_key_id,
            "AccessKeySecret": issued.access_key_secret,
            "SecurityToken": issued.security_token,
            "Expiration": issued.expiration(),
        },
    })
}

/// The fields are the SDK's; the signature is said to be verified, as the cloud says of every token that it takes.
fn token_info(claims: &Claims) -> Value {
    json!({
        "Subject": claims.subject,
        "Issuer": claims.issuer,
        "ClientIds": claims.audience.join(","),
        "ExpirationTime": claims.expiration(),
        "IssuanceTime": claims.issuance(),
        "VerificationInfo": "Success",
    })
}
