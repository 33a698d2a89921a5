//! `receivers`: where requests come in.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use http::uri::PathAndQuery;

use super::component::Components;
use super::diagnostic::{Diagnostic, Span, Spanned};
use super::endpoint::Address;
use super::listener::{Cors, GrpcListener, HttpListener, Listener, ServerKeepalive};
use super::node::Node;
use super::read::{Fields, Foreign, Keys, Read, Reader};
use super::{MIB, Receiver};
use crate::receive::Signal;

const TYPES: Keys = Keys { of: "`receivers`", known: &["otlp"], foreign: &[] };
const OTLP: Keys = Keys { of: "an `otlp` receiver", known: &["protocols"], foreign: &[] };
const PROTOCOLS: Keys = Keys { of: "`protocols`", known: &["grpc", "http"], foreign: &[] };

const GRPC: Keys = Keys {
    of: "`grpc`",
    known: &[
        "endpoint",
        "transport",
        "max_recv_msg_size_mib",
        "max_concurrent_streams",
        "keepalive",
        "include_metadata",
        "tls",
        "auth",
    ],
    foreign: FOREIGN,
};

const HTTP: Keys = Keys {
    of: "`http`",
    known: &[
        "endpoint",
        "transport",
        "max_request_body_size",
        "cors",
        "read_header_timeout",
        "read_timeout",
        "idle_timeout",
        "keep_alives_enabled",
        "response_headers",
        "include_metadata",
        "tls",
        "auth",
        "logs_url_path",
        "traces_url_path",
        "metrics_url_path",
    ],
    foreign: FOREIGN,
};

/// What the Collector has, and what belongs to the other protocol.
const FOREIGN: &[Foreign] = &[
    ("write_timeout", "an answer is a few bytes, and waits for the destination", "limit the exporters: `timeout`"),
    ("compression_algorithms", "gzip, zstd and deflate are always taken", "remove it"),
    ("middlewares", "Sluicegate has no middlewares", "remove it"),
    ("read_buffer_size", "buffers grow and shrink with what is read", "remove it"),
    ("write_buffer_size", "buffers grow and shrink with what is written", "remove it"),
    (
        "keepalive",
        "connections of OTLP/HTTP have two keys of their own",
        "write `idle_timeout` or `keep_alives_enabled`",
    ),
    ("profiles_url_path", "profiles come to `/v1development/profiles`, as in the Collector", "remove it"),
    ("max_recv_msg_size_mib", "this is gRPC's key", "write `max_request_body_size`, in bytes"),
    ("max_request_body_size", "this is HTTP's key", "write `max_recv_msg_size_mib`, in MiB"),
];

const AUTH: Keys = Keys {
    of: "`auth`",
    known: &["authenticator"],
    foreign: &[("request_params", "only headers tell who sends", "remove it")],
};

const KEEPALIVE: Keys = Keys {
    of: "`keepalive`",
    known: &["server_parameters"],
    foreign: &[(
        "enforcement_policy",
        "clients may ask for a sign of life as often as they like, short of a flood",
        "remove it",
    )],
};

const SERVER_PARAMETERS: Keys = Keys {
    of: "`server_parameters`",
    known: &["time", "timeout", "max_connection_idle", "max_connection_age", "max_connection_age_grace"],
    foreign: &[],
};

const CORS: Keys =
    Keys { of: "`cors`", known: &["allowed_origins", "allowed_headers", "exposed_headers", "max_age"], foreign: &[] };

/// Where an endpoint is, by its form (`transport`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Tcp,
    Unix,
}

/// The Collector's default is TCP, too.
const TRANSPORT: &[(&str, Transport)] = &[("tcp", Transport::Tcp), ("unix", Transport::Unix)];

/// OTLP/gRPC's own port. As in the Collector it listens on loopback: a listener for the whole network should be
/// somebody's decision.
const GRPC_PORT: u16 = 4317;

/// OTLP/HTTP's own port.
const HTTP_PORT: u16 = 4318;

