//! Every version of an object, as a watch delivers them: polling would miss some.

use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use kube::ResourceExt;
use kube::api::{Api, WatchEvent, WatchParams};
use tokio::task::JoinHandle;

use super::{DEADLINE, KindStatus, Tested};
use crate::eventually;

/// The versions of one object since the record began.
pub struct Record<K> {
    api: Api<K>,
    name: String,
    versions: Arc<Mutex<Vec<K>>>,
    task: JoinHandle<()>,
}

impl<K: Tested> Record<K> {
    /// Begins with the version that there is.
    pub async fn of(api: Api<K>, name: &str) -> Self {
        let first = api.get(name).await.expect("the object is there");
        let params = WatchParams::default().fields(&format!("metadata.name={name}"));
        let from = first.resource_version().unwrap_or_default();
        let versions = Arc::new(Mutex::new(vec![first]));
        let (watching, seen) = (api.clone(), versions.clone());
        let task = tokio::spawn(async move {
            let events = watching.watch(&params, &from).await.expect("the watch begins");
            let mut events = std::pin::pin!(events);
            while let Some(event) = events.next().await {
                match event.expect("the watch goes on") {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object) => {
                        seen.lock().unwrap_or_else(PoisonError::into_inner).push(object);
                    }
                    WatchEvent::Bookmark(_) => {}
                    WatchEvent::Error(error) => panic!("the watch breaks off: {error:?}"),
                }
            }
        });
        Self { api, name: name.into(), versions, task }
    }

    /// All versions until now; the first is from before the record.
    pub async fn versions(&self) -> Vec<K> {
        eventually(DEADLINE, "the watch has seen the newest version", async || {
            let newest = self.api.get(&self.name).await.expect("the object is there").resource_version();
            let seen = self.versions.lock().unwrap_or_else(PoisonError::into_inner).clone();
            (seen.last().and_then(ResourceExt::resource_version) == newest).then_some(seen)
        })
        .await
    }

    /// No condition of these kinds was anything else than true, in any version.
    pub async fn assert_true(&self, kinds: &[&str]) {
        for version in self.versions().await {
            let status = version.status().cloned().unwrap_or_default();
            for kind in kinds {
                let holds = status.conditions().iter().any(|it| it.type_ == *kind && it.status == "True");
                assert!(
                    holds,
                    "{} of {} was not true: {status:#?}",
                    kind,
                    version.meta().name.clone().unwrap_or_default()
                );
            }
        }
    }

    /// Nothing was written.
    pub async fn assert_unchanged(&self) {
        let all = self.versions().await;
        assert_eq!(all.len(), 1, "{all:#?}");
    }
}

impl<K> Drop for Record<K> {
    fn drop(&mut self) {
        self.task.abort();
    }
}
