use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use opentelemetry_proto::tonic::collector::{
    metrics::v1::{ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient},
    trace::v1::{ExportTraceServiceRequest, trace_service_client::TraceServiceClient},
};
use tokio::net::TcpListener;
use tonic::{
    client,
    transport::{Server, server::TcpIncoming},
};

use super::*;
use crate::{
    codec::ClientCodec,
    receive::PartialSuccess,
    status::{Error, retry_delay},
    testing::{channel, client, grpc_listener, logs, logs_bytes},
};

/// Keeps what it gets and gives one answer to all.
#[derive(Clone)]
struct Fake {
    seen: Arc<Mutex<Vec<Request>>>,
    answer: fn() -> Result<Response, Error>,
}

impl Handler for Fake {
    async fn export(&self, request: Request) -> Result<Response, Error> {
        self.seen.lock().unwrap().push(request);
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
