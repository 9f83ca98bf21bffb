//! Endpoints of the APIs.

use http::Uri;

mod allowed;
mod error;

pub use allowed::Allowed;
pub(super) use allowed::is_loopback;
pub use error::EndpointError;

/// The endpoint of ApsaraMQ for RocketMQ in a region, over TLS.
///
/// Source: OpenAPI metadata. The code builds the name, since the published table has a trailing tab for cn-guangzhou.
pub fn rocketmq(region: &str) -> String {
    format!("https://rocketmq.{region}.aliyuncs.com")
}

/// The endpoint of Elastic Block Storage (EBS) in a region, over TLS.
///
/// Source: OpenAPI metadata, the official SDK and the vendor's Terraform provider.
pub fn ebs(region: &str) -> String {
    format!("https://ebs.{region}.aliyuncs.com")
}

/// Variable of the official SDKs: the region whose STS is called, optional.
pub const STS_REGION: &str = "ALIBABA_CLOUD_STS_REGION";
/// Variable of the official SDKs: `true` if STS is called from inside a VPC.
pub const VPC_ENDPOINT_ENABLED: &str = "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED";

/// The endpoint of Security Token Service (STS), over TLS: the global one, or that of a region. With `vpc` it is the
/// region's endpoint inside VPCs. Without a region, `vpc` changes nothing.
///
/// Source: the official SDK; OpenAPI metadata for the two regions without an endpoint of their own.
pub fn sts(region: Option<&str>, vpc: bool) -> String {
    match region {
        None | Some("" | "cn-hangzhou-finance" | "cn-shenzhen-finance-1") => "https://sts.aliyuncs.com".into(),
        Some(region) if vpc => format!("https://sts-vpc.{region}.aliyuncs.com"),
        Some(region) => format!("https://sts.{region}.aliyuncs.com"),
    }
}

/// Checks an endpoint from the user and returns it without a trailing slash. Plain http is accepted only for loopback
/// or with `allow_insecure`.
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
    }

    #[test]
    fn texts_without_endpoint_are_refused() {
        for text in ["", "example.com", "ftp://example.com", "https://user@example.com", "https://a/b", "https://a?b"] {
            assert!(matches!(parse(text, true), Err(EndpointError::NotAUrl(_))), "{text}");
        }
    }

    #[test]
    fn sts_has_global_and_regional_endpoints() {
        assert_eq!(sts(None, true), "https://sts.aliyuncs.com");
        assert_eq!(sts(Some("cn-beijing"), false), "https://sts.cn-beijing.aliyuncs.com");
        assert_eq!(sts(Some("cn-beijing"), true), "https://sts-vpc.cn-beijing.aliyuncs.com");
        assert_eq!(sts(Some("cn-hangzhou-finance"), true), "https://sts.aliyuncs.com");
    }

    #[test]
    fn region_names_stay_unchanged() {
        assert_eq!(rocketmq("cn-guangzhou"), "https://rocketmq.cn-guangzhou.aliyuncs.com");
        assert_eq!(ebs("cn-shanghai"), "https://ebs.cn-shanghai.aliyuncs.com");
    }
}
