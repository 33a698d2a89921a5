//! The counters, by the thing that they count for. Names and label shapes follow the Collector's.
use std::{fmt, sync::Arc, time::Duration};

use ::metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, SharedString};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::bounded::Bounded;

/// All metrics of one instance of Sluicegate. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
}

/// What a receiver took in. Only log records are counted: nothing else is looked into.
#[derive(Debug, Clone)]
pub struct ReceiverMetrics {
    accepted: Counter,
    refused: Counter,
}

/// What became of a listener's clients and requests. Nothing is counted by it that is in a request. Clones share the
/// counters.
#[derive(Debug, Clone)]
pub struct ListenerMetrics {
    refused: Arc<Bounded>,
    failed_handshakes: Counter,
}

/// What a processor did. Clones share the counters.
#[derive(Debug, Clone)]
pub struct ProcessorMetrics {
    incoming: Counter,
    outgoing: Counter,
    changed: Counter,
    duration: Histogram,
    dropped: Arc<Bounded>,
    routed: Arc<Bounded>,
    failures: Arc<Bounded>,
    suppressed_log_lines: Counter,
}

/// What an exporter sent.
#[derive(Debug, Clone)]
pub struct ExporterMetrics {
    sent: Counter,
    failed: Counter,
    duplicated: Counter,
    in_flight: Gauge,
}

/// A request on its way to a destination, counted until this is dropped.
#[derive(Debug)]
pub struct InFlight(Gauge);

const PREFIX: &str = "sluicegate_";
const FILTER_DURATION: &str = "sluicegate_filter_duration_seconds";

/// In seconds: from a severity check of a small batch to the default deadline of 100 ms and ten times beyond it.
const DURATION_BUCKETS: [f64; 13] =
    [1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 1e-1, 1.0];

/// What the page says of each name.
const HELP: &str = "\
receiver_accepted_log_records: Log records delivered, or dropped by a filter's decision
receiver_refused_log_records: Log records whose sender was answered with an error
receiver_refused_requests: Requests of any signal that were answered with an error
receiver_failed_tls_handshakes: Connections that were closed because TLS could not be agreed on
receiver_in_flight_bytes: Bytes that requests under way hold, of all receivers
processor_incoming_items: Log records handed to the processor
processor_outgoing_items: Log records that the processor let go on
filter_dropped_log_records: Log records that a filter dropped
filter_routed_log_records: Log records that a filter gave a route
filter_changed_log_records: Log records that a filter changed
filter_failures: Calls of a filter that failed
filter_suppressed_log_lines: Lines that a filter logged, or printed, beyond a hundred a second
filter_duration_seconds: How long a filter took for one batch
exporter_sent_log_records: Log records that the destination took
exporter_send_failed_log_records: Log records that the destination did not take
exporter_duplicated_log_records: Log records that the destination took and will get again
exporter_in_flight_requests: Requests that wait for the destination's answer
";

/// The recorder ignores it.
const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

impl Metrics {
    /// Metrics that nothing has counted yet. They are not the process's global ones, so that several instances in
    /// one process, as in tests, do not mix.
    ///
    /// # Panics
    /// Never: the bucket bounds are a constant that is not empty.
    #[must_use]
    pub fn new() -> Self {
        let recorder = PrometheusBuilder::new()
            .with_recommended_naming(true)
            .set_buckets_for_metric(Matcher::Full(FILTER_DURATION.to_owned()), &DURATION_BUCKETS)
            .expect("there are buckets")
            .build_recorder();
        let metrics = Self { handle: recorder.handle(), recorder: Arc::new(recorder) };
        metrics.describe();
        metrics
    }

    /// The metrics of the receiver `name`, where requests come in by `transport`.
    #[must_use]
    pub fn receiver(&self, name: &str, transport: &'static str) -> ReceiverMetrics {
        let counter = |metric| self.counter(metric, &[("receiver", name), ("transport", transport)]);
        ReceiverMetrics {
            accepted: counter("receiver_accepted_log_records"),
            refused: counter("receiver_refused_log_records"),
        }
    }

