//! `service.pipelines`: which components each signal passes through.

use std::collections::BTreeMap;

use super::component::{Components, is_name};
use super::diagnostic::{Span, Spanned};
use super::node::Node;
use super::read::{Fields, Foreign, Keys, Reader};
use super::{Exporter, LogsPipeline, Pipeline, Pipelines, Processor, Receiver, Route};
use crate::receive::Signal;

const PIPELINES: Keys = Keys { of: "`pipelines`", known: &["logs", "traces", "metrics", "profiles"], foreign: &[] };

const LOGS: Keys =
    Keys { of: "the `logs` pipeline", known: &["receivers", "processors", "exporters", "routes"], foreign: &[] };

const TRACES: Keys = Keys { of: "the `traces` pipeline", known: &["receivers", "exporters"], foreign: UNTOUCHED };

const METRICS: Keys = Keys { of: "the `metrics` pipeline", known: &["receivers", "exporters"], foreign: UNTOUCHED };

const PROFILES: Keys = Keys { of: "the `profiles` pipeline", known: &["receivers", "exporters"], foreign: UNTOUCHED };

const UNTOUCHED: &[Foreign] = &[
    ("processors", "filters run on log records only", "remove `processors`"),
    ("routes", "only log records can be routed", "remove `routes`"),
];

/// What pipelines refer to.
pub(super) struct Defined<'a> {
    pub(super) receivers: &'a Components<Receiver>,
    pub(super) processors: &'a Components<Processor>,
    pub(super) exporters: &'a Components<Exporter>,
}

impl Reader {
    /// `service.pipelines`. There is at least one.
    pub(super) fn pipelines(&mut self, service: &Fields<'_>, defined: &Defined<'_>) -> Pipelines {
        let mut pipelines = Pipelines { logs: None, traces: None, metrics: None, profiles: None };
        let span = service.span("pipelines");
        let entries = match service.get("pipelines") {
            Some(node) => self.entries(node),
            None => Some(Vec::new()),
        };
        let Some(entries) = entries else {
            return pipelines;
        };
        if entries.is_empty() {
            let error = self.error(span, "there is no pipeline");
            let help = "write `pipelines: { logs: { receivers: [...], exporters: [...] } }`";
            self.found.push(error.help(help));
        }
        for (name, node) in entries {
            match name.as_str() {
                "logs" => pipelines.logs = self.logs(node, name.span, defined),
                "traces" => pipelines.traces = self.pipeline(node, name.span, &TRACES, defined),
                "metrics" => pipelines.metrics = self.pipeline(node, name.span, &METRICS, defined),
                "profiles" => pipelines.profiles = self.pipeline(node, name.span, &PROFILES, defined),
                other => {
                    let signal = other.split_once('/').map(|(signal, _)| signal);
                    let error = match signal.filter(|signal| PIPELINES.known.contains(signal)) {
                        Some(signal) => self
                            .error(name.span, "a second pipeline for a signal is not supported yet")
                            .help(format!("a signal has one pipeline, named `{signal}`")),
                        None => self.unknown(name, "pipeline", &PIPELINES),
                    };
                    self.found.push(error);
                }
            }
        }
        pipelines
    }

    fn logs(&mut self, node: &Node, name: Span, defined: &Defined<'_>) -> Option<LogsPipeline> {
        let logs = self.fields(node, name, &LOGS)?;
        let receivers = self.receiver_names(&logs, defined);
        let processors = match logs.get("processors") {
            Some(node) => self.names(node, "processors", defined.processors),
            None => Some(Vec::new()),
        };
        let exporters = self.exporter_names(logs.get("exporters"), logs.span("exporters"), defined);
        let routes = self.routes(&logs, defined);
        Some(LogsPipeline { receivers: receivers?, processors: processors?, exporters: exporters?, routes: routes? })
    }

