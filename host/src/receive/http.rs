//! OTLP/HTTP: a POST to the path of a signal, in protobuf or JSON.
//!
//! What the parts do, from the outside in: [`Decorated`] adds the headers of the configuration and speaks to browsers,
//! authentication may stand there, [`OtlpHttp`] takes requests.
use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{FutureExt, future::BoxFuture};
use http::{HeaderMap, Method, header};
use http_body::Body as _;
use tonic::body::Body;
use tower::Service;

pub use self::{answer::MediaType, decorate::Decorated};

use super::{
    Handler, Request, Response, Signal,
    body::{self, Encoded, Limit, Pieces},
};
use crate::{
    compression::Encoding,
    config::HttpListener,
    memory::{MemoryLimiter, Reservation},
    status::{Error, Refusal},
};

pub(crate) mod answer;
mod decorate;

/// Serves the paths of all signals.
///
/// Requests may come compressed with gzip, zstd or deflate; answers are compressed for a sender that asks for it.
#[derive(Debug, Clone)]
pub struct OtlpHttp<H> {
    handler: H,
    settings: Arc<HttpListener>,
    memory: MemoryLimiter,
}

impl<H: Handler> OtlpHttp<H> {
    /// Hands requests to `handler`, as long as what they hold fits into `memory`.
    #[must_use]
    pub fn new(handler: H, settings: &HttpListener, memory: MemoryLimiter) -> Self {
        Self { handler, settings: Arc::new(settings.clone()), memory }
    }

    async fn export(&self, request: http::Request<Body>) -> Result<(Signal, Response), Error> {
        let (head, body) = request.into_parts();
        let signal = self.signal(head.uri.path())?;
        if head.method != Method::POST {
            return Err(Error::Method(head.method));
        }
        let encoded = Encoded {
            signal,
            media_type: media_type(&head.headers)?,
            encoding: encoding(&head.headers)?,
            limit: self.limit(),
        };
        // What the request holds is given back when it is answered, or its sender has gone.
        let held = self.memory.open();
        held.grow(0)?;
        let wire = self.read(body, encoded.encoding.is_none(), &held).await?;
        let decoded = encoded.decode(wire, held.clone()).await?;
        let metadata = self.settings.listener.include_metadata.then(|| Arc::new(head.headers));
        let request =
            Request { signal, body: decoded.body, json: decoded.json, deadline: None, metadata, held: Some(held) };
        Ok((signal, self.handler.export(request).await?.shortened()))
    }

    fn signal(&self, path: &str) -> Result<Signal, Error> {
        let mut paths = self.settings.paths.iter();
        let found = paths.find(|(_, known)| *known == path);
        found.map(|(signal, _)| *signal).ok_or_else(|| Error::NoSuchPath(path.to_owned()))
    }

    /// The body as it came, all of which must be there in time.
    async fn read(&self, mut body: Body, is_plain: bool, held: &Reservation) -> Result<Pieces, Error> {
        let limit = self.limit();
        let total = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if total > limit.bytes {
            return Err(limit.exceeded());
        }
        let reading = async {
            let mut pieces = Pieces::default();
            while let Some(data) = body::next(&mut body, limit.bytes - pieces.len(), limit, held).await? {
                let is_first = pieces.len() == 0;
                pieces.push(data);
                if is_plain && is_first {
                    pieces.join(total);
                }
            }
            Ok(pieces)
        };
        match self.settings.read_timeout {
            Some(time) => tokio::time::timeout(time, reading).await.map_err(|_| Error::Slow(time))?,
            None => reading.await,
        }
    }

    fn limit(&self) -> Limit {
        Limit { bytes: self.settings.max_request_body_size, key: "max_request_body_size" }
    }
}

impl<H: Handler> Service<http::Request<Body>> for OtlpHttp<H> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        async move {
            let media_type = MediaType::of(request.headers());
            let accepted = answer::accepted(request.headers(), header::ACCEPT_ENCODING.as_str());
            let answer = match this.export(request).await {
                Ok((signal, response)) => answer::taken(signal, response, media_type.unwrap_or_default()),
                Err(error) => answer::refused(Refusal::from(error), media_type),
            };
            Ok(answer::compressed(answer, accepted))
        }
        .boxed()
    }
}

fn media_type(headers: &HeaderMap) -> Result<MediaType, Error> {
    MediaType::of(headers).ok_or_else(|| {
        let found = headers.get(header::CONTENT_TYPE).map_or("none".into(), |found| format!("{found:?}"));
        Error::MediaType(format!(
            "the Content-Type is {found}: OTLP/HTTP is application/x-protobuf or application/json"
        ))
    })
}

/// How the body is compressed, if it is.
fn encoding(headers: &HeaderMap) -> Result<Option<Encoding>, Error> {
    let mut found = headers.get_all(header::CONTENT_ENCODING).iter();
    let (first, rest) = (found.next(), found.next());
    let Some(first) = first else { return Ok(None) };
    let name = first.to_str().unwrap_or_default().trim();
    if rest.is_none() && (name.is_empty() || name.eq_ignore_ascii_case("identity")) {
        return Ok(None);
    }
    let known = Encoding::from_name(name).filter(|_| rest.is_none());
    known.map(Some).ok_or_else(|| {
        Error::Undecodable(format!(
            "the Content-Encoding is {first:?}: gzip, zstd, deflate and identity are taken here"
        ))
    })
}

#[cfg(test)]
mod tests;
