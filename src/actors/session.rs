//! The actor of a charging session: the shell around [`crate::session`].

use super::hosted::{Hostable, Hosted, Slot};
use super::{posting, snapshot};
use crate::billing::invoice::Issued;
use crate::ledger::Entry;
use crate::session::{self, Command, Effect, Event, Policy, Session, Stage, Surroundings};
use crate::tariff::Tariff;
use crate::units::{Mono, Now, TimeSpan};
use actix::{Actor, Handler, Message};
use jiff::tz::TimeZone;
use std::sync::Arc;

/// A charging session, hosted in its partition.
pub struct HostedSession {
    state: Session,
    /// The cell of its charger, in the same partition.
    charger: Slot,
    tariff: Arc<Tariff>,
    zone: TimeZone,
    policy: Arc<Policy>,
    /// When its charger was last heard.
    heard: Mono,
    /// When its payment wants to be woken.
    payment_due: Option<Mono>,
}

/// A command for a session.
pub struct Deliver(pub Command);

impl Message for Deliver {
    type Result = ();
}

impl HostedSession {
    /// A session in its cell.
    pub fn new(
        state: Session,
        charger: Slot,
        tariff: Arc<Tariff>,
        zone: TimeZone,
        policy: Arc<Policy>,
        now: Now,
    ) -> HostedSession {
        HostedSession { state, charger, tariff, zone, policy, heard: now.mono, payment_due: None }
    }

    /// What is known of it.
    pub fn state(&self) -> &Session {
        &self.state
    }

    /// The cell of its charger.
    pub fn charger(&self) -> Slot {
        self.charger
    }

    /// Its tariff.
    pub fn tariff(&self) -> &Arc<Tariff> {
        &self.tariff
    }

    /// The price in words, for the charger's display: the tariff's own text, where it has one.
    pub fn price_text(&self) -> Box<str> {
        self.tariff.alt_texts().first().map_or_else(Box::default, |text| text.text.as_str().into())
    }

    /// Folds a fact, live and while replaying, and hands over what follows from it for the books.
    pub fn fold(&mut self, event: &Event, post: &mut dyn FnMut(Entry)) {
        if let Event::Payment(fact) = event {
            posting::of_session(&self.state, &self.tariff, fact, post);
        }
        let ends = matches!(event, Event::Ended(_)) && self.state.ended().is_none();
        session::apply(&mut self.state, event);
        if ends {
            posting::of_end(&self.state, &self.tariff, post);
        }
    }

    /// Keeps a document that a series has numbered, live and while replaying.
    pub fn document(&mut self, issued: Issued) {
        self.state.documents.push(issued);
    }

    fn surroundings(&self, now: Now) -> Surroundings<'_> {
        Surroundings { now, tariff: &self.tariff, zone: &self.zone, policy: &self.policy }
    }

    /// When silence has lasted too long, if silence matters now.
    fn silence_deadline(&self) -> Option<Mono> {
        match &self.state.stage {
            Stage::Charging { .. } => Some(self.heard.after(self.silence_allowed())),
            Stage::Authorizing | Stage::Settling(_) | Stage::Closed(_) => None,
        }
    }

    fn silence_allowed(&self) -> TimeSpan {
        match self.state.meter.sequence {
            0 => self.policy.no_start,
            _ => self.policy.silence,
        }
    }
}

impl Actor for HostedSession {
    type Context = Hosted<HostedSession>;
}

impl Hostable for HostedSession {
    type Event = Event;
    type Effect = Effect;

    fn next_deadline(&self) -> Option<Mono> {
        [self.silence_deadline(), self.payment_due].into_iter().flatten().min()
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        snapshot::write(&self.state, bytes);
    }
}

impl Handler<Deliver> for HostedSession {
    type Result = ();

    fn handle(&mut self, Deliver(command): Deliver, context: &mut Hosted<HostedSession>) {
        let now = context.now();
        let command = match command {
            Command::Wake { .. } => Command::Wake { silent: self.silence_deadline().is_some_and(|at| at <= now.mono) },
            Command::Reading(_) | Command::Stop(_) | Command::RepeatStart => {
                self.heard = now.mono;
                command
            }
            Command::Begin { .. } | Command::Payment(_) | Command::StopBy(_) | Command::Resume => command,
        };
        let decision = session::decide(&self.state, command, &self.surroundings(now));
        for event in &decision.events {
            self.fold(event, &mut |entry| context.post(entry));
        }
        if !matches!(decision.events.as_slice(), [Event::Metered { .. }]) {
            self.payment_due = self.state.payment.arm(now, &self.policy.payment);
        }
        context.commit(decision);
    }
}
