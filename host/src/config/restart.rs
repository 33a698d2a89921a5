//! What a running Sluicegate can't take up from a changed configuration.

use std::collections::BTreeMap;

use super::diagnostic::Diagnostics;
use super::extensions::largest_request;
use super::listener::{GrpcListener, HttpListener, Listener};
use super::{Authenticator, Config, Receiver, Telemetry};

/// The names of keys whose values differ.
struct Changed(Vec<String>);

impl Config {
    /// The keys whose values differ from those of `running`, among those that are read at start only: all that belongs to
    /// listeners, and what Sluicegate says of itself.
    #[must_use]
    pub fn needs_restart(&self, running: &Self) -> Vec<String> {
        let mut changed = Changed(Vec::new());
        changed.receivers(&self.receivers, &running.receivers);
        match (&self.health_check, &running.health_check) {
            (Some(one), Some(other)) => changed.note("extensions.health_check.endpoint", one == other),
            (one, other) => changed.note("service.extensions", one == other),
        }
        changed.authenticators(&self.authenticators, &running.authenticators);
        let (limit, before) = (self.memory_limit, running.memory_limit);
        // By default it follows from the largest request, whose own key is named above.
        let follows = largest_request(&self.receivers) != largest_request(&running.receivers);
        changed.note("extensions.memory_limiter.limit_mib", limit.bytes == before.bytes || follows);
        changed.note("extensions.memory_limiter.spike_limit_mib", limit.spike == before.spike || follows);
        let Telemetry { level, encoding, metrics } = &self.telemetry;
        changed.note("service.telemetry.logs.level", *level == running.telemetry.level);
        changed.note("service.telemetry.logs.encoding", *encoding == running.telemetry.encoding);
        changed.note("service.telemetry.metrics.endpoint", *metrics == running.telemetry.metrics);
        changed.0
    }

    /// The receivers that pipelines name and that are not among those of `running`: nothing would come from there.
    #[must_use]
    pub fn missing_receivers(&self, running: &Self) -> Diagnostics {
        let mut problems = Diagnostics::default();
        for name in self.pipelines.receivers().filter(|name| !running.receivers.contains_key(&name.value)) {
            let problem = self.diagnostic(name.span, format!("receiver `{}` is not running", name.value));
            problems.push(problem.help("restart Sluicegate: listeners are opened at start"));
        }
        problems
    }
}

impl Changed {
    fn note(&mut self, key: impl Into<String>, is_same: bool) {
        if !is_same {
            self.0.push(key.into());
        }
    }

    fn receivers(&mut self, receivers: &BTreeMap<String, Receiver>, running: &BTreeMap<String, Receiver>) {
        for (name, was) in running {
            let Some(Receiver { grpc, http }) = receivers.get(name) else {
                self.0.push(format!("receivers.{name}"));
                continue;
            };
            let section = |protocol| format!("receivers.{name}.protocols.{protocol}");
            match (grpc, &was.grpc) {
                (Some(grpc), Some(was)) => self.grpc(&section("grpc"), grpc, was),
                (grpc, was) => self.note(section("grpc"), grpc == was),
            }
            match (http, &was.http) {
                (Some(http), Some(was)) => self.http(&section("http"), http, was),
                (http, was) => self.note(section("http"), http == was),
            }
        }
    }

    /// Fields are taken apart, so that none is forgotten.
    fn grpc(&mut self, section: &str, grpc: &GrpcListener, was: &GrpcListener) {
        let GrpcListener { listener, max_recv_msg_size, max_concurrent_streams, keepalive } = grpc;
        self.listener(section, listener, &was.listener);
        let mut note = |key, is_same| self.note(format!("{section}.{key}"), is_same);
        note("max_recv_msg_size_mib", *max_recv_msg_size == was.max_recv_msg_size);
        note("max_concurrent_streams", *max_concurrent_streams == was.max_concurrent_streams);
        note("keepalive", *keepalive == was.keepalive);
    }

    fn http(&mut self, section: &str, http: &HttpListener, was: &HttpListener) {
        let HttpListener {
            listener,
            max_request_body_size,
            cors,
            read_header_timeout,
            read_timeout,
            idle_timeout,
            keep_alives,
            response_headers,
            paths,
        } = http;
        self.listener(section, listener, &was.listener);
        let mut note = |key: &str, is_same| self.note(format!("{section}.{key}"), is_same);
        note("max_request_body_size", *max_request_body_size == was.max_request_body_size);
        note("cors", *cors == was.cors);
        note("read_header_timeout", *read_header_timeout == was.read_header_timeout);
        note("read_timeout", *read_timeout == was.read_timeout);
        note("idle_timeout", *idle_timeout == was.idle_timeout);
        note("keep_alives_enabled", *keep_alives == was.keep_alives);
        note("response_headers", *response_headers == was.response_headers);
        for (signal, path) in paths {
            note(&format!("{signal}_url_path"), Some(path) == was.paths.get(signal));
        }
    }

