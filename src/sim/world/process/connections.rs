//! Connections of a simulated process: the gate's ends of them, and the way of bytes to shards and processors' actors.

use super::Process;
use super::outputs::OutputDispatcher;
use crate::limits;
use crate::message::{FromCharger, FromProcessor, PeerIdentity, Received, Subject};
use crate::node::ConnectionId;
use crate::node::connection::{self, Came, ShardsOfChannels};
use crate::node::driver::ReadBatch;
use crate::node::processor::{Callbacks, Connected, ProcessorActor};
use crate::ocpp::{LinkSettings, OcppLink};
use crate::sim::world::checker::Checker;
use crate::sim::world::controller::compresses;
use crate::sim::world::network::Peer;
use crate::sim::world::outbox::Outlet;
use crate::transport::websocket::{self, WebSocket};
use crate::transport::{OcppEnd, OcppRoom};
use crate::units::{Mono, Now, ProcessorId};
use crate::wire::{ChargerLink, ProcessorLink};
use std::sync::Arc;

/// The gate's end of a connection.
pub(super) struct End {
    pub(super) kind: Kind,
    /// Batches that are not taken: nothing is read meanwhile.
    pub(super) untaken: usize,
    /// What the network has brought meanwhile.
    pub(super) unread: Vec<u8>,
}

pub(super) enum Kind {
    Charger { link: Box<ChargerLink>, shards: ShardsOfChannels },
    Ocpp { end: Box<OcppEnd>, shards: ShardsOfChannels },
    Processor { link: Box<ProcessorLink>, id: ProcessorId },
}

impl Process {
    /// A peer's connection, after its handshake.
    pub fn accept(&mut self, line: u64, peer: Peer, subject: Subject, now: Now) {
        let identity = PeerIdentity { trust_domain: "world".into(), subject };
        let outputs = &mut self.outputs;
        let kind = match (peer, &identity.subject) {
            (Peer::SimulatedProcessor(..), Subject::Processor(id)) => {
                let id = id.clone();
                let link = ProcessorLink::new(&identity, None, now.mono).expect("a processor may be one");
                let actor = || ProcessorActor::new(id.clone(), outputs.outbox.clone());
                outputs.processors.entry(id.clone()).or_insert_with(actor);
                Kind::Processor { link: Box::new(link), id }
            }
            _ => {
                let link = ChargerLink::new(identity, Arc::new(|_, _| true), now.mono);
                Kind::Charger { link: Box::new(link.expect("a charger may be one")), shards: Default::default() }
            }
        };
        outputs.ends.insert(line, End { kind, untaken: 0, unread: Vec::new() });
    }

    /// A charger's WebSocket, after its handshake.
    pub fn accept_ocpp(&mut self, line: u64, settings: LinkSettings, (now, checker): (Now, &mut Checker)) {
        let websocket = WebSocket::new(websocket::End::Server, compresses(line), limits::OCPP_MESSAGE_MAX, 0);
        let end = OcppEnd::new(OcppLink::new(settings, now), Box::new(websocket), now.mono);
        let kind = Kind::Ocpp { end: Box::new(end), shards: Default::default() };
        self.outputs.ends.insert(line, End { kind, untaken: 0, unread: Vec::new() });
        // The link introduces its charger at once.
        self.sweep(&[line], now, checker);
    }

    /// Closes links whose peers have timed out.
    pub fn sweep(&mut self, lines: &[u64], now: Now, checker: &mut Checker) {
        self.begin(now);
        for line in lines {
            let mut reply = Vec::new();
            let Some(end) = self.outputs.ends.get_mut(line) else { continue };
            let outcome = match (&mut end.kind, now.mono) {
                (Kind::Charger { link, .. }, now) if is_due(link.next_deadline(), now) => {
                    link.on_deadline(now, &mut reply)
                }
                (Kind::Processor { link, .. }, now) if is_due(link.next_deadline(), now) => {
                    link.on_deadline(now, &mut reply)
                }
                (Kind::Ocpp { .. }, _) => {
                    self.outputs.go_on(*line, now);
                    continue;
                }
                _ => Ok(()),
            };
            self.outputs.send_bytes(*line, reply);
            if outcome.is_err() {
                self.outputs.drop_line(*line);
            }
        }
        self.settle(now, checker);
    }

