use std::{convert::Infallible, future::pending, sync::atomic::Ordering::Relaxed, task};

use futures::future::BoxFuture;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsPartialSuccess;
use tokio::net::TcpListener;
use tonic::{
    Code, Status,
    body::Body,
    codegen::Service,
    transport::{Server, server::TcpIncoming},
};

use super::*;
use crate::{
    config::{Destination, Span, Spanned},
    receive::{PartialSuccess, Signal},
    testing::{Collector, logs, logs_bytes, otlp_grpc},
};

fn body() -> Bytes {
    logs_bytes(2, "INFO")
}

fn request() -> Request<Payload> {
    Request::new(Signal::Logs, body()).into()
}

#[tokio::test]
async fn requests_and_headers_arrive() {
    let collector = Collector::start().await;
    for (compression, encoding) in
        [(None, None), (Some(Encoding::Gzip), Some("gzip")), (Some(Encoding::Zstd), Some("zstd"))]
    {
        let mut settings = otlp_grpc(collector.address);
        settings.compression.encoding = compression;
        settings.headers.insert("x-tenant", "shop".parse().unwrap());
        let answer = Otlp::new(&settings).unwrap().export(request()).await.unwrap();
        assert_eq!(answer, Response::default());
        let received = collector.received().pop().unwrap();
        assert_eq!(received.request, logs(2, "INFO"));
        let header = |name: &str| received.metadata.get(name).map(|value| value.to_str().unwrap());
        assert_eq!((header("x-tenant"), header("grpc-encoding")), (Some("shop"), encoding));
        assert!(header("user-agent").unwrap().starts_with("sluicegate/"));
    }
}

#[tokio::test]
async fn a_partial_success_is_handed_back() {
    let partial = || ExportLogsPartialSuccess { rejected_log_records: 1, error_message: "no".to_owned() };
    let collector = Collector::answering(move || Ok(Some(partial()))).await;
    let answer = Otlp::new(&otlp_grpc(collector.address)).unwrap().export(request()).await.unwrap();
    assert_eq!(answer.partial_success, Some(PartialSuccess { rejected: 1, error_message: "no".to_owned() }));
}

