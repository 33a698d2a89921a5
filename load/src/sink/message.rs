//! A gRPC message: counted while it comes, kept to be looked at.
use std::io::{self, Write as _};

use bytes::{Buf as _, Bytes};
use flate2::write::MultiGzDecoder;

use super::count::RecordCounter;
use crate::workload::Compression;

/// gRPC's prefix: whether the message is compressed, and its length in four bytes.
const PREFIX: usize = 5;

/// A message while it comes.
pub(super) struct Incoming {
    compression: Compression,
    /// What has come of the prefix.
    prefix: Vec<u8>,
    counter: Counter,
    /// What has come after the prefix, in bytes.
    length: u64,
    keeps: bool,
    /// The same, where it is kept.
    content: Content,
}

/// A message as it came, without its prefix.
#[derive(Debug, Clone)]
pub(super) struct Content {
    compression: Compression,
    pieces: Vec<Bytes>,
}

/// Counts records in what is written to it.
enum Counter {
    Plain(RecordCounter),
    Gzip(Box<MultiGzDecoder<RecordCounter>>),
    Zstd(Box<zstd::stream::write::Decoder<'static, RecordCounter>>),
}

impl Incoming {
    /// A message of a call with this `grpc-encoding`, which `keeps` its content.
    pub(super) fn new(encoding: Option<&str>, keeps: bool) -> io::Result<Self> {
        let unknown = || io::Error::new(io::ErrorKind::InvalidData, "an unknown grpc-encoding");
        let compression =
            encoding.map_or(Ok(Compression::None), |name| Compression::from_name(name).ok_or_else(unknown))?;
        Ok(Self {
            compression,
            prefix: Vec::with_capacity(PREFIX),
            counter: Counter::Plain(RecordCounter::default()),
            length: 0,
            keeps,
            content: Content::default(),
        })
    }

    /// Takes the next piece.
    pub(super) fn push(&mut self, mut piece: Bytes) -> io::Result<()> {
        let missing = PREFIX - self.prefix.len();
        if missing > 0 {
            let part = piece.split_to(missing.min(piece.len()));
            self.prefix.extend_from_slice(&part);
            if self.prefix.len() < PREFIX {
                return Ok(());
            }
            // A sender may leave a message as it is though the call has an encoding.
            self.content.compression = if self.prefix[0] == 0 { Compression::None } else { self.compression };
            self.counter = Counter::new(self.content.compression)?;
        }
        self.length += piece.len() as u64;
        self.counter.write(&piece)?;
        if self.keeps {
            self.content.pieces.push(piece);
        }
        Ok(())
    }

    /// How many records it had, how many bytes, and what it keeps of them.
    pub(super) fn finish(self) -> io::Result<(u64, u64, Content)> {
        let announced = self.prefix.get(1..PREFIX).map(|mut length| u64::from(length.get_u32()));
        if announced != Some(self.length) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not as long as its prefix says"));
        }
        Ok((self.counter.finish()?, self.length, self.content))
    }
}

impl Content {
    /// The message, uncompressed.
    pub(super) fn message(&self) -> io::Result<Vec<u8>> {
        self.compression.decompress(&self.pieces.concat(), u64::MAX)
    }
}

impl Default for Content {
    fn default() -> Self {
        Self { compression: Compression::None, pieces: Vec::new() }
    }
}

impl Counter {
    fn new(compression: Compression) -> io::Result<Self> {
        let counter = RecordCounter::default();
        Ok(match compression {
            Compression::None => Self::Plain(counter),
            Compression::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(counter))),
            Compression::Zstd => Self::Zstd(Box::new(zstd::stream::write::Decoder::new(counter)?)),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(counter) => counter.write_all(bytes),
            Self::Gzip(decoder) => decoder.write_all(bytes),
            Self::Zstd(decoder) => decoder.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<u64> {
        match self {
            Self::Plain(counter) => counter.finish(),
            Self::Gzip(decoder) => decoder.finish()?.finish(),
            Self::Zstd(mut decoder) => {
                decoder.flush()?;
                decoder.into_inner().finish()
            }
        }
    }
}
