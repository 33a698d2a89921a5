//! The programs in `tests/sdks`, which use the official SDKs. Each is made ready to run in a folder of its own.
use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::command::{Step, root, target_dir};

/// An SDK, by its language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sdk {
    /// Needs python3 with its `venv`
    Python,
    /// Needs Node.js with npm
    Javascript,
    /// Needs Go
    Go,
    /// Needs a JDK and Maven
    Java,
    /// Needs nothing that the rest doesn't
    Rust,
}

/// How a program is built.
struct Recipe {
    /// The folder's name in `tests/sdks`.
    name: &'static str,
    /// All of its files. When one changes, it is built anew.
    files: &'static [&'static str],
    /// What the machine must have, as commands that do nothing.
    tools: &'static [&'static [&'static str]],
    /// The commands that build it in a folder with its files. Those that begin with `./` lie in there.
    steps: &'static [&'static [&'static str]],
}

/// Makes the programs of `sdks` ready, in `target/sdks`, but for those that are.
///
/// # Errors
/// When a language is missing, or a build fails.
pub(crate) fn prepare(sdks: &[Sdk]) -> Result<()> {
    let recipes: Vec<_> = sdks.iter().map(|sdk| sdk.recipe()).collect();
    // All that is missing is said at once, and before anything is built.
    let missing: Vec<_> = recipes.iter().flat_map(Recipe::missing).collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        bail!(
            "the official SDKs are tested with what is missing here: {missing}. Install it, or choose SDKs by --sdks"
        );
    }
    recipes.iter().try_for_each(Recipe::prepare)
}

impl Sdk {
    /// The module in which its tests are.
    pub(crate) fn tests(self) -> String {
        format!("sdks::{}::", self.recipe().name)
    }

    const fn recipe(self) -> Recipe {
        match self {
            Self::Python => Recipe {
                name: "python",
                files: &["emit.py", "requirements.txt"],
                tools: &[&["python3", "--version"]],
                steps: &[
                    &["python3", "-m", "venv", "venv"],
                    &["./venv/bin/pip", "install", "--quiet", "--no-deps", "--requirement", "requirements.txt"],
                ],
            },
            Self::Javascript => Recipe {
                name: "javascript",
                files: &["emit.js", "package.json", "package-lock.json"],
                tools: &[&["node", "--version"], &["npm", "--version"]],
                steps: &[&["npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]],
            },
            Self::Go => Recipe {
                name: "go",
                files: &["main.go", "go.mod", "go.sum"],
                tools: &[&["go", "version"]],
                // The folder lies within this repository, whose state is no part of the program's version.
                steps: &[&["go", "build", "-buildvcs=false", "-o", "emit", "."]],
            },
            Self::Java => Recipe {
                name: "java",
                files: &["src/Emit.java", "pom.xml"],
                tools: &[&["javac", "-version"], &["mvn", "--version"]],
                steps: &[&["mvn", "--quiet", "--batch-mode", "process-classes"]],
            },
            Self::Rust => Recipe {
                name: "rust",
                files: &["src/main.rs", "Cargo.toml", "Cargo.lock"],
                tools: &[],
                steps: &[&["cargo", "build", "--quiet", "--locked"]],
            },
        }
    }
}

impl Recipe {
    fn missing(&self) -> impl Iterator<Item = &'static str> {
        self.tools.iter().filter(|tool| command(tool, root()).output().is_none()).map(|tool| tool[0])
    }

    fn prepare(&self) -> Result<()> {
        let (source, folder) = (root().join("tests/sdks").join(self.name), target_dir().join("sdks").join(self.name));
        let read = |file: &&str| fs::read_to_string(source.join(file)).with_context(|| format!("can't read {file}"));
        let texts = self.files.iter().map(read).collect::<Result<Vec<_>>>()?;
        // Left behind only by a build that went well.
        let (done, built) = (folder.join("built-from"), texts.concat());
        if fs::read_to_string(&done).is_ok_and(|before| before == built) {
            return Ok(());
        }
        for (file, text) in self.files.iter().zip(&texts) {
            write(&folder.join(file), text)?;
        }
        let mut what = format!("preparing the SDK for {}", self.name);
        for step in self.steps {
            command(step, &folder).run(&std::mem::take(&mut what))?;
        }
        write(&done, &built)
    }
}

/// The command `words`, run in `folder`.
fn command(words: &[&str], folder: &Path) -> Step {
    let program = words[0].strip_prefix("./").map_or_else(|| PathBuf::from(words[0]), |path| folder.join(path));
    words[1..].iter().fold(Step::new(program), |step, word| step.arg(word)).within(folder)
}

fn write(path: &Path, text: &str) -> Result<()> {
    let write = || {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        fs::write(path, text)
    };
    write().with_context(|| format!("can't write {}", path.display()))
}
