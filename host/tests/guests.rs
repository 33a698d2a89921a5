//! What guests say, and what they find of WASI.
//!
//! In a program of their own, because a subscriber to the log must be there before anything is logged: whoever logs
//! first in a thread without one decides for all threads that nobody listens.
use std::io;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;
use serde_json::{Map, Value, json};
use sluicegate::batch::Batch;
use sluicegate::config::{Processor, Span, Spanned};
use sluicegate::filter::{Engine, Failure, FailureKind, Filter};

#[path = "support/component.rs"]
mod support;

/// Everything that was logged, as JSON lines.
static LOGGED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

#[tokio::test]
async fn what_a_filter_says_is_logged_under_its_name() {
    let filter = load("wasm/panics", "trap", json!({ "how": "panic" })).await;
    process(&filter, 1).await.expect_err("it panics");
    let lines = logged("wasm/panics");
    let [(level, message)] = &lines[..] else { panic!("one line: {lines:?}") };
    assert_eq!(level, "ERROR");
    assert!(message.contains("the trap was set off"), "{message}");
}

#[tokio::test]
async fn wasi_is_there_and_empty() {
    let filter = load("wasm/writes", "uses_wasi", json!({})).await;
    process(&filter, 1).await.expect("writing is allowed");
    let line = |level: &str, message: &str| (level.to_owned(), message.to_owned());
    let found = line("INFO", "0 variables, 0 arguments, 0 directories");
    assert_eq!(logged("wasm/writes"), [found, line("INFO", "half a line"), line("WARN", "the end")]);
}

#[tokio::test]
async fn wasi_gives_a_guest_no_way_out() {
    let filter = load("wasm/escapes", "uses_wasi", json!({})).await;
    let check = async |records: usize, kind: FailureKind, expected: &str| {
        let failure = process(&filter, records).await.expect_err(expected);
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.message.contains(expected), "{failure}");
    };
    check(2, FailureKind::Deadline, "the filter took longer than its deadline of 1s").await;
    check(3, FailureKind::Trap, "exit status 1").await;
    check(4, FailureKind::Trap, "resource table has no free keys").await;
    check(5, FailureKind::Trap, "requested len 1073741824 exceeds limit").await;
    check(6, FailureKind::Trap, "more bytes than `check-write` permits").await;
    check(7, FailureKind::Trap, "cannot write more zeroes than `check_write` allows").await;
}

/// Loads one of the components that `cargo xtask filters` builds, and listens to it.
async fn load(name: &str, guest: &str, settings: Value) -> Filter {
    listen();
    let component = support::component(guest);
    let settings: Map<String, Value> = serde_json::from_value(settings).expect("settings are a map");
    let component = Spanned::new(component, Span::default());
    let settings = Spanned::new(settings, Span::default());
    let processor = Processor { deadline: Duration::from_secs(1), ..Processor::new(component, settings) };
    Filter::load(&Engine::new(1).expect("room for one"), name, &processor).await.expect("it loads")
}

async fn process(filter: &Filter, records: usize) -> Result<(), Failure> {
    let scope_logs = vec![ScopeLogs { log_records: vec![LogRecord::default(); records], ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    let request = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
    filter.process(Box::new(Batch::new(request.into()).expect("well-formed"))).await.result.map(drop)
}

/// Subscribes to the log, once.
fn listen() {
    static LISTENS: OnceLock<()> = OnceLock::new();
    LISTENS.get_or_init(|| tracing_subscriber::fmt().json().with_writer(|| Logged).init());
}

/// Level and message of each line that a processor's filter wrote.
fn logged(processor: &str) -> Vec<(String, String)> {
    let logged = LOGGED.lock().expect("nobody panics while writing");
    let lines = logged.split_inclusive(|&byte| byte == b'\n');
    let lines = lines.map(|line| serde_json::from_slice::<Value>(line).expect("JSON"));
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    lines
        .filter(|line| line["fields"]["processor"] == processor)
        .map(|line| (text(&line["level"]), text(&line["fields"]["message"])))
        .collect()
}

/// The end of [`LOGGED`].
struct Logged;

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGGED.lock().expect("nobody panics while writing").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
