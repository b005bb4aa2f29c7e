//! The upgrade of a connection to WebSocket, between its TLS handshake and its first message.

use super::socket::Socket;
use super::websocket::{CloseCode, End, HandshakeError, Request, WebSocket, refuse};
use crate::message::PeerIdentity;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroizing;

/// Decides which requests for a WebSocket are granted. Called on a handshake thread; must not block.
pub trait Upgrade: Send + Sync {
    /// The peer behind this request and what is spoken with it. `certificate` is the identity that its certificate proves, if
    /// it has one.
    ///
    /// # Errors
    /// [`Denial`], which is the answer.
    fn decide(
        &self,
        request: &Request,
        certificate: Option<&PeerIdentity>,
        remote: SocketAddr,
    ) -> Result<Grant, Denial>;

    /// Longest message that is taken, in bytes, compressed or not.
    fn message_max(&self) -> usize;
}

/// A granted request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The peer.
    pub identity: PeerIdentity,
    /// The subprotocol, one of those that the request names.
    pub protocol: &'static str,
    /// Whether messages are compressed if the peer offers it.
    pub compression: bool,
}

/// A request that is not granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// No user and password, or wrong ones (401).
    Unauthorized,
    /// The certificate is another peer's (403).
    OtherPeer,
    /// Nothing is served at this path, or no such peer is known (404).
    NotFound,
    /// None of the subprotocols is spoken here: the connection is opened without one and closed at once (OCPP-J 1.6,
    /// section 3.2; OCPP 2.0.1 part 4, section 3.1.2).
    NoSubprotocol,
}

/// Why no WebSocket came about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeError {
    /// The request is no upgrade.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The request was not granted.
    #[error("its request for {path} is denied: {}", .denial.meaning())]
    Denied {
        /// Why.
        denial: Denial,
        /// The path, its unseen characters escaped; at most 128 characters.
        path: String,
    },
}

impl Denial {
    /// The text for the peer and the log.
    pub const fn meaning(&self) -> &'static str {
        match self {
            Denial::Unauthorized => "user and password are missing or wrong",
            Denial::OtherPeer => "the certificate is that of another charger",
            Denial::NotFound => "no such charger is served here",
            Denial::NoSubprotocol => "none of its subprotocols is spoken here",
        }
    }

    const fn status(&self) -> (u16, &'static str) {
        match self {
            Denial::Unauthorized => (401, "Unauthorized"),
            Denial::OtherPeer => (403, "Forbidden"),
            Denial::NotFound => (404, "Not Found"),
            Denial::NoSubprotocol => (400, "Bad Request"),
        }
    }
}

impl UpgradeError {
    /// A label for metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            UpgradeError::Handshake(_) => "no_upgrade",
            UpgradeError::Denied { denial: Denial::Unauthorized, .. } => "wrong_password",
            UpgradeError::Denied { denial: Denial::OtherPeer, .. } => "wrong_identity",
            UpgradeError::Denied { denial: Denial::NotFound, .. } => "unknown_charger",
            UpgradeError::Denied { denial: Denial::NoSubprotocol, .. } => "no_subprotocol",
        }
    }
}

/// A connection after its upgrade.
#[derive(Debug)]
pub struct Upgraded {
    /// The subprotocol.
    pub protocol: &'static str,
    /// Takes bytes, gives messages.
    pub websocket: WebSocket,
    /// The password that the peer has shown.
    pub password: Option<Password>,
}

