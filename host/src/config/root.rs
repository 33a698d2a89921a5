//! The whole configuration: its sections, and what they must agree on.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::diagnostic::{Diagnostic, Spanned};
use super::endpoint::Address;
use super::extensions::{COPIES, Started, under_way};
use super::node::Node;
use super::pipelines::Defined;
use super::read::{Keys, Reader, nearest};
use super::{Config, Exporter, MIB, Pipelines, Receiver, Treatment};

const KEYS: Keys = Keys {
    of: "the configuration",
    known: &["receivers", "processors", "exporters", "extensions", "service"],
    foreign: &[(
        "connectors",
        "Sluicegate has no connectors",
        "records go elsewhere by `routes` of the `logs` pipeline",
    )],
};

const SERVICE: Keys = Keys { of: "`service`", known: &["extensions", "pipelines", "telemetry"], foreign: &[] };

impl Reader {
    /// The whole configuration. What is wrong with it is in `found`.
    pub(super) fn config(&mut self, root: &Node) -> Option<Config> {
        let config = self.fields(root, root.span, &KEYS)?;
        let receivers = self.receivers(&config);
        let processors = self.processors(&config);
        let exporters = self.exporters(&config);
        let extensions = self.extensions(&config);
        if !config.has("service") {
            let error = Diagnostic::file(&self.source.path, "`service` is missing");
            return self.report(error.help("`service` is what says which components are used"));
        }
        let service = self.section(&config, "service", &SERVICE)?;
        let defined = Defined { receivers: &receivers, processors: &processors, exporters: &exporters };
        let pipelines = self.pipelines(&service, &defined);
        let telemetry = self.telemetry(&service);
        let extension_names = self.extension_names(&service, &extensions);
        self.authenticators(&receivers, &extensions, &extension_names);
        self.destinations(&pipelines, &defined);
        self.failure_routes(&pipelines, &defined);
        let by = "`service.pipelines`";
        let receivers = self.used(receivers, pipelines.receivers(), by);
        let Started { health_check, memory_limit, authenticators } =
            self.start(extensions, &extension_names, &receivers);
        let config = Config {
            receivers,
            processors: self.used(processors, pipelines.processors(), by),
            exporters: self.used(exporters, pipelines.exporters(), by),
            pipelines,
            telemetry: telemetry?,
            health_check,
            authenticators,
            memory_limit,
            source: Arc::clone(&self.source),
        };
        self.same_endpoint(&config);
        self.loops(&config);
        self.largest_fits(&config);
        Some(config)
    }

    /// Warns of exporters that send to a receiver of this configuration: a request would come back until its sender gives
    /// up.
    fn loops(&mut self, config: &Config) {
        for exporter in config.exporters.values() {
            let Exporter::Otlp(exporter) = exporter else { continue };
            for endpoint in exporter.all_endpoints() {
                let mut listeners = config.receivers.values().flat_map(Receiver::listeners);
                if let Some(listener) = listeners.find(|listener| listener.endpoint.takes(&endpoint.address)) {
                    let message =
                        format!("`{endpoint}` is listened on by this configuration itself", endpoint = endpoint.value);
                    let (line, _) = self.source.position(listener.endpoint.span.start);
                    let warning = Diagnostic::warning(&self.source, endpoint.span, message);
                    let warning = warning.note(format!("the receiver in line {line} would take what is sent here"));
                    self.found.push(warning.help("send to the Collector's own port"));
                }
            }
        }
    }

    /// Warns of listeners whose largest request would never fit into the memory limiter: its sender would try for good.
    fn largest_fits(&mut self, config: &Config) {
        for (listener, size) in config.receivers.values().flat_map(Receiver::largest_requests) {
            let needed = under_way(size);
            if needed <= config.memory_limit.bytes / MIB {
                continue;
            }
            let message = format!("the largest request taken here is {size} bytes, and may never fit into memory");
            let warning = Diagnostic::warning(&self.source, listener.endpoint.span, message);
            let warning = warning.note(format!("under way it takes {COPIES} times its size, and 16 KiB"));
            let help = format!("lower its limit, or write `memory_limiter: {{ limit_mib: {needed} }}`");
            self.found.push(warning.help(help));
        }
    }

    /// Refuses exporters without an endpoint for a signal that comes to them, and warns of those that wait for
    /// headers which no receiver hands on.
    fn destinations(&mut self, pipelines: &Pipelines, defined: &Defined<'_>) {
        let mut waiting = BTreeMap::new();
        for flow in pipelines.flows() {
            let with_metadata = flow.receivers.iter().any(|name| {
                let receiver = defined.receivers.get(&name.value).and_then(|receiver| receiver.value.as_ref());
                // One that can't be read is reported already.
                receiver.is_none_or(|receiver| receiver.listeners().any(|listener| listener.include_metadata))
            });
            for name in flow.exporters {
                let Some(component) = defined.exporters.get(&name.value) else { continue };
                let Some(Exporter::Otlp(exporter)) = &component.value else { continue };
                if !exporter.has_endpoint(flow.signal) {
                    let message = format!("`{}` has no endpoint for {}", name.value, flow.signal);
                    let help = format!("give it an `endpoint`, or a `{}_endpoint`", flow.signal);
                    self.found.push(self.error(name.span, message).help(help));
                }
                if !exporter.metadata_keys.is_empty() {
                    waiting.entry(&name.value).or_insert((component.span, false)).1 |= with_metadata;
                }
            }
        }
        for (name, (span, _)) in waiting.into_iter().filter(|(_, (_, with_metadata))| !with_metadata) {
            let message = format!("`{name}` passes on headers, but no receiver hands them on");
            let warning = Diagnostic::warning(&self.source, span, message);
            self.found.push(warning.help("write `include_metadata: true` into a receiver's `grpc` or `http`"));
        }
    }

    /// Refuses routes of `on_failure` that the logs pipeline doesn't have.
    fn failure_routes(&mut self, pipelines: &Pipelines, defined: &Defined<'_>) {
        let Some(logs) = &pipelines.logs else { return };
        let processors = logs.processors.iter().filter_map(|name| defined.processors.get(&name.value)?.value.as_ref());
        for treatment in processors.flat_map(|processor| processor.on_failure.treatments()) {
            if let Treatment::Route(route) = treatment
                && !logs.routes.contains_key(&route.value)
            {
                let known: Vec<&str> = logs.routes.keys().map(String::as_str).collect();
                let message = format!("`{}` is no route of the logs pipeline", route.value);
                let help = format!("add `{}: [EXPORTER]` under `service.pipelines.logs.routes`", route.value);
                self.found.push(self.error(route.span, message).suggest(nearest(route, &known)).help(help));
            }
        }
    }

    /// Refuses two listeners on one port, as far as their texts show it.
    fn same_endpoint(&mut self, config: &Config) {
        let receivers = config.receivers.values().flat_map(Receiver::listeners).map(|listener| &listener.endpoint);
        let health_check = config.health_check.iter().map(|check| &check.endpoint);
        let others = config.telemetry.metrics.iter().chain(health_check);
        let mut listeners: Vec<&Spanned<Address>> = receivers.chain(others).collect();
        listeners.retain(|listener| !matches!(listener.value, Address::Tcp { port: 0, .. }));
        listeners.sort_by_key(|listener| listener.span);
        for (at, listener) in listeners.iter().enumerate() {
            let first = listeners[..at].iter().find(|other| other.overlaps(listener));
            if let Some(first) = first {
                let message = format!("`{}` is listened on already", listener.value);
                let error = self.error(listener.span, message).earlier(first.span);
                self.found.push(error.help("choose another one"));
            }
        }
    }
}
