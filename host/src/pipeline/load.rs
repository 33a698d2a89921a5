//! From a configuration to pipelines that are ready: components compiled, settings accepted, routes known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::{Config, Diagnostic, Diagnostics, LogsPipeline as LogsConfig, Pipeline, Processor, Spanned};
use crate::export::{self, Exporter};
use crate::filter::{Engine, Filter, LoadError};
use crate::telemetry::Metrics;

use super::chain::{Chain, Link};
use super::route::{Destination, Destinations, Routes};
use super::{Entrance, LogsPipeline};

/// All pipelines of a configuration.
#[derive(Debug)]
pub struct Pipelines {
    logs: Option<Arc<LogsPipeline>>,
    traces: Option<Arc<Destinations>>,
    metrics: Option<Arc<Destinations>>,
    profiles: Option<Arc<Destinations>>,
    exporters: BTreeMap<String, Exporter>,
}

/// A filter that is ready, as the line at start tells of it.
#[derive(Debug)]
pub struct LoadedFilter<'a> {
    /// The processor's name.
    pub processor: &'a str,
    /// The size of its component in bytes.
    pub size: usize,
}

impl Pipelines {
    /// Loads everything that `config` names. Nothing is opened and no destination is asked for yet: `validate`
    /// does no more than this.
    ///
    /// # Errors
    /// Everything that is wrong with components, their settings, their routes, and paths.
    pub async fn load(config: &Config, metrics: &Metrics) -> Result<Self, Diagnostics> {
        let mut problems = Diagnostics::default();
        let exporters = match export::build(config) {
            Ok(exporters) => exporters,
            Err(found) => {
                problems.extend(found);
                BTreeMap::new()
            }
        };
        let filters = load_filters(config, &mut problems).await;
        if !problems.is_empty() {
            return Err(problems);
        }
        let destination = |name: &str| {
            let exporter = exporters.get(name).expect("the configuration has an exporter of each name").clone();
            Destination { counts: metrics.exporter(name), exporter }
        };
        let all = |names: &[Spanned<String>]| {
            Arc::new(Destinations(names.iter().map(|name| destination(&name.value)).collect()))
        };
        let pipelines = &config.pipelines;
        Ok(Self {
            logs: pipelines.logs.as_ref().map(|logs| {
                let chain = Chain { links: links(logs, filters, config, metrics) };
                let routes = takes(logs).into_iter().map(|(name, takes)| (destination(name), takes));
                Arc::new(LogsPipeline { chain, routes: Routes::new(routes) })
            }),
            traces: pipelines.traces.as_ref().map(|pipeline| all(&pipeline.exporters)),
            metrics: pipelines.metrics.as_ref().map(|pipeline| all(&pipeline.exporters)),
            profiles: pipelines.profiles.as_ref().map(|pipeline| all(&pipeline.exporters)),
            exporters,
        })
    }

    /// Opens what can be opened before the first request.
    ///
    /// # Errors
    /// Files that can't be written.
    pub fn open(&self, config: &Config) -> Result<(), Diagnostics> {
        export::open(config, &self.exporters)
    }

    /// Where the requests of the receiver of this name go, that come by `transport`.
    #[must_use]
    pub fn entrance(&self, config: &Config, receiver: &str, transport: &'static str, metrics: &Metrics) -> Entrance {
        let serves = |receivers: &[Spanned<String>]| receivers.iter().any(|name| name.value == receiver);
        let pipelines = &config.pipelines;
        let untouched = |pipeline: &Option<Pipeline>, destinations: &Option<Arc<Destinations>>| {
            destinations.clone().filter(|_| pipeline.as_ref().is_some_and(|p| serves(&p.receivers)))
        };
        Entrance {
            logs: self.logs.clone().filter(|_| pipelines.logs.as_ref().is_some_and(|p| serves(&p.receivers))),
            traces: untouched(&pipelines.traces, &self.traces),
            metrics: untouched(&pipelines.metrics, &self.metrics),
            profiles: untouched(&pipelines.profiles, &self.profiles),
            counts: metrics.receiver(receiver, transport),
        }
    }

    /// The filters in the chain, in their order.
    pub fn filters(&self) -> impl Iterator<Item = LoadedFilter<'_>> {
        self.logs
            .iter()
            .flat_map(|logs| &logs.chain.links)
            .map(|Link { filter, .. }| LoadedFilter { processor: filter.name(), size: filter.size() })
    }
}

/// Loads every filter, and notes what is wrong with each.
async fn load_filters(config: &Config, problems: &mut Diagnostics) -> BTreeMap<String, Filter> {
    let mut filters = BTreeMap::new();
    let instances = config.processors.values().map(|processor| processor.max_instances.get()).sum();
    let engine = match Engine::new(instances) {
        Ok(engine) => engine,
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

fn links(logs: &LogsConfig, mut filters: BTreeMap<String, Filter>, config: &Config, metrics: &Metrics) -> Vec<Link> {
    let link = |name: &Spanned<String>| {
        let filter = filters.remove(&name.value).expect("a processor stands in one chain, once");
        let on_failure = config.processors[&name.value].on_failure.clone();
        let counts = metrics.processor(&name.value);
        filter.count_by(&counts);
        Link { filter, on_failure, counts }
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
