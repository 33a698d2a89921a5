//! `basicauth`: whoever has a password (RFC 7617).
use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher as _,
    ops::RangeInclusive,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bcrypt::HashParts;
use http::{HeaderMap, header};
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;

use super::{CROWDED, MISSING, WRONG, after_scheme, bearer::REREAD};
use crate::{
    config::{BasicAuth, Spanned},
    files::{FileError, Files, Watched},
    status::Error,
    threads,
};

#[derive(Debug)]
pub(super) struct Basic {
    users: Arc<Watched<Users>>,
    /// Keeps senders with wrong passwords from taking every core.
    verifying: Arc<Semaphore>,
    /// How many requests may still wait for that.
    waiting: Semaphore,
    /// Two keys that nobody knows, for [`Digest`]s.
    keys: [RandomState; 2],
}

struct Users {
    entries: Vec<Entry>,
    /// The highest cost of a hash among them. So much is every refusal, so that the time it takes tells nothing of the
    /// name. Where there is no hash, all cost nothing.
    dearest: Option<u32>,
}

struct Entry {
    name: Vec<u8>,
    password: Password,
    /// What was good the last time, so that bcrypt's price is paid once and not for each request.
    good: Mutex<Option<Digest>>,
}

enum Password {
    Plain(Vec<u8>),
    Bcrypt(Hash),
}

#[derive(Clone)]
struct Hash {
    text: String,
    cost: u32,
}

/// Stands for a password without telling it: a keyed hash of 128 bits.
type Digest = [u64; 2];

/// The highest price of a hash. Each step doubles the time of a check, and this one takes seconds.
const MAX_COST: u32 = 16;

/// How many requests wait for a check at most. At the usual cost of a hash, the last of them waits for the ten seconds
/// after which senders give up. Those whose password was good before do not wait.
const MAX_WAITING: usize = 100;

impl Basic {
    pub(super) fn new(config: &BasicAuth) -> Result<Self, FileError> {
        let config = config.clone();
        let interval = config.file.is_some().then_some(REREAD);
        let users = Watched::new(interval, move |files| Users::read(&config, files))?;
        let verifying = Arc::new(Semaphore::new(threads::count().div_ceil(2)));
        Ok(Self { users, verifying, waiting: Semaphore::new(MAX_WAITING), keys: Default::default() })
    }

    pub(super) async fn check(&self, headers: &HeaderMap) -> Result<(), Error> {
        let given = headers.get(header::AUTHORIZATION).ok_or(MISSING)?;
        let given = after_scheme(given.as_bytes(), "Basic").ok_or(MISSING)?;
        let given = BASE64_STANDARD.decode(given.trim_ascii_end()).map_err(|_| MISSING)?;
        let colon = given.iter().position(|byte| *byte == b':').ok_or(MISSING)?;
        let (name, password) = (&given[..colon], &given[colon + 1..]);

        let users = self.users.current().await;
        let entry = users.find(name);
        let good = match (entry, users.dearest) {
            (Some(entry), _) if entry.is_plainly(password) => true,
            (entry, Some(dearest)) => self.verify(entry, dearest, password).await?,
            (_, None) => false,
        };
        if good { Ok(()) } else { Err(WRONG) }
    }

    async fn verify(&self, entry: Option<&Entry>, dearest: u32, password: &[u8]) -> Result<bool, Error> {
        let digest = self.keys.each_ref().map(|key| key.hash_one(password));
        let is_good = || entry.is_some_and(|entry| entry.is_good(digest));
        if is_good() {
            return Ok(true);
        }
        let waiting = self.waiting.try_acquire().map_err(|_| CROWDED)?;
        let turn = Arc::clone(&self.verifying).acquire_owned().await.map_err(|_| CROWDED)?;
        drop(waiting);
        // Of many requests that come at once, the first has paid for all.
        if is_good() {
            return Ok(true);
        }
        let hash = entry.and_then(|entry| entry.password.hash().cloned());
        let password = password.to_owned();
        let verified = tokio::task::spawn_blocking(move || {
            // It lasts as long as the work, which goes on if the sender hangs up.
            let _turn = turn;
            is_password(&password, hash.as_ref(), dearest)
        });
        let good = verified.await.unwrap_or(false);
        if let Some(entry) = entry.filter(|_| good) {
            *entry.good.lock().unwrap_or_else(PoisonError::into_inner) = Some(digest);
        }
        Ok(good)
    }
}

/// Whether `password` is that of `hash`. If not, this has been as much work as a hash of the cost `dearest`.
fn is_password(password: &[u8], hash: Option<&Hash>, dearest: u32) -> bool {
    // A hash like any other, of which nobody knows the password.
    let nobodys = |cost| format!("$2b${cost:02}${}", ".".repeat(53));
    let good = hash.is_some_and(|hash| bcrypt::verify(password, &hash.text).unwrap_or(false));
    if !good {
        for cost in what_is_missing(hash.map(|hash| hash.cost), dearest) {
            let _ = bcrypt::verify(password, &nobodys(cost));
        }
    }
    good
}

/// The costs of the checks that together with one of the cost `paid` are as much work as one of the cost `dearest`. A
/// cost is the logarithm of the work.
fn what_is_missing(paid: Option<u32>, dearest: u32) -> RangeInclusive<u32> {
    match paid {
        None => dearest..=dearest,
        Some(paid) => paid..=dearest - 1,
    }
}

