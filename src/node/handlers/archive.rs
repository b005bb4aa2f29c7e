//! Sessions and pages of the books that went into the archive, and archived sessions that are restored for a message.

use super::sessions;
use crate::message::{self, Code, ToCharger};
use crate::node::delivery::Delivery;
use crate::node::input::Input;
use crate::node::output::Output;
use crate::node::partition::Partition;
use crate::node::reply::Ordered;
use crate::node::session::HostedSession;
use crate::node::snapshot::insert_session;
use crate::session::{self, Session, Stage};
use crate::tariff::Tariff;
use crate::units::SessionId;
use std::sync::Arc;

/// A closed session is durable in the archive: its cell is vacated, unless it changed meanwhile, or its money is
/// in progress again (a late approval that is being released, a refund): then its timers are still needed.
pub(super) fn archived(partition: &mut Partition, archived: &Session) {
    let cell = partition.find_session(archived.id).and_then(|cell| partition.sessions.get(cell));
    let waits = partition.requests.waits(archived.id);
    if cell.is_some_and(|live| live.state() == archived && archived.payment.is_settled() && !waits) {
        partition.remove_session(archived.id);
    }
}

/// An archived session is live again, for a message that concerns it; it is archived again afterwards.
pub(super) fn restored(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    session: Session,
    tariff: &str,
    message: Input,
) {
    let id = session.id;
    if partition.find_session(id).is_none() {
        // Its tariff may have been dropped since.
        if partition.pinned(&session.tariff).is_none() {
            match Tariff::parse_pinned(tariff) {
                Ok(tariff) => delivery.pin(partition, &Arc::new(tariff)),
                Err(error) => tracing::error!(session = %id, %error, "an archived session's tariff cannot be read"),
            }
        }
        let fact = session::Event::Restored(Box::new(session.clone()));
        let (policy, now) = (delivery.node_config.policy.clone(), delivery.now);
        let restored = insert_session(partition, session, |session, charger, pricing| {
            HostedSession::new(session, charger, pricing, policy, now)
        });
        match restored {
            Ok(_) => sessions::append(delivery, id, &fact),
            Err(error) => {
                tracing::error!(session = %id, %error, "an archived session cannot live again");
                return not_archived(delivery, message);
            }
        }
    }
    super::take(delivery, partition, message);
    archive_if_closed(delivery, partition, id);
}

/// Handles a processor's message about an unknown operation.
pub(super) fn not_archived(delivery: &mut Delivery<'_>, message: Input) {
    let (processor, callback, code) = match message {
        Input::Answer(processor, answer) => (processor, answer.callback, Code::OperationUnknown),
        Input::Notification(processor, notification) => (processor, notification.callback, Code::HoldUnknown),
        Input::LateFence(_, fence) => {
            let passed = ToCharger::Answer(message::Answer::Passed { ticket: fence.ticket, bill: None });
            return delivery.queue(Output::Charger(fence.charger, Box::new(passed)));
        }
        Input::OrderMoney(_, _, reply) | Input::Review(_, _, reply) => {
            return delivery.reply(Some(reply), Ordered::NoSession);
        }
        _ => return,
    };
    delivery.queue(Output::Callback { processor, callback, refused: Some(code) });
}

/// Puts a closed session away, unless a document of it waits for its number: then that is done when it has it.
pub(super) fn archive_if_closed(delivery: &mut Delivery<'_>, partition: &Partition, id: SessionId) {
    let hosted = partition.find_session(id).and_then(|cell| partition.sessions.get(cell));
    let closed = hosted.filter(|hosted| matches!(hosted.state().stage, Stage::Closed(_)));
    if let Some(closed) = closed
        && !partition.requests.waits(id)
    {
        delivery.queue(Output::Archive(Box::new(closed.state().clone())));
    }
}
