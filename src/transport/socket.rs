//! TLS over TCP, lean: no buffer of its own when nothing is in progress; see [`Records`]. Or TCP alone, where a listener is
//! configured to take it.
//!
//! A socket can leave one runtime and enter another: the handshake is done on threads of its own, the conversation on
//! the thread of the actors.

use super::records::{ROOM_BYTES, Records};
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::{CertificateDer, ServerName};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// One end of a connection.
pub struct Socket {
    tcp: TcpStream,
    /// None on a connection without TLS.
    tls: Option<Records>,
}

/// A socket between two runtimes: belongs to no reactor.
pub struct Parked {
    tcp: std::net::TcpStream,
    tls: Option<Records>,
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The TLS library refused what the peer sent.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// The connection broke, or the peer closed it.
    #[error(transparent)]
    Io(#[from] io::Error),
}

thread_local! {
    /// Room for ciphertext, in either direction.
    static ROOM: RefCell<Box<[u8]>> = RefCell::new(vec![0; ROOM_BYTES].into_boxed_slice());
}

/// Bytes read at once during a handshake: later data is read by another thread.
const HANDSHAKE_READ: usize = 4 * 1024;
/// Decrypted bytes that are enough for one read.
const GATHER_BYTES: usize = 12 * 1024;
/// Read at once after the handshake, in bytes: what is enough for one read, and a whole record.
const READ: usize = 18 * 1024;

impl Socket {
    /// The gate's end; no byte is exchanged yet.
    ///
    /// # Errors
    /// The TLS library refuses the configuration.
    pub fn server(tcp: TcpStream, config: Arc<ServerConfig>) -> Result<Socket, rustls::Error> {
        Ok(Socket { tcp, tls: Some(Records::server(config)?) })
    }

    /// The peer's end; no byte is exchanged yet.
    ///
    /// # Errors
    /// The TLS library refuses the configuration.
    pub fn client(
        tcp: TcpStream,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Socket, rustls::Error> {
        Ok(Socket { tcp, tls: Some(Records::client(config, name)?) })
    }

    /// An end of a connection without TLS.
    pub fn plain(tcp: TcpStream) -> Socket {
        Socket { tcp, tls: None }
    }

    /// Performs the handshake, if there is TLS. When it fails, the alert is sent before this returns, as far as the other side reads.
    ///
    /// # Errors
    /// [`HandshakeError`]: TLS fails on either side, or the connection breaks.
    pub async fn handshake(&mut self) -> Result<(), HandshakeError> {
        loop {
            poll_fn(|cx| self.poll_push(cx)).await?;
            if !self.tls.as_ref().is_some_and(Records::is_handshaking) {
                return Ok(());
            }
            poll_fn(|cx| self.poll_step(cx)).await?;
        }
    }

    /// The certificates that the other side has shown, the leaf first.
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.tls.as_ref().map_or(&[], Records::peer_certificates)
    }

    /// The TCP connection below.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Takes it out of this runtime.
    ///
    /// # Errors
    /// The descriptor cannot be taken from the runtime.
    pub fn park(self) -> io::Result<Parked> {
        Ok(Parked { tcp: self.tcp.into_std()?, tls: self.tls })
    }

    /// Reads once, for the handshake.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandshakeError>> {
        ROOM.with_borrow_mut(|room| {
            let fresh = ready!(self.poll_pull(cx, room, HANDSHAKE_READ))?;
            if fresh == 0 {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()));
            }
            // What comes behind the handshake waits for its reader.
            Poll::Ready(self.decrypt(room, fresh, &mut ReadBuf::new(&mut [])).map_err(HandshakeError::Tls))
        })
    }

    /// Reads ciphertext from TCP, behind what has begun. Ready with 0 when the other side has closed.
    fn poll_pull(&mut self, cx: &mut Context<'_>, room: &mut [u8], most: usize) -> Poll<io::Result<usize>> {
        let room = match &mut self.tls {
            Some(tls) => tls.room_for_more(room),
            None => room,
        };
        let most = most.min(room.len());
        let mut fresh = ReadBuf::new(&mut room[..most]);
        ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut fresh))?;
        Poll::Ready(Ok(fresh.filled().len()))
    }

    fn decrypt(&mut self, room: &mut [u8], fresh: usize, reader: &mut ReadBuf<'_>) -> Result<(), rustls::Error> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        let outcome = tls.receive(room, fresh, reader);
        // The alert fits the socket's send buffer; a peer that does not read is not waited for.
        if outcome.is_err()
            && let Ok(sent) = self.tcp.try_write(tls.unsent())
        {
            tls.sent(sent);
        }
        outcome
    }

    /// Writes ciphertext to TCP until none is left.
    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(tls) = &mut self.tls else { return Poll::Ready(Ok(())) };
        while !tls.unsent().is_empty() {
            match ready!(Pin::new(&mut self.tcp).poll_write(cx, tls.unsent()))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => tls.sent(sent),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Parked {
    /// Enters the runtime in which this is called.
    ///
    /// # Errors
    /// The descriptor cannot be registered with the runtime.
    pub fn unpark(self) -> io::Result<Socket> {
        Ok(Socket { tcp: TcpStream::from_std(self.tcp)?, tls: self.tls })
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let socket = self.get_mut();
        let Some(tls) = &mut socket.tls else { return Pin::new(&mut socket.tcp).poll_read(cx, buf) };
        if tls.read(buf) {
            return Poll::Ready(Ok(()));
        }
        ROOM.with_borrow_mut(|room| socket.poll_gather(cx, room, buf))
    }
}

impl Socket {
    /// Decrypts what TCP has, so that one read of the caller gets many small records. Pending when there is nothing.
    fn poll_gather(&mut self, cx: &mut Context<'_>, room: &mut [u8], buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        while buf.filled().len() - before < GATHER_BYTES && !self.tls.as_ref().is_some_and(Records::is_at_end) {
            let anything = buf.filled().len() > before;
            let fresh = match self.poll_pull(cx, room, READ) {
                // Received data is delivered first; a broken connection reports its error again.
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) | Poll::Pending if anything => break,
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(Ok(fresh)) => fresh,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            };
            self.decrypt(room, fresh, buf).map_err(broken)?;
            // What the library answers by itself; what TCP does not take of it goes out with the next write.
            let _ = self.poll_push(cx)?;
            if buf.remaining() == 0 {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let socket = self.get_mut();
        ready!(socket.poll_push(cx))?;
        let Some(tls) = &mut socket.tls else { return Pin::new(&mut socket.tcp).poll_write(cx, bytes) };
        ROOM.with_borrow_mut(|room| {
            let (taken, length) = tls.send(bytes, room).map_err(broken)?;
            let mut ciphertext = &room[..length];
            while !ciphertext.is_empty() {
                match Pin::new(&mut socket.tcp).poll_write(cx, ciphertext) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(sent)) => ciphertext = &ciphertext[sent..],
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    // Goes out with the next write or flush.
                    Poll::Pending => break,
                }
            }
            tls.keep(ciphertext);
            Poll::Ready(Ok(taken))
        })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_push(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = self.get_mut();
        // A failed connection has sent its alert already.
        if let Some(tls) = &mut socket.tls {
            let _ = ROOM.with_borrow_mut(|room| tls.send_goodbye(room));
        }
        ready!(socket.poll_push(cx))?;
        Pin::new(&mut socket.tcp).poll_shutdown(cx)
    }
}

/// Converts the error for readers and writers of a stream.
fn broken(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
