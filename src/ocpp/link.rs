//! The gate's end of a charger's connection.
//!
//! ```text
//!   call ─▶ waits for those before it ─▶ messages for the node, and a fence ─▶ (durable) ─▶ answer
//! ```
//!
//! Calls are taken one after the other, and answered in their order. What a call reports leaves as values of
//! [`message`](crate::message); its answer is written when the node says that all of it is durable. A call behind the beginning
//! of a session waits until it is decided whether energy may flow. A charger that does not wait for answers is not hurried: at
//! most [`limits::OCPP_CALLS_WAITING`] of its calls wait.
//!
//! The gate has one call of its own at a time. A charger that does not answer it in time is not asked again by the link; the
//! node repeats an order for as long as it holds.

use super::Version;
use super::call::{Call, Event, EventKind, Noted, Start, TokenAnswer};
use super::frame::{self, Frame};
use super::{v2, v16};
use crate::limits;
use crate::message::{
    Answer, Begin, Bill, Channel, ChargerHello, Code, ConnectorStatus, FromCharger, Funds, Numbering, Received,
    SessionName, StopReason, Ticket, ToCharger, Unnumbered,
};
use crate::payment::Credential;
use crate::units::{
    Amount, ChargerId, ConnectorId, Energy, MeterReading, Mono, Now, Power, SessionKey, TimeSpan, Timestamp,
};
use serde_json::{Value, json};
use std::collections::VecDeque;

/// What a link is like.
#[derive(Clone, Debug)]
pub struct LinkSettings {
    /// The charger, as its certificate or address names it.
    pub charger: ChargerId,
    /// The version that the two ends agreed on.
    pub version: Version,
    /// The most power of a connector; the protocols do not tell it.
    pub power_max: Power,
    /// How often the charger is to send a heartbeat.
    pub heartbeat: TimeSpan,
}

/// Why a link ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OcppError {
    /// The charger calls on and on without waiting for answers.
    #[error("more than {} calls wait for their answers", limits::OCPP_CALLS_WAITING)]
    TooManyCalls,
    /// The gate could not answer a call in time: the charger repeats it on its next connection.
    #[error("a call could not be answered within {} s", limits::OCPP_ANSWER_MAX.whole_secs())]
    Unanswered,
    /// The gate closed it before.
    #[error("closed from this side: {0}")]
    Closed(Code),
}

/// The gate's end of one connection of a charger.
pub struct OcppLink {
    settings: LinkSettings,
    /// When the connection began: the ids of the gate's calls begin with it, so that none comes twice.
    began: Timestamp,
    is_introduced: bool,
    tickets: u64,
    calls: u64,
    /// Calls that are not answered, in their order.
    waiting: VecDeque<Waiting>,
    sessions: VecDeque<Known>,
    /// Transactions that were reported without a credential.
    early: VecDeque<Early>,
    /// The last credential that would be taken, and when it was presented.
    authorized: Option<(Credential, Mono)>,
    orders: VecDeque<Order>,
    /// The gate's call that is not answered yet, and since when.
    call: Option<(Box<str>, Mono)>,
    closed: Option<Code>,
}

/// A call that is not answered.
struct Waiting {
    id: Box<str>,
    since: Mono,
    stage: Stage,
}

enum Stage {
    /// Waits for those before it.
    Unread(Call),
    /// The node is to say whether a credential would be taken.
    Authorizing { ticket: Ticket, credential: Credential },
    /// A session begins.
    Beginning(Beginning),
    /// What is left of an event whose session was decided on.
    Decided(Box<Event>, Token),
    /// The node is to say that everything is durable.
    Fenced { ticket: Ticket, answer: Fenced },
    /// It can be answered.
    Ready(String),
}

/// A session that begins by a call.
struct Beginning {
    ticket: Ticket,
    /// Its number, and whether it is new.
    session: Option<(SessionKey, bool)>,
    /// The event of a later version; none: the call is a StartTransaction.
    event: Option<Box<Event>>,
    /// What the account of the credential has is awaited.
    funds_follow: bool,
    funds: Option<Funds>,
    decided: Option<Decided>,
}

/// What is decided about a session that begins.
#[derive(Clone, Copy)]
struct Decided {
    refused: Option<Code>,
    /// What is held for it.
    held: Option<Amount>,
}

/// What is decided about the credential of an event, if it had one.
type Token = Option<TokenAnswer>;

/// How a call is answered when everything is durable.
enum Fenced {
    Plain(Value),
    Event { ends: bool, name: Box<str>, token: Token },
}

