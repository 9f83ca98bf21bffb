//! The plan itself: the request that creates it, and its differences that the API can and cannot change.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::{Scope, Step, difference};
use crate::api::plan::{AuthType, DisasterRecoveryPlanSpec, Drift, Instance, ManagementPolicy, NetworkType};
use crate::cloud::rocketmq::{self, Plan, PlanView, is_mask};
use crate::controller::ownership;
use crate::controller::plan::binding::Binding;
use crate::controller::plan::credentials::AclCredentials;
use crate::controller::plan::observe::Observed;
use crate::controller::plan::resolve;

/// The text in place of a secret.
const REDACTED: &str = "[redacted]";

type Credentials = BTreeMap<String, AclCredentials>;

/// The request of Create.
pub(super) fn new_plan(spec: &DisasterRecoveryPlanSpec, binding: &Binding, credentials: &Credentials) -> Plan {
    let instances = spec.instances.iter().map(|want| instance(want, None, credentials.get(&want.name)));
    Plan {
        plan_name: Some(binding.plan_name.clone()),
        plan_desc: Some(ownership::marked(spec.plan_desc.as_deref().unwrap_or_default(), &binding.mark)),
        plan_type: Some(resolve::plan_type(spec.plan_type).into()),
        instances: Some(instances.collect()),
        auto_sync_checkpoint: spec.auto_sync_checkpoint,
        sync_checkpoint_enabled: spec.sync_checkpoint_enabled,
    }
}

/// An instance in the form of the API: the values of the spec, else those of the cloud. A field that the API cannot change has the
/// value of the cloud, where the cloud shows one.
fn instance(
    want: &Instance,
    found: Option<&rocketmq::Instance>,
    credentials: Option<&AclCredentials>,
) -> rocketmq::Instance {
    let Instance {
        name: _,
        instance_type,
        instance_role,
        region_id,
        instance_id,
        endpoint_url,
        network_type,
        vpc_id,
        v_switch_ids,
        security_group_id,
        consumer_group_id,
        auth_type,
        credentials_secret_ref: _,
        message_property,
    } = want;
    let mut sent = found.map(resendable).unwrap_or_default();
    let set = |field: &mut Option<String>, value: Option<String>| {
        if field.is_none() {
            *field = value;
        }
    };
    set(&mut sent.instance_type, Some(resolve::instance_type(*instance_type).into()));
    set(&mut sent.region_id, Some(region_id.clone()));
    set(&mut sent.instance_role, instance_role.map(|role| resolve::instance_role(role).into()));
    set(&mut sent.instance_id, instance_id.clone());
    set(&mut sent.endpoint_url, endpoint_url.clone());
    set(&mut sent.network_type, network_type.map(|kind| network(kind).into()));
    set(&mut sent.vpc_id, vpc_id.clone());
    set(&mut sent.v_switch_id, v_switch_ids.as_ref().map(|ids| ids.join("|")));
    set(&mut sent.security_group_id, security_group_id.clone());
    set(&mut sent.consumer_group_id, consumer_group_id.clone());
    if let Some(auth) = auth_type {
        sent.auth_type = Some(authentication(*auth).into());
        let ours = credentials.filter(|_| *auth == AuthType::Acl);
        sent.username = ours.map(|it| it.username.expose_secret().to_owned());
        sent.password = ours.and_then(|it| it.password.clone()).map(Into::into);
    }
    if let Some(property) = message_property {
        sent.message_property = Some(rocketmq::MessageProperty {
            property_key: Some(property.property_key.clone()),
            property_value: Some(property.property_value.clone()),
        });
    }
    sent
}

/// The values of the cloud that can be sent back: no empty text, and no mask in place of a secret.
fn resendable(found: &rocketmq::Instance) -> rocketmq::Instance {
    let text = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
    rocketmq::Instance {
        instance_type: text(&found.instance_type),
        region_id: text(&found.region_id),
        instance_id: text(&found.instance_id),
        instance_role: text(&found.instance_role),
        auth_type: text(&found.auth_type),
        username: found.username.clone().filter(|text| !is_mask(text)),
        password: found.password.clone().filter(|password| !password.is_mask()),
        endpoint_url: text(&found.endpoint_url),
        network_type: text(&found.network_type),
        vpc_id: text(&found.vpc_id),
        v_switch_id: text(&found.v_switch_id),
        security_group_id: text(&found.security_group_id),
        message_property: found.message_property.clone().filter(|it| it.property_key.is_some()),
        consumer_group_id: text(&found.consumer_group_id),
    }
}

