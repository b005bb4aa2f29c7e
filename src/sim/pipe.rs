//! The dialling end of a byte stream: reads, writes and waits at the same time, in one task.
//!
//! Writing never blocks reading: a peer that waits for its answers to be read before it reads on is served.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep_until};

/// Any stream of bytes in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection attempt in progress.
pub type Dialling = Pin<Box<dyn Future<Output = io::Result<Box<dyn Duplex>>> + Send>>;

/// How a simulated peer reaches the gate, as itself: over mutual TLS, or in a test over a pipe in memory.
pub trait Dial: Send + Sync {
    /// Connects once.
    fn dial(&self) -> Dialling;
}

impl<F: Fn() -> Dialling + Send + Sync> Dial for F {
    fn dial(&self) -> Dialling {
        self()
    }
}

/// A way to the gate that can be shared.
pub type Dialler = Arc<dyn Dial>;

/// Bytes that are read at once.
const READ_MAX: usize = 4 * 1_024;

/// An open connection.
pub struct Pipe {
    reader: ReadHalf<Box<dyn Duplex>>,
    writer: WriteHalf<Box<dyn Duplex>>,
    out: Vec<u8>,
    written: usize,
    unflushed: bool,
    scratch: Box<[u8]>,
}

/// Why [`Pipe::turn`] returned.
#[derive(Debug, PartialEq, Eq)]
pub enum PipeEvent<'a> {
    /// These bytes came.
    Bytes(&'a [u8]),
    /// Everything that was to be sent is with the operating system.
    Sent,
    /// The time has come.
    Time,
}

impl Pipe {
    /// Over a connected stream.
    pub fn new(stream: Box<dyn Duplex>) -> Pipe {
        let (reader, writer) = tokio::io::split(stream);
        let scratch = vec![0; READ_MAX].into_boxed_slice();
        Pipe { reader, writer, out: Vec::new(), written: 0, unflushed: false, scratch }
    }

    /// Bytes appended here are sent by the next turns.
    pub fn out(&mut self) -> &mut Vec<u8> {
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        &mut self.out
    }

    /// Bytes that wait to be sent.
    pub fn backlog(&self) -> usize {
        self.out.len() - self.written
    }

    /// Sends what there is to send until something comes, everything is sent, or the time has come.
    ///
    /// # Errors
    /// The connection is closed or broken.
    pub async fn turn(&mut self, until: Instant) -> io::Result<PipeEvent<'_>> {
        loop {
            let Pipe { reader, writer, out, written, unflushed, scratch } = &mut *self;
            let pending = *written < out.len();
            let sending = async {
                if pending {
                    writer.write(&out[*written..]).await.map(Some)
                } else {
                    writer.flush().await.map(|()| None)
                }
            };
            tokio::select! {
                sent = sending, if pending || *unflushed => match sent? {
                    Some(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Some(bytes) => {
                        *written += bytes;
                        *unflushed = true;
                    }
                    None => {
                        *unflushed = false;
                        return Ok(PipeEvent::Sent);
                    }
                },
                read = reader.read(scratch) => {
                    let read = read?;
                    if read == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    return Ok(PipeEvent::Bytes(&self.scratch[..read]));
                }
                () = sleep_until(until) => return Ok(PipeEvent::Time),
            }
        }
    }

    /// Sends the rest, as far as the peer accepts it at once, and closes.
    pub async fn close(mut self, timeout: std::time::Duration) {
        let rest = self.out.split_off(self.written);
        let goodbye = async {
            self.writer.write_all(&rest).await?;
            self.writer.shutdown().await
        };
        // A peer that is gone or does not read is not waited for, and the connection ends in any case.
        let _ = tokio::time::timeout(timeout, goodbye).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn reads_while_it_cannot_write() {
        // Room for four bytes in each direction: neither side can finish writing before the other one reads.
        let (near, mut far) = tokio::io::duplex(4);
        let mut pipe = Pipe::new(Box::new(near));
        pipe.out().extend_from_slice(b"twelve bytes");
        let peer = tokio::spawn(async move {
            far.write_all(b"and an answer").await.unwrap();
            let mut received = [0; 12];
            far.read_exact(&mut received).await.unwrap();
            received
        });
        let (mut received, mut sent) = (Vec::new(), false);
        while received.len() < 13 || !sent {
            match pipe.turn(Instant::now() + Duration::from_secs(60)).await.unwrap() {
                PipeEvent::Bytes(bytes) => received.extend_from_slice(bytes),
                PipeEvent::Sent => sent = true,
                PipeEvent::Time => panic!("no deadline is reached here"),
            }
        }
        assert_eq!(received, b"and an answer");
        assert_eq!(&peer.await.unwrap(), b"twelve bytes");
        assert_eq!(pipe.backlog(), 0);
    }
}
