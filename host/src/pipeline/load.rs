//! From a configuration to pipelines that are ready: components compiled, settings accepted, routes known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::{Config, Diagnostic, Diagnostics, LogsPipeline as LogsConfig, Mode, Pipeline, Processor, Spanned};
use crate::export::{self, Exporter, Exporters};
use crate::filter::{Cache, Engine, Filter, LoadError};
use crate::receive::Signal;
use crate::telemetry::Metrics;

use super::LogsPipeline;
use super::chain::{Chain, Link};
use super::enforce::Enforcer;
use super::route::{Destination, Destinations, Routes};
use super::shadow::{Shadow, Thread};
use super::trial;

/// All pipelines of a configuration: one generation.
#[derive(Debug)]
pub struct Pipelines {
    logs: Option<Fed<LogsPipeline>>,
    untouched: BTreeMap<Signal, Fed<Destinations>>,
    exporters: BTreeMap<String, Exporter>,
}

/// Everything that a generation is made of, loaded and tried. Nothing of it is in use, and no metric tells of it.
#[derive(Debug)]
pub struct Prepared {
    exporters: BTreeMap<String, Exporter>,
    filters: BTreeMap<String, Filter>,
    /// Where there are shadows.
    thread: Option<Arc<Thread>>,
}

/// What outlives a generation, and is handed from each to the next.
#[derive(Debug, Default)]
pub struct Shared {
    /// The counters: those of the same name go on.
    pub metrics: Metrics,
    /// The destinations: those that did not change keep their connections and files.
    exporters: Mutex<Exporters>,
    /// Compiled components, where they are kept.
    cache: Option<Cache>,
}

/// A filter that is ready, as the line at start tells of it.
#[derive(Debug)]
pub struct LoadedFilter<'a> {
    /// The processor's name.
    pub processor: &'a str,
    /// The size of its component in bytes.
    pub size: usize,
    /// The SHA-256 of its component, in hexadecimal digits.
    pub digest: &'a str,
}

/// A pipeline and where its requests come from.
#[derive(Debug)]
struct Fed<T> {
    receivers: BTreeSet<String>,
    pipeline: Arc<T>,
}

impl Shared {
    /// What the first generation needs, with a cache for compiled components or without.
    #[must_use]
    pub fn new(cache: Option<Cache>) -> Self {
        Self { cache, ..Self::default() }
    }
}

impl Prepared {
    /// Loads everything that `config` names, and tries each filter on sample records. Nothing is opened and no destination
    /// is asked for yet: `validate` does no more than this. What comes with it is how filters failed.
    ///
    /// # Errors
    /// Everything that is wrong with components, their settings, their routes, and paths.
    pub async fn load(config: &Config, shared: &Shared) -> Result<(Self, Diagnostics), Diagnostics> {
        let mut problems = Diagnostics::default();
        let exporters = match shared.exporters.lock().unwrap_or_else(PoisonError::into_inner).build(config) {
            Ok(exporters) => exporters,
            Err(found) => {
                problems.extend(found);
                BTreeMap::new()
            }
        };
        let filters = load_filters(config, shared.cache.clone(), &mut problems).await;
        let thread = start_thread(config, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let failures = trial::run(config, &filters).await;
        Ok((Self { exporters, filters, thread }, failures))
    }

    /// Opens what can be opened before the first request.
    ///
    /// # Errors
    /// Files that can't be written.
    pub fn open(&self, config: &Config) -> Result<(), Diagnostics> {
        export::open(config, &self.exporters)
    }

    /// The pipelines of `config`, which this was loaded for. From now on `metrics` tell of them.
    #[must_use]
    pub fn assemble(self, config: &Config, metrics: &Metrics) -> Pipelines {
        let Self { exporters, filters, thread } = self;
        let destination = |name: &str| {
            let exporter = exporters.get(name).expect("the configuration has an exporter of each name").clone();
            Destination { counts: metrics.exporter(name), exporter }
        };
        let all = |names: &[Spanned<String>]| Destinations(names.iter().map(|name| destination(&name.value)).collect());
        let untouched = |(signal, pipeline): (Signal, &Option<Pipeline>)| {
            let Pipeline { receivers, exporters } = pipeline.as_ref()?;
            Some((signal, Fed::new(receivers, all(exporters))))
        };
        let configured = &config.pipelines;
        let logs = configured.logs.as_ref().map(|logs| {
            let chain = Chain { links: links(logs, filters, thread.as_ref(), config, metrics) };
            let routes = takes(logs).into_iter().map(|(name, takes)| (destination(name), takes));
            Fed::new(&logs.receivers, LogsPipeline { chain, routes: Routes::new(routes) })
        });
        let others = [
            (Signal::Traces, &configured.traces),
            (Signal::Metrics, &configured.metrics),
            (Signal::Profiles, &configured.profiles),
        ];
        let untouched = others.into_iter().filter_map(untouched).collect();
        Pipelines { logs, untouched, exporters }
    }
}

impl Pipelines {
    /// Requests take others from now on.
    pub(super) fn retire(&self) {
        self.links().for_each(Link::retire);
    }

    /// Opens what can be opened before the first request.
    ///
    /// # Errors
    /// Files that can't be written.
    pub fn open(&self, config: &Config) -> Result<(), Diagnostics> {
        export::open(config, &self.exporters)
    }

