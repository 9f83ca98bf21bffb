//! Names as Kubernetes accepts them (RFC 1123).

/// Maximum length of a name of a namespace, and of a name or a value of a label.
pub(super) const MAX_LABEL: usize = 63;
const MAX_SUBDOMAIN: usize = 253;

/// Whether a namespace may have this name.
pub fn is_label(text: &str) -> bool {
    let outer = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit();
    text.len() <= MAX_LABEL && is_enclosed(text, outer, |it| it == '-')
}

/// Whether an object, such as a Secret or a Lease, may have this name.
pub fn is_subdomain(text: &str) -> bool {
    text.len() <= MAX_SUBDOMAIN
        && text.split('.').all(|part| {
            let outer = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit();
            is_enclosed(part, outer, |it| it == '-')
        })
}

/// Whether a text begins and ends with certain characters, and has further ones only between them.
pub(super) fn is_enclosed(text: &str, outer: impl Fn(char) -> bool, inner: impl Fn(char) -> bool) -> bool {
    let all = text.chars().all(|it| outer(it) || inner(it));
    all && text.chars().next().is_some_and(&outer) && text.chars().next_back().is_some_and(&outer)
}
