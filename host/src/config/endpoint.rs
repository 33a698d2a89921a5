//! Where a listener listens, `host:port`, and where an exporter sends.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use http::Uri;

/// An address to listen on. [`std::net::TcpListener::bind`] takes a reference to it.
///
/// The host is an IP address or a name, as in `127.0.0.1:4317`, `[::1]:4317` and `localhost:4317`; without one, as in
/// `:4317`, every IPv4 interface is meant. Port 0 lets the system choose a free one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListenEndpoint {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port, 0 for any free one.
    pub port: u16,
}

/// Why a text is no [`ListenEndpoint`], for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidEndpoint(String);

impl ListenEndpoint {
    /// `port`, for senders on the same machine only.
    #[must_use]
    pub fn loopback(port: u16) -> Self {
        Self { host: Ipv4Addr::LOCALHOST.to_string(), port }
    }
}

impl FromStr for ListenEndpoint {
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
        Ok(Self { host: host.to_owned(), port })
    }
}

/// Where an exporter sends: `http://host:port`, or `host:port` where `insecure` says that no TLS is meant, as in
/// the Collector.
///
/// # Errors
/// When it is anything else.
pub fn destination(text: &str, insecure: bool) -> Result<Uri, InvalidEndpoint> {
    let refuse = |reason: &str| Err(InvalidEndpoint(reason.to_owned()));
    let address = match text.split_once("://") {
        Some(("http", rest)) => rest.strip_suffix('/').unwrap_or(rest),
        Some(("https", _)) => return refuse("TLS is not supported yet"),
        Some((scheme, _)) => return refuse(&format!("the scheme `{scheme}` is not supported")),
        None if insecure => text,
        None => return refuse("without a scheme it means TLS, which is not supported yet"),
    };
    if let Some(at) = address.find(['/', '?', '#']) {
        return refuse(&format!("gRPC has no use for `{}`", &address[at..]));
    }
    if address.contains('@') {
        return refuse("who sends is told by `headers`, not by the address");
    }
    let endpoint: ListenEndpoint = address.parse()?;
    if address.starts_with(':') {
        return refuse("the host is missing");
    }
    if endpoint.port == 0 {
        return refuse("nothing listens on port 0");
    }
    let uri = Uri::builder().scheme("http").authority(endpoint.to_string()).path_and_query("/");
    uri.build().map_err(|error| InvalidEndpoint(error.to_string()))
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

impl fmt::Display for ListenEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Asks the system for the addresses of a name, which may block.
impl ToSocketAddrs for ListenEndpoint {
    type Iter = std::vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> std::io::Result<Self::Iter> {
        (self.host.as_str(), self.port).to_socket_addrs()
    }
}
