//! What is true in the end, from the servers' own records: Kafka's logs, the log of the group coordinators, and the
//! database's rows with the transactions that wrote them.
//!
//! The coordinators' log (`__consumer_offsets`) has all commits that were taken and all assignments, in the order in which
//! they were. Its records are read by code of our own; the formats are Kafka's `OffsetCommitKey`, `OffsetCommitValue`,
//! `GroupMetadataKey` and `GroupMetadataValue`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use evenkeel::kafka::KafkaClient;
use evenkeel_core::model::{Generation, GroupName, Offset, PartitionId, TopicName, TopicPartition};
use evenkeel_core::ports::{
    Broker, ClaimKey, Coordinator, FetchPartition, FetchRequest, ListOffset, PortError, StartAt,
};
use evenkeel_core::records::{self, Ended, RecordRef};
use evenkeel_sim::history::{EventNo, Flavour, HandlerNo, Life};
use evenkeel_sim::world::decode;
use sqlx::PgPool;

use crate::journal::Position;
use crate::shop;
use crate::Anyhow;

/// The most bytes of one answer.
const BYTES: u32 = 8 << 20;
const PATIENCE: Duration = Duration::from_secs(30);

/// A record of a group coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Coordinated {
    Commit { group: String, position: Position },
    Assignment { group: String, generation: Generation, shares: Vec<(Life, Vec<i32>)> },
}

/// A transaction of the database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Transaction {
    /// Nanoseconds since 1970.
    pub(crate) at: u64,
    pub(crate) claims: Vec<(HandlerNo, EventNo)>,
    pub(crate) effects: Vec<(HandlerNo, EventNo)>,
}

/// What the servers say.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    /// Each partition's records.
    pub(crate) logs: BTreeMap<PartitionId, Vec<(Offset, Option<EventNo>)>>,
    /// The coordinators' logs, one partition after another, with the broker's time in milliseconds.
    pub(crate) coordinated: Vec<(u64, Coordinated)>,
    /// By number.
    pub(crate) transactions: BTreeMap<i64, Transaction>,
    /// Effects in the order in which they were written.
    pub(crate) effects: Vec<(HandlerNo, EventNo)>,
    /// Claims to no event of ours.
    pub(crate) strange_claims: u64,
}

impl Truth {
    pub(crate) async fn read(kafka: &KafkaClient, pool: &PgPool) -> Result<Self, Anyhow> {
        let mut truth = Self::default();
        for (at, records) in read_topic(kafka, &shop::ORDERS.name()?).await? {
            let log = records.iter().map(|record| (record.offset(), event_of(record))).collect();
            truth.logs.insert(at.partition, log);
        }
        for (_, records) in read_topic(kafka, &TopicName::new("__consumer_offsets")?).await? {
            for record in records {
                let at = u64::try_from(record.timestamp().as_millis())?;
                if let Some(coordinated) = coordinated(&record)? {
                    truth.coordinated.push((at, coordinated));
                }
            }
        }
        truth.read_database(pool).await?;
        Ok(truth)
    }