    /// The metrics of the receiver `name`'s listener for `transport`.
    #[must_use]
    pub fn listener(&self, name: &str, transport: &'static str) -> ListenerMetrics {
        let (metrics, receiver) = (self.clone(), name.to_owned());
        let refused = move |reason: &str| {
            let labels = [("receiver", &*receiver), ("transport", transport), ("reason", reason)];
            metrics.counter("receiver_refused_requests", &labels)
        };
        ListenerMetrics {
            refused: Arc::new(Bounded::new(refused)),
            failed_handshakes: self
                .counter("receiver_failed_tls_handshakes", &[("receiver", name), ("transport", transport)]),
        }
    }

    /// Requests under way hold so many bytes now.
    pub fn in_flight_bytes(&self, bytes: usize) {
        let gauge = self.recorder.register_gauge(&key("receiver_in_flight_bytes", &[]), &METADATA);
        #[allow(clippy::cast_precision_loss, reason = "a gauge is a double, and 2^53 bytes are more than there are")]
        gauge.set(bytes as f64);
    }

    /// The metrics of the processor `name`.
    #[must_use]
    pub fn processor(&self, name: &str) -> ProcessorMetrics {
        let bounded = |metric: &'static str, label: &'static str| {
            let (metrics, name) = (self.clone(), name.to_owned());
            Arc::new(Bounded::new(move |value| metrics.counter(metric, &[("processor", &name), (label, value)])))
        };
        let labels = [("processor", name)];
        ProcessorMetrics {
            incoming: self.counter("processor_incoming_items", &labels),
            outgoing: self.counter("processor_outgoing_items", &labels),
            changed: self.counter("filter_changed_log_records", &labels),
            duration: self.recorder.register_histogram(&key("filter_duration_seconds", &labels), &METADATA),
            dropped: bounded("filter_dropped_log_records", "reason"),
            routed: bounded("filter_routed_log_records", "route"),
            failures: bounded("filter_failures", "kind"),
            suppressed_log_lines: self.counter("filter_suppressed_log_lines", &labels),
        }
    }

    /// The metrics of the exporter `name`.
    #[must_use]
    pub fn exporter(&self, name: &str) -> ExporterMetrics {
        let labels = [("exporter", name)];
        ExporterMetrics {
            sent: self.counter("exporter_sent_log_records", &labels),
            failed: self.counter("exporter_send_failed_log_records", &labels),
            duplicated: self.counter("exporter_duplicated_log_records", &labels),
            in_flight: self.recorder.register_gauge(&key("exporter_in_flight_requests", &labels), &METADATA),
        }
    }

