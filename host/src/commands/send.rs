//! `sluicegate send`.
use std::{
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
    config::{self, Compression, Destination, OtlpExporter, Protocol, Span, Spanned},
    send::{SendError, Sender},
};

use super::Failure;

/// Send OTLP JSON files to an OTLP/gRPC endpoint
///
/// A file holds export requests of logs, traces or metrics: one a line, or one document over several lines. Says
/// for each what was sent and what was answered.
#[derive(Debug, Args)]
pub(super) struct Send {
    /// Where to send
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4317", value_parser = endpoint)]
    endpoint: Destination,
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

impl Send {
    #[tokio::main(flavor = "current_thread")]
    pub(super) async fn execute(self) -> Result<(), Failure> {
        let mut headers = HeaderMap::new();
        for (name, value) in self.header {
            headers.append(name, value);
        }
        let encoding = match self.compression {
            CompressionName::None => None,
            CompressionName::Gzip => Some(Encoding::Gzip),
            CompressionName::Zstd => Some(Encoding::Zstd),
        };
        let settings = OtlpExporter {
            compression: Compression { encoding, level: None },
            timeout: Some(self.timeout).filter(|timeout| !timeout.is_zero()),
            headers,
            ..OtlpExporter::new(Protocol::Grpc, Spanned::new(self.endpoint, Span::default()))
        };
        let mut sender = Sender::new(settings, io::stdout(), io::stderr());
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

fn read(file: &Path) -> io::Result<Vec<u8>> {
    if file.as_os_str() == "-" {
        let mut text = Vec::new();
        io::stdin().read_to_end(&mut text)?;
        return Ok(text);
    }
    fs::read(file)
}

fn endpoint(text: &str) -> Result<Destination, config::InvalidEndpoint> {
    // There is no TLS yet, so an address without a scheme can't mean it.
    Destination::parse(text, true)
}

fn header(text: &str) -> anyhow::Result<(HeaderName, HeaderValue)> {
    let (name, value) = text.split_once('=').ok_or_else(|| anyhow!("the form is KEY=VALUE"))?;
    Ok((name.trim().parse()?, value.trim().parse()?))
}
