use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use opentelemetry_proto::tonic::collector::{
    metrics::v1::{ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient},
    trace::v1::{ExportTraceServiceRequest, trace_service_client::TraceServiceClient},
};
use tokio::net::TcpListener;
use tonic::{
    Code, client,
    codec::CompressionEncoding,
    transport::{Server, server::TcpIncoming},
};

use super::*;
use crate::{
    receive::PartialSuccess,
    status::{Error, retry_delay},
    testing::{ClientCodec, channel, client, grpc_listener, logs, logs_bytes},
};

/// Keeps what it gets and gives one answer to all.
#[derive(Clone)]
struct Fake {
    seen: Arc<Mutex<Vec<Request>>>,
    answer: fn() -> Result<Response, Error>,
}

impl Handler for Fake {
    async fn export(&self, request: Request) -> Result<Response, Error> {
        // What it holds is given back with the answer.
        self.seen.lock().unwrap().push(Request { held: None, ..request });
        (self.answer)()
    }
}

const LIMIT: usize = 100_000;
const MEMORY: usize = 2 * LIMIT;

async fn serve(answer: fn() -> Result<Response, Error>) -> (SocketAddr, Fake) {
    let fake = Fake { seen: Arc::default(), answer };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = OtlpGrpc::new(fake.clone(), &grpc_listener(LIMIT), MemoryLimiter::new(MEMORY));
    tokio::spawn(Server::builder().serve_with_incoming(service, TcpIncoming::from(listener)));
    (address, fake)
}

fn taken() -> Result<Response, Error> {
    Ok(Response::default())
}

/// Sends bytes as they are.
async fn send(
    address: SocketAddr,
    path: &'static str,
    body: Bytes,
    compression: Option<CompressionEncoding>,
) -> Result<Response, Status> {
    let mut grpc = client::Grpc::new(channel(address));
    if let Some(encoding) = compression {
        grpc = grpc.send_compressed(encoding).accept_compressed(encoding);
    }
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static(path);
    Ok(grpc.unary(tonic::Request::new(body), path, ClientCodec).await?.into_inner())
}

#[tokio::test]
async fn requests_arrive_byte_for_byte() {
    let (address, fake) = serve(taken).await;
    // Nothing here looks into a request: this one is no protobuf.
    let bodies = [Bytes::new(), Bytes::from_static(b"\xff\xff"), logs_bytes(500, "INFO")];
    for signal in Signal::ALL {
        for compression in [None, Some(CompressionEncoding::Gzip), Some(CompressionEncoding::Zstd)] {
            for body in &bodies {
                let answer = send(address, signal.grpc_path(), body.clone(), compression).await.unwrap();
                assert_eq!(answer, Response::default());
                let request = fake.seen.lock().unwrap().pop().unwrap();
                assert_eq!((request.signal, &request.body, request.deadline), (signal, body, None));
            }
        }
    }
}

#[tokio::test]
async fn generated_clients_of_all_three_services_are_served() {
    let (address, fake) = serve(taken).await;
    let mut logs_client = client(address).send_compressed(CompressionEncoding::Gzip);
    assert_eq!(logs_client.export(logs(1, "INFO")).await.unwrap().into_inner().partial_success, None);
    let mut traces = TraceServiceClient::new(channel(address));
    assert_eq!(traces.export(ExportTraceServiceRequest::default()).await.unwrap().into_inner().partial_success, None);
    let mut metrics = MetricsServiceClient::new(channel(address));
    assert_eq!(
        metrics.export(ExportMetricsServiceRequest::default()).await.unwrap().into_inner().partial_success,
        None
    );
    let seen: Vec<_> = fake.seen.lock().unwrap().iter().map(|request| request.signal).collect();
    assert_eq!(seen, [Signal::Logs, Signal::Traces, Signal::Metrics]);
}

#[tokio::test]
async fn a_partial_success_reaches_the_sender() {
    let (address, _) = serve(|| {
        let partial = PartialSuccess { rejected: 3, error_message: "too old".to_owned() };
        Ok(Response { partial_success: Some(partial) })
    })
    .await;
    let partial = client(address).export(logs(5, "INFO")).await.unwrap().into_inner().partial_success.unwrap();
    assert_eq!((partial.rejected_log_records, &*partial.error_message), (3, "too old"));
}

#[tokio::test]
async fn what_is_too_large_is_refused_for_good() {
    let (address, fake) = serve(taken).await;
    let path = Signal::Logs.grpc_path();
    let zeros = |len| Bytes::from(vec![0; len]);
    for compression in [None, Some(CompressionEncoding::Gzip), Some(CompressionEncoding::Zstd)] {
        send(address, path, zeros(LIMIT), compression).await.unwrap();
        for len in [LIMIT + 1, 100 * LIMIT] {
            let status = send(address, path, zeros(len), compression).await.unwrap_err();
            assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
            assert_eq!(retry_delay(&status), None);
            let message =
                "the request is larger than 100000 bytes: send smaller batches, or raise max_recv_msg_size_mib";
            assert_eq!(status.message(), message);
        }
    }
    assert_eq!(fake.seen.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_failure_reaches_the_sender_as_its_status() {
    let (address, _) = serve(|| Err(Error::NoPipeline(Signal::Logs))).await;
    let status = client(address).export(logs(1, "INFO")).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unimplemented, "no pipeline is configured for logs"));
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented() {
    let (address, _) = serve(taken).await;
    let status = send(address, "/opentelemetry.proto.collector.logs.v1.LogsService/Import", Bytes::new(), None).await;
    assert_eq!(status.unwrap_err().code(), Code::Unimplemented);
}

/// Calls a service without a connection between.
async fn call<H: Handler>(mut service: OtlpGrpc<H>, content_type: &str, body: Body) -> http::Response<Body> {
    let request = http::Request::post(Signal::Logs.grpc_path()).header("content-type", content_type);
    service.call(request.body(body).unwrap()).await.unwrap()
}

/// A message behind its prefix.
fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat().into()
}

