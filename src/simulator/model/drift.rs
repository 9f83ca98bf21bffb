//! Changes behind the operator's back: edits in the console, arrears, groups that go offline.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::account::Model;
use super::checkpoint::CheckpointTimes;
use super::failure::Failure;
use super::instance::Instance;
use super::item::{ItemInput, ItemStatus, checked};
use super::plan::{Plan, PlanInput};
use super::plan_type::PlanType;

/// A plan that another actor created.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ForeignPlan {
    /// The region of the plan; the simulator's default region when absent.
    pub region_id: Option<String>,
    /// The plan; the simulator chooses type and instances when absent.
    #[serde(flatten)]
    pub plan: PlanInput,
    pub items: Vec<ItemInput>,
}

/// The fields of a plan that the console can edit, in the API's names.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Editable {
    plan_name: String,
    plan_desc: Option<String>,
    plan_type: PlanType,
    auto_sync_checkpoint: bool,
    sync_checkpoint_enabled: bool,
}

impl Model {
    /// Adds a plan of another actor with its items, and returns its id.
    pub fn add_foreign_plan(&mut self, default_region: &str, foreign: ForeignPlan, now: i64) -> Result<i64, Failure> {
        let region = foreign.region_id.unwrap_or_else(|| default_region.to_owned());
        let mut plan = foreign.plan;
        plan.plan_type.get_or_insert_with(|| "ACTIVE_PASSIVE".to_owned());
        plan.instances.get_or_insert_with(|| {
            let instance = |id: &str, role: &str| Instance {
                instance_type: Some("ALIYUN_ROCKETMQ".to_owned()),
                region_id: Some(region.clone()),
                instance_id: Some(id.to_owned()),
                instance_role: Some(role.to_owned()),
                ..Instance::default()
            };
            vec![instance("rmq-foreign-a", "ACTIVE"), instance("rmq-foreign-b", "PASSIVE")]
        });
        let plan_id = self.create_plan(&region, plan, now)?;
        for item in foreign.items {
            self.add_item(&region, plan_id, item, now)?;
        }
        Ok(plan_id)
    }

    /// Changes any field of a plan in any status, by a JSON merge patch in the API's names: `null` removes a field.
    /// Each entry of `instances` must have an `instanceId` and is merged into that instance.
    pub fn edit_plan(&mut self, plan_id: i64, patch: &Value, now: i64) -> Result<(), Failure> {
        self.advance(now);
        let plan = self.plans.get_mut(&plan_id).ok_or_else(Failure::plan_not_found)?;
        let Value::Object(patch) = patch else {
            return Err(Failure::invalid("body", "it must be an object"));
        };
        let mut patch = patch.clone();
        let instances = patch.remove("instances");
        let fields = Editable {
            plan_name: plan.plan_name.clone(),
            plan_desc: plan.plan_desc.clone(),
            plan_type: plan.plan_type,
            auto_sync_checkpoint: plan.auto_sync_checkpoint,
            sync_checkpoint_enabled: plan.sync_checkpoint_enabled,
        };
        let fields: Editable = merged(&fields, patch)?;
        if let Some(patches) = instances {
            plan.instances = edited_instances(plan, patches)?;
        }
        plan.plan_name = fields.plan_name;
        plan.plan_desc = fields.plan_desc;
        plan.plan_type = fields.plan_type;
        plan.auto_sync_checkpoint = fields.auto_sync_checkpoint;
        plan.sync_checkpoint_enabled = fields.sync_checkpoint_enabled;
        plan.updated_at = now;
        Ok(())
    }

    /// Removes a plan with its items in any status.
    pub fn remove_plan(&mut self, plan_id: i64) -> Result<(), Failure> {
        self.plans.remove(&plan_id).map(|_| ()).ok_or_else(Failure::plan_not_found)
    }

    /// Removes an item in any status.
    pub fn remove_item(&mut self, plan_id: i64, item_id: i64) -> Result<(), Failure> {
        let plan = self.plans.get_mut(&plan_id).ok_or_else(Failure::plan_not_found)?;
        plan.items.remove(&item_id).map(|_| ()).ok_or_else(Failure::item_not_found)
    }

