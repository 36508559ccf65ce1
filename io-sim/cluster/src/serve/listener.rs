//! One broker's listener, and the connections that it took.

use std::time::Duration;

use evenkeel_core::model::BrokerId;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::connection;
use super::owner::Owner;
use super::sabotage::Sabotage;

/// How long to wait when the system has no more sockets.
const RETRY: Duration = Duration::from_millis(50);

/// A broker that takes connections.
#[derive(Debug)]
pub(super) struct Listening {
    /// Dropped to end it.
    _stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
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

    /// Closes the listener and all its connections.
    pub(super) async fn stop(self) {
        let Self { _stop: stop, task } = self;
        drop(stop);
        // It ends by itself, or has panicked; either way it is over.
        let _ = task.await;
    }
}

async fn accept(
    broker: BrokerId,
    listener: TcpListener,
    owner: Owner,
    sabotage: Option<Sabotage>,
    mut stop: oneshot::Receiver<()>,
) {
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
    drop(listener);
    connections.shutdown().await;
}
