//! `sluicegate send`.
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use http::{HeaderMap, HeaderName, HeaderValue};
use sluicegate::{
    compression::Encoding,
    config::{self, ClientTls, Compression, Destination, HttpEncoding, OtlpExporter, Protocol, Span, Spanned},
    send::{SendError, Sender},
};

use super::Failure;

/// Send OTLP JSON files to an OTLP endpoint
///
/// A file holds export requests of logs, traces or metrics: one a line, or one document over several lines. Says
/// for each what was sent and what was answered.
#[derive(Debug, Args)]
pub(super) struct Send {
    /// Where to send; http://127.0.0.1:4317 by default, or port 4318 for OTLP/HTTP, without the signal's path
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// How to send
    #[arg(long, default_value = "grpc")]
    protocol: ProtocolName,
    /// The authorities that may have signed an https endpoint's certificate, in PEM; the system's by default
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// How requests are compressed
    #[arg(long, default_value = "none")]
    compression: CompressionName,
    /// Metadata to send along; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = header)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// How long to wait for each answer, such as 500ms or 1m30s; 0 for as long as it takes
    #[arg(long, default_value = "10s", value_parser = config::duration)]
    timeout: Duration,
    /// What to send; - for standard input
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// The names that the configuration has for them.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum CompressionName {
    None,
    Gzip,
    Zstd,
}

/// The values of `OTEL_EXPORTER_OTLP_PROTOCOL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProtocolName {
    Grpc,
    #[value(name = "http/protobuf")]
    HttpProtobuf,
    #[value(name = "http/json")]
    HttpJson,
}

impl Send {
    #[tokio::main(flavor = "current_thread")]
    pub(super) async fn execute(self) -> Result<(), Failure> {
        let endpoint = self.destination().map_err(Failure::Input)?;
        let mut headers = HeaderMap::new();
        for (name, value) in self.header {
            headers.append(name, value);
        }
        let encoding = match self.compression {
            CompressionName::None => None,
            CompressionName::Gzip => Some(Encoding::Gzip),
            CompressionName::Zstd => Some(Encoding::Zstd),
        };
        let protocol = match self.protocol {
            ProtocolName::Grpc => Protocol::Grpc,
            ProtocolName::HttpProtobuf => http(HttpEncoding::Proto),
            ProtocolName::HttpJson => http(HttpEncoding::Json),
        };
        let settings = OtlpExporter {
            tls: ClientTls { ca_file: self.ca_file.map(anywhere), ..ClientTls::default() },
            compression: Compression { encoding, level: None },
            timeout: Some(self.timeout).filter(|timeout| !timeout.is_zero()),
            headers,
            ..OtlpExporter::new(protocol, anywhere(endpoint))
        };
        let sender = Sender::new(settings, io::stdout(), io::stderr());
        let mut sender = sender.map_err(|e| Failure::Input(e.into()))?;
        for file in &self.files {
            let name = file.display().to_string();
            let text = read(file).with_context(|| format!("can't read {name}")).map_err(Failure::Input)?;
            sender.send(&name, &text).await.map_err(|e| match e {
                SendError::Document { .. } | SendError::Empty(_) => Failure::Input(e.into()),
                SendError::Report(_) => Failure::Runtime(e.into()),
            })?;
        }
        // The report has told of each that was not taken.
        if sender.all_taken() { Ok(()) } else { Err(Failure::Reported) }
    }
}

impl Send {
    fn destination(&self) -> anyhow::Result<Destination> {
        let is_grpc = self.protocol == ProtocolName::Grpc;
        let default = if is_grpc { "http://127.0.0.1:4317" } else { "http://127.0.0.1:4318" };
        let text = self.endpoint.as_deref().unwrap_or(default);
        // An address without a scheme is one of those that people have on their own machine.
        let parsed = if is_grpc { Destination::parse(text, true) } else { Destination::parse_url(text) };
        parsed.context("--endpoint")
    }
}

/// A value that no configuration holds.
fn anywhere<T>(value: T) -> Spanned<T> {
    Spanned::new(value, Span::default())
}

fn http(encoding: HttpEncoding) -> Protocol {
    Protocol::Http { encoding, overrides: BTreeMap::new() }
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    if file.as_os_str() == "-" {
        let mut text = Vec::new();
        io::stdin().read_to_end(&mut text)?;
        return Ok(text);
    }
    fs::read(file)
}

fn header(text: &str) -> anyhow::Result<(HeaderName, HeaderValue)> {
    let (name, value) = text.split_once('=').ok_or_else(|| anyhow!("the form is KEY=VALUE"))?;
    Ok((name.trim().parse()?, value.trim().parse()?))
}
