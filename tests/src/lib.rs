//! Drives the built program from outside, as its users do: over its sockets, its files, its signals and its exit codes.
//!
//! | module | does |
//! | --- | --- |
//! | [`process`] | runs a program, keeps its log, ends it |
//! | [`program`] | runs `sluicegate` |
//! | [`config`] | writes its configuration |
//! | [`wire`] | OTLP/gRPC calls as bytes |
//! | [`sender`] | an application that exports to it |
//! | [`client`] | a client of whatever a listener speaks, which shows what is on the wire |
//! | [`authority`] | certificates for tests |
//! | [`sink`] | a destination that records what comes, and fails when told to |
//! | [`metrics`] | reads the Prometheus page |
//! | [`otlp`] | builds, reads and compares log records |
//! | [`example`] | reads `examples/` |
//! | [`fields`] | a record's fields, and what differs between two |

pub mod authority;
pub mod client;
pub mod config;
pub mod example;
pub mod fields;
pub mod metrics;
pub mod otlp;
pub mod process;
pub mod program;
pub mod sender;
pub mod sink;
pub mod wire;

use std::{future::Future, path::PathBuf, time::Duration};

/// How long anything may take before a test gives up. Nothing is measured by it: it only ends a test that would
/// hang, and it is long because machines that run tests are busy.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The same for a compiler.
pub const PATIENCE_WITH_COMPILERS: Duration = Duration::from_secs(1200);

/// What `future` gives.
///
/// # Panics
/// When [`PATIENCE`] ends first. `what` says what was waited for.
pub async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    within(PATIENCE, what, future).await
}

/// The same with another patience.
///
/// # Panics
/// When `patience` ends first.
pub async fn within<T>(patience: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(patience, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {patience:?} for {what}"),
    }
}

/// Waits until `condition` holds, for what can only be asked and doesn't tell.
///
/// # Panics
/// When [`PATIENCE`] ends first. `what` says what was waited for.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    /// Short beside what a process takes to do anything, long beside what asking costs.
    const PAUSE: Duration = Duration::from_millis(20);
    let holds = async {
        while !condition().await {
            tokio::time::sleep(PAUSE).await;
        }
    };
    patiently(what, holds).await;
}

/// The repository's root.
#[must_use]
pub fn root() -> PathBuf {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.pop();
    path
}

/// The folder that cargo builds into: the one this very program lies in.
///
/// # Panics
/// When this program has no path.
#[must_use]
pub fn target_dir() -> PathBuf {
    let program = std::env::current_exe().expect("a running program has a path");
    let profile = program
        .ancestors()
        .skip(1)
        .find(|folder| !folder.ends_with("deps"))
        .expect("cargo puts programs into a folder");
    profile.parent().unwrap_or(profile).to_owned()
}

/// The component of the filter `name`, built by `cargo xtask filters`. `SLUICEGATE_FILTERS` names another folder.
///
/// # Panics
/// When it isn't there.
#[must_use]
pub fn component(name: &str) -> PathBuf {
    let path = filters_dir().join(name).with_extension("wasm");
    assert!(path.exists(), "{} is missing: run `cargo xtask filters`", path.display());
    path
}

/// Where the filters' components are.
#[must_use]
pub fn filters_dir() -> PathBuf {
    std::env::var_os("SLUICEGATE_FILTERS").map_or_else(|| target_dir().join("filters"), PathBuf::from)
}
