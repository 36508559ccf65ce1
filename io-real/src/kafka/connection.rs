//! One connection to one broker.
//!
//! A [`Connection`] is a handle: requests go through a channel to a task that owns the socket (see
//! [`Pump`](super::pump::Pump)), so nothing is locked and a caller may give up at any await. Opening includes the
//! exchange of ApiVersions; afterwards each request goes out in the highest version that both sides know.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use evenkeel_core::error::ErrorCode;
use evenkeel_core::ports::PortError;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse, RequestHeader};
use kafka_protocol::protocol::{
    Decodable, Encodable, StrBytes, VersionRange, encode_request_header_into_buffer,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::Settings;
use super::address::Address;
use super::api::{CALLS, Call};
use super::pump::{Command, Pump, Request};

/// The version of ApiVersions: known to brokers since Kafka 2.4, and the first that names the client's software.
const API_VERSIONS: i16 = 3;

/// How long a host may leave what was sent unacknowledged before it counts as dead, and how long a connection may be
/// silent before its host is asked for a sign of life. Requests that a broker parks are silent for a minute and more:
/// that its host is gone need not take as long to be noticed.
pub(super) const DEAD_AFTER: Duration = Duration::from_secs(10);
/// Between one question for a sign of life and the next.
const ASK_AGAIN: Duration = Duration::from_secs(3);

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectFault {
    #[error("{0}")]
    Socket(#[from] io::Error),
    #[error("not connected within {0:?}")]
    TimedOut(Duration),
    #[error("it does not know ApiVersions {API_VERSIONS}; Kafka 2.4 or later is needed")]
    TooOld,
    #[error("it refused ApiVersions: {0}")]
    Refused(ErrorCode),
    #[error(
        "it offers {api:?} {theirs} but this library speaks {ours}; use versions that were released closer together"
    )]
    NoCommonVersion { api: ApiKey, theirs: VersionRange, ours: VersionRange },
    #[error("it does not offer {0:?}; is it a Kafka broker with this listener open to clients?")]
    Missing(ApiKey),
    #[error("the greeting failed: {0}")]
    Greeting(Arc<str>),
}

/// What went wrong in the greeting; whom with is told by who connects.
fn greeting(error: PortError) -> ConnectFault {
    match error {
        PortError::Refused(code) => ConnectFault::Refused(code),
        PortError::Unreachable { cause, .. }
        | PortError::Unknown { cause, .. }
        | PortError::Malformed { cause, .. } => ConnectFault::Greeting(cause),
    }
}

/// A connection that has been opened and greeted.
#[derive(Debug)]
pub(super) struct Connection {
    wire: Wire,
    versions: BTreeMap<i16, VersionRange>,
}

impl Connection {
    /// Dials, and learns what the broker speaks; both within the limit for connecting.
    pub(super) async fn open(address: &Address, settings: &Settings) -> Result<Self, ConnectFault> {
        let limit = settings.limits.connect;
        match tokio::time::timeout(limit, Self::dial(address, settings)).await {
            Ok(done) => done,
            Err(_) => Err(ConnectFault::TimedOut(limit)),
        }
    }

    async fn dial(address: &Address, settings: &Settings) -> Result<Self, ConnectFault> {
        let (reader, writer) = transport(address).await?;
        let wire = Wire::start(address.to_string().into(), reader, writer, settings);
        let versions = wire.greet(settings.limits.connect).await?;
        for (api, ours) in CALLS {
            let theirs = versions.get(&(*api as i16)).ok_or(ConnectFault::Missing(*api))?;
            if ours.intersect(theirs).is_empty() {
                return Err(ConnectFault::NoCommonVersion { api: *api, theirs: *theirs, ours: *ours });
            }
        }
        Ok(Self { wire, versions })
    }

    /// Whether requests can still go out. A connection that broke stays broken.
    pub(super) fn is_usable(&self) -> bool {
        !self.wire.commands.is_closed()
    }

    /// Sends a request, built for the version that both sides know, and waits for its answer for at most `limit`.
    ///
    /// Giving up the future does the connection no harm: the answer is read and dropped.
    pub(super) async fn call<C: Call>(
        &self,
        limit: Duration,
        build: impl FnOnce(i16) -> C,
    ) -> Result<C::Answer, PortError> {
        let theirs = self.versions.get(&(C::API as i16)).ok_or(ErrorCode::UnsupportedVersion)?;
        let shared = C::VERSIONS.intersect(theirs);
        if shared.is_empty() {
            return Err(ErrorCode::UnsupportedVersion.into());
        }
        let version = shared.max;
        let mut answer = self.wire.exchange(C::API, version, &build(version), limit).await?;
        self.wire.decode(&mut answer, C::API, version)
    }

    /// Whom this connection leads to.
    pub(super) fn server(&self) -> Arc<str> {
        Arc::clone(&self.wire.server)
    }
}

/// Brings a byte stream to the broker about: the one place to add TLS and authentication to.
pub(super) async fn transport(address: &Address) -> io::Result<(OwnedReadHalf, OwnedWriteHalf)> {
    let stream = TcpStream::connect((address.host(), address.port())).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(DEAD_AFTER).with_interval(ASK_AGAIN))?;
    // Elsewhere the system's own patience counts.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(DEAD_AFTER))?;
    Ok(stream.into_split())
}

