//! The site of the spec: why it is not the active one, where it is not.

use super::super::request::Request;
use super::{Decision, Draft, Verdict};
use crate::api::DIRECTION_ANNOTATION;
use crate::api::condition::synced;
use crate::api::disk_replica_group::{FailoverMode, RequestPhase, Site};
use crate::cloud::ebs::GroupView;

/// The reason and message for a site of the spec that is not the active one.
pub(super) fn site_refusal(draft: &Draft<'_>) -> Option<(&'static str, String)> {
    let wanted = draft.spec().active_site.filter(|wanted| *wanted != draft.lifecycle.active)?;
    let phase = match draft.request {
        Request::Invalid => {
            let text = "failover refused: failover.requestedAt is more than five minutes in the future; write the present time";
            return Some((synced::FAILOVER_REFUSED, text.into()));
        }
        Request::Ended(phase) => Some(phase),
        // A decision may have ended it.
        Request::Open(_) => draft.request_state.request.as_ref().map(|it| it.phase),
        Request::None | Request::Old => None,
    };
    let mode = draft.spec().failover.as_ref().map(|it| it.mode).unwrap_or_default();
    let again = "write a newer failover.requestedAt to ask again, or activeSite as it is with one";
    Some(match phase {
        Some(RequestPhase::Expired) => {
            let text = format!("the request for the {} expired before it could begin; {again}", wanted.as_str());
            (synced::FAILOVER_EXPIRED, text)
        }
        Some(RequestPhase::Refused) if mode == FailoverMode::Cancel => {
            let text = "nothing is cancelled: the group is not failed over, or replication is reversed already; to fail back, \
                        write mode: Planned with a newer failover.requestedAt";
            (synced::NOTHING_TO_CANCEL, text.into())
        }
        Some(RequestPhase::Refused) => {
            let text = format!(
                "no failover to the {}: replication was not reversed when it was asked for; write a newer failover.requestedAt \
                 once it is reversed, or mode: Cancel with one before",
                wanted.as_str()
            );
            (synced::NOT_REVERSED_YET, text)
        }
        Some(RequestPhase::Waiting | RequestPhase::Running | RequestPhase::Succeeded | RequestPhase::Invalid)
        | None => (synced::DRIFTED, String::new()),
    })
}

/// The same decision, with a refusal as its verdict: work on other fields continues. The refusal of a failed group stays.
pub(super) fn refused_for(mut decision: Decision, reason: &'static str, message: String) -> Decision {
    match &decision.verdict {
        Verdict::Refused { reason: synced::GROUP_FAILED, .. } => {}
        _ => decision.verdict = Verdict::Refused { reason, message },
    }
    decision
}

/// Refuses a request for the former site once its disks may not be in use any more: it is asked for again after the reversal. A
/// cancellation waits.
pub(super) fn refuse_way_back(draft: &mut Draft<'_>) {
    let former = draft.lifecycle.direction.production();
    if draft.request.open().is_some_and(|open| open.site == former && open.mode() != FailoverMode::Cancel) {
        let message = "the way back is not open before replication is reversed: ask again then, or write mode: Cancel";
        draft.request_state.set(RequestPhase::Refused, message);
    }
}

/// Refuses to act while the annotation and the cloud disagree about the direction.
pub(super) fn refuse_contradiction(mut draft: Draft<'_>, group: &GroupView, difference: &str) -> Decision {
    draft.add_drift("activeSite", "known", "unknown");
    let text = format!(
        "the direction of group {} is not certain: {difference}; the status is lost, and nothing is changed. Check which disks \
         are in use. If the cloud is right, remove the annotation {DIRECTION_ANNOTATION}; else correct the group in the console",
        group.replica_group_id
    );
    draft.refuse(synced::DRIFTED, text)
}

/// Refuses to act on an active site that no request explains.
pub(super) fn refuse_external_failover(mut draft: Draft<'_>, group: &GroupView) -> Decision {
    let found = draft.lifecycle.active.as_str();
    let wanted = draft.spec().active_site.map(Site::as_str).unwrap_or_default();
    draft.add_drift("activeSite", wanted, found);
    let text = format!(
        "the active site of group {} ({}) is the {found}, and no request of this object explains it: nothing is changed. Check \
         which disks are in use, then write activeSite: {found} with a new failover.requestedAt if it is these, or correct the \
         group in the console",
        group.replica_group_id,
        group.status.as_str(),
    );
    draft.refuse(synced::DRIFTED, text)
}
