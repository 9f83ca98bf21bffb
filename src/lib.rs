//! Keeps disaster-recovery set-ups on Alibaba Cloud as Kubernetes resources. `ARCHITECTURE.md` draws the rooms.

pub mod api;
pub mod cloud;
pub mod controller;
pub mod kubernetes;
pub mod leadership;
pub mod simulator;
pub mod telemetry;
