//! The consumer protocol: what members tell each other through a coordinator that does not look inside.
//!
//! A *subscription* travels from each member to the leader with its join, an *assignment* from the leader to each
//! member with its sync. Both begin with a version; later versions only append fields. So a reader takes the fields it
//! knows, ignores what follows, and takes a field that is missing altogether for its default: some clients announce a
//! version and stop writing early.
//!
//! Written by other programs in other languages, these bytes are not trusted. Reading never panics, and never allocates
//! more than the input is long: a count is believed one element at a time.
//!
//! Layout: Kafka's `ConsumerProtocolSubscription.json` and `ConsumerProtocolAssignment.json`, versions 0 to 3.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::model::{Generation, PartitionId, TopicName, TopicPartition};

/// The version that is written: understood by every client, and with room for owned partitions, which a cooperative
/// member must tell.
const WRITTEN: i16 = 1;

/// Bytes that are no message of the consumer protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a message of the consumer protocol: {fault} in {field}")]
pub struct Damaged {
    field: &'static str,
    fault: Fault,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("it ends")]
    Short,
    #[error("there is a negative number")]
    Negative,
    #[error("there is text that is not UTF-8")]
    Encoding,
}

/// What one member wants, as it tells the leader.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subscription {
    /// The topics. Names that are not legal are left out: no such topic can exist.
    pub topics: BTreeSet<TopicName>,
    /// Whatever the strategy adds.
    pub user_data: Option<Bytes>,
    /// The partitions that the member still owns, since version 1. Empty from members that give all up first.
    pub owned: BTreeSet<TopicPartition>,
    /// The generation in which the member owned them, since version 2.
    pub generation: Option<Generation>,
    /// Where the member runs, since version 3.
    pub rack: Option<Arc<str>>,
}

impl Subscription {
    /// The message's bytes, in version 1. That version has no place for generation and rack.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_i16(WRITTEN);
        put_count(&mut out, self.topics.len());
        for topic in &self.topics {
            put_name(&mut out, topic);
        }
        put_user_data(&mut out, self.user_data.as_ref());
        put_partitions(&mut out, &self.owned);
        out.freeze()
    }

    /// Reads a subscription of any version.
    ///
    /// # Errors
    /// [`Damaged`] if a field begins and does not end, or is nonsense.
    pub fn decode(bytes: &Bytes) -> Result<Self, Damaged> {
        let mut from = Reader { rest: bytes.clone(), field: "version" };
        let version = from.version()?;
        let mut found = Self { topics: from.field("topics").topics()?, ..Self::default() };
        found.user_data = from.field("user data").user_data()?;
        if version >= 1 {
            found.owned = from.field("owned partitions").partitions()?;
        }
        if version >= 2 && !from.at_end() {
            found.generation = Some(Generation(from.field("generation").i32()?)).filter(|known| known.0 >= 0);
        }
        if version >= 3 && !from.at_end() {
            found.rack = from.field("rack").nullable_text()?;
        }
        Ok(found)
    }
}

/// What one member gets, as the leader tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assignment {
    /// The partitions, each once. What cannot exist (an illegal topic name, a negative number) is left out.
    pub partitions: BTreeSet<TopicPartition>,
    /// Whatever the strategy adds.
    pub user_data: Option<Bytes>,
}

impl Assignment {
    /// The message's bytes, in version 1. All versions up to 3 have the same fields.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_i16(WRITTEN);
        put_partitions(&mut out, &self.partitions);
        put_user_data(&mut out, self.user_data.as_ref());
        out.freeze()
    }

    /// Reads an assignment of any version. No bytes at all are an assignment of nothing: that is how a coordinator
    /// answers a member that the leader left out.
    ///
    /// # Errors
    /// [`Damaged`] if a field begins and does not end, or is nonsense.
    pub fn decode(bytes: &Bytes) -> Result<Self, Damaged> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let mut from = Reader { rest: bytes.clone(), field: "version" };
        from.version()?;
        let partitions = from.field("assigned partitions").partitions()?;
        let user_data = from.field("user data").user_data()?;
        Ok(Self { partitions, user_data })
    }
}

fn put_count(out: &mut BytesMut, count: usize) {
    out.put_i32(i32::try_from(count).expect("a group has fewer than 2³¹ topics and partitions"));
}

