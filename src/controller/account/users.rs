//! Who uses an account: counted in the caches of the controllers, and asked of Kubernetes where it matters.

use std::time::Duration;

use kube::api::ListParams;
use kube::runtime::reflector::Store;
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;

use crate::api::account::UsedBy;
use crate::api::disk_replica_group::DiskReplicaGroup;
use crate::api::plan::DisasterRecoveryPlan;
use crate::controller::Error;
use crate::controller::access::Key;
use crate::controller::resource::Resource;

/// How long a pass waits for caches that are not filled yet.
const PATIENCE: Duration = Duration::from_secs(5);
/// No list takes longer.
const LIST_DEADLINE: Duration = Duration::from_secs(30);

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
    /// Waits a moment for the caches to be filled, and tells whether they are.
    pub async fn known(&self) -> bool {
        let all = async {
            let mut all = true;
            for filled in &self.filled {
                all &= filled.clone().wait_for(|filled| *filled).await.is_ok();
            }
            all
        };
        tokio::time::timeout(PATIENCE, all).await.unwrap_or_default()
    }

    /// Who uses an account, as `kind name`: those of the caches, and only where these know of none those that Kubernetes has,
    /// which may be too new for the caches or without the labels that are watched.
    pub(super) async fn holders(&self, client: &Client, key: &Key) -> Result<Vec<String>, Error> {
        let mut all = cached(&self.plans, key);
        all.extend(cached(&self.groups, key));
        if all.is_empty() {
            all = listed::<DisasterRecoveryPlan>(client, key).await?;
            all.extend(listed::<DiskReplicaGroup>(client, key).await?);
        }
        all.sort();
        Ok(all)
    }

    /// How many of those that are watched use an account.
    pub fn count(&self, key: &Key) -> UsedBy {
        UsedBy { disaster_recovery_plans: count(&self.plans, key), disk_replica_groups: count(&self.groups, key) }
    }
}

fn count<K: Resource>(stores: &[Store<K>], key: &Key) -> i64 {
    let used = stores.iter().map(|store| store.state().iter().filter(|object| uses(&***object, key)).count());
    i64::try_from(used.sum::<usize>()).unwrap_or(i64::MAX)
}

/// Whether an object uses an account: none of another namespace ever does.
pub fn uses<K: Resource>(object: &K, (namespace, name): &Key) -> bool {
    object.namespace().as_deref() == Some(namespace) && object.management().account == Some(name)
}

fn named<K: Resource>(object: &K) -> String {
    format!("{} {}", K::KIND, object.name_any())
}

fn cached<K: Resource>(stores: &[Store<K>], key: &Key) -> Vec<String> {
    let all = stores.iter().flat_map(Store::state);
    all.filter(|object| uses(&**object, key)).map(|object| named(&*object)).collect()
}

async fn listed<K: Resource>(client: &Client, key: &Key) -> Result<Vec<String>, Error> {
    let what = "list those who use the account";
    let api: Api<K> = Api::namespaced(client.clone(), &key.0);
    let params = ListParams::default();
    match tokio::time::timeout(LIST_DEADLINE, api.list(&params)).await {
        Ok(Ok(found)) => Ok(found.items.iter().filter(|object| uses(*object, key)).map(named).collect()),
        Ok(Err(source)) => Err(Error::Kubernetes { what, source: Box::new(source) }),
        Err(_) => Err(Error::Slow { what }),
    }
}
