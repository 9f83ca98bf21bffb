//! The disaster-recovery side of Alibaba Cloud on loopback or in process: a pure model and an HTTP face that checks
//! signatures. For the demo and the tests; it is never part of the operator's image.

mod admin;
mod config;
mod disk_admin;
mod ebs;
mod faults;
mod http;
mod metadata;
pub mod model;
mod product;
mod rocketmq;
mod signature;
mod sts;
mod sts_admin;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;

pub use self::config::{AccessKey, Config};
use self::faults::Faults;
pub use self::faults::{Fault, FaultKind};
use self::http::{Answer, BODY_LIMIT, Incoming};
use self::model::ebs::Disks;
use self::model::sts::{Caller, Sts};
use self::model::{Failure, Model, PlanView};
use self::product::{Operation, Product};
use self::signature::Nonces;

/// How many requests are remembered; the oldest are forgotten first.
const RECORDS: usize = 20_000;

/// One simulated cloud. A clone is a handle to the same cloud.
#[derive(Clone)]
pub struct Simulator(Arc<Mutex<Cloud>>);

/// One request that arrived, whether it was good or not. Neither headers nor bodies are kept, nor what is secret in a
/// query, hence no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestRecord {
    /// The action that method and path mean; else what `x-acs-action` or the parameter `Action` said; else nothing.
    pub action: String,
    /// The id of the key that it claimed.
    pub access_key_id: Option<String>,
    /// The ARN of the role that this key was issued for, if it was.
    pub role: Option<String>,
    /// The region that its host means.
    pub region: Option<String>,
    /// The HTTP method.
    pub method: String,
    /// The path as sent.
    pub path: String,
    /// The query, decoded; tokens in it are left out.
    pub query: Vec<(String, String)>,
    /// The HTTP status of the answer, of one that a fault then lost too.
    pub status: u16,
    /// The code of the answer, `200` when all went well; empty for what has none.
    pub code: String,
    /// Whether the action changes anything in the cloud.
    pub changing: bool,
    /// The name of the fault that struck it.
    pub fault: Option<String>,
    /// When it arrived by the simulator's clock, ms since the epoch.
    pub at_ms: i64,
}

/// What is behind the lock.
struct Cloud {
    config: Config,
    model: Model,
    disks: Disks,
    sts: Sts,
    faults: Faults,
    nonces: Nonces,
    /// By region, action and key: when the current second began, and the calls in it.
    calls: HashMap<(String, &'static str, String), (i64, u32)>,
    requests: VecDeque<RequestRecord>,
    clock_offset_ms: i64,
}

impl Simulator {
    /// A cloud without plans.
    pub fn new(config: Config) -> Simulator {
        let (model, disks) = (Model::new(config.rules.clone()), Disks::new(config.disk_rules.clone()));
        let sts = Sts::new(config.sts.clone(), config.metadata.clone());
        let (faults, nonces, calls, requests) = Default::default();
        Simulator(Arc::new(Mutex::new(Cloud {
            config,
            model,
            disks,
            sts,
            faults,
            nonces,
            calls,
            requests,
            clock_offset_ms: 0,
        })))
    }

    /// The cloud as an HTTP service, to be called in process or served on a loopback address. Under `/_simulator` it
    /// has the admin API, which asks for no signature.
    pub fn router(&self) -> Router {
        Router::new().nest("/_simulator", admin::router()).fallback(answer).with_state(self.clone())
    }

    /// Adds a rule of misbehaviour behind those that there are.
    pub fn add_fault(&self, fault: Fault) {
        self.lock().faults.add(fault);
    }

    /// Ends all misbehaviour.
    pub fn clear_faults(&self) {
        self.lock().faults.clear();
    }

    /// Every request that arrived since the start or the last [`Simulator::clear_requests`], in order; the admin API's
    /// own are not among them. At most the last 20,000.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.lock().requests.iter().cloned().collect()
    }

    /// Forgets the requests.
    pub fn clear_requests(&self) {
        self.lock().requests.clear();
    }

    /// All plans of all regions as they are now, with items, checkpoints and clear passwords, for assertions; also
    /// those that are not visible yet.
    pub fn plans(&self) -> Vec<PlanView> {
        self.with_model(Model::inspect)
    }

