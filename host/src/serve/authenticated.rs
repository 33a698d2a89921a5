//! Asks who sends, before anything of a request but its headers is read.
use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{FutureExt, future::BoxFuture};
use http::{Request, Response, header};
use tonic::{body::Body, codegen::Service};

use super::transport::Transport;
use crate::{auth::Authenticator, receive::conveniences::path_needs_auth};

/// A service that is reached only by those whom the authenticator knows, if there is one.
#[derive(Debug, Clone)]
pub(super) struct Authenticated<S> {
    pub(super) service: S,
    pub(super) authenticator: Option<Arc<Authenticator>>,
    pub(super) transport: Transport,
}

impl<S> Service<Request<Body>> for Authenticated<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(authenticator) = self.authenticator.clone() else { return self.service.call(request).boxed() };
        // Health is a service of gRPC's alone.
        if self.transport == Transport::Grpc && !path_needs_auth(request.uri().path()) {
            return self.service.call(request).boxed();
        }
        let transport = self.transport;
        // The clone takes the place of the service that was made ready.
        let clone = self.service.clone();
        let mut service = std::mem::replace(&mut self.service, clone);
        async move {
            match authenticator.check(request.headers()).await {
                Ok(()) => service.call(request).await,
                Err(error) => {
                    let mut answer = transport.refusal(request.headers())(error);
                    if transport == Transport::Http {
                        answer.headers_mut().insert(header::WWW_AUTHENTICATE, authenticator.challenge());
                    }
                    Ok(answer)
                }
            }
        }
        .boxed()
    }
}
