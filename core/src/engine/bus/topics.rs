//! Whether the topics that handlers wait for exist, asked before anything is started.
//!
//! A member takes a topic that is not there for one that will come, so that a name that is misspelled would idle its
//! group without a word.

use std::collections::BTreeMap;
use std::time::Duration;

use super::StartError;
use crate::error::ErrorCode;
use crate::machine::Entropy;
use crate::machine::backoff::Backoff;
use crate::model::{GroupName, TopicName};
use crate::ports::{Broker, Metadata, Runtime};

/// How long a topic may be missing: brokers hear of a new one after each other.
const PATIENCE: Duration = Duration::from_secs(3);

/// Answers once all topics exist. Whether the cluster can be reached is not asked here: members wait for that, and tell.
pub(super) async fn exist(
    topics: &BTreeMap<TopicName, GroupName>,
    kafka: &impl Broker,
    runtime: &impl Runtime,
) -> Result<(), StartError> {
    if topics.is_empty() {
        return Ok(());
    }
    let names: Vec<TopicName> = topics.keys().cloned().collect();
    let mut entropy = Entropy::new(runtime.seed());
    let until = runtime.now() + PATIENCE;
    let mut looks = 0;
    while let Some(topic) = kafka.metadata(&names).await.ok().and_then(missing) {
        if runtime.now() >= until {
            let group = topics[&topic].clone();
            return Err(StartError::UnknownTopic { group, topic });
        }
        let wait = Backoff::REQUEST.wait(looks, &mut entropy);
        runtime.sleep_until((runtime.now() + wait).min(until)).await;
        looks += 1;
    }
    Ok(())
}

fn missing(metadata: Metadata) -> Option<TopicName> {
    let unknown = |code: &ErrorCode| *code == ErrorCode::UnknownTopicOrPartition;
    metadata
        .topics
        .into_iter()
        .find(|described| described.partitions.as_ref().is_err_and(unknown))
        .map(|described| described.topic)
}
