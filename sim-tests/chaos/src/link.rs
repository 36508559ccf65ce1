//! A link to a server that can be cut or go silent: a port of ours, behind which connections are passed on.
//!
//! Cut, connections break at once, and new ones are closed as soon as they are made. Silent, it swallows what it is
//! given and breaks no connection, as a network does that drops packets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::Anyhow;

/// See the [module](self). It is whole at first, and leads nowhere.
pub(crate) struct Link {
    port: u16,
    leads_to: Arc<AtomicU16>,
    state: watch::Sender<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Whole,
    Cut,
    Silent,
}

impl Link {
    pub(crate) async fn begin() -> Result<Self, Anyhow> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (state, told) = watch::channel(State::Whole);
        let leads_to: Arc<AtomicU16> = Arc::default();
        let target = Arc::clone(&leads_to);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *told.borrow() != State::Cut {
                    tokio::spawn(pass(client, target.load(Ordering::Relaxed), told.clone()));
                }
            }
        });
        Ok(Self { port, leads_to, state })
    }

    /// Passes on to this port from now on.
    pub(crate) fn lead_to(&self, port: u16) {
        self.leads_to.store(port, Ordering::Relaxed);
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn set(&self, state: State) {
        self.state.send_replace(state);
    }
}

/// Passes bytes on in both directions until one side ends, or the link is cut. A connection that met with silence ends
/// when that does: what was swallowed is missing in it.
async fn pass(mut client: TcpStream, port: u16, mut state: watch::Receiver<State>) {
    if *state.borrow() == State::Whole {
        let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
        // As the servers and clients set it themselves: small answers must not wait for more.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let became = tokio::select! {
            _ended = copy_bidirectional(&mut client, &mut server) => return,
            became = state.wait_for(|state| *state != State::Whole) => became.map(|state| *state),
        };
        if !matches!(became, Ok(State::Silent)) {
            return;
        }
        // Both ends stay open, and hear nothing of each other.
        let _gone = state.wait_for(|state| *state != State::Silent).await.is_err();
        drop(server);
    } else {
        let _gone = state.wait_for(|state| *state != State::Silent).await.is_err();
    }
}
