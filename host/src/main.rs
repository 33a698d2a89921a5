//! The `sluicegate` command.
use std::process::ExitCode;

use clap::Parser;

mod commands;

/// The system's own allocator may give large blocks back each time, and batches are made of those.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) fn main() -> ExitCode {
    commands::Sluicegate::parse().execute()
}