    fn routes(&mut self, logs: &Fields<'_>, defined: &Defined<'_>) -> Option<BTreeMap<String, Route>> {
        let mut routes = BTreeMap::new();
        let Some(node) = logs.get("routes") else {
            return Some(routes);
        };
        for (name, node) in self.entries(node)? {
            if !is_name(name) {
                let error = self.error(name.span, format!("`{}` is no name", name.value));
                self.found.push(error.help("a route's name has no spaces and none of $+<=>^`|~"));
            }
            let node = Some(node).filter(|node| !node.is_null());
            if let Some(exporters) = self.exporter_names(node, name.span, defined) {
                let route = Route { span: name.span, exporters };
                routes.insert(name.value.clone(), route);
            }
        }
        Some(routes)
    }

    fn pipeline(&mut self, node: &Node, name: Span, keys: &Keys, defined: &Defined<'_>) -> Option<Pipeline> {
        let pipeline = self.fields(node, name, keys)?;
        let receivers = self.receiver_names(&pipeline, defined);
        let (node, span) = (pipeline.get("exporters"), pipeline.span("exporters"));
        let exporters = self.exporter_names(node, span, defined);
        Some(Pipeline { receivers: receivers?, exporters: exporters? })
    }

    /// The receivers of a pipeline. There is at least one.
    fn receiver_names(&mut self, pipeline: &Fields<'_>, defined: &Defined<'_>) -> Option<Vec<Spanned<String>>> {
        if let Some(node) = pipeline.get("receivers").filter(|node| !node.is_empty_list()) {
            return self.names(node, "receivers", defined.receivers);
        }
        let error = self.error(pipeline.span("receivers"), "this pipeline has no receiver");
        self.report(error.help("name one: `receivers: [otlp]`"))
    }

    /// The exporters of a pipeline or route, which is named at `span`. There is at least one: where there were
    /// none, records would get lost without a word.
    fn exporter_names(
        &mut self,
        node: Option<&Node>,
        span: Span,
        defined: &Defined<'_>,
    ) -> Option<Vec<Spanned<String>>> {
        if let Some(node) = node.filter(|node| !node.is_empty_list()) {
            return self.names(node, "exporters", defined.exporters);
        }
        let error = self.error(span, "there is no exporter, so what comes here would be lost");
        self.report(error.help("name one: `[otlp_grpc/NAME]`"))
    }
}

/// One pipeline, whatever its signal: what its requests come from and go to.
pub(super) struct Flow<'p> {
    pub(super) signal: Signal,
    pub(super) receivers: &'p [Spanned<String>],
    /// Those of its routes among them.
    pub(super) exporters: Vec<&'p Spanned<String>>,
}

/// The names that pipelines refer to.
impl Pipelines {
    /// All pipelines.
    pub(super) fn flows(&self) -> impl Iterator<Item = Flow<'_>> {
        let logs = self.logs.iter().map(|logs| {
            let routes = logs.routes.values().flat_map(|route| &route.exporters);
            Flow {
                signal: Signal::Logs,
                receivers: &logs.receivers,
                exporters: logs.exporters.iter().chain(routes).collect(),
            }
        });
        let untouched =
            [(Signal::Traces, &self.traces), (Signal::Metrics, &self.metrics), (Signal::Profiles, &self.profiles)];
        logs.chain(untouched.into_iter().filter_map(|(signal, pipeline)| {
            let pipeline = pipeline.as_ref()?;
            Some(Flow { signal, receivers: &pipeline.receivers, exporters: pipeline.exporters.iter().collect() })
        }))
    }

    pub(super) fn receivers(&self) -> impl Iterator<Item = &Spanned<String>> {
        self.flows().flat_map(|flow| flow.receivers)
    }

    pub(super) fn processors(&self) -> impl Iterator<Item = &Spanned<String>> {
        self.logs.iter().flat_map(|logs| &logs.processors)
    }

    pub(super) fn exporters(&self) -> impl Iterator<Item = &Spanned<String>> {
        self.flows().flat_map(|flow| flow.exporters)
    }
}
