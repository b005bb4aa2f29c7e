//! TLS over TCP, lean: no buffer of its own beyond those of the TLS library, which are empty when nothing is under way.
//!
//! A socket can leave one runtime and enter another: the handshake is done on threads of its own, the conversation on
//! the thread of the actors.

use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};
use rustls_pki_types::{CertificateDer, ServerName};
use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// One end of a TLS connection.
pub struct Socket {
    tcp: TcpStream,
    tls: Box<Connection>,
}

/// A socket between two runtimes: belongs to no reactor.
pub struct Parked {
    tcp: std::net::TcpStream,
    tls: Box<Connection>,
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

impl Socket {
    /// The gate's end; no byte is exchanged yet.
    pub fn server(tcp: TcpStream, config: Arc<ServerConfig>) -> Result<Socket, rustls::Error> {
        Ok(Socket { tcp, tls: Box::new(ServerConnection::new(config)?.into()) })
    }

    /// The peer's end; no byte is exchanged yet.
    pub fn client(
        tcp: TcpStream,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Socket, rustls::Error> {
        Ok(Socket { tcp, tls: Box::new(ClientConnection::new(config, name)?.into()) })
    }

    /// Does the handshake. When it fails, the other side is told why before this returns, as far as it reads.
    pub async fn handshake(&mut self) -> Result<(), HandshakeError> {
        loop {
            poll_fn(|cx| self.poll_push(cx)).await?;
            if !self.tls.is_handshaking() {
                return Ok(());
            }
            if poll_fn(|cx| self.poll_pull(cx)).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            if let Err(error) = self.tls.process_new_packets() {
                // The alert fits the socket's send buffer; a peer that does not read is not waited for.
                let _ = self.tls.write_tls(&mut Nonblocking(&self.tcp));
                return Err(error.into());
            }
        }
    }

    /// The certificates that the other side has shown, the leaf first.
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.tls.peer_certificates().unwrap_or_default()
    }

    /// The TCP connection below.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Takes it out of this runtime.
    pub fn park(self) -> io::Result<Parked> {
        Ok(Parked { tcp: self.tcp.into_std()?, tls: self.tls })
    }

    /// Reads ciphertext from TCP. Ready with 0 when the other side has closed.
    fn poll_pull(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.tcp.poll_read_ready(cx))?;
            match self.tls.read_tls(&mut Nonblocking(&self.tcp)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    /// Writes ciphertext to TCP until none is left.
    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            ready!(self.tcp.poll_write_ready(cx))?;
            match self.tls.write_tls(&mut Nonblocking(&self.tcp)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Poll::Ready(Err(error)),
                _ => {}
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Parked {
    /// Enters the runtime in which this is called.
    pub fn unpark(self) -> io::Result<Socket> {
        Ok(Socket { tcp: TcpStream::from_std(self.tcp)?, tls: self.tls })
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let socket = self.get_mut();
        loop {
            match socket.tls.reader().read(buf.initialize_unfilled()) {
                Ok(read) => {
                    buf.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Poll::Ready(Err(error)),
                Err(_) => ready!(socket.poll_gather(cx))?,
            }
        }
    }
}

impl Socket {
    /// Decrypts what TCP has, so that one read of the caller gets many small records. Pending when there is nothing.
    fn poll_gather(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathered = 0;
        while gathered < GATHER_BYTES {
            let read = match self.poll_pull(cx) {
                Poll::Ready(Ok(read)) => read,
                Poll::Ready(Err(error)) if gathered == 0 => return Poll::Ready(Err(error)),
                Poll::Pending if gathered == 0 => return Poll::Pending,
                // What is here is delivered first; a broken connection tells so again.
                Poll::Ready(Err(_)) | Poll::Pending => break,
            };
            let state = self.tls.process_new_packets().map_err(|error| {
                let _ = self.tls.write_tls(&mut Nonblocking(&self.tcp));
                io::Error::new(io::ErrorKind::InvalidData, error)
            })?;
            gathered = state.plaintext_bytes_to_read();
            // The answer to a key update; what TCP does not take of it goes out with the next write.
            let _ = self.poll_push(cx)?;
            if read == 0 || state.peer_has_closed() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Decrypted bytes that are enough for one read; below the library's own bound of 16 KiB.
const GATHER_BYTES: usize = 12 * 1024;

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let socket = self.get_mut();
        ready!(socket.poll_push(cx))?;
        let taken = socket.tls.writer().write(bytes)?;
        // What TCP does not take now goes out with the next write or flush.
        match socket.poll_push(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(taken)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_push(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = self.get_mut();
        socket.tls.send_close_notify();
        ready!(socket.poll_push(cx))?;
        Pin::new(&mut socket.tcp).poll_shutdown(cx)
    }
}

/// Lets the TLS library read from and write to a socket of the runtime, as far as that is possible at once.
struct Nonblocking<'a>(&'a TcpStream);

impl Read for Nonblocking<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buf)
    }
}

impl Write for Nonblocking<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
