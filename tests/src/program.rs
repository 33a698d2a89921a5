//! Runs `sluicegate`.
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    metrics::{self, Page},
    process::{Ended, Process},
    sender::Sender,
};

/// A running `sluicegate run`, all of its listeners bound.
#[derive(Debug)]
pub struct Sluicegate {
    process: Process,
    addresses: Addresses,
    /// Holds the configuration while the program runs.
    _folder: Option<TempDir>,
}

/// What the start line says of who listens where.
#[derive(Debug, Clone, Copy)]
struct Addresses {
    grpc: SocketAddr,
    metrics: Option<SocketAddr>,
    health: Option<SocketAddr>,
}

impl Sluicegate {
    /// Runs it with the configuration `text`.
    ///
    /// # Errors
    /// When it ends before it listens.
    pub async fn start(text: &str) -> Result<Self> {
        let (folder, file) = write(text)?;
        Ok(Self { _folder: Some(folder), ..Self::start_file(&file, &[]).await? })
    }

    /// Runs it with the configuration `file` and these variables in its environment.
    ///
    /// # Errors
    /// When it ends before it listens.
    pub async fn start_file(file: &Path, environment: &[(&str, &str)]) -> Result<Self> {
        Self::start_with(file, &[], environment).await
    }

    /// The same with further arguments.
    ///
    /// # Errors
    /// When it ends before it listens.
    pub async fn start_with(file: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        let mut command = Command::new(binary());
        command.arg("run").arg("--config").arg(file).args(arguments).envs(environment.iter().copied());
        let mut process = Process::start(command)?;
        let addresses = process.wait_for_line(Addresses::read).await?;
        Ok(Self { process, addresses, _folder: None })
    }

    /// Where it takes OTLP/gRPC.
    #[must_use]
    pub const fn grpc(&self) -> SocketAddr {
        self.addresses.grpc
    }

    /// A new connection to it.
    #[must_use]
    pub fn sender(&self) -> Sender {
        Sender::new(self.grpc())
    }

    /// Its metrics.
    ///
    /// # Errors
    /// When there is no page of them.
    pub async fn page(&self) -> Result<Page> {
        Page::read(self.addresses.metrics.context("no metrics endpoint is configured")?).await
    }

    /// The status that its health check answers.
    ///
    /// # Errors
    /// When there is none.
    pub async fn health(&self) -> Result<u16> {
        let address = self.addresses.health.context("no health check is configured")?;
        Ok(metrics::get(address, "/").await?.0)
    }

    /// The process.
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Asks it to end by SIGTERM and waits for that.
    ///
    /// # Errors
    /// When it has ended already.
    pub async fn stop(self) -> Result<Ended> {
        self.process.stop().await
    }
}

impl Addresses {
    /// Reads them where `line` is the start line, in either encoding: `listening` has `NAME=ADDRESS` for each.
    fn read(line: &str) -> Option<Self> {
        let (_, listening) = line.split_once("listening")?;
        let listening = listening.trim_start_matches(['"', ':', '=']).split('"').next()?;
        let address = |name: &str| {
            let named = listening.split(' ').filter_map(|listener| listener.split_once('='));
            named.clone().find(|(listener, _)| *listener == name)?.1.parse().ok()
        };
        Some(Self { grpc: address("grpc.otlp")?, metrics: address("metrics"), health: address("health_check") })
    }
}

/// Runs `sluicegate` with these arguments to its end.
///
/// # Errors
/// When it can't be started.
pub async fn sluicegate(arguments: &[&str]) -> Result<Ended> {
    crate::process::run(binary(), arguments).await
}

/// Writes `text` into a new folder as a configuration.
///
/// # Errors
/// When the system doesn't let it.
pub fn write(text: &str) -> Result<(TempDir, PathBuf)> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("sluicegate.yaml");
    fs::write(&file, text)?;
    Ok((folder, file))
}

/// The program under test: beside the one that runs now, or where `SLUICEGATE_BIN` says.
///
/// # Panics
/// When it isn't there.
#[must_use]
pub fn binary() -> PathBuf {
    let path =
        std::env::var_os("SLUICEGATE_BIN").map_or_else(|| crate::target_dir().join("debug/sluicegate"), PathBuf::from);
    assert!(path.exists(), "{} is missing: run `cargo xtask test`", path.display());
    path
}
