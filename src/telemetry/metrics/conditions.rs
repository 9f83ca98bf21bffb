//! The conditions of objects, and the other numbers that objects of several kinds have.

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::family::{Family, Object, Samples, seconds};
use super::rows::Rows;
use super::{Record, last_of_each};

/// Type, status and reason.
type Row<'a> = (&'a str, &'a str, &'a str);
/// Type of the condition, and the end of its evidence.
type EvidenceRow<'a> = (&'a str, i64);

/// Packs conditions.
pub(super) fn pack(conditions: &[Condition]) -> Rows {
    fn row(it: &Condition) -> Row<'_> {
        (&it.type_, &it.status, &it.reason)
    }
    Rows::new(last_of_each(conditions, row).into_iter().map(row))
}

/// Packs the expiry of the evidence of conditions.
pub(super) fn pack_evidence(expiries: &[(&str, Timestamp)]) -> Rows {
    let expiries = last_of_each(expiries, |(condition_type, _)| *condition_type);
    Rows::new(expiries.into_iter().map(|(condition_type, at)| (*condition_type, at.as_millisecond())))
}

fn write_conditions(object: &Object<'_>, record: &Record, to: &mut Samples<'_>) -> fmt::Result {
    record.conditions.iter::<Row<'_>>().try_for_each(|(condition_type, status, reason)| {
        let labels = [("type", condition_type), ("status", status), ("reason", reason)];
        to.gauge(&object.labels_with_kind(), &labels, 1_i64)
    })
}

fn write_evidence(object: &Object<'_>, record: &Record, to: &mut Samples<'_>) -> fmt::Result {
    record.evidence.iter::<EvidenceRow<'_>>().try_for_each(|(condition_type, at)| {
        to.gauge(&object.labels_with_kind(), &[("type", condition_type)], seconds(at))
    })
}

pub(super) static FAMILIES: [Family; 4] = [
    Family::gauge(
        "condition_status",
        "1 for the status and the reason that a condition of an object has; its other statuses and reasons have no series.",
        write_conditions,
    ),
    Family::seconds(
        "evidence_expiration_timestamp",
        "When the evidence ends that a condition rests on, in seconds since 1970 UTC; in the past while the condition is \
            Unknown for lack of a recent observation; no series for a condition that rests on none.",
        write_evidence,
    ),
    Family::counter(
        "drift_corrections",
        "How often the operator corrected an external change of the cloud side; 0 from the first reconcile on.",
        |object, record, to| {
            record.drift_corrections.map_or(Ok(()), |count| to.counter(&object.labels_with_kind(), count.into()))
        },
    ),
    Family::seconds(
        "recovery_point_objective",
        "What spec.recoveryPointObjective says: the lag or age above which an object is not protected.",
        |object, record, to| to.optional(&object.labels_with_kind(), record.objective),
    ),
];

pub(super) static CREDENTIALS: [Family; 1] = [Family::seconds(
    "credentials_expiration_timestamp",
    "When the temporary credentials of an account end, in seconds since 1970 UTC; they are renewed before; no series for \
        a permanent key, nor while there are none.",
    |object, record, to| {
        to.optional(&object.labels(), record.credentials.map(|expiry| seconds(expiry.as_millisecond())))
    },
)];
