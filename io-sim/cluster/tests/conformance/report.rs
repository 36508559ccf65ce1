//! The outcome of each case: printed, and written to `CONFORMANCE.md`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the program's output")]

use std::fmt::Write;
use std::process::ExitCode;
use std::{fs, io};

use crate::cases::AREAS;
use crate::known::{self, Known};

/// How a case went at both brokers.
pub(crate) struct Outcome {
    area: &'static str,
    case: &'static str,
    verdict: Verdict,
}

enum Verdict {
    Equal,
    Listed,
    /// Listed as different, but it is not.
    ListedInVain,
    /// What to print.
    Bad(String),
}

impl Outcome {
    pub(crate) fn new(
        area: &'static str,
        case: &'static str,
        here: Result<Vec<String>, String>,
        there: Result<Vec<String>, String>,
    ) -> Self {
        let is_listed = known::reason(area, case).is_some();
        let verdict = match (here, there) {
            (Ok(here), Ok(there)) if here == there && is_listed => Verdict::ListedInVain,
            (Ok(here), Ok(there)) if here == there => Verdict::Equal,
            (Ok(_), Ok(_)) if is_listed => Verdict::Listed,
            (Ok(here), Ok(there)) => Verdict::Bad(difference(&here, &there)),
            (Err(_), Ok(_)) if is_listed => Verdict::Listed,
            (Err(error), Ok(_)) => Verdict::Bad(format!("  at the cluster: {error}\n")),
            (Ok(_), Err(error)) => Verdict::Bad(format!("  at Kafka: {error}\n")),
            (Err(here), Err(there)) => {
                Verdict::Bad(format!("  at the cluster: {here}\n  at Kafka: {there}\n"))
            }
        };
        Self { area, case, verdict }
    }

    pub(crate) const fn is_fine(&self) -> bool {
        matches!(self.verdict, Verdict::Equal | Verdict::Listed)
    }
}

/// Says why there is no result.
pub(crate) fn fail(why: &str) -> ExitCode {
    eprintln!("conformance: {why}");
    ExitCode::FAILURE
}

pub(crate) fn print(outcomes: &[Outcome]) {
    for outcome in outcomes {
        match &outcome.verdict {
            Verdict::Equal => {}
            Verdict::Listed => {
                let why = known::reason(outcome.area, outcome.case).unwrap_or_default();
                println!("{}: {} differs, as is known: {why}\n", outcome.area, outcome.case);
            }
            Verdict::ListedInVain => {
                println!("{}: {} is listed as a difference, but is equal\n", outcome.area, outcome.case);
            }
            Verdict::Bad(text) => println!("{}: {}\n{text}", outcome.area, outcome.case),
        }
    }
    print!("{}", table(outcomes));
    let failed = outcomes.iter().filter(|outcome| !outcome.is_fine()).count();
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    // As other tests end, so that `make test` counts the cases.
    println!("\ntest result: {verdict}. {} passed; {failed} failed", outcomes.len() - failed);
}

/// Rows of areas.
fn table(outcomes: &[Outcome]) -> String {
    let mut table = "| area | cases | equal | listed | neither |\n|---|---|---|---|---|\n".to_owned();
    let mut row = |name: &str, of: &[&Outcome]| {
        let count = |wanted: fn(&Verdict) -> bool| of.iter().filter(|o| wanted(&o.verdict)).count();
        let equal = count(|verdict| matches!(verdict, Verdict::Equal));
        let listed = count(|verdict| matches!(verdict, Verdict::Listed));
        let rest = of.len() - equal - listed;
        let _ = writeln!(table, "| {name} | {} | {equal} | {listed} | {rest} |", of.len());
    };
    for (area, _) in AREAS {
        let of: Vec<_> = outcomes.iter().filter(|outcome| outcome.area == *area).collect();
        if !of.is_empty() {
            row(area, &of);
        }
    }
    row("all", &outcomes.iter().collect::<Vec<_>>());
    table
}

/// The lines that only one of them has written, with a little of what is around.
fn difference(here: &[String], there: &[String]) -> String {
    let mut longest = vec![vec![0_usize; there.len() + 1]; here.len() + 1];
    for i in (0..here.len()).rev() {
        for j in (0..there.len()).rev() {
            longest[i][j] = if here[i] == there[j] {
                longest[i + 1][j + 1] + 1
            } else {
                longest[i + 1][j].max(longest[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines: Vec<(char, &str)> = Vec::new();
    while i < here.len() || j < there.len() {
        if i < here.len() && j < there.len() && here[i] == there[j] {
            lines.push((' ', &here[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == there.len() || (i < here.len() && longest[i + 1][j] >= longest[i][j + 1]) {
            lines.push(('-', &here[i]));
            i += 1;
        } else {
            lines.push(('+', &there[j]));
            j += 1;
        }
    }
    let mut text = "  - at the cluster, + at Kafka\n".to_owned();
    for (at, (mark, line)) in lines.iter().enumerate() {
        let near = &lines[at.saturating_sub(3)..lines.len().min(at + 2)];
        let is_title = !line.starts_with([' ', '}', ']']) && line.contains(" v");
        if *mark != ' ' || is_title || near.iter().any(|(mark, _)| *mark != ' ') {
            let _ = writeln!(text, "  {mark} {line}");
        }
    }
    text
}

/// Writes `CONFORMANCE.md`.
pub(crate) fn write(outcomes: &[Outcome]) -> io::Result<()> {
    let mut text = "# Conformance\n\n\
         Written by `make conformance WRITE=1`. Each case sends the same requests to the cluster and to Apache Kafka 4.1 \
         and compares the answers field by field. Not compared is what tells of the installation (hosts, ports, the \
         cluster's id), texts of error messages beyond whether there is one, and the ids that a broker draws.\n\n"
        .to_owned();
    text.push_str(&table(outcomes));
    text.push_str("\n## Known differences\n\n");
    if known::DIFFERENCES.is_empty() {
        text.push_str("None.\n");
    }
    for Known { area, case, why } in known::DIFFERENCES {
        let _ = writeln!(text, "- {area}: `{case}`: {why}");
    }
    text.push_str("\n## Limits of its own\n\n");
    for limit in known::LIMITS {
        let _ = writeln!(text, "- {limit}");
    }
    for (area, cases) in AREAS {
        let _ = writeln!(text, "\n## Cases: {area}\n");
        for case in *cases {
            let _ = writeln!(text, "- `{}`", case.name);
        }
    }
    fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/CONFORMANCE.md"), text)
}
