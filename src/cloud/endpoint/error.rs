//! Errors of endpoints, with messages for the person who named the endpoint.

/// The reason for refusing an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not an absolute http or https URL without path.
    #[error(
        "endpoint {0:?} is not a URL of scheme, host and port: write it like https://rocketmq.cn-hangzhou.aliyuncs.com"
    )]
    NotAUrl(String),
    /// Plain http to a host other than this machine.
    #[error(
        "endpoint {0:?} is not encrypted: use https, or start with --allow-insecure-endpoints if the network is yours alone"
    )]
    Insecure(String),
    /// Not allowed by this installation.
    #[error(
        "endpoint {endpoint:?} is not used for {product}: calls go to {expected}; whoever runs the operator can allow another host with --allowed-endpoints"
    )]
    NotAllowed {
        /// The refused endpoint.
        endpoint: String,
        /// The product, such as `sts`.
        product: String,
        /// The hosts that need no entry in the list.
        expected: String,
    },
    /// Not a valid entry of the installation's list.
    #[error(
        "{0:?} in --allowed-endpoints is no host: write it like api.example.com, api.example.com:8443, *.example.com or https://api.example.com"
    )]
    NotAnEntry(String),
}
