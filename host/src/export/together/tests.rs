use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{
    FutureExt as _,
    future::{BoxFuture, join_all},
};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceRequest};
use prost::Message as _;
use tokio::{net::TcpListener, task::yield_now};
use tonic::Status;

use super::*;
use crate::{
    config::Retry,
    memory::MemoryLimiter,
    testing::{Collector, logs, logs_bytes, otlp_grpc},
};

/// How a destination answers one request after the other. The last answer stays.
type Answers = &'static [fn() -> Result<Option<ExportLogsPartialSuccess>, Status>];

const TAKE: Answers = &[|| Ok(None)];

async fn start(answers: Answers) -> (Collector, Together) {
    trying_again(answers, None).await
}

async fn trying_again(answers: Answers, retry: Option<Retry>) -> (Collector, Together) {
    let next = AtomicUsize::new(0);
    let answer = move || answers[next.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1)]();
    let collector = Collector::answering(answer).await;
    let settings = crate::config::OtlpExporter { retry, ..otlp_grpc(collector.address) };
    (collector, Together::new(Otlp::new(&settings).unwrap()))
}

/// A destination that takes connections and never says anything.
async fn silent() -> (TcpListener, Together) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let together = Together::new(Otlp::new(&otlp_grpc(listener.local_addr().unwrap())).unwrap());
    (listener, together)
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
    let text = Request { json: Some("{}".into()), ..request(1, "as JSON") };
    assert!(Place::of(&profiles).is_none() && Place::of(&text).is_none());
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
async fn what_another_look_would_not_change_is_told_to_all() {
    let check = async |answers: Answers, retryable: bool, text: &str| {
        let (collector, together) = start(answers).await;
        let sent = send(&together, ["first", "second", "third"].map(|text| request(1, text)));
        let answers = join_all(sent).await;
        assert_eq!(received(&collector).len(), 2, "{text}");
        assert!(answers[0].is_ok(), "{text}");
        for answer in &answers[1..] {
            let cause = answer.as_ref().unwrap_err();
            assert_eq!((cause.is_retryable(), &*cause.to_string()), (retryable, text));
        }
    };
    check(&[|| Ok(None), || Err(Status::unavailable("restarting"))], true, "Unavailable: restarting").await;
    check(&[|| Ok(None), || Err(Status::permission_denied("you"))], false, "PermissionDenied: you").await;
}

#[tokio::test]
async fn each_is_tried_again_by_itself_and_keeps_nobody_waiting() {
    fn unavailable() -> Result<Option<ExportLogsPartialSuccess>, Status> {
        Err(Status::unavailable("restarting"))
    }
    // The first one pauses for long, and the others go.
    let long = Retry { initial_interval: Duration::from_secs(1_000), max_elapsed_time: None, ..Retry::default() };
    let (collector, together) = trying_again(&[unavailable, || Ok(None)], Some(long)).await;
    let patient = Request { deadline: Some(Instant::now() + Duration::from_secs(10_000)), ..request(1, "first") };
    let mut sent = send(&together, [patient, request(1, "second"), request(1, "third")]);
    let first = sent.remove(0);
    let both = futures::future::select(first, join_all(sent)).await;
    let futures::future::Either::Right((answers, first)) = both else { panic!("the first one pauses") };
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!((state(&together), received(&collector).len()), ((0, 0), 2));
    drop(first);

    // What failed together is tried again by each.
    let short = Retry { initial_interval: Duration::from_millis(1), ..Retry::default() };
    let (collector, together) = trying_again(&[|| Ok(None), unavailable, || Ok(None)], Some(short)).await;
    let sent = send(&together, ["first", "second", "third"].map(|text| request(1, text)));
    assert!(join_all(sent).await.iter().all(Result::is_ok));
    let resources: Vec<_> = received(&collector).iter().map(|request| request.resource_logs.len()).collect();
    assert_eq!(resources, [1, 2, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn after_a_moment_nobody_waits_for_others() {
    let (_listener, together) = silent().await;
    let sent = send(&together, ["first", "second", "third"].map(|text| request(1, text)));
    let sent = join_all(sent);
    tokio::pin!(sent);
    assert!(timeout(MOMENT / 2, &mut sent).await.is_err());
    assert_eq!(state(&together), (2, 1));
    let later = join_all(send(&together, [request(1, "fourth")]));
    tokio::pin!(later);
    assert!(timeout(MOMENT * 3 / 4, futures::future::select(&mut sent, &mut later)).await.is_err());
    assert_eq!(state(&together), (0, 2));
    // Who comes after that has a moment of its own, and does not go with the fourth one's.
    let last = join_all(send(&together, [request(1, "fifth"), request(1, "sixth")]));
    tokio::pin!(last);
    let all = async { tokio::join!(&mut sent, &mut later, &mut last) };
    tokio::pin!(all);
    assert!(timeout(MOMENT * 3 / 4, &mut all).await.is_err());
    assert_eq!(state(&together), (2, 2));
    assert!(timeout(MOMENT / 2, &mut all).await.is_err());
    assert_eq!(state(&together), (0, 3));
}

#[tokio::test]
async fn a_copy_is_held_as_long_as_it_is_there() {
    let memory = MemoryLimiter::new(1 << 20);
    let held = |records: usize| {
        let (request, held) = (request(records, "text"), memory.open());
        held.grow(request.body.len()).unwrap();
        Request { held: Some(held), ..request }
    };
    let (_listener, together) = silent().await;
    let requests = [1, 2, 3].map(held);
    let [first, second, third] = [1, 2, 3].map(|records| request(records, "text").body.len());
    let mut sent = send(&together, requests);
    assert_eq!(memory.in_use(), first + second + third);
    // Then the others go.
    drop(sent.remove(0));
    while memory.in_use() != 2 * (second + third) {
        yield_now().await;
    }
    drop(sent);
    let (collector, together) = start(TAKE).await;
    join_all(send(&together, [1, 2, 3].map(held))).await.into_iter().for_each(|answer| drop(answer.unwrap()));
    assert_eq!(received(&collector).len(), 2);
    while memory.in_use() != 2 * (second + third) {
        // A connection lets go of what it has written in a turn of its own. The silent one still has the copy.
        yield_now().await;
    }
}

#[test]
fn a_runtime_that_ends_takes_all_with_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (listener, together) = runtime.block_on(silent());
    let together = Box::leak(Box::new(together));
    let sent = runtime.block_on(async {
        let mut sent = send(together, ["first", "second", "third"].map(|text| request(1, text)));
        drop(sent.remove(0));
        // Those two are under way, and behind them there is another one.
        sent.extend(send(together, [request(1, "fourth")]));
        assert_eq!(state(together), (1, 1));
        sent
    });
    drop(runtime);
    assert_eq!(state(together), (0, 0));
    drop((sent, listener));
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
    let (_listener, together) = silent().await;
    let late = Request { deadline: Some(Instant::now()), ..request(1, "late") };
    let _first = send(&together, [request(1, "first")]);
    assert!(matches!(together.export(late).await, Err(Cause::Timeout(_))));
    assert_eq!(state(&together), (0, 1));
}
