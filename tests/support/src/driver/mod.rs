//! Production code on a simulated cloud and simulated time: what tests of decisions drive.

pub mod faults;
pub mod group;
pub mod plan;
pub mod store;
pub mod tripwire;
pub mod words;
pub mod world;
