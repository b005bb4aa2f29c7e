//! The actor of a payment processor: its connections, its operations in flight, and their answers.
//!
//! A processor holds one or more connections, and its work is spread over them. The actor has no durable state:
//! operations belong to their sessions, which decide how long they wait. An operation that no connection can take is
//! returned at once as "not sent".
//!
//! Answers, and their absence, move a circuit breaker for each kind of operation. A new operation is not sent while
//! its breaker is open, and is returned as "not sent" too; inquiries about earlier ones continue. A probe, which is
//! an inquiry for an unknown operation id, tests whether the processor works again.
//!
//! Its methods are complete; as an actix actor ([`crate::actors::processor_actor`]) it has a mailbox and a timer in
//! addition. A simulator calls the methods.

use super::charger::ConnectionId;
use super::input::{Drains, Input, SettlementReply};
use super::processor_connections::{ProcessorConnection, ProcessorConnections, Sent};
use super::reply::{Reply, ReplyTo};
use crate::accounting::settlement;
use crate::message::{Code, SettlementPart, ToProcessor};
use crate::metrics::{AUTHORIZATION_DURATION, AUTHORIZATIONS, CAPTURE_DURATION};
use crate::payment::breaker::{BreakerPolicy, Breakers, Signal};
use crate::payment::routing::Listed;
use crate::payment::{
    Answer, CallbackId, Capabilities, DeclineClass, Notification, Operation, OperationKind, Outcome, Request,
};
use crate::units::{HoldId, Mono, Now, OpId, PartitionId, PaymentId, ProcessorId, TimeSpan};
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

/// The shared state as a processor's actor uses it.
pub trait Reach: Send + Sync {
    /// The clocks.
    fn now(&self) -> Now;

    /// A random number.
    fn random(&self) -> u64;

    /// The shard that an input is for, if there is one.
    fn shard_of(&self, input: &Input) -> Option<u16>;

    /// Passes an input to its shard; returns it when there is no room.
    fn post(&self, input: Input) -> Result<(), Input>;

    /// Publishes a processor's state for routing.
    fn list(&self, id: &ProcessorId, listed: &Listed);

    /// Carries a reply to the node of its asker. An asker that is gone gets nothing.
    fn reply(&self, to: ReplyTo, reply: Reply);

    /// Publishes a processor's breakers.
    fn judge(&self, id: &ProcessorId, breakers: &Breakers);
}

/// A processor's connection after its Hello.
pub struct Connected {
    /// Which connection.
    pub connection: ConnectionId,
    /// The way back.
    pub outlet: Arc<dyn ProcessorOutlet>,
    /// What the processor declared on it.
    pub capabilities: Capabilities,
}

/// A processor's connection has ended.
pub struct Disconnected(pub ConnectionId);

/// Messages of one read of a processor's connection, which reads no further until they are processed.
pub struct Callbacks {
    /// Which connection.
    pub connection: ConnectionId,
    /// What came, in order.
    pub callbacks: Vec<Callback>,
}

/// A message of a processor about a session, or about itself.
#[derive(Clone, Debug)]
pub enum Callback {
    /// An answer to an operation.
    Answer(Answer),
    /// A report.
    Notification(Notification),
    /// A part of a settlement batch.
    Settlement(Box<SettlementPart>),
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

/// An operator asks for the processor's figures.
#[derive(Clone, Copy, Debug)]
pub struct Report(pub ReplyTo);

/// An operator's test of the processor: a probe is sent to it, and what becomes of that is the reply.
#[derive(Clone, Copy, Debug)]
pub struct Test(pub ReplyTo);

/// How a processor stands.
#[derive(Clone, Debug)]
pub struct ProcessorFigures {
    /// Its id.
    pub id: ProcessorId,
    /// Connections that are up.
    pub connections: usize,
    /// Operations that wait for an answer.
    pub in_flight: usize,
    /// What went through since the start.
    pub counts: Counts,
    /// Its declaration at its last connection.
    pub capabilities: Option<Capabilities>,
    /// Whether it gets no new holds by its own wish.
    pub draining: bool,
    /// Kinds of operations that are not sent now, because they failed.
    pub breakers_open: Vec<OperationKind>,
}

/// What became of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tested {
    /// It answered, after this long.
    Answered(TimeSpan),
    /// It did not answer in time.
    Silent,
    /// There is no connection that could take a probe, or it takes no inquiries.
    NotSent,
}

