//! The `otlp_grpc` and `otlp_http` exporters.

use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderName;

use super::destination::{ClientKeepalive, Compression, HttpEncoding, OtlpExporter, Protocol, Retry};
use super::diagnostic::{Diagnostic, Span, Spanned};
use super::endpoint::{Address, Destination, InvalidEndpoint, redacted};
use super::node::Node;
use super::read::{Fields, Foreign, Keys, Read, Reader};
use super::tls::ClientTls;
use crate::compression::Encoding;
use crate::receive::Signal;

const GRPC: Keys = Keys {
    of: "an `otlp_grpc` exporter",
    known: &[
        "endpoint",
        "endpoints",
        "tls",
        "compression",
        "compression_params",
        "timeout",
        "headers",
        "metadata_keys",
        "retry_on_failure",
        "coalesce",
        "keepalive",
        "balancer_name",
    ],
    foreign: FOREIGN,
};

const HTTP: Keys = Keys {
    of: "an `otlp_http` exporter",
    known: &[
        "endpoint",
        "endpoints",
        "logs_endpoint",
        "traces_endpoint",
        "metrics_endpoint",
        "profiles_endpoint",
        "encoding",
        "tls",
        "compression",
        "compression_params",
        "timeout",
        "headers",
        "metadata_keys",
        "retry_on_failure",
        "coalesce",
        "http2_read_idle_timeout",
        "http2_ping_timeout",
    ],
    foreign: FOREIGN,
};

/// What the Collector has, and what belongs to the other protocol.
const FOREIGN: &[Foreign] = &[
    (
        "sending_queue",
        "Sluicegate has no queue: a request is answered once it is delivered",
        "remove `sending_queue`, and leave it to the Collector behind Sluicegate",
    ),
    (
        "batcher",
        "Sluicegate has no queue in which requests could become a batch",
        "write `coalesce: true`, which sends small requests together that are under way at the same time",
    ),
    ("auth", "exporters have no authenticators", "write `headers: { authorization: \"Bearer ${env:TOKEN}\" }`"),
    ("proxy_url", "proxies are not supported", "send to the proxy's own OTLP endpoint, or to a Collector behind it"),
    (
        "authority",
        "the authority is the endpoint's",
        "for a certificate of another name write `tls: { server_name_override: NAME }`",
    ),
    ("wait_for_ready", "a request waits for its connection, as long as `timeout`", "remove it"),
    ("read_buffer_size", "buffers grow and shrink with what is read", "remove it"),
    ("write_buffer_size", "buffers grow and shrink with what is written", "remove it"),
    ("middlewares", "Sluicegate has no middlewares", "remove it"),
    ("user_agent", "Sluicegate names itself to its destinations", "remove it"),
    ("cookies", "cookies are not kept", "remove it"),
    ("force_attempt_http2", "with TLS both sides agree on a version of HTTP", "remove it"),
    ("disable_keep_alives", NO_POOL.0, NO_POOL.1),
    ("idle_conn_timeout", NO_POOL.0, NO_POOL.1),
    ("max_conns_per_host", NO_POOL.0, NO_POOL.1),
    ("max_idle_conns", NO_POOL.0, NO_POOL.1),
    ("max_idle_conns_per_host", NO_POOL.0, NO_POOL.1),
    (
        "keepalive",
        "this is how gRPC's connections are kept",
        "write `http2_read_idle_timeout` and `http2_ping_timeout`",
    ),
    ("encoding", "gRPC's messages are always protobuf", "remove it, or use `otlp_http`"),
    ("balancer_name", "several endpoints take their turns", "remove it"),
];

/// What there is to say about the keys of a pool of connections.
const NO_POOL: (&str, &str) = ("connections are made when they are needed, and kept while they are good", "remove it");

const COMPRESSION_PARAMS: Keys = Keys { of: "`compression_params`", known: &["level"], foreign: &[] };

const RETRY: Keys = Keys {
    of: "`retry_on_failure`",
    known: &["enabled", "initial_interval", "randomization_factor", "multiplier", "max_interval", "max_elapsed_time"],
    foreign: &[],
};

const KEEPALIVE: Keys = Keys { of: "`keepalive`", known: &["time", "timeout", "permit_without_stream"], foreign: &[] };

