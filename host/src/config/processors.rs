//! `processors`: the configured filters.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use serde_json::{Map, Value as Json};

use super::component::{Components, is_name};
use super::diagnostic::{Diagnostic, Span, Spanned};
use super::node::{Entry, Node, Value};
use super::read::{Fields, Keys, Read, Reader, allowed, nearest};
use super::scalar::{Style, Typed};
use super::{CircuitBreaker, MIB, Mode, OnFailure, Processor, Recycle, Shadow, Treatment};
use crate::filter::FailureKind;

const TYPES: Keys = Keys {
    of: "`processors`",
    known: &["wasm"],
    foreign: &[
        ("batch", "Sluicegate doesn't batch: a request stays one request", BEHIND),
        (
            "memory_limiter",
            "`memory_limiter` is an extension here: it is asked before a request is read",
            "move it to `extensions`, and name it in `service.extensions`",
        ),
    ],
};

/// What to do about what only a Collector does.
const BEHIND: &str = "leave it to the Collector behind Sluicegate";

const WASM: Keys = Keys {
    of: "a `wasm` processor",
    known: &[
        "component",
        "settings",
        "deadline",
        "memory_limit_mib",
        "output_limit_mib",
        "max_rows",
        "max_instances",
        "recycle_after",
        "recycle_memory",
        "on_failure",
        "circuit_breaker",
        "mode",
        "share",
        "shadow",
    ],
    foreign: &[],
};

const ON_FAILURE: Keys = Keys {
    of: "`on_failure`",
    known: &["default", "trap", "deadline", "memory", "invalid_output", "refused"],
    foreign: &[],
};

const CIRCUIT_BREAKER: Keys = Keys {
    of: "`circuit_breaker`",
    known: &["enabled", "threshold", "initial_interval", "max_interval"],
    foreign: &[],
};

const SHADOW: Keys =
    Keys { of: "`shadow`", known: &["queue_mib", "samples_per_minute", "sample_bodies"], foreign: &[] };

/// A thousand times what a filter takes for a batch, and a hundredth of how long senders wait.
pub(super) const DEADLINE: Duration = Duration::from_millis(100);

/// The clock that interrupts filters ticks once a millisecond.
const SHORTEST_DEADLINE: Duration = Duration::from_millis(1);

/// Senders have long given up by then, so more is a slip, such as `100m` for `100ms`.
const LONGEST_DEADLINE: Duration = Duration::from_secs(60);

/// Room for a batch of many megabytes, its changes, and an interpreter in the filter.
pub(super) const MEMORY_LIMIT_MIB: u32 = 64;

/// A WebAssembly memory with 32-bit addresses ends there.
const LARGEST_MEMORY_MIB: u32 = 4096;

/// Every instance has its own memory reserved, so the number is bounded by the address space.
const MOST_INSTANCES: u32 = 1000;

/// What a batch may grow by through changes, 64 MiB as well, stands in an answer once.
pub(super) const OUTPUT_LIMIT_MIB: u32 = 64;

/// A few megabytes of usual records, in which a filter is far from its memory limit, and enough that a call's own cost
/// is spread thin.
pub(super) const MAX_ROWS: NonZeroUsize = NonZeroUsize::new(8192).expect("it is not zero");

/// As many records as a request may have.
const MOST_ROWS: usize = 1 << 20;

/// More would be a queue of its own, in front of a filter that is too slow to ever catch up.
const LARGEST_QUEUE_MIB: u32 = 4096;

const MODES: &[(&str, bool)] = &[("enforce", false), ("shadow", true)];

impl Reader {
    pub(super) fn processors(&mut self, config: &Fields<'_>) -> Components<Processor> {
        self.components(config, "processors", &TYPES, |reader, _, name, node| reader.wasm_processor(node, name))
    }