/// Senders' batches are below 4 MiB, but what a Collector merges and sends on can be much larger.
const MAX_MSG_MIB: u32 = 64;

/// Protobuf itself ends at 2 GiB.
const LARGEST_MSG_MIB: u32 = 2047;

/// A request is held until it is delivered, so a busy sender has many under way. More wait in the sender itself, and
/// what each costs before its first byte stays bounded.
const MAX_CONCURRENT_STREAMS: u32 = 1000;

/// The Collector's, for one that was never told otherwise. A sender that stalls would hold a connection for good.
const READ_HEADER_TIMEOUT: Duration = Duration::from_secs(60);

/// What senders that give up after ten seconds never need, and what one that stalls may hold memory for.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The Collector's.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// More often is a flood.
const SHORTEST_KEEPALIVE: Duration = Duration::from_secs(1);

/// Less often notices nothing in time.
const LONGEST_KEEPALIVE: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest that HTTP's caches and browsers remember anything: a year.
const LONGEST_MAX_AGE: u32 = 365 * 24 * 60 * 60;

impl Reader {
    pub(super) fn receivers(&mut self, config: &Fields<'_>) -> Components<Receiver> {
        self.components(config, "receivers", &TYPES, |reader, _, name, node| reader.otlp_receiver(node, name))
    }

    fn otlp_receiver(&mut self, node: &Node, name: Span) -> Option<Receiver> {
        let otlp = self.fields(node, name, &OTLP)?;
        let protocols = self.section(&otlp, "protocols", &PROTOCOLS)?;
        let (has_grpc, has_http) = (protocols.has("grpc"), protocols.has("http"));
        if !has_grpc && !has_http {
            if !protocols.refused {
                let error = self.error(protocols.span, "a receiver needs a protocol");
                let help = "write `protocols: { grpc: {}, http: {} }` for both with their defaults";
                self.found.push(error.help(help));
            }
            return None;
        }
        let grpc = has_grpc.then(|| self.grpc(&protocols));
        let http = has_http.then(|| self.http(&protocols));
        // One that can't be read is none at all, so that it is not taken for left out.
        let (grpc, http) =
            (grpc.map_or(Some(None), |grpc| grpc.map(Some)), http.map_or(Some(None), |http| http.map(Some)));
        Some(Receiver { grpc: grpc?, http: http? })
    }

    fn grpc(&mut self, protocols: &Fields<'_>) -> Option<GrpcListener> {
        let grpc = self.section(protocols, "grpc", &GRPC)?;
        let listener = self.listener(&grpc, GRPC_PORT);
        let why = "protobuf messages end at 2 GiB";
        let size = self
            .field(&grpc, "max_recv_msg_size_mib", MAX_MSG_MIB, |r, node| r.integer(node, 1..=LARGEST_MSG_MIB, why));
        let why = "a request takes one, so none would be too few";
        let streams = self.field(&grpc, "max_concurrent_streams", MAX_CONCURRENT_STREAMS, |r, node| {
            r.integer(node, 1..=u32::MAX, why)
        });
        let keepalive = self.server_keepalive(&grpc);
        Some(GrpcListener {
            listener: listener?,
            max_recv_msg_size: size? as usize * MIB,
            max_concurrent_streams: streams?,
            keepalive: keepalive?,
        })
    }

    fn server_keepalive(&mut self, grpc: &Fields<'_>) -> Option<ServerKeepalive> {
        let keepalive = self.section(grpc, "keepalive", &KEEPALIVE)?;
        let parameters = self.section(&keepalive, "server_parameters", &SERVER_PARAMETERS)?;
        let default = ServerKeepalive::default();
        let time = self.field(&parameters, "time", default.time, Self::keepalive_time);
        let timeout = self.field(&parameters, "timeout", default.timeout, Self::keepalive_time);
        let idle = self.field(&parameters, "max_connection_idle", default.max_connection_idle, Self::limit);
        let age = self.field(&parameters, "max_connection_age", default.max_connection_age, Self::limit);
        let grace = self.field(&parameters, "max_connection_age_grace", default.max_connection_age_grace, Self::limit);
        Some(ServerKeepalive {
            time: time?,
            timeout: timeout?,
            max_connection_idle: idle?,
            max_connection_age: age?,
            max_connection_age_grace: grace?,
        })
    }

