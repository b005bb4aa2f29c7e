//! Orders of operators to chargers: begin a session from afar, send a message now.
//!
//! An order is no fact: what a charger does of it comes back as facts of its sessions. So nothing is journaled, and an order
//! whose connection breaks is not repeated; its asker learns that the outcome is not known.

use super::{chargers, unnumbered};
use crate::charger;
use crate::message::{ChargerOrder, Numbering, ToCharger};
use crate::node::delivery::Delivery;
use crate::node::hosted::Slot;
use crate::node::partition::Partition;
use crate::node::reply::{Ordered, ReplyTo};
use crate::node::session::HostedSession;
use crate::units::ChargerId;

/// Passes an order to its charger, if it can be carried out.
pub(super) fn order(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    (charger, order): (ChargerId, ChargerOrder),
    reply: ReplyTo,
) {
    let Some(slot) = partition.find_charger(&charger) else {
        return delivery.reply(Some(reply), Ordered::NoCharger);
    };
    match check(delivery, partition, slot, &order) {
        Ok(()) => delivery.send(slot, ToCharger::Order { number: reply.into(), order: Box::new(order) }),
        Err(why) => delivery.reply(Some(reply), Ordered::Declined(why.into())),
    }
}

/// Registers the key of a charger's meter. The charger need not have connected yet.
pub(super) fn register_meter_key(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    charger: &ChargerId,
    der: Option<Box<[u8]>>,
    reply: ReplyTo,
) {
    let slot = partition.charger(charger);
    chargers::deliver(delivery, partition, slot, charger::Command::RegisterMeterKey(der));
    delivery.reply(Some(reply), Ordered::Noted);
}

/// Whether a charger can carry an order out, or why not.
fn check(delivery: &Delivery<'_>, partition: &Partition, slot: Slot, order: &ChargerOrder) -> Result<(), String> {
    let Some(hosted) = partition.chargers.get(slot) else { return Ok(()) };
    let charger = &hosted.state().id;
    if hosted.link().is_none() {
        return Err(format!("charger {charger} is not connected"));
    }
    if hosted.numbering() == Numbering::Charger {
        return Err(format!("charger {charger} speaks the native protocol, which has no such order; OCPP has"));
    }
    if let ChargerOrder::Start { connector, credential } = order {
        let at = |open: &&charger::OpenSession| connector.is_none_or(|connector| open.connector == connector);
        // A start that was refused, and of which no energy was reported, occupies nothing.
        let gives = |open: &&charger::OpenSession| {
            let session = open.cell.get().and_then(|cell| partition.sessions.get(cell)).map(HostedSession::state);
            session.is_none_or(|session| !session.is_unpaid() || session.is_orphan() || session.kept_energy().is_some())
        };
        let open = || hosted.state().open.iter().filter(gives);
        let all_occupied = connector.is_some() || hosted.state().described.connectors.len() <= open().count();
        if let Some(open) = open().find(at).filter(|_| all_occupied) {
            return Err(format!(
                "connector {} of charger {charger} is occupied by session {}",
                open.connector, open.session
            ));
        }
        if let Some(code) = unnumbered::would_refuse(delivery, partition, slot, credential) {
            return Err(format!("the credential would be refused: {}", code.meaning()));
        }
    }
    Ok(())
}
