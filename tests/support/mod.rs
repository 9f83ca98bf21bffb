//! The support crate under the name that `tests/health.rs` has for it.
#![allow(unused_imports, reason = "each test binary uses a part of it")]

pub(crate) use test_support::*;
