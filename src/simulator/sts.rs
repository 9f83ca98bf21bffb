//! The operations of STS 2015-04-01 (RPC): from parameters to the model and back.

use http::Method;
use serde_json::{Value, json};

use super::http::{Incoming, is_loopback, region_of};
use super::model::Failure;
use super::model::sts::{AssumeRoleInput, Caller, Claims, Issued, OidcInput, Sts};
use super::signature;

/// The first label of the product's host names.
pub(super) const PRODUCT: &str = "sts";
/// The API version.
pub(super) const VERSION: &str = "2015-04-01";
/// The endpoint without a region.
const CENTRAL_ENDPOINT: &str = "sts.aliyuncs.com";

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    AssumeRole,
    AssumeRoleWithOidc,
}

/// The action that a request names: in the header, or in the parameter without such a header.
pub(super) fn named_action(incoming: &Incoming) -> Option<String> {
    incoming.header("x-acs-action").or_else(|| incoming.rpc_parameter("Action"))
}

/// The region of an endpoint; the central one is in the default region.
pub(super) fn region(host: &str, default_region: &str) -> Option<String> {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    match name == CENTRAL_ENDPOINT {
        true => Some(default_region.to_owned()),
        false => region_of(host, PRODUCT, default_region),
    }
}

/// Whether a request to a loopback address is for STS and not for another RPC product.
pub(super) fn is_addressed(incoming: &Incoming) -> bool {
    is_loopback(&incoming.host) && Operation::route(incoming).is_some()
}

impl Operation {
    /// The operation that a POST or GET of `/` names.
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

    /// Whether requests are signed. The others authenticate by a token.
    pub(super) fn is_signed(self) -> bool {
        self == Operation::AssumeRole
    }

    /// The refusal for a caller without permission.
    pub(super) fn denied(self) -> Failure {
        match self {
            Operation::AssumeRole => Failure::sts_no_permission(),
            Operation::AssumeRoleWithOidc => Failure::oidc_no_permission(),
        }
    }

    /// Executes the operation and returns the fields of the reply. `caller` is the owner of the signing key.
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

/// Checks a request without a signature: the version, and the time where it has one.
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

/// Fields as in the SDK. `VerificationInfo` is `Success`, as the cloud reports for every token that it accepts.
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
