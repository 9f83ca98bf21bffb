//! The 14 disaster-recovery operations of ApsaraMQ for RocketMQ 2022-08-01 (ROA) and GetConsumerGroupLag: from paths,
//! queries and bodies to the model and back.

use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::http::{Incoming, decoded, region_of};
use super::model::{Failure, ListFault, Model, Paging, PlanFilter};

/// The first label of the product's host names.
pub(super) const PRODUCT: &str = "rocketmq";
/// The API version, the required value of `x-acs-version`.
pub(super) const VERSION: &str = "2022-08-01";

/// An operation with the ids of its path, not yet parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    CreatePlan,
    ListPlans,
    UpdatePlan(String),
    GetPlan(String),
    DeletePlan(String),
    AddItem(String),
    ListItems(String),
    UpdateItem(String, String),
    GetItem(String, String),
    DeleteItem(String, String),
    StartItem(String, String),
    StopItem(String, String),
    ListCheckpoints(String, String),
    SyncCheckpoint(String, String, String),
    /// Of an instance and a consumer group.
    ConsumerGroupLag(String, String),
}

impl Operation {
    /// The operation of a method and a path.
    pub(super) fn route(method: &Method, path: &str) -> Option<Operation> {
        let parts: Vec<String> = path.strip_prefix('/')?.split('/').map(decoded).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let own = str::to_owned;
        let operation = match (method.as_str(), parts.as_slice()) {
            ("POST", ["disaster_recovery"]) => Operation::CreatePlan,
            ("GET", ["disaster_recovery"]) => Operation::ListPlans,
            ("PATCH", ["disaster_recovery", plan]) => Operation::UpdatePlan(own(plan)),
            ("GET", ["disaster_recovery", plan]) => Operation::GetPlan(own(plan)),
            ("DELETE", ["disaster_recovery", plan]) => Operation::DeletePlan(own(plan)),
            ("POST", ["disaster_recovery", plan, "items"]) => Operation::AddItem(own(plan)),
            ("GET", ["disaster_recovery", plan, "items"]) => Operation::ListItems(own(plan)),
            ("PATCH", ["disaster_recovery", plan, "items", item]) => Operation::UpdateItem(own(plan), own(item)),
            ("GET", ["disaster_recovery", plan, "items", item]) => Operation::GetItem(own(plan), own(item)),
            ("DELETE", ["disaster_recovery", plan, "items", item]) => Operation::DeleteItem(own(plan), own(item)),
            ("POST", ["disaster_recovery", plan, "items", item, "start"]) => Operation::StartItem(own(plan), own(item)),
            ("POST", ["disaster_recovery", plan, "items", item, "stop"]) => Operation::StopItem(own(plan), own(item)),
            ("GET", ["disaster_recovery", plan, "items", item, "checkpoints"]) => {
                Operation::ListCheckpoints(own(plan), own(item))
            }
            ("POST", ["disaster_recovery", plan, "items", item, "checkpoints", checkpoint]) => {
                Operation::SyncCheckpoint(own(plan), own(item), own(checkpoint))
            }
            ("GET", ["instances", instance, "consumerGroups", group, "lag"]) => {
                Operation::ConsumerGroupLag(own(instance), own(group))
            }
            _ => return None,
        };
        Some(operation)
    }

