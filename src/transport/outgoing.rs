//! The way out of a connection: a bounded buffer that any thread can add frames to, and the handle that ends it.

use super::refusal::Refusal;
use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Adds bytes to a connection and steers it. Cheap to clone; outlives the connection harmlessly.
#[derive(Clone)]
pub struct Outgoing {
    shared: Arc<Shared>,
}

struct Shared {
    limit: usize,
    state: Mutex<State>,
}

struct State {
    /// Frames that the driver has not taken yet.
    pending: Vec<u8>,
    /// Bytes that the driver has taken and not written yet.
    in_flight: usize,
    /// The task that drives the connection; taken when it is woken, so that a burst of frames wakes it once.
    driver: Option<Waker>,
    /// Set by [`Outgoing::resume`], cleared by the driver.
    resumed: bool,
    ending: Option<Ending>,
}

/// The ordered end of the connection.
#[derive(Clone, Debug)]
pub(super) enum Ending {
    /// After everything pending is written.
    Politely(Ended),
    /// Now.
    AtOnce(Ended),
    /// It has ended.
    Over,
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The peer closed it properly.
    ByPeer,
    /// It broke: a reset, a broken TLS record, an end without goodbye.
    Broken(String),
    /// It does not read.
    SlowReader,
    /// The gate closed it, for this reason.
    ByGate(Cow<'static, str>),
    /// Its certificate has expired or was revoked.
    Cut(Refusal),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::ByPeer => f.write_str("the peer closed it"),
            Ended::Broken(how) => write!(f, "it broke: {how}"),
            Ended::SlowReader => f.write_str("the peer does not read what it is sent"),
            Ended::ByGate(reason) => f.write_str(reason),
            Ended::Cut(refusal) => write!(f, "cut: {refusal}"),
        }
    }
}

/// The frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The connection is closed or closing.
    #[error("the connection is closed")]
    Closed,
    /// The peer does not read; the connection is being closed for it.
    #[error("the peer does not read what it is sent")]
    Full,
}

impl Outgoing {
    /// For a connection that holds at most about `limit` bytes back (one frame more, since frames are never cut).
    pub fn new(limit: usize) -> Outgoing {
        let state = State { pending: Vec::new(), in_flight: 0, driver: None, resumed: false, ending: None };
        Outgoing { shared: Arc::new(Shared { limit, state: Mutex::new(state) }) }
    }

    /// Adds what `encode` appends, whole frames in order. A peer that has let the buffer run full is closed.
    ///
    /// # Errors
    /// [`SendError::Closed`], [`SendError::Full`].
    pub fn send(&self, encode: impl FnOnce(&mut Vec<u8>)) -> Result<(), SendError> {
        let mut state = self.lock();
        if state.ending.is_some() {
            return Err(SendError::Closed);
        }
        if state.pending.len() + state.in_flight > self.shared.limit {
            state.end(Ending::AtOnce(Ended::SlowReader));
            return Err(SendError::Full);
        }
        if state.pending.capacity() == 0 {
            state.pending = take_buffer();
        }
        encode(&mut state.pending);
        state.wake();
        Ok(())
    }

    /// Bytes that wait for the peer to read.
    pub fn queued(&self) -> usize {
        let state = self.lock();
        state.pending.len() + state.in_flight
    }

    /// Lets the driver read again after [`super::Flow::Pause`].
    pub fn resume(&self) {
        let mut state = self.lock();
        state.resumed = true;
        state.wake();
    }

    /// Ends the connection after everything queued is written. The first reason given stays.
    pub fn close(&self, reason: impl Into<Cow<'static, str>>) {
        self.lock().end(Ending::Politely(Ended::ByGate(reason.into())));
    }

    /// Ends the connection now; nothing more is read or written.
    pub fn cut(&self, reason: Ended) {
        self.lock().end(Ending::AtOnce(reason));
    }

    /// Whether the connection is closed or closing.
    pub fn is_closed(&self) -> bool {
        self.lock().ending.is_some()
    }

