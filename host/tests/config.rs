//! The configuration from outside: every kind of mistake against its golden file, and what right ones mean.
//!
//! The golden files stand in `config`, those of mistakes beside their configurations in `config/bad`. `INSTA_UPDATE=always cargo test --test config`
//! writes them anew.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use sluicegate::compression::Encoding;
use sluicegate::config::{
    Address, CircuitBreaker, Compression, Config, Diagnostic, Diagnostics, Exporter, GrpcListener, LogEncoding,
    MemoryLimit, Mode, OnFailure, OtlpExporter, Processor, Recycle, Shadow, Spanned, Treatment, Verbosity,
};
use sluicegate::filter::FailureKind;

#[path = "config/otlp_settings.rs"]
mod otlp_settings;

/// What `${env:NAME}` stands for in these tests.
fn env(name: &str) -> Option<String> {
    let value = match name {
        "PORT" => "4317",
        "HOST" => "collector",
        "WORD" => "large",
        "EMPTY" => "",
        "NUMBER" => "0123",
        "SECRET" => "hunter2\n",
        "TOKEN" => "hunter2",
        "URL" => "http://me:hunter2@collector",
        _ => return None,
    };
    Some(value.to_owned())
}

fn parse(text: impl AsRef<[u8]>, path: &str) -> Result<(Config, Diagnostics), Diagnostics> {
    Config::parse(text, Path::new(path), &env)
}

/// Reads a configuration that must be right, and give no warning.
fn good(text: &str) -> Config {
    let (config, warnings) = parse(text, "/etc/sluicegate/sluicegate.yaml").unwrap_or_else(|errors| panic!("{errors}"));
    assert!(warnings.is_empty(), "{warnings}");
    config
}

/// The gRPC listener of the receiver `name`.
fn grpc<'c>(config: &'c Config, name: &str) -> &'c GrpcListener {
    config.receivers[name].grpc.as_ref().expect("a gRPC listener")
}

/// The exporter `name`, which speaks OTLP.
fn otlp<'c>(config: &'c Config, name: &str) -> &'c OtlpExporter {
    match &config.exporters[name] {
        Exporter::Otlp(exporter) => exporter,
        other => panic!("{other:?}"),
    }
}

/// Where an exporter sends, as text.
fn endpoints(exporter: &OtlpExporter) -> Vec<String> {
    exporter.endpoints.iter().map(|endpoint| endpoint.to_string()).collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config")
}

/// Compares `shown` with the golden file `name` of `folder`.
fn check_golden(folder: &Path, name: &str, shown: &Diagnostics) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(folder);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, shown));
}

#[test]
fn every_mistake_is_told() {
    let folder = folder().join("bad");
    let check = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name in UTF-8");
        let text = std::fs::read(path).expect("a file that can be read");
        let errors = parse(text, name).expect_err(name);
        let shown = errors.to_string();
        assert!(!shown.contains("hunter2"), "{name} shows a secret: {shown}");
        check_golden(&folder, name.trim_end_matches(".yaml"), &errors);
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the folder of bad configurations")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    for file in files {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("yaml") => check(&file),
            Some("snap") => {
                let yaml = file.with_extension("yaml");
                assert!(yaml.exists(), "{} is left over", file.display());
            }
            _ => {}
        }
    }
}

#[test]
fn long_reports_are_cut() {
    let components: String = (0..60).map(|at| format!("  nothing/{at}:\n")).collect();
    let errors = parse(format!("exporters:\n{components}service:\n"), "long.yaml").expect_err("60 errors");
    let shown = errors.to_string();
    assert_eq!(shown.matches("error: unknown type").count(), 50);
    assert!(shown.ends_with("long.yaml: 61 errors, of which the first 50 are shown"), "{shown}");
}

#[test]
fn files_that_are_none() {
    let check = |path: &Path, want: &str| {
        let error = Config::load(path).expect_err(want).to_string();
        assert!(error.contains(want) && error.contains(&path.display().to_string()), "{error}");
    };
    let folder = tempfile::tempdir().expect("a folder");
    check(&folder.path().join("nothing.yaml"), "the configuration can't be read: No such file");
    check(folder.path(), "the configuration can't be read: Is a directory");
    let large = folder.path().join("large.yaml");
    std::fs::write(&large, vec![b'#'; (1 << 20) + 1]).expect("a large file");
    check(&large, "the configuration is larger than 1 MiB");
}

