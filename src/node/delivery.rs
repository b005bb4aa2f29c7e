//! Delivers one input to the actors of a partition: their events are journaled under one permit, and their effects
//! are queued until these are durable.
//!
//! A meter reading passes here to its charger, its session and the journal.

use super::charger::Link;
use super::codes;
use super::fact;
use super::hosted::Slot;
use super::input::Input;
use super::log_lines;
use super::node_config::NodeConfig;
use super::output::Output;
use super::partition::Partition;
use super::reference::TimerTarget;
use super::reference::{ChargerRef, SessionRef};
use super::replay::charger_fact;
use super::reply::{Ordered, ReplyTo};
use super::routing;
use super::session::{Deliver, HostedSession, Pricing};
use super::session_record;
use super::timer_wheel::TimerWheel;
use crate::account;
use crate::account::account_processor;
use crate::charger;
use crate::journal::{OutputBuffer, Permit, RecordKind};
use crate::message::{
    ChargerHello, ChargerHelloAck, Code, FromCharger, Limit, MeterAck, ReceiptNotice, SessionMark, SessionPosition,
    Standing, StartSession, Terms, ToCharger,
};
use crate::metrics::STARTS_REFUSED;
use crate::payment;
use crate::session::{self, Command, Opening, Router, Session, Stage, Stop};
use crate::tariff::{Rating, Tariff};
use crate::units::{AccountId, Amount, Cost, Energy, Now, Power, SessionId, SessionKey};
use smallvec::SmallVec;
use std::sync::Arc;

/// The delivery of one input. The order is: decide, apply, append, queue, arm.
pub(super) struct Delivery<'a> {
    pub permit: Permit<'a>,
    pub gate: &'a mut OutputBuffer<Output>,
    pub timers: &'a mut TimerWheel<TimerTarget>,
    pub node_config: &'a NodeConfig,
    /// Index of the partition in its shard.
    pub local: u16,
    pub now: Now,
}

/// A start that its charger admits.
struct Admitted<'a> {
    id: SessionId,
    start: &'a StartSession,
    /// The most power of the connector.
    power_max: Power,
}

