//! The gate's end of a payment processor's connection.
//!
//! ```text
//!              Hello, checked against the certificate           GoAway, garbage, silence
//!   awaiting ──────────────────────────────────────▶ open ────────────────────────────────────▶ closed
//!   Hello                                             │ Drain sent                                ▲
//!      │ 10 s                                         ▼                                           │
//!      └──────────▶ closed                         open, until the drain's deadline ──────────────┘
//! ```
//!
//! Several connections of one processor are several links; the caller chooses one for each operation.

use super::charger_codec::put;
use super::frame::{Direction, Frame, FrameHead, FrameReader, FrameType, MacKey, write_frame};
use super::payload::{PayloadError, write_go_away};
use super::processor_codec::{ProcessorPayload, answered_by, read_from_processor, write_to_processor};
use super::watch::{Phase, Watch};
use super::{LinkError, SendError, schema};
use crate::message::{
    Channel, Code, FromProcessor, GoAway, PeerIdentity, ProcessorHello, SettlementPart, Subject, Terms, ToProcessor,
};
use crate::payment::{Answer, CallbackId, Notification};
use crate::units::{Mono, Now, ProcessorId, TimeSpan};
use hashbrown::HashSet;

/// The gate's end of one connection of a processor.
#[derive(Debug)]
pub struct ProcessorLink {
    reader: FrameReader,
    state: State,
}

#[derive(Debug)]
struct State {
    processor: ProcessorId,
    mac: Option<MacKey>,
    watch: Watch,
    /// The Hello's own number, for the HelloAck.
    hello: u64,
    /// Callbacks that may be unacknowledged, and those that are: at most one more.
    window: u32,
    unacknowledged: HashSet<CallbackId>,
    /// A rule names it, or none is needed.
    known: bool,
    drain_until: Option<Mono>,
    nonce: u64,
}

impl ProcessorLink {
    /// A link after the handshake, for the peer that its certificate names. With a key, every frame of both sides
    /// carries a MAC by it.
    ///
    /// # Errors
    /// [`LinkError::WrongRole`] when the peer is no processor.
    pub fn new(peer: &PeerIdentity, mac: Option<MacKey>, now: Mono) -> Result<ProcessorLink, LinkError> {
        let processor = match &peer.subject {
            Subject::Processor(processor) => processor.clone(),
            Subject::Charger(_) | Subject::Site(_) | Subject::Gate(_) => {
                return Err(LinkError::WrongRole(peer.role()));
            }
        };
        let reader = FrameReader::new(Direction::ProcessorToGate, mac.clone());
        let state = State {
            processor,
            mac,
            watch: Watch::new(now),
            hello: 0,
            window: Terms::PROCESSOR.window,
            unacknowledged: HashSet::new(),
            known: true,
            drain_until: None,
            nonce: 0,
        };
        Ok(ProcessorLink { reader, state })
    }

    /// The same for a processor that no rule names: its Hello is answered with the reason, and the connection ends.
    #[must_use]
    pub fn unknown(mut self) -> ProcessorLink {
        self.state.known = false;
        self
    }

