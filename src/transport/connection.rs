//! Drives one connection: bytes in go to a handler, bytes out come from [`Outgoing`]; deadlines and back pressure.
//!
//! An idle connection holds no buffers: reading goes through one scratch buffer per thread, writing through buffers
//! that return to a pool. Back pressure goes all the way: while the handler has said [`Flow::Pause`] nothing is read,
//! the TCP window closes, and the peer waits.

use super::outgoing::{Ended, Ending, Outgoing, give_buffer};
use std::borrow::Cow;
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// What the driver of a connection does after it has handed over some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Read on.
    Continue,
    /// Read nothing until [`Outgoing::resume`].
    Pause,
    /// Write what is queued, then close, for this reason.
    Close(Cow<'static, str>),
}

/// What a connection's bytes are for.
pub trait PeerHandler {
    /// Takes bytes as they come, cut anywhere. All of them are taken, whatever is answered.
    fn received(&mut self, bytes: &[u8]) -> Flow;

    /// How many complete messages have come so far. Bytes without a complete message do not count as a sign of life,
    /// so a peer that sends one byte now and then is closed like a silent one.
    fn messages(&self) -> u64;

    /// The connection is over. Called once, last.
    fn ended(&mut self, reason: &Ended);
}

/// How long a connection waits for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For the first complete message.
    pub first_message: Duration,
    /// For each further complete message.
    pub silence: Duration,
    /// For the peer to read some of what it is sent.
    pub write_stall: Duration,
    /// For the last bytes to leave before a polite end.
    pub farewell: Duration,
}

/// Drives a connection until it ends, and says why it did.
///
/// Runs on the thread and runtime of whoever awaits it; needs a timer there.
pub async fn drive<S, H>(stream: S, handler: H, outgoing: Outgoing, patience: Patience) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: PeerHandler + Unpin,
{
    let now = Instant::now();
    let mut driver = Driver {
        stream,
        handler,
        outgoing,
        patience,
        writing: Vec::new(),
        written: 0,
        unflushed: false,
        paused: false,
        messages: 0,
        heard: now,
        stalled: None,
        leaving: None,
        timer: Box::pin(sleep_until(now + patience.first_message)),
    };
    let ended = std::future::poll_fn(|cx| driver.poll(cx)).await;
    driver.outgoing.over();
    driver.handler.ended(&ended);
    give_buffer(std::mem::take(&mut driver.writing));
    ended
}

struct Driver<S, H> {
    stream: S,
    handler: H,
    outgoing: Outgoing,
    patience: Patience,
    writing: Vec<u8>,
    written: usize,
    unflushed: bool,
    paused: bool,
    messages: u64,
    /// When the last complete message came.
    heard: Instant,
    /// Since when the peer takes nothing of what waits for it.
    stalled: Option<Instant>,
    /// The polite end that is under way, and since when.
    leaving: Option<(Ended, Instant)>,
    timer: Pin<Box<Sleep>>,
}

/// Reads in a row before other tasks of the thread have their turn.
const READS_PER_TURN: u32 = 16;
/// Size of a thread's scratch buffer: four TLS records.
const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice());
}

