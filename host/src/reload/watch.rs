//! Notices that files have changed.
//!
//! Files are looked at twice a second. The system could tell of changes by itself, but not on network file systems, not
//! through the chain of links that Kubernetes swaps behind a mounted `ConfigMap`, and not of a file that an editor
//! replaces: each needs watching of other folders, and looking at a few files costs nothing.
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{task::spawn_blocking, time::sleep};

/// Tells when files have changed and are whole.
#[derive(Debug)]
pub struct Watch {
    /// Which is always looked at; what others there are, it names.
    configuration: PathBuf,
    seen: Looks,
}

/// What tells a file from the one that was there before, if there is any.
type Look = Option<Stamp>;

type Looks = BTreeMap<PathBuf, Look>;

/// A file behind all links. Its times are those of the last change of content and of anything else, as a copy may keep the
/// former.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// How often files are looked at, and for how long a changed one has to stay the same to be taken for whole.
const INTERVAL: Duration = Duration::from_millis(500);

impl Watch {
    /// Will tell of changes to the file `configuration` from now on.
    #[must_use]
    pub fn new(configuration: &Path) -> Self {
        let seen = Looks::from([(configuration.to_owned(), stamp(configuration).ok())]);
        Self { configuration: configuration.to_owned(), seen }
    }

    /// Will tell of changes to `files`, from now on or from when they were followed before, instead of those that were
    /// followed so far.
    pub async fn follow(&mut self, files: impl IntoIterator<Item = PathBuf>) {
        let paths: BTreeSet<_> = files.into_iter().chain([self.configuration.clone()]).collect();
        let mut now = look(paths.into_iter().collect()).await;
        for (path, look) in &mut now {
            if let Some(seen) = self.seen.get(path) {
                *look = *seen;
            }
        }
        self.seen = now;
    }

    /// Takes the files as they are now: what has changed so far is known.
    pub async fn look(&mut self) {
        self.seen = look(self.paths()).await;
    }

    /// Waits until files differ from how they were known, and have stayed so for a moment: until then they may be half
    /// written, or one of several. May be given up and asked again; it tells until the files are known.
    pub async fn changed(&mut self) {
        let mut last = self.seen.clone();
        loop {
            sleep(INTERVAL).await;
            let now = look(self.paths()).await;
            if now == last && now != self.seen {
                return;
            }
            last = now;
        }
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.seen.keys().cloned().collect()
    }
}

/// Looks at files where a file system that hangs holds up nobody else.
async fn look(paths: Vec<PathBuf>) -> Looks {
    let looks = move || {
        let look = |path: PathBuf| {
            let stamp = stamp(&path).ok();
            (path, stamp)
        };
        paths.into_iter().map(look).collect()
    };
    spawn_blocking(looks).await.unwrap_or_default()
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let file = fs::metadata(path)?;
    Ok(Stamp {
        device: file.dev(),
        inode: file.ino(),
        size: file.size(),
        modified: (file.mtime(), file.mtime_nsec()),
        changed: (file.ctime(), file.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use futures::FutureExt as _;

    use super::*;

    /// Whether a change is told of within some looks. Time stands still but for them.
    async fn tells(watch: &mut Watch) -> bool {
        tokio::time::timeout(INTERVAL * 5, watch.changed()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn changes_of_every_kind_are_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("first")).unwrap();
        fs::create_dir(path("second")).unwrap();
        for at in ["configuration", "first/filter", "second/filter"] {
            fs::write(path(at), "one").unwrap();
        }
        symlink("first", path("data")).unwrap();
        symlink("data/filter", path("filter")).unwrap();
        let mut watch = Watch::new(&path("configuration"));
        watch.follow([path("filter"), path("missing")]).await;
        assert!(!tells(&mut watch).await, "nothing has changed");

        let changes: [(&str, &dyn Fn()); 6] = [
            ("written", &|| fs::write(path("configuration"), "two, longer").unwrap()),
            ("replaced", &|| {
                fs::write(path("new"), "two, longer").unwrap();
                fs::rename(path("new"), path("configuration")).unwrap();
            }),
            ("a link before the last is swapped", &|| {
                symlink("second", path("new")).unwrap();
                fs::rename(path("new"), path("data")).unwrap();
            }),
            ("behind the links", &|| fs::write(path("second/filter"), "two, longer").unwrap()),
            ("created", &|| fs::write(path("missing"), "there").unwrap()),
            ("removed", &|| fs::remove_file(path("filter")).unwrap()),
        ];
        for (what, change) in changes {
            change();
            assert!(tells(&mut watch).await, "{what}");
            assert!(tells(&mut watch).await, "{what}: it is told until it is known");
            watch.look().await;
            assert!(!tells(&mut watch).await, "{what}: it is known");
        }
        watch.follow([]).await;
        fs::write(path("missing"), "nobody names it any more").unwrap();
        assert!(!tells(&mut watch).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_being_written_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("configuration");
        fs::write(&path, "").unwrap();
        let mut watch = Watch::new(&path);
        let mut changed = Box::pin(watch.changed());
        for length in 1..10 {
            fs::write(&path, "x".repeat(length)).unwrap();
            assert!(tokio::time::timeout(INTERVAL, &mut changed).await.is_err(), "{length} bytes");
        }
        assert!((&mut changed).now_or_never().is_none());
        changed.await;
    }
}
