//! After replay: ask again what was in flight.

use super::draft::Draft;
use super::{Decision, Event, Ordinal, Payment, Phase, Policy, UnknownCause};
use crate::units::Now;

/// What a payment wants after its events were replayed, to be applied, journaled and sent like any decision.
///
/// An operation that was journaled may have been sent or not: nobody can tell, so all of them count as possibly sent.
/// Their outcomes become unknown and are resolved as ever, under the same ids. Operations that are known to have stayed
/// at home are sent. A payment with nothing under way decides nothing.
///
/// An owner that leaves this out loses time and nothing else: the timers that [`Payment::arm`] starts lead to the
/// same steps.
pub fn resume(payment: &Payment, now: Now, policy: &Policy) -> Decision {
    let mut draft = Draft::new(payment, now, policy);
    let operations: Vec<Ordinal> = payment.live_operations().iter().map(|operation| operation.number).collect();
    for operation in operations {
        let Some(live) = draft.state().live(operation) else { continue };
        match live.phase {
            Phase::Asked => {
                draft.fact(Event::OutcomeUnknown { operation, cause: UnknownCause::Restart, at: now.wall });
                draft.resolve(operation);
            }
            Phase::Queued => draft.repeat(operation),
            Phase::Unknown { .. } => draft.resolve(operation),
            Phase::Accepted { .. } => {}
        }
    }
    draft.advance();
    draft.decided()
}
