//! Wall clocks that are not right: off, too fast or too slow, or standing still.

use evenkeel_core::model::{Time, WallTime};

/// What wall clocks show when the world begins: 2023-11-14.
pub(crate) const WALL: WallTime = WallTime::from_millis(1_700_000_000_000);

/// A process's wall clock. It outlives the process, as the machine's does.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WallClock {
    /// By how many microseconds it was off when its rate was last changed.
    off: i64,
    /// When that was.
    since: Time,
    /// How many microseconds a second it gains.
    ppm: i32,
    /// It stands still from then until then.
    still: Option<(Time, Time)>,
}

fn micros(time: Time) -> i64 {
    i64::try_from(time.as_nanos() / 1_000).unwrap_or(i64::MAX)
}

impl WallClock {
    /// It is set by so many microseconds.
    pub(crate) const fn jump(&mut self, by_micros: i64) {
        self.off = self.off.saturating_add(by_micros);
    }

    /// It gains so many microseconds a second from now on.
    pub(crate) fn drift(&mut self, now: Time, ppm: i32) {
        self.off = self.off_at(now);
        self.since = now;
        self.ppm = ppm;
    }

    /// It stands still from now on. Of two times the later end counts.
    pub(crate) fn freeze(&mut self, now: Time, until: Time) {
        self.still = match self.still {
            Some((from, end)) if now < end => Some((from, end.max(until))),
            Some(_) | None => Some((now, until)),
        };
    }

    /// What it shows.
    pub(crate) fn shows(self, now: Time) -> WallTime {
        let now = match self.still {
            Some((from, until)) if now < until => from,
            Some(_) | None => now,
        };
        WallTime(WALL.0.saturating_add(micros(now)).saturating_add(self.off_at(now)))
    }

    fn off_at(self, now: Time) -> i64 {
        let gained = i128::from(micros(now) - micros(self.since)) * i128::from(self.ppm) / 1_000_000;
        self.off.saturating_add(i64::try_from(gained).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shows(clock: WallClock, seconds: u64) -> i64 {
        clock.shows(Time::from_millis(seconds * 1_000)).0 - WALL.0
    }

    const fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1_000)
    }

    #[test]
    fn a_clock_drifts_from_where_it_is_and_keeps_what_it_gained() {
        let mut clock = WallClock::default();
        clock.jump(-5_000_000);
        clock.drift(at(10), 20_000);
        assert_eq!([shows(clock, 10), shows(clock, 20)], [5_000_000, 15_200_000]);
        clock.drift(at(20), -20_000);
        assert_eq!([shows(clock, 20), shows(clock, 30)], [15_200_000, 25_000_000]);
    }

    #[test]
    fn a_clock_that_stood_still_shows_the_right_time_again() {
        let mut clock = WallClock::default();
        clock.freeze(at(10), at(20));
        clock.freeze(at(15), at(18));
        assert_eq!([10, 19, 20].map(|second| shows(clock, second) / 1_000_000), [10, 10, 20]);
    }
}
