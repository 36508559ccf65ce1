//! Kafka's frames: bytes to requests, answers to bytes, in every version that is offered.
//!
//! Pure functions, so that they can be tested and fuzzed without sockets. [`decode`] takes the frame of one request
//! (without its length) and [`encode`] gives the frame of its answer (with it). A [`Ticket`] is what must be
//! remembered in between.
//!
//! Frames come from anyone, so nothing in them is believed: no read passes the end, and what is allocated is bounded by
//! the bytes that came and by [`MAX_ELEMENTS`], never by a count that a frame states. That is why the codec is our own:
//! kafka-protocol reserves as many elements as an array states, so that a malformed frame can abort the process. It is
//! the witness in the tests and in the conformance suite. Byte fields stay slices of the frame.

mod api;
mod configs;
mod groups;
mod offsets;
mod read;
mod records;
#[cfg(test)]
mod tests;
mod topics;
mod versions;
mod write;

use bytes::Bytes;
use evenkeel_core::error::ErrorCode;

use crate::message::{Answer, Request, Text};
pub use api::{Api, OFFERED, Offer};
use read::Reader;
pub use read::{MAX_ELEMENTS, Malformed};
use versions::Greeting;
pub use write::Frame;
use write::Writer;

/// The largest request that is read: `socket.request.max.bytes`.
pub const MAX_FRAME: usize = 100 * 1024 * 1024;

/// The largest request that brings no records.
pub const MAX_SMALL_FRAME: usize = 8 * 1024 * 1024;

/// How large a request may be, by its first bytes behind the length.
#[must_use]
pub fn frame_limit(api_key: i16) -> usize {
    match Api::from_key(api_key) {
        Some(Api::Produce) => MAX_FRAME,
        Some(_) | None => MAX_SMALL_FRAME,
    }
}

/// What must be known of a request to answer it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    api: Api,
    version: i16,
    correlation: i32,
    form: Form,
}

impl Ticket {
    /// What kind of request it was.
    #[must_use]
    pub const fn api(self) -> Api {
        self.api
    }
}

/// What a client wants to be told besides. It is no business of the machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Form {
    /// What it may do with each topic or group.
    operations: bool,
    /// What it may do with the cluster.
    cluster_operations: bool,
    /// Where configurations are set.
    synonyms: bool,
    /// Which kind of nodes it asks about, if not brokers.
    endpoints: Option<i8>,
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// What its answer needs.
    pub ticket: Ticket,
    /// What the client calls itself.
    pub client: Text,
    /// What it wants.
    pub ask: Ask,
}

/// What a request wants.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// Something of the cluster.
    Cluster(Request),
    /// The same, but no answer: produce without acknowledgement.
    Silent(Request),
    /// What may be asked: the answer is there already.
    Versions(Frame),
}

/// Reads one request's frame, without its length.
///
/// # Errors
/// [`Malformed`] if it is no request that is offered; the connection it came over is of no use then, as with a real
/// broker.
pub fn decode(frame: Bytes) -> Result<Call, Malformed> {
    let mut from = Reader::new(frame);
    let key = from.i16()?;
    let version = from.i16()?;
    let correlation = from.i32()?;
    let api = Api::from_key(key).ok_or(Malformed::UnknownApi(key))?;
    let mut ticket = Ticket { api, version, correlation, form: Form::default() };
    let offer = api.offer();
    if !offer.includes(version) {
        if api == Api::ApiVersions {
            return Ok(Call {
                ticket,
                client: Text::default(),
                ask: Ask::Versions(versions::too_new(correlation)),
            });
        }
        return Err(Malformed::UnknownVersion { key, version });
    }
    // The client id is in the old format even where all else is in the new one.
    let client = from.nullable_text()?.unwrap_or_default();
    from.set_flexible(offer.is_flexible(version));
    from.tags()?;
    if api == Api::ApiVersions {
        let greeting = Greeting::read(&mut from, version)?;
        from.end()?;
        let frame = versions::write(correlation, version, greeting.verdict());
        return Ok(Call { ticket, client, ask: Ask::Versions(frame) });
    }
    let request = read_request(&mut from, api, version)?;
    ticket.form = from.form;
    from.tags()?;
    from.end()?;
    let is_silent =
        matches!(&request, Request::Produce(produce) if produce.acks == crate::message::Acks::None);
    let ask = if is_silent { Ask::Silent(request) } else { Ask::Cluster(request) };
    Ok(Call { ticket, client, ask })
}

