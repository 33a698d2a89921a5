//! The `sluicegate` command with filters compiled in. A processor whose component is called like one of them, such as
//! `filters/redact.wasm`, runs it outside the sandbox; all else is the same.
use std::process::ExitCode;

#[path = "../../host/src/main.rs"]
mod program;

fn main() -> ExitCode {
    sluicegate_native::install();
    program::main()
}
