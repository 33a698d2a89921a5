//! `tls`: how connections are encrypted, and who is believed to be who.

use std::path::PathBuf;
use std::time::Duration;

use super::diagnostic::{Diagnostic, Span, Spanned};
use super::endpoint::Destination;
use super::node::{Entry, Node, Value};
use super::read::{Fields, Foreign, Keys, Read, Reader};
use super::scalar::Typed;

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

const SERVER: Keys = Keys {
    of: "`tls` of a receiver",
    known: &["cert_file", "key_file", "client_ca_file", "min_version", "max_version", "reload_interval"],
    foreign: FOREIGN,
};

const CLIENT: Keys = Keys {
    of: "`tls` of an exporter",
    known: &[
        "insecure",
        "insecure_skip_verify",
        "server_name_override",
        "ca_file",
        "include_system_ca_certs_pool",
        "cert_file",
        "key_file",
        "min_version",
        "max_version",
        "reload_interval",
    ],
    foreign: FOREIGN,
};

/// What the Collector has, and what belongs to the other side.
const FOREIGN: &[Foreign] = &[
    no_pem("ca_pem"),
    no_pem("cert_pem"),
    no_pem("key_pem"),
    no_ciphers("cipher_suites"),
    no_ciphers("curve_preferences"),
    no_ciphers("include_insecure_cipher_suites"),
    ("tpm", "keys in a TPM are not supported", "use `cert_file` and `key_file`"),
    ("client_ca_file_reload", "`reload_interval` is for every file", "write `reload_interval: 1h`"),
    ("ca_file", "the authorities for clients have a key of their own", "write `client_ca_file`"),
    ("include_system_ca_certs_pool", "only `client_ca_file` says whose clients may come", "remove it"),
    ("insecure", "a receiver without `tls` is one without TLS", "remove `tls`"),
    ("client_ca_file", "an exporter checks a server's certificate", "write `ca_file`"),
];

const fn no_pem(key: &'static str) -> Foreign {
    (
        key,
        "keys and certificates come from files, which can be reloaded",
        "name a file: `ca_file`, `cert_file`, `key_file`",
    )
}

const fn no_ciphers(key: &'static str) -> Foreign {
    (key, "ciphers and curves can't be chosen", "remove it: what is not safe is not offered")
}

impl Reader {
    /// `tls` of a listener. Without it connections are not encrypted.
    pub(super) fn server_tls(&mut self, listener: &Fields<'_>) -> Option<Option<ServerTls>> {
        // Nothing below it is a mistake: whoever writes `tls` does not mean to go without.
        if !listener.has("tls") {
            return Some(None);
        }
        let tls = self.section(listener, "tls", &SERVER)?;
        let cert = self.required(&tls, "cert_file", "the certificate chain, in PEM", Self::path);
        let key = self.required(&tls, "key_file", "the certificate's private key, in PEM", Self::path);
        let client_ca = self.field(&tls, "client_ca_file", None, |r, node| r.path(node).map(Some));
        let versions = self.versions(&tls);
        let reload = self.field(&tls, "reload_interval", None, Self::limit);
        let (min_version, max_version) = versions?;
        Some(Some(ServerTls {
            cert_file: cert?,
            key_file: key?,
            client_ca_file: client_ca?,
            min_version,
            max_version,
            reload_interval: reload?,
        }))
    }

    /// `tls` of an exporter, and whether an endpoint without a scheme means none (`insecure`).
    pub(super) fn client_tls(&mut self, exporter: &Fields<'_>) -> Option<(ClientTls, bool)> {
        let tls = self.section(exporter, "tls", &CLIENT)?;
        let insecure = self.field(&tls, "insecure", false, Self::boolean);
        let skip_verify = self.field(&tls, "insecure_skip_verify", false, Self::boolean);
        let name = self.field(&tls, "server_name_override", None, |r, node| Ok(Some(r.string(node)?.to_owned())));
        let ca = self.field(&tls, "ca_file", None, |r, node| r.path(node).map(Some));
        let system = self.field(&tls, "include_system_ca_certs_pool", false, Self::boolean);
        let identity = self.identity(&tls);
        let versions = self.versions(&tls);
        let reload = self.field(&tls, "reload_interval", None, Self::limit);
        let (min_version, max_version) = versions?;
        let tls = ClientTls {
            ca_file: ca?,
            include_system_ca: system?,
            identity: identity?,
            insecure_skip_verify: skip_verify?,
            server_name_override: name?,
            min_version,
            max_version,
            reload_interval: reload?,
        };
        Some((tls, insecure?))
    }

