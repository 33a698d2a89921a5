//! Fewer and larger system calls for HTTP/2, which reads and writes one frame at a time.
use std::{
    cell::Cell,
    io::{self, IoSlice},
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
    thread::LocalKey,
};

use bytes::{Buf as _, BufMut as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::{poll_read_buf, poll_write_buf};

pub(crate) use self::outgoing::Lendings;
use self::outgoing::Outgoing;

mod outgoing;

/// A connection that reads ahead, and that gathers what its task writes until the task's next turn. So frames of one
/// message, and answers to requests that were done at the same time, go out together.
///
/// It is made for tasks that, whenever they are polled, read first and flush last, as those of HTTP/2 do. Others pay a
/// few turns for a flush.
#[derive(Debug)]
pub(crate) struct Buffered<T> {
    io: T,
    /// What was read ahead.
    incoming: Buffer,
    /// How much is read ahead the next time.
    ahead: usize,
    outgoing: Outgoing,
    lendings: Lendings,
    flush: Flush,
}

/// Bytes on their way, of which the first are gone already.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    gone: usize,
}

/// When what is gathered goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flush {
    /// Nobody has asked for it.
    Unasked,
    /// It was put off so many times, and the task is to be polled again.
    Deferred(u8),
    /// The task was polled again.
    Due,
}

/// How much is read ahead, in bytes: some dozens of small requests. It is kept only until it is read.
const READ: usize = 32 << 10;

/// The same behind a large frame, with which the next one is likely to be large, too: its head, and that of its request.
/// What is read ahead of a frame is copied, and the rest of a large one is not.
const HEADS: usize = 1 << 10;

/// How much is copied to be gathered, in bytes: four of HTTP/2's usual frames and their heads.
const GATHERED: usize = 4 * (16 << 10) + 256;

/// How much is gathered in all, in bytes, with what is lent and not copied.
const KEPT: usize = 256 << 10;

/// How often a flush is put off while the task reads nothing.
const PATIENCE: u8 = 32;

thread_local! {
    // An idle connection holds nothing; whichever is next takes what the last one has left.
    static INCOMING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static OUTGOING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Buffer {
    /// An empty one with room for `capacity` bytes: the one that was left in `spare`, if there is one.
    fn new(spare: &'static LocalKey<Cell<Vec<u8>>>, capacity: usize) -> Self {
        let mut bytes = spare.take();
        bytes.reserve(capacity);
        Self { bytes, gone: 0 }
    }

    fn left(&self) -> &[u8] {
        &self.bytes[self.gone..]
    }

    fn is_empty(&self) -> bool {
        self.left().is_empty()
    }

    /// Makes room for others where those that are gone stood. There are none unless a write was taken in part.
    fn forget_gone(&mut self) {
        self.bytes.drain(..mem::take(&mut self.gone));
    }

    /// Leaves its memory in `spare`.
    fn give_back(&mut self, spare: &'static LocalKey<Cell<Vec<u8>>>) {
        let mut bytes = mem::take(self).bytes;
        bytes.clear();
        spare.set(bytes);
    }
}

impl<T> Buffered<T> {
    pub(crate) fn new(io: T) -> Self {
        let (incoming, outgoing, lendings) = (Buffer::default(), Outgoing::default(), Lendings::default());
        Self { io, incoming, ahead: READ, outgoing, lendings, flush: Flush::Unasked }
    }

    /// Where requests lend their bytes, so that those need not be copied.
    pub(crate) fn lendings(&self) -> &Lendings {
        &self.lendings
    }
}

impl<T: AsyncWrite + Unpin> Buffered<T> {
    /// Writes all that was gathered.
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.outgoing.has_remaining() {
            let written = poll_write_buf(Pin::new(&mut self.io), context, &mut self.outgoing);
            self.lendings.set_stuck(written.is_pending());
            if ready!(written)? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        self.outgoing.give_back();
        self.flush = Flush::Unasked;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Buffered<T> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Flush::Deferred(_) = this.flush {
            this.flush = Flush::Due;
        }
        if this.incoming.is_empty() {
            if buffer.remaining() >= READ {
                this.ahead = HEADS;
                return Pin::new(&mut this.io).poll_read(context, buffer);
            }
            let mut incoming = Buffer::new(&INCOMING, READ);
            let mut room = (&mut incoming.bytes).limit(this.ahead);
            let read = poll_read_buf(Pin::new(&mut this.io), context, &mut room);
            if !matches!(read, Poll::Ready(Ok(1..))) {
                incoming.give_back(&INCOMING);
                return read.map_ok(drop);
            }
            (this.incoming, this.ahead) = (incoming, READ);
        }
        let left = this.incoming.left();
        let count = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..count]);
        this.incoming.gone += count;
        if this.incoming.is_empty() {
            this.incoming.give_back(&INCOMING);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Buffered<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        if this.outgoing.copied() + length > GATHERED || this.outgoing.remaining() + length > KEPT {
            ready!(this.poll_drain(context))?;
            if length > GATHERED {
                return Pin::new(&mut this.io).poll_write_vectored(context, slices);
            }
        }
        slices.iter().for_each(|slice| this.outgoing.push(slice, &this.lendings));
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let deferred = match this.flush {
            _ if !this.outgoing.has_remaining() => None,
            Flush::Unasked => Some(1),
            Flush::Deferred(times) => Some(times + 1).filter(|times| *times < PATIENCE),
            Flush::Due => None,
        };
        if let Some(times) = deferred {
            this.flush = Flush::Deferred(times);
            context.waker().wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        ready!(this.poll_drain(context))?;
        Pin::new(&mut this.io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(context))?;
        Pin::new(&mut this.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
