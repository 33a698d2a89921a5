//! Runs the Collector.
use std::{collections::BTreeMap, env, fmt::Write as _, fs, net::SocketAddr, path::PathBuf};

use anyhow::Result;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use sluicegate_tests::{otlp, process::Process};
use tempfile::TempDir;
use tokio::process::Command;

/// A Collector that writes what it gets to files: `otlp/NAME` receives, over both transports, and `file/NAME` writes.
#[derive(Debug)]
pub(crate) struct Collector {
    process: Process,
    folder: TempDir,
    /// By `GRPC` or `HTTP`, and the receiver's name.
    addresses: BTreeMap<(String, String), SocketAddr>,
}

impl Collector {
    /// Starts one that has a receiver and a file for each name, on ports from the system.
    pub(crate) async fn with_files<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let names: Vec<_> = names.into_iter().collect();
        let endpoints: Vec<_> = names.iter().map(|name| (*name, "127.0.0.1:0")).collect();
        Self::with_files_at(&endpoints).await
    }

    /// Starts one that has a receiver for OTLP/gRPC at each endpoint, and a file for it.
    pub(crate) async fn with_files_at(endpoints: &[(&str, &str)]) -> Result<Self> {
        let (mut receivers, mut exporters, mut pipelines) = (String::new(), String::new(), String::new());
        for (name, endpoint) in endpoints {
            let protocols = format!("grpc: {{ endpoint: '{endpoint}' }}, http: {{ endpoint: '127.0.0.1:0' }}");
            writeln!(receivers, "  otlp/{name}: {{ protocols: {{ {protocols} }} }}")?;
            writeln!(exporters, "  file/{name}: {{ path: '${{env:FOLDER}}/{name}.jsonl', flush_interval: 50ms }}")?;
            for signal in ["logs", "traces", "metrics", "profiles"] {
                writeln!(pipelines, "    {signal}/{name}: {{ receivers: [otlp/{name}], exporters: [file/{name}] }}")?;
            }
        }
        let config = format!(
            "receivers:\n{receivers}exporters:\n{exporters}\
             service:\n  telemetry: {{ metrics: {{ level: none }} }}\n  pipelines:\n{pipelines}"
        );
        Self::start(&config).await
    }

    /// Starts one with this configuration, in which `${env:FOLDER}` is a folder of its own.
    pub(crate) async fn start(config: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("collector.yaml");
        fs::write(&file, config)?;
        let mut command = Command::new(program());
        command.arg("--config").arg(&file).env("FOLDER", folder.path());
        // OTLP still develops profiles.
        command.arg("--feature-gates=service.profilesSupport");
        let mut process = Process::start(command)?;
        process.wait_for_line(|line| line.contains("Everything is ready").then_some(())).await?;
        let addresses = process.log().lines().filter_map(listens).collect();
        Ok(Self { process, folder, addresses })
    }

    /// Where the receiver `otlp/NAME` takes OTLP/gRPC.
    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        self.addresses[&("GRPC".to_owned(), name.to_owned())]
    }

    /// Where the receiver `otlp/NAME` takes OTLP/HTTP.
    pub(crate) fn http(&self, name: &str) -> SocketAddr {
        self.addresses[&("HTTP".to_owned(), name.to_owned())]
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// What `file/NAME` has written so far.
    pub(crate) fn written(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The same as requests. A line that is being written is left out.
    pub(crate) fn logs(&self, name: &str) -> Result<Vec<ExportLogsServiceRequest>> {
        let text = self.written(name);
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let copy = self.path(&format!("{name}-read"));
        fs::write(&copy, whole)?;
        otlp::read(&copy)
    }

    /// Ends it, which makes it write all that it has. Returns the folder of its files.
    pub(crate) async fn stop(self) -> Result<Files> {
        let ended = self.process.stop().await?;
        anyhow::ensure!(ended.code == Some(0), "the Collector ended with {:?}:\n{}", ended.code, ended.log);
        Ok(Files(self.folder))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name).with_extension("jsonl")
    }
}

/// What a Collector left behind.
#[derive(Debug)]
pub(crate) struct Files(TempDir);

impl Files {
    /// What `file/NAME` wrote.
    pub(crate) fn text(&self, name: &str) -> Result<String> {
        Ok(fs::read_to_string(self.0.path().join(name).with_extension("jsonl"))?)
    }

    /// The same as log records.
    pub(crate) fn rows(&self, name: &str) -> Result<Vec<otlp::Row>> {
        let requests = otlp::read(&self.0.path().join(name).with_extension("jsonl"))?;
        Ok(as_the_collector_writes(otlp::rows(&requests)))
    }
}

/// A body that is missing and one that is empty are the same to the Collector, which writes both as empty.
pub(crate) fn as_the_collector_writes(mut rows: Vec<otlp::Row>) -> Vec<otlp::Row> {
    for row in &mut rows {
        row.record.body.get_or_insert_default();
    }
    rows
}

/// Reads the transport, the name and the address of an OTLP receiver from the line that says that it listens.
fn listens(line: &str) -> Option<((String, String), SocketAddr)> {
    let field = |name: &str| {
        let (_, rest) = line.split_once(&format!("\"{name}\": \""))?;
        rest.split('"').next()
    };
    let (_, starting) = line.split_once("Starting ")?;
    let (transport, _) = starting.split_once(" server")?;
    let name = field("otelcol.component.id")?.strip_prefix("otlp/")?;
    Some(((transport.to_owned(), name.to_owned()), field("endpoint")?.parse().ok()?))
}

/// The Collector that `cargo xtask e2e` built.
fn program() -> PathBuf {
    let path = env::var_os("SLUICEGATE_COLLECTOR")
        .map_or_else(|| sluicegate_tests::target_dir().join("collector/build/collector"), PathBuf::from);
    assert!(path.exists(), "{} is missing: run `cargo xtask e2e`", path.display());
    path
}
