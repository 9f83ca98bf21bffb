//! The credentials cache of one account. It keeps temporary credentials, lets one caller at a time renew them early,
//! and uses them until they expire while renewal fails. It also keeps the key health that the calls report: whether the
//! cloud accepts the credentials.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::{Credentials, CredentialsError, Issued, Provider};
use crate::cloud::error::{Class, Error};
use crate::cloud::operation::ApiOperation;

/// Time before the expiry at which temporary credentials are renewed; at most a third of their lifetime.
/// (The official SDK for Python renews 15 minutes before.)
const RENEWAL_LEAD: SignedDuration = SignedDuration::from_mins(15);
/// Maximum pause between two attempts to renew.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// Timeout of a source.
const SOURCE_TIMEOUT: Duration = Duration::from_secs(60);
/// Timeout of a source while the kept credentials are valid: the caller that renews them has work of its own.
const RENEWAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Time after which a refusal of a key expires. The key's users make another call sooner.
const REFUSAL_EXPIRY: SignedDuration = SignedDuration::from_mins(10);

/// Callback for changes of [`CredentialsCache::health`].
pub type OnChange = Arc<dyn Fn() + Send + Sync>;

/// The credentials of one account, shared by all its users.
pub struct CredentialsCache {
    provider: Provider,
    /// The first pause after a failed renewal; none for credentials that are read each time.
    pause: Option<Duration>,
    on_change: OnChange,
    state: Mutex<State>,
    renewal: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    kept: Option<Kept>,
    failure: Option<Failure>,
    refusal: Option<Refusal>,
    /// Whether the cloud has accepted or refused any call with these credentials.
    judged: bool,
    /// The expiry of credentials that were not renewed in time.
    ended: Option<Timestamp>,
}

struct Refusal {
    of: Credentials,
    /// The endpoint of the call: another service may accept the key.
    endpoint: String,
    error: Error,
    at: Timestamp,
    /// Whether the cloud refused former credentials in the same way. Then the next ones count as refused until a call
    /// is accepted.
    repeated: bool,
}

#[derive(Clone)]
struct Kept {
    issued: Issued,
    expires: Timestamp,
    since: Timestamp,
    /// Whether a renewal is requested before its time.
    renewal_requested: bool,
    /// Whether the cloud refused the credentials.
    refused: bool,
}

struct Failure {
    error: CredentialsError,
    at: Timestamp,
    until: Timestamp,
    times: u32,
}

impl Failure {
    /// Whether the source is not asked at `now`. A clock that was set back must not prolong the pause. A caller that
    /// waited for the failed attempt passes a slightly earlier `now`.
    fn pauses(&self, now: Timestamp) -> bool {
        now < self.until && self.at.duration_since(now) <= SignedDuration::try_from(SOURCE_TIMEOUT).unwrap_or_default()
    }
}

/// The key health: what the cache knows without a call.
#[derive(Clone, Debug, Default)]
pub struct KeyHealth {
    /// The cloud's error when it refused the key; none since it accepted a call.
    pub refused: Option<Error>,
    /// The error of the last renewal; none since a renewal succeeded.
    pub failing: Option<CredentialsError>,
    /// Whether the cloud has accepted or refused any call since this process began.
    pub judged: bool,
}

/// The next step for a caller.
enum Next {
    Use(Issued),
    Fail(CredentialsError),
    /// Ask the source. Other callers use the kept credentials meanwhile.
    Renew(Option<Issued>),
    /// Ask the source, or wait for the caller that does: the cloud refused the kept credentials, and they are used only
    /// if there are no others.
    Replace,
}