/// A session that is open, as far as this connection knows.
struct Known {
    session: SessionKey,
    name: Option<Box<str>>,
    /// When its stop was last ordered.
    ordered: Option<Mono>,
}

/// A transaction that was reported without a credential.
struct Early {
    name: Box<str>,
    stated: Box<str>,
    connector: Option<ConnectorId>,
    register: Option<Energy>,
}

/// A call of the gate that waits for those before it.
struct Order {
    session: SessionKey,
    action: &'static str,
    payload: Value,
}

impl OcppLink {
    /// A link after the handshake.
    pub fn new(settings: LinkSettings, now: Now) -> OcppLink {
        OcppLink {
            settings,
            began: now.wall,
            is_introduced: false,
            tickets: 0,
            calls: 0,
            waiting: VecDeque::new(),
            sessions: VecDeque::new(),
            early: VecDeque::new(),
            authorized: None,
            orders: VecDeque::new(),
            call: None,
            closed: None,
        }
    }

    /// The charger.
    pub fn charger(&self) -> &ChargerId {
        &self.settings.charger
    }

    /// Takes one message. Values for the node are appended to `messages`, messages for the charger to `reply`.
    ///
    /// # Errors
    /// [`OcppError`]: the connection is to be closed; what was appended is still good.
    pub fn receive(
        &mut self,
        text: &[u8],
        now: Now,
        messages: &mut Vec<Received<FromCharger>>,
        reply: &mut Vec<String>,
    ) -> Result<(), OcppError> {
        if let Some(code) = self.closed {
            return Err(OcppError::Closed(code));
        }
        self.introduce(now, messages);
        match frame::read(text) {
            Ok(Frame::Call { id, action, payload }) => {
                // The same call again while it is under way: one answer is enough, and two end some chargers.
                if !self.waiting.iter().any(|waiting| waiting.id == id) {
                    if self.waiting.len() >= limits::OCPP_CALLS_WAITING {
                        return Err(OcppError::TooManyCalls);
                    }
                    let call = self.read(&action, &payload, now.wall);
                    self.waiting.push_back(Waiting { id, since: now.mono, stage: Stage::Unread(call) });
                }
            }
            Ok(Frame::Send { .. }) => {}
            Ok(Frame::Result { id, .. } | Frame::Error { id, .. }) => {
                self.call.take_if(|(call, _)| *call == id);
            }
            Err(error) => reply.push(frame::error(error.id(), error.code(self.settings.version), &error.to_string())),
        }
        self.advance(now, messages, reply);
        Ok(())
    }

    /// Takes a message of the node: calls may be answered by it, and others may go on; these go on in
    /// [`OcppLink::on_deadline`], which is due at once then.
    pub fn send(&mut self, message: &ToCharger, now: Now, reply: &mut Vec<String>) {
        match message {
            ToCharger::Answer(answer) => self.answered(answer, now.wall),
            ToCharger::StartAccepted { session, limit, .. } => {
                self.decided(*session, Decided { refused: None, held: limit.cost });
            }
            ToCharger::StartRejected { session, code, .. } => {
                self.decided(*session, Decided { refused: Some(*code), held: None });
            }
            ToCharger::StopNow { session, .. } => self.order_stop(*session, now.mono),
            ToCharger::Receipt(notice) => self.forget(notice.session),
            ToCharger::GoAway(go) => self.closed = Some(go.code),
            ToCharger::HelloAck(_)
            | ToCharger::MeterAck(_)
            | ToCharger::LimitChanged { .. }
            | ToCharger::SessionRejected { .. }
            | ToCharger::HeartbeatAck { .. } => {}
        }
        self.flush(now.mono, reply);
    }

    /// When [`OcppLink::on_deadline`] is to be called next.
    pub fn next_deadline(&self) -> Option<Mono> {
        if !self.is_introduced || self.may_go_on() {
            return Some(Mono(0));
        }
        let answer = self.waiting.front().map(|waiting| waiting.since.after(limits::OCPP_ANSWER_MAX));
        let call = self.call.as_ref().map(|(_, since)| since.after(limits::OCPP_CALL_TIMEOUT));
        [answer, call].into_iter().flatten().min()
    }

