//! Credentials, endpoints and rate limits of an object: those of its account, or the operator's own where its namespace may use
//! them.
//!
//! Tenants are kept apart here. An account is read in the namespace of the object that names it. Everything that rests on the
//! operator's own identity is refused outside of the namespaces that the installation allows.

mod error;
mod source;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::core::DeserializeGuard;
use kube::{Api, Client, ResourceExt};
use sha2::{Digest, Sha256};
use tokio::sync::broadcast;

pub use self::error::AccountError;
pub use self::source::Variables;
use self::source::{Installation, session_name, sts_endpoint};
use super::Settings;
use super::shard::Shard;
use crate::api::account::{AccountBudget, AlibabaCloudAccount, AlibabaCloudAccountSpec};
use crate::cloud;
use crate::cloud::client::Target;
use crate::cloud::credentials::cache::{CredentialsCache, OnChange};
use crate::cloud::credentials::signer::Signer;
use crate::cloud::credentials::{Credentials, CredentialsError, assume_role};
use crate::cloud::ebs::{self, Ebs};
use crate::cloud::endpoint;
use crate::cloud::fence::Fence;
use crate::cloud::rate_limit::{Budget, Priority};
use crate::cloud::rocketmq::{self, RocketMq, SharedLists};
use crate::cloud::sts::{self, RoleRequest, Sts};

/// Maximum time for reading an account from Kubernetes.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of triggers that wait for a slow receiver. The next poll makes up for those that it missed.
const MAX_QUEUED_TRIGGERS: usize = 1024;
/// Maximum rate of EBS calls in a region, 1/s (help page "api-ebs-2021-07-30-quota").
const MAX_EBS_RATE: u32 = 40;

/// Namespace and name.
pub type Key = (String, String);

/// The credentials, endpoints and rate limit of an account.
pub struct Account {
    /// The account's name; `None` for the operator's own identity.
    name: Option<String>,
    /// The credentials that sign calls.
    pub credentials: Arc<CredentialsCache>,
    /// The credentials that assume the account's role, where it names one.
    base: Option<BaseCredentials>,
    client: cloud::client::Client,
    endpoints: CustomEndpoints,
}

/// Credentials that assume a role.
struct BaseCredentials {
    cache: Arc<CredentialsCache>,
    /// The credentials of the last check.
    last: Mutex<Option<Credentials>>,
}

/// An endpoint in place of the public one.
#[derive(Clone, Debug)]
struct CustomEndpoint {
    url: String,
    /// Whether the account names it, and not the command line.
    from_account: bool,
}

/// The endpoints in place of the public ones.
#[derive(Clone, Debug, Default)]
struct CustomEndpoints {
    rocketmq: Option<CustomEndpoint>,
    ebs: Option<CustomEndpoint>,
}

impl Account {
    /// Checks the credentials that assume the role, which are otherwise read only when the role's credentials are renewed.
    /// Returns their error, and renews the role's credentials where they changed.
    pub async fn check_base(&self, now: Timestamp) -> Option<CredentialsError> {
        let BaseCredentials { cache, last } = self.base.as_ref()?;
        let issued = match cache.credentials(now).await {
            Ok(issued) => issued,
            Err(error) => return Some(error),
        };
        // Temporary credentials change without a rotation.
        if issued.expires.is_none() {
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.as_ref().is_some_and(|last| !last.same(&issued.credentials)) {
                self.credentials.renew();
            }
            *last = Some(issued.credentials);
        }
        None
    }
}

/// A hash of the credentials, endpoint and region of a list. Two credentials never share one: a policy may filter lists. It leaves room
/// for a tag within 16 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InventoryKey([u8; 15]);

#[cfg(test)]
impl InventoryKey {
    /// A key that no credentials have.
    pub fn for_test(name: &str) -> Self {
        Self(std::array::from_fn(|at| name.as_bytes().get(at).copied().unwrap_or_default()))
    }
}

/// The part of an account that one reconcile uses.
#[derive(Clone)]
pub struct Access {
    client: cloud::client::Client,
    signer: Signer,
    endpoints: CustomEndpoints,
    lists: Arc<SharedLists>,
}

