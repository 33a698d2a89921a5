//! The configuration from outside: every kind of mistake against its golden file, and what right ones mean.
//!
//! The golden files stand in `config`, those of mistakes beside their configurations in `config/bad`. `INSTA_UPDATE=always cargo test --test config`
//! writes them anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderName;
use proptest::prelude::*;
use serde_json::json;
use sluicegate::compression::Encoding;
use sluicegate::config::{
    Address, Authenticator, BasicAuth, BearerTokenAuth, ClientKeepalive, ClientTls, Compression, Config, Diagnostic,
    Diagnostics, Exporter, GrpcListener, HttpEncoding, LogEncoding, OnFailure, OtlpExporter, Protocol, Retry, Secret,
    ServerKeepalive, Span, Spanned, TlsVersion, Verbosity,
};
use sluicegate::receive::Signal;

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
    let filter = &config.processors["wasm/audit"];
    assert_eq!(filter.component.value, Path::new("/etc/sluicegate/filters/audit.wasm"));
    let settings = json!({ "tables": ["orders", "payments"], "route": "audit" });
    assert_eq!(serde_json::Value::from(filter.settings.value.clone()), settings);
    assert_eq!(filter.deadline, Duration::from_millis(250));
    assert_eq!(filter.memory_limit, 128 << 20);
    assert_eq!(filter.on_failure, OnFailure::Pass);
    assert_eq!(filter.max_instances.get(), 2);
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
    assert_eq!(names(&logs.processors), ["wasm/drop-debug", "wasm/audit"]);
    assert_eq!(names(&logs.exporters), ["otlp_grpc/main", "file/kept"]);
    assert_eq!(names(&logs.routes["audit"].exporters), ["otlp_grpc/audit", "debug"]);
    assert!(config.pipelines.traces.is_some() && config.pipelines.metrics.is_some());
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
    assert_eq!(filter.on_failure, OnFailure::Reject);
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

/// Reads a whole configuration whose receiver `otlp` has these protocols.
fn with_protocols(protocols: &str) -> Config {
    good(&format!(
        "receivers: {{ otlp: {{ protocols: {{ {protocols} }} }} }}
exporters: {{ debug: }}
service: {{ pipelines: {{ logs: {{ receivers: [otlp], exporters: [debug] }} }} }}
"
    ))
}

