//! On how many cores a subject runs.
use std::io;

use serde::{Deserialize, Serialize};

/// On how many cores a subject runs, with the load tool beside it: so each of them is shared by the same programs, be there
/// one or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cores {
    /// The first that this process may use.
    One,
    /// All of them.
    All,
}

/// Keeps this thread on some cores, with the threads and programs that it starts meanwhile, until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Kept(#[cfg(target_os = "linux")] rustix::thread::CpuSet);

impl Cores {
    /// Keeps this thread, and what it starts from now on, on so many cores.
    ///
    /// # Errors
    /// When the system doesn't let it.
    #[cfg(target_os = "linux")]
    pub fn keep(self) -> io::Result<Kept> {
        use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
        let all = sched_getaffinity(None)?;
        if self == Self::One {
            let mut one = CpuSet::new();
            if let Some(first) = (0..CpuSet::MAX_CPU).find(|&core| all.is_set(core)) {
                one.set(first);
            }
            sched_setaffinity(None, &one)?;
        }
        Ok(Kept(all))
    }

    /// Keeps this thread, and what it starts from now on, on so many cores.
    ///
    /// # Errors
    /// Where it is one: that takes Linux.
    #[cfg(not(target_os = "linux"))]
    pub fn keep(self) -> io::Result<Kept> {
        match self {
            Self::One => Err(io::Error::new(io::ErrorKind::Unsupported, "only Linux keeps a program on one core")),
            Self::All => Ok(Kept()),
        }
    }
}

#[cfg(target_os = "linux")]
impl Drop for Kept {
    fn drop(&mut self) {
        // It was allowed before.
        let _ = rustix::thread::sched_setaffinity(None, &self.0);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{
        process::Command,
        thread::{available_parallelism, spawn},
    };

    use super::*;

    #[test]
    fn one_core_is_one_for_all_that_is_started_there() {
        let count = || available_parallelism().expect("Linux tells").get();
        let all = count();
        let kept = Cores::One.keep().expect("Linux lets it");
        // It would rather believe these variables.
        let mut program = Command::new("nproc");
        program.env_remove("OMP_NUM_THREADS").env_remove("OMP_THREAD_LIMIT");
        let program = program.output().expect("it is part of every Linux").stdout;
        assert_eq!((count(), spawn(count).join().expect("it counts")), (1, 1));
        assert_eq!(String::from_utf8_lossy(&program).trim(), "1");
        drop(kept);
        assert_eq!(count(), all);
        let _kept = Cores::All.keep().expect("Linux lets it");
        assert_eq!(count(), all);
    }
}
