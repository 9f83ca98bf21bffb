//! Which of the two products a request is for.

use super::http::{Incoming, is_loopback, region_of};
use super::model::Failure;
use super::{ebs, rocketmq};

/// A simulated product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Product {
    RocketMq,
    Ebs,
}

/// An operation of either product.
pub(super) enum Operation {
    RocketMq(rocketmq::Operation),
    Ebs(ebs::Operation),
}

impl Product {
    /// The product that a host means; on loopback the path decides, for RPC products have none.
    pub(super) fn of(incoming: &Incoming) -> Option<Product> {
        if is_loopback(&incoming.host) {
            return Some(if incoming.path == "/" { Product::Ebs } else { Product::RocketMq });
        }
        let known = |product: &Product| region_of(&incoming.host, product.name(), "").is_some();
        [Product::RocketMq, Product::Ebs].into_iter().find(known)
    }

    fn name(self) -> &'static str {
        match self {
            Product::RocketMq => rocketmq::PRODUCT,
            Product::Ebs => ebs::PRODUCT,
        }
    }

    /// The API's version, as `x-acs-version` must say it.
    pub(super) fn version(self) -> &'static str {
        match self {
            Product::RocketMq => rocketmq::VERSION,
            Product::Ebs => ebs::VERSION,
        }
    }

    /// The operation that is meant, if there is such a one.
    pub(super) fn route(self, incoming: &Incoming) -> Option<Operation> {
        match self {
            Product::RocketMq => rocketmq::Operation::route(&incoming.method, &incoming.path).map(Operation::RocketMq),
            Product::Ebs => ebs::Operation::route(incoming).map(Operation::Ebs),
        }
    }

    /// The region that the request itself names, if any: a loopback address names none.
    pub(super) fn named_region(self, incoming: &Incoming) -> Option<String> {
        self.region(incoming, "").filter(|region| !region.is_empty())
    }

    /// The region that is meant: EBS is told by a parameter, where there is one.
    pub(super) fn region(self, incoming: &Incoming, default_region: &str) -> Option<String> {
        let of_host = region_of(&incoming.host, self.name(), default_region)?;
        match self {
            Product::RocketMq => Some(of_host),
            Product::Ebs => Some(ebs::parameter(incoming, "RegionId").unwrap_or(of_host)),
        }
    }
}

impl Operation {
    /// The action's name, as `x-acs-action` must say it.
    pub(super) fn action(&self) -> &'static str {
        match self {
            Operation::RocketMq(operation) => operation.action(),
            Operation::Ebs(operation) => operation.action(),
        }
    }

    /// Whether it changes anything in the cloud.
    pub(super) fn is_changing(&self) -> bool {
        match self {
            Operation::RocketMq(operation) => operation.is_changing(),
            Operation::Ebs(operation) => operation.is_changing(),
        }
    }

    /// What a caller without the right to it is told.
    pub(super) fn denied(&self) -> Failure {
        match self {
            Operation::RocketMq(operation) => Failure::no_permission(operation.action()),
            Operation::Ebs(operation) => Failure::forbidden_action(operation.action()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends where it fails")]
mod tests {
    use axum::body::Bytes;

    use super::*;

    #[test]
    fn a_request_names_its_region_by_parameter_or_host_but_not_by_a_loopback_address() {
        for (url, expected) in [
            ("https://rocketmq.cn-hangzhou.aliyuncs.com/disaster_recovery", Some("cn-hangzhou")),
            ("http://127.0.0.1:4711/disaster_recovery", None),
            ("https://ebs.cn-hangzhou.aliyuncs.com/", Some("cn-hangzhou")),
            ("https://ebs.cn-hangzhou.aliyuncs.com/?RegionId=cn-shanghai", Some("cn-shanghai")),
            ("http://127.0.0.1:4711/?RegionId=cn-shanghai", Some("cn-shanghai")),
            ("http://127.0.0.1:4711/", None),
        ] {
            let (parts, ()) = http::Request::get(url).body(()).unwrap().into_parts();
            let incoming = Incoming::new(&parts, Bytes::new());
            let product = Product::of(&incoming).unwrap();
            assert_eq!(product.named_region(&incoming).as_deref(), expected, "{url}");
        }
    }
}
