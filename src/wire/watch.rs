//! State and timers that both ends of every link share.

use super::LinkError;
use crate::limits;
use crate::message::Code;
use crate::units::{Mono, TimeSpan};

/// Where a link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The handshake is done, no Hello has come (at the client: no HelloAck).
    AwaitingHello,
    /// Messages flow.
    Open,
    /// One side announced the end, or the link failed. Nothing more is read or sent.
    Closed(Code),
}

/// The timers of a link. Only whole frames reset them: single bytes do not keep a link open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    pub phase: Phase,
    pub heartbeat: TimeSpan,
    /// The last whole frame; before the first, when the link began.
    last_received: Mono,
    /// When we last sent a frame that the peer counts as a sign of life.
    last_spoken: Mono,
    mid_frame_since: Option<Mono>,
}

impl Watch {
    pub fn new(now: Mono) -> Watch {
        Watch {
            phase: Phase::AwaitingHello,
            heartbeat: limits::HEARTBEAT,
            last_received: now,
            last_spoken: now,
            mid_frame_since: None,
        }
    }

    /// Whole frames came.
    pub fn received(&mut self, now: Mono) {
        self.last_received = now;
        self.mid_frame_since = None;
    }

    /// Notes that we sent a frame that the peer counts as a sign of life.
    pub fn spoke(&mut self, now: Mono) {
        self.last_spoken = now;
    }

    /// After the bytes of one piece: is a frame unfinished?
    pub fn mid_frame(&mut self, is_mid_frame: bool, now: Mono) {
        if is_mid_frame {
            self.mid_frame_since = self.mid_frame_since.or(Some(now))
        } else {
            self.mid_frame_since = None
        }
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed(_))
    }

    /// When the link ends, unless the peer sends a frame before.
    pub fn give_up_at(&self) -> Option<Mono> {
        let silent = match self.phase {
            Phase::AwaitingHello => self.last_received.after(limits::HELLO_TIMEOUT),
            Phase::Open => self.last_received.after(self.timeout()),
            Phase::Closed(_) => return None,
        };
        let frame = self.mid_frame_since.map(|since| since.after(limits::FRAME_TIMEOUT));
        Some(frame.map_or(silent, |frame| frame.min(silent)))
    }

    /// Whether the peer has to be given up now.
    ///
    /// # Errors
    /// [`LinkError`]: no Hello, or no frame, within the time-out.
    pub fn check(&self, now: Mono) -> Result<(), LinkError> {
        match self.give_up_at() {
            Some(at) if at <= now => {}
            _ => return Ok(()),
        }
        if self.mid_frame_since.is_some_and(|since| since.after(limits::FRAME_TIMEOUT) <= now) {
            return Err(LinkError::FrameTimeout);
        }
        Err(match self.phase {
            Phase::AwaitingHello => LinkError::HelloTimeout,
            Phase::Open | Phase::Closed(_) => LinkError::Silent(self.timeout()),
        })
    }

    /// When we have to send a frame, so that the peer receives one within a heartbeat.
    pub fn speak_at(&self) -> Option<Mono> {
        match self.phase {
            Phase::Open => Some(self.last_spoken.after(TimeSpan::from_ms(self.heartbeat.ms() / 2))),
            Phase::AwaitingHello | Phase::Closed(_) => None,
        }
    }

    fn timeout(&self) -> TimeSpan {
        TimeSpan::from_ms(self.heartbeat.ms().saturating_mul(limits::HEARTBEATS_MISSED))
    }
}