    /// For the driver: takes pending data, in exchange for an empty buffer.
    pub(super) fn take(&self) -> Vec<u8> {
        let mut state = self.lock();
        let taken = std::mem::take(&mut state.pending);
        state.in_flight = taken.len();
        taken
    }

    /// For the driver: how much of what it took is still to be written.
    pub(super) fn still_in_flight(&self, bytes: usize) {
        self.lock().in_flight = bytes;
    }

    /// For the driver: how the connection is to end, whether it was resumed, and whether there is something to write.
    /// From here until [`Outgoing::sleep`] it is not woken.
    pub(super) fn news(&self) -> (Option<Ending>, bool, bool) {
        let mut state = self.lock();
        state.driver = None;
        (state.ending.clone(), state.resumed, !state.pending.is_empty())
    }

    /// For the driver: registers to be woken from now on. False when there is something to do already: for an idle
    /// writer bytes, for a paused reader a resume, for one that is not leaving yet an end.
    pub(super) fn sleep(&self, waker: &Waker, idle_writer: bool, paused: bool, leaving: bool) -> bool {
        let mut state = self.lock();
        let end = match &state.ending {
            Some(Ending::AtOnce(_)) => true,
            Some(Ending::Politely(_)) => !leaving,
            Some(Ending::Over) | None => false,
        };
        if end || (idle_writer && !state.pending.is_empty()) || (paused && state.resumed) {
            return false;
        }
        state.driver = Some(waker.clone());
        true
    }

    /// For the driver: a resume from before this moment does not count.
    pub(super) fn forget_resume(&self) {
        self.lock().resumed = false;
    }

    /// For the driver: it is over; pending data is dropped.
    pub(super) fn over(&self) {
        let mut state = self.lock();
        state.pending = Vec::new();
        state.in_flight = 0;
        state.driver = None;
        state.ending = Some(Ending::Over);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }

    fn end(&mut self, ending: Ending) {
        match (&self.ending, &ending) {
            (None, _) | (Some(Ending::Politely(_)), Ending::AtOnce(_)) => self.ending = Some(ending),
            (Some(_), _) => {}
        }
        self.wake();
    }
}

/// Buffers kept per thread, so that an idle connection holds none and a busy one allocates none.
const POOL_BUFFERS: usize = 64;
/// A buffer that has grown beyond this is not kept, in bytes.
const POOLED_BUFFER_MAX: usize = 128 * 1024;

thread_local! {
    static POOL: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

fn take_buffer() -> Vec<u8> {
    POOL.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(1024))
}

/// Gives a buffer back to the pool of this thread.
pub(super) fn give_buffer(mut buffer: Vec<u8>) {
    if buffer.capacity() > 0 && buffer.capacity() <= POOLED_BUFFER_MAX {
        POOL.with_borrow_mut(|pool| {
            if pool.len() < POOL_BUFFERS {
                buffer.clear();
                pool.push(buffer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_does_not_read_is_closed_at_the_bound() {
        let outgoing = Outgoing::new(10);
        let frame = |buffer: &mut Vec<u8>| buffer.extend_from_slice(b"12345678");
        assert_eq!(outgoing.send(frame), Ok(()));
        assert_eq!(outgoing.send(frame), Ok(()), "a frame is never cut");
        assert_eq!(outgoing.send(frame), Err(SendError::Full));
        assert_eq!(outgoing.send(frame), Err(SendError::Closed));
    }

    #[test]
    fn a_polite_end_can_be_cut_short_but_not_the_other_way_round() {
        let outgoing = Outgoing::new(10);
        outgoing.close("drain");
        outgoing.cut(Ended::Cut(Refusal::Revoked));
        outgoing.close("too late");
        let (ending, _, _) = outgoing.news();
        assert!(matches!(ending, Some(Ending::AtOnce(Ended::Cut(Refusal::Revoked)))), "{ending:?}");
    }
}
