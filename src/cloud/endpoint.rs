//! Where a region's API is.

use http::Uri;

/// The endpoint of ApsaraMQ for RocketMQ in a region, over TLS.
///
/// Source: OpenAPI metadata. The name is built here, since the published table has a trailing tab for cn-guangzhou.
pub fn rocketmq(region: &str) -> String {
    format!("https://rocketmq.{region}.aliyuncs.com")
}

/// The endpoint of Elastic Block Storage (EBS) in a region, over TLS.
///
/// Source: OpenAPI metadata, the official SDK and the vendor's Terraform provider.
pub fn ebs(region: &str) -> String {
    format!("https://ebs.{region}.aliyuncs.com")
}

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
}

/// Whether an endpoint is on this machine.
pub fn on_this_machine(endpoint: &str) -> bool {
    endpoint.parse::<Uri>().is_ok_and(|uri| uri.host().is_some_and(is_loopback))
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Checks an endpoint that the user gave and returns it without a trailing slash. Plain http is accepted for loopback
/// only, or where `allow_insecure` says so.
pub fn parse(text: &str, allow_insecure: bool) -> Result<String, EndpointError> {
    let refuse = || EndpointError::NotAUrl(text.into());
    let uri: Uri = text.trim_end_matches('/').parse().map_err(|_| refuse())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(refuse()) };
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() || authority.as_str().contains('@') {
        return Err(refuse());
    }
    match scheme {
        "https" => {}
        "http" if is_loopback(authority.host()) || allow_insecure => {}
        "http" => return Err(EndpointError::Insecure(text.into())),
        _ => return Err(refuse()),
    }
    Ok(format!("{scheme}://{authority}"))
}

pub const STS_REGION: &str = "ALIBABA_CLOUD_STS_REGION";
pub const VPC_ENABLED: &str = "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED";
pub fn sts(_r: Option<&str>, _v: bool) -> String {
    "https://sts.aliyuncs.com".into()
}
#[derive(Clone, Debug, Default)]
pub struct Allowed;
impl Allowed {
    pub fn new(_e: &[String], _i: bool) -> Result<Allowed, EndpointError> {
        Ok(Allowed)
    }
    pub fn check(&self, _p: &str, t: &str) -> Result<String, EndpointError> {
        parse(t, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_loopback_only() {
        assert_eq!(parse("http://127.0.0.1:8080/", false), Ok("http://127.0.0.1:8080".into()));
        assert_eq!(parse("http://[::1]:80", false), Ok("http://[::1]:80".into()));
        assert_eq!(parse("http://localhost:80", false), Ok("http://localhost:80".into()));
        assert!(matches!(parse("http://10.0.0.1", false), Err(EndpointError::Insecure(_))));
        assert!(matches!(parse("http://127.0.0.1.example.com", false), Err(EndpointError::Insecure(_))));
        assert_eq!(parse("http://10.0.0.1", true), Ok("http://10.0.0.1".into()));
        assert_eq!(parse("https://example.com", false), Ok("https://example.com".into()));
        assert!(on_this_machine("http://[::1]:80") && !on_this_machine("https://example.com"));
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for text in ["", "example.com", "ftp://example.com", "https://user@example.com", "https://a/b", "https://a?b"] {
            assert!(matches!(parse(text, true), Err(EndpointError::NotAUrl(_))), "{text}");
        }
    }

    #[test]
    fn region_names_are_taken_as_they_are() {
        assert_eq!(rocketmq("cn-guangzhou"), "https://rocketmq.cn-guangzhou.aliyuncs.com");
        assert_eq!(ebs("cn-shanghai"), "https://ebs.cn-shanghai.aliyuncs.com");
    }
}
