//! One line for each log record, span or metric.
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value},
    logs::v1::LogRecord,
    metrics::v1::{Metric, NumberDataPoint, metric, number_data_point},
    trace::v1::Span,
};
use prost::Message;

use crate::{
    hex::hex,
    items,
    receive::{Request, Signal},
};

/// How many lines there are of one request at most: more than anybody reads.
const MAX_LINES: usize = 1000;

/// How large a record may be that is decoded, in bytes. Decoded, it may take a hundred times the memory.
const MAX_RECORD: usize = 64 << 10;

/// The lines of a request, as far as people read them. Records are decoded one by one, so that no request takes much
/// memory. Profiles have no lines: they mean little without their dictionary.
pub(super) fn of(request: &Request) -> String {
    let line: fn(&[u8]) -> Option<String> = match request.signal {
        Signal::Logs => |record| LogRecord::decode(record).ok().as_ref().map(log_record),
        Signal::Traces => |record| Span::decode(record).ok().as_ref().map(span),
        Signal::Metrics => |record| Metric::decode(record).ok().as_ref().map(metric),
        Signal::Profiles => return String::new(),
    };
    let (mut lines, mut number) = (String::new(), 0);
    items::each_record(request, |record| {
        number += 1;
        if number > MAX_LINES {
            return;
        }
        match Some(record).filter(|record| record.len() <= MAX_RECORD).and_then(line) {
            Some(line) => lines.push_str(&line),
            None => lines.push_str(&format!("<{}>", count(record.len() as u64, "byte"))),
        }
        lines.push('\n');
    });
    if number > MAX_LINES {
        lines.push_str(&format!("… and {} more\n", number - MAX_LINES));
    }
    lines
}

/// Such as `2 spans`.
pub(super) fn count(n: u64, of: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {of}{plural}")
}

/// Such as `INFO order placed order.id=7`.
fn log_record(record: &LogRecord) -> String {
    let mut line = String::new();
    match (&*record.severity_text, record.severity_number) {
        ("", 0) => line.push('-'),
        ("", number) => line.push_str(&severity(number)),
        (text, _) => string(&mut line, text),
    }
    if !record.event_name.is_empty() {
        line.push_str(" event.name=");
        string(&mut line, &record.event_name);
    }
    if let Some(body) = &record.body {
        line.push(' ');
        value(&mut line, body);
    }
    attributes(&mut line, &record.attributes);
    line
}

/// Such as `GET /cart 5b8efff798038103d269b633813fc60c eee19b7ec3c1b174 http.status=200`.
fn span(span: &Span) -> String {
    let mut line = String::new();
    string(&mut line, &span.name);
    for id in [&span.trace_id, &span.span_id] {
        line.push(' ');
        line.push_str(&hex(id));
    }
    attributes(&mut line, &span.attributes);
    line
}

/// Such as `requests sum 17 4`.
fn metric(metric: &Metric) -> String {
    let mut line = String::new();
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
    string(&mut line, &metric.name);
    line.push(' ');
    line.push_str(kind);
    for point in &points {
        line.push(' ');
        line.push_str(point);
    }
    line
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

pub(super) fn value(lines: &mut String, of: &AnyValue) {
    match &of.value {
        None => {}
        Some(any_value::Value::StringValue(text)) => string(lines, text),
        Some(any_value::Value::BoolValue(value)) => lines.push_str(&value.to_string()),
        Some(any_value::Value::IntValue(value)) => lines.push_str(&value.to_string()),
        Some(any_value::Value::DoubleValue(value)) => lines.push_str(&value.to_string()),
        Some(any_value::Value::BytesValue(bytes)) => {
            lines.push_str(&format!("<{}>", count(bytes.len() as u64, "byte")))
        }
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
