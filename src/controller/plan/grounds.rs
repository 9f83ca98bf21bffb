//! What the observation of a reconcile says about protection: whether the mappings certainly replicate, and which checkpoints are
//! sampled. Consumer progress is judged on these grounds. Pure.

use std::sync::Arc;

use jiff::Timestamp;
use litemap::LiteMap;

use super::backlog::{BacklogSource, NotCounted, Replicator};
use super::observe::Observed;
use super::{Scope, decide, resolve};
use crate::api::condition::{offsets, protected};
use crate::api::plan::{Consumers, Instance, InstanceType, MessageEvidence, PlanType, TopicMapping};
use crate::cloud::rocketmq::{ItemStatus, PlanStatus, PlanView};
use crate::controller::conditions::{ConditionState, join_limited};
use crate::controller::ownership::Owner;

/// What an observation says about protection.
#[derive(Clone, Debug, PartialEq)]
pub struct Grounds {
    /// The generation of the spec that was compared.
    pub generation: Option<i64>,
    /// The plan, if it is this object's.
    pub plan_id: Option<i64>,
    /// The start of the newest read that showed the items like this.
    pub items_at: Timestamp,
    /// `Protected` and `OffsetsCovered`, where checkpoints do not matter.
    pub settled: Option<Box<(ConditionState, ConditionState)>>,
    /// `Protected`, where mappings do not replicate, or it is not known whether they do.
    pub not_replicating: Option<Box<ConditionState>>,
    /// What is not known, for each mapping or direction concerned.
    pub gaps: Box<[String]>,
    /// Whether the plan synchronizes consumer progress.
    pub synchronizes: bool,
    /// Whether no mapping is expected to have consumers, and each has an item.
    pub nothing_to_cover: bool,
    /// Whether the plan is this object's to change: it carries our mark, or did so before.
    pub managed: bool,
    /// The IDs of the instances that progress comes from.
    pub sources: Box<[Arc<str>]>,
    /// The mappings with an item.
    pub mappings: Box<[GroundsOfMapping]>,
    /// Whether both instances have consumers of their own. Then progress is not evidence.
    pub two_way: bool,
    /// The replication from each source instance, where the message backlog is evidence.
    pub replicators: Box<[Replicator]>,
}

/// What an observation says about one topic mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroundsOfMapping {
    /// The name in the spec.
    pub name: Arc<str>,
    /// The item.
    pub item_id: i64,
    /// Whether the item runs.
    pub runs: bool,
    /// Whether consumers are expected.
    pub consumers: Consumers,
}

impl GroundsOfMapping {
    /// Whether a list without checkpoints proves nothing.
    pub fn expects_checkpoints(&self) -> bool {
        self.runs && self.consumers == Consumers::Expected
    }
}

impl Grounds {
    /// The grounds by an observation that began at `started`.
    pub fn new(scope: &Scope<'_>, observed: &Observed, started: Timestamp) -> Self {
        let spec = &scope.object.spec;
        let plan = plan_of(scope, observed);
        let names: Vec<Arc<str>> = spec.topic_mappings.iter().map(|it| it.name.as_str().into()).collect();
        let mapped = |(mapping, name): (&TopicMapping, &Arc<str>)| {
            // An item that is being created has no checkpoints.
            let item = observed.item(&mapping.name).filter(|item| item.item_status != ItemStatus::Creating)?;
            let (name, runs) = (name.clone(), item.item_status == ItemStatus::Running);
            Some(GroundsOfMapping { name, item_id: item.item_id, runs, consumers: mapping.consumers })
        };
        let unread = |it: &TopicMapping| it.consumers == Consumers::NotExpected && observed.item(&it.name).is_some();
        Self {
            generation: scope.generation(),
            plan_id: plan.map(|plan| plan.plan_id).filter(|_| !scope.deleting()),
            items_at: started,
            settled: settled(scope, observed).map(Box::new),
            not_replicating: plan.and_then(|plan| not_replicating(scope, observed, plan)).map(Box::new),
            gaps: plan.map(|plan| gaps(scope, observed, plan)).unwrap_or_default().into(),
            synchronizes: plan.is_some_and(|plan| plan.sync_checkpoint_enabled != Some(false)),
            nothing_to_cover: !spec.topic_mappings.is_empty() && spec.topic_mappings.iter().all(unread),
            managed: plan.is_some_and(|plan| observed.manages(plan)),
            sources: observed.sources(spec).into_iter().map(Arc::from).collect(),
            mappings: spec.topic_mappings.iter().zip(&names).filter_map(mapped).collect(),
            two_way: spec.plan_type == PlanType::ActiveActive,
            replicators: replicators(scope, observed, &names),
        }
    }