    async fn read_database(&mut self, pool: &PgPool) -> Result<(), Anyhow> {
        const WHEN: &str = "(extract(epoch from pg_xact_commit_timestamp(xmin)) * 1000000)::bigint";
        let facts = shop::facts();
        let events: Vec<EventNo> = self.logs.values().flatten().filter_map(|(_, event)| *event).collect();
        let mut whose = BTreeMap::new();
        for (number, handler) in facts.numbered_handlers().filter(|(_, h)| h.flavour == Flavour::ExactlyOnce) {
            let group = &facts.groups[usize::from(handler.group.0)].name;
            for event in &events {
                let topic = &facts.topics[0].name;
                let key = ClaimKey::of(group, &handler.name, topic, shop::SOURCE, &shop::id(*event));
                whose.insert(key.0.to_vec(), (number, *event));
            }
        }
        let claims = format!("select xmin::text::bigint, {WHEN}, claim_key from evenkeel_processed");
        let claims: Vec<(i64, i64, Vec<u8>)> = sqlx::query_as(sqlx::AssertSqlSafe(claims)).fetch_all(pool).await?;
        for (number, at, key) in claims {
            let Some(whose) = whose.get(&key) else {
                self.strange_claims += 1;
                continue;
            };
            self.transaction(number, at)?.claims.push(*whose);
        }
        let effects = format!("select xmin::text::bigint, {WHEN}, handler, event from effects order by id");
        let effects: Vec<(i64, i64, i16, i64)> = sqlx::query_as(sqlx::AssertSqlSafe(effects)).fetch_all(pool).await?;
        for (number, at, handler, event) in effects {
            let whose = (HandlerNo(u16::try_from(handler)?), EventNo(u32::try_from(event)?));
            self.effects.push(whose);
            self.transaction(number, at)?.effects.push(whose);
        }
        Ok(())
    }

    fn transaction(&mut self, number: i64, micros: i64) -> Result<&mut Transaction, Anyhow> {
        let transaction = self.transactions.entry(number).or_default();
        transaction.at = u64::try_from(micros)? * 1_000;
        Ok(transaction)
    }
}

/// How many records of the topic each group has not committed.
pub(crate) async fn lag(kafka: &KafkaClient) -> Result<u64, PortError> {
    let topic = shop::ORDERS.name().map_err(|_| PortError::Refused(evenkeel_core::error::ErrorCode::UnknownTopicOrPartition))?;
    let partitions: Vec<_> = (0..shop::PARTITIONS as i32).map(PartitionId).collect();
    let ends = ends(kafka, &topic).await?;
    let mut lag = 0;
    for group in &shop::facts().groups {
        let Ok(name) = GroupName::new(&*group.name) else { continue };
        let broker = kafka.find_coordinator(&name).await?;
        let stored = kafka.committed(broker, &name, vec![(topic.clone(), partitions.clone())]).await?;
        for (at, position) in stored {
            let end = ends.get(&at.partition).map_or(0, |end| end.0);
            lag += (end - position?.map_or(0, |position| position.offset.0)).unsigned_abs();
        }
    }
    Ok(lag)
}

async fn ends(kafka: &KafkaClient, topic: &TopicName) -> Result<BTreeMap<PartitionId, Offset>, PortError> {
    let mut ends = BTreeMap::new();
    let metadata = kafka.metadata(std::slice::from_ref(topic)).await?;
    for topic in metadata.topics {
        for partition in topic.partitions? {
            let leader = partition.leader.ok_or(PortError::Refused(evenkeel_core::error::ErrorCode::LeaderNotAvailable))?;
            let at = TopicPartition { topic: topic.topic.clone(), partition: partition.partition };
            let asked = vec![ListOffset { at, start: StartAt::Latest }];
            for listed in kafka.list_offsets(leader, asked).await? {
                ends.insert(listed.at.partition, listed.outcome?.unwrap_or_default());
            }
        }
    }
    Ok(ends)
}

/// All records of a topic, by partition.
async fn read_topic(
    kafka: &KafkaClient,
    topic: &TopicName,
) -> Result<BTreeMap<TopicPartition, Vec<RecordRef>>, Anyhow> {
    let mut all = BTreeMap::new();
    let metadata = kafka.metadata(std::slice::from_ref(topic)).await?;
    let ends = ends(kafka, topic).await?;
    for partition in metadata.topics.into_iter().flat_map(|topic| topic.partitions.unwrap_or_default()) {
        let at = TopicPartition { topic: topic.clone(), partition: partition.partition };
        let leader = partition.leader.ok_or_else(|| format!("{at} has no leader"))?;
        let end = ends.get(&at.partition).copied().unwrap_or_default();
        let (mut from, mut records, mut last_news) = (Offset::ZERO, Vec::new(), Instant::now());
        while from < end {
            if last_news.elapsed() > PATIENCE {
                return Err(format!("{at} cannot be read beyond {from}, it ends at {end}").into());
            }
            let asked = FetchPartition {
                at: at.clone(),
                offset: from,
                leader_epoch: None,
                last_fetched_epoch: None,
                max_bytes: BYTES,
            };
            let wait = Duration::from_millis(100);
            let request = FetchRequest { wait, max_bytes: BYTES, read_committed: false, partitions: vec![asked] };
            for fetched in kafka.fetch(leader, request).await? {
                let decoded = records::decode(fetched.outcome?.batches, from);
                if let Ended::Failed(error) = &decoded.ended {
                    return Err(format!("{at}: {error}").into());
                }
                records.extend(decoded.records());
                if decoded.next_offset > from {
                    (from, last_news) = (decoded.next_offset, Instant::now());
                }
            }
        }
        all.insert(at, records);
    }
    Ok(all)
}