impl Access {
    /// The same access, which sends changing calls only while `hold` is open.
    pub fn while_held(&self, hold: Fence) -> Self {
        Self { client: self.client.clone().with_hold(hold), ..self.clone() }
    }

    /// The identity that signs calls of a product, for people: the ARN of a role or the masked ID of a key. It includes the
    /// account's own endpoint where the account names one: another endpoint may belong to another cloud.
    pub fn identity(&self, product: &str) -> String {
        let endpoint = if product == ebs::PRODUCT { &self.endpoints.ebs } else { &self.endpoints.rocketmq };
        match endpoint {
            Some(CustomEndpoint { url, from_account: true }) => format!("{} at {url}", self.signer.identity()),
            Some(CustomEndpoint { from_account: false, .. }) | None => self.signer.identity(),
        }
    }

    /// What distinguishes the lists that these credentials read in a region from those of others.
    pub fn inventory_key(&self, product: &str, region: &str) -> InventoryKey {
        let mut digest = Sha256::new();
        for part in [self.signer.key().as_str(), self.identity(product).as_str(), region] {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        let hash: [u8; 32] = digest.finalize().into();
        InventoryKey(std::array::from_fn(|at| hash[at]))
    }

    /// The RocketMQ API of a region.
    pub fn rocketmq(&self, region: &str, priority: Priority) -> RocketMq {
        let custom = self.endpoints.rocketmq.clone();
        let endpoint = custom.map_or_else(|| endpoint::rocketmq(region), |it| it.url);
        let (product, version) = (rocketmq::PRODUCT, rocketmq::VERSION);
        let (region, signer) = (region.to_owned(), Some(self.signer.clone()));
        let target = Target { product, version, endpoint, region, signer, priority };
        RocketMq::new(self.client.clone(), target).sharing(self.lists.clone())
    }

    /// The EBS API of the production and the standby region of a disk group. The two regions may be one.
    pub fn ebs(&self, regions: [&str; 2], priority: Priority) -> Ebs {
        let [production, standby] = regions.map(|region| {
            let custom = self.endpoints.ebs.clone();
            let endpoint = custom.map_or_else(|| endpoint::ebs(region), |it| it.url);
            let (product, version) = (ebs::PRODUCT, ebs::VERSION);
            let (region, signer) = (region.to_owned(), Some(self.signer.clone()));
            Target { product, version, endpoint, region, signer, priority }
        });
        Ebs::new(self.client.clone(), production, standby)
    }
}

/// An account, with the object that it was built from.
struct CachedAccount {
    uid: String,
    spec: AlibabaCloudAccountSpec,
    account: Arc<Account>,
}

/// The lookup of an account in the caches.
type Find = Box<dyn Fn(&Key) -> Option<Arc<AlibabaCloudAccount>> + Send + Sync>;

/// All accounts that this process knows.
pub struct Accounts {
    kubernetes: Client,
    cloud: cloud::client::Client,
    settings: Settings,
    /// The operator's own identity.
    own: Arc<Account>,
    cached: Mutex<HashMap<Key, CachedAccount>>,
    lists: Arc<SharedLists>,
    find: OnceLock<Find>,
    triggers: broadcast::Sender<Key>,
    user_triggers: broadcast::Sender<Key>,
}

impl Accounts {
    /// Creates the operator's own account. Sends no request.
    pub fn new(kubernetes: Client, cloud: cloud::client::Client, settings: Settings) -> Self {
        let installation = Installation { kubernetes: &kubernetes, cloud: &cloud, settings: &settings };
        let endpoints = CustomEndpoints {
            rocketmq: configured(settings.rocketmq_endpoint.as_ref()),
            ebs: configured(settings.ebs_endpoint.as_ref()),
        };
        let credentials = Arc::new(source::operator_credentials(&installation));
        let own = Arc::new(Account { name: None, credentials, base: None, client: cloud.clone(), endpoints });
        let triggers = broadcast::Sender::new(MAX_QUEUED_TRIGGERS);
        let user_triggers = broadcast::Sender::new(MAX_QUEUED_TRIGGERS);
        let (cached, lists, find) = (Mutex::default(), Arc::default(), OnceLock::new());
        Self { kubernetes, cloud, settings, own, cached, lists, find, triggers, user_triggers }
    }

