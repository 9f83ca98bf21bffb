//! The objects that use an account: counted in the caches of the controllers, and listed from Kubernetes before an account is
//! deleted.

use std::time::Duration;

use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;

use crate::api::account::UsedBy;
use crate::api::disk_replica_group::DiskReplicaGroup;
use crate::api::plan::DisasterRecoveryPlan;
use crate::controller::Error;
use crate::controller::access::Key;
use crate::controller::cached::Cached;
use crate::controller::resource::{Object, Resource};

/// Maximum time for which a reconcile waits until the caches are filled.
const CACHE_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum time for one list.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);

/// Whether a cache is filled.
pub type Filled = watch::Receiver<bool>;

/// The caches of the objects that may use accounts.
pub struct AccountUsers {
    /// The plans that are watched.
    pub(in crate::controller) plans: Vec<Store<Cached<DisasterRecoveryPlan>>>,
    /// The groups of disks that are watched.
    pub(in crate::controller) groups: Vec<Store<Cached<DiskReplicaGroup>>>,
    /// Whether each cache is filled.
    pub filled: Vec<Filled>,
}

impl AccountUsers {
    /// Waits for the caches to be filled, and returns whether they are.
    pub async fn wait_until_filled(&self) -> bool {
        let all = async {
            let mut all = true;
            for filled in &self.filled {
                all &= filled.clone().wait_for(|filled| *filled).await.is_ok();
            }
            all
        };
        tokio::time::timeout(CACHE_TIMEOUT, all).await.unwrap_or_default()
    }

    /// The objects that use an account, as `kind name`. Where the caches have none, Kubernetes lists them: an object may be
    /// too new for the caches, lack the labels that are watched, or not parse.
    pub(super) async fn list(&self, client: &Client, key: &Key) -> Result<Vec<String>, Error> {
        let mut all = cached_users(&self.plans, key);
        all.extend(cached_users(&self.groups, key));
        if all.is_empty() {
            all = list_users::<DisasterRecoveryPlan>(client, key).await?;
            all.extend(list_users::<DiskReplicaGroup>(client, key).await?);
        }
        all.sort();
        Ok(all)
    }

    /// The number of watched objects that use an account.
    pub fn count(&self, key: &Key) -> UsedBy {
        UsedBy { disaster_recovery_plans: count(&self.plans, key), disk_replica_groups: count(&self.groups, key) }
    }
}

fn count<K: Resource>(stores: &[Store<Cached<K>>], key: &Key) -> i64 {
    let each = stores.iter().map(|store| store.state().iter().filter(|it| is_user(it, key)).count());
    i64::try_from(each.sum::<usize>()).unwrap_or(i64::MAX)
}

/// Whether an object of a cache uses an account.
pub(in crate::controller) fn is_user<K: Object>(object: &Cached<K>, key: &Key) -> bool {
    uses_account(&object.key().0, object.account(), key)
}

/// Whether an object that names `account` uses this one: it uses only those of its own namespace.
fn uses_account(of: &str, account: Option<&str>, (namespace, name): &Key) -> bool {
    of == namespace && account == Some(name)
}

fn describe<K: Object>(name: &str) -> String {
    format!("{} {name}", K::KIND)
}

fn cached_users<K: Object>(stores: &[Store<Cached<K>>], key: &Key) -> Vec<String> {
    let all = stores.iter().flat_map(Store::state);
    all.filter(|object| is_user(object, key)).map(|object| describe::<K>(&object.key().1)).collect()
}

/// The description of a listed object that uses an account. An object that does not parse may use it.
fn listed_user<K: Resource>(object: &DeserializeGuard<K>, key: &Key) -> Option<String> {
    match &object.0 {
        Ok(readable) => {
            let uses = uses_account(&readable.namespace().unwrap_or_default(), readable.account(), key);
            uses.then(|| describe::<K>(&readable.name_any()))
        }
        Err(_) => Some(format!("{} {} (unreadable)", K::KIND, object.name_any())),
    }
}

async fn list_users<K: Resource>(client: &Client, key: &Key) -> Result<Vec<String>, Error> {
    let what = "list those who use the account";
    let api: Api<DeserializeGuard<K>> = Api::namespaced(client.clone(), &key.0);
    let params = ListParams::default();
    match tokio::time::timeout(LIST_TIMEOUT, api.list(&params)).await {
        Ok(Ok(found)) => Ok(found.items.iter().filter_map(|object| listed_user(object, key)).collect()),
        Ok(Err(source)) => Err(Error::Kubernetes { what, source: Box::new(source) }),
        Err(_) => Err(Error::Slow { what }),
    }
}
