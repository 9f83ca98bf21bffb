//! The operations of the API on the state of an account, by resource.

mod checkpoints;
mod items;
mod plans;
