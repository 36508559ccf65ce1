//! Whether two worlds are alike: whatever happens to both from here on, it has the same outcome.
//!
//! All that a world's future depends on is written down and hashed. What only tells how the world came to be as it is
//! stays out: its trace, how often laws were tested, who was given which number before whom.

use std::fmt::{self, Write};

use super::super::world::World;
use crate::seed::mix;

/// 128 bits that stand for a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Likeness(u64, u64);

/// Takes text and keeps a hash of it.
#[derive(Debug)]
struct Digest {
    text: String,
}

impl Digest {
    fn take(&mut self, part: &dyn fmt::Debug) -> Likeness {
        self.text.clear();
        // Writing to a string never fails.
        let _ = write!(self.text, "{part:?}");
        let (words, rest) = self.text.as_bytes().as_chunks::<8>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let words = words.iter().chain([&last]).map(|word| u64::from_le_bytes(*word));
        words.fold(Likeness(self.text.len() as u64, 0x9e37_79b9_7f4a_7c15), Likeness::with)
    }
}

impl Likeness {
    const fn with(self, word: u64) -> Self {
        Self(
            mix(self.0 ^ word),
            (self.1 ^ word).wrapping_mul(0x9fb2_1c65_1e98_df25).rotate_left(29).wrapping_add(self.0),
        )
    }

    const fn and(self, other: Self) -> Self {
        self.with(other.0).with(other.1)
    }

    /// Of several whose order does not matter.
    const fn beside(self, other: Self) -> Self {
        Self(self.0.wrapping_add(mix(other.0)), self.1.wrapping_add(mix(other.1)))
    }
}

impl World {
    /// What stands for its state. Where not every order is tried, the order in which things would happen if nobody
    /// meddled is part of it.
    pub(super) fn likeness(&self, in_order: bool) -> Likeness {
        let mut digest = Digest { text: String::with_capacity(1 << 14) };
        let now = self.now;
        let mut whole = digest.take(&(now, self.stage, &self.breach, self.unnoticed_until, &self.alive));
        for process in &self.processes {
            whole = whole.and(digest.take(process));
        }
        whole = whole.and(digest.take(&self.cluster));
        whole = whole.and(digest.take(&(&self.store, &self.truth, &self.scratch, &self.rollouts)));
        whole = whole.and(digest.take(&(self.judge.memory(), &self.work, self.healed_at)));
        whole = whole.and(digest.take(&(self.dice.memory(), &self.produced, self.next_send)));
        whole = whole.and(digest.take(&(&self.asked, &self.pending, self.network.links.memory(now))));
        let mut beside = Likeness(0, 0);
        for connection in self.network.connections() {
            beside = beside.beside(digest.take(&connection));
        }
        for queue in self.network.on_the_way(now) {
            beside = beside.beside(digest.take(&queue));
        }
        let mut planned: Vec<_> = self.todo.iter().map(|std::cmp::Reverse(due)| due).collect();
        planned.sort_unstable();
        for due in &planned {
            beside = beside.beside(digest.take(&(due.at.max(now), &due.todo)));
        }
        if in_order {
            for turn in self.network.turns(now) {
                whole = whole.and(digest.take(&self.network.waiting_in_turn(turn)));
            }
            for due in planned {
                whole = whole.and(digest.take(&due.todo));
            }
        }
        whole.and(beside)
    }
}
