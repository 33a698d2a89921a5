//! From a body on the wire to a message.
use std::panic::resume_unwind;

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;
use tonic::body::Body;

use super::MediaType;
use crate::{
    compression::{DecompressError, Encoding, decompress_into},
    json,
    memory::Reservation,
    receive::Signal,
    status::Error,
};

/// What has to be known of a body to make a message of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Encoded {
    pub(super) signal: Signal,
    pub(super) media_type: MediaType,
    pub(super) encoding: Option<Encoding>,
    /// How large it may be, compressed or not, in bytes.
    pub(super) limit: usize,
}

/// A message.
#[derive(Debug)]
pub(super) struct Decoded {
    /// In protobuf.
    pub(super) body: Bytes,
    /// What it was made from, where that may be passed on.
    pub(super) json: Option<Bytes>,
}

/// The configuration's name for the limit.
const LIMIT: &str = "max_request_body_size";

/// How much room is made before the first byte is there. Buffers grow, so this only spares small requests the growing.
const FIRST_ROOM: usize = 64 << 10;

/// How many bytes on the wire are decoded where the request is served. It takes about as long as a filter; more of it
/// would keep other requests waiting.
const AT_ONCE: usize = 16 << 10;

/// Reads a body of at most `limit` bytes, all of which are reserved as they come.
///
/// # Errors
/// [`Error::TooLarge`] before more is read; [`Error::OverLimit`]; [`Error::Undecodable`] where the body breaks off.
pub(super) async fn read(mut body: Body, limit: usize, held: &mut Reservation) -> Result<Bytes, Error> {
    let too_large = Error::TooLarge { limit, key: LIMIT };
    let announced = body.size_hint();
    if announced.lower() > limit as u64 {
        return Err(too_large);
    }
    let room = announced.exact().and_then(|exact| usize::try_from(exact).ok()).unwrap_or_default();
    let mut message = BytesMut::with_capacity(room.min(FIRST_ROOM));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| Error::Undecodable(format!("the body breaks off: {}", e.message())))?;
        // Trailers mean nothing here.
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limit - message.len() {
            return Err(too_large);
        }
        held.grow(data.len())?;
        message.extend_from_slice(&data);
    }
    Ok(message.freeze())
}

impl Encoded {
    /// Makes a message of `wire`, and of `held`, which covers `wire`, what covers the message and its way out.
    pub(super) async fn decode(self, wire: Bytes, mut held: Reservation) -> Result<(Decoded, Reservation), Error> {
        let is_plain = self.encoding.is_none() && self.media_type == MediaType::Protobuf;
        if is_plain || wire.len() <= AT_ONCE {
            return Ok((self.decode_now(wire, &mut held)?, held));
        }
        let decoding = tokio::task::spawn_blocking(move || Ok((self.decode_now(wire, &mut held)?, held)));
        match decoding.await {
            Ok(decoded) => decoded,
            Err(ended) if ended.is_panic() => resume_unwind(ended.into_panic()),
            // The runtime is on its way down.
            Err(_) => Err(Error::Draining),
        }
    }

    fn decode_now(self, wire: Bytes, held: &mut Reservation) -> Result<Decoded, Error> {
        let content = match self.encoding {
            None => wire,
            Some(encoding) => {
                let content = decompress_into(held, encoding, &wire, self.limit)?;
                drop(wire);
                Bytes::from(content)
            }
        };
        let (body, json) = match self.media_type {
            MediaType::Protobuf => (content, None),
            MediaType::Json => {
                // A message takes less room in protobuf.
                held.resize(2 * content.len())?;
                let body = json::from_text(self.signal, &content)?;
                // What filters may change is not passed on as it came.
                (body, (self.signal != Signal::Logs).then_some(content))
            }
        };
        // The message is there twice when it is sent: as it came, and as it was encoded for a destination.
        held.resize(2 * body.len() + json.as_ref().map_or(0, Bytes::len))?;
        Ok(Decoded { body, json })
    }
}

impl From<DecompressError> for Error {
    fn from(error: DecompressError) -> Self {
        match error {
            DecompressError::TooLarge(limit) => Self::TooLarge { limit, key: LIMIT },
            DecompressError::OverLimit(over) => Self::OverLimit(over),
            DecompressError::Corrupt { .. } => Self::Undecodable(format!("the body is {error}")),
        }
    }
}
