//! Export requests, prepared before anything is measured.
use std::io::{self, Read as _};

use bytes::Bytes;
use prost::Message as _;
use serde::{Deserialize, Serialize};

mod records;

#[cfg(test)]
mod tests;

/// What requests are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// Log records a request.
    pub records: usize,
    /// How long each record's body is, in bytes. Bodies that don't fit are cut.
    pub body_bytes: usize,
    /// Attributes a record.
    pub attributes: usize,
    /// Bytes in one further attribute, which no filter reads. None: no such attribute.
    pub unread_bytes: usize,
    /// How requests are compressed.
    pub compression: Compression,
    /// Other seeds give other records, the same one the same.
    pub seed: u64,
}

/// How a message is compressed, by its name in `grpc-encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all
    None,
    /// As gzip does by default
    Gzip,
    /// As zstd does by default
    Zstd,
}

/// Several distinct requests, used in turn.
#[derive(Debug, Clone)]
pub struct Workload {
    shape: Shape,
    requests: Vec<Prepared>,
}

/// A request, ready to be sent.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// gRPC's prefix and the message, compressed as the shape says.
    pub body: Bytes,
    /// How long the message is when it isn't compressed, in bytes.
    pub message_bytes: usize,
    /// Log records in it.
    pub records: u64,
    /// Of these, the ones at INFO or above.
    pub from_info: u64,
    /// Of these in turn, the ones that aren't of health checks that went well.
    pub without_health_checks: u64,
}

/// Which records arrive at the sink, of those that are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// All of them
    All,
    /// Those at INFO or above
    FromInfo,
    /// Those at INFO or above that aren't of health checks that went well, as in examples/05-all-together
    Policy,
    /// Nobody knows
    Unknown,
}

/// How many distinct requests there are. They take turns, so that no cache and no branch predictor learns one by heart.
const DISTINCT: usize = 16;
/// How many bytes all of them may have together. They should leave the memory to what is measured.
const TOGETHER: usize = 32 << 20;
/// The fewest, whatever their size.
const FEWEST: usize = 2;

impl Default for Shape {
    /// Records of some 466 bytes with ten attributes, as containers in Kubernetes write them.
    fn default() -> Self {
        Self { records: 100, body_bytes: 90, attributes: 10, unread_bytes: 0, compression: Compression::None, seed: 1 }
    }
}

impl Compression {
    /// Its name in `grpc-encoding`, where there is one.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }

    /// The one of this name in `grpc-encoding`.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "identity" => Some(Self::None),
            "gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// What was compressed so, as far as `most` bytes.
    pub(crate) fn decompress(self, content: &[u8], most: u64) -> io::Result<Vec<u8>> {
        let mut message = Vec::new();
        match self {
            Self::None => content.take(most).read_to_end(&mut message)?,
            Self::Gzip => flate2::read::MultiGzDecoder::new(content).take(most).read_to_end(&mut message)?,
            Self::Zstd => zstd::Decoder::new(content)?.take(most).read_to_end(&mut message)?,
        };
        Ok(message)
    }

    pub(crate) fn compress(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::None => message.to_vec(),
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                let written = io::Write::write_all(&mut encoder, message).and_then(|()| encoder.finish());
                written.expect("memory takes what is written")
            }
            Self::Zstd => {
                zstd::bulk::compress(message, zstd::DEFAULT_COMPRESSION_LEVEL).expect("memory takes what is written")
            }
        }
    }
}

impl Workload {
    /// Makes requests of this shape.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        let mut random = fastrand::Rng::with_seed(shape.seed);
        let first = prepare(&shape, &mut random);
        let count = (TOGETHER / first.message_bytes.max(1)).clamp(FEWEST, DISTINCT);
        let others = (1..count).map(|_| prepare(&shape, &mut random));
        let requests = std::iter::once(first).chain(others).collect();
        Self { shape, requests }
    }

    /// What they are made of.
    #[must_use]
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// All of them, in the order in which they are used.
    #[must_use]
    pub fn requests(&self) -> &[Prepared] {
        &self.requests
    }

    /// How long the messages are when they aren't compressed, by record, in bytes.
    #[must_use]
    pub fn bytes_per_record(&self) -> f64 {
        let bytes: usize = self.requests.iter().map(|request| request.message_bytes).sum();
        let records: u64 = self.requests.iter().map(|request| request.records).sum();
        bytes as f64 / records.max(1) as f64
    }
}

/// Whether a message has an address for electronic mail or a card's number as the requests here have them: nothing that
/// redacts leaves one.
#[must_use]
pub fn has_personal_data(message: &[u8]) -> bool {
    let has = |text: &str| message.windows(text.len()).any(|window| window == text.as_bytes());
    has(records::MAIL_HOST) || has(records::CARD)
}

impl Prepared {
    /// How many of its records arrive. None where nobody knows.
    #[must_use]
    pub const fn kept(&self, kept: Kept) -> Option<u64> {
        match kept {
            Kept::All => Some(self.records),
            Kept::FromInfo => Some(self.from_info),
            Kept::Policy => Some(self.without_health_checks),
            Kept::Unknown => None,
        }
    }
}

fn prepare(shape: &Shape, random: &mut fastrand::Rng) -> Prepared {
    let request = records::request(shape, random);
    let records = || {
        let scopes = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
        scopes.flat_map(|scope| &scope.log_records)
    };
    let from_info = || records().filter(|record| records::is_from_info(record));
    let message = request.encode_to_vec();
    let content = shape.compression.compress(&message);
    let length = u32::try_from(content.len()).expect("no request has gigabytes");
    let mut body = Vec::with_capacity(5 + content.len());
    body.push(u8::from(shape.compression != Compression::None));
    body.extend_from_slice(&length.to_be_bytes());
    body.extend_from_slice(&content);
    Prepared {
        body: body.into(),
        message_bytes: message.len(),
        records: records().count() as u64,
        from_info: from_info().count() as u64,
        without_health_checks: from_info().filter(|record| !records::is_healthy_check(record)).count() as u64,
    }
}
