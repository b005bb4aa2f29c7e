//! A payment processor of a simulated world: [`crate::sim::processor`] in the world's event queue, over several connections.

use crate::message::{Code, FromProcessor, ProcessorHello, ToProcessor};
use crate::payment::{Answer, CallbackId, Outcome, ProcessorRef};
use crate::sim::processor::{Act, Processor, Step};
use crate::units::rng::Rng;
use crate::units::{Amount, Currency, HoldId, Mono, Now, OpId, ProcessorId, Timestamp};
use crate::wire::{LinkError, ProcessorClientLink};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A processor and its connections.
pub(super) struct SimulatedProcessor {
    pub id: ProcessorId,
    pub processor: Processor,
    pub lines: Vec<ProcessorLine>,
    /// Actions with their time; `Close` only on the connection it names.
    events: BTreeMap<(u64, u64), (usize, Act)>,
    next_number: u64,
    /// When the world's event queue will call next.
    pub wake: u64,
    /// It does not dial before this moment.
    pub offline_until: u64,
    rng: Rng,
    /// Forged messages, which have to be refused.
    forged: BTreeSet<CallbackId>,
    pub counts: Counts,
}

/// What went through.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub operations: u64,
    pub acked: u64,
    pub refused: u64,
    /// Reports that overtook what they are about.
    pub early: u64,
    /// Forged messages that were accepted.
    pub believed: u64,
}

/// One connection.
#[derive(Default)]
pub(super) struct ProcessorLine {
    pub line: Option<u64>,
    link: Option<ProcessorClientLink>,
    /// To be sent as soon as the gate has room.
    ready: VecDeque<FromProcessor>,
    /// Sent on this connection and not acknowledged.
    unacked: BTreeMap<CallbackId, (u64, FromProcessor)>,
    /// Callbacks that may be unacknowledged; `None` before the gate's `HelloAck`.
    window: Option<usize>,
    failures: u32,
}

/// A callback that is not acknowledged for this long is sent again, in milliseconds.
const REPEATED_AFTER: u64 = 15_000;
const SLEEP_MAX: u64 = 30_000;
/// A lie about a part of a batch comes this much after the truth.
const LIES_AFTER: u64 = 60_000;
/// Numbers of forged messages have this bit; those of regular ones are far below.
const FORGED: u128 = 1 << 127;

impl SimulatedProcessor {
    pub fn new(processor: Processor, connections: usize, rng: Rng) -> SimulatedProcessor {
        SimulatedProcessor {
            id: processor.settings().id.clone(),
            processor,
            lines: (0..connections).map(|_| ProcessorLine::default()).collect(),
            events: BTreeMap::new(),
            next_number: 0,
            wake: 0,
            offline_until: 0,
            rng,
            forged: BTreeSet::new(),
            counts: Counts::default(),
        }
    }

    /// Whether no message is pending.
    pub fn is_idle(&self) -> bool {
        self.events.is_empty() && self.pending() == 0
    }

    /// Callbacks that wait to be sent or acknowledged.
    pub fn pending(&self) -> usize {
        self.lines.iter().map(|line| line.ready.len() + line.unacked.len()).sum()
    }

    /// The connection is up: the processor introduces itself.
    pub fn connected(&mut self, place: usize, number: u64, now: Now, out: &mut Vec<u8>) {
        let mut link = ProcessorClientLink::new(self.id.clone(), None, now.mono);
        let hello = FromProcessor::Hello(ProcessorHello {
            processor: self.id.clone(),
            instance: format!("world-{place}").into(),
            capabilities: self.processor.settings().capabilities.clone(),
            clock: now.wall,
        });
        link.send(&hello, now.mono, out).expect("a Hello fits a frame");
        let line = &mut self.lines[place];
        (line.line, line.link, line.window) = (Some(number), Some(link), None);
    }

