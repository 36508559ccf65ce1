//! The settled offsets beyond a frontier, as runs.

use std::ops::Range;
use std::sync::Arc;

use super::metadata::{self, Unreadable};
use super::{MetadataLimit, Scope};
use crate::model::Offset;

/// Which offsets at or beyond a base are settled already, as ascending runs that neither touch nor overlap.
///
/// A run may cover offsets that hold no record. It only ever says "do not hand this to handlers again", so a run over
/// nothing, however long, changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledSet {
    base: Offset,
    runs: Vec<Range<Offset>>,
}

impl SettledSet {
    /// Nothing is settled at or beyond `base`.
    #[must_use]
    pub const fn empty(base: Offset) -> Self {
        Self { base, runs: Vec::new() }
    }

    /// The union of `runs`, as far as it lies at or beyond `base`. They may come in any order, touch and overlap.
    #[must_use]
    pub fn new(base: Offset, runs: impl IntoIterator<Item = Range<Offset>>) -> Self {
        let mut sorted: Vec<_> = runs.into_iter().collect();
        sorted.sort_unstable_by_key(|run| run.start);
        Self { base, runs: joined(base, sorted.into_iter()).collect() }
    }

    /// Reads what [`encode`](Self::encode) wrote for the same committed offset and the same scope. The empty string,
    /// which is what Kafka stores when nobody gave metadata, is the empty set.
    ///
    /// # Errors
    /// [`Unreadable`] says why the text cannot be used. Then the group goes on from the committed offset as if nothing
    /// beyond it were settled: that costs redeliveries, and is always safe. Except for [`Unreadable::OtherTopic`]: the
    /// offset itself is then one of another log.
    pub fn decode(text: &str, base: Offset, scope: impl Into<Scope>) -> Result<Self, Unreadable> {
        Ok(Self { base, runs: metadata::decode(text, base, scope.into())? })
    }

    /// The set as text of at most `limit` characters, its far end cut off if need be.
    #[must_use]
    pub fn encode(&self, scope: impl Into<Scope>, limit: MetadataLimit) -> Arc<str> {
        metadata::encode(self.base, scope.into(), limit, &[], self.runs.iter().cloned())
    }

    /// The offset from which on this set speaks: the commit it belongs to.
    #[must_use]
    pub const fn base(&self) -> Offset {
        self.base
    }

    /// The runs, ascending.
    #[must_use]
    pub fn runs(&self) -> &[Range<Offset>] {
        &self.runs
    }

    /// Whether nothing is settled beyond the base.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether `offset` is settled already.
    #[must_use]
    pub fn contains(&self, offset: Offset) -> bool {
        let after = self.runs.partition_point(|run| run.start <= offset);
        after > 0 && offset < self.runs[after - 1].end
    }
}

/// Joins runs that come in ascending order of their starts where they touch or overlap; leaves out what is empty or
/// below `base`.
pub(super) fn joined(
    base: Offset,
    runs: impl Iterator<Item = Range<Offset>>,
) -> impl Iterator<Item = Range<Offset>> {
    let mut runs = runs.map(move |run| run.start.max(base)..run.end).filter(|run| !run.is_empty()).peekable();
    std::iter::from_fn(move || {
        let mut run = runs.next()?;
        while let Some(next) = runs.next_if(|next| next.start <= run.end) {
            run.end = run.end.max(next.end);
        }
        Some(run)
    })
}

#[cfg(test)]
mod tests {
    use super::SettledSet;
    use crate::model::Offset;

    type Runs<'a> = &'a [(i64, i64)];

    #[test]
    fn runs_are_sorted_joined_and_clipped() {
        let cases: [(Runs<'_>, Runs<'_>); 6] = [
            (&[], &[]),
            (&[(12, 14)], &[(12, 14)]),
            (&[(20, 22), (12, 14)], &[(12, 14), (20, 22)]),
            (&[(12, 14), (14, 16), (15, 20)], &[(12, 20)]),
            (&[(12, 30), (14, 16)], &[(12, 30)]),
            (&[(3, 5), (8, 12), (13, 13), (17, 15)], &[(10, 12)]),
        ];
        for (given, expected) in cases {
            let ranges = |runs: Runs<'_>| runs.iter().map(|r| Offset(r.0)..Offset(r.1)).collect::<Vec<_>>();
            let set = SettledSet::new(Offset(10), ranges(given));
            assert_eq!(set.runs(), ranges(expected), "{given:?}");
            for offset in 0..40 {
                let listed = offset >= 10 && given.iter().any(|r| (r.0..r.1).contains(&offset));
                assert_eq!(set.contains(Offset(offset)), listed, "{given:?} at {offset}");
            }
        }
    }
}
