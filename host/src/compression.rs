//! Compression of whole messages, for both directions of both transports.
use std::{
    cell::Cell,
    fmt,
    io::{self, BufRead, Read, Write},
};

use bytes::Bytes;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use libdeflater::{CompressionError, CompressionLvl, Compressor};

use crate::memory::{OverLimit, Reservation};

/// How a message is compressed, as `Content-Encoding` and `grpc-encoding` name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// RFC 1950, which HTTP calls deflate, or RFC 1951, which some clients take it for. Only ever read.
    Deflate,
}

/// Why a message can't be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// It is larger than it may be. No more than the limit was kept of it.
    #[error("larger than {0} bytes")]
    TooLarge(usize),
    /// There is no memory for it now.
    #[error(transparent)]
    OverLimit(#[from] OverLimit),
    /// It is not what it claims to be.
    #[error("not {encoding}: {reason}")]
    Corrupt {
        /// What it claims to be.
        encoding: Encoding,
        /// What is wrong.
        reason: io::Error,
    },
}

/// What a frame of Zstandard may ask to be kept of it in memory, as a power of two: 8 MiB, what RFC 8878 (section
/// 3.1.1.1.2) asks decoders to take, and what no more than that may be taken for.
const MAX_ZSTD_WINDOW: u32 = 23;

/// How much is decompressed before it is reserved: little beside a request's limit, much beside the work of reserving.
const STEP: usize = 1 << 20;

/// How many times larger than before a megabyte of a bomb becomes, at least. Logs stay far below it; what doesn't costs
/// twice the time.
const BOMB: usize = 100;

/// How hard gzip tries by default. Of log records it makes a twentieth more than zlib's default does, in half the time.
const GZIP_LEVEL: i32 = 4;

/// A compressed message as it is read.
struct Input<'a, T> {
    /// What is left of it, and how much of the first of them is read.
    pieces: &'a [T],
    at: usize,
    /// How many bytes were read in all.
    taken: &'a Cell<usize>,
}

impl Encoding {
    /// The encoding of this name. Names have no case (RFC 9110, section 8.4.1).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if is("gzip") || is("x-gzip") {
            Some(Self::Gzip)
        } else if is("zstd") {
            Some(Self::Zstd)
        } else if is("deflate") || is("zlib") {
            Some(Self::Deflate)
        } else {
            None
        }
    }

    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Deflate => "deflate",
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Decompresses `message` as far as `limit` bytes: what is larger costs no more than those.
///
/// # Errors
/// [`DecompressError`].
pub fn decompress(encoding: Encoding, message: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    unpack(encoding, &[message], limit, |_| Ok(()))
}

/// The same for a message in pieces, with every byte reserved soon after it is there.
///
/// # Errors
/// [`DecompressError`]. What was reserved until then stays so.
pub fn decompress_into(
    reservation: &Reservation,
    encoding: Encoding,
    message: &[Bytes],
    limit: usize,
) -> Result<Vec<u8>, DecompressError> {
    unpack(encoding, message, limit, |bytes| reservation.grow(bytes))
}

fn unpack<T: AsRef<[u8]>>(
    encoding: Encoding,
    message: &[T],
    limit: usize,
    mut reserve: impl FnMut(usize) -> Result<(), OverLimit>,
) -> Result<Vec<u8>, DecompressError> {
    let corrupt = |reason| DecompressError::Corrupt { encoding, reason };
    let too_large = || DecompressError::TooLarge(limit);
    let length = message.iter().map(|piece| piece.as_ref().len()).sum::<usize>();
    let taken = Cell::new(0);
    let open = || {
        let reader = reader(encoding, Input { pieces: message, at: 0, taken: &taken }).map_err(corrupt);
        reader.map(|reader| reader.take(limit as u64 + 1))
    };
    let mut reader = open()?;
    // Log records shrink to a fifth or less; a bomb gets no more room than it fills.
    let mut body = Vec::with_capacity(length.saturating_mul(4).min(limit));
    let mut reserved = 0;
    loop {
        let before = taken.get();
        (&mut reader).take(STEP as u64).read_to_end(&mut body).map_err(corrupt)?;
        let read = body.len() - reserved;
        if body.len() > limit {
            return Err(too_large());
        }
        if read == STEP && read > BOMB * (taken.get() - before) {
            break;
        }
        reserve(read)?;
        reserved += read;
        if read < STEP {
            return Ok(body);
        }
    }
    // This may be a bomb, so it is measured before it is kept.
    drop(body);
    let size = io::copy(&mut open()?, &mut io::sink()).map_err(corrupt)?;
    let size = usize::try_from(size).ok().filter(|size| *size <= limit).ok_or_else(too_large)?;
    reserve(size - reserved)?;
    let mut body = Vec::with_capacity(size);
    open()?.read_to_end(&mut body).map_err(corrupt)?;
    Ok(body)
}

/// What decompresses `input`.
fn reader<'a, T: AsRef<[u8]>>(encoding: Encoding, input: Input<'a, T>) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match encoding {
        Encoding::Gzip => Box::new(MultiGzDecoder::new(input)),
        Encoding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(MAX_ZSTD_WINDOW)?;
            Box::new(decoder)
        }
        Encoding::Deflate if is_zlib(input.pieces) => Box::new(ZlibDecoder::new(input)),
        Encoding::Deflate => Box::new(DeflateDecoder::new(input)),
    })
}

impl<T: AsRef<[u8]>> Read for Input<'_, T> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(to)?;
        self.consume(read);
        Ok(read)
    }
}

