//! The way to a gate over mutual TLS, to native listeners and to those for OCPP.

use super::pipe::{Dialler, Dialling, Duplex};
use crate::limits;
use crate::ocpp::Version;
use crate::transport::{Connector, Socket, Wanted, open_websocket};
use crate::units::ChargerId;
use crate::units::rng::Rng;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Dials a gate at this address as the peer that the connector was made for.
pub fn dialler(connector: Connector, address: SocketAddr) -> Dialler {
    Arc::new(move || -> Dialling {
        let connector = connector.clone();
        Box::pin(async move {
            let socket = connector.connect(address).await.map_err(|error| io::Error::other(error.to_string()))?;
            Ok(Box::new(socket) as Box<dyn Duplex>)
        })
    })
}

/// How long the answer to an upgrade is awaited.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(20);

/// Dials a gate's listener for OCPP at this address, and opens the WebSocket of a charger. Its messages are not compressed.
pub fn ocpp_dialler(connector: Connector, address: SocketAddr, (id, version): (&ChargerId, Version)) -> Dialler {
    let path: Arc<str> = format!("/ocpp/{}", utf8_percent_encode(id.as_str(), NON_ALPHANUMERIC)).into();
    let host: Arc<str> = format!("localhost:{}", address.port()).into();
    let dials = Arc::new(AtomicU64::new(0));
    Arc::new(move || -> Dialling {
        let (connector, path, host) = (connector.clone(), path.clone(), host.clone());
        let mut rng = Rng::of(dials.fetch_add(1, Ordering::Relaxed), u128::from(crc32fast::hash(path.as_bytes())));
        Box::pin(async move {
            let mut socket = connector.connect(address).await.map_err(|error| io::Error::other(error.to_string()))?;
            let mut nonce = [0; 16];
            nonce[..8].copy_from_slice(&rng.bits().to_be_bytes());
            nonce[8..].copy_from_slice(&rng.bits().to_be_bytes());
            let protocols = [version.subprotocol()];
            let wanted =
                Wanted { host: &host, path: &path, protocols: &protocols, basic: None, compression: false, nonce };
            let opening = open_websocket(&mut socket, wanted, limits::OCPP_MESSAGE_MAX);
            let opened =
                tokio::time::timeout(UPGRADE_TIMEOUT, opening).await.map_err(|_| io::ErrorKind::TimedOut)??;
            if opened.protocol.as_deref() != Some(version.subprotocol()) {
                return Err(io::Error::other(format!("the gate does not speak {}", version.subprotocol())));
            }
            Ok(Box::new(Opened { early: opened.early, socket }) as Box<dyn Duplex>)
        })
    })
}

/// A connection of which some bytes were read already.
struct Opened {
    early: Vec<u8>,
    socket: Socket,
}

impl AsyncRead for Opened {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.socket).poll_read(cx, buffer);
        }
        let count = self.early.len().min(buffer.remaining());
        buffer.put_slice(&self.early[..count]);
        self.early.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Opened {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
