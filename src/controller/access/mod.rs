//! Whose credentials, endpoints and budget an object uses: its account's, or the operator's own where the namespace may.
//!
//! Here is where tenants are kept apart. An account is looked for in the namespace of the object that names it, and whatever
//! rests on the operator's own identity is refused outside of the namespaces that the installation allows.

mod error;
mod source;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, ResourceExt};
use tokio::sync::broadcast;

pub use self::error::AccountError;
pub use self::source::Variables;
use self::source::{Installation, session_name, sts_endpoint};
use super::Settings;
use crate::api::account::{AlibabaCloudAccount, AlibabaCloudAccountSpec};
use crate::cloud;
use crate::cloud::client::Target;
use crate::cloud::credentials::cache::{CredentialsCache, OnChange};
use crate::cloud::credentials::signer::Signer;
use crate::cloud::credentials::{Credentials, CredentialsError, assume_role};
use crate::cloud::ebs::{self, Ebs};
use crate::cloud::endpoint;
use crate::cloud::rate_limit::Priority;
use crate::cloud::rocketmq::{self, RocketMq};
use crate::cloud::sts::{self, RoleRequest, Sts};

/// No account takes longer to read.
const READ_DEADLINE: Duration = Duration::from_secs(10);
/// Signals that wait for a slow listener; one that missed some is told by the next poll.
const SIGNALS: usize = 1024;
/// What EBS allows, calls a second and region (help page "api-ebs-2021-07-30-quota").
const EBS_LIMIT: u32 = 40;

/// Namespace and name.
pub type Key = (String, String);

/// What an account comes to: who signs, where calls go, and how many there may be.
pub struct Account {
    /// Its name; none, where it is the operator's own identity.
    name: Option<String>,
    /// The keeper of its credentials.
    pub identity: Arc<CredentialsCache>,
    /// What they rest on, where a role is assumed with others, and what that gave last.
    base: Option<(Arc<CredentialsCache>, Mutex<Option<Credentials>>)>,
    client: cloud::client::Client,
    endpoints: Given,
}

/// Endpoints in place of the public ones, and whether the account names them.
#[derive(Clone, Debug, Default)]
struct Given {
    rocketmq: Option<(String, bool)>,
    ebs: Option<(String, bool)>,
}

impl Account {
    /// Looks at what the credentials rest on, which is asked only when they are renewed: tells what is wrong with it, and has
    /// them renewed where it changed.
    pub async fn look_at_base(&self, now: Timestamp) -> Option<CredentialsError> {
        let (base, last) = self.base.as_ref()?;
        let issued = match base.credentials(now).await {
            Ok(issued) => issued,
            Err(error) => return Some(error),
        };
        // Temporary ones change by themselves.
        if issued.expires.is_none() {
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.as_ref().is_some_and(|last| !last.same(&issued.credentials)) {
                self.identity.renew();
            }
            *last = Some(issued.credentials);
        }
        None
    }
}

/// What one pass uses of an account.
#[derive(Clone)]
pub struct Access {
    client: cloud::client::Client,
    signer: Signer,
    endpoints: Given,
}

impl Access {
    /// Who signs calls of a product, for people: the ARN of a role or the masked ID of a key, and the account's own endpoint
    /// where it names one. Another one may see another cloud.
    pub fn identity(&self, product: &str) -> String {
        let endpoint = if product == ebs::PRODUCT { &self.endpoints.ebs } else { &self.endpoints.rocketmq };
        match endpoint {
            Some((endpoint, true)) => format!("{} at {endpoint}", self.signer.identity()),
            Some((_, false)) | None => self.signer.identity(),
        }
    }

    /// The RocketMQ API of a region.
    pub fn rocketmq(&self, region: &str, priority: Priority) -> RocketMq {
        let given = self.endpoints.rocketmq.clone();
        let endpoint = given.map_or_else(|| endpoint::rocketmq(region), |(endpoint, _)| endpoint);
        let (product, version) = (rocketmq::PRODUCT, rocketmq::VERSION);
        let (region, signer) = (region.to_owned(), Some(self.signer.clone()));
        RocketMq::new(self.client.clone(), Target { product, version, endpoint, region, signer, priority })
    }

