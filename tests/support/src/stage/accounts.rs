//! The stage of accounts: plans beside them, and a cloud with roles.

use std::collections::BTreeSet;

use disaster_recovery_operator::api::account::{AlibabaCloudAccount, AlibabaCloudAccountStatus};
use disaster_recovery_operator::api::disk_replica_group::DiskReplicaGroup;
use disaster_recovery_operator::simulator::model::Rules;
use disaster_recovery_operator::simulator::model::sts::{OidcProvider, Role, StsRules};
use disaster_recovery_operator::simulator::{Config, RequestRecord};
use serde_json::{Value, json};

use super::plans::{World, one_way};
use super::{Stage, groups, has, message};
use crate::ControlPlane;

/// A role of the cloud.
pub const ROLE: &str = "acs:ram::1000000000000001:role/disaster-recovery";
/// A role of another Alibaba Cloud account.
pub const OTHER_ROLE: &str = "acs:ram::2000000000000002:role/disks";
/// The OIDC provider of both roles.
pub const PROVIDER: &str = "acs:ram::1000000000000001:oidc-provider/ack-rrsa-e2e";
/// The issuer of service-account tokens.
pub const ISSUER: &str = "https://kubernetes.default.svc";
/// The audience of tokens that STS accepts.
pub const AUDIENCE: &str = "sts.aliyuncs.com";

/// The stage of accounts.
pub type Accounts = Stage<AlibabaCloudAccount>;

/// A cloud with two roles that everyone may assume, and with quick disks.
pub fn config() -> Config {
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
    pub async fn with_roles() -> Self {
        Self::on(config()).await
    }

    /// A world with roles, whose keys are valid for so long.
    pub async fn with_life(life_ms: i64) -> Self {
        let config = config();
        Self::on(Config { sts: StsRules { max_key_lifetime_ms: Some(life_ms), ..config.sts }, ..config }).await
    }

    /// The stage of the same namespace and cloud for accounts.
    pub fn accounts(&self) -> Accounts {
        self.of()
    }

    /// The stage of the same namespace and cloud for groups of disks.
    pub fn groups(&self) -> Stage<DiskReplicaGroup> {
        self.of()
    }

    /// An account `main`, and a plan `orders` that uses it.
    pub async fn main_and_orders(&self, account: Value) {
        self.accounts().create("main", account).await;
        self.create("orders", plan_of("main")).await;
    }

    /// Waits until an account is available and used by so many plans and groups.
    pub async fn available(&self, name: &str, plans: i64, groups: i64) -> AlibabaCloudAccountStatus {
        let what = format!("{name} is available and used by {plans} plans and {groups} groups");
        let used = |it: &AlibabaCloudAccountStatus| {
            let count = it.used_by.as_ref().map(|it| (it.disaster_recovery_plans, it.disk_replica_groups));
            count == Some((plans, groups))
        };
        self.accounts().status(name, what, move |it| has(it, "Ready", "True", "Available") && used(it)).await
    }

    /// Waits until `main` and `orders` say what is wrong: status and reason of `Ready` and of `Synced`, both with `text`.
    pub async fn says(&self, account: [&'static str; 2], plan: [&'static str; 2], text: &'static str) {
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
    pub async fn well(&self) {
        self.ready("orders").await;
        self.available("main", 1, 0).await;
        self.assert_one_plan("orders", 1);
    }

    /// The signers of requests to the products: the ARN of a role, or the id of a key without a role.
    pub fn signers(&self) -> BTreeSet<String> {
        let all = self.cloud.requests().into_iter().filter(|it| !is_for_keys(it));
        all.filter_map(|it| it.role.or(it.access_key_id)).collect()
    }

    /// The requests for temporary keys.
    pub fn sts_calls(&self) -> Vec<RequestRecord> {
        self.cloud.requests().into_iter().filter(|it| it.action.starts_with("AssumeRole")).collect()
    }

    /// Ends the keys that were issued for a role.
    pub fn revoke(&self, role: &str) {
        assert!(self.cloud.with_sts(|sts, _| sts.revoke(role)) > 0, "keys were issued for {role}");
    }

    /// Lets the operator have tokens of this namespace's service account `disaster-recovery`.
    pub async fn allow_tokens(&self) {
        let folder = crate::path("deploy/tenant-tokens").display().to_string();
        self.kubectl(&["apply", "-k", &folder]).await;
    }

    /// Runs kubectl as the admin in this namespace.
    pub async fn kubectl(&self, args: &[&str]) -> String {
        let args: Vec<_> = ["--namespace", &self.namespace].iter().chain(args).map(|it| (*it).to_owned()).collect();
        let run = move || ControlPlane::shared().kubectl(&args).checked();
        tokio::task::spawn_blocking(run).await.expect("kubectl ends").expect("kubectl succeeds")
    }

    /// The subject of the namespace's service account.
    pub fn subject(&self) -> String {
        format!("system:serviceaccount:{}:disaster-recovery", self.namespace)
    }
}

/// Whether a request asks for keys: of STS, or of the instance's metadata.
pub fn is_for_keys(it: &RequestRecord) -> bool {
    it.action.starts_with("AssumeRole") || it.action.contains("Metadata")
}

/// A plan of an account.
pub fn plan_of(account: &str) -> Value {
    let mut spec = one_way(&["orders"]);
    spec["accountRef"] = json!({ "name": account });
    spec
}
