//! What the process uses, under the names that the Collector has for it.
use std::{fs, time::Instant};

use rustix::{
    param::page_size,
    time::{ClockId, clock_gettime},
};

/// The lines of the Prometheus page, as it is at the moment. `started` is when the process was.
///
/// They are written here, since the recorder's counters are whole numbers, and processor time goes by fractions. Of the
/// Collector's, those of Go's memory management are left out.
pub(super) fn render(started: Instant) -> String {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let cpu = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
    let uptime = started.elapsed().as_secs_f64();
    let mut page = family("process_uptime_seconds_total", "counter", "Uptime of the process", uptime);
    page += &family("process_cpu_seconds_total", "counter", "CPU time of the process, user and system", cpu);
    if let Some(bytes) = resident() {
        let help = "Physical memory of the process (resident set size)";
        page += &family("process_memory_rss_bytes", "gauge", help, bytes as f64);
    }
    let version = env!("CARGO_PKG_VERSION");
    page + &format!(
        "# HELP target_info Target metadata\n# TYPE target_info gauge\n\
         target_info{{service_name=\"sluicegate\",service_version=\"{version}\"}} 1\n"
    )
}

fn family(name: &str, kind: &str, help: &str, value: f64) -> String {
    let name = super::metrics::name_of(name);
    format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n")
}

/// In bytes. Only Linux tells.
fn resident() -> Option<usize> {
    // Its second number counts the pages.
    let pages: usize = fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(pages * page_size())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn they_are_named_like_the_collectors_and_plausible() {
        let page = render(Instant::now().checked_sub(Duration::from_secs(5)).expect("the system is up for longer"));
        let value = |name: &str| -> f64 {
            let line = page.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{page}"));
            line.trim().parse().expect("a number")
        };
        assert!((5.0..3600.0).contains(&value("sluicegate_process_uptime_seconds_total")), "{page}");
        assert!(value("sluicegate_process_cpu_seconds_total") > 0.0, "{page}");
        let memory = value("sluicegate_process_memory_rss_bytes");
        assert!((1e6..1e12).contains(&memory), "{page}");
        assert!(page.contains("target_info{service_name=\"sluicegate\",service_version="), "{page}");
    }
}
