//! The proxy as a whole: its listener, and the connections that it took.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::task::JoinSet;

use super::connection;
use super::director::Sabotage;
use super::words::DatabasePlan;

/// How long to wait when the system has no more sockets.
const RETRY: Duration = Duration::from_millis(50);

/// Why a proxy does not start.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Its address cannot be listened at.
    #[error("cannot listen: {0}; choose another address, or port 0 for any that is free")]
    Listen(io::Error),
    /// The database's address leads nowhere.
    #[error("no database answers at {to}: {cause}; name its HOST:PORT, as in localhost:5432")]
    Database {
        /// The address.
        to: String,
        /// What the system says.
        cause: io::Error,
    },
}

/// A proxy in this process. It ends when this is dropped, and all its connections with it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    sabotage: Sabotage,
    tasks: JoinSet<()>,
}

impl Proxy {
    /// Starts a proxy before the database at `to` (`host:port`) within the tokio runtime that this is called in. It takes
    /// connections when this returns, and its plan counts from then.
    ///
    /// # Errors
    /// [`ProxyError`] if the address is taken, or if nothing listens at the database's.
    pub async fn start(
        listen: impl ToSocketAddrs,
        to: impl Into<String>,
        plan: DatabasePlan,
    ) -> Result<Self, ProxyError> {
        let to = to.into();
        // Later it may come and go; at first it is rather a typing error.
        if let Err(cause) = TcpStream::connect(&to).await {
            return Err(ProxyError::Database { to, cause });
        }
        let listener = TcpListener::bind(listen).await.map_err(ProxyError::Listen)?;
        let address = listener.local_addr().map_err(ProxyError::Listen)?;
        let mut tasks = JoinSet::new();
        let sabotage = Sabotage::start(plan, &mut tasks);
        tasks.spawn(accept(listener, to.into(), sabotage.clone()));
        Ok(Self { address, sabotage, tasks })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often each fault has struck, by its name.
    pub async fn struck(&self) -> BTreeMap<&'static str, u64> {
        self.sabotage.struck().await
    }

    /// Ends it, and returns when nothing of it is left.
    pub async fn shutdown(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn accept(listener: TcpListener, to: Arc<str>, sabotage: Sabotage) {
    let mut connections = JoinSet::new();
    for number in 1.. {
        let accepted = loop {
            tokio::select! {
                biased;
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => break accepted,
            }
        };
        match accepted {
            // As if nobody listened.
            Ok((client, _)) if sabotage.is_down() => drop(client.set_zero_linger()),
            Ok((client, _)) => {
                let (to, sabotage) = (Arc::clone(&to), sabotage.clone());
                connections.spawn(async move { connection::pass(client, &to, number, &sabotage).await });
            }
            Err(cause) => {
                tracing::warn!(%cause, "a connection could not be taken");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
