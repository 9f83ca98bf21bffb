//! The state of a simulated cloud, and its answers to requests.

use std::collections::{HashMap, VecDeque};

use super::active_faults::{Effect, Faults, Snapshot, Target};
use super::config::{AccessKey, Config};
use super::faults::FaultKind;
use super::http::{Answer, Incoming};
use super::model::ebs::Disks;
use super::model::sts::{Caller, Role, Sts};
use super::model::{Failure, ListFault, Model};
use super::product::{Operation, Product};
use super::record::{RequestCounts, RequestRecord};
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
    /// The requests that are executed late.
    late: Vec<Late>,
    nonces: Nonces,
    /// By region, action and account: the begin of the current second, ms since the epoch, and the calls in it.
    calls: HashMap<(String, &'static str, String), (i64, u32)>,
    pub(super) requests: VecDeque<RequestRecord>,
    pub(super) request_counts: RequestCounts,
    pub(super) clock_offset_ms: i64,
}

/// A call that the simulator executes.
struct Call<'a> {
    incoming: &'a Incoming,
    operation: &'a Operation,
    region: &'a str,
    key_id: Option<&'a str>,
}

/// An authenticated request that is executed later.
struct Late {
    due_ms: i64,
    incoming: Incoming,
    region: String,
    key_id: Option<String>,
}

/// The part of a record that the processing decides.
#[derive(Default)]
struct Outcome {
    fault: Option<&'static str>,
    executed: bool,
}

impl Cloud {
    /// A cloud without plans.
    pub(super) fn new(config: Config) -> Cloud {
        let (model, disks) = (Model::new(config.rules.clone()), Disks::new(config.disk_rules.clone()));
        let sts = Sts::new(config.sts.clone(), config.metadata.clone());
        let faults = Faults::new(config.history_ms);
        let (late, nonces, calls, requests, request_counts) = Default::default();
        let clock_offset_ms = config.clock_offset_ms;
        Cloud { config, model, disks, sts, faults, late, nonces, calls, requests, request_counts, clock_offset_ms }
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

    /// The account whose rate limits a call counts for: that of the role of an issued key, else the key itself, because
    /// the simulator does not know its account. Calls without a key count together.
    fn account(&self, key_id: Option<&str>) -> String {
        let key_id = key_id.unwrap_or_default();
        let role = self.sts.issued_key(key_id).map(|issued| issued.role_arn.as_str());
        role.and_then(Role::account_of).unwrap_or(key_id).to_owned()
    }

    pub(super) fn answer(&mut self, incoming: &Incoming) -> Answer {
        let now = self.execute_late();
        let (model, disks) = (&self.model, &self.disks);
        self.faults.remember(now, || Snapshot { at_ms: now, model: model.clone(), disks: disks.clone() });
        let product = Product::of(incoming);
        let operation = product.and_then(|product| product.route(incoming));
        let mut outcome = Outcome::default();
        let answer = self
            .process(incoming, (product, operation.as_ref()), now, &mut outcome)
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
            fault: outcome.fault.map(str::to_owned),
            executed: outcome.executed,
            at_ms: now,
            signed_at: incoming.header("x-acs-date"),
        };
        self.request_counts.count(&record);
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
        outcome: &mut Outcome,
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
        let call = Call { incoming, operation, region: &region, key_id: key_id.as_deref() };
        let named_region = product.named_region(incoming);
        let (action, changing) = (operation.action(), operation.is_changing());
        let target = Target { action, region: named_region.as_deref(), path: &incoming.path, changing };
        // A fault in force affects the request before its own does.
        let own = || Some(Effect { kind: incoming.fault.clone()?, past: None });
        let effect = self.faults.apply(&target, now).or_else(own);
        *outcome = Outcome {
            fault: effect.as_ref().map(|effect| effect.kind.name()),
            executed: effect.as_ref().is_none_or(|effect| effect.kind.executes()),
        };
        let Some(Effect { kind, past }) = effect else { return Ok(self.perform(&call, &ListFault::default(), now)) };
        if let FaultKind::ExecutedLate { ms } = kind {
            let call = Late { due_ms: now.saturating_add(i64::from(ms)), incoming: incoming.clone(), region, key_id };
            self.late.push(call);
            return Ok(Answer::lost());
        }
        let perform = || match (&kind, past) {
            (FaultKind::NoEffect, _) => self.perform_without_effect(&call, now),
            (FaultKind::Twice, _) => self.perform_twice(&call, now),
            (FaultKind::FrozenProgress { ids }, Some(mut past)) => {
                let lists = ListFault::frozen_progress(ids, past.model.inspect(past.at_ms));
                self.perform(&call, &lists, now)
            }
            (_, Some(past)) => self.perform_in_past(&call, past, now),
            (kind, None) => self.perform(&call, &list_fault(kind), now),
        };
        Ok(Answer::faulty(&kind, &incoming.host, product.is_plain(), perform))
    }

    /// The state of plans and disks now.
    pub(super) fn snapshot(&self, now: i64) -> Snapshot {
        Snapshot { at_ms: now, model: self.model.clone(), disks: self.disks.clone() }
    }