impl Delivery<'_> {
    /// Anything that is not a charger's message.
    pub fn take(&mut self, partition: &mut Partition, input: Input) {
        match input {
            Input::Answer(processor, answer) => self.answer(partition, processor, *answer),
            Input::Notification(processor, notification) => self.notification(partition, processor, notification),
            Input::NotSent(operation, attempt) => {
                self.payment(partition, operation.session(), payment::Command::NotSent { operation, attempt });
            }
            Input::ConnectionLost(operation, attempt) => {
                let command = payment::Command::ConnectionLost { operation, attempt };
                self.payment(partition, operation.session(), command);
            }
            Input::AskAccount(account, operation) => self.ask_account(partition, &account, &operation),
            Input::Order(account, command, reply) => self.order(partition, &account, *command, reply),
            Input::AskNumber(request) => self.number(partition, *request),
            Input::Numbered(numbered) => {
                let (family, turn, issued) = *numbered;
                self.numbered(partition, &family, turn, issued);
            }
            Input::StopSession(session, reason) => self.session_by_id(partition, session, Command::StopBy(reason)),
            Input::Late(session, command) => self.session_by_id(partition, session, *command),
            Input::OrderMoney(session, order, reply) => self.order_money(partition, session, order, reply),
            Input::Archived(session) => Delivery::archived(partition, &session),
            Input::Restored(session, tariff, said) => self.restored(partition, *session, &tariff, *said),
            Input::NotArchived(said) => self.unknown(*said),
            Input::TopUp(order, reply) => self.top_up(partition, *order, reply),
            Input::PageArchived(_, number) => partition.books.pages.archived(number),
            Input::Declared(processor, can) => self.declared(partition, &processor, &can),
            Input::DrainProcessor(processor, on, reply) => self.drain(partition, &processor, on, reply),
            Input::Settlement(part, reply) => self.settlement(partition, *part, reply),
            Input::Booked(booking) => self.booked(partition, &booking),
            Input::RevertBatch(key, reason, reply) => self.revert_batch(partition, &key, &reason, reply),
            Input::UnbookPart(key, part) => self.unbook_part(partition, &key, part),
            Input::Tell(_, charger, message) => self.queue(Output::Charger(charger, message)),
        }
    }

    /// A charger connected: it is described and linked, and gets the position of each of its sessions.
    pub fn hello(&mut self, partition: &mut Partition, slot: Slot, link: Link, hello: &ChargerHello) -> Option<Link> {
        let connectors =
            hello.connectors.iter().map(|info| charger::Connector { id: info.id, power_max: info.power_max }).collect();
        let description = charger::Description { connectors, firmware: hello.firmware.clone() };
        self.charger(partition, slot, charger::Command::Describe(description));
        let before = partition.chargers.get_mut(slot)?.set_link(Some(link));
        let hosted = partition.chargers.get(slot)?;
        let listed = |key: SessionKey| hello.sessions.iter().any(|mark| mark.session == key);
        let omitted: SmallVec<[_; 1]> = hosted.sessions().filter(|(key, _)| !listed(*key)).collect();
        for (key, cell) in omitted {
            self.omitted(partition, slot, key, cell);
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
        let sessions = hello
            .sessions
            .iter()
            .map(|mark| SessionPosition { session: mark.session, standing: standing(mark) })
            .collect();
        let ack = ChargerHelloAck { terms: Terms::CHARGER, server_time: self.now.wall, sessions };
        self.tell(slot, ToCharger::HelloAck(ack));
        let cells: SmallVec<[_; 1]> =
            partition.chargers.get(slot).iter().flat_map(|charger| charger.sessions()).collect();
        for (_, cell) in cells {
            self.session(partition, cell, Command::Reconnected);
        }
        for mark in &hello.sessions {
            self.receipt_again(partition, slot, mark.session);
        }
        before
    }

    /// A charger that was replaced or reset does not list an open session: it ends, and its connector is free.
    fn omitted(&mut self, partition: &mut Partition, slot: Slot, key: SessionKey, cell: Slot) {
        if let (Some(charger), Some(session)) = (partition.chargers.get(slot), partition.sessions.get(cell)) {
            let (charger, session) = (&charger.state().id, session.state().id);
            tracing::warn!(%charger, %session, key = key.0, "a charger no longer knows its session: it ends on its last total");
        }
        self.session(partition, cell, Command::Omitted);
    }

    /// A charger that is back without a receipt gets it again, once the session is closed.
    fn receipt_again(&mut self, partition: &Partition, slot: Slot, key: SessionKey) {
        let past = partition.chargers.get(slot).and_then(|charger| charger.state().past_session(key));
        let Some(past) = past.filter(|past| !past.refused) else { return };
        let cell = partition.find_session(past.session);
        match cell.and_then(|cell| partition.sessions.get(cell)).map(|session| &session.state().stage) {
            Some(Stage::Closed(ended)) => {
                let message = self.receipt(past.session, key, ended.payable, ended.cost);
                self.tell(slot, message);
            }
            Some(Stage::Authorizing | Stage::Charging { .. } | Stage::Settling(_)) => {}
            None => self.queue(Output::ReceiptAgain(self.charger_ref(slot), key, past.session)),
        }
    }

    fn receipt(&self, id: SessionId, session: SessionKey, total: Amount, cost: Cost) -> ToCharger {
        let url = self.node_config.receipt_url(id);
        ToCharger::Receipt(ReceiptNotice { session, total, cost, receipt: id.to_string().into(), url })
    }

    /// A charger's message, to the charger's actor or to that of its session.
    #[inline]
    pub fn charger_says(&mut self, partition: &mut Partition, slot: Slot, message: FromCharger) {
        match message {
            FromCharger::Reading { session, reading } => {
                self.for_session(partition, slot, session, Command::Reading(reading));
            }
            FromCharger::Stop { session, last, reason } => {
                let stop = Stop { last, reason: codes::reason(reason) };
                self.for_session(partition, slot, session, Command::Stop(stop));
            }
            FromCharger::Start(start) => self.start(partition, slot, start),
            FromCharger::Hello(_) => debug_assert!(false, "a hello binds a channel and comes another way"),
            FromCharger::Status(status) => {
                if let Some(hosted) = partition.chargers.get_mut(slot) {
                    hosted.set_status(status.connector, status.state);
                }
            }
        }
    }
}

