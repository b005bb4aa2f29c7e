//! WebSocket without IO: bytes in, messages out. Both ends; RFC 6455, with compression by message (RFC 7692).
//!
//! It is our own because a connection that is silent must hold no buffer: an idle charger costs its TLS state and these few
//! words. Request heads are read by `httparse`, SHA-1 comes from `ring`, DEFLATE from `flate2`. `tokio-websockets` was
//! examined: it has no compression, which OCPP 2.1 (part 4, 3.4) requires of a management system; `tungstenite` keeps a read
//! buffer for each connection and has no compression either.

mod deflate;
mod frame;
mod handshake;
mod link;
mod url;

pub use frame::{CloseCode, Violation};
pub use handshake::{HEAD_MAX, HandshakeError, Request, Response, refuse, request};
pub use link::{Incoming, Sender, WebSocket};
pub use url::{UrlError, WebSocketUrl};

/// Which end of a connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Receives masked frames and sends plain ones.
    Server,
    /// Receives plain frames and sends masked ones.
    Client,
}

#[cfg(test)]
mod tests;
