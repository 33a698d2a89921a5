//! Runs other programs and says what they are for.
use std::{
    env,
    ffi::OsStr,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// A program to run, from the repository's root, with its builds in [`target_dir`].
#[derive(Debug)]
pub(crate) struct Step(Command);

impl Step {
    /// Will run `program`.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        // Everything builds into one folder, the filters' workspace included.
        command.current_dir(root()).env("CARGO_TARGET_DIR", target_dir());
        Self(command)
    }

    /// Will run the cargo that runs this program.
    pub(crate) fn cargo(subcommand: &str) -> Self {
        Self::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into())).arg(subcommand)
    }

    /// Adds an argument.
    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.0.arg(argument);
        self
    }

    /// Adds arguments.
    pub(crate) fn args<const N: usize>(mut self, arguments: [&str; N]) -> Self {
        self.0.args(arguments);
        self
    }

    /// Sets a variable of the environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Will run in another folder.
    pub(crate) fn within(mut self, folder: &Path) -> Self {
        self.0.current_dir(folder);
        self
    }

    /// Runs it; `what` is shown before, unless it is empty.
    ///
    /// # Errors
    /// When it can't be started or fails.
    pub(crate) fn run(mut self, what: &str) -> Result<()> {
        announce(what);
        let status = self.0.status().with_context(|| self.unstartable())?;
        self.check(status.success())
    }

    /// Runs it and hands on its standard output, line by line, as it comes.
    ///
    /// # Errors
    /// When it can't be started or fails.
    pub(crate) fn lines(mut self, what: &str, mut line: impl FnMut(&str)) -> Result<()> {
        announce(what);
        let mut child = self.0.stdout(Stdio::piped()).spawn().with_context(|| self.unstartable())?;
        if let Some(output) = child.stdout.take() {
            for text in BufReader::new(output).split(b'\n') {
                line(&String::from_utf8_lossy(&text?));
            }
        }
        self.check(child.wait()?.success())
    }

    /// Runs it without showing anything, and returns its standard output, or nothing where it can't be started or
    /// fails.
    pub(crate) fn output(mut self) -> Option<String> {
        let output = self.0.stderr(Stdio::null()).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(text)
    }

    fn check(&self, success: bool) -> Result<()> {
        if success {
            return Ok(());
        }
        bail!("{:?} failed; what it wrote above says why", self.0)
    }

    fn unstartable(&self) -> String {
        format!("can't start {}", self.0.get_program().display())
    }
}

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// The folder that cargo builds into: the one this program lies in.
pub(crate) fn target_dir() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    program.ancestors().nth(2).map_or_else(|| root().join("target"), Path::to_owned)
}

fn announce(what: &str) {
    if !what.is_empty() {
        eprintln!("xtask: {what}");
    }
}