impl<T: AsRef<[u8]>> BufRead for Input<'_, T> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while let [first, rest @ ..] = self.pieces {
            if self.at < first.as_ref().len() {
                return Ok(&first.as_ref()[self.at..]);
            }
            (self.pieces, self.at) = (rest, 0);
        }
        Ok(&[])
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes;
        self.taken.set(self.taken.get() + bytes);
    }
}

/// Compresses `message`. `level` is the encoding's own, 1 to 9 or -1 for gzip and deflate, 1 to 22 for Zstandard;
/// without one it is the default.
///
/// # Panics
/// Where there is no such level.
#[must_use]
pub fn compress(encoding: Encoding, level: Option<i32>, message: &[u8]) -> Vec<u8> {
    // The Collector writes zlib's default as -1.
    let level = level.filter(|level| *level != -1);
    let deflate = || {
        let level = CompressionLvl::new(level.unwrap_or(GZIP_LEVEL)).expect("a level of deflate");
        Compressor::new(level)
    };
    match encoding {
        Encoding::Gzip => {
            let mut compressor = deflate();
            let most = compressor.gzip_compress_bound(message.len());
            fill(most, |room| compressor.gzip_compress(message, room))
        }
        Encoding::Deflate => {
            let mut compressor = deflate();
            let most = compressor.zlib_compress_bound(message.len());
            fill(most, |room| compressor.zlib_compress(message, room))
        }
        Encoding::Zstd => {
            let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
            zstd::stream::write::Encoder::new(Vec::with_capacity(message.len() / 4), level)
                .and_then(|mut encoder| encoder.write_all(message).map(|()| encoder))
                .and_then(zstd::stream::write::Encoder::finish)
                .expect("memory takes everything")
        }
    }
}

/// What `compress` writes into `most` bytes, which are enough, in no more memory than it takes.
fn fill(most: usize, compress: impl FnOnce(&mut [u8]) -> Result<usize, CompressionError>) -> Vec<u8> {
    let mut room = vec![0; most];
    let written = compress(&mut room).expect("the most that it may become fits");
    room.truncate(written);
    room.shrink_to_fit();
    room
}

/// Whether a message begins like zlib's format (RFC 1950, section 2.2): the method is deflate, and the check fits.
fn is_zlib<T: AsRef<[u8]>>(pieces: &[T]) -> bool {
    let mut bytes = pieces.iter().flat_map(|piece| piece.as_ref());
    match (bytes.next(), bytes.next()) {
        (Some(method), Some(flags)) => method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryLimiter;

    const ALL: [Encoding; 3] = [Encoding::Gzip, Encoding::Zstd, Encoding::Deflate];

    #[test]
    fn what_is_compressed_comes_back() {
        let message: Vec<u8> = (0..100_000_u32).flat_map(|n| (n % 251).to_le_bytes()).collect();
        for encoding in ALL {
            for level in [None, Some(1), Some(9)] {
                let compressed = compress(encoding, level, &message);
                assert!(compressed.len() < message.len() / 10);
                assert_eq!(decompress(encoding, &compressed, message.len()).unwrap(), message, "{encoding}");
            }
            let empty = compress(encoding, None, &[]);
            assert!(decompress(encoding, &empty, 0).unwrap().is_empty(), "{encoding}");
        }
    }

    #[test]
    fn deflate_is_taken_with_and_without_its_header() {
        let message = b"level=info ".repeat(100);
        let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        raw.write_all(&message).unwrap();
        let raw = raw.finish().unwrap();
        assert_eq!(decompress(Encoding::Deflate, &raw, 10_000).unwrap(), message);
    }

    #[test]
    fn several_members_and_frames_are_one_message() {
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let two = [compress(encoding, None, b"one "), compress(encoding, None, b"two")].concat();
            assert_eq!(decompress(encoding, &two, 100).unwrap(), b"one two", "{encoding}");
        }
    }

    #[test]
    fn the_limit_is_exact_and_a_bomb_is_cut_off() {
        let bomb = vec![0; 1 << 24];
        for encoding in ALL {
            let compressed = compress(encoding, None, &bomb);
            assert!(decompress(encoding, &compressed, bomb.len()).unwrap() == bomb, "{encoding}");
            for limit in [bomb.len() - 1, 1, 0] {
                let error = decompress(encoding, &compressed, limit).unwrap_err();
                assert!(matches!(error, DecompressError::TooLarge(found) if found == limit), "{encoding}: {error}");
            }
        }
    }

    #[test]
    fn what_is_decompressed_is_reserved_and_where_that_fails_it_ends() {
        let zeros = vec![0; 3 * STEP + 1];
        for encoding in ALL {
            let compressed = compress(encoding, None, &zeros);
            let pieces: Vec<_> = compressed.chunks(7).map(Bytes::copy_from_slice).collect();
            let memory = MemoryLimiter::new(zeros.len());
            let reservation = memory.open();
            let body = decompress_into(&reservation, encoding, &pieces, zeros.len()).unwrap();
            assert_eq!((body.len(), memory.in_use()), (zeros.len(), zeros.len()), "{encoding}");
            let error = decompress_into(&memory.open(), encoding, &pieces, zeros.len()).unwrap_err();
            assert!(matches!(error, DecompressError::OverLimit(_)), "{encoding}: {error}");
        }
    }

    #[test]
    fn what_is_cut_off_or_something_else_is_corrupt() {
        for encoding in ALL {
            let compressed = compress(encoding, None, b"level=info msg=ready");
            for bytes in [&compressed[..compressed.len() - 1], b"plain text, no compression"] {
                let error = decompress(encoding, bytes, 1000).unwrap_err();
                assert!(matches!(error, DecompressError::Corrupt { .. }), "{encoding}: {error}");
            }
        }
    }
}
