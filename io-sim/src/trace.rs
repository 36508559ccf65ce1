//! What a run did, step by step: always hashed, told in words only on replay.
//!
//! Two runs of one seed must be equal in every step. Comparing them costs a hash a step; finding where they part takes
//! the checkpoints, each [`CHECKPOINT`] steps, and then the steps of one stretch between two.

use std::fmt;
use std::ops::Range;

use evenkeel_core::model::Time;

use crate::seed::{fold, mix};

/// How many steps lie between two checkpoints.
pub const CHECKPOINT: u64 = 1_000;

/// 128 bits that stand for all steps so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash(u64, u64);

impl Hash {
    const START: Self = Self(0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344);

    const fn with(self, word: u64) -> Self {
        // Two lanes with different constants; each step of each is a bijection of the lane before it.
        Self(
            mix(self.0 ^ word.wrapping_mul(0xff51_afd7_ed55_8ccd)),
            (self.1.rotate_left(23) ^ word).wrapping_mul(0x9fb2_1c65_1e98_df25).wrapping_add(self.0),
        )
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.0, self.1)
    }
}

/// What sort of thing happened, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    name: &'static str,
    code: u64,
}

impl Kind {
    /// The kind of this name.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, code: fold(0, name) }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }
}

/// One thing that happened.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// When.
    pub at: Time,
    /// To whom: any number that the same run gives again.
    pub entity: u64,
    /// What.
    pub kind: Kind,
    /// Stands for what the kind leaves open.
    pub digest: u64,
}

/// How much of a run is kept beside its hash.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Detail {
    /// Nothing but checkpoints.
    #[default]
    Hashes,
    /// The hash after each of these steps, to find the first that differs.
    Steps(Range<u64>),
    /// A line for each of these steps, for people.
    Lines(Range<u64>),
}

/// The record of a run.
#[derive(Debug, Clone)]
pub struct Trace {
    hash: Hash,
    steps: u64,
    detail: Detail,
    checkpoints: Vec<Hash>,
    fine: Vec<Hash>,
    lines: Vec<String>,
}

impl Default for Trace {
    fn default() -> Self {
        Self::new(Detail::Hashes)
    }
}