fn network(kind: NetworkType) -> &'static str {
    match kind {
        NetworkType::Internet => "TCP_INTERNET",
        NetworkType::Vpc => "TCP_VPC",
    }
}

fn authentication(kind: AuthType) -> &'static str {
    match kind {
        AuthType::NoAuth => "NO_AUTH",
        AuthType::Acl => "ACL_AUTH",
    }
}

/// The differences that the API can change.
pub(super) struct Update {
    /// The one step that removes them.
    pub(super) step: Option<Step>,
    /// The differences.
    pub(super) drift: Vec<Drift>,
    /// The fields that the step changes.
    pub(super) fields: Vec<String>,
    /// Whether name or description differ.
    pub(super) texts_differ: bool,
    /// Whether the step changes more than name and description.
    pub(super) beyond_texts: bool,
    /// Whether a Secret was rotated.
    pub(super) rotated: bool,
}

/// A hash of the name and description that the spec asks for.
pub(super) fn texts_hash(scope: &Scope<'_>, observed: &Observed) -> String {
    let description = scope.object.spec.plan_desc.as_deref().unwrap_or_default();
    let hash = Sha256::digest(format!("{}\n{description}", observed.binding.plan_name));
    hex::encode(&hash[..8])
}

/// Compares the fields that the API can change: name, description, the two switches, message attributes and authentication.
pub(super) fn update(
    scope: &Scope<'_>,
    observed: &Observed,
    plan: &PlanView,
    credentials: Option<&Credentials>,
) -> Update {
    let (spec, binding) = (&scope.object.spec, &observed.binding);
    let found_desc = plan.plan_desc.as_deref().unwrap_or_default();
    let text = spec.plan_desc.as_deref().unwrap_or_else(|| ownership::unmarked(found_desc));
    let (wanted_desc, found_desc) = match spec.management_policy {
        ManagementPolicy::Manage => (ownership::marked(text, &binding.mark), found_desc),
        // Observe mode neither wants a mark nor counts one as a difference.
        ManagementPolicy::Observe => (text.to_owned(), ownership::unmarked(found_desc)),
    };
    let mut drift = Vec::new();
    if plan.plan_name.as_deref() != Some(&binding.plan_name) {
        drift.push(difference("planName", &binding.plan_name, plan.plan_name.as_deref().unwrap_or_default()));
    }
    if found_desc.trim() != wanted_desc.trim() {
        drift.push(difference("planDesc", &wanted_desc, found_desc));
    }
    let texts = drift.len();
    let switches = [
        ("syncCheckpointEnabled", spec.sync_checkpoint_enabled, plan.sync_checkpoint_enabled),
        ("autoSyncCheckpoint", spec.auto_sync_checkpoint, plan.auto_sync_checkpoint),
    ];
    for (field, wanted, found) in switches {
        // An absent switch is off.
        let found = found.unwrap_or_default();
        if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
            drift.push(difference(field, wanted, found));
        }
    }
    let (instance_drift, rotated) = instances_drift(scope, observed, credentials);
    let instances_differ = !instance_drift.is_empty() || rotated;
    drift.extend(instance_drift);
    let step = (!drift.is_empty() || rotated).then(|| {
        let instances = spec
            .instances
            .iter()
            .map(|it| instance(it, observed.instance(&it.name), credentials.and_then(|all| all.get(&it.name))));
        let plan_body = Plan {
            plan_name: Some(binding.plan_name.clone()),
            plan_desc: Some(wanted_desc),
            plan_type: None,
            instances: instances_differ.then(|| instances.collect()),
            auto_sync_checkpoint: spec.auto_sync_checkpoint,
            sync_checkpoint_enabled: spec.sync_checkpoint_enabled,
        };
        Step::UpdatePlan { plan_id: plan.plan_id, plan: plan_body }
    });
    let beyond_texts = drift.len() > texts || rotated;
    let fields = drift.iter().map(|it| it.field.clone()).collect();
    Update { step, drift, fields, texts_differ: texts > 0, beyond_texts, rotated }
}

