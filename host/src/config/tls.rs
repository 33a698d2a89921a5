//! `tls`: how connections are encrypted, and who is believed to be who.

use std::path::PathBuf;
use std::time::Duration;

use super::diagnostic::Spanned;

/// `tls` of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// The certificate chain, in PEM.
    pub cert_file: Spanned<PathBuf>,
    /// Its private key, in PEM.
    pub key_file: Spanned<PathBuf>,
    /// The authorities of which one must have signed a client's certificate. With it clients need one.
    pub client_ca_file: Option<Spanned<PathBuf>>,
    /// The oldest version spoken.
    pub min_version: TlsVersion,
    /// The newest version spoken.
    pub max_version: TlsVersion,
    /// How old files may become in memory before they are read again. `None` is for good.
    pub reload_interval: Option<Duration>,
}

/// `tls` of an exporter. It matters to `https` endpoints only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTls {
    /// The authorities that may have signed the destination's certificate. `None` means the system's.
    pub ca_file: Option<Spanned<PathBuf>>,
    /// Whether the system's authorities count beside `ca_file` (`include_system_ca_certs_pool`).
    pub include_system_ca: bool,
    /// The certificate chain and its private key, in PEM, for destinations that want one.
    pub identity: Option<(Spanned<PathBuf>, Spanned<PathBuf>)>,
    /// Whether any certificate will do. Then nothing tells the destination from somebody in between.
    pub insecure_skip_verify: bool,
    /// The name that the certificate must have, instead of the endpoint's.
    pub server_name_override: Option<String>,
    /// The oldest version spoken.
    pub min_version: TlsVersion,
    /// The newest version spoken.
    pub max_version: TlsVersion,
    /// How old files may become in memory before they are read again. `None` is for good.
    pub reload_interval: Option<Duration>,
}

/// A version of TLS. Older ones are not safe, and not spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

impl Default for ClientTls {
    /// The system's authorities, and nothing special.
    fn default() -> Self {
        Self {
            ca_file: None,
            include_system_ca: false,
            identity: None,
            insecure_skip_verify: false,
            server_name_override: None,
            min_version: TlsVersion::V1_2,
            max_version: TlsVersion::V1_3,
            reload_interval: None,
        }
    }
}
