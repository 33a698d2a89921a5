//! What came of a run, for people.
use std::fmt::Write as _;

use sluicegate_load::{
    measured::Measured,
    sender::{Mode, Plan},
};

/// A few aligned lines.
pub(crate) fn of(plan: &Plan<'_>, measured: &Measured) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<22} {value}");
    };
    let shape = plan.workload.shape();
    let compression = shape.compression.name().unwrap_or("uncompressed");
    line(
        "requests",
        format!("{} records of {:.0} bytes, {compression}", shape.records, plan.workload.bytes_per_record()),
    );
    let loops = match plan.mode {
        Mode::Closed { in_flight } => {
            format!("closed loop, {in_flight} under way on each of {} connections", plan.connections)
        }
        Mode::Open { rate } => format!("open loop, {rate} requests a second over {} connections", plan.connections),
    };
    line("sending", format!("{loops}, {:.2} s measured", measured.seconds));
    line("records sent", grouped(measured.records_sent));
    line("records acknowledged", grouped(measured.records_accepted));
    let expected = measured.records_expected.filter(|&expected| expected != measured.records_accepted);
    let expected = expected.map(|expected| format!(" of {} that are not dropped", grouped(expected)));
    line("records at the sink", format!("{}{}", grouped(measured.records_at_sink), expected.unwrap_or_default()));
    for (status, count) in &measured.refused {
        line("requests refused", format!("{} {status}", grouped(*count)));
    }
    line("records a second", grouped(measured.records_per_second as u64));
    if let (Some(cpu), Some(rate)) = (measured.cpu_seconds, measured.records_per_cpu_second) {
        line(
            "records a CPU second",
            format!("{}, {:.0} ns each ({cpu:.2} s of CPU)", grouped(rate as u64), 1e9 / rate),
        );
    }
    let latency = &measured.latency;
    let times = [
        ("mean", latency.mean_us),
        ("p50", latency.p50_us),
        ("p90", latency.p90_us),
        ("p99", latency.p99_us),
        ("p99.9", latency.p999_us),
        ("max", latency.max_us),
    ];
    let times = times.map(|(name, microseconds)| format!("{name} {:.2} ms", microseconds / 1e3));
    line("latency", times.join(", "));
    if let (Some(now), Some(most)) = (measured.rss_bytes, measured.peak_rss_bytes) {
        line("memory", format!("{:.1} MiB, at most {:.1} MiB", mebibytes(now), mebibytes(most)));
    }
    text
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// With a comma between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(grouped(number), text);
        }
    }
}
