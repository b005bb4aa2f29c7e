//! The turn of a session: what it decides is journaled, posted and carried out.

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
use crate::session::{self, Command};
use crate::units::{Amount, Cost, SessionId, SessionKey};

impl Delivery<'_> {
    /// Delivers a command to a session, and carries out what it decided. A credential in it is sealed: the session keeps it.
    pub(in crate::node) fn session(&mut self, partition: &mut Partition, cell: Slot, command: Command) {
        let Some(delivered) = partition.sessions.deliver(cell, Deliver(command, self.node_config), self.now) else {
            return;
        };
        let decided = partition.sessions.decided();
        for entry in &delivered.entries {
            partition.books.post(entry);
        }
        self.archive_pages(partition);
        let Some(hosted) = partition.sessions.get(cell) else { return };
        let (id, key, slot) = (hosted.state().id, hosted.state().key, hosted.charger());
        if decided.events.iter().any(|event| matches!(event, session::Event::Payment(_))) {
            let state = hosted.state();
            self.node_config.offline_authorizations.set(
                id,
                (&state.fingerprint, state.payment.currency()),
                state.payment.stands_in(),
            );
        }
        for event in &decided.events {
            partition.tally.count(event);
            self.append_session(id, event);
            // Nearly every fact is a good reading, which is nothing to its charger.
            if matches!(event, session::Event::Metered(_)) {
                continue;
            }
            let hosted = partition.sessions.get(cell);
            if let Some(hosted) = hosted {
                log_lines::session(event, hosted.state());
            }
            if let Some(fact) = hosted.and_then(|hosted| charger_fact(event, hosted.state())) {
                self.project(partition, slot, cell, &fact);
            }
        }
        self.bill(partition, cell, &decided.events);
        for effect in decided.effects {
            self.carry_out(partition, SessionRef { cell, charger: slot, id, key }, effect);
        }
        if let Some(deadline) = delivered.deadline
            && partition.sessions.arm(cell, deadline)
        {
            self.timers.insert(TimerTarget::Session(self.local, cell), deadline);
        }
    }

    /// Queues a session's effects.
    pub(in crate::node) fn carry_out(
        &mut self,
        partition: &Partition,
        SessionRef { cell, charger: slot, id, key }: SessionRef,
        effect: session::Effect,
    ) {
        let message = match effect {
            session::Effect::MeterAck { up_to, running } => {
                let charger = self.charger_ref(slot);
                return self.queue(Output::MeterAck { charger, session: key, up_to, running });
            }
            session::Effect::Payment(effect) => {
                let of = partition.sessions.get(cell).map(HostedSession::state);
                return self.payment_effect(*effect, of.map(|of| (&of.payment, Some(&of.charger))));
            }
            session::Effect::Archive => return self.archive_if_closed(partition, id),
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
                return self.tell(slot, message);
            }
            session::Effect::LimitChanged(limit) => ToCharger::LimitChanged { session: key, limit: cost_limit(limit) },
            session::Effect::StopNow(reason) => {
                ToCharger::StopNow { session: key, reason: codes::order(reason), text: Box::default() }
            }
            session::Effect::Receipt { payable, cost } => self.receipt(id, key, payable, cost),
        };
        self.tell(slot, message);
    }

    /// Delivers a command to a session by its id. One that is not live has nothing left to decide.
    pub(in crate::node) fn session_by_id(&mut self, partition: &mut Partition, session: SessionId, command: Command) {
        if let Some(cell) = partition.find_session(session) {
            self.session(partition, cell, command);
        }
    }

    pub(in crate::node) fn receipt(&self, id: SessionId, session: SessionKey, total: Amount, cost: Cost) -> ToCharger {
        let url = self.node_config.receipt_url(id);
        ToCharger::Receipt(ReceiptNotice { session, total, cost, receipt: id.to_string().into(), url })
    }

    /// Repeats requests that were in flight when the process ended.
    pub(in crate::node) fn resume(&mut self, partition: &mut Partition, cell: Slot) {
        if let Some(state) = partition.sessions.get(cell).map(HostedSession::state) {
            self.node_config.offline_authorizations.set(
                state.id,
                (&state.fingerprint, state.payment.currency()),
                state.payment.stands_in(),
            );
        }
        self.session(partition, cell, Command::Resume);
    }

    pub(in crate::node) fn append_session(&mut self, id: SessionId, event: &session::Event) {
        self.permit.append(id.partition(), RecordKind::SessionEvent, |bytes| session_record::write(id, event, bytes));
    }

    pub(in crate::node) fn project(
        &mut self,
        partition: &mut Partition,
        slot: Slot,
        cell: Slot,
        event: &charger::Event,
    ) {
        if let Some(hosted) = partition.chargers.get_mut(slot) {
            hosted.project(event, cell);
        }
    }
}

fn cost_limit(limit: Amount) -> Limit {
    Limit { cost: Some(limit), energy: None, time: None }
}
