//! The events that lie between the frontier and the position, in order of arrival.
//!
//! Slots are numbered by arrival, not by offset: a gap in the log, however wide, takes no memory. Offsets are touched
//! only in order, at both ends; settling an event touches one pair of bits, so that the part of memory that is reached
//! in random order is a quarter of a byte for an event and stays in the processor's cache.
//!
//! Each slot has its state written down twice, by different lines: `settled` is what the frontier follows, `waiting` is
//! what was handed out and not answered. [`Window::reclaim`] compares them before it lets go of a slot.

use std::collections::VecDeque;
use std::ops::Range;

use super::tracker::Settlement;
use crate::model::Offset;

/// Names one event that was handed out. It is a number of arrival; what the tracker never gave out, or has had back
/// already, is answered and has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

const BITS: u64 = u64::BITS as u64;

/// Sixty-four slots.
#[derive(Debug, Clone, Copy, Default)]
struct Block {
    settled: u64,
    waiting: u64,
}

/// A ring of slots. Grows to the widest it ever was and then allocates no more.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    offsets: VecDeque<Offset>,
    /// The first block holds the slot of arrival `first`, wherever in the block that is.
    blocks: VecDeque<Block>,
    /// The lowest arrival that still has a slot.
    first: u64,
    /// The arrival that comes next.
    next: u64,
    in_flight: usize,
}

impl Window {
    /// Slots held.
    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Slots that are not settled.
    pub(super) const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// The lowest offset that has a slot.
    pub(super) fn front(&self) -> Option<Offset> {
        self.offsets.front().copied()
    }

    /// Whether this is the slot behind which the frontier stands.
    pub(super) const fn is_front(&self, ticket: Ticket) -> bool {
        ticket.0 == self.first
    }

    /// Takes a slot for an event that is handed out.
    pub(super) fn push(&mut self, offset: Offset) -> Ticket {
        let (ticket, block, bit) = self.grow(offset);
        block.waiting |= bit;
        self.in_flight += 1;
        ticket
    }

    /// Takes a slot for an event that was settled in an earlier life.
    pub(super) fn push_settled(&mut self, offset: Offset) {
        let (_, block, bit) = self.grow(offset);
        block.settled |= bit;
    }

    fn grow(&mut self, offset: Offset) -> (Ticket, &mut Block, u64) {
        let arrival = self.next;
        self.next += 1;
        self.offsets.push_back(offset);
        let index = self.block_of(arrival);
        if index == self.blocks.len() {
            self.blocks.push_back(Block::default());
        }
        (Ticket(arrival), &mut self.blocks[index], 1 << (arrival % BITS))
    }

    /// Marks a slot as settled.
    pub(super) fn settle(&mut self, ticket: Ticket) -> Settlement {
        let Ticket(arrival) = ticket;
        if arrival >= self.next {
            return Settlement::Unknown;
        }
        if arrival < self.first {
            return Settlement::Repeated;
        }
        let index = self.block_of(arrival);
        let bit = 1 << (arrival % BITS);
        let block = &mut self.blocks[index];
        if block.settled & bit != 0 {
            return Settlement::Repeated;
        }
        block.settled |= bit;
        block.waiting &= !bit;
        self.in_flight -= 1;
        Settlement::Settled
    }

    /// Lets go of the slots from `end` on, settled or not. Their tickets are given out anew.
    pub(super) fn cut(&mut self, end: Offset) {
        while self.offsets.pop_back_if(|offset| *offset >= end).is_some() {
            self.next -= 1;
            let index = self.block_of(self.next);
            let bit = 1 << (self.next % BITS);
            let block = &mut self.blocks[index];
            self.in_flight -= usize::from(block.waiting & bit != 0);
            block.settled &= !bit;
            block.waiting &= !bit;
        }
        self.blocks.truncate((self.first % BITS + self.len() as u64).div_ceil(BITS) as usize);
    }

