//! Reads what a pass decides on: the plan, its items and checkpoints from the cloud, the Secrets from Kubernetes.

use std::collections::BTreeMap;

use kube::Client;
use secrecy::{ExposeSecret, SecretString};

use super::resolve;
use crate::api::plan::{AuthType, DisasterRecoveryPlanSpec, DisasterRecoveryPlanStatus, InstanceType};
use crate::cloud::credentials::{CredentialsError, secret};
use crate::cloud::error::{Class, Error};
use crate::cloud::operation::ApiOperation;
use crate::cloud::rocketmq::{Checkpoint, ItemStatus, ItemView, PlanStatus, PlanView, RocketMq};
use crate::controller::Context;
use crate::controller::ownership::Owner;
use crate::controller::secrets;

/// What is known of where the plan is, before looking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The bound plan: status, else the annotation.
    pub bound: Option<i64>,
    /// What `spec.planId` names.
    pub named: Option<i64>,
    /// Whether a Create may still be unanswered, so that our mark is looked for first.
    pub creating: bool,
    /// The name that the plan has or would get.
    pub plan_name: String,
    /// The owner mark of the object.
    pub mark: String,
}

impl Binding {
    /// The plans to ask for by their IDs, in this order. A plan that an unanswered Create may have made is looked for in the
    /// list before one that the spec names.
    pub fn ids(&self) -> Vec<i64> {
        let named = self.named.filter(|id| self.bound != Some(*id) && !self.creating);
        self.bound.into_iter().chain(named).collect()
    }
}

/// Whether there is a plan.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    /// The bound or marked plan.
    Found(Box<PlanView>),
    /// A whole list held neither the bound plan nor our mark.
    Absent {
        /// The bound or named plan that is gone.
        missing: Option<i64>,
        /// Other plans of the name that ours would get.
        same_name: Vec<PlanView>,
    },
}

/// User name and password of an instance, from a Secret.
#[derive(Clone, Debug)]
pub struct AclCredentials {
    /// The user name.
    pub username: SecretString,
    /// The password; not for Alibaba Cloud's own instances.
    pub password: Option<SecretString>,
    /// The Secret's name.
    pub secret_name: String,
    /// The Secret's resourceVersion.
    pub resource_version: String,
}

/// Everything that a pass decides on.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The plan.
    pub plan: Lookup,
    /// Its items.
    pub items: Vec<ItemView>,
    /// Checkpoints by item, or why they could not be read.
    pub checkpoints: Result<BTreeMap<i64, Vec<Checkpoint>>, Error>,
    /// User names and passwords by instance name, or why they cannot be used.
    pub credentials: Result<BTreeMap<String, AclCredentials>, CredentialsError>,
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
        let full = format!("{namespace}/{}", reference.name);
        let data: BTreeMap<_, _> =
            found.data.unwrap_or_default().into_iter().map(|(key, bytes)| (key, bytes.0)).collect();
        let password = match instance.instance_type {
            InstanceType::External => Some(secret::text(&full, &data, "password")?),
            InstanceType::Aliyun => None,
        };
        let username = secret::text(&full, &data, "username")?;
        let resource_version = found.metadata.resource_version.unwrap_or_default();
        let secret_name = reference.name.clone();
        all.insert(instance.name.clone(), AclCredentials { username, password, secret_name, resource_version });
    }
    Ok(all)
}

/// Gives each Secret the version at which its content was first seen, so that a new label is no rotation.
pub fn by_content(
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
/// That a plan is gone is believed only when a whole list agrees, since the code for a missing plan is not published.
pub async fn find_plan(cloud: &RocketMq, binding: &Binding) -> Result<Lookup, Error> {
    let ids = binding.ids();
    let mut refused = None;
    for id in &ids {
        match cloud.get_plan(*id).await {
            Ok(plan) if plan.plan_status != PlanStatus::Deleted => return Ok(Lookup::Found(Box::new(plan))),
            // The code for a missing plan is not published: the list decides.
            Ok(_) | Err(Error { class: Class::NotFound, .. }) => {}
            Err(error @ Error { class: Class::Invalid | Class::Conflict, .. }) => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    pick(binding, &ids, cloud.list_plans().await?).map_err(|listed| refused.unwrap_or(listed))
}

/// Finds the plan in a list of all plans, after those of `ids` could not be read. Pure.
pub fn pick(binding: &Binding, ids: &[i64], mut plans: Vec<PlanView>) -> Result<Lookup, Error> {
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
    // Where the spec names a plan, only that one will do, unless a Create of ours went before.
    let wanted = match binding.named {
        Some(named) if binding.creating => ours.or_else(|| plans.iter().position(|plan| plan.plan_id == named)),
        Some(_) => None,
        None => ours,
    };
    if let Some(at) = wanted {
        return Ok(Lookup::Found(Box::new(plans.swap_remove(at))));
    }
    plans.retain(|plan| plan.plan_name.as_deref() == Some(&binding.plan_name));
    Ok(Lookup::Absent { missing: binding.bound.or(binding.named), same_name: plans })
}

/// Reads the plan's items, if there is a plan.
pub async fn items(cloud: &RocketMq, plan: &Lookup) -> Result<Vec<ItemView>, Error> {
    match plan {
        Lookup::Found(plan) => {
            let mut items = cloud.list_items(plan.plan_id).await?;
            // As for plans, though no such status of an item is documented.
            items.retain(|item| item.item_status.as_str() != PlanStatus::Deleted.as_str());
            Ok(items)
        }
        Lookup::Absent { .. } => Ok(vec![]),
    }
}

/// Reads all checkpoints of the items that the spec names, with all their pages; none where the plan does not synchronize
/// consumer progress.
pub async fn checkpoints(
    cloud: &RocketMq,
    spec: &DisasterRecoveryPlanSpec,
    status: &DisasterRecoveryPlanStatus,
    plan: &Lookup,
    items: &[ItemView],
) -> Result<BTreeMap<i64, Vec<Checkpoint>>, Error> {
    let mut all = BTreeMap::new();
    let Lookup::Found(plan) = plan else { return Ok(all) };
    if plan.sync_checkpoint_enabled == Some(false) {
        return Ok(all);
    }
    let instances = resolve::instances(spec, plan);
    for item in resolve::items(spec, &status.topic_mappings, &instances, items).mapped.into_values() {
        if item.item_status == ItemStatus::Creating {
            continue;
        }
        let found: &mut Vec<Checkpoint> = all.entry(item.item_id).or_default();
        for source in resolve::sources(spec, &instances) {
            match cloud.list_checkpoints(plan.plan_id, item.item_id, source).await {
                Ok(list) => found.extend(list),
                // An item that does not run may have none to show; it is not protected anyway.
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
