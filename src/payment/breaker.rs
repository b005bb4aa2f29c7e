//! Circuit breakers: pauses of requests to a failing processor, and probes that end them.
//!
//! ```text
//!            failures in a row              pause over             probe answered
//!   Closed ─────────────────────▶ Open ─────────────────▶ HalfOpen ───────────────▶ Closed
//!                                  ▲                          │
//!                                  └── longer, up to a bound ─┘ probe failed
//! ```
//!
//! One breaker for each processor and kind of operation. A breaker is checked before an operation is sent *for the
//! first time*: an authorization then goes to another processor, everything else stays queued. Probes are inquiries,
//! which change nothing; no driver's authorization is used as a probe.

use super::OperationKind;
use crate::units::{Mono, Now, ProcessorId, TimeSpan};
use std::collections::BTreeMap;

/// Thresholds and pauses of breakers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// Failures in a row that open it.
    pub failures: u16,
    /// Age after which a failure no longer counts when the next one comes.
    pub memory: TimeSpan,
    /// How long it stays open at first; doubled with every probe that fails.
    pub pause: TimeSpan,
    /// How long it stays open at most.
    pub pause_max: TimeSpan,
    /// How long to wait for the answer to a probe before another one is sent.
    pub probe_wait: TimeSpan,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        let secs = TimeSpan::from_secs;
        BreakerPolicy { failures: 5, memory: secs(60), pause: secs(5), pause_max: secs(300), probe_wait: secs(10) }
    }
}

/// State of one kind of operation at a processor, derived from its answers.
///
/// ```
/// use wattstile::payment::breaker::{Breaker, BreakerPolicy, Signal};
/// use wattstile::units::Mono;
///
/// let policy = BreakerPolicy { failures: 2, ..BreakerPolicy::default() };
/// let fails = |breaker: Breaker, ms| breaker.after(Signal::Fails, Mono(ms), &policy);
/// let open = fails(fails(Breaker::Closed, 0), 1);
/// assert!(matches!(open, Breaker::Open { .. }));
/// assert!(!open.probe(Mono(2), &policy).1, "no probe before its pause is over");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Breaker {
    /// It works; there may have been failures in a row.
    #[default]
    Closed,
    /// It works, but failed lately.
    Failing {
        /// How often in a row.
        failures: u16,
        /// When last.
        last: Mono,
    },
    /// It does not work: nothing is sent before this instant.
    Open {
        /// When a probe may be sent.
        until: Mono,
        /// How long it was opened for.
        pause: TimeSpan,
    },
    /// A probe is on its way.
    HalfOpen {
        /// When it was sent.
        since: Mono,
        /// How long it had been open.
        pause: TimeSpan,
    },
}

/// What an answer, or its absence, shows about the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// It answered. A refusal of the driver's money is an answer like any other.
    Works,
    /// A time-out, a broken connection, an error, a technical refusal.
    Fails,
}

impl Breaker {
    /// Whether something may be sent.
    pub const fn passes(self) -> bool {
        match self {
            Breaker::Closed | Breaker::Failing { .. } => true,
            Breaker::Open { .. } | Breaker::HalfOpen { .. } => false,
        }
    }

    /// The breaker after a signal.
    #[must_use]
    pub fn after(self, signal: Signal, now: Mono, policy: &BreakerPolicy) -> Breaker {
        match (self, signal) {
            (Breaker::Closed | Breaker::Failing { .. }, Signal::Works) => Breaker::Closed,
            // Any answer ends the doubt, be it the probe's or a late one's.
            (Breaker::Open { .. } | Breaker::HalfOpen { .. }, Signal::Works) => Breaker::Closed,
            (Breaker::Closed, Signal::Fails) => Breaker::failing(1, now, policy),
            (Breaker::Failing { failures, last }, Signal::Fails) => {
                let fresh = now.since(last) <= policy.memory;
                Breaker::failing(if fresh { failures.saturating_add(1) } else { 1 }, now, policy)
            }
            (Breaker::Open { .. }, Signal::Fails) => self,
            (Breaker::HalfOpen { pause, .. }, Signal::Fails) => Breaker::reopened(pause, now, policy),
        }
    }

    /// Whether a probe is to be sent now, and the breaker after that.
    #[must_use]
    pub fn probe(self, now: Mono, policy: &BreakerPolicy) -> (Breaker, bool) {
        match self {
            Breaker::Closed | Breaker::Failing { .. } => (self, false),
            Breaker::Open { until, pause } if until <= now => (Breaker::HalfOpen { since: now, pause }, true),
            Breaker::Open { .. } => (self, false),
            Breaker::HalfOpen { since, pause } if now.since(since) >= policy.probe_wait => {
                (Breaker::reopened(pause, now, policy), false)
            }
            Breaker::HalfOpen { .. } => (self, false),
        }
    }

    fn failing(failures: u16, now: Mono, policy: &BreakerPolicy) -> Breaker {
        if failures >= policy.failures {
            Breaker::Open { until: now.after(policy.pause), pause: policy.pause }
        } else {
            Breaker::Failing { failures, last: now }
        }
    }

    fn reopened(pause: TimeSpan, now: Mono, policy: &BreakerPolicy) -> Breaker {
        let pause = TimeSpan::from_ms(pause.ms().saturating_mul(2)).min(policy.pause_max);
        Breaker::Open { until: now.after(pause), pause }
    }
}

/// The breakers of all processors. At most one for each processor and kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Breakers {
    policy: BreakerPolicy,
    breakers: BTreeMap<(ProcessorId, OperationKind), Breaker>,
}

impl Breakers {
    /// Breakers that are all closed.
    pub fn new(policy: BreakerPolicy) -> Breakers {
        Breakers { policy, breakers: BTreeMap::new() }
    }

