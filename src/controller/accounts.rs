//! Whose credentials, endpoints and budget an object uses: its account's, or the operator's own where the namespace may.
//!
//! Here is where tenants are kept apart. An account is looked for in the namespace of the object that names it, and whatever
//! rests on the operator's own identity is refused outside of the namespaces that the installation allows.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, ResourceExt};
use tokio::sync::broadcast;

use super::{Settings, secrets};
use crate::api::account::{AlibabaCloudAccount, AlibabaCloudAccountSpec, CredentialsSource, OidcCredentials};
use crate::cloud;
use crate::cloud::budget::Budget;
use crate::cloud::credentials::identity::{Identity, OnChange, Signer};
use crate::cloud::credentials::{CredentialsError, assume_role, chain, ecs_role, environment, oidc};
use crate::cloud::endpoint::{self, EndpointError};
use crate::cloud::sts::{self, RoleRequest, Sts};
use crate::cloud::{ebs, rocketmq};

/// No account takes longer to read.
const READ_DEADLINE: Duration = Duration::from_secs(10);
/// Signals that wait for a slow listener; one that missed some is told by the next poll.
const SIGNALS: usize = 1024;
/// What EBS allows, calls a second and region (help page "api-ebs-2021-07-30-quota").
const EBS_LIMIT: u32 = 40;

/// Namespace and name.
pub type Key = (String, String);

/// Variables of the operator's environment that say where its own credentials are. Its `Debug` shows none.
#[derive(Clone, Default)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// Those of this process that the standard chain knows, and `HOME`.
    pub fn of_this_process() -> Self {
        let known = |name: &str| name.starts_with("ALIBABA_CLOUD_") || name == "HOME";
        Self(std::env::vars().filter(|(name, _)| known(name)).collect())
    }

    /// The value of one.
    pub fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }
}

impl FromIterator<(String, String)> for Variables {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(all: T) -> Self {
        Self(all.into_iter().collect())
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Variables([redacted])")
    }
}

/// Why an object has nobody to sign its calls.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// The namespace may not use the operator's own identity.
    #[error(
        "namespace {namespace} may not use {what}: name an AlibabaCloudAccount of this namespace with credentials of its own \
         (secretRef, or oidc with serviceAccountRef), or start the operator with --default-account-namespaces={namespace}"
    )]
    NotAllowed {
        /// The namespace.
        namespace: String,
        /// What it may not use.
        what: &'static str,
    },
    /// The account does not exist.
    #[error("AlibabaCloudAccount {0} does not exist: create it, or correct spec.accountRef")]
    Missing(String),
    /// Kubernetes does not give the account.
    #[error("AlibabaCloudAccount {0} cannot be read: {1}")]
    Unreadable(String, String),
    /// The account names an endpoint that is not allowed. Nothing is sent for it.
    #[error("endpoint of {product} of AlibabaCloudAccount {account}: {why}")]
    Endpoint {
        /// The account.
        account: String,
        /// The product whose endpoint it is.
        product: &'static str,
        /// Why it is refused.
        why: EndpointError,
    },
    /// The source of the account's credentials gives none.
    #[error("{}{why}", of(.account.as_deref()))]
    Credentials {
        /// The account; none, where it is the operator's own identity.
        account: Option<String>,
        /// Why.
        why: CredentialsError,
    },
}

fn of(account: Option<&str>) -> String {
    account.map(|account| format!("AlibabaCloudAccount {account}: ")).unwrap_or_default()
}

impl AccountError {
    /// Whether it may pass without anybody's doing.
    pub fn passing(&self) -> bool {
        match self {
            Self::Unreadable(..) => true,
            Self::Credentials { why, .. } => why.passing(),
            Self::NotAllowed { .. } | Self::Missing(_) | Self::Endpoint { .. } => false,
        }
    }
}

/// What an account comes to: who signs, where calls go, and how many there may be.
pub struct Account {
    /// Its name; none, where it is the operator's own identity.
    name: Option<String>,
    /// The keeper of its credentials.
    pub identity: Arc<Identity>,
    client: cloud::client::Client,
    rocketmq: Option<String>,
    ebs: Option<String>,
}

