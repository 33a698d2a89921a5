//! `extensions`, and which of them `service` starts.

use std::collections::BTreeMap;

use super::authenticator::Authenticator;
use super::component::Components;
use super::diagnostic::{Diagnostic, Span, Spanned};
use super::endpoint::Address;
use super::node::Node;
use super::read::{Fields, Foreign, Keys, Reader, list, nearest};
use super::{HealthCheck, MIB, Receiver};

const TYPES: Keys = Keys {
    of: "`extensions`",
    known: &["health_check", "memory_limiter", "bearertokenauth", "basicauth"],
    foreign: &[
        no_page("pprof"),
        no_page("zpages"),
        ("file_storage", "Sluicegate keeps nothing: a request is answered once it is delivered", "remove it"),
        ("oauth2client", NO_CLIENT.0, NO_CLIENT.1),
        ("headers_setter", NO_CLIENT.0, "pass on the sender's headers: `metadata_keys` of an exporter"),
        (
            "oidc",
            "OpenID Connect is not supported",
            "use `bearertokenauth` or `basicauth`, or mTLS by `tls.client_ca_file`",
        ),
    ],
};

const fn no_page(name: &'static str) -> Foreign {
    (name, "Sluicegate's own pages are health and metrics", "see `health_check` and `service.telemetry.metrics`")
}

/// What there is to say about extensions that sign requests.
pub(super) const NO_CLIENT: (&str, &str) =
    ("exporters have no authenticators", "write `headers: { authorization: ... }` into the exporter");

const HEALTH_CHECK: Keys = Keys { of: "`health_check`", known: &["endpoint"], foreign: &[] };

const MEMORY_LIMITER: Keys = Keys {
    of: "`memory_limiter`",
    known: &["limit_mib"],
    foreign: &[
        no_sample("check_interval"),
        no_sample("spike_limit_mib"),
        no_sample("spike_limit_percentage"),
        ("limit_percentage", "the limit is a size", "write `limit_mib: 512`"),
    ],
};

const fn no_sample(key: &'static str) -> Foreign {
    (key, "the bytes of requests are counted as they come, and not looked at now and then", "remove it")
}

/// The Collector's port for its health check, on loopback as there.
const HEALTH_CHECK_PORT: u16 = 13133;

/// Without a limit a destination that stops answering would fill any memory with what waits for it. Half a GiB is room
/// for eight thousand requests as SDKs send them, and for the largest one by default several times over.
pub(super) const MEMORY_LIMIT_MIB: u32 = 512;

/// A tebibyte.
const LARGEST_LIMIT_MIB: u32 = 1 << 20;

/// An extension of whatever type.
pub(super) enum Extension {
    HealthCheck(HealthCheck),
    /// In bytes.
    MemoryLimiter(usize),
    Authenticator(Authenticator),
}

/// What the extensions that are started come to.
pub(super) struct Started {
    pub(super) health_check: Option<HealthCheck>,
    pub(super) memory_limit: usize,
    pub(super) authenticators: BTreeMap<String, Authenticator>,
}

impl Reader {
    /// All that are defined.
    pub(super) fn extensions(&mut self, config: &Fields<'_>) -> Components<Extension> {
        self.components(config, "extensions", &TYPES, |reader, of, name, node| match of {
            "memory_limiter" => reader.memory_limiter(node, name).map(Extension::MemoryLimiter),
            "bearertokenauth" => reader.bearer_token_auth(node, name).map(Extension::Authenticator),
            "basicauth" => reader.basic_auth(node, name).map(Extension::Authenticator),
            _ => reader.health_check(node, name).map(Extension::HealthCheck),
        })
    }

    fn health_check(&mut self, node: &Node, name: Span) -> Option<HealthCheck> {
        let health_check = self.fields(node, name, &HEALTH_CHECK)?;
        let default = Spanned::new(Address::loopback(HEALTH_CHECK_PORT), name);
        let endpoint = self.field(&health_check, "endpoint", default, Self::listen);
        Some(HealthCheck { endpoint: endpoint? })
    }

