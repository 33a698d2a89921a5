//! From a body on the wire to a message.
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tonic::body::Body;

use super::http::MediaType;
use crate::{
    compression::{DecompressError, Encoding, decompress_into},
    json::{self, TextError},
    memory::Reservation,
    receive::Signal,
    status::Error,
    work,
};

/// How large a message may be, compressed or not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) bytes: usize,
    /// The configuration's name for it.
    pub(super) key: &'static str,
}

/// What has to be known of a body to make a message of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Encoded {
    pub(super) signal: Signal,
    pub(super) media_type: MediaType,
    pub(super) encoding: Option<Encoding>,
    pub(super) limit: Limit,
}

/// A message.
#[derive(Debug)]
pub(super) struct Decoded {
    /// In protobuf.
    pub(super) body: Bytes,
    /// What it was made from, where that may be passed on.
    pub(super) json: Option<Bytes>,
}

/// What came of a body so far: in the pieces in which it came, or [joined](Self::join).
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// Of what is joined, none.
    pieces: Vec<Bytes>,
    joined: BytesMut,
    len: usize,
}

/// For how many bytes room is made before they have come. Whoever only claims to send so many takes room that nobody
/// fills. What is larger stays in pieces until all have come.
const AHEAD: usize = 4 << 20;

/// How many bytes on the wire are decoded where the request is served. It takes about as long as a filter; more of it
/// would keep other requests waiting.
const AT_ONCE: usize = 16 << 10;

/// The next piece of `body`, which is reserved, or nothing at its end. It may be as long as `room`.
///
/// # Errors
/// [`Error::TooLarge`] before more is read; [`Error::OverLimit`]; [`Error::Undecodable`] where the body breaks off.
pub(super) async fn next(
    body: &mut Body,
    room: usize,
    limit: Limit,
    held: &Reservation,
) -> Result<Option<Bytes>, Error> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| Error::Undecodable(format!("the body breaks off: {}", e.message())))?;
        // Trailers mean nothing here.
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > room {
            return Err(limit.exceeded());
        }
        held.grow(data.len())?;
        return Ok(Some(data));
    }
    Ok(None)
}

impl Limit {
    pub(super) fn exceeded(self) -> Error {
        Error::TooLarge { limit: self.bytes, key: self.key }
    }
}

impl Pieces {
    pub(super) fn push(&mut self, data: Bytes) {
        self.len += data.len();
        if self.joined.capacity() > 0 {
            self.joined.extend_from_slice(&data);
        } else {
            self.pieces.push(data);
        }
    }

    /// Puts what came, and what is still to come of `total` bytes, in one piece: now, while the processor has at hand what
    /// came last. Not where all are there, which mostly are in one piece already.
    pub(super) fn join(&mut self, total: usize) {
        if self.len < total && total <= AHEAD {
            self.joined.reserve(total);
            self.pieces.drain(..).for_each(|piece| self.joined.put(piece));
        }
    }

    /// In bytes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Takes the first `N` bytes off, where there are so many. Nothing may be joined yet.
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut start = [0; N];
        let bytes = self.pieces.iter().flatten();
        let found = start.iter_mut().zip(bytes).map(|(to, byte)| *to = *byte).count();
        (found == N).then(|| {
            self.skip(N);
            start
        })
    }

    fn skip(&mut self, mut count: usize) {
        self.len -= count;
        for piece in &mut self.pieces {
            let skipped = count.min(piece.len());
            piece.advance(skipped);
            count -= skipped;
        }
    }

    /// In one piece. What is in one already is not copied.
    fn whole(mut self) -> Bytes {
        self.pieces.retain(|piece| !piece.is_empty());
        if self.pieces.len() > 1 {
            self.joined.reserve(self.len);
            self.pieces.drain(..).for_each(|piece| self.joined.put(piece));
        }
        self.pieces.pop().unwrap_or_else(|| self.joined.freeze())
    }
}

impl Encoded {
    /// Makes a message of `wire`. `held` covers `wire`, and then the message and its way out.
    pub(super) async fn decode(self, wire: Pieces, held: Reservation) -> Result<Decoded, Error> {
        let is_plain = self.encoding.is_none() && self.media_type == MediaType::Protobuf;
        if is_plain || wire.len() <= AT_ONCE {
            return self.decode_now(wire, &held);
        }
        work::run(move || self.decode_now(wire, &held)).await.unwrap_or(Err(Error::Draining))
    }

    fn decode_now(self, wire: Pieces, held: &Reservation) -> Result<Decoded, Error> {
        let content = match self.encoding {
            None => {
                held.resize(2 * wire.len())?;
                wire.whole()
            }
            Some(encoding) => {
                let content = decompress_into(held, encoding, &wire.pieces, self.limit.bytes);
                let content = content.map_err(|error| match error {
                    DecompressError::TooLarge(_) => self.limit.exceeded(),
                    DecompressError::OverLimit(over) => over.into(),
                    DecompressError::Corrupt { .. } => Error::Undecodable(format!("the body is {error}")),
                })?;
                drop(wire);
                Bytes::from(content)
            }
        };
        let (body, json) = match self.media_type {
            MediaType::Protobuf => (content, None),
            MediaType::Json => {
                // A message mostly takes less room in protobuf. What takes more is known when it is there.
                held.resize(2 * content.len())?;
                let body = json::from_text(self.signal, &content, self.limit.bytes).map_err(|error| match error {
                    TextError::TooLarge => self.limit.exceeded(),
                    TextError::Json(error) => error.into(),
                })?;
                // What filters may change is not passed on as it came.
                (body, (self.signal != Signal::Logs).then_some(content))
            }
        };
        // The message is there twice when it is sent: as it came, and as it was encoded for a destination.
        held.resize(2 * body.len() + json.as_ref().map_or(0, Bytes::len))?;
        Ok(Decoded { body, json })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_whole_however_they_came() {
        let message: Vec<u8> = (0..2 * AHEAD as u32).map(|n| (n % 251) as u8).collect();
        let check = |length: usize, sizes: &[usize], claimed: Option<usize>| {
            let (mut rest, mut sizes) = (Bytes::copy_from_slice(&message[..length]), sizes.iter().cycle());
            let mut pieces = Pieces::default();
            let mut first = None;
            while !rest.is_empty() {
                pieces.push(rest.split_to(rest.len().min(*sizes.next().expect("a size"))));
                if first.is_none() {
                    first = pieces.take::<5>();
                    claimed.filter(|_| first.is_some()).inspect(|claimed| pieces.join(*claimed));
                }
            }
            assert_eq!(first.as_ref().map(|first| &first[..]), message[..length].get(..5));
            let start = if first.is_some() { 5 } else { 0 };
            assert_eq!(pieces.len(), length - start);
            assert!(pieces.whole() == message[start..length], "{length} bytes by {sizes:?}, {claimed:?} claimed");
        };
        for length in [0, 4, 5, 6, 100, 70_000, 2 * AHEAD] {
            for sizes in [&[1 << 20][..], &[16 << 10], &[1, 2, 3, 40_000], &[7, 1 << 22]] {
                // Nothing, all, less and more than all.
                for claimed in [None, Some(length), Some(length / 2), Some(length + 1), Some(usize::MAX)] {
                    check(length, sizes, claimed);
                }
            }
        }
    }
}