impl State {
    fn next(&mut self, now: Timestamp, pause: Duration) -> Next {
        if let Some(kept) = &self.kept
            && kept.expires <= now
        {
            self.ended = Some(kept.expires);
            self.kept = None;
        }
        let paused = self.failure.as_ref().filter(|failure| failure.pauses(now));
        match (&self.kept, paused) {
            (Some(kept), _) if !kept.is_due(now, pause) => Next::Use(kept.issued.clone()),
            (Some(kept), Some(failure)) if !kept.useless(&failure.error) => Next::Use(kept.issued.clone()),
            (Some(_), Some(failure)) => Next::Fail(failure.error.clone()),
            (Some(kept), None) if kept.refused => Next::Replace,
            (Some(kept), None) => Next::Renew(Some(kept.issued.clone())),
            (None, Some(failure)) => Next::Fail(self.naming_the_expiry(failure.error.clone())),
            (None, None) => Next::Renew(None),
        }
    }

    /// Turns a temporary failure after an expiry into an error that names the expiry.
    fn naming_the_expiry(&self, error: CredentialsError) -> CredentialsError {
        match self.ended {
            Some(at) if error.passing() => CredentialsError::Expired { at, why: Box::new(error) },
            Some(_) | None => error,
        }
    }
}

impl Kept {
    /// Whether the cloud refuses the credentials and a person must act before the source gives others. After a
    /// temporary failure they stay in use: one refusal among many calls may be a mistake.
    fn useless(&self, error: &CredentialsError) -> bool {
        self.refused && !error.passing()
    }

    /// Time before the expiry at which the credentials are renewed.
    fn renewal_lead(&self) -> SignedDuration {
        RENEWAL_LEAD.min(self.expires.duration_since(self.since) / 3)
    }

    /// Whether renewal is due. Right after they were issued it is not, so that a source of short-lived credentials is
    /// not asked without a pause.
    fn is_due(&self, now: Timestamp, pause: Duration) -> bool {
        let pause = SignedDuration::try_from(pause).unwrap_or_default();
        // A caller that waited for the credentials passes a slightly earlier time.
        let earliest = -SignedDuration::try_from(SOURCE_TIMEOUT).unwrap_or_default();
        let fresh = (earliest..pause).contains(&now.duration_since(self.since));
        !fresh && (self.renewal_requested || self.expires.duration_since(now) <= self.renewal_lead())
    }
}

impl CredentialsCache {
    /// A cache that reads the credentials each time: a rotated key is used for the next call.
    pub fn read_each_time(provider: Provider, on_change: OnChange) -> Self {
        Self { provider, pause: None, on_change, state: Mutex::default(), renewal: tokio::sync::Mutex::default() }
    }

