//! The rule for endpoints that an account may name. Calls contain signatures, and calls of STS a token of a service
//! account, so the author of an account must not be able to send them to any host.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::error::EndpointError;

/// The installation's rule for endpoints that an account names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    entries: Vec<Entry>,
    allow_insecure: bool,
}

/// One entry of the installation's list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// The scheme; any if absent.
    scheme: Option<Scheme>,
    host: String,
    /// Whether the entry covers the hosts below `host` instead of `host` itself.
    below: bool,
    /// The port; any if absent.
    port: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

/// A parsed endpoint.
struct Endpoint<'a> {
    scheme: Scheme,
    host: String,
    /// The port as written.
    port: Option<&'a str>,
    number: u16,
}

impl Scheme {
    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Allowed {
    /// Parses the installation's list. An entry is a host (`sts.internal.example`, every port), a host with a port, any
    /// host below another (`*.example.com`, with or without a port), or a URL, which allows exactly its scheme, host
    /// and port. Plain http is allowed by an http URL, or by `allow_insecure` for every entry.
    pub fn new(entries: &[String], allow_insecure: bool) -> Result<Self, EndpointError> {
        let read = |text: &String| entry(text.trim()).ok_or_else(|| EndpointError::NotAnEntry(text.clone()));
        Ok(Self { entries: entries.iter().map(read).collect::<Result<_, _>>()?, allow_insecure })
    }

    /// Checks an endpoint that an account names for a product, and returns its scheme and authority, in lower case.
    ///
    /// Two kinds of hosts need no entry: the product's own hosts under aliyuncs.com, over https, and this machine, also
    /// over plain http. The first label of a product's own host is the product's name, or begins with the name and a
    /// dash; at most a region follows. Other hosts under aliyuncs.com can be a customer's, such as
    /// `sts-x.oss-cn-hangzhou.aliyuncs.com`, and calls contain tokens and passwords of Secrets that the author of the
    /// account may not be able to read.
    pub fn check(&self, product: &str, text: &str) -> Result<String, EndpointError> {
        let endpoint = endpoint(text).ok_or_else(|| EndpointError::NotAUrl(text.into()))?;
        let Endpoint { scheme, host, port, .. } = &endpoint;
        let entry = |secure: bool| {
            self.entries.iter().any(|entry| (!secure || entry.scheme.is_some()) && entry.covers(&endpoint))
        };
        let own = is_own(product, host);
        let (here, named) = (is_loopback(host), entry(false));
        if !(own || here || named) {
            let expected = format!("{product}.aliyuncs.com and to {product}.REGION.aliyuncs.com");
            return Err(EndpointError::NotAllowed { endpoint: text.into(), product: product.into(), expected });
        }
        let plain_is_fine = here || (named && self.allow_insecure) || entry(true);
        match scheme {
            Scheme::Http if !plain_is_fine => return Err(EndpointError::Insecure(text.into())),
            Scheme::Http | Scheme::Https => {}
        }
        let scheme = if *scheme == Scheme::Http { "http" } else { "https" };
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        Ok(format!("{scheme}://{host}{port}"))
    }
}

impl Entry {
    fn covers(&self, endpoint: &Endpoint<'_>) -> bool {
        let host = match endpoint.host.strip_suffix(&self.host) {
            Some(before) if self.below => before.len() > 1 && before.ends_with('.'),
            Some(before) => before.is_empty(),
            None => false,
        };
        host && self.scheme.is_none_or(|scheme| scheme == endpoint.scheme)
            && self.port.is_none_or(|port| port == endpoint.number)
    }
}

/// Whether a host is a product's own, by the naming of the official SDK.
fn is_own(product: &str, host: &str) -> bool {
    let Some(labels) = host.strip_suffix(".aliyuncs.com") else { return false };
    let (first, region) = labels.split_once('.').map_or((labels, None), |(first, rest)| (first, Some(rest)));
    let is_region = |text: &str| {
        let country = text.split('-').next().unwrap_or_default();
        !text.contains('.') && text.contains('-') && country.len() == 2
    };
    let named = first.strip_prefix(product).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    named && region.is_none_or(is_region)
}

fn entry(text: &str) -> Option<Entry> {
    if text.contains("://") {
        let Endpoint { scheme, host, number, .. } = endpoint(text)?;
        return Some(Entry { scheme: Some(scheme), host, below: false, port: Some(number) });
    }
    let (below, rest) = text.strip_prefix("*.").map_or((false, text), |rest| (true, rest));
    let (host, port) = authority(rest)?;
    // No host is below an address.
    if below && (host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok()) {
        return None;
    }
    let port = match port {
        Some(port) => Some(number(port)?),
        None => None,
    };
    Some(Entry { scheme: None, host, below, port })
}

/// Parses scheme, host and port, and ignores one trailing slash. Nothing else is an endpoint.
fn endpoint(text: &str) -> Option<Endpoint<'_>> {
    let (scheme, rest) = text.split_once("://")?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return None,
    };
    let (host, port) = authority(rest.strip_suffix('/').unwrap_or(rest))?;
    let number = match port {
        Some(port) => number(port)?,
        None => scheme.port(),
    };
    Some(Endpoint { scheme, host, port, number })
}

