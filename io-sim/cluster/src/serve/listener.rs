//! One broker's listener, and the connections that it took.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use evenkeel_core::model::BrokerId;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::connection;
use super::owner::Owner;
use super::sabotage::Sabotage;

/// How long to wait when the system has no more sockets.
const RETRY: Duration = Duration::from_millis(50);

/// How many connections may wait to be taken; tokio's own number.
const BACKLOG: u32 = 1_024;

/// A broker that takes connections.
#[derive(Debug)]
pub(super) struct Listening {
    /// Dropped to end it.
    _stop: oneshot::Sender<()>,
    task: JoinHandle<Option<Kept>>,
}

impl Listening {
    pub(super) fn start(
        broker: BrokerId,
        listener: TcpListener,
        owner: Owner,
        sabotage: Option<Sabotage>,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { _stop: stop, task: tokio::spawn(accept(broker, listener, owner, sabotage, stopped)) }
    }

    /// Closes the listener and all its connections. Its port is kept, if that can be.
    pub(super) async fn stop(self) -> Option<Kept> {
        let Self { _stop: stop, task } = self;
        drop(stop);
        // It ends by itself, or has panicked; either way it is over.
        task.await.ok().flatten()
    }
}

/// The port of a broker that is dead: nobody listens at it, and the system gives it to nobody else.
#[derive(Debug)]
pub(super) struct Kept(TcpSocket);

impl Kept {
    fn new(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // The broker's last connections may be there for a while yet.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self(socket))
    }

    /// Listens again.
    pub(super) fn listen(self) -> io::Result<TcpListener> {
        self.0.listen(BACKLOG)
    }
}

async fn accept(
    broker: BrokerId,
    listener: TcpListener,
    owner: Owner,
    sabotage: Option<Sabotage>,
    mut stop: oneshot::Receiver<()>,
) -> Option<Kept> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = &mut stop => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    connections.spawn(connection::serve(broker, stream, from, owner.clone(), sabotage.clone()));
                }
                Err(cause) => {
                    tracing::warn!(%broker, %cause, "a connection could not be taken");
                    tokio::time::sleep(RETRY).await;
                }
            },
        }
    }
    let address = listener.local_addr();
    drop(listener);
    let kept = address.and_then(Kept::new).ok();
    connections.shutdown().await;
    kept
}