    /// Time has passed, or a message of the node let calls go on.
    ///
    /// # Errors
    /// [`OcppError::Unanswered`]: the connection is to be closed.
    pub fn on_deadline(
        &mut self,
        now: Now,
        messages: &mut Vec<Received<FromCharger>>,
        reply: &mut Vec<String>,
    ) -> Result<(), OcppError> {
        self.introduce(now, messages);
        self.call.take_if(|(_, since)| since.after(limits::OCPP_CALL_TIMEOUT) <= now.mono);
        self.advance(now, messages, reply);
        match self.waiting.front() {
            Some(waiting) if waiting.since.after(limits::OCPP_ANSWER_MAX) <= now.mono => Err(OcppError::Unanswered),
            _ => Ok(()),
        }
    }

    /// Gives the node the charger of this link, before anything else.
    fn introduce(&mut self, now: Now, messages: &mut Vec<Received<FromCharger>>) {
        if !std::mem::replace(&mut self.is_introduced, true) {
            messages.push(to_node(FromCharger::Hello(self.hello(now, ""))));
        }
    }

    fn hello(&self, now: Now, firmware: &str) -> ChargerHello {
        ChargerHello {
            charger: self.settings.charger.clone(),
            numbering: Numbering::Gate,
            connectors: Vec::new(),
            firmware: firmware.into(),
            clock: now.wall,
            sessions: Vec::new(),
        }
    }

    fn read(&self, action: &str, payload: &Value, now: Timestamp) -> Call {
        match self.settings.version {
            Version::V16 => v16::read(action, payload, now),
            version @ (Version::V201 | Version::V21) => v2::read(version, action, payload, now),
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }
}

/// Calls of the charger.
impl OcppLink {
    /// The call that is next to be taken.
    fn next(&self) -> Option<usize> {
        for (place, waiting) in self.waiting.iter().enumerate() {
            match waiting.stage {
                Stage::Unread(_) | Stage::Decided(..) => return Some(place),
                Stage::Beginning(_) => return None,
                Stage::Authorizing { .. } | Stage::Fenced { .. } | Stage::Ready(_) => {}
            }
        }
        None
    }

    fn may_go_on(&self) -> bool {
        self.next().is_some()
    }

    /// Takes calls until one has to wait, and writes what can be answered.
    fn advance(&mut self, now: Now, messages: &mut Vec<Received<FromCharger>>, reply: &mut Vec<String>) {
        while let Some(place) = self.next() {
            let Some(waiting) = self.waiting.get_mut(place) else { break };
            let stage = std::mem::replace(&mut waiting.stage, Stage::Ready(String::new()));
            let id = waiting.id.clone();
            let stage = match stage {
                Stage::Unread(call) => self.take(&id, call, now, messages),
                Stage::Decided(event, token) => self.report(*event, token, messages),
                other @ (Stage::Authorizing { .. } | Stage::Beginning(_) | Stage::Fenced { .. } | Stage::Ready(_)) => {
                    other
                }
            };
            if let Some(waiting) = self.waiting.get_mut(place) {
                waiting.stage = stage;
            }
        }
        self.flush(now.mono, reply);
    }

    /// Takes one call.
    fn take(&mut self, id: &str, call: Call, now: Now, messages: &mut Vec<Received<FromCharger>>) -> Stage {
        let ready = |payload: Value| Stage::Ready(frame::result(id, &payload));
        match call {
            Call::Boot { firmware } => {
                messages.push(to_node(FromCharger::Hello(self.hello(now, &name(&firmware)))));
                let interval = self.settings.heartbeat.whole_secs();
                ready(json!({"currentTime": now.wall.to_rfc3339(), "interval": interval, "status": "Accepted"}))
            }
            Call::Heartbeat => ready(json!({"currentTime": now.wall.to_rfc3339()})),
            Call::Status { connector, state, at } => {
                if let (Some(connector), Some(state)) = (connector, state) {
                    let status = ConnectorStatus { connector, state, at, text: Box::default() };
                    let power_max = self.settings.power_max;
                    messages.push(unnumbered(Unnumbered::Status { status, power_max }));
                }
                ready(json!({}))
            }
            Call::Authorize { credential: None } => {
                let token = TokenAnswer::new(Some(Code::CredentialNotAccepted));
                ready(self.authorized_as(&token, now.wall))
            }
            Call::Authorize { credential: Some(credential) } => {
                let ticket = self.ticket();
                messages.push(unnumbered(Unnumbered::Authorize { ticket, credential: credential.clone() }));
                Stage::Authorizing { ticket, credential }
            }
            Call::Start(start) => self.begin_16(*start, messages),
            Call::Readings { session: None, .. } => ready(json!({})),
            Call::Readings { session: Some(session), readings } => {
                sample(&session, readings, messages);
                self.fence(Some(session), Fenced::Plain(json!({})), messages)
            }
            Call::Stop { session, readings, reason, has_token } => {
                end(&session, readings, reason, messages);
                let answer = if has_token { v16::authorized(&TokenAnswer::default()) } else { json!({}) };
                self.fence(Some(session), Fenced::Plain(answer), messages)
            }
            Call::Event(event) => self.event(*event, now, messages),
            Call::Noted(noted) => ready(match noted {
                Noted::Empty => json!({}),
                Noted::UnknownVendor => json!({"status": "UnknownVendorId"}),
                Noted::Rejected => json!({"status": "Rejected"}),
                Noted::Accepted => json!({"status": "Accepted"}),
            }),
            Call::Refused { is_known } => {
                let code = if is_known { "NotSupported" } else { "NotImplemented" };
                Stage::Ready(frame::error(id, code, "this is not served here"))
            }
        }
    }