/// What one pass uses of an account.
#[derive(Clone)]
pub struct Access {
    /// The cloud, with the account's budget.
    pub client: cloud::client::Client,
    /// Who signs.
    pub signer: Signer,
    rocketmq: Option<String>,
    ebs: Option<String>,
}

impl Access {
    /// The endpoint of RocketMQ in a region.
    pub fn rocketmq(&self, region: &str) -> String {
        self.rocketmq.clone().unwrap_or_else(|| endpoint::rocketmq(region))
    }

    /// The endpoint of EBS in a region.
    pub fn ebs(&self, region: &str) -> String {
        self.ebs.clone().unwrap_or_else(|| endpoint::ebs(region))
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
        let own = Arc::new(own(&kubernetes, &cloud, &settings));
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
        let signer = Signer::of(&account.identity, Timestamp::now()).await;
        let named = |why| AccountError::Credentials { account: account.name.clone(), why };
        let Account { client, rocketmq, ebs, .. } = &*account;
        let signer = signer.map_err(named)?;
        Ok(Access { client: client.clone(), signer, rocketmq: rocketmq.clone(), ebs: ebs.clone() })
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
        // What was good for another spec must not be used for this one.
        built.remove(&key);
        let account = Arc::new(self.build(&key, &object.spec)?);
        built.insert(key, Built { uid, spec: object.spec.clone(), account: account.clone() });
        Ok(account)
    }

    fn build(&self, key: &Key, spec: &AlibabaCloudAccountSpec) -> Result<Account, AccountError> {
        let (namespace, name) = key;
        let full = format!("{namespace}/{name}");
        let settings = &self.settings;
        let given = spec.endpoints.as_ref();
        let endpoint = |product: &'static str, given: Option<&String>, flag: &Option<String>| match given {
            None => Ok(flag.clone()),
            Some(text) => settings.allowed_endpoints.check(product, text).map(Some).map_err(|why| {
                let account = full.clone();
                AccountError::Endpoint { account, product, why }
            }),
        };
        let rocketmq =
            endpoint(rocketmq::PRODUCT, given.and_then(|it| it.rocketmq.as_ref()), &settings.rocketmq_endpoint)?;
        let ebs = endpoint(ebs::PRODUCT, given.and_then(|it| it.ebs.as_ref()), &settings.ebs_endpoint)?;
        let sts = endpoint(sts::PRODUCT, given.and_then(|it| it.sts.as_ref()), &settings.sts_endpoint)?;
        let budget = match &spec.budget {
            None => self.cloud.budget().anew(),
            Some(budget) => {
                let rate = u32::try_from(budget.requests_per_second).unwrap_or(1).max(1);
                Budget::new(rate).with_rate(ebs::PRODUCT, rate.min(EBS_LIMIT))
            }
        };
        let client = self.cloud.clone().with_budget(Arc::new(budget));
        let sts = Sts::new(client.clone(), sts.unwrap_or_else(|| sts_endpoint(&settings.variables)));
        let (changed, told) = (self.changed.clone(), key.clone());
        let on_change: OnChange = Arc::new(move || {
            changed.send(told.clone()).unwrap_or_default();
        });
        let base = self.source(namespace, &full, &spec.credentials, &sts, &on_change)?;
        let identity = match &spec.assume_role {
            None => base,
            Some(role) => {
                let request = RoleRequest {
                    role_arn: role.role_arn.clone(),
                    external_id: role.external_id.clone(),
                    session_name: session_name(role.session_name.as_ref()),
                };
                let provider = assume_role::of(sts, Arc::new(base), request);
                Identity::renewed(provider, settings.retry_interval, on_change)
            }
        };
        Ok(Account { name: Some(full), identity: Arc::new(identity), client, rocketmq, ebs })
    }

    /// The one source that the spec names.
    fn source(
        &self,
        namespace: &str,
        account: &str,
        source: &CredentialsSource,
        sts: &Sts,
        on_change: &OnChange,
    ) -> Result<Identity, AccountError> {
        let settings = &self.settings;
        let own = |what: &'static str| match settings.may_use_own_identity(namespace) {
            true => Ok(()),
            false => Err(AccountError::NotAllowed { namespace: namespace.to_owned(), what }),
        };
        let renewed = |provider| Identity::renewed(provider, settings.retry_interval, on_change.clone());
        let read = |provider| Identity::read_each_time(provider, on_change.clone());
        match source {
            CredentialsSource { secret_ref: Some(secret), oidc: None, ecs_role: None, environment: None } => {
                let (client, namespace) = (self.kubernetes.clone(), namespace.to_owned());
                Ok(read(secrets::access_key(client, namespace, secret.name.clone())))
            }
            CredentialsSource { secret_ref: None, oidc: Some(oidc), ecs_role: None, environment: None } => {
                let OidcCredentials { role_arn, provider_arn, service_account_ref, session_name: session } = oidc;
                let token = match service_account_ref {
                    Some(service_account) => {
                        let (client, namespace) = (self.kubernetes.clone(), namespace.to_owned());
                        secrets::service_account_token(client, namespace, service_account.name.clone())
                    }
                    None => {
                        own("the token of the operator's own pod (oidc without serviceAccountRef)")?;
                        let file = settings.variables.get(oidc::TOKEN_FILE).ok_or(AccountError::Credentials {
                            account: Some(account.to_owned()),
                            why: CredentialsError::VariableMissing(oidc::TOKEN_FILE),
                        })?;
                        oidc::file(PathBuf::from(file))
                    }
                };
                let (role_arn, provider_arn) = (role_arn.clone(), provider_arn.clone());
                let assumed = oidc::Assumed { role_arn, provider_arn, session_name: session_name(session.as_ref()) };
                Ok(renewed(oidc::of(sts.clone(), assumed, token)))
            }
            CredentialsSource { secret_ref: None, oidc: None, ecs_role: Some(role), environment: None } => {
                own("the RAM role of the operator's ECS instance (ecsRole)")?;
                let base = metadata_endpoint(settings);
                Ok(renewed(ecs_role::of(self.cloud.http(), base, role.name.clone())))
            }
            CredentialsSource { secret_ref: None, oidc: None, ecs_role: None, environment: Some(_) } => {
                own("the variables of the operator's own pod (environment)")?;
                let variables = settings.variables.clone();
                Ok(read(environment::of(move |name| variables.get(name))))
            }
            // The definition refuses it; an object from before the definition is not worth a guess.
            CredentialsSource { .. } => Err(AccountError::Credentials {
                account: Some(account.to_owned()),
                why: CredentialsError::NoSource("set one of secretRef, oidc, ecsRole and environment".into()),
            }),
        }
    }
}

