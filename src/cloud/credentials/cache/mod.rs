//! The credentials of one account, for all who use it: temporary ones are kept and renewed early by one caller at a time, and
//! are used until they expire while renewing fails. Whether the cloud takes them is remembered as the calls tell.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::{Credentials, CredentialsError, Issued, Provider};
use crate::cloud::error::{Class, Error};
use crate::cloud::operation::ApiOperation;

/// Temporary credentials are renewed so long before they end, or in the last third of a shorter life.
/// (The official SDK for Python renews 15 minutes before.)
const RENEWAL_LEAD: SignedDuration = SignedDuration::from_mins(15);
/// The longest pause between two attempts to renew.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// No source takes longer.
const SOURCE_TIMEOUT: Duration = Duration::from_secs(60);
/// Nor longer than this where what is kept is still good: whoever renews is in the middle of its own work.
const RENEWAL_TIMEOUT: Duration = Duration::from_secs(10);
/// What the cloud said of a key counts for so long: whoever uses it asks again sooner.
const REFUSAL_EXPIRY: SignedDuration = SignedDuration::from_mins(10);

/// Who is told that what [`CredentialsCache::health`] says has changed.
pub type OnChange = Arc<dyn Fn() + Send + Sync>;

/// The one keeper of an account's credentials.
pub struct CredentialsCache {
    provider: Provider,
    /// The first pause after an attempt to renew failed; none for what is read anew each time.
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
    /// Whether the cloud has taken or refused a call for these credentials yet.
    judged: bool,
    /// When credentials ended that could not be renewed in time.
    ended: Option<Timestamp>,
}

struct Refusal {
    of: Credentials,
    /// Where the call went: another service may take the key all the same.
    endpoint: String,
    error: Error,
    at: Timestamp,
    /// Whether others before were refused in the same way: then the next are no better before a call is taken.
    repeated: bool,
}

#[derive(Clone)]
struct Kept {
    issued: Issued,
    expires: Timestamp,
    since: Timestamp,
    /// Whether there should be others as soon as can be.
    renewal_requested: bool,
    /// Whether the cloud refused them.
    refused: bool,
}

struct Failure {
    error: CredentialsError,
    at: Timestamp,
    until: Timestamp,
    times: u32,
}

impl Failure {
    /// Whether the source is left alone. A clock that was set back since must not make that any longer; whoever waited for
    /// the one that failed read it a little earlier.
    fn pauses(&self, now: Timestamp) -> bool {
        now < self.until && self.at.duration_since(now) <= SignedDuration::try_from(SOURCE_TIMEOUT).unwrap_or_default()
    }
}

/// What is known of an identity without asking anybody.
#[derive(Clone, Debug, Default)]
pub struct KeyHealth {
    /// What the cloud said of the key when it refused the last call for it; nothing since a call was taken.
    pub refused: Option<Error>,
    /// Why the last attempt to renew failed; nothing since one worked.
    pub failing: Option<CredentialsError>,
    /// Whether the cloud has taken or refused any call yet since this process began.
    pub judged: bool,
}

/// What to do for a caller.
enum Next {
    Use(Issued),
    Fail(CredentialsError),
    /// Ask the source; what is kept is still good for others meanwhile.
    Renew(Option<Issued>),
    /// Ask the source, or wait for who does: what is kept was refused, and is used only where there is nothing else.
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

    /// What has ended is told as that.
    fn naming_the_expiry(&self, error: CredentialsError) -> CredentialsError {
        match self.ended {
            Some(at) if error.passing() => CredentialsError::Expired { at, why: Box::new(error) },
            Some(_) | None => error,
        }
    }
}

impl Kept {
    /// Whether the cloud refuses them and nobody gives others until a person acts. While others may come by themselves, they
    /// are used on: one refusal of many calls may be a mistake.
    fn useless(&self, error: &CredentialsError) -> bool {
        self.refused && !error.passing()
    }

    /// How long before their end they are renewed.
    fn renewal_lead(&self) -> SignedDuration {
        RENEWAL_LEAD.min(self.expires.duration_since(self.since) / 3)
    }