#[tokio::test]
async fn what_the_destination_answers_is_told_from_what_happens_on_the_way() {
    let collector = Collector::answering(|| Err(Status::unknown("its own reason"))).await;
    match Otlp::new(&otlp_grpc(collector.address)).unwrap().export(request()).await.unwrap_err() {
        Cause::Refused(status) => {
            assert_eq!((status.code(), status.message()), (Code::Unknown, "its own reason"));
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_destination_may_start_late_and_restart() {
    let collector = Collector::start().await;
    let address = collector.address;
    collector.stop().await;
    let exporter = Otlp::new(&otlp_grpc(address)).unwrap();
    for _ in 0..2 {
        let error = exporter.export(request()).await.unwrap_err();
        assert!(matches!(error, Cause::Unreachable(_)), "{error}");
        assert!(error.to_string().contains("refused"), "{error}");
        let collector = Collector::start_on(address);
        exporter.export(request()).await.unwrap();
        assert_eq!(collector.received().len(), 1);
        collector.stop().await;
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_a_timeout() {
    // It takes connections and never says anything.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = otlp_grpc(silent.local_addr().unwrap());
    settings.timeout = Some(Duration::from_millis(20));
    let error = Otlp::new(&settings).unwrap().export(request()).await.unwrap_err();
    assert_eq!(error.to_string(), "no answer within 20ms");

    settings.timeout = Some(Duration::from_secs(3600));
    let sender_waits = Some(Instant::now() + Duration::from_millis(20));
    let error =
        Otlp::new(&settings).unwrap().export(Request { deadline: sender_waits, ..request() }).await.unwrap_err();
    assert!(matches!(error, Cause::Timeout(_)), "{error}");
}

#[tokio::test]
async fn a_connection_that_breaks_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let exporter = Otlp::new(&otlp_grpc(listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        loop {
            drop(listener.accept().await);
        }
    });
    let error = exporter.export(request()).await.unwrap_err();
    assert!(matches!(error, Cause::Unreachable(_)), "{error}");
}

/// Answers without a status, as a proxy does that loses its own destination midway.
#[derive(Clone)]
struct CutsOff;

impl Service<http::Request<Body>> for CutsOff {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), Infallible>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        let response = http::Response::builder().header("content-type", "application/grpc").body(Body::empty());
        Box::pin(async { Ok(response.unwrap()) })
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let exporter = Otlp::new(&otlp_grpc(listener.local_addr().unwrap())).unwrap();
    tokio::spawn(Server::builder().serve_with_incoming(CutsOff, TcpIncoming::from(listener)));
    let error = exporter.export(request()).await.unwrap_err();
    assert!(matches!(error, Cause::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn requests_share_one_connection_side_by_side() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let exporter = Otlp::new(&otlp_grpc(listener.local_addr().unwrap())).unwrap();
    // It answers no request before it has all ten, and takes no second connection.
    let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(10));
    let service = Together(barrier);
    let one = futures::stream::once(async move { listener.accept().await.map(|(stream, _)| stream) });
    let incoming = futures::StreamExt::chain(one, futures::stream::once(pending()));
    let memory = crate::memory::MemoryLimiter::new(1 << 20);
    let service = crate::receive::grpc::OtlpGrpc::new(service, &crate::testing::grpc_listener(1 << 20), memory);
    tokio::spawn(Server::builder().serve_with_incoming(service, incoming));
    let answers = futures::future::join_all((0..10).map(|_| exporter.export(request()))).await;
    assert!(answers.iter().all(Result::is_ok));
}

#[derive(Clone)]
struct Together(std::sync::Arc<tokio::sync::Barrier>);

impl crate::receive::Handler for Together {
    async fn export(&self, _: Request) -> Result<Response, crate::status::Error> {
        self.0.wait().await;
        Ok(Response::default())
    }
}

/// What an OTLP/HTTP server got.
type Got = (String, HeaderMap, Bytes);

/// An exporter with these settings, to an OTLP/HTTP server that gives each request this answer and hands over what it
/// got.
async fn http(
    answer: impl Fn() -> (http::StatusCode, HeaderMap, Vec<u8>) + Clone + Send + Sync + 'static,
    settings: impl FnOnce(&mut OtlpExporter, &str),
) -> (Otlp, tokio::sync::mpsc::UnboundedReceiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (got, gets) = tokio::sync::mpsc::unbounded_channel();
    let handler = move |uri: http::Uri, headers: HeaderMap, body: Bytes| {
        got.send((uri.path().to_owned(), headers, body)).unwrap();
        let answer = answer();
        async { answer }
    };
    tokio::spawn(axum::serve(listener, axum::Router::new().fallback(handler)).into_future());
    let protocol = Protocol::Http { encoding: HttpEncoding::Proto, overrides: BTreeMap::new() };
    let endpoint = Spanned::new(Destination::parse_url(&url).unwrap(), Span::default());
    let mut config = OtlpExporter { timeout: None, ..OtlpExporter::new(protocol, endpoint) };
    config.compression.encoding = None;
    settings(&mut config, &url);
    (Otlp::new(&config).unwrap(), gets)
}

fn take() -> (http::StatusCode, HeaderMap, Vec<u8>) {
    (http::StatusCode::OK, HeaderMap::new(), Vec::new())
}

fn json(config: &mut OtlpExporter) {
    config.protocol = Protocol::Http { encoding: HttpEncoding::Json, overrides: BTreeMap::new() };
}

#[tokio::test]
async fn http_requests_go_where_they_should_in_the_form_that_is_asked_for() {
    let text = crate::json::to_json(Signal::Logs, &body()).unwrap();
    for encoding in [None, Some(Encoding::Gzip), Some(Encoding::Zstd)] {
        for (as_json, expected) in [(false, &body()[..]), (true, &text)] {
            let (exporter, mut gets) = http(take, |config, _| {
                config.compression.encoding = encoding;
                config.headers.insert("x-tenant", "shop".parse().unwrap());
                if as_json {
                    json(config);
                }
            })
            .await;
            exporter.export(request()).await.unwrap();
            let (path, headers, body) = gets.recv().await.unwrap();
            let body = match encoding {
                Some(encoding) => crate::compression::decompress(encoding, &body, 1 << 20).unwrap(),
                None => body.to_vec(),
            };
            assert_eq!((&*path, &*body), ("/v1/logs", expected));
            assert_eq!(headers["content-type"], if as_json { "application/json" } else { "application/x-protobuf" });
            assert_eq!(headers.get("content-encoding").map(|v| v.to_str().unwrap()), encoding.map(Encoding::name));
            assert_eq!(headers["x-tenant"], "shop");
            assert!(headers["user-agent"].to_str().unwrap().starts_with("sluicegate/"));
        }
    }
}

#[tokio::test]
async fn json_that_came_as_such_goes_on_as_it_came() {
    let (exporter, mut gets) = http(take, |config, _| json(config)).await;
    let document = Bytes::from_static(b"{ \"resourceSpans\": [], \"unknown\": 1 }");
    let mut request = Request::new(Signal::Traces, Bytes::new());
    request.json = Some(document.clone());
    exporter.export(request.into()).await.unwrap();
    assert_eq!(gets.recv().await.unwrap().2, document);
}

#[tokio::test]
async fn a_large_request_is_made_ready_off_the_thread() {
    let (exporter, mut gets) = http(take, |config, _| json(config)).await;
    let body = logs_bytes(20_000, "INFO");
    exporter.export(Request::new(Signal::Logs, body.clone()).into()).await.unwrap();
    assert_eq!(gets.recv().await.unwrap().2, crate::json::to_json(Signal::Logs, &body).unwrap());
    let malformed = Request::new(Signal::Logs, vec![0xff; LARGE].into());
    let error = exporter.export(malformed.into()).await.unwrap_err();
    assert!(matches!(error, Cause::Malformed(_)) && !error.is_retryable(), "{error}");
}

#[tokio::test]
async fn each_signal_has_its_path_or_a_url_of_its_own() {
    let (exporter, mut gets) = http(take, |config, url| {
        let own = Spanned::new(Destination::parse_signal_url(&format!("{url}/own/traces")).unwrap(), Span::default());
        let overrides = BTreeMap::from([(Signal::Traces, own)]);
        config.protocol = Protocol::Http { encoding: HttpEncoding::Proto, overrides };
        let prefixed = Destination::parse_url(&format!("{url}/prefix/")).unwrap();
        config.endpoints = vec![Spanned::new(prefixed, Span::default())];
    })
    .await;
    for (signal, expected) in [
        (Signal::Logs, "/prefix/v1/logs"),
        (Signal::Traces, "/own/traces"),
        (Signal::Metrics, "/prefix/v1/metrics"),
        (Signal::Profiles, "/prefix/v1development/profiles"),
    ] {
        exporter.export(Request::new(signal, Bytes::new()).into()).await.unwrap();
        assert_eq!(gets.recv().await.unwrap().0, expected);
    }
}

#[tokio::test]
async fn the_senders_headers_are_passed_on_where_they_are_listed() {
    let mut sent = HeaderMap::new();
    for (name, value) in [("authorization", "Bearer sender"), ("x-many", "one"), ("x-many", "two"), ("x-other", "no")] {
        sent.append(name, value.parse().unwrap());
    }
    let request = Request { metadata: Some(std::sync::Arc::new(sent)), ..request() };
    let (exporter, mut gets) = http(take, |config, _| {
        config.headers.insert("authorization", "Bearer configured".parse().unwrap());
        config.headers.insert("x-kept", "configured".parse().unwrap());
        config.metadata_keys = ["authorization", "x-many", "x-kept"].map(HeaderName::from_static).to_vec();
    })
    .await;
    exporter.export(request).await.unwrap();
    let (_, headers, _) = gets.recv().await.unwrap();
    let all = |name: &str| headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>().join(",");
    assert_eq!(all("authorization"), "Bearer sender");
    assert_eq!(all("x-many"), "one,two");
    assert_eq!(all("x-kept"), "configured");
    assert_eq!(all("x-other"), "");
}

#[tokio::test]
async fn an_http_status_with_a_delay_is_handed_back() {
    let busy = || {
        let headers = HeaderMap::from_iter([(http::header::RETRY_AFTER, "7".parse().unwrap())]);
        (http::StatusCode::TOO_MANY_REQUESTS, headers, b"slow down".to_vec())
    };
    let (exporter, _gets) = http(busy, |_, _| {}).await;
    let error = exporter.export(request()).await.unwrap_err();
    assert_eq!(error.to_string(), "ResourceExhausted: HTTP 429 Too Many Requests: slow down");
    assert!(error.is_retryable());
    assert_eq!(error.delay(), Some(Duration::from_secs(7)));
}

fn quick() -> Option<Retry> {
    Some(Retry {
        initial_interval: Duration::from_millis(1),
        randomization_factor: 0.5,
        multiplier: 1.5,
        max_interval: Duration::from_millis(5),
        max_elapsed_time: None,
    })
}

#[tokio::test]
async fn a_failure_is_tried_again_where_it_is_so_configured() {
    let left = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(3));
    let later = move || match left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)) {
        Ok(_) => (http::StatusCode::SERVICE_UNAVAILABLE, HeaderMap::new(), Vec::new()),
        Err(_) => take(),
    };
    let (exporter, mut gets) = http(later, |config, _| config.retry = quick()).await;
    exporter.export(request()).await.unwrap();
    for _ in 0..4 {
        assert_eq!(gets.recv().await.unwrap().2, body());
    }
    assert!(gets.is_empty());
}

#[tokio::test]
async fn what_is_permanent_or_can_not_wait_is_handed_back_at_once() {
    let never = || (http::StatusCode::BAD_REQUEST, HeaderMap::new(), Vec::new());
    let (exporter, mut gets) = http(never, |config, _| config.retry = quick()).await;
    exporter.export(request()).await.unwrap_err();
    gets.recv().await.unwrap();
    assert!(gets.is_empty());

    let tomorrow = || {
        let headers = HeaderMap::from_iter([(http::header::RETRY_AFTER, "3600".parse().unwrap())]);
        (http::StatusCode::SERVICE_UNAVAILABLE, headers, Vec::new())
    };
    let (exporter, mut gets) = http(tomorrow, |config, _| config.retry = quick()).await;
    let error = exporter.export(request()).await.unwrap_err();
    assert_eq!(error.delay(), Some(Duration::from_secs(3600)));
    gets.recv().await.unwrap();
    assert!(gets.is_empty());
}
