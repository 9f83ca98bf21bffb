//! What kube-apiserver shows of all objects, by a watch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use kube::api::Api;
use kube::core::{NotUsed, Object};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::load::Kind;

/// The part of a status that the benchmark waits for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    conditions: Vec<Condition>,
    plan_id: Option<String>,
    replica_group_id: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Condition {
    r#type: String,
    status: String,
}

impl Status {
    fn is(&self, condition: &str) -> bool {
        self.conditions.iter().any(|it| it.r#type == condition && it.status == "True")
    }
}

/// One object.
#[derive(Clone, Debug, Default)]
struct State {
    ready: bool,
    protected: bool,
    id: Option<String>,
}

/// Totals over all objects.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Objects whose `Ready` is True.
    pub ready: usize,
    /// Objects whose `Protected` is True.
    pub protected: usize,
}

type States = Arc<Mutex<HashMap<(String, String), State>>>;

/// The newest state of every object.
pub struct Objects {
    states: States,
    task: JoinHandle<()>,
}

impl Objects {
    /// Watches all objects of a kind.
    #[must_use]
    pub fn watch(client: Client, kind: Kind) -> Self {
        let states = States::default();
        let seen = states.clone();
        let api: Api<Object<NotUsed, Status>> = Api::all_with(client, &kind.resource());
        let task = tokio::spawn(async move {
            let mut events = std::pin::pin!(watcher(api, watcher::Config::default()));
            while let Some(event) = events.next().await {
                let Ok(Event::Apply(object) | Event::InitApply(object)) = event else { continue };
                let status = object.status.clone().unwrap_or_default();
                let (ready, protected) = (status.is("Ready"), status.is("Protected"));
                let state = State { ready, protected, id: status.plan_id.or(status.replica_group_id) };
                lock(&seen).insert((object.namespace().unwrap_or_default(), object.name_any()), state);
            }
        });
        Self { states, task }
    }

    /// How far all objects are.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let states = lock(&self.states);
        let count = |wanted: fn(&&State) -> bool| states.values().filter(wanted).count();
        Progress { ready: count(|it| it.ready), protected: count(|it| it.protected) }
    }

    /// The ID of an object's plan or group in the cloud.
    #[must_use]
    pub fn id(&self, object: &(String, String)) -> Option<String> {
        lock(&self.states).get(object)?.id.clone()
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(states: &States) -> MutexGuard<'_, HashMap<(String, String), State>> {
    states.lock().unwrap_or_else(PoisonError::into_inner)
}