    /// A connection has ended: returns the pause before dialling, in milliseconds. Its pending messages are for the
    /// others, or for the next one.
    pub fn disconnected(&mut self, place: usize, ms: u64) -> u64 {
        let line = &mut self.lines[place];
        (line.line, line.link, line.window) = (None, None, None);
        let unacked = std::mem::take(&mut line.unacked).into_values().map(|(_, message)| message);
        let left: Vec<FromProcessor> = unacked.chain(std::mem::take(&mut line.ready)).collect();
        line.failures = (line.failures + 1).min(5);
        let most = 200_u64 << line.failures;
        for message in left {
            match message {
                FromProcessor::Answer(answer) => self.put(ms, place, Act::Answer(answer)),
                FromProcessor::Notification(notification) => self.put(ms, place, Act::Notify(notification)),
                FromProcessor::Settlement(part) => self.put(ms, place, Act::Settle(part)),
                FromProcessor::Hello(_)
                | FromProcessor::Credit { .. }
                | FromProcessor::Drain(_)
                | FromProcessor::GoAway(_) => {}
            }
        }
        most / 2 + self.rng.below(most)
    }

    fn put(&mut self, at: u64, place: usize, act: Act) {
        self.next_number += 1;
        self.events.insert((at, self.next_number), (place, act));
    }

    fn schedule(&mut self, ms: u64, place: usize, steps: Vec<Step>) {
        for step in steps {
            self.put(ms + u64::try_from(step.after.ms()).unwrap_or(0), place, step.act);
        }
    }

    /// Processes bytes of the gate. An error ends the connection.
    ///
    /// # Errors
    /// The peer breaks the protocol, or has left.
    pub fn receive(&mut self, place: usize, bytes: &[u8], now: Now, out: &mut Vec<u8>) -> Result<(), LinkError> {
        let Some(link) = &mut self.lines[place].link else { return Ok(()) };
        let mut messages = Vec::new();
        let outcome = link.receive(bytes, now, &mut messages, out);
        for message in messages {
            match message {
                ToProcessor::HelloAck(ack) => {
                    let line = &mut self.lines[place];
                    line.window = Some(usize::try_from(ack.terms.window).unwrap_or(usize::MAX));
                    line.failures = 0;
                }
                ToProcessor::Operation(operation) => {
                    self.counts.operations += 1;
                    let steps = self.processor.decide(&operation, now.wall);
                    self.schedule(now.mono.0, place, steps);
                }
                ToProcessor::Ack { callback } => {
                    self.forget(callback);
                    self.counts.acked += 1;
                    self.counts.believed += u64::from(self.forged.contains(&callback));
                }
                // A premature message is repeated, like an unacknowledged one.
                ToProcessor::Nack { callback: _, code: Code::NotYet, text: _ } => self.counts.early += 1,
                ToProcessor::Nack { callback, code: _, text: _ } => {
                    self.forget(callback);
                    self.counts.refused += 1;
                }
                ToProcessor::Drain(_) | ToProcessor::GoAway(_) => {}
            }
        }
        outcome
    }

    /// A message may have been sent on several connections, one after the other.
    fn forget(&mut self, callback: CallbackId) {
        for line in &mut self.lines {
            line.unacked.remove(&callback);
        }
    }

