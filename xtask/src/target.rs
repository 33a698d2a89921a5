//! The WebAssembly target that filters compile for.
use std::path::Path;

use anyhow::{Result, bail};

use crate::command::Step;

const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's compiler, the sources of its standard library, and a linker, for where rustup can't download.
const PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld-19"];

/// Sees to it that filters can be compiled. Says nothing where they can be already.
///
/// # Errors
/// When neither rustup nor Debian's packages could be had.
pub(crate) fn set_up() -> Result<()> {
    if installed() || debian() {
        return Ok(());
    }
    let rustup = Step::new("rustup").args(["target", "add", TARGET]);
    if rustup.run("adding the WebAssembly target").is_ok() && installed() {
        return Ok(());
    }
    if Path::new("/usr/bin/apt-get").exists() && root_user() {
        // Package lists may be missing or old; where they can't be refreshed the old ones may do.
        let _ = Step::new("apt-get").args(["update", "--quiet"]).run("refreshing Debian's package lists");
        let install = Step::new("apt-get").args(["install", "--yes", "--no-install-recommends"]).args(PACKAGES);
        if install.run("installing Debian's Rust for WebAssembly").is_ok() && debian() {
            return Ok(());
        }
    }
    bail!(
        "the Rust toolchain lacks the target {TARGET}. Add it with one of:\n  \
         rustup target add {TARGET}\n  \
         sudo apt-get install --no-install-recommends {}   # Debian",
        PACKAGES.join(" ")
    )
}

fn installed() -> bool {
    let sysroot = Step::new("rustc").args(["--print", "sysroot"]).output();
    sysroot.is_some_and(|sysroot| Path::new(&sysroot).join("lib/rustlib").join(TARGET).exists())
}

/// Whether Debian's packages are there.
fn debian() -> bool {
    ["bin/rustc", "bin/cargo", "bin/wasm-ld-19", "lib/rustlib/src/rust/library/std"]
        .iter()
        .all(|path| Path::new("/usr").join(path).exists())
}

fn root_user() -> bool {
    Step::new("id").args(["-u"]).output().as_deref() == Some("0")
}
