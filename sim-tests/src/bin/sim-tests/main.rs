//! The simulation at the command line: `cargo run --profile sim -p sim-tests -- explore`.
//!
//! It ends with 0 if all is well, 1 if a law was broken, 2 if it was called wrongly, 3 if something did not come to
//! rest, 4 if two runs differ, 5 if a planted bug was not found in time, 6 if nobody read what it told.

#[macro_use]
mod output;
mod options;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use evenkeel_sim::checkers::{Breach, Law};
use evenkeel_sim::faults::plan::FaultPlan;
use evenkeel_sim::seed::Seed;
use evenkeel_sim::step::planted::{Class, Planted};
use evenkeel_sim::step::small::{self, Scope};
use evenkeel_sim::step::{self, Plan, shrink};
use evenkeel_sim::trace::Detail;
use evenkeel_sim::world::scenario::Scenario;
use evenkeel_sim::world::{self, ACTIVE};
use sim_tests::batch::Batch;
use sim_tests::pairs::Pairs;
use sim_tests::planted::{Hunt, Table};
use sim_tests::smallest;
use sim_tests::steps::{OUT_OF_REACH, RARE, Steps};

use self::options::{Command, Options, Run, Swaps};
use self::output::Progress;

const BROKEN: u8 = 1;
const MISUSED: u8 = 2;
const NO_REST: u8 = 3;
const DIFFERS: u8 = 4;
const NOT_FOUND: u8 = 5;
const UNREAD: i32 = 6;

fn kind(breach: &Breach) -> u8 {
    if breach.law == Law::Liveness { NO_REST } else { BROKEN }
}

#[expect(clippy::print_stderr, reason = "this is a program for people")]
fn main() -> ExitCode {
    let code = match Options::parse().command {
        Command::Explore { from, seeds, minutes, canary, threads } => {
            let (most, progress) = (Duration::from_secs(minutes.saturating_mul(60)), Progress::new("runs"));
            let steps = Steps::run_with(from..from + seeds, threads, most, &|seed| {
                let report = match sings(seed, canary) {
                    true => step::canary(seed, Detail::Hashes),
                    false => step::drawn(seed, Detail::Hashes),
                };
                progress.ran((!report.is_clean()).then_some(&report));
                report
            });
            say!("{steps}");
            if !steps.failures.is_empty()
                && let Some(commit) = commit()
            {
                say!("commit {commit}");
            }
            let breaches = steps.failures.values().filter_map(|report| report.breach.as_ref());
            Ok(breaches.map(|(_, breach)| kind(breach)).min().unwrap_or_default())
        }
        Command::Replay { run, last, plan, world: true, .. } => replay_world(&run, last, plan),
        Command::Replay { run, last, canary: true, .. } => run
            .seed("the canary sings in a seed's own run")
            .map(|seed| tell(&step::canary(seed, Detail::Lines(0..u64::MAX)), last)),
        Command::Replay { run, last, bug, .. } => replay(&run, last, bug),
        Command::At { run, step, lines, bug, machines } => show_at(&run, step, lines, bug, machines),
        Command::Diff { one, other, lines, bug, other_bug, with, without } => {
            let bug_of_other = other_bug.or_else(|| bug.clone());
            differ(&one, &other, lines, [bug, bug_of_other], (&with, &without))
        }
        Command::Shrink { run, bug, runs } => make_small(&run, bug, runs),
        Command::Coverage { from, seeds, threads } => {
            let steps = Steps::run(from..from + seeds, threads, Duration::MAX);
            say!("{}", steps.grid);
            for (mark, why) in OUT_OF_REACH {
                say!("no run reaches the branch {mark:?}: {why}");
            }
            for (mark, how_few) in RARE {
                say!("few runs reach the branch {mark:?}: {how_few}");
            }
            Ok(u8::from(!steps.failures.is_empty()))
        }
        Command::Pairs { from, seeds, bug, threads } => bug_of(bug.as_deref()).map(|bug| {
            let pairs = Pairs::run(from..from + seeds, threads, bug);
            say!("{pairs}");
            pairs
                .failures
                .values()
                .filter_map(|pair| pair.breach.as_ref())
                .map(kind)
                .min()
                .unwrap_or_default()
        }),
        Command::Planted { bug: Some(name), .. } => bug_of(Some(&name)).map(|bug| {
            let hunts: Vec<_> = bug.map(Hunt::of).into_iter().collect();
            for (seed, law) in hunts.iter().flat_map(Hunt::seeds) {
                let seen = if hunts.iter().any(|hunt| hunt.bug.shows_in_one_run()) {
                    format!("replay {seed} --bug '{name}'")
                } else {
                    format!("pairs --from {seed} --seeds 1 --bug '{name}'")
                };
                say!("{law}: {seen}");
            }
            let table = Table { hunts };
            say!("{table}");
            if table.late().is_empty() { 0 } else { NOT_FOUND }
        }),
        Command::Planted { bug: None, full, threads } => {
            let table = Table::up_to(if full { Class::C } else { Class::A }, threads);
            say!("{table}");
            let is_idle = full && !table.idle().is_empty();
            Ok(if table.late().is_empty() && !is_idle { 0 } else { NOT_FOUND })
        }
        Command::Smallest { bug, runs } => compare_sizes(bug, runs),
        Command::Small { scope, quick, bug, steps, swaps, late, faults, only } => {
            let all = if quick { small::quick() } else { small::large() };
            let all = all.into_iter().map(|scope| Scope {
                swaps: swaps.map_or(scope.swaps, |Swaps(swaps)| swaps),
                late: late.unwrap_or(scope.late),
                faults: faults.unwrap_or(scope.faults),
                ..if only.is_empty() { scope } else { scope.only(&only) }
            });
            try_small(&all.collect::<Vec<_>>(), scope.as_deref(), bug, steps)
        }
        Command::Worlds { canary, from, seeds, threads } => {
            let progress = Progress::new("worlds");
            let batch = Batch::run_with(from..from + seeds, threads, &|seed| {
                let report = world::drawn(seed, Detail::Hashes);
                let report = if sings(seed, canary) { made_to_fail(report) } else { report };
                progress.ran((!report.is_clean()).then_some(&report));
                report
            });
            say!("{batch}");
            Ok(u8::from(!batch.failures.is_empty()))
        }
        Command::Hash { seeds, steps_of: Some(other) } if !seeds.contains(&other) => {
            Err(format!("--steps-of {other} is none of the seeds"))
        }
        Command::Hash { seeds, steps_of } => {
            for seed in seeds {
                let detail = if steps_of == Some(seed) { Detail::Steps(0..u64::MAX) } else { Detail::Hashes };
                let trace = world::drawn(Seed(seed), detail).trace;
                if steps_of.is_none() {
                    say!("{}", trace.hash());
                }
                for hash in trace.hashes() {
                    say!("{hash}");
                }
            }
            Ok(0)
        }
    };
    ExitCode::from(code.unwrap_or_else(|misuse| {
        eprintln!("{misuse}");
        MISUSED
    }))
}

