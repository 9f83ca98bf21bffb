//! The instances and items of the cloud that the parts of the spec mean. Pure. An observation resolves them once, for all later
//! stages.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};

use crate::api::plan::{
    CreationStatus, DisasterRecoveryPlanSpec, Instance, InstanceRole, InstanceType, ItemCreationStatus, MappedTopic,
    PlanType, TopicMapping, TopicMappingStatus,
};
use crate::cloud::rocketmq::{self, ItemTopic, ItemView, PlanView};
use crate::controller::ownership::{self, Owner};

/// The owner of a plan, by its mark.
pub fn owner(plan: &PlanView, mark: &str) -> Owner {
    ownership::owner(plan.plan_desc.as_deref().unwrap_or_default(), mark)
}

/// The name of a plan among the parts of the cloud side.
pub fn plan_part(plan_id: i64) -> String {
    format!("plan {plan_id}")
}

/// The name of an item among the parts of the cloud side.
pub fn item_part(item_id: i64) -> String {
    format!("item {item_id}")
}

/// The name of the plan that this Create without an answer may have made. Each Create has another one.
pub fn created_plan_part(creation: &CreationStatus) -> String {
    format!("plan of {} at {}", creation.nonce, creation.time)
}

/// The name of the item that this Add without an answer may have made. Each Add has another one.
pub fn added_item_part(creation: &ItemCreationStatus) -> String {
    format!("item of {} at {} for {}", creation.nonce, creation.time, creation.topics)
}

/// The API's name of an instance type.
pub fn instance_type(kind: InstanceType) -> &'static str {
    match kind {
        InstanceType::Aliyun => "ALIYUN_ROCKETMQ",
        InstanceType::External => "EXTERNAL_ROCKETMQ",
    }
}

/// The API's name of a role.
pub fn instance_role(role: InstanceRole) -> &'static str {
    match role {
        InstanceRole::Active => "ACTIVE",
        InstanceRole::Passive => "PASSIVE",
    }
}

/// The API's name of a plan type.
pub fn plan_type(kind: PlanType) -> &'static str {
    match kind {
        PlanType::ActivePassive => "ACTIVE_PASSIVE",
        PlanType::ActiveActive => "ACTIVE_ACTIVE",
    }
}

/// Positions of the spec's instances among those of the plan, by their names in the spec.
pub type Positions = BTreeMap<String, usize>;

/// Finds each instance of the spec among those of the plan, by its ID. The cloud chooses the ID of an external instance: it is
/// found by its endpoint, or as the only external instance that is left.
pub fn instances(spec: &DisasterRecoveryPlanSpec, plan: &PlanView) -> Positions {
    let mut found = Positions::new();
    for want in spec.instances.iter().filter(|want| want.instance_id.is_some()) {
        assign(&mut found, plan, want, |it| it.instance_id == want.instance_id);
    }
    for want in spec.instances.iter().filter(|want| want.instance_id.is_none()) {
        assign(&mut found, plan, want, |it| same_endpoint(want, it));
    }
    for want in spec.instances.iter().filter(|want| want.instance_id.is_none()) {
        let left = plan.instances.iter().enumerate().filter(|(at, it)| is_external(it) && !is_assigned(&found, *at));
        if left.count() == 1 {
            assign(&mut found, plan, want, is_external);
        }
    }
    found
}

/// Assigns to an instance of the spec the first instance of the plan that is the same and not assigned.
fn assign(found: &mut Positions, plan: &PlanView, want: &Instance, same: impl Fn(&rocketmq::Instance) -> bool) {
    if found.contains_key(&want.name) {
        return;
    }
    let at = plan.instances.iter().enumerate().position(|(at, it)| same(it) && !is_assigned(found, at));
    if let Some(at) = at {
        found.insert(want.name.clone(), at);
    }
}

fn is_assigned(found: &Positions, at: usize) -> bool {
    found.values().any(|assigned| *assigned == at)
}

fn is_external(instance: &rocketmq::Instance) -> bool {
    instance.instance_type.as_deref() == Some(instance_type(InstanceType::External))
}

/// Whether two instances have the same endpoint. One address in two networks is two clusters.
fn same_endpoint(want: &Instance, found: &rocketmq::Instance) -> bool {
    let network = found.vpc_id.is_none() || want.vpc_id.is_none() || found.vpc_id == want.vpc_id;
    network && found.endpoint_url.is_some() && found.endpoint_url == want.endpoint_url
}

/// Whether an instance of the plan may be the one of the spec. A value that the cloud does not show does not count as different.
pub fn may_be_same(want: &Instance, found: &rocketmq::Instance) -> bool {
    let same = |want: &Option<String>, found: &Option<String>| {
        let shown = found.as_ref().filter(|text| !text.is_empty());
        want.is_none() || shown.is_none() || want.as_ref() == shown
    };
    want.instance_id.is_some() || (same(&want.endpoint_url, &found.endpoint_url) && same(&want.vpc_id, &found.vpc_id))
}