    /// Carries out due actions on all connections and returns the time of the next call. `sent` receives the messages
    /// of each connection; `None` for a connection that is to be closed.
    pub fn drive(&mut self, world: Timestamp, ms: u64, outgoing: &mut Vec<(u64, Option<Vec<u8>>)>) -> u64 {
        let mut close = BTreeSet::new();
        while let Some(entry) = self.events.first_entry()
            && entry.key().0 <= ms
        {
            let (place, act) = entry.remove();
            match act {
                Act::Answer(answer) => self.ready(FromProcessor::Answer(answer)),
                Act::Notify(notification) => self.ready(FromProcessor::Notification(notification)),
                Act::Settle(part) => self.ready(FromProcessor::Settlement(part)),
                Act::Close => {
                    close.insert(place);
                }
                Act::Arrive(operation) => {
                    let steps = self.processor.arrive(&operation, world);
                    self.schedule(ms, place, steps);
                }
            }
        }
        for lapsed in self.processor.expire(world) {
            self.ready(FromProcessor::Notification(lapsed));
        }
        let mut next = ms + SLEEP_MAX;
        for place in 0..self.lines.len() {
            let line = &mut self.lines[place];
            let (Some(number), Some(link)) = (line.line, &mut line.link) else { continue };
            let mut out = Vec::new();
            let mut over = close.contains(&place);
            if let Some(window) = line.window {
                for (sent, message) in line.unacked.values_mut() {
                    if ms - *sent >= REPEATED_AFTER {
                        *sent = ms;
                        over |= link.send(message, Mono(ms), &mut out).is_err();
                    }
                }
                while line.unacked.len() < window
                    && let Some(message) = line.ready.pop_front()
                {
                    over |= link.send(&message, Mono(ms), &mut out).is_err();
                    let callback = match &message {
                        FromProcessor::Answer(answer) => answer.callback,
                        FromProcessor::Notification(notification) => notification.callback,
                        FromProcessor::Settlement(part) => part.callback,
                        _ => continue,
                    };
                    line.unacked.insert(callback, (ms, message));
                }
            }
            if link.next_deadline().is_some_and(|at| at.0 <= ms) {
                over |= link.on_deadline(Mono(ms), &mut out).is_err();
            }
            if let Some(at) = link.next_deadline() {
                next = next.min(at.0.max(ms + 1));
            }
            if let Some((sent, _)) = line.unacked.values().min_by_key(|(sent, _)| *sent) {
                next = next.min((sent + REPEATED_AFTER).max(ms + 1));
            }
            if !out.is_empty() {
                outgoing.push((number, Some(out)));
            }
            if over {
                outgoing.push((number, None));
            }
        }
        if let Some(((at, _), _)) = self.events.first_key_value() {
            next = next.min((*at).max(ms + 1));
        }
        next
    }

    /// Puts a message on a connection that is greeted, if one is; on any of them otherwise.
    fn ready(&mut self, message: FromProcessor) {
        let greeted = self.lines.iter().filter(|line| line.window.is_some()).count() as u64;
        let place = match greeted {
            0 => 0,
            some => {
                let which = usize::try_from(self.rng.below(some)).unwrap_or(0);
                let mut greeted = (0..self.lines.len()).filter(|place| self.lines[*place].window.is_some());
                greeted.nth(which).unwrap_or(0)
            }
        };
        self.lines[place].ready.push_back(message);
    }

    /// Sends its settlement batch, and after each part a contradicting one with the same number. Returns the number
    /// of parts.
    pub fn settle(&mut self, world: Timestamp, ms: u64) -> u64 {
        let parts = self.processor.settle(world);
        let count = parts.len() as u64;
        for part in parts {
            let mut lie = part.clone();
            lie.callback = CallbackId(FORGED | u128::from(self.rng.bits()));
            if let Some(line) = lie.lines.first_mut() {
                (line.gross, line.net) = (line.gross + 1, line.net + 1);
            }
            self.forged.insert(lie.callback);
            self.put(ms, 0, Act::Settle(part));
            self.put(ms + LIES_AFTER, 0, Act::Settle(lie));
        }
        count
    }

    /// Sends a message about an operation of another processor.
    pub fn forge(&mut self, operation: OpId, hold: HoldId, currency: Currency) {
        let callback = CallbackId(FORGED | u128::from(self.rng.bits()));
        let amount = Amount::new(self.rng.between(1, 100_000), currency);
        let processor_ref = ProcessorRef("forged".into());
        let outcome = Outcome::Approved { amount, processor_ref, expires_at: None };
        self.forged.insert(callback);
        self.ready(FromProcessor::Answer(Answer { callback, operation, hold, outcome }));
    }
}
