//! Sessions that are not paid for: of starts that were refused. What their chargers report is kept
//! ([`crate::session::Quarantine`]).

use super::sessions;
use super::starts::{self, Known, New, Refused};
use crate::charger::Mark;
use crate::message::Begin;
use crate::node::delivery::Delivery;
use crate::node::hosted::Slot;
use crate::node::partition::Partition;
use crate::session::{Cause, Command, Origin};
use crate::units::{Energy, SessionId, SessionKey};

/// How the fingerprint of a session is shown whose charger named no credential that can be read.
const NO_CREDENTIAL: &str = "none";

/// How a session began.
pub(super) fn origin(begin: &Begin, mark: Mark) -> Origin {
    Origin {
        protocol: begin.protocol,
        name: begin.name.clone(),
        mark: (mark.exact, mark.loose),
        lacks_register: begin.register.is_none(),
    }
}

/// Opens a session whose start is refused.
///
/// # Errors
/// There can be no session; nothing has changed.
pub(super) fn refused(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    slot: Slot,
    (begin, key, mark): (&Begin, SessionKey, Mark),
    cause: Cause,
) -> Result<(), Refused> {
    let Some(hosted) = partition.chargers.get(slot) else { return Ok(()) };
    let charger = hosted.state().id.clone();
    let fingerprint = begin.credential.as_ref().map(|credential| delivery.node_config.fingerprint(credential));
    let new = New {
        id: SessionId::new(delivery.now.wall, partition.id, (delivery.node_config.random)()),
        at: begin.at,
        connector: begin.connector,
        key,
        register: begin.register.unwrap_or(Energy::ZERO),
    };
    let place = starts::place(delivery, &charger, &new, true)?;
    let known = Known {
        charger,
        power_max: begin.power_max,
        fingerprint: fingerprint.unwrap_or_else(|| NO_CREDENTIAL.into()),
        origin: Some(Box::new(origin(begin, mark))),
    };
    let cell = starts::insert(delivery, partition, slot, new, (known, place))?;
    sessions::deliver(delivery, partition, cell, Command::Quarantine(cause));
    Ok(())
}
