use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{FutureExt as _, future::BoxFuture};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceRequest};
use prost::Message as _;
use tonic::{Code, Status};

use super::*;
use crate::testing::{Collector, logs, logs_bytes, otlp_grpc};

/// How a destination answers one request after the other. The last answer stays.
type Answers = &'static [fn() -> Result<Option<ExportLogsPartialSuccess>, Status>];

const TAKE: Answers = &[|| Ok(None)];

async fn start(answers: Answers) -> (Collector, Together) {
    let next = AtomicUsize::new(0);
    let answer = move || answers[next.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1)]();
    let collector = Collector::answering(answer).await;
    let together = Together::new(Otlp::new(&otlp_grpc(collector.address)).unwrap());
    (collector, together)
}

fn request(records: usize, text: &str) -> Request<Payload> {
    Request::new(Signal::Logs, logs_bytes(records, text)).into()
}

/// Sends all at once. The first is under way when the others come, since this thread does nothing in between.
fn send(
    together: &Together,
    requests: impl IntoIterator<Item = Request<Payload>>,
) -> Vec<BoxFuture<'_, Result<Response, Cause>>> {
    let mut sent: Vec<_> = requests.into_iter().map(|request| together.export(request).boxed()).collect();
    sent.iter_mut().for_each(|one| assert!(one.now_or_never().is_none()));
    sent
}

/// All resources of these.
fn joined(requests: &[ExportLogsServiceRequest]) -> ExportLogsServiceRequest {
    ExportLogsServiceRequest {
        resource_logs: requests.iter().flat_map(|request| request.resource_logs.clone()).collect(),
    }
}

fn received(collector: &Collector) -> Vec<ExportLogsServiceRequest> {
    collector.received().into_iter().map(|received| received.request).collect()
}

/// What waits, and how many are under way.
fn state(together: &Together) -> (usize, usize) {
    let waiting = together.0.waiting(Place { thread: threads::current(), signal: 0 });
    (waiting.requests.len(), waiting.under_way)
}

#[tokio::test]
async fn what_comes_while_one_is_under_way_goes_together_and_in_order() {
    let (collector, together) = start(TAKE).await;
    for _ in 0..2 {
        let sent = send(&together, ["first", "second", "third", "fourth"].map(|text| request(2, text)));
        assert_eq!(state(&together), (3, 1));
        assert!(join_all(sent).await.into_iter().all(|answer| answer.unwrap() == Response::default()));
        assert_eq!(state(&together), (0, 0));
    }
    let expected = [logs(2, "first"), joined(&["second", "third", "fourth"].map(|text| logs(2, text)))];
    assert_eq!(received(&collector), [expected.clone(), expected].concat());
}

#[tokio::test]
async fn one_after_the_other_each_goes_alone_and_at_once() {
    let (collector, together) = start(TAKE).await;
    for text in ["first", "second"] {
        together.export(request(1, text)).await.unwrap();
    }
    assert_eq!(received(&collector), [logs(1, "first"), logs(1, "second")]);
}

#[tokio::test]
async fn large_ones_and_profiles_wait_for_nobody() {
    let (collector, together) = start(TAKE).await;
    let large = "x".repeat(SMALL);
    let sent = send(&together, ["first", &large, "second"].map(|text| request(1, text)));
    let profiles = Request::new(Signal::Profiles, logs_bytes(1, "a profile")).into();
    assert!(Place::of(&profiles).is_none());
    assert_eq!(state(&together), (1, 1));
    join_all(sent).await.into_iter().for_each(|answer| drop(answer.unwrap()));
    let mut received = received(&collector);
    received.sort_by_key(ExportLogsServiceRequest::encoded_len);
    assert_eq!(received, [logs(1, "first"), logs(1, "second"), logs(1, &large)]);
}

