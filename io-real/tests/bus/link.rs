//! A link to a server that can be cut: connections break at once, and new ones are closed as soon as they are made.
//!
//! This is how a dead server looks from behind a balancer, and how one that is out of reach for a while looks from
//! everywhere. A server that is stopped refuses connections instead, which clients take differently.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// See the [module](self). It is whole at first.
pub(crate) struct Link {
    address: SocketAddr,
    whole: watch::Sender<bool>,
}

impl Link {
    /// Passes on to the server at `host:port`.
    pub(crate) async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let (whole, state) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *state.borrow() {
                    tokio::spawn(pass(client, server.clone(), state.clone()));
                }
            }
        });
        Self { address, whole }
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
        self.whole.send_replace(false);
    }

    pub(crate) fn mend(&self) {
        self.whole.send_replace(true);
    }
}

/// Passes bytes on in both directions until one side ends, or the link is cut or gone.
async fn pass(mut client: TcpStream, server: String, mut state: watch::Receiver<bool>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    tokio::select! {
        _ended = copy_bidirectional(&mut client, &mut server) => {}
        _cut = state.wait_for(|whole| !*whole) => {}
    }
}
