//! Why an endpoint is not used, in words for the person who named it.

/// Why an endpoint is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It is no absolute http or https URL without path.
    #[error(
        "endpoint {0:?} is not a URL of scheme, host and port: write it like https://rocketmq.cn-hangzhou.aliyuncs.com"
    )]
    NotAUrl(String),
    /// It is plain http to a host that is not this machine.
    #[error(
        "endpoint {0:?} is not encrypted: use https, or start with --allow-insecure-endpoints if the network is yours alone"
    )]
    Insecure(String),
    /// It is none that this installation sends calls to.
    #[error(
        "endpoint {endpoint:?} is not used for {product}: calls go to {expected}; whoever runs the operator can allow another host with --allowed-endpoints"
    )]
    NotAllowed {
        /// What was asked for.
        endpoint: String,
        /// The product, such as `sts`.
        product: String,
        /// What is used without being allowed.
        expected: String,
    },
    /// An entry of the installation's list says nothing.
    #[error(
        "{0:?} in --allowed-endpoints is no host: write it like api.example.com, api.example.com:8443, *.example.com or https://api.example.com"
    )]
    NotAnEntry(String),
}
