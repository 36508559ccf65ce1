//! A broker of a few lines, for tests of what real ones seldom do: each test writes the bytes itself.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::api::CALLS;

/// A listener that greets whoever connects.
pub(super) struct Fake {
    listener: TcpListener,
    offers: Vec<(i16, i16, i16)>,
}

/// One accepted connection.
pub(super) struct Peer {
    stream: TcpStream,
}

/// A request as it arrived.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) api: i16,
    pub(super) version: i16,
    pub(super) correlation: i32,
}

impl Fake {
    /// Offers just the versions that this library speaks.
    pub(super) async fn start() -> Self {
        let offers = CALLS.iter().map(|(api, range)| (*api as i16, range.min, range.max)).collect();
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap(), offers }
    }

    /// Offers other versions of one request.
    pub(super) fn offering(mut self, api: ApiKey, min: i16, max: i16) -> Self {
        self.offers.retain(|(offered, ..)| *offered != api as i16);
        self.offers.push((api as i16, min, max));
        self
    }

    pub(super) fn withholding(mut self, api: ApiKey) -> Self {
        self.offers.retain(|(offered, ..)| *offered != api as i16);
        self
    }

    pub(super) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    pub(super) async fn accept_silently(&self) -> Peer {
        let (stream, _) = self.listener.accept().await.unwrap();
        Peer { stream }
    }

    /// Accepts a connection and answers its ApiVersions request.
    pub(super) async fn accept(&self) -> Peer {
        let mut peer = self.accept_silently().await;
        let asked = peer.read().await.expect("a client begins with ApiVersions");
        assert_eq!((asked.api, asked.version), (ApiKey::ApiVersions as i16, 3));
        let mut body = BytesMut::new();
        body.put_i16(0);
        body.put_u8(u8::try_from(self.offers.len() + 1).unwrap());
        for (api, min, max) in &self.offers {
            body.put_i16(*api);
            body.put_i16(*min);
            body.put_i16(*max);
            body.put_u8(0);
        }
        body.put_i32(0);
        body.put_u8(0);
        peer.answer(asked.correlation, &body).await;
        peer
    }
}

impl Peer {
    /// The next request; `None` when the client has closed the connection.
    pub(super) async fn read(&mut self) -> Option<Asked> {
        let length = self.stream.read_i32().await.ok()?;
        let mut frame = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut frame).await.ok()?;
        let mut frame = Bytes::from(frame);
        Some(Asked { api: frame.get_i16(), version: frame.get_i16(), correlation: frame.get_i32() })
    }

    /// Sends an answer: what follows the correlation id is given as it is.
    pub(super) async fn answer(&mut self, correlation: i32, rest: &[u8]) {
        let mut frame = BytesMut::new();
        frame.put_i32(i32::try_from(rest.len() + 4).unwrap());
        frame.put_i32(correlation);
        frame.put_slice(rest);
        self.raw(&frame).await;
    }

    pub(super) async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Waits until the client has closed the connection.
    pub(super) async fn closed(mut self) {
        let end = async { while self.read().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(10), end).await.expect("the client closes the connection");
    }
}

/// The body of a Heartbeat's answer in version 4, after the correlation id.
pub(super) fn heartbeat_answer(code: i16) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_i32(0);
    body.put_i16(code);
    body.put_u8(0);
    body.freeze()
}
