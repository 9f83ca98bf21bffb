//! Concurrency limits. Each account and region has workers of its own, so that a region or credentials that do not answer delay no
//! others. Among the objects of one account and region no namespace takes all workers, and polls leave some to edits.
//!
//! Objects without a permit wait here. kube's runner polls each of its reconciles at every wake: thousands that wait in it would take
//! most of its time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::controller::Settings;
use crate::controller::access::Key;
use crate::controller::resource::Lane;

/// Maximum number of workers of a lane that one namespace takes: a quarter is left to others. A namespace that is watched by its name
/// has its own workers.
fn max_per_namespace(settings: &Settings) -> u16 {
    let Settings { workers, namespaces, .. } = settings;
    if namespaces.is_empty() { workers - workers / 4 } else { *workers }
}

/// What a reconcile needs a permit for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::controller) struct Need {
    pub(in crate::controller) lane: Lane,
    pub(in crate::controller) namespace: String,
    /// Whether the reconcile only polls the cloud.
    pub(in crate::controller) polls: bool,
}

/// Limits the concurrent reconciles of a kind.
pub(in crate::controller) struct Limits {
    per_lane: usize,
    per_namespace: usize,
    state: Mutex<State>,
    /// The objects that got a permit after they waited for it.
    granted: mpsc::UnboundedSender<Key>,
}

/// Permission for one reconcile. Dropping it returns it.
pub(in crate::controller) struct Permit {
    limits: Arc<Limits>,
    need: Arc<Need>,
    /// Whether another reconcile may have begun in place of this one.
    gave_way: AtomicBool,
}

tokio::task_local! {
    /// The permit of the reconcile that runs.
    static PERMIT: Permit;
}

/// Runs a reconcile with its permit, which is returned in the end.
pub(in crate::controller) async fn with_permit<R>(permit: Permit, reconcile: impl Future<Output = R>) -> R {
    PERMIT.scope(permit, reconcile).await
}

/// Lets another reconcile begin in place of the one that runs, which has made its changes and waits for their effect. At most half as
/// many as there are workers, of a lane and for one namespace, end in this way at a time: each may hold a large answer in memory. Further
/// ones and polls keep their permit.
pub(in crate::controller) fn give_way() {
    PERMIT.try_with(Permit::give_way).unwrap_or_default();
}

#[derive(Default)]
struct State {
    lanes: HashMap<Lane, Workers>,
    tickets: HashMap<Arc<Key>, Ticket>,
    /// The needs of the tickets, each once.
    needs: HashSet<Arc<Need>>,
    /// The number of objects that ever waited, by which they are in order.
    waited: u64,
}

/// An object that waits, or that has a permit and has not begun.
#[derive(Debug)]
enum Ticket {
    Waits { need: Arc<Need>, since: u64 },
    Granted(Arc<Need>),
}

/// The workers of one lane.
#[derive(Default)]
struct Workers {
    busy: Busy,
    /// The reconciles that gave way.
    ending: usize,
    namespaces: HashMap<String, Tenant>,
}

/// The objects of one namespace in one lane.
#[derive(Default)]
struct Tenant {
    busy: Busy,
    /// Those of the reconciles that gave way.
    ending: usize,
    edits: BTreeMap<u64, Arc<Key>>,
    polls: BTreeMap<u64, Arc<Key>>,
}

/// Permits in use.
#[derive(Clone, Copy, Default)]
struct Busy {
    all: usize,
    polls: usize,
}

impl Busy {
    /// Whether one more permit stays within a limit. Polls leave one place, where there are two.
    fn has_place(self, limit: usize, polls: bool) -> bool {
        self.all < limit && (!polls || self.polls < (limit - 1).max(1))
    }

    fn take(&mut self, polls: bool) {
        self.all += 1;
        self.polls += usize::from(polls);
    }

    fn give_back(&mut self, polls: bool) {
        self.all -= 1;
        self.polls -= usize::from(polls);
    }
}

impl Tenant {
    fn waiting(&mut self, polls: bool) -> &mut BTreeMap<u64, Arc<Key>> {
        if polls { &mut self.polls } else { &mut self.edits }
    }

    fn is_idle(&self) -> bool {
        self.busy.all == 0 && self.ending == 0 && self.edits.is_empty() && self.polls.is_empty()
    }
}

