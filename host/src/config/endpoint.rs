//! Where a listener listens, and where an exporter sends: `host:port`, URLs, and Unix domain sockets.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;

use http::uri::PathAndQuery;

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
    /// For OTLP/HTTP what stands before a signal's own path: empty, or with a slash at its start and none at its end. Of
    /// a URL for one signal it is the whole path, and never empty.
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

    /// Whether one listener can't be at both, as far as names need not be resolved to tell. `0.0.0.0` is every IPv4
    /// address, `[::]` every one.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let (Self::Tcp { host, port }, Self::Tcp { host: other_host, port: other_port }) = (self, other) else {
            return self == other;
        };
        let all = |all: IpAddr, one: IpAddr| all.is_unspecified() && (all.is_ipv6() || one.is_ipv4());
        let same = match (host.parse(), other_host.parse()) {
            (Ok(one), Ok(other)) => one == other || all(one, other) || all(other, one),
            _ => host == other_host,
        };
        port == other_port && same
    }

    /// Whether what is sent to `destination` comes in here.
    pub(super) fn takes(&self, destination: &Self) -> bool {
        match destination {
            Self::Tcp { host, port } if host == "localhost" => {
                self.overlaps(&Self::loopback(*port)) || self.overlaps(destination)
            }
            _ => self.overlaps(destination),
        }
    }
}

impl FromStr for Address {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        if let Some(path) = text.strip_prefix("unix:") {
            return socket(path).map(Self::Unix);
        }
        if text.starts_with("unix-abstract:") {
            return refuse("abstract sockets are not supported: anyone may take their names");
        }
        if text.contains('@') {
            return refuse("a user has no place here");
        }
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
    /// Reads where an OTLP/gRPC server listens: `http://host:port` or `https://host:port`, or `host:port`, where
    /// `insecure` says that no TLS is meant, as in the Collector; or a Unix domain socket. `dns:///` may stand before it.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn parse(text: &str, insecure: bool) -> Result<Self, InvalidEndpoint> {
        if is_socket(text) {
            return Ok(Self { tls: false, address: text.parse()?, path: String::new() });
        }
        // gRPC's name for what happens to every name here.
        let text = text.strip_prefix("dns:///").unwrap_or(text);
        let (tls, authority) = match text.split_once("://") {
            Some((scheme, rest)) => (is_https(scheme)?, rest.strip_suffix('/').unwrap_or(rest)),
            None => (!insecure, text),
        };
        let authority = without_credentials(authority)?;
        if let Some(at) = authority.find(['/', '?', '#']) {
            return refuse(&format!("gRPC has no use for `{}`", &authority[at..]));
        }
        Ok(Self { tls, address: remote(authority)?, path: String::new() })
    }

    /// Reads where an OTLP/HTTP server listens: `http://host:port/path` or `https://host:port/path`, of which port and
    /// path may be left out, and the path stands before those of the signals; or a Unix domain socket.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn parse_url(text: &str) -> Result<Self, InvalidEndpoint> {
        let mut url = Self::url(text)?;
        url.path.truncate(url.path.trim_end_matches('/').len());
        Ok(url)
    }

    /// Reads the URL for one signal, whose path is taken as it is.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse_signal_url(text: &str) -> Result<Self, InvalidEndpoint> {
        let mut url = Self::url(text)?;
        if matches!(url.address, Address::Unix(_)) {
            return refuse("a Unix domain socket has no path for a signal");
        }
        if url.path.is_empty() {
            url.path.push('/');
        }
        Ok(url)
    }

    fn url(text: &str) -> Result<Self, InvalidEndpoint> {
        if is_socket(text) {
            return Ok(Self { tls: false, address: text.parse()?, path: String::new() });
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return refuse("the scheme is missing: `http://` or `https://`");
        };
        let tls = is_https(scheme)?;
        let rest = without_credentials(rest)?;
        if rest.contains(['?', '#']) {
            return refuse("nothing may follow the path: keys belong into `headers`");
        }
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if !path.is_empty() && path.parse::<PathAndQuery>().is_err() {
            return refuse(&format!("`{path}` is no path of a URL"));
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let default = if tls { ":443" } else { ":80" };
        let address = remote(&format!("{authority}{}", if has_port { "" } else { default }))?;
        Ok(Self { tls, address, path: path.to_owned() })
    }
}

/// `text` as it may be shown: an endpoint without user, password and query.
pub(super) fn redacted(text: &str) -> String {
    let mut shown = text.to_owned();
    for range in query(text).into_iter().chain(user(text)) {
        shown.replace_range(range, "***");
    }
    shown
}

/// Where secrets stand in `text`, which may be no endpoint at all: so without a scheme there must be a password.
pub(super) fn secrets(text: &str) -> impl Iterator<Item = Range<usize>> {
    let user = user(text).filter(|user| user.start > 0 || text[user.clone()].contains(':'));
    user.into_iter().chain(query(text))
}

/// What stands after a scheme and before the last `@`.
fn user(text: &str) -> Option<Range<usize>> {
    let start = text.find("://").map_or(0, |at| at + "://".len());
    let end = start + text[start..].rfind('@')?;
    Some(start..end)
}

/// What stands after the `?` of a URL, which some take keys in, and before the quote at its end.
fn query(text: &str) -> Option<Range<usize>> {
    let start = text.find("://")?;
    let start = start + text[start..].find('?')? + 1;
    let end = text.trim_end_matches(['"', '\'']).len();
    (start < end).then_some(start..end)
}

fn refuse<T>(reason: &str) -> Result<T, InvalidEndpoint> {
    Err(InvalidEndpoint(reason.to_owned()))
}

fn is_socket(text: &str) -> bool {
    text.starts_with("unix:") || text.starts_with("unix-abstract:")
}

fn is_https(scheme: &str) -> Result<bool, InvalidEndpoint> {
    match scheme {
        "http" => Ok(false),
        "https" => Ok(true),
        _ => refuse(&format!("the scheme `{}` is not supported", redacted(scheme))),
    }
}

fn without_credentials(rest: &str) -> Result<&str, InvalidEndpoint> {
    if rest.contains('@') { refuse("who sends is told by `headers`, not by the address") } else { Ok(rest) }
}

/// An address that can be connected to.
fn remote(authority: &str) -> Result<Address, InvalidEndpoint> {
    let address: Address = authority.parse()?;
    if authority.starts_with(':') {
        return refuse("the host is missing");
    }
    if matches!(address, Address::Tcp { port: 0, .. }) {
        return refuse("nothing listens on port 0");
    }
    Ok(address)
}

/// The path behind `unix:`, in the forms that gRPC knows.
fn socket(text: &str) -> Result<PathBuf, InvalidEndpoint> {
    let path = match text.strip_prefix("//") {
        Some(path) if !path.starts_with('/') => {
            return refuse("`unix://` stands before an absolute path, `unix:` before a relative one");
        }
        Some(path) => path,
        None => text,
    };
    match path {
        "" => refuse("the socket's path is missing"),
        path if path.contains('\0') => refuse("a path can't hold a zero byte"),
        path => Ok(path.into()),
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
            Self::Unix(path) if path.is_absolute() => write!(f, "unix://{}", path.display()),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
