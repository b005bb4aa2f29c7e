//! The turn of a session: what it decides is journaled, posted and carried out.

use super::{archive, documents, payments, unpaid};
use crate::charger;
use crate::journal::RecordKind;
use crate::message::{Limit, ReceiptNotice, ToCharger};
use crate::node::codes;
use crate::node::delivery::Delivery;
use crate::node::hosted::Slot;
use crate::node::log_lines;
use crate::node::output::Output;
use crate::node::partition::Partition;
use crate::node::reference::{SessionRef, TimerTarget};
use crate::node::replay::charger_fact;
use crate::node::session::{Deliver, HostedSession};
use crate::node::session_record;
use crate::session::{self, Command, Session, Stage};
use crate::units::{Amount, Cost, SessionId, SessionKey};

/// Delivers a command to a session, and carries out what it decided. A credential in it is sealed: the session keeps it.
pub(super) fn deliver(delivery: &mut Delivery<'_>, partition: &mut Partition, cell: Slot, command: Command) {
    let Some(delivered) = partition.sessions.deliver(cell, Deliver(command, delivery.node_config), delivery.now) else {
        return;
    };
    let decided = partition.sessions.decided();
    for entry in &delivered.entries {
        partition.books.post(entry);
    }
    let Some(hosted) = partition.sessions.get(cell) else { return };
    let (id, key, slot) = (hosted.state().id, hosted.state().key, hosted.charger());
    if decided.events.iter().any(|event| matches!(event, session::Event::Payment(_))) {
        note_offline_authorization(delivery, hosted.state());
    }
    for event in &decided.events {
        partition.tally.count(event);
        append(delivery, id, event);
        // Nearly every fact is a good reading, which is nothing to its charger.
        if matches!(event, session::Event::Metered(_)) {
            continue;
        }
        let hosted = partition.sessions.get(cell);
        if let Some(hosted) = hosted {
            log_lines::session(event, hosted.state());
        }
        if let Some(fact) = hosted.and_then(|hosted| charger_fact(event, hosted.state())) {
            project(partition, slot, cell, &fact);
        }
    }
    delivery.archive_pages(partition);
    documents::bill(delivery, partition, cell, &decided.events);
    let begins =
        |event: &session::Event| matches!(event, session::Event::Admitted { .. } | session::Event::Quarantined { .. });
    let adopts = decided.events.iter().any(begins);
    let ends = decided.events.iter().any(|event| matches!(event, session::Event::Ended(_)));
    // A fact of a closed session outdates its archived record: without another one it would stay in its cell.
    let is_closed = |hosted: &HostedSession| matches!(hosted.state().stage, Stage::Closed(_));
    let amended = !decided.events.is_empty() && partition.sessions.get(cell).is_some_and(is_closed);
    let is_archived = amended && decided.effects.contains(&session::Effect::Archive);
    for effect in decided.effects {
        carry_out(delivery, partition, SessionRef { cell, charger: slot, id, key }, effect);
    }
    if amended && !is_archived {
        archive::archive_if_closed(delivery, partition, id);
    }
    if let Some(deadline) = delivered.deadline
        && partition.sessions.arm(cell, deadline)
    {
        delivery.timers.insert(TimerTarget::Session(delivery.local, cell), deadline);
    }
    if adopts {
        unpaid::adopt(delivery, partition, cell);
    }
    if ends {
        unpaid::bill_by_policy(delivery, partition, cell);
    }
}

/// Counts a session that charges before its authorization is answered, or no longer does.
fn note_offline_authorization(delivery: &Delivery<'_>, session: &Session) {
    let Session { id, fingerprint, payment, .. } = session;
    delivery.node_config.offline_authorizations.set(*id, (fingerprint, payment.currency()), payment.stands_in());
}

/// Queues a session's effects.
fn carry_out(
    delivery: &mut Delivery<'_>,
    partition: &Partition,
    SessionRef { cell, charger: slot, id, key }: SessionRef,
    effect: session::Effect,
) {
    let message = match effect {
        session::Effect::MeterAck { up_to, running } => {
            let charger = delivery.charger_ref(slot);
            return delivery.queue(Output::MeterAck { charger, session: key, up_to, running });
        }
        session::Effect::Payment(effect) => {
            let of = partition.sessions.get(cell).map(HostedSession::state);
            return payments::carry_out(delivery, *effect, of.map(|of| (&of.payment, Some(&of.charger))));
        }
        session::Effect::Archive => return archive::archive_if_closed(delivery, partition, id),
        session::Effect::MeterRejected(rejection) => {
            let (code, expected) = (codes::of_session(rejection), rejection.expected());
            ToCharger::SessionRejected { session: key, code, expected, text: rejection.to_string().into() }
        }
        session::Effect::StartAccepted { limit } => {
            let price_text = match partition.sessions.get(cell) {
                Some(session) => session.price_text(),
                None => Box::default(),
            };
            ToCharger::StartAccepted { session: key, id, limit: cost_limit(limit), price_text }
        }
        session::Effect::StartRejected(reason) => {
            let code = codes::of_refused_start(reason);
            let message = ToCharger::StartRejected { session: key, code, text: code.meaning().into() };
            return delivery.send(slot, message);
        }
        session::Effect::LimitChanged(limit) => ToCharger::LimitChanged { session: key, limit: cost_limit(limit) },
        session::Effect::StopNow(reason) => {
            ToCharger::StopNow { session: key, reason: codes::order(reason), text: Box::default() }
        }
        session::Effect::Receipt { payable, cost } => receipt(delivery, id, key, payable, cost),
    };
    delivery.send(slot, message);
}

/// Delivers a command to a session by its id. One that is not live has nothing left to decide.
pub(super) fn deliver_by_id(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    session: SessionId,
    command: Command,
) {
    if let Some(cell) = partition.find_session(session) {
        deliver(delivery, partition, cell, command);
    }
}

/// The notice of a receipt, with where it can be read.
pub(super) fn receipt(
    delivery: &Delivery<'_>,
    id: SessionId,
    session: SessionKey,
    total: Amount,
    cost: Cost,
) -> ToCharger {
    let url = delivery.node_config.receipt_url(id);
    ToCharger::Receipt(ReceiptNotice { session, total, cost, receipt: id.to_string().into(), url })
}

/// Repeats requests that were in flight when the process ended.
pub(in crate::node) fn resume(delivery: &mut Delivery<'_>, partition: &mut Partition, cell: Slot) {
    if let Some(hosted) = partition.sessions.get(cell) {
        note_offline_authorization(delivery, hosted.state());
    }
    deliver(delivery, partition, cell, Command::Resume);
}

/// Journals a fact of a session.
pub(super) fn append(delivery: &mut Delivery<'_>, id: SessionId, event: &session::Event) {
    delivery.permit.append(id.partition(), RecordKind::SessionEvent, |bytes| session_record::write(id, event, bytes));
}

/// Applies a fact of a session to its charger.
pub(super) fn project(partition: &mut Partition, slot: Slot, cell: Slot, event: &charger::Event) {
    if let Some(hosted) = partition.chargers.get_mut(slot) {
        hosted.project(event, cell);
    }
}

fn cost_limit(limit: Amount) -> Limit {
    Limit { cost: Some(limit), energy: None, time: None }
}