    /// The breaker of one processor and kind.
    pub fn of(&self, processor: &ProcessorId, kind: OperationKind) -> Breaker {
        self.breakers.get(&(processor.clone(), kind)).copied().unwrap_or_default()
    }

    /// Applies the signal of an operation's answer (or time-out); returns the breaker before and after.
    pub fn signal(
        &mut self,
        processor: &ProcessorId,
        kind: OperationKind,
        signal: Signal,
        now: Now,
    ) -> (Breaker, Breaker) {
        let before = self.of(processor, kind);
        let after = before.after(signal, now.mono, &self.policy);
        self.set(processor, kind, after);
        (before, after)
    }

    /// The processors to which a probe (an inquiry after any operation) is to be sent now, and the kinds in doubt.
    pub fn probes(&mut self, now: Now) -> Vec<(ProcessorId, OperationKind)> {
        let mut probes = Vec::new();
        for (key, breaker) in &mut self.breakers {
            let (after, send) = breaker.probe(now.mono, &self.policy);
            *breaker = after;
            if send {
                probes.push(key.clone());
            }
        }
        probes
    }

    /// The answer to a probe counts for every doubtful kind of operation at that processor.
    pub fn probe_answered(&mut self, processor: &ProcessorId, signal: Signal, now: Now) {
        for ((of, _), breaker) in &mut self.breakers {
            if of == processor && matches!(breaker, Breaker::HalfOpen { .. }) {
                *breaker = breaker.after(signal, now.mono, &self.policy);
            }
        }
    }

    /// Replaces the breakers of one processor by those of another instance.
    pub fn adopt(&mut self, processor: &ProcessorId, from: &Breakers) {
        self.forget(processor);
        let known = from.breakers.iter().filter(|((of, _), _)| of == processor);
        self.breakers.extend(known.map(|(key, breaker)| (key.clone(), *breaker)));
    }

    /// The kinds of operation that are not sent to a processor now.
    pub fn open_at(&self, processor: &ProcessorId) -> Vec<OperationKind> {
        let open = self.breakers.iter().filter(|((of, _), breaker)| of == processor && !breaker.passes());
        open.map(|((_, kind), _)| *kind).collect()
    }

    /// Removes the breakers of a processor that was removed.
    pub fn forget(&mut self, processor: &ProcessorId) {
        self.breakers.retain(|(of, _), _| of != processor);
    }

    fn set(&mut self, processor: &ProcessorId, kind: OperationKind, breaker: Breaker) {
        let key = (processor.clone(), kind);
        match breaker {
            Breaker::Closed => drop(self.breakers.remove(&key)),
            Breaker::Failing { .. } | Breaker::Open { .. } | Breaker::HalfOpen { .. } => {
                self.breakers.insert(key, breaker);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Timestamp;

    fn at(seconds: u64) -> Now {
        Now { wall: Timestamp::default(), mono: Mono(seconds * 1_000) }
    }

    fn acme() -> ProcessorId {
        ProcessorId::new("acme").unwrap()
    }

    fn broken(breakers: &mut Breakers, kind: OperationKind) {
        for second in 1..=5 {
            breakers.signal(&acme(), kind, Signal::Fails, at(second));
        }
    }

    #[test]
    fn failures_in_a_row_open_it_and_an_answer_in_between_does_not() {
        let mut breakers = Breakers::default();
        for second in 1..=4 {
            breakers.signal(&acme(), OperationKind::Authorize, Signal::Fails, at(second));
        }
        breakers.signal(&acme(), OperationKind::Authorize, Signal::Works, at(5));
        breakers.signal(&acme(), OperationKind::Authorize, Signal::Fails, at(6));
        assert!(breakers.of(&acme(), OperationKind::Authorize).passes());
        broken(&mut breakers, OperationKind::Authorize);
        assert!(!breakers.of(&acme(), OperationKind::Authorize).passes());
        assert!(breakers.of(&acme(), OperationKind::Capture).passes(), "each kind has its own");
        let other = ProcessorId::new("other").unwrap();
        assert!(breakers.of(&other, OperationKind::Authorize).passes(), "each processor has its own");
    }

    #[test]
    fn old_failures_are_forgotten() {
        let mut breakers = Breakers::default();
        for minute in 0..20 {
            breakers.signal(&acme(), OperationKind::Void, Signal::Fails, at(minute * 61));
        }
        assert!(breakers.of(&acme(), OperationKind::Void).passes());
    }

    #[test]
    fn a_probe_is_sent_after_the_pause_one_at_a_time_and_closes_or_reopens_it() {
        let mut breakers = Breakers::default();
        broken(&mut breakers, OperationKind::Authorize);
        assert_eq!(breakers.probes(at(9)), []);
        assert_eq!(breakers.probes(at(10)), [(acme(), OperationKind::Authorize)]);
        assert_eq!(breakers.probes(at(11)), [], "one at a time");
        assert!(!breakers.of(&acme(), OperationKind::Authorize).passes(), "no driver is the probe");
        breakers.probe_answered(&acme(), Signal::Fails, at(12));
        assert_eq!(breakers.probes(at(21)), [], "the pause is doubled");
        assert_eq!(breakers.probes(at(22)).len(), 1);
        breakers.probe_answered(&acme(), Signal::Works, at(23));
        assert!(breakers.of(&acme(), OperationKind::Authorize).passes());
    }

    #[test]
    fn a_probe_without_an_answer_is_repeated_and_pauses_are_bounded() {
        let mut breakers = Breakers::default();
        broken(&mut breakers, OperationKind::Authorize);
        let sent = (6..7_200).filter(|second| !breakers.probes(at(*second)).is_empty()).count();
        assert!((20..=40).contains(&sent), "{sent} probes in two hours");
    }
}
