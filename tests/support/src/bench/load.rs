//! The objects that the operator gets.

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, DynamicObject, ObjectMeta, PostParams};
use kube::core::ApiResource;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use disaster_recovery_operator::api::disk_replica_group::DiskReplicaGroup;
use disaster_recovery_operator::api::plan::DisasterRecoveryPlan;

/// How many objects are created at a time.
const CONCURRENT: usize = 32;

/// The kind of all objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// One-way plans with two mappings.
    Plans,
    /// Groups of two pairs of disks.
    DiskGroups,
}

impl Kind {
    /// The resource of Kubernetes.
    #[must_use]
    pub fn resource(self) -> ApiResource {
        match self {
            Self::Plans => ApiResource::erase::<DisasterRecoveryPlan>(&()),
            Self::DiskGroups => ApiResource::erase::<DiskReplicaGroup>(&()),
        }
    }

    /// A merge patch that the operator has to carry to the cloud.
    #[must_use]
    pub fn edit(self, number: usize) -> Value {
        let text = format!("Edited {number}");
        match self {
            Self::Plans => json!({ "spec": { "planDesc": text } }),
            Self::DiskGroups => json!({ "spec": { "description": text } }),
        }
    }
}

/// What the operator gets.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub kind: Kind,
    /// The number of objects.
    pub objects: usize,
    /// The number of namespaces that they are spread over.
    pub namespaces: usize,
    /// The `pollInterval` of every object, in seconds.
    pub poll_s: u64,
}

impl Load {
    /// Creates the namespaces.
    pub async fn prepare(&self, client: &Client) -> anyhow::Result<()> {
        let namespaces: Api<Namespace> = Api::all(client.clone());
        for number in 0..self.namespaces {
            let metadata = ObjectMeta { name: Some(namespace(number)), ..ObjectMeta::default() };
            let object = Namespace { metadata, ..Namespace::default() };
            namespaces.create(&PostParams::default(), &object).await.context("creating a namespace")?;
        }
        Ok(())
    }

    /// Creates all objects as fast as kube-apiserver accepts them.
    pub async fn create(&self, client: &Client) -> anyhow::Result<()> {
        let resource = self.kind.resource();
        let created = stream::iter(0..self.objects).map(|number| {
            let api = Api::namespaced_with(client.clone(), &namespace(number % self.namespaces), &resource);
            let object = DynamicObject::new(&name(number), &resource);
            let object = object.data(json!({ "spec": self.spec(number) }));
            async move { api.create(&PostParams::default(), &object).await.context("creating an object").map(drop) }
        });
        created.buffer_unordered(CONCURRENT).try_collect().await
    }

    fn spec(&self, number: usize) -> Value {
        let mut spec = match self.kind {
            Kind::Plans => plan(number),
            Kind::DiskGroups => disk_group(number),
        };
        spec["pollInterval"] = json!(format!("{}s", self.poll_s));
        spec
    }

    /// Namespace and name of every object.
    pub fn names(&self) -> impl Iterator<Item = (String, String)> {
        let namespaces = self.namespaces;
        (0..self.objects).map(move |number| (namespace(number % namespaces), name(number)))
    }
}

fn namespace(number: usize) -> String {
    format!("bench-{number}")
}

fn name(number: usize) -> String {
    format!("object-{number:05}")
}

/// A one-way plan with two mappings between instances of its own.
fn plan(number: usize) -> Value {
    let instance = |name: &str, role: &str, region: &str| {
        json!({
            "name": name, "instanceType": "ALIYUN_ROCKETMQ", "instanceRole": role, "regionId": region,
            "instanceId": format!("rmq-{region}-{number:05}"),
        })
    };
    let mapping = |topic: &str| {
        let topics = ["hangzhou", "shanghai"].map(|instance| json!({ "instance": instance, "topicName": topic }));
        json!({ "name": topic, "topics": topics })
    };
    json!({
        "regionId": "cn-hangzhou",
        "planDesc": "Orders, Hangzhou to Shanghai",
        "planType": "ACTIVE_PASSIVE",
        "syncCheckpointEnabled": true,
        "autoSyncCheckpoint": true,
        "instances": [instance("hangzhou", "ACTIVE", "cn-hangzhou"), instance("shanghai", "PASSIVE", "cn-shanghai")],
        "topicMappings": [mapping("orders"), mapping("payments")],
        "recoveryPointObjective": "5m",
    })
}

fn disk_group(number: usize) -> Value {
    let pair = |disk: &str| {
        json!({
            "name": disk, "sourceDiskId": format!("d-hangzhou-{disk}-{number:05}"),
            "destinationDiskId": format!("d-shanghai-{disk}-{number:05}"),
        })
    };
    json!({
        "description": "Disks of a database",
        "source": { "regionId": "cn-hangzhou", "zoneId": "cn-hangzhou-h" },
        "destination": { "regionId": "cn-shanghai", "zoneId": "cn-shanghai-b" },
        "pairs": [pair("data"), pair("logs")],
    })
}