    fn authorized_as(&self, token: &TokenAnswer, now: Timestamp) -> Value {
        match self.settings.version {
            Version::V16 => v16::authorized(token),
            Version::V201 | Version::V21 => v2::authorized(token, now),
        }
    }

    /// A StartTransaction. One without a token that can be read begins a session that is refused: it needs a number.
    fn begin_16(&mut self, start: Start, messages: &mut Vec<Received<FromCharger>>) -> Stage {
        let Start { connector, credential, at, register } = start;
        let begin = Begin {
            ticket: self.ticket(),
            name: None,
            stated: at.text,
            is_first: true,
            protocol: self.settings.version.protocol(),
            connector,
            power_max: self.settings.power_max,
            credential,
            at: at.at,
            register,
        };
        let beginning = Beginning::new(begin.ticket, None);
        messages.push(unnumbered(Unnumbered::Begin(Box::new(begin))));
        Stage::Beginning(beginning)
    }

    /// A TransactionEvent: it begins a session when its transaction has a credential for the first time.
    fn event(&mut self, event: Event, now: Now, messages: &mut Vec<Received<FromCharger>>) -> Stage {
        let known = self.sessions.iter().any(|known| known.name.as_deref() == Some(&*event.name));
        let begins = match event.kind {
            EventKind::Started => true,
            EventKind::Updated => !known,
            EventKind::Ended => false,
        };
        let presented = || {
            let (credential, at) = self.authorized.as_ref()?;
            // Some chargers present a credential in an Authorize only.
            (event.is_charging && at.after(limits::OCPP_AUTHORIZED_MAX) > now.mono).then(|| credential.clone())
        };
        let credential = begins.then(|| event.credential.clone().or_else(presented)).flatten();
        let Some(credential) = credential else {
            if event.kind == EventKind::Started {
                self.remember_early(&event);
            }
            let refused = event.credential.is_none().then_some(Code::CredentialNotAccepted);
            let token = event.has_token.then(|| TokenAnswer::new(refused));
            return self.report(event, token, messages);
        };
        let early = self.early.iter().position(|early| early.name == event.name);
        let early = early.and_then(|place| self.early.remove(place));
        let (mut event, ticket) = (event, self.ticket());
        let register = event.begin.or(early.as_ref().and_then(|early| early.register));
        let register = match register {
            Some(register) => Some(register),
            // The first value that is reported is the one at the beginning.
            None if !event.readings.is_empty() => Some(event.readings.remove(0).register),
            None => None,
        };
        let begin = Begin {
            ticket,
            name: Some(event.name.clone()),
            stated: early.as_ref().map_or_else(|| event.at.text.clone(), |early| early.stated.clone()),
            is_first: event.kind == EventKind::Started,
            protocol: self.settings.version.protocol(),
            connector: event.connector.or(early.and_then(|early| early.connector)).unwrap_or(ConnectorId(1)),
            power_max: self.settings.power_max,
            credential: Some(credential),
            at: event.at.at,
            register,
        };
        messages.push(unnumbered(Unnumbered::Begin(Box::new(begin))));
        Stage::Beginning(Beginning::new(ticket, Some(Box::new(event))))
    }

    fn remember_early(&mut self, event: &Event) {
        self.early.retain(|early| early.name != event.name);
        if self.early.len() >= limits::OCPP_SESSIONS_KNOWN {
            self.early.pop_front();
        }
        self.early.push_back(Early {
            name: event.name.clone(),
            stated: event.at.text.clone(),
            connector: event.connector,
            register: event.begin.or(event.readings.first().map(|reading| reading.register)),
        });
    }