/// The differences of the instances that the API can change, and whether a Secret was rotated.
fn instances_drift(scope: &Scope<'_>, observed: &Observed, credentials: Option<&Credentials>) -> (Vec<Drift>, bool) {
    let (mut drift, mut rotated) = (Vec::new(), false);
    for wanted in &scope.object.spec.instances {
        let Some(found) = observed.instance(&wanted.name) else { continue };
        let sent = scope.status.sent_credentials.iter().any(|it| it.instance == wanted.name);
        drift.extend(instance_drift(wanted, found, sent));
        let Some(ours) = credentials.and_then(|all| all.get(&wanted.name)) else { continue };
        match secret_state(scope, wanted, found, ours) {
            SecretState::Same => {}
            SecretState::Rotated => rotated = true,
            SecretState::Different => {
                let field = format!("instances[{}].credentialsSecretRef", wanted.name);
                drift.push(difference(field, REDACTED, REDACTED));
            }
        }
    }
    (drift, rotated)
}

fn instance_drift(wanted: &Instance, found: &rocketmq::Instance, sent: bool) -> Vec<Drift> {
    let field = |name: &str| format!("instances[{}].{name}", wanted.name);
    let mut drift = Vec::new();
    if let Some(property) = &wanted.message_property {
        let other = found.message_property.clone().unwrap_or_default();
        let show = |key: &str, value: &str| format!("{key}={value}");
        let (key, value) = (other.property_key.unwrap_or_default(), other.property_value.unwrap_or_default());
        if (&key, &value) != (&property.property_key, &property.property_value) {
            let wanted = show(&property.property_key, &property.property_value);
            drift.push(difference(field("messageProperty"), wanted, show(&key, &value)));
        }
    }
    if let Some(auth) = wanted.auth_type {
        // The cloud may omit the type where there is no authentication, or always.
        let shown = found.auth_type.as_deref().filter(|text| !text.is_empty());
        let found = shown.unwrap_or(if sent { authentication(auth) } else { "NO_AUTH" });
        if !found.eq_ignore_ascii_case(authentication(auth)) {
            drift.push(difference(field("authType"), authentication(auth), found));
        }
    }
    drift
}

enum SecretState {
    /// The cloud has the present content of the Secret, as far as is known.
    Same,
    /// The Secret changed since the operator sent it.
    Rotated,
    /// The cloud shows other values.
    Different,
}

/// Compares a user name and password with the values of the cloud. A mask proves nothing: then the resourceVersion of the sent
/// Secret decides.
fn secret_state(
    scope: &Scope<'_>,
    wanted: &Instance,
    found: &rocketmq::Instance,
    ours: &AclCredentials,
) -> SecretState {
    let sent = scope.status.sent_credentials.iter().find(|it| {
        it.instance == wanted.name && it.secret_name == ours.secret_name && it.resource_version == ours.resource_version
    });
    let shown = |text: Option<&str>| text.filter(|text| !is_mask(text)).map(str::to_owned);
    let username = shown(found.username.as_deref());
    let password = found.password.as_ref().filter(|it| !it.is_mask()).map(|it| it.expose().to_owned());
    let same = |found: Option<&str>, ours: &str| found.map(|found| found == ours);
    let username_same = same(username.as_deref(), ours.username.expose_secret());
    let password_same = match &ours.password {
        // A password may look like a mask.
        Some(secret) if found.password.as_ref().is_some_and(|it| it.expose() == secret.expose_secret()) => Some(true),
        Some(secret) => same(password.as_deref(), secret.expose_secret()),
        None => Some(true),
    };
    match (username_same, password_same) {
        (Some(true), Some(true)) => SecretState::Same,
        (username_same, password_same) => match sent {
            None => SecretState::Rotated,
            Some(_) if username_same == Some(false) => SecretState::Different,
            // Another value may be a mask of another kind, unless the cloud showed our own password before.
            Some(sent) if password_same == Some(false) && sent.echoed => SecretState::Different,
            Some(_) => SecretState::Same,
        },
    }
}

