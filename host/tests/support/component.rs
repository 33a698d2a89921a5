//! Where the components are that tests and benchmarks of this package run.

use std::path::PathBuf;

/// Cargo's target folder.
pub(crate) fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../target").into())
}

/// The component of a filter, built by `cargo xtask filters`. `SLUICEGATE_FILTERS` names another folder.
pub(crate) fn component(name: &str) -> PathBuf {
    let filters = std::env::var_os("SLUICEGATE_FILTERS").map_or_else(|| target().join("filters"), PathBuf::from);
    let component = filters.join(name).with_extension("wasm");
    assert!(component.exists(), "{} is missing: run `cargo xtask filters`", component.display());
    component
}
