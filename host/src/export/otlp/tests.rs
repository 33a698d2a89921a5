use std::{convert::Infallible, future::pending, task};

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
    receive::{PartialSuccess, Signal},
    testing::{Collector, logs, logs_bytes, otlp_grpc},
};

fn request() -> Request {
    Request::new(Signal::Logs, logs_bytes(2, "INFO"))
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
