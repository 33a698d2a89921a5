use super::*;

fn address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Every place for a value has one.
fn check(text: &str) {
    assert!(!text.contains('@') || text.contains("@%40"), "{text}");
}

#[test]
fn nginx_is_told_where() {
    let text = nginx_configuration(address(4317), address(14317), Path::new("/tmp/folder"));
    assert!(text.contains("listen 127.0.0.1:4317 http2;"), "{text}");
    assert!(text.contains("server 127.0.0.1:14317;"), "{text}");
    assert!(text.contains("pid /tmp/folder/nginx.pid;"), "{text}");
    check(&text);
}

#[test]
fn the_collector_is_told_where_and_how() {
    for work in [Work::PassThrough, Work::Severity, Work::Redact, Work::Policy] {
        let text = collector_configuration(work, Compression::Gzip, address(4317), address(14317));
        assert!(text.contains(r#"grpc: { endpoint: "127.0.0.1:4317""#), "{text}");
        let exporters = text.matches(r#"endpoint: "127.0.0.1:14317""#).count();
        assert_eq!(exporters, if work == Work::Policy { 4 } else { 1 }, "{text}");
        assert_eq!(text.matches("compression: gzip").count(), exporters, "{text}");
        assert_eq!(text.matches("sending_queue: { enabled: false }").count(), exporters, "{text}");
        for place in ["@LISTEN@", "@SINK@", "@COMPRESSION@"] {
            assert!(!text.contains(place), "{text}");
        }
    }
}

#[test]
fn rotel_is_told_where() {
    let arguments = rotel_arguments(address(4317), address(4318), address(14317), Path::new("/tmp/folder")).join(" ");
    let expected = "start --otlp-grpc-endpoint 127.0.0.1:4317 --otlp-http-endpoint 127.0.0.1:4318 \
                    --otlp-grpc-max-recv-msg-size-mib 64 --exporter otlp \
                    --otlp-exporter-endpoint http://127.0.0.1:14317 --otlp-exporter-protocol grpc \
                    --otlp-exporter-compression gzip --pid-file /tmp/folder/rotel.pid --log-file /tmp/folder/rotel.log";
    assert_eq!(arguments, expected);
}

#[test]
fn a_chain_has_as_many_filters_as_it_says() {
    let text = sluicegate_configuration(Work::Chain(3), Compression::None);
    assert_eq!(text.matches("drop_below_severity.wasm").count(), 3, "{text}");
    assert!(text.contains("processors: [wasm/1, wasm/2, wasm/3]"), "{text}");
    check(&text);
}

#[test]
fn sluicegate_compresses_as_it_is_told() {
    for work in [Work::PassThrough, Work::Severity, Work::Attribute, Work::Redact, Work::Policy, Work::Chain(1)] {
        let text = sluicegate_configuration(work, Compression::Gzip);
        assert!(text.contains(r#"compression: "gzip""#) && !text.contains("SLUICEGATE_COMPRESSION"), "{text}");
    }
}
