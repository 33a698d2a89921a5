//! Counts the instructions of the steps in `host/benches/path.rs`, which change with the code and hardly with the machine.
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    command::{Step, root, target_dir},
    filters,
};

/// The function of the benchmark whose instructions are counted, as callgrind writes it.
const COUNTED: &str = "path::counted*";

/// Instructions a record, by how many records a batch has and by step.
type Counts = BTreeMap<(usize, String), f64>;

/// Counts, and shows the change against what was recorded, or records.
///
/// # Errors
/// When valgrind is missing, something can't be built, or a step fails.
pub(crate) fn count(profile: &str, record: bool) -> Result<()> {
    if Step::new("valgrind").arg("--version").output().is_none() {
        bail!("valgrind is missing; install it (on Debian: apt-get install valgrind)");
    }
    filters()?;
    let counts = run(&build(profile)?)?;
    let folder = root().join("host/benches/instructions");
    let recorded = folder.join(profile).with_extension("txt");
    if record {
        fs::create_dir_all(&folder)?;
        fs::write(&recorded, write(&counts)).with_context(|| format!("can't write {}", recorded.display()))?;
        return Ok(());
    }
    let before = fs::read_to_string(&recorded).map(|text| parse(&text)).unwrap_or_default();
    print!("{}", compare(&counts, &before));
    Ok(())
}

/// Builds the benchmark and returns its program.
fn build(profile: &str) -> Result<PathBuf> {
    let mut program = None;
    Step::cargo("test")
        .args(["--workspace", "--locked", "--bench", "path", "--no-run", "--message-format", "json"])
        .args(["--profile", profile])
        .lines("building the benchmark", |line| {
            if let Some((_, rest)) = line.split_once(r#""executable":""#) {
                program = rest.split_once('"').map(|(path, _)| PathBuf::from(path));
            }
        })?;
    program.context("cargo names no program of the benchmark `path`")
}

/// Runs the benchmark under callgrind, which writes a file for each time that something was counted.
fn run(program: &Path) -> Result<Counts> {
    let folder = target_dir().join("instructions");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let out = folder.join("out");
    let mut steps = Vec::new();
    Step::new("valgrind")
        .args(["--quiet", "--tool=callgrind"])
        // Of two options with the same pattern callgrind keeps one.
        .arg(format!("--toggle-collect=*{COUNTED}"))
        .arg(format!("--dump-after={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .arg("--count")
        .lines("counting instructions", |line| steps.push(line.to_owned()))?;
    let mut counts = Counts::new();
    for (file, step) in (1..).zip(steps) {
        let (rows, name) = step.split_once(' ').context("the benchmark wrote something else than its steps")?;
        let rows: usize = rows.parse()?;
        let file = out.with_extension(file.to_string());
        let text = fs::read_to_string(&file).with_context(|| format!("callgrind did not write {}", file.display()))?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals: ")).context("no totals of callgrind")?;
        let count = total.trim().parse::<f64>()? / rows as f64;
        let lowest = counts.entry((rows, name.to_owned())).or_insert(count);
        *lowest = lowest.min(count);
    }
    Ok(counts)
}

/// A line for each step: records of a batch, instructions a record, name.
fn write(counts: &Counts) -> String {
    counts.iter().map(|((rows, step), count)| format!("{rows:>5} {count:>7.0}  {step}\n")).collect()
}

fn parse(text: &str) -> Counts {
    let step = |line: &str| {
        let (rows, rest) = line.trim().split_once(' ')?;
        let (count, step) = rest.trim().split_once(' ')?;
        Some(((rows.parse().ok()?, step.trim().to_owned()), count.parse().ok()?))
    };
    text.lines().filter_map(step).collect()
}

/// A table of what is, what was and the change.
fn compare(counts: &Counts, before: &Counts) -> String {
    let mut table = format!("{:>5} {:>12} {:>9} {:>8}  step\n", "batch", "instructions", "recorded", "change");
    for (step @ (rows, name), count) in counts {
        let (recorded, change) = match before.get(step) {
            Some(recorded) => (format!("{recorded:.0}"), format!("{:+.1} %", (count / recorded - 1.0) * 100.0)),
            None => ("-".to_owned(), "new".to_owned()),
        };
        table += &format!("{rows:>5} {count:>12.0} {recorded:>9} {change:>8}  {name}\n");
    }
    table
}
