//! A real Collector, built by the Collector's own builder.
use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::command::{Step, root, target_dir};

/// What was built.
#[derive(Debug)]
pub(crate) struct Collector {
    /// Where it is.
    pub(crate) program: PathBuf,
    /// Its version.
    pub(crate) version: String,
}

/// The one of the tests.
pub(crate) const TESTED: &str = "tests/collector/builder.yaml";
/// The one that is compared where records are routed.
pub(crate) const ROUTING: &str = "load/peers/builder.yaml";

/// Builds the Collector that `manifest` describes within `folder`, unless that was done before.
///
/// # Errors
/// When Go is missing or the build fails.
pub(crate) fn build(manifest: &str, folder: &str) -> Result<Collector> {
    let manifest = root().join(manifest);
    let text = fs::read_to_string(&manifest).with_context(|| format!("can't read {}", manifest.display()))?;
    let version = version(&text).with_context(|| format!("{} lacks dist.version", manifest.display()))?;
    let folder = target_dir().join(folder);
    let collector = Collector { program: folder.join("build/collector"), version };
    // A copy of the manifest is left behind only by a build that went well.
    let done = folder.join("builder.yaml");
    if collector.program.exists() && fs::read_to_string(&done).is_ok_and(|built| built == text) {
        return Ok(collector);
    }
    if Step::new("go").args(["version"]).output().is_none() {
        bail!("Go is missing, and the Collector is built with it: install it from https://go.dev/dl/ and try again");
    }
    fs::create_dir_all(&folder).with_context(|| format!("can't create {}", folder.display()))?;
    let builder = format!("go.opentelemetry.io/collector/cmd/builder@v{}", collector.version);
    go("go", &folder)
        .args(["install", &builder])
        .env("GOBIN", folder.join("bin"))
        .run("building the Collector's builder")?;
    go(folder.join("bin/builder"), &folder).arg("--config").arg(&manifest).run("building the Collector")?;
    fs::write(&done, text).with_context(|| format!("can't write {}", done.display()))?;
    Ok(collector)
}

/// A program that calls Go, in `folder`.
fn go(program: impl AsRef<std::ffi::OsStr>, folder: &Path) -> Step {
    // The folder lies within this repository, whose state is no part of the Collector's version.
    let flags = std::env::var("GOFLAGS").unwrap_or_default();
    Step::new(program).within(folder).env("GOFLAGS", format!("{flags} -buildvcs=false").trim())
}

/// The value of `version` under `dist`.
fn version(manifest: &str) -> Option<String> {
    manifest.lines().find_map(|line| line.strip_prefix("  version: ")).map(str::to_owned)
}
