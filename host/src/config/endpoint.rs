//! Where a listener listens: `host:port`.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

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

/// Why a text is no `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// There is a scheme, which belongs to destinations only.
    #[error("a listener's endpoint has no scheme")]
    Scheme,
    /// There is no port at the end.
    #[error("the port is missing")]
    NoPort,
    /// What stands after the last colon is no port.
    #[error("`{0}` is no port: it must be a number from 0 to 65535")]
    Port(String),
    /// An IPv6 address stands without its brackets, so where the port begins can't be told.
    #[error("an IPv6 address must stand in brackets, as in `[::1]:4317`")]
    Brackets,
    /// What stands before the port is neither a name nor an address.
    #[error("`{0}` is neither a host name nor an IP address")]
    Host(String),
}

impl FromStr for ListenEndpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if text.contains("://") {
            return Err(EndpointError::Scheme);
        }
        let (host, port) = text.rsplit_once(':').ok_or(EndpointError::NoPort)?;
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host = match bare {
            Some(address) if address.parse::<std::net::Ipv6Addr>().is_ok() => address,
            Some(_) => return Err(EndpointError::Host(host.to_owned())),
            None if text.ends_with(']') && text.starts_with('[') => {
                return Err(EndpointError::NoPort);
            }
            None if host.contains(':') => return Err(EndpointError::Brackets),
            None if host.is_empty() => "0.0.0.0",
            None if is_host(host) => host,
            None => return Err(EndpointError::Host(host.to_owned())),
        };
        // Rust takes a sign before a number; a port has none.
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        match port.parse() {
            Ok(port) if digits => Ok(Self {
                host: host.to_owned(),
                port,
            }),
            _ if port.is_empty() => Err(EndpointError::NoPort),
            _ => Err(EndpointError::Port(port.to_owned())),
        }
    }
}

/// Whether `host` is an IPv4 address or may be a name: labels of letters, digits, `-` and `_`. A name that ends in a
/// number is an IPv4 address gone wrong.
fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let labels = || host.strip_suffix('.').unwrap_or(host).split('.');
    let number = labels()
        .next_back()
        .is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if number {
        host.parse::<Ipv4Addr>().is_ok()
    } else {
        host.len() <= 253 && labels().all(label)
    }
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
