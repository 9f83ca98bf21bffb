//! The requests that kube-apiserver counted.

use std::collections::BTreeMap;

use anyhow::Context;
use disaster_recovery_operator::api::GROUP;
use kube::Client;
use serde::{Deserialize, Serialize};

const METRIC: &str = "apiserver_request_total{";
const WRITES: [&str; 5] = ["POST", "PUT", "PATCH", "APPLY", "DELETE"];

/// Requests for the operator's kinds, for events and for leases: by resource with its subresource, and verb.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests(BTreeMap<String, BTreeMap<String, u64>>);

impl Requests {
    /// All requests since kube-apiserver started.
    pub async fn read(client: &Client) -> anyhow::Result<Self> {
        let request = http::Request::get("/metrics").body(vec![]).context("a request")?;
        let text = client.request_text(request).await.context("reading kube-apiserver's metrics")?;
        let mut all = Self::default();
        for line in text.lines() {
            let Some((labels, value)) = line.strip_prefix(METRIC).and_then(|rest| rest.split_once("} ")) else {
                continue;
            };
            let label = |name: &str| {
                let labels = labels.split("\",").filter_map(|label| label.trim_end_matches('"').split_once("=\""));
                labels.into_iter().find(|label| label.0 == name).map_or("", |label| label.1)
            };
            let resource = label("resource");
            if label("group") != GROUP && !["events", "leases", "secrets"].contains(&resource) {
                continue;
            }
            let subresource = label("subresource");
            let name = if subresource.is_empty() { resource.to_owned() } else { format!("{resource}/{subresource}") };
            let value: f64 = value.parse().with_context(|| format!("no number in {line}"))?;
            *all.0.entry(name).or_default().entry(label("verb").to_owned()).or_default() += value as u64;
        }
        Ok(all)
    }

    /// The requests since an earlier time.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = Self::default();
        for (resource, verbs) in &self.0 {
            for (verb, count) in verbs {
                let before = earlier.0.get(resource).and_then(|verbs| verbs.get(verb)).copied().unwrap_or_default();
                if *count > before {
                    since.0.entry(resource.clone()).or_default().insert(verb.clone(), count - before);
                }
            }
        }
        since
    }

    /// These requests without so many of one resource and verb, which are not the operator's.
    #[must_use]
    pub fn without(mut self, resource: &str, verb: &str, count: u64) -> Self {
        if let Some(all) = self.0.get_mut(resource).and_then(|verbs| verbs.get_mut(verb)) {
            *all = all.saturating_sub(count);
        }
        self
    }

    /// Writes of objects, their statuses and events; the lease of the election is not among them.
    #[must_use]
    pub fn writes(&self) -> u64 {
        let counted = self.0.iter().filter(|(resource, _)| *resource != "leases").flat_map(|(_, verbs)| verbs);
        counted.filter(|(verb, _)| WRITES.contains(&verb.as_str())).map(|(_, count)| count).sum()
    }

    /// The requests of one resource and verb.
    #[must_use]
    pub fn of(&self, resource: &str, verb: &str) -> u64 {
        self.0.get(resource).and_then(|verbs| verbs.get(verb)).copied().unwrap_or_default()
    }

    /// Reads of single objects of the operator's kinds.
    #[must_use]
    pub fn gets(&self) -> u64 {
        let own = self.0.iter().filter(|(resource, _)| !["events", "leases", "secrets"].contains(&resource.as_str()));
        own.filter_map(|(_, verbs)| verbs.get("GET")).sum()
    }
}
