//! Filters that fail, over and over.
use std::future::IntoFuture as _;

use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest,
    common::v1::{AnyValue, any_value::Value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
};
use prost::Message as _;
use serde_json::json;

use super::*;
use crate::config::{CircuitBreaker, Span, Spanned};
use crate::filter::Engine;
use crate::telemetry::{Metrics, ReceiverMetrics};
use crate::testing::component;

/// A filter that may fail, and what counts for it.
struct Tried {
    enforcer: Enforcer,
    receiver: ReceiverMetrics,
    metrics: Metrics,
}

impl Tried {
    /// One that fails as `settings` say. Unless `change` says otherwise, records that it fails on are dropped.
    async fn new(settings: serde_json::Value, change: impl FnOnce(&mut Processor)) -> Self {
        let serde_json::Value::Object(settings) = settings else { panic!("settings are a map") };
        let component = Spanned::new(component("trap"), Span::default());
        let mut processor = Processor::new(component, Spanned::new(settings, Span::default()));
        processor.deadline = Duration::from_secs(60);
        processor.on_failure = OnFailure::always(Treatment::Drop);
        change(&mut processor);
        let engine = Engine::new(processor.max_instances.get()).expect("room for a few");
        let filter = Filter::load(&engine, "wasm/tried", &processor).await.expect("it loads");
        let metrics = Metrics::new();
        let enforcer = Enforcer::new(filter, &processor, 1.0, metrics.processor("wasm/tried"));
        Self { enforcer, receiver: metrics.receiver("otlp", "grpc"), metrics }
    }

    /// How many of the records go on, whose sender waits for a minute. Those at `poison` may make the filter fail.
    async fn run(&self, records: usize, poison: &[usize]) -> Result<usize, Error> {
        let mut account = Account::open(&self.receiver, records);
        let last = Instant::now() + Duration::from_secs(60);
        self.enforcer.run(batch(records, poison), last, &mut account).await.map(|batch| batch.len())
    }

    /// What a counter of calls that failed shows.
    fn failures(&self) -> usize {
        let page = self.metrics.render();
        let lines = page.lines().filter(|line| line.starts_with("sluicegate_filter_failures_total"));
        lines.map(|line| line.rsplit(' ').next().and_then(|n| n.parse::<usize>().ok()).expect("a number")).sum()
    }
}

fn batch(records: usize, poison: &[usize]) -> Box<Batch> {
    let body = |row| if poison.contains(&row) { "poison" } else { "sound" };
    let record = |row| LogRecord {
        body: Some(AnyValue { value: Some(Value::StringValue(body(row).to_owned())) }),
        ..LogRecord::default()
    };
    let scope = ScopeLogs { log_records: (0..records).map(record).collect(), ..ScopeLogs::default() };
    let resource_logs = vec![ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }];
    Box::new(Batch::new(ExportLogsServiceRequest { resource_logs }.encode_to_vec().into()).expect("well-formed"))
}

#[tokio::test]
async fn what_failures_cost_is_bounded_however_many_parts_there_are() {
    for how in ["panic", "refuse"] {
        let one_row = |processor: &mut Processor| processor.max_rows = NonZeroUsize::MIN;
        let tried = Tried::new(json!({ "how": how }), one_row).await;
        assert_eq!(tried.run(5000, &[]).await.expect("they are dropped"), 0, "{how}");
        assert!((48..=80).contains(&tried.failures()), "{how}: {} calls failed", tried.failures());
        // What is sound is shown, whatever came before it.
        let few = Tried::new(json!({ "how": how, "body": "poison" }), one_row).await;
        assert_eq!(few.run(5000, &[0, 17, 4999]).await.expect("they are dropped"), 4997, "{how}");
    }
}

#[tokio::test]
async fn a_filter_that_is_slow_to_start_is_given_the_time_that_it_takes() {
    let settings = json!({ "how": "panic", "body": "poison", "starting": 300 });
    // Six halvings take as many starts, and twice: eighteen of these deadlines.
    let tried = Tried::new(settings, |processor| processor.deadline = Duration::from_millis(200)).await;
    assert_eq!(tried.run(64, &[40]).await.expect("it is dropped"), 63);
}

#[tokio::test]
async fn a_record_that_is_too_slow_is_tried_once_more() {
    let settings = json!({ "how": "loop", "body": "poison" });
    let tried = Tried::new(settings, |processor| processor.deadline = Duration::from_millis(300)).await;
    assert_eq!(tried.run(2, &[1]).await.expect("it is dropped"), 1);
    // With the other one, alone, and alone again.
    assert!(tried.failures() >= 3, "{}", tried.failures());
}

#[tokio::test]
async fn a_filter_that_outlasts_its_senders_is_left_alone_too() {
    let settings = json!({ "how": "loop" });
    let breaker = CircuitBreaker {
        threshold: 2.try_into().expect("not zero"),
        initial_interval: Duration::from_secs(3600),
        max_interval: Duration::from_secs(3600),
    };
    let tried = Tried::new(settings, |processor| {
        processor.deadline = Duration::from_millis(20);
        processor.on_failure = OnFailure::default();
        processor.circuit_breaker = Some(breaker);
    });
    let tried = tried.await;
    // Each sender has gone after the first failure, and long before the last one.
    for round in 1..=2 {
        let mut run = Box::pin(tried.run(1000, &[]).into_future());
        while tried.failures() < round {
            tokio::select! {
                ended = &mut run => panic!("it can't be over yet: {ended:?}"),
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
        }
    }
    let error = tried.run(1000, &[]).await.expect_err("it is rejected");
    assert!(matches!(error, Error::Filter { delay, .. } if delay == Duration::from_secs(5)), "{error:?}");
    assert!(tried.failures() < 10, "it was not run: {}", tried.failures());
}