    pub(super) fn keepalive_time(&self, node: &Node) -> Read<Duration> {
        let why = "more often than every second is a flood, and a day is as good as never";
        self.duration_in(node, SHORTEST_KEEPALIVE..=LONGEST_KEEPALIVE, why)
    }

    fn http(&mut self, protocols: &Fields<'_>) -> Option<HttpListener> {
        let http = self.section(protocols, "http", &HTTP)?;
        let listener = self.listener(&http, HTTP_PORT);
        let why = "in bytes; protobuf messages end at 2 GiB";
        let most = LARGEST_MSG_MIB << 20;
        let size =
            self.field(&http, "max_request_body_size", MAX_MSG_MIB << 20, |r, node| r.integer(node, 1..=most, why));
        let cors = self.cors(&http);
        let header_timeout = self.field(&http, "read_header_timeout", READ_HEADER_TIMEOUT, Self::header_timeout);
        let read_timeout = self.field(&http, "read_timeout", Some(READ_TIMEOUT), Self::limit);
        let idle_timeout = self.field(&http, "idle_timeout", Some(IDLE_TIMEOUT), Self::limit);
        let keep_alives = self.field(&http, "keep_alives_enabled", true, Self::boolean);
        let response_headers = self.headers(&http, "response_headers", true);
        let paths = self.paths(&http);
        Some(HttpListener {
            listener: listener?,
            max_request_body_size: size? as usize,
            cors: cors?,
            read_header_timeout: header_timeout?,
            read_timeout: read_timeout?,
            idle_timeout: idle_timeout?,
            keep_alives: keep_alives?,
            response_headers: response_headers?,
            paths: paths?,
        })
    }

    fn header_timeout(&self, node: &Node) -> Read<Duration> {
        self.limit(node)?.ok_or_else(|| {
            let error = self.error(node.span, "there must be a limit for headers to arrive");
            error.help("a sender that never ends them would hold a connection for good: write `1m`")
        })
    }

    /// What both protocols have.
    fn listener(&mut self, protocol: &Fields<'_>, port: u16) -> Option<Listener> {
        let transport = self.field(protocol, "transport", Transport::Tcp, |r, node| r.choice(node, TRANSPORT));
        let default = Spanned::new(Address::loopback(port), protocol.span);
        let endpoint = match (transport, protocol.get("endpoint")) {
            (Some(Transport::Unix), None) => {
                let error = self.error(protocol.span("transport"), "a Unix domain socket needs a path");
                self.report(error.help("write `endpoint: /run/sluicegate.sock`"))
            }
            (Some(Transport::Unix), Some(node)) => self.value(node, Self::socket_path),
            _ => self.field(protocol, "endpoint", default, Self::address),
        };
        let metadata = self.field(protocol, "include_metadata", false, Self::boolean);
        let tls = self.server_tls(protocol);
        let auth = self.auth(protocol);
        Some(Listener { endpoint: endpoint?, tls: tls?, auth: auth?, include_metadata: metadata? })
    }

    /// An endpoint where `transport` is `unix`: the path alone, or what begins with `unix:`.
    fn socket_path(&self, node: &Node) -> Read<Spanned<Address>> {
        let text = self.string(node)?;
        if text.starts_with("unix") { self.address(node) } else { self.socket(Path::new(text), node.span) }
    }

    /// The authenticator's name. Whether there is one is found out when everything is read.
    fn auth(&mut self, protocol: &Fields<'_>) -> Option<Option<Spanned<String>>> {
        // Nothing below it is a mistake: whoever writes `auth` does not mean everybody.
        if !protocol.has("auth") {
            return Some(None);
        }
        let auth = self.section(protocol, "auth", &AUTH)?;
        let what = "the name of an extension, such as `bearertokenauth`";
        let name = |r: &Self, node: &Node| Ok(Spanned::new(r.string(node)?.to_owned(), node.span));
        self.required(&auth, "authenticator", what, name).map(Some)
    }