    /// Connections, in the order of their numbers.
    pub fn lines(&self) -> Vec<u64> {
        let mut lines: Vec<u64> = self.outputs.ends.keys().copied().collect();
        lines.sort_unstable();
        lines
    }

    /// A connection reads, unless what it read before is not taken yet.
    pub(super) fn read(&mut self, line: u64, bytes: &[u8], now: Now) {
        let OutputDispatcher { ends, outbox, node_config, processors, instant, .. } = &mut self.outputs;
        let Some(end) = ends.get_mut(&line) else { return };
        if end.untaken > 0 {
            return end.unread.extend_from_slice(bytes);
        }
        let mut reply = Vec::new();
        let outcome = match &mut end.kind {
            Kind::Charger { link, shards } => {
                let mut received: Vec<Received<FromCharger>> = Vec::new();
                let outcome = link.receive(bytes, now, &mut received, &mut reply);
                let batches = shards.split(node_config, &mut received, |_, _| true);
                end.untaken = batches.len();
                for (shard, messages) in batches {
                    let (connection, messages) = (ConnectionId(line), messages.into_iter());
                    outbox.read(usize::from(shard), ReadBatch { connection, arrived: *instant, messages });
                }
                outcome
            }
            Kind::Ocpp { end, .. } => {
                let mut room = OcppRoom::default();
                let is_over = end.receive(bytes, now, &mut room).is_err();
                return self.outputs.hand_over(line, room, is_over);
            }
            Kind::Processor { link, id } => {
                let mut received: Vec<FromProcessor> = Vec::new();
                let outcome = link.receive(bytes, now, &mut received, &mut reply);
                let mut callbacks = Vec::with_capacity(received.len());
                let Some(actor) = processors.get_mut(id) else { return };
                for message in received {
                    match Came::from(message) {
                        Came::Hello(hello) => {
                            outbox.left().messages.push_back((line, connection::welcome(now)));
                            let outlet = Arc::new(Outlet { line, outbox: outbox.clone() });
                            let capabilities = hello.capabilities;
                            actor.connect(Connected { connection: ConnectionId(line), outlet, capabilities });
                        }
                        Came::Callback(callback) => callbacks.push(callback),
                        Came::GoAway(_) => {}
                    }
                }
                if !callbacks.is_empty() {
                    end.untaken = 1;
                    actor.on_callbacks(Callbacks { connection: ConnectionId(line), callbacks });
                }
                outcome
            }
        };
        self.outputs.send_bytes(line, reply);
        if outcome.is_err() {
            self.outputs.drop_line(line);
        }
    }
}

impl OutputDispatcher {
    /// Lets a charger's WebSocket go on, if it is due and read from.
    pub(super) fn go_on(&mut self, line: u64, now: Now) {
        let Some(End { kind: Kind::Ocpp { end, .. }, untaken: 0, .. }) = self.ends.get_mut(&line) else { return };
        if end.next_deadline() <= now.mono {
            let mut room = OcppRoom::default();
            let is_over = end.on_deadline(now, &mut room).is_err();
            self.hand_over(line, room, is_over);
        }
    }

    /// Hands on what a charger's WebSocket has read, and sends what it answers.
    fn hand_over(&mut self, line: u64, mut room: OcppRoom, is_over: bool) {
        let Some(end) = self.ends.get_mut(&line) else { return };
        if let Kind::Ocpp { shards, .. } = &mut end.kind {
            let batches = shards.split(&self.node_config, &mut room.received, |_, _| true);
            end.untaken += batches.len();
            for (shard, messages) in batches {
                let (connection, messages) = (ConnectionId(line), messages.into_iter());
                self.outbox.read(usize::from(shard), ReadBatch { connection, arrived: self.instant, messages });
            }
        }
        self.send_bytes(line, room.reply);
        if is_over {
            self.drop_line(line);
        }
    }
}

fn is_due(deadline: Option<Mono>, now: Mono) -> bool {
    deadline.is_some_and(|at| at <= now)
}
