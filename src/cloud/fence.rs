//! The time until which this process may change the cloud, by its own clocks.
//!
//! The cloud has no fencing token by which it could refuse calls of a former leader. So the process itself checks, at
//! the last moment, whether it still leads: it may have been stopped at any point, for any time. The monotonic clock
//! stands still while the machine is suspended; the system's clock does not, but may be set. The fence closes when
//! either clock reaches the end.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Instant, SystemTime};

/// A fence for calls that change the cloud: they are sent only while it is open. A clone is a handle to the same fence.
#[derive(Clone, Debug)]
pub struct Fence(Arc<Mutex<State>>);

#[derive(Clone, Copy, Debug)]
enum State {
    Closed,
    OpenUntil(Instant, SystemTime),
    Open,
}

/// The fence is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Whether the work had begun. How far it came is unknown then.
    pub begun: bool,
}

impl Fence {
    /// A fence that stays open, for a process without leader election.
    pub fn open() -> Self {
        Self(Arc::new(Mutex::new(State::Open)))
    }

    /// A fence that is closed until [`Fence::open_until`].
    pub fn closed() -> Self {
        Self(Arc::new(Mutex::new(State::Closed)))
    }

    fn set(&self, state: State) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Opens the fence until `end`. A later call extends it.
    pub fn open_until(&self, end: Instant) {
        let left = end.saturating_duration_since(Instant::now());
        self.set(State::OpenUntil(end, SystemTime::now() + left));
    }

    /// Closes the fence.
    pub fn close(&self) {
        self.set(State::Closed);
    }

    /// Whether the fence is open now.
    pub fn is_open(&self) -> bool {
        self.is_open_at(Instant::now(), SystemTime::now())
    }

    fn is_open_at(&self, now: Instant, wall: SystemTime) -> bool {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Closed => false,
            State::OpenUntil(end, wall_end) => now < end && wall < wall_end,
            State::Open => true,
        }
    }

    /// Runs `work` while the fence is open. The fence is checked at every poll, not only at the first: any time may
    /// pass between two of them, such as finding a connection and sending on it.
    pub async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T, Closed> {
        let mut work = pin!(work);
        let mut begun = false;
        std::future::poll_fn(|context| {
            if !self.is_open() {
                return Poll::Ready(Err(Closed { begun }));
            }
            begun = true;
            work.as_mut().poll(context).map(Ok)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn fence_is_open_until_its_end() {
        let (fence, now, wall) = (Fence::closed(), Instant::now(), SystemTime::now());
        let seconds = Duration::from_secs;
        assert!(!fence.is_open());
        fence.open_until(now + seconds(10));
        assert!(fence.is_open() && fence.is_open_at(now + Duration::from_millis(9_999), wall));
        assert!(!fence.is_open_at(now + seconds(10), wall));
        assert!(!fence.is_open_at(now, wall + seconds(11)), "the machine was suspended");
        assert!(fence.is_open_at(now, wall - seconds(3600)), "its clock was set");
        fence.close();
        assert!(!fence.is_open());
        assert!(Fence::open().is_open_at(now + seconds(1_000_000), wall + seconds(1_000_000)));
    }

    #[tokio::test]
    async fn closed_fence_stops_work_at_next_step() {
        let fence = Fence::open();
        assert_eq!(fence.within(async { 1 }).await, Ok(1));
        let steps = Mutex::new(0);
        let step = || *steps.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        let work = async {
            step();
            fence.close();
            tokio::task::yield_now().await;
            step();
        };
        assert_eq!(fence.within(work).await, Err(Closed { begun: true }));
        assert_eq!(*steps.lock().unwrap_or_else(PoisonError::into_inner), 1);
        assert_eq!(fence.within(async { step() }).await, Err(Closed { begun: false }));
        assert_eq!(*steps.lock().unwrap_or_else(PoisonError::into_inner), 1);
    }
}
