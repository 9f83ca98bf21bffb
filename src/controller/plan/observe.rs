//! The observation of a plan by a reconcile: the plan and its items from the cloud, its Secrets from Kubernetes.

use std::collections::{BTreeMap, BTreeSet};

use super::Scope;
use super::binding::{Binding, parse_id};
use super::credentials::{AclCredentials, acl_credentials, fingerprint, with_content_versions};
use super::resolve::{self, Positions};
use super::search::{Lookup, Search, find_plan};
use crate::api::plan::{DisasterRecoveryPlanSpec, Instance};
use crate::cloud::credentials::CredentialsError;
use crate::cloud::error::Error;
use crate::cloud::list::List;
use crate::cloud::rocketmq::{self, ItemTopic, ItemView, PlanStatus, PlanView, RocketMq};
use crate::controller::Context;

/// Observes the plan with its items and Secrets.
pub async fn observe(scope: &Scope<'_>, ctx: &Context, cloud: &RocketMq) -> Result<Observed, Error> {
    let spec = &scope.object.spec;
    let binding = Binding::new(scope);
    let search = find_plan(cloud, &binding).await?;
    let items = match &search.plan {
        Lookup::Found(plan) => items(cloud, plan.plan_id).await?,
        Lookup::Absent { .. } => List::Complete(vec![]),
    };
    let mut observed = Observed::new(scope, binding, search, items);
    if scope.deleting() {
        return Ok(observed);
    }
    if !scope.observe_only() {
        let credentials = acl_credentials(&ctx.client, scope.namespace(), spec).await;
        observed.secrets_fingerprint = Some(fingerprint(ctx, credentials.as_ref()));
        observed.credentials = match credentials {
            Ok(all) => Ok(with_content_versions(scope, ctx, all).await),
            Err(error) => Err(error),
        };
    }
    Ok(observed)
}

/// The observation of a plan, with the instances and items that the parts of the spec mean.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The identification of the plan.
    pub binding: Binding,
    pub plan: Lookup,
    /// As [`Search::missing`].
    pub missing: Option<i64>,
    /// As [`Search::twins`].
    pub twins: Vec<i64>,
    /// As [`Search::unseen_twins`].
    unseen_twins: Vec<i64>,
    /// As [`Search::complete`].
    pub plans_complete: bool,
    /// Its items, the oldest first.
    pub items: Vec<ItemView>,
    /// Whether an item that `items` lacks does not exist, as far as one read proves it.
    pub items_complete: bool,
    /// User names and passwords by instance name, or the error of the Secrets.
    pub credentials: Result<BTreeMap<String, AclCredentials>, CredentialsError>,
    /// A hash of the Secrets under a key of this process, where they were read.
    pub secrets_fingerprint: Option<u64>,
    /// Positions in the plan's instances, by the names of the spec.
    instances: Positions,
    /// Positions in `items`, by the names of the topic mappings.
    mapped: Positions,
    /// The topics of each mapping in the form of the API, by its name.
    topics: BTreeMap<String, Vec<ItemTopic>>,
}

impl Observed {
    /// Resolves the parts of the spec in a plan and its items. Credentials are empty.
    pub fn new(scope: &Scope<'_>, binding: Binding, search: Search, items: List<ItemView>) -> Self {
        let spec = &scope.object.spec;
        let Search { plan, missing, twins, unseen_twins, complete } = search;
        let mut observed = Self {
            binding,
            plan,
            missing,
            twins,
            unseen_twins,
            plans_complete: complete,
            items_complete: items.is_complete(),
            items: items.into_entries(),
            credentials: Ok(BTreeMap::new()),
            secrets_fingerprint: None,
            instances: Positions::new(),
            mapped: Positions::new(),
            topics: BTreeMap::new(),
        };
        if let Lookup::Found(plan) = &observed.plan {
            observed.instances = resolve::instances(spec, plan);
        }
        for mapping in &spec.topic_mappings {
            let topics = resolve::topics(spec, mapping, |name| observed.instance(name));
            observed.topics.insert(mapping.name.clone(), topics);
        }
        observed.mapped = resolve::items(spec, &scope.status.topic_mappings, &observed.topics, &observed.items);
        observed
    }

    /// The plan, where it was found.
    pub fn found(&self) -> Option<&PlanView> {
        match &self.plan {
            Lookup::Found(plan) => Some(plan),
            Lookup::Absent { .. } => None,
        }
    }

    /// The plan's instance that an instance of the spec means.
    pub fn instance(&self, name: &str) -> Option<&rocketmq::Instance> {
        self.found()?.instances.get(*self.instances.get(name)?)
    }

