//! What each step of a log record's way costs, beside decoding and encoding the same batch with prost.
//!
//! `cargo bench` measures and ends with a table: each step at batches of 1,000 as a share of prost's time, and the
//! share it may take. Filters are the built ones, from `cargo xtask filters`.
//!
//! `cargo xtask instructions` runs the same steps with `--count`, under callgrind.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use serde_json::json;
use sluicegate::batch::{Batch, Change, Column, Field, Outcome, Verdict};
use sluicegate::config::{Processor, Span, Spanned};
use sluicegate::filter::{Cache, Engine, Filter};
use tokio::runtime::{Builder, Runtime};

#[path = "../tests/support/component.rs"]
mod support;

/// The program's allocator: large allocations weigh here.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCHES: [usize; 4] = [10, 100, 1_000, 8_000];

/// Sizes of batches at which instructions are counted: where the cost of a call shows, and where that of a record does.
const COUNTED: [usize; 2] = [10, 1_000];

/// How often instructions are counted, as a tick of the engine's clock adds some: the lowest count is taken.
const COUNTS: usize = 3;

/// What the shares are of.
const BASELINE: &str = "prost: decode, drop, encode";

/// Each step that has a budget, as a share of the baseline at batches of 1,000.
const BUDGETS: [(&str, f64); 7] = [
    ("check", 0.08),
    ("filter: look at severity", 0.006),
    ("filter: read an attribute", 0.03),
    ("filter: set an attribute", 0.04),
    ("encode: a quarter dropped", 0.02),
    ("encode: an attribute added", 0.06),
    ("whole path: severity filter", 0.12),
];

/// What is done with each step.
trait Meter {
    /// Measures `run`, and the drop of its result.
    fn measure<O>(&mut self, step: &str, run: impl FnMut() -> O);

    /// Measures `run` on what `ready` makes before.
    fn measure_on<I, O>(&mut self, step: &str, ready: impl FnMut() -> I, run: impl FnMut(I) -> O);
}

fn main() {
    if std::env::args().any(|argument| argument == "--count") {
        COUNTED.iter().for_each(|&rows| measure(&mut Counter { rows }, rows));
        return;
    }
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(40)
        .configure_from_args();
    for rows in BATCHES {
        let mut group = criterion.benchmark_group(rows.to_string());
        group.throughput(Throughput::Elements(rows as u64));
        measure(&mut Stopwatch(group), rows);
    }
    criterion.final_summary();
    report();
}

/// Measures time.
struct Stopwatch<'a>(BenchmarkGroup<'a, WallTime>);

impl Meter for Stopwatch<'_> {
    fn measure<O>(&mut self, step: &str, mut run: impl FnMut() -> O) {
        self.0.bench_function(BenchmarkId::from_parameter(step), |bencher| bencher.iter(&mut run));
    }

    fn measure_on<I, O>(&mut self, step: &str, mut ready: impl FnMut() -> I, mut run: impl FnMut(I) -> O) {
        self.0.bench_function(BenchmarkId::from_parameter(step), |bencher| {
            bencher.iter_batched(&mut ready, &mut run, BatchSize::LargeInput);
        });
    }
}

/// Has callgrind count instructions: those of [`counted`], of which it writes a file each time. Says which step of how
/// many records each file is about.
struct Counter {
    rows: usize,
}

impl Meter for Counter {
    fn measure<O>(&mut self, step: &str, mut run: impl FnMut() -> O) {
        self.measure_on(step, || (), |()| drop(black_box(run())));
    }

    fn measure_on<I, O>(&mut self, step: &str, mut ready: impl FnMut() -> I, mut run: impl FnMut(I) -> O) {
        // What is only done the first time, such as asking the system for memory, is not counted.
        black_box(run(ready()));
        for _ in 0..COUNTS {
            let input = ready();
            black_box(counted(|| run(input)));
            println!("{} {step}", self.rows);
        }
    }
}

/// Callgrind knows it by its name.
#[inline(never)]
fn counted<O>(run: impl FnOnce() -> O) -> O {
    run()
}

/// Measures all steps at one size of batches.
fn measure(meter: &mut impl Meter, rows: usize) {
    let bytes = Bytes::from(request(rows).encode_to_vec());
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");

    meter.measure(BASELINE, || {
        let mut request = ExportLogsServiceRequest::decode(bytes.clone()).expect("it was encoded");
        for scope in request.resource_logs.iter_mut().flat_map(|resource| &mut resource.scope_logs) {
            scope.log_records.retain(|record| record.severity_number >= 9);
        }
        request.encode_to_vec()
    });
    meter.measure("check", || parse(&bytes));

    let batch = parse(&bytes);
    let columns = [
        ("column: severity", Field::SeverityNumber),
        ("column: body", Field::Body),
        ("column: sixth attribute", Field::Attribute("user.id".into())),
        ("column: missing attribute", Field::Attribute("no.such.attribute".into())),
        ("column: trace id", Field::TraceId),
        ("column: whole record", Field::LogRecord),
    ];
    for (step, field) in columns {
        meter.measure(step, || batch.column(&field, usize::MAX));
    }

    let filters = [
        ("filter: look at severity", "drop_below_severity", json!({ "minimum": "TRACE" })),
        ("filter: read an attribute", "observe", json!({ "read": [{ "attribute": "user.id" }] })),
        ("filter: set an attribute", "observe", json!({ "set": { "deployment.environment.name": "production" } })),
        ("filter: scan the body", "observe", json!({ "read": ["body"] })),
    ];
    for (step, component, settings) in filters {
        let filter = filter(&runtime, component, &settings);
        let run = |batch| {
            let call = runtime.block_on(filter.process(batch));
            call.result.expect("the filter works");
            call.batch
        };
        meter.measure_on(step, || Box::new(parse(&bytes)), run);
    }

    let quarter = (0..rows).map(|row| u8::from(row % 4 == 0)).collect();
    let dropped =
        Outcome { rows: quarter, verdicts: vec![Verdict::Keep, Verdict::Drop("noise".into())], changes: vec![] };
    let added = |name: &str, rows: Vec<u32>| {
        let values = Column { kinds: vec![1], ends: vec![10], data: b"production".to_vec() };
        Outcome { changes: vec![Change { field: Field::Attribute(name.into()), rows, values }], ..Outcome::default() }
    };
    let encodings = [
        ("encode: a quarter dropped", dropped),
        ("encode: an attribute added", added("deployment.environment.name", vec![])),
        ("encode: an attribute replaced", added("user.id", vec![])),
    ];
    for (step, outcome) in encodings {
        let mut batch = parse(&bytes);
        batch.apply(outcome).expect("it follows the contract");
        meter.measure(step, || batch.encode(|_| true));
    }

    let severity = filter(&runtime, "drop_below_severity", &json!({ "minimum": "INFO" }));
    meter.measure("whole path: severity filter", || {
        let call = runtime.block_on(severity.process(Box::new(parse(&bytes))));
        call.result.expect("the filter works");
        black_box(call.batch.encode(|_| true))
    });
}

