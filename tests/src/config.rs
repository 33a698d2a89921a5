//! Configurations for tests: ports from the system, a page of metrics, log lines that a program can read.
use std::fmt::Write as _;

/// A configuration under construction. Processors run in the order in which they are added; every exporter that no
/// route names gets every record. It listens for OTLP/gRPC, and for OTLP/HTTP where [`Config::http`] says so.
#[derive(Debug, Clone, Default)]
pub struct Config {
    grpc: String,
    http: Option<String>,
    extensions: Vec<(String, String)>,
    profiles: bool,
    processors: Vec<(String, String)>,
    exporters: Vec<(String, String)>,
    routes: Vec<(String, String)>,
}

impl Config {
    /// One that sends everything to the OTLP/gRPC server at `endpoint`.
    #[must_use]
    pub fn to(endpoint: &str) -> Self {
        Self::default().exporter("otlp_grpc/main", &otlp(endpoint))
    }

    /// Gives the OTLP/gRPC listener further keys, in YAML's flow style: `endpoint` among them replaces the port from
    /// the system.
    #[must_use]
    pub fn grpc(mut self, keys: &str) -> Self {
        keys.clone_into(&mut self.grpc);
        self
    }

    /// Listens for OTLP/HTTP too, with these further keys.
    #[must_use]
    pub fn http(mut self, keys: &str) -> Self {
        self.http = Some(keys.to_owned());
        self
    }

    /// Adds the extension `name` with these keys, in YAML's flow style.
    #[must_use]
    pub fn extension(mut self, name: &str, keys: &str) -> Self {
        self.extensions.push((name.to_owned(), format!("{{ {keys} }}")));
        self
    }

    /// Adds a pipeline of profiles, which goes where traces and metrics go.
    #[must_use]
    pub const fn profiles(mut self) -> Self {
        self.profiles = true;
        self
    }

    /// Adds the exporter `name` with these settings, in YAML's flow style.
    #[must_use]
    pub fn exporter(mut self, name: &str, settings: &str) -> Self {
        self.exporters.push((name.to_owned(), settings.to_owned()));
        self
    }

    /// Adds a processor named after the filter that it runs. `more` are its other keys, in YAML's flow style. Unless
    /// they name a deadline it is long, since a call may have to wait for its turn on a machine that runs tests.
    ///
    /// # Panics
    /// When the filter isn't built.
    #[must_use]
    pub fn filter(self, filter: &str, more: &str) -> Self {
        let component = crate::component(filter);
        let name = format!("wasm/{}", filter.replace('_', "-"));
        let deadline = if more.contains("deadline") { "" } else { ", deadline: 30s" };
        self.processor(&name, &format!("component: {component:?}, {more}{deadline}"))
    }

    /// Adds the processor `name` with these keys, in YAML's flow style.
    #[must_use]
    pub fn processor(mut self, name: &str, keys: &str) -> Self {
        self.processors.push((name.to_owned(), format!("{{ {keys} }}")));
        self
    }

    /// Sends records with the route `route` to the exporter `exporter`, and no others.
    #[must_use]
    pub fn route(mut self, route: &str, exporter: &str) -> Self {
        self.routes.push((route.to_owned(), exporter.to_owned()));
        self
    }

    /// The file's text.
    #[must_use]
    pub fn yaml(&self) -> String {
        let routed = |name: &&str| self.routes.iter().any(|(_, exporter)| exporter == name);
        let exporters = self.exporters.iter().map(|(name, _)| name.as_str());
        let main: Vec<_> = exporters.filter(|name| !routed(name)).collect();
        let main = main.join(", ");
        let chain: Vec<_> = self.processors.iter().map(|(name, _)| name.as_str()).collect();
        let mut protocols = format!("grpc: {}", listener(&self.grpc));
        if let Some(http) = &self.http {
            let _ = write!(protocols, ", http: {}", listener(http));
        }
        let mut extensions = vec![("health_check".to_owned(), listener(""))];
        extensions.extend_from_slice(&self.extensions);
        let names: Vec<_> = extensions.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(", ");
        let mut text = format!("receivers: {{ otlp: {{ protocols: {{ {protocols} }} }} }}\n");
        section(&mut text, "processors", &self.processors);
        section(&mut text, "exporters", &self.exporters);
        section(&mut text, "extensions", &extensions);
        let _ = writeln!(text, "service:\n  extensions: [{names}]");
        text += "  telemetry:\n    \
                 logs: { encoding: json }\n    \
                 metrics: { endpoint: '127.0.0.1:0' }\n  \
                 pipelines:\n    \
                 logs:\n      \
                 receivers: [otlp]\n";
        let _ = writeln!(text, "      processors: [{}]", chain.join(", "));
        let _ = writeln!(text, "      exporters: [{main}]");
        if !self.routes.is_empty() {
            let routes: Vec<_> = self.routes.iter().map(|(route, to)| format!("{route}: [{to}]")).collect();
            let _ = writeln!(text, "      routes: {{ {} }}", routes.join(", "));
        }
        for signal in ["traces", "metrics"].into_iter().chain(self.profiles.then_some("profiles")) {
            let _ = writeln!(text, "    {signal}: {{ receivers: [otlp], exporters: [{main}] }}");
        }
        text
    }
}

/// The settings of an exporter to the OTLP/gRPC server at `endpoint`, which has as long as the sender has: a busy
/// machine may take longer than the default.
#[must_use]
pub fn otlp(endpoint: &str) -> String {
    format!("{{ endpoint: {endpoint:?}, compression: none, timeout: 0s }}")
}

/// A listener's settings: on a port from the system, unless `keys` say where.
fn listener(keys: &str) -> String {
    let endpoint = if keys.contains("endpoint:") { "" } else { "endpoint: '127.0.0.1:0'" };
    let keys: Vec<_> = [endpoint, keys].into_iter().filter(|keys| !keys.is_empty()).collect();
    format!("{{ {} }}", keys.join(", "))
}

fn section(text: &mut String, name: &str, components: &[(String, String)]) {
    if !components.is_empty() {
        let _ = writeln!(text, "{name}:");
    }
    for (name, settings) in components {
        let _ = writeln!(text, "  {name}: {settings}");
    }
}