impl Workers {
    /// The object that gets the next permit: of the namespace with the fewest reconciles in progress, the one that waits longest.
    fn next(&self, per_lane: usize, per_namespace: usize) -> Option<(String, bool, u64)> {
        let mut best: Option<(usize, u64, &String, bool)> = None;
        for (namespace, tenant) in &self.namespaces {
            for (polls, waiting) in [(false, &tenant.edits), (true, &tenant.polls)] {
                let Some(since) = waiting.keys().next() else { continue };
                let has_place = self.busy.has_place(per_lane, polls) && tenant.busy.has_place(per_namespace, polls);
                let order = (tenant.busy.all + tenant.ending, *since);
                if has_place && best.is_none_or(|(busy, since, ..)| order < (busy, since)) {
                    best = Some((order.0, order.1, namespace, polls));
                }
            }
        }
        best.map(|(_, since, namespace, polls)| (namespace.clone(), polls, since))
    }
}

impl State {
    fn tenant(&mut self, need: &Need) -> &mut Tenant {
        let workers = self.lanes.entry(need.lane.clone()).or_default();
        workers.namespaces.entry(need.namespace.clone()).or_default()
    }

    fn wait(&mut self, key: &Key, need: Need) {
        let since = self.waited;
        self.waited += 1;
        let (key, need) = (Arc::new(key.clone()), self.shared(need));
        self.tenant(&need).waiting(need.polls).insert(since, key.clone());
        self.tickets.insert(key, Ticket::Waits { need, since });
    }

    /// A need, which thousands of tickets share.
    fn shared(&mut self, need: Need) -> Arc<Need> {
        if let Some(known) = self.needs.get(&need) {
            return known.clone();
        }
        // Nothing is kept of needs without tickets.
        self.needs.retain(|it| Arc::strong_count(it) > 1);
        let need = Arc::new(need);
        self.needs.insert(need.clone());
        need
    }

    /// Drops the ticket of an object. Returns the lane whose permits are to be given.
    fn drop_ticket(&mut self, key: &Key) -> Option<Lane> {
        match self.tickets.remove(key)? {
            Ticket::Waits { need, since } => {
                self.tenant(&need).waiting(need.polls).remove(&since);
                Some(need.lane.clone())
            }
            Ticket::Granted(need) => {
                self.give_back(&need);
                Some(need.lane.clone())
            }
        }
    }

    fn give_back(&mut self, need: &Need) {
        let workers = self.lanes.entry(need.lane.clone()).or_default();
        workers.busy.give_back(need.polls);
        workers.namespaces.entry(need.namespace.clone()).or_default().busy.give_back(need.polls);
    }
}

impl Limits {
    /// The limits of the command line, and the objects whose reconciles begin after they waited.
    pub(in crate::controller) fn new(settings: &Settings) -> (Self, mpsc::UnboundedReceiver<Key>) {
        Self::of(settings.workers, max_per_namespace(settings))
    }

    fn of(per_lane: u16, per_namespace: u16) -> (Self, mpsc::UnboundedReceiver<Key>) {
        let at_least_one = |limit: u16| usize::from(limit.max(1));
        let (granted, begun) = mpsc::unbounded_channel();
        let (per_lane, per_namespace) = (at_least_one(per_lane), at_least_one(per_namespace));
        (Self { per_lane, per_namespace, state: Mutex::default(), granted }, begun)
    }

    /// A permit for what an object needs now. `None` where it must wait: it is received once it has a permit, and begins then.
    pub(in crate::controller) fn begin(self: &Arc<Self>, key: &Key, need: Need) -> Option<Permit> {
        let mut state = self.lock();
        let waits_for_it = matches!(state.tickets.get(key), Some(Ticket::Waits { need: same, .. }) if **same == need);
        if waits_for_it {
            return None;
        }
        match state.tickets.get(key) {
            Some(Ticket::Granted(same)) if **same == need => {}
            // It needs something else than before.
            _ => {
                let former = state.drop_ticket(key);
                let lane = need.lane.clone();
                state.wait(key, need);
                for lane in former.into_iter().filter(|former| *former != lane).chain([lane.clone()]) {
                    self.grant(&mut state, &lane, Some(key));
                }
            }
        }
        match state.tickets.remove_entry(key)? {
            (_, Ticket::Granted(need)) => Some(Permit { limits: self.clone(), need, gave_way: AtomicBool::new(false) }),
            (key, waits @ Ticket::Waits { .. }) => {
                state.tickets.insert(key, waits);
                None
            }
        }
    }

    /// Drops an object that no longer waits for a permit, or that does not use the one that it has.
    pub(in crate::controller) fn forget(&self, key: &Key) {
        let mut state = self.lock();
        if let Some(lane) = state.drop_ticket(key) {
            self.grant(&mut state, &lane, None);
        }
    }

