//! The request in the spec: whether it is new, open, ended or not valid. Pure.

use jiff::{SignedDuration, Timestamp};

use super::Scope;
use crate::api::GROUP_ID_ANNOTATION;
use crate::api::disk_replica_group::{Failover, FailoverMode, RequestPhase, RequestStatus, Site};

/// Maximum time that a request may be ahead of the operator's clock.
const MAX_AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// A request that may begin something, or that is in progress.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OpenRequest<'a> {
    /// The site that it asks for.
    pub site: Site,
    failover: &'a Failover,
    /// The time of the request.
    pub requested_at: Timestamp,
    /// The end of its validity. Nothing begins at it or later.
    pub expires_at: Timestamp,
}

impl<'a> OpenRequest<'a> {
    /// What it asks for.
    pub fn mode(&self) -> FailoverMode {
        self.failover.mode
    }

    /// The names of the pairs whose data may be given up.
    pub fn leave_behind(&self) -> &'a [String] {
        &self.failover.leave_behind
    }

    /// Whether it is too late to begin it.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        now >= self.expires_at
    }
}

/// The request in the spec.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Request<'a> {
    /// There is none, or it names no time or no site. It never begins anything.
    None,
    /// It is older than one that the operator took, or than the object. It never begins anything.
    Old,
    /// Its time is in the future.
    Invalid,
    /// The operator took it, and it has ended.
    Ended(RequestPhase),
    /// It may begin something, or is in progress.
    Open(OpenRequest<'a>),
}

impl<'a> Request<'a> {
    /// The request of the object.
    pub fn of(scope: &Scope<'a>) -> Self {
        let spec = &scope.object.spec;
        let (Some(site), Some(failover)) = (spec.active_site, &spec.failover) else { return Self::None };
        let Some(requested_at) = failover.requested_at else { return Self::None };
        let known = scope.status.request.as_ref().filter(|it| it.phase == RequestPhase::Invalid);
        // It does not become valid with time alone.
        let stays_invalid = known.is_some_and(|it| it.requested_at == Some(requested_at));
        let ahead = stays_invalid || requested_at.duration_since(scope.now) > MAX_AHEAD;
        if ahead && scope.status.last_requested_at != Some(requested_at) {
            return Self::Invalid;
        }
        let valid_for = SignedDuration::try_from(std::time::Duration::from(failover.valid_for)).unwrap_or_default();
        let expires_at = requested_at.saturating_add(valid_for).unwrap_or(Timestamp::MAX);
        let open = Self::Open(OpenRequest { site, failover, requested_at, expires_at });
        match last_requested_at(scope) {
            Some(last) if requested_at < last => Self::Old,
            // The status does not show that the operator took it.
            Some(last) if requested_at == last && scope.status.last_requested_at != Some(requested_at) => Self::Old,
            Some(last) if requested_at == last => match scope.status.request.as_ref().map(|it| it.phase) {
                Some(RequestPhase::Waiting | RequestPhase::Running) => open,
                Some(phase) => Self::Ended(phase),
                // Another actor removed its state: it counts as carried out.
                None => Self::Ended(RequestPhase::Succeeded),
            },
            Some(_) | None => open,
        }
    }

    /// The open request.
    pub fn open(&self) -> Option<&OpenRequest<'a>> {
        match self {
            Self::Open(request) => Some(request),
            Self::None | Self::Old | Self::Invalid | Self::Ended(_) => None,
        }
    }
}

/// `spec.failover.requestedAt`.
fn requested_at(scope: &Scope<'_>) -> Option<Timestamp> {
    scope.object.spec.failover.as_ref()?.requested_at
}

/// The newest request that the operator took; at first, the creation of the object. Where the status is lost, or another actor wrote a
/// time in the future, the request of the spec counts as taken: whether it was carried out is unknown.
pub fn last_requested_at(scope: &Scope<'_>) -> Option<Timestamp> {
    let created = scope.object.metadata.creation_timestamp.as_ref().map(|created| created.0);
    let credible = |at: &Timestamp| at.duration_since(scope.now) <= MAX_AHEAD;
    let requested = requested_at(scope);
    let taken = match scope.status.last_requested_at {
        Some(at) if credible(&at) || Some(at) == requested => Some(at),
        None if scope.annotation(GROUP_ID_ANNOTATION).is_none() => None,
        Some(_) | None => requested.filter(credible),
    };
    taken.max(created)
}

/// Whether the spec consents to a reversal over the disks of the former site: a request for the active site, newer than `since`, the
/// request for the failover to it. The consent does not expire.
pub fn consents(scope: &Scope<'_>, active: Site, since: Option<Timestamp>) -> bool {
    let spec = &scope.object.spec;
    let Some(failover) = &spec.failover else { return false };
    let taken = matches!(Request::of(scope), Request::Open(_) | Request::Ended(_));
    let newer = failover.requested_at.zip(since).is_some_and(|(consent, since)| consent > since);
    let named = spec.active_site == Some(active) && failover.overwrite == Some(active.other());
    named && taken && newer && failover.mode != FailoverMode::Cancel
}

/// The state of the request after a decision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestState {
    /// `status.lastRequestedAt`.
    pub last_requested_at: Option<Timestamp>,
    /// `status.request`.
    pub request: Option<RequestStatus>,
}

impl RequestState {
    /// The state of the request before a decision. An open request waits until the decision begins it.
    pub fn of(scope: &Scope<'_>, request: &Request<'_>) -> Self {
        let last_requested_at = last_requested_at(scope);
        match request {
            Request::None => Self { last_requested_at, request: None },
            Request::Old if requested_at(scope) == last_requested_at => {
                let message = "it is unknown whether it was carried out, and it counts as that: write the present time to ask again";
                Self { last_requested_at, request: Some(state(RequestPhase::Succeeded, None, message)) }
            }
            Request::Old => {
                let message = "it is not newer than status.lastRequestedAt, and never begins: write the present time";
                Self { last_requested_at, request: Some(state(RequestPhase::Refused, None, message)) }
            }
            Request::Invalid => {
                let message = "requestedAt was more than five minutes in the future: write the present time in UTC";
                let mut invalid = state(RequestPhase::Invalid, None, message);
                invalid.requested_at = requested_at(scope);
                Self { last_requested_at, request: Some(invalid) }
            }
            Request::Ended(_) => Self { last_requested_at, request: scope.status.request.clone() },
            Request::Open(open) => {
                let before =
                    scope.status.request.clone().filter(|_| scope.status.last_requested_at == Some(open.requested_at));
                let waiting = || state(RequestPhase::Waiting, Some(open.expires_at), "");
                Self { last_requested_at: Some(open.requested_at), request: Some(before.unwrap_or_else(waiting)) }
            }
        }
    }

    /// Sets the phase of the request, if there is one.
    pub fn set(&mut self, phase: RequestPhase, message: impl Into<String>) {
        if let Some(request) = &mut self.request {
            (request.phase, request.message) = (phase, message.into());
        }
    }
}

fn state(phase: RequestPhase, expires_at: Option<Timestamp>, message: &str) -> RequestStatus {
    RequestStatus { phase, requested_at: None, expires_at, message: message.to_owned() }
}
