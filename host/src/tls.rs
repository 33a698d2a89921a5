//! TLS, on both sides: what the configuration's `tls` sections become.
//!
//! Files are read at start, so that what is wrong with them shows before anything is served, and again whenever
//! `reload_interval` has passed: the next connection then uses what they hold.
use std::{io, sync::Arc};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{
    TlsAcceptor, TlsConnector, client, rustls,
    rustls::{
        RootCertStore, SupportedProtocolVersion,
        crypto::CryptoProvider,
        pki_types::ServerName,
        server::WebPkiClientVerifier,
        version::{TLS12, TLS13},
    },
    server,
};

use self::unverified::Unverified;
use crate::{
    config::{self, Span, TlsVersion},
    files::{FileError, Files, Watched},
};

mod pem;
mod unverified;
mod validity;

/// The side that listens: its certificate, and the authorities of its clients.
#[derive(Debug, Clone)]
pub struct ServerTls(Arc<Watched<rustls::ServerConfig>>);

/// The side that connects: the authorities that it trusts, and its certificate where it has one.
#[derive(Debug, Clone)]
pub struct ClientTls {
    config: Arc<Watched<rustls::ClientConfig>>,
    server_name: Option<String>,
}

/// HTTP/2, in ALPN.
pub const H2: &[u8] = b"h2";

/// HTTP/1.1, in ALPN.
pub const HTTP_1_1: &[u8] = b"http/1.1";

impl ServerTls {
    /// Reads the files of `config`. `alpn` names the protocols spoken, the preferred one first.
    ///
    /// # Errors
    /// The file at fault.
    pub fn new(config: &config::ServerTls, alpn: &[&[u8]]) -> Result<Self, FileError> {
        let (config, alpn) = (config.clone(), to_owned(alpn));
        let interval = config.reload_interval;
        Ok(Self(Watched::new(interval, move |files| server_config(&config, &alpn, files))?))
    }

    /// Shakes hands with the client at the other end of `io`.
    ///
    /// # Errors
    /// When they can't agree, or the client is not who it has to be, or is gone.
    pub async fn accept<IO>(&self, io: IO) -> io::Result<server::TlsStream<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        TlsAcceptor::from(self.0.current().await).accept(io).await
    }
}

impl ClientTls {
    /// Reads the files of `config`. `alpn` names the protocols spoken, the preferred one first.
    ///
    /// # Errors
    /// The file at fault. Its span is the default where the system has no authorities.
    pub fn new(config: &config::ClientTls, alpn: &[&[u8]]) -> Result<Self, FileError> {
        let (config, alpn) = (config.clone(), to_owned(alpn));
        let (interval, server_name) = (config.reload_interval, config.server_name_override.clone());
        let config = Watched::new(interval, move |files| client_config(&config, &alpn, files))?;
        Ok(Self { config, server_name })
    }

    /// Shakes hands with the server at the other end of `io`, whose certificate must be for `host`, a name or an IP
    /// address without brackets, unless the configuration has a `server_name_override`.
    ///
    /// # Errors
    /// When they can't agree, or the server is not who it has to be, or is gone.
    pub async fn connect<IO>(&self, host: &str, io: IO) -> io::Result<client::TlsStream<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let name = self.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned()).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is no name that a certificate can have"))
        })?;
        TlsConnector::from(self.config.current().await).connect(name, io).await
    }
}

fn server_config(
    config: &config::ServerTls,
    alpn: &[Vec<u8>],
    files: &mut Files,
) -> Result<rustls::ServerConfig, FileError> {
    let versions = versions(config.min_version, config.max_version);
    let builder = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&versions)
        .map_err(|error| FileError::new(&config.cert_file, error.to_string()))?;
    let builder = match &config.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let authorities = Arc::new(pem::authorities(file, files)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(authorities, provider()).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| FileError::new(file, error.to_string()))?)
        }
    };
    let (chain, key) = pem::identity(&config.cert_file, &config.key_file, files)?;
    let mut made = builder
        .with_single_cert(chain, key)
        .map_err(|error| pem::mismatch(&config.cert_file, &config.key_file, error))?;
    made.alpn_protocols = alpn.to_vec();
    Ok(made)
}

fn client_config(
    config: &config::ClientTls,
    alpn: &[Vec<u8>],
    files: &mut Files,
) -> Result<rustls::ClientConfig, FileError> {
    let versions = versions(config.min_version, config.max_version);
    let builder = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&versions)
        .map_err(|error| no_file(error.to_string()))?;
    let builder = if config.insecure_skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider())))
    } else {
        builder.with_root_certificates(roots(config, files)?)
    };
    let mut made = match &config.identity {
        None => builder.with_no_client_auth(),
        Some((cert_file, key_file)) => {
            let (chain, key) = pem::identity(cert_file, key_file, files)?;
            let made = builder.with_client_auth_cert(chain, key);
            made.map_err(|error| pem::mismatch(cert_file, key_file, error))?
        }
    };
    made.alpn_protocols = alpn.to_vec();
    Ok(made)
}

/// The authorities that may have signed a server's certificate.
fn roots(config: &config::ClientTls, files: &mut Files) -> Result<RootCertStore, FileError> {
    let mut roots = match &config.ca_file {
        Some(file) => pem::authorities(file, files)?,
        None => RootCertStore::empty(),
    };
    if config.ca_file.is_none() || config.include_system_ca {
        // Some systems have authorities that are too old to be read; the others count.
        let system = rustls_native_certs::load_native_certs();
        files.note(system.certs.iter().flat_map(|certificate| certificate.to_vec()).collect());
        let (added, _) = roots.add_parsable_certificates(system.certs);
        if added == 0 && config.ca_file.is_none() {
            let why = system.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
            return Err(no_file(format!("the system has no certificate authorities{why}: set `tls.ca_file`")));
        }
    }
    Ok(roots)
}

/// What the system or the configuration as a whole is at fault for.
fn no_file(reason: String) -> FileError {
    FileError { span: Span::default(), path: "tls".into(), reason }
}

/// The one that is built in, named so that nothing depends on what the process' default is.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn versions(min: TlsVersion, max: TlsVersion) -> Vec<&'static SupportedProtocolVersion> {
    let all = [(TlsVersion::V1_3, &TLS13), (TlsVersion::V1_2, &TLS12)];
    all.into_iter().filter(|(version, _)| (min..=max).contains(version)).map(|(_, version)| version).collect()
}

fn to_owned(alpn: &[&[u8]]) -> Vec<Vec<u8>> {
    alpn.iter().map(|name| name.to_vec()).collect()
}

#[cfg(test)]
mod tests;
