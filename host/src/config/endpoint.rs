//! Where a listener listens, `host:port`, and where an exporter sends.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

/// Where to listen, or where a destination listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// The host is an IP address or a name, as in `127.0.0.1:4317`, `[::1]:4317` and `localhost:4317`; without one, as
    /// in `:4317`, a listener listens on every IPv4 interface. Port 0 lets the system choose a free one.
    Tcp {
        /// A name or an IP address, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix domain socket, written `unix:///run/sluicegate.sock`.
    Unix(PathBuf),
}

/// Where an exporter sends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Destination {
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// Where it listens.
    pub address: Address,
    /// For OTLP/HTTP what stands before a signal's own path, or the whole path of a URL for one signal. Empty, or with
    /// a slash at its start and none at its end.
    pub path: String,
}

/// Why a text is no [`Address`], for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidEndpoint(String);

impl Address {
    /// `port`, for senders on the same machine only.
    #[must_use]
    pub fn loopback(port: u16) -> Self {
        Self::Tcp { host: Ipv4Addr::LOCALHOST.to_string(), port }
    }
}

impl FromStr for Address {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let refuse = |reason: &str| Err(InvalidEndpoint(reason.to_owned()));
        if text.contains("://") {
            return refuse("a scheme has no place here");
        }
        let Some((host, port)) = text.rsplit_once(':').filter(|_| !text.ends_with([':', ']'])) else {
            return refuse("the port is missing");
        };
        // Rust takes a sign before a number; a port has none.
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let Some(port) = port.parse().ok().filter(|_| digits) else {
            return refuse(&format!("`{port}` is no port from 0 to 65535"));
        };
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) if address.parse::<Ipv6Addr>().is_ok() => address,
            Some(address) => return refuse(&format!("`{address}` is no IPv6 address")),
            None if host.contains(':') => {
                return refuse("an IPv6 address stands in brackets, as in `[::1]:4317`");
            }
            None if host.is_empty() => "0.0.0.0",
            None if is_host(host) => host,
            None => return refuse(&format!("`{host}` is neither a host name nor an address")),
        };
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

impl Destination {
    /// Reads `http://host:port` or `https://host:port`, or `host:port`, where `insecure` says that no TLS is meant, as in
    /// the Collector.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn parse(text: &str, insecure: bool) -> Result<Self, InvalidEndpoint> {
        let refuse = |reason: &str| Err(InvalidEndpoint(reason.to_owned()));
        let (tls, address) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest.strip_suffix('/').unwrap_or(rest)),
            Some(("https", rest)) => (true, rest.strip_suffix('/').unwrap_or(rest)),
            Some((scheme, _)) => return refuse(&format!("the scheme `{scheme}` is not supported")),
            None => (!insecure, text),
        };
        if let Some(at) = address.find(['/', '?', '#']) {
            return refuse(&format!("gRPC has no use for `{}`", &address[at..]));
        }
        if address.contains('@') {
            return refuse("who sends is told by `headers`, not by the address");
        }
        let endpoint: Address = address.parse()?;
        if address.starts_with(':') {
            return refuse("the host is missing");
        }
        if matches!(endpoint, Address::Tcp { port: 0, .. }) {
            return refuse("nothing listens on port 0");
        }
        Ok(Self { tls, address: endpoint, path: String::new() })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Tcp { .. } => {
                write!(f, "{}://{}{}", if self.tls { "https" } else { "http" }, self.address, self.path)
            }
            Address::Unix(_) => write!(f, "{}{}", self.address, self.path),
        }
    }
}

/// Whether `host` is an IPv4 address or may be a name: labels of letters, digits, `-` and `_`. A name that ends in a
/// number is an IPv4 address gone wrong.
fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let labels = || host.strip_suffix('.').unwrap_or(host).split('.');
    let number = labels().next_back().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if number { host.parse::<Ipv4Addr>().is_ok() } else { host.len() <= 253 && labels().all(label) }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}
