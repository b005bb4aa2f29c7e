//! A charger's connection that speaks OCPP: its end of the WebSocket, and batches for the charger's shard.

use super::ocpp_forwarding::{self, Behind, ChargerEnd, Forwarded};
use super::shard_feed::{CountedOutlet, ShardFeed, Turns};
use crate::actors::directory::Directory;
use crate::actors::turn::ChargerOutlet;
use crate::limits;
use crate::message::{Channel, Code, ToCharger};
use crate::node::ConnectionId;
use crate::node::connection::farewell;
use crate::ocpp::OcppLink;
use crate::transport::websocket::WebSocket;
use crate::transport::{Ended, Flow, OcppEnd, OcppEnded, OcppRoom, Outgoing, PeerHandler};
use crate::units::{Clock, Now};
use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

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
    /// The way to the management system, if there is one, until the connection is over.
    texts: Mutex<Option<mpsc::Sender<String>>>,
}

impl OcppConnection {
    /// A connection after its upgrade.
    pub fn new(
        id: ConnectionId,
        link: OcppLink,
        (websocket, outgoing): (Box<WebSocket>, Outgoing),
        (directory, clock): (Arc<Directory>, Arc<dyn Clock>),
        behind: Option<(Arc<Behind>, Forwarded)>,
    ) -> OcppConnection {
        let end = Mutex::new(OcppEnd::new(link, websocket, clock.now().mono));
        let (texts, for_behind) = match behind {
            Some((behind, forwarded)) => {
                let (texts, for_behind) = mpsc::channel(limits::OCPP_FORWARDED_WAITING);
                (Some(texts), Some((behind, forwarded, for_behind)))
            }
            None => (None, None),
        };
        let outlet =
            Arc::new(Outlet { end, clock: clock.clone(), outgoing, turns: Turns::default(), texts: Mutex::new(texts) });
        if let Some((behind, forwarded, texts)) = for_behind {
            actix_rt::spawn(ocpp_forwarding::carry(behind, forwarded, texts, Arc::clone(&outlet)));
        }
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
            self.outlet.pass_on(&mut end);
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
        // Nothing is carried any more: that ends the connection to the management system.
        self.outlet.texts().take();
    }
}

impl Outlet {
    fn end(&self) -> MutexGuard<'_, OcppEnd> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outlet {
    fn texts(&self) -> MutexGuard<'_, Option<mpsc::Sender<String>>> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over what is for the management system. Where it does not keep up, it counts as away until it is dialled again.
    fn pass_on(&self, end: &mut OcppEnd) {
        let texts = self.texts();
        let Some(texts) = &*texts else { return };
        let is_taken = end.texts_for_behind().all(|text| texts.try_send(text).is_ok());
        if !is_taken {
            end.behind(|link, _| link.behind_closed(), &mut Vec::new());
        }
    }

    /// Takes something of the management system; the connection looks what may go on.
    fn behind_step(&self, step: impl FnOnce(&mut OcppLink, Now, &mut Vec<String>)) {
        let now = self.clock.now();
        let _ = self.outgoing.send(|out| {
            let mut end = self.end();
            end.behind(|link, texts| step(link, now, texts), out);
            self.pass_on(&mut end);
        });
    }
}

impl ChargerEnd for Outlet {
    fn opened(&self) {
        self.behind_step(|link, _, _| link.behind_opened());
    }

    fn closed(&self) {
        self.behind_step(|link, _, _| link.behind_closed());
    }

    fn received(&self, text: &str) {
        self.behind_step(|link, now, texts| link.receive_from_behind(text.as_bytes(), now, texts));
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
        let _ = self.outgoing.send(|out| {
            let mut end = self.end();
            end.send(message, now, out);
            self.pass_on(&mut end);
        });
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