    /// What an event reports, when it is decided whether its session may have energy.
    fn report(&mut self, event: Event, token: Token, messages: &mut Vec<Received<FromCharger>>) -> Stage {
        let session = SessionName::Text(event.name.clone());
        match event.kind {
            EventKind::Started | EventKind::Updated => sample(&session, event.readings, messages),
            EventKind::Ended => end(&session, event.readings, event.reason, messages),
        }
        let answer = Fenced::Event { ends: event.kind == EventKind::Ended, name: event.name, token };
        self.fence(Some(session), answer, messages)
    }

    fn fence(
        &mut self,
        session: Option<SessionName>,
        answer: Fenced,
        messages: &mut Vec<Received<FromCharger>>,
    ) -> Stage {
        let ticket = self.ticket();
        messages.push(unnumbered(Unnumbered::Fence { ticket, session }));
        Stage::Fenced { ticket, answer }
    }
}

impl Beginning {
    fn new(ticket: Ticket, event: Option<Box<Event>>) -> Beginning {
        Beginning { ticket, session: None, event, funds_follow: false, funds: None, decided: None }
    }

    /// The session and what is decided about its credential, when all of it has come.
    fn outcome(&self) -> Option<(SessionKey, TokenAnswer)> {
        let ((session, is_new), Decided { refused, held }) = (self.session?, self.decided?);
        let Some(funds) = &self.funds else {
            return (!self.funds_follow).then(|| (session, TokenAnswer::new(refused)));
        };
        // A hold that was there before is not in what is available now.
        let held = held.filter(|_| !is_new);
        let limit = funds.available.map(|available| match held.map(|held| available.checked_add(held)) {
            Some(Ok(limit)) => limit,
            Some(Err(_)) | None => available,
        });
        Some((session, TokenAnswer { limit, ..TokenAnswer::with(refused, funds) }))
    }
}

/// Answers of the node.
impl OcppLink {
    fn answered(&mut self, answer: &Answer, now: Timestamp) {
        match answer {
            Answer::Authorized { ticket, refused } => self.authorized(*ticket, &TokenAnswer::new(*refused), now),
            Answer::Funds { ticket, funds } => {
                self.authorized(*ticket, &TokenAnswer::with(funds.refused, funds), now);
                self.change_beginning(|beginning| {
                    (beginning.ticket == *ticket).then(|| beginning.funds = Some(funds.clone())).is_some()
                });
            }
            Answer::Begun { ticket, session, is_new, funds_follow } => {
                let mut name = None;
                self.change_beginning(|beginning| {
                    if beginning.ticket != *ticket {
                        return false;
                    }
                    (beginning.session, beginning.funds_follow) = (Some((*session, *is_new)), *funds_follow);
                    name = Some(beginning.event.as_ref().map(|event| event.name.clone()));
                    true
                });
                if let Some(name) = name {
                    self.know(*session, name);
                }
            }
            Answer::Passed { ticket, bill } => self.passed(*ticket, *bill, now),
            Answer::Open { session, name } => self.know(*session, name.clone()),
        }
    }

    fn authorized(&mut self, ticket: Ticket, token: &TokenAnswer, now: Timestamp) {
        let payload = self.authorized_as(token, now);
        for waiting in &mut self.waiting {
            if let Stage::Authorizing { ticket: of, credential } = &waiting.stage
                && *of == ticket
            {
                self.authorized = token.refused.is_none().then(|| (credential.clone(), waiting.since));
                waiting.stage = Stage::Ready(frame::result(&waiting.id, &payload));
                return;
            }
        }
    }

    fn decided(&mut self, session: SessionKey, decided: Decided) {
        if decided.refused.is_some() {
            self.forget(session);
        }
        self.change_beginning(|beginning| {
            let is_it = beginning.session.is_some_and(|(of, _)| of == session);
            is_it.then(|| beginning.decided = Some(decided)).is_some()
        });
    }

    /// Changes the beginning that `change` knows, and lets its call go on when everything is known.
    fn change_beginning(&mut self, mut change: impl FnMut(&mut Beginning) -> bool) {
        for waiting in &mut self.waiting {
            let Stage::Beginning(beginning) = &mut waiting.stage else { continue };
            if !change(beginning) {
                continue;
            }
            if let Some((session, token)) = beginning.outcome() {
                waiting.stage = match beginning.event.take() {
                    None => Stage::Ready(frame::result(&waiting.id, &v16::started(session, &token))),
                    Some(event) => {
                        let token = event.has_token.then_some(token);
                        Stage::Decided(event, token)
                    }
                };
            }
            return;
        }
    }

