//! When to ask the cluster about which topics.
//!
//! One request at a time, for all topics that need it by then. A topic never asked about, or whose leader just turned
//! out to be another, is asked about at once; topics whose last look did not help share one growing pause. So an
//! outage costs one request a pause, however many topics suffer from it, and does not delay a healthy newcomer.

use crate::machine::Entropy;
use crate::machine::backoff::Backoff;
use crate::model::{RequestId, Time};

/// How one topic stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// What is known will do.
    Content,
    /// To be asked about at once.
    Fresh,
    /// To be asked about after the pause.
    Again,
    /// Part of the request that is out.
    Asked,
}

/// The looks at all topics, which are known by their indices.
#[derive(Debug, Clone, Default)]
pub(super) struct Looks {
    topics: Vec<Look>,
    fresh: Vec<usize>,
    again: Vec<usize>,
    until: Time,
    retries: u32,
    asked: Option<(RequestId, Vec<usize>)>,
}

impl Looks {
    /// Makes room for one more topic.
    pub(super) fn add_topic(&mut self) {
        self.topics.push(Look::Content);
    }

    /// What is known of the topic will not do.
    pub(super) fn want(&mut self, topic: usize) {
        if self.topics[topic] == Look::Content {
            self.topics[topic] = Look::Fresh;
            self.fresh.push(topic);
        }
    }

    /// The topics to ask about now under `id`, if any.
    pub(super) fn request(&mut self, now: Time, id: RequestId) -> Option<&[usize]> {
        let pause_over = !self.again.is_empty() && self.until <= now;
        if self.asked.is_some() || (self.fresh.is_empty() && !pause_over) {
            return None;
        }
        let mut topics = std::mem::take(&mut self.fresh);
        if pause_over {
            topics.append(&mut self.again);
        }
        for topic in &topics {
            self.topics[*topic] = Look::Asked;
        }
        let (_, topics) = self.asked.insert((id, topics));
        Some(topics)
    }

    /// The topics that the request was about; `None` if it is not the one that is out.
    pub(super) fn answered(&mut self, id: RequestId) -> Option<Vec<usize>> {
        let (_, topics) = self.asked.take_if(|(asked, _)| *asked == id)?;
        for topic in &topics {
            self.topics[*topic] = Look::Content;
        }
        Some(topics)
    }

    /// The answer did not help these topics: they are asked about again after a pause.
    pub(super) fn repeat(&mut self, topics: Vec<usize>, now: Time, backoff: &Backoff, entropy: &mut Entropy) {
        for topic in topics {
            if self.topics[topic] == Look::Content {
                self.topics[topic] = Look::Again;
                self.again.push(topic);
            }
        }
        if self.again.is_empty() {
            self.retries = 0;
        } else if self.until <= now {
            self.until = now + backoff.wait(self.retries, entropy);
            self.retries = self.retries.saturating_add(1);
        }
    }

    /// When [`request`](Self::request) has something next, if nothing happens before.
    pub(super) fn deadline(&self) -> Option<Time> {
        (self.asked.is_none() && !self.again.is_empty()).then_some(self.until)
    }
}