    fn wasm_processor(&mut self, node: &Node, name: Span) -> Option<Processor> {
        let wasm = self.fields(node, name, &WASM)?;
        let what = "the WebAssembly component's file, relative to this one";
        let component = self.required(&wasm, "component", what, Self::path);
        let settings = self.settings(&wasm);
        let why = "filters are interrupted every millisecond, and senders give up within a minute";
        let deadline = self.field(&wasm, "deadline", DEADLINE, |r, node| {
            r.duration_in(node, SHORTEST_DEADLINE..=LONGEST_DEADLINE, why)
        });
        let why = "a filter's memory ends at 4 GiB";
        let memory = self
            .field(&wasm, "memory_limit_mib", MEMORY_LIMIT_MIB, |r, node| r.integer(node, 1..=LARGEST_MEMORY_MIB, why));
        let why = "an answer comes out of the filter's memory, which ends at 4 GiB";
        let output = self
            .field(&wasm, "output_limit_mib", OUTPUT_LIMIT_MIB, |r, node| r.integer(node, 1..=LARGEST_MEMORY_MIB, why));
        let why = "a request has 1,048,576 records at the most";
        let rows = self.field(&wasm, "max_rows", MAX_ROWS.get(), |r, node| r.integer(node, 1..=MOST_ROWS, why));
        let why = "every instance reserves memory of its own";
        let instances =
            self.field(&wasm, "max_instances", None, |r, node| r.integer(node, 1..=MOST_INSTANCES, why).map(Some));
        let recycle = self.recycle(&wasm);
        let on_failure = self.on_failure(&wasm);
        let circuit_breaker = self.circuit_breaker(&wasm);
        let mode = self.mode(&wasm);
        Some(Processor {
            component: component?,
            settings: settings?,
            deadline: deadline?,
            memory_limit: memory? as usize * MIB,
            output_limit: output? as usize * MIB,
            max_rows: NonZeroUsize::new(rows?)?,
            max_instances: max_instances(instances?),
            recycle: recycle?,
            on_failure: on_failure?,
            circuit_breaker: circuit_breaker?,
            mode: mode?,
        })
    }

    fn recycle(&mut self, wasm: &Fields<'_>) -> Option<Recycle> {
        let default = Recycle::default();
        let why = "a number of calls, of which 0 stands for never";
        let after = self.field(wasm, "recycle_after", 0, |r, node| r.integer(node, 0..=i64::MAX, why));
        let memory = self.field(wasm, "recycle_memory", default.memory, Self::percentage);
        Some(Recycle { after: NonZeroU64::new(after?.unsigned_abs()), memory: memory? })
    }

    /// One word for all kinds of failure, or a map by kind.
    fn on_failure(&mut self, wasm: &Fields<'_>) -> Option<OnFailure> {
        let Some(node) = wasm.get("on_failure") else {
            return Some(OnFailure::default());
        };
        if !matches!(node.value, Value::Map(_)) {
            return self.value(node, Self::treatment).map(OnFailure::always);
        }
        let map = self.fields(node, wasm.span("on_failure"), &ON_FAILURE)?;
        let default = self.field(&map, "default", Treatment::default(), Self::treatment);
        let mut by_kind = Vec::new();
        for kind in FailureKind::ALL {
            if let Some(node) = map.get(kind.as_str()) {
                by_kind.push((kind, self.value(node, Self::treatment)?));
            }
        }
        Some(OnFailure { default: default?, by_kind })
    }

    fn treatment(&self, node: &Node) -> Read<Treatment> {
        let text = self.string(node)?;
        if let Some(route) = text.strip_prefix("route:").filter(|route| is_name(route)) {
            return Ok(Treatment::Route(Spanned::new(route.to_owned(), node.span)));
        }
        Ok(match text {
            "reject" => Treatment::Reject,
            "pass" => Treatment::Pass,
            "drop" => Treatment::Drop,
            _ => {
                let words = ["reject", "pass", "drop", "route:NAME"];
                let error = self.error(node.span, format!("`{text}` is not allowed here"));
                return Err(error.suggest(nearest(text, &words)).help(allowed(&words)));
            }
        })
    }