fn put_name(out: &mut BytesMut, name: &TopicName) {
    let name = name.as_str();
    out.put_i16(i16::try_from(name.len()).expect("a legal name has at most 249 bytes"));
    out.put_slice(name.as_bytes());
}

fn put_user_data(out: &mut BytesMut, user_data: Option<&Bytes>) {
    match user_data {
        None => out.put_i32(-1),
        Some(data) => {
            put_count(out, data.len());
            out.put_slice(data);
        }
    }
}

fn put_partitions(out: &mut BytesMut, partitions: &BTreeSet<TopicPartition>) {
    let mut topics: BTreeMap<&TopicName, Vec<PartitionId>> = BTreeMap::new();
    for at in partitions {
        topics.entry(&at.topic).or_default().push(at.partition);
    }
    put_count(out, topics.len());
    for (topic, numbers) in topics {
        put_name(out, topic);
        put_count(out, numbers.len());
        for number in numbers {
            out.put_i32(number.0);
        }
    }
}

/// Takes one field after the other, and remembers which, for the error.
struct Reader {
    rest: Bytes,
    field: &'static str,
}

impl Reader {
    fn field(&mut self, field: &'static str) -> &mut Self {
        self.field = field;
        self
    }

    fn at_end(&self) -> bool {
        self.rest.is_empty()
    }

    fn damaged(&self, fault: Fault) -> Damaged {
        Damaged { field: self.field, fault }
    }

    fn i16(&mut self) -> Result<i16, Damaged> {
        self.rest.try_get_i16().map_err(|_| self.damaged(Fault::Short))
    }

    fn i32(&mut self) -> Result<i32, Damaged> {
        self.rest.try_get_i32().map_err(|_| self.damaged(Fault::Short))
    }

    fn version(&mut self) -> Result<i16, Damaged> {
        match self.i16()? {
            version @ 0.. => Ok(version),
            _ => Err(self.damaged(Fault::Negative)),
        }
    }

    /// The number of elements that an array says it has; zero for an array that is null, or not there at all.
    fn count(&mut self) -> Result<u32, Damaged> {
        if self.at_end() {
            return Ok(0);
        }
        match self.i32()? {
            -1 => Ok(0),
            count => u32::try_from(count).map_err(|_| self.damaged(Fault::Negative)),
        }
    }

    fn slice(&mut self, length: usize) -> Result<Bytes, Damaged> {
        if length > self.rest.len() {
            return Err(self.damaged(Fault::Short));
        }
        Ok(self.rest.split_to(length))
    }

    fn nullable_text(&mut self) -> Result<Option<Arc<str>>, Damaged> {
        let length = match self.i16()? {
            -1 => return Ok(None),
            length => usize::try_from(length).map_err(|_| self.damaged(Fault::Negative))?,
        };
        let text = self.slice(length)?;
        std::str::from_utf8(&text)
            .map(|text| Some(Arc::from(text)))
            .map_err(|_| self.damaged(Fault::Encoding))
    }

    /// A topic's name; `None` if no topic can have it.
    fn topic(&mut self) -> Result<Option<TopicName>, Damaged> {
        Ok(self.nullable_text()?.and_then(|text| TopicName::new(text).ok()))
    }

    fn topics(&mut self) -> Result<BTreeSet<TopicName>, Damaged> {
        let mut topics = BTreeSet::new();
        for _ in 0..self.count()? {
            topics.extend(self.topic()?);
        }
        Ok(topics)
    }

    fn user_data(&mut self) -> Result<Option<Bytes>, Damaged> {
        if self.at_end() {
            return Ok(None);
        }
        match self.i32()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| self.damaged(Fault::Negative))?;
                self.slice(length).map(Some)
            }
        }
    }

    fn partitions(&mut self) -> Result<BTreeSet<TopicPartition>, Damaged> {
        let mut partitions = BTreeSet::new();
        for _ in 0..self.count()? {
            let topic = self.topic()?;
            for _ in 0..self.count()? {
                let partition = PartitionId(self.i32()?);
                if let Some(topic) = topic.clone().filter(|_| partition.0 >= 0) {
                    partitions.insert(TopicPartition { topic, partition });
                }
            }
        }
        Ok(partitions)
    }
}

#[cfg(test)]
#[path = "tests/protocol.rs"]
mod tests;