fn session_name(given: Option<&String>) -> String {
    given.cloned().unwrap_or_else(|| oidc::DEFAULT_SESSION_NAME.into())
}

fn metadata_endpoint(settings: &Settings) -> String {
    settings.metadata_endpoint.clone().unwrap_or_else(|| ecs_role::ENDPOINT.into())
}

/// STS where nobody names an endpoint: as the variables of the official SDK say.
fn sts_endpoint(variables: &Variables) -> String {
    let vpc = variables.get(endpoint::VPC_ENABLED).is_some_and(|it| it.eq_ignore_ascii_case("true"));
    endpoint::sts(variables.get(endpoint::STS_REGION).as_deref(), vpc)
}

/// The operator's own identity: its Secret, else the standard chain of the official SDK.
fn own(kubernetes: &Client, cloud: &cloud::client::Client, settings: &Settings) -> Account {
    let quiet: OnChange = Arc::new(|| {});
    let identity = match &settings.credentials_secret {
        Some(secret) => {
            let (namespace, name) = (secret.namespace.clone(), secret.name.clone());
            Identity::read_each_time(secrets::access_key(kubernetes.clone(), namespace, name), quiet)
        }
        None => {
            let sts = Sts::new(
                cloud.clone(),
                settings.sts_endpoint.clone().unwrap_or_else(|| sts_endpoint(&settings.variables)),
            );
            let variables = settings.variables.clone();
            let chain = chain::of(move |name| variables.get(name), sts, cloud.http(), metadata_endpoint(settings));
            Identity::renewed(chain, settings.retry_interval, quiet)
        }
    };
    let (rocketmq, ebs) = (settings.rocketmq_endpoint.clone(), settings.ebs_endpoint.clone());
    Account { name: None, identity: Arc::new(identity), client: cloud.clone(), rocketmq, ebs }
}
