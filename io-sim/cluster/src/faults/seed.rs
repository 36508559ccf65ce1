//! Named streams of randomness: one seed, and nothing that is drawn shifts anything else that is drawn.
//!
//! A decision is a hash of (seed, the stream's name, entity, n-th occurrence), never the next number of a shared generator. So a
//! fault that is taken out of a plan leaves all others where they were, and shrinking a failure works. There are no
//! floats: what is drawn is the same on every machine.

use evenkeel_core::machine::Entropy;

/// What a run is determined by, beside the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seed(pub u64);

impl Seed {
    /// The stream of this name.
    #[must_use]
    pub const fn stream(self, name: &str) -> Stream {
        Stream(mix(self.0 ^ 0x6576_656e_6b65_656c)).named(name)
    }
}

impl std::fmt::Display for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A source of decisions that belong together: the swarm, one link, one handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream(u64);

impl Stream {
    /// The part of this stream that has a name.
    #[must_use]
    pub const fn named(self, name: &str) -> Self {
        Self(fold(self.0, name))
    }

    /// The part of this stream that belongs to one of many things alike.
    #[must_use]
    pub const fn of(self, entity: u64) -> Self {
        Self(mix(self.0 ^ mix(entity.wrapping_add(0x9e37_79b9_7f4a_7c15))))
    }

    /// The n-th decision of this stream.
    #[must_use]
    pub const fn nth(self, nth: u64) -> Draw {
        Draw(Entropy::new(self.of(nth).0))
    }

    /// A number for a generator that is not ours, such as the scheduler's.
    #[must_use]
    pub fn number(self) -> u64 {
        self.nth(0).bits()
    }
}

/// How often something happens, in parts of a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Rate(u32);

impl Rate {
    /// Never.
    pub const NEVER: Self = Self(0);
    /// Every time.
    pub const ALWAYS: Self = Self(1_000_000);

    /// So many in a million; a million at most.
    #[must_use]
    pub const fn ppm(parts: u32) -> Self {
        if parts > Self::ALWAYS.0 { Self::ALWAYS } else { Self(parts) }
    }

    /// So many in a hundred.
    #[must_use]
    pub const fn percent(parts: u32) -> Self {
        Self::ppm(parts.saturating_mul(10_000))
    }

    /// Parts of a million.
    #[must_use]
    pub const fn parts(self) -> u32 {
        self.0
    }

    /// So many times as often, every time at most.
    #[must_use]
    pub const fn times(self, factor: u32) -> Self {
        Self::ppm(self.0.saturating_mul(factor))
    }
}

impl std::str::FromStr for Rate {
    type Err = &'static str;

    /// As in `1200ppm`, `5%` or `0.25%`.
    fn from_str(text: &str) -> Result<Self, &'static str> {
        const WHY: &str = "a rate is written like 1200ppm or 0.25%, and is 100% at most";
        let parts = match (text.strip_suffix("ppm"), text.strip_suffix('%')) {
            (Some(parts), _) => parts.parse().map_err(|_| WHY)?,
            (None, Some(percent)) => {
                let (whole, fraction) = percent.split_once('.').unwrap_or((percent, "0"));
                let whole: u32 = whole.parse().map_err(|_| WHY)?;
                let fraction = match fraction.len() {
                    1..=4 => {
                        fraction.parse::<u32>().map_err(|_| WHY)? * 10_u32.pow(4 - fraction.len() as u32)
                    }
                    _ => return Err(WHY),
                };
                whole.saturating_mul(10_000).saturating_add(fraction)
            }
            (None, None) => return Err(WHY),
        };
        if parts > Self::ALWAYS.0 { Err(WHY) } else { Ok(Self(parts)) }
    }
}

/// One decision: as many numbers as it needs, all of its own.
#[derive(Debug, Clone)]
pub struct Draw(Entropy);