/// The differences that the API cannot change, by the current documentation: the type, and the instances but for their message
/// attribute and authentication.
pub(super) fn immutable(spec: &DisasterRecoveryPlanSpec, observed: &Observed, plan: &PlanView) -> Vec<Drift> {
    let mut drift = Vec::new();
    compare(&mut drift, "planType".into(), resolve::plan_type(spec.plan_type), plan.plan_type.as_deref());
    for wanted in &spec.instances {
        if let Some(found) = observed.instance(&wanted.name) {
            immutable_of_instance(&mut drift, wanted, found);
        }
    }
    if plan.instances.len() > spec.instances.len() {
        drift.push(difference("instances", spec.instances.len(), plan.instances.len()));
    }
    for wanted in spec.instances.iter().filter(|it| observed.instance(&it.name).is_none()) {
        let mut others = Vec::new();
        for it in &plan.instances {
            others.push(it.instance_id.clone().or(it.endpoint_url.clone()).unwrap_or_default());
        }
        let name = wanted.instance_id.as_deref().or(wanted.endpoint_url.as_deref()).unwrap_or_default();
        drift.push(difference(format!("instances[{}]", wanted.name), name, others.join(", ")));
    }
    drift
}

/// Why the plan does not replicate between the instances or in the direction of the spec, if that is so.
pub fn other_direction(spec: &DisasterRecoveryPlanSpec, observed: &Observed, plan: &PlanView) -> Option<String> {
    if !observed.has_instances(spec) {
        return Some("the plan is between other instances than the spec says".into());
    }
    let mut drift = Vec::new();
    compare(&mut drift, "planType".into(), resolve::plan_type(spec.plan_type), plan.plan_type.as_deref());
    for wanted in &spec.instances {
        let found = observed.instance(&wanted.name).and_then(|found| found.instance_role.as_deref());
        if let Some(role) = wanted.instance_role {
            compare(
                &mut drift,
                format!("instances[{}].instanceRole", wanted.name),
                resolve::instance_role(role),
                found,
            );
        }
    }
    let drift = drift.first()?;
    Some(format!("{} of the plan is {}, and the spec says {}", drift.field, drift.found, drift.wanted))
}

fn immutable_of_instance(drift: &mut Vec<Drift>, wanted: &Instance, found: &rocketmq::Instance) {
    let mut same = |name: &str, wanted_text: Option<&str>, found: &Option<String>| {
        if let Some(text) = wanted_text {
            compare(drift, format!("instances[{}].{name}", wanted.name), text, found.as_deref());
        }
    };
    same("instanceType", Some(resolve::instance_type(wanted.instance_type)), &found.instance_type);
    same("instanceRole", wanted.instance_role.map(resolve::instance_role), &found.instance_role);
    same("regionId", Some(&wanted.region_id), &found.region_id);
    same("endpointUrl", wanted.endpoint_url.as_deref(), &found.endpoint_url);
    same("networkType", wanted.network_type.map(network), &found.network_type);
    same("vpcId", wanted.vpc_id.as_deref(), &found.vpc_id);
    same("securityGroupId", wanted.security_group_id.as_deref(), &found.security_group_id);
    if wanted.instance_id.is_none() {
        // The cloud chooses the group of its own instances.
        same("consumerGroupId", wanted.consumer_group_id.as_deref(), &found.consumer_group_id);
    }
    let found_ids = found.v_switch_id.as_deref().unwrap_or_default();
    if let Some(wanted_ids) = &wanted.v_switch_ids
        && !found_ids.is_empty()
        && found_ids.split('|').collect::<BTreeSet<_>>() != wanted_ids.iter().map(String::as_str).collect()
    {
        same("vSwitchIds", Some(&wanted_ids.join("|")), &found.v_switch_id);
    }
}

/// Adds a difference between two texts. A value that the cloud does not show does not count as different.
fn compare(drift: &mut Vec<Drift>, field: String, wanted: &str, found: Option<&str>) {
    match found.filter(|found| !found.is_empty()) {
        Some(found) if !found.eq_ignore_ascii_case(wanted) => drift.push(difference(field, wanted, found)),
        Some(_) | None => {}
    }
}