    /// Gives the free permits of a lane to the objects that wait for them. The one that asks is not sent.
    fn grant(&self, state: &mut State, lane: &Lane, asking: Option<&Key>) {
        while let Some(workers) = state.lanes.get_mut(lane)
            && let Some((namespace, polls, since)) = workers.next(self.per_lane, self.per_namespace)
        {
            workers.busy.take(polls);
            let tenant = workers.namespaces.entry(namespace.clone()).or_default();
            tenant.busy.take(polls);
            let Some(key) = tenant.waiting(polls).remove(&since) else { continue };
            if asking != Some(&*key) {
                // The receiver ends with the reconciles.
                self.granted.send(Key::clone(&key)).unwrap_or_default();
            }
            let need = state.shared(Need { lane: lane.clone(), namespace, polls });
            state.tickets.insert(key, Ticket::Granted(need));
        }
        // Nothing is kept of lanes and namespaces without reconciles.
        if let Some(workers) = state.lanes.get_mut(lane) {
            workers.namespaces.retain(|_, tenant| !tenant.is_idle());
            if workers.namespaces.is_empty() {
                state.lanes.remove(lane);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    fn give_way(&self) {
        if self.need.polls {
            return;
        }
        let mut state = self.limits.lock();
        let workers = state.lanes.entry(self.need.lane.clone()).or_default();
        let tenant = workers.namespaces.entry(self.need.namespace.clone()).or_default();
        let [in_lane, in_namespace] = [self.limits.per_lane, self.limits.per_namespace].map(|max| max.div_ceil(2));
        let is_full = workers.ending >= in_lane || tenant.ending >= in_namespace;
        if is_full || self.gave_way.swap(true, Ordering::Relaxed) {
            return;
        }
        (workers.ending, tenant.ending) = (workers.ending + 1, tenant.ending + 1);
        state.give_back(&self.need);
        self.limits.grant(&mut state, &self.need.lane, None);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.limits.lock();
        match *self.gave_way.get_mut() {
            true => {
                let workers = state.lanes.entry(self.need.lane.clone()).or_default();
                let tenant = workers.namespaces.entry(self.need.namespace.clone()).or_default();
                (workers.ending, tenant.ending) = (workers.ending - 1, tenant.ending - 1);
            }
            false => state.give_back(&self.need),
        }
        self.limits.grant(&mut state, &self.need.lane, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(region: &str, namespace: &str, polls: bool) -> Need {
        Need { lane: (String::new(), region.to_owned()), namespace: namespace.to_owned(), polls }
    }

    fn key(namespace: &str, name: u32) -> Key {
        (namespace.to_owned(), name.to_string())
    }

    /// The objects of one test. Each has its own name.
    struct Objects {
        limits: Arc<Limits>,
        begun: std::cell::RefCell<mpsc::UnboundedReceiver<Key>>,
        names: std::cell::Cell<u32>,
    }

    impl Objects {
        fn of(per_lane: u16, per_namespace: u16) -> Self {
            let (limits, begun) = Limits::of(per_lane, per_namespace);
            Self { limits: Arc::new(limits), begun: begun.into(), names: std::cell::Cell::new(0) }
        }

        fn begin(&self, region: &str, namespace: &str, polls: bool) -> Option<Permit> {
            self.names.set(self.names.get() + 1);
            self.limits.begin(&key(namespace, self.names.get()), need(region, namespace, polls))
        }

        /// The next object that begins after it waited.
        fn begun(&self) -> Option<Key> {
            self.begun.borrow_mut().try_recv().ok()
        }
    }

    #[test]
    fn namespace_never_takes_all_workers() {
        let objects = Objects::of(4, 2);
        let held = (objects.begin("a", "a", false), objects.begin("a", "a", false));
        assert!(held.0.is_some() && held.1.is_some() && objects.begin("a", "a", false).is_none());
        assert!(objects.begin("a", "b", false).is_some(), "another namespace has its own permits");
        drop(held);
        assert_eq!(objects.begun(), Some(key("a", 3)), "the one that waited");
        assert!(objects.begun().is_none());
        drop(objects.limits.begin(&key("a", 3), need("a", "a", false)).expect("its permit"));
        assert!(objects.limits.lock().lanes.is_empty(), "nothing is kept of idle namespaces");
        assert!(objects.limits.lock().tickets.is_empty(), "or of objects");
    }

    #[test]
    fn polls_leave_worker_to_edits() {
        let objects = Objects::of(4, 2);
        let poll = |namespace: &str| objects.begin("a", namespace, true);
        let held = (poll("a"), poll("b"), poll("c"));
        assert!(held.0.is_some() && held.1.is_some() && held.2.is_some());
        assert!(poll("a").is_none() && poll("d").is_none(), "three of four workers, one of two permits");
        assert!(objects.begin("a", "a", false).is_some());
    }

    #[tokio::test]
    async fn others_begin_in_place_of_a_reconcile_that_gave_way() {
        let objects = Objects::of(1, 1);
        let begin = || objects.begin("a", "a", false);
        let ending = with_permit(begin().expect("the first one"), async {
            assert!(begin().is_none(), "there is one permit");
            give_way();
            give_way();
            let next = objects.begun().expect("the one that waited");
            let next = objects.limits.begin(&next, need("a", "a", false)).expect("its permit");
            assert!(begin().is_none(), "it is taken again");
            with_permit(next, async {
                give_way();
                assert!(objects.begun().is_none(), "no other may end without a permit meanwhile");
            })
            .await;
            assert!(objects.begun().is_some(), "the next one has ended");
        });
        ending.await;
        objects.limits.forget(&key("a", 3));
        assert!(objects.limits.lock().lanes.is_empty(), "nothing is kept of them");
    }

    #[test]
    fn namespace_that_gave_way_leaves_places_to_others() {
        let objects = Objects::of(4, 2);
        let begin = |namespace: &str, polls| objects.begin("a", namespace, polls).expect("a permit");
        let gave_way = begin("a", false);
        gave_way.give_way();
        let kept = [begin("a", false), begin("a", false)];
        kept.iter().for_each(Permit::give_way);
        assert!(objects.begin("a", "a", false).is_none(), "they keep their permits");
        let other = begin("b", true);
        other.give_way();
        assert!(objects.begin("a", "b", true).is_none(), "a poll keeps its permit");
        let edit = begin("b", false);
        assert_eq!(objects.limits.lock().lanes.values().map(|it| (it.busy.all, it.ending)).next(), Some((4, 1)));
        assert!(objects.begin("a", "b", false).is_none());
        drop((gave_way, kept));
        assert_eq!(objects.begun(), Some(key("a", 4)), "the namespace with fewer reconciles in progress goes first");
        drop((other, edit));
        [key("a", 4), key("b", 6), key("b", 8)].iter().for_each(|it| objects.limits.forget(it));
        assert!(objects.limits.lock().lanes.is_empty(), "nothing is kept of them");
    }

    #[test]
    fn blocked_region_delays_no_other() {
        let objects = Objects::of(2, 2);
        let held = (objects.begin("dead", "a", false), objects.begin("dead", "a", false));
        assert!(held.0.is_some() && held.1.is_some() && objects.begin("dead", "a", false).is_none());
        assert!(objects.begin("alive", "a", false).is_some());
    }

    #[test]
    fn crowd_delays_other_namespace_by_one_permit() {
        let objects = Objects::of(4, 4);
        let mut held: Vec<_> = (0..2_000).filter_map(|_| objects.begin("a", "crowd", false)).collect();
        assert_eq!(held.len(), 4);
        assert!(objects.begin("a", "other", false).is_none());
        held.pop();
        assert_eq!(objects.begun(), Some(key("other", 2_001)));
        held.pop();
        assert_eq!(objects.begun(), Some(key("crowd", 5)), "the one that waits longest");
    }

    #[test]
    fn waiting_object_keeps_its_place() {
        let objects = Objects::of(1, 1);
        let held = objects.begin("a", "a", false);
        for name in [7, 8, 7] {
            assert!(objects.limits.begin(&key("a", name), need("a", "a", false)).is_none());
        }
        drop(held);
        assert_eq!(objects.begun(), Some(key("a", 7)));
        assert!(objects.begun().is_none(), "one permit");
    }

    #[test]
    fn moved_object_returns_its_permit() {
        let objects = Objects::of(1, 1);
        let held = (objects.begin("a", "a", false), objects.begin("b", "a", false));
        let moves = key("a", 9);
        assert!(objects.limits.begin(&moves, need("a", "a", false)).is_none());
        assert!(objects.begin("a", "a", false).is_none());
        drop(held.0);
        assert_eq!(objects.begun(), Some(moves.clone()));
        assert!(objects.limits.begin(&moves, need("b", "a", false)).is_none(), "its spec names another region now");
        assert_eq!(objects.begun(), Some(key("a", 3)), "the next one of the region that it left");
        drop(held.1);
        assert_eq!(objects.begun(), Some(moves));
    }

    #[test]
    fn forgotten_object_returns_its_permit() {
        let objects = Objects::of(1, 1);
        let held = objects.begin("a", "a", false);
        assert!(objects.begin("a", "a", false).is_none() && objects.begin("a", "a", false).is_none());
        objects.limits.forget(&key("a", 2));
        drop(held);
        assert_eq!(objects.begun(), Some(key("a", 3)), "the forgotten one does not wait");
        objects.limits.forget(&key("a", 3));
        assert!(objects.begin("a", "a", false).is_some());
    }
}
