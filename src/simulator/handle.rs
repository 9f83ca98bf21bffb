//! The handle to a simulated cloud.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cloud::Cloud;
use super::config::{AccessKey, Config};
use super::faults::Fault;
use super::model::ebs::Disks;
use super::model::sts::Sts;
use super::model::{Model, PlanView};
use super::record::RequestRecord;

/// One simulated cloud. A clone is a handle to the same cloud.
#[derive(Clone)]
pub struct Simulator(Arc<Mutex<Cloud>>);

impl Simulator {
    /// A cloud without plans.
    pub fn new(config: Config) -> Simulator {
        Simulator(Arc::new(Mutex::new(Cloud::new(config))))
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

    pub(super) fn lock(&self) -> MutexGuard<'_, Cloud> {
        // A test that failed inside with_model must not hide its own message behind a poisoned lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
