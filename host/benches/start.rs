//! What it costs to load a filter: with its component compiled, and with compiled code from the cache on disk.
//!
//! `cargo bench` measures; the filter is the built one of `redact`, from `cargo xtask filters`.

use std::time::Duration;

use criterion::Criterion;
use serde_json::{Map, json};
use sluicegate::config::{Processor, Span, Spanned};
use sluicegate::filter::{Cache, Engine, Filter};
use tokio::runtime::Builder;

#[path = "../tests/support/component.rs"]
mod support;

/// The program's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    // The fewest samples that it takes, since compiling takes seconds.
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(5))
        .sample_size(10)
        .configure_from_args();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = Cache::new(folder.path().join("components"));
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let component = support::component("redact");
    let settings: Map<_, _> = [("patterns".to_owned(), json!(["email", "payment_card"]))].into_iter().collect();
    // As a start does: with an engine of its own.
    let load = |cache: Option<&Cache>| {
        let engine = Engine::new(1).expect("room for one instance").with_cache(cache.cloned());
        let nowhere = Span::default();
        let processor =
            Processor::new(Spanned::new(component.clone(), nowhere), Spanned::new(settings.clone(), nowhere));
        runtime.block_on(Filter::load(&engine, "wasm/redact", &processor)).expect("the filter loads")
    };
    criterion.bench_function("start: compiled", |bencher| bencher.iter(|| load(None)));
    // The first time it is compiled, and kept.
    load(Some(&cache));
    criterion.bench_function("start: from the cache", |bencher| bencher.iter(|| load(Some(&cache))));
    criterion.final_summary();
}
