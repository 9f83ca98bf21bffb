//! Waits for the slot of a call in a token bucket.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::super::rate_limit::{BucketKey, Priority, RateLimit};

/// Maximum wait of a change. A longer wait in a reconcile would hold up others, and its own status.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// Maximum wait of a sample, which holds up no change.
const MAX_SAMPLE_WAIT: Duration = Duration::from_secs(60);

/// Waits for the slot of a call. If none comes soon enough, fails with the time after which one may be free.
pub(super) async fn wait_for(rate_limit: &RateLimit, key: BucketKey<'_>, priority: Priority) -> Result<(), Duration> {
    let started = Instant::now();
    let outcome = match priority {
        Priority::Change => change(rate_limit, key, started + MAX_WAIT).await,
        Priority::Sample => sample(rate_limit, key, started + MAX_SAMPLE_WAIT).await,
    };
    let (now, wait) = (Instant::now().into_std(), started.elapsed());
    match outcome {
        Ok(()) => rate_limit.waited(key, now, wait),
        Err(_) => rate_limit.exhausted(key, now, wait),
    }
    outcome
}

async fn change(rate_limit: &RateLimit, key: BucketKey<'_>, deadline: Instant) -> Result<(), Duration> {
    loop {
        let now = Instant::now();
        let max_wait = deadline.saturating_duration_since(now);
        let reservation = rate_limit.reserve(key, now.into_std(), max_wait)?;
        if reservation.at <= now.into_std() {
            return Ok(());
        }
        sleep_until(Instant::from_std(reservation.at)).await;
        // The service may have throttled another call meanwhile.
        if rate_limit.is_valid(key, Instant::now().into_std(), &reservation) {
            return Ok(());
        }
    }
}

async fn sample(rate_limit: &RateLimit, key: BucketKey<'_>, deadline: Instant) -> Result<(), Duration> {
    match timeout_at(deadline, first_sample(rate_limit, key, deadline)).await {
        Ok(outcome) => outcome,
        Err(_) => rate_limit.take(key, Instant::now().into_std()),
    }
}

/// Waits until the samples before this one have their slots, and then for a free slot.
async fn first_sample(rate_limit: &RateLimit, key: BucketKey<'_>, deadline: Instant) -> Result<(), Duration> {
    let queue = rate_limit.samples(key, Instant::now().into_std());
    let _first = queue.lock().await;
    loop {
        let now = Instant::now();
        let Err(wait) = rate_limit.take(key, now.into_std()) else { return Ok(()) };
        if now + wait > deadline {
            return Err(wait);
        }
        sleep_until(now + wait).await;
    }
}

#[cfg(test)]
mod tests;