#[test]
fn the_documented_example() {
    let page = include_str!("../../docs/configuration.md");
    let mut examples = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split_once("```"));
    let config = good(examples.next().expect("the whole example").0);

    assert_eq!(grpc(&config, "otlp").listener.endpoint.to_string(), "127.0.0.1:4317");
    let outside = config.receivers["otlp/outside"].http.as_ref().expect("an HTTP listener");
    assert_eq!(outside.listener.endpoint.to_string(), "0.0.0.0:4319");
    let tls = outside.listener.tls.as_ref().expect("TLS");
    assert_eq!(tls.cert_file.value, Path::new("/etc/sluicegate/certificates/tls.crt"));
    assert_eq!(outside.listener.auth.as_ref().map(|name| name.as_str()), Some("bearertokenauth"));
    assert!(config.authenticators.contains_key("bearertokenauth"));
    assert_eq!(config.memory_limit, MemoryLimit { bytes: 1024 << 20, spike: 204 << 20 });
    let profiles = otlp(&config, "otlp_http/profiles");
    assert_eq!(endpoints(profiles), ["https://a.example.com:443/otlp", "https://b.example.com:443/otlp"]);
    assert!(profiles.retry.is_some());
    let filter = &config.processors["wasm/audit"];
    assert_eq!(filter.component.value, Path::new("/etc/sluicegate/filters/audit.wasm"));
    let settings = json!({ "tables": ["orders", "payments"], "route": "audit" });
    assert_eq!(serde_json::Value::from(filter.settings.value.clone()), settings);
    assert_eq!(filter.deadline, Duration::from_millis(250));
    assert_eq!(filter.memory_limit, 128 << 20);
    assert_eq!(filter.output_limit, 32 << 20);
    assert_eq!(filter.max_rows.get(), 2048);
    assert_eq!(filter.max_instances.get(), 2);
    assert_eq!(filter.recycle, Recycle { after: NonZeroU64::new(100_000), memory: 0.6 });
    assert_eq!(filter.on_failure.default, Treatment::Reject);
    assert_eq!(filter.on_failure.of(FailureKind::Deadline).as_str(), "pass");
    let failed = filter.on_failure.of(FailureKind::Trap);
    assert!(matches!(failed, Treatment::Route(route) if route.value == "failed"), "{failed:?}");
    assert_eq!(filter.on_failure.of(FailureKind::Refused), &Treatment::Reject);
    let breaker = filter.circuit_breaker.expect("a circuit breaker");
    assert_eq!(breaker.threshold.get(), 10);
    assert_eq!(breaker.initial_interval, Duration::from_secs(2));
    assert_eq!(breaker.max_interval, Duration::from_secs(300));
    assert_eq!(filter.mode, Mode::Enforce { share: 0.1 });
    let shadow = Shadow { queue: 16 << 20, samples_per_minute: 10, sample_bodies: true };
    assert_eq!(config.processors["wasm/redact"].mode, Mode::Shadow(shadow));
    let audit = otlp(&config, "otlp_grpc/audit");
    assert_eq!(endpoints(audit), ["http://audit-collector:4317"]);
    assert_eq!(audit.compression, Compression { encoding: Some(Encoding::Zstd), level: None });
    assert_eq!(audit.timeout, Some(Duration::from_secs(2)));
    assert_eq!(audit.headers["x-tenant"], "shop");
    assert!(!format!("{audit:?}").contains("shop"), "headers may be secrets");
    let Exporter::Debug(debug) = &config.exporters["debug"] else { panic!("{:?}", config.exporters) };
    assert_eq!(debug.verbosity, Verbosity::Normal);
    let logs = config.pipelines.logs.as_ref().expect("a pipeline for logs");
    let names = |names: &[Spanned<String>]| -> Vec<String> { names.iter().map(|name| name.value.clone()).collect() };
    assert_eq!(names(&logs.processors), ["wasm/drop-debug", "wasm/audit", "wasm/redact"]);
    assert_eq!(names(&logs.exporters), ["otlp_grpc/main", "file/kept"]);
    assert_eq!(names(&logs.routes["audit"].exporters), ["otlp_grpc/audit", "debug"]);
    let pipelines = &config.pipelines;
    assert!(pipelines.traces.is_some() && pipelines.metrics.is_some() && pipelines.profiles.is_some());
    assert_eq!(config.telemetry.encoding, LogEncoding::Json);
    let page = config.telemetry.metrics.as_ref().expect("a page for metrics");
    assert_eq!(page.to_string(), "127.0.0.1:8888");

    let least = good(examples.next().expect("the least that works").0);
    assert_eq!(least.exporters.len(), 1);
    assert!(examples.next().is_none(), "every example is tested");
}

