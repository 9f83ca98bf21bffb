//! Runs the steps of a decision, the same for every kind: in their order, one attempt each.

use std::fmt::Debug;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument;

use crate::cloud::error::{Class, Error};

/// Maximum time after which no further step begins: other objects need the worker. The next reconcile continues.
pub const STEPS_TIMEOUT: Duration = Duration::from_secs(60);

/// One call that changes the cloud, with every detail that it needs. It is safe to repeat.
pub trait Step: Clone + Debug + PartialEq + Send + Sync {
    /// The cloud's APIs that the step calls.
    type Cloud: Send + Sync;
    /// The result of an accepted call, such as a new ID.
    type Effect: Clone + Debug + PartialEq + Send + Sync;

    /// The name in logs.
    fn name(&self) -> String;

    /// Makes the call once.
    fn run(&self, cloud: &Self::Cloud) -> impl Future<Output = Result<Self::Effect, Error>> + Send;

    /// Whether the step concerns one part of the cloud side only, so that its refusal stops no other step.
    fn stands_alone(&self) -> bool;

    /// Whether the step runs although another step failed.
    fn runs_always(&self) -> bool {
        false
    }

    /// The step with the results of earlier ones that it needs; `None` while one lacks.
    fn with_results(&self, _earlier: &[Acted<Self>]) -> Option<Self> {
        Some(self.clone())
    }

    /// Whether the result must be written before the next call: a crash would forget it.
    fn has_lasting_result(&self) -> bool {
        false
    }

    /// Whether an error only shows that the result of an earlier step of this reconcile is not visible yet. The next reconcile decides
    /// again.
    fn is_early(&self, _error: &Error) -> bool {
        false
    }

    /// Whether a failure of the step counts only where no other step failed. It proves nothing about the spec.
    fn is_secondary(&self) -> bool {
        false
    }
}

/// The outcome of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<E> {
    /// The cloud accepted the call.
    Done(E),
    /// The call failed.
    Failed(Error),
    /// The operator did not try it, since an earlier step failed or time ran out; or the cloud refused it because the result of an
    /// earlier step is not visible yet.
    Skipped,
}

/// A step and its outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Acted<S: Step> {
    pub step: S,
    pub outcome: Outcome<S::Effect>,
}

impl<S: Step> Acted<S> {
    /// The error of a step that failed.
    pub fn error(&self) -> Option<&Error> {
        match &self.outcome {
            Outcome::Failed(error) => Some(error),
            Outcome::Done(_) | Outcome::Skipped => None,
        }
    }

    /// The result of a step that the cloud accepted.
    pub fn effect(&self) -> Option<&S::Effect> {
        match &self.outcome {
            Outcome::Done(effect) => Some(effect),
            Outcome::Failed(_) | Outcome::Skipped => None,
        }
    }
}

/// Runs the steps that follow those of `acted`, until one fails with an error that stops the others, or has a result that must be
/// written before the next call. `started` is the begin of the first step.
pub async fn act<S: Step>(cloud: &S::Cloud, steps: &[S], acted: &mut Vec<Acted<S>>, started: Instant) {
    for step in steps.iter().skip(acted.len()) {
        let stopped = started.elapsed() > STEPS_TIMEOUT || acted.iter().any(stops_following);
        let outcome = match step.with_results(acted).filter(|_| !stopped || step.runs_always()) {
            Some(ready) => match attempt(cloud, &ready).await {
                Outcome::Failed(error) if step.is_early(&error) => Outcome::Skipped,
                outcome => outcome,
            },
            None => Outcome::Skipped,
        };
        acted.push(Acted { step: step.clone(), outcome });
        if step.has_lasting_result() {
            return;
        }
    }
}

/// Skips the next step, and with it all that follow and do not run always.
pub fn skip<S: Step>(steps: &[S], acted: &mut Vec<Acted<S>>) {
    let next = steps.get(acted.len()).filter(|step| !step.runs_always());
    acted.extend(next.map(|step| Acted { step: step.clone(), outcome: Outcome::Skipped }));
}

async fn attempt<S: Step>(cloud: &S::Cloud, step: &S) -> Outcome<S::Effect> {
    let name = step.name();
    match step.run(cloud).instrument(tracing::info_span!("step", step = name)).await {
        Ok(effect) => {
            tracing::info!(step = name, "step accepted");
            Outcome::Done(effect)
        }
        Err(error) => {
            tracing::warn!(step = name, %error, "step failed");
            Outcome::Failed(error)
        }
    }
}

/// Whether the outcome of a step ends the reconcile's following steps.
fn stops_following<S: Step>(acted: &Acted<S>) -> bool {
    match &acted.outcome {
        Outcome::Done(_) => false,
        Outcome::Failed(error) => stops_others(&acted.step, error.class),
        Outcome::Skipped => true,
    }
}

/// Whether a failure of this class ends the reconcile's other steps.
pub fn stops_others(step: &impl Step, class: Class) -> bool {
    match class {
        Class::Denied | Class::Throttled { .. } | Class::Unavailable | Class::Ambiguous => true,
        Class::NotFound | Class::Conflict | Class::Invalid => !step.stands_alone(),
    }
}

/// The first failure; one of a secondary step only where no other failed.
pub fn first_failure<S: Step>(acted: &[Acted<S>]) -> Option<&Error> {
    primary_failure(acted).or_else(|| acted.iter().find_map(Acted::error))
}

/// The first failure of a step that is not secondary.
pub fn primary_failure<S: Step>(acted: &[Acted<S>]) -> Option<&Error> {
    acted.iter().filter(|it| !it.step.is_secondary()).find_map(Acted::error)
}
