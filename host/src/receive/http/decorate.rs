//! What every answer of an OTLP/HTTP listener carries beside its own: configured headers, and what browsers ask for.
use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use futures::{FutureExt, future::BoxFuture};
use http::{HeaderMap, HeaderName, Method, header};
use tonic::body::Body;
use tower::{Layer as _, Service, util::Either};
use tower_http::cors::{AllowHeaders, AllowOrigin, Any, Cors, CorsLayer};

use crate::config::{self, HttpListener};

/// A service with the `response_headers` and `cors` of its listener. It stands outside of authentication: browsers
/// ask without credentials whether they may send, and a page must see why it was refused.
#[derive(Debug, Clone)]
pub struct Decorated<S> {
    service: Either<Cors<S>, S>,
    headers: HeaderMap,
}

impl<S> Decorated<S> {
    /// Decorates the answers of `service` as `settings` say.
    pub fn new(service: S, settings: &HttpListener) -> Self {
        let service = match &settings.cors {
            Some(cors) => Either::Left(layer(cors).layer(service)),
            None => Either::Right(service),
        };
        Self { service, headers: settings.response_headers.clone() }
    }
}

impl<S> Service<http::Request<Body>> for Decorated<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answer = self.service.call(request);
        let headers = self.headers.clone();
        async move {
            let mut answer = answer.await?;
            answer.headers_mut().extend(headers);
            Ok(answer)
        }
        .boxed()
    }
}

/// The headers that every OTLP sender in a browser sets, and the Collector's own addition to the safe ones.
const OTLP_HEADERS: [HeaderName; 2] = [header::CONTENT_TYPE, HeaderName::from_static("x-requested-with")];

fn layer(cors: &config::Cors) -> CorsLayer {
    let layer = CorsLayer::new().allow_methods([Method::POST]).expose_headers(cors.exposed_headers.clone());
    let layer = match cors.max_age {
        Some(age) => layer.max_age(age),
        None => layer,
    };
    let every_header = cors.allowed_headers.iter().any(|name| name == "*");
    let names = cors.allowed_headers.iter().filter_map(|name| name.parse().ok());
    let layer = layer.allow_headers(if every_header {
        AllowHeaders::mirror_request()
    } else {
        AllowHeaders::list(OTLP_HEADERS.into_iter().chain(names))
    });
    if cors.allowed_origins.iter().any(|origin| origin == "*") {
        // Browsers take no credentials where every origin is allowed.
        return layer.allow_origin(Any);
    }
    let allowed = cors.allowed_origins.clone();
    let is_allowed = move |origin: &str| allowed.iter().any(|pattern| matches(pattern, origin));
    layer
        .allow_credentials(true)
        .allow_origin(AllowOrigin::predicate(move |origin, _| origin.to_str().is_ok_and(&is_allowed)))
}

/// Whether `origin` is what `pattern` describes, in which each `*` stands for any text. Neither has case.
fn matches(pattern: &str, origin: &str) -> bool {
    let (pattern, origin) = (pattern.to_ascii_lowercase(), origin.to_ascii_lowercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| origin.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests;
