//! Log records as containers in Kubernetes write them.
use fastrand::Rng;
use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber},
    resource::v1::Resource,
};

use super::Shape;

/// How many records one container has in a request. A node's agent collects from many containers.
const RECORDS_A_RESOURCE: usize = 50;
/// How many containers a request has at most.
const RESOURCES: usize = 16;

/// What applications run, their teams, and where.
const SERVICES: [(&str, &str, &str); 4] = [
    ("checkout", "payments", "production"),
    ("catalog", "shop", "production"),
    ("accounts", "identity", "production"),
    ("search", "shop", "staging"),
];

/// Severities by how often they occur, of twenty: a quarter is below INFO.
const SEVERITIES: [(SeverityNumber, &str, usize); 5] = [
    (SeverityNumber::Trace, "TRACE", 1),
    (SeverityNumber::Debug, "DEBUG", 4),
    (SeverityNumber::Info, "INFO", 12),
    (SeverityNumber::Warn, "WARN", 2),
    (SeverityNumber::Error, "ERROR", 1),
];

/// The path of a health check.
const HEALTH_CHECK: &str = "/healthz";

/// How the addresses for electronic mail end.
pub(super) const MAIL_HOST: &str = "@example.com";
/// A card's number, issued for tests, with the right check digit.
pub(super) const CARD: &str = "4111 1111 1111 1111";

/// A request of this shape.
pub(super) fn request(shape: &Shape, random: &mut Rng) -> ExportLogsServiceRequest {
    let resources = shape.records.div_ceil(RECORDS_A_RESOURCE).min(RESOURCES);
    // The records are dealt out evenly; the first containers take what is over.
    let share = |index: usize| shape.records / resources + usize::from(index < shape.records % resources);
    let mut row = 0;
    let mut resource_logs = |index: usize| {
        let pod = Pod::new(random);
        let records = (0..share(index)).map(|_| {
            row += 1;
            record(shape, &pod, row, random)
        });
        let scope = InstrumentationScope {
            name: "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/filelogreceiver".into(),
            version: "0.161.0".into(),
            ..InstrumentationScope::default()
        };
        let scope_logs = ScopeLogs { scope: Some(scope), log_records: records.collect(), ..ScopeLogs::default() };
        ResourceLogs { resource: Some(pod.resource()), scope_logs: vec![scope_logs], ..ResourceLogs::default() }
    };
    ExportLogsServiceRequest { resource_logs: (0..resources).map(&mut resource_logs).collect() }
}

/// Whether it is at INFO or above.
pub(super) fn is_from_info(record: &LogRecord) -> bool {
    record.severity_number >= SeverityNumber::Info as i32
}

/// Whether it is of a health check that went well. Health checks here always do.
pub(super) fn is_healthy_check(record: &LogRecord) -> bool {
    let is_there = |key, value: fn(&Value) -> bool| {
        let mut values = record.attributes.iter().filter(|pair| pair.key == key).filter_map(|pair| pair.value.as_ref());
        values.any(|any| any.value.as_ref().is_some_and(value))
    };
    is_there("url.path", |value| matches!(value, Value::StringValue(path) if path == HEALTH_CHECK))
        && is_there("http.response.status_code", |value| matches!(value, Value::IntValue(..=399)))
}

/// A container's pod.
struct Pod {
    service: &'static str,
    team: &'static str,
    environment: &'static str,
    name: String,
    uid: String,
    file: String,
}

impl Pod {
    fn new(random: &mut Rng) -> Self {
        let (service, team, environment) = SERVICES[random.usize(..SERVICES.len())];
        let name = format!("{service}-{:08x}-{:05x}", random.u32(..), random.u32(..1 << 20));
        let uid = format!("{:08x}-{:04x}-4{:03x}", random.u32(..), random.u16(..), random.u16(..1 << 12));
        let file = format!("/var/log/pods/{name}/0.log");
        Self { service, team, environment, name, uid, file }
    }

    fn resource(&self) -> Resource {
        let attributes = [
            ("service.name", self.service),
            ("k8s.namespace.name", "shop"),
            ("k8s.namespace.label.environment", self.environment),
            ("k8s.pod.name", &self.name),
            ("k8s.pod.uid", &self.uid),
            ("k8s.pod.label.team", self.team),
            ("k8s.container.name", self.service),
            ("k8s.node.name", "node-b-3"),
        ];
        let attributes = attributes.map(|(key, value)| pair(key, text(value))).to_vec();
        Resource { attributes, ..Resource::default() }
    }
}