fn parse(bytes: &Bytes) -> Batch {
    Batch::new(bytes.clone()).expect("it was encoded")
}

fn filter(runtime: &Runtime, component: &str, settings: &serde_json::Value) -> Filter {
    let nowhere = Span::default();
    let component = Spanned::new(support::component(component), nowhere);
    let settings = Spanned::new(settings.as_object().expect("a map").clone(), nowhere);
    let processor = Processor { deadline: Duration::from_secs(10), ..Processor::new(component, settings) };
    // Compiling takes its time, above all under callgrind.
    let cache = Cache::new(support::target().join("benchmark-cache"));
    let engine = Engine::new(1).expect("room for one instance").with_cache(Some(cache));
    runtime.block_on(Filter::load(&engine, "wasm/bench", &processor)).expect("the filter loads")
}

/// Prints the shares. There is nothing to print when the cases were only tried out, or some were left out.
fn report() {
    let median = |name: &str| -> Option<f64> {
        let folder: String = name.chars().map(|c| if "?\"/\\*<>:|^".contains(c) { '_' } else { c }).collect();
        let file = support::target().join("criterion/1000").join(folder.trim()).join("new/estimates.json");
        let estimates: serde_json::Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
        estimates["median"]["point_estimate"].as_f64()
    };
    let Some(baseline) = median(BASELINE) else { return };
    println!("\nAt batches of 1,000, with {BASELINE:?} as 1 ({:.0} ns a record):\n", baseline / 1_000.0);
    println!("{:<32} {:>12} {:>8} {:>8}", "step", "ns a record", "share", "budget");
    for (name, budget) in BUDGETS {
        let Some(time) = median(name) else { continue };
        let share = time / baseline;
        let verdict = if share <= budget { "" } else { "  over" };
        println!("{name:<32} {:>12.1} {share:>8.4} {budget:>8}{verdict}", time / 1_000.0);
    }
}

/// Log records of a web service, some 466 bytes each, with ten attributes.
fn request(rows: usize) -> ExportLogsServiceRequest {
    let text = |text: &str| Value::StringValue(text.into());
    let pair = |key: &str, value| KeyValue {
        key: key.into(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    };
    let severities =
        [(9, "INFO"), (9, "INFO"), (5, "DEBUG"), (9, "INFO"), (13, "WARN"), (9, "INFO"), (17, "ERROR"), (9, "INFO")];
    let record = |row: usize| {
        let time = 1_790_000_000_000_000_000 + row as u64 * 1_000_003;
        let (severity_number, severity_text) = severities[row % severities.len()];
        let user = row * 31 % 10_007;
        let body =
            format!("GET /api/v1/orders/{row} completed in {} ms for user {user} after 1 attempt, cache hit", row % 97);
        LogRecord {
            time_unix_nano: time,
            observed_time_unix_nano: time + 1_000_000,
            severity_number,
            severity_text: severity_text.into(),
            body: Some(AnyValue { value: Some(text(&body)) }),
            attributes: vec![
                pair("http.request.method", text("GET")),
                pair("http.route", text("/api/v1/orders/:id")),
                pair("http.response.status_code", Value::IntValue(200)),
                pair("url.path", text(&format!("/api/v1/orders/{row}"))),
                pair("client.address", text("10.1.2.3")),
                pair("user.id", text(&format!("user-{user}"))),
                pair("log.iostream", text("stdout")),
                pair("log.file.name", text("orders-7f9c5d.log")),
                pair("thread.id", Value::IntValue(row as i64 % 64)),
                pair("duration_ms", Value::DoubleValue(row as f64 * 0.1)),
            ],
            flags: 1,
            trace_id: vec![row as u8 | 1; 16],
            span_id: vec![row as u8 | 1; 8],
            ..LogRecord::default()
        }
    };
    let attributes = vec![pair("service.name", text("orders")), pair("k8s.pod.name", text("orders-7f9c5d-x2x7p"))];
    let scope = InstrumentationScope { name: "access".into(), version: "1.4.0".into(), ..Default::default() };
    let scope_logs =
        vec![ScopeLogs { scope: Some(scope), log_records: (0..rows).map(record).collect(), ..Default::default() }];
    let resource = Some(Resource { attributes, ..Default::default() });
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { resource, scope_logs, ..Default::default() }] }
}
