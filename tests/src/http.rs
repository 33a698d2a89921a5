//! A client of OTLP/HTTP that sends exactly what it is told to.
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use tonic::codegen::http::{HeaderMap, Method, Request, Version};

/// A client of one listener. It keeps its connection.
#[derive(Debug, Clone)]
pub struct Client {
    client: legacy::Client<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
}

/// What was answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Such as 200.
    pub status: u16,
    /// The version of HTTP.
    pub version: Version,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Client {
    /// One that speaks HTTP/1.1 with `address`.
    #[must_use]
    pub fn http1(address: SocketAddr) -> Self {
        Self { client: legacy::Client::builder(TokioExecutor::new()).build_http(), address }
    }

    /// One that speaks cleartext HTTP/2 with `address`.
    #[must_use]
    pub fn http2(address: SocketAddr) -> Self {
        Self { client: legacy::Client::builder(TokioExecutor::new()).http2_only(true).build_http(), address }
    }

    /// Posts `body` to `path`.
    ///
    /// # Panics
    /// As [`Client::send`] does.
    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        self.send(Method::POST, path, headers, body).await
    }

    /// Sends one request.
    ///
    /// # Panics
    /// When nothing is answered, or not for too long.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("headers that are headers");
        let answer = async {
            let (head, body) = self.client.request(request).await?.into_parts();
            Ok::<_, Box<dyn std::error::Error>>((head, body.collect().await?.to_bytes()))
        };
        let (head, body) = crate::patiently("an answer over HTTP", answer).await.expect("an answer over HTTP");
        Answer { status: head.status.as_u16(), version: head.version, headers: head.headers, body }
    }
}

impl Answer {
    /// The value of a header, if it is there.
    ///
    /// # Panics
    /// When it is no text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a header of text"))
    }

    /// The body, which is JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }
}