    /// Warns of what makes TLS unsafe, and of settings that change nothing at any of these endpoints.
    pub(super) fn tls_in_vain(&mut self, exporter: &Fields<'_>, endpoints: &[&Spanned<Destination>]) {
        let Some(Value::Map(entries)) = exporter.get("tls").map(|node| &node.value) else {
            return;
        };
        let encrypted = endpoints.iter().find(|endpoint| endpoint.tls);
        let is_no = |node: &Node| node.value.scalar().is_some_and(|scalar| scalar.typed() == Typed::Bool(false));
        for Entry { key, .. } in entries.iter().filter(|entry| !entry.value.is_null() && !is_no(&entry.value)) {
            let (message, help) = match (key.as_str(), encrypted) {
                ("insecure", Some(endpoint)) => (
                    format!("`insecure` changes nothing: `{}` says by its scheme that it means TLS", endpoint.value),
                    "remove it, or write `http://`",
                ),
                ("insecure_skip_verify", Some(_)) => (
                    "nothing tells the destination from somebody in between".to_owned(),
                    "name the authority that signed its certificate: `ca_file`",
                ),
                ("insecure", None) | (_, Some(_)) => continue,
                (key, None) => {
                    (format!("`{key}` changes nothing: no endpoint here means TLS"), "write `https://`, or remove it")
                }
            };
            self.found.push(Diagnostic::warning(&self.source, key.span, message).help(help));
        }
    }

    /// A client's certificate and key: both, or neither.
    fn identity(&mut self, tls: &Fields<'_>) -> Option<Option<(Spanned<PathBuf>, Spanned<PathBuf>)>> {
        let cert = self.field(tls, "cert_file", None, |r, node| r.path(node).map(Some));
        let key = self.field(tls, "key_file", None, |r, node| r.path(node).map(Some));
        match (cert?, key?) {
            (Some(cert), Some(key)) => Some(Some((cert, key))),
            (None, None) => Some(None),
            (Some(file), None) => self.half(file.span, "the certificate's private key is missing", "key_file"),
            (None, Some(file)) => self.half(file.span, "the private key's certificate is missing", "cert_file"),
        }
    }

    fn half<T>(&mut self, span: Span, message: &str, other: &str) -> Option<T> {
        let error = self.error(span, message);
        self.report(error.help(format!("name it as `{other}`")))
    }

    fn versions(&mut self, tls: &Fields<'_>) -> Option<(TlsVersion, TlsVersion)> {
        let min = self.field(tls, "min_version", TlsVersion::V1_2, Self::version);
        let max = self.field(tls, "max_version", TlsVersion::V1_3, Self::version);
        let (min, max) = (min?, max?);
        if min > max {
            let error = self.error(tls.span("min_version"), "`min_version` is newer than `max_version`");
            return self.report(error.help("leave `max_version` out"));
        }
        Some((min, max))
    }

    /// A version, which without quotes YAML takes for a number.
    fn version(&self, node: &Node) -> Read<TlsVersion> {
        let wanted = "\"1.2\" or \"1.3\"";
        let text = node.value.scalar().map(|scalar| scalar.text.trim()).ok_or_else(|| self.mismatch(node, wanted))?;
        match text {
            "1.2" => Ok(TlsVersion::V1_2),
            "1.3" => Ok(TlsVersion::V1_3),
            "1.0" | "1.1" => {
                let error = self.error(node.span, format!("TLS {text} is not supported"));
                Err(error.help(format!("it is not safe any more (RFC 8996): write {wanted}")))
            }
            _ => Err(self.error(node.span, format!("`{text}` is no version of TLS")).help(format!("write {wanted}"))),
        }
    }
}
