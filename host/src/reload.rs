//! Takes up changed configurations while Sluicegate serves: a new generation of pipelines is loaded and tried beside the
//! one that serves, and takes its place only if nothing is wrong with it.
use std::{panic::resume_unwind, path::PathBuf};

use tokio::task::spawn_blocking;

use crate::{
    config::{Config, Diagnostics, Mode, Processor},
    pipeline::{Current, Pipelines, Shared},
    serve::Access,
    telemetry::ReloadMetrics,
};

mod watch;

pub use watch::Watch;

/// What a configuration needs beside itself: the files of listeners, and everything that pipelines are made of.
#[derive(Debug)]
pub struct Generation {
    /// Who may connect and who may send.
    pub access: Access,
    /// Where requests go.
    pub pipelines: Pipelines,
    /// How filters failed on sample records.
    pub failures: Diagnostics,
}

/// Replaces the generation that serves.
#[derive(Debug)]
pub struct Reloader {
    path: PathBuf,
    /// What the listeners were made of, and keep.
    started: Config,
    current: Current,
    shared: Shared,
    counts: ReloadMetrics,
    generation: u32,
}

impl Generation {
    /// Loads everything, and opens nothing.
    ///
    /// # Errors
    /// Everything that is wrong, at its place in the configuration.
    pub async fn load(config: &Config, shared: &Shared) -> Result<Self, Diagnostics> {
        match (Access::load(config), Pipelines::load(config, shared).await) {
            (Ok(access), Ok((pipelines, failures))) => Ok(Self { access, pipelines, failures }),
            (Err(problems), Ok(_)) | (Ok(_), Err(problems)) => Err(problems),
            (Err(mut problems), Err(more)) => {
                problems.extend(more);
                Err(problems)
            }
        }
    }

    /// The same, where a filter that fails on sample records is a mistake like any other.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub async fn load_sound(config: &Config, shared: &Shared) -> Result<Self, Diagnostics> {
        let generation = Self::load(config, shared).await?;
        if generation.failures.is_empty() { Ok(generation) } else { Err(generation.failures) }
    }
}

impl Reloader {
    /// Will replace what `current` is now, the first generation, made from the file at `path` when it was `started`.
    /// `shared` is what that generation was loaded with.
    #[must_use]
    pub fn new(path: PathBuf, started: Config, current: Current, shared: Shared) -> Self {
        let counts = shared.metrics.reloads();
        counts.succeeded(1);
        Self { path, started, current, shared, counts, generation: 1 }
    }

    /// Reloads each time that `asked` or `watch` says so: once for whatever was asked while a reload was under way, so
    /// that the last state of the files is the one that counts. Ends when nobody can ask any more.
    pub async fn run(mut self, mut asked: impl AsyncFnMut() -> Option<()>, mut watch: Option<Watch>) {
        loop {
            let changed = async {
                match &mut watch {
                    Some(watch) => watch.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                next = asked() => if next.is_none() { return },
                () = changed => tracing::info!("files have changed"),
            }
            self.reload(watch.as_mut()).await;
        }
    }

    /// Takes up the file as it is now, or says in the log why not.
    async fn reload(&mut self, watch: Option<&mut Watch>) {
        match self.swap(watch).await {
            Ok(()) => self.counts.succeeded(self.generation),
            Err(problems) => {
                self.counts.failed();
                let (generation, path) = (self.generation, self.path.display());
                tracing::error!(generation, "{path} can't be taken up, so nothing changes:\n{problems}");
            }
        }
    }

    async fn swap(&mut self, mut watch: Option<&mut Watch>) -> Result<(), Diagnostics> {
        // What changes from here on is another change.
        if let Some(watch) = &mut watch {
            watch.look().await;
        }
        let path = self.path.clone();
        // Where a file system that hangs holds up nobody else.
        let loading = spawn_blocking(move || Config::load(&path)).await;
        let (config, warnings) = loading.unwrap_or_else(|error| resume_unwind(error.into_panic()))?;
        if let Some(watch) = watch {
            watch.follow(files(&config)).await;
        }
        let mut problems = config.missing_receivers(&self.started);
        let generation = match Generation::load_sound(&config, &self.shared).await {
            Ok(generation) if problems.is_empty() => generation,
            Ok(_) => return Err(problems),
            Err(more) => {
                problems.extend(more);
                return Err(problems);
            }
        };
        generation.pipelines.open(&config)?;

        log_warnings(&config, &warnings);
        let waiting = config.needs_restart(&self.started);
        if !waiting.is_empty() {
            tracing::warn!(keys = waiting.join(" "), "changed, and will count after a restart only");
        }
        self.generation += 1;
        let filters = describe(&config, &generation.pipelines);
        self.current.swap(generation.pipelines);
        tracing::info!(generation = self.generation, filters, "serving another configuration");
        Ok(())
    }
}

/// Says what is odd about `config`, a line each.
pub fn log_warnings(config: &Config, warnings: &Diagnostics) {
    for warning in warnings {
        let (line, column) = warning.position();
        tracing::warn!("{}:{line}:{column}: {}", config.source.path.display(), warning.message());
    }
}

/// The filters as a line in the log tells of them: `PROCESSOR=COMPONENT (SIZE)` in the order of the chain, shadows marked as such.
#[must_use]
pub fn describe(config: &Config, pipelines: &Pipelines) -> String {
    let filter = |processor: &str, size: usize| {
        let Processor { component, mode, .. } = &config.processors[processor];
        let shadow = if matches!(mode, Mode::Shadow(_)) { ", shadow" } else { "" };
        format!("{processor}={} ({} KiB{shadow})", component.display(), size.div_ceil(1024))
    };
    let filters: Vec<_> = pipelines.filters().map(|loaded| filter(loaded.processor, loaded.size)).collect();
    filters.join(", ")
}

/// The files that `config` is made of, beside its own.
pub fn files(config: &Config) -> impl Iterator<Item = PathBuf> {
    config.processors.values().map(|processor| processor.component.value.clone())
}
