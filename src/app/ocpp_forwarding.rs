//! The management system behind the gate: one connection for each charger that is connected, dialled again when it breaks.

use crate::limits;
use crate::ocpp::Version;
use crate::transport::websocket::{Incoming, WebSocketUrl};
use crate::transport::{Connector, Opened, Password, Socket, Wanted, open_websocket};
use crate::units::ChargerId;
use ring::rand::{SecureRandom, SystemRandom};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Where the management system is.
pub struct Behind {
    /// Its address, below which each charger has its own.
    pub url: WebSocketUrl,
    /// For `wss`: the authorities that it is recognised by.
    pub connector: Option<Connector>,
}

/// The charger of a connection to the management system.
pub(super) struct Forwarded {
    pub charger: ChargerId,
    pub version: Version,
    /// What it has shown to the gate, it shows there too.
    pub password: Option<Password>,
}

/// The charger's end of what comes and goes.
pub(super) trait ChargerEnd: Send + Sync + 'static {
    /// The management system is there: what waits for it is to be sent.
    fn opened(&self);
    /// It is away.
    fn closed(&self);
    /// It has sent this.
    fn received(&self, text: &str);
}

/// Between two attempts to dial, at first and at most.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// To connect and to be upgraded.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// A management system that sends nothing for so long, not even answers to heartbeats, is dialled again.
const SILENCE_MAX: Duration = Duration::from_secs(900);

/// A management system that does not read for so long is dialled again.
const WRITE_MAX: Duration = Duration::from_secs(10);

/// Bytes read at once.
const READ: usize = 16 * 1_024;

/// Carries texts to and fro until the charger's connection is over, which ends `texts`.
pub(super) async fn carry(
    behind: Arc<Behind>,
    forwarded: Forwarded,
    mut texts: mpsc::Receiver<String>,
    end: Arc<impl ChargerEnd>,
) {
    let mut pause = PAUSE;
    loop {
        let opened = tokio::time::timeout(OPEN_TIMEOUT, open(&behind, &forwarded));
        match opened.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok((socket, opened)) => {
                let since = tokio::time::Instant::now();
                end.opened();
                let outcome = exchange(socket, opened, &mut texts, &*end).await;
                // One that closes at once is dialled as seldom as one that is away.
                if since.elapsed() >= PAUSE_MAX {
                    pause = PAUSE;
                }
                match outcome {
                    Ok(()) => return,
                    Err(error) => log(&behind, &forwarded, &error),
                }
            }
            Err(error) => log(&behind, &forwarded, &error),
        }
        end.closed();
        let until = tokio::time::Instant::now() + pause;
        loop {
            match tokio::time::timeout_at(until, texts.recv()).await {
                // What was meant for a connection that is gone.
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(_) => break,
            }
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

fn log(behind: &Behind, forwarded: &Forwarded, error: &io::Error) {
    tracing::warn!(
        charger = %forwarded.charger, url = %behind.url, %error,
        "the management system is away: what is for it is answered here"
    );
}

async fn open(behind: &Behind, forwarded: &Forwarded) -> io::Result<(Socket, Opened)> {
    let url = &behind.url;
    let mut socket = match &behind.connector {
        None => Socket::plain(TcpStream::connect((&*url.host, url.port)).await?),
        Some(connector) => {
            let address = tokio::net::lookup_host((&*url.host, url.port)).await?.next();
            let address = address.ok_or_else(|| io::Error::other("the name has no address"))?;
            connector.connect(address).await.map_err(io::Error::other)?
        }
    };
    let mut nonce = [0; 16];
    SystemRandom::new().fill(&mut nonce).expect("the system gives random numbers");
    let charger = forwarded.charger.as_str();
    let password = forwarded.password.as_ref().and_then(|password| std::str::from_utf8(&password.0).ok());
    let protocol = forwarded.version.subprotocol();
    let wanted = Wanted {
        host: &url.authority(),
        path: &format!("{}/{charger}", url.path),
        protocols: &[protocol],
        basic: password.map(|password| (charger, password)),
        compression: false,
        nonce,
    };
    let opened = open_websocket(&mut socket, wanted, limits::OCPP_MESSAGE_MAX).await?;
    match opened.protocol.as_deref() {
        Some(chosen) if chosen == protocol => Ok((socket, opened)),
        _ => Err(io::Error::other(format!("it does not speak {protocol}"))),
    }
}

/// Until the charger's connection is over.
///
/// # Errors
/// The management system's connection is over.
async fn exchange(
    mut socket: Socket,
    mut opened: Opened,
    texts: &mut mpsc::Receiver<String>,
    end: &impl ChargerEnd,
) -> io::Result<()> {
    let mut bytes = vec![0; READ];
    let mut out = Vec::new();
    let mut fresh = std::mem::take(&mut opened.early);
    loop {
        let mut closed = false;
        let read = opened.websocket.receive(&fresh, &mut out, |incoming| match incoming {
            Incoming::Text(text) => end.received(text),
            Incoming::Ping | Incoming::Pong => {}
            Incoming::Close(_) => closed = true,
        });
        fresh.clear();
        if !out.is_empty() {
            let written = async {
                socket.write_all(&out).await?;
                socket.flush().await
            };
            // It may not read while it sends: both would wait for ever.
            tokio::time::timeout(WRITE_MAX, written).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
            out.clear();
        }
        read.map_err(io::Error::other)?;
        if closed {
            return Err(io::Error::other("it closed the connection"));
        }
        tokio::select! {
            text = texts.recv() => match text {
                Some(text) => opened.websocket.sender().text(&text, &mut out),
                None => return Ok(()),
            },
            read = tokio::time::timeout(SILENCE_MAX, socket.read(&mut bytes)) => match read {
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(read) => match read? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    count => fresh.extend_from_slice(bytes.get(..count).unwrap_or_default()),
                },
            },
        }
    }
}
