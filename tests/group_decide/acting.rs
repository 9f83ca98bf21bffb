//! Calls on the simulated cloud's model, with the client tokens that make it do each once, and what may become of them on
//! the way.

use std::collections::BTreeMap;

use disaster_recovery_operator::cloud::ebs::{ClientToken, Tag};
use disaster_recovery_operator::cloud::error::{self, Class, Error};
use disaster_recovery_operator::cloud::operation::ApiOperation;
use disaster_recovery_operator::controller::disk_replica_group::act::{self, Effect};
use disaster_recovery_operator::controller::disk_replica_group::decide::{Action, Step};
use disaster_recovery_operator::controller::steps;
use disaster_recovery_operator::simulator::model::Failure;
use disaster_recovery_operator::simulator::model::ebs::{DiskGroupInput, DiskPairInput, Disks};
use serde_json::{Value, json};

use super::world::World;

type Outcome = steps::Outcome<Effect>;

/// What becomes of a call besides what the cloud makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It fails for sure, and does not happen.
    Refused(Class),
    /// It happens, and its answer is lost.
    AnswerLost,
    /// It does not happen, and nobody can tell.
    RequestLost,
    /// It happens so many ms later, and nobody can tell.
    Delayed(i64),
    /// It happens, and the cloud answers that it is still at work on this token.
    Processing,
}

/// A call that is under way.
#[derive(Clone, Debug)]
pub struct Delayed {
    /// When it arrives.
    pub at: i64,
    /// The call.
    pub step: Step,
}

impl World {
    /// Makes a call that this becomes of.
    pub fn call(&mut self, step: &Step, fault: Fault) -> Outcome {
        let failed = |class, code: &str| {
            let message = "injected".to_owned();
            Outcome::Failed(Error {
                class,
                operation: step.action.call().operation(),
                code: code.into(),
                message,
                request_id: None,
            })
        };
        match fault {
            Fault::None => self.carry_out(step),
            Fault::Refused(class) => failed(class, "Injected"),
            Fault::RequestLost => failed(Class::Ambiguous, "Timeout"),
            Fault::AnswerLost => {
                self.carry_out(step);
                failed(Class::Ambiguous, "Timeout")
            }
            Fault::Delayed(ms) => {
                self.delayed.push(Delayed { at: self.now + ms, step: step.clone() });
                failed(Class::Ambiguous, "Timeout")
            }
            Fault::Processing => {
                self.carry_out(step);
                failed(Class::Conflict, "LastTokenProcessing")
            }
        }
    }

    /// As `act::carry_out`: where it belongs, and where the cloud says that this is the other site, there.
    pub fn carry_out(&mut self, step: &Step) -> Outcome {
        let outcome = self.send(step, step.direction, &step.token);
        match &outcome {
            Outcome::Failed(error) if act::wrong_site(error) || unknown_drill(error) => {
                match self.send(step, step.direction.reversed(), &step.elsewhere) {
                    Outcome::Failed(error) if unknown_drill(&error) => Outcome::Done(Effect::Changed),
                    other => other,
                }
            }
            _ => outcome,
        }
    }

    fn send(
        &mut self,
        step: &Step,
        direction: disaster_recovery_operator::api::disk_replica_group::Direction,
        token: &ClientToken,
    ) -> Outcome {
        let standby = matches!(
            step.action,
            Action::FailoverGroup | Action::ReprotectGroup { .. } | Action::StartDrill | Action::ClearDrill { .. }
        );
        let (region, other) = (self.region(direction, standby), self.region(direction, true));
        let operation = step.action.call().operation();
        let failed =
            |class, code: String, message| Outcome::Failed(Error { class, operation, code, message, request_id: None });
        if self.down.contains(&region) {
            return failed(Class::Ambiguous, "ConnectionFailed".into(), format!("{region} does not answer"));
        }
        let request = format!("{:?} {} {region}", step.action, step.group_id);
        let token = step.action.has_token().then(|| token.as_str());
        let now = self.now;
        let result = self.disks.once((&region, operation.as_str(), token), request, |disks| {
            perform(disks, &step.action, &step.group_id, (&region, &other), now)
        });
        let gone = matches!(step.action, Action::DeletePair { .. } | Action::DeleteGroup);
        match result {
            Ok(Value::String(id)) => Outcome::Done(Effect::Created(id)),
            Ok(_) => Outcome::Done(Effect::Changed),
            Err(failure) if gone && failure.status == 404 => Outcome::Done(Effect::Changed),
            Err(Failure { status, code, message, .. }) => {
                failed(error::classify(status, &code, None, true), code, message)
            }
        }
    }
}

fn unknown_drill(error: &Error) -> bool {
    error.operation == ApiOperation::ClearReplicaGroupDrill && error.class == Class::NotFound
}

fn tags(tags: &[Tag]) -> BTreeMap<String, String> {
    tags.iter().map(|it| (it.key.clone(), it.value.clone())).collect()
}

fn perform(
    disks: &mut Disks,
    action: &Action,
    group: &str,
    (region, standby): (&str, &str),
    now: i64,
) -> Result<Value, Failure> {
    let made = |id: Result<String, Failure>| id.map(Value::String);
    let done = |result: Result<(), Failure>| result.map(|()| json!({}));
    match action {
        Action::CreateGroup(new) => {
            let input = DiskGroupInput {
                name: new.group_name.clone(),
                description: new.description.clone(),
                rpo: new.rpo,
                enable_rtc: new.enable_rtc,
                source_zone: Some(new.source_zone_id.clone()),
                destination_region: Some(standby.to_owned()),
                destination_zone: Some(new.destination_zone_id.clone()),
                resource_group_id: None,
                tags: tags(&new.tags),
            };
            made(disks.create_group(region, input, now))
        }
        Action::CreatePair { pair: _, new } => {
            let input = DiskPairInput {
                name: new.pair_name.clone(),
                description: None,
                disk: Some(new.disk_id.clone()),
                source_zone: Some(new.source_zone_id.clone()),
                destination_disk: Some(new.destination_disk_id.clone()),
                destination_region: Some(standby.to_owned()),
                destination_zone: Some(new.destination_zone_id.clone()),
                charge_type: None,
                rpo: new.rpo,
                enable_rtc: new.enable_rtc,
                resource_group_id: None,
                tags: tags(&new.tags),
            };
            made(disks.create_pair(region, input, now))
        }
        Action::AddPair { pair_id } => done(disks.add_pair(region, (group, pair_id), now)),
        Action::RemovePair { pair_id } => done(disks.remove_pair(region, (group, pair_id), now)),
        Action::DeletePair { pair_id } => done(disks.delete_pair(region, pair_id, now)),
        Action::ModifyGroup(change) => {
            let input = DiskGroupInput {
                name: change.group_name.clone(),
                description: change.description.clone(),
                rpo: change.rpo,
                enable_rtc: change.enable_rtc,
                ..DiskGroupInput::default()
            };
            done(disks.modify_group(region, group, input, now))
        }
        Action::StartGroup { one_shot } => done(disks.start_group(region, group, *one_shot, now)),
        Action::StopGroup => done(disks.stop_group(region, group, now)),
        Action::FailoverGroup => done(disks.failover_group(region, group, now)),
        Action::ReprotectGroup { reverse } => done(disks.reprotect_group(region, group, *reverse, now)),
        Action::DeleteGroup => done(disks.delete_group(region, group, now)),
        Action::StartDrill => made(disks.start_drill(region, group, now)),
        Action::ClearDrill { drill_id } => done(disks.clear_drill(region, (group, drill_id), now)),
    }
}
