//! `sluicegate run`.
use std::{io, panic::resume_unwind, path::PathBuf, pin::pin, time::Duration};

use anyhow::Context;
use clap::Args;
use sluicegate::{
    config::{self, Config, Diagnostics},
    pipeline::{Current, Shared},
    reload::{self, Generation, Reloader, Watch},
    serve::{Server, Transport},
    telemetry::logs,
    threads::Threads,
};
use tokio::{
    runtime::{Handle, Runtime},
    signal::unix::{SignalKind, signal},
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{Failure, cache::CacheFolder};

/// Serve until SIGTERM or SIGINT, then drain; a second signal ends it at once. SIGHUP takes up a changed configuration
#[derive(Debug, Args)]
pub(super) struct Run {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Take up changes of the configuration and of the components it names by itself, not at SIGHUP alone
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    cache: CacheFolder,
    /// How long requests under way may take to finish after the signal, such as 500ms or 1m30s
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = config::duration)]
    grace_period: Duration,
}

impl Run {
    pub(super) fn execute(self) -> Result<(), Failure> {
        // Before the file is read, so that no change falls between.
        let watch = self.watch.then(|| Watch::new(&self.config));
        let (config, warnings) = Config::load(&self.config)?;
        logs::init(config.telemetry.level, config.telemetry.encoding);
        reload::log_warnings(&config, &warnings);
        let runtime = Runtime::new().context("can't start threads").map_err(Failure::Runtime)?;
        let ended = runtime.block_on(self.serve(config, watch));
        // What still runs was cut off: waiting for it would take as long as it likes.
        runtime.shutdown_background();
        ended
    }

    async fn serve(self, config: Config, watch: Option<Watch>) -> Result<(), Failure> {
        let mut shutdown = pin!(shutdown().context("can't listen for signals").map_err(Failure::Runtime)?);
        // From here on it is no end: what is asked for while filters are loading is done afterwards.
        let mut hangup = signal(SignalKind::hangup()).context("can't listen for signals").map_err(Failure::Runtime)?;
        let stopping = CancellationToken::new();
        tracing::info!(filters = config.processors.len(), "loading");
        let mut preparing = apart(&stopping, move || prepare(config, self.config, watch, self.cache));
        let (server, reloader, watch) = tokio::select! {
            ready = &mut preparing => {
                let ready = ready.unwrap_or_else(|error| resume_unwind(error.into_panic()));
                ready.expect("nobody has told it to stop")?
            }
            // Large filters take seconds to compile, and nobody has been promised anything yet.
            () = &mut shutdown => {
                give_up(&stopping, preparing).await;
                tracing::info!("stopped before serving");
                return Ok(());
            }
        };
        let threads = Threads::start().context("can't start threads").map_err(Failure::Runtime)?;
        let reloading = apart(&stopping, move || reloader.run(async move || hangup.recv().await, watch));
        let shutdown = async {
            shutdown.await;
            // What drains takes up nothing new.
            stopping.cancel();
        };
        let ended = server.run(threads, shutdown, self.grace_period).await;
        give_up(&stopping, reloading).await;
        ended.map_err(|e| {
            tracing::warn!("{e}");
            Failure::Reported
        })?;
        tracing::info!("stopped");
        Ok(())
    }
}

/// How long what is given up may take to notice. What is blocked by a file never does.
const NOTICE: Duration = Duration::from_millis(100);

/// Runs `task` until `stopping`, on a thread of its own: there it may block, and holds up neither requests nor signals.
fn apart<T: Future<Output: Send + 'static>>(
    stopping: &CancellationToken,
    task: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<Option<T::Output>> {
    let (runtime, stopping) = (Handle::current(), stopping.clone());
    spawn_blocking(move || runtime.block_on(stopping.run_until_cancelled(task())))
}

async fn give_up<T>(stopping: &CancellationToken, task: JoinHandle<T>) {
    stopping.cancel();
    let _ = timeout(NOTICE, task).await;
}

/// Loads, binds and opens everything.
async fn prepare(
    config: Config,
    path: PathBuf,
    mut watch: Option<Watch>,
    cache: CacheFolder,
) -> Result<(Server, Reloader, Option<Watch>), Failure> {
    if let Some(watch) = &mut watch {
        watch.follow(reload::files(&config)).await;
    }
    let shared = Shared::new(cache.open());
    let Generation { access, pipelines, failures } = Generation::load(&config, &shared).await?;
    // There is nothing else to serve instead, and what becomes of records that a filter fails on is configured.
    reload::log_warnings(&config, &failures);
    let pipelines = pipelines.assemble(&config, &shared.metrics);
    let filters = reload::describe(&config, &pipelines);
    let current = Current::new(pipelines);
    let entrance = |receiver: &str, transport: Transport| current.entrance(receiver, transport.name(), &shared.metrics);
    let server = Server::bind(&config, &access, shared.metrics.clone(), entrance).await.map_err(at_runtime)?;
    current.open(&config).map_err(at_runtime)?;
    announce(&server, &filters).context("can't tell who listens where").map_err(Failure::Runtime)?;
    Ok((server, Reloader::new(path, config, current, shared), watch))
}

/// A port in use or a read-only folder is not wrong in the configuration, though that is where it shows.
fn at_runtime(problems: Diagnostics) -> Failure {
    Failure::Runtime(problems.into())
}

/// The one line at start, for people and for programs that start Sluicegate: `listening` gives each listener as
/// `NAME=ADDRESS` with its real port, and `filters` is what [`reload::describe`] says of them.
fn announce(server: &Server, filters: &str) -> io::Result<()> {
    let listening: Vec<_> = server.addresses()?.iter().map(|(name, address)| format!("{name}={address}")).collect();
    tracing::info!(listening = listening.join(" "), filters, version = env!("CARGO_PKG_VERSION"), "serving");
    Ok(())
}

/// Done at the first SIGTERM or SIGINT. From then on another one ends the process.
fn shutdown() -> io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut next = async move || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(async move {
        next().await;
        tokio::spawn(async move {
            next().await;
            tracing::warn!("a second signal: what is under way is cut off");
            std::process::exit(1);
        });
    })
}
