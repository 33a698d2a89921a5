//! Loads an OTLP/gRPC endpoint, and measures what it delivers and what that costs.
//!
//! | module | does |
//! | --- | --- |
//! | [`workload`] | export requests, prepared before anything is measured |
//! | [`sender`] | sends them, in a closed or an open loop, and measures |
//! | [`sink`] | a destination that counts what comes, and can be slow or failing |
//! | [`subject`] | what the program under test has used, by the operating system |
//! | [`program`] | starts a program and ends it |
//! | [`sluicegate`] | starts Sluicegate between the two |
//! | [`measured`] | what came of a run |
//! | [`compare`] | the same loads through Sluicegate and others, in turns |

pub mod compare;
pub mod measured;
pub mod program;
pub mod sender;
pub mod sink;
pub mod sluicegate;
pub mod subject;
pub mod workload;

use std::path::PathBuf;

/// The folder that cargo builds a profile into, such as `target/release`: the one that this program lies in.
#[must_use]
pub fn profile_dir() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    // Tests lie one deeper.
    program.ancestors().skip(1).find(|folder| !folder.ends_with("deps")).map(PathBuf::from).unwrap_or_default()
}
