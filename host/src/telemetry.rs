//! What Sluicegate says of itself: log lines on standard error, and counters for a Prometheus page.
mod bounded;
pub mod logs;
pub mod metrics;
mod process;
mod reload;
mod shadow;

pub use metrics::{ExporterMetrics, InFlight, ListenerMetrics, Metrics, ProcessorMetrics, ReceiverMetrics};
pub use reload::ReloadMetrics;
pub use shadow::ShadowMetrics;
