//! What `--faults` takes: a plan in a file, or a seed that one is drawn from.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::PathBuf;

use evenkeel_cluster::faults::{Brief, BriefError, Plan, PlanError, plan};

/// A plan that cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum FaultsError {
    /// The file cannot be read.
    #[error("cannot read the plan {}: {cause}; --faults takes a file or seed=N", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// What is in it is no plan.
    #[error("{}: {cause}", path.display())]
    Plan {
        /// The file.
        path: PathBuf,
        /// Which line, and how to write it.
        cause: PlanError,
    },
    /// The seed is none.
    #[error(transparent)]
    Brief(#[from] BriefError),
}

/// The plan that an argument stands for; it is told in full if it was drawn, to be kept as a file.
pub(super) fn plan<C: plan::Chance, S: plan::Stroke>(
    argument: &str,
    draw: impl Fn(Brief) -> Plan<C, S>,
) -> Result<Plan<C, S>, FaultsError> {
    if Brief::is_meant(argument) {
        let brief: Brief = argument.parse()?;
        let plan = draw(brief);
        eprint!("# the plan of {brief}\n{plan}");
        return Ok(plan);
    }
    let path = PathBuf::from(argument);
    let text =
        std::fs::read_to_string(&path).map_err(|cause| FaultsError::File { path: path.clone(), cause })?;
    text.parse().map_err(|cause| FaultsError::Plan { path, cause })
}

/// Tells how often each fault of a plan has struck, those that never did included.
pub(super) fn tell<C: plan::Chance, S: fmt::Display>(
    plan: &Plan<C, S>,
    struck: &BTreeMap<&'static str, u64>,
) {
    let mut counts = struck.clone();
    for chance in plan.chances.keys() {
        counts.entry(chance.name()).or_default();
    }
    let mut table = String::from("faults that struck:\n");
    for (fault, times) in counts {
        // Writing to a string does not fail.
        let _ = writeln!(table, "{times:>8}  {fault}");
    }
    eprint!("{table}");
}
