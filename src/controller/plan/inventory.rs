//! The inventory of plans: one list that serves every object of an account and region. A plan in it is compared with what the last
//! reconcile observed. Pure.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Scope, binding};
use crate::cloud::list::List;
use crate::cloud::rocketmq::{PlanStatus, PlanView};
use crate::controller::ownership;
use crate::controller::resource::Listed;

/// The number of inventories with the same difference between Get and List until it counts as one of representation.
const MAX_MISMATCHES: u8 = 3;

/// All plans of an account and region, as hashes.
#[derive(Debug, Default)]
pub struct Inventory {
    complete: bool,
    plans: HashMap<i64, u64>,
    /// The plans with each owner mark.
    marked: BTreeMap<String, Vec<i64>>,
}

impl Inventory {
    /// The inventory of a list.
    pub fn new(list: List<PlanView>) -> Self {
        let mut inventory = Self { complete: list.is_complete(), ..Self::default() };
        for plan in list.into_entries().iter().filter(|plan| plan.plan_status != PlanStatus::Deleted) {
            inventory.plans.insert(plan.plan_id, fingerprint(plan));
            if let Some(mark) = plan.plan_desc.as_deref().and_then(ownership::found_mark) {
                inventory.marked.entry(mark.to_owned()).or_default().push(plan.plan_id);
            }
        }
        inventory
    }
}

/// What Get and List show of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListedPlan {
    plan_id: Option<i64>,
    /// The plan in the last reconcile.
    got: Option<u64>,
    /// The plan in the last inventory.
    listed: Option<u64>,
    /// The same pairs of both in a row, after reconciles that followed an inventory.
    mismatches: u8,
    /// Whether an inventory was read since the last reconcile.
    relisted: bool,
    /// The pair that the last reconcile left.
    last: Option<(u64, u64)>,
    /// The other plans with this object's mark.
    pub twins: Vec<i64>,
}

impl ListedPlan {
    /// Records the plan that a reconcile observed.
    pub fn observed(&mut self, plan: Option<&PlanView>) {
        let plan_id = plan.map(|plan| plan.plan_id);
        if self.plan_id != plan_id {
            *self = Self { plan_id, twins: std::mem::take(&mut self.twins), ..Self::default() };
        }
        self.got = plan.map(fingerprint);
        let pair = self.got.zip(self.listed);
        // An inventory from before a change says nothing about how the API represents the plan.
        let relisted = u8::from(std::mem::take(&mut self.relisted));
        self.mismatches = match pair.filter(|(got, listed)| got != listed) {
            Some(pair) if self.last == Some(pair) => self.mismatches.saturating_add(relisted),
            Some(_) => relisted,
            None => 0,
        };
        self.last = pair;
    }

    /// Records the plan in an inventory.
    fn read(&mut self, listed: u64) {
        (self.listed, self.relisted) = (Some(listed), true);
    }

    fn differs(&self) -> bool {
        self.got != self.listed && !(self.last == self.got.zip(self.listed) && self.mismatches >= MAX_MISMATCHES)
    }
}

/// Compares an inventory with what the last reconcile observed.
pub fn compare(scope: &Scope<'_>, known: &mut ListedPlan, inventory: &Inventory) -> Listed {
    let Some(plan_id) = known.plan_id else { return Listed::NotShown };
    let mark = ownership::mark(scope.cluster_id, scope.namespace(), scope.name());
    let mut twins = inventory.marked.get(&mark).cloned().unwrap_or_default();
    twins.retain(|id| *id != plan_id);
    twins.sort_unstable();
    let known_twins: Vec<_> = scope.status.twins.iter().filter_map(|id| binding::parse_id(Some(id))).collect();
    let new_twin = twins.iter().any(|id| !known_twins.contains(id));
    known.twins = twins;
    match inventory.plans.get(&plan_id) {
        Some(listed) => {
            known.read(*listed);
            if known.differs() || new_twin { Listed::Differs } else { Listed::Same }
        }
        None if inventory.complete || new_twin => Listed::Differs,
        None => Listed::NotShown,
    }
}

