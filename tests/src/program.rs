//! Runs `sluicegate`.
use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Result;
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
    /// What the start line says of who listens where: `grpc.otlp`, `http.otlp`, `metrics`, `health_check`.
    listeners: BTreeMap<String, String>,
    /// The configuration.
    file: PathBuf,
    /// Holds it while the program runs.
    _folder: Option<TempDir>,
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
        let mut command = command();
        command.arg("run").arg("--config").arg(file).args(arguments).envs(environment.iter().copied());
        let mut process = Process::start(command)?;
        let listeners = process.wait_for_line(listeners).await?;
        Ok(Self { process, listeners, file: file.to_owned(), _folder: None })
    }

    /// Replaces its configuration, which it takes up when it is told to. It never reads a half of it.
    ///
    /// # Errors
    /// When the system doesn't let it.
    pub fn rewrite(&self, text: &str) -> Result<()> {
        replace(&self.file, text)
    }

    /// Makes it take up its configuration by SIGHUP and waits until it has tried to. Says whether it did.
    ///
    /// # Errors
    /// When it has ended, or has no page of metrics.
    pub async fn reload(&self) -> Result<bool> {
        let before = self.reloads().await?;
        self.process.signal("HUP").await?;
        self.reloaded(before).await
    }

    /// How often it has taken up a configuration, and how often it has not, since its start.
    ///
    /// # Errors
    /// When there is no page of metrics.
    pub async fn reloads(&self) -> Result<(u64, u64)> {
        let page = self.page().await?;
        let count = |result| page.sum("config_reloads", &[("result", result)]);
        Ok((count("success"), count("failure")))
    }

    /// Waits until there are other numbers of reloads than `before`. Says whether the last was a success.
    ///
    /// # Errors
    /// When there is no page of metrics.
    pub async fn reloaded(&self, before: (u64, u64)) -> Result<bool> {
        let mut now = self.reloads().await?;
        crate::until("a reload", async || {
            now = self.reloads().await.unwrap_or(now);
            now != before
        })
        .await;
        Ok(now.0 > before.0)
    }

    /// Where the listener `name` is, such as `grpc.otlp`: an address, or the URL of a socket in the file system.
    ///
    /// # Panics
    /// When there is no such listener.
    #[must_use]
    pub fn listener(&self, name: &str) -> &str {
        self.listeners.get(name).unwrap_or_else(|| panic!("no {name} among {:?}", self.listeners))
    }

    /// Where it takes OTLP/gRPC.
    ///
    /// # Panics
    /// When it doesn't take it on a port.
    #[must_use]
    pub fn grpc(&self) -> SocketAddr {
        self.address("grpc.otlp")
    }

    /// Where it takes OTLP/HTTP.
    ///
    /// # Panics
    /// When it doesn't take it on a port.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.address("http.otlp")
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
    ///
    /// # Panics
    /// When none is configured.
    pub async fn page(&self) -> Result<Page> {
        Page::read(self.address("metrics")).await
    }

    /// The memory that it uses now, in bytes.
    ///
    /// # Errors
    /// When the system doesn't tell.
    pub fn memory(&self) -> Result<usize> {
        self.process.memory()
    }

    /// How many threads it has now.
    ///
    /// # Errors
    /// When the system doesn't tell.
    pub fn threads(&self) -> Result<usize> {
        self.process.threads()
    }

    /// The most memory that it has used so far, in bytes.
    ///
    /// # Errors
    /// When the system doesn't tell.
    pub fn peak_memory(&self) -> Result<usize> {
        self.process.peak_memory()
    }

    /// The status that its health check answers.
    ///
    /// # Errors
    /// When it doesn't answer.
    ///
    /// # Panics
    /// When none is configured.
    pub async fn health(&self) -> Result<u16> {
        Ok(metrics::get(self.address("health_check"), "/").await?.0)
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
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

    fn address(&self, name: &str) -> SocketAddr {
        self.listener(name).parse().unwrap_or_else(|_| panic!("{name} listens on {}, no port", self.listener(name)))
    }
}

/// Reads who listens where, if `line` is the start line, in either encoding: `listening` has `NAME=ADDRESS` for each.
fn listeners(line: &str) -> Option<BTreeMap<String, String>> {
    let (_, listening) = line.split_once("listening")?;
    let listening = listening.trim_start_matches(['"', ':', '=']).split('"').next()?;
    let named = listening.split(' ').map(|listener| listener.split_once('='));
    named.map(|listener| listener.map(|(name, address)| (name.to_owned(), address.to_owned()))).collect()
}

/// Runs `sluicegate` with these arguments to its end.
///
/// # Errors
/// When it can't be started.
pub async fn sluicegate(arguments: &[&str]) -> Result<Ended> {
    let mut command = command();
    command.args(arguments);
    Process::start(command)?.end().await
}

/// `sluicegate`, which keeps compiled components beside itself: tests start it often, and leave the user's folder alone.
fn command() -> Command {
    let mut command = Command::new(binary());
    command.env("SLUICEGATE_CACHE_DIR", crate::target_dir().join("cache"));
    command
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

/// Replaces `file` as a whole, as editors do.
///
/// # Errors
/// When the system doesn't let it.
pub fn replace(file: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, content)?;
    Ok(fs::rename(new, file)?)
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
