//! Tells senders of OTLP/HTTP that this port is the one of OTLP/gRPC.
use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::Either;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body_util::Full;
use tonic::{body::Body, codegen::Service};

/// Lets HTTP/2 through to a gRPC service. HTTP/1.1 gets an answer that a person can read.
#[derive(Debug, Clone)]
pub(super) struct GrpcOnly<S> {
    service: S,
    message: Arc<str>,
}

impl<S> GrpcOnly<S> {
    /// `http` is where OTLP/HTTP is taken, if it is.
    pub(super) fn new(service: S, http: Option<&str>) -> Self {
        let help = match http {
            Some(address) => format!("OTLP/HTTP is taken at {address}"),
            None => "set OTEL_EXPORTER_OTLP_PROTOCOL=grpc, or configure `protocols.http`".to_owned(),
        };
        Self { service, message: format!("this port takes OTLP/gRPC, which needs HTTP/2: {help}\n").into() }
    }
}

impl<S> Service<Request<Body>> for GrpcOnly<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.version() >= Version::HTTP_2 {
            return Either::Left(self.service.call(request));
        }
        tracing::debug!(path = request.uri().path(), "a client speaks HTTP/1.1 to the port of OTLP/gRPC");
        let mut answer = Response::new(Body::new(Full::from(self.message.to_string())));
        // Of the class that senders do not try again, as it would not help.
        *answer.status_mut() = StatusCode::BAD_REQUEST;
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        Either::Right(ready(Ok(answer)))
    }
}