    /// Calls `f` with the model, which was moved to now, and now in ms since the epoch. No request is served meanwhile.
    pub fn with_model<R>(&self, f: impl FnOnce(&mut Model, i64) -> R) -> R {
        let mut cloud = self.lock();
        let now = cloud.now();
        cloud.model.advance(now);
        f(&mut cloud.model, now)
    }

    /// Calls `f` with the disks, which were moved to now, and now in ms since the epoch. No request is served meanwhile.
    pub fn with_disks<R>(&self, f: impl FnOnce(&mut Disks, i64) -> R) -> R {
        let mut cloud = self.lock();
        let now = cloud.now();
        cloud.disks.advance(now);
        f(&mut cloud.disks, now)
    }

    /// Calls `f` with the roles and the keys that were issued for them, and now in ms since the epoch. No request is served
    /// meanwhile.
    pub fn with_sts<R>(&self, f: impl FnOnce(&mut Sts, i64) -> R) -> R {
        let mut cloud = self.lock();
        let now = cloud.now();
        f(&mut cloud.sts, now)
    }

    /// Puts the simulator's clock `ms` ahead of (or, negative, behind) the machine's.
    pub fn set_clock_offset_ms(&self, ms: i64) {
        self.lock().clock_offset_ms = ms;
    }

    /// The simulator's clock, ms since the epoch.
    pub fn now_ms(&self) -> i64 {
        self.lock().now()
    }

    /// Replaces the access keys, as a rotation or the end of a token does. Those that were issued for roles stay.
    pub fn set_keys(&self, keys: Vec<AccessKey>) {
        self.lock().config.keys = keys;
    }

    /// Replaces the set of actions that answer `NoPermission` (EBS: `Forbidden.Action`); `*` is all that are signed.
    pub fn set_denied_actions<T: Into<String>>(&self, actions: impl IntoIterator<Item = T>) {
        self.lock().config.denied_actions = actions.into_iter().map(Into::into).collect();
    }

    /// Changes the calls a second that are let through for each region, action and key, of RocketMQ and EBS.
    pub fn set_rate_limit(&self, per_second: u32) {
        let config = &mut self.lock().config;
        (config.rate_limit_per_second, config.ebs_rate_limit_per_second) = (per_second, per_second);
    }

    /// Changes the calls of STS a second that are let through for each region, action and key.
    pub fn set_sts_rate_limit(&self, per_second: u32) {
        self.lock().config.sts_rate_limit_per_second = per_second;
    }

