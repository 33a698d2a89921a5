//! The whole configuration: its sections, and what they must agree on.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Config;
use super::diagnostic::{Diagnostic, Spanned};
use super::endpoint::Address;
use super::node::Node;
use super::pipelines::Defined;
use super::read::{Keys, Reader};

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
        let by = "`service.pipelines`";
        let extensions = self.used(extensions, &extension_names, "`service.extensions`");
        let config = Config {
            receivers: self.used(receivers, pipelines.receivers(), by),
            processors: self.used(processors, pipelines.processors(), by),
            exporters: self.used(exporters, pipelines.exporters(), by),
            pipelines,
            telemetry: telemetry?,
            health_check: extensions.into_values().next(),
            authenticators: BTreeMap::new(),
            memory_limit: 512 << 20,
            source: Arc::clone(&self.source),
        };
        self.same_endpoint(&config);
        Some(config)
    }

    /// Refuses two listeners on one port, as far as their texts show it.
    fn same_endpoint(&mut self, config: &Config) {
        let grpc = config.receivers.values().filter_map(|receiver| Some(&receiver.grpc.as_ref()?.listener.endpoint));
        let health_check = config.health_check.iter().map(|check| &check.endpoint);
        let others = config.telemetry.metrics.iter().chain(health_check);
        let mut listeners: Vec<&Spanned<Address>> = grpc.chain(others).collect();
        listeners.retain(|listener| !matches!(listener.value, Address::Tcp { port: 0, .. }));
        listeners.sort_by_key(|listener| listener.span);
        for (at, listener) in listeners.iter().enumerate() {
            let first = listeners[..at].iter().find(|other| other.value == listener.value);
            if let Some(first) = first {
                let message = format!("`{}` is listened on already", listener.value);
                let error = self.error(listener.span, message).earlier(first.span);
                self.found.push(error.help("choose another port"));
            }
        }
    }
}
