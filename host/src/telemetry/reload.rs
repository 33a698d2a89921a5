//! Whether changed configurations were taken up.
use std::time::{SystemTime, UNIX_EPOCH};

use ::metrics::{Counter, Gauge};

use super::Metrics;

/// What became of attempts to take up another configuration.
#[derive(Debug, Clone)]
pub struct ReloadMetrics {
    successes: Counter,
    failures: Counter,
    was_successful: Gauge,
    last_success: Gauge,
    generation: Gauge,
    restart_pending: Gauge,
}

impl Metrics {
    /// The metrics of the configuration itself.
    #[must_use]
    pub fn reloads(&self) -> ReloadMetrics {
        let reloads = |result| self.counter("config_reloads", &[("result", result)]);
        ReloadMetrics {
            successes: reloads("success"),
            failures: reloads("failure"),
            was_successful: self.gauge("config_last_reload_successful"),
            last_success: self.gauge("config_last_reload_success_timestamp_seconds"),
            generation: self.gauge("config_generation"),
            restart_pending: self.gauge("config_restart_pending"),
        }
    }
}

impl ReloadMetrics {
    /// A configuration was taken up: the `generation`th, of which the first one came with the start.
    pub fn succeeded(&self, generation: u32) {
        if generation > 1 {
            self.successes.increment(1);
        }
        self.was_successful.set(1.0);
        self.generation.set(generation);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_success.set(now.as_secs_f64());
    }

    /// Some of the configuration that was taken up counts after a restart only.
    pub fn restart_pending(&self, is_pending: bool) {
        self.restart_pending.set(if is_pending { 1.0 } else { 0.0 });
    }

    /// A configuration was not taken up.
    pub fn failed(&self) {
        self.failures.increment(1);
        self.was_successful.set(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_attempt_tells_whether_the_configuration_is_the_one_that_is_used() {
        let metrics = Metrics::new();
        let reloads = metrics.reloads();
        let check = |expected: [&str; 4]| {
            let page = metrics.render();
            let found = || page.lines().filter_map(|line| line.strip_prefix("sluicegate_config_"));
            let timestamp = found().find_map(|line| line.strip_prefix("last_reload_success_timestamp_seconds "));
            assert!(timestamp.is_some_and(|seconds| seconds.parse::<f64>().unwrap() > 1.7e9), "{page}");
            for line in expected {
                assert!(found().any(|found| found == line), "no {line} in {page}");
            }
        };
        let (no, yes) = ("reloads_total{result=\"failure\"}", "reloads_total{result=\"success\"}");
        reloads.succeeded(1);
        check(["generation 1", "last_reload_successful 1", &format!("{no} 0"), &format!("{yes} 0")]);
        reloads.failed();
        check(["generation 1", "last_reload_successful 0", &format!("{no} 1"), &format!("{yes} 0")]);
        reloads.restart_pending(true);
        assert!(metrics.render().contains("sluicegate_config_restart_pending 1"));
        reloads.succeeded(2);
        check(["generation 2", "last_reload_successful 1", &format!("{no} 1"), &format!("{yes} 1")]);
    }
}
