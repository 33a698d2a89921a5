//! `basicauth`: whoever has a password (RFC 7617).
use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread::available_parallelism,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bcrypt::HashParts;
use http::{HeaderMap, header};
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;

use super::{MISSING, WRONG, after_scheme, bearer::REREAD};
use crate::{
    config::{BasicAuth, Spanned},
    files::{FileError, Files, Watched},
    status::Error,
};

#[derive(Debug)]
pub(super) struct Basic {
    users: Arc<Watched<Users>>,
    /// Keeps senders with wrong passwords from taking every core.
    verifying: Semaphore,
    /// Two keys that nobody knows, for [`Digest`]s.
    keys: [RandomState; 2],
}

struct Users {
    entries: Vec<Entry>,
    /// In the place of those that are not there, and no less work.
    nobody: Entry,
}

struct Entry {
    name: Vec<u8>,
    password: Password,
    /// What was good the last time, so that bcrypt's price is paid once and not for each request.
    good: Mutex<Option<Digest>>,
}

#[derive(Clone)]
enum Password {
    Plain(Vec<u8>),
    Bcrypt(String),
}

/// Stands for a password without telling it: a keyed hash of 128 bits.
type Digest = [u64; 2];

/// The highest price of a hash. Each step doubles the time of a check, and this one takes seconds.
const MAX_COST: u32 = 16;

impl Basic {
    pub(super) fn new(config: &BasicAuth) -> Result<Self, FileError> {
        let config = config.clone();
        let interval = config.file.is_some().then_some(REREAD);
        let users = Watched::new(interval, move |files| Users::read(&config, files))?;
        let cores = available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Self { users, verifying: Semaphore::new(cores.div_ceil(2)), keys: Default::default() })
    }

    pub(super) async fn check(&self, headers: &HeaderMap) -> Result<(), Error> {
        let given = headers.get(header::AUTHORIZATION).ok_or(MISSING)?;
        let given = after_scheme(given.as_bytes(), "Basic").ok_or(MISSING)?;
        let given = BASE64_STANDARD.decode(given.trim_ascii_end()).map_err(|_| MISSING)?;
        let colon = given.iter().position(|byte| *byte == b':').ok_or(MISSING)?;
        let (name, password) = (&given[..colon], &given[colon + 1..]);

        let users = self.users.current().await;
        let found = users.find(name);
        let entry = found.unwrap_or(&users.nobody);
        let same = match &entry.password {
            Password::Plain(expected) => expected.ct_eq(password).into(),
            Password::Bcrypt(hash) => self.verify(entry, hash, password).await,
        };
        if same && found.is_some() { Ok(()) } else { Err(WRONG) }
    }

    async fn verify(&self, entry: &Entry, hash: &str, password: &[u8]) -> bool {
        let digest = self.keys.each_ref().map(|key| key.hash_one(password));
        if entry.is_good(digest) {
            return true;
        }
        let Ok(_turn) = self.verifying.acquire().await else { return false };
        // Of many requests that come at once, the first has paid for all.
        if entry.is_good(digest) {
            return true;
        }
        let (hash, password) = (hash.to_owned(), password.to_owned());
        let verified = tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash)).await;
        let good = matches!(verified, Ok(Ok(true)));
        if good {
            *entry.good.lock().unwrap_or_else(PoisonError::into_inner) = Some(digest);
        }
        good
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
        let dearest = entries.iter().filter_map(|entry| entry.password.cost()).max();
        let password = match dearest {
            None => Password::Plain(Vec::new()),
            // A hash like any other, of which nobody knows the password.
            Some(cost) => Password::Bcrypt(format!("$2b${cost:02}${}", ".".repeat(53))),
        };
        Ok(Self { entries, nobody: Entry::new(b"", password) })
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

    fn is_good(&self, digest: Digest) -> bool {
        *self.good.lock().unwrap_or_else(PoisonError::into_inner) == Some(digest)
    }
}

impl Password {
    fn cost(&self) -> Option<u32> {
        match self {
            Self::Plain(_) => None,
            Self::Bcrypt(hash) => hash.parse().ok().map(|parts: HashParts| parts.get_cost()),
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
    let hash = String::from_utf8_lossy(text).into_owned();
    let parts: HashParts = hash.parse().map_err(|error| format!("this is no hash of bcrypt: {error}"))?;
    if parts.get_cost() > MAX_COST {
        return Err(format!("a cost of {} would take minutes for each check: at most {MAX_COST}", parts.get_cost()));
    }
    Ok(Password::Bcrypt(hash))
}
