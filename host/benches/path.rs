//! What each step of a log record's way costs, beside decoding and encoding the same batch with prost.
//!
//! `cargo bench` measures and ends with a table: each step at batches of 1,000 as a share of prost's time, and the
//! share it may take. Filters are the built ones, from `cargo xtask filters`.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Bencher, BenchmarkId, Criterion, Throughput};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use serde_json::json;
use sluicegate::batch::{Batch, Change, Column, Field, Outcome, Verdict};
use sluicegate::config::{Processor, Span, Spanned};
use sluicegate::filter::{Engine, Filter};
use tokio::runtime::{Builder, Runtime};

#[path = "../tests/support/component.rs"]
mod support;

/// The program's allocator: large allocations weigh here.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCHES: [usize; 4] = [10, 100, 1_000, 8_000];

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

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(40)
        .configure_from_args();
    for rows in BATCHES {
        measure(&mut criterion, rows);
    }
    criterion.final_summary();
    report();
}

/// All steps at one size of batches.
fn measure(criterion: &mut Criterion, rows: usize) {
    let bytes = Bytes::from(request(rows).encode_to_vec());
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut group = criterion.benchmark_group(rows.to_string());
    group.throughput(Throughput::Elements(rows as u64));
    let mut case = |name: &str, run: &mut dyn FnMut(&mut Bencher<'_>)| {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| run(bencher));
    };

    case(BASELINE, &mut |bencher| {
        bencher.iter(|| {
            let mut request = ExportLogsServiceRequest::decode(bytes.clone()).expect("it was encoded");
            for scope in request.resource_logs.iter_mut().flat_map(|resource| &mut resource.scope_logs) {
                scope.log_records.retain(|record| record.severity_number >= 9);
            }
            request.encode_to_vec()
        });
    });
    case("check", &mut |bencher| bencher.iter(|| parse(&bytes)));

    let batch = parse(&bytes);
    let columns = [
        ("column: severity", Field::SeverityNumber),
        ("column: body", Field::Body),
        ("column: sixth attribute", Field::Attribute("user.id".into())),
        ("column: missing attribute", Field::Attribute("no.such.attribute".into())),
        ("column: whole record", Field::LogRecord),
    ];
    for (name, field) in columns {
        case(name, &mut |bencher| bencher.iter(|| batch.column(&field, usize::MAX)));
    }

    let filters = [
        ("filter: look at severity", "drop_below_severity", json!({ "minimum": "TRACE" })),
        ("filter: read an attribute", "observe", json!({ "read": [{ "attribute": "user.id" }] })),
        ("filter: set an attribute", "observe", json!({ "set": { "deployment.environment.name": "production" } })),
        ("filter: scan the body", "observe", json!({ "read": ["body"] })),
    ];
    for (name, component, settings) in filters {
        let filter = filter(&runtime, component, &settings);
        case(name, &mut |bencher| {
            bencher.iter_batched(
                || parse(&bytes),
                |batch| {
                    let call = runtime.block_on(filter.process(batch));
                    call.result.expect("the filter works");
                    call.batch
                },
                BatchSize::LargeInput,
            );
        });
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
    for (name, outcome) in encodings {
        let mut batch = parse(&bytes);
        batch.apply(outcome).expect("it follows the contract");
        case(name, &mut |bencher| bencher.iter(|| batch.encode(|_| true)));
    }

    let severity = filter(&runtime, "drop_below_severity", &json!({ "minimum": "INFO" }));
    case("whole path: severity filter", &mut |bencher| {
        bencher.iter(|| {
            let call = runtime.block_on(severity.process(parse(&bytes)));
            call.result.expect("the filter works");
            black_box(call.batch.encode(|_| true))
        });
    });
    group.finish();
}

fn parse(bytes: &Bytes) -> Batch {
    Batch::new(bytes.clone()).expect("it was encoded")
}

fn filter(runtime: &Runtime, component: &str, settings: &serde_json::Value) -> Filter {
    let nowhere = Span::default();
    let component = Spanned::new(support::component(component), nowhere);
    let settings = Spanned::new(settings.as_object().expect("a map").clone(), nowhere);
    let processor = Processor { deadline: Duration::from_secs(10), ..Processor::new(component, settings) };
    let engine = Engine::new(1).expect("room for one instance");
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