impl Trace {
    /// The record of a run that has not begun.
    #[must_use]
    pub const fn new(detail: Detail) -> Self {
        Self {
            hash: Hash::START,
            steps: 0,
            detail,
            checkpoints: Vec::new(),
            fine: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// Something happened. `line` says it in words; it is called only if they are wanted.
    #[inline]
    pub fn step(&mut self, step: Step, line: impl FnOnce() -> String) {
        let Step { at, entity, kind, digest } = step;
        self.hash = self.hash.with(at.as_nanos()).with(entity).with(kind.code).with(digest);
        match &self.detail {
            Detail::Hashes => {}
            Detail::Steps(wanted) if wanted.contains(&self.steps) => self.fine.push(self.hash),
            Detail::Lines(wanted) if wanted.contains(&self.steps) => {
                self.lines.push(format!("{at} #{} {:<12} {}", self.steps, kind.name, line()));
            }
            Detail::Steps(_) | Detail::Lines(_) => {}
        }
        self.steps += 1;
        if self.steps.is_multiple_of(CHECKPOINT) {
            self.checkpoints.push(self.hash);
        }
    }

    /// Folds in something that is no step, such as the final state.
    pub fn seal(&mut self, word: u64) {
        self.hash = self.hash.with(word);
    }

    /// Stands for all steps so far.
    #[must_use]
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// How many steps there were.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// The lines that were wanted.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The hashes after each of the steps that were wanted.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.fine
    }

    /// Where two runs part: the steps between the last checkpoint at which they agree and the first at which they do
    /// not. `None` if they are equal.
    #[must_use]
    pub fn parts_from(&self, other: &Self) -> Option<Range<u64>> {
        if self.hash == other.hash && self.steps == other.steps {
            return None;
        }
        let agreed = self.checkpoints.iter().zip(&other.checkpoints).take_while(|(a, b)| a == b).count();
        let from = agreed as u64 * CHECKPOINT;
        Some(from..(from + CHECKPOINT).min(self.steps.max(other.steps).max(from + 1)))
    }

    /// The first step that differs, of two runs that kept the hashes of the same steps.
    #[must_use]
    pub fn first_difference(&self, other: &Self) -> Option<u64> {
        let (Detail::Steps(wanted), Detail::Steps(theirs)) = (&self.detail, &other.detail) else {
            return None;
        };
        let nth = self.fine.iter().zip(&other.fine).position(|(a, b)| a != b);
        let shorter = self.fine.len().min(other.fine.len());
        let nth = nth.or((self.fine.len() != other.fine.len()).then_some(shorter))?;
        (wanted == theirs).then_some(wanted.start + nth as u64)
    }
}

/// Folds words into 64 bits, for the digests of steps.
#[must_use]
pub fn digest(words: impl IntoIterator<Item = u64>) -> u64 {
    words.into_iter().fold(0x4528_21e6_38d0_1377, |hash, word| mix(hash ^ mix(word)))
}

/// Folds bytes into 64 bits, for the digests of steps.
#[must_use]
pub fn digest_bytes(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let words = words.iter().chain(std::iter::once(&last)).map(|word| u64::from_le_bytes(*word));
    digest(words.chain(std::iter::once(bytes.len() as u64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Kind = Kind::new("tick");
    const TOCK: Kind = Kind::new("tock");

    fn run(detail: Detail, steps: u64, odd: Option<u64>) -> Trace {
        let mut trace = Trace::new(detail);
        for nth in 0..steps {
            let kind = if odd == Some(nth) { TOCK } else { TICK };
            let step = Step { at: Time::from_millis(nth), entity: nth % 3, kind, digest: 0 };
            trace.step(step, || format!("step {nth}"));
        }
        trace
    }

    #[test]
    fn every_part_of_a_step_counts() {
        let base = Step { at: Time::ZERO, entity: 0, kind: TICK, digest: 0 };
        let one = |step| {
            let mut trace = Trace::default();
            trace.step(step, || unreachable!("nobody wants lines"));
            trace.hash()
        };
        let variants = [
            base,
            Step { at: Time::from_nanos(1), ..base },
            Step { entity: 1, ..base },
            Step { kind: TOCK, ..base },
            Step { digest: 1, ..base },
        ];
        let hashes: std::collections::BTreeSet<_> = variants.map(|step| one(step).to_string()).into();
        assert_eq!(hashes.len(), variants.len());
        let mut sealed = run(Detail::Hashes, 5, None);
        sealed.seal(1);
        assert_ne!(sealed.hash(), run(Detail::Hashes, 5, None).hash());
    }

    #[test]
    fn the_first_step_that_differs_is_found() {
        let (a, b) = (run(Detail::Hashes, 5_000, None), run(Detail::Hashes, 5_000, Some(3_141)));
        assert_eq!(a.parts_from(&run(Detail::Hashes, 5_000, None)), None);
        let stretch = a.parts_from(&b).expect("they differ");
        assert_eq!(stretch, 3_000..4_000);
        let detail = Detail::Steps(stretch);
        let (a, b) = (run(detail.clone(), 5_000, None), run(detail, 5_000, Some(3_141)));
        assert_eq!(a.first_difference(&b), Some(3_141));
    }

    #[test]
    fn a_run_that_ends_early_differs() {
        let (long, short) = (run(Detail::Hashes, 2_500, None), run(Detail::Hashes, 2_400, None));
        assert_eq!(long.parts_from(&short), Some(2_000..2_500));
        let (long, short) = (run(Detail::Steps(0..9), 9, None), run(Detail::Steps(0..9), 7, None));
        assert_eq!(long.first_difference(&short), Some(7));
    }

    #[test]
    fn only_wanted_steps_become_lines() {
        let trace = run(Detail::Lines(2..4), 10, None);
        assert_eq!(trace.lines(), ["0.002000s #2 tick         step 2", "0.003000s #3 tick         step 3"]);
    }

    #[test]
    fn bytes_are_told_apart_by_their_length_too() {
        let all = [&b""[..], b"\0", b"\0\0", b"a", b"a\0", b"abcdefgh", b"abcdefgh\0"];
        let digests: std::collections::BTreeSet<_> = all.iter().map(|bytes| digest_bytes(bytes)).collect();
        assert_eq!(digests.len(), all.len());
    }
}
