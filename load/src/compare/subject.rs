//! What is compared.
use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::workload::Kept;

/// A program with the work that it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Subject {
    /// Sluicegate, its filters in WebAssembly.
    Sluicegate(Work),
    /// Sluicegate with the same filters compiled in natively, to show what the sandbox costs.
    Native(Work),
    /// nginx's `grpc_pass`, which understands nothing: the floor for a proxy.
    Nginx,
    /// The OpenTelemetry Collector, doing the same work in its own language.
    Collector(Work),
    /// The collector in Rust that PyPI's `rotel` carries.
    Rotel,
}

/// What is done to the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// Nothing.
    PassThrough,
    /// Those below INFO are dropped.
    Severity,
    /// Each gets one attribute.
    Attribute,
    /// Addresses and card numbers are taken out.
    Redact,
    /// The policy of `examples/05-all-together`.
    Policy,
    /// So many filters that look at the severity and keep everything.
    Chain(u8),
}

/// The most filters in a chain that is compared.
pub const LONGEST_CHAIN: u8 = 5;

/// There is no such subject.
#[derive(Debug, thiserror::Error)]
#[error("there is no subject `{0}`; there are: {known}", known = names())]
pub struct UnknownSubject(String);

impl Subject {
    /// All of them, in the order in which they are shown.
    pub fn all() -> impl Iterator<Item = Self> {
        use Work::{Attribute, Chain, PassThrough, Policy, Redact, Severity};
        let sluicegate = [PassThrough, Severity, Attribute, Redact, Policy].map(Self::Sluicegate);
        let chains = (1..=LONGEST_CHAIN).map(|length| Self::Sluicegate(Chain(length)));
        let native = [Severity, Attribute, Redact].map(Self::Native);
        let collector = [PassThrough, Severity, Redact, Policy].map(Self::Collector);
        sluicegate.into_iter().chain(chains).chain(native).chain([Self::Nginx]).chain(collector).chain([Self::Rotel])
    }

    /// Those that are loaded in every way: all but what only one goal is about.
    pub fn main() -> impl Iterator<Item = Self> {
        Self::all()
            .filter(|subject| !matches!(subject, Self::Native(_) | Self::Sluicegate(Work::Attribute | Work::Chain(_))))
    }

    /// What it does.
    #[must_use]
    pub const fn work(self) -> Work {
        match self {
            Self::Sluicegate(work) | Self::Native(work) | Self::Collector(work) => work,
            Self::Nginx | Self::Rotel => Work::PassThrough,
        }
    }

    /// Which records arrive behind it.
    #[must_use]
    pub const fn kept(self) -> Kept {
        match self.work() {
            Work::PassThrough | Work::Attribute | Work::Redact | Work::Chain(_) => Kept::All,
            Work::Severity => Kept::FromInfo,
            Work::Policy => Kept::Policy,
        }
    }

    /// What tables call it.
    #[must_use]
    pub fn title(self) -> String {
        let program = match self {
            Self::Sluicegate(_) => "Sluicegate",
            Self::Native(_) => "Sluicegate, native",
            Self::Nginx => "nginx",
            Self::Collector(_) => "Collector",
            Self::Rotel => "rotel",
        };
        match self.work() {
            Work::PassThrough => program.into(),
            Work::Severity => format!("{program}, severity"),
            Work::Attribute => format!("{program}, attribute"),
            Work::Redact => format!("{program}, redaction"),
            Work::Policy => format!("{program}, policy"),
            Work::Chain(length) => format!("{program}, chain of {length}"),
        }
    }
}

impl Work {
    /// What tables call it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::PassThrough => "without filters".into(),
            Self::Severity => "severity filter".into(),
            Self::Attribute => "attribute filter".into(),
            Self::Redact => "redaction filter".into(),
            Self::Policy => "policy".into(),
            Self::Chain(length) => format!("chain of {length}"),
        }
    }
}

/// The name on the command line, such as `collector-severity`.
impl fmt::Display for Subject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Sluicegate(_) => "sluicegate",
            Self::Native(_) => "native",
            Self::Nginx => "nginx",
            Self::Collector(_) => "collector",
            Self::Rotel => "rotel",
        })?;
        match self.work() {
            Work::PassThrough => Ok(()),
            Work::Severity => out.write_str("-severity"),
            Work::Attribute => out.write_str("-attribute"),
            Work::Redact => out.write_str("-redact"),
            Work::Policy => out.write_str("-policy"),
            Work::Chain(length) => write!(out, "-chain-{length}"),
        }
    }
}

impl FromStr for Subject {
    type Err = UnknownSubject;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::all().find(|subject| subject.to_string() == name).ok_or_else(|| UnknownSubject(name.into()))
    }
}

impl TryFrom<String> for Subject {
    type Error = UnknownSubject;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.to_string()
    }
}

fn names() -> String {
    Subject::all().map(String::from).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_by_its_name() {
        for subject in Subject::all() {
            assert_eq!(subject.to_string().parse::<Subject>().expect("it is one"), subject);
        }
        let error = "apache".parse::<Subject>().expect_err("it is none").to_string();
        assert!(error.contains("`apache`") && error.contains("collector-severity"), "{error}");
    }
}