impl Delivery<'_> {
    /// A start: admitted as a new session, recognised as a repetition, or refused.
    fn start(&mut self, partition: &mut Partition, slot: Slot, start: StartSession) {
        if let Some(code) = self.node_config.refuses(&start.credential) {
            return self.refuse_start(partition, slot, start.session, code);
        }
        let id = SessionId::new(self.now.wall, partition.id, (self.node_config.random)());
        let command = charger::Command::Start { key: start.session, connector: start.connector, proposed: id };
        for effect in self.charger(partition, slot, command) {
            match effect {
                charger::Effect::OpenSession { power_max } => {
                    self.open(partition, slot, &Admitted { id, start: &start, power_max })
                }
                charger::Effect::RepeatStart(_) => self.start_again(partition, slot, &start),
                charger::Effect::RepeatEnd(past) => {
                    let code = if past.refused { Code::CredentialDeclined } else { Code::SessionEnded };
                    self.refuse_start(partition, slot, start.session, code);
                }
                charger::Effect::Refuse(rejection) => {
                    self.refuse_start(partition, slot, start.session, codes::of_charger(rejection));
                }
            }
        }
    }

    /// The same start again; or, with another credential while energy flows, a further hold for the same session.
    fn start_again(&mut self, partition: &mut Partition, slot: Slot, start: &StartSession) {
        let session = partition.chargers.get(slot).and_then(|charger| charger.session(start.session));
        let hosted = session.and_then(|cell| partition.sessions.get(cell));
        let command = hosted.and_then(|hosted| {
            let state = hosted.state();
            let shown = self.node_config.fingerprint(&start.credential);
            if !matches!(state.stage, Stage::Charging { .. }) || state.fingerprint == *shown {
                return None;
            }
            let amount = session::first_hold(hosted.tariff(), hosted.policy());
            let route = self.node_config.route(&state.charger, (&start.credential, &shown), amount, &[]).ok()?;
            Some(Command::PresentAnotherCredential {
                credential: self.node_config.seal(state.id, start.credential.clone()),
                route,
            })
        });
        self.for_session(partition, slot, start.session, command.unwrap_or(Command::RepeatStart));
    }

    /// Opens a session: pins the tariff, selects a processor, and requests funds.
    fn open(&mut self, partition: &mut Partition, slot: Slot, admitted: &Admitted<'_>) {
        let Admitted { id, start, power_max } = *admitted;
        let Some(hosted) = partition.chargers.get(slot) else { return };
        let charger = hosted.state().id.clone();
        if let Err(doubt) = session::check_start(start.at, start.register, self.now.wall, &self.node_config.policy) {
            let text = format!("{doubt}: the start says {}, the gate's clock {}", start.at, self.now.wall);
            return self.refuse_start_with(partition, slot, start.session, (Code::StartImplausible, text));
        }
        let place = match self.node_config.tariffs.place(&charger, start.connector, start.at) {
            Ok(place) => place,
            Err(code) => return self.refuse_start(partition, slot, start.session, code),
        };
        let amount = session::first_hold(&place.tariff, &self.node_config.policy.of_tariff(&place.tariff));
        let fingerprint = self.node_config.fingerprint(&start.credential);
        let route = match self.node_config.route(&charger, (&start.credential, &fingerprint), amount, &[]) {
            Ok(route) => route,
            Err(reason) => {
                let refused = (routing::code_of(reason), reason.to_string());
                return self.refuse_start_with(partition, slot, start.session, refused);
            }
        };
        let Ok(rating) = Rating::open(&place.tariff, &place.zone, start.at, Energy::ZERO) else {
            return self.refuse_start(partition, slot, start.session, Code::NoTariff);
        };
        let opening = Opening {
            id,
            charger,
            connector: start.connector,
            key: start.session,
            at: start.at,
            heard_at: self.now.wall,
            register: start.register,
            power_max,
            tariff: place.tariff.hash(),
            zone: place.zone_name,
            fingerprint,
        };
        log_lines::begun(&opening, place.tariff.id().as_str());
        self.pin(partition, &place.tariff);
        // The partition's own copy: its reference count shows whether the tariff may be dropped.
        let tariff = partition.pinned(&opening.tariff).unwrap_or(place.tariff);
        let state = Session::new(&opening, rating, tariff.currency());
        let session = HostedSession::new(
            state,
            slot,
            Pricing { tariff, zone: place.zone },
            self.node_config.policy.clone(),
            self.now,
        );
        let cell = partition.insert_session(session);
        let opened = session::Event::Opened(Box::new(opening));
        partition.tally.count(&opened);
        self.append_session(id, &opened);
        self.project(
            partition,
            slot,
            cell,
            &charger::Event::SessionOpened { key: start.session, session: id, connector: start.connector },
        );
        let credential = self.node_config.seal(id, start.credential.clone());
        self.session(partition, cell, Command::Authorize { credential, route });
    }

    /// Delivers a reading or a stop to the session with this key.
    #[inline]
    fn for_session(&mut self, partition: &mut Partition, slot: Slot, key: SessionKey, command: Command) {
        let Some(hosted) = partition.chargers.get(slot) else { return };
        match hosted.session(key) {
            Some(cell) => self.session(partition, cell, command),
            None => self.for_past_session(partition, slot, key, &command),
        }
    }

    /// Handles messages for a session that is over. Its cell may be there until it is archived.
    #[cold]
    fn for_past_session(&mut self, partition: &mut Partition, slot: Slot, key: SessionKey, command: &Command) {
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
                Some(cell) => self.session(partition, cell, command.clone()),
                None => {
                    let late = Input::Late(past.session, Box::new(command.clone()));
                    self.queue(Output::LoadArchived(past.session, Box::new(late)));
                }
            },
            Some(past) if sequence <= past.sequence => {
                let ack = MeterAck { session: key, up_to: past.sequence, cost: None };
                self.tell(slot, ToCharger::MeterAck(ack));
            }
            _ => {
                let (code, text) = (codes::of_charger(rejection), rejection.to_string().into());
                self.tell(slot, ToCharger::SessionRejected { session: key, code, expected: None, text });
            }
        }
    }

    /// Delivers a command to a session, and carries out what it decided. A credential in it is sealed: the session keeps it.
    pub(super) fn session(&mut self, partition: &mut Partition, cell: Slot, command: Command) {
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
    fn carry_out(
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
    pub(super) fn session_by_id(&mut self, partition: &mut Partition, session: SessionId, command: Command) {
        if let Some(cell) = partition.find_session(session) {
            self.session(partition, cell, command);
        }
    }

    /// An operator's order.
    fn order(&mut self, partition: &mut Partition, id: &AccountId, command: account::Command, reply: ReplyTo) {
        let cell = partition.find_account(id).and_then(|cell| partition.accounts.get(cell));
        let open = cell.is_some_and(|hosted| matches!(hosted.state(), account::Account::Open(_)));
        // What is paid out cannot be debited any more: first it is known whether the cards' money stays.
        if matches!(command, account::Command::Close { .. }) && open && partition.top_ups.contests(id) {
            return self.reply(Some(reply), Ordered::Refused(account::Rejection::TopUpOpen));
        }
        self.account(partition, id, command, Some(reply));
    }

    pub(super) fn account(
        &mut self,
        partition: &mut Partition,
        id: &AccountId,
        command: account::Command,
        mut reply: Option<ReplyTo>,
    ) {
        let cell = partition.account(id);
        let Some(delivered) = partition.accounts.deliver(cell, command, self.now) else { return };
        let decided = partition.accounts.decided();
        for entry in &delivered.entries {
            partition.books.post(entry);
        }
        self.archive_pages(partition);
        for event in &decided.events {
            self.node_config.credentials.links().fold(id, event);
            self.permit.append(partition.id, RecordKind::AccountEvent, |bytes| fact::write(id, event, bytes));
        }
        for effect in decided.effects {
            match effect {
                account::Effect::Answer(answer) => match account_processor(id) {
                    Some(processor) => self.queue(Output::AccountAnswer(Box::new((processor, answer)))),
                    None => debug_assert!(false, "an account that was asked has a processor's name"),
                },
                account::Effect::Done { op: _, balance } => self.reply(reply.take(), Ordered::Done(balance)),
                account::Effect::Refused { op: _, rejection } => self.reply(reply.take(), Ordered::Refused(rejection)),
            }
        }
        if let Some(deadline) = delivered.deadline
            && partition.accounts.arm(cell, deadline)
        {
            self.timers.insert(TimerTarget::Account(self.local, cell), deadline);
        }
    }

    pub(super) fn reply(&mut self, reply: Option<ReplyTo>, ordered: Ordered) {
        if let Some(reply) = reply {
            self.queue(Output::Ordered(Box::new((reply, ordered))));
        }
    }

    /// A deadline has come.
    pub fn wake(&mut self, partition: &mut Partition, whom: TimerTarget) {
        match whom {
            TimerTarget::Session(_, cell) => {
                self.session(partition, cell, Command::Wake { silent: false, quiet: None })
            }
            TimerTarget::Account(_, cell) => {
                let id = partition.accounts.get(cell).and_then(|account| account.id().cloned());
                if let Some(id) = id {
                    self.account(partition, &id, account::Command::ExpirePromotions, None);
                }
            }
        }
    }

    /// Writes a tariff down before the first session of a partition that has it.
    pub(super) fn pin(&mut self, partition: &mut Partition, tariff: &Arc<Tariff>) {
        if partition.pinned(&tariff.hash()).is_none() {
            let (hash, text) = (tariff.hash(), tariff.source());
            self.permit.append(partition.id, RecordKind::TariffPinned, |bytes| fact::write_pinned(hash, text, bytes));
            partition.pin(tariff.clone());
        }
    }

    /// Repeats requests that were in flight when the process ended.
    pub fn resume(&mut self, partition: &mut Partition, cell: Slot) {
        if let Some(state) = partition.sessions.get(cell).map(HostedSession::state) {
            self.node_config.offline_authorizations.set(
                state.id,
                (&state.fingerprint, state.payment.currency()),
                state.payment.stands_in(),
            );
        }
        self.session(partition, cell, Command::Resume);
    }

    /// Delivers a command to a charger, journals its decision, and returns its effects.
    fn charger(
        &mut self,
        partition: &mut Partition,
        slot: Slot,
        command: charger::Command,
    ) -> SmallVec<[charger::Effect; 1]> {
        if partition.chargers.deliver(slot, command, self.now).is_none() {
            return SmallVec::new();
        }
        let decided = partition.chargers.decided();
        if let Some(hosted) = partition.chargers.get(slot) {
            for event in &decided.events {
                let id = &hosted.state().id;
                self.permit.append(partition.id, RecordKind::ChargerEvent, |bytes| fact::write(id, event, bytes));
            }
        }
        decided.effects
    }

    pub(super) fn append_session(&mut self, id: SessionId, event: &session::Event) {
        self.permit.append(id.partition(), RecordKind::SessionEvent, |bytes| session_record::write(id, event, bytes));
    }

    fn project(&mut self, partition: &mut Partition, slot: Slot, cell: Slot, event: &charger::Event) {
        if let Some(hosted) = partition.chargers.get_mut(slot) {
            hosted.project(event, cell);
        }
    }

    fn refuse_start(&mut self, partition: &Partition, slot: Slot, session: SessionKey, code: Code) {
        self.refuse_start_with(partition, slot, session, (code, code.meaning().to_owned()));
    }

    fn refuse_start_with(&mut self, partition: &Partition, slot: Slot, session: SessionKey, why: (Code, String)) {
        let (code, text) = why;
        STARTS_REFUSED.counter(&[&code.number().to_string()]).increment(1);
        if let Some(charger) = partition.chargers.get(slot) {
            log_lines::start_refused(&charger.state().id, session, code, &text);
        }
        self.tell(slot, ToCharger::StartRejected { session, code, text: text.into() });
    }

    fn tell(&mut self, slot: Slot, message: ToCharger) {
        self.queue(Output::Charger(self.charger_ref(slot), Box::new(message)));
    }

    fn charger_ref(&self, slot: Slot) -> ChargerRef {
        ChargerRef { partition: self.local, slot }
    }

    /// Full pages of the books are for the archive.
    pub fn archive_pages(&mut self, partition: &mut Partition) {
        while let Some(number) = partition.books.pages.hand_over() {
            self.queue(Output::ArchivePage(partition.id, number));
        }
    }

    /// Everything leaves through the gate, refusals included: they are computed from the state.
    pub(super) fn queue(&mut self, output: Output) {
        self.gate.push(self.permit.position(), output);
    }
}

fn cost_limit(limit: Amount) -> Limit {
    Limit { cost: Some(limit), energy: None, time: None }
}
