//! Compiled in or sandboxed, a filter comes to the same.
use std::fs;
use std::path::Path;

use bytes::Bytes;
use sluicegate::batch::Batch;
use sluicegate::config::{Config, Processor};
use sluicegate::filter::{Engine, Filter};
use sluicegate::json;
use sluicegate::receive::Signal;

use super::*;

#[path = "../../host/tests/support/component.rs"]
mod support;

/// A filter twice: as its component, and as it is compiled in.
struct Pair {
    sandboxed: Filter,
    native: Filter,
}

impl Pair {
    async fn load(name: &str, processor: &Processor) -> Self {
        let engine = Engine::new(2).expect("room for two");
        let native = Filter::load(&engine, name, processor).await.expect("it loads");
        assert!(native.is_native(), "{name}");
        // Under another name it is nobody's component but its own.
        let folder = tempfile::tempdir().expect("a folder");
        let mut processor = processor.clone();
        let copy = folder.path().join("sandboxed.wasm");
        fs::copy(&*processor.component, &copy).expect("a copy");
        processor.component.value = copy;
        let sandboxed = Filter::load(&engine, name, &processor).await.expect("it loads");
        assert!(!sandboxed.is_native(), "{name}");
        Self { sandboxed, native }
    }

    /// What both make of a batch, and of it for each route.
    async fn process(&self, batch: Box<Batch>) -> Box<Batch> {
        let name = self.native.name();
        let (sandboxed, native) = (self.sandboxed.process(batch.clone()).await, self.native.process(batch).await);
        assert_eq!(sandboxed.result.expect("it works"), native.result.expect("it works"), "{name}");
        let routes = self.native.routes().iter().map(|route| Some(&**route));
        for route in std::iter::once(None).chain(routes) {
            let encode = |batch: &Batch| batch.encode(|label| label == route).map(|(body, rows)| (body.whole(), rows));
            assert_eq!(encode(&sandboxed.batch), encode(&native.batch), "{name}, {route:?}");
        }
        native.batch
    }
}

#[tokio::test]
async fn filters_that_are_compiled_in_decide_as_their_components_do() {
    install();
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let mut decided = 0;
    for entry in fs::read_dir(examples).expect("the examples") {
        let file = entry.expect("an example").path().join("sluicegate.yaml");
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let filters = support::component("redact").with_file_name("").display().to_string();
        let env = |name: &str| (name == "SLUICEGATE_FILTERS").then(|| filters.clone());
        let (config, _) = Config::parse(text, &file, &env).expect("a configuration");
        let mut chain = Vec::new();
        for name in &config.pipelines.logs.as_ref().expect("log records").processors {
            chain.push(Pair::load(&name.value, &config.processors[&name.value]).await);
        }
        for request in requests(&file.with_file_name("input.jsonl")) {
            let mut batch = Box::new(Batch::new(request).expect("OTLP"));
            for filter in &chain {
                if !batch.is_empty() {
                    batch = filter.process(batch).await;
                    decided += 1;
                }
            }
        }
    }
    assert!(decided > 10, "{decided} calls");
}

fn requests(file: &Path) -> Vec<Bytes> {
    let text = fs::read_to_string(file).expect("an input");
    let request = |line: &str| json::from_json(Signal::Logs, &serde_json::from_str(line).expect("JSON")).expect("OTLP");
    text.lines().map(request).collect()
}
