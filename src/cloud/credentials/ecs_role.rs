//! shim
use super::*;
pub const ENDPOINT: &str = "http://100.100.100.200";
pub fn of(_http: crate::cloud::client::HttpService, _base: String, _name: Option<String>) -> Provider {
    provider(|| async { Err(CredentialsError::NoSource("shim".into())) })
}
