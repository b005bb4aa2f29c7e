//! The gate's end of a WebSocket on which a charger speaks OCPP, without its socket: bytes become messages for the node, messages
//! of the node become bytes, and a charger that is silent or does not end a message is closed.

use super::websocket::{CloseCode, Incoming, Violation, WebSocket};
use crate::limits;
use crate::message::{Code, FromCharger, Received, ToCharger};
use crate::ocpp::{OcppError, OcppLink};
use crate::units::{ChargerId, Mono, Now};

/// The link and the WebSocket of one connection.
pub struct OcppEnd {
    link: OcppLink,
    websocket: Box<WebSocket>,
    /// When bytes last came.
    received: Mono,
    /// Whether the charger was asked since then if it is there.
    asked: bool,
    /// Since when a message is unfinished.
    unfinished: Option<Mono>,
}

/// Room for one read, and for what is answered. One is enough for all connections of a thread, since each is done with it
/// before the next one reads.
#[derive(Default)]
pub struct OcppRoom {
    /// For the node.
    pub received: Vec<Received<FromCharger>>,
    /// For the charger.
    pub reply: Vec<u8>,
    texts: Vec<String>,
}

/// Why a connection is to be closed. What is in the room is still good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OcppEnded {
    /// The charger breaks the rules of WebSocket.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The link ends it.
    #[error(transparent)]
    Link(#[from] OcppError),
    /// A close frame came, and was answered.
    #[error("the charger closed it")]
    ByCharger,
    /// A message has begun, and its rest does not come.
    #[error("a message of the charger does not end")]
    Unfinished,
    /// It does not answer a ping.
    #[error("the charger is silent")]
    Silent,
}

impl OcppEnd {
    /// A connection after its upgrade.
    pub fn new(link: OcppLink, websocket: Box<WebSocket>, now: Mono) -> OcppEnd {
        OcppEnd { link, websocket, received: now, asked: false, unfinished: None }
    }

    /// Its charger.
    pub fn charger(&self) -> &ChargerId {
        self.link.charger()
    }

    /// Takes bytes as they come, cut anywhere.
    ///
    /// # Errors
    /// [`OcppEnded`].
    pub fn receive(&mut self, bytes: &[u8], now: Now, room: &mut OcppRoom) -> Result<(), OcppEnded> {
        (self.received, self.asked) = (now.mono, false);
        let OcppRoom { received, reply, texts } = room;
        let (mut outcome, mut any, mut closed) = (Ok(()), false, false);
        let read = self.websocket.receive(bytes, reply, |incoming| match incoming {
            Incoming::Text(text) if outcome.is_ok() => {
                any = true;
                outcome = self.link.receive(text.as_bytes(), now, received, texts);
            }
            Incoming::Text(_) | Incoming::Ping | Incoming::Pong => {}
            Incoming::Close(_) => closed = true,
        });
        let before = self.unfinished.filter(|_| !any);
        self.unfinished = self.websocket.is_mid_message().then(|| before.unwrap_or(now.mono));
        self.write(room);
        read?;
        self.closing(outcome, CloseCode::POLICY, room)?;
        if closed { Err(OcppEnded::ByCharger) } else { Ok(()) }
    }

    /// Takes a message of the node. Calls that may go on by it go on in [`OcppEnd::on_deadline`], which is due at once then.
    pub fn send(&mut self, message: &ToCharger, now: Now, out: &mut Vec<u8>) {
        let mut texts = Vec::new();
        self.link.send(message, now, &mut texts);
        for text in texts {
            self.websocket.sender().text(&text, out);
        }
    }

    /// The management system behind the gate is there, or away, or has sent something: `step` takes it.
    pub fn behind(&mut self, step: impl FnOnce(&mut OcppLink, &mut Vec<String>), out: &mut Vec<u8>) {
        let mut texts = Vec::new();
        step(&mut self.link, &mut texts);
        for text in texts {
            self.websocket.sender().text(&text, out);
        }
    }

    /// Texts for the management system, in their order.
    pub fn texts_for_behind(&mut self) -> impl Iterator<Item = String> + '_ {
        self.link.texts_for_behind()
    }

    /// Writes the last frame: the gate closes the connection.
    pub fn close(&mut self, code: Code, out: &mut Vec<u8>) {
        let why = if code == Code::Replaced { CloseCode::GOING_AWAY } else { CloseCode::TRY_LATER };
        self.websocket.sender().close(why, code.meaning(), out);
    }

    /// When [`OcppEnd::on_deadline`] is to be called next.
    pub fn next_deadline(&self) -> Mono {
        [self.link.next_deadline(), self.give_up_at()].into_iter().flatten().fold(self.silent_at(), Mono::min)
    }

    /// Time has passed, or a message of the node let calls go on.
    ///
    /// # Errors
    /// [`OcppEnded`].
    pub fn on_deadline(&mut self, now: Now, room: &mut OcppRoom) -> Result<(), OcppEnded> {
        if self.give_up_at().is_some_and(|at| at <= now.mono) {
            return Err(OcppEnded::Unfinished);
        }
        if self.silent_at() <= now.mono {
            if self.asked {
                return Err(OcppEnded::Silent);
            }
            (self.received, self.asked) = (now.mono, true);
            self.websocket.sender().ping(&mut room.reply);
        }
        let outcome = self.link.on_deadline(now, &mut room.received, &mut room.texts);
        self.write(room);
        self.closing(outcome, CloseCode::TRY_LATER, room)
    }

    fn write(&mut self, room: &mut OcppRoom) {
        for text in room.texts.drain(..) {
            self.websocket.sender().text(&text, &mut room.reply);
        }
    }

    fn closing(
        &mut self,
        outcome: Result<(), OcppError>,
        why: CloseCode,
        room: &mut OcppRoom,
    ) -> Result<(), OcppEnded> {
        outcome.map_err(|error| {
            self.websocket.sender().close(why, &error.to_string(), &mut room.reply);
            error.into()
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