    /// The EBS API of the two regions of a group of disks, production and standby; they may be one.
    pub fn ebs(&self, regions: [&str; 2], priority: Priority) -> Ebs {
        let [production, standby] = regions.map(|region| {
            let given = self.endpoints.ebs.clone();
            let endpoint = given.map_or_else(|| endpoint::ebs(region), |(endpoint, _)| endpoint);
            let (product, version) = (ebs::PRODUCT, ebs::VERSION);
            let (region, signer) = (region.to_owned(), Some(self.signer.clone()));
            Target { product, version, endpoint, region, signer, priority }
        });
        Ebs::new(self.client.clone(), production, standby)
    }
}

/// An account as it was built, and of what.
struct Built {
    uid: String,
    spec: AlibabaCloudAccountSpec,
    account: Arc<Account>,
}

/// All accounts that this process knows.
pub struct Accounts {
    kubernetes: Client,
    cloud: cloud::client::Client,
    settings: Settings,
    own: Arc<Account>,
    built: Mutex<HashMap<Key, Built>>,
    cache: OnceLock<Vec<Store<AlibabaCloudAccount>>>,
    changed: broadcast::Sender<Key>,
    usable: broadcast::Sender<Key>,
}

impl Accounts {
    /// Knows the operator's own identity only, and asks nobody for anything yet.
    pub fn new(kubernetes: Client, cloud: cloud::client::Client, settings: Settings) -> Self {
        let installation = Installation { kubernetes: &kubernetes, cloud: &cloud, settings: &settings };
        let identity = Arc::new(source::own(&installation));
        let flag = |flag: &Option<String>| flag.clone().map(|endpoint| (endpoint, false));
        let endpoints = Given { rocketmq: flag(&settings.rocketmq_endpoint), ebs: flag(&settings.ebs_endpoint) };
        let own = Arc::new(Account { name: None, identity, base: None, client: cloud.clone(), endpoints });
        let (changed, usable) = (broadcast::Sender::new(SIGNALS), broadcast::Sender::new(SIGNALS));
        let (built, cache) = (Mutex::default(), OnceLock::new());
        Self { kubernetes, cloud, settings, own, built, cache, changed, usable }
    }

    /// Where accounts are looked up before Kubernetes is asked.
    pub fn look_up_in(&self, cache: Vec<Store<AlibabaCloudAccount>>) {
        // Set once, when the controllers start.
        self.cache.set(cache).unwrap_or_default();
    }

    /// Accounts that are to be looked at again: their use or what is known of their key changed.
    pub fn changed(&self) -> broadcast::Receiver<Key> {
        self.changed.subscribe()
    }

    /// Says that an account is to be looked at again.
    pub fn look_at(&self, key: Key) {
        // Nobody listens before the controllers run.
        self.changed.send(key).unwrap_or_default();
    }

    /// Accounts whose users are to be looked at again.
    pub fn usable(&self) -> broadcast::Receiver<Key> {
        self.usable.subscribe()
    }

    /// Says that the users of an account are to be looked at again.
    pub fn wake_users_of(&self, key: Key) {
        self.usable.send(key).unwrap_or_default();
    }

