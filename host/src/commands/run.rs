//! `sluicegate run`.
use std::{io, path::PathBuf, pin::pin, time::Duration};

use anyhow::Context;
use clap::Args;
use sluicegate::{
    config::{self, Config, Diagnostics},
    pipeline::Pipelines,
    serve::{Server, Transport},
    telemetry::{Metrics, logs},
};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

use super::Failure;

/// Serve until SIGTERM or SIGINT, then drain; a second signal ends it at once
#[derive(Debug, Args)]
pub(super) struct Run {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// How long requests under way may take to finish after the signal, such as 500ms or 1m30s
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = config::duration)]
    grace_period: Duration,
}

impl Run {
    pub(super) fn execute(self) -> Result<(), Failure> {
        let (config, warnings) = Config::load(&self.config)?;
        logs::init(config.telemetry.level, config.telemetry.encoding);
        for warning in &warnings {
            let (line, column) = warning.position();
            tracing::warn!("{}:{line}:{column}: {}", config.source.path.display(), warning.message());
        }
        let runtime = Runtime::new().context("can't start threads").map_err(Failure::Runtime)?;
        let ended = runtime.block_on(self.serve(&config));
        // What still runs was cut off: waiting for it would take as long as it likes.
        runtime.shutdown_background();
        ended
    }

    async fn serve(&self, config: &Config) -> Result<(), Failure> {
        let mut shutdown = pin!(shutdown().context("can't listen for signals").map_err(Failure::Runtime)?);
        let metrics = Metrics::new();
        tracing::info!(filters = config.processors.len(), "loading");
        let (server, pipelines) = tokio::select! {
            ready = prepare(config, &metrics) => ready?,
            // Large filters take seconds to compile, and nobody has been promised anything yet.
            () = &mut shutdown => {
                tracing::info!("stopped before serving");
                return Ok(());
            }
        };
        announce(config, &server, &pipelines).context("can't tell who listens where").map_err(Failure::Runtime)?;
        server.run(shutdown, self.grace_period).await.map_err(|e| {
            tracing::warn!("{e}");
            Failure::Reported
        })?;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Loads, binds and opens everything.
async fn prepare(config: &Config, metrics: &Metrics) -> Result<(Server, Pipelines), Failure> {
    let (access, pipelines) = super::load(config, metrics).await?;
    let entrance =
        |receiver: &str, transport: Transport| pipelines.entrance(config, receiver, transport.name(), metrics);
    let server = Server::bind(config, &access, metrics.clone(), entrance).await.map_err(at_runtime)?;
    pipelines.open(config).map_err(at_runtime)?;
    Ok((server, pipelines))
}

/// A port in use or a read-only folder is not wrong in the configuration, though that is where it shows.
fn at_runtime(problems: Diagnostics) -> Failure {
    Failure::Runtime(problems.into())
}

/// The one line at start, for people and for programs that start Sluicegate: `listening` gives each listener as
/// `NAME=ADDRESS` with its real port, and `filters` each filter as `PROCESSOR=COMPONENT (SIZE)`, in the order of
/// the chain.
fn announce(config: &Config, server: &Server, pipelines: &Pipelines) -> io::Result<()> {
    let listening: Vec<_> = server.addresses()?.iter().map(|(name, address)| format!("{name}={address}")).collect();
    let filter = |processor: &str, size: usize| {
        let component = config.processors[processor].component.display();
        format!("{processor}={component} ({} KiB)", size.div_ceil(1024))
    };
    let filters: Vec<_> = pipelines.filters().map(|loaded| filter(loaded.processor, loaded.size)).collect();
    tracing::info!(
        listening = listening.join(" "),
        filters = filters.join(", "),
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );
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
