//! What people who write filters need: from a crate to a component that Sluicegate runs.
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::{env, fs, io};

mod component;
pub mod toolchain;

pub use component::{ComponentError, componentize};

/// A component that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Where it was written.
    pub path: PathBuf,
    /// How many bytes it has.
    pub size: usize,
    /// The interfaces that it imports.
    pub imports: Vec<String>,
}

/// Why a filter could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// There is nothing to build.
    #[error("there is no Cargo.toml in {}: name the folder of a filter's crate", .0.display())]
    NoManifest(PathBuf),
    /// The compiler can't make WebAssembly, and could not be made to.
    #[error(transparent)]
    Toolchain(#[from] toolchain::SetUpError),
    /// Cargo could not be run.
    #[error("couldn't run cargo: {0}")]
    Run(#[source] io::Error),
    /// Cargo has said what is wrong by itself.
    #[error("cargo failed ({0}); its messages above say why")]
    Cargo(ExitStatus),
    /// Cargo built no dynamic library.
    #[error(
        "the crate in {} makes no `cdylib`, which is what becomes a component: put `[lib]` and \
         `crate-type = [\"cdylib\"]` into its Cargo.toml", .0.display()
    )]
    NotACdylib(PathBuf),
    /// Cargo built several filters where one was asked for.
    #[error("{} holds several filters ({}): name the folder of one, or build them all with `--workspace`", .0.display(), .1.join(", "))]
    Several(PathBuf, Vec<String>),
    /// What was built is no filter.
    #[error("{name}: {error}")]
    Component {
        /// The filter.
        name: String,
        /// What is wrong with it.
        error: ComponentError,
    },
    /// A file could not be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Builds the filter whose crate is in `dir` and writes its component to `output`, a file or an existing
/// folder; without one, to `filters/NAME.wasm` in cargo's target folder. Cargo's own messages go to standard
/// error.
///
/// # Errors
/// See [`BuildError`].
pub fn build(dir: &Path, output: Option<&Path>) -> Result<Built, BuildError> {
    let manifest = manifest(dir)?;
    let mut modules = compile(dir, &[])?;
    if let [_, _, ..] = &modules[..] {
        // The crate's own library, should libraries that it depends on be filters too.
        modules.retain(|module| module.manifest == manifest);
    }
    match &modules[..] {
        [] => Err(BuildError::NotACdylib(dir.to_owned())),
        [module] => match output {
            Some(path) if !path.is_dir() => module.write(path),
            Some(folder) => module.write(&folder.join(module.file_name())),
            None => module.write(&module.default_folder().join(module.file_name())),
        },
        several => {
            let names = several.iter().map(|module| module.name.clone()).collect();
            Err(BuildError::Several(dir.to_owned(), names))
        }
    }
}

/// Builds every filter of the cargo workspace in `dir`, with one run of cargo, and writes each to
/// `out_dir/NAME.wasm`.
///
/// # Errors
/// See [`BuildError`].
pub fn build_workspace(dir: &Path, out_dir: &Path) -> Result<Vec<Built>, BuildError> {
    manifest(dir)?;
    let modules = compile(dir, &["--workspace"])?;
    if modules.is_empty() {
        return Err(BuildError::NotACdylib(dir.to_owned()));
    }
    modules.iter().map(|module| module.write(&out_dir.join(module.file_name()))).collect()
}

/// A core module as cargo has built it.
struct Module {
    /// The library's name: underscores, no dashes.
    name: String,
    manifest: PathBuf,
    path: PathBuf,
}

/// What cargo says of each thing it has built; of what else it says nothing is used.
#[derive(serde::Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(serde::Deserialize)]
struct Target {
    name: String,
    crate_types: Vec<String>,
}

fn manifest(dir: &Path) -> Result<PathBuf, BuildError> {
    dir.join("Cargo.toml").canonicalize().map_err(|_| BuildError::NoManifest(dir.to_owned()))
}

/// Runs cargo in `dir`, where the crate's own cargo configuration applies, and lists the libraries it made.
fn compile(dir: &Path, arguments: &[&str]) -> Result<Vec<Module>, BuildError> {
    let mut cargo = toolchain::set_up(dir)?.build();
    cargo.args(arguments).arg("--message-format=json-render-diagnostics").current_dir(dir);
    if let Some(target_dir) = env::var_os("CARGO_TARGET_DIR") {
        // A relative one is meant from here, not from the crate's folder.
        cargo.env("CARGO_TARGET_DIR", std::path::absolute(target_dir).map_err(BuildError::Run)?);
    }
    let output = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output().map_err(BuildError::Run)?;
    if !output.status.success() {
        return Err(BuildError::Cargo(output.status));
    }
    let messages = output.stdout.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    Ok(messages.filter_map(Module::from_message).collect())
}

impl Module {
    fn from_message(message: Message) -> Option<Self> {
        let target = message.target.filter(|target| target.crate_types.iter().any(|kind| kind == "cdylib"))?;
        let path = message.filenames.into_iter().find(|path| path.extension() == Some(OsStr::new("wasm")))?;
        let manifest = message.manifest_path?.canonicalize().ok()?;
        (message.reason == "compiler-artifact").then(|| Self { name: target.name.replace('-', "_"), manifest, path })
    }

    fn file_name(&self) -> String {
        format!("{}.wasm", self.name)
    }

    /// `filters` in cargo's target folder, three levels above the module: target, profile, file.
    fn default_folder(&self) -> PathBuf {
        self.path.ancestors().nth(3).unwrap_or(Path::new("")).join("filters")
    }

    /// Makes a component of the module and writes it to `path`, in one step for whoever reads it meanwhile.
    fn write(&self, path: &Path) -> Result<Built, BuildError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| BuildError::File { path, error }
        };
        let wrong = |error| BuildError::Component { name: self.name.clone(), error };
        let core = fs::read(&self.path).map_err(failed(&self.path))?;
        let component = componentize(&core).map_err(wrong)?;
        let imports = component::imports(&component).map_err(wrong)?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed(folder))?;
        }
        let partial = path.with_extension("wasm.partial");
        fs::write(&partial, &component).map_err(failed(&partial))?;
        fs::rename(&partial, path).map_err(failed(path))?;
        Ok(Built { path: path.to_owned(), size: component.len(), imports })
    }
}

impl fmt::Display for Built {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} KiB", self.path.display(), self.size.div_ceil(1024))?;
        if !self.imports.is_empty() {
            write!(f, ", imports {}", self.imports.join(", "))?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests;