/// The orders have their number for an id.
fn event_of(record: &RecordRef) -> Option<EventNo> {
    let id = record.headers().find(|header| header.key == b"ce_id")?.value?;
    std::str::from_utf8(id).ok()?.parse().ok().map(EventNo)
}

/// Reads a record of the coordinators' log; `None` if it is of another kind, or says that something is gone.
fn coordinated(record: &RecordRef) -> Result<Option<Coordinated>, Anyhow> {
    let strange = || {
        format!("the coordinator's record at {} cannot be read: {:?}", record.offset(), record.value())
    };
    let (Some(key), Some(value)) = (record.key(), record.value()) else { return Ok(None) };
    let (mut key, mut value) = (Fields::new(key), Fields::new(value));
    Ok(match key.i16().ok_or_else(strange)? {
        0 | 1 => {
            let group = key.text().flatten().ok_or_else(strange)?;
            let topic = key.text().flatten().ok_or_else(strange)?;
            let partition = key.i32().ok_or_else(strange)?;
            let (offset, metadata) = value.committed().ok_or_else(strange)?;
            let ours = *topic == *shop::facts().topics[0].name;
            ours.then_some(Coordinated::Commit { group, position: Position { partition, offset, metadata } })
        }
        2 => {
            let group = key.text().flatten().ok_or_else(strange)?;
            let (generation, shares) = value.assigned().ok_or_else(strange)?;
            Some(Coordinated::Assignment { group, generation: Generation(generation), shares })
        }
        _ => None,
    })
}

/// The rest of a message of Kafka's.
struct Fields<'a> {
    rest: &'a [u8],
    lengths: Lengths,
}

/// How a message writes the lengths of what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lengths {
    /// Texts in two bytes, all else in four; -1 is null.
    Fixed,
    /// Variable, and one more than the length; 0 is null. Fields with tags end each structure ("flexible versions").
    Compact,
}

