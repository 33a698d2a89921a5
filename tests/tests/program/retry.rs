//! What is tried again, by whom, and until when.
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use sluicegate_tests::{
    config::{Config, otlp as exporter},
    metrics::Accounts,
    otlp,
    program::Sluicegate,
    sink::{Answer, Sink},
    until,
    wire::Signal,
};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Ten records, the last of which is routed to another destination than the others.
fn ten() -> ExportLogsServiceRequest {
    otlp::request((8..18).map(|severity| otlp::record(severity, &format!("severity {severity}"))))
}

/// A program that sends errors to `critical` and everything else to `main`.
async fn split(main: &Sink, critical: &Sink) -> Sluicegate {
    let config = Config::to(&main.endpoint())
        .filter("route", "settings: { rules: [{ if: { field: severity_number, at_least: ERROR }, route: critical }] }")
        .exporter("otlp_grpc/critical", &exporter(&critical.endpoint()))
        .route("critical", "otlp_grpc/critical");
    Sluicegate::start(&config.yaml()).await.expect("it starts")
}

async fn count(sluicegate: &Sluicegate, metric: &str, exporter: &str) -> u64 {
    sluicegate.page().await.expect("a page of metrics").sum(metric, &[("exporter", exporter)])
}

async fn accounts(sluicegate: &Sluicegate) -> Accounts {
    sluicegate.page().await.expect("a page of metrics").accounts()
}

#[tokio::test]
async fn only_the_part_that_failed_is_tried_again() {
    let (main, critical) = (Sink::start(), Sink::start());
    let sluicegate = split(&main, &critical).await;
    critical.answer(Answer::Refuse(Status::unavailable("restarting")));
    let sender = sluicegate.sender();
    let waiting = tokio::spawn(async move { sender.send_logs(&ten()).await });
    critical.arrived(3).await;
    critical.answer(Answer::Take);
    let answer = waiting.await.expect("no panic").expect("it is taken in the end");
    assert_eq!(answer.partial_success, None);
    assert_eq!((otlp::count(&main.logs()), otlp::count(&critical.logs())), (9, 1));
    let expected = Accounts { accepted: 10, refused: 0, dropped: 0, forwarded: 10, sent: 10 };
    assert_eq!(accounts(&sluicegate).await, expected);
    assert_eq!(count(&sluicegate, "exporter_duplicated_log_records", "otlp_grpc/main").await, 0);
    assert_eq!(count(&sluicegate, "exporter_send_failed_log_records", "otlp_grpc/critical").await, 0);
}

#[tokio::test]
async fn a_part_that_keeps_failing_goes_back_to_the_sender_and_the_others_arrive_twice() {
    let (main, critical) = (Sink::start(), Sink::start());
    let sluicegate = split(&main, &critical).await;
    let sender = sluicegate.sender().waiting(Duration::from_secs(2));
    critical.answer(Answer::Refuse(Status::unavailable("down")));
    let status = sender.send_logs(&ten()).await.expect_err("one part is not taken");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.message().contains("exporter otlp_grpc/critical: Unavailable: down"), "{status:?}");
    assert_eq!(count(&sluicegate, "exporter_duplicated_log_records", "otlp_grpc/main").await, 9);
    assert_eq!(count(&sluicegate, "exporter_send_failed_log_records", "otlp_grpc/critical").await, 1);
    assert_eq!(accounts(&sluicegate).await, Accounts { accepted: 0, refused: 10, dropped: 0, forwarded: 0, sent: 9 });

    // Longer than the sender waits: it is told so at once, with the delay.
    let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(3600)));
    critical.answer(Answer::Refuse(Status::with_error_details(Code::ResourceExhausted, "busy", details)));
    let status = sluicegate.sender().send_logs(&ten()).await.expect_err("one part is not taken");
    let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
    assert_eq!((status.code(), delay), (Code::ResourceExhausted, Some(Duration::from_secs(3600))), "{status:?}");

    critical.answer(Answer::Take);
    sender.send_logs(&ten()).await.expect("it is taken");
    assert_eq!((otlp::count(&main.logs()), otlp::count(&critical.logs())), (27, 1), "at least once");
}

#[tokio::test]
async fn where_nothing_was_taken_the_sender_is_told_at_once() {
    let (main, critical) = (Sink::start(), Sink::start());
    let sluicegate = split(&main, &critical).await;
    for sink in [&main, &critical] {
        sink.answer(Answer::Refuse(Status::unavailable("down")));
    }
    let status = sluicegate.sender().send_logs(&ten()).await.expect_err("nobody takes it");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!((main.requests(), critical.requests()), (1, 1));
    assert_eq!(accounts(&sluicegate).await, Accounts { accepted: 0, refused: 10, dropped: 0, forwarded: 0, sent: 0 });
}

