//! The handle to a simulated cloud.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cloud::Cloud;
use super::config::{AccessKey, Config};
use super::faults::Fault;
use super::model::ebs::Disks;
use super::model::sts::Sts;
use super::model::{Model, PlanView};
use super::record::{RequestCounts, RequestRecord};
use super::totals::Totals;

/// One simulated cloud. A clone is a handle to the same cloud.
#[derive(Clone)]
pub struct Simulator(Arc<Mutex<Cloud>>);

impl Simulator {
    /// A cloud without plans.
    pub fn new(config: Config) -> Simulator {
        Simulator(Arc::new(Mutex::new(Cloud::new(config))))
    }

    /// Adds a fault behind the existing ones.
    pub fn add_fault(&self, fault: Fault) {
        let mut cloud = self.lock();
        cloud.execute_late();
        let now = cloud.now();
        let state = cloud.snapshot(now);
        cloud.faults.add(fault, state);
    }

    /// Removes the faults that `over` selects.
    pub fn remove_faults(&self, over: impl Fn(&Fault) -> bool) {
        self.lock().faults.remove(over);
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.lock().faults.clear();
    }

    /// All requests since the start or the last [`Simulator::clear_requests`], in order, without those of the admin
    /// API. At most the last 20,000.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.lock().requests.iter().cloned().collect()
    }

    /// The requests among [`Simulator::requests`] that arrived at this time, ms since the epoch, or later and change the cloud.
    pub fn changes_since(&self, since_ms: i64) -> Vec<RequestRecord> {
        let cloud = self.lock();
        let recent = cloud.requests.iter().rev().take_while(|it| it.at_ms >= since_ms);
        let mut changes: Vec<_> = recent.filter(|it| it.changing).cloned().collect();
        changes.reverse();
        changes
    }

    /// The number of all requests by action since the start or the last [`Simulator::clear_requests`], without those of
    /// the admin API.
    pub fn request_counts(&self) -> RequestCounts {
        self.lock().request_counts.clone()
    }

    /// Deletes the records and counts of all requests.
    pub fn clear_requests(&self) {
        let mut cloud = self.lock();
        cloud.requests.clear();
        cloud.request_counts = RequestCounts::default();
    }

    /// The number of everything that there is, which costs less than to show it.
    pub fn totals(&self) -> Totals {
        let mut cloud = self.lock();
        let now = cloud.execute_late();
        cloud.model.advance(now);
        cloud.disks.advance(now);
        Totals::of(&cloud.model, &cloud.disks)
    }

    /// All plans of all regions with items, checkpoints and clear passwords, for assertions; includes plans that are
    /// not visible yet.
    pub fn plans(&self) -> Vec<PlanView> {
        self.with_model(Model::inspect)
    }

    /// Advances the model to now and calls `f` with it and now, ms since the epoch. The simulator serves no request
    /// meanwhile.
    pub fn with_model<R>(&self, f: impl FnOnce(&mut Model, i64) -> R) -> R {
        let mut cloud = self.lock();
        let now = cloud.execute_late();
        cloud.model.advance(now);
        f(&mut cloud.model, now)
    }

    /// The model, locked: the simulator serves no request before it is dropped.
    pub fn model(&self) -> ModelGuard<'_> {
        let mut cloud = self.lock();
        let now = cloud.execute_late();
        cloud.model.advance(now);
        ModelGuard(cloud)
    }

    /// Advances the disks to now and calls `f` with them and now, ms since the epoch. The simulator serves no request
    /// meanwhile.
    pub fn with_disks<R>(&self, f: impl FnOnce(&mut Disks, i64) -> R) -> R {
        let mut cloud = self.lock();
        let now = cloud.execute_late();
        cloud.disks.advance(now);
        f(&mut cloud.disks, now)
    }

    /// Calls `f` with the token service and now, ms since the epoch. The simulator serves no request meanwhile.
    pub fn with_sts<R>(&self, f: impl FnOnce(&mut Sts, i64) -> R) -> R {
        let mut cloud = self.lock();
        let now = cloud.now();
        f(&mut cloud.sts, now)
    }

    /// Sets the simulator's clock `ms` ahead of the configured one, or behind when negative. Times that it has recorded
    /// stay.
    pub fn set_clock_offset_ms(&self, ms: i64) {
        self.lock().clock_offset_ms = ms;
    }

    /// Current time of the simulator's clock, ms since the epoch.
    pub fn now_ms(&self) -> i64 {
        self.lock().now()
    }

    /// Replaces the permanent access keys, as a rotation does. Keys that STS issued stay valid.
    pub fn set_keys(&self, keys: Vec<AccessKey>) {
        self.lock().config.keys = keys;
    }

    /// Replaces the set of actions that answer `NoPermission` (EBS: `Forbidden.Action`); `*` means all signed actions.
    pub fn set_denied_actions<T: Into<String>>(&self, actions: impl IntoIterator<Item = T>) {
        self.lock().config.denied_actions = actions.into_iter().map(Into::into).collect();
    }

    /// Sets the allowed calls a second of RocketMQ and EBS for each region, action and account.
    pub fn set_rate_limit(&self, per_second: u32) {
        let config = &mut self.lock().config;
        (config.rate_limit_per_second, config.ebs_rate_limit_per_second) = (per_second, per_second);
    }

    /// Sets the allowed calls a second of STS for each region, action and account.
    pub fn set_sts_rate_limit(&self, per_second: u32) {
        self.lock().config.sts_rate_limit_per_second = per_second;
    }

    /// The region of requests to a loopback address.
    pub fn default_region(&self) -> String {
        self.lock().config.default_region.clone()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Cloud> {
        // A test that fails inside with_model must show its own message, not that of a poisoned lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The locked model of a simulator.
pub struct ModelGuard<'a>(MutexGuard<'a, Cloud>);

impl Deref for ModelGuard<'_> {
    type Target = Model;

    fn deref(&self) -> &Model {
        &self.0.model
    }
}

impl DerefMut for ModelGuard<'_> {
    fn deref_mut(&mut self) -> &mut Model {
        &mut self.0.model
    }
}