    /// Executes the late requests that are due, each at its time. Returns the current time.
    pub(super) fn execute_late(&mut self) -> i64 {
        let now = self.now();
        let (mut due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.late).into_iter().partition(|late| late.due_ms <= now);
        self.late = later;
        due.sort_by_key(|late| late.due_ms);
        for Late { due_ms, incoming, region, key_id } in due {
            let product = Product::of(&incoming);
            let Some(operation) = product.and_then(|product| product.route(&incoming)) else { continue };
            let call = Call { incoming: &incoming, operation: &operation, region: &region, key_id: key_id.as_deref() };
            self.perform(&call, &ListFault::default(), due_ms);
        }
        now
    }

    /// Executes a call and forgets its effect. A repeat with the same client token gets the same answer. A call that
    /// would open or overwrite a disk wrongly is reported.
    fn perform_without_effect(&mut self, call: &Call<'_>, now: i64) -> Answer {
        let Snapshot { model, disks, .. } = self.snapshot(now);
        let answer = self.perform(call, &ListFault::default(), now);
        let changed = std::mem::replace(&mut self.disks, disks);
        self.disks.adopt_records(changed);
        self.model = model;
        answer
    }

    /// Executes a call twice at once and returns the first answer. The rate limit counts one call, so that it never
    /// refuses the second execution.
    fn perform_twice(&mut self, call: &Call<'_>, now: i64) -> Answer {
        if let Err(answer) = self.admit(call, now) {
            return answer;
        }
        let first = self.execute(call, &ListFault::default(), now);
        self.execute(call, &ListFault::default(), now);
        first
    }

    /// Executes a read in a past state.
    fn perform_in_past(&mut self, call: &Call<'_>, past: Snapshot, now: i64) -> Answer {
        if let Err(answer) = self.admit(call, now) {
            return answer;
        }
        let model = std::mem::replace(&mut self.model, past.model);
        let disks = std::mem::replace(&mut self.disks, past.disks);
        let answer = self.execute(call, &ListFault::default(), past.at_ms);
        (self.model, self.disks) = (model, disks);
        answer
    }

    fn perform(&mut self, call: &Call<'_>, lists: &ListFault, now: i64) -> Answer {
        match self.admit(call, now) {
            Ok(()) => self.execute(call, lists, now),
            Err(answer) => answer,
        }
    }

    /// Checks rate limit and permission.
    fn admit(&mut self, call: &Call<'_>, now: i64) -> Result<(), Answer> {
        if let Operation::Metadata(_) = call.operation {
            return Ok(());
        }
        let action = call.operation.action();
        let account = self.account(call.key_id);
        let (second_began, calls) = self.calls.entry((call.region.to_owned(), action, account)).or_insert((now, 0));
        if (now - *second_began).abs() >= 1000 {
            (*second_began, *calls) = (now, 0);
        }
        *calls = calls.saturating_add(1);
        let (limit, code) = call.operation.limit(&self.config);
        if *calls > limit {
            return Err(Answer::throttled(code, &call.incoming.host, self.config.retry_after_ms));
        }
        let denied = &self.config.denied_actions;
        if denied.contains(action) || (denied.contains("*") && call.operation.is_signed()) {
            return Err(self.refusal(&call.operation.denied(), call));
        }
        Ok(())
    }

    fn execute(&mut self, call: &Call<'_>, lists: &ListFault, now: i64) -> Answer {
        let Call { incoming, operation, region, key_id } = call;
        let result = match operation {
            Operation::Metadata(operation) => return operation.perform(incoming, &mut self.sts, now),
            Operation::RocketMq(operation) => operation.perform(incoming, &mut self.model, (region, lists), now),
            Operation::Ebs(operation) => operation.perform(incoming, &mut self.disks, (region, lists), now),
            Operation::Sts(operation) => {
                let caller = self.caller(key_id.unwrap_or_default());
                operation.perform(incoming, &mut self.sts, &caller, now)
            }
        };
        match result {
            Ok(data) => match operation {
                Operation::RocketMq(_) => Answer::success(&data),
                Operation::Ebs(_) | Operation::Sts(_) | Operation::Metadata(_) => Answer::plain_success(data),
            },
            Err(failure) => self.refusal(&failure, call),
        }
    }

    fn refusal(&self, failure: &Failure, call: &Call<'_>) -> Answer {
        Answer::failure(failure, &call.incoming.host, self.config.errors_as_http_200)
    }
}

/// The part of a fault that changes what a read of the present state shows.
fn list_fault(kind: &FaultKind) -> ListFault {
    match kind {
        FaultKind::Gap { ids, counted } => ListFault::gap(ids, *counted),
        FaultKind::ShiftedPages { by } => ListFault::shifted_pages(*by),
        FaultKind::UnknownStatus { ids, status } => ListFault::unknown_status(ids, status),
        FaultKind::WithoutTimestamps { ids } => ListFault::without_timestamps(ids),
        FaultKind::WithoutFetchTimes { ids } => ListFault::without_fetch_times(ids),
        FaultKind::WithoutTopics { ids } => ListFault::without_topics(ids),
        _ => ListFault::default(),
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
