//! Marks: the dual of assertions. They count that something *did* happen.
//!
//! A machine marks its rare branches (`marks.hit("late reply ignored")`). Tests use them to prove that they took the
//! branch they are named for, simulation to report what it never reached, and metrics to show them in production.

/// How often each named thing happened to one machine. Owned by the machine: no global, no lock.
#[derive(Debug, Clone, Default)]
pub struct Marks(Vec<(&'static str, u64)>);

impl Marks {
    /// Counts one occurrence of `name`.
    pub fn hit(&mut self, name: &'static str) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => self.0.push((name, 1)),
        }
    }

    /// How often `name` happened.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        self.0.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count)
    }

    /// All that happened, in the order in which it first did.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::Marks;

    #[test]
    fn counts_by_name() {
        let mut marks = Marks::default();
        marks.hit("a");
        marks.hit("b");
        marks.hit("a");
        assert_eq!(marks.iter().collect::<Vec<_>>(), [("a", 2), ("b", 1)]);
        assert_eq!(marks.count("never"), 0);
    }
}
