//! Topics of instances.

/// A topic on an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The instance's region, if it has one.
    pub region_id: Option<String>,
    pub instance_id: String,
    /// The instance's type.
    pub instance_type: String,
    pub topic_name: String,
}
