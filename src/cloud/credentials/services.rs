//! The services that the sources of credentials ask.

use super::{Variables, is_true, variable};
use crate::cloud::client::{Client, HttpService};
use crate::cloud::endpoint;

/// The services that sources of credentials ask.
#[derive(Clone)]
pub struct Services {
    /// Carries the calls to STS.
    pub client: Client,
    /// Carries the requests to the metadata service of the ECS instance.
    pub http: HttpService,
    /// Scheme and authority of STS. Where absent, the standard variables decide.
    pub sts: Option<String>,
    /// Scheme and authority of the metadata service, usually [`ecs_role::base`](super::ecs_role::base).
    pub metadata: String,
}

impl Services {
    /// The endpoint of STS: the configured one, else the one that `region` and `vpc` select, else the one that the
    /// standard variables select.
    pub(super) fn sts(&self, variables: &Variables, region: Option<&str>, vpc: Option<bool>) -> String {
        let by_variable = variable(&**variables, endpoint::STS_REGION);
        let vpc = vpc.unwrap_or_else(|| is_true(&**variables, endpoint::VPC_ENDPOINT_ENABLED));
        self.sts.clone().unwrap_or_else(|| endpoint::sts(region.or(by_variable.as_deref()), vpc))
    }
}
