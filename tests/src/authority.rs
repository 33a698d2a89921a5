//! A certificate authority, and what it has signed, in a folder.
use std::{fs, path::PathBuf, sync::Arc};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    version::{TLS12, TLS13},
};

/// Certificates and keys in files.
pub struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// Both versions of TLS that are spoken.
pub const VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// The older one alone.
pub const ONLY_TLS12: &[&SupportedProtocolVersion] = &[&TLS12];

impl Authority {
    /// A new one. Its own certificate is `ca.pem`.
    ///
    /// # Errors
    /// When files can't be written.
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut params = CertificateParams::new([])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // No two have the same name.
        params.distinguished_name.push(DnType::CommonName, folder.path().to_string_lossy().into_owned());
        let key = KeyPair::generate()?;
        fs::write(folder.path().join("ca.pem"), params.self_signed(&key)?.pem())?;
        Ok(Self { folder, issuer: Issuer::new(params, key) })
    }

    /// Writes a certificate for `name` and its key: `NAME.pem`, `NAME.key`. It is good for servers and clients.
    ///
    /// # Errors
    /// When files can't be written.
    pub fn issue(&self, name: &str) -> Result<()> {
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        fs::write(self.file(&format!("{name}.pem")), params.signed_by(&key, &self.issuer)?.pem())?;
        fs::write(self.file(&format!("{name}.key")), key.serialize_pem())?;
        Ok(())
    }

    /// A file in the folder.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The settings of a listener with the certificate for `name`, and these `more` keys, in YAML's flow style.
    #[must_use]
    pub fn listener(&self, name: &str, more: &str) -> String {
        let (certificate, key) = (self.file(&format!("{name}.pem")), self.file(&format!("{name}.key")));
        format!("tls: {{ cert_file: {certificate:?}, key_file: {key:?}, {more} }}")
    }

    /// What a client needs that trusts this authority and has the certificate for `name`, if it has one.
    ///
    /// # Errors
    /// When files can't be read.
    pub fn client(&self, name: Option<&str>, versions: &[&'static SupportedProtocolVersion]) -> Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.file("ca.pem"))?)?;
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)?
            .with_root_certificates(roots);
        Ok(match name {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let chain = vec![CertificateDer::from_pem_file(self.file(&format!("{name}.pem")))?];
                let key = PrivateKeyDer::from_pem_file(self.file(&format!("{name}.key")))?;
                builder.with_client_auth_cert(chain, key)?
            }
        })
    }
}