fn read_request(from: &mut Reader, api: Api, version: i16) -> Result<Request, Malformed> {
    Ok(match api {
        Api::Produce => records::read_produce(from)?.into(),
        Api::Fetch => records::read_fetch(from, version)?.into(),
        Api::ListOffsets => records::read_list_offsets(from, version)?.into(),
        Api::OffsetForLeaderEpoch => records::read_epoch_ends(from, version)?.into(),
        Api::DeleteRecords => records::read_delete_records(from)?.into(),
        Api::InitProducerId => records::read_init_producer(from, version)?.into(),
        Api::Metadata => topics::read_metadata(from, version)?.into(),
        Api::DescribeCluster => topics::read_describe_cluster(from, version)?.into(),
        Api::CreateTopics => topics::read_create_topics(from)?.into(),
        Api::DeleteTopics => topics::read_delete_topics(from, version)?.into(),
        Api::CreatePartitions => topics::read_create_partitions(from)?.into(),
        Api::DescribeConfigs => configs::read_describe(from, version)?.into(),
        Api::AlterConfigs => configs::read_alter(from)?.into(),
        Api::IncrementalAlterConfigs => configs::read_change(from)?.into(),
        Api::FindCoordinator => groups::read_find(from, version)?.into(),
        Api::JoinGroup => groups::read_join(from, version)?.into(),
        Api::SyncGroup => groups::read_sync(from, version)?.into(),
        Api::Heartbeat => groups::read_heartbeat(from, version)?.into(),
        Api::LeaveGroup => groups::read_leave(from, version)?.into(),
        Api::DescribeGroups => groups::read_describe(from, version)?.into(),
        Api::ListGroups => groups::read_list(from, version)?.into(),
        Api::DeleteGroups => groups::read_delete(from)?.into(),
        Api::OffsetCommit => offsets::read_commit(from, version)?.into(),
        Api::OffsetFetch => offsets::read_fetch(from, version)?.into(),
        Api::OffsetDelete => offsets::read_delete(from)?.into(),
        Api::ApiVersions => return Err(Malformed::UnknownApi(api.offer().key)),
    })
}

/// Writes an answer's frame, its length included.
#[must_use]
pub fn encode(ticket: Ticket, answer: &Answer) -> Frame {
    let Ticket { api, version, correlation, form } = ticket;
    let mut to = Writer::new(correlation, api.offer().is_flexible(version));
    match answer {
        Answer::Produce(answer) => records::write_produce(&mut to, version, answer),
        Answer::Fetch(answer) => records::write_fetch(&mut to, version, answer),
        Answer::ListOffsets(answer) => records::write_list_offsets(&mut to, version, answer),
        Answer::EpochEnds(answer) => records::write_epoch_ends(&mut to, answer),
        Answer::DeleteRecords(answer) => records::write_delete_records(&mut to, answer),
        Answer::InitProducer(answer) => records::write_init_producer(&mut to, answer),
        Answer::Metadata(answer) => topics::write_metadata(&mut to, version, form, answer),
        Answer::DescribeCluster(answer) => topics::write_describe_cluster(&mut to, version, form, answer),
        Answer::CreateTopics(answer) => topics::write_create_topics(&mut to, version, answer),
        Answer::DeleteTopics(answer) => topics::write_delete_topics(&mut to, version, answer),
        Answer::CreatePartitions(answer) => topics::write_create_partitions(&mut to, answer),
        Answer::DescribeConfigs(answer) => configs::write_describe(&mut to, version, form.synonyms, answer),
        Answer::AlterConfigs(answer) => configs::write_alter(&mut to, answer),
        Answer::FindCoordinators(answer) => groups::write_find(&mut to, version, answer),
        Answer::JoinGroup(answer) => groups::write_join(&mut to, version, answer),
        Answer::SyncGroup(answer) => groups::write_sync(&mut to, version, answer),
        Answer::Heartbeat(answer) => groups::write_heartbeat(&mut to, version, answer),
        Answer::LeaveGroup(answer) => groups::write_leave(&mut to, version, answer),
        Answer::DescribeGroups(answer) => groups::write_describe(&mut to, version, form, answer),
        Answer::ListGroups(answer) => groups::write_list(&mut to, version, answer),
        Answer::DeleteGroups(answer) => groups::write_delete(&mut to, answer),
        Answer::CommitOffsets(answer) => offsets::write_commit(&mut to, version, answer),
        Answer::FetchOffsets(answer) => offsets::write_fetch(&mut to, version, answer),
        Answer::DeleteOffsets(answer) => offsets::write_delete(&mut to, answer),
    }
    to.tags();
    to.finish()
}

/// The code on the wire; 0 is success.
fn code<T>(outcome: &Result<T, ErrorCode>) -> i16 {
    outcome.as_ref().err().map_or(0, |code| code.code())
}
