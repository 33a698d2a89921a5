//! `sluicegate filter`.
use std::path::PathBuf;

use clap::{Args, Subcommand};
use sluicegate::author::{self, Built};

use super::Failure;

/// Author filters
#[derive(Debug, Args)]
pub(super) struct Filter {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Build(Build),
}

/// Compile a filter's crate to a component
///
/// Needs cargo and the target wasm32-unknown-unknown, which is installed where that is possible.
#[derive(Debug, Args)]
struct Build {
    /// The folder of the crate, or of the workspace
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Build every filter of the workspace
    #[arg(long)]
    workspace: bool,
    /// Where to write the component: a file or an existing folder; with --workspace a folder. Without it, `filters`
    /// in cargo's target folder
    #[arg(long, value_name = "PATH", required_if_eq("workspace", "true"))]
    output: Option<PathBuf>,
}

impl Filter {
    pub(super) fn execute(self) -> Result<(), Failure> {
        let Command::Build(build) = self.command;
        // Cargo has shown the author's own mistakes; that they are there is no wrong argument.
        let built = build.build().map_err(|e| Failure::Runtime(e.into()))?;
        for Built { path, size, imports } in built {
            let imports = if imports.is_empty() { "nothing".to_owned() } else { imports.join(", ") };
            println!("{} ({} KiB) imports {imports}", path.display(), size.div_ceil(1024));
        }
        Ok(())
    }
}

impl Build {
    fn build(&self) -> Result<Vec<Built>, author::BuildError> {
        match &self.output {
            Some(folder) if self.workspace => author::build_workspace(&self.path, folder),
            output => Ok(vec![author::build(&self.path, output.as_deref())?]),
        }
    }
}
