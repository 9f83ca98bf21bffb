//! Who keeps something in the cloud: an object in a cluster. What it writes of that into the cloud is what resolves a lost
//! reply to Create, and what keeps two clusters from fighting over one thing. A plan's description ends with a mark.

use sha2::{Digest, Sha256};

/// A mark is never longer, so that it fits behind a description of 159 characters within 256.
const LONGEST: usize = 96;
const START: &str = "[drp ";
const END: &str = "]";

/// Whose mark a description carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This object's.
    Us,
    /// Another object's or cluster's: what stands between `[drp ` and `]`.
    Another(String),
    /// Nobody's.
    Nobody,
}

/// An object among those of its kind in all clusters: `<cluster>/<namespace>/<name>`, with `#` and a hash in place of the
/// names where it would be longer than `longest`.
pub fn identity(cluster_id: &str, namespace: &str, name: &str, longest: usize) -> String {
    let plain = format!("{cluster_id}/{namespace}/{name}");
    if plain.len() <= longest {
        return plain;
    }
    let hash = hex::encode(Sha256::digest(format!("{namespace}/{name}")));
    format!("{cluster_id}/#{}", &hash[..32])
}

/// The mark of an object: `[drp <cluster>/<namespace>/<name>]`, at most 96 characters.
pub fn mark(cluster_id: &str, namespace: &str, name: &str) -> String {
    let identity = identity(cluster_id, namespace, name, LONGEST - START.len() - END.len());
    format!("{START}{identity}{END}")
}

/// Whose mark is at the end of a description.
pub fn owner(description: &str, mark: &str) -> Owner {
    match split(description) {
        (_, None) => Owner::Nobody,
        (_, Some(found)) if found == mark => Owner::Us,
        (_, Some(found)) => Owner::Another(found[START.len()..found.len() - END.len()].to_owned()),
    }
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
    match text.rfind(START) {
        Some(at) if text.ends_with(']') && !text[at..text.len() - 1].contains(']') => {
            (text[..at].trim_end(), Some(&text[at..]))
        }
        _ => (text, None),
    }
}

/// Whether two identities surely see the same: they are one, or roles of one cloud account at one endpoint. Of keys, nobody
/// can tell.
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
    fn a_mark_is_found_behind_any_description() {
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
    fn another_owner_and_no_owner_are_told_apart() {
        let ours = mark("0a1b2c3d", "messaging", "orders");
        let theirs = owner("x [drp ffffffff/messaging/orders]", &ours);
        assert_eq!(theirs, Owner::Another("ffffffff/messaging/orders".into()));
        assert_eq!(owner("the [drp x/y/z] in the middle", &ours), Owner::Nobody);
        assert_eq!(owner("[drp x", &ours), Owner::Nobody);
    }

    #[test]
    fn long_names_get_a_hash_and_stay_distinct() {
        let (a, b) =
            (mark("0a1b2c3d", &"n".repeat(63), &"a".repeat(200)), mark("0a1b2c3d", &"n".repeat(63), &"b".repeat(200)));
        assert!(a.len() <= LONGEST && a != b, "{a} {b}");
        assert_eq!(owner(&marked("text", &a), &a), Owner::Us);
        let exact = "x".repeat(LONGEST - "[drp 0a1b2c3d/n/]".len());
        assert_eq!(mark("0a1b2c3d", "n", &exact).len(), LONGEST);
    }

    #[test]
    fn marks_stay_what_they_were() {
        assert_eq!(
            mark("0a1b2c3d", "messaging", &"orders-".repeat(12)),
            "[drp 0a1b2c3d/#d27659aa154738953d0fa7c110ab5199]"
        );
    }

    #[test]
    fn an_identity_is_the_names_or_a_hash_of_them() {
        assert_eq!(identity("0a1b2c3d", "messaging", "orders", 128), "0a1b2c3d/messaging/orders");
        assert_eq!(identity("0a1b2c3d", "messaging", "orders", 25), "0a1b2c3d/messaging/orders");
        let hashed = identity("0a1b2c3d", "messaging", "orders", 24);
        assert!(hashed.starts_with("0a1b2c3d/#") && hashed.len() == "0a1b2c3d/#".len() + 32, "{hashed}");
        // The longest that there are: a cluster's ID of 32 characters, a namespace of 63, a name of 253.
        assert!(identity(&"c".repeat(32), &"n".repeat(63), &"a".repeat(253), 128).len() <= 128);
    }

    #[test]
    fn roles_of_one_cloud_account_see_the_same_and_keys_may_not() {
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
