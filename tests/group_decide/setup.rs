//! Objects and answers from JSON, and looks at a world.

use disaster_recovery_operator::api::condition::condition_type;
use disaster_recovery_operator::api::disk_replica_group::DiskReplicaGroupSpec;
use disaster_recovery_operator::controller::conditions;
use disaster_recovery_operator::simulator::model::ebs::{DiskGroup, DiskGroupEdit};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::world::{DESTINATION, SOURCE, World};

/// Something as the wire carries it.
pub fn wire<T: DeserializeOwned>(value: &impl Serialize) -> T {
    serde_json::from_value(serde_json::to_value(value).unwrap()).unwrap()
}

pub fn merge(value: &mut Value, patch: Value) {
    match (value, patch) {
        (Value::Object(fields), Value::Object(patch)) => {
            for (name, part) in patch {
                if part.is_null() {
                    fields.remove(&name);
                } else {
                    merge(fields.entry(name).or_insert(Value::Null), part);
                }
            }
        }
        (value, patch) => *value = patch,
    }
}

/// A pair of the disks `d-<name>-s` and `d-<name>-d`.
pub fn pair(name: &str) -> Value {
    json!({"name": name, "sourceDiskId": format!("d-{name}-s"), "destinationDiskId": format!("d-{name}-d")})
}

/// A group of one pair, `data`, with changes by JSON merge patch (lists are replaced).
pub fn spec_with(patch: Value) -> DiskReplicaGroupSpec {
    let mut spec = json!({
        "source": {"regionId": SOURCE, "zoneId": "cn-hangzhou-h"},
        "destination": {"regionId": DESTINATION, "zoneId": "cn-shanghai-b"},
        "pairs": [pair("data")],
    });
    merge(&mut spec, patch);
    serde_json::from_value(spec).unwrap()
}

impl World {
    /// The condition of a type as `status/reason`.
    pub fn condition(&self, kind: &str) -> String {
        let found = conditions::find(&self.status.head.conditions, kind);
        found.map(|it| format!("{}/{}", it.status, it.reason)).unwrap_or_default()
    }

    /// Who waits for `Ready` and who reads kstatus go on together.
    pub fn assert_agreement(&self) {
        let work = [condition_type::RECONCILING, condition_type::STALLED].map(|kind| self.condition(kind));
        let ready = self.condition(condition_type::READY);
        assert!(!ready.starts_with("True/") || work.iter().all(String::is_empty), "{ready} and {work:?}");
    }

    /// What a condition says to people.
    pub fn message(&self, kind: &str) -> String {
        conditions::find(&self.status.head.conditions, kind).map(|it| it.message.clone()).unwrap_or_default()
    }

    /// The ID of the one group.
    pub fn group_id(&self) -> String {
        let groups = self.disks.inspect().groups;
        assert_eq!(groups.len(), 1, "groups");
        groups[0].replica_group_id.clone()
    }

    /// The one group.
    pub fn group(&self) -> DiskGroup {
        self.disks.group(&self.group_id()).unwrap().clone()
    }

    /// Edits the one group behind the operator's back.
    pub fn console(&mut self, edit: Value) {
        let edit: DiskGroupEdit = serde_json::from_value(edit).unwrap();
        let id = self.group_id();
        self.disks.edit_group(&id, edit).unwrap();
    }
}
