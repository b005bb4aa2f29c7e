//! A charger's connection that speaks OCPP: its end of the WebSocket, and batches for the charger's shard.

use super::shard_feed::{CountedOutlet, ShardFeed, Turns};
use crate::actors::directory::Directory;
use crate::actors::turn::ChargerOutlet;
use crate::message::{Channel, Code, ToCharger};
use crate::node::ConnectionId;
use crate::node::connection::farewell;
use crate::ocpp::OcppLink;
use crate::transport::websocket::WebSocket;
use crate::transport::{Ended, Flow, OcppEnd, OcppEnded, OcppRoom, Outgoing, PeerHandler};
use crate::units::Clock;
use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The handler of one connection; it runs on the thread of its charger's shard.
pub struct OcppConnection {
    feed: ShardFeed,
    clock: Arc<dyn Clock>,
    outlet: Arc<Outlet>,
}

thread_local! {
    static ROOM: RefCell<OcppRoom> = RefCell::default();
}

/// The way back, shared with the shard.
struct Outlet {
    end: Mutex<OcppEnd>,
    clock: Arc<dyn Clock>,
    outgoing: Outgoing,
    turns: Turns,
}

impl OcppConnection {
    /// A connection after its upgrade.
    pub fn new(
        id: ConnectionId,
        link: OcppLink,
        (websocket, outgoing): (Box<WebSocket>, Outgoing),
        (directory, clock): (Arc<Directory>, Arc<dyn Clock>),
    ) -> OcppConnection {
        let end = Mutex::new(OcppEnd::new(link, websocket, clock.now().mono));
        let outlet = Arc::new(Outlet { end, clock: clock.clone(), outgoing, turns: Turns::default() });
        OcppConnection { feed: ShardFeed::new(id, directory), clock, outlet }
    }

    /// Runs `step` on the end of the connection, sends what comes of it, and hands the rest to the charger's shard.
    fn advance(&mut self, step: impl FnOnce(&mut OcppEnd, &mut OcppRoom) -> Result<(), OcppEnded>) -> Flow {
        ROOM.with_borrow_mut(|room| {
            let mut end = self.outlet.end();
            let outcome = step(&mut end, room);
            if let Err(error @ (OcppEnded::Violation(_) | OcppEnded::Link(_))) = &outcome {
                tracing::warn!(charger = %end.charger(), %error, "a charger's connection is closed");
            }
            drop(end);
            super::connection::answer(&self.outlet.outgoing, &mut room.reply);
            self.feed.hand_over(&mut room.received, &self.outlet, |_, _| true);
            match outcome {
                Err(error) => Flow::Close(error.to_string().into()),
                Ok(()) if self.outlet.turns.any() => Flow::Pause,
                Ok(()) => Flow::Continue,
            }
        })
    }
}

impl PeerHandler for OcppConnection {
    fn received(&mut self, bytes: &[u8]) -> Flow {
        let now = self.clock.now();
        self.advance(|end, room| end.receive(bytes, now, room))
    }

    fn wait(&self) -> Option<Duration> {
        let due = self.outlet.end().next_deadline();
        Some(Duration::from_millis(due.0.saturating_sub(self.clock.now().mono.0)))
    }

    fn deadline(&mut self) -> Flow {
        let now = self.clock.now();
        self.advance(|end, room| end.on_deadline(now, room))
    }

    fn ended(&mut self, _: &Ended) {
        self.feed.detach();
    }
}

impl Outlet {
    fn end(&self) -> MutexGuard<'_, OcppEnd> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CountedOutlet for Outlet {
    fn turns(&self) -> &Turns {
        &self.turns
    }
}

impl ChargerOutlet for Outlet {
    fn send(&self, _: Channel, message: &ToCharger) {
        let now = self.clock.now();
        // Also when nothing is written: the connection looks what may go on. If it is closed, the charger repeats its calls.
        let _ = self.outgoing.send(|out| self.end().send(message, now, out));
    }

    fn resume(&self) {
        self.turns.taken(&self.outgoing);
    }

    fn close(&self, channel: Channel, code: Code) {
        self.send(channel, &farewell(code));
        tracing::warn!(charger = %self.end().charger(), code = code.number(), "a connection is closed: {code}");
        let _ = self.outgoing.send(|out| self.end().close(code, out));
        self.outgoing.close(code.meaning());
    }
}
