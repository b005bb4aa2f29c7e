//! A simulated OCPP charger with its WebSocket: bytes in, bytes out.

use super::{OcppCharger, Unanswered};
use crate::sim::charger::Charger;
use crate::transport::websocket::{Incoming, Violation, WebSocket};
use crate::units::{Mono, Now};

/// The charger's end of its connections, and the WebSocket of the present one.
#[derive(Debug)]
pub struct OcppLine {
    /// What it says.
    pub ocpp: OcppCharger,
    websocket: Option<WebSocket>,
}

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The gate breaks the rules of WebSocket.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The gate closed it.
    #[error("the gate closed it")]
    Closed,
    /// The gate does not answer.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
}

impl OcppLine {
    /// A charger without a connection.
    pub fn new(ocpp: OcppCharger) -> OcppLine {
        OcppLine { ocpp, websocket: None }
    }

    /// A WebSocket is open.
    pub fn connected(&mut self, charger: &mut Charger, websocket: WebSocket, now: Now) {
        self.websocket = Some(websocket);
        self.ocpp.connected(charger, now);
    }

    /// It is over.
    pub fn disconnected(&mut self, charger: &mut Charger, now: Mono) {
        self.websocket = None;
        self.ocpp.disconnected(charger, now);
    }

    /// When [`OcppLine::drive`] is to be called next, besides the charger's own deadlines.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.ocpp.next_deadline()
    }

    /// Takes bytes of the gate, cut anywhere.
    ///
    /// # Errors
    /// [`LineError`]: the connection is to be closed.
    pub fn receive(
        &mut self,
        charger: &mut Charger,
        bytes: &[u8],
        now: Now,
        out: &mut Vec<u8>,
    ) -> Result<(), LineError> {
        let OcppLine { ocpp, websocket } = self;
        let Some(websocket) = websocket else { return Ok(()) };
        let (mut texts, mut closed) = (Vec::new(), false);
        let read = websocket.receive(bytes, out, |incoming| match incoming {
            Incoming::Text(text) => ocpp.receive(charger, text, now, &mut texts),
            Incoming::Ping | Incoming::Pong => {}
            Incoming::Close(_) => closed = true,
        });
        texts.iter().for_each(|text| websocket.sender().text(text, out));
        read?;
        if closed { Err(LineError::Closed) } else { Ok(()) }
    }

    /// Sends what is due and may be sent.
    ///
    /// # Errors
    /// [`LineError`]: the connection is to be closed.
    pub fn drive(&mut self, charger: &mut Charger, now: Now, out: &mut Vec<u8>) -> Result<(), LineError> {
        let mut texts = Vec::new();
        let outcome = self.ocpp.drive(charger, now, &mut texts);
        if let Some(websocket) = &mut self.websocket {
            texts.iter().for_each(|text| websocket.sender().text(text, out));
        }
        Ok(outcome?)
    }
}
