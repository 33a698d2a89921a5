//! What the program under test has used, by Linux's `/proc`.
use std::{collections::HashMap, fs, io, time::Duration};

/// A program under test: a process, with its children and theirs.
#[derive(Debug, Clone, Copy)]
pub struct Subject {
    /// The process's id.
    pub pid: u32,
}

/// What a program has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// CPU time, user and system, children that have ended included. Linux counts it in hundredths of a second.
    pub cpu: Duration,
    /// Memory that is resident now, in bytes. What processes share counts for each of them.
    pub rss_bytes: u64,
    /// The sum of the most that each process had resident, in bytes.
    pub peak_rss_bytes: u64,
}

/// Why nothing is known of a program.
#[derive(Debug, thiserror::Error)]
#[error("can't tell what process {pid} uses, from Linux's /proc: {source}")]
pub struct SubjectError {
    pid: u32,
    source: io::Error,
}

/// What `/proc/PID/stat` says of a process.
struct Stat {
    parent: u32,
    /// Of itself and of the children that it has waited for, in ticks.
    cpu_ticks: u64,
}

impl Subject {
    /// What it has used so far.
    ///
    /// # Errors
    /// When it has ended.
    pub fn usage(self) -> Result<Usage, SubjectError> {
        let error = |source| SubjectError { pid: self.pid, source };
        let processes = processes().map_err(error)?;
        if !processes.contains_key(&self.pid) {
            return Err(error(io::Error::from(io::ErrorKind::NotFound)));
        }
        let mut usage = Usage::default();
        let mut ticks = 0;
        for pid in tree(&processes, self.pid) {
            ticks += processes[&pid].cpu_ticks;
            // A child may end at any moment.
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            usage.rss_bytes += kib(&status, "VmRSS:") << 10;
            usage.peak_rss_bytes += kib(&status, "VmHWM:") << 10;
        }
        usage.cpu = Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64);
        Ok(usage)
    }

    /// Its processes, itself first.
    pub(crate) fn tree(self) -> Vec<u32> {
        processes().map_or_else(|_| vec![self.pid], |processes| tree(&processes, self.pid))
    }
}

/// All processes.
fn processes() -> io::Result<HashMap<u32, Stat>> {
    let ids = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(ids.filter_map(|pid: u32| Some((pid, stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?))).collect())
}

/// `root` and its descendants.
fn tree(processes: &HashMap<u32, Stat>, root: u32) -> Vec<u32> {
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(&parent) = tree.get(next) {
        tree.extend(processes.iter().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| pid));
        next += 1;
    }
    tree
}

/// Reads `/proc/PID/stat`, by proc_pid_stat(5). The name in it may hold anything, so fields count from its end.
fn stat(text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let parent = fields.nth(1)?.parse().ok()?;
    // The fields 14 to 17: utime, stime, cutime, cstime. The parent is field 4.
    let times = fields.skip(9).take(4).map(|field| field.parse::<u64>());
    Some(Stat { parent, cpu_ticks: times.sum::<Result<_, _>>().ok()? })
}

/// The value of the line that begins so, which is in KiB.
fn kib(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_name_with_spaces_and_brackets() {
        let text = "42 (a (b) c) S 7 42 42 0 -1 4194560 1 2 3 4 100 20 3 1 20 0 5 0 99";
        let stat = stat(text).expect("it is one");
        assert_eq!((stat.parent, stat.cpu_ticks), (7, 124));
    }

    #[test]
    fn own_use_with_that_of_a_child() {
        let own = Subject { pid: std::process::id() };
        let before = own.usage().expect("it runs");
        assert!(before.rss_bytes > 0 && before.peak_rss_bytes >= before.rss_bytes);
        // It burns well over a tick and has ended before it is looked at.
        let spin = "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done";
        let status = std::process::Command::new("sh").args(["-c", spin]).status().expect("a shell");
        assert!(status.success());
        assert!(own.usage().expect("it runs").cpu > before.cpu);
    }

    #[test]
    fn a_process_that_is_gone() {
        // Above what Linux gives out.
        assert!(Subject { pid: u32::MAX }.usage().is_err());
    }
}
