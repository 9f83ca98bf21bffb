//! The observation of a plan: the plan, its items and checkpoints from the cloud, its Secrets from Kubernetes.

use std::collections::BTreeMap;

use kube::Client;
use secrecy::{ExposeSecret, SecretString};

use super::Scope;
use super::resolve::{self, Positions};
use crate::api::PLAN_ID_ANNOTATION;
use crate::api::plan::{AuthType, DisasterRecoveryPlanSpec, InstanceType};
use crate::cloud::credentials::{CredentialsError, secret};
use crate::cloud::error::{Class, Error};
use crate::cloud::operation::ApiOperation;
use crate::cloud::rocketmq::{self, Checkpoint, ItemStatus, ItemTopic, ItemView, PlanStatus, PlanView, RocketMq};
use crate::controller::Context;
use crate::controller::ownership::{self, Owner};
use crate::controller::secrets;

/// The identification of the plan before it is observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The ID of the bound plan: from status, else from the annotation.
    pub bound: Option<i64>,
    /// The ID in `spec.planId`.
    pub spec_plan_id: Option<i64>,
    /// Whether the answer to a Create may be lost. Then the plan with our mark is searched for first.
    pub creating: bool,
    /// The name of the plan, or of the plan to create.
    pub plan_name: String,
    /// The owner mark of the object.
    pub mark: String,
}

impl Binding {
    /// The binding by status, annotation and spec.
    pub fn new(scope: &Scope<'_>) -> Self {
        let (spec, status) = (&scope.object.spec, scope.status);
        Self {
            bound: parse_id(status.plan_id.as_deref()).or_else(|| annotated_id(scope)),
            spec_plan_id: parse_id(spec.plan_id.as_deref()),
            creating: status.creation.is_some(),
            plan_name: spec.plan_name.clone().unwrap_or_else(|| scope.name().to_owned()),
            mark: ownership::mark(scope.cluster_id, scope.namespace(), scope.name()),
        }
    }

    /// The IDs of the plans to get, in this order. After a Create without an answer, the list is searched for its plan before
    /// the plan that the spec names is read.
    pub fn ids(&self) -> Vec<i64> {
        let spec_plan_id = self.spec_plan_id.filter(|id| self.bound != Some(*id) && !self.creating);
        self.bound.into_iter().chain(spec_plan_id).collect()
    }
}

fn parse_id(id: Option<&str>) -> Option<i64> {
    id.and_then(|id| id.parse().ok())
}

/// The plan's ID in the annotation. The operator writes it once the plan carries its mark.
pub fn annotated_id(scope: &Scope<'_>) -> Option<i64> {
    parse_id(scope.annotation(PLAN_ID_ANNOTATION))
}

/// Observes the plan with its items, checkpoints and Secrets.
pub async fn observe(scope: &Scope<'_>, ctx: &Context, cloud: &RocketMq) -> Result<Observed, Error> {
    let spec = &scope.object.spec;
    let binding = Binding::new(scope);
    let plan = find_plan(cloud, &binding).await?;
    let items = items(cloud, &plan).await?;
    let mut observed = Observed::new(scope, binding, plan, items);
    if scope.deleting() {
        return Ok(observed);
    }
    observed.checkpoints = checkpoints(cloud, spec, &observed).await;
    if !scope.observe_only() {
        let credentials = acl_credentials(&ctx.client, scope.namespace(), spec).await;
        observed.credentials = credentials.map(|all| with_content_versions(ctx, scope.namespace(), all));
    }
    Ok(observed)
}

/// The result of the search for the plan.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    /// The bound or marked plan.
    Found(Box<PlanView>),
    /// A complete list contained neither the bound plan nor our mark.
    Absent {
        /// The ID of the bound plan, or of the one in the spec, that is gone.
        missing: Option<i64>,
        /// Other plans with the name of the plan to create.
        same_name: Vec<PlanView>,
    },
}