    /// Sets the lookup of accounts in the caches, which precedes a request to Kubernetes.
    pub fn look_up_by(&self, find: impl Fn(&Key) -> Option<Arc<AlibabaCloudAccount>> + Send + Sync + 'static) {
        // Set once, when the controllers start.
        drop(self.find.set(Box::new(find)));
    }

    /// The accounts to reconcile: their users or the health of their key changed.
    pub fn triggers(&self) -> broadcast::Receiver<Key> {
        self.triggers.subscribe()
    }

    /// Triggers a reconcile of an account.
    pub fn trigger(&self, key: Key) {
        // Without a receiver, before the controllers run, the trigger is dropped.
        self.triggers.send(key).unwrap_or_default();
    }

    /// The accounts whose users are to be reconciled.
    pub fn user_triggers(&self) -> broadcast::Receiver<Key> {
        self.user_triggers.subscribe()
    }

    /// Triggers a reconcile of every object that uses an account.
    pub fn trigger_users(&self, key: Key) {
        self.user_triggers.send(key).unwrap_or_default();
    }

    /// Drops a deleted account and its credentials.
    pub fn forget(&self, key: &Key) {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// The access of an object in a namespace: through the account that it names, or as the operator itself.
    pub async fn access(&self, namespace: &str, name: Option<&str>) -> Result<Access, AccountError> {
        let account = match name {
            None if !self.settings.may_use_own_identity(namespace) => {
                let (namespace, what) = (namespace.to_owned(), "the operator's own credentials");
                return Err(AccountError::NotAllowed { namespace, what });
            }
            None => self.own.clone(),
            Some(name) => self.account(&*self.read(namespace, name).await?)?,
        };
        let signer = Signer::of(&account.credentials, self.cloud.clock().now()).await;
        let signer = signer.map_err(|why| AccountError::credentials(account.name.as_deref(), why))?;
        let (client, endpoints) = (account.client.clone(), account.endpoints.clone());
        Ok(Access { client, signer, endpoints, lists: self.lists.clone() })
    }

    async fn read(&self, namespace: &str, name: &str) -> Result<Arc<AlibabaCloudAccount>, AccountError> {
        let find = self.find.get();
        if let Some(found) = find.and_then(|find| find(&(namespace.to_owned(), name.to_owned()))) {
            return Ok(found);
        }
        // The account may be too new for the cache, or lack the labels that this operator watches.
        let full_name = format!("{namespace}/{name}");
        let accounts: Api<DeserializeGuard<AlibabaCloudAccount>> = Api::namespaced(self.kubernetes.clone(), namespace);
        match tokio::time::timeout(READ_TIMEOUT, accounts.get_opt(name)).await {
            Ok(Ok(Some(DeserializeGuard(Ok(account))))) => Ok(Arc::new(account)),
            Ok(Ok(Some(DeserializeGuard(Err(invalid))))) => Err(AccountError::Invalid(full_name, invalid.error)),
            Ok(Ok(None)) => Err(AccountError::Missing(full_name)),
            Ok(Err(kube::Error::Api(status))) => Err(AccountError::Unreadable(full_name, status.message.clone())),
            Ok(Err(_)) | Err(_) => Err(AccountError::Unreadable(full_name, "the Kubernetes API did not answer".into())),
        }
    }

    /// The account of an object. It is built again when the object or its spec is another one.
    pub fn account(&self, object: &AlibabaCloudAccount) -> Result<Arc<Account>, AccountError> {
        let key = (object.namespace().unwrap_or_default(), object.name_any());
        let uid = object.uid().unwrap_or_default();
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = cached.get(&key)
            && known.uid == uid
            && known.spec == object.spec
        {
            return Ok(known.account.clone());
        }
        // Credentials for another spec must not be used for this one, unless the two specs have the same credentials.
        let mut account = self.build(&key, &object.spec)?;
        let former = cached.remove(&key).filter(|it| it.uid == uid && source::same_credentials(&it.spec, &object.spec));
        if let Some(CachedAccount { account: former, .. }) = former
            && let Some(former) = Arc::into_inner(former)
        {
            (account.credentials, account.base) = (former.credentials, former.base);
        }
        let account = Arc::new(account);
        cached.insert(key, CachedAccount { uid, spec: object.spec.clone(), account: account.clone() });
        Ok(account)
    }

    fn build(&self, key: &Key, spec: &AlibabaCloudAccountSpec) -> Result<Account, AccountError> {
        let (namespace, name) = key;
        let full_name = format!("{namespace}/{name}");
        let settings = &self.settings;
        let urls = spec.endpoints.clone().unwrap_or_default();
        let endpoints = CustomEndpoints {
            rocketmq: self.endpoint(&full_name, rocketmq::PRODUCT, urls.rocketmq, &settings.rocketmq_endpoint)?,
            ebs: self.endpoint(&full_name, ebs::PRODUCT, urls.ebs, &settings.ebs_endpoint)?,
        };
        let sts = self.endpoint(&full_name, sts::PRODUCT, urls.sts, &settings.sts_endpoint)?;
        let client = match &spec.budget {
            None => self.cloud.clone(),
            Some(budget) => self.cloud.clone().with_budget(limits_of(&full_name, budget, settings.shard)),
        };
        // The budget does not count requests for credentials: a renewal must not wait for reads.
        let sts = sts.map_or_else(|| sts_endpoint(&settings.variables), |it| it.url);
        let sts = Sts::new(self.cloud.clone(), sts);
        let on_change = self.trigger_on_change(key);
        let installation = Installation { kubernetes: &self.kubernetes, cloud: &self.cloud, settings };
        let base = source::credentials(&installation, namespace, &full_name, &spec.credentials, &sts, &on_change)?;
        let base = Arc::new(base);
        let (credentials, base) = match &spec.assume_role {
            None => (base, None),
            Some(role) => {
                let request = RoleRequest {
                    role_arn: role.role_arn.clone(),
                    external_id: role.external_id.clone(),
                    session_name: session_name(role.session_name.as_ref()),
                };
                let provider = assume_role::of(sts, base.clone(), request);
                let credentials = CredentialsCache::renewed(provider, settings.retry_interval, on_change);
                (Arc::new(credentials), Some(BaseCredentials { cache: base, last: Mutex::default() }))
            }
        };
        Ok(Account { name: Some(full_name), credentials, base, client, endpoints })
    }

    /// The endpoint that an account names, if it is allowed; else the one of the command line.
    fn endpoint(
        &self,
        account: &str,
        product: &'static str,
        named: Option<String>,
        flag: &Option<String>,
    ) -> Result<Option<CustomEndpoint>, AccountError> {
        let Some(named) = named else { return Ok(configured(flag.as_ref())) };
        match self.settings.allowed_endpoints.check(product, &named) {
            Ok(url) => Ok(Some(CustomEndpoint { url, from_account: true })),
            Err(why) => Err(AccountError::Endpoint { account: account.to_owned(), product, why }),
        }
    }

    /// Triggers a reconcile of the account when its credentials change.
    fn trigger_on_change(&self, key: &Key) -> OnChange {
        let (triggers, key) = (self.triggers.clone(), key.clone());
        Arc::new(move || {
            triggers.send(key.clone()).unwrap_or_default();
        })
    }
}

/// The shard's part of the rate limit that the budget of an account sets.
fn limits_of(account: &str, budget: &AccountBudget, shard: Shard) -> Budget {
    let rate = u32::try_from(budget.requests_per_second).unwrap_or(1).max(1);
    Budget::new(account.to_owned(), shard.part_of(rate)).with_max(ebs::PRODUCT, shard.part_of(MAX_EBS_RATE))
}

/// The endpoint of a command-line flag.
fn configured(flag: Option<&String>) -> Option<CustomEndpoint> {
    flag.map(|url| CustomEndpoint { url: url.clone(), from_account: false })
}
