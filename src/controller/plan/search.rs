//! The search for the plan: by its ID, else by our mark in a list of all plans.

use super::binding::Binding;
use super::resolve;
use crate::cloud::error::{Class, Error};
use crate::cloud::list::{List, incomplete};
use crate::cloud::operation::ApiOperation;
use crate::cloud::rocketmq::{PlanStatus, PlanView, RocketMq};
use crate::controller::ownership::Owner;

/// The result of the search for the plan, and its circumstances.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// The plan.
    pub plan: Lookup,
    /// The ID of a plan that the object created or took over, or that the spec names, and that neither Get nor a complete list
    /// shows.
    pub missing: Option<i64>,
    /// The IDs of other plans with our mark, as far as the list was read.
    pub twins: Vec<i64>,
    /// The IDs of twins of earlier observations that the list does not show.
    pub unseen_twins: Vec<i64>,
    /// Whether a complete list of plans was read.
    pub complete: bool,
}

/// The result of the search for the plan.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    /// The bound or marked plan.
    Found(Box<PlanView>),
    /// A complete list contained neither the bound plan nor our mark.
    Absent {
        /// Other plans with the name of the plan to create.
        same_name: Vec<PlanView>,
        /// The ID of an unmarked plan that only status or only the annotation names.
        hinted: Option<i64>,
    },
}

/// Finds the plan: the bound one by its ID, else the one with our mark in a list of all plans.
///
/// A plan counts as missing only when a complete list agrees: the code for a missing plan is not published.
pub async fn find_plan(cloud: &RocketMq, binding: &Binding) -> Result<Search, Error> {
    let (mut refusal, mut unread, mut found, mut hinted) = (None, Vec::new(), None, None);
    for id in binding.ids() {
        match cloud.get_plan(id).await {
            Ok(plan) if plan.plan_status == PlanStatus::Deleted => unread.push(id),
            Ok(plan) if binding.accepts(&plan) => {
                found.get_or_insert(plan);
                // Where two IDs are hints, the other one may be missing.
                if binding.hints.len() < 2 {
                    break;
                }
            }
            // A hint to a plan that is not this object's, or lost its mark.
            Ok(plan) if resolve::owner(&plan, &binding.mark) == Owner::Unmarked => hinted = Some(id),
            Ok(_) => {}
            // The code for a missing plan is not published: the list decides.
            Err(Error { class: Class::NotFound, .. }) => unread.push(id),
            Err(error @ Error { class: Class::Invalid | Class::Conflict, .. }) => {
                refusal = Some(error);
                unread.push(id);
            }
            Err(error) => return Err(error),
        }
    }
    if let Some(plan) = &found
        && !binding.search_twins
        && unread.is_empty()
    {
        let plan = Lookup::Found(Box::new(plan.clone()));
        return Ok(Search { plan, missing: None, twins: vec![], unseen_twins: vec![], complete: false });
    }
    let (sought, ids) = (binding.clone(), unread.clone());
    let plans = cloud.find_plans(move |plan| sought.seeks(plan) || ids.contains(&plan.plan_id)).await?;
    let mut search = find_in_list(binding, found, &unread, &plans).map_err(|error| refusal.unwrap_or(error))?;
    if let Lookup::Absent { hinted: known, .. } = &mut search.plan {
        *known = hinted;
    }
    Ok(search)
}

/// Finds the plan and its twins in a list of all plans, of which those that the binding does not seek may be left out. `found` is the
/// plan that was read by its ID; those of `unread` could not be read. Pure.
pub fn find_in_list(
    binding: &Binding,
    found: Option<PlanView>,
    unread: &[i64],
    list: &List<PlanView>,
) -> Result<Search, Error> {
    let plans: Vec<_> = list.entries().iter().filter(|plan| plan.plan_status != PlanStatus::Deleted).collect();
    if let Some(plan) = plans.iter().find(|plan| unread.contains(&plan.plan_id)) {
        let message = format!("plan {} is listed and yet cannot be read", plan.plan_id);
        let operation = ApiOperation::GetDisasterRecoveryPlan;
        return Err(Error {
            class: Class::Ambiguous,
            operation,
            code: "Inconsistent".into(),
            message,
            request_id: None,
        });
    }
    let mut ours: Vec<_> = plans.iter().copied().filter(|plan| binding.owns(plan)).collect();
    ours.sort_by_key(|plan| plan.plan_id);
    // Where the spec names a plan, only that plan counts, unless a Create without an answer went before.
    let listed = match binding.spec_plan_id {
        _ if found.is_some() => None,
        Some(id) if binding.creating => {
            ours.first().copied().or_else(|| plans.iter().copied().find(|plan| plan.plan_id == id))
        }
        Some(_) => None,
        None => ours.first().copied(),
    };
    let plan = found.or_else(|| listed.cloned());
    let named = binding.spec_plan_id.filter(|id| unread.contains(id));
    let missing = binding.known().into_iter().find(|id| unread.contains(id)).or(named);
    let (complete, shown) = (list.is_complete(), |id: &i64| plans.iter().any(|it| it.plan_id == *id));
    let Some(plan) = plan else {
        if !complete {
            return Err(incomplete(ApiOperation::ListDisasterRecoveryPlans));
        }
        let same_name = |plan: &&PlanView| plan.plan_name.as_deref() == Some(&binding.plan_name);
        let unseen_twins = binding.twins.iter().copied().filter(|id| !shown(id)).collect();
        let same_name = plans.iter().copied().filter(same_name).cloned().collect();
        let plan = Lookup::Absent { same_name, hinted: None };
        return Ok(Search { plan, missing, twins: vec![], unseen_twins, complete });
    };
    let other = |id: &i64| *id != plan.plan_id;
    let twins = ours.iter().map(|it| it.plan_id).filter(other).collect();
    let unseen_twins = binding.twins.iter().copied().filter(|id| other(id) && !shown(id)).collect();
    Ok(Search { plan: Lookup::Found(Box::new(plan)), missing, twins, unseen_twins, complete })
}
