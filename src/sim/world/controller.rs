//! Chargers of a simulated world, each on its own connection or several behind a site controller. Those that speak OCPP have
//! connections of their own.

use crate::limits;
use crate::message::{Channel, FromCharger, Received, Subject, ToCharger};
use crate::sim::charger::{Charger, Finished};
use crate::sim::fleet::Outbox;
use crate::sim::ocpp::{LineError, OcppLine};
use crate::transport::websocket::{End, WebSocket};
use crate::units::rng::Rng;
use crate::units::{Mono, Now, Timestamp};
use crate::wire::{ChargerClientLink, LinkError};
use std::collections::BTreeSet;

/// One connection's worth of chargers.
pub(super) struct Controller {
    pub subject: Subject,
    pub chargers: Vec<Charger>,
    /// The connection that is up, and how it stands on this side.
    pub line: Option<u64>,
    link: Option<ChargerClientLink>,
    /// Its one charger speaks OCPP.
    pub ocpp: Option<Box<OcppLine>>,
    /// When each charger has something to do, by the chargers' clock.
    due: Vec<Option<Timestamp>>,
    /// Chargers that may have messages to send.
    dirty: BTreeSet<usize>,
    /// How far the chargers' clock is from the world's, in milliseconds.
    pub skew: i64,
    /// When the event queue will call next.
    pub wake: u64,
    /// It does not dial before this moment.
    pub offline_until: u64,
    failures: u32,
    rng: Rng,
}

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Over {
    #[error(transparent)]
    Native(#[from] LinkError),
    #[error(transparent)]
    Ocpp(#[from] LineError),
}

/// Messages of one charger in a turn.
const MESSAGES_PER_TURN: usize = 512;
/// Longest interval between two calls of an idle controller, in milliseconds.
const SLEEP_MAX: u64 = 60_000;

impl Controller {
    pub fn new(subject: Subject, chargers: Vec<Charger>, skew: i64, rng: Rng) -> Controller {
        let due = chargers.iter().map(Charger::next_deadline).collect();
        Controller {
            subject,
            chargers,
            line: None,
            link: None,
            ocpp: None,
            due,
            dirty: BTreeSet::new(),
            skew,
            wake: 0,
            offline_until: 0,
            failures: 0,
            rng,
        }
    }

    /// One charger that speaks OCPP.
    pub fn ocpp(subject: Subject, charger: Charger, line: OcppLine, (skew, rng): (i64, Rng)) -> Controller {
        Controller { ocpp: Some(Box::new(line)), ..Controller::new(subject, vec![charger], skew, rng) }
    }

    fn is_site(&self) -> bool {
        matches!(self.subject, Subject::Site(_))
    }

    fn channel(&self, index: usize) -> Channel {
        if self.is_site() { Channel(u32::try_from(index + 1).unwrap_or(u32::MAX)) } else { Channel::ZERO }
    }

    /// The clocks of this controller at a moment of the world.
    fn now(&self, world: Timestamp, ms: u64) -> Now {
        Now { wall: Timestamp::from_unix_ms(world.unix_ms().saturating_add(self.skew)), mono: Mono(ms) }
    }

    /// The connection is up: all chargers send Hello, one that speaks OCPP opens its WebSocket.
    pub fn connected(&mut self, line: u64, world: Timestamp, ms: u64, out: &mut Vec<u8>) {
        let now = self.now(world, ms);
        if let (Some(ocpp), Some(charger)) = (&mut self.ocpp, self.chargers.first_mut()) {
            let mask = u32::try_from(line & 0xffff_ffff).unwrap_or(0);
            ocpp.connected(charger, WebSocket::new(End::Client, compresses(line), limits::OCPP_MESSAGE_MAX, mask), now);
            self.line = Some(line);
            return;
        }
        let mut link = ChargerClientLink::new(now.mono);
        for index in 0..self.chargers.len() {
            let channel = self.channel(index);
            let hello = FromCharger::Hello(self.chargers[index].hello(now));
            link.send(channel, &hello, now.mono, out).expect("a Hello fits a frame");
        }
        (self.line, self.link) = (Some(line), Some(link));
    }

    /// The connection has ended: returns the pause before dialling, in milliseconds.
    pub fn disconnected(&mut self, ms: u64) -> u64 {
        (self.line, self.link) = (None, None);
        for charger in &mut self.chargers {
            match &mut self.ocpp {
                Some(ocpp) => ocpp.disconnected(charger, Mono(ms)),
                None => charger.disconnected(),
            }
        }
        self.failures = (self.failures + 1).min(7);
        let most = 500_u64 << self.failures;
        most / 2 + self.rng.below(most)
    }

    /// Processes bytes of the gate. An error ends the connection.
    ///
    /// # Errors
    /// The peer breaks the protocol, or has left.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        (world, ms): (Timestamp, u64),
        out: &mut Vec<u8>,
        finished: &mut dyn FnMut(&Charger, Finished),
    ) -> Result<(), Over> {
        let now = self.now(world, ms);
        if let (Some(ocpp), Some(charger)) = (&mut self.ocpp, self.chargers.first_mut()) {
            let outcome = ocpp.receive(charger, bytes, now, out);
            if ocpp.ocpp.is_ready() {
                self.failures = 0;
            }
            self.due[0] = charger.next_deadline();
            return Ok(outcome?);
        }
        let Some(link) = &mut self.link else { return Ok(()) };
        let mut messages = Vec::new();
        let mut outcome = link.receive(bytes, now, &mut messages);
        for Received { channel, message } in messages {
            let index = match (self.is_site(), channel.0.checked_sub(1)) {
                (true, Some(index)) => usize::try_from(index).unwrap_or(usize::MAX),
                (true, None) => continue,
                (false, _) => 0,
            };
            let Some(charger) = self.chargers.get_mut(index) else { continue };
            if let ToCharger::HelloAck(_) = message {
                self.failures = 0;
            }
            if let (ToCharger::GoAway(go), Ok(())) = (&message, &outcome) {
                // The gate has closed this channel, perhaps because the charger's shard is closed: the site connects again.
                outcome = Err(LinkError::Closed(go.code));
            }
            charger.on_message(message, now);
            for one in charger.take_finished() {
                finished(charger, one);
            }
            self.dirty.insert(index);
            self.due[index] = charger.next_deadline();
        }
        Ok(outcome?)
    }

    /// Carries out due actions, sends pending messages, and returns the time of the next call. An error ends the
    /// connection.
    pub fn drive(&mut self, world: Timestamp, ms: u64, out: &mut Vec<u8>) -> (u64, Result<(), Over>) {
        let now = self.now(world, ms);
        for index in 0..self.chargers.len() {
            if self.due[index].is_some_and(|at| at <= now.wall) {
                self.chargers[index].advance(now);
                self.due[index] = self.chargers[index].next_deadline();
                self.dirty.insert(index);
            }
        }
        let mut outcome: Result<(), Over> = Ok(());
        let mut deadline = None;
        if let (Some(ocpp), Some(charger)) = (&mut self.ocpp, self.chargers.first_mut()) {
            outcome = ocpp.drive(charger, now, out).map_err(Over::from);
            self.due[0] = charger.next_deadline();
            deadline = ocpp.next_deadline();
        }
        if self.link.as_ref().is_some_and(|link| link.next_deadline().is_some_and(|at| at <= now.mono)) {
            // Once per heartbeat all chargers check whether an unanswered start is to be repeated.
            self.dirty.extend(0..self.chargers.len());
        }
        let site = self.is_site();
        if let Some(link) = &mut self.link {
            let mut outbox = Outbox::default();
            while let Some(index) = self.dirty.pop_first() {
                self.chargers[index].take_messages(now.mono, MESSAGES_PER_TURN, &mut outbox.messages);
                if outbox.messages.is_empty() {
                    continue;
                }
                if outbox.messages.len() == MESSAGES_PER_TURN {
                    self.dirty.insert(index);
                }
                let channel = if site { Channel(u32::try_from(index + 1).unwrap_or(u32::MAX)) } else { Channel::ZERO };
                if outbox.send_all(link, channel, now, out).is_err() {
                    // The gate closed this channel: a new connection brings a new Hello.
                    outcome = Err(LinkError::Closed(crate::message::Code::ChannelUnknown).into());
                }
            }
            if outcome.is_ok() && link.next_deadline().is_some_and(|at| at <= now.mono) {
                outcome = link.on_deadline(now, out).map_err(Over::from);
            }
            deadline = link.next_deadline();
        }
        let chargers = self.due.iter().flatten().min();
        let chargers = chargers.map(|at| ms + u64::try_from(at.since(now.wall).ms().max(1)).unwrap_or(1));
        let next = [chargers, deadline.map(|at| at.0.max(ms + 1)), Some(ms + SLEEP_MAX)];
        (next.into_iter().flatten().min().unwrap_or(ms + SLEEP_MAX), outcome)
    }

    /// A charger is reset, or replaced by one with another meter.
    pub fn replace(&mut self, index: usize, world: Timestamp, ms: u64, other_meter: bool) {
        let now = self.now(world, ms);
        self.chargers[index].forget_everything(now, other_meter);
        if let Some(ocpp) = &mut self.ocpp {
            ocpp.ocpp.forget_everything(now.wall);
        }
        self.due[index] = self.chargers[index].next_deadline();
    }

    /// Admits no new drivers, and ends the running sessions.
    pub fn close(&mut self, world: Timestamp, ms: u64) {
        let now = self.now(world, ms);
        for (index, charger) in self.chargers.iter_mut().enumerate() {
            charger.close(now);
            self.due[index] = charger.next_deadline();
            self.dirty.insert(index);
        }
    }
}

/// Every second connection of a charger that speaks OCPP is compressed, at both ends.
pub(super) fn compresses(line: u64) -> bool {
    line.is_multiple_of(2)
}
