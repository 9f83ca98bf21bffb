//! Checks and values that groups and pairs share.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::failure::Failure;

/// A region and a zone in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub region: String,
    pub zone: String,
}

/// A tag in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tag {
    pub tag_key: String,
    pub tag_value: String,
}

pub(super) fn tags(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag { tag_key: key.clone(), tag_value: value.clone() }).collect()
}

/// The only allowed recovery point objective, s.
pub(super) const RPO: i64 = 900;

pub(super) fn check_rpo(rpo: Option<i64>) -> Result<(), Failure> {
    match rpo {
        None | Some(RPO) => Ok(()),
        Some(_) => Err(Failure::invalid_ebs("RPO", "900 is the only value")),
    }
}

pub(super) fn check_length(name: &str, text: Option<&String>, max: usize) -> Result<(), Failure> {
    match text {
        Some(text) if !(2..=max).contains(&text.chars().count()) => {
            Err(Failure::invalid_ebs(name, &format!("it must be 2 to {max} characters long")))
        }
        Some(_) | None => Ok(()),
    }
}

pub(super) fn required(name: &str, field: Option<&String>) -> Result<String, Failure> {
    field.filter(|text| !text.is_empty()).cloned().ok_or_else(|| Failure::missing(name))
}
