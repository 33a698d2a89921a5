use futures::{StreamExt, stream};
use tonic::{Code, body::Body};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::{v1, v1alpha};

use super::*;
use crate::{
    memory::MemoryLimiter,
    receive::{Request, Response},
    status::Error,
    testing::grpc_listener,
};

#[derive(Debug, Clone)]
struct Nobody;

impl Handler for Nobody {
    async fn export(&self, _: Request) -> Result<Response, Error> {
        Err(Error::Draining)
    }
}

async fn services() -> (GrpcServices<Nobody>, Conveniences) {
    let conveniences = Conveniences::new().await;
    let otlp = OtlpGrpc::new(Nobody, &grpc_listener(1 << 20), MemoryLimiter::new(1 << 20));
    (GrpcServices::new(otlp, conveniences.clone()), conveniences)
}

fn names() -> Vec<&'static str> {
    Signal::ALL.map(Signal::grpc_service).into_iter().chain([""]).collect()
}

#[tokio::test]
async fn health_is_of_the_whole_and_of_each_service_until_it_drains() {
    let (services, conveniences) = services().await;
    let mut client = HealthClient::new(services);
    let asked = |service: &str| HealthCheckRequest { service: service.to_owned() };
    for expected in [ServingStatus::Serving, ServingStatus::NotServing] {
        for service in names() {
            let answer = client.check(asked(service)).await.unwrap().into_inner();
            assert_eq!(answer.status(), expected, "{service:?}");
        }
        conveniences.drain().await;
    }
    assert_eq!(client.check(asked("nobody")).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn who_watches_hears_of_the_draining() {
    let (services, conveniences) = services().await;
    let request = HealthCheckRequest { service: Signal::Logs.grpc_service().to_owned() };
    let mut watched = HealthClient::new(services).watch(request).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    conveniences.drain().await;
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
}

/// What is served besides OTLP, as reflection names it.
const OTHERS: [&str; 1] = ["grpc.health.v1.Health"];

#[tokio::test]
async fn reflection_names_every_service() {
    use v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let (services, _) = services().await;
    let asked = [
        MessageRequest::ListServices(String::new()),
        MessageRequest::FileContainingSymbol("opentelemetry.proto.logs.v1.LogRecord".to_owned()),
    ];
    let asked = asked.map(|request| ServerReflectionRequest { message_request: Some(request), ..Default::default() });
    let answers = ServerReflectionClient::new(services).server_reflection_info(stream::iter(asked)).await.unwrap();
    let answers: Vec<_> = answers.into_inner().map(|answer| answer.unwrap().message_response.unwrap()).collect().await;
    let [MessageResponse::ListServicesResponse(list), MessageResponse::FileDescriptorResponse(files)] = &answers[..]
    else {
        panic!("{answers:?}");
    };
    let listed: Vec<_> = list.service.iter().map(|service| &*service.name).collect();
    for service in Signal::ALL.map(Signal::grpc_service).into_iter().chain(OTHERS) {
        assert!(listed.contains(&service), "{service} is none of {listed:?}");
    }
    assert!(!files.file_descriptor_proto.is_empty());
}

#[tokio::test]
async fn the_older_reflection_is_there_too() {
    use v1alpha::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest,
    };
    let (services, _) = services().await;
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let asked = stream::iter([ServerReflectionRequest { message_request, ..Default::default() }]);
    let answers = ServerReflectionClient::new(services).server_reflection_info(asked).await.unwrap();
    assert_eq!(answers.into_inner().map(|answer| answer.unwrap()).collect::<Vec<_>>().await.len(), 1);
}

#[tokio::test]
async fn what_is_no_convenience_is_otlp() {
    let (mut services, _) = services().await;
    for path in [Signal::Logs.grpc_path(), "/grpc.health.v2.Health/Check", "/nothing"] {
        let request = http::Request::post(path).header("content-type", "application/grpc").body(Body::empty());
        let answer = services.call(request.unwrap()).await.unwrap();
        let code = answer.headers().get("grpc-status").unwrap().to_str().unwrap();
        let expected = if path == Signal::Logs.grpc_path() { Code::InvalidArgument } else { Code::Unimplemented };
        assert_eq!(Code::from_bytes(code.as_bytes()), expected, "{path}");
    }
}

#[test]
fn only_health_needs_no_authentication() {
    for path in Signal::ALL.map(Signal::grpc_path).into_iter().chain(["/grpc.reflection.v1.ServerReflection/X", "/"]) {
        assert!(path_needs_auth(path), "{path}");
    }
    assert!(!path_needs_auth("/grpc.health.v1.Health/Check"));
    assert!(path_needs_auth("/grpc.health.v1.Healthy/Check"));
}