/// The Collector's default is gzip, too.
const COMPRESSION: &[(&str, Option<Encoding>)] =
    &[("none", None), ("gzip", Some(Encoding::Gzip)), ("zstd", Some(Encoding::Zstd))];

/// The Collector's default is protobuf, too.
const ENCODING: &[(&str, HttpEncoding)] = &[("proto", HttpEncoding::Proto), ("json", HttpEncoding::Json)];

/// The Collector's default for gRPC, too.
const BALANCERS: &[(&str, ())] = &[("round_robin", ())];

/// A hundred times as long after each attempt is a slip.
const LARGEST_MULTIPLIER: f64 = 100.0;

impl Reader {
    pub(super) fn otlp_grpc_exporter(&mut self, node: &Node, name: Span) -> Option<OtlpExporter> {
        let otlp = self.fields(node, name, &GRPC)?;
        let tls = self.client_tls(&otlp);
        // What is wrong with `tls` is reported once; then it says nothing about the endpoint.
        let insecure = tls.as_ref().is_none_or(|(_, insecure)| *insecure);
        let help = "write `https://HOST:PORT`, `http://HOST:PORT` or `unix:///PATH`";
        let parse = |text: &str| Destination::parse(text, insecure);
        let endpoints = self.endpoints(&otlp, |reader, node| reader.destination(node, parse, help));
        if let Some([]) = endpoints.as_deref() {
            self.no_endpoint(&otlp, "where to send, such as `http://collector:4317`");
        }
        let keepalive = self.client_keepalive(&otlp);
        let balancer = self.field(&otlp, "balancer_name", (), |r, node| r.choice(node, BALANCERS));
        let exporter = self.otlp_exporter(&otlp, tls, false);
        balancer?;
        self.tls_in_vain(&otlp, &endpoints.iter().flatten().collect::<Vec<_>>());
        Some(OtlpExporter {
            endpoints: endpoints.filter(|endpoints| !endpoints.is_empty())?,
            keepalive: keepalive?,
            ..exporter?
        })
    }

    pub(super) fn otlp_http_exporter(&mut self, node: &Node, name: Span) -> Option<OtlpExporter> {
        let otlp = self.fields(node, name, &HTTP)?;
        let tls = self.client_tls(&otlp);
        let help = "write `https://HOST/PATH`, `http://HOST:PORT/PATH` or `unix:///PATH`";
        let endpoints = self.endpoints(&otlp, |reader, node| reader.destination(node, Destination::parse_url, help));
        let overrides = self.overrides(&otlp);
        if let (Some([]), Some(true)) = (endpoints.as_deref(), overrides.as_ref().map(BTreeMap::is_empty)) {
            self.no_endpoint(&otlp, "where to send, such as `http://collector:4318`, to which `/v1/logs` is added");
            return None;
        }
        let encoding = self.field(&otlp, "encoding", HttpEncoding::Proto, |r, node| r.choice(node, ENCODING));
        let default = ClientKeepalive::default();
        let time = self.field(&otlp, "http2_read_idle_timeout", default.time, Self::asks_after);
        let timeout = self.field(&otlp, "http2_ping_timeout", default.timeout, Self::keepalive_time);
        let exporter = self.otlp_exporter(&otlp, tls, true);
        let all = endpoints.iter().flatten().chain(overrides.iter().flat_map(BTreeMap::values));
        self.tls_in_vain(&otlp, &all.collect::<Vec<_>>());
        Some(OtlpExporter {
            protocol: Protocol::Http { encoding: encoding?, overrides: overrides? },
            endpoints: endpoints?,
            keepalive: ClientKeepalive { time: time?, timeout: timeout?, ..default },
            ..exporter?
        })
    }

