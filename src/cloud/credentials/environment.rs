//! Credentials from the standard variables of the official SDKs.

use super::{Credentials, CredentialsError, Issued, Provider, Variables, provider};

/// The key's ID.
pub const ACCESS_KEY_ID: &str = "ALIBABA_CLOUD_ACCESS_KEY_ID";
/// The key's secret.
pub const ACCESS_KEY_SECRET: &str = "ALIBABA_CLOUD_ACCESS_KEY_SECRET";
/// The token of a temporary key, optional.
pub const SECURITY_TOKEN: &str = "ALIBABA_CLOUD_SECURITY_TOKEN";

/// Reads the variables through `variable`, in production from the process's environment. An empty variable counts as
/// not set. Source: the first step of the official SDK's default chain.
pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Credentials, CredentialsError> {
    let get = |name: &'static str| super::variable(&variable, name);
    let need = |name: &'static str| get(name).ok_or(CredentialsError::VariableMissing(name));
    Ok(Credentials {
        access_key_id: need(ACCESS_KEY_ID)?,
        access_key_secret: need(ACCESS_KEY_SECRET)?.into(),
        security_token: get(SECURITY_TOKEN).map(Into::into),
    })
}

/// The credentials in the variables, without expiry.
pub fn of(variables: Variables) -> Provider {
    provider(move || std::future::ready(read(&*variables).map(Issued::without_expiry)))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn key_needs_both_halves_and_no_token() {
        let full = |name: &str| (name != SECURITY_TOKEN).then(|| format!("{name}-value "));
        let read_back = read(full).expect("complete");
        assert_eq!(read_back.access_key_id, "ALIBABA_CLOUD_ACCESS_KEY_ID-value");
        assert_eq!(read_back.access_key_secret.expose_secret(), "ALIBABA_CLOUD_ACCESS_KEY_SECRET-value");
        assert!(read_back.security_token.is_none());
        assert!(!format!("{read_back:?}").contains("value"));
        let half = |name: &str| (name == ACCESS_KEY_ID).then(|| "id".to_owned());
        assert_eq!(read(half).err(), Some(CredentialsError::VariableMissing(ACCESS_KEY_SECRET)));
    }
}