    /// Where the log records of this receiver go, if anywhere.
    pub(super) fn logs(&self, receiver: &str) -> Option<Arc<LogsPipeline>> {
        self.logs.as_ref()?.by(receiver)
    }

    /// Where what else comes to this receiver goes, if anywhere.
    pub(super) fn untouched(&self, signal: Signal, receiver: &str) -> Option<Arc<Destinations>> {
        self.untouched.get(&signal)?.by(receiver)
    }

    /// The filters in the chain, in their order.
    pub fn filters(&self) -> impl Iterator<Item = LoadedFilter<'_>> {
        let filters = self.links().map(Link::filter);
        filters.map(|filter| LoadedFilter { processor: filter.name(), size: filter.size(), digest: filter.digest() })
    }

    fn links(&self) -> impl Iterator<Item = &Link> {
        self.logs.iter().flat_map(|logs| &logs.pipeline.chain.links)
    }
}

impl<T> Fed<T> {
    fn new(receivers: &[Spanned<String>], pipeline: T) -> Self {
        let receivers = receivers.iter().map(|name| name.value.clone()).collect();
        Self { receivers, pipeline: Arc::new(pipeline) }
    }

    fn by(&self, receiver: &str) -> Option<Arc<T>> {
        self.receivers.contains(receiver).then(|| Arc::clone(&self.pipeline))
    }
}

/// Loads every filter, and notes what is wrong with each.
async fn load_filters(config: &Config, cache: Option<Cache>, problems: &mut Diagnostics) -> BTreeMap<String, Filter> {
    let mut filters = BTreeMap::new();
    let instances = config.processors.values().map(|processor| processor.max_instances.get()).sum();
    let engine = match Engine::new(instances) {
        Ok(engine) => engine.with_cache(cache),
        Err(error) => {
            problems.push(Diagnostic::file(&config.source.path, error.to_string()));
            return filters;
        }
    };
    for (name, processor) in &config.processors {
        match Filter::load(&engine, name, processor).await {
            Ok(filter) => {
                problems.extend(undeclared(config, processor, &filter));
                filters.insert(name.clone(), filter);
            }
            Err(error) => problems.push(problem(config, processor, &error)),
        }
    }
    filters
}

/// What is wrong with a component or its settings, at its place in the configuration.
fn problem(config: &Config, processor: &Processor, error: &LoadError) -> Diagnostic {
    let span = match error {
        LoadError::Settings(_) => processor.settings.span,
        _ => processor.component.span,
    };
    let problem = config.diagnostic(span, error.to_string());
    match error.help() {
        Some(help) => problem.help(help),
        None => problem,
    }
}

/// Routes that a filter may answer with and the pipeline doesn't have.
fn undeclared<'a>(
    config: &'a Config,
    processor: &'a Processor,
    filter: &'a Filter,
) -> impl Iterator<Item = Diagnostic> + 'a {
    let routes = config.pipelines.logs.as_ref().map(|logs| &logs.routes);
    let is_missing = move |route: &&String| !routes.is_some_and(|routes| routes.contains_key(*route));
    filter.routes().iter().filter(is_missing).map(|route| {
        let message =
            format!("{} may route records to {route:?}, which is no route of the logs pipeline", filter.name());
        config.diagnostic(processor.settings.span, message).help(format!(
            "add `{route}: [EXPORTER]` under `service.pipelines.logs.routes`, or change the filter's settings"
        ))
    })
}

/// The thread that all shadows share, if there are any.
fn start_thread(config: &Config, problems: &mut Diagnostics) -> Option<Arc<Thread>> {
    config.processors.values().find(|processor| matches!(processor.mode, Mode::Shadow(_)))?;
    let thread = Thread::start().map_err(|error| {
        problems.push(Diagnostic::file(&config.source.path, format!("can't start a thread for shadows: {error}")));
    });
    thread.ok().map(Arc::new)
}

fn links(
    logs: &LogsConfig,
    mut filters: BTreeMap<String, Filter>,
    thread: Option<&Arc<Thread>>,
    config: &Config,
    metrics: &Metrics,
) -> Vec<Link> {
    let link = |name: &Spanned<String>| {
        let filter = filters.remove(&name.value).expect("a processor stands in one chain, once");
        let processor = &config.processors[&name.value];
        filter.count_by(metrics.suppressed_log_lines(&name.value));
        match processor.mode {
            Mode::Enforce { share } => {
                Link::Enforce(Enforcer::new(filter, processor, share, metrics.processor(&name.value)))
            }
            Mode::Shadow(settings) => {
                let thread = Arc::clone(thread.expect("it was started where there is a shadow"));
                let counts = metrics.shadow(&name.value);
                Link::Shadow(Shadow::new(filter, settings, processor.max_rows, counts, thread))
            }
        }
    };
    logs.processors.iter().map(link).collect()
}

/// What each exporter of a pipeline takes: the names of routes, and `None` for records without one.
fn takes(logs: &LogsConfig) -> BTreeMap<&str, BTreeSet<Option<String>>> {
    let mut takes: BTreeMap<&str, BTreeSet<_>> = BTreeMap::new();
    for exporter in &logs.exporters {
        takes.entry(&exporter.value).or_default().insert(None);
    }
    for (name, route) in &logs.routes {
        for exporter in &route.exporters {
            takes.entry(&exporter.value).or_default().insert(Some(name.clone()));
        }
    }
    takes
}