impl Users {
    /// The users of the file, then the inline ones; of the same name, the last counts.
    fn read(config: &BasicAuth, files: &mut Files) -> Result<Self, FileError> {
        let mut entries = Vec::new();
        if let Some(file) = &config.file {
            add(&mut entries, files.read(file)?).map_err(|reason| FileError::new(file, reason))?;
        }
        if let Some(inline) = &config.inline {
            let place = Spanned::new(PathBuf::from("htpasswd.inline"), inline.span);
            add(&mut entries, inline.value.0.as_bytes()).map_err(|reason| FileError::new(&place, reason))?;
        }
        let dearest = entries.iter().filter_map(|entry| entry.password.hash()).map(|hash| hash.cost).max();
        Ok(Self { entries, dearest })
    }

    /// Looks at all of them, whichever it is.
    fn find(&self, name: &[u8]) -> Option<&Entry> {
        self.entries.iter().fold(None, |found, entry| if entry.name.ct_eq(name).into() { Some(entry) } else { found })
    }
}

impl Entry {
    fn new(name: &[u8], password: Password) -> Self {
        Self { name: name.to_vec(), password, good: Mutex::default() }
    }

    fn is_plainly(&self, password: &[u8]) -> bool {
        matches!(&self.password, Password::Plain(expected) if expected.ct_eq(password).into())
    }

    fn is_good(&self, digest: Digest) -> bool {
        *self.good.lock().unwrap_or_else(PoisonError::into_inner) == Some(digest)
    }
}

impl Password {
    fn hash(&self) -> Option<&Hash> {
        match self {
            Self::Plain(_) => None,
            Self::Bcrypt(hash) => Some(hash),
        }
    }
}

/// Adds the lines of an `htpasswd` file. What is said of a wrong one does not quote it.
fn add(entries: &mut Vec<Entry>, text: &[u8]) -> Result<(), String> {
    let before = entries.len();
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let colon = colon.filter(|colon| (1..line.len() - 1).contains(colon));
        let colon = colon.ok_or_else(|| format!("line {number} is not USER:PASSWORD"))?;
        let password = password(&line[colon + 1..]).map_err(|reason| format!("line {number}: {reason}"))?;
        entries.push(Entry::new(&line[..colon], password));
    }
    if entries.len() == before { Err("it holds no user: write USER:PASSWORD, one a line".to_owned()) } else { Ok(()) }
}

fn password(text: &[u8]) -> Result<Password, String> {
    const OTHERS: [&[u8]; 8] = [b"{SHA}", b"{SSHA}", b"$apr1$", b"$1$", b"$5$", b"$6$", b"$argon2", b"$2x$"];
    if OTHERS.iter().any(|other| text.starts_with(other)) {
        return Err("this hash is not supported: use `htpasswd -B`, which makes one of bcrypt".to_owned());
    }
    if ![b"$2a$", b"$2b$", b"$2y$"].iter().any(|prefix| text.starts_with(*prefix)) {
        return Ok(Password::Plain(text.to_vec()));
    }
    let text = String::from_utf8_lossy(text).into_owned();
    let parts: HashParts = text.parse().map_err(|error| format!("this is no hash of bcrypt: {error}"))?;
    let cost = parts.get_cost();
    if cost > MAX_COST {
        return Err(format!("a cost of {cost} would take minutes for each check: at most {MAX_COST}"));
    }
    Ok(Password::Bcrypt(Hash { text, cost }))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures::FutureExt as _;

    use super::*;
    use crate::config::{Secret, Span};

    #[test]
    fn every_refusal_is_the_same_work() {
        for dearest in 4..=MAX_COST {
            for paid in [None].into_iter().chain((4..=dearest).map(Some)) {
                let paid_work = paid.map_or(0, |cost| 1_u64 << cost);
                let missing: u64 = what_is_missing(paid, dearest).map(|cost| 1 << cost).sum();
                assert_eq!(paid_work + missing, 1 << dearest, "{paid:?} of {dearest}");
            }
        }
    }

    #[test]
    fn hanging_up_makes_no_room_for_more_checks() {
        // Nothing is checked as long as the only thread for that is held.
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let (release, held) = mpsc::channel::<()>();
            tokio::task::spawn_blocking(move || held.recv());
            let users = format!("me:{}\nplain:secret", bcrypt::hash("hush", 4).unwrap());
            let inline = Some(Spanned::new(Secret(users), Span::default()));
            let basic = Basic::new(&BasicAuth { inline, file: None }).unwrap();
            let given = |credentials| {
                let value = format!("Basic {}", BASE64_STANDARD.encode(credentials));
                HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())])
            };
            let wrong = ["me:who", "nobody:who", "plain:who"].map(given);

            for headers in wrong.iter().cycle().take(basic.verifying.available_permits()) {
                assert!(basic.check(headers).now_or_never().is_none());
            }
            assert_eq!(basic.verifying.available_permits(), 0);
            let mut waiting: Vec<_> =
                wrong.iter().cycle().take(MAX_WAITING).map(|headers| Box::pin(basic.check(headers))).collect();
            for check in &mut waiting {
                assert!(check.now_or_never().is_none());
            }
            for headers in &wrong {
                assert!(matches!(basic.check(headers).now_or_never(), Some(Err(Error::Busy(_)))));
            }
            assert!(matches!(basic.check(&given("plain:secret")).now_or_never(), Some(Ok(()))));

            drop(release);
            waiting.truncate(3);
            for check in waiting {
                assert!(matches!(check.await, Err(Error::Unauthenticated(_))));
            }
            assert!(basic.check(&given("me:hush")).await.is_ok());
            assert!(matches!(basic.check(&given("me:hush")).now_or_never(), Some(Ok(()))), "it is known by now");
        });
    }
}
