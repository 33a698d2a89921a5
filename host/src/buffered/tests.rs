use std::{future::poll_fn, task::Waker};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use bytes::Bytes;

use super::*;
use crate::memory::MemoryLimiter;

/// One end of a pipe that notes how much is written to it and read from it at once.
#[derive(Debug)]
struct Noted {
    io: DuplexStream,
    written: Vec<usize>,
    read: Vec<usize>,
}

/// A connection and its other end.
fn connection() -> (Buffered<Noted>, DuplexStream) {
    let (near, far) = duplex(1 << 20);
    (Buffered::new(Noted { io: near, written: Vec::new(), read: Vec::new() }), far)
}

/// What a task does in one turn that has something to write: it reads first, and flushes after each write.
fn turn(connection: &mut Buffered<impl AsyncRead + AsyncWrite + Unpin>, writes: &[&[u8]]) {
    let mut context = Context::from_waker(Waker::noop());
    let mut byte = [0];
    assert!(Pin::new(&mut *connection).poll_read(&mut context, &mut ReadBuf::new(&mut byte)).is_pending());
    for bytes in writes {
        let written = Pin::new(&mut *connection).poll_write(&mut context, bytes);
        assert!(matches!(written, Poll::Ready(Ok(count)) if count == bytes.len()), "{written:?}");
        assert!(Pin::new(&mut *connection).poll_flush(&mut context).is_ready());
    }
    assert!(Pin::new(&mut *connection).poll_flush(&mut context).is_ready());
}

#[tokio::test]
async fn what_is_written_in_one_turn_goes_out_in_the_next_one() {
    let (mut connection, mut far) = connection();
    turn(&mut connection, &[b"a frame", b", another"]);
    assert_eq!(connection.io.written, [0; 0]);
    turn(&mut connection, &[b" and one more"]);
    assert_eq!(connection.io.written, [29], "all that was written until it flushed");
    turn(&mut connection, &[]);
    assert_eq!(connection.io.written, [29]);
    let mut arrived = [0; 29];
    far.read_exact(&mut arrived).await.unwrap();
    assert_eq!(&arrived, b"a frame, another and one more");
    assert_eq!(connection.outgoing.capacity(), 0, "nothing is kept");
}

#[tokio::test]
async fn a_task_that_reads_nothing_is_flushed_after_a_few_turns() {
    let (mut connection, mut far) = connection();
    connection.write_all(b"said").await.unwrap();
    let mut turns = 0;
    while connection.io.written.is_empty() {
        connection.flush().await.unwrap();
        turns += 1;
        assert!(turns <= u32::from(PATIENCE), "it is never flushed");
    }
    connection.write_all(b" and done").await.unwrap();
    connection.shutdown().await.unwrap();
    let mut arrived = String::new();
    far.read_to_string(&mut arrived).await.unwrap();
    assert_eq!(arrived, "said and done");
}

#[tokio::test]
async fn large_pieces_are_not_gathered_and_stay_in_order() {
    let (mut connection, mut far) = connection();
    let large = vec![7; GATHERED + 1];
    turn(&mut connection, &[b"small", &large, b"last"]);
    assert_eq!(connection.io.written, [5, large.len()]);
    connection.shutdown().await.unwrap();
    let mut arrived = Vec::new();
    far.read_to_end(&mut arrived).await.unwrap();
    assert_eq!(arrived, [b"small", &*large, b"last"].concat());
}

#[tokio::test]
async fn what_is_lent_is_not_copied_and_is_held_until_it_is_written() {
    let (mut connection, mut far) = connection();
    let memory = MemoryLimiter::new(1 << 20);
    let held = memory.open();
    held.grow(70_000).unwrap();
    let body = Bytes::from(vec![b'b'; 70_000]);
    let lendings = connection.lendings().clone();
    let loan = lendings.lend([&body, &Bytes::from_static(b"small")].into_iter(), Some(&held));
    turn(&mut connection, &[b"head", &body[..5_000], &body[5_000..5_010], b"head", &body[5_010..], &[0; 5_000]]);
    assert_eq!((connection.outgoing.copied(), connection.outgoing.remaining()), (4 + 10 + 4 + 5_000, 75_008));
    // The request is over, and with it what it holds, but for what is on its way.
    drop((loan, held));
    assert_eq!(memory.in_use(), 70_000);
    let mut arrived = vec![0; 75_008];
    turn(&mut connection, &[&body[..5_000]]);
    assert_eq!(memory.in_use(), 0);
    assert_eq!(connection.outgoing.copied(), 0, "all is written, the last one copied");
    far.read_exact(&mut arrived).await.unwrap();
    let expected = [b"head", &body[..5_010], b"head", &body[5_010..], &[0; 5_000]].concat();
    assert!(arrived == expected);
}