    /// The item of a topic mapping.
    pub fn item(&self, mapping: &str) -> Option<&ItemView> {
        self.items.get(*self.mapped.get(mapping)?)
    }

    /// Whether the plan has every instance of the spec. Without one of them no item of the spec is known.
    pub fn has_instances(&self, spec: &DisasterRecoveryPlanSpec) -> bool {
        let has = |want: &Instance| self.instance(&want.name).is_some_and(|found| resolve::may_be_same(want, found));
        spec.instances.iter().all(has)
    }

    /// The other plans with our mark: those of the list, and those of earlier observations that are not known to be gone.
    pub fn all_twins(&self, scope: &Scope<'_>) -> Vec<i64> {
        let unseen = self.unseen_twins.iter().filter(|id| !scope.absence(&resolve::plan_part(**id)).is_proven());
        self.twins.iter().chain(unseen).copied().collect()
    }

    /// The parts of the cloud side that the object has or may have, and that this observation does not show.
    pub fn absent(&self, scope: &Scope<'_>) -> Vec<String> {
        let plans = self.missing.iter().chain(&self.unseen_twins).filter(|_| self.plans_complete);
        let mut parts: Vec<_> = plans.map(|id| resolve::plan_part(*id)).collect();
        if self.found().is_none() {
            parts.extend(scope.status.creation.as_ref().map(resolve::created_plan_part));
            return parts;
        }
        parts.extend(self.missing_items(scope).into_iter().map(resolve::item_part));
        let listed = |pair: &str| self.items.iter().any(|item| resolve::pair(&item.topics) == pair);
        let added = scope.status.item_creations.iter().filter(|it| self.items_complete && !listed(&it.topics));
        parts.extend(added.map(resolve::added_item_part));
        parts
    }

    /// Whether the plan is this object's: it carries our mark, or it is bound and lost the mark.
    pub fn manages(&self, plan: &PlanView) -> bool {
        self.binding.owns(plan) || self.binding.bound == Some(plan.plan_id)
    }

    /// The IDs of the items that status knows and that the list lacks, although it is complete.
    pub fn missing_items(&self, scope: &Scope<'_>) -> Vec<i64> {
        if self.found().is_none() || !self.items_complete {
            return vec![];
        }
        let mapped = scope.status.topic_mappings.iter().filter_map(|it| parse_id(it.item_id.as_deref()));
        let paused = scope.status.paused_items.iter().filter_map(|id| parse_id(Some(id)));
        let known: BTreeSet<_> = mapped.chain(paused).collect();
        known.into_iter().filter(|id| !self.items.iter().any(|item| item.item_id == *id)).collect()
    }

    /// The second item of a topic mapping's pair of topics.
    pub fn twin_item(&self, mapping: &str) -> Option<&ItemView> {
        let item = self.item(mapping)?;
        let topics = self.topics(mapping);
        self.other_items().into_iter().find(|it| it.item_id != item.item_id && resolve::same_pair(topics, &it.topics))
    }

    /// The items of the topic mappings, by their names.
    pub fn mapped_items(&self) -> impl Iterator<Item = (&str, &ItemView)> {
        self.mapped.iter().filter_map(|(name, at)| Some((name.as_str(), self.items.get(*at)?)))
    }

    /// The items that no topic mapping means, the oldest first.
    pub fn other_items(&self) -> Vec<&ItemView> {
        let mut others = Vec::new();
        for (at, item) in self.items.iter().enumerate() {
            if !self.mapped.values().any(|mapped| *mapped == at) {
                others.push(item);
            }
        }
        others.sort_by_key(|item| item.item_id);
        others
    }

    /// The topics of a mapping in the form of the API.
    pub fn topics(&self, mapping: &str) -> &[ItemTopic] {
        self.topics.get(mapping).map(Vec::as_slice).unwrap_or_default()
    }

    /// The IDs of the instances whose consumer progress is replicated.
    pub fn sources(&self, spec: &DisasterRecoveryPlanSpec) -> Vec<&str> {
        let sources = spec.instances.iter().filter(|want| resolve::is_source(spec, want));
        sources.filter_map(|want| self.instance(&want.name)?.instance_id.as_deref()).collect()
    }
}

/// Reads the items of a plan.
pub async fn items(cloud: &RocketMq, plan_id: i64) -> Result<List<ItemView>, Error> {
    let items = cloud.list_items(plan_id).await?;
    // The same as for plans, although this status of an item is not documented.
    Ok(items.filtered(|item| item.item_status.as_str() != PlanStatus::Deleted.as_str()))
}
