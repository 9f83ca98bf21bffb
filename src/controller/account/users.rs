//! Who uses an account: counted in the caches of the controllers, and asked of Kubernetes where it matters.

use kube::runtime::reflector::Store;
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;

use crate::api::account::UsedBy;
use crate::api::disk_replica_group::DiskReplicaGroup;
use crate::api::plan::DisasterRecoveryPlan;
use crate::controller::Error;
use crate::controller::accounts::Key;
use crate::controller::kind::Kind;

/// Whether a cache is filled.
pub type Filled = watch::Receiver<bool>;

/// The caches of those who may use accounts.
pub struct Users {
    /// The plans that are watched.
    pub plans: Vec<Store<DisasterRecoveryPlan>>,
    /// The groups of disks that are watched.
    pub groups: Vec<Store<DiskReplicaGroup>>,
    /// Whether each of them is filled.
    pub filled: Vec<Filled>,
}

impl Users {
    /// Waits until the caches are filled. Where they never will be, the operator is ending.
    pub async fn known(&self) {
        for filled in &self.filled {
            drop(filled.clone().wait_for(|filled| *filled).await);
        }
    }

    /// How many of those that are watched use an account.
    pub fn count(&self, key: &Key) -> UsedBy {
        UsedBy { disaster_recovery_plans: count(&self.plans, key), disk_replica_groups: count(&self.groups, key) }
    }
}

fn count<K: Kind>(stores: &[Store<K>], key: &Key) -> i64 {
    let used = stores.iter().map(|store| store.state().iter().filter(|object| uses(&***object, key)).count());
    i64::try_from(used.sum::<usize>()).unwrap_or(i64::MAX)
}

/// Whether an object uses an account: none of another namespace ever does.
pub fn uses<K: Kind>(object: &K, (namespace, name): &Key) -> bool {
    object.namespace().as_deref() == Some(namespace) && object.account() == Some(name)
}

/// Everything in Kubernetes that uses an account, as `kind name`.
pub(super) async fn of(client: &Client, key: &Key) -> Result<Vec<String>, Error> {
    let mut all = names::<DisasterRecoveryPlan>(client, key).await?;
    all.extend(names::<DiskReplicaGroup>(client, key).await?);
    Ok(all)
}

async fn names<K: Kind>(client: &Client, key: &Key) -> Result<Vec<String>, Error> {
    let what = "list those who use the account";
    let api: Api<K> = Api::namespaced(client.clone(), &key.0);
    let found =
        api.list(&Default::default()).await.map_err(|source| Error::Kubernetes { what, source: Box::new(source) })?;
    let users = found.items.into_iter().filter(|object| uses(object, key));
    Ok(users.map(|object| format!("{} {}", K::KIND, object.name_any())).collect())
}