    /// The action's name, the required value of `x-acs-action`.
    pub(super) fn action(&self) -> &'static str {
        match self {
            Operation::CreatePlan => "CreateDisasterRecoveryPlan",
            Operation::ListPlans => "ListDisasterRecoveryPlans",
            Operation::UpdatePlan(..) => "UpdateDisasterRecoveryPlan",
            Operation::GetPlan(..) => "GetDisasterRecoveryPlan",
            Operation::DeletePlan(..) => "DeleteDisasterRecoveryPlan",
            Operation::AddItem(..) => "AddDisasterRecoveryItem",
            Operation::ListItems(..) => "ListDisasterRecoveryItems",
            Operation::UpdateItem(..) => "UpdateDisasterRecoveryItem",
            Operation::GetItem(..) => "GetDisasterRecoveryItem",
            Operation::DeleteItem(..) => "DeleteDisasterRecoveryItem",
            Operation::StartItem(..) => "StartDisasterRecoveryItem",
            Operation::StopItem(..) => "StopDisasterRecoveryItem",
            Operation::ListCheckpoints(..) => "ListDisasterRecoveryCheckpoints",
            Operation::SyncCheckpoint(..) => "SyncDisasterRecoveryCheckpoint",
            Operation::ConsumerGroupLag(..) => "GetConsumerGroupLag",
        }
    }

    /// Whether it can change the cloud.
    pub(super) fn is_changing(&self) -> bool {
        match self {
            Operation::ListPlans
            | Operation::GetPlan(..)
            | Operation::ListItems(..)
            | Operation::GetItem(..)
            | Operation::ListCheckpoints(..)
            | Operation::ConsumerGroupLag(..) => false,
            Operation::CreatePlan
            | Operation::UpdatePlan(..)
            | Operation::DeletePlan(..)
            | Operation::AddItem(..)
            | Operation::UpdateItem(..)
            | Operation::DeleteItem(..)
            | Operation::StartItem(..)
            | Operation::StopItem(..)
            | Operation::SyncCheckpoint(..) => true,
        }
    }

    /// Executes the operation and returns the `data` of the reply.
    pub(super) fn perform(
        &self,
        incoming: &Incoming,
        model: &mut Model,
        (region, lists): (&str, &ListFault),
        now: i64,
    ) -> Result<Value, Failure> {
        self.check_hidden(lists)?;
        let mut data = self.call(incoming, model, (region, lists), now)?;
        self.replace_fields(&mut data, lists);
        Ok(data)
    }

    fn call(
        &self,
        incoming: &Incoming,
        model: &mut Model,
        (region, lists): (&str, &ListFault),
        now: i64,
    ) -> Result<Value, Failure> {
        match self {
            Operation::CreatePlan => Ok(json!(model.create_plan(region, body(incoming)?, now)?)),
            Operation::ListPlans => {
                let filter = PlanFilter {
                    instance_id: incoming.parameter("instanceId").cloned(),
                    filter: incoming.parameter("filter").cloned(),
                };
                let (number, size) = paging(incoming)?;
                let paging = Paging::of_plans_or_items(number, size)?.with_fault(lists);
                shown(&model.list_plans(region, &filter, &paging, now))
            }
            Operation::UpdatePlan(plan) => done(model.update_plan(region, plan_id(plan)?, body(incoming)?, now)),
            Operation::GetPlan(plan) => shown(&model.get_plan(region, plan_id(plan)?, now)?),
            Operation::DeletePlan(plan) => done(model.delete_plan(region, plan_id(plan)?, now)),
            Operation::AddItem(plan) => Ok(json!(model.add_item(region, plan_id(plan)?, body(incoming)?, now)?)),
            Operation::ListItems(plan) => {
                let names = (incoming.parameter("topicName"), incoming.parameter("filter"));
                let (number, size) = paging(incoming)?;
                let paging = Paging::of_plans_or_items(number, size)?.with_fault(lists);
                shown(&model.list_items(region, plan_id(plan)?, names, &paging, now)?)
            }
            Operation::UpdateItem(plan, item) => {
                done(model.update_item(region, item_ids(plan, item)?, body(incoming)?, now))
            }
            Operation::GetItem(plan, item) => shown(&model.get_item(region, item_ids(plan, item)?, now)?),
            Operation::DeleteItem(plan, item) => done(model.delete_item(region, item_ids(plan, item)?, now)),
            Operation::StartItem(plan, item) => done(model.start_item(region, item_ids(plan, item)?, now)),
            Operation::StopItem(plan, item) => done(model.stop_item(region, item_ids(plan, item)?, now)),
            Operation::ListCheckpoints(plan, item) => {
                let wanted = (incoming.parameter("instanceId"), incoming.parameter("filter"));
                let (number, size) = paging(incoming)?;
                let paging = Paging::of_checkpoints(number, size)?.with_fault(lists);
                shown(&model.list_checkpoints(region, item_ids(plan, item)?, wanted, &paging, now)?)
            }
            Operation::SyncCheckpoint(plan, item, checkpoint) => {
                let checkpoint = checkpoint.parse().map_err(|_| Failure::checkpoint_not_found())?;
                done(model.sync_checkpoint(region, item_ids(plan, item)?, checkpoint, now))
            }
            Operation::ConsumerGroupLag(instance, group) => {
                // A loopback address names no region, and plans of every region can have the instance.
                let region = region_of(&incoming.host, PRODUCT, "").filter(|region| !region.is_empty());
                let topics = (incoming.parameter("topicName"), incoming.parameter("liteTopicName"));
                shown(&model.consumer_group_lag(region.as_deref(), (instance, group), topics, now)?)
            }
        }
    }
}

