//! Objects of a cache in the space that thousands of them need: a compressed text, which every use decodes anew.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use lz4_flex::block::{DecompressError, compress_with_dict, decompress_with_dict};
use serde::de::{Deserialize, DeserializeOwned, Deserializer};

use super::resource::Object;

/// An object of a cache.
#[derive(Clone, Debug, PartialEq)]
pub struct Cached<K> {
    /// What distinguishes the object and its version. The text has the annotations and the finalizers.
    metadata: ObjectMeta,
    /// The name of the account that the object uses.
    account: Option<Box<str>>,
    /// The object without that metadata: JSON, compressed with the help of [`Object::TYPICAL`].
    compressed: Box<[u8]>,
    /// The length of the JSON.
    length: usize,
    kind: PhantomData<fn() -> K>,
}

/// The metadata with which users request work.
#[derive(PartialEq, serde::Deserialize)]
struct Requests {
    annotations: Option<BTreeMap<String, String>>,
    finalizers: Option<Vec<String>>,
}

/// The part of a status that names the operator process that serves the object.
#[derive(serde::Deserialize)]
struct WithLease {
    lease: Option<String>,
}

/// The part of the text that has them.
#[derive(serde::Deserialize)]
struct WithRequests {
    metadata: Requests,
    status: Option<WithLease>,
}

impl WithRequests {
    /// Whether a newer version requests something else, or another operator process serves the object.
    fn is_changed_in(&self, newer: &Self) -> bool {
        let [was, is] = [self, newer].map(|it| it.status.as_ref().and_then(|status| status.lease.as_ref()));
        self.metadata != newer.metadata || (was.is_some() && was != is)
    }
}

/// The reason why a text cannot be decoded: a defect of this program.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Compression(#[from] DecompressError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl<K: Object> Cached<K> {
    /// The object in little space.
    pub fn new(mut object: K) -> Self {
        let whole = cfg!(debug_assertions).then(|| object.clone());
        let account = object.account().map(Box::from);
        let (mut metadata, requests) = (std::mem::take(object.meta_mut()), object.meta_mut());
        requests.annotations = metadata.annotations.take();
        requests.finalizers = metadata.finalizers.take();
        // No map of a kind has keys that JSON cannot have.
        let text = serde_json::to_vec(&object).unwrap_or_default();
        let compressed = compress_with_dict(&text, K::TYPICAL.as_bytes()).into();
        let cached = Self { metadata, account, compressed, length: text.len(), kind: PhantomData };
        debug_assert_eq!(cached.decode().ok(), whole);
        cached
    }

    /// The object. `None`, and an error in the log, where this program cannot read its own text.
    pub fn object(&self) -> Option<Arc<K>> {
        match self.decode() {
            Ok(object) => Some(Arc::new(object)),
            Err(error) => {
                let ObjectMeta { namespace, name, .. } = &self.metadata;
                tracing::error!(kind = K::KIND, namespace, object = name, %error, "the cache is broken");
                None
            }
        }
    }

    /// The name of the account that the object uses.
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// Whether another actor may have changed more than the status since this version, or claimed the object.
    pub fn is_changed_in(&self, newer: &Self) -> bool {
        let (was, is) = (&self.metadata, &newer.metadata);
        if was.uid != is.uid || was.generation != is.generation {
            return true;
        }
        self.compressed != newer.compressed
            && self.requests().zip(newer.requests()).is_none_or(|(was, is)| was.is_changed_in(&is))
    }

    fn requests(&self) -> Option<WithRequests> {
        self.read().ok()
    }

    fn decode(&self) -> Result<K, Broken> {
        let mut object: K = self.read()?;
        let requests = std::mem::replace(object.meta_mut(), self.metadata.clone());
        let metadata = object.meta_mut();
        (metadata.annotations, metadata.finalizers) = (requests.annotations, requests.finalizers);
        Ok(object)
    }

    fn read<T: DeserializeOwned>(&self) -> Result<T, Broken> {
        let text = decompress_with_dict(&self.compressed, self.length, K::TYPICAL.as_bytes())?;
        Ok(serde_json::from_slice(&text)?)
    }
}

