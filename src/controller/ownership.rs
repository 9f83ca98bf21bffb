//! The owner of a plan or group in the cloud: one object of one cluster. The owner's name in the cloud resolves a lost answer
//! to Create, and keeps two clusters from managing one resource. A plan's description ends with an owner mark.

use sha2::{Digest, Sha256};

/// Maximum length of a mark: behind a description of 159 characters it fits into 256.
const MAX_MARK_LENGTH: usize = 96;
const MARK_PREFIX: &str = "[drp ";
const MARK_SUFFIX: &str = "]";

/// The owner that the mark of a description names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This object.
    Us,
    /// Another object or cluster: the text between `[drp ` and `]`.
    Another(String),
    /// None: the description carries no mark.
    Unmarked,
}

/// The ID of an object among those of its kind in all clusters: `<cluster>/<namespace>/<name>`. An ID that would be longer than
/// `max_length` has `#` and a hash in place of the two names.
pub fn owner_id(cluster_id: &str, namespace: &str, name: &str, max_length: usize) -> String {
    let plain = format!("{cluster_id}/{namespace}/{name}");
    if plain.len() <= max_length {
        return plain;
    }
    let hash = hex::encode(Sha256::digest(format!("{namespace}/{name}")));
    format!("{cluster_id}/#{}", &hash[..32])
}

/// The mark of an object: `[drp <cluster>/<namespace>/<name>]`, at most 96 characters.
pub fn mark(cluster_id: &str, namespace: &str, name: &str) -> String {
    let id = owner_id(cluster_id, namespace, name, MAX_MARK_LENGTH - MARK_PREFIX.len() - MARK_SUFFIX.len());
    format!("{MARK_PREFIX}{id}{MARK_SUFFIX}")
}

/// A hash of a mark, which stands for it: 128 bits of SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MarkHash([u8; 16]);

impl MarkHash {
    /// The hash of a mark.
    pub fn of(mark: &str) -> Self {
        let mut half = [0; 16];
        half.copy_from_slice(&Sha256::digest(mark)[..16]);
        Self(half)
    }
}

/// The owner that the mark at the end of a description names.
pub fn owner(description: &str, mark: &str) -> Owner {
    match split(description) {
        (_, None) => Owner::Unmarked,
        (_, Some(found)) if found == mark => Owner::Us,
        (_, Some(found)) => Owner::Another(found[MARK_PREFIX.len()..found.len() - MARK_SUFFIX.len()].to_owned()),
    }
}

/// The mark at the end of a description.
pub fn found_mark(description: &str) -> Option<&str> {
    split(description).1
}

/// The description without the mark at its end.
pub fn unmarked(description: &str) -> &str {
    split(description).0
}

/// A description with the mark at its end.
pub fn marked(description: &str, mark: &str) -> String {
    let text = description.trim_end();
    if text.is_empty() { mark.to_owned() } else { format!("{text} {mark}") }
}

fn split(description: &str) -> (&str, Option<&str>) {
    let text = description.trim_end();
    match text.rfind(MARK_PREFIX) {
        Some(at) if text.ends_with(']') && !text[at..text.len() - 1].contains(']') => {
            (text[..at].trim_end(), Some(&text[at..]))
        }
        _ => (text, None),
    }
}

/// Whether two identities certainly belong to one cloud account: they are the same, or roles of one account at one endpoint. A
/// key does not show its cloud account.
pub fn same_cloud_account(one: &str, other: &str) -> bool {
    let account = |identity: &str| {
        let (arn, endpoint) = identity.split_once(" at ").unwrap_or((identity, ""));
        let (account, _) = arn.strip_prefix("acs:ram::")?.split_once(":role/")?;
        Some((account.to_owned(), endpoint.to_owned()))
    };
    one == other || account(one).is_some_and(|it| account(other) == Some(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_is_found_behind_any_description() {
        let ours = mark("0a1b2c3d", "messaging", "orders");
        assert_eq!(ours, "[drp 0a1b2c3d/messaging/orders]");
        for text in ["", "Orders, Hangzhou to Shanghai", "杭州 → 上海", "[a] note"] {
            let description = marked(text, &ours);
            assert_eq!(owner(&description, &ours), Owner::Us, "{text}");
            assert_eq!(unmarked(&description), text);
            assert_eq!(marked(unmarked(&description), &ours), description);
        }
    }

    #[test]
    fn other_owner_and_no_owner_are_distinguished() {
        let ours = mark("0a1b2c3d", "messaging", "orders");
        let theirs = owner("x [drp ffffffff/messaging/orders]", &ours);
        assert_eq!(theirs, Owner::Another("ffffffff/messaging/orders".into()));
        assert_eq!(owner("the [drp x/y/z] in the middle", &ours), Owner::Unmarked);
        assert_eq!(owner("[drp x", &ours), Owner::Unmarked);
    }

    #[test]
    fn long_names_get_distinct_hashes() {
        let (a, b) =
            (mark("0a1b2c3d", &"n".repeat(63), &"a".repeat(200)), mark("0a1b2c3d", &"n".repeat(63), &"b".repeat(200)));
        assert!(a.len() <= MAX_MARK_LENGTH && a != b, "{a} {b}");
        assert_eq!(owner(&marked("text", &a), &a), Owner::Us);
        let exact = "x".repeat(MAX_MARK_LENGTH - "[drp 0a1b2c3d/n/]".len());
        assert_eq!(mark("0a1b2c3d", "n", &exact).len(), MAX_MARK_LENGTH);
    }

    #[test]
    fn mark_format_is_stable() {
        assert_eq!(
            mark("0a1b2c3d", "messaging", &"orders-".repeat(12)),
            "[drp 0a1b2c3d/#d27659aa154738953d0fa7c110ab5199]"
        );
    }

    #[test]
    fn owner_id_contains_names_or_their_hash() {
        assert_eq!(owner_id("0a1b2c3d", "messaging", "orders", 128), "0a1b2c3d/messaging/orders");
        assert_eq!(owner_id("0a1b2c3d", "messaging", "orders", 25), "0a1b2c3d/messaging/orders");
        let hashed = owner_id("0a1b2c3d", "messaging", "orders", 24);
        assert!(hashed.starts_with("0a1b2c3d/#") && hashed.len() == "0a1b2c3d/#".len() + 32, "{hashed}");
        // The maximum lengths: a cluster's ID of 32 characters, a namespace of 63, a name of 253.
        assert!(owner_id(&"c".repeat(32), &"n".repeat(63), &"a".repeat(253), 128).len() <= 128);
    }

    #[test]
    fn only_roles_prove_one_cloud_account() {
        let role = "acs:ram::1:role/a";
        for (other, same) in [
            (role, true),
            ("acs:ram::1:role/b", true),
            ("acs:ram::2:role/a", false),
            ("acs:ram::1:role/b at https://rocketmq.cn-beijing.aliyuncs.com", false),
            ("LTAI****0001", false),
        ] {
            assert_eq!(same_cloud_account(role, other), same, "{other}");
        }
        assert!(same_cloud_account("LTAI****0001", "LTAI****0001"));
        assert!(!same_cloud_account("LTAI****0001", "LTAI****0002"));
    }
}
