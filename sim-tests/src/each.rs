//! Something for each of many numbers, on several threads.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Does it for these numbers, so many at once; none is begun after `most`. What comes of each is taken in one by one, in
/// no order. Answers how long it took.
///
/// # Panics
/// If a thread of it does.
pub(crate) fn each<R>(
    numbers: Range<u64>,
    threads: u64,
    most: Duration,
    run: impl Fn(u64) -> R + Sync,
    take: impl FnMut(R) + Send,
) -> Duration {
    let begun = Instant::now();
    let next = AtomicU64::new(numbers.start);
    let take = Mutex::new(take);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while begun.elapsed() < most {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        break;
                    }
                    let came = run(number);
                    take.lock().expect("nobody panics with it")(came);
                }
            });
        }
    });
    begun.elapsed()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_number_has_its_turn_once_and_none_begins_when_the_time_is_over() {
        let mut taken = Vec::new();
        each(5..1_000, 3, Duration::MAX, |number| number * 2, |twice| taken.push(twice));
        assert_eq!(taken.len(), 995);
        assert_eq!(
            taken.iter().copied().collect::<BTreeSet<_>>(),
            (5..1_000).map(|number| number * 2).collect()
        );
        let mut none = 0;
        each(0..1_000, 3, Duration::ZERO, |number| number, |_| none += 1);
        assert_eq!(none, 0);
    }
}
