//! `on_failure` and `circuit_breaker`: what becomes of records that a filter fails on.

use std::num::NonZeroU64;
use std::time::Duration;

use super::component::is_name;
use super::diagnostic::Spanned;
use super::node::{Node, Value};
use super::read::{Fields, Keys, Read, Reader, allowed, nearest};
use super::{CircuitBreaker, OnFailure, Treatment};
use crate::filter::FailureKind;

const ON_FAILURE: Keys = Keys {
    of: "`on_failure`",
    known: &["default", "trap", "deadline", "memory", "invalid_output", "refused"],
    // To YAML `route: NAME` is a map.
    foreign: &[("route", "a route is written in one word", "write `on_failure: route:NAME`, without a space")],
};

const CIRCUIT_BREAKER: Keys = Keys {
    of: "`circuit_breaker`",
    known: &["enabled", "threshold", "initial_interval", "max_interval"],
    foreign: &[],
};

const TREATMENTS: &[&str] = &["reject", "pass", "drop", "route:NAME"];

/// More in a row would be a filter that hardly ever works.
const LARGEST_THRESHOLD: u64 = 1_000_000;

/// The clock that filters are timed by ticks once a millisecond.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);

/// A filter that is left alone for longer is better removed.
const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

impl Reader {
    /// One word for all kinds of failure, or a map by kind.
    pub(super) fn on_failure(&mut self, wasm: &Fields<'_>) -> Option<OnFailure> {
        let Some(node) = wasm.get("on_failure") else {
            return Some(OnFailure::default());
        };
        if !matches!(node.value, Value::Map(_)) {
            return self.value(node, Self::treatment).map(OnFailure::always);
        }
        let map = self.fields(node, wasm.span("on_failure"), &ON_FAILURE)?;
        let default = self.field(&map, "default", Treatment::default(), Self::treatment);
        let kinds = FailureKind::ALL.into_iter().filter_map(|kind| Some((kind, map.get(kind.as_str())?)));
        // All of them are read before one that is wrong ends it.
        let by_kind: Vec<_> = kinds.map(|(kind, node)| Some((kind, self.value(node, Self::treatment)?))).collect();
        Some(OnFailure { default: default?, by_kind: by_kind.into_iter().collect::<Option<_>>()? })
    }

    fn treatment(&self, node: &Node) -> Read<Treatment> {
        let text = self.string(node).map_err(|error| error.help(allowed(TREATMENTS)))?;
        if let Some(route) = text.strip_prefix("route:") {
            if is_name(route) {
                return Ok(Treatment::Route(Spanned::new(route.to_owned(), node.span)));
            }
            let error = self.error(node.span, format!("`{text}` names no route"));
            return Err(error.help("write `route:NAME`, where NAME has no spaces and none of $+<=>^`|~"));
        }
        Ok(match text {
            "reject" => Treatment::Reject,
            "pass" => Treatment::Pass,
            "drop" => Treatment::Drop,
            _ => {
                let error = self.error(node.span, format!("`{text}` is not allowed here"));
                return Err(error.suggest(nearest(text, TREATMENTS)).help(allowed(TREATMENTS)));
            }
        })
    }

    /// `circuit_breaker`, unless it is switched off. All of it is checked.
    pub(super) fn circuit_breaker(&mut self, wasm: &Fields<'_>) -> Option<Option<CircuitBreaker>> {
        let default = CircuitBreaker::DEFAULT;
        let breaker = self.section(wasm, "circuit_breaker", &CIRCUIT_BREAKER)?;
        let enabled = self.field(&breaker, "enabled", true, Self::boolean);
        let why = "how many batches in a row have to fail; to never leave the filter alone, write `enabled: false`";
        let threshold = self.field(&breaker, "threshold", default.threshold.get(), |r, node| {
            r.integer(node, 1..=LARGEST_THRESHOLD, why)
        });
        let why = "how long the filter is left alone, a day at the most";
        let mut interval = |key, default| {
            self.field(&breaker, key, default, |r, node| r.duration_in(node, SHORTEST_INTERVAL..=LONGEST_INTERVAL, why))
        };
        let initial_interval = interval("initial_interval", default.initial_interval);
        let max_interval = interval("max_interval", default.max_interval);
        let (initial_interval, max_interval) = (initial_interval?, max_interval?);
        if breaker.get("max_interval").is_some() && max_interval < initial_interval {
            let message = format!("the longest interval is shorter than the first, {initial_interval:?}");
            let error = self.error(breaker.span("max_interval"), message);
            return self.report(error.help("make `max_interval` as long as `initial_interval`, or longer"));
        }
        let breaker = CircuitBreaker {
            threshold: NonZeroU64::new(threshold?)?,
            initial_interval,
            // Who writes a longer first interval than the default's longest wants that one.
            max_interval: max_interval.max(initial_interval),
        };
        Some(enabled?.then_some(breaker))
    }
}
