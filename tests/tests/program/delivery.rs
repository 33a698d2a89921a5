//! Acknowledged data is delivered data: what a destination answers is what the sender learns.
use std::time::Duration;

use prost::Message as _;
use sluicegate_tests::{
    config::{Config, otlp as exporter},
    metrics::Accounts,
    otlp, patiently,
    program::Sluicegate,
    sender::Sender,
    sink::{Answer, Sink},
};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

fn one() -> opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest {
    otlp::request([otlp::record(9, "one")])
}

/// Sends again and again, as a sender does which is told to retry.
async fn retry(sender: &Sender) {
    let taken = async {
        while let Err(status) = sender.send_logs(&one()).await {
            assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        }
    };
    patiently("the destination to be reached again", taken).await;
}

#[tokio::test]
async fn a_destination_may_start_later_and_go_away_and_come_back() {
    let address = Sink::start().down().await;
    let config = Config::to(&format!("http://{address}"));
    let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts without its destination");
    assert_eq!(sluicegate.health().await.expect("a health check"), 200);
    let sender = sluicegate.sender();
    for _ in 0..2 {
        let status = sender.send_logs(&one()).await.expect_err("nobody is there");
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        let sink = Sink::start_at(address);
        retry(&sender).await;
        assert_eq!(sink.logs(), [one()], "it arrives once and whole");
        assert_eq!(sink.down().await, address);
    }
}

#[tokio::test]
async fn a_destination_that_vanishes_with_a_request_makes_the_sender_retry() {
    let sink = Sink::start();
    let sluicegate = Sluicegate::start(&Config::to(&sink.endpoint()).yaml()).await.expect("it starts");
    sink.answer(Answer::Hold);
    let sender = sluicegate.sender();
    let waiting = tokio::spawn(async move { sender.send_logs(&one()).await });
    sink.arrived(1).await;
    sink.down().await;
    let status = waiting.await.expect("no panic").expect_err("nobody took it");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
}

/// A status keeps its code, so what is permanent stays so, and what is retryable too, with the delay it names.
#[tokio::test]
async fn the_sender_learns_the_destinations_status() {
    let delay = std::time::Duration::from_secs(7);
    let throttled = ErrorDetails::with_retry_info(Some(delay));
    let cases = [
        Status::invalid_argument("no such tenant"),
        Status::permission_denied("not yours"),
        Status::unauthenticated("who are you"),
        Status::unimplemented("no logs here"),
        Status::internal("a bug"),
        Status::resource_exhausted("too much for good"),
        Status::unavailable("restarting"),
        Status::with_error_details(Code::ResourceExhausted, "slow down", throttled.clone()),
        Status::with_error_details(Code::Unavailable, "slow down", throttled),
    ];
    let sink = Sink::start();
    let sluicegate = Sluicegate::start(&Config::to(&sink.endpoint()).yaml()).await.expect("it starts");
    for case in cases {
        sink.answer(Answer::Refuse(case.clone()));
        let status = sluicegate.sender().send_logs(&one()).await.expect_err("it is refused");
        assert_eq!(status.code(), case.code(), "{status:?}");
        assert!(status.message().contains(case.message()), "{status:?} of {case:?}");
        let delay = |status: &Status| status.get_details_retry_info().and_then(|info| info.retry_delay);
        assert_eq!(delay(&status), delay(&case), "{status:?}");
    }
    assert!(sink.taken().is_empty());
}

#[tokio::test]
async fn a_partial_success_is_passed_on() {
    let sink = Sink::start();
    let sluicegate = Sluicegate::start(&Config::to(&sink.endpoint()).yaml()).await.expect("it starts");
    sink.answer(Answer::Partial { rejected: 1, message: "one is too old".to_owned() });
    let request = otlp::request([otlp::record(9, "one"), otlp::record(9, "two")]);
    let answer = sluicegate.sender().send_logs(&request).await.expect("it is taken");
    let partial = answer.partial_success.expect("a partial success");
    assert_eq!((partial.rejected_log_records, partial.error_message.as_str()), (1, "one is too old"));
    assert_eq!(sink.logs(), [request], "and not sent again");
    let accounts = sluicegate.page().await.expect("a page of metrics").accounts();
    assert_eq!(accounts, Accounts { accepted: 1, refused: 1, dropped: 0, forwarded: 1, sent: 1 });
}

