//! The operations of the API on the state of an account, by resource.

mod checkpoints;
mod items;
mod lag;
mod plans;

pub use lag::{ConsumerGroupLag, Lag};
