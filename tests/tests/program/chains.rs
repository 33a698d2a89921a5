//! Chains of filters: what they drop, what becomes of a request when one fails, and that every record is accounted for.
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use sluicegate_tests::{
    config::{Config, otlp as exporter},
    metrics::Accounts,
    otlp,
    program::Sluicegate,
    sink::{Answer, Sink},
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Ten records of ten severities, from DEBUG4 (8) to ERROR (17).
fn ten() -> ExportLogsServiceRequest {
    otlp::request((8..18).map(|severity| otlp::record(severity, &format!("severity {severity}"))))
}

#[tokio::test]
async fn records_in_are_forwarded_dropped_or_refused() {
    let (main, critical) = (Sink::start(), Sink::start());
    let config = Config::to(&main.endpoint())
        .filter("drop_below_severity", "settings: { minimum: INFO }")
        .filter("route", "settings: { rules: [{ if: { field: severity_number, at_least: ERROR }, route: critical }] }")
        .exporter("otlp_grpc/critical", &exporter(&critical.endpoint()))
        .route("critical", "otlp_grpc/critical");
    let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    let sender = sluicegate.sender();
    let refuse = || Answer::Refuse(Status::unavailable("full"));
    // Each request has one record to drop, eight for the one destination and one for the other.
    let cases = [
        (
            "both take",
            Answer::Take,
            Answer::Take,
            Accounts { accepted: 10, refused: 0, dropped: 1, forwarded: 9, sent: 9 },
        ),
        ("both refuse", refuse(), refuse(), Accounts { accepted: 0, refused: 10, dropped: 0, forwarded: 0, sent: 0 }),
        // All ten stay with the sender, although eight have arrived.
        (
            "one refuses",
            Answer::Take,
            refuse(),
            Accounts { accepted: 0, refused: 10, dropped: 0, forwarded: 0, sent: 8 },
        ),
        (
            "both take again",
            Answer::Take,
            Answer::Take,
            Accounts { accepted: 10, refused: 0, dropped: 1, forwarded: 9, sent: 9 },
        ),
    ];
    let mut before = Accounts::default();
    for (what, to_main, to_critical, expected) in cases {
        main.answer(to_main);
        critical.answer(to_critical);
        let answer = sender.send_logs(&ten()).await;
        assert_eq!(answer.is_ok(), expected.accepted > 0, "{what}: {answer:?}");
        let now = sluicegate.page().await.expect("a page of metrics").accounts();
        assert_eq!(now.since(before), expected, "{what}");
        before = now;
    }
    let severities: Vec<_> = otlp::rows(&critical.logs()).into_iter().map(|row| row.record.severity_number).collect();
    assert_eq!(severities, [17; 2]);
}

/// A filter that fails in the way `how` on requests with a certain record, and what `on_failure` makes of it.
async fn check_failure(how: &str, on_failure: &str, kind: &str) {
    let what = format!("{how}, on_failure: {on_failure}");
    let sink = Sink::start();
    // Long enough for all ways but the loop, which never ends, and then for sound calls on a busy machine.
    let deadline = if how == "loop" { "2s" } else { "30s" };
    let trap = format!("settings: {{ how: {how}, body: poison }}, on_failure: {on_failure}, deadline: {deadline}");
    let config =
        Config::to(&sink.endpoint()).filter("drop_below_severity", "settings: { minimum: INFO }").filter("trap", &trap);
    let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    let sender = sluicegate.sender();
    let poisoned = otlp::request([otlp::record(9, "poison"), otlp::record(1, "noise")]);
    for round in 1..=3 {
        let answer = sender.send_logs(&poisoned).await;
        if on_failure == "pass" {
            answer.unwrap_or_else(|status| panic!("{what}: {status:?}"));
        } else {
            let status = answer.expect_err(&what);
            assert_eq!(status.code(), Code::Unavailable, "{what}: {status:?}");
            assert!(status.message().contains("wasm/trap"), "{what}: {status:?}");
            assert!(status.get_details_retry_info().is_some(), "{what}: {status:?}");
            assert!(status.metadata().contains_key("google.rpc.retryinfo-bin"), "{what}: {status:?}");
        }
        sender.send_logs(&ten()).await.unwrap_or_else(|status| panic!("{what}: {status:?}"));
        let page = sluicegate.page().await.expect("a page of metrics");
        // Alone on an instance that knew others, again on one that does not, and once more where it was too slow.
        let failures = page.sum("filter_failures", &[("processor", "wasm/trap"), ("kind", kind)]);
        assert!((round..=3 * round).contains(&failures), "{what}: {page:?}");
        let accounts = page.accounts();
        assert!(accounts.balance(), "{what}: {accounts:?}");
    }
    // Nine of ten each time, and of the others what the filter before the failed one kept.
    let expected = 3 * if on_failure == "pass" { 9 + 1 } else { 9 };
    assert_eq!(otlp::count(&sink.logs()), expected, "{what}");
    let ended = sluicegate.stop().await.expect("it stops");
    assert_eq!(ended.code, Some(0), "{what}: {}", ended.log);
}

#[tokio::test]
async fn a_filter_that_fails_costs_its_request_and_no_other() {
    let ways = [
        ("panic", "trap"),
        ("stack_overflow", "trap"),
        ("loop", "deadline"),
        ("grow_memory", "memory"),
        ("refuse", "refused"),
    ];
    for (how, kind) in ways {
        for on_failure in ["reject", "pass"] {
            check_failure(how, on_failure, kind).await;
        }
    }
}
