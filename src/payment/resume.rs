//! After replay: repeats the requests in progress.

use super::draft::{Decided, Draft};
use super::{Event, Ordinal, Payment, Phase, Policy, UnknownCause};
use crate::units::Now;

/// The decision of a payment after its events were replayed, to be applied, journaled and sent like any other.
///
/// An operation that was journaled may or may not have been sent, so all of them count as possibly sent. Their
/// outcomes become unknown and are resolved as usual, under the same ids. Operations that were certainly not sent are
/// sent. A payment without operations in progress decides nothing.
///
/// An owner that omits this call loses only time: the timers that [`Payment::arm`] starts lead to the same steps.
pub fn resume<'a>(payment: &'a Payment, now: Now, policy: &'a Policy) -> Decided<'a> {
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
