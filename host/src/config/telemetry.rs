//! `service.telemetry`: what Sluicegate says of itself, and where.

use tracing::Level;

use super::diagnostic::Spanned;
use super::endpoint::Address;
use super::read::{Fields, Keys, Reader};
use super::{LogEncoding, Telemetry};

const TELEMETRY: Keys = Keys { of: "`telemetry`", known: &["logs", "metrics"], foreign: &[] };

const TELEMETRY_LOGS: Keys = Keys { of: "`telemetry.logs`", known: &["level", "encoding"], foreign: &[] };

const TELEMETRY_METRICS: Keys = Keys {
    of: "`telemetry.metrics`",
    known: &["endpoint"],
    foreign: &[("address", PAGE.0, PAGE.1), ("level", PAGE.0, PAGE.1), ("readers", PAGE.0, PAGE.1)],
};

const PAGE: (&str, &str) = (
    "Sluicegate's metrics are one Prometheus page",
    "write `endpoint: 127.0.0.1:8888`, or leave `metrics` out for no page",
);

/// The Collector's default is info, too.
const LEVEL: &[(&str, Level)] =
    &[("debug", Level::DEBUG), ("info", Level::INFO), ("warn", Level::WARN), ("error", Level::ERROR)];

/// The Collector's default is console, too.
const ENCODING: &[(&str, LogEncoding)] = &[("console", LogEncoding::Console), ("json", LogEncoding::Json)];

impl Reader {
    /// `service.telemetry`.
    pub(super) fn telemetry(&mut self, service: &Fields<'_>) -> Option<Telemetry> {
        let telemetry = self.section(service, "telemetry", &TELEMETRY)?;
        let logs = self.telemetry_logs(&telemetry);
        let metrics = self.telemetry_metrics(&telemetry);
        let (level, encoding) = logs?;
        Some(Telemetry { level, encoding, metrics: metrics? })
    }

    fn telemetry_logs(&mut self, telemetry: &Fields<'_>) -> Option<(Level, LogEncoding)> {
        let logs = self.section(telemetry, "logs", &TELEMETRY_LOGS)?;
        let level = self.field(&logs, "level", Level::INFO, |r, node| r.choice(node, LEVEL));
        let encoding = self.field(&logs, "encoding", LogEncoding::Console, |r, node| r.choice(node, ENCODING));
        Some((level?, encoding?))
    }

    fn telemetry_metrics(&mut self, telemetry: &Fields<'_>) -> Option<Option<Spanned<Address>>> {
        let metrics = self.section(telemetry, "metrics", &TELEMETRY_METRICS)?;
        self.field(&metrics, "endpoint", None, |r, node| r.listen(node).map(Some))
    }
}