    /// The region that requests to a loopback address are meant for.
    pub fn default_region(&self) -> String {
        self.lock().config.default_region.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Cloud> {
        // A test that failed inside with_model must not hide its own message behind a poisoned lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one way in for the products' requests.
async fn answer(State(simulator): State<Simulator>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let answer = match axum::body::to_bytes(body, BODY_LIMIT).await {
        Ok(body) => simulator.lock().answer(&Incoming::new(&parts, body)),
        Err(error) => {
            let failure = Failure::gateway(400, "InvalidParameter", format!("The body cannot be read: {error}."));
            Answer::failure(&failure, "", false)
        }
    };
    answer.send().await
}

impl Cloud {
    fn now(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX).saturating_add(self.clock_offset_ms)
    }

    /// A key by its id: one of those that were there from the beginning, or one that was issued.
    fn key(&self, id: &str) -> Option<AccessKey> {
        let known = self.config.keys.iter().find(|key| key.id == id).cloned();
        known.or_else(|| self.sts.issued_key(id).map(AccessKey::issued))
    }

    /// Who a key stands for.
    fn caller(&self, key_id: &str) -> Caller {
        match self.sts.issued_key(key_id) {
            Some(issued) => Caller::Role(issued.role_arn.clone()),
            None if self.config.keys.iter().any(|key| key.id == key_id && key.root) => Caller::Root,
            None => Caller::Key(key_id.to_owned()),
        }
    }

    fn answer(&mut self, incoming: &Incoming) -> Answer {
        let now = self.now();
        let product = Product::of(incoming);
        let operation = product.and_then(|product| product.route(incoming));
        let mut fault = None;
        let answer = self
            .process(incoming, (product, operation.as_ref()), now, &mut fault)
            .unwrap_or_else(|failure| Answer::failure(&failure, &incoming.host, self.config.errors_as_http_200));
        let named = || sts::named_action(incoming).unwrap_or_default();
        let access_key_id = signature::claimed_key(incoming);
        let issued = access_key_id.as_deref().and_then(|id| self.sts.issued_key(id));
        let record = RequestRecord {
            action: operation.as_ref().map_or_else(named, |operation| operation.action().to_owned()),
            role: issued.map(|key| key.role_arn.clone()),
            access_key_id,
            region: product.and_then(|product| product.region(incoming, &self.config.default_region)),
            method: incoming.method.to_string(),
            path: incoming.path.clone(),
            query: incoming.query_without_tokens(),
            status: answer.status,
            code: answer.code.clone(),
            changing: operation.is_some_and(|operation| operation.is_changing()),
            fault,
            at_ms: now,
        };
        if self.requests.len() == RECORDS {
            self.requests.pop_front();
        }
        self.requests.push_back(record);
        answer
    }

    fn process(
        &mut self,
        incoming: &Incoming,
        (product, operation): (Option<Product>, Option<&Operation>),
        now: i64,
        fault: &mut Option<String>,
    ) -> Result<Answer, Failure> {
        let unknown =
            || Failure::gateway(404, "InvalidProduct.NotFound", "The host names no product and region that are known.");
        let product = product.ok_or_else(unknown)?;
        let region = product.region(incoming, &self.config.default_region).ok_or_else(unknown)?;
        if product == Product::Metadata && operation.is_none() {
            return Ok(Answer::page(404));
        }
        let (operation, key_id) = match operation.filter(|operation| !operation.is_signed()) {
            Some(operation) => {
                if product == Product::Sts {
                    sts::check_unsigned(incoming, now)?;
                }
                (operation, None)
            }
            None => {
                let key_id = signature::verify(incoming, |id| self.key(id), now)?;
                self.nonces.use_up(&incoming.header("x-acs-signature-nonce").unwrap_or_default(), now)?;
                let says = |name: &str, value: &str| incoming.header(name).as_deref() == Some(value);
                let fits =
                    |it: &&Operation| says("x-acs-action", it.action()) && says("x-acs-version", product.version());
                (operation.filter(fits).ok_or_else(Failure::api_not_found)?, Some(key_id))
            }
        };
        let struck = self.faults.strike(operation.action(), product.named_region(incoming).as_deref());
        *fault = struck.as_ref().map(|kind| kind.name().to_owned());
        let perform = || self.perform(incoming, operation, &region, key_id, now);
        Ok(match struck {
            Some(kind) => Answer::faulty(&kind, &incoming.host, product.is_plain(), perform),
            None => perform(),
        })
    }

    fn perform(
        &mut self,
        incoming: &Incoming,
        operation: &Operation,
        region: &str,
        key_id: Option<String>,
        now: i64,
    ) -> Answer {
        if let Operation::Metadata(operation) = operation {
            return operation.perform(incoming, &mut self.sts, now);
        }
        let action = operation.action();
        let caller = self.caller(key_id.as_deref().unwrap_or_default());
        let counted = (region.to_owned(), action, key_id.unwrap_or_default());
        let (began, calls) = self.calls.entry(counted).or_insert((now, 0));
        if (now - *began).abs() >= 1000 {
            (*began, *calls) = (now, 0);
        }
        *calls = calls.saturating_add(1);
        let (limit, code) = operation.limit(&self.config);
        if *calls > limit {
            return Answer::throttled(code, &incoming.host, self.config.retry_after_ms);
        }
        let denied = &self.config.denied_actions;
        let result = if denied.contains(action) || (denied.contains("*") && operation.is_signed()) {
            Err(operation.denied())
        } else {
            match operation {
                Operation::RocketMq(operation) => operation.perform(incoming, &mut self.model, region, now),
                Operation::Ebs(operation) => operation.perform(incoming, &mut self.disks, region, now),
                Operation::Sts(operation) => operation.perform(incoming, &mut self.sts, &caller, now),
                Operation::Metadata(_) => Err(Failure::api_not_found()),
            }
        };
        match result {
            Ok(data) => match operation {
                Operation::RocketMq(_) => Answer::success(&data),
                Operation::Ebs(_) | Operation::Sts(_) | Operation::Metadata(_) => Answer::plain_success(data),
            },
            Err(failure) => Answer::failure(&failure, &incoming.host, self.config.errors_as_http_200),
        }
    }
}
