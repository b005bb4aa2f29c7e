//! A hostile charger's connection, driven message by message.

use super::{Field, Trouble};
use crate::message::{
    Channel, ChargerHello, Code, ConnectorInfo, FromCharger, Received, SessionMark, StartSession, StopReason, Subject,
    ToCharger,
};
use crate::payment::{Credential, CredentialKind};
use crate::sim::pipe::{Duplex, Pipe, PipeEvent};
use crate::units::{
    ChargerId, Clock, ConnectorId, Energy, MeterReading, Power, SessionId, SessionKey, SiteId, Timestamp,
};
use crate::wire::{ChargerClientLink, LinkError, MeterValues};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A connection as a charger or a site controller.
pub struct ChargerLine {
    pipe: Pipe,
    link: ChargerClientLink,
    clock: Arc<dyn Clock>,
    came: VecDeque<Received<ToCharger>>,
    ended: Option<Ended>,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The gate's code, if it sent one.
    pub code: Option<Code>,
    /// As text.
    pub text: String,
}

/// What comes next on a connection.
#[derive(Clone, Debug)]
pub enum Incoming<Message> {
    /// A message.
    Message(Message),
    /// The gate ended the connection.
    Ended(Ended),
    /// Nothing, for as long as was waited.
    Nothing,
}

/// How long an answer is waited for.
pub const ANSWER: Duration = Duration::from_secs(20);

impl Ended {
    pub(super) fn of(error: &LinkError) -> Ended {
        let code = match error {
            LinkError::PeerLeft(go) => Some(go.code),
            _ => None,
        };
        Ended { code, text: error.to_string() }
    }

    /// As one word, for counts.
    pub fn word(&self) -> String {
        self.code.map_or("closed".to_owned(), |code| format!("closed with {}", code.number()))
    }
}

impl ChargerLine {
    /// Over a stream.
    pub fn over(stream: Box<dyn Duplex>, field: &Field) -> ChargerLine {
        let clock = Arc::clone(&field.ways.clock);
        let link = ChargerClientLink::new(clock.now().mono);
        ChargerLine { pipe: Pipe::new(stream), link, clock, came: VecDeque::new(), ended: None }
    }

    /// Connects as a charger.
    ///
    /// # Errors
    /// [`Trouble`]: the gate cannot be reached, or refuses what must be accepted.
    pub async fn dial(field: &Field, id: &ChargerId) -> Result<ChargerLine, Trouble> {
        Ok(ChargerLine::over(field.dial(&Subject::Charger(id.clone())).await?, field))
    }

    /// Connects as a site controller.
    ///
    /// # Errors
    /// [`Trouble`]: the gate cannot be reached, or refuses what must be accepted.
    pub async fn dial_site(field: &Field, id: &SiteId) -> Result<ChargerLine, Trouble> {
        Ok(ChargerLine::over(field.dial(&Subject::Site(id.clone())).await?, field))
    }

    /// Connects as a charger and is greeted.
    ///
    /// # Errors
    /// [`Trouble`]: the gate cannot be reached, or refuses what must be accepted.
    pub async fn greeted(field: &Field, id: &ChargerId, power: Power) -> Result<ChargerLine, Trouble> {
        let mut line = ChargerLine::dial(field, id).await?;
        line.send(&FromCharger::Hello(hello(id, power, field.now().wall, Vec::new())));
        loop {
            match line.receive(ANSWER).await {
                Incoming::Message(ToCharger::HelloAck(_)) => return Ok(line),
                // Receipts of earlier sessions may come first.
                Incoming::Message(_) => {}
                Incoming::Ended(ended) => return Err(Trouble(ended.text)),
                Incoming::Nothing => return Err(Trouble("no greeting in time".to_owned())),
            }
        }
    }

    /// Sends a message on channel 0.
    pub fn send(&mut self, message: &FromCharger) {
        self.send_on(Channel::ZERO, message);
    }

    /// Sends a message on a channel, unless it exceeds a frame.
    pub fn send_on(&mut self, channel: Channel, message: &FromCharger) {
        let _ = self.link.send(channel, message, self.clock.now().mono, self.pipe.out());
    }

    /// Sends readings of one session, in as few frames as possible.
    pub fn send_readings(&mut self, session: u64, readings: &[MeterReading]) {
        let now = self.clock.now().mono;
        let values = MeterValues { session: SessionKey(session), readings };
        let _ = self.link.send_readings(Channel::ZERO, values, now, self.pipe.out());
    }

