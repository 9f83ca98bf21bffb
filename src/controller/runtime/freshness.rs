//! The proof that the cache of a watch is as new as the leadership of this process.
//!
//! A process that led before this one may have acted on a version of an object that the watch has not delivered yet. No reconcile acts on
//! an older version. A version is new enough if it is not older than some state of the API server since this process leads. Versions
//! have no order; these are the proofs:
//!
//! - One list of versions since then shows the version that the cache has.
//! - Kubernetes accepted a write of this process against the version.
//! - A relist of the watch began since then. Lists of a watch show the newest state.
//! - A watch delivers the changes of all objects in one order. After an object whose version is proven, it delivers only newer
//!   versions of that object: from the first of them on, the cache is new enough for all objects, and each later event too. An equal
//!   list alone does not prove that: an object may have been created and deleted since the state of the cache.
//!
//! Without a proof a reconcile reads the version of the object itself: [`crate::controller::object`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kube::Resource as _;
use kube::api::ListParams;
use kube::core::{ObjectList, Request};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{DefaultBackoff, Event};
use tokio::sync::watch;

use super::{PAGE_SIZE, cache};
use crate::controller::access::Key;
use crate::controller::account::users::Filled;
use crate::controller::cached::Cached;
use crate::controller::decode::Decoded;
use crate::controller::resource::Object;
use crate::controller::{Context, key};
use crate::leadership::Leadership;

/// Maximum time for one page of the list.
const PAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// The freshness of one watch.
pub(super) struct Freshness<K: Object> {
    ctx: Arc<Context>,
    leadership: Leadership,
    /// The namespace of the watch; all, where absent.
    namespace: Option<String>,
    store: Store<Cached<K>>,
    /// Whether the relist in progress began after this process began to lead.
    relist_since: AtomicBool,
    /// Whether every version that the watch delivers is new enough.
    reached: AtomicBool,
    /// Whether reconciles begin: the list was tried.
    tried: watch::Sender<bool>,
}

/// The version of an object, as a list shows it.
#[derive(Clone, serde::Deserialize)]
struct Version {
    metadata: VersionMetadata,
}

#[derive(Clone, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct VersionMetadata {
    name: String,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
}

impl<K: Object> Freshness<K> {
    /// The freshness of a watch with this cache.
    pub(super) fn new(
        ctx: Arc<Context>,
        leadership: Leadership,
        namespace: Option<String>,
        store: Store<Cached<K>>,
    ) -> Self {
        let (relist_since, reached) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { ctx, leadership, namespace, store, relist_since, reached, tried: watch::Sender::new(false) }
    }

    /// Learns from an event that the cache does not have yet.
    pub(super) fn before(&self, event: &Event<Decoded<K>>) {
        match event {
            // The list follows.
            Event::Init => self.relist_since.store(self.leadership.is_leader(), Ordering::Release),
            Event::InitDone => {}
            Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) => {
                let (namespace, name) = cache::name(object);
                let cached = self.store.get(&ObjectRef::new(&name).within(&namespace));
                let listed = matches!(event, Event::InitApply(_));
                match cached {
                    Some(cached) if !listed && cached.version() != object.meta().resource_version.as_deref() => {
                        self.changed(&cached.key());
                    }
                    None if self.has_reached() => self.mark(&cache::name(object)),
                    Some(_) | None => {}
                }
            }
        }
    }

    /// Learns that the cache has a complete list.
    pub(super) fn listed(&self) {
        if self.relist_since.load(Ordering::Acquire) {
            self.reach();
        }
    }

    /// Learns that a watch delivers a newer version than this one.
    fn changed(&self, before: &Key) {
        if self.has_reached() || !self.leadership.is_leader() {
            return;
        }
        if self.ctx.remember(&key_of::<K>(before), |memory| memory.caught_up) {
            self.reach();
        }
    }

    fn has_reached(&self) -> bool {
        self.reached.load(Ordering::Acquire)
    }

    fn reach(&self) {
        if !self.reached.swap(true, Ordering::AcqRel) {
            self.store.state().iter().for_each(|object| self.mark(&object.key()));
        }
    }

    /// Remembers that the version in the cache is new enough.
    fn mark(&self, object: &Key) {
        self.ctx.remember(&key_of::<K>(object), |memory| memory.caught_up = true);
    }

    /// Whether the list was tried once.
    pub(super) fn was_tried(&self) -> bool {
        *self.tried.borrow()
    }

    /// Waits until this process leads and the list was tried once.
    pub(super) async fn tried(&self) {
        // The sender lives as long as `self`.
        self.tried.subscribe().wait_for(|tried| *tried).await.map(drop).unwrap_or_default();
    }

    /// Lists the versions once this process leads and the cache is filled. Repeats a list that failed: meanwhile each object is read
    /// before its first reconcile.
    pub(super) async fn prove(&self, mut filled: Filled) {
        self.leadership.clone().started().await;
        if filled.wait_for(|filled| *filled).await.is_err() {
            return;
        }
        for pause in DefaultBackoff::default() {
            if self.has_reached() {
                break;
            }
            let Err(error) = self.list().await else { break };
            tracing::warn!(kind = K::KIND, %error, "cannot list the versions of the objects: each is read for itself");
            self.tried.send_replace(true);
            tokio::time::sleep(pause).await;
        }
        self.tried.send_replace(true);
    }

    /// Compares the cache with one list of the newest versions, page by page.
    async fn list(&self) -> Result<(), Failed> {
        let request = Request::new(K::url_path(&(), self.namespace.as_deref()));
        let params = ListParams { label_selector: self.ctx.settings.selector_of::<K>(), ..ListParams::default() };
        let mut params = params.limit(PAGE_SIZE);
        loop {
            let page = request.list_metadata(&params).map_err(kube::Error::BuildRequest)?;
            let page = self.ctx.client.request::<ObjectList<Version>>(page);
            let page = tokio::time::timeout(PAGE_TIMEOUT, page).await??;
            for Version { metadata } in page.items {
                self.compare(&metadata);
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(()),
            }
        }
    }

    fn compare(&self, newest: &VersionMetadata) {
        let object = ObjectRef::new(&newest.name).within(newest.namespace.as_deref().unwrap_or_default());
        let cached = self.store.get(&object);
        if let Some(cached) = cached.filter(|it| it.uid() == newest.uid.as_deref())
            && cached.version() == newest.resource_version.as_deref()
        {
            self.mark(&cached.key());
        }
    }
}

/// The reason why a list failed.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Kubernetes(#[from] kube::Error),
    #[error("the Kubernetes API did not answer in time")]
    Slow(#[from] tokio::time::error::Elapsed),
}

/// The key under which this process remembers an object.
fn key_of<K: Object>((namespace, name): &Key) -> String {
    key(K::KIND, namespace, name)
}
