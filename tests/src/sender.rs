//! An application that exports to Sluicegate.
use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use prost::Message;
use tonic::{
    Request, Status,
    client::Grpc,
    codec::CompressionEncoding,
    codegen::http::uri::PathAndQuery,
    metadata::MetadataMap,
    transport::{Channel, Endpoint},
};

use crate::wire::{Raw, Signal};

/// A connection, made at the first call. Clones share it.
#[derive(Debug, Clone)]
pub struct Sender {
    grpc: Grpc<Channel>,
    wait: Option<Duration>,
    headers: MetadataMap,
}

impl Sender {
    /// Will send to `address`.
    ///
    /// # Panics
    /// Never: every socket address makes a URL.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address makes a URL");
        Self { grpc: Grpc::new(endpoint.connect_lazy()), wait: None, headers: MetadataMap::new() }
    }

    /// Compresses what it sends.
    #[must_use]
    pub fn compressed(self, encoding: CompressionEncoding) -> Self {
        Self { grpc: self.grpc.send_compressed(encoding).accept_compressed(encoding), ..self }
    }

    /// Says that it waits so long for each answer.
    #[must_use]
    pub fn waiting(self, wait: Duration) -> Self {
        Self { wait: Some(wait), ..self }
    }

    /// Sends this header too.
    ///
    /// # Panics
    /// When `value` can't be one.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(name, value.parse().expect("a header's value"));
        self
    }

    /// Sends `body` as it is and returns the answer as it is.
    ///
    /// # Errors
    /// The status that was answered.
    ///
    /// # Panics
    /// When nothing is answered for too long.
    pub async fn send(&self, signal: Signal, body: impl Into<Bytes>) -> Result<Bytes, Status> {
        let mut grpc = self.grpc.clone();
        let call = async {
            grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
            let path = PathAndQuery::from_static(signal.path());
            let mut request = Request::new(body.into());
            *request.metadata_mut() = self.headers.clone();
            if let Some(wait) = self.wait {
                request.set_timeout(wait);
            }
            grpc.unary(request, path, Raw).await
        };
        crate::patiently("an answer to an export call", call).await.map(tonic::Response::into_inner)
    }

    /// Sends log records.
    ///
    /// # Errors
    /// The status that was answered.
    ///
    /// # Panics
    /// When the answer is none.
    pub async fn send_logs(&self, request: &ExportLogsServiceRequest) -> Result<ExportLogsServiceResponse, Status> {
        let answer = self.send(Signal::Logs, request.encode_to_vec()).await?;
        Ok(ExportLogsServiceResponse::decode(answer).expect("an answer is an ExportLogsServiceResponse"))
    }
}
