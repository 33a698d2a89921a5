//! What was measured as tables.
use std::fmt::Write as _;

pub use self::table::Table;
use super::{
    case::{BATCHES, Case, LATENCY_BATCHES, UNREAD_BYTES},
    goal::{Bound, Measure, goals, thousands},
    plot,
    results::{Cell, Overload, Results, Spread, Throughput},
    subject::{Subject, Work},
};
use crate::workload::Compression;

mod table;

/// Everything as Markdown, the plots by the names of their files in the folder `benchmarks`.
#[must_use]
pub fn markdown(results: &Results) -> String {
    let mut text = String::new();
    let machine = &results.machine;
    let _ = write!(
        text,
        "```sh\n{}\n```\n\nmeasured this on {}, {} cores, {} of memory, {}, in {} rounds of {} s, and in three times as\nmany what goals compare with itself. Programs:\n\n",
        results.command,
        machine.processor,
        machine.cores,
        mebibytes(machine.memory_bytes as f64),
        machine.kernel,
        results.rounds,
        results.seconds,
    );
    for (program, version) in versions(results) {
        let _ = writeln!(text, "- {program}: {version}");
    }
    let mut absent: Vec<_> = results.missing.iter().map(|subject| subject.title()).collect();
    absent.dedup();
    if !absent.is_empty() {
        let _ = writeln!(text, "\nNot measured, because they were not installed: {}.", absent.join("; "));
    }
    for table in tables(results) {
        let _ = write!(text, "\n{}", table.markdown());
    }
    for plot in plot::plots(results) {
        let _ = write!(text, "\n![{}](benchmarks/{})\n", plot.title, plot.file);
    }
    if !results.troubles.is_empty() {
        text.push_str("\nWhat went wrong, and is not among the figures:\n\n");
        for trouble in &results.troubles {
            let _ = writeln!(text, "- {trouble}");
        }
    }
    text
}

/// The text of a document with `tables` in place of what stands between its two comments. None where it lacks them.
#[must_use]
pub fn replace(document: &str, tables: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{}\n{END}{after}", tables.trim_end()))
}

/// The comments between which the document has what was measured.
const BEGIN: &str = "<!-- measured: written by `cargo xtask compare --write` -->";
const END: &str = "<!-- end of what was measured -->";

/// All tables that something was measured for.
#[must_use]
pub fn tables(results: &Results) -> Vec<Table> {
    let tables = [
        goal_table(results),
        efficiency(results, Compression::None, "uncompressed"),
        efficiency(results, Compression::Gzip, "gzip in and out"),
        unread(results),
        latency(results),
        memory(results),
        overload(results),
    ];
    tables.into_iter().filter(|table| !table.is_empty()).collect()
}

/// Each program once, with its version.
fn versions(results: &Results) -> Vec<(String, &str)> {
    let mut versions: Vec<(String, &str)> = Vec::new();
    for (subject, version) in &results.versions {
        let program = match subject {
            Subject::Sluicegate(_) => "Sluicegate".to_owned(),
            Subject::Native(_) => "Sluicegate, native".to_owned(),
            Subject::Collector(Work::Policy) => "Collector, policy".to_owned(),
            Subject::Collector(_) => "Collector".to_owned(),
            other => other.title(),
        };
        if !versions.iter().any(|(known, _)| *known == program) {
            versions.push((program, version));
        }
    }
    versions
}

fn goal_table(results: &Results) -> Table {
    let note = "Ratios of records a second per CPU second, Sluicegate's by the other's, and what else is promised: the \
                median of all rounds, with the smallest and the largest.";
    let mut table = Table::new("Goals", note, ["against", "at", "goal", "measured", "met"]);
    for goal in goals() {
        let measure = goal.measure;
        let number = |figure| match measure {
            Measure::Ratio(..) | Measure::Scaling(_) => ratio(figure),
            Measure::AddedP99(_) => microseconds(figure),
            Measure::OverloadMemory(_) => mebibytes(figure),
        };
        let figure = measure.figure(results);
        // Where only some cases are asked for, the goals of others are no news. Where a program is missing, they are.
        let is_missing = measure.cases().iter().any(|case| results.missing.contains(&case.subject));
        let (measured, met) = match figure {
            Some(spread) => (shown(spread, number), if goal.bound.is_met(spread.median) { "yes" } else { "no" }),
            None if is_missing => ("not installed".into(), ""),
            None => continue,
        };
        let bound = match goal.bound {
            Bound::AtLeast(bound) => number(bound),
            Bound::Below(bound) => format!("below {}", number(bound)),
        };
        table.row([goal.what, goal.at, bound, measured, met.to_owned()]);
    }
    table
}

/// Records a CPU second by batch.
fn efficiency(results: &Results, compression: Compression, name: &str) -> Table {
    let title = format!("Records a second per CPU second, {name}");
    let note = "In thousands, by size of batch, and the nanoseconds of CPU that one record takes.";
    let cell = |figures: &Cell<Throughput>| {
        let of = |figure: fn(&Throughput) -> f64| figures.spread(figure);
        let (records, nanoseconds) = (of(|round| round.records_per_cpu_second)?, of(Throughput::nanoseconds)?);
        Some(format!("{}, {} ns", shown(records, kilo), thousands(nanoseconds.median.round() as usize)))
    };
    by_batch(&title, note, &BATCHES, |case| cell(results.throughput(&case.compressed(compression))?))
}

