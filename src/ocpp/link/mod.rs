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

mod answers;
mod calls;
mod displays;
mod forwarding;
mod orders;

use super::Version;
use super::call::{Call, Event, TokenAnswer};
use super::frame::{self, Frame};
use super::{v2, v16};
use crate::limits;
use crate::message::{
    Channel, ChargerHello, Code, FromCharger, Funds, Numbering, OrderNumber, OrderOutcome, Received, Ticket, ToCharger,
    Unnumbered,
};
use crate::payment::Credential;
use crate::units::{Amount, ChargerId, ConnectorId, Energy, Mono, Now, Power, SessionKey, TimeSpan, Timestamp};
use forwarding::Forwarding;
use serde_json::Value;
use std::borrow::Cow;
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
    /// There is a management system behind the gate, which answers what is not about money.
    pub is_forwarded: bool,
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
    /// Credentials that count as presented because the gate ordered a start with them.
    remote: VecDeque<Remote>,
    orders: VecDeque<Order>,
    /// The gate's call that is not answered yet.
    call: Option<Outstanding>,
    /// What became of orders, for the node.
    outcomes: Vec<(OrderNumber, OrderOutcome)>,
    display: Display,
    /// The management system behind the gate.
    behind: Option<Box<Forwarding>>,
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
    /// The management system is to answer, under this id; else the gate answers itself.
    Forwarded { id: Box<str>, own: Call },
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
    /// The token that was presented, for the display.
    token: Box<str>,
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
    Event {
        ends: bool,
        name: Box<str>,
        token: Token,
        /// The limit that overrules a higher one of the charger.
        limit: Option<Amount>,
    },
}

/// A session that is open, as far as this connection knows.
struct Known {
    session: SessionKey,
    name: Option<Box<str>>,
    /// When its stop was last ordered.
    ordered: Option<Mono>,
    /// The register that was reported last, for the display.
    register: Option<Energy>,
    /// When the display last got its cost.
    displayed: Option<Mono>,
    /// The most that it may cost, where that was sent.
    limit: Option<Amount>,
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
    about: About,
    action: Cow<'static, str>,
    payload: Value,
    since: Mono,
}

/// What a call of the gate is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    /// A session is to stop.
    Stop(SessionKey),
    /// An operator's order.
    Operator(OrderNumber),
    /// The call of the management system with this number.
    Forwarded(u64),
    /// Whether the charger shows costs.
    Configuration,
    /// What the display of a charger shows about a session; the running cost is replaced by the next one.
    Display(SessionKey, Shown),
}

/// What a display is to show.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Price,
    Running,
    Final,
}

/// A call of the gate that is not answered yet.
struct Outstanding {
    id: Box<str>,
    since: Mono,
    about: About,
}

impl Outstanding {
    /// How long its answer is waited for. A stop is not to wait long behind what a display shows.
    fn until(&self) -> Mono {
        self.since.after(match self.about {
            About::Stop(_) | About::Operator(_) => limits::OCPP_CALL_TIMEOUT,
            About::Forwarded(_) => limits::OCPP_FORWARDED_CALL_TIMEOUT,
            About::Configuration | About::Display(..) => limits::OCPP_DISPLAY_TIMEOUT,
        })
    }
}

/// A start that the gate ordered.
struct Remote {
    /// The gate's number for it, which later versions repeat in the events of the session.
    id: i64,
    credential: Credential,
    since: Mono,
    /// The transaction that it began.
    began: Option<Box<str>>,
}

/// Whether the charger shows costs (1.6: the messages of the OCA's paper on California's pricing requirements).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Display {
    /// Not known yet.
    Unknown,
    /// The charger is asked.
    Asked,
    /// It does.
    Shows,
    /// It does not, or has refused such a message.
    Absent,
}

impl OcppLink {
    /// A link after the handshake.
    pub fn new(settings: LinkSettings, now: Now) -> OcppLink {
        OcppLink {
            behind: settings.is_forwarded.then(Box::default),
            settings,
            began: now.wall,
            is_introduced: false,
            tickets: 0,
            calls: 0,
            waiting: VecDeque::new(),
            sessions: VecDeque::new(),
            early: VecDeque::new(),
            authorized: None,
            remote: VecDeque::new(),
            orders: VecDeque::new(),
            call: None,
            outcomes: Vec::new(),
            display: Display::Unknown,
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
                    let stage = match self.pass_behind(&action, &payload) {
                        Some(id) => Stage::Forwarded { id, own: call },
                        None => Stage::Unread(call),
                    };
                    self.waiting.push_back(Waiting { id, since: now.mono, stage });
                }
            }
            Ok(Frame::Send { action, payload }) => self.pass_unanswered(&action, &payload),
            Ok(Frame::Result { id, payload }) => {
                if let Some(call) = self.call.take_if(|call| call.id == id) {
                    self.call_answered(call.about, &payload);
                }
            }
            Ok(Frame::Error { id, code, description }) => {
                if let Some(call) = self.call.take_if(|call| call.id == id) {
                    self.call_refused(call.about, &code, &description);
                }
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
            ToCharger::Answer(answer) => self.answered(answer, now),
            ToCharger::StartAccepted { session, limit, price_text, .. } => {
                self.show_price(*session, price_text, now.mono);
                self.decided(*session, Decided { refused: None, held: limit.cost });
            }
            ToCharger::StartRejected { session, code, .. } => {
                self.decided(*session, Decided { refused: Some(*code), held: None });
            }
            ToCharger::StopNow { session, .. } => self.order_stop(*session, now.mono),
            ToCharger::Receipt(notice) => {
                self.forget(notice.session);
                self.show_final(notice, now.mono);
            }
            ToCharger::Order { number, order } => self.order(*number, order, now),
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
        let call = self.call.as_ref().map(Outstanding::until);
        [answer, call, self.own_answer_due(), self.orders_due()].into_iter().flatten().min()
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
        if let Some(call) = self.call.take_if(|call| call.until() <= now.mono) {
            self.call_unanswered(call.about);
        }
        self.answer_instead(now.mono);
        self.repeat_orders(now.mono);
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
            numbering: Numbering::Gate(self.settings.version.protocol()),
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

fn to_node(message: FromCharger) -> Received<FromCharger> {
    Received { channel: Channel::ZERO, message }
}

fn unnumbered(message: Unnumbered) -> Received<FromCharger> {
    to_node(FromCharger::Unnumbered(Box::new(message)))
}

/// A name that is kept: short, and without characters that are not seen.
fn name(text: &str) -> String {
    let mut name: String = text.chars().filter(|c| !c.is_control()).collect();
    while name.len() > limits::MESSAGE_NAME_MAX {
        name.pop();
    }
    name
}