impl<K: Object> kube::Resource for Cached<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind(of: &()) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &()) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &()) -> Cow<'_, str> {
        K::version(of)
    }

    fn plural(of: &()) -> Cow<'_, str> {
        K::plural(of)
    }

    /// What distinguishes the object and its version: annotations and finalizers are not among it.
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// What kube's `Controller` requires of its objects.
impl<'de, K: Object> Deserialize<'de> for Cached<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        K::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::account::AlibabaCloudAccount;
    use crate::api::disk_replica_group::DiskReplicaGroup;
    use crate::api::plan::DisasterRecoveryPlan;

    fn typical<K: Object>() -> K {
        let object: K = serde_json::from_str(K::TYPICAL).expect("it parses");
        assert_eq!(serde_json::to_string(&object).expect("JSON"), K::TYPICAL, "as this version writes it");
        object
    }

    /// Names and numbers of another object.
    fn another<K: Object>() -> K {
        let mut text = K::TYPICAL.to_owned();
        for (from, to) in
            [("orders", "billing"), ("payment", "return"), ("cn-hang", "cn-wulan"), ("-sim", "-7a01f5"), ("0", "1")]
        {
            text = text.replace(from, to);
        }
        let mut object: K = serde_json::from_str(&text).expect("it parses");
        let metadata = object.meta_mut();
        (metadata.name, metadata.namespace) = (Some("orders".into()), Some("shop".into()));
        (metadata.uid, metadata.resource_version) = (Some("9b4d1f6e".into()), Some("1042".into()));
        metadata.generation = Some(3);
        object
    }

    /// Checks that an object is decoded as it was. The length of its JSON as a multiple of what is kept.
    fn ratio<K: Object>() -> usize {
        assert_eq!(Cached::new(typical::<K>()).object().as_deref(), Some(&typical()));
        let cached = Cached::new(another::<K>());
        assert_eq!(cached.object().as_deref(), Some(&another()));
        cached.length / cached.compressed.len()
    }

    #[test]
    fn object_at_rest_needs_fraction_of_its_text() {
        let ratios = [ratio::<DisasterRecoveryPlan>(), ratio::<DiskReplicaGroup>(), ratio::<AlibabaCloudAccount>()];
        assert!(ratios.iter().zip([5, 5, 3]).all(|(is, least)| *is >= least), "{ratios:?}");
    }

    #[test]
    fn only_status_differs_between_own_versions() {
        let version = |edit: fn(&mut DisasterRecoveryPlan)| {
            let mut plan: DisasterRecoveryPlan = another();
            edit(&mut plan);
            Cached::new(plan)
        };
        let own = |plan: &mut DisasterRecoveryPlan| {
            plan.metadata.resource_version = Some("1043".into());
            plan.status.get_or_insert_default().head.conditions = vec![];
        };
        let before = version(|_| {});
        assert!(!before.is_changed_in(&version(|_| {})) && !before.is_changed_in(&version(own)));
        let by_others: [fn(&mut DisasterRecoveryPlan); 4] = [
            |plan| plan.metadata.uid = Some("another".into()),
            |plan| plan.metadata.generation = Some(4),
            |plan| plan.metadata.annotations = None,
            |plan| plan.metadata.finalizers = None,
        ];
        for (at, edit) in by_others.into_iter().enumerate() {
            let mut plan: DisasterRecoveryPlan = another();
            own(&mut plan);
            edit(&mut plan);
            assert!(before.is_changed_in(&Cached::new(plan)), "{at}");
        }
        let served_by = |lease: Option<&str>| {
            let mut plan: DisasterRecoveryPlan = another();
            own(&mut plan);
            plan.status.get_or_insert_default().head.lease = lease.map(Into::into);
            Cached::new(plan)
        };
        let [none, first, second] = [None, Some("a/first"), Some("a/second")].map(served_by);
        assert!(first.is_changed_in(&second) && first.is_changed_in(&none), "another process claims it");
        assert!(!none.is_changed_in(&first) && !first.is_changed_in(&first));
    }
}