    /// Takes bytes as they came. Messages are appended to `messages`, bytes for the peer to `reply`.
    ///
    /// On an error the messages before it are still good, `reply` ends with a GoAway unless the peer sent one, and
    /// the connection is to be closed when that is written.
    ///
    /// # Errors
    /// [`LinkError`]: a malformed frame or payload, another identity than the certificate's, a message that is not
    /// allowed now, or the end of the connection.
    pub fn receive(
        &mut self,
        mut bytes: &[u8],
        now: Now,
        messages: &mut Vec<FromProcessor>,
        reply: &mut Vec<u8>,
    ) -> Result<(), LinkError> {
        let ProcessorLink { reader, state } = self;
        if let Phase::Closed(code) = state.watch.phase {
            return Err(LinkError::Closed(code));
        }
        loop {
            let outcome = match reader.next(&mut bytes) {
                Ok(None) => break,
                Ok(Some(frame)) => state.take(&frame, now.mono, messages, reply),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = outcome {
                return Err(state.fail(error, reply));
            }
        }
        state.watch.mid_frame(reader.is_mid_frame(), now.mono);
        Ok(())
    }

    /// Appends a message to `out`. A GoAway ends the link.
    ///
    /// # Errors
    /// [`SendError::Closed`]; [`SendError::TooLong`].
    pub fn send(&mut self, message: &ToProcessor, now: Now, out: &mut Vec<u8>) -> Result<(), SendError> {
        let state = &mut self.state;
        if state.watch.is_closed() {
            return Err(SendError::Closed);
        }
        let mut correlation = 0;
        match message {
            ToProcessor::HelloAck(ack) => {
                state.watch.heartbeat = ack.terms.heartbeat;
                state.window = ack.terms.window;
                correlation = state.hello;
            }
            ToProcessor::Ack { callback } | ToProcessor::Nack { callback, .. } => {
                state.unacknowledged.remove(callback);
            }
            ToProcessor::Drain(drain) => state.drain_until = Some(now.mono.after(drain.deadline.since(now.wall))),
            ToProcessor::GoAway(go) => state.watch.phase = Phase::Closed(go.code),
            ToProcessor::Operation(_) => {}
        }
        let (kind, payload) = write_to_processor(message);
        write_frame(out, FrameHead { kind, channel: Channel::ZERO, correlation }, state.mac.as_ref(), payload)
            .map_err(SendError::TooLong)?;
        state.watch.spoke(now.mono);
        Ok(())
    }

    /// When [`ProcessorLink::on_deadline`] is to be called next.
    pub fn next_deadline(&self) -> Option<Mono> {
        let watch = &self.state.watch;
        [watch.give_up_at(), watch.speak_at(), self.state.drain_until].into_iter().flatten().min()
    }

    /// Handles timers: sends a Ping when one is due, ends the link when the drain is over or the processor has sent
    /// nothing for too long.
    ///
    /// # Errors
    /// [`LinkError`]: no Hello, or no frame, within the time-out; or the drain's deadline.
    pub fn on_deadline(&mut self, now: Mono, reply: &mut Vec<u8>) -> Result<(), LinkError> {
        let state = &mut self.state;
        if let Phase::Closed(code) = state.watch.phase {
            return Err(LinkError::Closed(code));
        }
        if state.drain_until.is_some_and(|until| until <= now) {
            let go =
                GoAway { code: Code::Draining, text: Code::Draining.meaning().into(), reconnect_after: TimeSpan::ZERO };
            state.send_goodbye(&go, reply);
            return Err(LinkError::Closed(Code::Draining));
        }
        if let Err(error) = state.watch.check(now) {
            return Err(state.fail(error, reply));
        }
        if state.watch.speak_at().is_some_and(|at| at <= now) {
            state.nonce += 1;
            let ping = schema::Ping { nonce: state.nonce };
            state.write(FrameType::GatePing, 0, reply, |out| put(&ping, out))?;
            state.watch.spoke(now);
        }
        Ok(())
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        self.state.watch.phase
    }

    /// The processor, by its certificate.
    pub fn processor(&self) -> &ProcessorId {
        &self.state.processor
    }
}

impl State {
    fn take(
        &mut self,
        frame: &Frame<'_>,
        now: Mono,
        messages: &mut Vec<FromProcessor>,
        reply: &mut Vec<u8>,
    ) -> Result<(), LinkError> {
        let (kind, channel) = (frame.kind, frame.channel);
        if channel != Channel::ZERO {
            return Err(LinkError::ChannelUnknown(channel));
        }
        match (self.watch.phase, kind) {
            (Phase::AwaitingHello, FrameType::ProcessorHello) => {}
            (Phase::AwaitingHello, found) => return Err(LinkError::HelloExpected { found, channel }),
            (_, FrameType::ProcessorHello) => return Err(LinkError::HelloTwice(channel)),
            _ => {}
        }
        let payload = match read_from_processor(frame) {
            Ok(payload) => payload,
            Err(error) => {
                // Only the answer with a refused text is refused; those of other sessions continue.
                let text = matches!(error, PayloadError::Text { .. });
                let Some(callback) = answered_by(frame).filter(|_| text) else {
                    return Err(LinkError::Payload { kind, channel, error });
                };
                self.watch.received(now);
                let refused = ToProcessor::Nack { callback, code: error.code(), text: error.to_string().into() };
                let (kind, payload) = write_to_processor(&refused);
                return Ok(self.write(kind, 0, reply, payload)?);
            }
        };
        self.watch.received(now);
        let message = match payload {
            ProcessorPayload::Ping(nonce) => {
                let pong = schema::Pong { nonce };
                return Ok(self.write(FrameType::GatePong, frame.correlation, reply, |out| put(&pong, out))?);
            }
            ProcessorPayload::Pong => return Ok(()),
            ProcessorPayload::Message(message) => message,
        };
        match &message {
            FromProcessor::Hello(hello) => self.open(hello, frame.correlation)?,
            FromProcessor::Answer(Answer { callback, .. })
            | FromProcessor::Notification(Notification { callback, .. })
            | FromProcessor::Settlement(SettlementPart { callback, .. }) => self.count(*callback)?,
            FromProcessor::GoAway(go) => return Err(LinkError::PeerLeft(go.clone())),
            FromProcessor::Credit { .. } | FromProcessor::Drain(_) => {}
        }
        messages.push(message);
        Ok(())
    }

    /// Counts a callback until it is acknowledged: once, however often it is repeated meanwhile.
    fn count(&mut self, callback: CallbackId) -> Result<(), LinkError> {
        self.unacknowledged.insert(callback);
        if u32::try_from(self.unacknowledged.len()).is_ok_and(|count| count <= self.window) {
            Ok(())
        } else {
            Err(LinkError::WindowExceeded(self.window))
        }
    }

    fn open(&mut self, hello: &ProcessorHello, correlation: u64) -> Result<(), LinkError> {
        if hello.processor != self.processor {
            return Err(LinkError::IdentityDiffers {
                claimed: hello.processor.as_str().into(),
                certified: self.processor.as_str().into(),
            });
        }
        if !self.known {
            return Err(LinkError::PeerUnknown(self.processor.clone()));
        }
        self.hello = correlation;
        self.watch.phase = Phase::Open;
        Ok(())
    }

    fn write(
        &self,
        kind: FrameType,
        correlation: u64,
        out: &mut Vec<u8>,
        payload: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), super::frame::FrameError> {
        write_frame(out, FrameHead { kind, channel: Channel::ZERO, correlation }, self.mac.as_ref(), payload)
    }

    fn send_goodbye(&mut self, go: &GoAway, reply: &mut Vec<u8>) {
        self.watch.phase = Phase::Closed(go.code);
        self.write(FrameType::ProcessorGoAway, 0, reply, |out| put(&write_go_away(go), out))
            .expect("a farewell is cut to fit a frame");
    }

    /// Ends the link and sends the peer the reason.
    fn fail(&mut self, error: LinkError, reply: &mut Vec<u8>) -> LinkError {
        self.watch.phase = Phase::Closed(error.code());
        if let Some(farewell) = error.farewell() {
            self.send_goodbye(&farewell, reply);
        }
        error
    }
}
