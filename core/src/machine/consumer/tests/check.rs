//! The consumer's books, counted again from scratch: every number that it keeps must be the one that is there.

use super::*;
use crate::machine::consumer::leading::Want;

impl<P> Consumer<P> {
    /// Checks everything that must hold, in time that grows with what is in flight.
    pub(super) fn check(&self) {
        for (slot, partition) in &self.partitions {
            let of_slot = |event: &Event<P>| event.partition == slot;
            let held: u64 =
                self.events.iter().filter(|(_, e)| of_slot(e)).map(|(_, e)| u64::from(e.weight)).sum();
            assert_eq!(partition.held, held, "bytes held of {}", partition.at);
            for handler in 0..self.handlers.len() {
                let moving = self.deliveries.iter().filter(|(_, delivery)| {
                    delivery.handler.0 == handler && of_slot(self.event(delivery)) && self.moves(delivery)
                });
                let runnable: u64 = moving.map(|(_, delivery)| u64::from(self.event(delivery).weight)).sum();
                assert_eq!(
                    partition.runnable[handler], runnable,
                    "bytes of handler {handler} of {}",
                    partition.at
                );
            }
            let paused = partition.paused_until.is_none_or(|until| self.pauses.contains(&(until, slot)));
            assert!(paused, "{} would never end its pause", partition.at);
            if partition.phase != Phase::Broken {
                partition.tracker.check();
            }
        }
        let paused = self.partitions.iter().filter(|(_, partition)| partition.paused_until.is_some()).count();
        assert_eq!(self.pauses.len(), paused, "pauses");
        for (id, handler) in self.handlers.iter().enumerate() {
            let queued = |delivery: &Delivery| delivery.state == DeliveryState::Queued;
            let outside = |(index, delivery): &(usize, &Delivery)| {
                delivery.handler.0 == id
                    && delivery.state != DeliveryState::Held
                    && (!queued(delivery) || handler.due.contains(&(*index as u32)))
            };
            assert_eq!(
                handler.outstanding,
                self.deliveries.iter().filter(outside).count(),
                "outstanding of {id}"
            );
            let calls = || self.calls.iter().filter(|(_, call)| call.handler.0 == id);
            assert_eq!(handler.running, calls().count(), "calls of {id}");
            let leftover = calls().filter(|(_, call)| call.deliveries.is_none()).count();
            assert_eq!(handler.leftover, leftover, "leftover calls of {id}");
        }
        for leader in self.leaders.values() {
            let wants = |want: Want| leader.slots.iter().any(|&slot| self.partitions[slot].want == want);
            assert_eq!(
                leader.wants_fetch(),
                leader.fetch.is_none() && wants(Want::Records),
                "records wanted"
            );
            assert_eq!(
                leader.wants_listing(),
                leader.listing.is_none() && wants(Want::Bounds),
                "bounds wanted"
            );
        }
        let live = self.calls.iter().filter(|(_, call)| call.deliveries.is_some()).count();
        assert_eq!(self.live_calls, live, "live calls");
    }

    fn event(&self, delivery: &Delivery) -> &Event<P> {
        &self.events[delivery.event as usize]
    }

    /// Whether a delivery runs or will run soon: neither it nor the one whose lane it stands in waits or is held.
    fn moves(&self, delivery: &Delivery) -> bool {
        let stands = |delivery: &Delivery| match delivery.state {
            DeliveryState::Queued | DeliveryState::Running => false,
            DeliveryState::Waiting(_) | DeliveryState::Held => true,
        };
        let in_its_way = |other: &Delivery| {
            other.handler == delivery.handler && other.lane == delivery.lane && stands(other)
        };
        !stands(delivery)
            && (delivery.lane.is_none() || !self.deliveries.iter().any(|(_, other)| in_its_way(other)))
    }
}
