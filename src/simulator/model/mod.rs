//! The state of the simulated cloud and its changes: plain data, no clock (every time is an argument, in milliseconds
//! since the epoch), no IO.
//!
//! Sources: help pages and SDK 5.1.0 of ApsaraMQ for RocketMQ, API version 2022-08-01. Behaviour that those do not
//! document is marked "inferred": a test must not take it for a promise of the cloud.

mod account;
mod checkpoint;
mod consumers;
mod drift;
pub mod ebs;
mod failure;
mod instance;
mod item;
mod list_fault;
mod messages;
mod operations;
mod page;
mod place;
mod plan;
mod plan_type;
mod progress;
mod replication;
mod rules;
pub mod sts;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends where it fails")]
mod tests;
mod text;
mod truth;

pub use account::Model;
pub use checkpoint::{Checkpoint, CheckpointTimes, CheckpointView, Progress, ProgressData};
pub use drift::ForeignPlan;
pub use failure::Failure;
pub use instance::{Instance, MessageProperty};
pub use item::{Change, Item, ItemInput, ItemStatus, ItemView, Topic};
pub use list_fault::ListFault;
pub use messages::Production;
pub use operations::{ConsumerGroupLag, Lag};
pub use page::{Page, Paging};
pub use place::Place;
pub use plan::{Plan, PlanFilter, PlanInput, PlanStatus, PlanView};
pub use plan_type::PlanType;
pub use progress::{Consumption, Position};
pub use replication::Replication;
pub use rules::{PasswordEcho, Rules};
pub use truth::{GroupTruth, MessageTruth};
