//! Settings of an operator: time-outs, repetitions, risks.

use super::OperationKind;
use crate::units::TimeSpan;
use serde::{Deserialize, Serialize};

/// Timers, schedules and bounds. The defaults are our own recommendation.
///
/// Schedules give the pause before the next attempt; their last entry repeats for ever.
///
/// ```
/// use wattstile::payment::Policy;
/// use wattstile::units::TimeSpan;
///
/// let patient = Policy { answer_authorize: TimeSpan::from_secs(20), ..Policy::default() };
/// assert_eq!(patient.authorize_attempts, Policy::default().authorize_attempts);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// How long to wait for the answer to an authorization, first attempt.
    pub answer_authorize: TimeSpan,
    /// … second attempt, while the driver waits; afterwards the authorization is given up and reversed.
    pub answer_authorize_again: TimeSpan,
    /// Attempts for an authorization (first sending and inquiries) before it is given up.
    pub authorize_attempts: u16,
    /// How long to wait for the answer to an increment or decrement.
    pub answer_increment: TimeSpan,
    /// How long to wait for the answer to a capture.
    pub answer_capture: TimeSpan,
    /// How long to wait for the answer to a void.
    pub answer_void: TimeSpan,
    /// How long to wait for the answer to a refund.
    pub answer_refund: TimeSpan,
    /// Pauses between inquiries.
    pub inquiry_schedule: Vec<TimeSpan>,
    /// Least pauses between repetitions under the same id.
    pub repeat_schedule: Vec<TimeSpan>,
    /// Pauses before a queued operation checks for a connection again.
    pub queue_schedule: Vec<TimeSpan>,
    /// Pauses before a new void follows one that was refused.
    pub void_again_schedule: Vec<TimeSpan>,
    /// Pauses before a new capture follows one that was refused for the moment.
    pub capture_again_schedule: Vec<TimeSpan>,
    /// How many captures may be refused for the moment before that is final.
    pub capture_refusals_max: u8,
    /// Steps without an outcome after which a person is called.
    pub escalate_after: u16,
    /// How long before a hold lapses its owner is notified.
    pub expiry_guard: TimeSpan,
    /// Pause after a refused increment before another one may be requested. After a second or permanent refusal,
    /// none.
    pub increment_pause: TimeSpan,
    /// Most increments of one hold, whatever the processor allows.
    pub increments_max: u8,
    /// Most that may be reserved for one payment, in minor units.
    pub total_max_minor: i64,
    /// A partial approval of less is released at once, in minor units.
    pub partial_min_minor: i64,
    /// Most energy that may be given before an answer, in minor units of money.
    pub floor_limit_minor: i64,
    /// Whether a second authorization may be requested while an earlier one is being reversed. The driver may see two
    /// holds for a while.
    pub double_hold: bool,
}

impl Default for Policy {
    fn default() -> Self {
        let secs = TimeSpan::from_secs;
        Policy {
            answer_authorize: secs(8),
            answer_authorize_again: secs(4),
            authorize_attempts: 2,
            answer_increment: secs(15),
            answer_capture: secs(20),
            answer_void: secs(10),
            answer_refund: secs(30),
            inquiry_schedule: [2, 5, 15, 60, 300, 1_800, 7_200, 21_600].map(secs).to_vec(),
            repeat_schedule: [5, 10, 20, 40, 80, 160, 600].map(secs).to_vec(),
            queue_schedule: [1, 2, 5, 10, 30].map(secs).to_vec(),
            void_again_schedule: [5, 60, 600, 3_600, 21_600].map(secs).to_vec(),
            capture_again_schedule: [5, 60, 600, 3_600].map(secs).to_vec(),
            capture_refusals_max: 8,
            escalate_after: 8,
            expiry_guard: secs(12 * 3_600),
            increment_pause: secs(60),
            increments_max: 10,
            total_max_minor: 100_000,
            partial_min_minor: 200,
            floor_limit_minor: 2_000,
            double_hold: false,
        }
    }
}

impl Policy {
    /// How long to wait for the answer to an operation of this kind; `attempt` is 1 for the first sending.
    pub fn answer_within(&self, kind: OperationKind, attempt: u16) -> TimeSpan {
        let least = match kind {
            OperationKind::Authorize if attempt > 1 => self.answer_authorize_again,
            OperationKind::Authorize => self.answer_authorize,
            OperationKind::Increment | OperationKind::Decrement => self.answer_increment,
            OperationKind::Capture => self.answer_capture,
            OperationKind::Void => self.answer_void,
            OperationKind::Refund => self.answer_refund,
            OperationKind::Inquire => self.answer_void,
        };
        match (kind, attempt.checked_sub(2)) {
            (OperationKind::Authorize, Some(0)) | (_, None) => least,
            (_, Some(repetition)) => least.max(step(&self.repeat_schedule, repetition)),
        }
    }
}

/// The pause before step `index` of a schedule, counted from 0. An empty schedule pauses for a minute.
pub(super) fn step(schedule: &[TimeSpan], index: u16) -> TimeSpan {
    match schedule.get(usize::from(index)).or(schedule.last()) {
        Some(pause) => *pause,
        None => TimeSpan::from_secs(60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_are_sent_less_and_less_often_but_never_cease() {
        let policy = Policy::default();
        let waits = [1, 2, 3, 6, 7, 8, 60_000].map(|n| policy.answer_within(OperationKind::Void, n).whole_secs());
        assert_eq!(waits, [10, 10, 10, 80, 160, 600, 600]);
        assert_eq!(policy.answer_within(OperationKind::Authorize, 2).whole_secs(), 4);
        assert_eq!(step(&[], 3).whole_secs(), 60);
    }
}
