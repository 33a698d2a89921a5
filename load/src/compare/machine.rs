//! What kind of machine figures are from: nothing that tells which one.
use std::{fs, thread::available_parallelism};

use serde::{Deserialize, Serialize};

/// A kind of machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Its processor, as the kernel calls it.
    pub processor: String,
    /// How many cores it has.
    pub cores: usize,
    /// Its memory, in bytes.
    pub memory_bytes: u64,
    /// The kernel and its version, such as `Linux 6.1`.
    pub kernel: String,
}

impl Machine {
    /// The one that this program runs on.
    #[must_use]
    pub fn this() -> Self {
        let read = |file| fs::read_to_string(file).unwrap_or_default();
        let release = read("/proc/sys/kernel/osrelease");
        Self {
            processor: value(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".into()),
            cores: available_parallelism().map_or(1, usize::from),
            memory_bytes: memory(&read("/proc/meminfo")).unwrap_or_default(),
            // What follows the number names a build, which others don't have.
            kernel: format!("Linux {}", release.trim().split('-').next().unwrap_or_default()),
        }
    }
}

/// The value of the first line `NAME : VALUE`.
fn value(text: &str, name: &str) -> Option<String> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
}

fn memory(text: &str) -> Option<u64> {
    let kib: u64 = value(text, "MemTotal")?.strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says() {
        let text = "processor\t: 0\nmodel name\t: A Processor @ 2 GHz: fast\nmodel name\t: another\n";
        assert_eq!(value(text, "model name").as_deref(), Some("A Processor @ 2 GHz: fast"));
        assert_eq!(memory("MemTotal:        2048 kB\nMemFree: 1 kB\n"), Some(2 << 20));
        assert!(Machine::this().memory_bytes > 0);
    }
}
