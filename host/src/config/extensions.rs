//! `extensions`, and which of them `service` starts.

use std::collections::BTreeMap;

use super::authenticator::Authenticator;
use super::component::Components;
use super::diagnostic::{Diagnostic, Span, Spanned};
use super::endpoint::Address;
use super::node::Node;
use super::read::{Fields, Foreign, Keys, Reader, list, nearest};
use super::{HealthCheck, MIB, MemoryLimit, Receiver};
use crate::memory;

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
    known: &["limit_mib", "spike_limit_mib"],
    foreign: &[
        (
            "check_interval",
            "the bytes of requests are counted as they come, and not looked at now and then",
            "remove it",
        ),
        ("limit_percentage", "the limit is a size", "write `limit_mib: 256`"),
        ("spike_limit_percentage", "the spike is a size", "write `spike_limit_mib: 192`"),
    ],
};

/// The Collector's port for its health check, on loopback as there.
const HEALTH_CHECK_PORT: u16 = 13133;

/// What all requests share by default, in MiB: room for a thousand as SDKs send them. Without a limit a destination that
/// stops answering would fill any memory with what waits for it.
const SHARED_MIB: u32 = 64;

/// The spike where only the limit is given, as a part of it: the Collector's fifth.
const SPIKE_PART: u32 = 5;

/// How often the bytes of a request are there at once, at the most: as they came in JSON, as protobuf, and as they are
/// encoded for a destination.
pub(super) const COPIES: usize = 3;

/// How many MiB a request of so many bytes takes while it is under way.
pub(super) fn under_way(size: usize) -> usize {
    size.saturating_mul(COPIES).saturating_add(memory::OVERHEAD).div_ceil(MIB)
}

/// A tebibyte.
const LARGEST_LIMIT_MIB: u32 = 1 << 20;

/// An extension of whatever type.
pub(super) enum Extension {
    HealthCheck(HealthCheck),
    MemoryLimiter(MemoryLimiter),
    Authenticator(Authenticator),
}

/// What is configured of a memory limiter, in MiB.
#[derive(Clone, Copy, Default)]
pub(super) struct MemoryLimiter {
    limit: Option<u32>,
    spike: Option<u32>,
}

/// What the extensions that are started come to.
pub(super) struct Started {
    pub(super) health_check: Option<HealthCheck>,
    pub(super) memory_limit: MemoryLimit,
    pub(super) authenticators: BTreeMap<String, Authenticator>,
}

/// How large a request any of `receivers` takes, in bytes.
pub(super) fn largest_request(receivers: &BTreeMap<String, Receiver>) -> usize {
    receivers.values().flat_map(Receiver::largest_requests).map(|(_, size)| size).max().unwrap_or_default()
}

impl MemoryLimiter {
    /// What it comes to. By default the largest request that `receivers` take has room in the spike, as often as it may
    /// be there at once.
    fn limit(self, receivers: &BTreeMap<String, Receiver>) -> MemoryLimit {
        let spike = match (self.spike, self.limit) {
            (Some(spike), _) => spike as usize,
            (None, Some(limit)) => (limit / SPIKE_PART) as usize,
            (None, None) => largest_request(receivers).saturating_mul(COPIES).div_ceil(MIB),
        };
        let limit = self.limit.map_or(SHARED_MIB as usize + spike, |limit| limit as usize);
        MemoryLimit { bytes: limit * MIB, spike: spike * MIB }
    }
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

    fn memory_limiter(&mut self, node: &Node, name: Span) -> Option<MemoryLimiter> {
        let limiter = self.fields(node, name, &MEMORY_LIMITER)?;
        let why = "in MiB, up to a tebibyte";
        let limit =
            self.field(&limiter, "limit_mib", None, |r, node| r.integer(node, 1..=LARGEST_LIMIT_MIB, why).map(Some))?;
        let (most, why) = match limit {
            Some(limit) => (limit - 1, "in MiB, below `limit_mib`"),
            None => (LARGEST_LIMIT_MIB, why),
        };
        let spike =
            self.field(&limiter, "spike_limit_mib", None, |r, node| r.integer(node, 0..=most, why).map(Some))?;
        Some(MemoryLimiter { limit, spike })
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
            memory_limit: MemoryLimiter::default().limit(receivers),
            authenticators: BTreeMap::new(),
        };
        for (name, extension) in self.used(extensions, names, "`service.extensions`") {
            match extension {
                Extension::HealthCheck(check) => started.health_check = Some(check),
                Extension::MemoryLimiter(limiter) => started.memory_limit = limiter.limit(receivers),
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
