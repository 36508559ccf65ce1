//! One connection: reads a request, has it answered, writes the answer, and so on.
//!
//! While a request is in work the socket is still read, a little ahead, so that a client that goes away is noticed and
//! its parked request forgotten.

mod mistreated;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use evenkeel_core::model::BrokerId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::owner::Owner;
use super::sabotage::Sabotage;
use crate::message::{Answer, Origin, Request, Text};
use crate::wire::{self, Ask, Call, Frame};

/// How far the socket is read ahead of the request in work.
const READ_AHEAD: usize = 128 * 1024;
/// The least that is read at a time: a producer's batch of usual size comes in one piece.
const READ_AT_ONCE: usize = 32 * 1024;
/// The length, the key and the version.
const PREFIX: usize = 4;
/// A request has a key, a version, a correlation id and a client id.
const SHORTEST: usize = 10;
/// How many parts of an answer are written at once.
const PARTS: usize = 64;

/// Why a connection ends.
enum Ending {
    /// The client closed it.
    Closed,
    /// The broker is dead, or the cluster gone.
    HungUp,
    /// A produce that is not acknowledged was refused. That the connection ends is all that its producer learns of it.
    Refused,
    /// The client sent what is no request.
    Malformed(String),
    /// The socket broke.
    Broken(io::Error),
    /// It is to be reset, for a fault of the plan.
    Reset,
}

impl From<io::Error> for Ending {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// Serves a connection until it ends.
pub(super) async fn serve(
    broker: BrokerId,
    stream: TcpStream,
    from: SocketAddr,
    owner: Owner,
    sabotage: Option<Sabotage>,
) {
    if let Err(cause) = stream.set_nodelay(true) {
        tracing::debug!(%from, %cause, "a connection broke before it began");
        return;
    }
    let host = format!("/{}", from.ip()).into();
    let origin = Origin { broker, client: "".into(), host };
    let mut connection = Connection { stream, buffer: BytesMut::new(), origin, owner, sabotage };
    match connection.run().await {
        Ending::Closed | Ending::HungUp => {}
        Ending::Refused => tracing::debug!(%from, "a produce without acknowledgement was refused"),
        Ending::Malformed(cause) => tracing::warn!(%from, %cause, "a malformed request: connection closed"),
        Ending::Broken(cause) => tracing::debug!(%from, %cause, "a connection broke"),
        Ending::Reset => connection.reset(),
    }
}

struct Connection {
    stream: TcpStream,
    /// What has been read and not taken yet.
    buffer: BytesMut,
    origin: Origin,
    owner: Owner,
    sabotage: Option<Sabotage>,
}

impl Connection {
    async fn run(&mut self) -> Ending {
        if let Err(ending) = self.welcome().await {
            return ending;
        }
        loop {
            match self.turn().await {
                Ok(()) => {}
                Err(ending) => return ending,
            }
        }
    }

    /// One request and its answer.
    async fn turn(&mut self) -> Result<(), Ending> {
        let frame = self.next_frame().await?;
        let call = wire::decode(frame).map_err(|why| Ending::Malformed(why.to_string()))?;
        if let Some(sabotage) = self.sabotage.clone() {
            return self.mistreat(call, &sabotage).await;
        }
        let Call { ticket, client, ask } = call;
        match ask {
            Ask::Versions(frame) => self.write(frame).await?,
            Ask::Silent(request) => self.serve_silent(client, request).await?,
            Ask::Cluster(request) => {
                let answer = self.ask(client, request).await?;
                self.write(wire::encode(ticket, &answer)).await?;
                pause(&answer).await;
            }
        }
        Ok(())
    }

    /// A request without a reply. The end of the connection is the only sign that it was refused.
    async fn serve_silent(&mut self, client: Text, request: Request) -> Result<(), Ending> {
        let answer = self.ask(client, request).await?;
        if matches!(&answer, Answer::Produce(produced) if produced.has_refusal()) {
            return Err(Ending::Refused);
        }
        pause(&answer).await;
        Ok(())
    }

    /// Has a request answered.
    async fn ask(&mut self, client: Text, request: Request) -> Result<Answer, Ending> {
        let origin = Origin { client, ..self.origin.clone() };
        let mut asked = self.owner.ask(origin, request).await.ok_or(Ending::HungUp)?;
        loop {
            let has_room = self.buffer.len() < READ_AHEAD;
            if has_room {
                self.buffer.reserve(READ_AT_ONCE);
            }
            let ending = tokio::select! {
                biased;
                answer = asked.answer() => return answer.ok_or(Ending::HungUp),
                read = self.stream.read_buf(&mut self.buffer), if has_room => match read {
                    Ok(0) => Ending::Closed,
                    Ok(_) => continue,
                    Err(error) => Ending::Broken(error),
                },
            };
            self.owner.forget(asked).await;
            return Err(ending);
        }
    }

    /// The next whole request, without its length.
    async fn next_frame(&mut self) -> Result<Bytes, Ending> {
        self.fill(PREFIX + SHORTEST).await?;
        let mut prefix = &self.buffer[..];
        let (stated, key) = (prefix.get_i32(), prefix.get_i16());
        let limit = wire::frame_limit(key);
        let length = usize::try_from(stated).ok().filter(|length| (SHORTEST..=limit).contains(length));
        let Some(length) = length else {
            return Err(Ending::Malformed(format!("a request of {stated} bytes, the limit is {limit}")));
        };
        self.fill(PREFIX + length).await?;
        self.buffer.advance(PREFIX);
        let frame = self.buffer.split_to(length).freeze();
        if length > READ_AHEAD {
            // What is left is little, and must not keep the large block.
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
        Ok(frame)
    }

    /// Reads until there are `wanted` bytes. Memory grows with what comes, not with what is announced.
    async fn fill(&mut self, wanted: usize) -> Result<(), Ending> {
        while self.buffer.len() < wanted {
            let missing = wanted - self.buffer.len();
            self.buffer.reserve(missing.clamp(READ_AT_ONCE, READ_AHEAD));
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(Ending::Closed);
            }
        }
        Ok(())
    }

    async fn write(&mut self, frame: Frame) -> Result<(), Ending> {
        self.write_parts(frame.into_parts().into()).await
    }

    async fn write_parts(&mut self, mut parts: VecDeque<Bytes>) -> Result<(), Ending> {
        parts.retain(|part| !part.is_empty());
        while !parts.is_empty() {
            let slices: Vec<_> = parts.iter().take(PARTS).map(|part| IoSlice::new(part)).collect();
            let mut written = self.stream.write_vectored(&slices).await?;
            if written == 0 {
                return Err(Ending::Broken(io::ErrorKind::WriteZero.into()));
            }
            while let Some(part) = parts.front_mut() {
                let taken = written.min(part.len());
                part.advance(taken);
                written -= taken;
                if !part.is_empty() {
                    break;
                }
                parts.pop_front();
            }
        }
        Ok(())
    }
}

/// A client over its quota is not read from until it is within it again.
async fn pause(answer: &Answer) {
    let throttle = match answer {
        Answer::Produce(answer) => answer.throttle,
        Answer::Fetch(answer) => answer.throttle,
        _ => Duration::ZERO,
    };
    if !throttle.is_zero() {
        tokio::time::sleep(throttle).await;
    }
}
