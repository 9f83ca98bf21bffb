//! The inventories of an observer: each is one list that serves all objects of an account and region.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::Observer;
use super::jobs::Job;
use crate::cloud::error::{Class, Error};
use crate::cloud::rate_limit::Priority;
use crate::controller::access::{InventoryKey, Key};
use crate::controller::evidence::agenda::Due;
use crate::controller::object::{ObjectHandle, POLLS_OF_EVIDENCE, later};
use crate::controller::requeue::Intervals;
use crate::controller::resource::{Listed, Resource};

impl<K: Resource> Observer<K> {
    /// Reads an inventory, and compares each of its objects with it.
    pub(super) async fn list(&self, inventory: &InventoryKey) {
        let members = self.with_state(|state| state.inventories.members(inventory));
        let Some(interval) = self.with_state(|state| state.inventories.interval(inventory)) else { return };
        let started = self.ctx.clock.now();
        let outcome = self.read_inventory(inventory, &members).await;
        // Objects may have left meanwhile.
        let members: Vec<_> = self.with_state(|state| {
            let now = state.inventories.members(inventory);
            members.into_iter().filter(|object| now.contains(object)).collect()
        });
        let Some(outcome) = outcome else {
            // No object has these credentials any more: a reconcile finds the cause.
            for object in &members {
                (self.wake)(object);
            }
            return;
        };
        match outcome {
            Ok(listed) => {
                self.with_state(|state| state.inventories.record(inventory, None));
                for object in &members {
                    self.compare(object, &listed, later(started, interval * POLLS_OF_EVIDENCE));
                }
            }
            Err(error) => {
                let failures = self.with_state(|state| state.inventories.record(inventory, Some(error.class)));
                tracing::warn!(kind = K::KIND, objects = members.len(), failures, %error, "inventory not read");
                let passes = matches!(error.class, Class::Throttled { .. } | Class::Unavailable | Class::Ambiguous);
                // One transient failure is not worth a write of every object.
                if passes && failures < 2 {
                    return;
                }
                for object in members.iter().filter(|object| (self.find)(object).is_some()) {
                    let known = self.remember(object, |memory| {
                        let known = memory
                            .unlisted
                            .as_ref()
                            .is_some_and(|it| (it.class, &it.code) == (error.class, &error.code));
                        if !known {
                            memory.unlisted = Some(Box::new(error.clone()));
                        }
                        known
                    });
                    if !known {
                        self.refresh_soon(object);
                    }
                }
            }
        }
    }

    /// Reads an inventory with the credentials of one of its objects. `None` where none of them has these credentials now.
    async fn read_inventory(
        &self,
        inventory: &InventoryKey,
        members: &BTreeSet<Arc<Key>>,
    ) -> Option<Result<K::Inventory, Error>> {
        for object in members {
            let Some(found) = self.object(object) else { continue };
            let management = found.management();
            let Ok(access) = self.ctx.accounts.access(&object.0, management.account).await else { continue };
            if access.inventory_key(K::DESCRIPTOR.product, management.region) != *inventory {
                continue;
            }
            let cloud = found.cloud(&access, Priority::Sample);
            return Some(K::inventory(&cloud).await);
        }
        None
    }

    fn compare(&self, object: &Key, inventory: &K::Inventory, until: Timestamp) {
        let Some(found) = self.object(object) else { return };
        let handle = ObjectHandle::new(&self.ctx, found.clone());
        let scope = handle.scope(&found);
        let now = scope.now;
        let key = handle.key();
        let listed = self.ctx.update_evidence::<K, _>(&key, |evidence| K::compare(&scope, evidence, inventory));
        let wake = match listed {
            Listed::Same => self.remember(object, |memory| {
                // A reconcile concludes expired conditions again.
                let expired = memory.observed_until().is_none_or(|until| until <= now);
                memory.listed_until = memory.listed_until.get().max(Some(until)).into();
                memory.unlisted.take().is_some() || expired
            }),
            Listed::Differs => true,
            Listed::NotShown => false,
        };
        if wake {
            (self.wake)(object);
        }
    }

    pub(super) fn schedule_inventory(&self, inventory: &InventoryKey) {
        let members = self.with_state(|state| state.inventories.members(inventory));
        let place = members.iter().find_map(|object| {
            let found = self.object(object)?;
            let management = found.management();
            Some(management.lane(&object.0))
        });
        let now = self.ctx.clock.now();
        let intervals = Intervals::new(Duration::ZERO, &self.ctx.settings);
        self.with_state(|state| {
            let (Some(interval), Some(place)) = (state.inventories.interval(inventory), place) else { return };
            let wait = match state.inventories.failures(inventory) {
                None => interval,
                Some((times, class)) => intervals.failed_read(class, times),
            };
            let (at, lane) = (later(now, wait), Some(state.lane(place)));
            state.agenda.set(Job::Inventory(inventory.clone()), Due { at, expires: at, renews: true, lane });
        });
    }
}