    fn memory_limiter(&mut self, node: &Node, name: Span) -> Option<usize> {
        let limiter = self.fields(node, name, &MEMORY_LIMITER)?;
        let why = "in MiB, up to a tebibyte";
        let limit =
            self.field(&limiter, "limit_mib", MEMORY_LIMIT_MIB, |r, node| r.integer(node, 1..=LARGEST_LIMIT_MIB, why))?;
        Some(limit as usize * MIB)
    }

    /// `service.extensions`: of health checks and memory limiters one each at most.
    pub(super) fn extension_names(
        &mut self,
        service: &Fields<'_>,
        defined: &Components<Extension>,
    ) -> Vec<Spanned<String>> {
        let Some(node) = service.get("extensions") else {
            return Vec::new();
        };
        let names = self.names(node, "extensions", defined).unwrap_or_default();
        for (of, second) in [
            ("health_check", "a second health check is not supported"),
            ("memory_limiter", "a second memory limiter is not supported"),
        ] {
            let same = names.iter().filter(|name| name.split('/').next() == Some(of));
            for name in same.skip(1) {
                let error = self.error(name.span, second);
                self.found.push(error.help("one is there for the whole program"));
            }
        }
        names
    }

    /// What the extensions of these names come to. The others give a warning, as do authenticators that nobody asks.
    pub(super) fn start(
        &mut self,
        extensions: Components<Extension>,
        names: &[Spanned<String>],
        receivers: &BTreeMap<String, Receiver>,
    ) -> Started {
        let mut started = Started {
            health_check: None,
            memory_limit: MEMORY_LIMIT_MIB as usize * MIB,
            authenticators: BTreeMap::new(),
        };
        for (name, extension) in self.used(extensions, names, "`service.extensions`") {
            match extension {
                Extension::HealthCheck(check) => started.health_check = Some(check),
                Extension::MemoryLimiter(limit) => started.memory_limit = limit,
                Extension::Authenticator(authenticator) => {
                    started.authenticators.insert(name, authenticator);
                }
            }
        }
        let asked = |name: &str| {
            let mut auths = receivers.values().flat_map(Receiver::listeners).filter_map(|one| one.auth.as_ref());
            auths.any(|auth| auth.value == name)
        };
        for name in names {
            if started.authenticators.contains_key(&name.value) && !asked(name) {
                started.authenticators.remove(&name.value);
                let warning =
                    Diagnostic::warning(&self.source, name.span, format!("no receiver asks `{}`", name.value));
                let help = format!("write `auth: {{ authenticator: {} }}` into a receiver, or remove it", name.value);
                self.found.push(warning.help(help));
            }
        }
        started
    }

    /// Refuses authenticators of receivers that are none, or are not started.
    pub(super) fn authenticators(
        &mut self,
        receivers: &Components<Receiver>,
        extensions: &Components<Extension>,
        names: &[Spanned<String>],
    ) {
        let is_one = |name: &str| ["bearertokenauth", "basicauth"].contains(&name.split('/').next().unwrap_or(name));
        let known: Vec<&str> = extensions.keys().map(String::as_str).filter(|name| is_one(name)).collect();
        let read = receivers.values().filter_map(|receiver| receiver.value.as_ref());
        for auth in read.flat_map(Receiver::listeners).filter_map(|listener| listener.auth.as_ref()) {
            let error = if !known.contains(&auth.as_str()) {
                let help = match known.as_slice() {
                    [] => "define a `bearertokenauth` or a `basicauth` there".to_owned(),
                    known => format!("authenticators there are {}", list(known)),
                };
                let error = self.error(auth.span, format!("`{}` is no authenticator in `extensions`", auth.value));
                error.suggest(nearest(auth, &known)).help(help)
            } else if !names.iter().any(|name| name.value == auth.value) {
                let error = self.error(auth.span, format!("`{}` is not started", auth.value));
                error.help("name it in `service.extensions`, too")
            } else {
                continue;
            };
            self.found.push(error);
        }
    }
}
