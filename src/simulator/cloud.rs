//! The state of a simulated cloud, and its answers to requests.

use std::collections::{HashMap, VecDeque};

use super::config::{AccessKey, Config};
use super::faults::Faults;
use super::http::{Answer, Incoming};
use super::model::ebs::Disks;
use super::model::sts::{Caller, Sts};
use super::model::{Failure, Model};
use super::product::{Operation, Product};
use super::record::RequestRecord;
use super::signature::Nonces;
use super::{signature, sts};

/// Maximum number of recorded requests; the oldest are dropped first.
const MAX_RECORDS: usize = 20_000;

/// The state behind the lock of a [`Simulator`](super::Simulator).
pub(super) struct Cloud {
    pub(super) config: Config,
    pub(super) model: Model,
    pub(super) disks: Disks,
    pub(super) sts: Sts,
    pub(super) faults: Faults,
    nonces: Nonces,
    /// By region, action and key: the begin of the current second, ms since the epoch, and the calls in it.
    calls: HashMap<(String, &'static str, String), (i64, u32)>,
    pub(super) requests: VecDeque<RequestRecord>,
    pub(super) clock_offset_ms: i64,
}

impl Cloud {
    /// A cloud without plans.
    pub(super) fn new(config: Config) -> Cloud {
        let (model, disks) = (Model::new(config.rules.clone()), Disks::new(config.disk_rules.clone()));
        let sts = Sts::new(config.sts.clone(), config.metadata.clone());
        let (faults, nonces, calls, requests) = Default::default();
        Cloud { config, model, disks, sts, faults, nonces, calls, requests, clock_offset_ms: 0 }
    }

    pub(super) fn now(&self) -> i64 {
        self.config.clock.now_ms().saturating_add(self.clock_offset_ms)
    }

    /// The configured or issued key with this id.
    fn key(&self, id: &str) -> Option<AccessKey> {
        let known = self.config.keys.iter().find(|key| key.id == id).cloned();
        known.or_else(|| self.sts.issued_key(id).map(AccessKey::issued))
    }

    /// The identity behind a key.
    fn caller(&self, key_id: &str) -> Caller {
        match self.sts.issued_key(key_id) {
            Some(issued) => Caller::Role(issued.role_arn.clone()),
            None if self.config.keys.iter().any(|key| key.id == key_id && key.root) => Caller::Root,
            None => Caller::Key(key_id.to_owned()),
        }
    }

    pub(super) fn answer(&mut self, incoming: &Incoming) -> Answer {
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
        if self.requests.len() == MAX_RECORDS {
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
        let product = product.ok_or_else(unknown_product)?;
        let region = product.region(incoming, &self.config.default_region).ok_or_else(unknown_product)?;
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
                self.nonces.consume(&incoming.header("x-acs-signature-nonce").unwrap_or_default(), now)?;
                let operation = operation.filter(|operation| matches_headers(product, operation, incoming));
                (operation.ok_or_else(Failure::api_not_found)?, Some(key_id))
            }
        };
        let effect = self.faults.apply(operation.action(), product.named_region(incoming).as_deref());
        *fault = effect.as_ref().map(|kind| kind.name().to_owned());
        let perform = || self.perform(incoming, operation, &region, key_id, now);
        Ok(match effect {
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
        let caller_of_action = (region.to_owned(), action, key_id.unwrap_or_default());
        let (second_began, calls) = self.calls.entry(caller_of_action).or_insert((now, 0));
        if (now - *second_began).abs() >= 1000 {
            (*second_began, *calls) = (now, 0);
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

fn unknown_product() -> Failure {
    Failure::gateway(404, "InvalidProduct.NotFound", "The host names no product and region that are known.")
}

/// Whether the signed headers name this operation and the product's API version.
fn matches_headers(product: Product, operation: &Operation, incoming: &Incoming) -> bool {
    incoming.header("x-acs-action").as_deref() == Some(operation.action())
        && incoming.header("x-acs-version").as_deref() == Some(product.version())
}