    fn circuit_breaker(&mut self, wasm: &Fields<'_>) -> Option<Option<CircuitBreaker>> {
        let default = CircuitBreaker::DEFAULT;
        let breaker = self.section(wasm, "circuit_breaker", &CIRCUIT_BREAKER)?;
        let enabled = self.field(&breaker, "enabled", true, Self::boolean);
        let why = "how many batches in a row have to fail";
        let threshold =
            self.field(&breaker, "threshold", default.threshold.get(), |r, node| r.integer(node, 1..=1_000_000, why));
        let range = Duration::from_millis(1)..=Duration::from_secs(24 * 60 * 60);
        let why = "how long the filter is left alone, a day at the most";
        let mut interval =
            |key, default| self.field(&breaker, key, default, |r, node| r.duration_in(node, range.clone(), why));
        let initial_interval = interval("initial_interval", default.initial_interval);
        let max_interval = interval("max_interval", default.max_interval);
        let breaker = CircuitBreaker {
            threshold: NonZeroU64::new(threshold?)?,
            initial_interval: initial_interval?,
            max_interval: max_interval?.max(initial_interval?),
        };
        Some(enabled?.then_some(breaker))
    }

    fn mode(&mut self, wasm: &Fields<'_>) -> Option<Mode> {
        let is_shadow = self.field(wasm, "mode", false, |r, node| r.choice(node, MODES));
        let share = self.field(wasm, "share", 1.0, Self::percentage);
        let default = Shadow::default();
        let shadow = self.section(wasm, "shadow", &SHADOW)?;
        let why = "in MiB, up to 4 GiB";
        let queue = self.field(&shadow, "queue_mib", (default.queue / MIB) as u32, |r, node| {
            r.integer(node, 1..=LARGEST_QUEUE_MIB, why)
        });
        let why = "0 for none; more than a thousand a second nobody reads";
        let samples = self.field(&shadow, "samples_per_minute", default.samples_per_minute, |r, node| {
            r.integer(node, 0..=60_000, why)
        });
        let bodies = self.field(&shadow, "sample_bodies", default.sample_bodies, Self::boolean);
        let shadow = Shadow { queue: queue? as usize * MIB, samples_per_minute: samples?, sample_bodies: bodies? };
        Some(if is_shadow? { Mode::Shadow(shadow) } else { Mode::Enforce { share: share? } })
    }

    /// The settings as JSON. They are the filter's to check.
    fn settings(&mut self, wasm: &Fields<'_>) -> Option<Spanned<Map<String, Json>>> {
        let span = wasm.span("settings");
        let Some(node) = wasm.get("settings") else {
            return Some(Spanned::new(Map::new(), span));
        };
        let entries = self.value(node, |reader, node| match &node.value {
            Value::Map(entries) => Ok(entries),
            _ => Err(reader.mismatch(node, "a map")),
        })?;
        let mut errors = Vec::new();
        let settings = self.object(entries, &mut errors);
        self.found.extend(errors);
        Some(Spanned::new(settings, span))
    }

    fn object(&self, entries: &[Entry], errors: &mut Vec<Diagnostic>) -> Map<String, Json> {
        let json = |entry: &Entry| (entry.key.value.clone(), self.json(&entry.value, errors));
        entries.iter().map(json).collect()
    }

    fn json(&self, node: &Node, errors: &mut Vec<Diagnostic>) -> Json {
        let scalar = match &node.value {
            Value::Map(entries) => return Json::Object(self.object(entries, errors)),
            Value::List(list) => {
                return list.iter().map(|node| self.json(node, errors)).collect();
            }
            Value::Scalar(scalar) => scalar,
        };
        match scalar.typed() {
            Typed::Null => Json::Null,
            Typed::Bool(value) => Json::Bool(value),
            Typed::Number(number) => Json::Number(number),
            Typed::String => Json::String(scalar.text.clone()),
            Typed::NotFinite => {
                let message = "a filter gets its settings as JSON, which has finite numbers only";
                let quoted = scalar.style == Style::Plain;
                let error = self.error(node.span, message);
                errors.push(if quoted { error.help("put it in quotes for a string") } else { error });
                Json::Null
            }
        }
    }
}

/// As many instances as can run at once, if nothing else is configured: more would only wait for a core.
pub(super) fn max_instances(configured: Option<u32>) -> NonZeroUsize {
    let configured = configured.and_then(|number| NonZeroUsize::new(number as usize));
    configured.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
}