impl<'a> Fields<'a> {
    const fn new(rest: &'a [u8]) -> Self {
        Self { rest, lengths: Lengths::Fixed }
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*first)
    }

    fn i16(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }

    fn bytes(&mut self, length: usize) -> Option<Vec<u8>> {
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes.to_vec())
    }

    fn varint(&mut self) -> Option<u32> {
        let mut number = 0;
        for shift in (0..32).step_by(7) {
            let [byte] = self.take()?;
            number |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// `Some(None)` is Kafka's null.
    fn length(&mut self, fixed: impl FnOnce(&mut Self) -> Option<i32>) -> Option<Option<usize>> {
        let length = match self.lengths {
            Lengths::Fixed => i64::from(fixed(self)?),
            Lengths::Compact => i64::from(self.varint()?) - 1,
        };
        Some(usize::try_from(length).ok())
    }

    fn text(&mut self) -> Option<Option<String>> {
        match self.length(|fields| fields.i16().map(i32::from))? {
            None => Some(None),
            Some(length) => String::from_utf8(self.bytes(length)?).ok().map(Some),
        }
    }

    fn count(&mut self) -> Option<usize> {
        self.length(Self::i32).map(Option::unwrap_or_default)
    }

    fn blob(&mut self) -> Option<Vec<u8>> {
        let length = self.count()?;
        self.bytes(length)
    }

    /// Passes over the fields with tags at the end of a structure.
    fn end(&mut self) -> Option<()> {
        if self.lengths == Lengths::Compact {
            for _ in 0..self.varint()? {
                let _tag = self.varint()?;
                let length = self.varint()? as usize;
                self.bytes(length)?;
            }
        }
        Some(())
    }

    /// An `OffsetCommitValue`: offset and metadata.
    fn committed(&mut self) -> Option<(i64, String)> {
        let version = self.i16()?;
        let offset = self.i64()?;
        match version {
            0..=2 => {}
            3 | 4 => {
                let _leader_epoch = self.i32()?;
            }
            _ => return None,
        }
        if version == 4 {
            self.lengths = Lengths::Compact;
        }
        Some((offset, self.text()?.unwrap_or_default()))
    }

    /// A `GroupMetadataValue`: the generation, and what each member got. A member's client id is its life.
    fn assigned(&mut self) -> Option<(i32, Vec<(Life, Vec<i32>)>)> {
        match self.i16()? {
            3 => {}
            4 => self.lengths = Lengths::Compact,
            _ => return None,
        }
        let _protocol_type = self.text()?;
        let generation = self.i32()?;
        let _protocol = self.text()?;
        let _leader = self.text()?;
        let _since = self.i64()?;
        let mut shares = Vec::new();
        for _ in 0..self.count()? {
            let _member = self.text()?;
            let _instance = self.text()?;
            let life = shop::life_of(&self.text()??)?;
            let _host = self.text()?;
            let _rebalance_timeout = self.i32()?;
            let _session_timeout = self.i32()?;
            let _subscription = self.blob()?;
            let topics = decode::assignment(&self.blob()?)?;
            self.end()?;
            let partitions = topics.into_iter().flat_map(|(_, partitions)| partitions).map(|p| p.0);
            shares.push((life, partitions.collect()));
        }
        Some((generation, shares))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_read_in_both_forms() {
        let plain = [&[0, 3, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 2][..], b"ab", &[0; 8]].concat();
        let compact = [&[0, 4, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, 3][..], b"ab", &[0; 9]].concat();
        for bytes in [plain, compact] {
            assert_eq!(Fields::new(&bytes).committed(), Some((7, "ab".to_owned())));
            assert_eq!(Fields::new(&bytes[..12]).committed(), None);
        }
        assert_eq!(Fields::new(&[0, 5, 0, 0, 0, 0, 0, 0, 0, 7]).committed(), None);
    }

    #[test]
    fn an_assignment_is_read_in_both_forms() {
        let assignment = [&[0, 0, 0, 0, 0, 1, 0, 1][..], b"t", &[0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 5]].concat();
        let plain = [
            &[0, 3, 0, 1][..],
            b"c",
            &[0, 0, 0, 9, 255, 255, 0, 1],
            b"m",
            &[0; 8],
            &[0, 0, 0, 1, 0, 1],
            b"m",
            &[255, 255, 0, 3],
            b"2.5",
            &[0, 1],
            b"h",
            &[0; 8],
            &[0, 0, 0, 0, 0, 0, 0, assignment.len() as u8],
            &assignment,
        ]
        .concat();
        let compact = [
            &[0, 4, 2][..],
            b"c",
            &[0, 0, 0, 9, 0, 2],
            b"m",
            &[0; 8],
            &[2, 2],
            b"m",
            &[0, 4],
            b"2.5",
            &[2],
            b"h",
            &[0; 8],
            &[1, assignment.len() as u8 + 1],
            &assignment,
            &[0, 0],
        ]
        .concat();
        for bytes in [plain, compact] {
            let life = Life { process: 2, nth: 5 };
            assert_eq!(Fields::new(&bytes).assigned(), Some((9, vec![(life, vec![3, 5])])));
        }
    }
}