fn memory(results: &Results) -> Table {
    let note =
        "The most that was resident, uncompressed, by size of batch. What several processes share counts for each.";
    let cell = |case: &Case| results.throughput(case)?.spread(|round| round.peak_bytes as f64);
    by_batch("Peak memory", note, &BATCHES, |case| Some(mebibytes(cell(case)?.median)))
}

fn latency(results: &Results) -> Table {
    let note = "At half of what each one carries in an open loop, uncompressed: the percentile through it less the same \
                percentile of the same load straight to the sink. p50, p99 and p99.9, at so many requests a second.";
    by_batch("Added latency", note, &LATENCY_BATCHES, |case| {
        let cell = results.latency.iter().find(|cell| cell.case == *case)?;
        let median = |percentile: fn(&crate::measured::Latency) -> f64| {
            Some(microseconds(cell.spread(|added| added.microseconds(percentile))?.median))
        };
        let percentiles = [median(|all| all.p50_us)?, median(|all| all.p99_us)?, median(|all| all.p999_us)?];
        let rate = cell.spread(|added| added.rate)?.median;
        Some(format!("{} at {}", percentiles.join(", "), thousands(rate as usize)))
    })
}

fn overload(results: &Results) -> Table {
    let note = "64 MiB a second are sent, and the sink takes eight of them: the most memory, and what was acknowledged and \
                delivered of the records on offer. With default settings; the Collector without its memory limiter.";
    let columns = ["", "peak", "acknowledged", "delivered"];
    let mut table = Table::new("Memory while the sink is too slow", note, columns);
    for cell in &results.overload {
        let median = |figure: fn(&Overload) -> f64| cell.spread(figure).map_or(0.0, |spread| spread.median);
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        table.row([
            cell.case.subject.title(),
            mebibytes(median(|round| round.peak_bytes as f64)),
            percent(median(|round| round.acknowledged)),
            percent(median(|round| round.delivered)),
        ]);
    }
    table
}

/// What bytes cost that nobody reads.
fn unread(results: &Results) -> Table {
    let note = "Nanoseconds of CPU a record at batches of 100 with one attribute more that no filter reads. nginx's \
                growth is what carrying bytes from socket to socket costs.";
    let columns = UNREAD_BYTES.map(|bytes| format!("{} KiB", bytes >> 10));
    let columns = ["".to_owned(), "none".to_owned()].into_iter().chain(columns).chain(["a further KiB".to_owned()]);
    let mut table = Table::new("Large attributes", note, columns);
    for subject in [Subject::Sluicegate(Work::PassThrough), Subject::Sluicegate(Work::Severity), Subject::Nginx] {
        let case = Case::new(subject, UNREAD_BATCH);
        let nanoseconds =
            |bytes| Some(results.throughput(&case.unread(bytes))?.spread(Throughput::nanoseconds)?.median);
        let sizes = std::iter::once(0).chain(UNREAD_BYTES);
        let Some(figures) = sizes.map(nanoseconds).collect::<Option<Vec<_>>>() else { continue };
        let largest = UNREAD_BYTES[UNREAD_BYTES.len() - 1];
        let growth = (figures[figures.len() - 1] - figures[0]) / (largest >> 10) as f64;
        let cells = figures.into_iter().chain([growth]).map(|figure| thousands(figure.max(0.0).round() as usize));
        table.row(std::iter::once(subject.title()).chain(cells));
    }
    table
}

/// The batch with which large attributes are measured: the largest of them make requests of 1.7 MB.
pub const UNREAD_BATCH: usize = 100;

/// A row for each subject of which there is anything, a column for each batch.
fn by_batch(title: &str, note: &str, batches: &[usize], cell: impl Fn(&Case) -> Option<String>) -> Table {
    let columns = batches.iter().map(|&batch| thousands(batch));
    let mut table = Table::new(title, note, std::iter::once(String::new()).chain(columns));
    for subject in Subject::all() {
        let cells: Vec<_> = batches.iter().map(|&batch| cell(&Case::new(subject, batch))).collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells.into_iter().map(Option::unwrap_or_default);
            table.row(std::iter::once(subject.title()).chain(cells));
        }
    }
    table
}

/// `median (min–max)`.
fn shown(spread: Spread, number: impl Fn(f64) -> String) -> String {
    let Spread { median, min, max } = spread;
    match min < max {
        true => format!("{} ({}–{})", number(median), number(min), number(max)),
        false => number(median),
    }
}

fn ratio(figure: f64) -> String {
    format!("{figure:.2}")
}

fn kilo(figure: f64) -> String {
    thousands((figure / 1e3).round() as usize)
}

fn microseconds(figure: f64) -> String {
    if figure < 1_000.0 { format!("{figure:.0} µs") } else { format!("{:.1} ms", figure / 1e3) }
}

fn mebibytes(bytes: f64) -> String {
    format!("{} MiB", thousands((bytes / f64::from(1 << 20)).round() as usize))
}

#[cfg(test)]
mod tests;
