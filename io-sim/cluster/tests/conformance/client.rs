//! One connection to a broker, on which every answer is written into the case's transcript.
//!
//! Requests and answers are kafka-protocol's types, the frames are made here. A case says nothing of what it expects:
//! what one broker answers is compared with what the other does. Only transport is checked: a connection that breaks
//! where an answer is due fails the case.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use evenkeel_cluster::wire::Api;
use kafka_protocol::messages::{ApiKey, FetchRequest, FetchResponse, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{
    Decodable, HeaderVersion, Request, StrBytes, encode_request_header_into_buffer,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::requests;
use crate::transcript::Transcript;

/// Longer than any answer takes.
const SOON: Duration = Duration::from_secs(45);

/// How often a broker is asked whether something is so by now.
pub(crate) const POLL: Duration = Duration::from_millis(20);

/// What a case is given: a broker, names of its own, and where its answers are written down.
#[derive(Clone)]
pub(crate) struct World {
    address: String,
    prefix: String,
    transcript: Rc<RefCell<Transcript>>,
    topics: Rc<RefCell<Vec<StrBytes>>>,
}

impl World {
    pub(crate) fn new(address: &str, prefix: String) -> Self {
        let transcript = Rc::new(RefCell::new(Transcript::new(&prefix)));
        Self { address: address.to_owned(), prefix, transcript, topics: Rc::default() }
    }

    /// A name that no other case uses, the same at both brokers.
    pub(crate) fn name(&self, what: &str) -> StrBytes {
        StrBytes::from_string(format!("{}-{what}", self.prefix))
    }

    pub(crate) async fn client(&self) -> Client {
        let stream = TcpStream::connect(&self.address).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        Client { stream, world: self.clone(), due: Vec::new(), quiet: false }
    }

    /// Writes down what is no answer.
    pub(crate) fn note(&self, what: &str, value: impl std::fmt::Debug) {
        self.transcript.borrow_mut().note(what, &value);
    }

    /// From now on `value` is written as `role`: it is the broker's choice.
    pub(crate) fn learn(&self, value: &str, role: &str) {
        self.transcript.borrow_mut().learn(value, role);
    }

    /// Takes the case's topics away: the broker may be shared.
    pub(crate) async fn tidy(&self) {
        let topics: Vec<_> = self.topics.borrow_mut().drain(..).collect();
        if let Ok(stream) = TcpStream::connect(&self.address).await
            && !topics.is_empty()
        {
            let mut client = Client { stream, world: self.clone(), due: Vec::new(), quiet: true };
            client.ask(requests::delete_topics(&topics)).await;
        }
    }

    /// Remembers a topic to be taken away.
    pub(crate) fn made(&self, topic: &StrBytes) {
        self.topics.borrow_mut().push(topic.clone());
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.transcript.borrow().lines()
    }
}

/// A connection.
pub(crate) struct Client {
    stream: TcpStream,
    pub(crate) world: World,
    /// The requests without an answer yet, oldest first: key and version.
    due: Vec<(i16, i16)>,
    pub(crate) quiet: bool,
}

impl Client {
    /// The newest version that both the cluster and the client know.
    pub(crate) fn newest<R: Request>() -> i16 {
        let offered = Api::from_key(R::KEY).expect("an offered request").offer().max;
        offered.min(R::VERSIONS.max)
    }

    /// Asks and does not write the answer down: it is only a step on the way.
    pub(crate) async fn prepare<R: Request>(&mut self, request: R) -> R::Response
    where
        R::Response: std::fmt::Debug,
    {
        self.quiet = true;
        let answer = self.ask(request).await;
        self.quiet = false;
        answer
    }

    pub(crate) async fn ask<R: Request>(&mut self, request: R) -> R::Response
    where
        R::Response: std::fmt::Debug,
    {
        self.ask_at(Self::newest::<R>(), request).await
    }

    pub(crate) async fn ask_at<R: Request>(&mut self, version: i16, request: R) -> R::Response
    where
        R::Response: std::fmt::Debug,
    {
        self.send_at(version, &request).await;
        self.receive::<R>().await
    }

    /// Asks, and writes down whether the answer took as long as `least`, to within a few milliseconds.
    pub(crate) async fn ask_timed<R: Request>(&mut self, least: Duration, request: R) -> R::Response
    where
        R::Response: std::fmt::Debug,
    {
        let begun = Instant::now();
        let answer = self.ask(request).await;
        self.world.note("waited", begun.elapsed() + Duration::from_millis(5) >= least);
        answer
    }

    pub(crate) async fn send<R: Request>(&mut self, request: &R) {
        self.send_at(Self::newest::<R>(), request).await;
    }

    pub(crate) async fn send_at<R: Request>(&mut self, version: i16, request: &R) {
        let mut body = BytesMut::new();
        request.encode(&mut body, version).expect("a legal request");
        self.send_raw(R::KEY, version, &body).await;
    }

    /// Sends what is not answered.
    pub(crate) async fn send_unanswered<R: Request>(&mut self, request: &R) {
        self.send(request).await;
        self.due.pop();
    }

    /// Sends a body as it is, behind a proper header.
    pub(crate) async fn send_raw(&mut self, key: i16, version: i16, body: &[u8]) {
        let header = RequestHeader::default()
            .with_request_api_key(key)
            .with_request_api_version(version)
            .with_correlation_id(7)
            .with_client_id(Some(StrBytes::from_static_str("conformance")));
        let mut bytes = BytesMut::new();
        bytes.put_i32(0);
        encode_request_header_into_buffer(&mut bytes, &header).expect("a header");
        bytes.put_slice(body);
        let length = i32::try_from(bytes.len() - 4).expect("a short frame");
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        self.send_bytes(&bytes).await;
        self.due.push((key, version));
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("a connection that takes bytes");
    }

    /// The answer to the oldest request without one.
    pub(crate) async fn receive<R: Request>(&mut self) -> R::Response
    where
        R::Response: std::fmt::Debug,
    {
        let (key, version) = self.due.remove(0);
        assert_eq!(key, R::KEY, "the case asked for something else");
        let frame = self.frame().await.expect("an answer");
        let mut body = frame;
        ResponseHeader::decode(&mut body, R::Response::header_version(version)).expect("a header");
        let answer = R::Response::decode(&mut body, version).expect("an answer of that version");
        assert!(body.is_empty(), "{} bytes are left over", body.len());
        self.write_down::<R>(version, &answer);
        answer
    }

    fn write_down<R: Request>(&self, version: i16, answer: &R::Response)
    where
        R::Response: std::fmt::Debug,
    {
        if !self.quiet {
            let name = ApiKey::try_from(R::KEY).expect("a known key");
            self.world.transcript.borrow_mut().answer(&format!("{name:?} v{version}"), answer);
        }
    }

    /// Asks, and writes the answer down after what stands in no order in it was put in one.
    pub(crate) async fn ask_ordered<R: Request>(
        &mut self,
        version: i16,
        request: R,
        order: impl FnOnce(&mut R::Response),
    ) where
        R::Response: std::fmt::Debug,
    {
        self.quiet = true;
        let mut answer = self.ask_at(version, request).await;
        self.quiet = false;
        order(&mut answer);
        self.write_down::<R>(version, &answer);
    }

    /// Takes an answer that is only a step on the way.
    pub(crate) async fn prepare_received<R: Request>(&mut self) -> R::Response
    where
        R::Response: std::fmt::Debug,
    {
        self.quiet = true;
        let answer = self.receive::<R>().await;
        self.quiet = false;
        answer
    }

    /// Fetches, and writes the batches down as well.
    pub(crate) async fn fetch(&mut self, request: FetchRequest) -> FetchResponse {
        let answer = self.ask(request).await;
        for partition in answer.responses.iter().flat_map(|topic| &topic.partitions) {
            self.world.transcript.borrow_mut().records(partition.records.as_ref());
        }
        answer
    }

    /// A topic with these partitions and configurations.
    pub(crate) async fn topic(&mut self, what: &str, partitions: i32, configs: &[(&str, &str)]) -> StrBytes {
        let name = self.world.name(what);
        self.world.made(&name);
        let answer = self.prepare(requests::create(&name, partitions, 1, configs)).await;
        assert_eq!(answer.topics[0].error_code, 0, "{answer:?}");
        self.has(&name, partitions).await;
        name
    }

    /// Waits until the broker leads all partitions of a topic: Kafka learns of its own topics a little later.
    pub(crate) async fn has(&mut self, topic: &StrBytes, partitions: i32) {
        for partition in 0..partitions {
            while self.prepare(requests::list_offsets(topic, partition, requests::LATEST)).await.topics[0]
                .partitions[0]
                .error_code
                != 0
            {
                tokio::time::sleep(POLL).await;
            }
        }
    }

    /// The answer to what was asked last has been read by hand.
    pub(crate) fn forget_due(&mut self) {
        self.due.pop();
    }

    /// The next frame without its length, or `None` if the broker has hung up.
    pub(crate) async fn frame(&mut self) -> Option<Bytes> {
        let read = async {
            let length = self.stream.read_i32().await.ok()?;
            let mut bytes = vec![0; usize::try_from(length).expect("a length")];
            self.stream.read_exact(&mut bytes).await.ok()?;
            Some(Bytes::from(bytes))
        };
        timeout(SOON, read).await.expect("an answer or the end")
    }

    /// Writes down whether nothing comes for a while.
    pub(crate) async fn stays_silent(&mut self, what: &str, wait: Duration) {
        // Not `readable`: that is remembered from an earlier answer.
        let silent = timeout(wait, self.stream.peek(&mut [0])).await.is_err();
        self.world.note(what, if silent { "parked" } else { "answered" });
    }

    /// Writes down whether the broker closes the connection, unless it takes very long.
    pub(crate) async fn is_closed(&mut self, what: &str) {
        const LONG: Duration = Duration::from_secs(3);
        let outcome = match timeout(LONG, self.stream.peek(&mut [0])).await {
            Ok(Ok(0) | Err(_)) => "closed",
            Ok(Ok(_)) => "answered",
            Err(_) => "open",
        };
        self.world.note(what, outcome);
    }
}
