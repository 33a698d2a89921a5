//! `file`: OTLP JSON, a request a line.
use std::{
    fs,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    Cause,
    turn::{Turn, heavy, until},
};
use crate::{
    json,
    payload::Payload,
    receive::{Request, Response},
};

/// A file that lines are appended to. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct File {
    path: Arc<Path>,
    /// `None` until the first use.
    lines: Arc<Mutex<Option<Lines>>>,
    /// Whether the file may have been renamed or removed, so that the next request looks.
    is_doubtful: Arc<AtomicBool>,
    /// Only one request writes at a time, so that lines never mix.
    turn: Turn,
}

/// An open file, of which every line is whole.
#[derive(Debug)]
struct Lines {
    file: fs::File,
    /// Whether it can be cut. A pipe, a terminal or another device can't.
    is_regular: bool,
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
        Ok(Self {
            path: PathBuf::from(path).into(),
            lines: Arc::default(),
            is_doubtful: Arc::default(),
            turn: Turn::new(),
        })
    }

    /// Opens the file, and creates it where there is none. One that is open is opened anew by the next request, if the
    /// path leads to another file by now: this never waits for those that write.
    pub(super) fn open(&self) -> io::Result<()> {
        // The system opens a named pipe no sooner than somebody reads it, which is for the first request to wait for.
        if fs::metadata(&self.path).is_ok_and(|file| file.file_type().is_fifo()) {
            return Ok(());
        }
        let lines = match self.lines.try_lock() {
            Ok(lines) => Some(lines),
            Err(TryLockError::Poisoned(lines)) => Some(lines.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        match lines {
            Some(mut lines) if lines.is_none() => *lines = Some(Lines::open(&self.path)?),
            _ => self.is_doubtful.store(true, Ordering::Relaxed),
        }
        Ok(())
    }

    /// Appends `request`, at most until its deadline. When this returns, the operating system has the whole line.
    pub(super) async fn export(&self, request: Request<Payload>) -> Result<Response, Cause> {
        until(request.deadline, self.write(request)).await.map(|()| Response::default())
    }

    async fn write(&self, request: Request<Payload>) -> Result<(), Cause> {
        // Neither the conversion nor a slow disk may hold up the requests that share this thread.
        let held = request.held.clone();
        let line = heavy(move || {
            let request = request.map_body(Payload::whole);
            let mut line = json::to_json(request.signal, &request.body)?;
            line.push(b'\n');
            request.charge(line.len());
            Ok(line)
        })
        .await?;
        let this = self.clone();
        self.turn
            .run(move || {
                let _held = held;
                this.append(&line)
            })
            .await
    }

    fn append(&self, line: &[u8]) -> io::Result<()> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_doubtful.swap(false, Ordering::Relaxed)
            && lines.as_ref().is_some_and(|lines| lines.is_elsewhere(&self.path))
        {
            *lines = None;
        }
        let lines = match &mut *lines {
            Some(lines) => lines,
            none => none.insert(Lines::open(&self.path)?),
        };
        lines.append(line)
    }
}

impl Lines {
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(path)?;
        let kind = file.metadata()?;
        if kind.is_file() && ends_within_a_line(path)? {
            // A line that a crash cut off stays alone: the next one does not continue it.
            file.write_all(b"\n")?;
        }
        Ok(Self { file, is_regular: kind.is_file(), torn: None })
    }

    /// Whether `path` leads to another file by now, or to none.
    fn is_elsewhere(&self, path: &Path) -> bool {
        let identity = |file: fs::Metadata| (file.dev(), file.ino());
        let (this, there) = (self.file.metadata().map(identity), fs::metadata(path).map(identity));
        self.is_regular && this.ok() != there.ok()
    }

    /// Appends all of `line` or nothing; what a pipe or a device has taken can't be taken back.
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if !self.is_regular {
            return self.file.write_all(line);
        }
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

/// Whether the file at `path` has an end that is no line's. One that may only be written is taken as it is.
fn ends_within_a_line(path: &Path) -> io::Result<bool> {
    let mut file = match fs::File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => return Ok(false),
        file => file?,
    };
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests;