    /// A cache that keeps credentials until shortly before they expire. After a failure it does not ask the source for
    /// `pause`, which doubles up to a minute.
    pub fn renewed(provider: Provider, pause: Duration, on_change: OnChange) -> Self {
        Self { pause: Some(pause.min(MAX_PAUSE)), ..Self::read_each_time(provider, on_change) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Credentials that are valid at `now`. Of many callers one renews; the others use the kept ones, or wait if there
    /// are none.
    pub async fn credentials(&self, now: Timestamp) -> Result<Issued, CredentialsError> {
        let Some(pause) = self.pause else {
            let outcome = self.ask(now, SOURCE_TIMEOUT).await;
            let failure =
                outcome.as_ref().err().map(|error| Failure { error: error.clone(), at: now, until: now, times: 1 });
            let mut state = self.state();
            let changed = differs(&state.failure, &failure);
            state.failure = failure;
            drop(state);
            if changed {
                (self.on_change)();
            }
            return outcome;
        };
        let next = self.state().next(now, pause);
        let started = Instant::now();
        let (permit, deadline) = match next {
            Next::Use(issued) => return Ok(issued),
            Next::Fail(error) => return Err(error),
            Next::Renew(Some(issued)) => match self.renewal.try_lock() {
                Ok(permit) => (permit, RENEWAL_TIMEOUT),
                Err(_) => return Ok(issued),
            },
            Next::Replace => (self.renewal.lock().await, RENEWAL_TIMEOUT),
            Next::Renew(None) => (self.renewal.lock().await, SOURCE_TIMEOUT),
        };
        let later = |now: Timestamp| now.saturating_add(started.elapsed()).unwrap_or(now);
        // The former holder of the permit may have renewed them.
        match self.state().next(later(now), pause) {
            Next::Use(issued) => return Ok(issued),
            Next::Fail(error) => return Err(error),
            Next::Renew(_) | Next::Replace => {}
        }
        let outcome = self.ask(later(now), deadline).await;
        // The pause begins after the attempt: otherwise it could be over when the attempt ends.
        let answer = self.keep(outcome, later(now));
        drop(permit);
        answer
    }

    async fn ask(&self, now: Timestamp, deadline: Duration) -> Result<Issued, CredentialsError> {
        match tokio::time::timeout(deadline, (self.provider)()).await {
            // Every call would ask the source again if these were kept.
            Ok(Ok(Issued { expires: Some(expires), .. })) if expires <= now => {
                Err(CredentialsError::EndedWhenIssued { expires, now })
            }
            Ok(outcome) => outcome,
            Err(_) => {
                let message = format!("no credentials came within {} s", deadline.as_secs());
                let (class, code) = (Class::Unavailable, "Timeout".into());
                let error =
                    Error { class, operation: ApiOperation::CredentialsSource, code, message, request_id: None };
                Err(CredentialsError::Unreachable(error))
            }
        }
    }

    /// Keeps the outcome of the source and answers the caller.
    fn keep(&self, outcome: Result<Issued, CredentialsError>, now: Timestamp) -> Result<Issued, CredentialsError> {
        let mut state = self.state();
        let mut failure = None;
        let answer = match outcome {
            Ok(issued) => {
                state.ended = None;
                state.kept = issued.expires.map(|expires| Kept {
                    issued: issued.clone(),
                    expires,
                    since: now,
                    renewal_requested: false,
                    refused: false,
                });
                Ok(issued)
            }
            Err(error) => {
                let times = state.failure.as_ref().map_or(0, |failure| failure.times) + 1;
                let pause = self.pause.unwrap_or_default().saturating_mul(1 << (times - 1).min(16)).min(MAX_PAUSE);
                let until = now.saturating_add(pause).unwrap_or(now);
                tracing::warn!(%error, times, kept = state.kept.is_some(), "credentials are not renewed");
                let mut new = Failure { error, at: now, until, times };
                // A repeated failure keeps its text.
                if let Some(old) = state.failure.as_ref().filter(|old| cause(old) == cause(&new)) {
                    new.error = old.error.clone();
                }
                let error = new.error.clone();
                failure = Some(new);
                match &state.kept {
                    Some(kept) if !kept.useless(&error) => Ok(kept.issued.clone()),
                    Some(_) => Err(error),
                    None => Err(state.naming_the_expiry(error)),
                }
            }
        };
        let changed = differs(&state.failure, &failure);
        state.failure = failure;
        drop(state);
        if changed {
            (self.on_change)();
        }
        answer
    }

    /// Reports that the cloud refused the credentials of a call to `endpoint`, and returns others if there are any. If
    /// the source issued the refused credentials a moment ago, it is not asked again.
    pub async fn replacement_for(
        &self,
        refused: &Credentials,
        endpoint: &str,
        error: &Error,
        now: Timestamp,
    ) -> Option<Issued> {
        self.report_refused(refused, endpoint, error, now);
        if !renewable(error) {
            return None;
        }
        let issued = self.credentials(now).await.ok()?;
        (!issued.credentials.same(refused)).then_some(issued)
    }

    /// Reports that the cloud refused the credentials of a call to `endpoint`.
    pub fn report_refused(&self, refused: &Credentials, endpoint: &str, told: &Error, now: Timestamp) {
        let mut state = self.state();
        state.judged = true;
        if let Some(kept) = state.kept.as_mut().filter(|kept| kept.issued.credentials.same(refused)) {
            kept.refused |= renewable(told);
            kept.renewal_requested |= kept.refused;
        }
        let old = state.refusal.take().filter(|old| old.error.code == told.code);
        let known = old.as_ref().is_some_and(|old| old.of.same(refused));
        let repeated =
            old.as_ref().is_some_and(|old| old.repeated || (old.endpoint == endpoint && !old.of.same(refused)));
        // A repeated refusal keeps its text. The log has the request ID.
        let error = old.map_or_else(|| Error { request_id: None, ..told.clone() }, |old| old.error);
        state.refusal = Some(Refusal { of: refused.clone(), endpoint: endpoint.to_owned(), error, at: now, repeated });
        drop(state);
        if !known {
            (self.on_change)();
        }
    }

    /// Reports that the cloud accepted the credentials of a call to `endpoint`.
    pub fn report_accepted(&self, endpoint: &str) {
        let mut state = self.state();
        let first = !std::mem::replace(&mut state.judged, true);
        let cleared = state.refusal.take_if(|refusal| refusal.endpoint == endpoint).is_some();
        drop(state);
        if cleared || first {
            (self.on_change)();
        }
    }

    /// Requests a renewal before its time, after the credentials that the source signs with changed.
    pub fn renew(&self) {
        if let Some(kept) = self.state().kept.as_mut() {
            kept.renewal_requested = true;
        }
    }

    /// The key health at `now`. `current` are the credentials in use: refusals of others do not count.
    pub fn health(&self, current: Option<&Credentials>, now: Timestamp) -> KeyHealth {
        let state = self.state();
        let refusal = state.refusal.as_ref().filter(|refusal| now.duration_since(refusal.at) < REFUSAL_EXPIRY);
        let refused = refusal
            .filter(|it| it.repeated || !renewable(&it.error) || current.is_none_or(|current| current.same(&it.of)));
        KeyHealth {
            refused: refused.map(|refusal| refusal.error.clone()),
            failing: state.failure.as_ref().map(|failure| failure.error.clone()),
            judged: state.judged,
        }
    }

    /// The time of the next renewal of the kept credentials, not before the pause after a failure ends.
    pub fn due(&self) -> Option<Timestamp> {
        let state = self.state();
        let kept = state.kept.as_ref()?;
        let due = kept.expires.checked_sub(kept.renewal_lead()).ok()?;
        Some(state.failure.as_ref().map_or(due, |failure| due.max(failure.until)))
    }
}

/// The cause of a failure, for comparison. Another text of the same refusal is the same cause.
fn cause(failure: &Failure) -> (std::mem::Discriminant<CredentialsError>, String) {
    let words = match &failure.error {
        CredentialsError::Refused(error) | CredentialsError::Unreachable(error) => error.code.clone(),
        CredentialsError::EndedWhenIssued { .. } => String::new(),
        other => other.to_string(),
    };
    (std::mem::discriminant(&failure.error), words)
}

fn differs(before: &Option<Failure>, after: &Option<Failure>) -> bool {
    before.as_ref().map(cause) != after.as_ref().map(cause)
}

impl fmt::Debug for CredentialsCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialsCache([redacted])")
    }
}

/// Whether other credentials may help against a refusal. They do not if the caller's clock is wrong.
pub fn renewable(error: &Error) -> bool {
    [
        "InvalidAccessKeyId",
        "InvalidSecurityToken",
        "MissingSecurityToken",
        "Forbidden.AccessKey",
        "SignatureDoesNotMatch",
    ]
    .iter()
    .any(|code| error.code.starts_with(code))
}

/// Whether a refusal is about the key, its token, its signature or the clock, and not about permissions.
pub fn about_the_key(error: &Error) -> bool {
    renewable(error) || ["InvalidTimeStamp", "IncompleteSignature"].iter().any(|code| error.code.starts_with(code))
}

#[cfg(test)]
mod tests;
