//! The Security Token Service 2015-04-01 and the metadata of an ECS instance: roles, the callers that may assume them,
//! and issued keys. Plain data, every time an argument; ids and secrets derive from a counter, the time and the
//! request.
//!
//! Sources: help pages, SDKs and the API's metadata. Behaviour that those do not document is marked "inferred": a test
//! must not take it for a promise of the cloud.

mod assume;
mod claims;
mod failure;
mod issued;
mod metadata;
mod rules;
mod service;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends where it fails")]
mod tests;

pub use assume::{AssumeRoleInput, Caller, OidcInput};
pub use claims::Claims;
pub use issued::Issued;
pub use metadata::MetadataRefusal;
pub use rules::{MetadataRules, OidcProvider, Role, StsRules};
pub use service::Sts;
