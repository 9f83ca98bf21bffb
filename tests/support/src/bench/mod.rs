//! The benchmark: the operator, the cloud simulator and a control plane, each in processes of their own, with many objects.

pub mod apiserver;
pub mod cloud;
pub mod figures;
pub mod load;
pub mod machine;
pub mod measure;
pub mod objects;
pub mod plot;
pub mod process;
pub mod report;
pub mod stage;