/// A hash of all that decisions compare. The order of the instances does not matter.
fn fingerprint(plan: &PlanView) -> u64 {
    let mut instances: Vec<_> = plan
        .instances
        .iter()
        // Debug output has no password.
        .map(|it| (format!("{it:?}"), it.password.as_ref().map(|password| password.expose().to_owned())))
        .collect();
    instances.sort();
    let mut hasher = DefaultHasher::new();
    format!("{:?}", PlanView { instances: vec![], ..plan.clone() }).hash(&mut hasher);
    instances.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::rocketmq::Instance;

    fn plan(plan_id: i64, name: &str, desc: &str) -> PlanView {
        let instance = |id: &str| Instance { instance_id: Some(id.to_owned()), ..Instance::default() };
        PlanView {
            plan_id,
            plan_status: PlanStatus::Running,
            plan_name: Some(name.to_owned()),
            plan_desc: Some(desc.to_owned()),
            plan_type: Some("ACTIVE_PASSIVE".to_owned()),
            instances: vec![instance("rmq-a"), instance("rmq-b")],
            auto_sync_checkpoint: Some(true),
            sync_checkpoint_enabled: Some(true),
        }
    }

    /// Whether each inventory wakes the object, which then observes a plan. Both plans are of the same ID.
    fn wakes<const N: usize>(known: &mut ListedPlan, pairs: [(&str, &str); N]) -> [bool; N] {
        pairs.map(|(listed, got)| {
            known.read(fingerprint(&plan(1, listed, "")));
            let wakes = known.differs();
            if wakes {
                known.observed(Some(&plan(1, got, "")));
            }
            wakes
        })
    }

    /// What is known after a reconcile that observed a plan of this name.
    fn observed(name: &str) -> ListedPlan {
        let mut known = ListedPlan::default();
        known.observed(Some(&plan(1, name, "")));
        known
    }

    #[test]
    fn same_representation_wakes_by_difference() {
        let pairs = [("x", "x"), ("y", "y"), ("y", "y"), ("x", "x"), ("x", "x")];
        assert_eq!(wakes(&mut observed("x"), pairs), [false, true, false, true, false]);
    }

    #[test]
    fn other_representation_wakes_three_times() {
        let mut known = observed("x");
        assert_eq!(wakes(&mut known, [("X", "x"); 5]), [true, true, true, false, false]);
        // Another plan in the list is a difference again.
        assert_eq!(wakes(&mut known, [("Y", "y"); 5]), [true, true, true, false, false]);
    }

    #[test]
    fn reconciles_without_inventory_prove_no_representation() {
        let mut known = observed("x");
        known.read(fingerprint(&plan(1, "x", "")));
        // The operator renames the plan, and several reconciles follow.
        (0..10).for_each(|_| known.observed(Some(&plan(1, "y", ""))));
        assert_eq!(wakes(&mut known, [("x", "x")]), [true], "another actor restored the name");
    }

    #[test]
    fn other_plan_begins_anew() {
        let mut known = observed("x");
        wakes(&mut known, [("X", "x"); 4]);
        known.observed(Some(&plan(2, "x", "")));
        known.read(fingerprint(&plan(2, "X", "")));
        assert!(known.differs());
        known.observed(None);
        assert_eq!((known.plan_id, known.got), (None, None));
    }

    #[test]
    fn fingerprint_has_what_decisions_compare() {
        let known = plan(1, "x", "desc");
        type Change = fn(&mut PlanView);
        let changes: [(&str, Change, bool); 8] = [
            ("nothing", |_| {}, true),
            ("order of instances", |plan| plan.instances.reverse(), true),
            ("name", |plan| plan.plan_name = Some("y".into()), false),
            ("description", |plan| plan.plan_desc = None, false),
            ("status", |plan| plan.plan_status = PlanStatus::Other("MIGRATING".into()), false),
            ("type", |plan| plan.plan_type = None, false),
            ("synchronization", |plan| plan.sync_checkpoint_enabled = None, false),
            ("instance", |plan| plan.instances[1].username = Some("other".into()), false),
        ];
        for (name, change, same) in changes {
            let mut changed = known.clone();
            change(&mut changed);
            assert_eq!(fingerprint(&changed) == fingerprint(&known), same, "{name}");
        }
    }

    #[test]
    fn inventory_has_living_plans_by_mark() {
        let mark = "[drp 0a1b2c3d/messaging/orders]";
        let gone = PlanView { plan_status: PlanStatus::Deleted, ..plan(4, "w", mark) };
        let all = vec![plan(1, "x", mark), plan(2, "y", ""), plan(3, "z", &format!("Orders {mark}")), gone];
        let inventory = Inventory::new(List::Complete(all.clone()));
        assert_eq!(inventory.marked.into_iter().collect::<Vec<_>>(), [(mark.to_owned(), vec![1, 3])]);
        assert!(inventory.complete && inventory.plans.len() == 3 && !inventory.plans.contains_key(&4));
        assert!(!Inventory::new(List::Incomplete(all)).complete);
    }
}
