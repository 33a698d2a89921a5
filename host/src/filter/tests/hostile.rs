//! Guests that no compiler makes: they lie about their memory, and do what sound ones can't.
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::*;

/// A guest in WebAssembly's own text: `MORE` is part of the module, `PROCESS` what it does in `process`. Its memory is
/// zero, which is the answer "keep everything" at whatever address.
const GUEST: &str = r#"
(module
  (import "sluicegate:filter/logs@0.1.0" "[method]batch.len" (func $len (param i32) (result i32)))
  (import "sluicegate:filter/logs@0.1.0" "[method]batch.column" (func $column (param i32 i32 i32 i32 i32)))
  (import "sluicegate:filter/logs@0.1.0" "[resource-drop]batch" (func $drop (param i32)))
  (import "sluicegate:filter/logging@0.1.0" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 100)
  (global $at (mut i32) (i32.const 0))
  ;; All that the host hands over lands in the same place.
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536))
  (func (export "configure") (param i32 i32) (result i32) (i32.const 0))
  MORE
  (func (export "process") (param $batch i32) (result i32)
    PROCESS
    (call $drop (local.get $batch))
    (i32.const 0)))
"#;

/// Where an answer holds the pointer and the length of its lists: `rows`, `verdicts` and `changes`.
const ROWS: u32 = 4;
const VERDICTS: u32 = 12;
const CHANGES: u32 = 20;

/// Answers with a list that is said to lie at `at` and to have `len` entries.
fn list(of: u32, at: u32, len: u32) -> String {
    format!("(i32.store (i32.const {of}) (i32.const {at})) (i32.store (i32.const {}) (i32.const {len}))", of + 4)
}

/// Writes a number wherever one is due.
fn store(values: &[(u32, u32)]) -> String {
    values.iter().map(|(at, value)| format!("(i32.store (i32.const {at}) (i32.const {value}))")).collect()
}

fn component(more: &str, process: &str) -> Vec<u8> {
    let text = GUEST.replace("MORE", more).replace("PROCESS", process);
    let mut module = wat::parse_str(text).expect("WebAssembly's text");
    let mut resolve = Resolve::default();
    let package = resolve.push_str("filter.wit", include_str!("../../../../wit/filter.wit")).expect("the contract");
    let world = resolve.select_world(&[package], Some("filter")).expect("its world");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).expect("the world fits");
    let encode = || ComponentEncoder::default().module(&module)?.encode();
    encode().expect("a component")
}

/// Loads `component` with a limit of 8 MiB on memory, of 1 MiB on answers, and of 200 ms on calls.
async fn load_bytes(component: &[u8]) -> Result<Filter, LoadError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile.wasm");
    fs::write(&path, component).unwrap();
    let processor = Processor {
        deadline: Duration::from_millis(200),
        memory_limit: 8 << 20,
        output_limit: 1 << 20,
        ..Processor::new(Spanned::new(path, Span::default()), Spanned::new(serde_json::Map::new(), Span::default()))
    };
    load(processor).await
}

async fn check(what: &str, more: &str, process: &str, kind: FailureKind, expected: &str) {
    let filter = load_bytes(&component(more, process)).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    let batch = batch(&[9, 17, 1]);
    let before = records(&batch);
    let call = filter.process(batch).await;
    let failure = call.result.expect_err(what);
    assert_eq!(failure.kind, kind, "{what}: {failure}");
    assert!(failure.message.contains(expected), "{what}: {failure}");
    assert_eq!(records(&call.batch), before, "{what}: the batch comes back as it was");
    assert!(filter.idle().is_empty(), "{what}: the instance is gone");
}

#[tokio::test]
async fn a_guest_of_text_is_sound_but_for_what_it_is_told() {
    let filter = load_bytes(&component("", "")).await.expect("it loads");
    let call = filter.process(batch(&[9, 17, 1])).await;
    assert_eq!(call.result.expect("it keeps everything"), Applied::default());
}

