use super::*;

/// The page without its comments.
fn page(metrics: &Metrics) -> Vec<String> {
    let mut lines: Vec<_> = metrics
        .handle
        .render()
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}

#[test]
fn names_and_labels_are_the_documented_ones() {
    let metrics = Metrics::new();
    let receiver = metrics.receiver("otlp", "grpc");
    receiver.received(4);
    receiver.accepted(3);
    receiver.forwarded(2);
    receiver.refused(1);
    let listener = metrics.listener("otlp", "grpc");
    listener.refused("unauthenticated");
    listener.failed_handshake();
    metrics.in_flight_bytes(1000);
    let processor = metrics.processor("wasm/redact");
    processor.incoming(10);
    processor.outgoing(9);
    processor.dropped("line\n\"noise\"", 1);
    processor.routed("audit", 2);
    processor.changed(4);
    processor.failed("trap");
    metrics.suppressed_log_lines("wasm/redact").increment(8);
    processor.treated("trap", "drop", 3);
    processor.circuit(true);
    processor.duration(Duration::from_micros(30));
    let shadow = metrics.shadow("wasm/tried");
    shadow.incoming(10);
    shadow.skipped(3);
    shadow.dropped("noise", 1);
    shadow.routed("audit", 2);
    shadow.changed("attribute(\"user.email\")", 4);
    shadow.failed("trap");
    shadow.duration(Duration::from_micros(30));
    let exporter = metrics.exporter("otlp_grpc/main");
    exporter.sent(5);
    exporter.failed(6);
    exporter.duplicated(7);
    let _in_flight = exporter.start();
    insta::assert_snapshot!(page(&metrics).join("\n"));
}

/// A configuration with the same processor in it would multiply the series and what they take, if each had a limit of
/// its own.
#[test]
fn all_generations_of_a_processor_share_one_limit() {
    let metrics = Metrics::new();
    for generation in 0..10 {
        let processor = metrics.processor("wasm/noisy");
        for n in 0..50 {
            processor.dropped(&format!("reason {generation}.{n}"), 1);
        }
    }
    let page = page(&metrics);
    assert_eq!(page.iter().filter(|line| line.contains("filter_dropped")).count(), 101);
    assert!(page.iter().any(|line| line.ends_with("reason=\"other\"} 400")));
}

#[test]
fn a_request_is_in_flight_until_it_is_dropped() {
    let metrics = Metrics::new();
    let exporter = metrics.exporter("file");
    let in_flight = |n: u32| format!("sluicegate_exporter_in_flight_requests{{exporter=\"file\"}} {n}");
    let (first, second) = (exporter.start(), exporter.start());
    assert!(page(&metrics).contains(&in_flight(2)));
    drop((first, second));
    assert!(page(&metrics).contains(&in_flight(0)));
}

#[test]
fn reasons_are_limited_in_number_and_length() {
    let metrics = Metrics::new();
    let processor = metrics.processor("wasm/noisy");
    for n in 0..1000 {
        processor.dropped(&format!("reason {n}"), 1);
    }
    processor.dropped(&"é".repeat(5000), 1);
    let page = page(&metrics);
    let dropped: Vec<_> = page.iter().filter(|line| line.contains("filter_dropped")).collect();
    assert_eq!(dropped.len(), 101);
    assert!(dropped.iter().any(|line| line.ends_with("reason=\"other\"} 901")), "{dropped:?}");

    let processor = metrics.processor("wasm/wordy");
    processor.dropped(&"é".repeat(5000), 1);
    assert!(metrics.render().contains(&format!("reason=\"{}\"", "é".repeat(100))));
}

#[test]
fn two_instances_do_not_mix() {
    let (one, other) = (Metrics::new(), Metrics::new());
    one.exporter("file").sent(1);
    other.exporter("file").sent(2);
    assert!(page(&one).iter().any(|line| line.ends_with("sent_log_records_total{exporter=\"file\"} 1")));
}