    /// Takes the names that are as before from the earlier grounds: samples share them.
    pub fn share(&mut self, before: &Grounds) {
        if self.sources == before.sources {
            self.sources.clone_from(&before.sources);
        }
        if self.mappings == before.mappings {
            self.mappings.clone_from(&before.mappings);
        }
        for replicator in &mut self.replicators {
            let Some(known) = before.replicator(&replicator.instance) else { continue };
            replicator.instance.clone_from(&known.instance);
            if replicator.source == known.source {
                replicator.source.clone_from(&known.source);
            }
            if replicator.topics == known.topics {
                replicator.topics.clone_from(&known.topics);
            }
        }
    }

    /// The replication from an instance, by its name in the spec.
    pub fn replicator(&self, instance: &str) -> Option<&Replicator> {
        self.replicators.iter().find(|it| *it.instance == *instance)
    }

    /// The topic of a mapping at a source instance, where its messages are counted.
    pub fn topic(&self, instance_id: &str, mapping: &str) -> Option<&Arc<str>> {
        let at = |it: &&Replicator| it.source.as_ref().is_ok_and(|source| *source.instance_id == *instance_id);
        self.replicators.iter().find(at)?.topics.get(mapping)
    }

    /// Whether the plan is read between reconciles.
    pub fn samples_checkpoints(&self) -> bool {
        self.plan_id.is_some()
    }

    /// What is known of a mapping.
    pub fn mapping(&self, name: &str) -> Option<&GroundsOfMapping> {
        self.mappings.iter().find(|it| *it.name == *name)
    }

    /// The item of a mapping.
    pub fn item(&self, name: &str) -> Option<i64> {
        self.mapping(name).map(|it| it.item_id)
    }
}

/// The replication from each source instance. `names` are those of the topic mappings.
fn replicators(scope: &Scope<'_>, observed: &Observed, names: &[Arc<str>]) -> Box<[Replicator]> {
    let spec = &scope.object.spec;
    let sources = spec.instances.iter().filter(|want| resolve::is_source(spec, want));
    let required = sources.filter(|_| spec.message_evidence == MessageEvidence::Required);
    required.map(|want| replicator(scope, observed, names, want)).collect()
}

fn replicator(scope: &Scope<'_>, observed: &Observed, names: &[Arc<str>], want: &Instance) -> Replicator {
    let id = observed.instance(&want.name).and_then(|found| found.instance_id.as_deref());
    let topic = |(mapping, name): (&TopicMapping, &Arc<str>)| {
        let item = observed.item(&mapping.name).filter(|item| item.item_status == ItemStatus::Running)?;
        let replicated = item.topics.iter().find(|topic| topic.instance_id.as_deref() == id);
        let wanted = mapping.topics.iter().find(|topic| topic.instance == want.name);
        let topic = replicated.and_then(|it| it.topic_name.as_ref()).or(wanted.map(|it| &it.topic_name))?;
        Some((name.clone(), topic.as_str().into()))
    };
    let mut topics = LiteMap::with_capacity(names.len());
    topics.extend(scope.object.spec.topic_mappings.iter().zip(names).filter_map(topic));
    Replicator { instance: want.name.as_str().into(), source: backlog_source(observed, want).map(Arc::new), topics }
}

/// Where the messages that are not replicated from an instance are counted.
fn backlog_source(observed: &Observed, want: &Instance) -> Result<BacklogSource, NotCounted> {
    if want.instance_type == InstanceType::External {
        return Err(NotCounted::External);
    }
    let given = |text: &Option<String>| text.as_deref().filter(|it| !it.is_empty()).map(Box::from);
    let found = observed.instance(&want.name).ok_or(NotCounted::NoInstance)?;
    let instance_id = given(&found.instance_id).ok_or(NotCounted::NoInstance)?;
    let group = given(&found.consumer_group_id).ok_or(NotCounted::NoGroup)?;
    Ok(BacklogSource { region: want.region_id.as_str().into(), instance_id, group })
}

/// The plan, unless another object owns it: such a plan proves nothing about this object. Observe mode accepts any plan.
pub fn plan_of<'a>(scope: &Scope<'_>, observed: &'a Observed) -> Option<&'a PlanView> {
    let plan = observed.found()?;
    let foreign = matches!(resolve::owner(plan, &observed.binding.mark), Owner::Another(_));
    (scope.observe_only() || !foreign).then_some(plan)
}

/// Whether the plan that is not found is gone.
pub fn missing_is_proven(scope: &Scope<'_>, observed: &Observed) -> bool {
    observed.missing.is_some_and(|id| scope.absence(&resolve::plan_part(id)).is_proven())
}

