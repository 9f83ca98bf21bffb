//! Stories of accounts and of operators.

use disaster_recovery_operator::api::account::AlibabaCloudAccount;
use disaster_recovery_operator::simulator::Config;
use disaster_recovery_operator::simulator::model::sts::{Role, StsRules};
use disaster_recovery_operator::telemetry::metrics::Metrics;
use serde_json::{Value, json};

use crate::plans::{config, leader, says, shows};
use crate::story::{Firing, Labels, Scrape, Story, about};
use test_support::operator::Operator;
use test_support::stage::Stage;

type Accounts = Stage<AlibabaCloudAccount>;

const ROLE: &str = "acs:ram::1000000000000001:role/disaster-recovery";
const END: &str = "disaster_recovery_credentials_expiration_timestamp_seconds";
const KEY: [(&str, &str); 2] = [("accessKeyId", "simulator-key-id"), ("accessKeySecret", "simulator-key-secret")];

/// A cloud with temporary keys of this validity.
async fn stage(life_ms: i64) -> Accounts {
    let sts =
        StsRules { roles: vec![Role::open(ROLE, &[])], max_key_lifetime_ms: Some(life_ms), ..StsRules::default() };
    Accounts::on(Config { sts, ..config() }).await
}

/// An account that assumes a role with the key in the Secret `key`.
fn assuming() -> Value {
    json!({ "credentials": { "secretRef": { "name": "key" } }, "assumeRole": { "roleArn": ROLE } })
}

fn main(alert: &'static str, world: &Accounts) -> Firing {
    about(alert, "AlibabaCloudAccount", &world.namespace, "main")
}

async fn available(world: &Accounts, operator: &Operator) -> Scrape {
    world.condition("main", "Ready", "True", "Available").await;
    says(operator, "main", "Ready", "Available").await
}

pub(crate) async fn not_ready() -> Story {
    let (world, mut story) = (stage(3_600_000).await, Story::new("accounts are not ready"));
    let operator = leader(&world).await;
    world.create("main", assuming()).await;
    world.condition("main", "Ready", "False", "SecretNotFound").await;
    story.go_on(10, &says(&operator, "main", "Ready", "SecretNotFound").await);
    story.fires([main("DisasterRecoveryAccountNotReady", &world)]);
    world.secret("key", &KEY).await;
    available(&world, &operator).await;
    let temporary = shows(&operator, "the key's end", |it| it.sum(END) > 0.0).await;
    story.go_on(10, &temporary);
    story.fires([]);
    world.delete_secret("key").await;
    world.condition("main", "Ready", "True", "NotRenewed").await;
    story.go_on(10, &says(&operator, "main", "Ready", "NotRenewed").await);
    story.fires([main("DisasterRecoveryCredentialsNotRenewed", &world)]);
    world.secret("key", &KEY).await;
    story.go_on(2, &available(&world, &operator).await);
    story.fires([]);
    story
}

pub(crate) async fn expiring() -> Story {
    let (world, mut story) = (stage(300_000).await, Story::new("credentials are about to end"));
    let operator = leader(&world).await;
    world.secret("key", &KEY).await;
    world.create("main", assuming()).await;
    available(&world, &operator).await;
    let temporary = shows(&operator, "the key's end", |it| it.sum(END) > 0.0).await;
    story.go_on(2, &temporary);
    story.fires([]);
    story.go_on(3, &temporary);
    story.fires([main("DisasterRecoveryCredentialsExpiring", &world)]);
    world.patch("main", json!({ "spec": { "assumeRole": null } })).await;
    story.go_on(7, &shows(&operator, "a key without an end", |it| it.all(END).is_empty()).await);
    story.fires([]);
    story
}

/// Processes that lead, and do not.
pub(crate) async fn leaders() -> Story {
    let mut story = Story::new("operators come and go");
    let scrape = |leading| {
        let metrics = Metrics::new();
        metrics.leading(leading);
        Scrape::of(&metrics)
    };
    let (standby, leader) = (scrape(false), scrape(true));
    let labels = [("job", "disaster-recovery-operator"), ("namespace", "disaster-recovery-system")];
    let installation: Labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    story.advance(10, &[("pod-0", &leader), ("pod-1", &standby)], &[]);
    story.fires([]);
    story.advance(2, &[("pod-0", &standby), ("pod-1", &standby)], &[]);
    story.fires([]);
    story.advance(3, &[("pod-0", &standby), ("pod-1", &standby)], &[]);
    story.fires([("DisasterRecoveryNoLeader", installation.clone())]);
    story.advance(10, &[("pod-0", &leader), ("pod-1", &leader)], &[]);
    story.fires([("DisasterRecoverySeveralLeaders", installation.clone())]);
    story.advance(10, &[], &[]);
    let absent = |of: &Labels| ("DisasterRecoveryOperatorAbsent", of.clone());
    story.fires([absent(&installation), absent(&Labels::new())]);
    story.advance(10, &[("pod-2", &standby), ("pod-3", &leader)], &[]);
    story.fires([]);
    // There is another installation, which goes.
    story.advance(10, &[("pod-3", &leader), ("disaster-recovery-too/pod-0", &leader)], &[]);
    story.fires([]);
    story.advance(10, &[("pod-3", &leader)], &[]);
    let mut gone = installation;
    gone.insert("namespace".into(), "disaster-recovery-too".into());
    story.fires([absent(&gone)]);
    story.advance(360, &[("pod-3", &leader)], &[]);
    story.fires([]);
    story
}

/// A process that cannot read two groups, and later all.
pub(crate) async fn unreadable() -> Story {
    let mut story = Story::new("objects cannot be read");
    let scrape = |count| {
        let metrics = Metrics::new();
        metrics.leading(true);
        metrics.unreadable("DiskReplicaGroup", count);
        metrics.unreadable("DisasterRecoveryPlan", 0);
        Scrape::of(&metrics)
    };
    let labels = [
        ("job", "disaster-recovery-operator"),
        ("namespace", "disaster-recovery-system"),
        ("kind", "DiskReplicaGroup"),
    ];
    let groups: Labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    story.go_on(4, &scrape(2));
    story.fires([]);
    story.go_on(3, &scrape(2));
    story.fires([("DisasterRecoveryObjectsUnreadable", groups)]);
    story.go_on(2, &scrape(0));
    story.fires([]);
    story
}
