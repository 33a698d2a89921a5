//! Real filters, the sound and the faulty ones of `guest-filters/`.
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::batch::{Change, Column, Field, Outcome};
use crate::config::{Processor, Span, Spanned};
use crate::filter::Engine;
use crate::telemetry::Metrics;
use crate::testing::{component, logs_bytes};
use crate::work;

const SETTINGS: config::Shadow = config::Shadow { queue: 1 << 20, samples_per_minute: 6, sample_bodies: false };

async fn filter(guest: &str, settings: Value) -> Filter {
    let Value::Object(settings) = settings else { panic!("settings are a map") };
    let component = Spanned::new(component(guest), Span::default());
    let processor = Processor {
        deadline: Duration::from_secs(60),
        ..Processor::new(component, Spanned::new(settings, Span::default()))
    };
    let engine = Engine::new(1).expect("room for one");
    Filter::load(&engine, "wasm/tried", &processor).await.expect("it loads")
}

fn batch(records: usize) -> Batch {
    Batch::new(logs_bytes(records, "text")).expect("well-formed")
}

/// The lines about shadows on the page, those of zero and of durations left out.
fn page(metrics: &Metrics) -> Vec<String> {
    let page = metrics.render();
    let lines = page.lines().filter_map(|line| line.strip_prefix("sluicegate_shadow_"));
    let mut lines: Vec<_> = lines
        .filter(|line| !line.ends_with(" 0") && !line.starts_with("duration"))
        .map(|line| line.replace("processor=\"wasm/tried\"", ""))
        .collect();
    lines.sort();
    lines
}

#[test]
fn what_waits_is_bounded_in_bytes_and_what_is_given_up_is_counted() {
    let metrics = Metrics::new();
    let weight = batch(10).weight();
    let queue =
        Arc::new(Queue { limit: 2 * weight, in_use: AtomicUsize::new(0), counts: metrics.shadow("wasm/tried") });
    let mut first = Queue::copy(&queue, &batch(10)).expect("it fits");
    let second = Queue::copy(&queue, &batch(10)).expect("it fits");
    assert!(Queue::copy(&queue, &batch(1)).is_none(), "it is full");
    first.shown(7);
    drop(first);
    assert_eq!(queue.in_use.load(Ordering::Relaxed), weight);
    assert!(Queue::copy(&queue, &batch(20)).is_none(), "there is room, but not as much");
    drop(second);
    assert_eq!(queue.in_use.load(Ordering::Relaxed), 0);
    assert_eq!(page(&metrics), ["incoming_log_records_total{} 7", "skipped_log_records_total{} 13"]);
}

/// What is counted once a filter was shown four records.
async fn check(guest: &str, settings: Value, expected: &[&str]) {
    let metrics = Metrics::new();
    let counts = metrics.shadow("wasm/tried");
    let queue = Arc::new(Queue { limit: usize::MAX, in_use: AtomicUsize::new(0), counts: counts.clone() });
    let samples = Samples::new("wasm/tried".to_owned(), SETTINGS);
    let filter = Arc::new(filter(guest, settings.clone()).await);
    let mut show = Show { filter, max_rows: NonZeroUsize::new(3).expect("not zero"), counts, samples };
    show.show(Queue::copy(&queue, &batch(4)).expect("it fits")).await;
    assert_eq!(page(&metrics), expected, "{guest} with {settings}");
}

#[tokio::test]
async fn what_a_filter_would_do_is_counted_by_reason_route_and_field() {
    let decides = json!({ "set": { "a": 1, "b": 2 }, "drop_every": 2, "route_every": 1 });
    // Of the first part the records 0 and 2 are dropped, of the second one its only record is.
    let expected = [
        "changed_log_records_total{,field=\"attribute(\\\"a\\\")\"} 1",
        "changed_log_records_total{,field=\"attribute(\\\"b\\\")\"} 1",
        "dropped_log_records_total{,reason=\"observed\"} 3",
        "incoming_log_records_total{} 4",
        "routed_log_records_total{,route=\"observed\"} 1",
    ];
    check("observe", decides, &expected).await;
    let expected = ["failures_total{,kind=\"trap\"} 2", "incoming_log_records_total{} 4"];
    check("trap", json!({ "how": "unreachable" }), &expected).await;
}

/// Records so many that the index of the request is larger than what is copied.
#[test]
fn what_takes_long_to_copy_is_skipped() {
    let metrics = Metrics::new();
    let queue =
        Arc::new(Queue { limit: usize::MAX, in_use: AtomicUsize::new(0), counts: metrics.shadow("wasm/tried") });
    let (small, large) = (batch(100_000), batch(300_000));
    assert!(small.copied() < MAX_COPIED && MAX_COPIED < large.copied());
    assert!(Queue::copy(&queue, &small).is_some());
    assert!(Queue::copy(&queue, &large).is_none());
    // What earlier filters changed is copied, too.
    let mut changed = small.clone();
    let text = vec![b'x'; MAX_COPIED - small.copied()];
    let values = Column { kinds: vec![1], ends: vec![text.len() as u32], data: text };
    let change = Change { field: Field::Body, rows: vec![0], values };
    changed.apply(Outcome { changes: vec![change], ..Outcome::default() }).expect("it is right");
    assert!(Queue::copy(&queue, &changed).is_none());
}

#[tokio::test]
async fn a_long_answer_takes_no_turn_from_requests() {
    let metrics = Metrics::new();
    let thread = Arc::new(Thread::start().expect("a thread"));
    // Two changes of 40 MB, which a filter that decides would have applied elsewhere.
    let filter = filter("observe", json!({ "set": { "a": 1, "b": 2 } })).await;
    let large = Batch::new(logs_bytes(10, &"x".repeat(4_000_000))).expect("well-formed");
    let turns = work::all_turns().await;
    let settings = config::Shadow { queue: 64 << 20, ..SETTINGS };
    let max_rows = NonZeroUsize::new(10).expect("not zero");
    let shadow = Shadow::new(filter, settings, max_rows, metrics.shadow("wasm/tried"), thread);
    shadow.offer(&large);
    let shown = async {
        while !page(&metrics).contains(&"incoming_log_records_total{} 10".to_owned()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), shown).await.expect("it waits for no turn");
    drop(turns);
    assert_eq!(page(&metrics).iter().filter(|line| line.starts_with("changed")).count(), 2, "{:?}", page(&metrics));
}

#[tokio::test]
async fn a_shadow_ends_with_the_last_who_offers() {
    let metrics = Metrics::new();
    let thread = Arc::new(Thread::start().expect("a thread"));
    let filter = filter("trap", json!({ "how": "loop" })).await;
    let shadow = Shadow::new(filter, SETTINGS, NonZeroUsize::MIN, metrics.shadow("wasm/tried"), thread);
    let weak = Arc::downgrade(&shadow.queue);
    for _ in 0..3 {
        shadow.offer(&batch(2));
    }
    drop(shadow);
    // The loop would go on for a minute.
    while weak.strong_count() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(page(&metrics), ["skipped_log_records_total{} 6"]);
}
