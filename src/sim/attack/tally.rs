//! What an attacker got for its messages: the answers that it expects, counted, and everything else, which is a violation.

use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Violations that are kept as text; the others are counted.
const VIOLATIONS_KEPT: usize = 20;

/// Distinct answers that are counted; further ones share one name.
const ANSWERS_KEPT: usize = 64;

/// The counts of one attacker.
#[derive(Debug, Default)]
pub struct Tally {
    counts: Mutex<Counts>,
}

/// What an attacker did and got.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Rounds that came to their end.
    pub rounds: u64,
    /// Rounds that could not be made: no connection, for instance because the gate refuses the attacker's address.
    pub rounds_kept_out: u64,
    /// Why the last of them could not be made.
    pub last_trouble: Option<String>,
    /// Answers that are right, by what they are.
    pub answers: BTreeMap<String, u64>,
    /// Answers that must not be, or that did not come.
    pub violations: u64,
    /// The first of them.
    pub violations_told: Vec<String>,
}

impl Tally {
    /// The gate answered as it should.
    pub fn right(&self, answer: impl Into<String>) {
        self.right_times(answer, 1);
    }

    /// The gate answered as it should, so many times.
    pub fn right_times(&self, answer: impl Into<String>, times: u64) {
        let (mut counts, answer) = (self.lock(), answer.into());
        let full = counts.answers.len() >= ANSWERS_KEPT && !counts.answers.contains_key(&answer);
        *counts.answers.entry(if full { "others".to_owned() } else { answer }).or_default() += times;
    }

    /// The gate answered as it must not.
    pub fn violation(&self, what: impl Into<String>) {
        let mut counts = self.lock();
        counts.violations += 1;
        if counts.violations_told.len() < VIOLATIONS_KEPT {
            counts.violations_told.push(what.into());
        }
    }

    /// Its state.
    pub fn counts(&self) -> Counts {
        self.lock().clone()
    }

    pub(super) fn round(&self, outcome: Result<(), super::Trouble>) {
        let mut counts = self.lock();
        match outcome {
            Ok(()) => counts.rounds += 1,
            Err(super::Trouble(why)) => {
                counts.rounds_kept_out += 1;
                counts.last_trouble = Some(why);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_violations_are_counted_and_what_is_kept_is_bounded() {
        let tally = Tally::default();
        for number in 0..1_000 {
            tally.right(format!("answer {number}"));
            tally.violation(format!("violation {number}"));
        }
        let counts = tally.counts();
        assert_eq!(counts.answers.values().sum::<u64>(), 1_000);
        assert_eq!(counts.answers.len(), ANSWERS_KEPT + 1);
        assert_eq!((counts.violations, counts.violations_told.len()), (1_000, VIOLATIONS_KEPT));
    }
}
