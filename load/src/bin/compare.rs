//! `compare`: Sluicegate beside others that stand in its place. `cargo xtask compare` builds what it needs and runs it.
use std::{fs, path::Path, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use clap::Parser;
use sluicegate_load::{
    compare::{
        measure::measure,
        peers::Peers,
        plan::{Part, Plan, Selection},
        plot, report,
        results::Results,
        subject::Subject,
    },
    profile_dir, program,
    workload::Compression,
};

/// Compare Sluicegate with others that stand in its place, under the same loads. `--profile NAME` builds Sluicegate
/// with another profile than `release`: `quick` or `dev`
#[derive(Debug, Parser)]
#[command(name = "cargo xtask compare")]
struct Arguments {
    /// Measure these only, such as sluicegate,nginx,collector-severity
    #[arg(long, value_delimiter = ',')]
    only: Vec<Subject>,
    /// Measure with so many log records a request only
    #[arg(long, value_delimiter = ',')]
    batches: Vec<usize>,
    /// Measure with requests compressed so only
    #[arg(long, value_enum, value_delimiter = ',')]
    compressions: Vec<Compression>,
    /// Measure these parts only; with --only it is throughput unless told otherwise
    #[arg(long, value_enum, value_delimiter = ',')]
    parts: Vec<Part>,
    /// How often each case is measured, in turns
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// For how long each time
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    seconds: f64,
    /// Run everything once and for a moment, to see that it works
    #[arg(long, conflicts_with_all = ["only", "batches", "compressions", "parts"])]
    moment: bool,
    /// Write the tables and plots into docs/
    #[arg(long)]
    write: bool,
    /// Write them from what was measured last, and measure nothing
    #[arg(long, conflicts_with_all = ["moment", "only", "batches", "compressions", "parts"])]
    render: bool,
}

/// What was measured, from the folder that cargo builds into.
const RESULTS: &str = "compare/results.json";
/// The document that has the tables, from the repository's root.
const DOCUMENT: &str = "docs/benchmarks.md";
/// Where the pictures are that it shows.
const PICTURES: &str = "docs/benchmarks";

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let folder = profile_dir();
    let file = folder.parent().unwrap_or(&folder).join(RESULTS);
    let results = if arguments.render {
        let text = fs::read(&file).with_context(|| format!("can't read {}: measure first", file.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is not what this program wrote", file.display()))?
    } else {
        program::end_all_at_signals().context("can't listen for signals")?;
        let command = command(&folder);
        let results = measure(&arguments.plan(), &Peers::new(folder), command, |what| eprintln!("{what}"))?;
        write(&file, &serde_json::to_string_pretty(&results)?)?;
        results
    };
    for table in report::tables(&results) {
        println!("\n{}", table.aligned().trim_end());
    }
    if arguments.write || arguments.render {
        document(&results)?;
    }
    if results.troubles.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("\nSome cases gave no figures:");
    results.troubles.iter().for_each(|trouble| eprintln!("- {trouble}"));
    Ok(ExitCode::FAILURE)
}

impl Arguments {
    fn plan(&self) -> Plan {
        if self.moment {
            return Plan::moment();
        }
        let mut parts = self.parts.clone();
        if parts.is_empty() && !self.only.is_empty() {
            parts.push(Part::Throughput);
        }
        let selection = Selection {
            subjects: self.only.clone(),
            batches: self.batches.clone(),
            compressions: self.compressions.clone(),
            parts,
        };
        Plan::new(&selection, self.rounds, Duration::from_secs_f64(self.seconds))
    }
}

/// The command that runs this program, as somebody would type it. The chore takes the profile out.
fn command(profile: &Path) -> String {
    let profile = match profile.file_name().and_then(|name| name.to_str()) {
        None | Some("release") => None,
        Some("debug") => Some("--profile dev".to_owned()),
        Some(other) => Some(format!("--profile {other}")),
    };
    let words = std::iter::once("cargo xtask compare".to_owned()).chain(std::env::args().skip(1)).chain(profile);
    words.collect::<Vec<_>>().join(" ")
}

/// Puts tables and pictures into the documents.
fn document(results: &Results) -> Result<()> {
    let text = fs::read_to_string(DOCUMENT).with_context(|| format!("can't read {DOCUMENT}"))?;
    let text = report::replace(&text, &report::markdown(results))
        .with_context(|| format!("{DOCUMENT} lacks the comments between which tables belong"))?;
    for plot in plot::plots(results) {
        write(&Path::new(PICTURES).join(plot.file), &plot.svg())?;
    }
    write(Path::new(DOCUMENT), &text)
}

fn write(file: &Path, text: &str) -> Result<()> {
    let write = || {
        fs::create_dir_all(file.parent().unwrap_or(file))?;
        fs::write(file, text)
    };
    write().with_context(|| format!("can't write {}", file.display()))
}

/// Bounded, so that a slip doesn't take the machine for a day.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=60.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected 0.1 to 60".into()),
    }
}
