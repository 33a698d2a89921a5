//! The counters, by the thing that they count for. Names and label shapes follow the Collector's.
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ::metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, SharedString};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::filter::FailureKind;

use super::{bounded::Bounded, process};

/// All metrics of one instance of Sluicegate. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
    /// So that a processor that is configured anew stays within the same limit.
    bounded: Arc<Mutex<BoundedByName>>,
    started: Instant,
}

/// By metric and processor.
type BoundedByName = HashMap<(&'static str, String), Arc<Bounded>>;

/// What a receiver took in. Only log records are counted: nothing else is looked into.
#[derive(Debug, Clone)]
pub struct ReceiverMetrics {
    received: Counter,
    accepted: Counter,
    forwarded: Counter,
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
    circuit: Gauge,
    /// For counters by two labels, whose values are few and ours.
    metrics: Metrics,
    name: Arc<str>,
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

/// Those of the names that are no counters and no histograms.
const GAUGES: [&str; 7] = [
    "config_restart_pending",
    "filter_circuit_open",
    "receiver_in_flight_bytes",
    "exporter_in_flight_requests",
    "config_last_reload_successful",
    "config_last_reload_success_timestamp_seconds",
    "config_generation",
];

const PREFIX: &str = "sluicegate_";
const DURATION: &str = "_duration_seconds";

/// In seconds: from a severity check of a small batch to the default deadline of 100 ms and ten times beyond it.
const DURATION_BUCKETS: [f64; 13] =
    [1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 1e-1, 1.0];

/// What the page says of each name.
const HELP: &str = "\
receiver_received_log_records: Log records that came
receiver_accepted_log_records: Log records delivered, or dropped by a filter's decision
receiver_forwarded_log_records: Log records delivered wherever they belong
receiver_refused_log_records: Log records whose sender was answered with an error, or told that they are refused
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
filter_failed_log_records: Log records that a filter failed on, by what became of them
filter_circuit_open: Whether a filter is left alone because it keeps failing
filter_duration_seconds: How long one call of a filter took
shadow_incoming_log_records: Log records shown to a shadow
shadow_skipped_log_records: Log records that a shadow was not shown
shadow_dropped_log_records: Log records that a shadow would have dropped
shadow_routed_log_records: Log records that a shadow would have given a route
shadow_changed_log_records: Log records of which a shadow would have changed the field
shadow_failures: Calls of a shadow that failed
shadow_duration_seconds: How long one call of a shadow took
exporter_sent_log_records: Log records that the destination took
exporter_send_failed_log_records: Log records that the destination did not take
exporter_duplicated_log_records: Log records that the destination took and will get again
exporter_in_flight_requests: Requests that wait for the destination's answer
config_reloads: Attempts to take up a changed configuration
config_last_reload_successful: Whether the last attempt to take up a configuration succeeded
config_last_reload_success_timestamp_seconds: When the configuration in use was taken up
config_generation: How many configurations were taken up, the first included
config_restart_pending: Whether some of the configuration in use counts after a restart only
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
            .set_buckets_for_metric(Matcher::Suffix(DURATION.to_owned()), &DURATION_BUCKETS)
            .expect("there are buckets")
            .build_recorder();
        let (handle, recorder) = (recorder.handle(), Arc::new(recorder));
        let metrics = Self { handle, recorder, bounded: Arc::default(), started: Instant::now() };
        metrics.describe();
        metrics
    }

    /// The metrics of the receiver `name`, where requests come in by `transport`.
    #[must_use]
    pub fn receiver(&self, name: &str, transport: &'static str) -> ReceiverMetrics {
        let counter = |metric| self.counter(metric, &[("receiver", name), ("transport", transport)]);
        ReceiverMetrics {
            received: counter("receiver_received_log_records"),
            accepted: counter("receiver_accepted_log_records"),
            forwarded: counter("receiver_forwarded_log_records"),
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
        let gauge = self.gauge("receiver_in_flight_bytes");
        #[allow(clippy::cast_precision_loss, reason = "a gauge is a double, and 2^53 bytes are more than there are")]
        gauge.set(bytes as f64);
    }

    /// The metrics of the processor `name`.
    #[must_use]
    pub fn processor(&self, name: &str) -> ProcessorMetrics {
        let labels = [("processor", name)];
        let failures = self.bounded("filter_failures", name, "kind");
        // A series that begins with its first failure hides that one from Prometheus' `increase`.
        FailureKind::ALL.iter().for_each(|kind| failures.add(kind.as_str(), 0));
        ProcessorMetrics {
            incoming: self.counter("processor_incoming_items", &labels),
            outgoing: self.counter("processor_outgoing_items", &labels),
            changed: self.counter("filter_changed_log_records", &labels),
            duration: self.histogram("filter_duration_seconds", &labels),
            dropped: self.bounded("filter_dropped_log_records", name, "reason"),
            routed: self.bounded("filter_routed_log_records", name, "route"),
            failures,
            circuit: self.recorder.register_gauge(&key("filter_circuit_open", &labels), &METADATA),
            metrics: self.clone(),
            name: name.into(),
        }
    }

    /// Counts the lines that the filter of the processor `name` wants to log and may not.
    pub fn suppressed_log_lines(&self, name: &str) -> Counter {
        self.counter("filter_suppressed_log_lines", &[("processor", name)])
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

    /// Everything counted so far, and what the process uses, in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.render() + &process::render(self.started)
    }

    /// Folds the durations seen since the last call into their buckets. Whoever records must call this or
    /// [`render`](Self::render) every few seconds, or the durations pile up.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    pub(super) fn counter(&self, metric: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        self.recorder.register_counter(&key(metric, labels), &METADATA)
    }

    pub(super) fn gauge(&self, metric: &'static str) -> Gauge {
        self.recorder.register_gauge(&key(metric, &[]), &METADATA)
    }

    pub(super) fn histogram(&self, metric: &'static str, labels: &[(&'static str, &str)]) -> Histogram {
        self.recorder.register_histogram(&key(metric, labels), &METADATA)
    }

    /// The counters `metric` of `processor` by `label`, whose values come from its filter: the same ones each time they
    /// are asked for.
    pub(super) fn bounded(&self, metric: &'static str, processor: &str, label: &'static str) -> Arc<Bounded> {
        let register = || {
            let (recorder, name) = (Arc::clone(&self.recorder), processor.to_owned());
            let counter = move |value: &str| {
                recorder.register_counter(&key(metric, &[("processor", &name), (label, value)]), &METADATA)
            };
            Arc::new(Bounded::new(counter))
        };
        // A panic can't leave the map half-changed, so a poisoned lock is as good as any.
        let mut bounded = self.bounded.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(bounded.entry((metric, processor.to_owned())).or_insert_with(register))
    }

    fn describe(&self) {
        for (metric, help) in HELP.lines().filter_map(|line| line.split_once(": ")) {
            let (name, help) = (name_of(metric), SharedString::const_str(help));
            if name.ends_with(DURATION) {
                self.recorder.describe_histogram(name.into(), None, help);
            } else if GAUGES.contains(&metric) {
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
    /// `records` came in a request that could be read.
    pub fn received(&self, records: u64) {
        self.received.increment(records);
    }

    /// `records` were delivered wherever they belong, or dropped by a filter's decision.
    pub fn accepted(&self, records: u64) {
        self.accepted.increment(records);
    }

    /// `records` were delivered wherever they belong.
    pub fn forwarded(&self, records: u64) {
        self.forwarded.increment(records);
    }

    /// The sender of `records` was answered with an error, or told that they are refused.
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

    /// `records` that the filter failed on, in the way that `kind` names, were treated as `on_failure` says.
    pub fn treated(&self, kind: &str, on_failure: &str, records: u64) {
        let labels = [("processor", &*self.name), ("kind", kind), ("on_failure", on_failure)];
        self.metrics.counter("filter_failed_log_records", &labels).increment(records);
    }

    /// The filter is left alone, or is not any more.
    pub fn circuit(&self, is_open: bool) {
        self.circuit.set(if is_open { 1.0 } else { 0.0 });
    }

    /// One call took `duration`.
    pub fn duration(&self, duration: Duration) {
        self.duration.record(duration);
    }

    /// One call failed in the way that `kind` names, such as `trap`.
    pub fn failed(&self, kind: &str) {
        self.failures.add(kind, 1);
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

pub(super) fn name_of(metric: &str) -> String {
    format!("{PREFIX}{metric}")
}

fn key(metric: &str, labels: &[(&'static str, &str)]) -> Key {
    let labels: Vec<_> = labels.iter().map(|&(name, value)| Label::new(name, value.to_owned())).collect();
    Key::from_parts(name_of(metric), labels)
}

#[cfg(test)]
mod tests;