/// Whether an instance of the spec is a source of checkpoints: the active one, or both in a plan that replicates both ways.
pub fn is_source(spec: &DisasterRecoveryPlanSpec, want: &Instance) -> bool {
    match spec.plan_type {
        PlanType::ActivePassive => want.instance_role == Some(InstanceRole::Active),
        PlanType::ActiveActive => true,
    }
}

/// The topics of a mapping in the form of the API. `found` returns an instance of the plan by its name in the spec.
pub fn topics<'a>(
    spec: &DisasterRecoveryPlanSpec,
    mapping: &TopicMapping,
    found: impl Fn(&str) -> Option<&'a rocketmq::Instance>,
) -> Vec<ItemTopic> {
    mapping.topics.iter().map(|topic| item_topic(spec, topic, found(&topic.instance))).collect()
}

fn item_topic(spec: &DisasterRecoveryPlanSpec, topic: &MappedTopic, found: Option<&rocketmq::Instance>) -> ItemTopic {
    let MappedTopic { instance, topic_name, delivery_order_type, consumer_group_id } = topic;
    let want = spec.instances.iter().find(|want| want.name == *instance);
    let found_id = found.and_then(|found| found.instance_id.clone());
    // The API cannot change these fields of an instance: those of the plan count.
    let shown = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (region, kind) =
        (found.map(|it| &it.region_id).and_then(shown), found.map(|it| &it.instance_type).and_then(shown));
    ItemTopic {
        region_id: region.or_else(|| want.map(|want| want.region_id.clone())),
        instance_type: kind.or_else(|| want.map(|want| instance_type(want.instance_type).to_owned())),
        instance_id: found_id.or_else(|| want.and_then(|want| want.instance_id.clone())),
        topic_name: Some(topic_name.clone()),
        consumer_group_id: consumer_group_id.clone(),
        delivery_order_type: delivery_order_type.map(|order| format!("{order:?}")),
    }
}

/// Whether two sides are the same topic of the same instance. A side without an instance matches any.
pub fn same_side(wanted: &ItemTopic, found: &ItemTopic) -> bool {
    same_instance(wanted, found) && wanted.topic_name == found.topic_name
}

/// Whether two sides are on the same instance, as far as both name one.
pub fn same_instance(wanted: &ItemTopic, found: &ItemTopic) -> bool {
    let id = |side: &ItemTopic| side.instance_id.clone().filter(|id| !id.is_empty());
    match (id(wanted), id(found)) {
        (Some(wanted), Some(found)) => wanted == found,
        (None, _) | (_, None) => true,
    }
}

/// A pair of topics as status remembers it: each side as instance/topic, in a fixed order.
pub fn pair(topics: &[ItemTopic]) -> String {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut sides: Vec<_> =
        topics.iter().map(|it| format!("{}/{}", part(&it.instance_id), part(&it.topic_name))).collect();
    sides.sort();
    sides.join(" ~ ")
}

/// A hash of all items, in whichever order they are listed.
pub fn items_fingerprint(items: &[ItemView]) -> u64 {
    unordered(items)
}

/// A hash of values, in whichever order they are.
pub fn unordered(values: impl IntoIterator<Item: Hash>) -> u64 {
    let hash = |value| BuildHasherDefault::<DefaultHasher>::default().hash_one(value);
    values.into_iter().map(hash).fold(0, u64::wrapping_add)
}

/// Whether an item maps the pair of topics, in whichever order it names them.
pub fn same_pair(wanted: &[ItemTopic], found: &[ItemTopic]) -> bool {
    match (wanted, found) {
        ([a, b], [x, y]) => (same_side(a, x) && same_side(b, y)) || (same_side(a, y) && same_side(b, x)),
        _ => false,
    }
}

/// Positions of the mappings' items among all items, by the mapping's name. An item is found by its pair of topics; of two
/// items with the same pair the older one counts. Where the topics of a mapping changed, the item in status counts, unless
/// another mapping has it.
pub fn items(
    spec: &DisasterRecoveryPlanSpec,
    known: &[TopicMappingStatus],
    topics: &BTreeMap<String, Vec<ItemTopic>>,
    items: &[ItemView],
) -> Positions {
    let mut oldest_first: Vec<usize> = (0..items.len()).collect();
    oldest_first.sort_by_key(|at| items[*at].item_id);
    let mut found = Positions::new();
    for mapping in &spec.topic_mappings {
        let Some(wanted) = topics.get(&mapping.name) else { continue };
        let same = |at: &usize| same_pair(wanted, &items[*at].topics) && !is_assigned(&found, *at);
        if let Some(at) = oldest_first.iter().copied().find(same) {
            found.insert(mapping.name.clone(), at);
        }
    }
    for mapping in &spec.topic_mappings {
        if found.contains_key(&mapping.name) {
            continue;
        }
        let id = known.iter().find(|it| it.name == mapping.name).and_then(|it| it.item_id.as_deref());
        let same = |at: &usize| id == Some(items[*at].item_id.to_string().as_str()) && !is_assigned(&found, *at);
        if let Some(at) = oldest_first.iter().copied().find(same) {
            found.insert(mapping.name.clone(), at);
        }
    }
    found
}
