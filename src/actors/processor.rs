//! The actor of a payment processor: its connections, what is on its way to it, and whose answers come back.
//!
//! A processor holds one or more connections, and its work is spread over them. The actor keeps nothing that has to
//! survive: what an operation is, and whether it is still waited for, is the session's to know. An operation that no
//! connection can take comes straight back as "not sent".
//!
//! Its methods are all there is to it; as an actix actor it only has a mailbox in addition. A simulator calls the methods.

use super::charger::ConnectionId;
use super::house::Listed;
use super::shard::Input;
use crate::limits;
use crate::payment::{Answer, CallbackId, Capabilities, HoldCapabilities, Notification, Operation};
use crate::units::{OpId, ProcessorId};
use crate::wire::{Code, ToProcessor};
use actix::{Actor, AsyncContext, Context, Handler, Message};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// The way back to a processor's connection.
pub trait ProcessorOutlet: Send + Sync {
    /// Sends a message. `false`: the connection is closed, and nothing of the message has left.
    fn send(&self, message: &ToProcessor) -> bool;

    /// The connection may read on.
    fn resume(&self);
}

/// What a processor's actor sees of the house.
pub trait Reach: Send + Sync {
    /// Whether there is a shard that an input is for.
    fn reaches(&self, input: &Input) -> bool;

    /// Hands an input to its shard; it comes back when there is no room now.
    fn post(&self, input: Input) -> Result<(), Input>;

    /// Lists a processor for new sessions, or (with `None`) no longer.
    fn list(&self, id: &ProcessorId, listed: Option<&Listed>);
}

/// A processor's connection said hello.
pub struct Connected {
    /// Which connection.
    pub connection: ConnectionId,
    /// The way back.
    pub outlet: Arc<dyn ProcessorOutlet>,
    /// What the processor declared on it.
    pub capabilities: Capabilities,
}

/// A processor's connection is gone.
pub struct Disconnected(pub ConnectionId);

/// What came in one reading of a processor's connection; it reads no further until that is taken.
pub struct Callbacks {
    /// Which connection.
    pub connection: ConnectionId,
    /// What came, in order.
    pub callbacks: Vec<Callback>,
}

/// Something a processor says that concerns a session, or itself.
#[derive(Clone, Debug)]
pub enum Callback {
    /// An answer to an operation.
    Answer(Answer),
    /// A report.
    Notification(Notification),
    /// Most unanswered operations on this connection from now on.
    Credit(u32),
    /// No new holds on this connection.
    Drain,
}

/// An operation to be sent.
pub struct Dispatch(pub Operation);

/// A processor's message is dealt with.
pub struct Acknowledge {
    /// Which.
    pub callback: CallbackId,
    /// Why it is refused, when it is.
    pub refused: Option<Code>,
}

/// What an operator wants to know of a processor.
pub struct Report(pub Box<dyn FnOnce(&ProcessorActor) + Send>);

macro_rules! messages {
    ($($name:ident),*) => { $(impl Message for $name { type Result = (); })* };
}
messages!(Connected, Disconnected, Callbacks, Dispatch, Acknowledge, Report);

/// A processor.
pub struct ProcessorActor {
    id: ProcessorId,
    weight: u32,
    house: Arc<dyn Reach>,
    connections: BTreeMap<ConnectionId, Connection>,
    /// On which connection a callback came that is not acknowledged yet.
    unacknowledged: BTreeMap<CallbackId, ConnectionId>,
    /// What a full mailbox of a shard did not take; its connection reads no further meanwhile.
    waiting: VecDeque<(ConnectionId, Input)>,
    /// Operations sent, answers received, since the start.
    counts: Counts,
}

/// What went through a processor's connections since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Operations sent, repetitions included.
    pub sent: u64,
    /// Answers received, repetitions included.
    pub answers: u64,
    /// Operations that no connection could take.
    pub not_sent: u64,
}

