//! A processor's connection: bytes in become callbacks for the processor's actor, operations out become bytes.

use super::connection::{self, deliver};
use crate::message::{FromProcessor, ToProcessor};
use crate::node::ConnectionId;
use crate::node::connection::{Came, welcome};
use crate::node::processor::{Callbacks, Connected, Disconnected, ProcessorActor, ProcessorOutlet};
use crate::transport::{Ended, Flow, Outgoing, PeerHandler};
use crate::units::Clock;
use crate::wire::ProcessorLink;
use actix::Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The handler of one connection of a processor.
pub struct ProcessorConnection {
    id: ConnectionId,
    actor: Addr<ProcessorActor>,
    outlet: Arc<Outlet>,
    received: Vec<FromProcessor>,
    reply: Vec<u8>,
}

struct Outlet {
    link: Mutex<ProcessorLink>,
    clock: Arc<dyn Clock>,
    outgoing: Outgoing,
    /// Callbacks are with the actor; nothing is read meanwhile.
    paused: AtomicBool,
}

impl ProcessorConnection {
    /// A connection after its handshake.
    pub fn new(
        id: ConnectionId,
        link: ProcessorLink,
        outgoing: Outgoing,
        actor: Addr<ProcessorActor>,
        clock: Arc<dyn Clock>,
    ) -> ProcessorConnection {
        let outlet = Arc::new(Outlet { link: Mutex::new(link), clock, outgoing, paused: AtomicBool::new(false) });
        ProcessorConnection { id, actor, outlet, received: Vec::new(), reply: Vec::new() }
    }

    fn hand_over(&mut self) {
        let mut callbacks = Vec::with_capacity(self.received.len());
        for message in self.received.drain(..) {
            match Came::from(message) {
                Came::Hello(hello) => {
                    self.outlet.send(&welcome(self.outlet.clock.now()));
                    let outlet: Arc<dyn ProcessorOutlet> = self.outlet.clone();
                    let connected = Connected { connection: self.id, outlet, capabilities: hello.capabilities };
                    deliver(&self.actor, connected);
                }
                Came::Callback(callback) => callbacks.push(callback),
                Came::GoAway(go) => {
                    let processor = self.outlet.link().processor().clone();
                    tracing::info!(%processor, code = go.code.number(), "a processor leaves: {}", go.code);
                }
            }
        }
        if !callbacks.is_empty() {
            self.outlet.paused.store(true, Ordering::Release);
            deliver(&self.actor, Callbacks { connection: self.id, callbacks });
        }
    }
}

impl PeerHandler for ProcessorConnection {
    fn received(&mut self, bytes: &[u8]) -> Flow {
        let now = self.outlet.clock.now();
        let outcome = self.outlet.link().receive(bytes, now, &mut self.received, &mut self.reply);
        connection::answer(&self.outlet.outgoing, &mut self.reply);
        self.hand_over();
        match outcome {
            Err(error) => connection::close(self.outlet.link().processor(), &error),
            Ok(()) if self.outlet.paused.load(Ordering::Acquire) => Flow::Pause,
            Ok(()) => Flow::Continue,
        }
    }

    fn wait(&self) -> Option<Duration> {
        let due = self.outlet.link().next_deadline()?;
        Some(Duration::from_millis(due.0.saturating_sub(self.outlet.clock.now().mono.0)))
    }

    fn deadline(&mut self) -> Flow {
        let outcome = self.outlet.link().on_deadline(self.outlet.clock.now().mono, &mut self.reply);
        connection::answer(&self.outlet.outgoing, &mut self.reply);
        outcome.map_or_else(|error| connection::close(self.outlet.link().processor(), &error), |()| Flow::Continue)
    }

    fn ended(&mut self, _: &Ended) {
        deliver(&self.actor, Disconnected(self.id));
    }
}

impl Outlet {
    fn link(&self) -> MutexGuard<'_, ProcessorLink> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProcessorOutlet for Outlet {
    fn send(&self, message: &ToProcessor) -> bool {
        let now = self.clock.now();
        let mut encoded = false;
        let queued = self.outgoing.send(|out| encoded = self.link().send(message, now, out).is_ok());
        queued.is_ok() && encoded
    }

    fn resume(&self) {
        self.paused.store(false, Ordering::Release);
        self.outgoing.resume();
    }
}
