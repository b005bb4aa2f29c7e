//! Drives one connection: bytes in go to a handler, bytes out come from [`Outgoing`]; deadlines and back pressure.
//!
//! An idle connection holds no buffers: reading goes through one scratch buffer per thread, writing through buffers
//! that return to a pool. Back pressure reaches the peer: after the handler has returned [`Flow::Pause`] nothing is
//! read, the TCP window closes, and the peer waits.

use super::outgoing::{Ended, Ending, Outgoing, give_buffer};
use crate::limits;
use std::borrow::Cow;
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Next action of a connection's driver after some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Read on.
    Continue,
    /// Read nothing until [`Outgoing::resume`].
    Pause,
    /// Write queued data, then close, for this reason.
    Close(Cow<'static, str>),
}

/// The handler of a connection's bytes.
pub trait PeerHandler {
    /// Takes bytes as they come, cut anywhere. All of them are taken, whatever is answered.
    fn received(&mut self, bytes: &[u8]) -> Flow;

    /// Time until [`PeerHandler::deadline`] is to be called, if nothing arrives before. Called after every read, so
    /// the result may change at any time. Not called while reading is paused: a peer that is not read from does not
    /// time out.
    fn wait(&self) -> Option<Duration>;

    /// That time has passed: the peer may have timed out, or a message to it is due.
    fn deadline(&mut self) -> Flow;

    /// The connection is over. Called once, last.
    fn ended(&mut self, reason: &Ended);
}

/// How long a connection waits for a peer that does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionTimeouts {
    /// For the peer to take some of what waits for it.
    pub write_stall: Duration,
    /// For the last bytes to leave before a polite end.
    pub farewell: Duration,
}

impl Default for ConnectionTimeouts {
    fn default() -> ConnectionTimeouts {
        ConnectionTimeouts {
            write_stall: Duration::from_millis(limits::WRITE_STALL_MAX.ms().unsigned_abs()),
            farewell: Duration::from_millis(limits::FAREWELL_MAX.ms().unsigned_abs()),
        }
    }
}

/// Drives a connection until it ends, and returns the reason. `early` came before the handler was there.
///
/// Runs on the thread and runtime of its caller, which needs a timer. There are many connections, so the future
/// captures each value only once.
pub fn drive<S, H>(
    stream: S,
    handler: H,
    (early, outgoing): (Vec<u8>, Outgoing),
    timeouts: ConnectionTimeouts,
) -> impl Future<Output = Ended> + use<S, H>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: PeerHandler + Unpin,
{
    let mut driver = Driver {
        stream,
        handler,
        early,
        outgoing,
        timeouts,
        writing: Vec::new(),
        written: 0,
        unflushed: false,
        paused: false,
        stalled: None,
        leaving: None,
        timer: Box::pin(sleep_until(Instant::now() + IDLE)),
    };
    async move {
        let ended = std::future::poll_fn(|cx| driver.poll(cx)).await;
        driver.outgoing.over();
        driver.handler.ended(&ended);
        give_buffer(std::mem::take(&mut driver.writing));
        ended
    }
}

struct Driver<S, H> {
    stream: S,
    handler: H,
    /// Received before the handler was there; empty after the first read.
    early: Vec<u8>,
    outgoing: Outgoing,
    timeouts: ConnectionTimeouts,
    writing: Vec<u8>,
    written: usize,
    unflushed: bool,
    paused: bool,
    /// Since when the peer accepts none of the waiting bytes.
    stalled: Option<Instant>,
    /// The polite end that is in progress, and since when.
    leaving: Option<(Ended, Instant)>,
    timer: Pin<Box<Sleep>>,
}

/// Reads in a row before other tasks of the thread have their turn.
const READS_PER_TURN: u32 = 16;
/// Interval of timer checks when nothing has a deadline.
const IDLE: Duration = Duration::from_secs(3600);
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
            if resumed {
                self.paused = false;
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
                // close_notify is sent if there is room for it; a peer that does not read is not waited for.
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
                if reads >= READS_PER_TURN {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                if reads > 0 {
                    continue;
                }
            }
            match self.poll_deadline(cx) {
                Poll::Ready(Ok(Flow::Continue)) => {
                    reads += 1;
                    continue;
                }
                Poll::Ready(Ok(Flow::Pause)) => self.paused = true,
                Poll::Ready(Ok(Flow::Close(reason))) => self.outgoing.close(reason),
                Poll::Ready(Err(reason)) => return Poll::Ready(reason),
                Poll::Pending => {}
            }
            if self.outgoing.sleep(cx.waker(), drained, self.paused, self.leaving.is_some()) {
                return Poll::Pending;
            }
        }
    }

    /// Reads once and hands the bytes over.
    fn poll_reading(&mut self, cx: &mut Context<'_>) -> Poll<Result<Flow, Ended>> {
        if !self.early.is_empty() {
            return Poll::Ready(Ok(self.handler.received(&std::mem::take(&mut self.early))));
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(error)) => Poll::Ready(Err(broken(&error))),
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => Poll::Ready(Err(Ended::ByPeer)),
                Poll::Ready(Ok(())) => {
                    self.outgoing.forget_resume();
                    Poll::Ready(Ok(self.handler.received(buffer.filled())))
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

    /// Pending, unless the handler's deadline has passed and it was called, or the peer's time is up.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Result<Flow, Ended>> {
        loop {
            let now = Instant::now();
            let listening = !self.paused && self.leaving.is_none();
            let handler = if listening { self.handler.wait().map(|wait| now + wait) } else { None };
            let stalled = self.stalled.map(|since| since + self.timeouts.write_stall);
            let leaving = self.leaving.as_ref().map(|(_, since)| *since + self.timeouts.farewell);
            // The timer is moved later only when it fires: an active connection touches it rarely.
            let deadline = [handler, stalled, leaving].into_iter().flatten().min().unwrap_or(now + IDLE);
            if deadline < self.timer.deadline() {
                self.timer.as_mut().reset(deadline);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if stalled.is_some_and(|at| at <= now) {
                return Poll::Ready(Err(Ended::SlowReader));
            }
            if let Some((reason, since)) = &self.leaving
                && *since + self.timeouts.farewell <= now
            {
                return Poll::Ready(Err(reason.clone()));
            }
            self.timer.as_mut().reset(deadline.max(now + Duration::from_millis(1)));
            if handler.is_some_and(|at| at <= now) {
                return Poll::Ready(Ok(self.handler.deadline()));
            }
        }
    }
}

fn broken(error: &io::Error) -> Ended {
    Ended::Broken(error.to_string())
}