    fn cors(&mut self, http: &Fields<'_>) -> Option<Option<Cors>> {
        let cors = self.section(http, "cors", &CORS)?;
        let allowed_origins = self.items(&cors, "allowed_origins", Self::origin);
        let allowed_headers = self.items(&cors, "allowed_headers", Self::allowed_header);
        let exposed_headers = self.items(&cors, "exposed_headers", Self::header_name);
        let why = "in seconds; a year is the longest";
        let max_age = self.field(&cors, "max_age", 0, |r, node| r.integer(node, 0..=LONGEST_MAX_AGE, why));
        let cors_at = http.span("cors");
        let cors = Cors {
            allowed_origins: allowed_origins?,
            allowed_headers: allowed_headers?,
            exposed_headers: exposed_headers?,
            max_age: max_age.map(|age| (age > 0).then(|| Duration::from_secs(age.into())))?,
        };
        if !cors.allowed_origins.is_empty() {
            return Some(Some(cors));
        }
        if http.get("cors").is_some() {
            let warning = Diagnostic::warning(&self.source, cors_at, "`cors` without `allowed_origins` allows nothing");
            self.found.push(warning.help("write `allowed_origins: [https://example.com]`, or remove `cors`"));
        }
        Some(None)
    }

    /// An origin as browsers send it: a scheme, a host, and a port where it is not the scheme's own (RFC 6454, section
    /// 6.2).
    fn origin(&self, node: &Node) -> Read<String> {
        let text = self.string(node)?;
        let rest = text.split_once("://").map(|(_, rest)| rest);
        let bad = |c: char| !c.is_ascii_graphic() || matches!(c, '/' | '?' | '#' | '@');
        let is_origin = rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(bad));
        if text != "*" && !is_origin || text.matches('*').count() > 1 {
            let error = self.error(node.span, format!("`{text}` is no origin"));
            return Err(error.help("write `https://example.com`, `https://*.example.com` with one `*`, or `*` for all"));
        }
        Ok(text.to_ascii_lowercase())
    }

    fn allowed_header(&self, node: &Node) -> Read<String> {
        match self.string(node)? {
            "*" => Ok("*".to_owned()),
            _ => self.header_name(node).map(|name| name.to_string()),
        }
    }

    /// The path of each signal. No two have the same.
    fn paths(&mut self, http: &Fields<'_>) -> Option<BTreeMap<Signal, String>> {
        let mut paths: BTreeMap<Signal, Spanned<String>> = BTreeMap::new();
        for signal in Signal::ALL {
            let key = format!("{signal}_url_path");
            let default = Spanned::new(signal.http_path().to_owned(), http.span);
            let path = self.field(http, &key, default, Self::url_path)?;
            if let Some((other, first)) = paths.iter().find(|(_, other)| other.value == path.value) {
                // One of the two is no default.
                let span = if http.has(&key) { path.span } else { first.span };
                let error = self.error(span, format!("{other} and {signal} can't have one path"));
                self.found.push(error.help("each signal has a path of its own"));
            }
            paths.insert(signal, path);
        }
        Some(paths.into_iter().map(|(signal, path)| (signal, path.value)).collect())
    }

    fn url_path(&self, node: &Node) -> Read<Spanned<String>> {
        let text = self.string(node)?;
        let path = if text.starts_with('/') { text.to_owned() } else { format!("/{text}") };
        if path.contains(['?', '#']) || path.parse::<PathAndQuery>().is_err() {
            let error = self.error(node.span, format!("`{text}` is no path of a URL"));
            return Err(error.help("write `/v1/logs`, without a query"));
        }
        Ok(Spanned::new(path, node.span))
    }
}
