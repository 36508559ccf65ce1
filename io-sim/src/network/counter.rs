//! Numbers for what there is ever more of: in one row over all processes, or in one for each.
//!
//! In one row a number tells how much others did before. Where two orders of the same things are to lead to the same
//! state, each process has a row of its own.

use std::collections::BTreeMap;

/// See the [module](self).
#[derive(Debug, Clone, Default)]
pub struct Counter {
    apart: bool,
    last: BTreeMap<u16, u64>,
}

impl Counter {
    /// From here on each process has a row of its own.
    pub const fn count_apart(&mut self) {
        self.apart = true;
    }

    /// The next number for a process, counted from one.
    pub fn next(&mut self, process: u16) -> u64 {
        const ROW: u32 = 40;
        let row = if self.apart { process } else { 0 };
        let last = self.last.entry(row).or_default();
        *last += 1;
        u64::from(row) << ROW | *last
    }

    /// How many were given out.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.last.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apart_nobody_sees_what_others_do() {
        let mut counter = Counter::default();
        assert_eq!([counter.next(0), counter.next(3), counter.next(0)], [1, 2, 3]);
        let mut apart = Counter::default();
        apart.count_apart();
        let (first, _, second) = (apart.next(3), apart.next(1), apart.next(3));
        assert_eq!(second, first + 1);
        assert_ne!(apart.next(1), first + 1);
    }
}
