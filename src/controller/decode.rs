//! The decoding of objects. Metadata that the operator does not use is dropped while the text is parsed: labels, managed
//! fields and other actors' annotations may be larger than everything else in an object.
//!
//! No write sends an object of the cache back, so that nothing is lost in the cluster: see [`crate::controller::object`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::api::is_own_annotation;

/// Maximum length of the error of an object that does not parse. It may quote a field.
pub(super) const MAX_ERROR_BYTES: usize = 400;

/// An object with the metadata that the operator uses.
#[derive(Clone, Debug)]
pub(super) struct Decoded<K>(pub(super) Result<K, Box<Invalid>>);

/// An object that does not parse.
#[derive(Clone, Debug)]
pub(super) struct Invalid {
    pub(super) error: String,
    pub(super) metadata: ObjectMeta,
}

/// The parts of an object. Its spec and its status may not parse.
#[derive(serde::Deserialize)]
struct Parts {
    #[serde(default)]
    metadata: Metadata,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// The metadata that the operator uses.
#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    finalizers: Option<Vec<String>>,
    annotations: Option<OwnAnnotations>,
}

/// The annotations that belong to the operator.
#[derive(Default)]
struct OwnAnnotations(BTreeMap<String, String>);

/// The name of an annotation, if it belongs to the operator.
struct OwnName(Option<String>);

impl<'de> Deserialize<'de> for OwnName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = OwnName;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the name of an annotation")
            }

            fn visit_str<E>(self, name: &str) -> Result<OwnName, E> {
                Ok(OwnName(is_own_annotation(name).then(|| name.to_owned())))
            }
        }
        deserializer.deserialize_str(Name)
    }
}

impl<'de> Deserialize<'de> for OwnAnnotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Annotations;
        impl<'de> Visitor<'de> for Annotations {
            type Value = OwnAnnotations;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("annotations")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<OwnAnnotations, A::Error> {
                let mut own = BTreeMap::new();
                while let Some(OwnName(name)) = all.next_key()? {
                    match name {
                        Some(name) => drop(own.insert(name, all.next_value()?)),
                        None => drop(all.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(OwnAnnotations(own))
            }
        }
        deserializer.deserialize_map(Annotations)
    }
}

impl From<Metadata> for ObjectMeta {
    fn from(from: Metadata) -> Self {
        Self {
            name: from.name,
            namespace: from.namespace,
            uid: from.uid,
            resource_version: from.resource_version,
            generation: from.generation,
            creation_timestamp: from.creation_timestamp,
            deletion_timestamp: from.deletion_timestamp,
            finalizers: from.finalizers.filter(|all| !all.is_empty()),
            annotations: from.annotations.map(|own| own.0).filter(|own| !own.is_empty()),
            ..Self::default()
        }
    }
}

impl<'de, K: kube::Resource + serde::de::DeserializeOwned> Deserialize<'de> for Decoded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Parts { metadata, mut others } = Parts::deserialize(deserializer)?;
        let metadata = metadata.into();
        others.insert("metadata".into(), Value::Object(Map::new()));
        Ok(Self(match K::deserialize(Value::Object(others)) {
            Ok(mut object) => {
                *object.meta_mut() = metadata;
                Ok(object)
            }
            Err(error) => Err(Box::new(Invalid { error: shortened(error.to_string()), metadata })),
        }))
    }
}

fn shortened(mut error: String) -> String {
    error.truncate(error.floor_char_boundary(MAX_ERROR_BYTES));
    error.shrink_to_fit();
    error
}

impl<K: kube::Resource> kube::Resource for Decoded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(of: &K::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &K::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &K::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }

    fn plural(of: &K::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|invalid| &invalid.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|invalid| &mut invalid.metadata, K::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use kube::Resource as _;
    use serde_json::json;

    use super::*;
    use crate::api::disk_replica_group::DiskReplicaGroup;
    use crate::api::{
        DIRECTION_ANNOTATION, DRILL_ANNOTATION, GROUP_ID_ANNOTATION, PLAN_ID_ANNOTATION, RECONCILE_ANNOTATION,
        SYNC_CHECKPOINTS_ANNOTATION,
    };

    const OWN: [&str; 6] = [
        DIRECTION_ANNOTATION,
        DRILL_ANNOTATION,
        GROUP_ID_ANNOTATION,
        PLAN_ID_ANNOTATION,
        RECONCILE_ANNOTATION,
        SYNC_CHECKPOINTS_ANNOTATION,
    ];

    fn object(pairs: &Value) -> Value {
        let mut object = json!({
            "apiVersion": "disasterrecovery.dev/v1alpha1",
            "kind": "DiskReplicaGroup",
            "metadata": {
                "namespace": "shop", "name": "db", "uid": "1", "resourceVersion": "7", "generation": 3,
                "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "2026-01-02T00:00:00Z",
                "finalizers": ["disasterrecovery.dev/a", "example.com/b"],
                "labels": { "app": "shop" },
                "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": "{}", "disasterrecovery.dev": "no prefix", "note": "",
                },
                "managedFields": [{ "manager": "kubectl", "fieldsV1": { "f:spec": {} } }],
            },
            "spec": {
                "source": { "regionId": "cn-hangzhou", "zoneId": "cn-hangzhou-h" },
                "destination": { "regionId": "cn-shanghai", "zoneId": "cn-shanghai-b" },
                "pairs": pairs,
            },
            "status": { "observedGeneration": 2 },
        });
        for name in OWN {
            object["metadata"]["annotations"][name] = json!("own");
        }
        object
    }

    fn good() -> Value {
        object(&json!([{ "name": "data", "sourceDiskId": "d-1", "destinationDiskId": "d-2" }]))
    }

    fn decoded(object: &Value) -> Decoded<DiskReplicaGroup> {
        serde_json::from_str(&object.to_string()).expect("the metadata parses")
    }

    #[test]
    fn only_used_metadata_is_decoded() {
        let whole: DiskReplicaGroup = serde_json::from_value(good()).expect("it parses");
        let decoded = decoded(&good());
        let mut expected = whole;
        (expected.metadata.labels, expected.metadata.managed_fields) = (None, None);
        expected.metadata.annotations = Some(OWN.map(|name| (name.to_owned(), "own".to_owned())).into());
        assert_eq!(decoded.0.expect("it parses"), expected);
    }

    #[test]
    fn invalid_object_has_its_metadata_and_error() {
        for pairs in [json!("all"), json!(true), json!([{ "name": 1 }]), json!([{}])] {
            let invalid = decoded(&object(&pairs)).0.expect_err("it does not parse");
            assert_eq!(invalid.metadata, *decoded(&good()).meta());
            let error = serde_json::from_value::<DiskReplicaGroup>(object(&pairs)).expect_err("it does not parse");
            assert_eq!(invalid.error, error.to_string());
        }
        let long = decoded(&object(&json!("ä".repeat(1 << 20)))).0.expect_err("it does not parse");
        assert!(long.error.starts_with("invalid type: string \"ää") && long.error.capacity() <= MAX_ERROR_BYTES);
        let missing: Decoded<DiskReplicaGroup> = serde_json::from_str("{}").expect("no metadata is needed");
        assert_eq!(missing.0.expect_err("it has no spec").error, "missing field `spec`");
    }
}