/// A processor.
pub struct ProcessorActor {
    id: ProcessorId,
    node_config: Arc<dyn Reach>,
    lines: ProcessorConnections,
    /// Its declaration at its last connection.
    capabilities: Option<Capabilities>,
    breakers: Breakers,
    probes: BTreeMap<OpId, Probe>,
    /// The state that was last published for routing.
    listed: Option<Listed>,
    /// How it stands by what its partition got last.
    noted: Option<Drains>,
    /// Connections of unacknowledged callbacks.
    unacknowledged: BTreeMap<CallbackId, ConnectionId>,
    /// Inputs for shards that have no room or are not open, by shard; their connections read no further meanwhile.
    waiting: BTreeMap<u16, VecDeque<(ConnectionId, Input)>>,
    /// Operations sent, answers received, since the start.
    counts: Counts,
}

/// Counts of a processor's messages since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Operations sent, repetitions included.
    pub sent: u64,
    /// Answers received, repetitions included.
    pub answers: u64,
    /// Operations that no connection could take.
    pub not_sent: u64,
    /// Operations that were not answered in time.
    pub overdue: u64,
}

/// A probe inquiry for an unknown operation id.
struct Probe {
    since: Mono,
    asked: Option<Test>,
}

/// Interval of checks for time-outs.
pub const SWEEP: Duration = Duration::from_millis(500);