    /// Sets an item's status at once and drops a change in progress. Arrears set OVERDUE_STOPPED.
    pub fn set_item_status(&mut self, plan_id: i64, item_id: i64, status: ItemStatus, now: i64) -> Result<(), Failure> {
        self.advance(now);
        let Model { plans, rules, next_checkpoint, .. } = self;
        let plan = plans.get_mut(&plan_id).ok_or_else(Failure::plan_not_found)?;
        let directions = plan.directions();
        let item = plan.items.get_mut(&item_id).ok_or_else(Failure::item_not_found)?;
        item.change = None;
        item.set_status(status, now);
        if status == ItemStatus::Running {
            item.cover(&plan.instances, &directions, rules, next_checkpoint, now);
        }
        Ok(())
    }

    /// Replaces an item's topics at once in any status.
    pub fn set_item_topics(&mut self, plan_id: i64, item_id: i64, topics: ItemInput, now: i64) -> Result<(), Failure> {
        self.advance(now);
        let Model { plans, rules, next_checkpoint, .. } = self;
        let plan = plans.get_mut(&plan_id).ok_or_else(Failure::plan_not_found)?;
        let directions = plan.directions();
        let item = plan.items.get_mut(&item_id).ok_or_else(Failure::item_not_found)?;
        item.topics = checked(topics, &plan.instances, rules)?;
        item.updated_at = now;
        if item.has_run() {
            item.cover(&plan.instances, &directions, rules, next_checkpoint, now);
        }
        Ok(())
    }

    /// Sets a consumer group online or offline at every target; the automatic synchronisation skips an offline group.
    pub fn set_group_online(&mut self, group: &str, online: bool) {
        self.advance(self.latest);
        if online {
            self.offline.remove(group);
        } else {
            self.offline.insert(group.to_owned());
        }
    }

    /// Stops or resumes every automatic synchronisation, so that lag grows. SyncCheckpoint continues to work.
    pub fn freeze_sync(&mut self, frozen: bool) {
        self.advance(self.latest);
        self.frozen = frozen;
    }

    /// Sets the times of a checkpoint at the time of the last advance, and holds them until SyncCheckpoint.
    pub fn set_checkpoint(&mut self, checkpoint_id: i64, times: CheckpointTimes) -> Result<(), Failure> {
        let now = self.latest;
        self.advance(now);
        let (checkpoint, messages) = self.checkpoint_mut(checkpoint_id)?;
        checkpoint.hold(times, messages, now);
        Ok(())
    }
}

fn edited_instances(plan: &Plan, patches: Value) -> Result<Vec<Instance>, Failure> {
    let shape = || Failure::invalid("instances", "it must be a list of objects, each with the instanceId of one");
    let patches: Vec<Map<String, Value>> = serde_json::from_value(patches).map_err(|_| shape())?;
    let mut instances = plan.instances.clone();
    for patch in patches {
        let id = patch.get("instanceId").and_then(Value::as_str).ok_or_else(shape)?;
        let instance = instances.iter_mut().find(|instance| instance.id() == id).ok_or_else(shape)?;
        *instance = merged(instance, patch)?;
    }
    Ok(instances)
}

/// A merge patch (RFC 7396) of an object and the objects in it.
fn merged<T: Serialize + serde::de::DeserializeOwned>(value: &T, patch: Map<String, Value>) -> Result<T, Failure> {
    let wrong = |error: serde_json::Error| Failure::invalid("body", &error.to_string());
    let mut value = serde_json::to_value(value).map_err(wrong)?;
    merge(&mut value, Value::Object(patch));
    serde_json::from_value(value).map_err(wrong)
}

fn merge(value: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *value = patch;
        return;
    };
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let Value::Object(fields) = value else { return };
    for (name, part) in patch {
        if part.is_null() {
            fields.remove(&name);
        } else {
            merge(fields.entry(name).or_insert(Value::Null), part);
        }
    }
}
