//! `file`: OTLP JSON, a request a line.
use std::{
    fs,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::Cause;
use crate::{
    json,
    receive::{Request, Response},
};

/// A file that lines are appended to. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct File {
    path: Arc<Path>,
    /// Only one request writes at a time, so that lines never mix. `None` until the first use.
    lines: Arc<Mutex<Option<Lines>>>,
}

/// An open file, of which every line is whole.
#[derive(Debug)]
struct Lines {
    file: fs::File,
    /// Where the last whole line ends, if something was left behind it that could not be taken back.
    torn: Option<u64>,
}

impl File {
    /// Nothing is created yet.
    ///
    /// # Errors
    /// When the folder is not there, or `path` is one. The text says what to do.
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        if !folder.is_dir() {
            let text = format!("the folder {} does not exist: create it first", folder.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        if path.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "this is a folder, not a file"));
        }
        Ok(Self { path: PathBuf::from(path).into(), lines: Arc::default() })
    }

    /// Opens the file, and creates it where there is none.
    pub(super) fn open(&self) -> io::Result<()> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.is_none() {
            *lines = Some(Lines::open(&self.path)?);
        }
        Ok(())
    }

    /// Appends `request`. When this returns, the operating system has the whole line.
    pub(super) async fn export(&self, request: Request) -> Result<Response, Cause> {
        let this = self.clone();
        // Neither the conversion nor a slow disk may hold up the requests that share this thread.
        let written = tokio::task::spawn_blocking(move || {
            let mut line = json::to_json(request.signal, &request.body)?;
            line.push(b'\n');
            this.open()?;
            let mut lines = this.lines.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(lines.as_mut().map_or(Ok(()), |lines| lines.append(&line))?)
        });
        match written.await {
            Ok(result) => result.map(|()| Response::default()),
            Err(panic) => Err(Cause::Write(io::Error::other(panic))),
        }
    }
}

impl Lines {
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = fs::OpenOptions::new().read(true).append(true).create(true).open(path)?;
        // A line that a crash cut off stays alone: the next one does not continue it.
        if file.seek(SeekFrom::End(0))? > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        Ok(Self { file, torn: None })
    }

    /// Appends all of `line` or nothing.
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if let Some(end) = self.torn {
            self.file.set_len(end)?;
            self.torn = None;
        }
        // Asked for each time, because others may cut the file when they rotate it.
        let end = self.file.metadata()?.len();
        self.file.write_all(line).inspect_err(|_| {
            if self.file.set_len(end).is_err() {
                self.torn = Some(end);
            }
        })
    }
}

#[cfg(test)]
mod tests;
