//! The gRPC codecs of an export call: a request is the bytes of a message, an answer is the message.
#[cfg(test)]
use bytes::BufMut;
use bytes::{Buf, Bytes};
use prost::Message;
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use crate::receive::{PartialSuccess, Response};

/// For the side that takes requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerCodec;

/// For the other side, in tests: exporters frame their calls themselves.
#[cfg(test)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientCodec;

/// Passes bytes through. A received message leaves tonic's buffer without being copied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw;

/// Encodes and decodes [`Response`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer;

/// Reads an answer.
///
/// # Errors
/// `INTERNAL`, where it is none.
pub(crate) fn response(message: impl Buf) -> Result<Response, Status> {
    let mut response = Response::decode(message).map_err(|e| Status::internal(format!("not an OTLP response: {e}")))?;
    // The Collector sets it in every answer. With nothing in it, it says the same as none: all was taken.
    response.partial_success.take_if(|partial| *partial == PartialSuccess::default());
    Ok(response)
}

impl Codec for ServerCodec {
    type Encode = Response;
    type Decode = Bytes;
    type Encoder = Answer;
    type Decoder = Raw;

    fn encoder(&mut self) -> Answer {
        Answer
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

#[cfg(test)]
impl Codec for ClientCodec {
    type Encode = Bytes;
    type Decode = Response;
    type Encoder = Raw;
    type Decoder = Answer;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Answer {
        Answer
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(src.copy_to_bytes(src.remaining())))
    }
}

#[cfg(test)]
impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        // In one step, where putting the bytes would let the buffer double its way up.
        dst.reserve(item.len());
        dst.put(item);
        Ok(())
    }
}

#[cfg(test)]
impl Decoder for Answer {
    type Item = Response;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Response>, Status> {
        response(src).map(Some)
    }
}

impl Encoder for Answer {
    type Item = Response;
    type Error = Status;

    fn encode(&mut self, item: Response, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(dst).map_err(|e| Status::internal(e.to_string()))
    }
}
