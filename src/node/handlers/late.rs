//! Reports about a session that was archived with an estimate for its end: the parts of a call are kept together, and the archive
//! gives the session for all of them or for none.
//!
//! A call of an OCPP charger comes in parts: readings, an end, signed values, and a fence, whose answer says that all before it is
//! recorded. If the parts asked the archive one by one, it could have no room for one of them and give the session for the fence:
//! the charger would have an answer for energy that no one has recorded.

use super::{sessions, unnumbered};
use crate::message::{Answer, SessionName, Ticket, ToCharger};
use crate::node::delivery::Delivery;
use crate::node::hosted::Slot;
use crate::node::input::{Input, LateFence};
use crate::node::output::Output;
use crate::node::partition::Partition;
use crate::units::SessionId;
use std::collections::VecDeque;

/// The session of this name, where it was archived with an estimate.
pub(super) fn archived_estimate(partition: &Partition, slot: Slot, name: &SessionName) -> Option<SessionId> {
    let state = partition.chargers.get(slot)?.state();
    let key = unnumbered::key_of(state, name)?;
    let past = state.past_session(key)?.session;
    let is_estimate = state.begun().any(|begun| begun.key == key && begun.estimated);
    (is_estimate && state.open_session(key).is_none() && partition.find_session(past).is_none()).then_some(past)
}

/// The end of a call. Returns whether its answer waits for the archive.
pub(super) fn fence(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    slot: Slot,
    (ticket, name): (Ticket, Option<&SessionName>),
) -> bool {
    let named = |partition: &Partition| name.and_then(|name| archived_estimate(partition, slot, name));
    let reports = partition.take_late(slot);
    let Some((session, commands)) = reports.or_else(|| Some((named(partition)?, VecDeque::new()))) else {
        return false;
    };
    let charger = delivery.charger_ref(slot);
    let fence = LateFence { charger, ticket, name: name.cloned(), commands: commands.into() };
    delivery.queue(Output::LoadArchived(session, Box::new(Input::LateFence(session, Box::new(fence)))));
    true
}

/// The session is live again: it takes the reports, and the call is answered.
pub(super) fn take(delivery: &mut Delivery<'_>, partition: &mut Partition, session: SessionId, fence: LateFence) {
    let LateFence { charger, ticket, name, commands } = fence;
    for command in commands {
        sessions::deliver_by_id(delivery, partition, session, command);
    }
    let bill = name.and_then(|name| unnumbered::bill(partition, charger.slot, &name));
    delivery.send(charger.slot, ToCharger::Answer(Answer::Passed { ticket, bill }));
}