    /// Drops an account that is gone, and with it its credentials.
    pub fn forget(&self, key: &Key) {
        self.built.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// What an object of a namespace uses that names this account, or none.
    pub async fn access(&self, namespace: &str, name: Option<&str>) -> Result<Access, AccountError> {
        let account = match name {
            None if !self.settings.may_use_own_identity(namespace) => {
                let (namespace, what) = (namespace.to_owned(), "the operator's own credentials");
                return Err(AccountError::NotAllowed { namespace, what });
            }
            None => self.own.clone(),
            Some(name) => self.of(&*self.find(namespace, name).await?)?,
        };
        let signer = Signer::of(&account.identity, self.cloud.clock().now()).await;
        let named = |why| AccountError::credentials(account.name.as_deref(), why);
        let Account { client, endpoints, .. } = &*account;
        Ok(Access { client: client.clone(), signer: signer.map_err(named)?, endpoints: endpoints.clone() })
    }

    async fn find(&self, namespace: &str, name: &str) -> Result<Arc<AlibabaCloudAccount>, AccountError> {
        let reference = ObjectRef::new(name).within(namespace);
        let mut caches = self.cache.get().into_iter().flatten();
        if let Some(found) = caches.find_map(|cache| cache.get(&reference)) {
            return Ok(found);
        }
        // Perhaps too new for the cache, or without the labels that this operator watches.
        let full = format!("{namespace}/{name}");
        let accounts: Api<AlibabaCloudAccount> = Api::namespaced(self.kubernetes.clone(), namespace);
        match tokio::time::timeout(READ_DEADLINE, accounts.get_opt(name)).await {
            Ok(Ok(Some(account))) => Ok(Arc::new(account)),
            Ok(Ok(None)) => Err(AccountError::Missing(full)),
            Ok(Err(kube::Error::Api(status))) => Err(AccountError::Unreadable(full, status.message.clone())),
            Ok(Err(_)) | Err(_) => Err(AccountError::Unreadable(full, "the Kubernetes API did not answer".into())),
        }
    }

    /// The account of an object: the one that was built before, as long as it is the same object with the same spec.
    pub fn of(&self, object: &AlibabaCloudAccount) -> Result<Arc<Account>, AccountError> {
        let key = (object.namespace().unwrap_or_default(), object.name_any());
        let uid = object.uid().unwrap_or_default();
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = built.get(&key)
            && known.uid == uid
            && known.spec == object.spec
        {
            return Ok(known.account.clone());
        }
        // What was good for another spec must not be used for this one, but for what has nothing to do with who signs.
        let mut account = self.build(&key, &object.spec)?;
        let former = built.remove(&key).filter(|it| it.uid == uid && source::same(&it.spec, &object.spec));
        if let Some(Built { account: former, .. }) = former
            && let Some(former) = Arc::into_inner(former)
        {
            (account.identity, account.base) = (former.identity, former.base);
        }
        let account = Arc::new(account);
        built.insert(key, Built { uid, spec: object.spec.clone(), account: account.clone() });
        Ok(account)
    }

    fn build(&self, key: &Key, spec: &AlibabaCloudAccountSpec) -> Result<Account, AccountError> {
        let (namespace, name) = key;
        let full = format!("{namespace}/{name}");
        let settings = &self.settings;
        let given = spec.endpoints.as_ref();
        let endpoint = |product: &'static str, given: Option<&String>, flag: &Option<String>| match given {
            None => Ok(flag.clone().map(|endpoint| (endpoint, false))),
            Some(text) => settings.allowed_endpoints.check(product, text).map(|it| Some((it, true))).map_err(|why| {
                let account = full.clone();
                AccountError::Endpoint { account, product, why }
            }),
        };
        let rocketmq =
            endpoint(rocketmq::PRODUCT, given.and_then(|it| it.rocketmq.as_ref()), &settings.rocketmq_endpoint)?;
        let ebs = endpoint(ebs::PRODUCT, given.and_then(|it| it.ebs.as_ref()), &settings.ebs_endpoint)?;
        let sts = endpoint(sts::PRODUCT, given.and_then(|it| it.sts.as_ref()), &settings.sts_endpoint)?;
        let budget = match &spec.budget {
            None => self.cloud.rate_limit().for_owner(&full),
            Some(budget) => {
                let rate = u32::try_from(budget.requests_per_second).unwrap_or(1).max(1);
                self.cloud
                    .rate_limit()
                    .for_owner(&full)
                    .with_single_rate(rate)
                    .with_rate(ebs::PRODUCT, rate.min(EBS_LIMIT))
            }
        };
        let client = self.cloud.clone().with_rate_limit(Arc::new(budget));
        let sts = sts.map_or_else(|| sts_endpoint(&settings.variables), |(endpoint, _)| endpoint);
        let sts = Sts::new(client.clone(), sts);
        let (changed, told) = (self.changed.clone(), key.clone());
        let on_change: OnChange = Arc::new(move || {
            changed.send(told.clone()).unwrap_or_default();
        });
        let installation = Installation { kubernetes: &self.kubernetes, cloud: &client, settings };
        let base = source::of(&installation, namespace, &full, &spec.credentials, &sts, &on_change)?;
        let base = Arc::new(base);
        let (identity, base) = match &spec.assume_role {
            None => (base, None),
            Some(role) => {
                let request = RoleRequest {
                    role_arn: role.role_arn.clone(),
                    external_id: role.external_id.clone(),
                    session_name: session_name(role.session_name.as_ref()),
                };
                let provider = assume_role::of(sts, base.clone(), request);
                let identity = CredentialsCache::renewed(provider, settings.retry_interval, on_change);
                (Arc::new(identity), Some((base, Mutex::default())))
            }
        };
        let endpoints = Given { rocketmq, ebs };
        Ok(Account { name: Some(full), identity, base, client, endpoints })
    }
}
