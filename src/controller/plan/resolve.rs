//! Which instance and item of the cloud each part of the spec means. Pure; every later stage goes by its answers.

use std::collections::BTreeMap;

use crate::api::plan::{
    DisasterRecoveryPlanSpec, Instance, InstanceRole, InstanceType, MappedTopic, PlanType, TopicMapping,
    TopicMappingStatus,
};
use crate::cloud::rocketmq::{self, ItemTopic, ItemView, PlanView};
use crate::controller::ownership::{self, Owner};

/// Whose mark a plan carries.
pub fn owner(plan: &PlanView, mark: &str) -> Owner {
    ownership::owner(plan.plan_desc.as_deref().unwrap_or_default(), mark)
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

/// The plan's instances in the cloud, by the names of the spec.
pub type Instances<'a> = BTreeMap<&'a str, &'a rocketmq::Instance>;

/// Finds each instance of the spec among those of the plan: by ID; an external one, whose ID the cloud chose, by its
/// endpoint, or as the only external one that is left.
pub fn instances<'a>(spec: &'a DisasterRecoveryPlanSpec, plan: &'a PlanView) -> Instances<'a> {
    let mut found = Instances::new();
    let mut left: Vec<&rocketmq::Instance> = plan.instances.iter().collect();
    let mut take =
        |want: &'a Instance, left: &mut Vec<&'a rocketmq::Instance>, same: &dyn Fn(&rocketmq::Instance) -> bool| {
            if !found.contains_key(want.name.as_str())
                && let Some(at) = left.iter().position(|it| same(it))
            {
                found.insert(&want.name, left.remove(at));
            }
        };
    for want in spec.instances.iter().filter(|want| want.instance_id.is_some()) {
        take(want, &mut left, &|it| it.instance_id == want.instance_id);
    }
    let external = |it: &rocketmq::Instance| it.instance_type.as_deref() == Some(instance_type(InstanceType::External));
    for want in spec.instances.iter().filter(|want| want.instance_id.is_none()) {
        take(want, &mut left, &|it| {
            // The same address in two networks is two clusters.
            let network = it.vpc_id.is_none() || want.vpc_id.is_none() || it.vpc_id == want.vpc_id;
            network && it.endpoint_url.is_some() && it.endpoint_url == want.endpoint_url
        });
    }
    for want in spec.instances.iter().filter(|want| want.instance_id.is_none()) {
        if left.iter().filter(|it| external(it)).count() == 1 {
            take(want, &mut left, &external);
        }
    }
    found
}

/// The source instances of checkpoints: the active one, or both where a plan goes both ways.
pub fn sources<'a>(spec: &DisasterRecoveryPlanSpec, instances: &Instances<'a>) -> Vec<&'a str> {
    let is_source = |want: &&Instance| match spec.plan_type {
        PlanType::ActivePassive => want.instance_role == Some(InstanceRole::Active),
        PlanType::ActiveActive => true,
    };
    let ids = spec.instances.iter().filter(is_source).filter_map(|want| instances.get(want.name.as_str()));
    ids.filter_map(|it| it.instance_id.as_deref()).collect()
}

/// The topics of a mapping as the API takes them.
pub fn topics(spec: &DisasterRecoveryPlanSpec, mapping: &TopicMapping, instances: &Instances<'_>) -> Vec<ItemTopic> {
    let side = |topic: &MappedTopic| {
        let MappedTopic { instance, topic_name, delivery_order_type, consumer_group_id } = topic;
        let want = spec.instances.iter().find(|want| want.name == *instance);
        let found = instances.get(instance.as_str());
        ItemTopic {
            region_id: want.map(|want| want.region_id.clone()),
            instance_type: want.map(|want| instance_type(want.instance_type).to_owned()),
            instance_id: found
                .and_then(|found| found.instance_id.clone())
                .or_else(|| want.and_then(|want| want.instance_id.clone())),
            topic_name: Some(topic_name.clone()),
            consumer_group_id: consumer_group_id.clone(),
            delivery_order_type: delivery_order_type.map(|order| format!("{order:?}")),
        }
    };
    mapping.topics.iter().map(side).collect()
}

/// Whether two sides are the same topic of the same instance. An instance that is not named may be any.
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

/// Whether an item maps the pair of topics, in whichever order it names them.
pub fn same_pair(wanted: &[ItemTopic], found: &[ItemTopic]) -> bool {
    match (wanted, found) {
        ([a, b], [x, y]) => (same_side(a, x) && same_side(b, y)) || (same_side(a, y) && same_side(b, x)),
        _ => false,
    }
}

/// Which item each mapping has, and which items no mapping has.
#[derive(Debug, Default, PartialEq)]
pub struct Items<'a> {
    /// Items by the mapping's name.
    pub mapped: BTreeMap<&'a str, &'a ItemView>,
    /// All others.
    pub others: Vec<&'a ItemView>,
}

/// Finds each mapping's item: by its pair of topics; else, where the topics of a mapping were changed, by the item that
/// status remembers, unless another mapping has it. Of two items with the same pair the older one is taken.
pub fn items<'a>(
    spec: &'a DisasterRecoveryPlanSpec,
    known: &[TopicMappingStatus],
    instances: &Instances<'_>,
    items: &'a [ItemView],
) -> Items<'a> {
    let mut left: Vec<&ItemView> = items.iter().collect();
    left.sort_by_key(|item| item.item_id);
    let mut mapped = BTreeMap::new();
    for mapping in &spec.topic_mappings {
        let wanted = topics(spec, mapping, instances);
        if let Some(at) = left.iter().position(|item| same_pair(&wanted, &item.topics)) {
            mapped.insert(mapping.name.as_str(), left.remove(at));
        }
    }
    for mapping in &spec.topic_mappings {
        let id = known.iter().find(|it| it.name == mapping.name).and_then(|it| it.item_id.as_deref());
        let at = left.iter().position(|item| id == Some(item.item_id.to_string().as_str()));
        if let (false, Some(at)) = (mapped.contains_key(mapping.name.as_str()), at) {
            mapped.insert(mapping.name.as_str(), left.remove(at));
        }
    }
    Items { mapped, others: left }
}
