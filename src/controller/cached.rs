//! Objects of a cache in the space that thousands of them need: a compressed text, which every use decodes anew.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::runtime::reflector::ObjectRef;
use lz4_flex::block::{DecompressError, compress_with_dict, decompress_with_dict};
use serde::de::{Deserialize, DeserializeOwned, Deserializer};

use super::access::Key;
use super::evidence::packed::PackedTime;
use super::resource::Object;
use crate::api::{DIRECTION_ANNOTATION, GROUP_ID_ANNOTATION, PLAN_ID_ANNOTATION};

/// An object of a cache.
#[derive(Debug)]
pub struct Cached<K> {
    /// What distinguishes the object and its version.
    identity: Identity,
    /// The names for kube, once it asks. They take more than the rest of the object: it asks only copies that do not last.
    shown: OnceLock<Box<ObjectMeta>>,
    /// The same, once kube changes them.
    changed: Option<Box<ObjectMeta>>,
    /// The name of the account that the object uses.
    account: Option<Box<str>>,
    /// The object without its identity: JSON, compressed with the help of [`Object::TYPICAL`].
    compressed: Box<[u8]>,
    /// The length of the JSON.
    length: usize,
    kind: PhantomData<fn() -> K>,
}

/// The metadata that distinguish an object and its version, in less space than kube's.
#[derive(Clone, Debug, PartialEq)]
struct Identity {
    namespace: Option<Box<str>>,
    name: Option<Box<str>>,
    uid: Option<Box<str>>,
    version: Option<Box<str>>,
    generation: Option<i64>,
    created: PackedTime,
    deleted: PackedTime,
}

impl Identity {
    /// Takes them out of metadata.
    fn take(from: &mut ObjectMeta) -> Self {
        let time = |time: Option<Time>| PackedTime::from(time.map(|it| it.0));
        Self {
            namespace: from.namespace.take().map(Box::from),
            name: from.name.take().map(Box::from),
            uid: from.uid.take().map(Box::from),
            version: from.resource_version.take().map(Box::from),
            generation: from.generation.take(),
            created: time(from.creation_timestamp.take()),
            deleted: time(from.deletion_timestamp.take()),
        }
    }

    /// Adds them to the other metadata.
    fn add_to(&self, others: ObjectMeta) -> ObjectMeta {
        let text = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
        ObjectMeta {
            namespace: text(&self.namespace),
            name: text(&self.name),
            uid: text(&self.uid),
            resource_version: text(&self.version),
            generation: self.generation,
            creation_timestamp: self.created.get().map(Time),
            deletion_timestamp: self.deleted.get().map(Time),
            ..others
        }
    }
}

/// A copy shows kube nothing yet.
impl<K> Clone for Cached<K> {
    fn clone(&self) -> Self {
        let Self { identity, account, compressed, length, kind, .. } = self;
        let (identity, account, compressed) = (identity.clone(), account.clone(), compressed.clone());
        let (shown, changed) = (OnceLock::new(), None);
        Self { identity, shown, changed, account, compressed, length: *length, kind: *kind }
    }
}

impl<K> PartialEq for Cached<K> {
    fn eq(&self, other: &Self) -> bool {
        let same_text = self.compressed == other.compressed && self.length == other.length;
        self.identity == other.identity && self.account == other.account && same_text
    }
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

/// The annotations that request nothing: the operator notes in them what it made.
const NOTES: [&str; 3] = [PLAN_ID_ANNOTATION, GROUP_ID_ANNOTATION, DIRECTION_ANNOTATION];

impl Requests {
    /// Whether a newer version differs at most in notes, and in this finalizer that it has.
    fn differ_in_notes(&self, newer: &Self, finalizer: &str) -> bool {
        let others =
            |it: &Self| it.finalizers.iter().flatten().filter(|it| *it != finalizer).cloned().collect::<Vec<_>>();
        let requests = |it: &Self| {
            let all = it.annotations.iter().flatten().filter(|(name, _)| !NOTES.contains(&&***name));
            all.map(|(name, value)| (name.clone(), value.clone())).collect::<Vec<_>>()
        };
        newer.finalizers.iter().flatten().any(|it| it == finalizer)
            && others(self) == others(newer)
            && requests(self) == requests(newer)
    }
}

impl WithRequests {
    /// Whether a newer version requests something else, or another operator process serves the object.
    fn is_changed_in(&self, newer: &Self) -> bool {
        self.metadata != newer.metadata || self.is_claimed_in(newer)
    }

    fn is_claimed_in(&self, newer: &Self) -> bool {
        let [was, is] = [self, newer].map(|it| it.status.as_ref().and_then(|status| status.lease.as_ref()));
        was.is_some() && was != is
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
        let identity = Identity::take(object.meta_mut());
        // No map of a kind has keys that JSON cannot have.
        let text = serde_json::to_vec(&object).unwrap_or_default();
        let compressed = compress_with_dict(&text, K::TYPICAL.as_bytes()).into();
        let (shown, changed) = (OnceLock::new(), None);
        let cached = Self { identity, shown, changed, account, compressed, length: text.len(), kind: PhantomData };
        debug_assert_eq!(cached.decode().ok(), whole);
        cached
    }