/// The commit that this was built from, as far as it can be told.
fn commit() -> Option<String> {
    let output = std::process::Command::new("git").args(["rev-parse", "--short", "HEAD"]).output().ok()?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn bug_of(name: Option<&str>) -> Result<Option<Planted>, String> {
    let Some(name) = name else { return Ok(None) };
    let names: Vec<_> = Planted::ALL.iter().map(|bug| bug.name()).collect();
    let unknown = || format!("there is no planted bug {name:?}; there are {}", names.join(", "));
    Planted::named(name).map(Some).ok_or_else(unknown)
}

fn show(lines: &[String], last: u64) {
    let skip = lines.len().saturating_sub(usize::try_from(last).unwrap_or(usize::MAX));
    for line in &lines[skip..] {
        say!("{line}");
    }
}

fn replay(run: &Run, last: u64, bug: Option<String>) -> Result<u8, String> {
    let (plan, bug) = (run.plan()?, bug_of(bug.as_deref())?);
    let report = step::run_with(&plan, bug, Detail::Lines(0..u64::MAX));
    Ok(tell(&report, last))
}

fn tell(report: &step::Report, last: u64) -> u8 {
    show(report.trace.lines(), last);
    say!("{report}");
    report.breach.as_ref().map_or(0, |(_, breach)| kind(breach))
}

/// Whether a seed is one of those that are made to fail.
const fn sings(seed: Seed, every: u64) -> bool {
    every > 0 && seed.0.is_multiple_of(every)
}

fn made_to_fail(report: world::Report) -> world::Report {
    let breach = Breach::new(Law::NoLoss, step::CANARY);
    world::Report { outcome: world::Outcome::Broken { step: 0, breach }, ..report }
}

fn show_at(run: &Run, step: u64, lines: u64, bug: Option<String>, machines: bool) -> Result<u8, String> {
    let (plan, bug) = (run.plan()?, bug_of(bug.as_deref())?);
    let Some(world) = step::at(&plan, bug, step, lines) else {
        let report = step::run_with(&plan, bug, Detail::Hashes);
        return Err(format!(
            "the run has {} steps, counted from 0: --step is too large",
            report.trace.steps()
        ));
    };
    show(world.lines(), u64::MAX);
    say!("\n{}", world.shown());
    if machines {
        say!("{}", world.machines_shown());
    }
    Ok(0)
}

fn differ(
    one: &Run,
    other: &Run,
    lines: u64,
    bugs: [Option<String>; 2],
    (with, without): (&[String], &[String]),
) -> Result<u8, String> {
    let (one, drawn) = (one.plan()?, other.plan()?.to_string());
    if let Some(idle) =
        without.iter().find(|words| !drawn.lines().any(|line| line.starts_with(words.as_str())))
    {
        return Err(format!("the second plan has no line that begins like {idle:?}"));
    }
    let kept =
        drawn.lines().filter(|line| !without.iter().any(|beginning| line.starts_with(beginning.as_str())));
    let other = kept.chain(with.iter().map(String::as_str)).collect::<Vec<_>>().join("\n");
    let other: Plan = other.parse().map_err(|error| format!("the second run: {error}"))?;
    let [bug, other_bug] = [bug_of(bugs[0].as_deref())?, bug_of(bugs[1].as_deref())?];
    let (text, other_text) = (one.to_string(), other.to_string());
    let lacks = |text: &str, line: &str| !text.lines().any(|other| other == line);
    for line in text.lines().filter(|line| lacks(&other_text, line)) {
        say!("plan - {line}");
    }
    for line in other_text.lines().filter(|line| lacks(&text, line)) {
        say!("plan + {line}");
    }
    let Some(parting) = step::compare((&one, bug), (&other, other_bug), lines) else {
        say!("the runs are the same in every step");
        return Ok(0);
    };
    say!("the runs part at step {}", parting.step);
    for (sign, lines) in [(' ', &parting.before), ('-', &parting.one), ('+', &parting.other)] {
        for line in lines {
            say!("{sign} {line}");
        }
        if sign != ' ' && lines.is_empty() {
            say!("{sign} (it is over)");
        }
    }
    Ok(DIFFERS)
}

fn make_small(run: &Run, bug: Option<String>, runs: u64) -> Result<u8, String> {
    let (plan, bug) = (run.plan()?, bug_of(bug.as_deref())?);
    let Some(small) = shrink::shrink(&plan, bug, runs) else {
        say!("nothing is wrong with it");
        return Ok(0);
    };
    say!("{}\n\nafter {} runs:\n\n{}\n{}", small.breach, small.runs, small.plan, small.as_test());
    Ok(kind(&small.breach))
}

/// Shrinking is as good as it should be if it comes this near to the smallest.
const NEAR: f64 = 5.0;

fn compare_sizes(bug: Option<String>, runs: u64) -> Result<u8, String> {
    let one = bug_of(bug.as_deref())?;
    let bugs: Vec<_> = Planted::ALL
        .iter()
        .copied()
        .filter(|bug| one.map_or(bug.class() == Class::A, |one| one == *bug))
        .collect();
    let table =
        smallest::Table { rows: bugs.iter().filter_map(|bug| smallest::Row::of(*bug, runs)).collect() };
    say!("{table}");
    if let (Some(_), [row]) = (one, &*table.rows) {
        say!("{}\n\nshrunk:\n{}\nthe smallest:\n{}", row.shrunk.breach, row.shrunk.plan, row.plan);
    }
    let is_near = table.rows.len() == bugs.len() && table.rows.iter().all(|row| row.ratio() <= NEAR);
    Ok(if is_near { 0 } else { NOT_FOUND })
}

fn try_small(all: &[Scope], name: Option<&str>, bug: Option<String>, steps: bool) -> Result<u8, String> {
    let bug = bug_of(bug.as_deref())?;
    let names: Vec<_> = all.iter().map(|scope| scope.name).collect();
    let unknown = || {
        let name = name.unwrap_or_default();
        format!("there is no small world {name:?}; there are {}", names.join(", "))
    };
    let chosen: Vec<_> = all.iter().filter(|scope| name.is_none_or(|name| name == scope.name)).collect();
    if chosen.is_empty() {
        return Err(unknown());
    }
    for scope in chosen {
        let begun = std::time::Instant::now();
        let survey = small::explore(scope, bug);
        say!("{survey}  in {:.1} s", begun.elapsed().as_secs_f64());
        if let Some(found) = &survey.found {
            if steps {
                show(&found.lines, u64::MAX);
            }
            return Ok(kind(&found.breach));
        }
        if !survey.doubts().is_empty() {
            return Ok(NOT_FOUND);
        }
    }
    Ok(0)
}

fn replay_world(run: &Run, last: u64, plan: Option<PathBuf>) -> Result<u8, String> {
    let seed = run.seed("a world is named by its seed, and --plan FILE gives it other faults")?;
    let detail = Detail::Lines(0..u64::MAX);
    let report = match plan {
        None => world::drawn(seed, detail),
        Some(path) => {
            let text =
                std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            let plan: FaultPlan = text.parse().map_err(|error| format!("{}: {error}", path.display()))?;
            world::run(&Scenario::draw(seed, ACTIVE), &plan, seed, detail)
        }
    };
    show(report.trace.lines(), last);
    say!("{report}");
    Ok(u8::from(!report.is_clean()))
}
