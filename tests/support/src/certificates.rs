//! The certificates of one control plane, created and deleted with it.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// A certificate and its private key, as PEM files that only their owner may read.
#[derive(Debug)]
pub(crate) struct Identity {
    /// The certificate.
    pub(crate) certificate: PathBuf,
    /// The private key, in PKCS #8.
    pub(crate) key: PathBuf,
}

/// Everything that the servers and their first clients prove themselves with.
#[derive(Debug)]
pub(crate) struct Certificates {
    /// The certificate of the authority that signed all others; its key is kept nowhere.
    pub(crate) authority: PathBuf,
    /// The same, in DER.
    pub(crate) authority_der: Vec<u8>,
    /// kube-apiserver, at 127.0.0.1 and localhost.
    pub(crate) server: Identity,
    /// `admin` in the group `system:masters`: may do everything.
    pub(crate) admin: Identity,
    /// `system:kube-controller-manager`.
    pub(crate) controller_manager: Identity,
    /// The private key that signs service-account tokens.
    pub(crate) service_account_key: PathBuf,
    /// The public key that checks them.
    pub(crate) service_account_public_key: PathBuf,
}

impl Certificates {
    /// Makes all of them and writes them into `folder`, which must exist.
    pub(crate) fn create(folder: &Path) -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        name(&mut params, "control-plane-of-tests", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().context("making the authority's key")?;
        let authority = CertifiedIssuer::self_signed(params, key).context("signing the authority's certificate")?;
        let authority_file = folder.join("authority.crt");
        write_private(&authority_file, &authority.pem())?;

        let mut server = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()])
            .context("naming the server's certificate")?;
        name(&mut server, "kube-apiserver", None);
        let service_account = KeyPair::generate().context("making the service-account key")?;
        let service_account_key = folder.join("service-account.key");
        let service_account_public_key = folder.join("service-account.pub");
        write_private(&service_account_key, &service_account.serialize_pem())?;
        write_private(&service_account_public_key, &service_account.public_key_pem())?;

        let sign = |file, params, usage| identity(folder, file, params, usage, &authority);
        let client = |file, common_name, organization| {
            let mut params = CertificateParams::default();
            name(&mut params, common_name, organization);
            sign(file, params, ExtendedKeyUsagePurpose::ClientAuth)
        };
        Ok(Self {
            authority_der: authority.der().to_vec(),
            server: sign("server", server, ExtendedKeyUsagePurpose::ServerAuth)?,
            admin: client("admin", "admin", Some("system:masters"))?,
            controller_manager: client("controller-manager", "system:kube-controller-manager", None)?,
            authority: authority_file,
            service_account_key,
            service_account_public_key,
        })
    }
}

fn name(params: &mut CertificateParams, common_name: &str, organization: Option<&str>) {
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    if let Some(organization) = organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
}

fn identity(
    folder: &Path,
    file: &str,
    mut params: CertificateParams,
    usage: ExtendedKeyUsagePurpose,
    authority: &CertifiedIssuer<'_, KeyPair>,
) -> anyhow::Result<Identity> {
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    let key = KeyPair::generate().with_context(|| format!("making the key of {file}"))?;
    let certificate =
        params.signed_by(&key, authority).with_context(|| format!("signing the certificate of {file}"))?;
    let identity =
        Identity { certificate: folder.join(format!("{file}.crt")), key: folder.join(format!("{file}.key")) };
    write_private(&identity.certificate, &certificate.pem())?;
    write_private(&identity.key, &key.serialize_pem())?;
    Ok(identity)
}

/// Writes `text` to a file that from its first byte on only its owner may read. What was there is replaced.
pub(crate) fn write_private(file: &Path, text: &str) -> anyhow::Result<()> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut opened| opened.write_all(text.as_bytes()))
        .with_context(|| format!("writing {}", file.display()))
}
