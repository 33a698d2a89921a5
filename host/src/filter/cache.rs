//! Compiled components on disk, so that a component is compiled once and not at every start.
//!
//! A file holds native code, which nothing can check any more once it runs. So it is used only where nobody but this
//! user, or root, can have written it, and where all of it is as it was written: everything else is compiled anew and replaced.
//! The name of a file says what it is: a digest over the component, the engine's settings and wasmtime's version.

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use crate::hex::hex;

/// Starts every file, and changes with what follows: the key, the payload's length (64 bits, big endian), the payload's
/// digest, and the payload, which is what wasmtime serializes.
const MAGIC: [u8; 16] = *b"sluicegate cwasm";

/// Ends the names of files, behind the key in hexadecimal digits.
const SUFFIX: &str = ".cwasm";

/// Ends the names of files that are being written.
const UNFINISHED: &str = ".unfinished";

/// Most bytes of all files: hundreds of filters in Rust, or dozens of interpreters. Beyond it the files that were not
/// used for the longest time are removed.
const LIMIT: u64 = 1 << 30;

/// Nobody writes a file for so long: what is older was left by a process that ended midway.
const STALE: Duration = Duration::from_secs(60 * 60);

/// Others may write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// A folder of compiled components. Clones share it, as do any number of processes.
#[derive(Debug, Clone)]
pub struct Cache(Arc<Folder>);

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    limit: u64,
    /// What is wrong with the folder or its disk is wrong for every component: saying it once is enough.
    is_warned: AtomicBool,
}

/// Where a component comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// It was compiled.
    Compiler,
    /// It had been compiled before.
    Cache,
}

/// What a file has to be for: SHA-256 over everything that the compiled code depends on.
type Key = [u8; 32];

/// What a file in the folder is, by its name.
enum Kept {
    Finished,
    /// One that is being written.
    Unfinished,
}

/// Why there is nothing to use.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    /// There is no such file.
    #[error("it is not there")]
    Missing,
    /// The file is no longer what was written.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// Somebody else may have written it.
    #[error("{0}")]
    Foreign(String),
    #[error("it can't be read: {0}")]
    Unreadable(io::Error),
    /// wasmtime doesn't take it.
    #[error("wasmtime does not take it: {0:#}")]
    Refused(wasmtime::Error),
}

impl Cache {
    /// Keeps compiled components in `folder`, which is made when the first is written.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self::with_limit(folder, LIMIT)
    }

    fn with_limit(path: PathBuf, limit: u64) -> Self {
        Self(Arc::new(Folder { path, limit, is_warned: AtomicBool::new(false) }))
    }

    /// The usual folder: `SLUICEGATE_CACHE_DIR`, or systemd's `CACHE_DIRECTORY`, or `sluicegate` in the user's folder of
    /// caches. None where `variable` knows nothing of the environment that leads to one.
    #[must_use]
    pub fn usual_folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
        let folder = |name| variable(name).map(PathBuf::from).filter(|path| !path.as_os_str().is_empty());
        // systemd gives several, with colons in between, where a unit names several. XDG's rules leave out relative ones.
        let of_systemd = || std::env::split_paths(&variable("CACHE_DIRECTORY")?).find(|path| path.is_absolute());
        let of_user = || {
            let caches = folder("XDG_CACHE_HOME").filter(|path| path.is_absolute());
            Some(caches.or_else(|| Some(folder("HOME")?.join(".cache")))?.join("sluicegate"))
        };
        folder("SLUICEGATE_CACHE_DIR").or_else(of_systemd).or_else(of_user)
    }

    /// Takes the component `wasm` from the cache, or compiles and keeps it. Nothing that is wrong with the cache is an
    /// error: it is logged, and the component compiled.
    ///
    /// # Errors
    /// The compiler's.
    pub(super) fn component(&self, engine: &wasmtime::Engine, wasm: &[u8]) -> wasmtime::Result<(Component, Source)> {
        let compile = || Ok((Component::from_binary(engine, wasm)?, Source::Compiler));
        let Folder { path: folder, .. } = &*self.0;
        if let Err(error) =
            make(folder).map_err(Unusable::Unreadable).and_then(|()| check_owner(&fs::metadata(folder)?))
        {
            self.warn(&format!("compiled components are not kept in {}: {error}", folder.display()));
            return compile();
        }
        let key = key(engine, wasm);
        let file = folder.join(name(&key));
        match self.read(engine, &file, &key) {
            Ok(component) => return Ok((component, Source::Cache)),
            Err(Unusable::Missing) => {}
            Err(unusable) => {
                tracing::warn!(
                    "the compiled component {} is not used: {unusable}. It is compiled anew",
                    file.display()
                );
            }
        }
        let (component, source) = compile()?;
        let payload = component.serialize()?;
        if let Err(error) = self.write(&file, &key, &payload).and_then(|()| self.prune(&file)) {
            self.warn(&format!("can't keep compiled components in {}: {error}", folder.display()));
        }
        Ok((component, source))
    }

    fn read(&self, engine: &wasmtime::Engine, path: &Path, key: &Key) -> Result<Component, Unusable> {
        // A pipe would be waited for, and a link leads to what was not written here.
        if !fs::symlink_metadata(path)?.is_file() {
            return Err(Unusable::Foreign("it is no regular file".to_owned()));
        }
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        check_owner(&metadata)?;
        if metadata.len() > self.0.limit {
            return Err(Unusable::Damaged("it is larger than all files may be"));
        }
        let mut content = Vec::new();
        (&mut file).take(metadata.len()).read_to_end(&mut content)?;
        let component = deserialize(engine, payload(&content, key)?).map_err(Unusable::Refused)?;
        // The files used last are kept the longest. It stays usable where this fails.
        let _ = file.set_modified(SystemTime::now());
        Ok(component)
    }

    /// Writes a file that is whole whenever it is seen: others may look for it, or write it, at the same time.
    fn write(&self, path: &Path, key: &Key, payload: &[u8]) -> io::Result<()> {
        let unfinished = path.with_extension(format!("{:016x}{UNFINISHED}", fastrand::u64(..)));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        let written = (|| {
            file.write_all(&header(key, payload))?;
            file.write_all(payload)?;
            file.sync_all()?;
            fs::rename(&unfinished, path)
        })();
        if written.is_err() {
            // What can't be removed now is removed when it is stale.
            let _ = fs::remove_file(&unfinished);
        }
        written
    }

    /// Removes what crashed writers left, and the files that were not used for the longest time, until all others and the
    /// one just `written` are within the limit.
    fn prune(&self, written: &Path) -> io::Result<()> {
        let now = SystemTime::now();
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.0.path)? {
            let path = entry?.path();
            let Some(kept) = path.file_name().and_then(|name| Kept::of(name.to_str()?)) else { continue };
            // Somebody else may have removed it by now. What is no file is none of ours.
            let Some(metadata) = path.symlink_metadata().ok().filter(Metadata::is_file) else { continue };
            let used = metadata.modified()?;
            match kept {
                Kept::Unfinished if now.duration_since(used).is_ok_and(|age| age > STALE) => remove(&path),
                Kept::Finished if path != written => files.push((used, metadata.len(), path)),
                Kept::Unfinished | Kept::Finished => {}
            }
        }
        files.sort();
        let mut room = self.0.limit.saturating_sub(fs::metadata(written).map_or(0, |metadata| metadata.len()));
        for (_, size, path) in files.iter().rev() {
            match room.checked_sub(*size) {
                Some(left) => room = left,
                None => {
                    room = 0;
                    remove(path);
                }
            }
        }
        Ok(())
    }

    fn warn(&self, what: &str) {
        if !self.0.is_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!("{what}. Each start compiles them anew; `--cache-dir` names another folder");
        }
    }
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Unreadable(error),
        }
    }
}