impl Draw {
    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`; zero if that is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `least` to `most`, each as likely as the next.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least).saturating_add(1))
    }

    /// Whether something of this rate happens.
    pub fn happens(&mut self, rate: Rate) -> bool {
        self.below(u64::from(Rate::ALWAYS.0)) < u64::from(rate.0)
    }

    /// Whether something happens that does so once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// A number from `least` to `most` of which each power of two is as likely as the next: small ones are drawn as
    /// often as large ones.
    pub fn log_uniform(&mut self, least: u64, most: u64) -> u64 {
        let least = least.max(1);
        let most = most.max(least);
        let octave = self.between(u64::from(least.ilog2()), u64::from(most.ilog2())) as u32;
        let from = (1 << octave).max(least);
        let to = ((1_u64 << octave) | ((1_u64 << octave) - 1)).min(most);
        self.between(from, to)
    }

    /// One of several, each as likely as the next.
    ///
    /// # Panics
    /// If there are none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }

    /// The place of an entry in a table of weights.
    ///
    /// # Panics
    /// If no weight is above zero.
    pub fn weighted(&mut self, weights: &[u32]) -> usize {
        let all = weights.iter().map(|weight| u64::from(*weight)).sum();
        let mut left = self.below(all);
        for (nth, weight) in weights.iter().enumerate() {
            match left.checked_sub(u64::from(*weight)) {
                Some(rest) => left = rest,
                None => return nth,
            }
        }
        unreachable!("what is drawn is below the sum of the weights, which must not be zero")
    }
}

/// Spreads every bit over all (the finisher of SplitMix64).
#[must_use]
pub const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Folds a text into a hash.
#[must_use]
pub const fn fold(hash: u64, text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut hash = hash ^ mix(bytes.len() as u64);
    let mut nth = 0;
    while nth < bytes.len() {
        hash = mix(hash.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ bytes[nth] as u64);
        nth += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_depends_on_its_name_and_place_and_on_nothing_else() {
        let stream = Seed(7).stream("links").of(3);
        let first = stream.nth(0).bits();
        for nth in 1..100 {
            stream.nth(nth).bits();
        }
        assert_eq!(stream.nth(0).bits(), first);
        let others = [
            Seed(8).stream("links").of(3).nth(0).bits(),
            Seed(7).stream("link").of(3).nth(0).bits(),
            Seed(7).stream("links").of(4).nth(0).bits(),
            Seed(7).stream("links").of(3).nth(1).bits(),
            Seed(7).stream("links").nth(3).bits(),
        ];
        assert!(!others.contains(&first));
    }

    #[test]
    fn a_rate_is_kept() {
        let stream = Seed(1).stream("test");
        let hits = |rate| (0..100_000).filter(|nth| stream.nth(*nth).happens(rate)).count();
        assert_eq!((hits(Rate::NEVER), hits(Rate::ALWAYS)), (0, 100_000));
        let tenth = hits(Rate::percent(10));
        assert!((9_600..10_400).contains(&tenth), "{tenth}");
    }

    #[test]
    fn a_rate_is_read_in_parts_of_a_million_and_in_percent() {
        for (text, parts) in
            [("1200ppm", 1_200), ("5%", 50_000), ("0.25%", 2_500), ("0.0001%", 1), ("100%", 1_000_000)]
        {
            assert_eq!(text.parse(), Ok(Rate::ppm(parts)), "{text}");
        }
        for bad in ["5", "%", "ppm", "101%", "1000001ppm", "-1%", "0.00001%", "1.%"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn log_uniform_draws_each_octave_and_stays_within() {
        let stream = Seed(1).stream("test");
        let mut octaves = [0_u32; 64];
        for nth in 0..10_000 {
            let drawn = stream.nth(nth).log_uniform(3, 1_000);
            assert!((3..=1_000).contains(&drawn));
            octaves[drawn.ilog2() as usize] += 1;
        }
        assert!(octaves[1..=9].iter().all(|count| (900..1_350).contains(count)), "{octaves:?}");
        assert_eq!(stream.nth(0).log_uniform(5, 5), 5);
        assert_eq!(stream.nth(0).log_uniform(u64::MAX, u64::MAX), u64::MAX);
    }

    #[test]
    fn a_table_is_drawn_by_its_weights() {
        let stream = Seed(1).stream("test");
        let mut drawn = [0; 3];
        for nth in 0..10_000 {
            drawn[stream.nth(nth).weighted(&[1, 0, 3])] += 1;
        }
        assert_eq!(drawn[1], 0);
        assert!((2_300..2_700).contains(&drawn[0]), "{drawn:?}");
    }
}
