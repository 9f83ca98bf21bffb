//! The states of an account.

use disaster_recovery_operator::api::account::{AlibabaCloudAccountStatus, UsedBy};
use disaster_recovery_operator::cloud::credentials::CredentialsError;
use disaster_recovery_operator::cloud::credentials::cache::KeyHealth;
use disaster_recovery_operator::cloud::endpoint::EndpointError;
use disaster_recovery_operator::cloud::error::{Class, Error};
use disaster_recovery_operator::cloud::operation::ApiOperation;
use disaster_recovery_operator::controller::access::AccountError;
use disaster_recovery_operator::controller::account::status::{ObservedCredentials, StatusInput, status};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::states::{deleted, object, unseen};

const KIND: &str = "AlibabaCloudAccount";

fn spec() -> Value {
    json!({ "credentials": { "secretRef": { "name": "alibaba-cloud-key" } } })
}

fn refused(operation: ApiOperation, code: &str) -> Error {
    let (message, request_id) = ("The cloud's own words.".into(), Some("R-1".into()));
    Error { class: Class::Denied, operation, code: code.into(), message, request_id }
}

fn found(key_health: KeyHealth) -> Result<ObservedCredentials, AccountError> {
    Ok(ObservedCredentials {
        identity: "LTAI****0001".into(),
        expires: None,
        key_health: KeyHealth { judged: true, ..key_health },
        due: None,
    })
}

fn good() -> Result<ObservedCredentials, AccountError> {
    found(KeyHealth::default())
}

fn bad(why: CredentialsError) -> Result<ObservedCredentials, AccountError> {
    Err(AccountError::credentials(Some("messaging/production"), why))
}

fn after(generation: i64, blocked_by: Option<&[String]>, found: &Result<ObservedCredentials, AccountError>) -> Value {
    let (old, now) = (AlibabaCloudAccountStatus::default(), Timestamp::UNIX_EPOCH);
    let used_by = UsedBy { disaster_recovery_plans: 1, disk_replica_groups: 0 };
    let input = StatusInput { generation: Some(generation), blocked_by, used_by, knows_users: true, old: &old, now };
    serde_json::to_value(status(&input, found)).expect("JSON")
}

pub(crate) fn states() -> Vec<Value> {
    let state = |name: &str, found: &Result<ObservedCredentials, AccountError>| {
        object(KIND, name, 1, spec(), after(1, None, found))
    };
    let unreachable = || {
        CredentialsError::Unreachable(Error {
            class: Class::Unavailable,
            ..refused(ApiOperation::AssumeRole, "Timeout")
        })
    };
    let secret = || "messaging/alibaba-cloud-key".to_owned();
    let token = |passing| CredentialsError::TokenRequestFailed {
        account: "messaging/dr".into(),
        why: "it is not there".into(),
        passing,
    };
    let key = |code: &str| {
        found(KeyHealth {
            refused: Some(refused(ApiOperation::ListDisasterRecoveryPlans, code)),
            ..KeyHealth::default()
        })
    };
    let not_renewed = CredentialsError::Refused(refused(ApiOperation::AssumeRole, "NoPermission"));
    let endpoint = EndpointError::NotAUrl("sts".into());
    let used = ["DisasterRecoveryPlan orders".to_owned()];
    let gone = bad(CredentialsError::SecretNotFound(secret()));
    vec![
        object(KIND, "new", 1, spec(), unseen()),
        object(KIND, "edited", 2, spec(), after(1, None, &good())),
        object(KIND, "edited-after-a-failure", 2, spec(), after(1, None, &gone)),
        state("available", &good()),
        state("not-renewed", &found(KeyHealth { failing: Some(not_renewed), ..KeyHealth::default() })),
        state("secret-not-found", &gone),
        state("key-missing", &bad(CredentialsError::KeyMissing { secret: secret(), key: "accessKeyId" })),
        state(
            "token-file-unreadable",
            &bad(CredentialsError::TokenFileUnreadable {
                path: "/var/run/token".into(),
                why: "it is not there".into(),
            }),
        ),
        state("token-refused", &bad(token(false))),
        state("token-not-given-yet", &bad(token(true))),
        state("metadata-unavailable", &bad(CredentialsError::MetadataUnavailable("it does not answer".into()))),
        state("role-denied", &bad(CredentialsError::Refused(refused(ApiOperation::AssumeRole, "NoPermission")))),
        state("key-refused", &key("InvalidAccessKeyId.NotFound")),
        state("clock-skew", &key("InvalidTimeStamp.Expired")),
        state("key-expired", &key("InvalidSecurityToken.Expired")),
        state(
            "expired-and-not-renewed-yet",
            &bad(CredentialsError::Expired { at: Timestamp::UNIX_EPOCH, why: Box::new(unreachable()) }),
        ),
        state(
            "endpoint-refused",
            &Err(AccountError::Endpoint { account: "messaging/production".into(), product: "sts", why: endpoint }),
        ),
        state(
            "not-allowed",
            &Err(AccountError::NotAllowed {
                namespace: "messaging".into(),
                what: "the identity of the operator's pod",
            }),
        ),
        state("sts-unreachable", &bad(unreachable())),
        deleted(object(KIND, "deletion-not-seen", 2, spec(), after(1, None, &good()))),
        deleted(object(KIND, "deletion-waits-for-users", 2, spec(), after(2, Some(&used), &good()))),
        deleted(object(KIND, "deletion-waits-without-credentials", 2, spec(), after(2, Some(&used), &gone))),
    ]
}
