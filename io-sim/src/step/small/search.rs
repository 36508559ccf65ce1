//! Depth first through all that could be chosen. A world is cloned where there is something to choose.

use std::collections::{BTreeMap, BTreeSet};

use super::super::planted::Planted;
use super::super::world::World;
use super::likeness::Likeness;
use super::turns::Choice;
use super::{Found, Scope, Survey};
use crate::checkers::Tested;
use crate::faults::Stroke;
use crate::faults::plan::Occasion;
use crate::trace::{Detail, Kind};

const MEDDLED: Kind = Kind::new("ORDER");

/// How often may still be meddled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Budget {
    /// `None` for any number of times.
    swaps: Option<u32>,
    late: u32,
    faults: u32,
}

impl Budget {
    const fn is_spent(self) -> bool {
        matches!(self.swaps, Some(0)) && self.late == 0 && self.faults == 0
    }

    const fn may_swap(self) -> bool {
        !matches!(self.swaps, Some(0))
    }

    fn covers(self, other: Self) -> bool {
        let swaps = self.swaps.is_none_or(|swaps| other.swaps.is_some_and(|others| swaps >= others));
        swaps && self.late >= other.late && self.faults >= other.faults
    }

    fn after(self, step: &Meddling) -> Self {
        let Meddling { course, strikes } = step;
        let (swaps, late, faults) = match course {
            Course::Nth(0) => (0, 0, 0),
            Course::Nth(_) => (1, 0, 0),
            Course::Late => (0, 1, 0),
            Course::Stroke(_) => (0, 0, 1),
        };
        Self {
            swaps: self.swaps.map(|left| left.saturating_sub(swaps)),
            late: self.late.saturating_sub(late),
            faults: self.faults.saturating_sub(faults + strikes.len() as u32),
        }
    }
}

/// Which way it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    /// The nth of the choices; the first is the usual one.
    Nth(usize),
    /// Time goes on although something could happen.
    Late,
    Stroke(Stroke),
}

/// One step that is not the usual one: which way it goes, and which chances strike on it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Meddling {
    course: Course,
    strikes: Vec<Occasion>,
}

const USUAL: Meddling = Meddling { course: Course::Nth(0), strikes: Vec::new() };

/// A state with what was not tried yet.
#[derive(Debug)]
struct Fork {
    world: World,
    budget: Budget,
    depth: u64,
    /// So many meddlings led here.
    path: usize,
    untried: Vec<Meddling>,
}

struct Search<'a> {
    scope: &'a Scope,
    seen: BTreeMap<Likeness, Vec<Budget>>,
    forks: Vec<Fork>,
    path: Vec<(u64, Meddling)>,
    /// How worlds stood when they had come to rest.
    ends: BTreeSet<Likeness>,
    survey: Survey,
}

/// Tries all orders of a scope, up to the first that breaks a law.
#[must_use]
pub fn explore(scope: &Scope, bug: Option<Planted>) -> Survey {
    let mut search = Search::of(scope);
    search.run(bug);
    let mut survey = search.survey;
    survey.ends = search.ends.len() as u64;
    if let Some(found) = &mut survey.found {
        found.lines = told(scope, bug, &search.path);
    }
    survey
}

fn nothing(scope: &Scope) -> Survey {
    Survey {
        scope: scope.clone(),
        orders: 0,
        ends: 0,
        states: 0,
        pruned: 0,
        deepest: 0,
        steps: 0,
        tested: Tested::default(),
        is_whole: true,
        found: None,
    }
}

fn begun(scope: &Scope, bug: Option<Planted>, detail: Detail) -> World {
    let mut world = World::at_once(&scope.plan.setup, &scope.plan.faults, bug, detail);
    world.settle();
    world.dice.take_asked();
    world
}

/// Every step of an order.
fn told(scope: &Scope, bug: Option<Planted>, path: &[(u64, Meddling)]) -> Vec<String> {
    let mut world = begun(scope, bug, Detail::Lines(0..u64::MAX));
    let mut path = path.iter();
    let mut next = path.next();
    for depth in 0.. {
        if world.is_over() {
            break;
        }
        match next.filter(|(at, _)| *at == depth) {
            Some((_, meddling)) => {
                world.note(MEDDLED, depth, 0, || brief(meddling));
                world.take(meddling);
                next = path.next();
            }
            None => world.take(&USUAL),
        }
    }
    world.trace.lines().to_vec()
}