    fn listener(&mut self, section: &str, listener: &Listener, was: &Listener) {
        let Listener { endpoint, tls, auth, include_metadata } = listener;
        let mut note = |key, is_same| self.note(format!("{section}.{key}"), is_same);
        note("endpoint", *endpoint == was.endpoint);
        note("tls", *tls == was.tls);
        note("auth", *auth == was.auth);
        note("include_metadata", *include_metadata == was.include_metadata);
    }

    fn authenticators(&mut self, now: &BTreeMap<String, Authenticator>, was: &BTreeMap<String, Authenticator>) {
        for (name, authenticator) in now {
            self.note(format!("extensions.{name}"), was.get(name) == Some(authenticator));
        }
        for name in was.keys().filter(|name| !now.contains_key(*name)) {
            self.0.push(format!("extensions.{name}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const RUNNING: &str = "
receivers:
  otlp:
    protocols:
      grpc: { endpoint: 127.0.0.1:4317 }
      http: { endpoint: 127.0.0.1:4318, auth: { authenticator: bearertokenauth } }
processors:
  wasm/a: { component: a.wasm }
exporters:
  debug: {}
extensions:
  health_check: {}
  bearertokenauth: { token: one }
service:
  extensions: [health_check, bearertokenauth]
  telemetry: { logs: { level: info } }
  pipelines:
    logs: { receivers: [otlp], processors: [wasm/a], exporters: [debug] }
";

    fn config(text: &str) -> Config {
        let parsed = Config::parse(text, Path::new("sluicegate.yaml"), &|_| None);
        parsed.unwrap_or_else(|problems| panic!("{problems}")).0
    }

    /// What waits for a restart after each of these replacements.
    #[track_caller]
    fn check(replacements: &[(&str, &str)], expected: &[&str]) {
        let text = replacements.iter().fold(RUNNING.to_owned(), |text, (old, new)| {
            assert!(text.contains(old), "{old}");
            text.replace(old, new)
        });
        let (config, running) = (config(&text), config(RUNNING));
        assert_eq!(config.needs_restart(&running), expected);
        assert!(config.missing_receivers(&running).is_empty());
    }

    #[test]
    fn what_requests_pass_through_is_taken_up_at_once() {
        check(&[("\nreceivers", "\n\n# a comment moves everything\nreceivers")], &[]);
        check(&[("a.wasm", "b.wasm"), ("debug: {}", "debug: { verbosity: normal }")], &[]);
        check(&[("    logs: {", "    traces: { receivers: [otlp], exporters: [debug] }\n    logs: {")], &[]);
    }

    #[test]
    fn what_belongs_to_listeners_waits_for_a_restart() {
        let [grpc, http] = ["grpc", "http"].map(|protocol| format!("receivers.otlp.protocols.{protocol}"));
        check(&[(":4317 }", ":4317, max_recv_msg_size_mib: 4 }")], &[&format!("{grpc}.max_recv_msg_size_mib")]);
        check(
            &[(":4318,", ":4319, include_metadata: true, logs_url_path: /logs,")],
            &[&format!("{http}.endpoint"), &format!("{http}.include_metadata"), &format!("{http}.logs_url_path")],
        );
        check(&[("      grpc: { endpoint: 127.0.0.1:4317 }\n", "")], &[&grpc]);
        check(&[("token: one", "token: two")], &["extensions.bearertokenauth"]);
        check(
            &[(", auth: { authenticator: bearertokenauth }", "")],
            &[&format!("{http}.auth"), "extensions.bearertokenauth"],
        );
        check(
            &[("health_check: {}", "health_check: { endpoint: 127.0.0.1:1 }")],
            &["extensions.health_check.endpoint"],
        );
        check(&[("[health_check, ", "[")], &["service.extensions"]);
        check(
            &[("level: info }", "level: warn }, metrics: { endpoint: 127.0.0.1:1 }")],
            &["service.telemetry.logs.level", "service.telemetry.metrics.endpoint"],
        );
        let limiter = [
            ("  health_check: {}", "  health_check: {}\n  memory_limiter: { limit_mib: 600, spike_limit_mib: 1 }"),
            ("[health", "[memory_limiter, health"),
        ];
        check(&limiter, &["extensions.memory_limiter.limit_mib", "extensions.memory_limiter.spike_limit_mib"]);
    }

    #[test]
    fn a_receiver_that_is_not_running_is_an_error_and_one_that_is_left_out_waits() {
        let other = config(&RUNNING.replace("  otlp:", "  otlp/two:").replace("[otlp]", "[otlp/two]"));
        let running = config(RUNNING);
        assert_eq!(other.needs_restart(&running), ["receivers.otlp"]);
        let problems = other.missing_receivers(&running).to_string();
        assert!(problems.contains("receiver `otlp/two` is not running"), "{problems}");
        assert!(problems.contains("receivers: [otlp/two]"), "{problems}");
    }
}
