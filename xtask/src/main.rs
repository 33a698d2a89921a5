//! The project's chores. Each sets up and builds what it needs by itself.
mod collector;
mod command;
mod compare;
mod instructions;
mod load;
mod peers;
mod sdks;
mod tests;
// The program sets the target up too, for authors of filters. The chores need it before there is a program.
#[path = "../../host/src/author/toolchain.rs"]
#[allow(dead_code, unreachable_pub, reason = "part of a library, of which the chores need little")]
mod toolchain;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::Result;
use clap::{Parser, ValueEnum as _};

use crate::{
    command::{Step, root, target_dir},
    sdks::Sdk,
};

/// The project's chores, run as `cargo xtask NAME`
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
enum Chore {
    /// Add the WebAssembly target to the Rust toolchain
    Setup,
    /// Build the programs, and with them guest-filters/* into target/filters
    Filters,
    /// Show what Sluicegate does, on real records
    Demo,
    /// Run every test that needs no further program
    Test,
    /// Count the instructions that each step of a record's way takes, and show what changed (needs valgrind)
    Instructions {
        /// How to build: counts are compared with those that were recorded of the same profile
        #[arg(long, default_value = "dev")]
        profile: String,
        /// Record the counts
        #[arg(long)]
        record: bool,
    },
    /// Build Sluicegate with a profile, and load and measure it; `--help` shows how
    #[command(disable_help_flag = true)]
    Load {
        /// `--profile NAME`, and arguments of the load tool
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<OsString>,
    },
    /// Compare Sluicegate with nginx, the Collector and rotel, which it makes ready; `--help` shows how
    #[command(disable_help_flag = true)]
    Compare {
        /// `--profile NAME`, and arguments of the comparison
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<OsString>,
    },
    /// Test against a real Collector and with the official SDKs, which it builds (needs Go, Python, Node.js, Java)
    E2e {
        /// Test these SDKs only
        #[arg(long, value_enum, value_delimiter = ',', default_values_t = Sdk::value_variants().to_vec())]
        sdks: Vec<Sdk>,
    },
}

fn main() -> Result<()> {
    match Chore::parse() {
        Chore::Setup => set_up(),
        Chore::Filters => filters(),
        Chore::Demo => demo(),
        Chore::Load { arguments } => load::load(arguments),
        Chore::Compare { arguments } => compare::compare(arguments),
        Chore::Test => tests::test(),
        Chore::Instructions { profile, record } => instructions::count(&profile, record),
        Chore::E2e { sdks } => tests::e2e(&sdks),
    }
}

/// Sees to it that filters can be compiled.
fn set_up() -> Result<()> {
    toolchain::set_up(&root().join("guest-filters"))?;
    Ok(())
}

/// Builds the programs, and with them the filters.
fn filters() -> Result<()> {
    set_up()?;
    Step::cargo("build")
        // No example exists, but asking for them gives dependencies the features that the tests give them too, so
        // that a demo and a test run share one build.
        .args(["--workspace", "--locked", "--bins", "--examples"])
        .run("building the programs")?;
    filters_by(&program("sluicegate"))
}

/// Builds the filters with this Sluicegate.
fn filters_by(sluicegate: &Path) -> Result<()> {
    Step::new(sluicegate)
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
fn program(name: &str) -> PathBuf {
    target_dir().join("debug").join(name)
}
