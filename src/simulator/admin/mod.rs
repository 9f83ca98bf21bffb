//! The admin API under `/_simulator`: changes of the cloud behind the operator's back, for tests and the demo. JSON in
//! and out, no signature; a refusal is `{"error": …}` with 400 or 404.

mod accounts;
mod answer;
mod consumers;
mod controls;
mod disks;
mod messages;
mod plans;

use axum::Router;

use super::handle::Simulator;

/// All routes; each handler documents its body.
pub(super) fn router() -> Router<Simulator> {
    Router::new()
        .merge(plans::router())
        .merge(consumers::router())
        .merge(messages::router())
        .merge(disks::router())
        .merge(accounts::router())
        .merge(controls::router())
        .fallback(async || answer::Refused::no_such_route())
        .method_not_allowed_fallback(async || answer::Refused::no_such_method())
}