/// Never answers.
#[derive(Debug, Clone)]
struct Busy;

impl Handler for Busy {
    async fn export(&self, _: Request) -> Result<Response, Error> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_request_holds_its_message_twice_until_it_is_given_up() {
    let memory = MemoryLimiter::new(MEMORY);
    let service = OtlpGrpc::new(Busy, &grpc_listener(LIMIT), memory.clone());
    let body = logs_bytes(100, "INFO");
    let mut under_way = Box::pin(call(service, "application/grpc", Body::new(Full::new(framed(&body)))));
    assert!((&mut under_way).now_or_never().is_none());
    assert_eq!(memory.in_use(), 2 * body.len());
    drop(under_way);
    assert_eq!(memory.in_use(), 0);
}

#[tokio::test]
async fn beyond_the_memory_limit_a_sender_is_told_to_come_back() {
    // What arrives is over the first limit, the message in memory over the second.
    for room in [LIMIT / 2, LIMIT + LIMIT / 2] {
        let memory = MemoryLimiter::new(MEMORY);
        let others = memory.open();
        others.grow(MEMORY - room).unwrap();
        let service = OtlpGrpc::new(Busy, &grpc_listener(LIMIT), memory.clone());
        let body = Body::new(Full::new(framed(&[0; LIMIT])));
        let answer = call(service, "application/grpc+proto", body).await;
        let status = Status::from_header_map(answer.headers()).unwrap();
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        assert_eq!(retry_delay(&status), Some(Duration::from_secs(1)));
        drop((answer, others));
        assert_eq!(memory.in_use(), 0);
    }
}

#[tokio::test]
async fn a_message_that_does_not_come_to_its_end_in_time_is_refused() {
    let time = Duration::from_millis(20);
    let service = OtlpGrpc::new(Busy, &grpc_listener(LIMIT), MemoryLimiter::new(MEMORY));
    let half = stream::iter([Ok::<_, Infallible>(Frame::data(framed(&[0; 100]).slice(..50)))]);
    let never = Body::new(StreamBody::new(half.chain(stream::pending())));
    let answer = call(OtlpGrpc { read_timeout: time, ..service }, "application/grpc", never).await;
    let status = Status::from_header_map(answer.headers()).unwrap();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "the request did not arrive within 20ms"));
}

#[tokio::test]
async fn what_is_no_grpc_is_refused_in_its_own_format() {
    let service = OtlpGrpc::new(Busy, &grpc_listener(LIMIT), MemoryLimiter::new(MEMORY));
    for (content_type, answered) in [
        ("application/json", "application/json"),
        ("application/x-protobuf", "application/x-protobuf"),
        ("application/grpc-web+proto", "application/json"),
    ] {
        let answer = call(service.clone(), content_type, Body::new(Full::from("{}"))).await;
        assert_eq!(answer.status().as_u16(), 415);
        assert_eq!(answer.headers()["content-type"], answered);
    }
}

#[tokio::test]
async fn headers_are_kept_where_the_listener_says_so() {
    let fake = Fake { seen: Arc::default(), answer: taken };
    let mut settings = grpc_listener(LIMIT);
    settings.listener.include_metadata = true;
    let service = OtlpGrpc::new(fake.clone(), &settings, MemoryLimiter::new(MEMORY));
    call(service, "application/grpc", Body::new(Full::new(framed(b"")))).await;
    let metadata = fake.seen.lock().unwrap()[0].metadata.clone().unwrap();
    assert_eq!(metadata["content-type"], "application/grpc");
}

#[tokio::test]
async fn an_answer_stays_below_what_senders_take() {
    let (address, _) = serve(|| {
        let error_message = "\u{20ac}".repeat(2 << 20);
        Ok(Response { partial_success: Some(PartialSuccess { rejected: 0, error_message }) })
    })
    .await;
    let partial = client(address).export(logs(1, "INFO")).await.unwrap().into_inner().partial_success.unwrap();
    assert!(partial.error_message.starts_with('\u{20ac}') && partial.error_message.len() < 4 << 20);
}

#[tokio::test]
async fn the_senders_timeout_becomes_the_deadline() {
    let (address, fake) = serve(taken).await;
    let mut request = tonic::Request::new(logs(1, "INFO"));
    request.set_timeout(Duration::from_secs(3600));
    let before = Instant::now();
    client(address).export(request).await.unwrap();
    let deadline = fake.seen.lock().unwrap()[0].deadline.unwrap();
    assert!(deadline >= before + Duration::from_secs(3599) && deadline <= Instant::now() + Duration::from_secs(3600));
}

#[test]
fn a_timeout_is_digits_and_a_unit() {
    let check = |value: &'static str, expected: Option<Duration>| {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", value.parse().unwrap());
        assert_eq!(grpc_timeout(&headers), expected, "{value:?}");
    };
    check("99999999H", Some(Duration::from_secs(99_999_999 * 3600)));
    check("2M", Some(Duration::from_secs(120)));
    check("10S", Some(Duration::from_secs(10)));
    check("5m", Some(Duration::from_millis(5)));
    check("7u", Some(Duration::from_micros(7)));
    check("0n", Some(Duration::ZERO));
    for value in ["", "S", "10", "10s", "-1S", "+1S", "1.5S", "100000000S", "10 S"] {
        check(value, None);
    }
    assert_eq!(grpc_timeout(&HeaderMap::new()), None);
}
