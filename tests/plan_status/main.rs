//! Status and events of plans after a reconcile: conditions for every situation, times that are kept, numbers that do not
//! flicker, and no secret anywhere.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod deletion;
mod events;
mod evidence;
mod expiry;
mod failures;
mod inheritance;
mod messages;
mod observe_mode;
mod observers;
mod protection;
mod readiness;
mod rounds;
mod samples;
mod situations;
mod stability;
mod trust;
