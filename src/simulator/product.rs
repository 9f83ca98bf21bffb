//! The product of a request.

use super::config::Config;
use super::http::{Incoming, is_loopback, region_of};
use super::model::Failure;
use super::{ebs, metadata, rocketmq, sts};

/// A simulated product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Product {
    RocketMq,
    Ebs,
    Sts,
    Metadata,
}

/// An operation of a product.
pub(super) enum Operation {
    RocketMq(rocketmq::Operation),
    Ebs(ebs::Operation),
    Sts(sts::Operation),
    Metadata(metadata::Operation),
}

impl Product {
    /// The product of a host. On loopback the path decides; between the RPC products, which have no paths, the action.
    pub(super) fn of(incoming: &Incoming) -> Option<Product> {
        if metadata::is_addressed(incoming) {
            return Some(Product::Metadata);
        }
        if is_loopback(&incoming.host) {
            return Some(match incoming.path == "/" {
                true if sts::is_addressed(incoming) => Product::Sts,
                true => Product::Ebs,
                false => Product::RocketMq,
            });
        }
        let known = |product: &Product| product.region_of_host(&incoming.host, "").is_some();
        [Product::RocketMq, Product::Ebs, Product::Sts].into_iter().find(known)
    }

    fn region_of_host(self, host: &str, default_region: &str) -> Option<String> {
        match self {
            Product::RocketMq => region_of(host, rocketmq::PRODUCT, default_region),
            Product::Ebs => region_of(host, ebs::PRODUCT, default_region),
            Product::Sts => sts::region(host, default_region),
            // An instance reads its own metadata, in any region.
            Product::Metadata => Some(default_region.to_owned()),
        }
    }

    /// The API version, the required value of `x-acs-version` in a signed request.
    pub(super) fn version(self) -> &'static str {
        match self {
            Product::RocketMq => rocketmq::VERSION,
            Product::Ebs => ebs::VERSION,
            Product::Sts => sts::VERSION,
            Product::Metadata => "",
        }
    }

    /// The operation of a request, if the product has it.
    pub(super) fn route(self, incoming: &Incoming) -> Option<Operation> {
        match self {
            Product::RocketMq => rocketmq::Operation::route(&incoming.method, &incoming.path).map(Operation::RocketMq),
            Product::Ebs => ebs::Operation::route(incoming).map(Operation::Ebs),
            Product::Sts => sts::Operation::route(incoming).map(Operation::Sts),
            Product::Metadata => metadata::Operation::route(incoming).map(Operation::Metadata),
        }
    }

    /// The region that the request itself names, if any: a loopback address names none, nor does the central endpoint
    /// of STS.
    pub(super) fn named_region(self, incoming: &Incoming) -> Option<String> {
        self.region(incoming, "").filter(|region| !region.is_empty())
    }

    /// The region of a request: the parameter `RegionId` for EBS where present, else that of the host.
    pub(super) fn region(self, incoming: &Incoming, default_region: &str) -> Option<String> {
        let of_host = self.region_of_host(&incoming.host, default_region)?;
        match self {
            Product::Ebs => Some(incoming.rpc_parameter("RegionId").unwrap_or(of_host)),
            Product::RocketMq | Product::Sts | Product::Metadata => Some(of_host),
        }
    }

    /// Whether all refusals have the gateway's body.
    pub(super) fn is_plain(self) -> bool {
        self != Product::RocketMq
    }
}

impl Operation {
    /// The action's name, the required value of `x-acs-action`.
    pub(super) fn action(&self) -> &'static str {
        match self {
            Operation::RocketMq(operation) => operation.action(),
            Operation::Ebs(operation) => operation.action(),
            Operation::Sts(operation) => operation.action(),
            Operation::Metadata(operation) => operation.action(),
        }
    }

    /// Whether its requests must be signed.
    pub(super) fn is_signed(&self) -> bool {
        match self {
            Operation::RocketMq(_) | Operation::Ebs(_) => true,
            Operation::Sts(operation) => operation.is_signed(),
            Operation::Metadata(_) => false,
        }
    }

    /// Allowed calls a second, and the code for further calls.
    pub(super) fn limit(&self, config: &Config) -> (u32, &'static str) {
        match self {
            Operation::RocketMq(_) => (config.rate_limit_per_second, "Throttling.User"),
            Operation::Ebs(operation) => (operation.limit(config.ebs_rate_limit_per_second), "Throttling.User"),
            Operation::Sts(_) => (config.sts_rate_limit_per_second, "Throttling.Api"),
            Operation::Metadata(_) => (u32::MAX, ""),
        }
    }

    /// Whether it can change the cloud; issuing a key is no change.
    pub(super) fn is_changing(&self) -> bool {
        match self {
            Operation::RocketMq(operation) => operation.is_changing(),
            Operation::Ebs(operation) => operation.is_changing(),
            Operation::Sts(_) | Operation::Metadata(_) => false,
        }
    }

    /// The refusal for a caller without permission.
    pub(super) fn denied(&self) -> Failure {
        match self {
            Operation::RocketMq(operation) => Failure::no_permission(operation.action()),
            Operation::Ebs(operation) => Failure::forbidden_action(operation.action()),
            Operation::Sts(operation) => operation.denied(),
            Operation::Metadata(_) => Failure::sts_no_permission(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends where it fails")]
mod tests {
    use axum::body::Bytes;

    use super::*;

    #[test]
    fn loopback_address_names_no_region() {
        for (url, expected) in [
            ("https://rocketmq.cn-hangzhou.aliyuncs.com/disaster_recovery", Some("cn-hangzhou")),
            ("http://127.0.0.1:4711/disaster_recovery", None),
            ("https://ebs.cn-hangzhou.aliyuncs.com/", Some("cn-hangzhou")),
            ("https://ebs.cn-hangzhou.aliyuncs.com/?RegionId=cn-shanghai", Some("cn-shanghai")),
            ("http://127.0.0.1:4711/?RegionId=cn-shanghai", Some("cn-shanghai")),
            ("http://127.0.0.1:4711/", None),
            ("https://sts.aliyuncs.com/", None),
            ("https://sts.cn-hangzhou.aliyuncs.com/", Some("cn-hangzhou")),
            ("https://sts-vpc.cn-hangzhou.aliyuncs.com/", Some("cn-hangzhou")),
            ("http://127.0.0.1:4711/?Action=AssumeRole", None),
            ("http://100.100.100.200/latest/api/token", None),
        ] {
            let (parts, ()) = http::Request::get(url).body(()).unwrap().into_parts();
            let incoming = Incoming::new(&parts, Bytes::new());
            let product = Product::of(&incoming).unwrap();
            assert_eq!(product.named_region(&incoming).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn loopback_path_and_action_select_product() {
        for (url, expected) in [
            ("http://127.0.0.1:4711/", Product::Ebs),
            ("http://127.0.0.1:4711/?Action=DescribeDiskReplicaGroups", Product::Ebs),
            ("http://127.0.0.1:4711/?Action=AssumeRoleWithOIDC", Product::Sts),
            ("http://127.0.0.1:4711/disaster_recovery?Action=AssumeRole", Product::RocketMq),
            ("http://127.0.0.1:4711/latest/api/token", Product::Metadata),
            ("http://100.100.100.200:80/", Product::Metadata),
            ("https://ebs.cn-hangzhou.aliyuncs.com/?Action=AssumeRole", Product::Ebs),
        ] {
            let (parts, ()) = http::Request::get(url).body(()).unwrap().into_parts();
            assert_eq!(Product::of(&Incoming::new(&parts, Bytes::new())), Some(expected), "{url}");
        }
    }
}
