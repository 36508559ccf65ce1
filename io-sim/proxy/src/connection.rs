//! One connection of a client and the one to the server that belongs to it.
//!
//! Each direction is copied by a future of its own, so that a side that does not read holds up no more than what is for
//! it. When one ends, both connections do.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::Mutex;

use super::decide::{Deed, Matter};
use super::director::{Sabotage, Way};
use super::frames::{Foreign, Frames, Hello};
use super::session::{Order, Planned, Reply, Session};

/// What is read at once.
const CHUNK: usize = 16 * 1024;
/// Encryption is not to be had.
const NO: &[u8] = b"N";

/// Why a connection ends.
#[derive(Debug)]
enum Ending {
    /// One side closed it.
    Closed,
    /// It is to be reset.
    Cut,
    /// A socket broke.
    Broken(io::Error),
    /// It does not speak PostgreSQL.
    Foreign(Foreign),
}

impl From<io::Error> for Ending {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl From<Foreign> for Ending {
    fn from(foreign: Foreign) -> Self {
        Self::Foreign(foreign)
    }
}

/// Passes a connection on until it ends.
pub(crate) async fn pass(mut client: TcpStream, to: &str, number: u64, sabotage: &Sabotage) {
    let outcome = tokio::select! {
        biased;
        () = sabotage.until(|way| way == Way::Down) => Err(Ending::Cut),
        outcome = run(&mut client, to, number, sabotage) => outcome,
    };
    match outcome {
        Ok(()) | Err(Ending::Closed) => {}
        Err(Ending::Cut) => {
            if let Err(cause) = client.set_zero_linger() {
                tracing::debug!(number, %cause, "a connection is closed that was to be reset");
            }
        }
        Err(Ending::Broken(cause)) => tracing::debug!(number, %cause, "a connection broke"),
        Err(Ending::Foreign(cause)) => tracing::warn!(number, %cause, "connection closed"),
    }
}

async fn run(client: &mut TcpStream, to: &str, number: u64, sabotage: &Sabotage) -> Result<(), Ending> {
    sabotage.until(|way| way != Way::Silent).await;
    if sabotage.judge(Matter::Connection).await.deed != Deed::Serve {
        return Err(Ending::Cut);
    }
    client.set_nodelay(true)?;
    let mut frames = Frames::default();
    let hello = loop {
        match frames.hello()? {
            Some(Hello::Encrypt) => client.write_all(NO).await?,
            Some(Hello::Cancel(bytes) | Hello::Start(bytes)) => break bytes,
            None => read(client, &mut frames).await?,
        }
    };
    let mut server = TcpStream::connect(to).await.inspect_err(|cause| {
        tracing::warn!(%to, %cause, "the database cannot be reached");
    })?;
    server.set_nodelay(true)?;
    server.write_all(&hello).await?;
    let session = Mutex::new(Session::default());
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::select! {
        ended = up(from_client, frames, to_server, &session, number, sabotage) => ended,
        ended = down(from_server, to_client, &session, sabotage) => ended,
    }
}

async fn read(from: &mut (impl AsyncReadExt + Unpin), frames: &mut Frames) -> Result<(), Ending> {
    frames.buffer.reserve(CHUNK);
    match from.read_buf(&mut frames.buffer).await? {
        0 => Err(Ending::Closed),
        _ => Ok(()),
    }
}

/// From the client to the server.
async fn up(
    mut client: ReadHalf<'_>,
    mut frames: Frames,
    mut server: WriteHalf<'_>,
    session: &Mutex<Session>,
    number: u64,
    sabotage: &Sabotage,
) -> Result<(), Ending> {
    loop {
        while let Some(piece) = frames.next()? {
            let order = session.lock().await.ordered(piece);
            let bytes = match order {
                Order::Pass(bytes) => bytes,
                Order::Statement(bytes) => {
                    doom(Matter::Statement(number), session, sabotage).await?;
                    bytes
                }
                Order::Commit(bytes) => {
                    doom(Matter::Commit(number), session, sabotage).await?;
                    bytes
                }
            };
            sabotage.until(|way| way != Way::Silent).await;
            server.write_all(&bytes).await?;
        }
        read(&mut client, &mut frames).await?;
    }
}

/// What becomes of a statement or COMMIT before it goes on, and what is to become of its reply.
async fn doom(matter: Matter, session: &Mutex<Session>, sabotage: &Sabotage) -> Result<(), Ending> {
    let fate = sabotage.judge(matter).await;
    tokio::time::sleep(fate.out).await;
    let planned = match fate.deed {
        Deed::Serve => return Ok(()),
        Deed::Cut => return Err(Ending::Cut),
        Deed::Silence(lasting) => {
            tokio::time::sleep(lasting).await;
            return Err(Ending::Cut);
        }
        Deed::LoseReply => Planned::Lose,
        Deed::LoseCommitReply => Planned::LoseCommit,
        Deed::Tear(thousandths) => Planned::Tear(thousandths),
    };
    session.lock().await.plan(planned);
    Ok(())
}

/// From the server to the client.
async fn down(
    mut server: ReadHalf<'_>,
    mut client: WriteHalf<'_>,
    session: &Mutex<Session>,
    sabotage: &Sabotage,
) -> Result<(), Ending> {
    let mut frames = Frames::default();
    loop {
        while let Some(piece) = frames.next()? {
            let reply = session.lock().await.replied(piece);
            sabotage.until(|way| way != Way::Silent).await;
            match reply {
                Reply::Pass(pieces) => write_all(&mut client, pieces).await?,
                Reply::Cut(bytes) => {
                    client.write_all(&bytes).await?;
                    return Err(Ending::Cut);
                }
            }
        }
        read(&mut server, &mut frames).await?;
    }
}

async fn write_all(to: &mut WriteHalf<'_>, pieces: Vec<Bytes>) -> io::Result<()> {
    for piece in pieces {
        to.write_all(&piece).await?;
    }
    Ok(())
}
