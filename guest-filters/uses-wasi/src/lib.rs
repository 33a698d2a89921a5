//! A guest for tests: a component that imports WASI, as most toolchains make them.
//!
//! When it is configured it writes what it finds to standard output: how many environment variables, arguments and
//! directories there are. The number of records in a batch chooses what it does with it:
//!
//! | records | does |
//! | --- | --- |
//! | 1 | writes a line in two pieces, and half a line to standard error |
//! | 2 | sleeps for an hour |
//! | 3 | exits |
//! | 4 | holds clocks without end |
//! | 5 | asks for a gibibyte of random bytes |
//! | 6 | writes more at once than it may |
//! | 7 | writes as many zeros as a number can say |
use wasi::cli::{environment, exit, stderr, stdout};
use wasi::clocks::monotonic_clock;
use wasi::filesystem::preopens;
use wasi::io::streams::OutputStream;
use wasi::random::random;

#[allow(unsafe_code, reason = "the canonical ABI passes pointers; only generated code touches them")]
#[allow(missing_docs, reason = "generated items carry the documentation that the WIT files have")]
mod bindings {
    wit_bindgen::generate!({
        path: ["../../wit", "wit"],
        world: "sluicegate:wasi/guest",
        generate_all,
    });

    use super::Wasi;
    export!(Wasi);
}

use bindings::{Batch, Guest, Outcome, Plan, wasi};

/// The guest.
struct Wasi;

impl Guest for Wasi {
    fn configure(_settings: String) -> Result<Plan, String> {
        let variables = environment::get_environment().len();
        let arguments = environment::get_arguments().len();
        let directories = preopens::get_directories().len();
        let found = format!("{variables} variables, {arguments} arguments, {directories} directories\n");
        write(&stdout::get_stdout(), &found)?;
        Ok(Plan { routes: Vec::new() })
    }

    fn process(batch: &Batch) -> Result<Outcome, String> {
        const HOUR: u64 = 3_600_000_000_000;
        match batch.len() {
            1 => {
                let output = stdout::get_stdout();
                write(&output, "half a ")?;
                write(&output, "line\n")?;
                write(&stderr::get_stderr(), "the end")?;
            }
            2 => monotonic_clock::subscribe_duration(HOUR).block(),
            3 => exit::exit(Err(())),
            4 => {
                let mut clocks = Vec::new();
                loop {
                    clocks.push(monotonic_clock::subscribe_duration(HOUR));
                }
            }
            5 => {
                random::get_random_bytes(1 << 30);
            }
            6 => drop(stdout::get_stdout().write(&[b'x'; 1 << 20])),
            7 => drop(stdout::get_stdout().write_zeroes(u64::MAX)),
            _ => {}
        }
        Ok(Outcome { rows: Vec::new(), verdicts: Vec::new(), changes: Vec::new() })
    }
}

fn write(stream: &OutputStream, text: &str) -> Result<(), String> {
    stream.check_write().map_err(|error| error.to_string())?;
    stream.write(text.as_bytes()).map_err(|error| error.to_string())?;
    stream.blocking_flush().map_err(|error| error.to_string())
}
