//! The end of a world: the last word of its judges, and its last state.

use evenkeel_core::model::Time;

use super::state::State;
use crate::trace::digest;

impl State {
    /// The run has ended: the last word of the judges, and the last state into the hash.
    pub(crate) fn rest(&mut self) {
        let now: Time = self.now();
        if !self.is_over() {
            self.judge.came_to_rest();
            if let Err(breach) = self.judge.rest(now) {
                self.break_law(breach);
            }
        }
        let words = [now.as_nanos(), self.polls, self.inputs, self.history.happenings.len() as u64];
        self.trace.seal(digest(words));
    }
}
