//! Real components, the sound and the faulty ones of `guest-filters/`.
use std::fs;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;

use futures::future::{FutureExt, join_all};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;
use serde_json::{Value, json};

use super::*;
use crate::batch::{Column, Field};
use crate::config::{Recycle, Span, Spanned};
use crate::testing::component;

mod hostile;
/// A processor over one of the components that `cargo xtask filters` builds.
fn processor(guest: &str, settings: &Value) -> Processor {
    let component = component(guest);
    let Value::Object(settings) = settings.clone() else { panic!("settings are a map") };
    let nowhere = Span::default();
    Processor {
        deadline: Duration::from_secs(60),
        memory_limit: 16 << 20,
        output_limit: 1 << 20,
        max_instances: NonZeroUsize::new(2).unwrap(),
        ..Processor::new(Spanned::new(component, nowhere), Spanned::new(settings, nowhere))
    }
}

fn batch(severities: &[i32]) -> Box<Batch> {
    let log_records = severities.iter().enumerate().map(|(row, &severity_number)| LogRecord {
        severity_number,
        body: Some(AnyValue { value: Some(any_value::Value::StringValue(format!("row {row}"))) }),
        ..LogRecord::default()
    });
    let scope_logs = vec![ScopeLogs { log_records: log_records.collect(), ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    Box::new(Batch::new(ExportLogsServiceRequest { resource_logs }.encode_to_vec().into()).expect("well-formed"))
}

/// Everything that a later filter would see of `batch`.
fn records(batch: &Batch) -> Column {
    batch.column(&Field::LogRecord, usize::MAX).expect("small")
}

async fn load(processor: Processor) -> Result<Filter, LoadError> {
    let engine = Engine::new(processor.max_instances.get()).expect("room for a few");
    Filter::load(&engine, "wasm/test", &processor).await
}

/// Compiles a guest once, for filters that differ in their settings only.
async fn starter(guest: &str) -> impl AsyncFn(Processor) -> Result<Filter, LoadError> {
    let engine = Engine::new(2).expect("room for a few");
    let loaded = load::component(&engine, &processor(guest, &json!({})).component).await.expect("it loads");
    async move |processor: Processor| Filter::start(loaded.clone(), "wasm/test", &processor).await
}

#[tokio::test]
async fn a_sound_filter_decides() {
    let filter = load(processor("drop_below_severity", &json!({ "minimum": "INFO" }))).await.unwrap();
    let call = filter.process(batch(&[5, 9, 1, 17, 0])).await;
    let applied = call.result.unwrap();
    assert_eq!(applied.dropped, [("below minimum severity".to_owned(), 2)]);
    assert_eq!(call.batch.len(), 3);
    assert_eq!(filter.routes(), [""; 0]);
}

#[tokio::test]
async fn what_does_not_load_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let check = async |content: Option<&[u8]>, expected: &str, helps: bool| {
        let component = folder.path().join("filter.wasm");
        if let Some(content) = content {
            fs::write(&component, content).unwrap();
        }
        let processor = Processor {
            component: Spanned::new(component, Span::default()),
            ..processor("drop_below_severity", &json!({}))
        };
        let error = load(processor).await.expect_err(expected);
        let text = error.to_string().replace(folder.path().to_str().unwrap(), "…");
        assert!(text.contains(expected), "{text:?} lacks {expected:?}");
        assert_eq!(error.help().is_some(), helps, "{text}");
    };
    check(None, "can't read the component …/filter.wasm: No such file", false).await;
    check(Some(b"#!/bin/sh"), "…/filter.wasm is not WebAssembly: it starts with \"#!/bin/s\"", true).await;
    check(Some(b""), "…/filter.wasm is not WebAssembly: it starts with \"\"", true).await;
    check(Some(b"\0asm\x01\0\0\0"), "…/filter.wasm is a core WebAssembly module, not a component", true).await;
    check(Some(b"\0asm\x0d\0\x01\0\xff"), "can't compile …/filter.wasm: ", false).await;
    let processor = Processor {
        component: Spanned::new("/dev/zero".into(), Span::default()),
        ..processor("drop_below_severity", &json!({}))
    };
    let endless = load(processor).await.expect_err("it has no end").to_string();
    assert_eq!(endless, "can't read the component /dev/zero: it is no regular file");
    let nothing = "is no filter for this version of Sluicegate: it doesn't export a function `configure`; \
                   it doesn't export a function `process`";
    check(Some(b"\0asm\x0d\0\x01\0"), nothing, true).await;
    for name in ["wasi:http/types@0.2.0", "sluicegate:filter/logs@0.2.0"] {
        check(Some(&importing(name)), &format!("it imports `{name}`, which isn't offered"), true).await;
    }
    // What is offered is no obstacle, however little of it is asked for.
    check(Some(&importing("wasi:cli/stdout@0.2.0")), "it doesn't export a function `configure`", true).await;
}

/// A component that imports an empty interface called `name`.
fn importing(name: &str) -> Vec<u8> {
    let section = |id: u8, content: &[u8]| [&[id, content.len() as u8], content].concat();
    // One type, an instance type without declarations; one import, an instance of it.
    let types = section(7, &[1, 0x42, 0]);
    let import = [&[1, 0x00, name.len() as u8], name.as_bytes(), &[0x05, 0]].concat();
    [b"\0asm\x0d\0\x01\0".as_slice(), &types, &section(10, &import)].concat()
}

#[tokio::test]
async fn refused_settings_are_told_in_the_filters_own_words() {
    let processor = processor("drop_below_severity", &json!({ "minimum": "LOUD" }));
    let error = load(processor).await.expect_err("there is no such severity");
    assert!(matches!(&error, LoadError::Settings(text) if text.contains("LOUD")), "{error:?}");
}

#[tokio::test]
async fn a_filter_may_fail_while_it_is_configured() {
    let check = async |how: &str, memory_limit: usize, expected: &str| {
        let processor = Processor { memory_limit, ..processor("trap", &json!({ "how": how, "at": "configure" })) };
        let error = load(processor).await.expect_err(how);
        let text = error.to_string();
        assert!(matches!(error, LoadError::Start { .. }), "{how}: {text}");
        assert!(text.contains("can't start") && text.contains(expected), "{how}: {text}");
    };
    check("panic", 16 << 20, "the filter trapped: wasm `unreachable` instruction executed").await;
    check("loop", 16 << 20, "the filter took longer than its deadline of 5s").await;
    check("big_memory", 16 << 20, "over its limit of 16 MiB (`memory_limit_mib`)").await;
    // Not even its initial memory fits.
    check("slow", 1 << 20, "over its limit of 1 MiB (`memory_limit_mib`)").await;
}

#[tokio::test]
async fn each_kind_of_failure_costs_the_instance_and_no_more() {
    let start = starter("trap").await;
    let check = async |how: &str, kind: FailureKind, expected: &str| {
        // Long enough for the sound calls on a busy machine.
        let deadline = if how == "loop" { Duration::from_millis(500) } else { Duration::from_secs(60) };
        let settings = json!({ "how": how, "body": "row 1" });
        let filter = start(Processor { deadline, ..processor("trap", &settings) }).await.unwrap();
        // Twice: the second time finds the instance that took the place of the first.
        for _ in 0..2 {
            let batch = batch(&[9, 17]);
            let before = records(&batch);
            let call = filter.process(batch).await;
            let failure = call.result.expect_err(how);
            assert_eq!(failure.kind, kind, "{how}: {failure}");
            assert!(failure.message.contains(expected), "{how}: {failure}");
            assert_eq!(records(&call.batch), before, "{how}: the batch comes back as it was");
            assert!(filter.idle().is_empty(), "{how}: the instance is gone");
            assert_eq!(filter.permits.available_permits(), 2, "{how}: another may take its place");

            filter.process(self::batch(&[9])).await.result.expect("a record that sets nothing off");
            assert_eq!(filter.idle().len(), 1, "{how}: a sound instance is kept");
        }
    };
    check("panic", FailureKind::Trap, "the filter trapped: wasm `unreachable` instruction executed").await;
    check("unreachable", FailureKind::Trap, "the filter trapped: wasm `unreachable` instruction executed").await;
    check("stack_overflow", FailureKind::Trap, "the filter trapped: call stack exhausted").await;
    check("loop", FailureKind::Deadline, "the filter took longer than its deadline of 500ms").await;
    check("grow_memory", FailureKind::Memory, "over its limit of 16 MiB (`memory_limit_mib`)").await;
    check("big_memory", FailureKind::Memory, "over its limit of 16 MiB (`memory_limit_mib`)").await;
    check("refuse", FailureKind::Refused, "the filter refused: ").await;
}

#[tokio::test]
async fn a_worn_instance_is_replaced() {
    let start = starter("trap").await;
    let check = async |recycle: Recycle, mebibytes: u32, expected: [usize; 3]| {
        let settings = json!({ "how": "big_memory", "mebibytes": mebibytes, "body": "row 1" });
        let filter = start(Processor { recycle, ..processor("trap", &settings) }).await.unwrap();
        for kept in expected {
            let call = filter.process(batch(&[9, 17])).await;
            call.result.expect("it is sound");
            assert_eq!(filter.idle().len(), kept, "{recycle:?}, {mebibytes} MiB");
        }
    };
    let after = |calls| Recycle { after: NonZeroU64::new(calls), memory: 1.0 };
    check(after(0), 1, [1, 1, 1]).await;
    check(after(1), 1, [0, 0, 0]).await;
    check(after(2), 1, [1, 0, 1]).await;
    check(Recycle::default(), 10, [1, 1, 1]).await;
    check(Recycle::default(), 14, [0, 0, 0]).await;
    // What it has from the start, its successor would have, too.
    check(Recycle { memory: 0.0, ..Recycle::default() }, 0, [1, 1, 1]).await;
}

#[tokio::test]
async fn limits_are_those_of_the_processor() {
    let settings = json!({ "how": "big_memory", "mebibytes": 20 });
    let roomy = Processor { memory_limit: 32 << 20, ..processor("trap", &settings) };
    load(roomy).await.unwrap().process(batch(&[9])).await.result.expect("there is room for it");

    let settings = json!({ "how": "slow", "milliseconds": 20 });
    let patient = load(processor("trap", &settings)).await.unwrap();
    let call = patient.process(batch(&[9])).await;
    call.result.expect("there is time for it");
    assert!(call.duration >= Duration::from_millis(20), "{:?}", call.duration);
}

#[tokio::test]
async fn garbage_is_refused_and_leaves_no_trace() {
    let start = starter("garbage").await;
    let mut refused = String::new();
    for answer in garbage().await {
        let filter = start(processor("garbage", &json!({ "answer": answer }))).await.unwrap();
        let batch = batch(&[9, 17, 1]);
        let before = records(&batch);
        let call = filter.process(batch).await;
        match answer.as_str() {
            "nothing" | "everything" | "same-verdict-twice" => {
                call.result.expect(&answer);
            }
            _ => {
                let Failure { kind, message } = call.result.expect_err(&answer);
                refused += &format!("{answer}: {}: {message}\n", kind.as_str());
                assert_eq!(records(&call.batch), before, "{answer}");
            }
        }
    }
    insta::assert_snapshot!(refused);
}

/// All answers that the guest knows: it names them when it is asked for another.
async fn garbage() -> Vec<String> {
    let error = load(processor("garbage", &json!({ "answer": "?" }))).await.expect_err("there is no such answer");
    let text = error.to_string();
    let (_, names) = text.split_once("is none of ").expect("the names");
    names.split(", ").map(str::to_owned).collect()
}

/// One thread serves everybody here.
#[tokio::test(flavor = "current_thread")]
async fn an_endless_loop_does_not_stop_its_neighbours() {
    let engine = Engine::new(3).unwrap();
    let deadline = Duration::from_millis(200);
    let stuck = Processor { deadline, ..processor("trap", &json!({ "how": "loop" })) };
    let stuck = Filter::load(&engine, "wasm/stuck", &stuck).await.unwrap();
    let sound = processor("drop_below_severity", &json!({ "minimum": "INFO" }));
    let sound = Filter::load(&engine, "wasm/sound", &sound).await.unwrap();

    let stuck = tokio::spawn(async move { stuck.process(batch(&[9])).await });
    let mut calls = 0;
    while !stuck.is_finished() {
        sound.process(batch(&[9, 1])).await.result.unwrap();
        calls += 1;
        tokio::task::yield_now().await;
    }
    assert!(calls > 1, "the neighbour got its turns: {calls}");
    assert_eq!(stuck.await.unwrap().result.unwrap_err().kind, FailureKind::Deadline);
}

#[tokio::test]
async fn a_cancelled_call_takes_its_instance_along() {
    let processor = Processor { max_instances: NonZeroUsize::MIN, ..processor("trap", &json!({ "how": "loop" })) };
    let filter = load(processor).await.unwrap();
    for _ in 0..3 {
        // The first poll runs until the call yields for the first time.
        let mut call = Box::pin(filter.process(batch(&[9])));
        assert!((&mut call).now_or_never().is_none());
        // There is no second instance: this call waits in line.
        assert!(filter.process(batch(&[9])).now_or_never().is_none());
        assert_eq!(filter.permits.available_permits(), 0);
        drop(call);
        assert_eq!(filter.permits.available_permits(), 1);
        assert!(filter.idle().is_empty());
    }
}

#[tokio::test]
async fn calls_share_instances() {
    let filter = load(processor("drop_below_severity", &json!({ "minimum": "INFO" }))).await.unwrap();
    let calls = join_all((0..50).map(|_| filter.process(batch(&[9, 1])))).await;
    assert!(calls.iter().all(|call| call.result.as_ref().unwrap().dropped.len() == 1));
    let instances = filter.idle().len();
    assert!((1..=2).contains(&instances), "{instances}");
}

#[tokio::test]
async fn a_retired_filter_keeps_one_instance() {
    // For so long that calls interrupt each other.
    let filter = load(processor("trap", &json!({ "how": "slow", "milliseconds": 100 }))).await.unwrap();
    let both = async || {
        let calls = join_all([filter.process(batch(&[9])), filter.process(batch(&[9]))]).await;
        assert!(calls.iter().all(|call| call.result.is_ok()));
        filter.idle().len()
    };
    assert_eq!(both().await, 2);
    filter.retire();
    assert_eq!(filter.idle().len(), 1);
    assert_eq!(both().await, 1, "nor does it keep more afterwards");
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_room_for_calls_while_a_filter_retires() {
    // The engine has room for as many instances as the filter may have, and for no other.
    let start = starter("drop_below_severity").await;
    for _ in 0..100 {
        let filter = start(processor("drop_below_severity", &json!({ "minimum": "INFO" }))).await.unwrap();
        let (second, _) = filter.blueprint.start().await.unwrap_or_else(|_| panic!("it starts"));
        filter.put_back(second);
        let filter = Arc::new(filter);
        let call = || {
            let filter = Arc::clone(&filter);
            tokio::spawn(async move { filter.process(batch(&[9])).await.result })
        };
        let calls = [call(), call(), call(), call()];
        filter.retire();
        for result in join_all(calls).await {
            result.unwrap().expect("there is room");
        }
    }
}

#[test]
fn too_many_instances_are_refused_with_a_reason() {
    // More address space than processors have wires for.
    let error = Engine::new(1 << 24).expect_err("no machine has that much").to_string();
    assert!(error.contains("16777216 filter instances") && error.contains("`max_instances`"), "{error}");
}
