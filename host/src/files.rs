//! Values made of files: read at start, and again while the program runs.
use std::{
    fmt,
    fs::File,
    io::Read as _,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::config::{Span, Spanned};

/// A value that is made anew once its files have changed. As long as they can't be used, the last one that could be
/// made stays.
pub(crate) struct Watched<T> {
    make: Box<Make<T>>,
    interval: Option<Duration>,
    state: Mutex<State<T>>,
}

/// Reads files for [`Watched`] and keeps what they hold, which tells whether they have changed.
#[derive(Default)]
pub(crate) struct Files(Vec<Vec<u8>>);

/// A file that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("can't use {}: {reason}", .path.display())]
pub struct FileError {
    /// Where the configuration names it.
    pub span: Span,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

type Make<T> = dyn Fn(&mut Files) -> Result<T, FileError> + Send + Sync;

struct State<T> {
    value: Arc<T>,
    files: Files,
    read: Instant,
    /// What is wrong right now, so that it is said once and not at each attempt.
    failure: Option<FileError>,
}

/// The largest bundles of authorities are below 1 MiB. Whatever is larger is another file, or one without end.
const MAX_SIZE: u64 = 4 << 20;

impl<T: Send + Sync + 'static> Watched<T> {
    /// Makes the value, and makes it again when it is asked for and `interval` has passed.
    ///
    /// # Errors
    /// What `make` finds wrong.
    pub(crate) fn new(
        interval: Option<Duration>,
        make: impl Fn(&mut Files) -> Result<T, FileError> + Send + Sync + 'static,
    ) -> Result<Arc<Self>, FileError> {
        let mut files = Files::default();
        let value = Arc::new(make(&mut files)?);
        let state = State { value, files, read: Instant::now(), failure: None };
        Ok(Arc::new(Self { make: Box::new(make), interval, state: Mutex::new(state) }))
    }

    /// The value as of its files, which are read again if it is time.
    pub(crate) async fn current(self: &Arc<Self>) -> Arc<T> {
        if self.is_due() {
            let this = Arc::clone(self);
            // Reading may block. If it panics, the last value is as good as after any other failure.
            let _ = tokio::task::spawn_blocking(move || this.refresh()).await;
        }
        Arc::clone(&self.state().value)
    }

    /// Whether the caller is to read the files. Others go on with the value that is there.
    fn is_due(&self) -> bool {
        let mut state = self.state();
        let due = self.interval.is_some_and(|interval| state.read.elapsed() >= interval);
        if due {
            state.read = Instant::now();
        }
        due
    }

    fn refresh(&self) {
        let mut files = Files::default();
        let made = (self.make)(&mut files);
        let mut state = self.state();
        match made {
            Ok(_) if files.0 == state.files.0 => state.failure = None,
            Ok(value) => {
                tracing::info!("changed files are in use");
                (state.value, state.files, state.failure) = (Arc::new(value), files, None);
            }
            Err(error) if state.failure.as_ref() != Some(&error) => {
                tracing::warn!("{error}; what was read before stays in use");
                state.failure = Some(error);
            }
            Err(_) => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        // Nothing is left half-changed by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("interval", &self.interval).finish_non_exhaustive()
    }
}

impl Files {
    /// What `path` holds.
    pub(crate) fn read(&mut self, path: &Spanned<PathBuf>) -> Result<&[u8], FileError> {
        let mut content = Vec::new();
        let file = File::open(&path.value).and_then(|file| file.take(MAX_SIZE + 1).read_to_end(&mut content));
        file.map_err(|error| FileError::new(path, error.to_string()))?;
        if content.len() as u64 > MAX_SIZE {
            return Err(FileError::new(path, format!("it is larger than {} MiB", MAX_SIZE >> 20)));
        }
        self.0.push(content);
        Ok(self.0.last().expect("it was just added"))
    }

    /// Keeps `content`, which was found by other ways and may change as files do.
    pub(crate) fn note(&mut self, content: Vec<u8>) {
        self.0.push(content);
    }
}

impl FileError {
    /// `path` can't be used, for this reason.
    pub(crate) fn new(path: &Spanned<PathBuf>, reason: impl Into<String>) -> Self {
        Self { span: path.span, path: path.value.clone(), reason: reason.into() }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::atomic::{AtomicU8, Ordering},
    };

    use super::*;

    #[tokio::test]
    async fn a_changed_file_is_used_after_the_interval_and_a_bad_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = Spanned::new(folder.path().join("number"), Span { start: 3, end: 9 });
        let number = {
            let path = path.clone();
            move |files: &mut Files| {
                let text = String::from_utf8_lossy(files.read(&path)?).into_owned();
                text.parse::<u32>().map_err(|error| FileError::new(&path, error.to_string()))
            }
        };
        let missing = Watched::new(None, number.clone()).unwrap_err();
        assert_eq!((missing.span, &missing.path), (path.span, &path.value));

        fs::write(&path.value, "1").unwrap();
        let every = |seconds| Watched::new(Some(Duration::from_secs(seconds)), number.clone()).unwrap();
        let (watched, early, kept) = (every(0), every(3600), Watched::new(None, number.clone()).unwrap());
        let check = async |expected: u32| assert_eq!(*watched.current().await, expected);
        check(1).await;
        fs::write(&path.value, "2").unwrap();
        check(2).await;
        fs::write(&path.value, "two").unwrap();
        check(2).await;
        fs::remove_file(&path.value).unwrap();
        check(2).await;
        fs::write(&path.value, "3").unwrap();
        check(3).await;
        assert_eq!((*early.current().await, *kept.current().await), (1, 1));
    }

    #[tokio::test]
    async fn an_unchanged_file_keeps_the_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = Spanned::new(folder.path().join("file"), Span::default());
        fs::write(&path.value, "same").unwrap();
        let watched = Watched::new(Some(Duration::ZERO), move |files| files.read(&path).map(<[u8]>::to_vec)).unwrap();
        let first = watched.current().await;
        assert!(Arc::ptr_eq(&first, &watched.current().await));
    }

    #[tokio::test]
    async fn what_is_found_by_other_ways_is_watched_too() {
        let found = Arc::new(AtomicU8::new(1));
        let finding = Arc::clone(&found);
        let watched = Watched::new(Some(Duration::ZERO), move |files| {
            let now = finding.load(Ordering::Relaxed);
            files.note(vec![now]);
            Ok(now)
        });
        let watched = watched.unwrap();
        assert_eq!(*watched.current().await, 1);
        found.store(2, Ordering::Relaxed);
        assert_eq!(*watched.current().await, 2);
    }
}