#[tokio::test]
async fn a_part_that_is_refused_for_good_is_a_partial_success() {
    let (main, critical) = (Sink::start(), Sink::start());
    let sluicegate = split(&main, &critical).await;
    critical.answer(Answer::Refuse(Status::invalid_argument("no errors here")));
    let answer = sluicegate.sender().send_logs(&ten()).await.expect("nine are taken");
    let partial = answer.partial_success.expect("a partial success");
    let message = "exporter otlp_grpc/critical: InvalidArgument: no errors here";
    assert_eq!((partial.rejected_log_records, &*partial.error_message), (1, message));
    assert_eq!(critical.requests(), 1, "what is permanent is not tried again");
    assert_eq!(accounts(&sluicegate).await, Accounts { accepted: 9, refused: 1, dropped: 0, forwarded: 9, sent: 9 });
    assert_eq!(count(&sluicegate, "exporter_duplicated_log_records", "otlp_grpc/main").await, 0);
}

#[tokio::test]
async fn records_that_one_of_several_destinations_leaves_are_a_partial_success() {
    let (main, critical) = (Sink::start(), Sink::start());
    let sluicegate = split(&main, &critical).await;
    main.answer(Answer::Partial { rejected: 3, message: "too old".to_owned() });
    let answer = sluicegate.sender().send_logs(&ten()).await.expect("seven are taken");
    let partial = answer.partial_success.expect("a partial success");
    assert_eq!((partial.rejected_log_records, &*partial.error_message), (3, "exporter otlp_grpc/main: too old"));
    assert_eq!(accounts(&sluicegate).await, Accounts { accepted: 7, refused: 3, dropped: 0, forwarded: 7, sent: 7 });
}

/// Spans are counted for it, although nothing else looks into them.
#[tokio::test]
async fn spans_that_one_of_two_destinations_refuses_are_a_partial_success() {
    let (first, second) = (Sink::start(), Sink::start());
    let config = Config::to(&first.endpoint()).exporter("otlp_grpc/second", &exporter(&second.endpoint()));
    let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    second.answer(Answer::Refuse(Status::permission_denied("no traces")));
    // Two spans of one scope of one resource, with a name each.
    let spans = [0x12, 3, 0x2a, 1, b'a', 0x12, 3, 0x2a, 1, b'b'];
    let scope = [&[0x12, 10][..], &spans].concat();
    let body = [&[0x0a, 12][..], &scope].concat();
    let answer = sluicegate.sender().send(Signal::Traces, body).await.expect("one takes them");
    let message = "exporter otlp_grpc/second: PermissionDenied: no traces";
    let partial = [&[0x08, 2, 0x12, u8::try_from(message.len()).expect("short")][..], message.as_bytes()].concat();
    let expected = [&[0x0a, u8::try_from(partial.len()).expect("short")][..], &partial].concat();
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn what_a_sender_leaves_behind_is_counted() {
    let sink = Sink::start();
    let sluicegate = Sluicegate::start(&Config::to(&sink.endpoint()).yaml()).await.expect("it starts");
    sink.answer(Answer::Hold);
    let sender = sluicegate.sender();
    let waiting = tokio::spawn(async move { sender.send_logs(&ten()).await });
    sink.arrived(1).await;
    waiting.abort();
    until("the records to be counted", async || {
        count(&sluicegate, "exporter_send_failed_log_records", "otlp_grpc/main").await == 10
    })
    .await;
    assert_eq!(accounts(&sluicegate).await, Accounts { accepted: 0, refused: 10, dropped: 0, forwarded: 0, sent: 0 });
}

#[tokio::test]
async fn retry_on_failure_tries_again_as_long_as_the_sender_waits() {
    let sink = Sink::start();
    let settings = format!(
        "{{ endpoint: {:?}, timeout: 0s, retry_on_failure: {{ enabled: true, initial_interval: 20ms }} }}",
        sink.endpoint()
    );
    let config = Config::default().exporter("otlp_grpc/main", &settings);
    let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    sink.answer(Answer::Refuse(Status::unavailable("restarting")));
    let sender = sluicegate.sender();
    let waiting = tokio::spawn(async move { sender.send_logs(&ten()).await });
    sink.arrived(4).await;
    sink.answer(Answer::Take);
    waiting.await.expect("no panic").expect("it is taken in the end");
    assert_eq!(sink.logs(), [ten()]);

    sink.answer(Answer::Refuse(Status::unavailable("down")));
    let sender = sluicegate.sender().waiting(Duration::from_secs(2));
    let status = sender.send_logs(&ten()).await.expect_err("it is not taken");
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "exporter otlp_grpc/main: Unavailable: down"));
    sink.answer(Answer::Refuse(Status::invalid_argument("never")));
    let before = sink.requests();
    let status = sender.send_logs(&ten()).await.expect_err("it is refused");
    assert_eq!((status.code(), sink.requests()), (Code::InvalidArgument, before + 1));
}
