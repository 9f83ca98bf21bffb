//! Stops an operator dead after every single call to the cloud and every single write to Kubernetes, each one in its turn, and
//! starts it again.

use std::fmt::Debug;

use futures::StreamExt;

use test_support::operator::Tripwire;
use test_support::stage::{Stage, Tested};

/// How many worlds crash side by side.
const SIDE_BY_SIDE: usize = 8;
/// No scenario takes more calls than this.
const MOST_CALLS: usize = 250;

/// Where a scenario begins, what is done to it, and how it ends.
pub(crate) trait Scenario: Copy + Debug {
    /// The kind of its object.
    type Kind: Tested;

    /// A world of its own.
    async fn stage(self) -> Stage<Self::Kind>;

    /// From one call after which the operator is stopped to the next: every one, unless another suite stops it after each.
    fn stride(self) -> usize {
        1
    }

    /// Brings the world to where the operator is to be stopped.
    async fn begin(self, world: &Stage<Self::Kind>);

    /// Waits for the end.
    async fn end(self, world: &Stage<Self::Kind>);

    /// Changes the world while no operator runs, if the scenario has that. Whether it did.
    async fn meanwhile(self, _world: &Stage<Self::Kind>) -> bool {
        false
    }

    /// Waits for the end with the second operator, where that is another one.
    async fn end_again(self, world: &Stage<Self::Kind>) {
        self.end(world).await;
    }

    /// Whether everything is as it has to be.
    async fn check(self, world: &Stage<Self::Kind>);
}

/// Runs a scenario with an operator that gets `calls` calls through. Whether it was stopped before the end.
async fn crash_after(scenario: impl Scenario, calls: usize) -> bool {
    let world = scenario.stage().await;
    scenario.begin(&world).await;
    let wire = Tripwire::after(calls);
    let operator = world.operator_until(wire.clone()).await;
    let stopped = tokio::select! {
        () = wire.tripped() => true,
        () = scenario.end(&world) => false,
    };
    drop(operator);
    if scenario.meanwhile(&world).await || stopped {
        let _operator = world.operator().await;
        scenario.end_again(&world).await;
    }
    scenario.check(&world).await;
    stopped
}

/// Stops the operator after every call there is, in strides.
pub(crate) async fn everywhere(scenario: impl Scenario) {
    let calls = (1..=MOST_CALLS).step_by(scenario.stride());
    let runs = futures::stream::iter(calls).map(|calls| async move { (calls, crash_after(scenario, calls).await) });
    let mut runs = runs.buffered(SIDE_BY_SIDE);
    while let Some((calls, stopped)) = runs.next().await {
        if !stopped {
            println!("{scenario:?}: stopped after each of {} calls, in strides of {}", calls - 1, scenario.stride());
            assert!(calls > 5, "{scenario:?}: the operator made only {calls} calls, which is not the scenario");
            return;
        }
    }
    panic!("{scenario:?}: more than {MOST_CALLS} calls");
}