/// Makes the folder, for this user alone, if there is none.
fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Whether only this user, or root, who may do anything, can have written it.
fn check_owner(metadata: &Metadata) -> Result<(), Unusable> {
    check_access(metadata.uid(), metadata.mode(), rustix::process::geteuid().as_raw())
}

fn check_access(owner: u32, mode: u32, user: u32) -> Result<(), Unusable> {
    if owner != user && owner != 0 {
        return Err(Unusable::Foreign(format!("it belongs to the user {owner}, and {user} runs this: `chown` it")));
    }
    if mode & WRITABLE_BY_OTHERS != 0 {
        let mode = mode & 0o7777;
        return Err(Unusable::Foreign(format!("others may write it, as its mode is {mode:o}: `chmod go-w` it")));
    }
    Ok(())
}

/// The payload of a file that is what it should be, byte for byte.
fn payload<'a>(content: &'a [u8], key: &Key) -> Result<&'a [u8], Unusable> {
    let damaged = |what| Err(Unusable::Damaged(what));
    let Some((head, payload)) = content.split_at_checked(header(key, &[]).len()) else {
        return damaged("it ends within its header");
    };
    if !head.starts_with(&[&MAGIC[..], key].concat()) {
        return damaged("it was written for something else");
    }
    // Length and digest of what is there must be those that were written.
    if head != header(key, payload) {
        return damaged("its content is not what was written");
    }
    Ok(payload)
}

fn header(key: &Key, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_be_bytes();
    [&MAGIC[..], key, &length, &Sha256::digest(payload)].concat()
}

fn name(key: &Key) -> String {
    hex(key) + SUFFIX
}

/// Digests the component, and what wasmtime says that its compiled code depends on: the processor and its features, the
/// settings of the engine and its compiler, and wasmtime's version, which [`Engine`](super::Engine) gives it in full.
fn key(engine: &wasmtime::Engine, wasm: &[u8]) -> Key {
    let mut digest = Settings(Sha256::new());
    digest.write(&MAGIC);
    digest.write(&Sha256::digest(wasm));
    engine.precompile_compatibility_hash().hash(&mut digest);
    digest.0.finalize().into()
}

/// Digests what wants to be hashed.
struct Settings(Sha256);

impl Hasher for Settings {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        unreachable!("nobody asks for less than the whole digest")
    }
}

#[expect(unsafe_code, reason = "compiled code can't be checked, so wasmtime leaves it to the caller to vouch for it")]
fn deserialize(engine: &wasmtime::Engine, payload: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `payload` must come from `Component::serialize`. It lies in this process' memory, where it was checked: the
    // digest says that it is what `Cache::write` wrote under a key of this component, engine and version of wasmtime,
    // and the file's and the folder's owner and permissions say that nobody but this user, or root, can have written another.
    unsafe { Component::deserialize(engine, payload) }
}

/// Removes what is not needed any more. Somebody else may have done so already, and what can't be removed does no harm.
fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::debug!("can't remove {}: {error}", path.display());
    }
}

impl Kept {
    /// What a file of this name is, if it is one that [`Cache::write`] makes.
    fn of(name: &str) -> Option<Self> {
        let is_number = |text: &str, digits| {
            text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let (key, end) = name.split_at_checked(2 * size_of::<Key>())?;
        let writer = || end.strip_prefix('.')?.strip_suffix(UNFINISHED);
        match is_number(key, 2 * size_of::<Key>()) {
            true if end == SUFFIX => Some(Self::Finished),
            true if is_number(writer()?, 16) => Some(Self::Unfinished),
            _ => None,
        }
    }
}