impl<S, H> Driver<S, H>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: PeerHandler + Unpin,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let mut reads = 0;
        loop {
            let (ending, resumed, pending) = self.outgoing.news();
            match ending {
                Some(Ending::AtOnce(reason)) => return Poll::Ready(reason),
                Some(Ending::Politely(reason)) if self.leaving.is_none() => {
                    self.leaving = Some((reason, Instant::now()));
                }
                Some(Ending::Politely(_)) | Some(Ending::Over) | None => {}
            }
            if resumed && self.paused {
                self.paused = false;
                self.heard = Instant::now();
            }
            let drained = match self.poll_writing(cx, pending) {
                Poll::Ready(Err(error)) => return Poll::Ready(broken(&error)),
                Poll::Ready(Ok(())) => true,
                Poll::Pending => false,
            };
            if let Some((reason, _)) = &self.leaving
                && drained
            {
                let reason = reason.clone();
                // Goodbye is said if there is room for it; a peer that does not read is not waited for.
                let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
                return Poll::Ready(reason);
            }
            if self.leaving.is_none() && !self.paused {
                match self.poll_reading(cx) {
                    Poll::Ready(Ok(Flow::Continue)) => reads += 1,
                    Poll::Ready(Ok(Flow::Pause)) => self.paused = true,
                    Poll::Ready(Ok(Flow::Close(reason))) => self.outgoing.close(reason),
                    Poll::Ready(Err(reason)) => return Poll::Ready(reason),
                    Poll::Pending => reads = 0,
                }
                if reads == READS_PER_TURN {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                if reads > 0 {
                    continue;
                }
            }
            if let Poll::Ready(reason) = self.poll_deadline(cx) {
                return Poll::Ready(reason);
            }
            if self.outgoing.sleep(cx.waker(), drained, self.paused, self.leaving.is_some()) {
                return Poll::Pending;
            }
        }
    }

    /// Reads once and hands the bytes over.
    fn poll_reading(&mut self, cx: &mut Context<'_>) -> Poll<Result<Flow, Ended>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(error)) => Poll::Ready(Err(broken(&error))),
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => Poll::Ready(Err(Ended::ByPeer)),
                Poll::Ready(Ok(())) => {
                    self.outgoing.forget_resume();
                    let flow = self.handler.received(buffer.filled());
                    let messages = self.handler.messages();
                    if messages != self.messages {
                        self.messages = messages;
                        self.heard = Instant::now();
                    }
                    Poll::Ready(Ok(flow))
                }
            }
        })
    }

    /// Writes until nothing is left (ready) or the peer takes no more (pending).
    fn poll_writing(&mut self, cx: &mut Context<'_>, mut pending: bool) -> Poll<io::Result<()>> {
        loop {
            if self.written == self.writing.len() {
                if !pending {
                    break;
                }
                give_buffer(std::mem::take(&mut self.writing));
                self.writing = self.outgoing.take();
                self.written = 0;
                pending = false;
                continue;
            }
            match Pin::new(&mut self.stream).poll_write(cx, &self.writing[self.written..]) {
                Poll::Pending => return self.is_stalled(),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(taken)) => {
                    self.written += taken;
                    self.unflushed = true;
                    self.stalled = None;
                    self.outgoing.still_in_flight(self.writing.len() - self.written);
                }
            }
        }
        if self.writing.capacity() > 0 {
            give_buffer(std::mem::take(&mut self.writing));
            self.written = 0;
        }
        if self.unflushed {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Pending => return self.is_stalled(),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => self.unflushed = false,
            }
        }
        self.stalled = None;
        Poll::Ready(Ok(()))
    }

    fn is_stalled(&mut self) -> Poll<io::Result<()>> {
        self.stalled.get_or_insert_with(Instant::now);
        Poll::Pending
    }

    /// Pending, unless a deadline has passed.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            let (deadline, reason) = self.deadline();
            // The timer is moved forward only when it fires: an active connection touches it rarely.
            if deadline < self.timer.deadline() {
                self.timer.as_mut().reset(deadline);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if deadline <= Instant::now() {
                return Poll::Ready(reason);
            }
            self.timer.as_mut().reset(deadline);
        }
    }

    /// The next moment at which it would be over, and why. A peer that is not read from is not blamed for silence.
    fn deadline(&self) -> (Instant, Ended) {
        let mut next = match (self.paused, self.messages) {
            (true, _) => (Instant::now() + self.patience.silence, Ended::Silent),
            (false, 0) => (self.heard + self.patience.first_message, Ended::NoHello),
            (false, _) => (self.heard + self.patience.silence, Ended::Silent),
        };
        if let Some(since) = self.stalled {
            next = earlier(next, (since + self.patience.write_stall, Ended::SlowReader));
        }
        if let Some((reason, since)) = &self.leaving {
            next = earlier(next, (*since + self.patience.farewell, reason.clone()));
        }
        next
    }
}

fn earlier(a: (Instant, Ended), b: (Instant, Ended)) -> (Instant, Ended) {
    if b.0 < a.0 { b } else { a }
}

fn broken(error: &io::Error) -> Ended {
    Ended::Broken(error.to_string())
}
