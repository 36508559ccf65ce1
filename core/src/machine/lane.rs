//! Lanes: which event of one handler may start now.
//!
//! Events that must not overtake each other (those of one key of one partition, or of one partition) share a lane. The
//! first event in a lane holds it until it is settled, through all its retries; the others are parked behind it in order
//! of arrival. Events without a lane never wait for each other. Everything that may start stands in one queue, first
//! come first served.
//!
//! Every verb is O(1). Parked events are linked through one table, so nothing is allocated per event.

use std::collections::VecDeque;

use hashbrown::HashTable;
use slab::Slab;

/// What events must share to be kept in order: the partition's slot and a digest of the key. Two keys with one digest
/// only share a lane, which is harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneKey {
    /// The slot of the partition in the consumer.
    pub partition: usize,
    /// The digest of the key; zero where the whole partition is one lane.
    pub digest: u64,
}

impl LaneKey {
    fn hash(self) -> u64 {
        // The digest is a hash already; this folds the slot in (a multiplicative hash by 2⁶⁴/φ).
        (self.digest ^ self.partition as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// Names an occupied lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneId(u32);

/// Names an event that stands in lanes: the caller's own small number.
pub type Entrant = u32;

const END: Entrant = Entrant::MAX;

#[derive(Debug, Clone)]
struct Lane {
    key: LaneKey,
    head: Entrant,
    tail: Entrant,
    parked_weight: u64,
    stalled: bool,
}

/// The lanes of one handler.
#[derive(Debug, Clone, Default)]
pub struct Lanes {
    occupied: Slab<Lane>,
    by_key: HashTable<u32>,
    /// `behind[e]` is who is parked right behind `e`, with its weight.
    behind: Vec<(Entrant, u32)>,
    ready: VecDeque<Entrant>,
}

/// Whether an entrant, on its way in, counts as work that will run soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entered {
    /// The lane it stands in, if it must keep an order.
    pub lane: Option<LaneId>,
    /// False when it is parked behind an event that waits or blocks.
    pub moving: bool,
}

impl Lanes {
    /// Lets `entrant` in. It is ready at once unless its lane is held.
    pub fn enter(&mut self, entrant: Entrant, key: Option<LaneKey>, weight: u32) -> Entered {
        let Some(key) = key else {
            self.ready.push_back(entrant);
            return Entered { lane: None, moving: true };
        };
        let index = entrant as usize;
        if self.behind.len() <= index {
            self.behind.resize(index + 1, (END, 0));
        }
        self.behind[index] = (END, weight);
        if let Some(&id) = self.by_key.find(key.hash(), |&id| self.occupied[id as usize].key == key) {
            let lane = &mut self.occupied[id as usize];
            if lane.tail == END {
                lane.head = entrant;
            } else {
                self.behind[lane.tail as usize].0 = entrant;
            }
            lane.tail = entrant;
            lane.parked_weight += u64::from(weight);
            return Entered { lane: Some(LaneId(id)), moving: !lane.stalled };
        }
        let lane = Lane { key, head: END, tail: END, parked_weight: 0, stalled: false };
        let id = u32::try_from(self.occupied.insert(lane)).expect("fewer lanes than entrants, which are u32");
        let occupied = &self.occupied;
        self.by_key.insert_unique(key.hash(), id, |&id| occupied[id as usize].key.hash());
        self.ready.push_back(entrant);
        Entered { lane: Some(LaneId(id)), moving: true }
    }

    /// The next event that may start. It holds its lane until [`leave`](Self::leave).
    pub fn take_ready(&mut self) -> Option<Entrant> {
        self.ready.pop_front()
    }

    /// Whether any event may start.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The holder of `lane` is settled: whoever is parked behind it becomes ready.
    pub fn leave(&mut self, lane: LaneId) {
        let Some(held) = self.occupied.get_mut(lane.0 as usize) else { return };
        let next = held.head;
        if next == END {
            let key = held.key;
            self.occupied.remove(lane.0 as usize);
            if let Ok(entry) = self.by_key.find_entry(key.hash(), |&id| id == lane.0) {
                entry.remove();
            }
            return;
        }
        let (after, weight) = self.behind[next as usize];
        held.head = after;
        if after == END {
            held.tail = END;
        }
        held.parked_weight -= u64::from(weight);
        self.ready.push_back(next);
    }

    /// The holder of `lane` has to wait: what is parked behind it will not run soon. Answers the weight of that.
    pub fn stall(&mut self, lane: LaneId) -> u64 {
        self.set_stalled(lane, true)
    }

    /// Who is parked in `lane`, in their order.
    pub fn parked(&self, lane: LaneId) -> impl Iterator<Item = Entrant> {
        let head = self.occupied.get(lane.0 as usize).map_or(END, |lane| lane.head);
        let there = |entrant: Entrant| (entrant != END).then_some(entrant);
        std::iter::successors(there(head), move |&last| there(self.behind[last as usize].0))
    }

    /// The holder of `lane` goes on. Answers the weight parked behind it.
    pub fn resume(&mut self, lane: LaneId) -> u64 {
        self.set_stalled(lane, false)
    }

    fn set_stalled(&mut self, lane: LaneId, stalled: bool) -> u64 {
        match self.occupied.get_mut(lane.0 as usize) {
            Some(held) if held.stalled != stalled => {
                held.stalled = stalled;
                held.parked_weight
            }
            Some(_) | None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn key(digest: u64) -> Option<LaneKey> {
        Some(LaneKey { partition: 0, digest })
    }

    #[test]
    fn one_key_waits_for_its_holder_and_other_keys_do_not() {
        let mut lanes = Lanes::default();
        let first = lanes.enter(0, key(7), 10);
        lanes.enter(1, key(7), 10);
        lanes.enter(2, key(8), 10);
        lanes.enter(3, None, 10);
        assert_eq!(
            [lanes.take_ready(), lanes.take_ready(), lanes.take_ready(), lanes.take_ready()],
            [Some(0), Some(2), Some(3), None]
        );
        lanes.leave(first.lane.unwrap());
        assert_eq!([lanes.take_ready(), lanes.take_ready()], [Some(1), None]);
    }

    #[test]
    fn a_retrying_holder_keeps_its_lane() {
        let mut lanes = Lanes::default();
        let lane = lanes.enter(0, key(7), 10).lane.unwrap();
        lanes.enter(1, key(7), 20);
        assert_eq!(lanes.take_ready(), Some(0));
        assert_eq!(lanes.stall(lane), 20);
        assert!(!lanes.enter(2, key(7), 5).moving, "parked behind one that waits");
        assert_eq!(lanes.take_ready(), None);
        assert_eq!(lanes.resume(lane), 25);
        assert_eq!(lanes.take_ready(), None, "the holder itself is started again by the caller");
        lanes.leave(lane);
        assert_eq!([lanes.take_ready(), lanes.take_ready()], [Some(1), None]);
    }

    #[test]
    fn a_lane_is_given_back_when_its_last_event_leaves() {
        let mut lanes = Lanes::default();
        for round in 0..1_000 {
            let lane = lanes.enter(0, key(round), 1).lane.unwrap();
            lanes.take_ready();
            lanes.leave(lane);
        }
        assert_eq!((lanes.occupied.len(), lanes.by_key.len(), lanes.behind.len()), (0, 0, 1));
    }

    proptest! {
        #[test]
        fn each_lane_starts_in_order_one_at_a_time_and_all_start(
            keys in proptest::collection::vec(proptest::option::of(0u64..4), 1..80),
            choices in proptest::collection::vec(any::<u8>(), 1..80),
        ) {
            let mut lanes = Lanes::default();
            let entered: Vec<Entered> = keys.iter().enumerate()
                .map(|(e, k)| lanes.enter(e as u32, k.and_then(key), 1)).collect();
            let mut running: Vec<u32> = Vec::new();
            let mut started: BTreeMap<Option<u64>, Vec<u32>> = BTreeMap::new();
            let mut choice = choices.iter().cycle();
            loop {
                while let Some(e) = lanes.take_ready() {
                    let k = keys[e as usize];
                    prop_assert!(k.is_none() || !running.iter().any(|r| keys[*r as usize] == k), "two of one lane");
                    started.entry(k).or_default().push(e);
                    running.push(e);
                }
                if running.is_empty() { break }
                let done = running.remove(usize::from(*choice.next().unwrap()) % running.len());
                if let Some(lane) = entered[done as usize].lane { lanes.leave(lane) }
            }
            prop_assert_eq!(started.values().map(Vec::len).sum::<usize>(), keys.len());
            for order in started.values() { prop_assert!(order.is_sorted()) }
        }
    }
}
