//! Something for each of many numbers, on several threads.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is numbered, and how long one of it may take: what takes longer will not end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Longest {
    name: &'static str,
    time: Duration,
}

/// A run takes a few milliseconds.
pub(crate) const RUN: Longest = Longest { name: "seed", time: Duration::from_mins(2) };

/// A planted bug may take many thousand runs.
pub(crate) const HUNT: Longest = Longest { name: "planted bug number", time: Duration::from_mins(60) };

/// Does it for these numbers, so many at once; none is begun after `most`. What comes of each is taken in one by one, in
/// no order. Answers how long it took. One that does not end ends the process, with its number.
///
/// # Panics
/// If a thread of it does.
pub(crate) fn each<R>(
    numbers: Range<u64>,
    longest: Longest,
    threads: u64,
    most: Duration,
    run: impl Fn(u64) -> R + Sync,
    take: impl FnMut(R) + Send,
) -> Duration {
    let begun = Instant::now();
    let next = AtomicU64::new(numbers.start);
    let take = Mutex::new(take);
    let under_way: Vec<_> = (0..threads).map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        // It is over when all threads have dropped their end.
        let (goes_on, ended) = mpsc::channel::<()>();
        let (under_way, next, take, run) = (&under_way, &next, &take, &run);
        scope.spawn(move || {
            while ended.recv_timeout(longest.time / 60) == Err(RecvTimeoutError::Timeout) {
                if let Some(number) = endless(under_way, longest.time, Instant::now()) {
                    give_up(longest, number);
                }
            }
        });
        for mine in under_way {
            let goes_on = goes_on.clone();
            scope.spawn(move || {
                let _goes_on = goes_on;
                while begun.elapsed() < most {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        break;
                    }
                    *mine.lock().unwrap_or_else(PoisonError::into_inner) = Some((number, Instant::now()));
                    let came = run(number);
                    *mine.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    take.lock().expect("nobody panics with it")(came);
                }
            });
        }
    });
    begun.elapsed()
}

type UnderWay = Mutex<Option<(u64, Instant)>>;

/// What has been under way for too long.
fn endless(under_way: &[UnderWay], longest: Duration, now: Instant) -> Option<u64> {
    let of = |one: &UnderWay| *one.lock().unwrap_or_else(PoisonError::into_inner);
    let all = under_way.iter().filter_map(of);
    all.filter(|(_, begun)| now.duration_since(*begun) >= longest).map(|(number, _)| number).min()
}

/// A thread cannot be stopped, and what does not end would hide whatever else was found.
#[expect(clippy::print_stderr, clippy::exit, reason = "the tests' runs go on for ever otherwise")]
fn give_up(Longest { name, time }: Longest, number: u64) -> ! {
    eprintln!("{name} {number} has taken {} seconds: it does not end", time.as_secs());
    std::process::exit(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_number_has_its_turn_once_and_none_begins_when_the_time_is_over_or_goes_on_for_ever() {
        let mut taken = Vec::new();
        each(5..1_000, RUN, 3, Duration::MAX, |number| number * 2, |twice| taken.push(twice));
        assert_eq!(taken.len(), 995);
        assert_eq!(
            taken.iter().copied().collect::<BTreeSet<_>>(),
            (5..1_000).map(|number| number * 2).collect()
        );
        let one =
            |number, age| Mutex::new(Some((number, Instant::now().checked_sub(age).expect("it is later"))));
        let under_way = [one(3, RUN.time / 2), Mutex::new(None), one(7, RUN.time), one(9, RUN.time)];
        assert_eq!(endless(&under_way[..2], RUN.time, Instant::now()), None);
        assert_eq!(endless(&under_way, RUN.time, Instant::now()), Some(7));
        let mut none = 0;
        each(0..1_000, RUN, 3, Duration::ZERO, |number| number, |_| none += 1);
        assert_eq!(none, 0);
    }
}
