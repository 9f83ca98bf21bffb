//! The identification of the plan before it is observed: by status, annotation and spec, which are hints until a plan carries our
//! mark.

use std::time::Duration;

use jiff::Timestamp;

use super::{Scope, resolve};
use crate::api::PLAN_ID_ANNOTATION;
use crate::cloud::rocketmq::PlanView;
use crate::controller::ownership::{self, Owner};

/// The time after an unanswered Create, followed by another one, in which the list of plans is read for a second plan.
const TWIN_SEARCH: Duration = Duration::from_secs(3600);

/// The identification of the plan before it is observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The ID of the bound plan: status and annotation agree on it.
    pub bound: Option<i64>,
    /// The IDs that only status or only the annotation names. Another actor may have written them: they bind a plan with our mark.
    pub hints: Vec<i64>,
    /// The ID in `spec.planId`.
    pub spec_plan_id: Option<i64>,
    /// Whether the answer to a Create may be lost. Then the plan with our mark is searched for first.
    pub creating: bool,
    /// Whether a second plan with our mark is searched for.
    pub search_twins: bool,
    /// The IDs of other plans with our mark that earlier observations found.
    pub twins: Vec<i64>,
    /// The name of the plan, or of the plan to create.
    pub plan_name: String,
    /// The owner mark of the object.
    pub mark: String,
}

impl Binding {
    /// The binding by status, annotation and spec.
    pub fn new(scope: &Scope<'_>) -> Self {
        let (spec, status) = (&scope.object.spec, scope.status);
        let (known, annotated) = (parse_id(status.plan_id.as_deref()), annotated_id(scope));
        let bound = known.filter(|id| annotated == Some(*id));
        let hints = known.into_iter().chain(annotated).filter(|_| bound.is_none()).collect();
        let listed = !scope.evidence.listed.twins.is_empty();
        let recent = status.unanswered_creation.is_some_and(|at| is_recent(at, scope.now));
        // The intent of a Create removes the ID of a former plan.
        let unanswered = status.creation.is_some() && bound.is_none();
        Self {
            bound,
            hints,
            spec_plan_id: parse_id(spec.plan_id.as_deref()),
            creating: status.creation.is_some(),
            search_twins: recent || listed || !status.twins.is_empty() || scope.deleting() || unanswered,
            twins: status.twins.iter().filter_map(|id| parse_id(Some(id))).collect(),
            plan_name: spec.plan_name.clone().unwrap_or_else(|| scope.name().to_owned()),
            mark: ownership::mark(scope.cluster_id, scope.namespace(), scope.name()),
        }
    }

    /// The IDs of the plans to get, in this order. After a Create without an answer, the list is searched for its plan before
    /// the plan that the spec names is read.
    pub fn ids(&self) -> Vec<i64> {
        let known = self.known();
        let spec_plan_id = self.spec_plan_id.filter(|id| !known.contains(id) && !self.creating);
        known.into_iter().chain(spec_plan_id).collect()
    }

    /// The IDs of the plans that this object may have created or taken over.
    pub(super) fn known(&self) -> Vec<i64> {
        self.bound.into_iter().chain(self.hints.iter().copied()).collect()
    }

    /// Whether the answer to a Create is known: its ID is written to the annotation first. The ID of a former plan counts too, and makes
    /// the wait longer.
    pub(super) fn is_answered(&self) -> bool {
        self.bound.is_some() || !self.hints.is_empty()
    }

    /// Whether this object may have created or taken over the plan with this ID.
    pub fn knows(&self, id: i64) -> bool {
        self.bound == Some(id) || self.hints.contains(&id)
    }

    /// Whether a plan that was read by its ID is this object's, or the one to take over.
    pub(super) fn accepts(&self, plan: &PlanView) -> bool {
        let named = self.spec_plan_id == Some(plan.plan_id) && !self.creating;
        named || self.bound == Some(plan.plan_id) || self.owns(plan)
    }

    /// Whether a plan of the list of all plans may be this object's, a twin of it, or in its way.
    pub fn seeks(&self, plan: &PlanView) -> bool {
        let named = [self.spec_plan_id, self.bound].contains(&Some(plan.plan_id));
        let hinted = self.hints.contains(&plan.plan_id) || self.twins.contains(&plan.plan_id);
        named || hinted || plan.plan_name.as_deref() == Some(&self.plan_name) || self.owns(plan)
    }

    pub(super) fn owns(&self, plan: &PlanView) -> bool {
        resolve::owner(plan, &self.mark) == Owner::Us
    }
}

/// Whether the plan of an unanswered Create is still searched for.
pub fn is_recent(unanswered: Timestamp, now: Timestamp) -> bool {
    now.duration_since(unanswered).unsigned_abs() < TWIN_SEARCH
}

pub(super) fn parse_id(id: Option<&str>) -> Option<i64> {
    id.and_then(|id| id.parse().ok())
}

/// The plan's ID in the annotation. The operator writes it once the plan carries its mark.
fn annotated_id(scope: &Scope<'_>) -> Option<i64> {
    parse_id(scope.annotation(PLAN_ID_ANNOTATION))
}
