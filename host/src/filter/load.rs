//! From a file to a component that fits the world.
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use sha2::{Digest as _, Sha256};
use wasmtime::component::types::{self, ComponentItem};
use wasmtime::component::{Component, InstancePre};

use super::Failure;
use super::cache::{Cache, Source};
use super::engine::Engine;
use super::instance::State;
use super::pace::Pace;
use crate::hex::hex;

/// The interfaces that a component may import, by the start of their names. Anything else is named in the error.
const OFFERED: [&str; 9] = [
    "sluicegate:filter/logs@0.1.",
    "sluicegate:filter/logging@0.1.",
    "sluicegate:filter/clock@0.1.",
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:io/",
    "wasi:random/",
    "wasi:sockets/",
];

/// The largest component that is read, in bytes: interpreters with their libraries have some tens of MiB. Compiling takes
/// many times as much memory.
const MAX_SIZE: u64 = 256 << 20;

/// The functions that a component must export. Toolchains add others of their own, which nobody calls.
const REQUIRED: [&str; 2] = ["configure", "process"];

/// Why a processor can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The component's file can't be read.
    #[error("can't read the component {}: {reason}", component.display())]
    Read {
        /// The file.
        component: PathBuf,
        /// The system's reason.
        reason: io::Error,
    },
    /// The file isn't WebAssembly at all.
    #[error("{} is not WebAssembly: it starts with {start:?}", component.display())]
    NotWasm {
        /// The file.
        component: PathBuf,
        /// Its first bytes, as text.
        start: String,
    },
    /// The file is a core module, as compilers write it.
    #[error("{} is a core WebAssembly module, not a component", component.display())]
    CoreModule {
        /// The file.
        component: PathBuf,
    },
    /// The component was made for something else, or for another version of the contract.
    #[error("{} is no filter for this version of Sluicegate: {}", component.display(), differences.join("; "))]
    OtherWorld {
        /// The file.
        component: PathBuf,
        /// Each import that isn't offered and each export that is missing.
        differences: Vec<String>,
    },
    /// The component is damaged, or uses what wasmtime doesn't support.
    #[error("can't compile {}: {reason}", component.display())]
    Compile {
        /// The file.
        component: PathBuf,
        /// The compiler's reason.
        reason: String,
    },
    /// `configure` trapped, took too long or asked for too much memory.
    #[error("can't start {}: {failure}", component.display())]
    Start {
        /// The file.
        component: PathBuf,
        /// What happened.
        failure: Failure,
    },
    /// The filter refuses its settings. The text is the filter's own.
    #[error("the filter refuses its settings: {0}")]
    Settings(String),
}

impl LoadError {
    /// What to do about it, where that can be told.
    #[must_use]
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::NotWasm { .. } => Some("give the `.wasm` file that `sluicegate filter build` writes"),
            Self::CoreModule { .. } => {
                Some("build the filter with `sluicegate filter build`, which makes it a component")
            }
            Self::OtherWorld { .. } => {
                Some("build the filter against `sluicegate:filter@0.1.0` and its world `filter`")
            }
            Self::Read { .. } | Self::Compile { .. } | Self::Start { .. } | Self::Settings(_) => None,
        }
    }
}

/// A component that is compiled and fits.
#[derive(Clone)]
pub(super) struct Loaded {
    pub(super) component: InstancePre<State>,
    /// The file's size in bytes.
    pub(super) size: usize,
    /// The SHA-256 of the file, in hexadecimal digits.
    pub(super) digest: String,
    /// How often its instances yield.
    pub(super) pace: Arc<Pace>,
}

/// Reads and compiles `path`, away from the threads that serve: an interpreter takes seconds to compile. A file with the same
/// content is compiled once.
pub(super) async fn component(engine: &Engine, path: &Path) -> Result<Loaded, LoadError> {
    let reading = path.to_owned();
    let (size, digest, bytes) = away(move || read(&reading)).await?;
    let known = engine.compiled().get(&digest).cloned();
    let component = match known {
        Some(component) => component,
        None => {
            let (wasmtime, cache, path) = (engine.wasmtime.clone(), engine.cache.clone(), path.to_owned());
            let component = away(move || compile(&wasmtime, cache.as_ref(), &path, &bytes)).await?;
            engine.compiled().entry(digest.clone()).or_insert(component).clone()
        }
    };

    let mut differences = differences(&engine.wasmtime, &component.component_type());
    if differences.is_empty() {
        match engine.linker.instantiate_pre(&component) {
            Ok(component) => return Ok(Loaded { component, size, digest, pace: Arc::clone(&engine.pace) }),
            // The names fit and the types don't.
            Err(error) => differences.push(format!("{error:#}")),
        }
    }
    Err(LoadError::OtherWorld { component: path.to_owned(), differences })
}

/// Does what takes long away from the threads that serve.
async fn away<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// The content of a file that is a component by its first bytes, behind its size and its digest.
fn read(path: &Path) -> Result<(usize, String, Vec<u8>), LoadError> {
    let component = path.to_owned();
    let bytes = match content(path) {
        Ok(bytes) => bytes,
        Err(reason) => return Err(LoadError::Read { component, reason }),
    };
    // The magic number, the version, then the layer: 0 for modules, 1 for components.
    match bytes.get(..8) {
        Some([b'\0', b'a', b's', b'm', _, _, 0, 0]) => Err(LoadError::CoreModule { component }),
        Some([b'\0', b'a', b's', b'm', ..]) => Ok((bytes.len(), hex(&Sha256::digest(&bytes)), bytes)),
        _ => {
            let start = String::from_utf8_lossy(&bytes[..bytes.len().min(8)]).into_owned();
            Err(LoadError::NotWasm { component, start })
        }
    }
}

fn compile(
    engine: &wasmtime::Engine,
    cache: Option<&Cache>,
    path: &Path,
    bytes: &[u8],
) -> Result<Component, LoadError> {
    let compiled = match cache {
        Some(cache) => cache.component(engine, bytes),
        None => Component::from_binary(engine, bytes).map(|compiled| (compiled, Source::Compiler)),
    };
    let (compiled, source) =
        compiled.map_err(|error| LoadError::Compile { component: path.to_owned(), reason: format!("{error:#}") })?;
    tracing::debug!(component = %path.display(), ?source, "compiled code is ready");
    Ok(compiled)
}

/// The content of a file that can be a component: neither a pipe, which nobody may ever write to, nor one without end.
fn content(path: &Path) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(io::Error::other(format!("it is larger than {} MiB", MAX_SIZE >> 20)));
    }
    Ok(bytes)
}

/// What the component imports that isn't there, and what it should export and doesn't.
fn differences(engine: &wasmtime::Engine, component: &types::Component) -> Vec<String> {
    let imports = component
        .imports(engine)
        // Types that the world names come from the interfaces, which are imports of their own.
        .filter(|(_, import)| !matches!(import.ty, ComponentItem::Type(_) | ComponentItem::Resource(_)))
        .filter(|(name, _)| !OFFERED.iter().any(|offered| name.starts_with(offered)))
        .map(|(name, _)| format!("it imports `{name}`, which isn't offered"));
    let exports = REQUIRED
        .into_iter()
        .filter(|name| {
            let export = component.get_export(engine, name);
            !export.is_some_and(|export| matches!(export.ty, ComponentItem::ComponentFunc(_)))
        })
        .map(|name| format!("it doesn't export a function `{name}`"));
    imports.chain(exports).collect()
}
