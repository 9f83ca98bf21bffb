//! Which objects each inventory serves. An inventory is one list of the cloud sides of an account and region, read once an interval
//! for all of its objects. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::access::{InventoryKey, Key};
use crate::cloud::error::Class;

/// All inventories of a kind.
#[derive(Clone, Debug, Default)]
pub struct Inventories {
    all: BTreeMap<InventoryKey, Inventory>,
    joined: BTreeMap<Arc<Key>, InventoryKey>,
}

/// One inventory.
#[derive(Clone, Debug)]
struct Inventory {
    /// The objects, with the interval of each.
    members: BTreeMap<Arc<Key>, Duration>,
    /// The number of failed reads in a row, and the class of the last failure.
    failures: (u32, Class),
}

impl Inventories {
    /// Puts an object into its inventory, or takes it out.
    pub fn assign(&mut self, object: &Arc<Key>, inventory: Option<(InventoryKey, Duration)>) {
        let before = self.joined.get(object).cloned();
        if let Some(before) = before.filter(|before| inventory.as_ref().is_none_or(|(key, _)| key != before)) {
            self.joined.remove(object);
            if let Some(left) = self.all.get_mut(&before) {
                left.members.remove(object);
                if left.members.is_empty() {
                    self.all.remove(&before);
                }
            }
        }
        if let Some((key, interval)) = inventory {
            self.joined.insert(object.clone(), key.clone());
            let new = || Inventory { members: BTreeMap::new(), failures: (0, Class::Unavailable) };
            self.all.entry(key).or_insert_with(new).members.insert(object.clone(), interval);
        }
    }

    /// The objects of an inventory.
    pub fn members(&self, inventory: &InventoryKey) -> BTreeSet<Arc<Key>> {
        self.all.get(inventory).map(|it| it.members.keys().cloned().collect()).unwrap_or_default()
    }

    /// The interval of an inventory: the shortest of its objects. `None` for one without objects.
    pub fn interval(&self, inventory: &InventoryKey) -> Option<Duration> {
        self.all.get(inventory)?.members.values().min().copied()
    }

    /// Records the outcome of a read. Returns the number of failures in a row.
    pub fn record(&mut self, inventory: &InventoryKey, failure: Option<Class>) -> u32 {
        let Some(it) = self.all.get_mut(inventory) else { return 0 };
        it.failures = failure.map_or((0, it.failures.1), |class| (it.failures.0 + 1, class));
        it.failures.0
    }

    /// The number of failed reads in a row, and the class of the last failure.
    pub fn failures(&self, inventory: &InventoryKey) -> Option<(u32, Class)> {
        self.all.get(inventory).map(|it| it.failures).filter(|(times, _)| *times > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str) -> Arc<Key> {
        Arc::new(("a".to_owned(), name.to_owned()))
    }

    fn minutes(count: u64) -> Duration {
        Duration::from_secs(60 * count)
    }

    fn names(inventories: &Inventories, inventory: &InventoryKey) -> Vec<String> {
        inventories.members(inventory).iter().map(|it| it.1.clone()).collect()
    }

    #[test]
    fn object_is_in_one_inventory() {
        let [one, other] = ["one", "other"].map(InventoryKey::for_test);
        let mut all = Inventories::default();
        for (name, inventory, minute) in [("x", &one, 5), ("y", &one, 2), ("z", &other, 1)] {
            all.assign(&object(name), Some((inventory.clone(), minutes(minute))));
        }
        assert_eq!((names(&all, &one), names(&all, &other)), (vec!["x".into(), "y".into()], vec!["z".into()]));
        // The credentials of one object change.
        all.assign(&object("y"), Some((other.clone(), minutes(2))));
        assert_eq!((names(&all, &one), names(&all, &other)), (vec!["x".into()], vec!["y".into(), "z".into()]));
        for name in ["x", "y", "z", "never-there"] {
            all.assign(&object(name), None);
        }
        assert_eq!((all.interval(&one), all.interval(&other)), (None, None));
        assert!(all.all.is_empty() && all.joined.is_empty());
    }

    #[test]
    fn shortest_interval_of_objects_counts() {
        let inventory = InventoryKey::for_test("one");
        let mut all = Inventories::default();
        type Change = (&'static str, Option<u64>, Option<u64>);
        let changes: [Change; 5] = [
            ("x", Some(5), Some(5)),
            ("y", Some(1), Some(1)),
            ("y", Some(9), Some(5)),
            ("x", None, Some(9)),
            ("y", None, None),
        ];
        for (name, minute, expected) in changes {
            all.assign(&object(name), minute.map(|minute| (inventory.clone(), minutes(minute))));
            assert_eq!(all.interval(&inventory), expected.map(minutes), "{name} {minute:?}");
        }
    }

    #[test]
    fn failures_in_row_are_counted() {
        let inventory = InventoryKey::for_test("one");
        let mut all = Inventories::default();
        assert_eq!(all.record(&inventory, Some(Class::Denied)), 0, "an inventory without objects");
        all.assign(&object("x"), Some((inventory.clone(), minutes(1))));
        for (failure, expected) in [
            (Some(Class::Unavailable), Some((1, Class::Unavailable))),
            (Some(Class::Denied), Some((2, Class::Denied))),
            (None, None),
            (Some(Class::Unavailable), Some((1, Class::Unavailable))),
        ] {
            all.record(&inventory, failure);
            assert_eq!(all.failures(&inventory), expected, "{failure:?}");
        }
        // A change of an object forgets no failure.
        all.assign(&object("y"), Some((inventory.clone(), minutes(1))));
        assert_eq!(all.failures(&inventory), Some((1, Class::Unavailable)));
    }
}
