//! Shadows: they see copies of records, say what they would do, and neither change, delay nor lose anything.
use opentelemetry_proto::tonic::{collector::logs::v1::ExportLogsServiceRequest, logs::v1::LogRecord};
use prost::Message as _;
use sluicegate_tests::{
    config::Config,
    metrics::{Accounts, Page},
    otlp,
    program::{self, Sluicegate},
    sink::Sink,
    until,
    wire::Signal,
};

const SHADOW: [(&str, &str); 1] = [("processor", "wasm/shadow")];

/// Ten records of ten severities, from DEBUG4 (8) to ERROR (17).
fn ten() -> ExportLogsServiceRequest {
    otlp::request((8..18).map(|severity| otlp::record(severity, &format!("severity {severity}"))))
}

/// The keys of a shadow over `filter`.
fn shadow(filter: &str, settings: &str, more: &str) -> String {
    let component = sluicegate_tests::component(filter);
    format!("component: {component:?}, settings: {settings}, mode: shadow, {more}")
}

/// The page, once the shadow was shown so many records.
async fn shown(sluicegate: &Sluicegate, records: u64) -> Page {
    let mut page = None;
    until("the shadow to be shown all records", async || {
        let read = sluicegate.page().await.expect("a page of metrics");
        let incoming = read.sum("shadow_incoming_log_records", &SHADOW);
        page = Some(read);
        incoming >= records
    })
    .await;
    page.expect("it was read")
}

/// A shadow like this counts so much of that, and every record arrives as it came.
async fn check(filter: &str, settings: &str, more: &str, metric: &str, label: (&str, &str), expected: u64) {
    const REQUESTS: usize = 3;
    let what = format!("{filter} with {settings}");
    let sink = Sink::start();
    let config = Config::to(&sink.endpoint()).processor("wasm/shadow", &shadow(filter, settings, more));
    let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    let sender = sluicegate.sender();
    // Its last field is none of OTLP's.
    let request = [&*ten().encode_to_vec(), b"\xaa\x06\x03odd"].concat();
    for _ in 0..REQUESTS {
        let answer = sender.send(Signal::Logs, request.clone()).await;
        assert!(answer.unwrap_or_else(|status| panic!("{what}: {status:?}")).is_empty(), "{what}: all is well");
    }
    let page = shown(&sluicegate, 10 * REQUESTS as u64).await;
    assert_eq!(page.sum(metric, &[SHADOW[0], label]), expected, "{what}: {page:?}");
    assert_eq!(page.sum("shadow_skipped_log_records", &SHADOW), 0, "{what}");
    assert_eq!(page.sum("filter_failures", &[]), 0, "{what}");
    assert_eq!(page.accounts(), Accounts { accepted: 30, forwarded: 30, refused: 0, dropped: 0, sent: 30 }, "{what}");
    let arrived = sink.taken();
    assert_eq!(arrived.len(), REQUESTS, "{what}");
    assert!(arrived.iter().all(|received| received.body == request), "{what}: byte for byte");
    let ended = sluicegate.stop().await.expect("it stops");
    assert_eq!(ended.code, Some(0), "{what}: {}", ended.log);
}

#[tokio::test]
async fn whatever_a_shadow_does_every_record_arrives_as_it_came() {
    // A call may have to wait for its turn on a machine that runs tests.
    let patient = "deadline: 30s";
    let drops = ("reason", "below minimum severity");
    check("drop_below_severity", "{ minimum: FATAL }", patient, "shadow_dropped_log_records", drops, 30).await;
    let changes = ("field", "attribute(\"a\")");
    check("observe", "{ set: { a: b } }", patient, "shadow_changed_log_records", changes, 30).await;
    for (how, more, kind) in [
        ("panic", patient, "trap"),
        ("stack_overflow", patient, "trap"),
        ("loop", "deadline: 100ms", "deadline"),
        ("grow_memory", patient, "memory"),
        ("refuse", patient, "refused"),
    ] {
        check("trap", &format!("{{ how: {how} }}"), more, "shadow_failures", ("kind", kind), 3).await;
    }
}

#[tokio::test]
async fn nobody_waits_for_a_shadow_that_loops() {
    const REQUESTS: usize = 40;
    let sink = Sink::start();
    let keys = shadow("trap", "{ how: loop }", "deadline: 60s, shadow: { queue_mib: 1 }");
    let config = Config::to(&sink.endpoint()).processor("wasm/shadow", &keys);
    let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    let sender = sluicegate.sender();
    let filling = otlp::attribute("filling", &"x".repeat(100 << 10));
    let record = LogRecord { attributes: vec![filling], ..otlp::record(9, "large") };
    for _ in 0..REQUESTS {
        sender.send_logs(&otlp::request([record.clone()])).await.expect("it is taken");
    }
    assert_eq!(otlp::count(&sink.logs()), REQUESTS);
    let page = sluicegate.page().await.expect("a page of metrics");
    assert_eq!(page.sum("shadow_incoming_log_records", &SHADOW), 0, "the first call goes on: {page:?}");
    let skipped = page.sum("shadow_skipped_log_records", &SHADOW) as usize;
    assert!((REQUESTS - 10..REQUESTS).contains(&skipped), "a queue of a mebibyte takes about ten: {skipped}");
    let ended = sluicegate.stop().await.expect("it stops");
    assert_eq!(ended.code, Some(0), "{}", ended.log);
}

#[tokio::test]
async fn a_shadow_sees_what_the_filters_before_it_left_and_describes_what_it_would_do() {
    let sink = Sink::start();
    let keys = shadow("drop_below_severity", "{ minimum: ERROR }", "deadline: 30s");
    let config = Config::to(&sink.endpoint())
        .filter("drop_below_severity", "settings: { minimum: INFO }")
        .processor("wasm/shadow", &keys)
        .filter("observe", "settings: { drop_every: 3 }");
    let mut sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    sluicegate.sender().send_logs(&ten()).await.expect("it is taken");
    // Nine come to it, of which one is an error; three of nine are dropped behind it.
    assert_eq!(otlp::count(&sink.logs()), 6);
    let page = shown(&sluicegate, 9).await;
    assert_eq!(page.sum("shadow_dropped_log_records", &SHADOW), 8);
    assert_eq!(page.accounts(), Accounts { accepted: 10, forwarded: 6, refused: 0, dropped: 4, sent: 6 });
    let described = |line: &str| line.contains("would drop a record").then(|| line.to_owned());
    let line = sluicegate.process().wait_for_line(described).await.expect("a description");
    for part in ["below minimum severity", "wasm/shadow", "\"service_name\":\"shop\"", "\"severity_number\":9"] {
        assert!(line.contains(part), "{line}");
    }
    assert!(!line.contains("severity 9"), "bodies may be personal: {line}");
}

#[tokio::test]
async fn the_routes_of_a_shadow_have_to_be_there() {
    let settings = "{ rules: [{ if: { field: severity_number, at_least: ERROR }, route: critical }] }";
    let config = Config::to("http://127.0.0.1:1").processor("wasm/shadow", &shadow("route", settings, ""));
    let (_folder, file) = program::write(&config.yaml()).expect("a file");
    let file = file.to_str().expect("a path in UTF-8");
    let ended = program::sluicegate(&["validate", "--config", file]).await.expect("it runs");
    assert_eq!(ended.code, Some(2), "{}", ended.log);
    assert!(ended.log.contains("\"critical\""), "{}", ended.log);
}