#[tokio::test]
async fn what_has_become_large_waits_no_longer() {
    let (collector, together) = start(TAKE).await;
    let half = "x".repeat(SMALL / 2);
    let sent = send(&together, (0..12).map(|_| request(1, &half)));
    assert_eq!(state(&together), (3, 2), "eight of them are large");
    join_all(sent).await.into_iter().for_each(|answer| drop(answer.unwrap()));
    let mut resources: Vec<_> = received(&collector).iter().map(|request| request.resource_logs.len()).collect();
    resources.sort_unstable();
    assert_eq!(resources, [1, 3, 8]);
}

#[tokio::test]
async fn one_that_is_not_taken_keeps_no_other_from_its_destination() {
    fn refuse() -> Result<Option<ExportLogsPartialSuccess>, Status> {
        Err(Status::invalid_argument("what is this"))
    }
    let answers: Answers = &[|| Ok(None), refuse, || Ok(None), refuse, || Ok(None)];
    let (collector, together) = start(answers).await;
    let sent = send(&together, ["first", "second", "third", "fourth"].map(|text| request(1, text)));
    let answers = join_all(sent).await;
    assert_eq!(received(&collector).len(), 1 + 1 + 3, "the first, the others together, and each of these alone");
    let refused: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    assert!(matches!(&refused[..], [Cause::Refused(status)] if status.code() == Code::InvalidArgument), "{refused:?}");
}

#[tokio::test]
async fn a_failure_that_may_pass_is_told_to_all() {
    let answers: Answers = &[|| Ok(None), || Err(Status::unavailable("restarting"))];
    let (collector, together) = start(answers).await;
    let sent = send(&together, ["first", "second", "third"].map(|text| request(1, text)));
    let answers = join_all(sent).await;
    assert_eq!(received(&collector).len(), 2);
    assert!(answers[0].is_ok());
    for answer in &answers[1..] {
        let cause = answer.as_ref().unwrap_err();
        assert!(cause.is_retryable() && cause.to_string() == "Unavailable: restarting", "{cause}");
    }
}

#[tokio::test]
async fn refused_items_are_divided_and_a_warning_is_for_all() {
    fn partial(rejected_log_records: i64) -> Result<Option<ExportLogsPartialSuccess>, Status> {
        Ok(Some(ExportLogsPartialSuccess { rejected_log_records, error_message: "no".to_owned() }))
    }
    let check = async |answers: Answers, expected: [Option<i64>; 3]| {
        let (_collector, together) = start(answers).await;
        let sent = send(&together, [1, 2, 3, 4].map(|records| request(records, "text")));
        let told = join_all(sent).await.into_iter().skip(1).map(|answer| {
            let partial = answer.unwrap().partial_success?;
            assert_eq!(partial.error_message, "of requests that were sent together: no");
            Some(partial.rejected)
        });
        assert_eq!(told.collect::<Vec<_>>(), expected);
    };
    check(&[|| Ok(None), || partial(4)], [Some(2), Some(2), None]).await;
    check(&[|| Ok(None), || partial(0)], [Some(0), Some(0), Some(0)]).await;
}

#[tokio::test]
async fn who_has_gone_is_not_waited_for_and_keeps_nobody_waiting() {
    let (collector, together) = start(TAKE).await;
    let mut sent = send(&together, ["first", "second", "third", "fourth"].map(|text| request(1, text)));
    // One that waits, and the one that is under way.
    drop(sent.remove(2));
    drop(sent.remove(0));
    assert_eq!(state(&together), (0, 1));
    join_all(sent).await.into_iter().for_each(|answer| drop(answer.unwrap()));
    assert_eq!(received(&collector).last(), Some(&joined(&["second", "fourth"].map(|text| logs(1, text)))));
}

#[tokio::test]
async fn nobody_waits_longer_than_the_sender_does() {
    let (_collector, together) = start(TAKE).await;
    let late = Request { deadline: Some(Instant::now()), ..request(1, "late") };
    let first = send(&together, [request(1, "first")]);
    assert!(matches!(together.export(late).await, Err(Cause::Timeout(_))));
    join_all(first).await.into_iter().for_each(|answer| drop(answer.unwrap()));
}
