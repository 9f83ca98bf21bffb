//! Status and events of plans after a reconcile: conditions for every situation, times that are kept, numbers that do not
//! flicker, and no secret anywhere.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod deletion;
mod events;
mod evidence;
mod failures;
mod observe_mode;
mod protection;
mod readiness;
mod situations;
mod stability;