    /// A source that gives what ends at once is not asked again without a pause.
    fn is_due(&self, now: Timestamp, pause: Duration) -> bool {
        let pause = SignedDuration::try_from(pause).unwrap_or_default();
        // Whoever waited for them read the time a little earlier.
        let earliest = -SignedDuration::try_from(SOURCE_TIMEOUT).unwrap_or_default();
        let fresh = (earliest..pause).contains(&now.duration_since(self.since));
        !fresh && (self.renewal_requested || self.expires.duration_since(now) <= self.renewal_lead())
    }
}

impl CredentialsCache {
    /// Credentials that are read anew each time: a rotated key is used for the next call.
    pub fn read_each_time(provider: Provider, on_change: OnChange) -> Self {
        Self { provider, pause: None, on_change, state: Mutex::default(), renewal: tokio::sync::Mutex::default() }
    }

    /// Credentials that are kept until shortly before they end. After a failure, the source is left alone for `pause`,
    /// doubling up to a minute.
    pub fn renewed(provider: Provider, pause: Duration, on_change: OnChange) -> Self {
        Self { pause: Some(pause.min(MAX_PAUSE)), ..Self::read_each_time(provider, on_change) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Credentials that are good at `now`. Of many callers one renews; the others use what is kept, or wait where nothing is.
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
        // Whoever had the turn before may have done it.
        match self.state().next(later(now), pause) {
            Next::Use(issued) => return Ok(issued),
            Next::Fail(error) => return Err(error),
            Next::Renew(_) | Next::Replace => {}
        }
        let outcome = self.ask(later(now), deadline).await;
        // A pause that began before the attempt could be over when it ends.
        let answer = self.keep(outcome, later(now));
        drop(permit);
        answer
    }

    async fn ask(&self, now: Timestamp, deadline: Duration) -> Result<Issued, CredentialsError> {
        match tokio::time::timeout(deadline, (self.provider)()).await {
            // Kept, they would be asked for again with every call.
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

    /// Remembers what the source said, and answers the caller.
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
                // The same once more is told in the same words.
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

    /// The cloud refused a call to `endpoint` for these credentials: gives others, where there are any. What the source gave a
    /// moment ago is no better than what it would give now.
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

    /// The cloud refused a call to `endpoint` for these credentials, and nothing is to be done about it now.
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
        // The same once more is told in the same words: its request ID is in the log.
        let error = old.map_or_else(|| Error { request_id: None, ..told.clone() }, |old| old.error);
        state.refusal = Some(Refusal { of: refused.clone(), endpoint: endpoint.to_owned(), error, at: now, repeated });
        drop(state);
        if !known {
            (self.on_change)();
        }
    }

    /// The cloud took a call to `endpoint`.
    pub fn report_accepted(&self, endpoint: &str) {
        let mut state = self.state();
        let first = !std::mem::replace(&mut state.judged, true);
        let cleared = state.refusal.take_if(|refusal| refusal.endpoint == endpoint).is_some();
        drop(state);
        if cleared || first {
            (self.on_change)();
        }
    }

    /// There should be others as soon as can be: what they rest on has changed.
    pub fn renew(&self) {
        if let Some(kept) = self.state().kept.as_mut() {
            kept.renewal_requested = true;
        }
    }

    /// What is known of it at `now`. `current` are the credentials in use: what was said of others no longer counts.
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

    /// When the kept credentials are to be renewed: not before a failed attempt may be made again.
    pub fn due(&self) -> Option<Timestamp> {
        let state = self.state();
        let kept = state.kept.as_ref()?;
        let due = kept.expires.checked_sub(kept.renewal_lead()).ok()?;
        Some(state.failure.as_ref().map_or(due, |failure| due.max(failure.until)))
    }
}

/// What people see a difference in: the other words of the same refusal are none.
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

/// Whether other credentials may help against a refusal: not where the caller's clock is wrong.
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

/// Whether a refusal is about the key, its token, its signature or the clock, and not about what it may do.
pub fn about_the_key(error: &Error) -> bool {
    renewable(error) || ["InvalidTimeStamp", "IncompleteSignature"].iter().any(|code| error.code.starts_with(code))
}

#[cfg(test)]
mod tests;