#[tokio::test]
async fn answers_that_lie_or_weigh_too_much_are_refused() {
    let check = async |what: &str, process: &str, expected: &str| {
        check(what, "", process, FailureKind::InvalidOutput, expected).await;
    };
    let outside = "list pointer/length out of bounds of memory";
    check("rows beyond its memory", &list(ROWS, 6_500_000, 1_000_000), outside).await;
    check("more verdicts than addresses", &list(VERDICTS, 0, u32::MAX), outside).await;
    check("changes at its memory's end", &list(CHANGES, 6_553_592, 1), outside).await;
    check("verdicts between two words", &list(VERDICTS, 1026, 1), "list pointer is not aligned").await;
    let reason = |at, len| list(VERDICTS, 1024, 1) + &store(&[(1024, 1), (1028, at), (1032, len)]);
    check("a reason beyond its memory", &reason(6_553_599, 2), "string pointer/length out of bounds of memory").await;
    check("a reason that is no text", &(reason(2048, 1) + &store(&[(2048, 0xff)])), "invalid utf-8").await;
    check("a verdict of no kind", &(list(VERDICTS, 1024, 1) + &store(&[(1024, 3)])), "unexpected discriminant").await;
    check("a change of no field", &(list(CHANGES, 1024, 1) + &store(&[(1024, 17)])), "unexpected discriminant").await;

    let heavy = "handed over more than 1 MiB at once (`output_limit_mib`)";
    check("a list over its whole memory", &list(ROWS, 0, 6_000_000), heavy).await;
    check("verdicts over its whole memory", &list(VERDICTS, 0, 500_000), heavy).await;
    check("changes over its whole memory", &list(CHANGES, 0, 100_000), heavy).await;
    // Each reason weighs 600 kB, and they are one in the guest's memory.
    let same = |verdict: u32| {
        let at = 1024 + 12 * verdict;
        store(&[(at, 1), (at + 4, 1_000_000), (at + 8, 600_000)])
    };
    check("reasons that overlap", &(list(VERDICTS, 1024, 2) + &same(0) + &same(1)), heavy).await;
    let nested = list(CHANGES, 1024, 1) + &store(&[(1064, 2_000_000)]);
    check("a value over its whole memory", &nested, heavy).await;
}

#[tokio::test]
async fn work_on_the_host_is_bounded_by_the_deadline() {
    let check = async |what: &str, process: &str, kind: FailureKind, expected: &str| {
        check(what, "", process, kind, expected).await;
    };
    let deadline = "the filter took longer than its deadline of 200ms";
    let body = "(call $column (local.get $batch) (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 64))";
    check("columns without end", &format!("(loop $on {body} (br $on))"), FailureKind::Deadline, deadline).await;
    let len = "(loop $on (drop (call $len (local.get $batch))) (br $on))";
    check("questions without end", len, FailureKind::Deadline, deadline).await;
    // No jump is in between where a guest could be interrupted.
    let line = "(call $log (i32.const 1) (i32.const 0) (i32.const 1000000))";
    check("large lines in a row", &line.repeat(20_000), FailureKind::Deadline, deadline).await;
    let line = line.replace("1000000", "2000000");
    check("a larger line", &line, FailureKind::InvalidOutput, "handed over more than 1 MiB at once").await;
}

#[tokio::test]
async fn tables_end() {
    let grow = "(loop $on (drop (table.grow $table (ref.null func) (i32.const 1000))) (br $on))";
    let table = "(table $table 1 funcref)";
    let expected = "asked for a table of 100001 entries, where at most 100000 are allowed";
    check("a table", table, grow, FailureKind::Memory, expected).await;

    // Handles of a resource of its own, made while it starts.
    let hoards = r#"
        (component
          (type $resource (resource (rep i32)))
          (core func $new (canon resource.new $resource))
          (core module $module
            (import "host" "new" (func $new (param i32) (result i32)))
            (func $start (loop $on (drop (call $new (i32.const 0))) (br $on)))
            (func (export "run"))
            (start $start))
          (core instance $instance (instantiate $module (with "host" (instance (export "new" (func $new))))))
          (func $run (canon lift (core func $instance "run")))
          (export "configure" (func $run))
          (export "process" (func $run)))"#;
    let error = load_bytes(&wat::parse_str(hoards).expect("a component")).await.expect_err("it never starts");
    assert!(matches!(error, LoadError::Start { .. }), "{error}");
    assert!(error.to_string().contains("store handle limit exceeded"), "{error}");
}

#[tokio::test]
async fn a_lent_batch_has_to_be_given_back() {
    let keeps = "(return (i32.const 0))";
    check("it keeps the batch", "", keeps, FailureKind::InvalidOutput, "borrow handles still remain").await;
}
