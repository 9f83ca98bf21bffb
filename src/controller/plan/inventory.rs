//! The inventory of plans: one list that serves every object of an account and region. A plan in it is compared with what the last
//! reconcile observed. Pure.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Scope, binding, resolve};
use crate::cloud::list::List;
use crate::cloud::rocketmq::{PlanStatus, PlanView};
use crate::controller::ownership::{self, MarkHash};
use crate::controller::resource::Listed;

/// The number of inventories with the same difference between Get and List until it counts as one of representation.
const MAX_MISMATCHES: u8 = 3;

/// A plan in an inventory. It is small: there may be ten thousand of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlanEntry {
    plan_id: i64,
    fingerprint: u64,
    deleted: bool,
    mark: Option<MarkHash>,
}

impl PlanEntry {
    /// The entry of a plan.
    pub fn of(plan: &PlanView) -> Self {
        Self {
            plan_id: plan.plan_id,
            fingerprint: fingerprint(plan),
            deleted: plan.plan_status == PlanStatus::Deleted,
            mark: plan.plan_desc.as_deref().and_then(ownership::found_mark).map(MarkHash::of),
        }
    }
}

/// All plans of an account and region, as hashes.
#[derive(Debug, Default)]
pub struct Inventory {
    complete: bool,
    /// The hash of each plan, sorted by its ID.
    plans: Vec<(i64, u64)>,
    /// The plans with an owner mark, sorted by its hash.
    marked: Vec<(MarkHash, i64)>,
}

impl Inventory {
    /// The inventory of a list.
    pub fn new(list: &List<PlanEntry>) -> Self {
        let living = || list.entries().iter().filter(|plan| !plan.deleted);
        let mut plans: Vec<_> = living().map(|plan| (plan.plan_id, plan.fingerprint)).collect();
        let mut marked: Vec<_> = living().filter_map(|plan| Some((plan.mark?, plan.plan_id))).collect();
        plans.sort_unstable();
        marked.sort_unstable();
        Self { complete: list.is_complete(), plans, marked }
    }

    /// The fingerprint of a plan.
    fn fingerprint(&self, plan_id: i64) -> Option<u64> {
        let at = self.plans.binary_search_by_key(&plan_id, |plan| plan.0).ok()?;
        Some(self.plans[at].1)
    }

    /// The plans with a mark, sorted.
    fn marked(&self, mark: &str) -> impl Iterator<Item = i64> {
        let mark = MarkHash::of(mark);
        let begin = self.marked.partition_point(|it| it.0 < mark);
        self.marked[begin..].iter().take_while(move |it| it.0 == mark).map(|it| it.1)
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
    pub twins: Box<[i64]>,
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
    let twins: Vec<_> = inventory.marked(&mark).filter(|id| *id != plan_id).collect();
    let known_twins: Vec<_> = scope.status.twins.iter().filter_map(|id| binding::parse_id(Some(id))).collect();
    let new_twin = twins.iter().any(|id| !known_twins.contains(id));
    known.twins = twins.into();
    match inventory.fingerprint(plan_id) {
        Some(listed) => {
            known.read(listed);
            if known.differs() || new_twin { Listed::Differs } else { Listed::Same }
        }
        None if inventory.complete || new_twin => Listed::Differs,
        None => Listed::NotShown,
    }
}

/// A hash of all that decisions compare. The order of the instances does not matter.
fn fingerprint(plan: &PlanView) -> u64 {
    let PlanView {
        plan_id,
        plan_status,
        plan_name,
        plan_desc,
        plan_type,
        instances,
        auto_sync_checkpoint,
        sync_checkpoint_enabled,
    } = plan;
    let mut hasher = DefaultHasher::new();
    (plan_id, plan_status, plan_name, plan_desc, plan_type).hash(&mut hasher);
    (instances.len(), resolve::unordered(instances), auto_sync_checkpoint, sync_checkpoint_enabled).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

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
        let changes: [(&str, Change, bool); 13] = [
            ("nothing", |_| {}, true),
            ("order of instances", |plan| plan.instances.reverse(), true),
            ("name", |plan| plan.plan_name = Some("y".into()), false),
            ("description", |plan| plan.plan_desc = None, false),
            ("status", |plan| plan.plan_status = PlanStatus::Other("MIGRATING".into()), false),
            ("type", |plan| plan.plan_type = None, false),
            ("synchronization", |plan| plan.sync_checkpoint_enabled = None, false),
            ("instance", |plan| plan.instances[1].username = Some("other".into()), false),
            ("other instance", |plan| plan.instances[0].username = Some("other".into()), false),
            ("password", |plan| plan.instances[1].password = Some(SecretString::from("other").into()), false),
            ("fields of instances", |plan| plan.instances[0].region_id = plan.instances[0].instance_id.take(), false),
            ("fewer instances", |plan| drop(plan.instances.pop()), false),
            ("an empty instance", |plan| plan.instances.push(Instance::default()), false),
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
        let all = [plan(1, "x", mark), plan(2, "y", ""), plan(3, "z", &format!("Orders {mark}")), gone];
        let kept: Vec<_> = all.iter().map(PlanEntry::of).collect();
        let inventory = Inventory::new(&List::Complete(kept.clone()));
        assert_eq!(inventory.marked(mark).collect::<Vec<_>>(), [1, 3]);
        assert_eq!((inventory.marked("[drp 0a1b2c3d/messaging/other]").count(), inventory.marked.len()), (0, 2));
        assert!(inventory.complete && inventory.plans.len() == 3);
        for plan in &all[..3] {
            assert_eq!(inventory.fingerprint(plan.plan_id), Some(fingerprint(plan)));
        }
        assert_eq!((inventory.fingerprint(4), inventory.fingerprint(5)), (None, None));
        assert!(!Inventory::new(&List::Incomplete(kept)).complete);
    }
}
