//! What the settings of OTLP's listeners and destinations mean, and of the extensions that guard them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderName;
use sluicegate::compression::Encoding;
use sluicegate::config::{
    Address, Authenticator, BasicAuth, BearerTokenAuth, ClientKeepalive, ClientTls, Compression, Config, HttpEncoding,
    MemoryLimit, OtlpExporter, Protocol, Retry, Secret, ServerKeepalive, Span, Spanned, TlsVersion,
};
use sluicegate::receive::Signal;

use crate::{endpoints, good, grpc, otlp};

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
        "ca_file: ca, include_system_ca_certs_pool: true, cert_file: a, key_file: b, server_name_override: other, max_version: 1.2",
    );
    assert_eq!(set.ca_file.expect("a file").value, Path::new("/etc/sluicegate/ca"));
    let (cert, key) = set.identity.expect("an identity");
    assert_eq!((cert.value, key.value), ("/etc/sluicegate/a".into(), "/etc/sluicegate/b".into()));
    assert!(set.include_system_ca && !set.insecure_skip_verify);
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
    let silent = with_exporter("otlp_http", "endpoint: \"https://collector\", http2_read_idle_timeout: 0s");
    assert_eq!(otlp(&silent, "otlp_http").keepalive.time, Duration::ZERO);
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
    let level =
        |settings: &str| otlp(&with_exporter("otlp", &format!("endpoint: \"c:1\", {settings}")), "otlp").compression;
    assert_eq!(level("compression_params: { level: -1 }").level, None);
    assert_eq!(level("compression_params: { level: 9 }").level, Some(9));
    assert_eq!(level("compression: none").encoding, None);
    let coalesces = |settings: &str| {
        otlp(&with_exporter("otlp_http", &format!("endpoint: \"http://c\", {settings}")), "otlp_http").coalesce
    };
    assert!(coalesces("coalesce: true") && coalesces("coalesce: true, metadata_keys: []"));
    assert!(!coalesces("coalesce: false, metadata_keys: [authorization]"));
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
    let check = |extensions: &str, started, limit: usize, spike: usize| {
        let read = with_extensions(extensions, started, "").memory_limit;
        assert_eq!(read, MemoryLimit { bytes: limit << 20, spike: spike << 20 }, "{extensions}");
    };
    check("", "", 256, 192);
    for (settings, limit, spike) in [
        ("", 256, 192),
        ("{ limit_mib: 1000 }", 1000, 200),
        ("{ spike_limit_mib: 200 }", 264, 200),
        ("{ limit_mib: 1000, spike_limit_mib: 0 }", 1000, 0),
    ] {
        check(&format!("{{ memory_limiter: {settings} }}"), "memory_limiter", limit, spike);
    }
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
