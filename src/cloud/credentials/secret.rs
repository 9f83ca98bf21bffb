//! Credentials from the content of a Kubernetes Secret. The caller reads the Secret; this module does not know
//! Kubernetes.

use std::collections::BTreeMap;

use secrecy::SecretString;

use super::{Credentials, CredentialsError};

/// The key of the Secret with the access key's ID.
pub const ACCESS_KEY_ID: &str = "accessKeyId";
/// The key of the Secret with the access key's secret.
pub const ACCESS_KEY_SECRET: &str = "accessKeySecret";
/// The key of the Secret with the token of a temporary key, optional.
pub const SECURITY_TOKEN: &str = "securityToken";

/// Reads one value: trimmed text that is not empty (editors leave white space around values).
pub fn text<B: AsRef<[u8]>>(
    secret: &str,
    data: &BTreeMap<String, B>,
    key: &'static str,
) -> Result<SecretString, CredentialsError> {
    let missing = || CredentialsError::KeyMissing { secret: secret.into(), key };
    let bytes = data.get(key).ok_or_else(missing)?;
    let text = std::str::from_utf8(bytes.as_ref())
        .map_err(|_| CredentialsError::NotText { secret: secret.into(), key })?
        .trim();
    if text.is_empty() { Err(missing()) } else { Ok(text.into()) }
}

/// Reads an access key. `secret` is the Secret's name, for the error.
pub fn read<B: AsRef<[u8]>>(secret: &str, data: &BTreeMap<String, B>) -> Result<Credentials, CredentialsError> {
    use secrecy::ExposeSecret;
    let security_token = match text(secret, data, SECURITY_TOKEN) {
        Ok(token) => Some(token),
        Err(CredentialsError::KeyMissing { .. }) => None,
        Err(other) => return Err(other),
    };
    Ok(Credentials {
        access_key_id: text(secret, data, ACCESS_KEY_ID)?.expose_secret().to_owned(),
        access_key_secret: text(secret, data, ACCESS_KEY_SECRET)?,
        security_token,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_keys_and_never_values() {
        let data = BTreeMap::from([(ACCESS_KEY_ID.to_owned(), b"LTAI-hidden\n".to_vec())]);
        let error = read("messaging/cloud", &data).expect_err("the secret half is missing");
        assert_eq!(error.to_string(), "Secret messaging/cloud has no key accessKeySecret, or it is empty: add it");
        let data = BTreeMap::from([
            (ACCESS_KEY_ID.to_owned(), b"id\n".to_vec()),
            (ACCESS_KEY_SECRET.to_owned(), vec![0xff, 0xfe]),
        ]);
        assert!(matches!(read("a/b", &data), Err(CredentialsError::NotText { key: ACCESS_KEY_SECRET, .. })));
    }
}