/// User name and password of an instance, from a Secret.
#[derive(Clone, Debug)]
pub struct AclCredentials {
    /// The user name.
    pub username: SecretString,
    /// The password; absent for Alibaba Cloud's own instances.
    pub password: Option<SecretString>,
    /// The Secret's name.
    pub secret_name: String,
    /// The Secret's resourceVersion.
    pub resource_version: String,
}

/// The observation of a plan, with the instances and items that the parts of the spec mean.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The identification of the plan.
    pub binding: Binding,
    pub plan: Lookup,
    /// Its items, in the order of the list.
    pub items: Vec<ItemView>,
    /// Checkpoints by item, or the error of their read.
    pub checkpoints: Result<BTreeMap<i64, Vec<Checkpoint>>, Error>,
    /// User names and passwords by instance name, or the error of the Secrets.
    pub credentials: Result<BTreeMap<String, AclCredentials>, CredentialsError>,
    /// Positions in the plan's instances, by the names of the spec.
    instances: Positions,
    /// Positions in `items`, by the names of the topic mappings.
    mapped: Positions,
    /// The topics of each mapping in the form of the API, by its name.
    topics: BTreeMap<String, Vec<ItemTopic>>,
}

impl Observed {
    /// Resolves the parts of the spec in a plan and its items. Checkpoints and credentials are empty.
    pub fn new(scope: &Scope<'_>, binding: Binding, plan: Lookup, items: Vec<ItemView>) -> Self {
        let spec = &scope.object.spec;
        let mut observed = Self {
            binding,
            plan,
            items,
            checkpoints: Ok(BTreeMap::new()),
            credentials: Ok(BTreeMap::new()),
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
    fn sources(&self, spec: &DisasterRecoveryPlanSpec) -> Vec<&str> {
        let sources = spec.instances.iter().filter(|want| resolve::is_source(spec, want));
        sources.filter_map(|want| self.instance(&want.name)?.instance_id.as_deref()).collect()
    }
}

/// Reads the user names and passwords that the spec refers to.
pub async fn acl_credentials(
    client: &Client,
    namespace: &str,
    spec: &DisasterRecoveryPlanSpec,
) -> Result<BTreeMap<String, AclCredentials>, CredentialsError> {
    let mut all = BTreeMap::new();
    for instance in &spec.instances {
        let (Some(AuthType::Acl), Some(reference)) = (instance.auth_type, &instance.credentials_secret_ref) else {
            continue;
        };
        let found = secrets::read(client, namespace, &reference.name).await?;
        let full_name = format!("{namespace}/{}", reference.name);
        let data: BTreeMap<_, _> =
            found.data.unwrap_or_default().into_iter().map(|(key, bytes)| (key, bytes.0)).collect();
        let password = match instance.instance_type {
            InstanceType::External => Some(secret::text(&full_name, &data, "password")?),
            InstanceType::Aliyun => None,
        };
        let username = secret::text(&full_name, &data, "username")?;
        let resource_version = found.metadata.resource_version.unwrap_or_default();
        let secret_name = reference.name.clone();
        all.insert(instance.name.clone(), AclCredentials { username, password, secret_name, resource_version });
    }
    Ok(all)
}

/// Gives each Secret the first version with its present content, so that a new label does not count as a rotation.
pub fn with_content_versions(
    ctx: &Context,
    namespace: &str,
    mut all: BTreeMap<String, AclCredentials>,
) -> BTreeMap<String, AclCredentials> {
    for it in all.values_mut() {
        let (username, password) = (it.username.expose_secret(), it.password.as_ref().map(|it| it.expose_secret()));
        let name = format!("{namespace}/{} {}", it.secret_name, password.is_some());
        it.resource_version = ctx.content_version(name, (username, password), &it.resource_version);
    }
    all
}

/// Finds the plan: the bound one by its ID, else the one with our mark in a list of all plans.
///
/// A plan counts as gone only when a complete list agrees: the code for a missing plan is not published.
pub async fn find_plan(cloud: &RocketMq, binding: &Binding) -> Result<Lookup, Error> {
    let ids = binding.ids();
    let mut refusal = None;
    for id in &ids {
        match cloud.get_plan(*id).await {
            Ok(plan) if plan.plan_status != PlanStatus::Deleted => return Ok(Lookup::Found(Box::new(plan))),
            // The code for a missing plan is not published: the list decides.
            Ok(_) | Err(Error { class: Class::NotFound, .. }) => {}
            Err(error @ Error { class: Class::Invalid | Class::Conflict, .. }) => refusal = Some(error),
            Err(error) => return Err(error),
        }
    }
    find_in_list(binding, &ids, cloud.list_plans().await?).map_err(|error| refusal.unwrap_or(error))
}

/// Finds the plan in a list of all plans, after the plans of `ids` could not be read. Pure.
pub fn find_in_list(binding: &Binding, ids: &[i64], mut plans: Vec<PlanView>) -> Result<Lookup, Error> {
    plans.retain(|plan| plan.plan_status != PlanStatus::Deleted);
    plans.sort_by_key(|plan| plan.plan_id);
    if let Some(plan) = plans.iter().find(|plan| ids.contains(&plan.plan_id)) {
        let message = format!("plan {} is listed and yet cannot be read", plan.plan_id);
        let operation = ApiOperation::GetDisasterRecoveryPlan;
        return Err(Error {
            class: Class::Unavailable,
            operation,
            code: "Inconsistent".into(),
            message,
            request_id: None,
        });
    }
    let ours = plans.iter().position(|plan| resolve::owner(plan, &binding.mark) == Owner::Us);
    // Where the spec names a plan, only that plan counts, unless a Create without an answer went before.
    let wanted = match binding.spec_plan_id {
        Some(id) if binding.creating => ours.or_else(|| plans.iter().position(|plan| plan.plan_id == id)),
        Some(_) => None,
        None => ours,
    };
    if let Some(at) = wanted {
        return Ok(Lookup::Found(Box::new(plans.swap_remove(at))));
    }
    plans.retain(|plan| plan.plan_name.as_deref() == Some(&binding.plan_name));
    Ok(Lookup::Absent { missing: binding.bound.or(binding.spec_plan_id), same_name: plans })
}

/// Reads the items of the plan, if there is one.
pub async fn items(cloud: &RocketMq, plan: &Lookup) -> Result<Vec<ItemView>, Error> {
    match plan {
        Lookup::Found(plan) => {
            let mut items = cloud.list_items(plan.plan_id).await?;
            // The same as for plans, although this status of an item is not documented.
            items.retain(|item| item.item_status.as_str() != PlanStatus::Deleted.as_str());
            Ok(items)
        }
        Lookup::Absent { .. } => Ok(vec![]),
    }
}

/// Reads all checkpoints of the items that the spec names, on all pages. A plan that does not synchronize consumer progress has
/// none.
pub async fn checkpoints(
    cloud: &RocketMq,
    spec: &DisasterRecoveryPlanSpec,
    observed: &Observed,
) -> Result<BTreeMap<i64, Vec<Checkpoint>>, Error> {
    let mut all = BTreeMap::new();
    let Some(plan) = observed.found().filter(|plan| plan.sync_checkpoint_enabled != Some(false)) else {
        return Ok(all);
    };
    let sources = observed.sources(spec);
    for (_, item) in observed.mapped_items() {
        if item.item_status == ItemStatus::Creating {
            continue;
        }
        let found: &mut Vec<Checkpoint> = all.entry(item.item_id).or_default();
        for source in &sources {
            match cloud.list_checkpoints(plan.plan_id, item.item_id, source).await {
                Ok(list) => found.extend(list),
                // An item that does not run may have no checkpoints. It is not protected in any case.
                Err(Error { class: Class::NotFound | Class::Conflict | Class::Invalid, .. })
                    if item.item_status != ItemStatus::Running => {}
                Err(error) => return Err(error),
            }
        }
        found.sort_by_key(|it| it.checkpoint_id);
        found.dedup_by_key(|it| it.checkpoint_id);
    }
    Ok(all)
}