/// Splits host and port. The host is returned in lower case. It is a name or an address that every URL parser
/// understands in the same way: no number that a parser could read as an address, no trailing dot, only ASCII, nothing
/// encoded.
fn authority(text: &str) -> Option<(String, Option<&str>)> {
    let text_end = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
    let (host, rest) = text.split_at(text_end);
    let port = match rest.strip_prefix(':') {
        Some(port) => Some(port),
        None if rest.is_empty() => None,
        None => return None,
    };
    let host = host.to_ascii_lowercase();
    let fits = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<Ipv4Addr>().is_ok() || is_name(&host),
    };
    fits.then_some((host, port))
}

/// Whether a host is this machine: `localhost`, or a loopback address in its usual spelling.
pub(in crate::cloud) fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn is_name(host: &str) -> bool {
    let fits = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'_'))
    };
    // Some parsers read a host whose last label begins with a digit as an address: 2130706433 and 0x7f.1 are 127.0.0.1.
    let last = host.rsplit('.').next().unwrap_or_default();
    host.len() <= 253 && host.split('.').all(fits) && !last.starts_with(|c: char| c.is_ascii_digit())
}

/// A port, 1 to 65535, without sign or leading zero.
fn number(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|c| c.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(entries: &[&str], allow_insecure: bool) -> Allowed {
        let entries: Vec<String> = entries.iter().map(|entry| (*entry).to_owned()).collect();
        Allowed::new(&entries, allow_insecure).expect("entries")
    }

    #[test]
    fn own_hosts_of_the_cloud_are_allowed() {
        let rule = allowed(&[], false);
        for (product, text, read) in [
            ("ebs", "https://ebs.cn-shanghai.aliyuncs.com", "https://ebs.cn-shanghai.aliyuncs.com"),
            ("ebs", "HTTPS://EBS-vpc.CN-Shanghai.AliyunCS.com/", "https://ebs-vpc.cn-shanghai.aliyuncs.com"),
            (
                "rocketmq",
                "https://rocketmq-vpc.cn-hangzhou.aliyuncs.com:8443",
                "https://rocketmq-vpc.cn-hangzhou.aliyuncs.com:8443",
            ),
            ("sts", "https://sts.aliyuncs.com", "https://sts.aliyuncs.com"),
            ("sts", "https://sts.cn-hangzhou.aliyuncs.com:443", "https://sts.cn-hangzhou.aliyuncs.com:443"),
            ("sts", "https://sts-vpc.ap-southeast-1.aliyuncs.com", "https://sts-vpc.ap-southeast-1.aliyuncs.com"),
            ("sts", "https://sts-intl.aliyuncs.com", "https://sts-intl.aliyuncs.com"),
            ("sts", "http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("ebs", "http://localhost", "http://localhost"),
            ("ebs", "http://[::1]:8080/", "http://[::1]:8080"),
            ("ebs", "https://[::1]", "https://[::1]"),
            ("ebs", "http://127.255.0.9", "http://127.255.0.9"),
        ] {
            assert_eq!(rule.check(product, text), Ok(read.into()), "{text}");
        }
    }

    #[test]
    fn other_hosts_are_refused() {
        for text in [
            "https://aliyuncs.com",
            "https://evil-aliyuncs.com",
            "https://evilaliyuncs.com",
            "https://aliyuncs.com.evil.org",
            "https://ebs.aliyuncs.com.evil.org",
            "https://ebs.aliyuncs.co",
            "https://127.0.0.1.nip.io",
            "http://127.0.0.1.nip.io",
            "https://localhost.evil.org",
            "https://10.0.0.1",
            "https://100.100.100.200",
            "http://169.254.169.254",
            "https://[::ffff:127.0.0.1]",
            "https://[fe80::1]",
            "https://[::]",
            "https://0.0.0.0",
            "https://xn--aliyuncs-9za.com",
        ] {
            let refused = allowed(&[], true).check("ebs", text);
            assert!(matches!(refused, Err(EndpointError::NotAllowed { .. })), "{text}: {refused:?}");
        }
    }

    #[test]
    fn hosts_of_other_products_are_refused() {
        for host in ["ebs.cn-shanghai.aliyuncs.com", "rocketmqx.aliyuncs.com", "rocketmq.oss-cn-hangzhou.aliyuncs.com"]
        {
            assert!(allowed(&[], true).check("rocketmq", &format!("https://{host}")).is_err(), "{host}");
        }
        for host in [
            "ebs.aliyuncs.com",
            "stsx.aliyuncs.com",
            "bucket.oss-cn-hangzhou.aliyuncs.com",
            "sts.oss-cn-hangzhou.aliyuncs.com",
            "sts-x.oss-cn-hangzhou.aliyuncs.com",
            "sts-x.cn-hangzhou.log.aliyuncs.com",
            "sts.cn-hangzhou.fc.aliyuncs.com",
            "sts.log.aliyuncs.com",
            "x.sts.aliyuncs.com",
            "sts.evil.org",
        ] {
            let refused = allowed(&[], true).check("sts", &format!("https://{host}"));
            assert!(matches!(refused, Err(EndpointError::NotAllowed { .. })), "{host}: {refused:?}");
            let named = allowed(&[host], false).check("sts", &format!("https://{host}"));
            assert_eq!(named, Ok(format!("https://{host}")));
        }
    }

    #[test]
    fn ambiguous_hosts_are_no_endpoints() {
        for text in [
            "",
            "ebs.aliyuncs.com",
            "ftp://ebs.aliyuncs.com",
            "https://",
            "https:///ebs.aliyuncs.com",
            "https://ebs.aliyuncs.com.",
            "https://localhost.",
            "https://.aliyuncs.com",
            "https://a..aliyuncs.com",
            "https://-a.aliyuncs.com",
            "https://user@ebs.aliyuncs.com",
            "https://ebs.aliyuncs.com@evil.org",
            "https://evil.org\\.aliyuncs.com",
            "https://evil.org\\@a.aliyuncs.com",
            "https://evil.org/.aliyuncs.com",
            "https://evil.org#.aliyuncs.com",
            "https://evil.org?.aliyuncs.com",
            "https://ebs.aliyuncs.com/path",
            "https://ebs.aliyuncs.com//",
            "https://ebs.aliyuncs.com?a=b",
            "https://ebs.aliyuncs.com:",
            "https://ebs.aliyuncs.com:0",
            "https://ebs.aliyuncs.com:65536",
            "https://ebs.aliyuncs.com:+1",
            "https://ebs.aliyuncs.com:0443",
            "https://ebs.aliyuncs.com:443:80",
            "https://ebs.aliyuncs.com\t",
            "https://ebs.ali\tyuncs.com",
            "https://ebs.aliyuncs.com\n",
            " https://ebs.aliyuncs.com",
            "https://evil.org%2f.aliyuncs.com",
            "https://evil%2eorg.aliyuncs.com",
            "https://%6cocalhost",
            "https://ebs.aliyuncs。com",
            "https://ebs。aliyuncs.com",
            "https://ébs.aliyuncs.com",
            "https://localh\u{fb06}",
            "https://①②⑦.0.0.1",
            "http://0x7f.1",
            "http://2130706433",
            "http://127.1",
            "http://0177.0.0.1",
            "http://127.0.0.1.",
            "http://[::1",
            "http://[::1]x",
            "http://[::1%25lo]",
            "http://::1",
            "https://[ebs.aliyuncs.com]",
        ] {
            for rule in [allowed(&[], true), allowed(&["*.org", "*.com"], true)] {
                let refused = rule.check("ebs", text);
                assert_eq!(refused, Err(EndpointError::NotAUrl(text.into())), "{text}");
            }
        }
    }

    #[test]
    fn entries_allow_only_what_they_name() {
        let rule = allowed(
            &["sts.internal.example", "port.example:8443", "*.wide.example", "http://plain.example", "10.0.0.5"],
            false,
        );
        for text in [
            "https://sts.internal.example",
            "https://STS.internal.example:9443",
            "https://port.example:8443",
            "https://a.wide.example",
            "https://a.b.wide.example:1",
            "http://plain.example",
            "http://plain.example:80",
            "https://10.0.0.5:6443",
        ] {
            assert!(rule.check("sts", text).is_ok(), "{text}");
        }
        for text in [
            "https://x.sts.internal.example",
            "https://port.example",
            "https://port.example:8444",
            "https://wide.example",
            "https://notwide.example",
            "https://plain.example",
            "http://plain.example:8080",
            "https://10.0.0.50",
            "https://110.0.0.5",
        ] {
            assert!(matches!(rule.check("sts", text), Err(EndpointError::NotAllowed { .. })), "{text}");
        }
        for (text, host) in [("http://sts.internal.example", "*.wide.example"), ("http://a.wide.example", "*.example")]
        {
            assert_eq!(rule.check("sts", text), Err(EndpointError::Insecure(text.into())));
            assert!(allowed(&[host, "sts.internal.example"], true).check("sts", text).is_ok(), "{text}");
        }
        assert!(allowed(&["https://url.example"], false).check("sts", "https://url.example:443").is_ok());
        assert!(allowed(&["https://url.example"], true).check("sts", "http://url.example").is_err());
        assert!(matches!(rule.check("ebs", "http://ebs.aliyuncs.com"), Err(EndpointError::Insecure(_))));
        assert!(allowed(&[], true).check("ebs", "http://ebs.aliyuncs.com").is_err(), "no entry names it");
        assert!(allowed(&["*.aliyuncs.com"], true).check("ebs", "http://ebs.aliyuncs.com").is_ok());
    }

    #[test]
    fn invalid_entries_are_reported() {
        for text in
            ["", "*", "*.", "*.*.example", "a.*.example", "example.com.", "https://a/b", "https://*.a", "*.1.2.3.4"]
        {
            let refused = Allowed::new(&[text.to_owned()], false);
            assert_eq!(refused, Err(EndpointError::NotAnEntry(text.into())), "{text}");
        }
        let error = allowed(&[], false).check("sts", "https://evil.org").expect_err("refused").to_string();
        assert!(error.contains("--allowed-endpoints") && error.contains("evil.org"), "{error}");
    }
}
