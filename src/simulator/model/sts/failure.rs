//! Refusals of the token service: always the gateway's body.

use super::super::failure::Failure;

impl Failure {
    /// The role does not exist.
    pub(super) fn role_not_found(arn: &str) -> Failure {
        Failure::gateway(404, "EntityNotExist.Role", format!("The role not exists: {arn}."))
    }

    /// The OIDC provider does not exist. The code is not documented (inferred).
    pub(super) fn provider_not_found(arn: &str) -> Failure {
        Failure::gateway(404, "EntityNotExist.OIDCProvider", format!("The OIDC provider not exists: {arn}."))
    }

    /// The caller may not assume the role, or may not call the action at all.
    pub fn sts_no_permission() -> Failure {
        let message = "You are not authorized to do this action. You should be authorized by RAM.";
        Failure::gateway(403, "NoPermission", message)
    }

    /// The account itself cannot assume roles.
    pub(super) fn root_assumes_no_role() -> Failure {
        Failure::gateway(403, "NoPermission", "Roles may not be assumed by root accounts.")
    }

    /// A parameter of the token service has an invalid value: `InvalidParameter.{Param}`.
    pub fn invalid_sts(parameter: &str, why: &str) -> Failure {
        let message = format!("The parameter {parameter} is wrongly formed: {why}.");
        Failure::gateway(400, &format!("InvalidParameter.{parameter}"), message)
    }

    /// An invalid OIDC token: `AuthenticationFail.OIDCToken.{what}`, HTTP 401.
    pub(super) fn oidc_token(what: &str, message: &str) -> Failure {
        Failure::gateway(401, &format!("AuthenticationFail.OIDCToken.{what}"), message)
    }

    /// The role does not trust the provider or the subject.
    pub fn oidc_no_permission() -> Failure {
        let message = "This operation is not permitted to be performed by the OIDC token.";
        Failure::gateway(401, "AuthenticationFail.NoPermission", message)
    }
}
