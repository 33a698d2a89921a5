//! Takes up changed configurations while Sluicegate serves: a new generation of pipelines is loaded and tried beside the
//! one that serves, and takes its place only if nothing is wrong with it.
use std::{panic::AssertUnwindSafe, path::PathBuf, time::Duration};

use futures::FutureExt as _;

use crate::{
    config::{Config, Diagnostics, Mode, Processor},
    pipeline::{Current, LoadedFilter, Pipelines, Prepared, Shared},
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
    /// What its pipelines are made of.
    pub pipelines: Prepared,
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

/// How long a reload may take unnoticed: the largest interpreters compile in less.
const LONG: Duration = Duration::from_secs(60);

impl Generation {
    /// Loads everything, and opens nothing. Reads files on the thread that it runs on, which may take long.
    ///
    /// # Errors
    /// Everything that is wrong, at its place in the configuration.
    pub async fn load(config: &Config, shared: &Shared) -> Result<Self, Diagnostics> {
        match (Access::load(config), Prepared::load(config, shared).await) {
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
    ///
    /// It needs a thread of its own: a file that hangs blocks it.
    pub async fn run(mut self, mut asked: impl AsyncFnMut() -> Option<()>, mut watch: Option<Watch>) {
        loop {
            let changed = async {
                match &mut watch {
                    Some(watch) => watch.changed().await,
                    None => std::future::pending().await,
                }
            };
            let cause = tokio::select! {
                next = asked() => match next {
                    Some(()) => "a signal",
                    None => return,
                },
                () = changed => "changed files",
            };
            tracing::info!(cause, "reloading {}", self.path.display());
            let path = self.path.display().to_string();
            let slow = tokio::spawn(async move {
                tokio::time::sleep(LONG).await;
                tracing::warn!("reloading {path} has taken {LONG:?} so far: does a file system or a pipe hang?");
            });
            self.reload(watch.as_mut()).await;
            slow.abort();
        }
    }

    /// Takes up the file as it is now, or says in the log why not.
    async fn reload(&mut self, watch: Option<&mut Watch>) {
        // What a panic leaves half done is the new generation, which nobody has seen.
        let problems = match AssertUnwindSafe(self.swap(watch)).catch_unwind().await {
            Ok(Ok(())) => return self.counts.succeeded(self.generation),
            Ok(Err(problems)) => problems.to_string(),
            Err(_) => "Sluicegate panicked, as the lines before this say; please report it".to_owned(),
        };
        self.counts.failed();
        let (generation, path) = (self.generation, self.path.display());
        tracing::error!(generation, "{path} can't be taken up, so nothing changes:\n{problems}");
    }

    async fn swap(&mut self, mut watch: Option<&mut Watch>) -> Result<(), Diagnostics> {
        // What changes from here on is another change.
        if let Some(watch) = &mut watch {
            watch.look().await;
        }
        let (config, warnings) = Config::load(&self.path)?;
        if let Some(watch) = watch {
            watch.follow(files(&config)).await;
        }
        let mut problems = config.missing_receivers(&self.started);
        let prepared = match Generation::load_sound(&config, &self.shared).await {
            Ok(generation) if problems.is_empty() => generation.pipelines,
            Ok(_) => return Err(problems),
            Err(more) => {
                problems.extend(more);
                return Err(problems);
            }
        };
        prepared.open(&config)?;
        // Nothing can be wrong any more.
        let pipelines = prepared.assemble(&config, &self.shared.metrics);

        log_warnings(&config, &warnings);
        let waiting = config.needs_restart(&self.started);
        if !waiting.is_empty() {
            tracing::warn!(keys = waiting.join(" "), "changed, and will count after a restart only");
        }
        self.counts.restart_pending(!waiting.is_empty());
        self.generation += 1;
        let filters = describe(&config, &pipelines);
        self.current.swap(pipelines);
        tracing::info!(generation = self.generation, filters, "serving another configuration");
        Ok(())
    }
}

/// Says what is odd about `config`, and what to do about it, a line each.
pub fn log_warnings(config: &Config, warnings: &Diagnostics) {
    for warning in warnings {
        let (line, column) = warning.position();
        let help = warning.advice();
        tracing::warn!(help, "{}:{line}:{column}: {}", config.source.path.display(), warning.message());
    }
}

/// The filters as a line in the log tells of them: `PROCESSOR=COMPONENT (SIZE, sha256:DIGEST)` in the order of the chain,
/// shadows marked as such. Twelve digits tell one build from another.
#[must_use]
pub fn describe(config: &Config, pipelines: &Pipelines) -> String {
    let filter = |LoadedFilter { processor, size, digest }: LoadedFilter<'_>| {
        let Processor { component, mode, .. } = &config.processors[processor];
        let shadow = if matches!(mode, Mode::Shadow(_)) { ", shadow" } else { "" };
        let digest = &digest[..digest.len().min(12)];
        format!("{processor}={} ({} KiB, sha256:{digest}{shadow})", component.display(), size.div_ceil(1024))
    };
    pipelines.filters().map(filter).collect::<Vec<_>>().join(", ")
}

/// The files that `config` is made of, beside its own.
pub fn files(config: &Config) -> impl Iterator<Item = PathBuf> {
    config.processors.values().map(|processor| processor.component.value.clone())
}
