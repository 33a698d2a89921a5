//! One line for each log record, span or metric.
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        profiles::v1development::ExportProfilesServiceRequest, trace::v1::ExportTraceServiceRequest,
    },
    common::v1::{AnyValue, KeyValue, any_value},
    logs::v1::LogRecord,
    metrics::v1::{Metric, NumberDataPoint, metric, number_data_point},
    trace::v1::Span,
};

/// What a request holds.
pub(super) struct Summary {
    /// How many of what.
    pub(super) counts: String,
    /// A line for each, with its line break.
    pub(super) lines: String,
}

pub(super) fn logs(request: &ExportLogsServiceRequest) -> Summary {
    let scopes = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
    let records: Vec<_> = scopes.flat_map(|scope| &scope.log_records).collect();
    let mut lines = String::new();
    records.iter().for_each(|record| log_record(&mut lines, record));
    let counts = format!("{}, {}", count(request.resource_logs.len(), "resource"), count(records.len(), "log record"));
    Summary { counts, lines }
}

pub(super) fn traces(request: &ExportTraceServiceRequest) -> Summary {
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    let spans: Vec<_> = scopes.flat_map(|scope| &scope.spans).collect();
    let mut lines = String::new();
    spans.iter().for_each(|one| span(&mut lines, one));
    let counts = format!("{}, {}", count(request.resource_spans.len(), "resource"), count(spans.len(), "span"));
    Summary { counts, lines }
}

pub(super) fn metrics(request: &ExportMetricsServiceRequest) -> Summary {
    let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    let metrics: Vec<_> = scopes.flat_map(|scope| &scope.metrics).collect();
    let mut lines = String::new();
    let points = metrics.iter().map(|one| metric(&mut lines, one)).sum();
    let resources = count(request.resource_metrics.len(), "resource");
    let counts = format!("{resources}, {}, {}", count(metrics.len(), "metric"), count(points, "data point"));
    Summary { counts, lines }
}

/// Profiles are not written line by line: they mean little without their dictionary.
pub(super) fn profiles(request: &ExportProfilesServiceRequest) -> Summary {
    let scopes = request.resource_profiles.iter().flat_map(|resource| &resource.scope_profiles);
    let profiles = scopes.map(|scope| scope.profiles.len()).sum();
    let counts = format!("{}, {}", count(request.resource_profiles.len(), "resource"), count(profiles, "profile"));
    Summary { counts, lines: String::new() }
}

fn count(n: usize, of: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {of}{plural}")
}

/// Such as `INFO order placed order.id=7`.
fn log_record(lines: &mut String, record: &LogRecord) {
    match (&*record.severity_text, record.severity_number) {
        ("", 0) => lines.push('-'),
        ("", number) => lines.push_str(&severity(number)),
        (text, _) => string(lines, text),
    }
    if !record.event_name.is_empty() {
        lines.push_str(" event.name=");
        string(lines, &record.event_name);
    }
    if let Some(body) = &record.body {
        lines.push(' ');
        value(lines, body);
    }
    attributes(lines, &record.attributes);
    lines.push('\n');
}

/// Such as `GET /cart 5b8efff798038103d269b633813fc60c eee19b7ec3c1b174 http.status=200`.
fn span(lines: &mut String, span: &Span) {
    string(lines, &span.name);
    for id in [&span.trace_id, &span.span_id] {
        lines.push(' ');
        id.iter().for_each(|byte| lines.push_str(&format!("{byte:02x}")));
    }
    attributes(lines, &span.attributes);
    lines.push('\n');
}

/// Such as `requests sum 17 4`. Answers the number of data points.
fn metric(lines: &mut String, metric: &Metric) -> usize {
    let numbers = |points: &[NumberDataPoint]| points.iter().map(number).collect();
    let (kind, points): (_, Vec<_>) = match &metric.data {
        None => ("-", Vec::new()),
        Some(metric::Data::Gauge(gauge)) => ("gauge", numbers(&gauge.data_points)),
        Some(metric::Data::Sum(sum)) => ("sum", numbers(&sum.data_points)),
        Some(metric::Data::Histogram(histogram)) => {
            ("histogram", histogram.data_points.iter().map(|point| distribution(point.count, point.sum)).collect())
        }
        Some(metric::Data::ExponentialHistogram(histogram)) => {
            let points = histogram.data_points.iter();
            ("exponential_histogram", points.map(|point| distribution(point.count, point.sum)).collect())
        }
        Some(metric::Data::Summary(summary)) => {
            ("summary", summary.data_points.iter().map(|point| distribution(point.count, Some(point.sum))).collect())
        }
    };
    string(lines, &metric.name);
    lines.push(' ');
    lines.push_str(kind);
    for point in &points {
        lines.push(' ');
        lines.push_str(point);
    }
    lines.push('\n');
    points.len()
}

fn number(point: &NumberDataPoint) -> String {
    match point.value {
        Some(number_data_point::Value::AsInt(n)) => n.to_string(),
        Some(number_data_point::Value::AsDouble(n)) => n.to_string(),
        None => "-".to_owned(),
    }
}

fn distribution(count: u64, sum: Option<f64>) -> String {
    match sum {
        Some(sum) => format!("count={count},sum={sum}"),
        None => format!("count={count}"),
    }
}

/// The short name of a severity number, such as `WARN2` for 14; the number itself where OTLP has no name.
fn severity(number: i32) -> String {
    const RANGES: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
    match usize::try_from(number - 1) {
        Ok(index) if index < 4 * RANGES.len() => match index % 4 {
            0 => RANGES[index / 4].to_owned(),
            step => format!("{}{}", RANGES[index / 4], step + 1),
        },
        _ => number.to_string(),
    }
}

fn attributes(lines: &mut String, attributes: &[KeyValue]) {
    for attribute in attributes {
        lines.push(' ');
        pair(lines, attribute);
    }
}

fn pair(lines: &mut String, pair: &KeyValue) {
    string(lines, &pair.key);
    lines.push('=');
    if let Some(of) = &pair.value {
        value(lines, of);
    }
}

fn value(lines: &mut String, of: &AnyValue) {
    match &of.value {
        None => {}
        Some(any_value::Value::StringValue(text)) => string(lines, text),
        Some(any_value::Value::BoolValue(value)) => lines.push_str(&value.to_string()),
        Some(any_value::Value::IntValue(value)) => lines.push_str(&value.to_string()),
        Some(any_value::Value::DoubleValue(value)) => lines.push_str(&value.to_string()),
        Some(any_value::Value::BytesValue(bytes)) => lines.push_str(&format!("<{}>", count(bytes.len(), "byte"))),
        // An index into a table that log records, spans and metrics do not have.
        Some(any_value::Value::StringValueStrindex(_)) => {}
        Some(any_value::Value::ArrayValue(array)) => joined(lines, '[', &array.values, ']', value),
        Some(any_value::Value::KvlistValue(list)) => joined(lines, '{', &list.values, '}', pair),
    }
}

fn joined<T>(lines: &mut String, open: char, of: &[T], close: char, one: impl Fn(&mut String, &T)) {
    lines.push(open);
    for (index, item) in of.iter().enumerate() {
        if index > 0 {
            lines.push_str(", ");
        }
        one(lines, item);
    }
    lines.push(close);
}

/// A line break in a string would look like the next record, and an escape sequence may do anything to a terminal.
fn string(lines: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() { lines.extend(c.escape_default()) } else { lines.push(c) }
    }
}
