//! The project's chores. Each sets up and builds what it needs by itself.
mod collector;
mod command;
mod target;
mod tests;

use anyhow::Result;
use clap::Parser;

use crate::command::{Step, root, target_dir};

/// The project's chores, run as `cargo xtask NAME`
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
enum Chore {
    /// Add the WebAssembly target to the Rust toolchain
    Setup,
    /// Build guest-filters/* into target/filters
    Filters,
    /// Show what Sluicegate does, on real records
    Demo,
    /// Run every test that needs no further program
    Test,
    /// Build a real Collector and test against it (needs Go)
    E2e,
}

fn main() -> Result<()> {
    match Chore::parse() {
        Chore::Setup => target::set_up(),
        Chore::Filters => filters(),
        Chore::Demo => demo(),
        Chore::Test => tests::test(),
        Chore::E2e => tests::e2e(),
    }
}

/// Builds the programs, and with them the filters.
fn filters() -> Result<()> {
    target::set_up()?;
    Step::cargo("build")
        // No example exists, but asking for them gives dependencies the features that the tests give them too, so
        // that a demo and a test run share one build.
        .args(["--workspace", "--locked", "--bins", "--examples"])
        .run("building the programs")?;
    Step::new(program("sluicegate"))
        .args(["filter", "build", "--workspace"])
        .arg(root().join("guest-filters"))
        .arg("--output")
        .arg(target_dir().join("filters"))
        .run("building the filters")
}

fn demo() -> Result<()> {
    filters()?;
    Step::new(program("demo")).run("")
}

/// The path of a program that `cargo build` made.
fn program(name: &str) -> std::path::PathBuf {
    target_dir().join("debug").join(name)
}
