//! Sessions and pages of the books that went into the archive, and archived sessions that are restored for a message.

use crate::message::Code;
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

impl Delivery<'_> {
    /// A closed session is durable in the archive: its cell is vacated, unless it changed meanwhile, or its money is
    /// in progress again (a late approval that is being released, a refund): then its timers are still needed.
    pub(in crate::node) fn archived(partition: &mut Partition, archived: &Session) {
        let cell = partition.find_session(archived.id).and_then(|cell| partition.sessions.get(cell));
        let waits = partition.requests.waits(archived.id);
        if cell.is_some_and(|live| live.state() == archived && archived.payment.is_settled() && !waits) {
            partition.remove_session(archived.id);
        }
    }

    /// An archived session is live again, for a message that concerns it; it is archived again afterwards.
    pub(in crate::node) fn restored(&mut self, partition: &mut Partition, session: Session, tariff: &str, said: Input) {
        let id = session.id;
        if partition.find_session(id).is_none() {
            // Its tariff may have been dropped since.
            if partition.pinned(&session.tariff).is_none() {
                match Tariff::parse_pinned(tariff) {
                    Ok(tariff) => self.pin(partition, &Arc::new(tariff)),
                    Err(error) => tracing::error!(session = %id, %error, "an archived session's tariff cannot be read"),
                }
            }
            let fact = session::Event::Restored(Box::new(session.clone()));
            let (policy, now) = (self.node_config.policy.clone(), self.now);
            let restored = insert_session(partition, session, |session, charger, pricing| {
                HostedSession::new(session, charger, pricing, policy, now)
            });
            match restored {
                Ok(_) => self.append_session(id, &fact),
                Err(error) => {
                    tracing::error!(session = %id, %error, "an archived session cannot live again");
                    return self.unknown(said);
                }
            }
        }
        self.take(partition, said);
        self.archive_if_closed(partition, id);
    }

    /// Handles a processor's message about an unknown operation.
    pub(in crate::node) fn unknown(&mut self, said: Input) {
        let (processor, callback, code) = match said {
            Input::Answer(processor, answer) => (processor, answer.callback, Code::OperationUnknown),
            Input::Notification(processor, notification) => (processor, notification.callback, Code::HoldUnknown),
            Input::OrderMoney(_, _, reply) => return self.reply(Some(reply), Ordered::NoSession),
            _ => return,
        };
        self.queue(Output::Callback { processor, callback, refused: Some(code) });
    }

    /// Puts a closed session away, unless a document of it waits for its number: then that is done when it has it.
    pub(in crate::node) fn archive_if_closed(&mut self, partition: &Partition, id: SessionId) {
        let hosted = partition.find_session(id).and_then(|cell| partition.sessions.get(cell));
        let closed = hosted.is_some_and(|hosted| matches!(hosted.state().stage, Stage::Closed(_)));
        if closed && !partition.requests.waits(id) {
            self.queue(Output::Archive(id));
        }
    }
}
