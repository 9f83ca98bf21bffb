//! Accounts: whose credentials sign, how long they last, and what is said when there are none.

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
use disaster_recovery_operator::api::disk_replica_group::DiskReplicaGroup;
use disaster_recovery_operator::controller::access::Variables;
use disaster_recovery_operator::simulator::model::Rules;
use disaster_recovery_operator::simulator::model::sts::{OidcProvider, Role, StsRules};
use disaster_recovery_operator::simulator::{Config, Fault, FaultKind, RequestRecord};
use serde_json::{Value, json};

use crate::groups;
use crate::stage::{Stage, Tested, has, message};
use crate::support::operator::Operator;
use crate::support::{ControlPlane, eventually};
use crate::world::{DEADLINE, World, one_way};

const ROLE: &str = "acs:ram::1000000000000001:role/disaster-recovery";
const OTHER_ROLE: &str = "acs:ram::2000000000000002:role/disks";
const PROVIDER: &str = "acs:ram::1000000000000001:oidc-provider/ack-rrsa-e2e";
const ISSUER: &str = "https://kubernetes.default.svc";
const AUDIENCE: &str = "sts.aliyuncs.com";

/// The stage of accounts.
type Accounts = Stage<AlibabaCloudAccount>;

/// A cloud with two roles that everyone may assume, and with quick disks.
fn config() -> Config {
    let providers = [PROVIDER.to_owned()];
    let sts = StsRules {
        roles: [ROLE, OTHER_ROLE].map(|role| Role::open(role, &providers)).into(),
        providers: vec![OidcProvider::new(PROVIDER)],
        max_key_lifetime_ms: None,
    };
    let rules = Rules { sync_interval_ms: 100, ..Rules::default() };
    Config { sts, rules, disk_rules: groups::quick(), ebs_rate_limit_per_second: 100_000, ..Config::default() }
}

impl World {
    /// A world with roles.
    async fn with_roles() -> Self {
        Self::on(config()).await
    }

    /// A world with roles whose keys live so long.
    async fn with_life(life_ms: i64) -> Self {
        let config = config();
        Self::on(Config { sts: StsRules { max_key_lifetime_ms: Some(life_ms), ..config.sts }, ..config }).await
    }

    fn accounts(&self) -> Accounts {
        self.of()
    }

    fn groups(&self) -> Stage<DiskReplicaGroup> {
        self.of()
    }

    /// An account `main`, and a plan `orders` that uses it.
    async fn main_and_orders(&self, account: Value) {
        self.accounts().create("main", account).await;
        self.create("orders", plan_of("main")).await;
    }

    /// Waits until an account is available and used by so many plans and groups.
    async fn available(&self, name: &str, plans: i64, groups: i64) -> AlibabaCloudAccountStatus {
        let what = format!("{name} is available and used by {plans} plans and {groups} groups");
        let used = |it: &AlibabaCloudAccountStatus| {
            let count = it.used_by.as_ref().map(|it| (it.disaster_recovery_plans, it.disk_replica_groups));
            count == Some((plans, groups))
        };
        self.accounts().status(name, what, move |it| has(it, "Ready", "True", "Available") && used(it)).await
    }

    /// Waits until `main` and `orders` say what is wrong: status and reason of `Ready` and of `Synced`, both with `text`.
    async fn says(&self, account: [&'static str; 2], plan: [&'static str; 2], text: &'static str) {
        let what = format!("main is {account:?} and says {text:?}");
        let accounts = self.accounts();
        let wrong = accounts.status("main", what, move |it| {
            has(it, "Ready", account[0], account[1]) && message(it, "Ready").contains(text)
        });
        let status = wrong.await;
        if account[0] == "False" {
            accounts.event("main", "CredentialsUnavailable").await;
        }
        assert!(
            has(&status, "Stalled", "True", account[1]) || has(&status, "Reconciling", "True", account[1]),
            "{status:?}"
        );
        let what = format!("orders is {plan:?} and says {text:?}");
        self.status("orders", what, move |it| {
            has(it, "Synced", plan[0], plan[1]) && message(it, "Synced").contains(text)
        })
        .await;
    }

