//! How a connection is served when faults are planned: as ever, but for what the plan says.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncReadExt;

use super::{Connection, Ending};
use crate::message::Text;
use crate::serve::sabotage::{Deed, Fate, Sabotage, refuse, timed_out};
use crate::wire::{self, Ask, Call, Frame};

impl Connection {
    /// Whether the connection is taken at all.
    pub(super) async fn welcome(&mut self) -> Result<(), Ending> {
        let Some(sabotage) = &self.sabotage else { return Ok(()) };
        match sabotage.judge(self.origin.broker, None).await.deed {
            Deed::Serve => Ok(()),
            Deed::LoseRequest(_)
            | Deed::LoseReply(_)
            | Deed::ResetBefore
            | Deed::ResetAfter
            | Deed::Tear(_)
            | Deed::Refuse(_)
            | Deed::TimeOut => Err(Ending::Reset),
        }
    }

    /// One request, and what becomes of it.
    pub(super) async fn mistreat(&mut self, call: Call, sabotage: &Sabotage) -> Result<(), Ending> {
        let Call { ticket, client, ask } = call;
        let broker = self.origin.broker;
        sabotage.reachable(broker).await;
        let fate = match ask {
            // It promises nothing: whatever happens to it, nobody is told.
            Ask::Silent(_) => Fate::default(),
            Ask::Cluster(_) | Ask::Versions(_) => sabotage.judge(broker, Some(ticket.api())).await,
        };
        tokio::time::sleep(fate.out).await;
        match fate.deed {
            Deed::LoseRequest(silence) => return Err(self.fall_silent(silence).await),
            Deed::ResetBefore => return Err(Ending::Reset),
            Deed::Serve
            | Deed::LoseReply(_)
            | Deed::ResetAfter
            | Deed::Tear(_)
            | Deed::Refuse(_)
            | Deed::TimeOut => {}
        }
        let frame = match ask {
            Ask::Versions(frame) => frame,
            Ask::Silent(request) => {
                return self.serve_silent(client, request).await;
            }
            Ask::Cluster(request) => {
                let answer = self.answer(client, request, fate.deed).await?;
                wire::encode(ticket, &answer)
            }
        };
        tokio::time::sleep(fate.back).await;
        sabotage.reachable(broker).await;
        match fate.deed {
            Deed::LoseReply(silence) => Err(self.fall_silent(silence).await),
            Deed::ResetBefore | Deed::ResetAfter => Err(Ending::Reset),
            Deed::Tear(thousandths) => {
                self.write_parts(beginning(frame, thousandths)).await?;
                Err(Ending::Reset)
            }
            Deed::Serve | Deed::LoseRequest(_) | Deed::Refuse(_) | Deed::TimeOut => self.write(frame).await,
        }
    }

    async fn answer(
        &mut self,
        client: Text,
        request: crate::message::Request,
        deed: Deed,
    ) -> Result<crate::message::Answer, Ending> {
        match deed {
            Deed::Refuse(code) => match refuse(&request, code) {
                Some(answer) => Ok(answer),
                None => self.ask(client, request).await,
            },
            Deed::TimeOut => self.ask(client, request).await.map(timed_out),
            Deed::Serve
            | Deed::LoseRequest(_)
            | Deed::LoseReply(_)
            | Deed::ResetBefore
            | Deed::ResetAfter
            | Deed::Tear(_) => self.ask(client, request).await,
        }
    }

    /// Nothing is heard any more; whatever comes is thrown away.
    async fn fall_silent(&mut self, silence: Duration) -> Ending {
        let listen = async {
            loop {
                self.buffer.clear();
                match self.stream.read_buf(&mut self.buffer).await {
                    Ok(0) => return Ending::Closed,
                    Ok(_) => {}
                    Err(error) => return Ending::Broken(error),
                }
            }
        };
        tokio::time::timeout(silence, listen).await.unwrap_or(Ending::Reset)
    }

    /// Ends the connection so that the other side sees a reset.
    pub(super) fn reset(&self) {
        if let Err(cause) = self.stream.set_zero_linger() {
            tracing::debug!(%cause, "a connection is closed that was to be reset");
        }
    }
}

/// The first bytes of a frame, never all of them.
fn beginning(frame: Frame, thousandths: u64) -> VecDeque<Bytes> {
    let mut left = usize::try_from(frame.len() as u64 * thousandths / 1_000).unwrap_or_default();
    let mut parts = VecDeque::new();
    for mut part in frame.into_parts() {
        part.truncate(left);
        left -= part.len();
        parts.push_back(part);
    }
    parts
}
