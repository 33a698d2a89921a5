//! The rest of `service`, and `extensions`: what Sluicegate says of itself, and where.

use tracing::Level;

use super::component::Components;
use super::diagnostic::Spanned;
use super::endpoint::Address;
use super::read::{Fields, Keys, Reader};
use super::{HealthCheck, LogEncoding, Telemetry};

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

const EXTENSIONS: Keys = Keys { of: "`extensions`", known: &["health_check"], foreign: &[] };

const HEALTH_CHECK: Keys = Keys { of: "`health_check`", known: &["endpoint"], foreign: &[] };

/// The Collector's port for its health check, on loopback as there.
const HEALTH_CHECK_PORT: u16 = 13133;

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

    /// `extensions`, of which there is one.
    pub(super) fn extensions(&mut self, config: &Fields<'_>) -> Components<HealthCheck> {
        self.components(config, "extensions", &EXTENSIONS, |reader, _, name, node| {
            let health_check = reader.fields(node, name, &HEALTH_CHECK)?;
            let default = Address::loopback(HEALTH_CHECK_PORT);
            let default = Spanned::new(default, name);
            let endpoint = reader.field(&health_check, "endpoint", default, Self::listen);
            Some(HealthCheck { endpoint: endpoint? })
        })
    }

    /// `service.extensions`.
    pub(super) fn extension_names(
        &mut self,
        service: &Fields<'_>,
        defined: &Components<HealthCheck>,
    ) -> Vec<Spanned<String>> {
        let Some(node) = service.get("extensions") else {
            return Vec::new();
        };
        let names = self.names(node, "extensions", defined).unwrap_or_default();
        for second in names.iter().skip(1) {
            let error = self.error(second.span, "a second health check is not supported");
            self.found.push(error.help("one answers for the whole program"));
        }
        names
    }
}