impl Operation {
    /// Refuses a read of a resource that a fault hides.
    fn check_hidden(&self, lists: &ListFault) -> Result<(), Failure> {
        let (plan, item) = match self {
            // A gap without IDs empties the list, not what it belongs to.
            Operation::ListItems(_) | Operation::ListCheckpoints(..) if lists.hides_everything() => return Ok(()),
            Operation::GetPlan(plan) | Operation::ListItems(plan) => (plan, None),
            Operation::GetItem(plan, item) | Operation::ListCheckpoints(plan, item) => (plan, Some(item)),
            _ => return Ok(()),
        };
        if lists.hides(plan) {
            return Err(Failure::plan_not_found());
        }
        if item.is_some_and(|item| lists.hides(item)) {
            return Err(Failure::item_not_found());
        }
        Ok(())
    }

    /// Replaces the fields that a fault changes in the `data` of a read.
    fn replace_fields(&self, data: &mut Value, lists: &ListFault) {
        let (plan, item) = (("planId", "planStatus"), ("itemId", "itemStatus"));
        match self {
            Operation::GetPlan(..) => lists.replace_status(data, plan),
            Operation::ListPlans => lists.replace_status(&mut data["list"], plan),
            Operation::GetItem(..) => lists.replace_status(data, item),
            Operation::ListItems(..) => lists.replace_status(&mut data["list"], item),
            Operation::ListCheckpoints(..) => lists.replace_progress(&mut data["list"]),
            Operation::ConsumerGroupLag(..) => lists.remove_topics(&mut data["topicLagMap"]),
            _ => {}
        }
    }
}

fn plan_id(text: &str) -> Result<i64, Failure> {
    text.parse().map_err(|_| Failure::plan_not_found())
}

fn item_ids(plan: &str, item: &str) -> Result<(i64, i64), Failure> {
    Ok((plan_id(plan)?, item.parse().map_err(|_| Failure::item_not_found())?))
}

/// Parses the body. An empty body counts as one without fields, so that the error names the first mandatory field.
fn body<T: DeserializeOwned + Default>(incoming: &Incoming) -> Result<T, Failure> {
    if incoming.body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(&incoming.body).map_err(|error| Failure::invalid("body", &error.to_string()))
}

fn paging(incoming: &Incoming) -> Result<(Option<i64>, Option<i64>), Failure> {
    let number = |name: &str| match incoming.parameter(name) {
        Some(text) if !text.is_empty() => {
            text.parse().map(Some).map_err(|_| Failure::invalid(name, "it must be an integer"))
        }
        Some(_) | None => Ok(None),
    };
    Ok((number("pageNumber")?, number("pageSize")?))
}

fn shown<T: Serialize>(view: &T) -> Result<Value, Failure> {
    serde_json::to_value(view).map_err(|error| Failure::business(500, "InternalError", error.to_string()))
}

fn done(result: Result<(), Failure>) -> Result<Value, Failure> {
    result.map(|()| json!(true))
}
