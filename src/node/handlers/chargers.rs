//! Messages of chargers. A meter reading passes here to its session.

use super::{sessions, starts, unnumbered};
use crate::charger;
use crate::journal::RecordKind;
use crate::message::{
    ChargerHello, ChargerHelloAck, ConnectorInfo, ConnectorState, FromCharger, MeterAck, Numbering, SessionMark,
    SessionPosition, Standing, Terms, ToCharger,
};
use crate::node::charger::Link;
use crate::node::codes;
use crate::node::delivery::Delivery;
use crate::node::fact;
use crate::node::hosted::Slot;
use crate::node::input::Input;
use crate::node::output::Output;
use crate::node::partition::Partition;
use crate::session::{Command, Stage, Stop};
use crate::units::{ConnectorId, SessionKey};
use smallvec::SmallVec;

/// A charger connected: it is described and linked, and gets the position of each of its sessions.
pub(in crate::node) fn hello(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    slot: Slot,
    link: Link,
    hello: &ChargerHello,
) -> Option<Link> {
    let description = match hello.numbering {
        Numbering::Charger => {
            let connector = |info: &ConnectorInfo| charger::Connector { id: info.id, power_max: info.power_max };
            let connectors = hello.connectors.iter().map(connector).collect();
            charger::Description { connectors, firmware: hello.firmware.clone() }
        }
        Numbering::Gate(_) => unnumbered::description(partition, slot, &hello.firmware),
    };
    deliver(delivery, partition, slot, charger::Command::Describe(description));
    let hosted = partition.chargers.get_mut(slot)?;
    hosted.set_numbering(hello.numbering);
    let before = hosted.set_link(Some(link));
    partition.take_late(slot);
    partition.missing.chargers.back(&slot);
    deliver(delivery, partition, slot, charger::Command::Connected);
    let hosted = partition.chargers.get(slot)?;
    let listed = |key: SessionKey| hello.sessions.iter().any(|mark| mark.session == key);
    // A charger whose sessions the gate numbers lists none.
    let lists = hello.numbering == Numbering::Charger;
    let omitted: SmallVec<[_; 1]> = hosted.sessions().filter(|(key, _)| lists && !listed(*key)).collect();
    for (key, cell) in omitted {
        omit(delivery, partition, slot, key, cell);
    }
    let hosted = partition.chargers.get(slot)?;
    let standing = |mark: &SessionMark| match hosted.session(mark.session) {
        Some(session) => match partition.sessions.get(session) {
            Some(session) => Standing::Open { durable: session.state().meter.sequence },
            None => Standing::Unknown,
        },
        None => match hosted.state().past_session(mark.session) {
            // Its session was ended without messages, and the charger has more readings: they are requested.
            Some(past) if past.sequence > 0 && mark.last_sequence > past.sequence => {
                let live = partition.find_session(past.session).and_then(|cell| partition.sessions.get(cell));
                Standing::Open { durable: live.map_or(past.sequence, |live| live.state().meter.sequence) }
            }
            Some(past) => Standing::Over { durable: past.sequence },
            None => Standing::Unknown,
        },
    };
    let sessions =
        hello.sessions.iter().map(|mark| SessionPosition { session: mark.session, standing: standing(mark) }).collect();
    let ack = ChargerHelloAck { terms: Terms::CHARGER, server_time: delivery.now.wall, sessions };
    delivery.send(slot, ToCharger::HelloAck(ack));
    let cells: SmallVec<[_; 1]> = partition.chargers.get(slot).iter().flat_map(|charger| charger.sessions()).collect();
    for (key, cell) in cells {
        if let Numbering::Gate(_) = hello.numbering {
            unnumbered::open_session(delivery, partition, slot, (key, cell));
        }
        sessions::deliver(delivery, partition, cell, Command::Reconnected);
    }
    for mark in &hello.sessions {
        receipt_again(delivery, partition, slot, mark.session);
    }
    before
}

/// A charger that was replaced or reset does not list an open session: it ends, and its connector is free.
fn omit(delivery: &mut Delivery<'_>, partition: &mut Partition, slot: Slot, key: SessionKey, cell: Slot) {
    if let (Some(charger), Some(session)) = (partition.chargers.get(slot), partition.sessions.get(cell)) {
        let (charger, session) = (&charger.state().id, session.state().id);
        tracing::warn!(%charger, %session, key = key.0, "a charger no longer knows its session: it ends on its last total");
    }
    sessions::deliver(delivery, partition, cell, Command::Omitted);
}

