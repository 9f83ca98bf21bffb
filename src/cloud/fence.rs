//! Until when this process may change the cloud, by its own clock.
//!
//! The cloud has no token by which it could refuse who is no longer in charge, so that whoever calls has to know it himself, at
//! the last moment: the process may have been stopped anywhere, for any time. The monotonic clock says how long, but stands still
//! while the machine itself is suspended; the system's clock does not, and may be set. Whichever is later counts.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Instant, SystemTime};

/// Whether calls that change the cloud may be made. A clone is a handle to the same fence.
#[derive(Clone, Debug)]
pub struct Fence(Arc<Mutex<State>>);

#[derive(Clone, Copy, Debug)]
enum State {
    Closed,
    OpenUntil(Instant, SystemTime),
    Open,
}

/// The fence was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Whether the work had begun: then nobody knows how far it came.
    pub begun: bool,
}

impl Fence {
    /// One that is always open: nobody else is there.
    pub fn open() -> Self {
        Self(Arc::new(Mutex::new(State::Open)))
    }

    /// One that is closed until [`Fence::open_until`].
    pub fn closed() -> Self {
        Self(Arc::new(Mutex::new(State::Closed)))
    }

    fn set(&self, state: State) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Opens it up to `end`, which it does not reach past without being told again.
    pub fn open_until(&self, end: Instant) {
        let left = end.saturating_duration_since(Instant::now());
        self.set(State::OpenUntil(end, SystemTime::now() + left));
    }

    /// Closes it.
    pub fn close(&self) {
        self.set(State::Closed);
    }

    /// Whether it is open now.
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

    /// Does `work` while the fence is open. It is looked at before each step of it, not only before the first: between two of
    /// them, such as finding a connection and sending on it, any time may have passed.
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
    fn it_is_open_up_to_its_end_and_no_longer() {
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
    async fn no_step_is_made_once_it_is_closed() {
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
