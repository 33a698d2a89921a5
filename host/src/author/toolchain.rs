//! Sets up the compiler for filters: the target `wasm32-unknown-unknown`.
//!
//! This file uses the standard library alone, so that the chores in `xtask`, which must build quickly, can include
//! it as it is.
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What filters compile for. It has no WASI, so a component imports nothing but what its world names.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Lets searches through text look at sixteen bytes at once. What else the crate's own cargo configuration sets stays.
const FLAGS: &str = "target.wasm32-unknown-unknown.rustflags=['-Ctarget-feature=+simd128']";

/// Where rustup's toolchains can't be had, Debian's own compiler can build the standard library from these.
const DEBIAN_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld-19"];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_LINKER: &str = "/usr/bin/wasm-ld-19";

/// A compiler that can build filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toolchain {
    /// The one on the path, with the target's standard library.
    Installed,
    /// Debian's, which builds the standard library along with the first filter of a target folder.
    Debian,
}

/// The compiler can't build filters, and nothing that was tried helped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetUpError;

/// Finds a compiler that can build the crate in `dir`, and installs what is missing: with rustup, or as root on
/// Debian with its own packages. It is silent and quick where everything is there.
///
/// # Errors
/// [`SetUpError`], whose text has the commands to run by hand.
pub fn set_up(dir: &Path) -> Result<Toolchain, SetUpError> {
    if is_installed(dir) {
        return Ok(Toolchain::Installed);
    }
    if run(Command::new("rustup").args(["target", "add", TARGET]).current_dir(dir)) && is_installed(dir) {
        return Ok(Toolchain::Installed);
    }
    if has_debian() || (is_root() && install_debian() && has_debian()) {
        return Ok(Toolchain::Debian);
    }
    Err(SetUpError)
}

impl Toolchain {
    /// `cargo build` for the target, optimised. The caller says where, and adds arguments.
    #[must_use]
    pub fn build(self) -> Command {
        let mut cargo = Command::new(match self {
            Self::Installed => "cargo",
            Self::Debian => DEBIAN_CARGO,
        });
        cargo.args(["build", "--release", "--target", TARGET, "--config", FLAGS]);
        if self == Self::Debian {
            // Building the standard library is for nightly compilers unless one insists.
            cargo.arg("-Zbuild-std=std,panic_abort").env("RUSTC_BOOTSTRAP", "1");
            cargo.env("RUSTC", DEBIAN_RUSTC).env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", DEBIAN_LINKER);
        }
        cargo
    }
}

fn is_installed(dir: &Path) -> bool {
    sysroot("rustc", dir).is_some_and(|sysroot| sysroot.join("lib/rustlib").join(TARGET).is_dir())
}

fn has_debian() -> bool {
    let sources = |sysroot: PathBuf| sysroot.join("lib/rustlib/src/rust/library/std").is_dir();
    [DEBIAN_CARGO, DEBIAN_LINKER].iter().all(|file| Path::new(file).exists())
        && sysroot(DEBIAN_RUSTC, Path::new("/")).is_some_and(sources)
}

/// Where a compiler keeps its libraries. A toolchain file in `dir` may choose the compiler.
fn sysroot(rustc: &str, dir: &Path) -> Option<PathBuf> {
    let output = Command::new(rustc).args(["--print", "sysroot"]).current_dir(dir).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(path.trim()))
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn install_debian() -> bool {
    let apt_get =
        |arguments: &[&str]| run(Command::new("apt-get").args(arguments).args(["-y", "--no-install-recommends"]));
    let install = [&["install"], &DEBIAN_PACKAGES[..]].concat();
    // The package lists may be missing or old.
    apt_get(&install) || (apt_get(&["update"]) && apt_get(&install))
}

/// Runs a command and tells so, on standard error as cargo does: standard output belongs to the caller.
fn run(command: &mut Command) -> bool {
    eprintln!("{:>12} {command:?}", "Running");
    command.stdin(Stdio::null()).stdout(std::io::stderr()).status().is_ok_and(|status| status.success())
}

impl fmt::Display for SetUpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packages = DEBIAN_PACKAGES.join(" ");
        write!(
            f,
            "the compiler lacks the target {TARGET}; install it with\n    rustup target add {TARGET}\nor, on Debian, \
             as root with\n    apt-get install --no-install-recommends {packages}"
        )
    }
}

impl std::error::Error for SetUpError {}
