//! The task that owns a connection's socket: writes requests, reads answers, keeps time limits.
//!
//! A broker answers the requests of a connection one after another in their order, so the answers are matched with a
//! queue, and an answer out of turn means that nothing more can be believed. For the same reason a request that is
//! not answered in time ends the connection: what comes later could not be told from what came too late.
//!
//! When the connection ends, each request that was not answered is told what may be concluded. If a byte of it was
//! given to the socket it may have been carried out: [`PortError::Unknown`]. If not, it was not:
//! [`PortError::Unreachable`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use evenkeel_core::ports::PortError;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

/// How much room there is at least for bytes that arrive.
const READ_AHEAD: usize = 8 * 1024;
/// The bytes of a frame's length.
const LENGTH: usize = 4;
/// The bytes of a correlation id, with which each answer begins.
const CORRELATION: usize = 4;

/// What the holders of a connection may ask of its pump. When all have gone, the pump stops.
#[derive(Debug)]
pub(super) enum Command {
    Send(Request),
    /// Ends the connection, because an answer that was framed well could not be decoded.
    GiveUp(Arc<str>),
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Request {
    /// The whole frame.
    pub(super) frame: Bytes,
    pub(super) correlation: i32,
    pub(super) deadline: Instant,
    /// What the deadline was made from, for the error's text.
    pub(super) limit: Duration,
    /// Takes the answer's frame without its length.
    pub(super) reply: oneshot::Sender<Result<Bytes, PortError>>,
}

/// Owns both halves of a byte stream.
#[derive(Debug)]
pub(super) struct Pump<R, W> {
    server: Arc<str>,
    reader: R,
    writer: W,
    commands: mpsc::UnboundedReceiver<Command>,
    max_frame: usize,
    inbox: BytesMut,
    /// What is left to write of the last one in `sent`.
    outbox: Bytes,
    /// Not a byte of these was written.
    waiting: VecDeque<Request>,
    /// At least one byte of these was written; in the order of their answers.
    sent: VecDeque<Request>,
}

/// Why a connection ended.
#[derive(Debug)]
enum End {
    /// Nobody holds it any more.
    Released,
    /// The other side closed it, or the network did.
    Lost(Arc<str>),
    /// A request was not answered in time.
    TimedOut,
    /// The bytes that came are not an answer to the oldest request.
    Garbled(Arc<str>),
    /// A holder could not decode an answer.
    GivenUp(Arc<str>),
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Pump<R, W> {
    pub(super) fn new(
        server: Arc<str>,
        reader: R,
        writer: W,
        commands: mpsc::UnboundedReceiver<Command>,
        max_frame: usize,
    ) -> Self {
        Self {
            server,
            reader,
            writer,
            commands,
            max_frame,
            inbox: BytesMut::new(),
            outbox: Bytes::new(),
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
        }
    }

    /// Runs until the connection ends, then answers whatever is left.
    pub(super) async fn run(mut self) {
        let end = loop {
            if let Err(end) = self.step().await {
                break end;
            }
        };
        tracing::debug!(server = %self.server, ?end, "a connection has ended");
        self.settle(&end);
    }

    async fn step(&mut self) -> Result<(), End> {
        self.make_room();
        self.skip_cancelled();
        let deadline = self.sent.iter().chain(&self.waiting).map(|request| request.deadline).min();
        let outgoing: &[u8] = match self.waiting.front() {
            Some(next) if self.outbox.is_empty() => &next.frame,
            _ => &self.outbox,
        };
        // All of these lose nothing when another one is ready first.
        tokio::select! {
            biased;
            read = self.reader.read_buf(&mut self.inbox) => match read {
                Ok(0) => Err(End::Lost("the broker closed the connection".into())),
                Ok(_) => self.deliver(),
                Err(error) => Err(End::Lost(error.to_string().into())),
            },
            written = self.writer.write(outgoing), if !outgoing.is_empty() => match written {
                Ok(0) => Err(End::Lost("the connection takes no more bytes".into())),
                Ok(count) => {
                    self.advance(count);
                    Ok(())
                }
                Err(error) => Err(End::Lost(error.to_string().into())),
            },
            command = self.commands.recv() => match command {
                Some(Command::Send(request)) => {
                    self.waiting.push_back(request);
                    Ok(())
                }
                Some(Command::GiveUp(cause)) => Err(End::GivenUp(cause)),
                None => Err(End::Released),
            },
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => Err(End::TimedOut),
        }
    }

    /// Makes room for all of a frame whose length is known, so that large ones are read in place and sliced from it.
    fn make_room(&mut self) {
        let wanted = self.frame_length().map_or(READ_AHEAD, |length| LENGTH + length);
        self.inbox.reserve(wanted.saturating_sub(self.inbox.len()).max(1));
    }

    /// The length of the frame that the inbox begins with. [`deliver`](Self::deliver) has checked it.
    fn frame_length(&self) -> Option<usize> {
        let (length, _) = self.inbox.split_first_chunk::<LENGTH>()?;
        usize::try_from(i32::from_be_bytes(*length)).ok()
    }

    /// A request whose caller gave up before it was written need not be sent at all.
    fn skip_cancelled(&mut self) {
        if self.outbox.is_empty() {
            while self.waiting.front().is_some_and(|request| request.reply.is_closed()) {
                self.waiting.pop_front();
            }
        }
    }

    fn advance(&mut self, count: usize) {
        if self.outbox.is_empty() {
            let mut request = self.waiting.pop_front().expect("only a waiting request has bytes to write");
            self.outbox = std::mem::take(&mut request.frame);
            self.sent.push_back(request);
        }
        self.outbox.advance(count);
    }

    /// Hands out all the frames that are complete.
    fn deliver(&mut self) -> Result<(), End> {
        while let Some((length, _)) = self.inbox.split_first_chunk::<LENGTH>() {
            let length = i32::from_be_bytes(*length);
            let Some(length) =
                usize::try_from(length).ok().filter(|l| (CORRELATION..=self.max_frame).contains(l))
            else {
                return Err(End::Garbled(
                    format!("a frame of {length} bytes; {CORRELATION} to {} are possible", self.max_frame)
                        .into(),
                ));
            };
            if self.inbox.len() < LENGTH + length {
                break;
            }
            self.inbox.advance(LENGTH);
            let frame = self.inbox.split_to(length).freeze();
            let (id, _) = frame.split_first_chunk::<CORRELATION>().expect("a frame is no shorter than that");
            let id = i32::from_be_bytes(*id);
            match self.sent.front() {
                None => return Err(End::Garbled(format!("answer {id} to nothing").into())),
                Some(oldest) if oldest.correlation != id => {
                    return Err(End::Garbled(
                        format!("answer {id} when it was the turn of {}", oldest.correlation).into(),
                    ));
                }
                Some(_) => {
                    if let Some(request) = self.sent.pop_front() {
                        // Whoever has stopped waiting does not miss it.
                        let _ = request.reply.send(Ok(frame));
                    }
                }
            }
        }
        Ok(())
    }

    /// Tells every request that is still open what may be concluded.
    fn settle(mut self, end: &End) {
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Send(request) => self.waiting.push_back(request),
                Command::GiveUp(_) => {}
            }
        }
        let now = Instant::now();
        let server = || Arc::clone(&self.server);
        let cause: Arc<str> = match end {
            End::Released => "the connection was closed on this side".into(),
            End::Lost(cause) => Arc::clone(cause),
            End::TimedOut => "another request on its connection was not answered in time".into(),
            End::Garbled(cause) | End::GivenUp(cause) => {
                format!("its connection was given up after a damaged answer: {cause}").into()
            }
        };
        let why = |request: &Request| -> Arc<str> {
            if matches!(end, End::TimedOut) && request.deadline <= now {
                format!("not within {:?}", request.limit).into()
            } else {
                Arc::clone(&cause)
            }
        };
        // Only the oldest can be the one whose answer was garbled; the others have none yet.
        let garbled = match end {
            End::Garbled(cause) => self.sent.pop_front().map(|oldest| (oldest, Arc::clone(cause))),
            _ => None,
        };
        // Here too, whoever has stopped waiting does not miss the answer.
        if let Some((oldest, cause)) = garbled {
            let _ = oldest.reply.send(Err(PortError::Malformed { server: server(), cause }));
        }
        for request in self.sent.drain(..) {
            let error = PortError::Unknown { server: server(), cause: why(&request) };
            let _ = request.reply.send(Err(error));
        }
        for request in self.waiting.drain(..) {
            let error = PortError::Unreachable { server: server(), cause: why(&request) };
            let _ = request.reply.send(Err(error));
        }
    }
}
