//! Real filters, the sound and the faulty ones of `guest-filters/`.
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::config::{Processor, Span, Spanned};
use crate::filter::Engine;
use crate::telemetry::Metrics;
use crate::testing::{component, logs_bytes};

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
