//! `processors`: the configured filters.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use serde_json::{Map, Value as Json};

use super::component::Components;
use super::diagnostic::{Diagnostic, Span, Spanned};
use super::node::{Entry, Node, Value};
use super::read::{Fields, Keys, Reader};
use super::scalar::{Style, Typed};
use super::{MIB, Processor, Recycle};

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

/// A sound filter need not be replaced that rarely.
const MOST_CALLS: u64 = 1_000_000_000;

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
        let after = self.field(wasm, "recycle_after", 0, |r, node| r.integer(node, 0..=MOST_CALLS, why));
        let memory = self.field(wasm, "recycle_memory", default.memory, Self::percentage);
        Some(Recycle { after: NonZeroU64::new(after?), memory: memory? })
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
