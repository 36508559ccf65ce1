//! What is true in the end, from the servers' own records: Kafka's logs, the log of the group coordinators, and the
//! database's rows with the transactions that wrote them.
//!
//! The coordinators' log (`__consumer_offsets`) has all commits that were taken and all assignments, in the order in which
//! they were: see [`coordinated`].

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use evenkeel::kafka::KafkaClient;
use evenkeel_core::model::{GroupName, Offset, PartitionId, TopicName, TopicPartition};
use evenkeel_core::ports::{
    Broker, ClaimKey, Coordinator, FetchPartition, FetchRequest, ListOffset, PortError, StartAt,
};
use evenkeel_core::records::{self, Ended, RecordRef};
use evenkeel_sim::history::{EventNo, Flavour, HandlerNo};
use sqlx::PgPool;

use crate::Anyhow;
use crate::coordinated::{self, Coordinated};
use crate::shop;

/// The most bytes of one answer.
const BYTES: u32 = 8 << 20;
const PATIENCE: Duration = Duration::from_secs(30);

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
                if let Some(coordinated) = coordinated::read(&record)? {
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
        for (number, handler) in facts.numbered_handlers().filter(|(_, h)| h.flavour == Flavour::ExactlyOnce)
        {
            let group = &facts.groups[usize::from(handler.group.0)].name;
            for event in &events {
                let topic = &facts.topics[0].name;
                let key = ClaimKey::of(group, &handler.name, topic, shop::SOURCE, &shop::id(*event));
                whose.insert(key.0.to_vec(), (number, *event));
            }
        }
        let claims = format!("select xmin::text::bigint, {WHEN}, claim_key from evenkeel_processed");
        let claims: Vec<(i64, i64, Vec<u8>)> =
            sqlx::query_as(sqlx::AssertSqlSafe(claims)).fetch_all(pool).await?;
        for (number, at, key) in claims {
            let Some(whose) = whose.get(&key) else {
                self.strange_claims += 1;
                continue;
            };
            self.transaction(number, at)?.claims.push(*whose);
        }
        let effects = format!("select xmin::text::bigint, {WHEN}, handler, event from effects order by id");
        let effects: Vec<(i64, i64, i16, i64)> =
            sqlx::query_as(sqlx::AssertSqlSafe(effects)).fetch_all(pool).await?;
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
    let topic = shop::ORDERS
        .name()
        .map_err(|_| PortError::Refused(evenkeel_core::error::ErrorCode::UnknownTopicOrPartition))?;
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
            let leader = partition
                .leader
                .ok_or(PortError::Refused(evenkeel_core::error::ErrorCode::LeaderNotAvailable))?;
            let at = TopicPartition { topic: topic.topic.clone(), partition: partition.partition };
            let asked = vec![ListOffset { at, start: StartAt::Latest }];
            for listed in kafka.list_offsets(leader, asked).await? {
                ends.insert(listed.at.partition, listed.outcome?.map_or(Offset::ZERO, |found| found.offset));
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
            let request =
                FetchRequest { wait, max_bytes: BYTES, read_committed: false, partitions: vec![asked] };
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
