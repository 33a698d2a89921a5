//! Records that make a filter fail: each costs itself alone, and is treated as configured.
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceRequest};
use sluicegate_tests::{
    config::{Config, otlp as exporter},
    metrics::{Accounts, Page},
    otlp,
    program::Sluicegate,
    sink::Sink,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

const RECORDS: usize = 8000;

/// The body of a record that makes the filter fail.
const POISON: &str = "poison";

/// What a filter may do on a record, and the kind of failure that this is.
const WAYS: [(&str, &str); 6] = [
    ("panic", "trap"),
    ("stack_overflow", "trap"),
    ("loop", "deadline"),
    ("grow_memory", "memory"),
    ("garbage", "invalid_output"),
    ("refuse", "refused"),
];

/// A configuration whose filter fails on poison in the way `how`. What is routed to `aside` goes to its own sink.
fn failing(how: &str, keys: &str, [main, aside]: [&Sink; 2]) -> Config {
    // Long enough for all ways but the loop, which never ends, and then for sound calls on a busy machine.
    let deadline = if how == "loop" { "300ms" } else { "30s" };
    let trap = format!("settings: {{ how: {how}, body: {POISON} }}, deadline: {deadline}, {keys}");
    Config::to(&main.endpoint())
        .filter("drop_below_severity", "settings: { minimum: INFO }")
        .filter("trap", &trap)
        .exporter("otlp_grpc/aside", &exporter(&aside.endpoint()))
        .route("aside", "otlp_grpc/aside")
}

/// A request of so many records, of which those at `poison` make the filter fail.
fn request(records: usize, poison: &[usize]) -> ExportLogsServiceRequest {
    let record = |row| otlp::record(9, if poison.contains(&row) { POISON } else { "sound" });
    otlp::request((0..records).map(record))
}

/// How many records a sink took, and how many of them are poison.
fn taken(sink: &Sink) -> (usize, usize) {
    let rows = otlp::rows(&sink.logs());
    let poison = rows.iter().filter(|row| row.record.body == Some(otlp::text(POISON))).count();
    (rows.len(), poison)
}

fn treated(page: &Page, kind: &str, on_failure: &str) -> u64 {
    page.sum("filter_failed_log_records", &[("processor", "wasm/trap"), ("kind", kind), ("on_failure", on_failure)])
}

#[tokio::test]
async fn one_record_among_thousands_costs_itself_alone() {
    for (how, kind) in WAYS {
        check_alone(how, kind, "reject", [RECORDS - 1, 0], 0, 0).await;
    }
    for (treatment, main, aside, poison) in [
        ("pass", RECORDS, 0, 1),
        ("drop", RECORDS - 1, 0, 0),
        ("route:aside", RECORDS - 1, 1, 1),
        ("{ default: reject, trap: drop }", RECORDS - 1, 0, 0),
    ] {
        check_alone("panic", "trap", treatment, [main, aside], poison, 1).await;
    }
}

async fn check_alone(how: &str, kind: &str, on_failure: &str, sent: [usize; 2], poison: usize, accepted: u64) {
    let what = format!("{how}, on_failure: {on_failure}");
    let (main, aside) = (Sink::start(), Sink::start());
    let config = failing(how, &format!("on_failure: {on_failure}"), [&main, &aside]);
    let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    // Half of this wait may be spent on telling records apart.
    let sender = sluicegate.sender().waiting(Duration::from_secs(120));
    let answer = sender.send_logs(&request(RECORDS, &[RECORDS / 3])).await;
    let partial = answer.unwrap_or_else(|status| panic!("{what}: {status:?}")).partial_success;
    if accepted == 1 {
        assert_eq!(partial, None, "{what}");
    } else {
        let ExportLogsPartialSuccess { rejected_log_records, error_message } = partial.expect("one is refused");
        assert_eq!(rejected_log_records, 1, "{what}: {error_message}");
        assert!(error_message.starts_with("processor wasm/trap: the filter"), "{what}: {error_message}");
    }
    let (in_main, in_aside) = (taken(&main), taken(&aside));
    assert_eq!([in_main.0, in_aside.0], sent, "{what}");
    assert_eq!(in_main.1 + in_aside.1, poison, "{what}");

    let page = sluicegate.page().await.expect("a page of metrics");
    let word = ["reject", "pass", "drop", "route"].into_iter().find(|word| treated(&page, kind, word) == 1);
    let expected = if on_failure.contains("drop") { "drop" } else { on_failure.split(':').next().unwrap_or_default() };
    assert_eq!(word, Some(expected), "{what}: {page:?}");
    let accounts = page.accounts();
    let refused = 1 - accepted;
    assert_eq!((accounts.accepted, accounts.refused), (RECORDS as u64 - refused, refused), "{what}");
    assert!(accounts.balance(), "{what}: {accounts:?}");
    let failures = page.sum("filter_failures", &[("processor", "wasm/trap"), ("kind", kind)]);
    assert!((2..=32).contains(&failures), "{what}: {failures} calls failed on the way to one record");
}

#[tokio::test]
async fn several_are_told_apart_and_too_many_are_not() {
    let (main, aside) = (Sink::start(), Sink::start());
    let config = failing("panic", "on_failure: drop, circuit_breaker: { enabled: false }", [&main, &aside]);
    let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    let sender = sluicegate.sender();
    let few: Vec<usize> = (0..RECORDS).step_by(RECORDS / 20).chain([3000, 3001, RECORDS - 1]).collect();
    sender.send_logs(&request(RECORDS, &few)).await.expect("all others are good");
    assert_eq!(taken(&main), (RECORDS - few.len(), 0));

    // Every tenth: what could not be told apart is treated like them, and no poison passes.
    let poison: Vec<usize> = (0..RECORDS).step_by(10).collect();
    sender.send_logs(&request(RECORDS, &poison)).await.expect("what is treated is acknowledged");
    let (more, none) = taken(&main);
    assert!(more > RECORDS - few.len() && none == 0, "{more}, {none}");
    let page = sluicegate.page().await.expect("a page of metrics");
    let accounts = page.accounts();
    assert!(accounts.balance() && accounts.accepted == 2 * RECORDS as u64, "{accounts:?}");
    assert_eq!(accounts.dropped, treated(&page, "trap", "drop"));
    let failures = page.sum("filter_failures", &[]);
    assert!(failures <= 2 * 512 + 32, "{failures} calls");
}

#[tokio::test]
async fn what_can_not_be_told_apart_is_left_with_its_sender() {
    let (main, aside) = (Sink::start(), Sink::start());
    let config = failing("panic", "on_failure: reject, circuit_breaker: { enabled: false }", [&main, &aside]);
    let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    let sender = sluicegate.sender();
    let poison: Vec<usize> = (0..RECORDS).step_by(10).collect();
    for (what, request) in [("many", request(RECORDS, &poison)), ("one alone", request(1, &[0]))] {
        let status = sender.send_logs(&request).await.expect_err(what);
        assert_eq!(status.code(), Code::Unavailable, "{what}: {status:?}");
        assert!(status.message().contains("wasm/trap"), "{what}: {status:?}");
        assert!(status.get_details_retry_info().is_some(), "{what}: {status:?}");
    }
    assert_eq!(taken(&main).0, 0);
    let accounts = sluicegate.page().await.expect("a page of metrics").accounts();
    assert_eq!(accounts, Accounts { refused: RECORDS as u64 + 1, ..Accounts::default() });
}

#[tokio::test]
async fn a_large_request_is_shown_in_parts() {
    let (main, aside) = (Sink::start(), Sink::start());
    let config = failing("panic", "on_failure: drop, max_rows: 100", [&main, &aside]);
    let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    sluicegate.sender().send_logs(&request(1050, &[1049])).await.expect("the others are good");
    assert_eq!(taken(&main), (1049, 0));
    let page = sluicegate.page().await.expect("a page of metrics");
    // A part of fifty with one record that is poison: six halvings at the most.
    let failures = page.sum("filter_failures", &[]);
    assert!((2..=8).contains(&failures), "{failures}");
}

#[tokio::test]
async fn a_filter_that_keeps_failing_is_left_alone_and_tried_again() {
    let (main, aside) = (Sink::start(), Sink::start());
    let breaker = "circuit_breaker: { threshold: 3, initial_interval: 200ms, max_interval: 400ms }";
    let config = failing("panic", &format!("on_failure: reject, {breaker}"), [&main, &aside]);
    let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    let sender = sluicegate.sender();
    let failures = async || {
        let page = sluicegate.page().await.expect("a page of metrics");
        (page.sum("filter_failures", &[]), page.gauge("filter_circuit_open"))
    };
    let is_left_alone = async || {
        let before = failures().await.0;
        let status: Status = sender.send_logs(&request(1, &[0])).await.expect_err("rejected");
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        failures().await.0 == before
    };
    for _ in 0..3 {
        assert!(!is_left_alone().await);
    }
    assert_eq!(failures().await.1, 1, "it is open");
    // Sooner or later a sound batch is the trial, and from then on everything runs again.
    let mut refused = 0;
    while let Err(status) = sender.send_logs(&request(10, &[])).await {
        assert!(status.get_details_retry_info().is_some(), "{status:?}");
        refused += 1;
        tokio::task::yield_now().await;
    }
    assert!(refused > 0, "it was left alone for a while");
    assert_eq!(failures().await.1, 0, "it is closed");
    assert!(!is_left_alone().await);
    assert_eq!(taken(&main), (10, 0));
}

#[tokio::test]
async fn a_share_of_the_records_is_filtered() {
    let main = Sink::start();
    let filter = "settings: { minimum: FATAL }, share: 25%";
    let config = Config::to(&main.endpoint()).filter("drop_below_severity", filter);
    let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    let sender = sluicegate.sender();
    let mut sent = request(RECORDS, &[]);
    let records = &mut sent.resource_logs[0].scope_logs[0].log_records;
    for (row, record) in records.iter_mut().enumerate() {
        // Eight records a trace.
        record.trace_id = (row as u128 / 8 + 1).to_be_bytes().to_vec();
        record.time_unix_nano += row as u64;
    }
    sender.send_logs(&sent).await.expect("all is well");
    let left = otlp::rows(&main.logs());
    assert!((RECORDS * 6 / 10..RECORDS * 9 / 10).contains(&left.len()), "{} of {RECORDS} are about 75 %", left.len());
    for trace in left.chunk_by(|one, other| one.record.trace_id == other.record.trace_id) {
        assert_eq!(trace.len(), 8, "a trace stays together");
    }
    sender.send_logs(&sent).await.expect("all is well");
    assert_eq!(otlp::count(&main.logs()), 2 * left.len(), "what is sent again falls on the same side");
    let accounts = sluicegate.page().await.expect("a page of metrics").accounts();
    assert!(accounts.balance(), "{accounts:?}");
}
