//! Accounts: which credentials sign, when they expire, and what is reported without any.

mod changed;
mod endpoints;
mod expiry;
mod leaks;
mod life;
mod rotation;
mod sources;
mod steady;
mod tenants;
mod trouble;

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use disaster_recovery_operator::api::account::{AlibabaCloudAccount, AlibabaCloudAccountStatus};
use disaster_recovery_operator::controller::access::Variables;
use disaster_recovery_operator::simulator::model::sts::{Role, StsRules};
use disaster_recovery_operator::simulator::{Config, Fault, FaultKind, RequestRecord};
use serde_json::{Value, json};
use test_support::eventually;
use test_support::operator::Operator;
use test_support::stage::accounts::{AUDIENCE, ISSUER, OTHER_ROLE, PROVIDER, ROLE, config, is_for_keys, plan_of};
use test_support::stage::plans::{World, one_way};
use test_support::stage::{DEADLINE, Tested, groups, has, message};

/// An access key in a Secret.
fn secret(name: &str) -> Value {
    json!({ "credentials": { "secretRef": { "name": name } } })
}

/// RRSA with the namespace's own service account.
fn tenant_oidc(role: &str) -> Value {
    let account = json!({ "name": "disaster-recovery" });
    json!({ "credentials": { "oidc": { "roleArn": role, "providerArn": PROVIDER, "serviceAccountRef": account } } })
}

/// RRSA with the token of the operator's own pod.
fn pod_oidc() -> Value {
    json!({ "credentials": { "oidc": { "roleArn": ROLE, "providerArn": PROVIDER } } })
}

fn environment() -> Value {
    json!({ "credentials": { "environment": {} } })
}

fn ecs_role(name: Option<&str>) -> Value {
    let role = name.map_or_else(|| json!({}), |name| json!({ "name": name }));
    json!({ "credentials": { "ecsRole": role } })
}

/// The same account with a role on top.
fn assuming(mut account: Value, role: &str) -> Value {
    account["assumeRole"] = json!({ "roleArn": role });
    account
}

/// A group of disks of an account.
fn group_of(account: &str) -> Value {
    let mut spec = groups::spec();
    spec["accountRef"] = json!({ "name": account });
    spec
}

/// A JWT with an invalid signature, valid for an hour.
fn jwt(audience: &str) -> String {
    jwt_for(audience, 3600)
}

/// A JWT with an invalid signature, valid for so many seconds.
fn jwt_for(audience: &str, seconds: i64) -> String {
    let (part, now) = (|it: Value| URL_SAFE_NO_PAD.encode(it.to_string()), jiff::Timestamp::now().as_second());
    let subject = "system:serviceaccount:disaster-recovery-system:disaster-recovery-operator";
    let claims = json!({ "iss": ISSUER, "sub": subject, "aud": [audience], "iat": now, "exp": now + seconds });
    format!("{}.{}.{}", part(json!({ "alg": "RS256" })), part(claims), "c2lnbmF0dXJlLW9mLW5vYm9keQ")
}

fn variables(all: &[(&str, &str)]) -> Variables {
    all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A fault of both actions of STS.
fn outage(world: &World, kind: &FaultKind) {
    for action in ["AssumeRole", "AssumeRoleWithOIDC"] {
        world.cloud.add_fault(Fault::new(kind.clone()).of_action(action));
    }
}

fn unavailable() -> FaultKind {
    let (code, message) = ("ServiceUnavailable".into(), "Try later.".into());
    FaultKind::Error { status: 503, code, message, pascal_case: true }
}

/// Number of finished reconciliations of objects of a kind.
pub(crate) fn reconciles(operator: &Operator, kind: &str) -> u64 {
    let labels = format!("disaster_recovery_reconciliations_total{{kind=\"{kind}\"");
    let text = operator.metrics.text();
    let counts = text.lines().filter(|line| line.starts_with(&labels)).filter_map(|line| line.rsplit(' ').next());
    counts.filter_map(|count| count.parse::<u64>().ok()).sum()
}

/// Waits for so many more reconciliations of objects of a kind.
async fn wait_for_reconciles<K: Tested>(operator: &Operator, more: u64) {
    let before = reconciles(operator, K::KIND);
    let what = format!("{more} more passes over {}", K::KIND);
    eventually(DEADLINE, what, async || (reconciles(operator, K::KIND) >= before + more).then_some(())).await;
}
