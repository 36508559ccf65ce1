//! What faults met, over many runs, and what they never did.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use evenkeel_sim::faults::Family;
use evenkeel_sim::step::coverage::{Cell, Standing};

/// Families that strike nothing at this level, with the reason.
pub const WITHOUT_EFFECT: &[(Family, &str)] = &[(Family::Clocks, "machines read no wall clock")];

/// The families that strike something at this level.
pub fn with_effect() -> impl Iterator<Item = Family> {
    let is_without = |family: &Family| WITHOUT_EFFECT.iter().any(|(none, _)| none == family);
    Family::ALL.iter().copied().filter(move |family| !is_without(family))
}

/// In how many runs each cell was reached.
#[derive(Debug, Clone, Default)]
pub struct Grid {
    /// How many runs there were.
    pub runs: u64,
    /// The cells that were reached.
    pub cells: BTreeMap<Cell, u64>,
}

impl Grid {
    /// Takes in what a run reached.
    pub fn add(&mut self, cells: &BTreeSet<Cell>) {
        self.runs += 1;
        for cell in cells {
            *self.cells.entry(*cell).or_default() += 1;
        }
    }

    /// What processes waited for, standing so, when anything struck at all.
    #[must_use]
    pub fn known(&self, standing: Standing) -> BTreeSet<&'static str> {
        let kinds = self.cells.keys().filter(|(_, stood, _)| *stood == standing);
        kinds.map(|(_, _, kind)| *kind).collect()
    }

    /// What of the known a family never met.
    #[must_use]
    pub fn missed(&self, family: Family, standing: Standing) -> Vec<&'static str> {
        let met = |kind: &&str| self.cells.contains_key(&(family, standing, *kind));
        self.known(standing).into_iter().filter(|kind| !met(kind)).collect()
    }

    /// The share of runs that may be expected to reach a cell that none has reached: cells that one run reached, by
    /// runs (Good and Turing).
    #[must_use]
    pub fn expected_news(&self) -> f64 {
        let once = self.cells.values().filter(|runs| **runs == 1).count();
        once as f64 / self.runs.max(1) as f64
    }
}

impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<22}", "what struck")?;
        for standing in Standing::ALL {
            write!(f, "{:>12}", format!("{standing:?}").to_lowercase())?;
        }
        writeln!(f)?;
        for family in with_effect() {
            write!(f, "{:<22}", format!("{family:?}"))?;
            for standing in Standing::ALL {
                let (known, missed) = (self.known(standing).len(), self.missed(family, standing).len());
                write!(f, "{:>12}", format!("{}/{known}", known - missed))?;
            }
            writeln!(f)?;
        }
        writeln!(f, "\nnever met:")?;
        for family in with_effect() {
            for standing in Standing::ALL {
                let missed = self.missed(family, standing);
                if !missed.is_empty() {
                    let standing = format!("{standing:?}").to_lowercase();
                    writeln!(f, "  {family:?} while {standing}: {}", missed.join(", "))?;
                }
            }
        }
        for (family, why) in WITHOUT_EFFECT {
            writeln!(f, "{family:?} has no effect at this level: {why}")?;
        }
        writeln!(
            f,
            "{} cells in {} runs; the next run reaches a new one with a chance of about {:.4}",
            self.cells.len(),
            self.runs,
            self.expected_news(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_family_meets_and_another_does_not_is_missed() {
        let mut grid = Grid::default();
        let met = [
            (Family::Crashes, Standing::Assigned, "commit"),
            (Family::Crashes, Standing::Assigned, "fetch"),
            (Family::Pauses, Standing::Assigned, "fetch"),
        ];
        grid.add(&met.into_iter().collect());
        grid.add(&met.into_iter().take(1).collect());
        assert_eq!(grid.missed(Family::Pauses, Standing::Assigned), ["commit"]);
        assert!(grid.missed(Family::Crashes, Standing::Assigned).is_empty());
        assert!(grid.missed(Family::Pauses, Standing::Outside).is_empty(), "nobody was seen outside");
        assert!((grid.expected_news() - 1.0).abs() < 1e-9, "two cells were reached once, in two runs");
        assert!(grid.to_string().contains("Pauses while assigned: commit"), "{grid}");
    }
}