    /// Everything counted so far, in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Folds the durations seen since the last call into their buckets. Whoever records must call this or
    /// [`render`](Self::render) every few seconds, or the durations pile up.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    fn counter(&self, metric: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        self.recorder.register_counter(&key(metric, labels), &METADATA)
    }

    fn describe(&self) {
        for (name, help) in HELP.lines().filter_map(|line| line.split_once(": ")) {
            let (name, help) = (name_of(name), SharedString::const_str(help));
            if name == FILTER_DURATION {
                self.recorder.describe_histogram(name.into(), None, help);
            } else if name.contains("_in_flight_") {
                self.recorder.describe_gauge(name.into(), None, help);
            } else {
                self.recorder.describe_counter(name.into(), None, help);
            }
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl ReceiverMetrics {
    /// `records` were delivered wherever they belong, or dropped by a filter's decision.
    pub fn accepted(&self, records: u64) {
        self.accepted.increment(records);
    }

    /// The sender of `records` was answered with an error.
    pub fn refused(&self, records: u64) {
        self.refused.increment(records);
    }
}

impl ListenerMetrics {
    /// A request was answered with an error, of the kind that `reason` names.
    pub fn refused(&self, reason: &str) {
        self.refused.add(reason, 1);
    }

    /// A client and this listener could not agree on TLS.
    pub fn failed_handshake(&self) {
        self.failed_handshakes.increment(1);
    }
}

impl ProcessorMetrics {
    /// The filter was handed `records`.
    pub fn incoming(&self, records: u64) {
        self.incoming.increment(records);
    }

    /// `records` went on.
    pub fn outgoing(&self, records: u64) {
        self.outgoing.increment(records);
    }

    /// The filter dropped `records` for `reason`.
    pub fn dropped(&self, reason: &str, records: u64) {
        self.dropped.add(reason, records);
    }

    /// The filter gave `records` the route `route`.
    pub fn routed(&self, route: &str, records: u64) {
        self.routed.add(route, records);
    }

    /// The filter changed at least one field of each of `records`.
    pub fn changed(&self, records: u64) {
        self.changed.increment(records);
    }

    /// One call took `duration`.
    pub fn duration(&self, duration: Duration) {
        self.duration.record(duration);
    }

    /// One call failed in the way that `kind` names, such as `trap`.
    pub fn failed(&self, kind: &str) {
        self.failures.add(kind, 1);
    }

    /// Counts the lines that the filter wanted to log and might not.
    #[must_use]
    pub fn suppressed_log_lines(&self) -> Counter {
        self.suppressed_log_lines.clone()
    }
}

impl ExporterMetrics {
    /// Counts a request as on its way until the answer is dropped.
    #[must_use]
    pub fn start(&self) -> InFlight {
        self.in_flight.increment(1);
        InFlight(self.in_flight.clone())
    }

    /// The destination took `records`.
    pub fn sent(&self, records: u64) {
        self.sent.increment(records);
    }

    /// The destination did not take `records`.
    pub fn failed(&self, records: u64) {
        self.failed.increment(records);
    }

    /// The destination took `records`, whose sender was told to send them again.
    pub fn duplicated(&self, records: u64) {
        self.duplicated.increment(records);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

fn name_of(metric: &str) -> String {
    format!("{PREFIX}{metric}")
}

fn key(metric: &str, labels: &[(&'static str, &str)]) -> Key {
    let labels: Vec<_> = labels.iter().map(|&(name, value)| Label::new(name, value.to_owned())).collect();
    Key::from_parts(name_of(metric), labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page without its comments.
    fn page(metrics: &Metrics) -> Vec<String> {
        let mut lines: Vec<_> = metrics
            .render()
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn names_and_labels_are_the_documented_ones() {
        let metrics = Metrics::new();
        let receiver = metrics.receiver("otlp", "grpc");
        receiver.accepted(3);
        receiver.refused(1);
        let listener = metrics.listener("otlp", "grpc");
        listener.refused("unauthenticated");
        listener.failed_handshake();
        metrics.in_flight_bytes(1000);
        let processor = metrics.processor("wasm/redact");
        processor.incoming(10);
        processor.outgoing(9);
        processor.dropped("line\n\"noise\"", 1);
        processor.routed("audit", 2);
        processor.changed(4);
        processor.failed("trap");
        processor.duration(Duration::from_micros(30));
        let exporter = metrics.exporter("otlp_grpc/main");
        exporter.sent(5);
        exporter.failed(6);
        exporter.duplicated(7);
        let _in_flight = exporter.start();
        insta::assert_snapshot!(page(&metrics).join("\n"));
    }

    #[test]
    fn a_request_is_in_flight_until_it_is_dropped() {
        let metrics = Metrics::new();
        let exporter = metrics.exporter("file");
        let in_flight = |n: u32| format!("sluicegate_exporter_in_flight_requests{{exporter=\"file\"}} {n}");
        let (first, second) = (exporter.start(), exporter.start());
        assert!(page(&metrics).contains(&in_flight(2)));
        drop((first, second));
        assert!(page(&metrics).contains(&in_flight(0)));
    }

    #[test]
    fn reasons_are_limited_in_number_and_length() {
        let metrics = Metrics::new();
        let processor = metrics.processor("wasm/noisy");
        for n in 0..1000 {
            processor.dropped(&format!("reason {n}"), 1);
        }
        processor.dropped(&"é".repeat(5000), 1);
        let page = page(&metrics);
        let dropped: Vec<_> = page.iter().filter(|line| line.contains("filter_dropped")).collect();
        assert_eq!(dropped.len(), 101);
        assert!(dropped.iter().any(|line| line.ends_with("reason=\"other\"} 901")), "{dropped:?}");

        let processor = metrics.processor("wasm/wordy");
        processor.dropped(&"é".repeat(5000), 1);
        assert!(metrics.render().contains(&format!("reason=\"{}\"", "é".repeat(100))));
    }

    #[test]
    fn two_instances_do_not_mix() {
        let (one, other) = (Metrics::new(), Metrics::new());
        one.exporter("file").sent(1);
        other.exporter("file").sent(2);
        assert!(page(&one).iter().any(|line| line.ends_with("sent_log_records_total{exporter=\"file\"} 1")));
    }
}
