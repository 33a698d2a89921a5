//! The two pages for machines: the health check and the metrics.
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{Router, http::StatusCode, http::header::CONTENT_TYPE, routing::get};

use crate::{memory::MemoryLimiter, telemetry::Metrics};

/// Whether Sluicegate takes requests: it does from the first moment, since pages are served with all listeners up.
#[derive(Debug, Clone, Default)]
pub(super) struct Health(Arc<AtomicBool>);

/// What Prometheus calls its text format.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Health {
    /// From now on it takes no more.
    pub(super) fn drain(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_draining(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// `GET /`, with the texts of the Collector's health check.
pub(super) fn health(health: Health) -> Router {
    Router::new().route(
        "/",
        get(async move || {
            let (status, text) = if health.is_draining() {
                (StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"Server not available"}"#)
            } else {
                (StatusCode::OK, r#"{"status":"Server available"}"#)
            };
            (status, [(CONTENT_TYPE, "application/json")], text)
        }),
    )
}

/// `GET /metrics`.
pub(super) fn metrics(metrics: Metrics, memory: MemoryLimiter) -> Router {
    let page = async move || {
        metrics.in_flight_bytes(memory.in_use());
        ([(CONTENT_TYPE, PROMETHEUS_TEXT)], metrics.render())
    };
    Router::new().route("/metrics", get(page))
}
