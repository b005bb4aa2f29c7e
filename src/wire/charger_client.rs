//! The charger's (or site controller's) end of a connection: for simulators, load generators and tests.

use super::charger_codec::{put, read_to_charger, write_from_charger};
use super::frame::{Direction, FrameHead, FrameReader, FrameType, write_frame};
use super::meter_values;
use super::watch::{Phase, Watch};
use super::{LinkError, SendError, schema};
use crate::limits;
use crate::message::{Channel, Code, FromCharger, Received, ToCharger};
use crate::units::{MeterReading, Mono, Now, SessionKey};
use std::collections::BTreeSet;

/// A charger's end of its connection to the gate.
#[derive(Debug)]
pub struct ChargerClientLink {
    reader: FrameReader,
    watch: Watch,
    /// Channels on which a Hello was sent.
    bound: BTreeSet<Channel>,
}

/// Readings of one session, in their order.
#[derive(Clone, Copy, Debug)]
pub struct MeterValues<'r> {
    /// The charger's number for the session.
    pub session: SessionKey,
    /// The readings.
    pub readings: &'r [MeterReading],
}

impl ChargerClientLink {
    /// A connection after its handshake.
    pub fn new(now: Mono) -> ChargerClientLink {
        let reader = FrameReader::new(Direction::GateToCharger, None);
        ChargerClientLink { reader, watch: Watch::new(now), bound: BTreeSet::new() }
    }

    /// Appends a message to `out`. The first on a channel is a Hello; what follows should wait for its HelloAck.
    ///
    /// # Errors
    /// [`SendError::Closed`]; [`SendError::ChannelUnknown`] before the channel's Hello; [`SendError::TooLong`].
    pub fn send(
        &mut self,
        channel: Channel,
        message: &FromCharger,
        now: Mono,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        if let FromCharger::Hello(_) = message {
            self.bound.insert(channel);
        }
        self.check(channel)?;
        let (kind, payload) = write_from_charger(message).ok_or(SendError::NotNative)?;
        write_frame(out, FrameHead::new(kind, channel), None, payload).map_err(SendError::TooLong)?;
        self.watch.spoke(now);
        Ok(())
    }

    /// Appends readings, in as few frames as they need.
    ///
    /// # Errors
    /// Those of [`ChargerClientLink::send`].
    pub fn send_readings(
        &mut self,
        channel: Channel,
        MeterValues { session, readings }: MeterValues<'_>,
        now: Mono,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        self.check(channel)?;
        for readings in readings.chunks(limits::READINGS_PER_FRAME) {
            let payload = |out: &mut Vec<u8>| meter_values::write(session, readings, out);
            write_frame(out, FrameHead::new(FrameType::MeterValues, channel), None, payload)
                .map_err(SendError::TooLong)?;
        }
        self.watch.spoke(now);
        Ok(())
    }

    /// Takes bytes as they came; messages are appended to `messages`. An error ends the link; the messages before it
    /// are still good.
    ///
    /// A GoAway on channel 0 is the error [`LinkError::PeerLeft`]; on another channel it is a message, and that channel
    /// needs a new Hello.
    ///
    /// # Errors
    /// [`LinkError`]: a malformed frame or payload, a message that is not allowed now, or the end of the connection.
    pub fn receive(
        &mut self,
        mut bytes: &[u8],
        now: Now,
        messages: &mut Vec<Received<ToCharger>>,
    ) -> Result<(), LinkError> {
        if let Phase::Closed(code) = self.watch.phase {
            return Err(LinkError::Closed(code));
        }
        let outcome = self.read(&mut bytes, now, messages);
        if let Err(error) = &outcome {
            self.watch.phase = Phase::Closed(error.code());
        }
        outcome
    }

    fn read(&mut self, bytes: &mut &[u8], now: Now, messages: &mut Vec<Received<ToCharger>>) -> Result<(), LinkError> {
        while let Some(frame) = self.reader.next(bytes)? {
            let (kind, channel) = (frame.kind, frame.channel);
            let message = read_to_charger(&frame).map_err(|error| LinkError::Payload { kind, channel, error })?;
            self.watch.received(now.mono);
            match &message {
                ToCharger::GoAway(go) if channel == Channel::ZERO => return Err(LinkError::PeerLeft(go.clone())),
                ToCharger::GoAway(_) => {
                    self.bound.remove(&channel);
                }
                ToCharger::HelloAck(ack) => {
                    self.watch.phase = Phase::Open;
                    self.watch.heartbeat = ack.terms.heartbeat;
                }
                ToCharger::StartAccepted { .. }
                | ToCharger::StartRejected { .. }
                | ToCharger::MeterAck(_)
                | ToCharger::LimitChanged { .. }
                | ToCharger::StopNow { .. }
                | ToCharger::SessionRejected { .. }
                | ToCharger::Receipt(_)
                | ToCharger::HeartbeatAck { .. }
                | ToCharger::Answer(_)
                | ToCharger::Order { .. } => {}
            }
            messages.push(Received { channel, message });
        }
        self.watch.mid_frame(self.reader.is_mid_frame(), now.mono);
        Ok(())
    }

    /// When [`ChargerClientLink::on_deadline`] is to be called next.
    pub fn next_deadline(&self) -> Option<Mono> {
        [self.watch.give_up_at(), self.watch.speak_at()].into_iter().flatten().min()
    }

    /// Handles timers: sends a heartbeat when one is due, ends the link when the gate has sent nothing for too long.
    ///
    /// # Errors
    /// [`LinkError::Silent`].
    pub fn on_deadline(&mut self, now: Now, out: &mut Vec<u8>) -> Result<(), LinkError> {
        if let Err(error) = self.watch.check(now.mono) {
            self.watch.phase = Phase::Closed(error.code());
            return Err(error);
        }
        if self.watch.speak_at().is_some_and(|at| at <= now.mono) {
            let heartbeat = schema::Heartbeat { clock_ms: now.wall.unix_ms() };
            let payload = |out: &mut Vec<u8>| put(&heartbeat, out);
            write_frame(out, FrameHead::new(FrameType::Heartbeat, Channel::ZERO), None, payload)?;
            self.watch.spoke(now.mono);
        }
        Ok(())
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        self.watch.phase
    }

    /// Gives the link up from this side. (The native protocol lets a charger simply close its connection.)
    pub fn close(&mut self) {
        self.watch.phase = Phase::Closed(Code::PeerLeaves);
    }

    fn check(&self, channel: Channel) -> Result<(), SendError> {
        if self.watch.is_closed() {
            return Err(SendError::Closed);
        }
        if self.bound.contains(&channel) { Ok(()) } else { Err(SendError::ChannelUnknown(channel)) }
    }
}