/// The record number `row` of a request.
fn record(shape: &Shape, pod: &Pod, row: usize, random: &mut Rng) -> LogRecord {
    /// Some time in autumn 2026, in nanoseconds since 1970.
    const START: u64 = 1_790_000_000_000_000_000;
    let time_unix_nano = START + row as u64 * 1_000_003;
    let (severity, severity_text) = severity(row);
    let is_health_check = random.u8(..16) == 0;
    let path =
        if is_health_check { HEALTH_CHECK.to_owned() } else { format!("/api/v1/orders/{}", random.u32(..1 << 20)) };
    let status = if is_health_check || severity < SeverityNumber::Error { 200 } else { 503 };
    let duration = f64::from(random.u16(1..)) / 100.0;
    let user = random.u32(..1 << 16);
    let mut attributes = vec![
        pair("log.iostream", text("stdout")),
        pair("log.file.path", text(&pod.file)),
        pair("http.request.method", text("GET")),
        pair("url.path", text(&path)),
        pair("http.response.status_code", Value::IntValue(status)),
        pair("client.address", text(&format!("10.42.{}.{}", random.u8(..), random.u8(1..)))),
        // One in three requests was made by somebody who had signed in.
        pair(if row.is_multiple_of(3) { "user.id" } else { "session.id" }, text(&format!("u-{user}"))),
        pair("req_id", text(&format!("{:016x}", random.u64(..)))),
        pair("thread.id", Value::IntValue(random.i64(0..64))),
        pair("duration_ms", Value::DoubleValue(duration)),
    ];
    let further = (attributes.len()..shape.attributes).map(|index| pair(&format!("label.{index}"), text("some value")));
    attributes.extend(further);
    attributes.truncate(shape.attributes);
    if shape.unread_bytes > 0 {
        attributes.push(pair("context", text(&filler(shape.unread_bytes, random))));
    }
    // Half of all records belong to a trace.
    let (trace_id, span_id) = match random.bool() {
        true => (random.u128(1..).to_be_bytes().to_vec(), random.u64(1..).to_be_bytes().to_vec()),
        false => (Vec::new(), Vec::new()),
    };
    LogRecord {
        time_unix_nano,
        observed_time_unix_nano: time_unix_nano + 1_000_000,
        severity_number: severity as i32,
        severity_text: severity_text.into(),
        body: Some(AnyValue { value: Some(text(&body(shape.body_bytes, &path, user, duration, random))) }),
        attributes,
        flags: u32::from(!trace_id.is_empty()),
        trace_id,
        span_id,
        ..LogRecord::default()
    }
}

/// The severity of record number `row`. Each twenty in a row have the same mix, in an order that leaps about.
fn severity(row: usize) -> (SeverityNumber, &'static str) {
    // Seven has no divisor in common with twenty.
    let mut place = row * 7 % 20;
    for (severity, text, share) in SEVERITIES {
        if place < share {
            return (severity, text);
        }
        place -= share;
    }
    unreachable!("the shares are of twenty")
}

/// A line of exactly so many bytes. One in ten has an address for electronic mail, one in twenty a card's number.
fn body(bytes: usize, path: &str, user: u32, duration: f64, random: &mut Rng) -> String {
    let person = match random.u8(..20) {
        0 | 1 => format!("for user{user}{MAIL_HOST} "),
        2 => format!("paid with {CARD} "),
        _ => format!("for user {user} "),
    };
    let mut body = format!("GET {path} completed {person}in {duration} ms ");
    if let Some(missing @ 1..) = bytes.checked_sub(body.len()) {
        body += &filler(missing, random);
    }
    body.truncate(bytes);
    body
}

/// So many bytes of words.
fn filler(bytes: usize, random: &mut Rng) -> String {
    const WORDS: [&str; 8] = ["cache", "hit", "after", "one", "retry", "upstream", "replied", "quickly"];
    let mut text = String::with_capacity(bytes + 10);
    while text.len() < bytes {
        text += WORDS[random.usize(..WORDS.len())];
        text.push(' ');
    }
    text.truncate(bytes);
    text
}

fn text(text: &str) -> Value {
    Value::StringValue(text.into())
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