struct Connection {
    outlet: Arc<dyn ProcessorOutlet>,
    credit: u32,
    draining: bool,
    /// Operations without an answer, with the attempt.
    in_flight: BTreeMap<OpId, u16>,
}

impl ProcessorActor {
    /// A processor without connections.
    pub fn new(id: ProcessorId, weight: u32, house: Arc<dyn Reach>) -> ProcessorActor {
        ProcessorActor {
            id,
            weight,
            house,
            connections: BTreeMap::new(),
            unacknowledged: BTreeMap::new(),
            waiting: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// Its id.
    pub fn id(&self) -> &ProcessorId {
        &self.id
    }

    /// Connections that are up.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Operations that wait for an answer.
    pub fn in_flight(&self) -> usize {
        self.connections.values().map(|connection| connection.in_flight.len()).sum()
    }

    /// What went through.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The connection with the most room, among those that take new work.
    fn least_busy(&mut self) -> Option<&mut Connection> {
        let free = |connection: &&mut Connection| {
            !connection.draining && connection.in_flight.len() < connection.credit as usize
        };
        self.connections.values_mut().filter(free).min_by_key(|connection| connection.in_flight.len())
    }

    /// Hands an input to its shard. A full mailbox makes it wait, and everything behind it.
    fn post(&mut self, from: ConnectionId, input: Input) {
        if !self.waiting.is_empty() {
            return self.waiting.push_back((from, input));
        }
        match self.house.reaches(&input) {
            false => self.refuse_unknown(&input),
            true => {
                if let Err(input) = self.house.post(input) {
                    self.waiting.push_back((from, input));
                }
            }
        }
    }

    /// A message about an operation or hold that no partition can have.
    fn refuse_unknown(&mut self, input: &Input) {
        match input {
            Input::Answer(_, answer) => self.acknowledge(answer.callback, Some(Code::OperationUnknown)),
            Input::Notification(_, notification) => {
                self.acknowledge(notification.callback, Some(Code::HoldUnknown));
            }
            _ => {}
        }
    }

    /// A callback is dealt with.
    pub fn acknowledge(&mut self, callback: CallbackId, refused: Option<Code>) {
        let Some(connection) = self.unacknowledged.remove(&callback) else { return };
        let Some(connection) = self.connections.get(&connection) else { return };
        let message = match refused {
            None => ToProcessor::Ack { callback },
            Some(code) => {
                tracing::warn!(processor = %self.id, %code, "a processor's message is refused");
                ToProcessor::Nack { callback, code, text: code.meaning().into() }
            }
        };
        connection.outlet.send(&message);
    }

    /// Tries again what had to wait, and lets connections read on of which nothing waits any more.
    pub fn retry(&mut self) {
        let waited: Vec<ConnectionId> = self.waiting.iter().map(|(from, _)| *from).collect();
        while let Some((from, input)) = self.waiting.pop_front() {
            if let Err(input) = self.house.post(input) {
                self.waiting.push_front((from, input));
                break;
            }
        }
        for from in waited {
            self.resume(from);
        }
    }

    fn resume(&self, connection: ConnectionId) {
        if self.waiting.iter().all(|(from, _)| *from != connection)
            && let Some(connection) = self.connections.get(&connection)
        {
            connection.outlet.resume();
        }
    }
}

impl ProcessorActor {
    /// A connection said hello: the processor is listed with what it declared there.
    pub fn connect(&mut self, connected: Connected) {
        let Connected { connection, outlet, capabilities } = connected;
        let listed = Listed {
            id: self.id.clone(),
            credentials: capabilities.credentials.clone(),
            currencies: capabilities.currencies.clone(),
            capabilities: HoldCapabilities::of(&capabilities),
            weight: self.weight,
        };
        tracing::info!(processor = %self.id, connections = self.connections.len() + 1, "a processor dialled in");
        let fresh =
            Connection { outlet, credit: capabilities.inflight_max, draining: false, in_flight: BTreeMap::new() };
        self.connections.insert(connection, fresh);
        self.house.list(&self.id, Some(&listed));
    }

    /// A connection is gone; what was on its way on it may or may not have arrived.
    pub fn disconnect(&mut self, gone: ConnectionId) {
        let Some(connection) = self.connections.remove(&gone) else { return };
        self.unacknowledged.retain(|_, came_on| *came_on != gone);
        if self.connections.is_empty() {
            tracing::warn!(processor = %self.id, "a processor's last connection is gone");
            self.house.list(&self.id, None);
        }
        for (operation, attempt) in connection.in_flight {
            self.post(gone, Input::ConnectionLost(operation, attempt));
        }
    }

    /// Sends an operation on the connection with the most room.
    pub fn dispatch(&mut self, operation: Operation) {
        let (id, attempt) = (operation.id, operation.attempt);
        let message = ToProcessor::Operation(operation);
        let sent = match self.least_busy() {
            Some(connection) if connection.outlet.send(&message) => {
                connection.in_flight.insert(id, attempt);
                true
            }
            Some(_) | None => false,
        };
        match sent {
            true => self.counts.sent += 1,
            false => {
                self.counts.not_sent += 1;
                self.post(ConnectionId(0), Input::NotSent(id, attempt));
            }
        }
    }

    /// Hands what came in on a connection to the shards.
    pub fn hear(&mut self, came: Callbacks) {
        let Callbacks { connection: from, callbacks } = came;
        for callback in callbacks {
            match callback {
                Callback::Answer(answer) => {
                    self.counts.answers += 1;
                    for connection in self.connections.values_mut() {
                        connection.in_flight.remove(&answer.operation);
                    }
                    self.unacknowledged.insert(answer.callback, from);
                    let id = self.id.clone();
                    self.post(from, Input::Answer(id, Box::new(answer)));
                }
                Callback::Notification(notification) => {
                    self.unacknowledged.insert(notification.callback, from);
                    let id = self.id.clone();
                    self.post(from, Input::Notification(id, notification));
                }
                Callback::Credit(credit) => {
                    if let Some(connection) = self.connections.get_mut(&from) {
                        connection.credit = credit;
                    }
                }
                Callback::Drain => {
                    if let Some(connection) = self.connections.get_mut(&from) {
                        connection.draining = true;
                    }
                }
            }
        }
        self.resume(from);
    }
}

impl Actor for ProcessorActor {
    type Context = Context<ProcessorActor>;

    fn started(&mut self, context: &mut Context<ProcessorActor>) {
        context.set_mailbox_capacity(limits::PROCESSOR_MAILBOX);
        context.run_interval(Duration::from_millis(20), |actor, _| {
            if !actor.waiting.is_empty() {
                actor.retry();
            }
        });
    }
}

impl Handler<Connected> for ProcessorActor {
    type Result = ();

    fn handle(&mut self, connected: Connected, _: &mut Context<ProcessorActor>) {
        self.connect(connected);
    }
}

impl Handler<Disconnected> for ProcessorActor {
    type Result = ();

    fn handle(&mut self, Disconnected(gone): Disconnected, _: &mut Context<ProcessorActor>) {
        self.disconnect(gone);
    }
}

impl Handler<Dispatch> for ProcessorActor {
    type Result = ();

    fn handle(&mut self, Dispatch(operation): Dispatch, _: &mut Context<ProcessorActor>) {
        self.dispatch(operation);
    }
}

impl Handler<Callbacks> for ProcessorActor {
    type Result = ();

    fn handle(&mut self, came: Callbacks, _: &mut Context<ProcessorActor>) {
        self.hear(came);
    }
}

impl Handler<Acknowledge> for ProcessorActor {
    type Result = ();

    fn handle(&mut self, Acknowledge { callback, refused }: Acknowledge, _: &mut Context<ProcessorActor>) {
        self.acknowledge(callback, refused);
    }
}

impl Handler<Report> for ProcessorActor {
    type Result = ();

    fn handle(&mut self, Report(report): Report, _: &mut Context<ProcessorActor>) {
        report(self);
    }
}