/// The Collector answers so whenever it took everything.
#[tokio::test]
async fn an_empty_partial_success_is_none() {
    let sink = Sink::start();
    let sluicegate = Sluicegate::start(&Config::to(&sink.endpoint()).yaml()).await.expect("it starts");
    sink.answer(Answer::Partial { rejected: 0, message: String::new() });
    let answer = sluicegate.sender().send_logs(&one()).await.expect("it is taken");
    assert_eq!(answer.partial_success, None);
    let ended = sluicegate.stop().await.expect("it stops");
    assert!(!ended.log.contains("partial"), "nothing is worth a line: {}", ended.log);
}

/// Of two destinations that both get every record, each failure reaches the sender; where both fail, the failure
/// that a retry may cure does, since otherwise the sender would throw away what one destination never had. What one
/// took and the other refused for good is a partial success: an error would deny what was taken.
#[tokio::test]
async fn of_two_destinations_the_failure_of_one_reaches_the_sender() {
    let (first, second) = (Sink::start(), Sink::start());
    let config = Config::to(&first.endpoint()).exporter("otlp_grpc/second", &exporter(&second.endpoint()));
    let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    // Where only one fails, it is tried again as long as the sender waits.
    let sender = sluicegate.sender().waiting(Duration::from_secs(2));
    let take = || Answer::Take;
    let permanent = || Answer::Refuse(Status::invalid_argument("never"));
    let retryable = || Answer::Refuse(Status::unavailable("later"));
    let cases = [
        (take(), take(), Ok(0)),
        (take(), retryable(), Err(Code::Unavailable)),
        (permanent(), take(), Ok(1)),
        (permanent(), permanent(), Err(Code::InvalidArgument)),
        (permanent(), retryable(), Err(Code::Unavailable)),
        (retryable(), permanent(), Err(Code::Unavailable)),
    ];
    for (to_first, to_second, expected) in cases {
        let what = format!("{to_first:?} and {to_second:?}");
        first.answer(to_first);
        second.answer(to_second);
        let answer = sender.send_logs(&one()).await;
        let rejected = answer.map(|answer| answer.partial_success.unwrap_or_default().rejected_log_records);
        assert_eq!(rejected.map_err(|status| status.code()), expected, "{what}");
    }
    assert_eq!((first.logs().len(), second.logs().len()), (2, 2));
}

/// One destination that doesn't answer holds up nobody who sends to another.
#[tokio::test]
async fn a_slow_destination_delays_only_what_goes_there() {
    let (main, slow) = (Sink::start(), Sink::start());
    slow.answer(Answer::Hold);
    let routes = "settings: { rules: [{ if: { field: severity_number, at_least: ERROR }, route: slow }] }";
    let config = Config::to(&main.endpoint())
        .filter("route", routes)
        .exporter("otlp_grpc/slow", &exporter(&slow.endpoint()))
        .route("slow", "otlp_grpc/slow");
    let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    let sender = sluicegate.sender();
    let mixed = otlp::request([otlp::record(9, "one"), otlp::record(17, "two")]);
    let waiting = tokio::spawn({
        let (sender, mixed) = (sender.clone(), mixed.clone());
        async move { sender.send_logs(&mixed).await }
    });
    slow.arrived(1).await;
    for _ in 0..20 {
        sender.send_logs(&one()).await.expect("it is taken");
    }
    assert!(!waiting.is_finished(), "what is not delivered is not acknowledged");
    slow.answer(Answer::Take);
    waiting.await.expect("no panic").expect("it is taken in the end");
    assert_eq!(slow.logs(), [otlp::request([otlp::record(17, "two")])]);
    assert_eq!(otlp::count(&main.logs()), 21);
    assert!(mixed.encoded_len() > one().encoded_len());
}