#[test]
fn http_listeners() {
    let http = |settings: &str| {
        let config = with_protocols(&format!("http: {settings}"));
        assert_eq!(config.receivers["otlp"].grpc, None);
        config.receivers["otlp"].http.clone().expect("an HTTP listener")
    };
    let default = http("");
    assert_eq!(default.listener.endpoint.value, Address::loopback(4318));
    assert_eq!(default.max_request_body_size, 64 << 20);
    assert_eq!(default.read_header_timeout, Duration::from_secs(60));
    assert_eq!(default.read_timeout, Some(Duration::from_secs(60)));
    assert_eq!(default.idle_timeout, Some(Duration::from_secs(60)));
    assert!(default.keep_alives && !default.listener.include_metadata);
    assert!(default.cors.is_none() && default.listener.tls.is_none() && default.listener.auth.is_none());
    for signal in Signal::ALL {
        assert_eq!(default.paths[&signal], signal.http_path());
    }

    let set = http(
        "{ endpoint: \":4319\", max_request_body_size: 1000, read_timeout: 0s, idle_timeout: 0s, keep_alives_enabled: false,
           include_metadata: true, response_headers: { X-Served-By: sluicegate }, logs_url_path: otlp/logs,
           cors: { allowed_origins: [\"https://*.Example.com\"], allowed_headers: [\"*\"], exposed_headers: [ETag], max_age: 600 } }",
    );
    assert_eq!(set.listener.endpoint.to_string(), "0.0.0.0:4319");
    assert_eq!(set.max_request_body_size, 1000);
    assert_eq!((set.read_timeout, set.idle_timeout, set.keep_alives), (None, None, false));
    assert!(set.listener.include_metadata);
    assert_eq!(set.response_headers["x-served-by"], "sluicegate");
    assert_eq!((set.paths[&Signal::Logs].as_str(), set.paths[&Signal::Traces].as_str()), ("/otlp/logs", "/v1/traces"));
    let cors = set.cors.expect("a CORS policy");
    assert_eq!(cors.allowed_origins, ["https://*.example.com"]);
    assert_eq!(cors.allowed_headers, ["*"]);
    assert_eq!(cors.exposed_headers, ["etag"]);
    assert_eq!(cors.max_age, Some(Duration::from_secs(600)));
}

#[test]
fn connections_of_grpc_listeners() {
    let config = with_protocols(
        "grpc: { max_concurrent_streams: 7, keepalive: { server_parameters: { time: 1m, max_connection_idle: 0s, max_connection_age: 5m, max_connection_age_grace: 10s } } }, http: ",
    );
    assert!(config.receivers["otlp"].http.is_some());
    let set = grpc(&config, "otlp");
    assert_eq!(set.max_concurrent_streams, 7);
    let keepalive = ServerKeepalive {
        time: Duration::from_secs(60),
        max_connection_age: Some(Duration::from_secs(300)),
        max_connection_age_grace: Some(Duration::from_secs(10)),
        ..ServerKeepalive::default()
    };
    assert_eq!(set.keepalive, keepalive);
    let config = with_protocols("grpc: ");
    let default = grpc(&config, "otlp");
    assert_eq!((default.max_concurrent_streams, &default.keepalive), (1000, &ServerKeepalive::default()));
}

#[test]
fn unix_sockets() {
    let check = |settings: &str, want: &str| {
        let config = with_protocols(&format!("grpc: {{ {settings} }}"));
        let endpoint = &grpc(&config, "otlp").listener.endpoint.value;
        assert_eq!(*endpoint, Address::Unix(want.into()), "{settings}");
        assert_eq!(endpoint.to_string(), format!("unix://{want}"));
    };
    check("endpoint: \"unix:///run/otlp.sock\"", "/run/otlp.sock");
    check("endpoint: \"unix:/run/otlp.sock\"", "/run/otlp.sock");
    check("endpoint: \"unix:run/otlp.sock\"", "/etc/sluicegate/run/otlp.sock");
    check("transport: unix, endpoint: /run/otlp.sock", "/run/otlp.sock");
    check("transport: unix, endpoint: otlp.sock", "/etc/sluicegate/otlp.sock");
    check("transport: unix, endpoint: \"unix:///run/otlp.sock\"", "/run/otlp.sock");
    let config = with_exporter("otlp_grpc", "endpoint: \"unix:otlp.sock\"");
    assert_eq!(endpoints(otlp(&config, "otlp_grpc")), ["unix:///etc/sluicegate/otlp.sock"]);
}

#[test]
fn tls() {
    let listener = |settings: &str| {
        let config = with_protocols(&format!("grpc: {{ tls: {{ {settings} }} }}"));
        grpc(&config, "otlp").listener.tls.clone().expect("TLS")
    };
    let least = listener("cert_file: cert.pem, key_file: /keys/key.pem");
    assert_eq!(least.cert_file.value, Path::new("/etc/sluicegate/cert.pem"));
    assert_eq!(least.key_file.value, Path::new("/keys/key.pem"));
    assert_eq!((least.min_version, least.max_version), (TlsVersion::V1_2, TlsVersion::V1_3));
    assert!(least.client_ca_file.is_none() && least.reload_interval.is_none());
    let most = listener(
        "cert_file: a, key_file: b, client_ca_file: c, min_version: 1.3, max_version: \"1.3\", reload_interval: 24h",
    );
    assert_eq!((most.min_version, most.max_version), (TlsVersion::V1_3, TlsVersion::V1_3));
    assert_eq!(most.client_ca_file.expect("a file").value, Path::new("/etc/sluicegate/c"));
    assert_eq!(most.reload_interval, Some(Duration::from_secs(24 * 60 * 60)));

    let exporter = |settings: &str| {
        let config = with_exporter("otlp_http", &format!("endpoint: \"https://collector\", tls: {{ {settings} }}"));
        otlp(&config, "otlp_http").tls.clone()
    };
    assert_eq!(exporter(""), ClientTls::default());
    let set = exporter(
        "ca_file: ca, include_system_ca_certs_pool: true, cert_file: a, key_file: b, insecure_skip_verify: true, server_name_override: other, max_version: 1.2",
    );
    assert_eq!(set.ca_file.expect("a file").value, Path::new("/etc/sluicegate/ca"));
    let (cert, key) = set.identity.expect("an identity");
    assert_eq!((cert.value, key.value), ("/etc/sluicegate/a".into(), "/etc/sluicegate/b".into()));
    assert!(set.include_system_ca && set.insecure_skip_verify);
    assert_eq!(set.server_name_override.as_deref(), Some("other"));
    assert_eq!(set.max_version, TlsVersion::V1_2);
}

/// Reads a whole configuration whose one exporter, of type `of`, has these settings.
fn with_exporter(of: &str, settings: &str) -> Config {
    good(&format!(
        "receivers: {{ otlp: {{ protocols: {{ grpc: {{ include_metadata: true }} }} }} }}
exporters: {{ {of}: {{ {settings} }} }}
service: {{ pipelines: {{ logs: {{ receivers: [otlp], exporters: [{of}] }} }} }}
"
    ))
}

#[test]
fn destinations() {
    let check = |of: &str, settings: &str, want: &[&str]| {
        let config = with_exporter(of, settings);
        assert_eq!(endpoints(otlp(&config, of)), want, "{settings}");
    };
    check("otlp_grpc", "endpoint: \"https://collector:4317/\"", &["https://collector:4317"]);
    check("otlp_grpc", "endpoint: collector:4317", &["https://collector:4317"]);
    check("otlp", "endpoint: collector:4317, tls: { insecure: false }", &["https://collector:4317"]);
    check("otlp", "endpoint: \"dns:///collector:4317\", tls: { insecure: true }", &["http://collector:4317"]);
    check("otlp", "endpoints: [\"a:1\", \"http://b:1\"]", &["https://a:1", "http://b:1"]);
    check("otlp_http", "endpoint: \"http://collector:4318\"", &["http://collector:4318"]);
    check("otlphttp", "endpoint: \"https://collector/otlp/\"", &["https://collector:443/otlp"]);
    check("otlp_http", "endpoint: \"http://[::1]\"", &["http://[::1]:80"]);
    check("otlp_http", "endpoints: [\"http://a/\", \"http://b/x/y\"]", &["http://a:80", "http://b:80/x/y"]);
    check("otlp_http", "logs_endpoint: \"http://collector\"", &[]);
}

#[test]
fn settings_of_otlp_http() {
    let config = with_exporter(
        "otlp_http",
        "endpoint: \"https://collector\", encoding: json, logs_endpoint: \"http://logs/in/\", traces_endpoint: \"https://traces\",
         http2_read_idle_timeout: 1m, headers: { authorization: \"Bearer ${env:TOKEN}\", x-bin: AA }",
    );
    let exporter = otlp(&config, "otlp_http");
    let Protocol::Http { encoding: HttpEncoding::Json, overrides } = &exporter.protocol else { panic!("{exporter:?}") };
    let urls: Vec<_> = overrides.iter().map(|(signal, url)| format!("{signal} {}", url.value)).collect();
    assert_eq!(urls, ["logs http://logs:80/in/", "traces https://traces:443/"]);
    assert_eq!(exporter.keepalive.time, Duration::from_secs(60));
    assert_eq!(exporter.headers["authorization"], "Bearer hunter2");
    assert!(!format!("{exporter:?}").contains("hunter2"), "headers may be secrets");
    let default = with_exporter("otlp_http", "endpoint: \"https://collector\"");
    let want = OtlpExporter::new(
        Protocol::Http { encoding: HttpEncoding::Proto, overrides: BTreeMap::new() },
        otlp(&default, "otlp_http").endpoints[0].clone(),
    );
    assert_eq!(*otlp(&default, "otlp_http"), want);
}

#[test]
fn settings_of_both_otlp_exporters() {
    let config = with_exporter(
        "otlp_grpc",
        "endpoint: \"collector:4317\", compression: zstd, compression_params: { level: 19 }, balancer_name: round_robin,
         metadata_keys: [Authorization, x-tenant], keepalive: { time: 30s, timeout: 5s, permit_without_stream: true },
         retry_on_failure: { enabled: true, initial_interval: 100ms, max_elapsed_time: 0s }",
    );
    let exporter = otlp(&config, "otlp_grpc");
    assert_eq!(exporter.compression, Compression { encoding: Some(Encoding::Zstd), level: Some(19) });
    assert_eq!(exporter.metadata_keys, ["authorization", "x-tenant"]);
    let (time, timeout) = (Duration::from_secs(30), Duration::from_secs(5));
    assert_eq!(exporter.keepalive, ClientKeepalive { time, timeout, permit_without_stream: true });
    let retry = Retry { initial_interval: Duration::from_millis(100), max_elapsed_time: None, ..Retry::default() };
    assert_eq!(exporter.retry, Some(retry));

    let retry = |settings: &str| {
        let config = with_exporter("otlp_http", &format!("endpoint: \"http://c\", retry_on_failure: {{ {settings} }}"));
        otlp(&config, "otlp_http").retry.clone()
    };
    assert_eq!(retry("enabled: true"), Some(Retry::default()));
    assert_eq!(retry("enabled: false, multiplier: 2"), None);
    assert_eq!(retry("multiplier: 2"), None, "no queue, no retries unless they are asked for");
    let level =
        |settings: &str| otlp(&with_exporter("otlp", &format!("endpoint: \"c:1\", {settings}")), "otlp").compression;
    assert_eq!(level("compression_params: { level: -1 }").level, None);
    assert_eq!(level("compression_params: { level: 9 }").level, Some(9));
    assert_eq!(level("compression: none").encoding, None);
}

/// Reads a whole configuration with these extensions, of which `started` are started, and the receiver asks `auth`.
fn with_extensions(extensions: &str, started: &str, auth: &str) -> Config {
    good(&format!(
        "receivers: {{ otlp: {{ protocols: {{ grpc: {{ {auth} }} }} }} }}
exporters: {{ debug: }}
extensions: {extensions}
service: {{ extensions: [{started}], pipelines: {{ logs: {{ receivers: [otlp], exporters: [debug] }} }} }}
"
    ))
}

#[test]
fn authenticators() {
    let check = |name: &str, settings: &str, want: Authenticator| {
        let auth = format!("auth: {{ authenticator: {name} }}");
        let config = with_extensions(&format!("{{ {name}: {settings} }}"), name, &auth);
        let asked = grpc(&config, "otlp").listener.auth.as_ref().expect("an authenticator");
        assert_eq!(asked.value, name);
        // Spans say nothing about meaning, and texts tell more than debug output, which hides them.
        let (found, want) = (meaning(&config.authenticators[name]), meaning(&want));
        assert_eq!(found, want, "{settings}");
        assert!(!format!("{:?}", config.authenticators).contains("hunter2"), "tokens are secrets");
    };
    let bearer = |header, scheme: &str, tokens: &[&str], file: Option<&str>| {
        Authenticator::Bearer(BearerTokenAuth {
            header: HeaderName::from_static(header),
            scheme: scheme.to_owned(),
            tokens: tokens.iter().map(|token| Secret((*token).to_owned())).collect(),
            file: file.map(|file| Spanned::new(file.into(), Span::default())),
        })
    };
    let name = "bearertokenauth";
    check(name, "{ token: \"${env:TOKEN}\" }", bearer("authorization", "Bearer", &["hunter2"], None));
    check(name, "{ token: \"${env:SECRET}\" }", bearer("authorization", "Bearer", &["hunter2"], None));
    check(name, "{ tokens: [a, b], token: c }", bearer("authorization", "Bearer", &["a", "b", "c"], None));
    check(
        "bearertokenauth/file",
        "{ filename: tokens, header: X-Api-Key, scheme: \"\" }",
        bearer("x-api-key", "", &[], Some("/etc/sluicegate/tokens")),
    );
    let basic = |inline: Option<&str>, file: Option<&str>| {
        Authenticator::Basic(BasicAuth {
            inline: inline.map(|inline| Spanned::new(Secret(inline.to_owned()), Span::default())),
            file: file.map(|file| Spanned::new(file.into(), Span::default())),
        })
    };
    check("basicauth", "{ htpasswd: { inline: \"me:hunter2\" } }", basic(Some("me:hunter2"), None));
    check("basicauth/a", "{ htpasswd: { file: .htpasswd } }", basic(None, Some("/etc/sluicegate/.htpasswd")));
}

/// What an authenticator is configured with, secrets in the open and without spans.
fn meaning(authenticator: &Authenticator) -> Vec<String> {
    let path = |file: &Option<Spanned<PathBuf>>| format!("{:?}", file.as_ref().map(|file| &file.value));
    match authenticator {
        Authenticator::Bearer(BearerTokenAuth { header, scheme, tokens, file }) => {
            let tokens = tokens.iter().map(|token| token.0.clone());
            [header.to_string(), scheme.clone(), path(file)].into_iter().chain(tokens).collect()
        }
        Authenticator::Basic(BasicAuth { inline, file }) => {
            vec![format!("{:?}", inline.as_ref().map(|inline| &inline.value.0)), path(file)]
        }
    }
}

#[test]
fn memory_limits() {
    let limit = |extensions, started| with_extensions(extensions, started, "").memory_limit;
    assert_eq!(limit("", ""), 512 << 20);
    assert_eq!(limit("{ memory_limiter: }", "memory_limiter"), 512 << 20);
    assert_eq!(limit("{ memory_limiter: { limit_mib: 1000 } }", "memory_limiter"), 1000 << 20);
}

#[test]
fn every_signal_has_a_pipeline() {
    let config = good(
        "receivers: { otlp: { protocols: { http: } } }
exporters: { otlp_http: { profiles_endpoint: \"http://collector/profiles\" } }
service: { pipelines: { profiles: { receivers: [otlp], exporters: [otlp_http] } } }
",
    );
    let profiles = config.pipelines.profiles.expect("a pipeline for profiles");
    assert_eq!((profiles.receivers[0].as_str(), profiles.exporters[0].as_str()), ("otlp", "otlp_http"));
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
exporters:
  otlp_grpc: { endpoint: \"collector:4317\", metadata_keys: [authorization] }
extensions: { bearertokenauth: { token: \"hunter2\" }, memory_limiter: { limit_mib: 192 } }
service:
  extensions: [bearertokenauth, memory_limiter]
  pipelines:
    logs: { receivers: [otlp], exporters: [otlp_grpc] }
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