#[test]
fn defaults() {
    let config = good(
        "receivers: { otlp: { protocols: { grpc: } } }
processors: { wasm: { component: /filters/a.wasm } }
exporters: { otlp_grpc: { endpoint: \"http://[::1]:4317/\" }, debug: }
extensions: { health_check: }
service:
  extensions: [health_check]
  pipelines: { logs: { receivers: [otlp], processors: [wasm], exporters: [otlp_grpc, debug] } }
",
    );
    let grpc = grpc(&config, "otlp");
    assert_eq!(grpc.listener.endpoint.value, Address::loopback(4317));
    assert_eq!(grpc.max_recv_msg_size, 64 << 20);
    let filter = &config.processors["wasm"];
    assert_eq!(filter.component.value, Path::new("/filters/a.wasm"));
    assert!(filter.settings.is_empty());
    assert_eq!(filter.deadline, Duration::from_millis(100));
    assert_eq!(filter.memory_limit, 64 << 20);
    assert_eq!(filter.output_limit, 64 << 20);
    assert_eq!(filter.max_rows.get(), 8192);
    assert_eq!(filter.recycle, Recycle { after: None, memory: 0.8 });
    assert_eq!(filter.on_failure, OnFailure::always(Treatment::Reject));
    assert_eq!(filter.circuit_breaker, Some(CircuitBreaker::DEFAULT));
    assert_eq!(filter.mode, Mode::Enforce { share: 1.0 });
    assert_eq!(Some(filter.max_instances), std::thread::available_parallelism().ok());
    let exporter = otlp(&config, "otlp_grpc");
    assert_eq!(endpoints(exporter), ["http://[::1]:4317"]);
    assert_eq!(exporter.compression, Compression { encoding: Some(Encoding::Gzip), level: None });
    assert_eq!(exporter.timeout, Some(Duration::from_secs(5)));
    assert!(exporter.headers.is_empty());
    let Exporter::Debug(debug) = &config.exporters["debug"] else { panic!("{:?}", config.exporters) };
    assert_eq!(debug.verbosity, Verbosity::Basic);
    assert_eq!(config.telemetry.level, tracing::Level::INFO);
    assert_eq!(config.telemetry.encoding, LogEncoding::Console);
    assert_eq!(config.telemetry.metrics, None);
    let health_check = config.health_check.expect("a health check");
    assert_eq!(health_check.endpoint.value, Address::loopback(13133));
}

/// The processor that has the keys `text`, in YAML's flow style.
fn processor(text: &str) -> Processor {
    let mut config = good(&format!(
        "receivers: {{ otlp: {{ protocols: {{ grpc: }} }} }}
processors: {{ wasm: {{ component: a.wasm, {text} }} }}
exporters: {{ debug: }}
service: {{ pipelines: {{ logs: {{ receivers: [otlp], processors: [wasm], exporters: [debug], routes: {{ a: [debug] }} }} }} }}
"
    ));
    config.processors.remove("wasm").expect("a processor")
}

#[test]
fn policies() {
    let treatments = |text: &str| -> Vec<&str> {
        let on_failure = processor(text).on_failure;
        FailureKind::ALL.iter().map(|kind| on_failure.of(*kind).as_str()).collect()
    };
    assert_eq!(treatments("on_failure: drop"), ["drop"; 5]);
    assert_eq!(treatments("on_failure: route:a"), ["route"; 5]);
    assert_eq!(treatments("on_failure: {}"), ["reject"; 5]);
    assert_eq!(treatments("on_failure: { memory: drop }"), ["reject", "reject", "drop", "reject", "reject"]);
    let by_kind = "on_failure: { default: pass, trap: reject, deadline: drop, invalid_output: route:a, refused: drop }";
    assert_eq!(treatments(by_kind), ["reject", "drop", "pass", "route", "drop"]);

    assert_eq!(processor("circuit_breaker: { enabled: false, threshold: 7 }").circuit_breaker, None);
    let long = processor("circuit_breaker: { initial_interval: 10m }").circuit_breaker.expect("a circuit breaker");
    assert_eq!((long.initial_interval, long.max_interval), (Duration::from_secs(600), Duration::from_secs(600)));

    assert_eq!(processor("recycle_after: 0, recycle_memory: 0%").recycle, Recycle { after: None, memory: 0.0 });
    assert_eq!(processor("mode: shadow").mode, Mode::Shadow(Shadow::default()));
    let quiet = Shadow { samples_per_minute: 0, ..Shadow::default() };
    assert_eq!(processor("mode: Shadow, shadow: { samples_per_minute: 0 }").mode, Mode::Shadow(quiet));
    assert_eq!(processor("share: 12.5 %").mode, Mode::Enforce { share: 0.125 });
}

/// The settings that a filter gets which is configured with `text`.
fn settings(text: &str) -> serde_json::Value {
    let config = good(&format!(
        "receivers: {{ otlp: {{ protocols: {{ grpc: }} }} }}
processors:
  wasm:
    component: a.wasm
    settings: {text}
exporters: {{ debug: }}
service: {{ pipelines: {{ logs: {{ receivers: [otlp], processors: [wasm], exporters: [debug] }} }} }}
"
    ));
    config.processors["wasm"].settings.value.clone().into()
}

#[test]
fn settings_are_json() {
    let check = |text: &str, want: serde_json::Value| assert_eq!(settings(text), want, "{text}");
    check("", json!({}));
    check(
        "{ int: -7, float: 1.50, bool: true, none: ~, empty: , list: [1, [a]], map: { 1: x } }",
        json!({ "int": -7, "float": 1.5, "bool": true, "none": null, "empty": null, "list": [1, ["a"]], "map": { "1": "x" } }),
    );
    check(
        r#"{ a: "7", b: 'true', c: yes, d: !!str 7, e: "\u00e4" }"#,
        json!({ "a": "7", "b": "true", "c": "yes", "d": "7", "e": "ä" }),
    );
    check(
        r#"{ a: "${env:PORT}", b: "x${env:HOST}y", c: "$$${PORT}", d: "^a$", "${env:HOST}": 1 }"#,
        json!({ "a": "4317", "b": "xcollectory", "c": "$4317", "d": "^a$", "${env:HOST}": 1 }),
    );
    check(
        "\n      a: ${env:NUMBER}\n      b: ${env:EMPTY}\n      c: ${env:NONE:-true}\n      d: |\n        ${env:HOST}\n",
        json!({ "a": 123, "b": null, "c": true, "d": "collector\n" }),
    );
    check(
        "{ base: &base { a: 1, b: 2 }, more: &more { c: 3, a: 4 }, one: { <<: *base, b: 5 }, two: { <<: [*base, *more] }, same: *base, \"<<\": 6 }",
        json!({
            "base": { "a": 1, "b": 2 }, "more": { "c": 3, "a": 4 }, "one": { "a": 1, "b": 5 },
            "two": { "a": 1, "b": 2, "c": 3 }, "same": { "a": 1, "b": 2 }, "<<": 6
        }),
    );
}

#[test]
fn the_environment_is_typed_where_it_is_used() {
    let config = good(
        "receivers:
  otlp:
    protocols:
      grpc:
        endpoint: ${env:ADDRESS:-127.0.0.1}:${env:PORT}
        max_recv_msg_size_mib: ${env:NUMBER}
exporters:
  otlp:
    endpoint: ${env:HOST}:${env:PORT}
    tls: { insecure: true }
    timeout: ${env:NONE:-0s}
    headers: { X-Number: \"${env:NUMBER}\" }
  file:
    path: ${env:NUMBER}
service: { pipelines: { logs: { receivers: [otlp], exporters: [otlp, file] } } }
",
    );
    let grpc = grpc(&config, "otlp");
    assert_eq!(grpc.listener.endpoint.value, Address::loopback(4317));
    assert_eq!(grpc.max_recv_msg_size, 123 << 20);
    let otlp = otlp(&config, "otlp");
    let Exporter::File(file) = &config.exporters["file"] else { panic!("{:?}", config.exporters) };
    assert_eq!(endpoints(otlp), ["http://collector:4317"]);
    assert_eq!(otlp.timeout, None);
    assert_eq!(otlp.headers["x-number"], "0123");
    assert_eq!(file.path.value, Path::new("/etc/sluicegate/0123"));
}

#[test]
fn endpoints_to_listen_on() {
    let check = |text: &str, want: &str| {
        let endpoint: Address = text.parse().expect(text);
        assert_eq!(endpoint.to_string(), want);
    };
    check("127.0.0.1:4317", "127.0.0.1:4317");
    check("localhost:0", "localhost:0");
    check("otel-collector.my_space.svc.cluster.local.:65535", "otel-collector.my_space.svc.cluster.local.:65535");
    check("[::1]:4317", "[::1]:4317");
    check("[::]:0", "[::]:0");
    check("0.0.0.0:4317", "0.0.0.0:4317");
    check(":4317", "0.0.0.0:4317");
}

#[test]
fn what_nothing_uses_is_left_out_with_a_warning() {
    let (config, warnings) = parse(
        "receivers: { otlp: { protocols: { grpc: } }, otlp/other: { protocols: { grpc: } } }
processors: { wasm/a: { component: a.wasm } }
exporters: { debug: , file: { path: x } }
extensions: { health_check: }
service: { pipelines: { traces: { receivers: [otlp], exporters: [debug] } } }
",
        "unused.yaml",
    )
    .expect("a configuration");
    check_golden(&folder(), "unused", &warnings);
    assert_eq!(config.receivers.len() + config.processors.len() + config.exporters.len(), 2);
    assert_eq!(config.health_check, None);
}

#[test]
fn what_does_nothing_gives_a_warning() {
    let (config, warnings) = parse(
        "receivers:
  otlp:
    protocols:
      grpc: { max_recv_msg_size_mib: 200 }
      http: { cors: { allowed_headers: [x-tenant] } }
processors:
  wasm/shown: { component: a.wasm, mode: shadow, share: 10% }
  wasm/deciding: { component: a.wasm, shadow: { sample_bodies: true } }
exporters:
  otlp_grpc: { endpoint: \"collector:4317\", metadata_keys: [authorization] }
extensions: { bearertokenauth: { token: \"hunter2\" }, memory_limiter: { limit_mib: 192 } }
service:
  extensions: [bearertokenauth, memory_limiter]
  pipelines:
    logs: { receivers: [otlp], processors: [wasm/shown, wasm/deciding], exporters: [otlp_grpc] }
    traces: { receivers: [otlp], exporters: [otlp_grpc] }
",
        "warnings.yaml",
    )
    .expect("a configuration");
    check_golden(&folder(), "warnings", &warnings);
    assert!(config.authenticators.is_empty());
    assert_eq!(config.receivers["otlp"].http.as_ref().expect("an HTTP listener").cors, None);
}

#[test]
fn what_is_risky_or_changes_nothing_gives_a_warning() {
    let (config, warnings) = parse(
        "receivers:
  otlp:
    protocols:
      grpc: { endpoint: 0.0.0.0:4317, auth: { authenticator: bearertokenauth } }
      http: { endpoint: unix:otlp.sock }
exporters:
  otlp_grpc/plain: { endpoint: \"http://collector:4317\", tls: { insecure: true, ca_file: ca.pem, insecure_skip_verify: false } }
  otlp_grpc/tls: { endpoint: \"https://collector:4317\", tls: { insecure: true, insecure_skip_verify: true } }
  otlp_grpc/loop: { endpoint: \"http://localhost:4317\", retry_on_failure: { initial_interval: 1s } }
  otlp_http/loop: { logs_endpoint: \"https://collector\", endpoint: \"unix:otlp.sock\", tls: { ca_file: ca.pem } }
extensions: { bearertokenauth: { token: \"bearer hunter2\", tokens: [\"Token hunter2\"] } }
service:
  extensions: [bearertokenauth]
  pipelines:
    logs: { receivers: [otlp], exporters: [otlp_grpc/plain, otlp_grpc/tls, otlp_grpc/loop, otlp_http/loop] }
",
        "risky.yaml",
    )
    .expect("a configuration");
    check_golden(&folder(), "risky", &warnings);
    assert!(otlp(&config, "otlp_grpc/tls").tls.insecure_skip_verify);
    assert_eq!(otlp(&config, "otlp_grpc/loop").retry, None, "no queue, no retries unless they are asked for");
    let unix = &config.receivers["otlp"].http.as_ref().expect("an HTTP listener").listener.endpoint;
    assert_eq!(unix.to_string(), "unix:otlp.sock");
}

#[test]
fn later_stages_report_in_the_same_form() {
    let config = good(
        "receivers: { otlp: { protocols: { grpc: } } }
processors:
  wasm/a:\r
\t\x20
    component: a.wasm\r
    settings:\r
      minimum: INF\r
exporters: { debug: }
service: { pipelines: { logs: { receivers: [otlp], processors: [wasm/a], exporters: [debug] } } }
",
    );
    let filter = &config.processors["wasm/a"];
    let mut errors = Diagnostics::from(
        config.diagnostic(filter.component.span, "this is not WebAssembly").help("run `sluicegate filter build`"),
    );
    let error = config.diagnostic(filter.settings.span, "the filter refuses its settings");
    errors.push(error.label("set here").note("unknown severity `INF`"));
    let positions: Vec<_> = errors.iter().map(Diagnostic::position).collect();
    assert_eq!(positions, [(5, 16), (6, 5)]);
    check_golden(&folder(), "later", &errors);
}

/// Pieces that make up configurations, for texts that get past the parser's first complaint.
const PIECES: &[&str] = &[
    "receivers",
    "processors",
    "exporters",
    "extensions",
    "service",
    "pipelines",
    "telemetry",
    "logs",
    "traces",
    "metrics",
    "otlp",
    "protocols",
    "grpc",
    "http",
    "endpoint",
    "endpoints",
    "auth",
    "token",
    "retry_on_failure",
    "basicauth",
    "otlp_http",
    "wasm/a",
    "component",
    "settings",
    "deadline",
    "on_failure",
    "route:a",
    "circuit_breaker",
    "max_interval",
    "mode",
    "share",
    "shadow",
    "routes",
    "health_check",
    "headers",
    "tls",
    ": ",
    ":\n",
    "\n",
    "\n  ",
    "\n    ",
    "\n- ",
    " ",
    "\t",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "&a ",
    "*a",
    "<<: ",
    "*a, ",
    "!!str ",
    "!x ",
    "|\n",
    ">\n",
    "\"",
    "'",
    "#",
    "---\n",
    "...\n",
    "? ",
    "${env:PORT}",
    "${env:NONE}",
    "${",
    "$$",
    "127.0.0.1:4317",
    "http://h:1",
    "http://a:b@c",
    "unix:x",
    "100ms",
    "10%",
    "7",
    "-1.5e3",
    ".inf",
    "~",
    "true",
    "ä",
    "漢",
    "\u{feff}",
    "\r\n",
    "\0",
    "\u{2028}",
];

/// Whatever the text, reading it and showing what is wrong must come to an end.
fn survives(text: &[u8]) {
    match parse(text, "fuzz.yaml") {
        Ok((_, warnings)) => drop(warnings.to_string()),
        Err(errors) => assert!(!errors.to_string().is_empty()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_are_a_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
        survives(&text);
    }

    #[test]
    fn no_text_is_a_panic(text in ".{0,200}") {
        survives(text.as_bytes());
    }

    #[test]
    fn no_pieces_are_a_panic(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)) {
        survives(pieces.concat().as_bytes());
    }

    #[test]
    fn no_slip_in_a_configuration_is_a_panic(at in any::<prop::sample::Index>(), piece in prop::sample::select(PIECES), cut in 0..9_usize) {
        let page = include_str!("../../docs/configuration.md");
        let example = page.split("```").find_map(|block| block.strip_prefix("yaml\n")).expect("an example");
        let mut text = example.as_bytes().to_vec();
        let at = at.index(text.len());
        text.splice(at..(at + cut).min(text.len()), piece.bytes());
        survives(&text);
    }
}
