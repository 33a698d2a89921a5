//! Runs the tests and sums up.
use std::time::Instant;

use anyhow::Result;
use clap::ValueEnum as _;

use crate::{
    collector,
    command::{Step, root},
    filters,
    sdks::{self, Sdk},
};

/// Runs the workspace's tests, documentation included, and those of the filters.
///
/// # Errors
/// When one fails, or something can't be built.
pub(crate) fn test() -> Result<()> {
    let start = Instant::now();
    filters()?;
    let workspace = count(Step::cargo("test").args(["--workspace", "--locked"]), "testing the workspace")?;
    let guests = count(
        Step::cargo("test").args(["--workspace", "--locked"]).within(&root().join("guest-filters")),
        "testing the filters",
    )?;
    println!(
        "\nAll {} tests passed: {workspace} of the workspace, {guests} of the filters ({} s).",
        workspace + guests,
        start.elapsed().as_secs()
    );
    Ok(())
}

/// Runs the tests that need a real Collector, and of those that need an SDK the ones for `sdks`.
///
/// # Errors
/// When a language is missing, one test fails, or something can't be built.
pub(crate) fn e2e(sdks: &[Sdk]) -> Result<()> {
    let start = Instant::now();
    let collector = collector::build(collector::TESTED, "collector")?;
    sdks::prepare(sdks)?;
    filters()?;
    let test = Step::cargo("test")
        .args(["--workspace", "--locked", "--features", "sluicegate-tests/e2e", "--test", "e2e", "--"])
        .env("SLUICEGATE_COLLECTOR", &collector.program);
    let others = Sdk::value_variants().iter().filter(|sdk| !sdks.contains(sdk));
    let test = others.fold(test, |test, sdk| test.arg("--skip").arg(sdk.tests()));
    let passed = count(test, "testing against the Collector")?;
    println!(
        "\nAll {passed} tests against the Collector {} passed ({} s).",
        collector.version,
        start.elapsed().as_secs()
    );
    Ok(())
}

/// Runs `step`, shows what it writes, and returns how many tests passed.
fn count(step: Step, what: &str) -> Result<u32> {
    let mut passed = 0;
    step.lines(what, |line| {
        println!("{line}");
        passed += line
            .strip_prefix("test result: ok. ")
            .and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok())
            .unwrap_or_default();
    })?;
    Ok(passed)
}
