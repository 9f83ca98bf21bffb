//! The part of the metadata service of an ECS instance that provides keys (IMDSv2): no signature, JSON only for the
//! key.

use http::Method;
use serde_json::json;

use super::http::{Answer, Incoming, decoded, is_loopback};
use super::model::sts::{MetadataRefusal, Sts};

/// The address of the service on every instance.
const HOST: &str = "100.100.100.200";
/// The prefix of all paths.
const PATH_PREFIX: &str = "/latest/";
const TOKEN: &str = "/latest/api/token";
const CREDENTIALS: &str = "/latest/meta-data/ram/security-credentials";

/// An operation. The service has no actions: the names are the simulator's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    PutToken,
    GetRole,
    /// The key of the role with this name.
    GetCredentials(String),
}

/// Whether a request is for the metadata service: by address, on loopback by path.
pub(super) fn is_addressed(incoming: &Incoming) -> bool {
    let name = incoming.host.rsplit_once(':').map_or(incoming.host.as_str(), |(name, _)| name);
    name == HOST || (is_loopback(&incoming.host) && incoming.path.starts_with(PATH_PREFIX))
}

impl Operation {
    /// The operation of method and path.
    pub(super) fn route(incoming: &Incoming) -> Option<Operation> {
        if incoming.method == Method::PUT && incoming.path == TOKEN {
            return Some(Operation::PutToken);
        }
        let role = incoming.path.strip_prefix(CREDENTIALS).filter(|_| incoming.method == Method::GET)?;
        match role {
            "" | "/" => Some(Operation::GetRole),
            _ => role.strip_prefix('/').map(|role| Operation::GetCredentials(decoded(role))),
        }
    }

    /// The name in records and faults.
    pub(super) fn action(&self) -> &'static str {
        match self {
            Operation::PutToken => "PutMetadataToken",
            Operation::GetRole => "GetMetadataRole",
            Operation::GetCredentials(_) => "GetMetadataCredentials",
        }
    }

    /// Executes the operation.
    pub(super) fn perform(&self, incoming: &Incoming, sts: &mut Sts, now: i64) -> Answer {
        let token = incoming.header("x-aliyun-ecs-metadata-token");
        let answer = match self {
            Operation::PutToken => {
                let ttl = incoming.header("x-aliyun-ecs-metadata-token-ttl-seconds");
                sts.put_metadata_token(ttl.and_then(|ttl| ttl.parse().ok()), now).map(Answer::text)
            }
            Operation::GetRole => sts.metadata_role(token.as_deref(), now).map(Answer::text),
            Operation::GetCredentials(role) => sts.metadata_key(role, token.as_deref(), now).map(|key| {
                Answer::bare_json(&json!({
                    "AccessKeyId": key.access_key_id,
                    "AccessKeySecret": key.access_key_secret,
                    "SecurityToken": key.security_token,
                    "Expiration": key.expiration(),
                    "LastUpdated": key.last_updated(),
                    "Code": "Success",
                }))
            }),
        };
        answer.unwrap_or_else(|refusal: MetadataRefusal| Answer::page(refusal.status()))
    }
}