    /// The object. `None`, and an error in the log, where this program cannot read its own text.
    pub fn object(&self) -> Option<Arc<K>> {
        match self.decode() {
            Ok(object) => Some(Arc::new(object)),
            Err(error) => {
                let (namespace, name) = self.key();
                tracing::error!(kind = K::KIND, namespace, object = name, %error, "the cache is broken");
                None
            }
        }
    }

    /// The namespace and the name.
    pub fn key(&self) -> Key {
        let text = |text: &Option<Box<str>>| text.as_deref().unwrap_or_default().to_owned();
        (text(&self.identity.namespace), text(&self.identity.name))
    }

    fn names(&self) -> Box<ObjectMeta> {
        let (namespace, name) = self.key();
        Box::new(ObjectMeta { namespace: Some(namespace), name: Some(name), ..ObjectMeta::default() })
    }

    /// The names by which kube's runner finds the object.
    pub fn reference(&self) -> ObjectRef<Self> {
        let (namespace, name) = self.key();
        ObjectRef::new(&name).within(&namespace)
    }

    /// Distinguishes the object from others of the same name.
    pub fn uid(&self) -> Option<&str> {
        self.identity.uid.as_deref()
    }

    /// The version of the object.
    pub fn version(&self) -> Option<&str> {
        self.identity.version.as_deref()
    }

    /// Whether the object has the spec of these metadata, and is not being deleted.
    pub fn is_same(&self, known: &ObjectMeta) -> bool {
        let Identity { uid, generation, deleted, .. } = &self.identity;
        uid.as_deref() == known.uid.as_deref() && *generation == known.generation && deleted.get().is_none()
    }

    /// The name of the account that the object uses.
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// Whether another actor may have changed more than the status since this version, or claimed the object.
    pub fn is_changed_in(&self, newer: &Self) -> bool {
        let (was, is) = (&self.identity, &newer.identity);
        if was.uid != is.uid || was.generation != is.generation {
            return true;
        }
        self.compressed != newer.compressed
            && self.requests().zip(newer.requests()).is_none_or(|(was, is)| was.is_changed_in(&is))
    }

    /// Whether a newer version differs from this one at most in the status and in what the operator notes on an object. Where the
    /// operator replaced this version, its reconcile knows that.
    pub fn differs_in_notes(&self, newer: &Self) -> bool {
        let (was, is) = (&self.identity, &newer.identity);
        let same = was.uid == is.uid && was.generation == is.generation;
        same && self.requests().zip(newer.requests()).is_some_and(|(was, is)| {
            !was.is_claimed_in(&is) && was.metadata.differ_in_notes(&is.metadata, K::FINALIZER)
        })
    }

    fn requests(&self) -> Option<WithRequests> {
        self.read().ok()
    }

    fn decode(&self) -> Result<K, Broken> {
        let mut object: K = self.read()?;
        let others = std::mem::take(object.meta_mut());
        *object.meta_mut() = self.identity.add_to(others);
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

    /// The namespace and the name.
    fn meta(&self) -> &ObjectMeta {
        match &self.changed {
            Some(changed) => changed,
            None => self.shown.get_or_init(|| self.names()),
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        let shown = self.shown.take().unwrap_or_else(|| self.names());
        self.changed.get_or_insert(shown)
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
    use crate::api::{FINALIZER, RECONCILE_ANNOTATION};

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
    fn notes_of_the_operator_request_nothing() {
        let version = |annotations: &[(&str, &str)], finalizers: &[&str]| {
            let mut plan: DisasterRecoveryPlan = another();
            let annotations = annotations.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            plan.metadata.annotations = Some(annotations.collect());
            plan.metadata.finalizers = Some(finalizers.iter().map(|it| (*it).to_owned()).collect());
            Cached::new(plan)
        };
        let (id, asked) = ((PLAN_ID_ANNOTATION, "1300000016"), (RECONCILE_ANNOTATION, "now"));
        let before = version(&[], &[]);
        for (after, expected) in [
            (version(&[], &[FINALIZER]), true),
            (version(&[id], &[FINALIZER]), true),
            (version(&[id, asked], &[FINALIZER]), false),
            (version(&[id], &[]), false),
            (version(&[id], &[FINALIZER, "example.com/backup"]), false),
        ] {
            assert!(before.is_changed_in(&after));
            assert_eq!(before.differs_in_notes(&after), expected, "{after:?}");
        }
        assert!(!version(&[], &[FINALIZER]).differs_in_notes(&before), "the finalizer is gone");
        let claimed = |lease: &str| {
            let mut plan: DisasterRecoveryPlan = another();
            plan.metadata.finalizers = Some(vec![FINALIZER.into()]);
            plan.status.get_or_insert_default().head.lease = Some(lease.into());
            Cached::new(plan)
        };
        assert!(!claimed("a/first").differs_in_notes(&claimed("a/second")));
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
