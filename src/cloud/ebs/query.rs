//! The query of one call. In RPC style it contains all parameters of an operation.

use std::borrow::Cow;

use super::super::client::Target;
use super::shapes::Tag;
use super::token::ClientToken;

/// Parameters in the API's names.
pub(super) struct Query(pub(super) Vec<(Cow<'static, str>, String)>);

impl Query {
    /// A query with only the region, which is the endpoint's.
    pub(super) fn at(target: &Target) -> Self {
        Self(vec![]).with("RegionId", &target.region)
    }

    pub(super) fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.0.push((key.into(), value.to_string()));
        self
    }

    /// Adds a parameter if there is a value.
    pub(super) fn maybe(self, key: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    pub(super) fn token(self, token: &ClientToken) -> Self {
        self.with(TOKEN, token)
    }

    /// Adds tags as a flattened list, counted from one.
    pub(super) fn tags(mut self, tags: &[Tag]) -> Self {
        for (number, Tag { key, value }) in (1..).zip(tags) {
            self.0.push((format!("Tag.{number}.Key").into(), key.clone()));
            self.0.push((format!("Tag.{number}.Value").into(), value.clone()));
        }
        self
    }

    /// Whether the service recognizes a repeat of this call.
    pub(super) fn has_token(&self) -> bool {
        self.0.iter().any(|(key, _)| key == TOKEN)
    }
}

const TOKEN: &str = "ClientToken";