    /// What both protocols have. The rest is gRPC's, without an endpoint. `binary` is whether headers may be.
    fn otlp_exporter(
        &mut self,
        otlp: &Fields<'_>,
        tls: Option<(ClientTls, bool)>,
        binary: bool,
    ) -> Option<OtlpExporter> {
        let compression = self.compression(otlp);
        let timeout = self.field(otlp, "timeout", Some(OtlpExporter::TIMEOUT), Self::limit);
        let headers = self.headers(otlp, "headers", binary);
        let metadata_keys = self.passed_on(otlp, "metadata_keys");
        let retry = self.retry(otlp);
        let coalesce = self.coalesce(otlp, metadata_keys.as_deref().unwrap_or_default());
        let (tls, _) = tls?;
        Some(OtlpExporter {
            protocol: Protocol::Grpc,
            endpoints: Vec::new(),
            tls,
            compression: compression?,
            timeout: timeout?,
            headers: headers?,
            metadata_keys: metadata_keys?,
            retry: retry?,
            coalesce: coalesce?,
            keepalive: ClientKeepalive::default(),
        })
    }

    /// `endpoint`, or `endpoints`; empty where neither is there.
    fn endpoints(
        &mut self,
        otlp: &Fields<'_>,
        read: impl Fn(&Self, &Node) -> Read<Spanned<Destination>>,
    ) -> Option<Vec<Spanned<Destination>>> {
        let one = self.field(otlp, "endpoint", None, |r, node| read(r, node).map(Some));
        let many = self.items(otlp, "endpoints", read)?;
        if let (Some(_), Some(_)) = (otlp.get("endpoint"), otlp.get("endpoints")) {
            let error = self.error(otlp.span("endpoints"), "there are both `endpoint` and `endpoints`");
            return self.report(error.help("write all of them into `endpoints`"));
        }
        for (at, endpoint) in many.iter().enumerate() {
            if let Some(first) = many[..at].iter().find(|other| other.value == endpoint.value) {
                let error = self.error(endpoint.span, format!("`{}` stands here twice", endpoint.value));
                self.found.push(error.earlier(first.span));
            }
        }
        one.map(|one| one.map_or(many, |one| vec![one]))
    }

    fn no_endpoint(&mut self, otlp: &Fields<'_>, what: &str) {
        let error = match otlp.get("endpoints") {
            Some(empty) => self.error(empty.span, "`endpoints` is empty"),
            None => self.error(otlp.span("endpoint"), "`endpoint` is missing"),
        };
        self.found.push(error.help(format!("an endpoint is {what}")));
    }

    /// The URLs of single signals.
    fn overrides(&mut self, otlp: &Fields<'_>) -> Option<BTreeMap<Signal, Spanned<Destination>>> {
        let help = "write the whole URL, such as `https://HOST/v1/logs`";
        let mut overrides = Some(BTreeMap::new());
        for signal in Signal::ALL {
            let key = format!("{signal}_endpoint");
            let read = |r: &Self, node: &Node| r.destination(node, Destination::parse_signal_url, help).map(Some);
            match self.field(otlp, &key, None, read) {
                Some(url) => overrides.iter_mut().for_each(|all| all.extend(url.clone().map(|url| (signal, url)))),
                None => overrides = None,
            }
        }
        overrides
    }

    /// Where to send. What is shown of it has no password in it.
    fn destination(
        &self,
        node: &Node,
        parse: impl Fn(&str) -> Result<Destination, InvalidEndpoint>,
        help: &str,
    ) -> Read<Spanned<Destination>> {
        let text = self.string(node)?;
        let mut destination = parse(text).map_err(|error| {
            let message = format!("`{}` is no destination: {error}", redacted(text));
            self.error(node.span, message).help(help)
        })?;
        if let Address::Unix(path) = &destination.address {
            destination.address = self.socket(path, node.span)?.value;
        }
        Ok(Spanned::new(destination, node.span))
    }

    fn compression(&mut self, otlp: &Fields<'_>) -> Option<Compression> {
        let encoding = self.field(otlp, "compression", Some(Encoding::Gzip), |r, node| r.choice(node, COMPRESSION));
        let params = self.section(otlp, "compression_params", &COMPRESSION_PARAMS)?;
        let encoding = encoding?;
        let level = self.field(&params, "level", None, |r, node| match encoding {
            Some(Encoding::Zstd) => r.integer(node, 1..=22, "zstd's fastest is 1, its smallest 22").map(Some),
            Some(_) if node.value.scalar().is_some_and(|scalar| scalar.text.trim() == "-1") => Ok(None),
            Some(_) => r.integer(node, 1..=9, "gzip's fastest is 1, its smallest 9, and its default -1").map(Some),
            None => Err(r.error(params.span("level"), "without compression there is no level").help("remove it")),
        });
        Some(Compression { encoding, level: level? })
    }

