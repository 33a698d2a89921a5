//! Emits a bit of everything through OpenTelemetry's SDK for Rust, as `OTEL_EXPORTER_OTLP_*` say.
use std::{collections::HashMap, error::Error, thread};

use opentelemetry::{
    Array, InstrumentationScope, Key, KeyValue, StringValue, Value,
    logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity},
    metrics::MeterProvider as _,
    trace::{SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _},
};
use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter};
use opentelemetry_sdk::{
    error::OTelSdkResult, logs::SdkLoggerProvider, metrics::SdkMeterProvider, trace::SdkTracerProvider,
};

const COUNT: u32 = 100;

/// One for each bucket, since SDKs keep a random exemplar of several.
const DURATIONS: [f64; 10] = [1.0, 7.0, 20.0, 40.0, 60.0, 90.0, 200.0, 400.0, 600.0, 900.0];

const SEVERITIES: [Severity; 4] = [Severity::Debug, Severity::Info, Severity::Warn, Severity::Error];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let loggers = SdkLoggerProvider::builder().with_batch_exporter(LogExporter::builder().build()?).build();
    let tracers = SdkTracerProvider::builder().with_batch_exporter(SpanExporter::builder().build()?).build();
    let meters = SdkMeterProvider::builder().with_periodic_exporter(MetricExporter::builder().build()?).build();
    emit(&loggers, &tracers, &meters);
    // All three are flushed at once.
    let report = thread::scope(|scope| {
        let logs = scope.spawn(|| loggers.force_flush());
        let traces = scope.spawn(|| tracers.force_flush());
        let metrics = scope.spawn(|| meters.force_flush());
        let flushed =
            |flush: thread::ScopedJoinHandle<'_, OTelSdkResult>| flush.join().is_ok_and(|flush| flush.is_ok());
        serde_json::json!({ "logs": flushed(logs), "traces": flushed(traces), "metrics": flushed(metrics) })
    });
    // What is left to be told was told by the flush.
    let _ = (loggers.shutdown(), tracers.shutdown(), meters.shutdown());
    println!("{report}");
    Ok(())
}

fn emit(loggers: &SdkLoggerProvider, tracers: &SdkTracerProvider, meters: &SdkMeterProvider) {
    let scope = |schema: &str| {
        InstrumentationScope::builder("example")
            .with_version("1.0")
            .with_schema_url(format!("https://example.com/{schema}"))
            .with_attributes([KeyValue::new("scope", true)])
            .build()
    };
    let logger = loggers.logger_with_scope(scope("logs"));
    let tracer = tracers.tracer_with_scope(scope("traces"));
    let meter = meters.meter_with_scope(scope("metrics"));
    let requests = meter.u64_counter("requests").with_unit("{request}").with_description("How many there were").build();
    let duration = meter.f64_histogram("duration").with_unit("ms").with_description("How long they took").build();
    for n in 0..COUNT {
        let parent = tracer.span_builder(format!("span {n:03}")).with_kind(SpanKind::Server);
        tracer.in_span_with_builder(parent.with_attributes(attributes(n)), |_| {
            let child = tracer.span_builder(format!("child {n:03}")).with_kind(SpanKind::Client);
            tracer.in_span_with_builder(child, |context| {
                context.span().add_event("halfway", vec![KeyValue::new("n", i64::from(n))]);
                if n.is_multiple_of(10) {
                    context.span().set_status(Status::error("every tenth"));
                }
                let severity = SEVERITIES[n as usize % SEVERITIES.len()];
                let mut record = logger.create_log_record();
                record.set_severity_number(severity);
                record.set_severity_text(severity.name());
                record.set_body(format!("record {n:03}").into());
                record.set_event_name("example.event");
                record.add_attributes(attributes(n).into_iter().map(|attribute| (attribute.key, any(attribute.value))));
                record.add_attribute("bytes", AnyValue::Bytes(Box::new(vec![0, 1, 0xfe, 0xff])));
                record.add_attribute("map", map());
                logger.emit(record);
                if let Some(milliseconds) = DURATIONS.get(n as usize) {
                    duration.record(*milliseconds, &[KeyValue::new("even", n.is_multiple_of(2))]);
                }
            });
        });
    }
    requests.add(COUNT.into(), &[]);
}

/// One of each kind of value that spans and log records share.
fn attributes(n: u32) -> Vec<KeyValue> {
    let array = |array: Array| Value::Array(array);
    let strings: Vec<StringValue> = vec!["a".into(), "b".into()];
    vec![
        KeyValue::new("string", "ünïcode ☂ \"quoted\"\n"),
        KeyValue::new("empty", ""),
        KeyValue::new("int", i64::from(n)),
        KeyValue::new("large", (1_i64 << 53) + 1),
        KeyValue::new("double", f64::from(n) + 0.5),
        KeyValue::new("bool", n.is_multiple_of(2)),
        KeyValue::new("strings", array(strings.into())),
        KeyValue::new("ints", array(vec![1, -2, 3].into())),
        KeyValue::new("doubles", array(vec![0.5, 1e-300].into())),
        KeyValue::new("bools", array(vec![true, false].into())),
    ]
}

/// The same as a log record has it.
fn any(value: Value) -> AnyValue {
    match value {
        Value::Bool(value) => value.into(),
        Value::I64(value) => value.into(),
        Value::F64(value) => value.into(),
        Value::String(value) => value.into(),
        Value::Array(Array::Bool(values)) => values.into_iter().collect(),
        Value::Array(Array::I64(values)) => values.into_iter().collect(),
        Value::Array(Array::F64(values)) => values.into_iter().collect(),
        Value::Array(Array::String(values)) => values.into_iter().collect(),
        other => other.to_string().into(),
    }
}

/// A value that only log records have.
fn map() -> AnyValue {
    let map = |key: &'static str, value| AnyValue::Map(Box::new(HashMap::from([(Key::new(key), value)])));
    map("deep", AnyValue::ListAny(Box::new(vec![1.into(), "two".into(), map("three", 3.0.into())])))
}