/// A charger that is back without a receipt gets it again, once the session is closed.
fn receipt_again(delivery: &mut Delivery<'_>, partition: &Partition, slot: Slot, key: SessionKey) {
    let past = partition.chargers.get(slot).and_then(|charger| charger.state().past_session(key));
    let Some(past) = past.filter(|past| !past.refused) else { return };
    let cell = partition.find_session(past.session);
    match cell.and_then(|cell| partition.sessions.get(cell)).map(|session| &session.state().stage) {
        Some(Stage::Closed(ended)) => {
            let message = sessions::receipt(delivery, past.session, key, ended.payable, ended.cost);
            delivery.send(slot, message);
        }
        Some(Stage::Authorizing | Stage::Charging { .. } | Stage::Settling(_)) => {}
        None => delivery.queue(Output::ReceiptAgain(delivery.charger_ref(slot), key, past.session)),
    }
}

/// A charger's message, to the charger's actor or to that of its session.
#[inline]
pub(in crate::node) fn message(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    slot: Slot,
    message: FromCharger,
) {
    match message {
        FromCharger::Reading { session, reading } => {
            for_session(delivery, partition, slot, session, Command::Reading(reading));
        }
        FromCharger::Stop { session, last, reason } => {
            let stop = Stop { last, reason: codes::reason(reason) };
            for_session(delivery, partition, slot, session, Command::Stop(stop));
        }
        FromCharger::Start(start) => starts::start(delivery, partition, slot, start),
        FromCharger::Hello(_) => debug_assert!(false, "a hello binds a channel and comes another way"),
        FromCharger::Status(status) => {
            report(delivery, partition, slot, (status.connector, status.state));
        }
        FromCharger::Unnumbered(message) => unnumbered::message(delivery, partition, slot, *message),
    }
}

/// A charger reported the state of a connector.
pub(super) fn report(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    slot: Slot,
    (connector, state): (ConnectorId, ConnectorState),
) {
    if let Some(hosted) = partition.chargers.get_mut(slot) {
        hosted.set_status(connector, state);
    }
    let is_faulted = state == ConnectorState::Faulted;
    deliver(delivery, partition, slot, charger::Command::Report { connector, is_faulted });
}

/// A charger has been without a connection for too long.
pub(in crate::node) fn absent(delivery: &mut Delivery<'_>, partition: &mut Partition, slot: Slot) {
    if partition.chargers.get(slot).is_some_and(|hosted| hosted.link().is_none()) {
        deliver(delivery, partition, slot, charger::Command::Absent);
    }
}

/// Delivers a reading or a stop to the session with this key.
#[inline]
pub(super) fn for_session(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    slot: Slot,
    key: SessionKey,
    command: Command,
) {
    let Some(hosted) = partition.chargers.get(slot) else { return };
    match hosted.session(key) {
        Some(cell) => sessions::deliver(delivery, partition, cell, command),
        None => for_past_session(delivery, partition, slot, key, &command),
    }
}

/// Handles messages for a session that is over. Its cell may be there until it is archived.
#[cold]
fn for_past_session(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    slot: Slot,
    key: SessionKey,
    command: &Command,
) {
    let Some(hosted) = partition.chargers.get(slot) else { return };
    let rejection = match charger::route(hosted.state(), key) {
        Ok(_) => return,
        Err(rejection) => rejection,
    };
    let sequence = match command {
        Command::Reading(reading) => reading.sequence,
        Command::Stop(stop) => stop.last.sequence,
        _ => 0,
    };
    match hosted.state().past_session(key).copied() {
        Some(past) if past.sequence > 0 && sequence > past.sequence => match partition.find_session(past.session) {
            Some(cell) => sessions::deliver(delivery, partition, cell, command.clone()),
            None => {
                let late = Input::Late(past.session, Box::new(command.clone()));
                delivery.queue(Output::LoadArchived(past.session, Box::new(late)));
            }
        },
        Some(past) if sequence <= past.sequence => {
            let ack = MeterAck { session: key, up_to: past.sequence, cost: None };
            delivery.send(slot, ToCharger::MeterAck(ack));
        }
        _ => {
            let (code, text) = (codes::of_charger(rejection), rejection.to_string().into());
            delivery.send(slot, ToCharger::SessionRejected { session: key, code, expected: None, text });
        }
    }
}

/// Delivers a command to a charger, journals its decision, and returns its effects.
pub(super) fn deliver(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    slot: Slot,
    command: charger::Command,
) -> SmallVec<[charger::Effect; 1]> {
    if partition.chargers.deliver(slot, command, delivery.now).is_none() {
        return SmallVec::new();
    }
    let decided = partition.chargers.decided();
    if let Some(hosted) = partition.chargers.get(slot) {
        for event in &decided.events {
            let id = &hosted.state().id;
            delivery.permit.append(partition.id, RecordKind::ChargerEvent, |bytes| fact::write(id, event, bytes));
        }
    }
    decided.effects
}
