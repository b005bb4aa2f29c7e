//! A payment processor's end of a connection: for simulators, load generators and tests.

use super::charger_codec::put;
use super::frame::{Direction, FrameError, FrameHead, FrameReader, FrameType, MacKey, write_frame};
use super::processor_codec::{GatePayload, read_to_processor, write_from_processor};
use super::watch::{Phase, Watch};
use super::{LinkError, SendError, schema};
use crate::message::{Channel, FromProcessor, ToProcessor};
use crate::units::{Mono, Now, ProcessorId};

/// A processor's end of one of its connections to the gate.
#[derive(Debug)]
pub struct ProcessorClientLink {
    reader: FrameReader,
    processor: ProcessorId,
    mac: Option<MacKey>,
    watch: Watch,
    greeted: bool,
    nonce: u64,
}

impl ProcessorClientLink {
    /// A connection after its handshake, with the key that the gate has for this processor, if there is one.
    pub fn new(processor: ProcessorId, mac: Option<MacKey>, now: Mono) -> ProcessorClientLink {
        let reader = FrameReader::new(Direction::GateToProcessor, mac.clone());
        ProcessorClientLink { reader, processor, mac, watch: Watch::new(now), greeted: false, nonce: 0 }
    }

    /// Appends a message to `out`. The first is the Hello; what follows should wait for its HelloAck. A GoAway ends the
    /// link.
    ///
    /// # Errors
    /// [`SendError::Closed`]; [`SendError::TooLong`].
    pub fn send(&mut self, message: &FromProcessor, now: Mono, out: &mut Vec<u8>) -> Result<(), SendError> {
        if self.watch.is_closed() {
            return Err(SendError::Closed);
        }
        match message {
            FromProcessor::Hello(_) => self.greeted = true,
            _ if !self.greeted => return Err(SendError::ChannelUnknown(Channel::ZERO)),
            FromProcessor::GoAway(go) => self.watch.phase = Phase::Closed(go.code),
            FromProcessor::Answer(_)
            | FromProcessor::Notification(_)
            | FromProcessor::Settlement(_)
            | FromProcessor::Credit { .. }
            | FromProcessor::Drain(_) => {}
        }
        let (kind, payload) = write_from_processor(message);
        self.write(kind, 0, out, payload).map_err(SendError::TooLong)?;
        self.watch.spoke(now);
        Ok(())
    }

    /// Takes bytes as they came. Messages are appended to `messages`, bytes for the gate (Pongs) to `reply`. An error
    /// ends the link; the messages before it are still good.
    ///
    /// # Errors
    /// [`LinkError`]: a malformed frame or payload, a message that is not allowed now, or the end of the connection.
    pub fn receive(
        &mut self,
        mut bytes: &[u8],
        now: Now,
        messages: &mut Vec<ToProcessor>,
        reply: &mut Vec<u8>,
    ) -> Result<(), LinkError> {
        if let Phase::Closed(code) = self.watch.phase {
            return Err(LinkError::Closed(code));
        }
        let outcome = self.read(&mut bytes, now, messages, reply);
        if let Err(error) = &outcome {
            self.watch.phase = Phase::Closed(error.code());
        }
        outcome
    }

    fn read(
        &mut self,
        bytes: &mut &[u8],
        now: Now,
        messages: &mut Vec<ToProcessor>,
        reply: &mut Vec<u8>,
    ) -> Result<(), LinkError> {
        while let Some(frame) = self.reader.next(bytes)? {
            let (kind, channel, correlation) = (frame.kind, frame.channel, frame.correlation);
            let payload = read_to_processor(&frame, &self.processor).map_err(|error| LinkError::Payload {
                kind,
                channel,
                error,
            })?;
            self.watch.received(now.mono);
            let message = match payload {
                GatePayload::Ping(nonce) => {
                    let pong = schema::Pong { nonce };
                    self.write(FrameType::ProcessorPong, correlation, reply, |out| put(&pong, out))?;
                    continue;
                }
                GatePayload::Pong => continue,
                GatePayload::Message(message) => message,
            };
            match &message {
                ToProcessor::HelloAck(ack) => {
                    self.watch.phase = Phase::Open;
                    self.watch.heartbeat = ack.terms.heartbeat;
                }
                ToProcessor::GoAway(go) => return Err(LinkError::PeerLeft(go.clone())),
                ToProcessor::Operation(_)
                | ToProcessor::Ack { .. }
                | ToProcessor::Nack { .. }
                | ToProcessor::Drain(_) => {}
            }
            messages.push(message);
        }
        self.watch.mid_frame(self.reader.is_mid_frame(), now.mono);
        Ok(())
    }

    /// When [`ProcessorClientLink::on_deadline`] is to be called next.
    pub fn next_deadline(&self) -> Option<Mono> {
        [self.watch.give_up_at(), self.watch.speak_at()].into_iter().flatten().min()
    }

    /// Handles timers: sends a Ping when one is due, ends the link when the gate has sent nothing for too long.
    ///
    /// # Errors
    /// [`LinkError::Silent`].
    pub fn on_deadline(&mut self, now: Mono, out: &mut Vec<u8>) -> Result<(), LinkError> {
        if let Err(error) = self.watch.check(now) {
            self.watch.phase = Phase::Closed(error.code());
            return Err(error);
        }
        if self.watch.speak_at().is_some_and(|at| at <= now) {
            self.nonce += 1;
            let ping = schema::Ping { nonce: self.nonce };
            self.write(FrameType::ProcessorPing, 0, out, |out| put(&ping, out))?;
            self.watch.spoke(now);
        }
        Ok(())
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        self.watch.phase
    }

    fn write(
        &self,
        kind: FrameType,
        correlation: u64,
        out: &mut Vec<u8>,
        payload: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), FrameError> {
        write_frame(out, FrameHead { kind, channel: Channel::ZERO, correlation }, self.mac.as_ref(), payload)
    }
}