/// Encodes requests and decodes answers; what lies between is the pump's.
#[derive(Debug)]
struct Wire {
    server: Arc<str>,
    client_id: StrBytes,
    commands: mpsc::UnboundedSender<Command>,
    correlation: AtomicI32,
}

impl Wire {
    fn start(server: Arc<str>, reader: OwnedReadHalf, writer: OwnedWriteHalf, settings: &Settings) -> Self {
        // Unbounded, yet small: each caller has at most one request in it, and time limits end the rest.
        let (commands, requests) = mpsc::unbounded_channel();
        let pump = Pump::new(Arc::clone(&server), reader, writer, requests, settings.limits.max_frame_bytes);
        tokio::spawn(pump.run());
        Self {
            server,
            client_id: StrBytes::from_string(settings.client_id.to_string()),
            commands,
            correlation: AtomicI32::new(0),
        }
    }

    async fn greet(&self, limit: Duration) -> Result<BTreeMap<i16, VersionRange>, ConnectFault> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str(env!("CARGO_PKG_NAME")))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let mut answer =
            self.exchange(ApiKey::ApiVersions, API_VERSIONS, &request, limit).await.map_err(greeting)?;
        // A broker that does not know this version answers in version 0, which begins with the error all the same.
        if let Some((code, _)) = answer.get(4..).and_then(<[u8]>::split_first_chunk)
            && let Some(code) = ErrorCode::from_code(i16::from_be_bytes(*code))
        {
            return Err(match code {
                ErrorCode::UnsupportedVersion => ConnectFault::TooOld,
                other => ConnectFault::Refused(other),
            });
        }
        let answer: ApiVersionsResponse =
            self.decode(&mut answer, ApiKey::ApiVersions, API_VERSIONS).map_err(greeting)?;
        Ok(answer
            .api_keys
            .into_iter()
            .map(|api| (api.api_key, VersionRange { min: api.min_version, max: api.max_version }))
            .collect())
    }

    /// Sends one request and answers the frame of its answer, from the correlation id on.
    async fn exchange(
        &self,
        api: ApiKey,
        version: i16,
        request: &impl Encodable,
        limit: Duration,
    ) -> Result<Bytes, PortError> {
        let correlation = self.correlation.fetch_add(1, Ordering::Relaxed);
        let frame = encode(api, version, correlation, &self.client_id, request).map_err(|cause| {
            tracing::error!(?api, version, %cause, "a request cannot be encoded and was not sent");
            ErrorCode::InvalidRequest
        })?;
        let (reply, answer) = oneshot::channel();
        let deadline = deadline(limit);
        let request = Request { frame, correlation, deadline, limit, reply };
        self.commands.send(Command::Send(request)).map_err(|_| PortError::Unreachable {
            server: Arc::clone(&self.server),
            cause: "the connection was lost before".into(),
        })?;
        answer.await.unwrap_or_else(|_| {
            // The task always answers, unless the runtime is being shut down.
            Err(PortError::Unknown { server: Arc::clone(&self.server), cause: "its task has ended".into() })
        })
    }

    /// Decodes an answer. One that cannot be read casts doubt on all behind it, so the connection is given up.
    fn decode<A: Decodable + kafka_protocol::protocol::HeaderVersion>(
        &self,
        frame: &mut Bytes,
        api: ApiKey,
        version: i16,
    ) -> Result<A, PortError> {
        let decoded = kafka_protocol::messages::ResponseHeader::decode(frame, A::header_version(version))
            .and_then(|_| A::decode(frame, version))
            .map_err(|cause| cause.to_string())
            .and_then(|answer| match frame.remaining() {
                0 => Ok(answer),
                rest => Err(format!("{rest} bytes too many")),
            });
        decoded.map_err(|cause| {
            let cause: Arc<str> = format!("{api:?} version {version}: {}", cause.trim_end()).into();
            // If the task is gone already, so is the connection.
            let _ = self.commands.send(Command::GiveUp(Arc::clone(&cause)));
            PortError::Malformed { server: Arc::clone(&self.server), cause }
        })
    }
}

/// The end of a time limit. One too long to reckon with is cut to a month.
pub(super) fn deadline(limit: Duration) -> Instant {
    Instant::now() + limit.min(Duration::from_secs(30 * 24 * 60 * 60))
}

/// Encodes a whole frame, length included, so that it can go out with one write.
pub(super) fn encode(
    api: ApiKey,
    version: i16,
    correlation: i32,
    client_id: &StrBytes,
    request: &impl Encodable,
) -> Result<Bytes, String> {
    let header = RequestHeader::default()
        .with_request_api_key(api as i16)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(client_id.clone()));
    let size = request.compute_size(version).map_err(|e| e.to_string())?;
    let mut frame = BytesMut::with_capacity(size + 64 + client_id.len());
    frame.put_i32(0);
    encode_request_header_into_buffer(&mut frame, &header).map_err(|e| e.to_string())?;
    request.encode(&mut frame, version).map_err(|e| e.to_string())?;
    let length = i32::try_from(frame.len() - 4).map_err(|_| "the request is larger than 2 GiB".to_owned())?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame.freeze())
}
