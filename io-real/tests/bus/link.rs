//! A link to a server that can be cut or go silent.
//!
//! Cut, connections break at once, and new ones are closed as soon as they are made. This is how a dead server looks
//! from behind a balancer, and how one that is out of reach for a while looks from everywhere. A server that is stopped
//! refuses connections instead, which clients take differently.
//!
//! Silent, it swallows what it is given, and breaks no connection. This is how a network looks that drops packets, and a
//! server that is stuck.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// See the [module](self). It is whole at first.
pub(crate) struct Link {
    address: SocketAddr,
    state: watch::Sender<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    Cut,
    Silent,
}

impl Link {
    /// Passes on to the server at `host:port`.
    pub(crate) async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let (state, told) = watch::channel(State::Whole);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *told.borrow() != State::Cut {
                    tokio::spawn(pass(client, server.clone(), told.clone()));
                }
            }
        });
        Self { address, state }
    }

    /// A link to the server of a database's URL, and the URL by which the database is reached through it.
    pub(crate) async fn to_database(url: &str) -> (Self, String) {
        let (_, server) = url.split_once('@').expect("the URL names a user");
        let (server, _) = server.split_once('/').expect("the URL names a database");
        let link = Self::to(server.to_owned()).await;
        let through = url.replace(server, &link.address.to_string());
        (link, through)
    }

    pub(crate) fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    pub(crate) fn silence(&self) {
        self.state.send_replace(State::Silent);
    }

    pub(crate) fn mend(&self) {
        self.state.send_replace(State::Whole);
    }
}

/// Passes bytes on in both directions until one side ends, or the link is cut or gone. A connection that met with silence
/// ends when that does: what was swallowed is missing in it.
async fn pass(mut client: TcpStream, server: String, mut state: watch::Receiver<State>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let became = tokio::select! {
        _ended = copy_bidirectional(&mut client, &mut server) => return,
        became = state.wait_for(|state| *state != State::Whole) => became.map(|state| *state),
    };
    if let Ok(State::Silent) = became {
        // Gone is as good as cut.
        let _gone = state.wait_for(|state| *state != State::Silent).await.is_err();
    }
}
