//! `processors`: the configured filters.

use std::num::NonZeroUsize;
use std::time::Duration;

use serde_json::{Map, Value as Json};

use super::component::Components;
use super::diagnostic::{Diagnostic, Span, Spanned};
use super::node::{Entry, Node, Value};
use super::read::{Fields, Keys, Read, Reader};
use super::scalar::{Style, Typed};
use super::{MIB, OnFailure, Processor};

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
    known: &["component", "settings", "deadline", "memory_limit_mib", "on_failure", "max_instances"],
    foreign: &[],
};

/// A thousand times what a filter takes for a batch, and a hundredth of how long senders wait.
const DEADLINE: Duration = Duration::from_millis(100);

/// The clock that interrupts filters ticks once a millisecond.
const SHORTEST_DEADLINE: Duration = Duration::from_millis(1);

/// Senders have long given up by then, so more is a slip, such as `100m` for `100ms`.
const LONGEST_DEADLINE: Duration = Duration::from_secs(60);

/// Room for a batch of many megabytes, its changes, and an interpreter in the filter.
const MEMORY_LIMIT_MIB: u32 = 64;

/// A WebAssembly memory with 32-bit addresses ends there.
const LARGEST_MEMORY_MIB: u32 = 4096;

/// Every instance has its own memory reserved, so the number is bounded by the address space.
const MOST_INSTANCES: u32 = 1000;

const ON_FAILURE: &[(&str, OnFailure)] = &[("reject", OnFailure::Reject), ("pass", OnFailure::Pass)];

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
        let on_failure = self.field(&wasm, "on_failure", OnFailure::Reject, Self::on_failure);
        let why = "every instance reserves memory of its own";
        let instances =
            self.field(&wasm, "max_instances", None, |r, node| r.integer(node, 1..=MOST_INSTANCES, why).map(Some));
        Some(Processor {
            component: component?,
            settings: settings?,
            deadline: deadline?,
            memory_limit: memory? as usize * MIB,
            on_failure: on_failure?,
            max_instances: max_instances(instances?),
        })
    }

    fn on_failure(&self, node: &Node) -> Read<OnFailure> {
        let text = self.string(node)?;
        if text == "drop" || text.starts_with("route:") {
            let message = format!("`{text}` is not supported yet");
            return Err(self.error(node.span, message).help("allowed are `reject`, `pass`"));
        }
        self.choice(node, ON_FAILURE)
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
fn max_instances(configured: Option<u32>) -> NonZeroUsize {
    let configured = configured.and_then(|number| NonZeroUsize::new(number as usize));
    configured.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
}
