//! A crash at a chosen point of a reconcile: the process continues no further, as if it was killed there.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

/// The point at which a reconcile is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// None.
    Never,
    /// After the intents were written and before the first changing call.
    BeforeActing,
    /// After this many changing calls, or before the first write after them.
    AfterCalls(usize),
    /// Before the annotations are written, or else the status.
    BeforeAnnotation,
    /// Before the final status is written.
    BeforeStatus,
    /// After this many actions, changing calls and writes together.
    After(usize),
}

/// What a reconcile does to the cloud or to Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A call that changes the cloud.
    Call,
    /// A write of the finalizer.
    Finalizer,
    /// A write of annotations.
    Annotations,
    /// A write of the status.
    Status,
}

struct State {
    crash: Crash,
    /// Whether the next write of the status holds the intents.
    intents: bool,
    calls: usize,
    deeds: usize,
}

/// Counts changing calls and writes, and ends the process at the crash point. Its clones share the count.
#[derive(Clone)]
pub struct Tripwire {
    state: Arc<Mutex<State>>,
    tripped: Arc<Notify>,
}

impl Default for Tripwire {
    fn default() -> Self {
        let state = State { crash: Crash::Never, intents: false, calls: 0, deeds: 0 };
        Self { state: Arc::new(Mutex::new(state)), tripped: Arc::default() }
    }
}

impl Tripwire {
    /// Starts to count for one reconcile. `intents` says whether its first write of the status holds intents.
    pub fn arm(&self, crash: Crash, intents: bool) {
        *self.state.lock().expect("not poisoned") = State { crash, intents, calls: 0, deeds: 0 };
    }

    /// Stops before a deed at the crash point: the caller never continues.
    pub async fn before(&self, deed: Deed) {
        let trips = {
            let state = self.state.lock().expect("not poisoned");
            let late = matches!(deed, Deed::Annotations) || (deed == Deed::Status && !state.intents);
            match state.crash {
                Crash::Never | Crash::After(_) => false,
                Crash::BeforeActing => late || deed == Deed::Call,
                Crash::AfterCalls(most) => late || (deed == Deed::Call && state.calls >= most),
                Crash::BeforeAnnotation => late,
                Crash::BeforeStatus => deed == Deed::Status && !state.intents,
            }
        };
        self.stop_if(trips).await;
    }

    /// Counts a deed that was done, and stops after it at the crash point.
    pub async fn after(&self, deed: Deed) {
        let trips = {
            let mut state = self.state.lock().expect("not poisoned");
            state.deeds += 1;
            state.calls += usize::from(deed == Deed::Call);
            state.intents &= deed != Deed::Status;
            matches!(state.crash, Crash::After(most) if state.deeds >= most)
        };
        self.stop_if(trips).await;
    }

    /// The number of deeds since the tripwire was armed.
    pub fn deeds(&self) -> usize {
        self.state.lock().expect("not poisoned").deeds
    }

    async fn stop_if(&self, trips: bool) {
        if trips {
            self.tripped.notify_one();
            std::future::pending::<()>().await;
        }
    }

    /// Ends when the process ends.
    pub async fn tripped(&self) {
        self.tripped.notified().await;
    }
}