/// A password, which never reaches a log and does not stay in memory.
#[derive(Clone)]
pub struct Password(pub Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// Bytes read at once.
const READ: usize = 2 * 1024;

/// Reads the request and answers it. What came behind the request is returned too. The answer to a denied request is sent as
/// far as the peer reads; the caller bounds the time.
///
/// # Errors
/// [`UpgradeError`]; an error of the connection is a request that does not end.
pub(super) async fn upgrade(
    socket: &mut Socket,
    upgrade: &dyn Upgrade,
    certificate: Option<&PeerIdentity>,
    remote: SocketAddr,
) -> Result<(Grant, Upgraded, Vec<u8>), Option<UpgradeError>> {
    let mut received = Vec::new();
    let mut answer = Vec::new();
    let outcome = loop {
        match Request::read(&received) {
            Ok(Some((request, length))) => {
                received.drain(..length);
                break decide(&request, upgrade, certificate, remote, &mut answer);
            }
            Ok(None) => {}
            Err(error) => {
                refuse(error.status(), &error.to_string(), &mut answer);
                break Err(error.into());
            }
        }
        let mut room = [0; READ];
        match socket.read(&mut room).await {
            Ok(0) | Err(_) => return Err(None),
            Ok(fresh) => received.extend_from_slice(&room[..fresh]),
        }
    };
    let sent = async {
        socket.write_all(&answer).await?;
        socket.flush().await
    };
    if sent.await.is_err() {
        return Err(None);
    }
    match outcome {
        Ok((grant, upgraded)) => Ok((grant, upgraded, received)),
        Err(error) => {
            let _ = socket.shutdown().await;
            Err(Some(error))
        }
    }
}

/// What a client asks for when it opens a WebSocket.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Name of the server, with its port.
    pub host: &'a str,
    /// The path, encoded.
    pub path: &'a str,
    /// Subprotocols, the preferred one first.
    pub protocols: &'a [&'a str],
    /// User and password.
    pub basic: Option<(&'a str, &'a str)>,
    /// Whether messages may be compressed.
    pub compression: bool,
    /// Random bytes: the key of the request, and the beginning of the masks.
    pub nonce: [u8; 16],
}

/// A client's end after its upgrade.
pub struct Opened {
    /// The subprotocol that the server chose.
    pub protocol: Option<String>,
    /// Takes bytes, gives messages.
    pub websocket: WebSocket,
    /// Received behind the server's answer.
    pub early: Vec<u8>,
}

/// Opens a WebSocket as a client, on a connection whose TLS handshake is done. Waits without end; the caller bounds the time.
///
/// # Errors
/// The connection breaks, or the server's answer opens nothing ([`HandshakeError`] inside the error).
pub async fn open_websocket(socket: &mut Socket, wanted: Wanted<'_>, message_max: usize) -> std::io::Result<Opened> {
    let mut asked = Vec::new();
    let Wanted { host, path, protocols, basic, compression, nonce } = wanted;
    let response = super::websocket::request((host, path), protocols, basic, (compression, nonce), &mut asked);
    socket.write_all(&asked).await?;
    socket.flush().await?;
    let mut received = Vec::new();
    loop {
        if let Some((protocol, compression, length)) = response.read(&received).map_err(std::io::Error::other)? {
            received.drain(..length);
            let mask = u32::from_be_bytes([nonce[0], nonce[1], nonce[2], nonce[3]]);
            let websocket = WebSocket::new(End::Client, compression, message_max, mask);
            return Ok(Opened { protocol, websocket, early: received });
        }
        let mut room = [0; READ];
        match socket.read(&mut room).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            fresh => received.extend_from_slice(&room[..fresh]),
        }
    }
}

fn decide(
    request: &Request,
    upgrade: &dyn Upgrade,
    certificate: Option<&PeerIdentity>,
    remote: SocketAddr,
    answer: &mut Vec<u8>,
) -> Result<(Grant, Upgraded), UpgradeError> {
    match upgrade.decide(request, certificate, remote) {
        Ok(grant) => {
            let compression = grant.compression && request.compression;
            request.accept(Some(grant.protocol), compression, answer);
            let websocket = WebSocket::new(End::Server, compression, upgrade.message_max(), 0);
            let protocol = grant.protocol;
            let password = request.basic.as_ref().map(|(_, password)| Password(password.clone().into()));
            Ok((grant, Upgraded { protocol, websocket, password }))
        }
        Err(denial) => {
            match denial {
                Denial::NoSubprotocol => {
                    request.accept(None, false, answer);
                    let mut websocket = WebSocket::new(End::Server, false, 0, 0);
                    websocket.sender().close(CloseCode::PROTOCOL, denial.meaning(), answer);
                }
                Denial::Unauthorized | Denial::OtherPeer | Denial::NotFound => {
                    refuse(denial.status(), denial.meaning(), answer);
                }
            }
            let path = crate::units::visible(&request.path).chars().take(128).collect();
            Err(UpgradeError::Denied { denial, path })
        }
    }
}
