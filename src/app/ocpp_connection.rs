//! A charger's connection that speaks OCPP: bytes in become messages of a WebSocket, calls, and batches for the charger's shard.

use super::shard_feed::{CountedOutlet, ShardFeed, Turns};
use crate::actors::directory::Directory;
use crate::actors::turn::ChargerOutlet;
use crate::limits;
use crate::message::{Channel, Code, FromCharger, Received, ToCharger};
use crate::node::ConnectionId;
use crate::node::connection::farewell;
use crate::ocpp::OcppLink;
use crate::transport::websocket::{CloseCode, Incoming, WebSocket};
use crate::transport::{Ended, Flow, Outgoing, PeerHandler};
use crate::units::{Clock, Mono};
use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The handler of one connection; it runs on the thread of its charger's shard.
pub struct OcppConnection {
    feed: ShardFeed,
    clock: Arc<dyn Clock>,
    outlet: Arc<Outlet>,
    /// When bytes last came.
    received: Mono,
    /// Whether the charger was asked since then if it is there.
    asked: bool,
    /// Since when a message is unfinished.
    unfinished: Option<Mono>,
}

/// Room for one read, and for what is answered: one for all connections of a thread, since each is done with it
/// before the next one reads.
#[derive(Default)]
struct Scratch {
    received: Vec<Received<FromCharger>>,
    texts: Vec<String>,
    reply: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The way back, shared with the shard.
struct Outlet {
    ends: Mutex<Ends>,
    clock: Arc<dyn Clock>,
    outgoing: Outgoing,
    turns: Turns,
}

struct Ends {
    link: OcppLink,
    websocket: Box<WebSocket>,
}

impl OcppConnection {
    /// A connection after its upgrade.
    pub fn new(
        id: ConnectionId,
        link: OcppLink,
        (websocket, outgoing): (Box<WebSocket>, Outgoing),
        (directory, clock): (Arc<Directory>, Arc<dyn Clock>),
    ) -> OcppConnection {
        let received = clock.now().mono;
        let ends = Mutex::new(Ends { link, websocket });
        let outlet = Arc::new(Outlet { ends, clock: clock.clone(), outgoing, turns: Turns::default() });
        OcppConnection { feed: ShardFeed::new(id, directory), clock, outlet, received, asked: false, unfinished: None }
    }

    /// Runs `step` on both ends of the link, sends what comes of it, and hands the rest to the charger's shard.
    fn advance(&mut self, step: impl FnOnce(&mut Ends, &mut Scratch) -> Flow) -> Flow {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut ends = self.outlet.ends();
            let flow = step(&mut ends, scratch);
            for text in scratch.texts.drain(..) {
                ends.websocket.sender().text(&text, &mut scratch.reply);
            }
            drop(ends);
            super::connection::answer(&self.outlet.outgoing, &mut scratch.reply);
            self.feed.hand_over(&mut scratch.received, &self.outlet, |_, _| true);
            match flow {
                Flow::Continue if self.outlet.turns.any() => Flow::Pause,
                flow => flow,
            }
        })
    }

    fn give_up_at(&self) -> Option<Mono> {
        self.unfinished.map(|since| since.after(limits::WEBSOCKET_MESSAGE_TIMEOUT))
    }

    fn silent_at(&self) -> Mono {
        let wait = if self.asked { limits::WEBSOCKET_PONG_TIMEOUT } else { limits::WEBSOCKET_PING };
        self.received.after(wait)
    }
}

impl PeerHandler for OcppConnection {
    fn received(&mut self, bytes: &[u8]) -> Flow {
        let now = self.clock.now();
        (self.received, self.asked) = (now.mono, false);
        let mut any = false;
        let flow = self.advance(|Ends { link, websocket }, Scratch { received, texts, reply }| {
            let mut outcome = Ok(());
            let mut closed = false;
            let read = websocket.receive(bytes, reply, |incoming| match incoming {
                Incoming::Text(text) if outcome.is_ok() => {
                    any = true;
                    outcome = link.receive(text.as_bytes(), now, received, texts);
                }
                Incoming::Text(_) | Incoming::Ping | Incoming::Pong => {}
                Incoming::Close(_) => closed = true,
            });
            if let Err(violation) = read {
                tracing::warn!(charger = %link.charger(), %violation, "a charger breaks the protocol: its connection is closed");
                return Flow::Close(violation.to_string().into());
            }
            if let Err(error) = outcome {
                tracing::warn!(charger = %link.charger(), %error, "a charger's connection is closed");
                websocket.sender().close(CloseCode::POLICY, &error.to_string(), reply);
                return Flow::Close(error.to_string().into());
            }
            if closed { Flow::Close("the charger closed it".into()) } else { Flow::Continue }
        });
        let unfinished = self.outlet.ends().websocket.is_mid_message();
        let before = self.unfinished.filter(|_| !any);
        self.unfinished = unfinished.then(|| before.unwrap_or(now.mono));
        flow
    }

    fn wait(&self) -> Option<Duration> {
        let due = self.outlet.ends().link.next_deadline();
        let due = [due, self.give_up_at()].into_iter().flatten().fold(self.silent_at(), Mono::min);
        Some(Duration::from_millis(due.0.saturating_sub(self.clock.now().mono.0)))
    }

    fn deadline(&mut self) -> Flow {
        let now = self.clock.now();
        if self.give_up_at().is_some_and(|at| at <= now.mono) {
            return Flow::Close("a message of the charger does not end".into());
        }
        let silent = self.silent_at() <= now.mono;
        if silent && self.asked {
            return Flow::Close("the charger is silent".into());
        }
        let ask = silent && !self.asked;
        if ask {
            (self.received, self.asked) = (now.mono, true);
        }
        self.advance(|Ends { link, websocket }, Scratch { received, texts, reply }| {
            if ask {
                websocket.sender().ping(reply);
            }
            match link.on_deadline(now, received, texts) {
                Ok(()) => Flow::Continue,
                Err(error) => {
                    tracing::warn!(charger = %link.charger(), %error, "a charger's connection is closed");
                    websocket.sender().close(CloseCode::TRY_LATER, &error.to_string(), reply);
                    Flow::Close(error.to_string().into())
                }
            }
        })
    }

    fn ended(&mut self, _: &Ended) {
        self.feed.detach();
    }
}

impl Outlet {
    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
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
            let mut texts = Vec::new();
            let mut ends = self.ends();
            ends.link.send(message, now, &mut texts);
            for text in texts {
                ends.websocket.sender().text(&text, out);
            }
        });
    }

    fn resume(&self) {
        self.turns.taken(&self.outgoing);
    }

    fn close(&self, channel: Channel, code: Code) {
        self.send(channel, &farewell(code));
        tracing::warn!(charger = %self.ends().link.charger(), code = code.number(), "a connection is closed: {code}");
        let why = if code == Code::Replaced { CloseCode::GOING_AWAY } else { CloseCode::TRY_LATER };
        let _ = self.outgoing.send(|out| self.ends().websocket.sender().close(why, code.meaning(), out));
        self.outgoing.close(code.meaning());
    }
}