impl ProcessorActor {
    /// A processor without connections.
    pub fn new(id: ProcessorId, node_config: Arc<dyn Reach>) -> ProcessorActor {
        ProcessorActor {
            id,
            node_config,
            lines: ProcessorConnections::default(),
            capabilities: None,
            breakers: Breakers::new(BreakerPolicy::default()),
            probes: BTreeMap::new(),
            listed: None,
            noted: None,
            unacknowledged: BTreeMap::new(),
            waiting: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    /// Whether it gets no new holds by its own wish.
    pub fn is_draining(&self) -> bool {
        !self.lines.is_empty() && self.lines.all_draining()
    }

    /// Kinds of operations that are not sent now, because they failed.
    pub fn open_breakers(&self) -> Vec<OperationKind> {
        self.breakers.open_at(&self.id)
    }

    /// Replies with its figures.
    pub fn report(&self, Report(to): Report) {
        let figures = ProcessorFigures {
            id: self.id.clone(),
            connections: self.lines.len(),
            in_flight: self.lines.in_flight(),
            counts: self.counts,
            capabilities: self.capabilities.clone(),
            draining: self.is_draining(),
            breakers_open: self.open_breakers(),
        };
        self.node_config.reply(to, Reply::Processor(Box::new(figures)));
    }

    /// Publishes the processor's state for routing, when it has changed.
    fn publish(&mut self) {
        let Some(capabilities) = &self.capabilities else { return };
        let (in_flight, room) = (self.lines.in_flight(), self.lines.room_for_holds());
        // After it was full, new requests resume when an eighth is free: the list is not replaced with every answer.
        let was_full = self.listed.as_ref().is_some_and(|listed| listed.inflight >= listed.capabilities.inflight_max);
        let full = in_flight >= if was_full { room - room / 8 } else { room };
        let listed = Listed {
            capabilities: capabilities.clone(),
            connections: u32::try_from(self.lines.len()).unwrap_or(u32::MAX),
            draining: self.is_draining(),
            inflight: if full { capabilities.inflight_max } else { 0 },
        };
        if self.listed.as_ref() != Some(&listed) {
            self.node_config.list(&self.id, &listed);
            self.listed = Some(listed);
        }
    }

    /// Has its partition note how it stands, when that has changed. Without room there it is tried again at the next sweep.
    fn note(&mut self) {
        let stands = (!self.lines.is_empty()).then(|| Drains(self.is_draining()));
        if self.noted != stands && self.node_config.post(Input::Stands(self.id.clone(), stands)).is_ok() {
            self.noted = stands;
        }
    }

    /// Counts an operation's answer, or its absence, in the breaker.
    fn signal(&mut self, kind: OperationKind, signal: Signal, now: Now) {
        let (before, after) = self.breakers.signal(&self.id, kind, signal, now);
        if before.passes() != after.passes() {
            if after.passes() {
                tracing::info!(processor = %self.id, ?kind, "a processor answers again")
            } else {
                tracing::warn!(processor = %self.id, ?kind, "a processor is not asked for a while")
            }
            self.node_config.judge(&self.id, &self.breakers);
        }
    }

    /// Sends an operation on the connection with the most room.
    fn send(&mut self, operation: Operation, now: Now) -> bool {
        let (id, kind) = (operation.id, operation.request.kind());
        let wait = operation.decide_by.since(now.wall).max(TimeSpan::from_secs(1));
        let sent = Sent { attempt: operation.attempt, kind, since: now.mono, until: now.mono.after(wait) };
        let message = ToProcessor::Operation(operation);
        match self.lines.pick(kind) {
            Some(line) if line.outlet.send(&message) => {
                line.sent(id, sent);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Detects time-outs, and sends the probes that are due; called every [`SWEEP`].
    pub fn sweep(&mut self) {
        let now = self.node_config.now();
        for (id, sent) in self.lines.overdue(now.mono) {
            self.counts.overdue += 1;
            match self.probes.remove(&id) {
                None => self.signal(sent.kind, Signal::Fails, now),
                Some(probe) => self.probed(probe, Tested::Silent, now),
            }
        }
        if !self.lines.is_empty() && !self.breakers.probes(now).is_empty() {
            self.probe(None, now);
        }
        self.publish();
        self.note();
    }

    /// Sends a probe for an operator.
    pub fn test(&mut self, test: Test) {
        let now = self.node_config.now();
        self.probe(Some(test), now);
    }

    fn probe(&mut self, asked: Option<Test>, now: Now) {
        // No partition has this number, so an answer to it can be no other operation's.
        let id = PaymentId::new(now.wall, PartitionId(u16::MAX), self.node_config.random()).operation(1);
        let inquiry = Operation {
            id,
            hold: HoldId(id),
            processor: self.id.clone(),
            attempt: 1,
            possible_duplicate: false,
            decide_by: now.wall.saturating_add(BreakerPolicy::default().probe_wait),
            request: Request::Inquire { target: id },
        };
        let takes = self.capabilities.as_ref().is_some_and(|can| can.kinds.contains(&OperationKind::Inquire));
        let probe = Probe { since: now.mono, asked };
        if takes && self.send(inquiry, now) {
            self.probes.insert(id, probe);
        } else if !takes && probe.asked.is_none() {
            // It supports no inquiries, so the next operation is the probe.
            self.probed(probe, Tested::Answered(TimeSpan::ZERO), now);
        } else {
            self.probed(probe, Tested::NotSent, now);
        }
    }

    fn probed(&mut self, probe: Probe, tested: Tested, now: Now) {
        match tested {
            Tested::Answered(_) => self.breakers.probe_answered(&self.id, Signal::Works, now),
            Tested::Silent => self.breakers.probe_answered(&self.id, Signal::Fails, now),
            Tested::NotSent => {}
        }
        self.node_config.judge(&self.id, &self.breakers);
        if let Some(Test(to)) = probe.asked {
            self.node_config.reply(to, Reply::Tested(tested));
        }
    }

    /// Handles an answer: finds its operation, and updates the breaker.
    fn answered(&mut self, from: ConnectionId, answer: Answer, now: Now) {
        self.counts.answers += 1;
        let sent = self.lines.answered(answer.operation);
        self.unacknowledged.insert(answer.callback, from);
        if let Some(probe) = self.probes.remove(&answer.operation) {
            self.acknowledge(answer.callback, None);
            let took = now.mono.since(probe.since);
            return self.probed(probe, Tested::Answered(took), now);
        }
        if let Some(sent) = sent {
            self.measure(&sent, &answer.outcome, now);
            let fails = match &answer.outcome {
                Outcome::Error => true,
                Outcome::Declined(decline) => decline.class == DeclineClass::Technical,
                Outcome::Approved { .. } | Outcome::Pending { .. } | Outcome::NotFound => false,
            };
            self.signal(sent.kind, if fails { Signal::Fails } else { Signal::Works }, now);
        }
        let id = self.id.clone();
        self.post(from, Input::Answer(id, Box::new(answer)));
    }

    /// Counts an answer, by its outcome and its time.
    fn measure(&self, sent: &Sent, outcome: &Outcome, now: Now) {
        let (outcome, reason) = match outcome {
            Outcome::Approved { .. } => ("approved", ""),
            Outcome::Declined(decline) => (
                "declined",
                match decline.class {
                    DeclineClass::Soft => "soft",
                    DeclineClass::Hard => "hard",
                    DeclineClass::Fraud => "fraud",
                    DeclineClass::Technical => "technical",
                    DeclineClass::State => "state",
                },
            ),
            Outcome::NotFound => ("not_found", ""),
            Outcome::Error => ("error", ""),
            // No answer yet.
            Outcome::Pending { .. } => return,
        };
        let took = Duration::from_millis(u64::try_from(now.mono.since(sent.since).ms()).unwrap_or(0)).as_secs_f64();
        let id = self.id.as_str();
        match sent.kind {
            OperationKind::Authorize => {
                AUTHORIZATION_DURATION.histogram(&[id, outcome]).record(took);
                AUTHORIZATIONS.counter(&[id, outcome, reason]).increment(1);
            }
            OperationKind::Capture => CAPTURE_DURATION.histogram(&[id, outcome]).record(took),
            _ => {}
        }
    }

    /// Passes an input to its shard. When that has no room the input waits, and all later ones for this shard.
    fn post(&mut self, from: ConnectionId, input: Input) {
        let Some(shard) = self.node_config.shard_of(&input) else { return self.refuse_unknown(&input) };
        if let Some(waiting) = self.waiting.get_mut(&shard) {
            waiting.push_back((from, input));
        } else if let Err(input) = self.node_config.post(input) {
            self.waiting.insert(shard, VecDeque::from([(from, input)]));
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
        let Some(line) = self.lines.get(connection) else { return };
        let message = match refused {
            None => ToProcessor::Ack { callback },
            Some(code) => {
                tracing::warn!(processor = %self.id, callback = format_args!("{:032x}", callback.0), code = code.number(), "a processor's message is refused: {code}");
                ToProcessor::Nack { callback, code, text: code.meaning().into() }
            }
        };
        line.outlet.send(&message);
    }

    /// Whether something waits for a shard with a full mailbox.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sends the waiting inputs again, and resumes connections without waiting ones.
    pub fn retry(&mut self) {
        let mut waited: Vec<ConnectionId> = Vec::new();
        for (shard, mut inputs) in std::mem::take(&mut self.waiting) {
            waited.extend(inputs.iter().map(|(from, _)| *from));
            while let Some((from, input)) = inputs.pop_front() {
                if let Err(input) = self.node_config.post(input) {
                    inputs.push_front((from, input));
                    self.waiting.insert(shard, inputs);
                    break;
                }
            }
        }
        waited.sort_unstable();
        waited.dedup();
        for from in waited {
            self.resume(from);
        }
    }

    fn resume(&self, connection: ConnectionId) {
        if self.waiting.values().flatten().all(|(from, _)| *from != connection)
            && let Some(line) = self.lines.get(connection)
        {
            line.outlet.resume();
        }
    }
}

impl ProcessorActor {
    /// A connection sent Hello: the processor is listed with the capabilities declared there.
    pub fn connect(&mut self, connected: Connected) {
        let Connected { connection, outlet, capabilities } = connected;
        tracing::info!(processor = %self.id, connections = self.lines.len() + 1, "a processor takes operations");
        self.lines.insert(connection, ProcessorConnection::new(outlet, capabilities.inflight_max));
        let declared_again = self.capabilities.as_ref() == Some(&capabilities);
        self.capabilities = Some(capabilities.clone());
        self.publish();
        if !declared_again {
            let declared = Input::Declared(self.id.clone(), Box::new(capabilities));
            self.post(connection, declared);
        }
        self.note();
    }

    /// A connection ended; operations in flight on it may or may not have arrived.
    pub fn disconnect(&mut self, gone: ConnectionId) {
        let now = self.node_config.now();
        let Some(in_flight) = self.lines.remove(gone) else { return };
        self.unacknowledged.retain(|_, came_on| *came_on != gone);
        if self.lines.is_empty() {
            tracing::warn!(processor = %self.id, "a processor's last connection is gone");
        }
        self.publish();
        self.note();
        let mut failed = Vec::new();
        for (operation, sent) in in_flight {
            match self.probes.remove(&operation) {
                Some(probe) => self.probed(probe, Tested::Silent, now),
                None => {
                    // One broken connection is one failure, whatever the number of operations in flight.
                    if !failed.contains(&sent.kind) {
                        failed.push(sent.kind);
                        self.signal(sent.kind, Signal::Fails, now);
                    }
                    self.post(gone, Input::ConnectionLost(operation, sent.attempt));
                }
            }
        }
    }

    /// Sends an operation on the connection with the most room.
    pub fn dispatch(&mut self, operation: Operation) {
        let now = self.node_config.now();
        let (id, attempt, kind) = (operation.id, operation.attempt, operation.request.kind());
        // Operations that may have been sent need inquiries even while the breaker is open.
        let asks = operation.possible_duplicate || kind == OperationKind::Inquire;
        let passes = asks || self.breakers.of(&self.id, kind).passes();
        if passes && self.send(operation, now) {
            self.counts.sent += 1
        } else {
            self.counts.not_sent += 1;
            self.post(ConnectionId(0), Input::NotSent(id, attempt));
        }
        if self.lines.in_flight() >= self.lines.room_for_holds() {
            self.publish();
        }
    }

    /// Passes a connection's messages to the shards.
    pub fn on_callbacks(&mut self, came: Callbacks) {
        let now = self.node_config.now();
        let Callbacks { connection: from, callbacks } = came;
        for callback in callbacks {
            match callback {
                Callback::Answer(answer) => self.answered(from, answer, now),
                Callback::Notification(notification) => {
                    self.unacknowledged.insert(notification.callback, from);
                    let id = self.id.clone();
                    self.post(from, Input::Notification(id, notification));
                }
                Callback::Credit(credit) => {
                    if let Some(line) = self.lines.get_mut(from) {
                        line.credit = credit;
                    }
                    self.publish();
                }
                Callback::Settlement(part) => {
                    self.unacknowledged.insert(part.callback, from);
                    match settlement::read(&self.id, &part) {
                        Some(read) => {
                            let reply = SettlementReply::Callback(self.id.clone(), part.callback);
                            self.post(from, Input::Settlement(Box::new(read), reply));
                        }
                        None => self.acknowledge(part.callback, Some(Code::SettlementDiffers)),
                    }
                }
                Callback::Drain => {
                    if let Some(line) = self.lines.get_mut(from) {
                        line.draining = true;
                    }
                    self.publish();
                    self.note();
                }
            }
        }
        if self.listed.as_ref().is_some_and(|listed| listed.inflight > 0) {
            self.publish();
        }
        self.resume(from);
    }
}
