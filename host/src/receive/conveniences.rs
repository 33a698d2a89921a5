//! What gRPC tools expect beside OTLP: health checking and reflection.
//!
//! Sources: <https://github.com/grpc/grpc/blob/master/doc/health-checking.md> and
//! <https://github.com/grpc/grpc/blob/master/doc/server-reflection.md>.
use std::{
    convert::Infallible,
    fmt,
    task::{Context, Poll},
};

use futures::{FutureExt, future::BoxFuture};
use tonic::{body::Body, codegen::Service, service::Routes};
use tonic_health::{
    ServingStatus,
    server::{HealthReporter, health_reporter},
};
use tonic_reflection::server::Builder;

use super::{Handler, Signal, grpc::OtlpGrpc};

/// The services that all OTLP/gRPC listeners share. Clones share their state.
#[derive(Clone)]
pub struct Conveniences {
    services: Routes,
    health: HealthReporter,
}

/// Everything that an OTLP/gRPC listener serves.
#[derive(Debug, Clone)]
pub struct GrpcServices<H> {
    otlp: OtlpGrpc<H>,
    conveniences: Conveniences,
}

/// The service that answers without authentication: orchestrators have none.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// What the paths of these services begin with, and those of no other.
const PREFIX: &str = "/grpc.";

/// How large their requests may be, in bytes: they hold the name of a service, a file or a symbol.
const MAX_REQUEST: usize = 16 << 10;

/// Whether an authenticator must have been satisfied before the path is served.
#[must_use]
pub fn path_needs_auth(path: &str) -> bool {
    !path.starts_with(HEALTH)
}

impl Conveniences {
    /// Says of every OTLP service, and of the whole, that it is serving.
    ///
    /// # Panics
    /// Never: the descriptors of OTLP are a part of this program.
    pub async fn new() -> Self {
        const DESCRIPTORS: &str = "the descriptors are a part of this program";
        let (health, health_service) = health_reporter();
        let this = Self { services: Routes::default(), health };
        this.set(ServingStatus::Serving).await;
        let reflection = || {
            Builder::configure()
                .register_encoded_file_descriptor_set(opentelemetry_proto::DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let v1 = reflection().build_v1().expect(DESCRIPTORS);
        let v1alpha = reflection().build_v1alpha().expect(DESCRIPTORS);
        let services = this
            .services
            .add_service(health_service.max_decoding_message_size(MAX_REQUEST))
            .add_service(v1.max_decoding_message_size(MAX_REQUEST))
            .add_service(v1alpha.max_decoding_message_size(MAX_REQUEST))
            .prepare();
        Self { services, ..this }
    }

    /// Says of all that it is not serving any longer, also to those who watch.
    pub async fn drain(&self) {
        self.set(ServingStatus::NotServing).await;
    }

    async fn set(&self, status: ServingStatus) {
        for service in Signal::ALL.map(Signal::grpc_service).into_iter().chain([""]) {
            self.health.set_service_status(service, status).await;
        }
    }
}

impl<H: Handler> GrpcServices<H> {
    /// Puts `conveniences` beside `otlp`.
    #[must_use]
    pub fn new(otlp: OtlpGrpc<H>, conveniences: Conveniences) -> Self {
        Self { otlp, conveniences }
    }
}

impl<H: Handler> Service<http::Request<Body>> for GrpcServices<H> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path().starts_with(PREFIX) {
            // Each call has its own clone, which is always ready.
            self.conveniences.services.clone().call(request).boxed()
        } else {
            self.otlp.call(request)
        }
    }
}

impl fmt::Debug for Conveniences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conveniences").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