impl<'a> Search<'a> {
    fn of(scope: &'a Scope) -> Self {
        Self {
            scope,
            seen: BTreeMap::new(),
            forks: Vec::new(),
            path: Vec::new(),
            ends: BTreeSet::new(),
            survey: nothing(scope),
        }
    }

    fn run(&mut self, bug: Option<Planted>) {
        let Scope { swaps, late, faults, .. } = *self.scope;
        self.follow(begun(self.scope, bug, Detail::Hashes), Budget { swaps, late, faults }, 0);
        while self.survey.found.is_none() && self.survey.is_whole && self.branch() {}
    }

    /// Follows the usual order from here, and leaves forks behind.
    fn follow(&mut self, mut world: World, budget: Budget, mut depth: u64) {
        let mut looked = None;
        loop {
            self.survey.deepest = self.survey.deepest.max(depth);
            if world.is_over() {
                return self.end(&world);
            }
            let is_open = world.is_active() && !budget.is_spent();
            if is_open || looked != Some(world.now()) {
                looked = Some(world.now());
                if self.was_seen(&world, budget) {
                    self.survey.pruned += 1;
                    return;
                }
            }
            if self.survey.states > self.scope.most_states {
                self.survey.is_whole = false;
                return;
            }
            let before = is_open.then(|| world.clone());
            let steps = world.steps();
            world.take(&USUAL);
            self.survey.steps += world.steps() - steps;
            if let Some(before) = before {
                let mut untried = self.ways(&before, budget);
                untried.extend(self.struck_besides(&mut world, budget, &USUAL));
                if !untried.is_empty() {
                    let path = self.path.len();
                    self.forks.push(Fork { world: before, budget, depth, path, untried });
                }
            }
            depth += 1;
        }
    }

    /// Goes another way from the last fork; false if nothing is left to try.
    fn branch(&mut self) -> bool {
        let Some(fork) = self.forks.last_mut() else { return false };
        let (budget, depth, path) = (fork.budget, fork.depth, fork.path);
        let Some(meddling) = fork.untried.pop() else {
            self.forks.pop();
            return true;
        };
        let mut world = fork.world.clone();
        let steps = world.steps();
        world.take(&meddling);
        self.survey.steps += world.steps() - steps;
        let besides = self.struck_besides(&mut world, budget, &meddling);
        if let Some(fork) = self.forks.last_mut() {
            fork.untried.extend(besides);
        }
        self.path.truncate(path);
        let after = budget.after(&meddling);
        self.path.push((depth, meddling));
        self.follow(world, after, depth + 1);
        true
    }

    /// The ways from a state that are not the usual one.
    fn ways(&self, world: &World, budget: Budget) -> Vec<Meddling> {
        let choices = world.choices().len();
        let mut courses = Vec::new();
        if budget.faults > 0 {
            courses.extend(self.scope.strokes.iter().copied().map(Course::Stroke));
        }
        if choices > 1 && budget.late > 0 {
            courses.push(Course::Late);
        }
        if budget.may_swap() {
            // The last choice is that time goes on.
            courses.extend((1..choices.saturating_sub(1)).map(Course::Nth));
        }
        courses.into_iter().map(|course| Meddling { course, strikes: Vec::new() }).collect()
    }

    /// The same step with one more chance that strikes, behind those that did.
    fn struck_besides(&self, world: &mut World, budget: Budget, step: &Meddling) -> Vec<Meddling> {
        let asked = world.dice.take_asked();
        if budget.after(step).faults == 0 || !world.is_active() {
            return Vec::new();
        }
        let behind = step.strikes.last().and_then(|last| asked.iter().position(|occasion| occasion == last));
        let open = asked.into_iter().skip(behind.map_or(0, |nth| nth + 1));
        open.filter(|occasion| self.scope.chances.contains(&occasion.chance))
            .map(|occasion| {
                let mut more = step.clone();
                more.strikes.push(occasion);
                more
            })
            .collect()
    }

    /// Whether a state was reached before with as many choices left.
    fn was_seen(&mut self, world: &World, budget: Budget) -> bool {
        let seen = self.seen.entry(world.likeness(self.scope.swaps.is_some())).or_default();
        if seen.iter().any(|before| before.covers(budget)) {
            return true;
        }
        seen.retain(|before| !budget.covers(*before));
        seen.push(budget);
        self.survey.states += 1;
        false
    }

