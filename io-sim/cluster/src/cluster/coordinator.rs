//! Which broker coordinates which group.
//!
//! Groups share 50 places by the hash of their names, as they share the partitions of Kafka's offsets topic; a place
//! moves as a whole, with all its groups. It stays where it is until its broker dies or it is moved.

use evenkeel_core::model::{BrokerId, Time};

use super::brokers::Brokers;

const PLACES: usize = 50;

/// A place among the coordinators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(usize);

/// Who coordinates each place.
#[derive(Debug, Clone)]
pub(super) struct Slots(Vec<Place>);

#[derive(Debug, Clone, Copy)]
struct Place {
    broker: Option<BrokerId>,
    loaded_at: Time,
}

impl Slot {
    /// The place of a group: Java's hash of its name, as Kafka takes it.
    pub(super) fn of(group: &str) -> Self {
        let hash = group
            .encode_utf16()
            .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
        // Java's absolute value of the least number is zero here.
        Self(hash.checked_abs().unwrap_or(0) as usize % PLACES)
    }
}

impl Slots {
    pub(super) fn new(brokers: &Brokers) -> Self {
        let mut slots = Self(vec![Place { broker: None, loaded_at: Time::ZERO }; PLACES]);
        slots.fill(brokers, Time::ZERO);
        slots
    }

    /// Gives the places without a broker to live ones.
    pub(super) fn fill(&mut self, brokers: &Brokers, loaded_at: Time) {
        let alive: Vec<_> = brokers.alive().collect();
        for (nth, place) in self.0.iter_mut().enumerate().filter(|(_, place)| place.broker.is_none()) {
            if !alive.is_empty() {
                *place = Place { broker: Some(alive[nth % alive.len()]), loaded_at };
            }
        }
    }

    /// Takes all places from a broker, and tells which they were.
    pub(super) fn vacate(&mut self, broker: BrokerId) -> Vec<Slot> {
        let mut vacated = Vec::new();
        for (nth, place) in self.0.iter_mut().enumerate().filter(|(_, place)| place.broker == Some(broker)) {
            place.broker = None;
            vacated.push(Slot(nth));
        }
        vacated
    }

    pub(super) fn assign(&mut self, slot: Slot, broker: BrokerId, loaded_at: Time) {
        self.0[slot.0] = Place { broker: Some(broker), loaded_at };
    }

    pub(super) fn coordinator(&self, slot: Slot) -> Option<BrokerId> {
        self.0[slot.0].broker
    }

    pub(super) fn is_loading(&self, slot: Slot, now: Time) -> bool {
        self.0[slot.0].loaded_at > now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_kafka() {
        // `Math.abs("billing".hashCode()) % 50` and so on, by hand.
        for (group, hash) in [("", 0_i32), ("a", 97), ("ab", 97 * 31 + 98), ("polygenelubricants", i32::MIN)]
        {
            let expected = hash.checked_abs().unwrap_or(0) as usize % 50;
            assert_eq!(Slot::of(group), Slot(expected), "{group}");
        }
    }
}
