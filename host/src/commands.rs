//! The command line: it reads arguments, calls the library and turns what comes of it into an exit code.
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sluicegate::config::Diagnostics;

mod cache;
mod filter;
mod run;
mod send;
mod validate;

/// A drop-in OTLP endpoint that runs WebAssembly filters over log records.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
pub(crate) struct Sluicegate {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Validate(validate::Validate),
    Send(send::Send),
    Filter(filter::Filter),
}

/// Why a command did not do what it was asked for.
enum Failure {
    /// What it was given is wrong: the same command fails again. Exit code 2, which clap uses too.
    Input(anyhow::Error),
    /// Something else went wrong. Exit code 1.
    Runtime(anyhow::Error),
    /// The command has said itself what went wrong. Exit code 1.
    Reported,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed while running, 2 a wrong configuration, file or argument";

impl Sluicegate {
    /// Runs the command and says on standard error what went wrong.
    pub(crate) fn execute(self) -> ExitCode {
        let result = match self.command {
            Command::Run(run) => run.execute(),
            Command::Validate(validate) => validate.execute(),
            Command::Send(send) => send.execute(),
            Command::Filter(filter) => filter.execute(),
        };
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(Failure::Reported) => ExitCode::from(1),
            Err(Failure::Runtime(e)) => fail(&e, 1),
            Err(Failure::Input(e)) => fail(&e, 2),
        }
    }
}

fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    if error.is::<Diagnostics>() {
        eprintln!("{error}");
    } else {
        eprintln!("error: {error:#}");
    }
    ExitCode::from(code)
}

impl From<Diagnostics> for Failure {
    fn from(problems: Diagnostics) -> Self {
        Self::Input(problems.into())
    }
}