    fn end(&mut self, world: &World) {
        self.survey.orders += 1;
        self.survey.tested.add(world.judge.tested());
        self.ends.insert(world.likeness(false));
        if let Some((_, breach)) = &world.breach {
            let meddling =
                self.path.iter().map(|(depth, step)| format!("at choice {depth}: {}", brief(step)));
            let found = Found { breach: breach.clone(), meddling: meddling.collect(), lines: Vec::new() };
            self.survey.found = Some(found);
        }
    }
}

fn brief(step: &Meddling) -> String {
    let course = match step.course {
        Course::Nth(0) => "as usual".to_owned(),
        Course::Nth(nth) => format!("number {nth} in line comes first"),
        Course::Late => "all that could happen is late".to_owned(),
        Course::Stroke(stroke) => stroke.to_string(),
    };
    let strikes = step.strikes.iter().map(|occasion| {
        format!(", and {} strikes {} the time {}", occasion.chance.name(), occasion.entity, occasion.nth)
    });
    std::iter::once(course).chain(strikes).collect()
}

impl World {
    /// Goes one step.
    fn take(&mut self, step: &Meddling) {
        for occasion in &step.strikes {
            self.dice.tell(*occasion);
        }
        match step.course {
            Course::Nth(nth) => {
                if let Some(choice) = self.choices().get(nth).copied() {
                    self.choose(choice);
                }
            }
            Course::Late => self.choose(Choice::Time),
            Course::Stroke(stroke) => {
                self.strike(stroke);
                self.settle();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::quick;
    use super::*;

    fn scope() -> Scope {
        quick().into_iter().find(|scope| scope.name == "orders").expect("it is one of them")
    }

    #[test]
    fn what_concerns_others_may_happen_before_or_after_and_the_world_is_the_same() {
        let begun = begun(&scope(), None, Detail::Hashes);
        let (first, second) = (begun.choices()[0], begun.choices()[1]);
        let both = |choices: [Choice; 2]| {
            let mut world = begun.clone();
            world.choose(choices[0]);
            let between = world.likeness(false);
            world.choose(choices[1]);
            (between, world.likeness(false))
        };
        let (after_first, one) = both([first, second]);
        let (after_second, other) = both([second, first]);
        assert_ne!(after_first, after_second);
        assert_eq!(one, other);
    }

    #[test]
    fn whoever_follows_every_order_to_its_end_sees_no_other_ends() {
        let scope = scope();
        let mut pruned = Search::of(&scope);
        pruned.run(None);
        assert!(pruned.survey.pruned > 20, "{}", pruned.survey);
        let mut ends = BTreeSet::new();
        let mut world = begun(&scope, None, Detail::Hashes);
        while world.is_active() && !world.is_over() {
            // One thing out of turn, at each moment and in each way.
            for nth in 1..world.choices().len() - 1 {
                let mut other = world.clone();
                other.take(&Meddling { course: Course::Nth(nth), strikes: Vec::new() });
                while !other.is_over() {
                    other.take(&USUAL);
                }
                ends.insert(other.likeness(false));
            }
            world.take(&USUAL);
        }
        while !world.is_over() {
            world.take(&USUAL);
        }
        ends.insert(world.likeness(false));
        assert!(ends.len() > 1, "it matters what comes first");
        assert_eq!(pruned.ends, ends);
    }

    #[test]
    fn a_search_that_was_given_up_says_so() {
        let survey = explore(&Scope { most_states: 10, ..scope() }, None);
        assert!(!survey.is_whole);
        assert!(survey.to_string().contains("this proves nothing: given up after"), "{survey}");
    }

    #[test]
    fn more_choices_left_cover_fewer_and_any_number_covers_all() {
        let budget = |swaps, late, faults| Budget { swaps, late, faults };
        assert!(budget(None, 1, 1).covers(budget(Some(9), 1, 0)));
        assert!(budget(Some(2), 1, 1).covers(budget(Some(2), 1, 1)));
        assert!(!budget(Some(9), 1, 1).covers(budget(None, 1, 1)));
        assert!(!budget(Some(2), 0, 1).covers(budget(Some(1), 1, 1)));
        assert!(!budget(Some(2), 1, 0).covers(budget(Some(2), 1, 1)));
    }
}
