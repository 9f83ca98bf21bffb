//! The admin API of the cloud simulator in a process of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The way to a simulator.
#[derive(Clone)]
pub struct Cloud {
    url: String,
    client: reqwest::Client,
}

/// How much there is in the cloud.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Totals {
    pub plans: usize,
    pub items: usize,
    pub running_items: usize,
    pub disk_groups: usize,
    pub normal_disk_groups: usize,
    pub disk_pairs: usize,
}

/// The calls of one action.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Calls {
    /// All calls.
    pub calls: u64,
    /// Calls whose answer is no success.
    pub refused: u64,
    /// Calls beyond the rate limit.
    pub throttled: u64,
    /// Different paths.
    pub paths: u64,
}

/// Calls by action.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Counts(pub BTreeMap<String, Calls>);

impl Counts {
    /// The calls of an action.
    #[must_use]
    pub fn of(&self, action: &str) -> Calls {
        self.0.get(action).copied().unwrap_or_default()
    }

    /// All calls.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.0.values().map(|it| it.calls).sum()
    }

    /// All calls whose answer is no success.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.values().map(|it| it.refused).sum()
    }

    /// The calls since an earlier time; paths are those of all time.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        for (action, calls) in &mut since.0 {
            let before = earlier.of(action);
            calls.calls -= before.calls;
            calls.refused -= before.refused;
            calls.throttled -= before.throttled;
        }
        since.0.retain(|_, calls| calls.calls > 0);
        since
    }
}

/// A call that can change the cloud.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    pub action: String,
    path: String,
    query: Vec<(String, String)>,
    /// Arrival, ms since the epoch.
    pub at_ms: i64,
}

impl Change {
    /// Whether it is about the plan or group with this ID.
    #[must_use]
    pub fn is_of(&self, id: &str) -> bool {
        self.path.split('/').any(|part| part == id) || self.query.iter().any(|(_, value)| value == id)
    }
}

impl Cloud {
    /// The simulator at a URL.
    pub fn at(url: &str) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
        Ok(Self { url: format!("{url}/_simulator"), client })
    }

    /// How much there is.
    pub async fn totals(&self) -> anyhow::Result<Totals> {
        self.get("/totals").await
    }

    /// The calls since the simulator started, or since [`Cloud::forget_calls`].
    pub async fn counts(&self) -> anyhow::Result<Counts> {
        self.get("/request-counts").await
    }

    /// The changing calls since a time, ms since the epoch.
    pub async fn changes_since(&self, since_ms: i64) -> anyhow::Result<Vec<Change>> {
        self.get(&format!("/changes?sinceMs={since_ms}")).await
    }

    /// Begins to count anew.
    pub async fn forget_calls(&self) -> anyhow::Result<()> {
        self.delete("/requests").await
    }

    /// Removes a consumer group from every topic.
    pub async fn remove_consumer_group(&self, name: &str) -> anyhow::Result<()> {
        self.delete(&format!("/groups/{name}")).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let text = send(self.client.get(format!("{}{path}", self.url))).await?;
        serde_json::from_str(&text).with_context(|| format!("reading the simulator's {path}"))
    }

    async fn delete(&self, path: &str) -> anyhow::Result<()> {
        send(self.client.delete(format!("{}{path}", self.url))).await.map(drop)
    }
}

async fn send(request: reqwest::RequestBuilder) -> anyhow::Result<String> {
    let answer = request.send().await.context("asking the simulator")?;
    let status = answer.status();
    let text = answer.text().await.context("reading the simulator's answer")?;
    ensure!(status.is_success(), "the simulator answered {status}: {text}");
    Ok(text)
}
