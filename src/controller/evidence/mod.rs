//! Evidence: what is known of the cloud between reconciles, and until when.

pub mod agenda;
pub mod backlog;
pub mod observer;
pub mod packed;
pub mod progress;