    /// `coalesce`. What goes together has one head, and so can't have the headers of several senders.
    fn coalesce(&mut self, otlp: &Fields<'_>, metadata_keys: &[HeaderName]) -> Option<bool> {
        let coalesce = self.field(otlp, "coalesce", false, Self::boolean)?;
        if coalesce && !metadata_keys.is_empty() {
            let message = "requests that have their senders' own headers can't go together";
            let error = self.error(otlp.span("coalesce"), message);
            return self.report(error.help("remove `coalesce` or `metadata_keys`"));
        }
        Some(coalesce)
    }

    /// `retry_on_failure`, if it is enabled. All of it is checked.
    fn retry(&mut self, otlp: &Fields<'_>) -> Option<Option<Retry>> {
        let retry = self.section(otlp, "retry_on_failure", &RETRY)?;
        let default = Retry::default();
        let enabled = self.field(&retry, "enabled", false, Self::boolean);
        let initial = self.field(&retry, "initial_interval", default.initial_interval, Self::duration);
        let why = "a pause can't vary by more than itself";
        let factor = self.field(&retry, "randomization_factor", default.randomization_factor, |r, node| {
            r.float(node, 0.0..=1.0, why)
        });
        let why = "below 1 the pauses would shrink";
        let multiplier = self
            .field(&retry, "multiplier", default.multiplier, |r, node| r.float(node, 1.0..=LARGEST_MULTIPLIER, why));
        let max_interval = self.field(&retry, "max_interval", default.max_interval, Self::duration);
        let elapsed = self.field(&retry, "max_elapsed_time", default.max_elapsed_time, Self::limit);
        let (initial_interval, max_interval, max_elapsed_time) = (initial?, max_interval?, elapsed?);
        self.first_pause_fits(&retry, initial_interval, max_elapsed_time)?;
        if retry.get("enabled").is_none() && RETRY.known.iter().any(|key| retry.get(key).is_some()) {
            let message = "`retry_on_failure` does nothing here unless it is enabled";
            let warning = Diagnostic::warning(&self.source, retry.span, message);
            self.found.push(warning.help("write `enabled: true`, which in the Collector is the default"));
        }
        let retry = Retry {
            initial_interval,
            randomization_factor: factor?,
            multiplier: multiplier?,
            max_interval,
            max_elapsed_time,
        };
        Some(enabled?.then_some(retry))
    }

    /// Refuses a first pause that is none, which would be a flood, or after which there is no time left.
    fn first_pause_fits(&mut self, retry: &Fields<'_>, first: Duration, all: Option<Duration>) -> Option<()> {
        if first.is_zero() {
            let error = self.error(retry.span("initial_interval"), "without a pause the destination would be flooded");
            return self.report(error.help("write `initial_interval: 1s`"));
        }
        if all.is_some_and(|all| all < first) {
            let error = self.error(retry.span("max_elapsed_time"), "all attempts end before the first pause does");
            return self.report(error.help("make `max_elapsed_time` longer than `initial_interval`"));
        }
        Some(())
    }

    /// How long a connection may be silent. Zero is for good.
    fn asks_after(&self, node: &Node) -> Read<Duration> {
        match self.limit(node)? {
            None => Ok(Duration::ZERO),
            Some(_) => self.keepalive_time(node),
        }
    }

    fn client_keepalive(&mut self, otlp: &Fields<'_>) -> Option<ClientKeepalive> {
        let keepalive = self.section(otlp, "keepalive", &KEEPALIVE)?;
        let default = ClientKeepalive::default();
        let time = self.field(&keepalive, "time", default.time, Self::asks_after);
        let timeout = self.field(&keepalive, "timeout", default.timeout, Self::keepalive_time);
        let idle = self.field(&keepalive, "permit_without_stream", default.permit_without_stream, Self::boolean);
        Some(ClientKeepalive { time: time?, timeout: timeout?, permit_without_stream: idle? })
    }
}
