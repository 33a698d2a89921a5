//! Reads the Prometheus page.
use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A page of metrics, as it was when it was read.
#[derive(Debug, Clone)]
pub struct Page {
    samples: Vec<Sample>,
}

/// What became of all log records that came in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Those whose sender got a yes.
    pub accepted: u64,
    /// Those whose sender got a no.
    pub refused: u64,
    /// Those dropped by a filter's decision.
    pub dropped: u64,
    /// Those delivered wherever they belong.
    pub forwarded: u64,
    /// Those that a destination took, each counted for each of them.
    pub sent: u64,
}

/// One line.
#[derive(Debug, Clone)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Page {
    /// Reads the page at `address`.
    ///
    /// # Errors
    /// When there is none.
    pub async fn read(address: SocketAddr) -> Result<Self> {
        let (status, body) = get(address, "/metrics").await?;
        anyhow::ensure!(status == 200, "/metrics answered {status}");
        body.lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(sample)
            .collect::<Result<_>>()
            .map(|samples| Self { samples })
    }

    /// The sum of `metric` (without prefix and suffix) over all series which have these labels.
    #[must_use]
    pub fn sum(&self, metric: &str, labels: &[(&str, &str)]) -> u64 {
        let with = |sample: &&Sample| labels.iter().all(|&(name, value)| sample.label(name) == Some(value));
        whole(self.series(metric).filter(with).map(|sample| sample.value).sum())
    }

    /// The gauge `metric` (without prefix), added up over all series.
    #[must_use]
    pub fn gauge(&self, metric: &str) -> u64 {
        let name = format!("sluicegate_{metric}");
        whole(self.samples.iter().filter(|sample| sample.name == name).map(|sample| sample.value).sum())
    }

    /// What became of all log records. A record that went to several destinations counts for each.
    #[must_use]
    pub fn accounts(&self) -> Accounts {
        Accounts {
            accepted: self.sum("receiver_accepted_log_records", &[]),
            refused: self.sum("receiver_refused_log_records", &[]),
            dropped: self.sum("filter_dropped_log_records", &[]),
            forwarded: self.sum("receiver_forwarded_log_records", &[]),
            sent: self.sum("exporter_sent_log_records", &[]),
        }
    }

    /// `metric` by the values of two of its labels.
    #[must_use]
    pub fn by(&self, metric: &str, first: &str, second: &str) -> Vec<((String, String), u64)> {
        let label = |sample: &Sample, name| sample.label(name).unwrap_or_default().to_owned();
        self.series(metric)
            .map(|sample| {
                let labels = (label(sample, first), label(sample, second));
                let count = self.sum(metric, &[(first, &labels.0), (second, &labels.1)]);
                (labels, count)
            })
            .collect()
    }

    fn series(&self, metric: &str) -> impl Iterator<Item = &Sample> {
        let name = format!("sluicegate_{metric}_total");
        self.samples.iter().filter(move |sample| sample.name == name)
    }
}

impl Accounts {
    /// What came to it since it was `before`.
    #[must_use]
    pub const fn since(&self, before: Self) -> Self {
        Self {
            accepted: self.accepted - before.accepted,
            refused: self.refused - before.refused,
            dropped: self.dropped - before.dropped,
            forwarded: self.forwarded - before.forwarded,
            sent: self.sent - before.sent,
        }
    }

    /// Whether every record that was acknowledged was forwarded or dropped, and as many were sent, where each goes to one
    /// destination and none arrived of what was refused.
    #[must_use]
    pub const fn balance(&self) -> bool {
        self.accepted == self.forwarded + self.dropped && self.forwarded == self.sent
    }
}

impl Sample {
    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }
}

/// Asks for `path` and returns the status and the body.
///
/// # Errors
/// When nobody answers, or not in HTTP.
pub async fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await.with_context(|| format!("nobody listens on {address}"))?;
    // HTTP/1.0, so that the body comes in one piece and ends with the connection.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    crate::patiently("an answer over HTTP", stream.read_to_string(&mut answer)).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer is not HTTP")?;
    let status = head.split(' ').nth(1).context("the answer has no status")?.parse()?;
    Ok((status, body.to_owned()))
}

/// A count. In tests they are far below 2^53.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are whole and positive")]
const fn whole(value: f64) -> u64 {
    value as u64
}

/// Takes `name{label="value",...} value` apart.
fn sample(line: &str) -> Result<Sample> {
    let wrong = || format!("not a sample: {line}");
    let (series, value) = line.rsplit_once(' ').with_context(wrong)?;
    let (name, mut rest) = series.split_once('{').unwrap_or((series, "}"));
    let mut labels = Vec::new();
    while let Some((label, quoted)) = rest.split_once("=\"") {
        let (value, after) = unquote(quoted).with_context(wrong)?;
        labels.push((label.trim_start_matches(',').to_owned(), value));
        rest = after;
    }
    Ok(Sample { name: name.to_owned(), labels, value: value.parse().with_context(wrong)? })
}

/// Reads up to the closing quote; returns the text and what comes after.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((text, &quoted[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => text.push('\n'),
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
    None
}