#[tokio::test]
async fn what_is_gathered_is_bounded_with_what_is_lent() {
    let (mut connection, _far) = connection();
    let body = Bytes::from(vec![b'b'; KEPT]);
    let lendings = connection.lendings().clone();
    let _loan = lendings.lend([&body].into_iter(), None);
    turn(&mut connection, &[&body[..GATHERED / 2]].repeat(20));
    assert_eq!(connection.io.written[0], KEPT / (GATHERED / 2) * (GATHERED / 2));
    assert!(connection.outgoing.remaining() <= KEPT && connection.io.written.iter().all(|written| *written <= KEPT));
    assert_eq!(lendings.kept(), 20 * (GATHERED / 2));
}

#[tokio::test]
async fn what_is_kept_of_several_requests_is_bounded() {
    const EACH: usize = 3 << 20;
    let bodies: Vec<_> = (0..5).map(|n| Bytes::from(vec![n; EACH])).collect();
    let (mut connection, _far) = connection();
    let lendings = connection.lendings().clone();
    let _loan = lendings.lend(bodies.iter(), None);
    let parts: Vec<_> = bodies.iter().flat_map(|body| [&body[..2_000], &body[4_000..6_000]]).collect();
    turn(&mut connection, &parts);
    // Two of them fit.
    assert_eq!((lendings.kept(), connection.outgoing.copied()), (2 * 4_000, 3 * 4_000));
    let (mut connection, _far) = self::connection();
    let huge = Bytes::from(vec![0; 10 << 20]);
    let lendings = connection.lendings().clone();
    let _loan = lendings.lend([&huge].into_iter(), None);
    turn(&mut connection, &[&huge[..2_000], &huge[2_000..4_000]]);
    assert_eq!(lendings.kept(), 4_000, "one alone always does");
}

#[tokio::test]
async fn a_connection_is_stuck_while_nobody_reads() {
    let (near, mut far) = duplex(10);
    let mut connection = Buffered::new(near);
    let lendings = connection.lendings().clone();
    turn(&mut connection, &[b"more than ten bytes"]);
    assert!(!lendings.are_stuck(), "it was not tried yet");
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..PATIENCE {
        let _ = Pin::new(&mut connection).poll_flush(&mut context);
    }
    assert!(lendings.are_stuck());
    far.read_exact(&mut [0; 10]).await.unwrap();
    connection.flush().await.unwrap();
    assert!(!lendings.are_stuck());
}

#[tokio::test]
async fn small_reads_share_one_and_large_ones_read_directly() {
    let (mut connection, mut far) = connection();
    let sent: Vec<u8> = (0..3 * READ).map(|n| n as u8).collect();
    far.write_all(&sent).await.unwrap();
    drop(far);
    let mut read = Vec::new();
    for size in [1, 9, READ - 11, 1, 2 * READ] {
        let mut piece = vec![0; size];
        let count = poll_fn(|context| {
            let mut buffer = ReadBuf::new(&mut piece);
            let done = Pin::new(&mut connection).poll_read(context, &mut buffer);
            done.map_ok(|()| buffer.filled().len())
        });
        let count = count.await.unwrap();
        assert_eq!(count, size);
        read.extend_from_slice(&piece[..count]);
    }
    assert_eq!(connection.io.read, [READ, 2 * READ]);
    assert_eq!(read, sent);
    assert_eq!(connection.read(&mut [0]).await.unwrap(), 0, "the end");
}

impl AsyncRead for Noted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_read(context, buffer))?;
        self.read.push(buffer.filled().len());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Noted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.io).poll_write(context, bytes))?;
        self.written.push(count);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        self.poll_write(context, &all)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[tokio::test]
async fn what_a_slow_reader_leaves_waits_and_takes_no_more_room_than_before() {
    let (near, mut far) = duplex(1_000);
    let mut connection = Buffered::new(near);
    let sent: Vec<u8> = (0..20 * GATHERED).map(|n| (n % 251) as u8).collect();
    let expected = sent.clone();
    let reader = tokio::spawn(async move {
        let mut arrived = Vec::new();
        far.read_to_end(&mut arrived).await.unwrap();
        arrived
    });
    let sent = Bytes::from(sent);
    let lendings = connection.lendings().clone();
    let half = sent.slice(sent.len() / 2..);
    let _loan = lendings.lend([&half].into_iter(), None);
    for piece in sent.chunks(GATHERED / 3) {
        connection.write_all(piece).await.unwrap();
        connection.flush().await.unwrap();
        assert!(connection.outgoing.capacity() <= GATHERED);
    }
    connection.shutdown().await.unwrap();
    drop(connection);
    assert!(reader.await.unwrap() == expected);
}

#[tokio::test]
async fn little_is_read_ahead_of_what_follows_a_large_read() {
    let (mut connection, mut far) = connection();
    far.write_all(&vec![1; 4 * READ]).await.unwrap();
    for size in [READ, 9, 9] {
        connection.read_exact(&mut vec![0; size]).await.unwrap();
    }
    assert_eq!(connection.io.read, [READ, HEADS]);
    // There were no large ones any more.
    connection.read_exact(&mut vec![0; HEADS]).await.unwrap();
    assert_eq!(connection.io.read, [READ, HEADS, READ]);
}
