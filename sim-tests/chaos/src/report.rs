//! The table at the end: what happened, what came of it by plain counting, and what the checkers conclude.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_core::model::Offset;
use evenkeel_sim::checkers::{Judge, Law, Verdict};
use evenkeel_sim::history::{
    EventNo, Facts, Flavour, HandlerNo, Happening, History, KeyNo, Life, Nature, Place, RunEnd, RunNo,
};

use crate::accidents::Count;
use crate::truth::Truth;

/// What is counted of one handler, by arithmetic that knows no law.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Figures {
    /// Events that took effect, or were handled.
    handled: u64,
    /// Events that can be handled, are in a log, and were not.
    lost: u64,
    /// Effects beyond the first of an event.
    doubled: u64,
    /// Effects that came after one of a later event of the same key and partition.
    disorder: u64,
    /// Events that the policy gave up.
    given_up: u64,
    /// Records that several lives were handed.
    redelivered: u64,
    /// Calls that failed, panicked, were dropped, or met a fault of the world.
    failed: u64,
}

/// Counts what became of the events for a handler.
fn count(history: &History, truth: &Truth, handler: HandlerNo) -> Figures {
    let mut natures = BTreeMap::new();
    let mut began: BTreeMap<RunNo, EventNo> = BTreeMap::new();
    let mut hands: BTreeMap<(Place, Offset), BTreeSet<Life>> = BTreeMap::new();
    let (mut done, mut given_up, mut figures) = (Vec::new(), BTreeSet::new(), Figures::default());
    for (_, happening) in &history.happenings {
        match happening {
            Happening::SendBegan { events, .. } => {
                natures.extend(events.iter().map(|sent| (sent.event, (sent.nature, sent.key))));
            }
            Happening::RunBegan { run, life, handler: of, place, offset, event, .. } if *of == handler => {
                began.insert(*run, *event);
                hands.entry((*place, *offset)).or_default().insert(*life);
            }
            Happening::RunEnded { run, end } => match (began.remove(run), end) {
                (Some(event), RunEnd::Done) => done.push(event),
                (Some(_), _) => figures.failed += 1,
                (None, _) => {}
            },
            Happening::GivenUp { handler: of, place, offset, .. } if *of == handler => {
                given_up.insert((*place, *offset));
            }
            _ => {}
        }
    }
    let effects: Vec<EventNo> = match history.facts.handler(handler).flavour {
        Flavour::ExactlyOnce => {
            truth.effects.iter().filter(|(of, _)| *of == handler).map(|(_, event)| *event).collect()
        }
        Flavour::Idempotent => done,
    };
    // Where each event is first in its log: a producer that lost an answer may have written it twice.
    let mut first: BTreeMap<EventNo, (i32, Offset)> = BTreeMap::new();
    for (partition, records) in &truth.logs {
        for (offset, event) in records {
            if let Some(event) = event {
                first.entry(*event).or_insert((partition.0, *offset));
            }
        }
    }
    let mut seen = BTreeSet::new();
    let mut latest: BTreeMap<(i32, Option<KeyNo>), Offset> = BTreeMap::new();
    for event in &effects {
        if !seen.insert(*event) {
            figures.doubled += 1;
            continue;
        }
        let (Some((partition, offset)), Some((_, key))) = (first.get(event), natures.get(event)) else {
            continue;
        };
        let latest = latest.entry((*partition, *key)).or_insert(*offset);
        figures.disorder += u64::from(*offset < *latest);
        *latest = (*latest).max(*offset);
    }
    figures.handled = seen.len() as u64;
    let good = |event: &EventNo| natures.get(event).is_some_and(|(nature, _)| *nature == Nature::Good);
    figures.lost = first.keys().filter(|event| good(event) && !seen.contains(event)).count() as u64;
    figures.given_up = given_up.len() as u64;
    figures.redelivered = hands.values().filter(|lives| lives.len() > 1).count() as u64;
    figures
}

/// Prints the accidents by kind.
pub(crate) fn tell_accidents(accidents: &Count) {
    println!("\naccidents");
    for (kind, times) in accidents {
        println!("  {:<34} {times:>9}", kind.name());
    }
    println!("  {:<34} {:>9}", "in all", accidents.values().sum::<u64>());
}

/// Prints what was counted; answers whether it is right.
pub(crate) fn tell_figures(history: &History, truth: &Truth, acknowledged: u64) -> bool {
    let facts: &Facts = &history.facts;
    let records: u64 = truth.logs.values().map(|log| log.len() as u64).sum();
    let events: BTreeSet<_> = truth.logs.values().flatten().filter_map(|(_, event)| *event).collect();
    let all: Vec<_> = facts.numbered_handlers().map(|(number, _)| count(history, truth, number)).collect();
    let lacking = acknowledged.saturating_sub(events.len() as u64);
    println!("\nevents");
    println!("  {:<34} {acknowledged:>9}", "produced (acknowledged)");
    println!("  {:<34} {:>9}", "in the logs", events.len());
    println!("  {:<34} {:>9}", "written again by the producer", records - events.len() as u64);
    print!("  {:<34}", "by handler");
    for (number, _) in facts.numbered_handlers() {
        print!(" {:>9}", facts.handler(number).name);
    }
    println!();
    let row = |name: &str, of: fn(&Figures) -> u64| {
        print!("  {name:<34}");
        for figures in &all {
            print!(" {:>9}", of(figures));
        }
        println!();
    };
    row("handled", |figures| figures.handled);
    row("given up by policy (poison)", |figures| figures.given_up);
    row("calls that did not succeed", |figures| figures.failed);
    row("records handed to several lives", |figures| figures.redelivered);
    row("lost", |figures| figures.lost);
    row("done more than once", |figures| figures.doubled);
    row("out of order per key", |figures| figures.disorder);
    let is_right = |(number, figures): (HandlerNo, &Figures)| {
        // At least once may be twice, and then in what order it likes.
        let once = facts.handler(number).flavour == Flavour::Idempotent || figures.doubled == 0;
        figures.lost == 0 && figures.disorder == 0 && once && figures.handled > 0
    };
    lacking == 0 && (0..).map(HandlerNo).zip(&all).all(is_right)
}

/// Prints each law with how often it was put to the test; answers whether all held and none had nothing to judge.
pub(crate) fn tell_laws(judge: &Judge) -> bool {
    println!("\nlaws, and how often each was put to the test");
    for law in Law::of_histories() {
        let found = match judge.verdict(law) {
            Verdict::Held { times } => times.to_string(),
            Verdict::Vacuous => "nothing to judge".to_owned(),
            Verdict::Broken(_) => "BROKEN".to_owned(),
        };
        println!("  {:<34} {found:>9}", law.to_string());
    }
    if let Some(breach) = judge.breach() {
        println!("  (up to the breach: nothing behind it was judged)\n\n{breach}");
    }
    judge.breach().is_none()
        && Law::of_histories().all(|law| matches!(judge.verdict(law), Verdict::Held { .. }))
}