    /// Lets go of the settled slots at the front.
    ///
    /// # Errors
    /// The offset of a slot that was about to be passed although its event is still out.
    pub(super) fn reclaim(&mut self) -> Result<(), Offset> {
        while let Some(block) = self.blocks.front() {
            let within = self.first % BITS;
            let passing = (block.settled >> within).trailing_ones();
            let still_out = (block.waiting >> within).trailing_zeros();
            if still_out < passing {
                return Err(self.offsets.get(still_out as usize).copied().unwrap_or_default());
            }
            self.offsets.drain(..self.offsets.len().min(passing as usize));
            self.first += u64::from(passing);
            if within + u64::from(passing) < BITS {
                break;
            }
            self.blocks.pop_front();
        }
        Ok(())
    }

    /// Whether the two records agree: the lowest event that is out has the slot at the front, and the counts fit.
    /// Constant time.
    pub(super) fn agrees(&self) -> bool {
        let lowest_out = self.blocks.front().map_or(BITS, |block| u64::from(block.waiting.trailing_zeros()));
        let expected = if self.is_empty() { BITS } else { self.first % BITS };
        lowest_out == expected
            && self.len() as u64 == self.next - self.first
            && self.in_flight <= self.len()
            && (self.in_flight == 0) == self.is_empty()
    }

    /// The runs of settled slots as offsets, ascending. A run reaches to the next slot that is not settled: a gap before
    /// that one counts as settled. Skips from change to change by words.
    pub(super) fn settled_runs(&self) -> impl Iterator<Item = Range<Offset>> + '_ {
        let mut from = self.first;
        std::iter::from_fn(move || {
            let start = self.find(from, |block| block.settled)?;
            let stop = self.find(start, |block| !block.settled);
            from = stop.unwrap_or(self.next);
            let end = match stop {
                Some(arrival) => self.offset(arrival)?,
                None => self.offsets.back()?.next(),
            };
            Some(self.offset(start)?..end)
        })
    }

    /// The first arrival at or after `from` whose bit is set in what `bits` picks.
    fn find(&self, from: u64, bits: impl Fn(&Block) -> u64) -> Option<u64> {
        let mut arrival = from;
        while arrival < self.next {
            let rest = bits(&self.blocks[self.block_of(arrival)]) >> (arrival % BITS);
            if rest != 0 {
                let found = arrival + u64::from(rest.trailing_zeros());
                return (found < self.next).then_some(found);
            }
            arrival = (arrival / BITS + 1) * BITS;
        }
        None
    }

    fn offset(&self, arrival: u64) -> Option<Offset> {
        self.offsets.get((arrival - self.first) as usize).copied()
    }

    fn block_of(&self, arrival: u64) -> usize {
        (arrival / BITS - self.first / BITS) as usize
    }

    /// Everything that must hold, slot by slot.
    pub(super) fn check(&self) {
        assert!(self.agrees(), "the front or the counts disagree: {self:?}");
        assert!(self.offsets.iter().is_sorted_by(|a, b| a < b), "offsets ascend");
        let held = self.first % BITS + self.len() as u64;
        assert_eq!(self.blocks.len() as u64, held.div_ceil(BITS), "one block for every 64 slots");
        let mut waiting = 0;
        for (index, block) in self.blocks.iter().enumerate() {
            for bit in 0..BITS {
                let place = index as u64 * BITS + bit;
                let (is_settled, is_waiting) = (block.settled >> bit & 1 == 1, block.waiting >> bit & 1 == 1);
                if place < self.first % BITS {
                    assert!(is_settled && !is_waiting, "a slot was let go before it settled");
                } else if place < held {
                    assert!(is_settled != is_waiting, "a slot is either settled or waiting");
                } else {
                    assert!(!is_settled && !is_waiting, "nothing is marked beyond the last slot");
                }
                waiting += usize::from(is_waiting);
            }
        }
        assert_eq!(waiting, self.in_flight, "events in flight");
    }
}

/// Damage, for tests of the checks.
#[cfg(test)]
impl Window {
    pub(super) fn mark_without_return(&mut self, Ticket(arrival): Ticket) {
        let index = self.block_of(arrival);
        self.blocks[index].settled |= 1 << (arrival % BITS);
    }

    pub(super) fn drop_front_offset(&mut self) {
        self.offsets.pop_front();
    }
}