    /// Sends raw bytes.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.pipe.out().extend_from_slice(bytes);
    }

    /// The next message on any channel; heartbeats are kept up meanwhile.
    pub async fn receive(&mut self, within: Duration) -> Incoming<ToCharger> {
        match self.receive_on(within).await {
            Incoming::Message(received) => Incoming::Message(received.message),
            Incoming::Ended(ended) => Incoming::Ended(ended),
            Incoming::Nothing => Incoming::Nothing,
        }
    }

    /// The next message with its channel.
    pub async fn receive_on(&mut self, within: Duration) -> Incoming<Received<ToCharger>> {
        let until = Instant::now() + within;
        loop {
            if let Some(received) = self.came.pop_front() {
                return Incoming::Message(received);
            }
            if let Some(ended) = &self.ended {
                return Incoming::Ended(ended.clone());
            }
            let mut messages = Vec::new();
            let outcome = match self.pipe.turn(until).await {
                Ok(PipeEvent::Bytes(bytes)) => self.link.receive(bytes, self.clock.now(), &mut messages),
                Ok(PipeEvent::Sent) => Ok(()),
                Ok(PipeEvent::Time) => return Incoming::Nothing,
                Err(error) => {
                    self.ended = Some(Ended { code: None, text: error.to_string() });
                    Ok(())
                }
            };
            self.came.extend(messages);
            if let Err(error) = outcome {
                self.ended = Some(Ended::of(&error));
            }
            let now = self.clock.now();
            if self.link.next_deadline().is_some_and(|at| at <= now.mono) {
                let _ = self.link.on_deadline(now, self.pipe.out());
            }
        }
    }

    /// Whether the gate has ended the connection, once everything that came before was read.
    pub async fn is_closed(&mut self, within: Duration) -> bool {
        let until = Instant::now() + within;
        loop {
            match self.receive(until.saturating_duration_since(Instant::now())).await {
                Incoming::Message(_) => {}
                Incoming::Ended(_) => return true,
                Incoming::Nothing => return false,
            }
        }
    }

    /// Begins a session: the gate's id for it, or why it is refused.
    ///
    /// # Errors
    /// The gate refused the start, or did not answer in time.
    pub async fn start(&mut self, start: StartSession) -> Result<SessionId, Refused> {
        let key = start.session;
        self.send(&FromCharger::Start(start));
        loop {
            match self.receive(ANSWER).await {
                Incoming::Message(ToCharger::StartAccepted { session, id, .. }) if session == key => return Ok(id),
                Incoming::Message(ToCharger::StartRejected { session, code, .. }) if session == key => {
                    return Err(Refused::Code(code));
                }
                Incoming::Message(_) => {}
                Incoming::Ended(ended) => return Err(Refused::Ended(ended)),
                Incoming::Nothing => return Err(Refused::NoAnswer),
            }
        }
    }

    /// Ends a session and waits until that is durable, or until it is known that it is not.
    pub async fn stop(&mut self, session: u64, last: MeterReading) -> Incoming<ToCharger> {
        let key = SessionKey(session);
        self.send(&FromCharger::Stop { session: key, last, reason: StopReason::Local });
        loop {
            match self.receive(ANSWER).await {
                Incoming::Message(message) => match &message {
                    ToCharger::MeterAck(ack) if ack.session == key && ack.up_to >= last.sequence => {
                        return Incoming::Message(message);
                    }
                    ToCharger::SessionRejected { session, .. } if *session == key => return Incoming::Message(message),
                    ToCharger::Receipt(receipt) if receipt.session == key => return Incoming::Message(message),
                    _ => {}
                },
                other => return other,
            }
        }
    }
}

/// Why a start is refused.
#[derive(Clone, Debug)]
pub enum Refused {
    /// By this code.
    Code(Code),
    /// The connection ended.
    Ended(Ended),
    /// Nothing was answered.
    NoAnswer,
}

/// How a charger with one connector introduces itself.
pub fn hello(id: &ChargerId, power: Power, clock: Timestamp, sessions: Vec<SessionMark>) -> ChargerHello {
    ChargerHello {
        numbering: Default::default(),
        charger: id.clone(),
        connectors: vec![ConnectorInfo { id: ConnectorId(1), power_max: power }],
        firmware: "1.0".into(),
        clock,
        sessions,
    }
}

/// A start at connector 1.
pub fn start(session: u64, kind: CredentialKind, token: &[u8], at: Timestamp, register: Energy) -> StartSession {
    StartSession {
        session: SessionKey(session),
        connector: ConnectorId(1),
        credential: Credential { kind, token: token.into() },
        at,
        register,
    }
}

/// A reading without power.
pub fn reading(sequence: u32, at: Timestamp, register: Energy) -> MeterReading {
    MeterReading { sequence, at, register, power: None, current: None }
}

/// The name of an attacker's charger.
///
/// # Errors
/// [`Trouble`]: the gate cannot be reached, or refuses what must be accepted.
pub fn charger_id(field: &Field, number: u64) -> Result<ChargerId, Trouble> {
    ChargerId::new(&field.peer_name(number)).map_err(Trouble::of)
}