    fn passed(&mut self, ticket: Ticket, bill: Option<Bill>, now: Timestamp) {
        let version = self.settings.version;
        let mut ended = None;
        for waiting in &mut self.waiting {
            let Stage::Fenced { ticket: of, answer } = &waiting.stage else { continue };
            if *of != ticket {
                continue;
            }
            let payload = match answer {
                Fenced::Plain(payload) => payload.clone(),
                Fenced::Event { ends, name, token } => {
                    ended = ends.then(|| name.clone());
                    // Of a session that goes on after the end of its transaction nothing final is known.
                    let bill = bill.filter(|bill| bill.is_final || !ends);
                    v2::event_answered(version, bill, token.as_ref(), now)
                }
            };
            waiting.stage = Stage::Ready(frame::result(&waiting.id, &payload));
            break;
        }
        if let Some(name) = ended {
            self.sessions.retain(|known| known.name.as_ref() != Some(&name));
        }
        if let Some(bill) = bill.filter(|bill| bill.is_final) {
            self.forget(bill.session);
        }
    }

    fn know(&mut self, session: SessionKey, name: Option<Box<str>>) {
        self.sessions.retain(|known| known.session != session && (name.is_none() || known.name != name));
        if self.sessions.len() >= limits::OCPP_SESSIONS_KNOWN {
            self.sessions.pop_front();
        }
        self.sessions.push_back(Known { session, name, ordered: None });
    }

    /// A session is over: nothing is ordered for it any more.
    fn forget(&mut self, session: SessionKey) {
        self.sessions.retain(|known| known.session != session);
        self.orders.retain(|order| order.session != session);
    }
}

/// Calls of the gate.
impl OcppLink {
    /// Orders a stop, not more often than a charger can carry it out.
    fn order_stop(&mut self, session: SessionKey, now: Mono) {
        let known = self.sessions.iter_mut().find(|known| known.session == session);
        let (action, payload) = match (self.settings.version, &known) {
            (Version::V16, _) => v16::stop(session),
            (Version::V201 | Version::V21, Some(Known { name: Some(name), .. })) => v2::stop(name),
            // A stop of a transaction whose name is not known cannot be ordered.
            (Version::V201 | Version::V21, _) => return,
        };
        if let Some(known) = known {
            let again = known.ordered.is_none_or(|ordered| ordered.after(limits::OCPP_STOP_AGAIN) <= now);
            if !again {
                return;
            }
            known.ordered = Some(now);
        }
        if self.orders.len() < limits::OCPP_SESSIONS_KNOWN {
            self.orders.push_back(Order { session, action, payload });
        }
    }

    /// Writes the answers that are next, and a call of the gate when none is under way.
    fn flush(&mut self, now: Mono, reply: &mut Vec<String>) {
        while matches!(self.waiting.front(), Some(Waiting { stage: Stage::Ready(_), .. })) {
            if let Some(Waiting { stage: Stage::Ready(text), .. }) = self.waiting.pop_front() {
                reply.push(text);
            }
        }
        if self.call.is_none()
            && let Some(order) = self.orders.pop_front()
        {
            self.calls += 1;
            let id = format!("w{:x}-{}", self.began.unix_ms(), self.calls);
            reply.push(frame::call(&id, order.action, &order.payload));
            self.call = Some((id.into(), now));
        }
    }
}

fn to_node(message: FromCharger) -> Received<FromCharger> {
    Received { channel: Channel::ZERO, message }
}

fn unnumbered(message: Unnumbered) -> Received<FromCharger> {
    to_node(FromCharger::Unnumbered(Box::new(message)))
}

fn sample(session: &SessionName, readings: Vec<MeterReading>, messages: &mut Vec<Received<FromCharger>>) {
    for reading in readings {
        messages.push(unnumbered(Unnumbered::Sample { session: session.clone(), reading }));
    }
}

/// The last reading ends the session.
fn end(
    session: &SessionName,
    mut readings: Vec<MeterReading>,
    reason: StopReason,
    messages: &mut Vec<Received<FromCharger>>,
) {
    let last = readings.pop();
    sample(session, readings, messages);
    messages.push(unnumbered(Unnumbered::End { session: session.clone(), last, reason }));
}

/// A name that is kept: short, and without characters that are not seen.
fn name(text: &str) -> String {
    let mut name: String = text.chars().filter(|c| !c.is_control()).collect();
    while name.len() > limits::MESSAGE_NAME_MAX {
        name.pop();
    }
    name
}