    /// Waits until `main` and `orders` are well, and asserts that there is one plan.
    async fn well(&self) {
        self.ready("orders").await;
        self.available("main", 1, 0).await;
        self.assert_one_plan("orders", 1);
    }

    /// Who signed requests to the products: the ARN of a role, or the id of a key that is of no role.
    fn signers(&self) -> BTreeSet<String> {
        let all = self.cloud.requests().into_iter().filter(|it| !is_for_keys(it));
        all.filter_map(|it| it.role.or(it.access_key_id)).collect()
    }

    /// The requests for temporary keys.
    fn sts_calls(&self) -> Vec<RequestRecord> {
        self.cloud.requests().into_iter().filter(|it| it.action.starts_with("AssumeRole")).collect()
    }

    /// Ends the keys that were issued for a role.
    fn revoke(&self, role: &str) {
        assert!(self.cloud.with_sts(|sts, _| sts.revoke(role)) > 0, "keys were issued for {role}");
    }

    /// Lets the operator have tokens of this namespace's service account `disaster-recovery`.
    async fn allow_tokens(&self) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/tenant-tokens");
        self.kubectl(&["apply", "-k", folder]).await;
    }

    /// Runs kubectl as the admin in this namespace.
    async fn kubectl(&self, args: &[&str]) -> String {
        let args: Vec<_> = ["--namespace", &self.namespace].iter().chain(args).map(|it| (*it).to_owned()).collect();
        let run = move || ControlPlane::shared().kubectl(&args).checked();
        tokio::task::spawn_blocking(run).await.expect("kubectl ends").expect("kubectl succeeds")
    }

    /// The subject of the namespace's service account.
    fn subject(&self) -> String {
        format!("system:serviceaccount:{}:disaster-recovery", self.namespace)
    }
}

/// Whether a request asks for keys: of STS, or of the instance's metadata.
fn is_for_keys(it: &RequestRecord) -> bool {
    it.action.starts_with("AssumeRole") || it.action.contains("Metadata")
}

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

/// A plan of an account.
fn plan_of(account: &str) -> Value {
    let mut spec = one_way(&["orders"]);
    spec["accountRef"] = json!({ "name": account });
    spec
}

/// A group of disks of an account.
fn group_of(account: &str) -> Value {
    let mut spec = groups::spec();
    spec["accountRef"] = json!({ "name": account });
    spec
}

/// A JWT that nobody signed, good for an hour.
fn jwt(audience: &str) -> String {
    jwt_for(audience, 3600)
}

/// A JWT that nobody signed, good for so many seconds.
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
        let action = Some(action.to_owned());
        world.cloud.add_fault(Fault { action, region: None, after: 0, times: None, kind: kind.clone() });
    }
}

fn unavailable() -> FaultKind {
    let (code, message) = ("ServiceUnavailable".into(), "Try later.".into());
    FaultKind::Error { status: 503, code, message, pascal_case: true }
}

/// How many passes over objects of a kind an operator has finished.
fn passes(operator: &Operator, kind: &str) -> u64 {
    let labels = format!("disaster_recovery_reconciliations_total{{kind=\"{kind}\"");
    let text = operator.metrics.text();
    let counts = text.lines().filter(|line| line.starts_with(&labels)).filter_map(|line| line.rsplit(' ').next());
    counts.filter_map(|count| count.parse::<u64>().ok()).sum()
}

/// Waits for so many more passes over objects of a kind.
async fn more_passes<K: Tested>(operator: &Operator, more: u64) {
    let before = passes(operator, K::KIND);
    let what = format!("{more} more passes over {}", K::KIND);
    eventually(DEADLINE, what, async || (passes(operator, K::KIND) >= before + more).then_some(())).await;
}
