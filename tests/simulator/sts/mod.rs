//! The simulator's token service and metadata service.

mod cloud;
mod control;
mod instance;
mod keys;
mod oidc;