/// The ID of a plan that is not found, without proof that it is gone.
pub fn missing(scope: &Scope<'_>, observed: &Observed) -> Option<i64> {
    observed.missing.filter(|id| observed.binding.knows(*id) && !missing_is_proven(scope, observed))
}

/// The message on an undocumented status of the plan.
pub fn undocumented(status: &str) -> String {
    format!("the plan is {status:?}, a status that is not documented")
}

fn unknown(text: &str) -> (ConditionState, ConditionState) {
    (ConditionState::unknown(protected::UNKNOWN, text), ConditionState::unknown(offsets::UNKNOWN, text))
}

/// `Protected` and `OffsetsCovered` without a plan of this object.
fn settled(scope: &Scope<'_>, observed: &Observed) -> Option<(ConditionState, ConditionState)> {
    if scope.deleting() {
        return Some(unknown("the object is being deleted"));
    }
    if plan_of(scope, observed).is_some() {
        return None;
    }
    if observed.found().is_some() {
        return Some(unknown("the plan is another owner's"));
    }
    Some(match missing(scope, observed) {
        Some(id) => unknown(&format!("plan {id} is not found, and it is not known whether it is gone")),
        None => {
            let text = "there is no plan";
            let stopped = ConditionState::no(protected::REPLICATION_STOPPED, text);
            (stopped, ConditionState::unknown(offsets::UNKNOWN, text))
        }
    })
}

fn not_replicating(scope: &Scope<'_>, observed: &Observed, plan: &PlanView) -> Option<ConditionState> {
    replication_stopped(scope, observed).or_else(|| {
        let text = replication_unknown(scope, observed, plan)?;
        Some(ConditionState::unknown(protected::UNKNOWN, text))
    })
}

/// What is not known besides consumer progress: mappings without an item, and a direction that is not observed.
fn gaps(scope: &Scope<'_>, observed: &Observed, plan: &PlanView) -> Vec<String> {
    let spec = &scope.object.spec;
    let missing = |it: &&TopicMapping| observed.item(&it.name).is_none() && !certainly_stopped(scope, observed, it);
    let mut gaps: Vec<_> =
        spec.topic_mappings.iter().filter(missing).map(|it| format!("{} (its item is not found)", it.name)).collect();
    gaps.extend(decide::other_direction(spec, observed, plan));
    gaps
}

/// `Protected` where a mapping certainly does not replicate.
fn replication_stopped(scope: &Scope<'_>, observed: &Observed) -> Option<ConditionState> {
    let mappings = &scope.object.spec.topic_mappings;
    if mappings.is_empty() {
        let text = "no topic is replicated: add topicMappings";
        return Some(ConditionState::no(protected::REPLICATION_STOPPED, text));
    }
    let stopped: Vec<_> =
        mappings.iter().filter(|it| certainly_stopped(scope, observed, it)).map(|it| it.name.clone()).collect();
    let text = format!("topic mappings do not replicate: {}", join_limited(&stopped));
    (!stopped.is_empty()).then(|| ConditionState::no(protected::REPLICATION_STOPPED, text))
}

/// Whether a mapping has no item, or one in a documented status other than RUNNING.
fn certainly_stopped(scope: &Scope<'_>, observed: &Observed, mapping: &TopicMapping) -> bool {
    match observed.item(&mapping.name).map(|item| &item.item_status) {
        Some(ItemStatus::Running | ItemStatus::Other(_)) => false,
        Some(_) => true,
        None => observed.items_complete && observed.has_instances(&scope.object.spec) && !any_missing(scope, observed),
    }
}

/// Whether an item may exist although a complete list lacks it: that of any mapping, since a mapping may have another name now.
fn any_missing(scope: &Scope<'_>, observed: &Observed) -> bool {
    let unproven = |id: &i64| !scope.absence(&resolve::item_part(*id)).is_proven();
    observed.missing_items(scope).iter().any(unproven)
}

/// The reason why it is not known what replicates, if there is one.
fn replication_unknown(scope: &Scope<'_>, observed: &Observed, plan: &PlanView) -> Option<String> {
    let spec = &scope.object.spec;
    if let PlanStatus::Other(status) = &plan.plan_status {
        return Some(undocumented(status));
    }
    if let Some(message) = decide::other_direction(spec, observed, plan) {
        return Some(message);
    }
    let mut unknown = Vec::new();
    for mapping in &spec.topic_mappings {
        match observed.item(&mapping.name).map(|item| &item.item_status) {
            Some(ItemStatus::Other(status)) => unknown.push(format!("{} ({status:?} is not documented)", mapping.name)),
            Some(_) => {}
            None => unknown.push(format!("{} (its item is not found)", mapping.name)),
        }
    }
    let text = format!("it is not known whether topic mappings replicate: {}", join_limited(&unknown));
    (!unknown.is_empty()).then_some(text)
}
