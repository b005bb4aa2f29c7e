//! The hot message, taken apart by hand: its readings go one by one to where they are wanted, without a list in between
//! and without any allocation. A test compares the result with the generated code's.

use super::charger_message::{FromCharger, Received};
use super::frame::Frame;
use super::payload::{Parsed, PayloadError, at_most, counted, energy};
use super::schema;
use crate::limits;
use crate::units::{Current, MeterReading, Power, SessionKey, Timestamp};
use prost::Message;
use prost::encoding::{DecodeContext, WireType, check_wire_type, decode_key, decode_varint, skip_field, uint64};

/// Parses a MeterValues frame; appends its readings to `out`, or on an error none.
pub(super) fn read(frame: &Frame<'_>, out: &mut Vec<Received<FromCharger>>) -> Parsed<()> {
    let before = out.len();
    let outcome = append(frame, out);
    if outcome.is_err() {
        out.truncate(before);
    }
    outcome
}

fn append(frame: &Frame<'_>, out: &mut Vec<Received<FromCharger>>) -> Parsed<()> {
    let first = out.len();
    let mut buf = frame.payload;
    let mut key = 0;
    while !buf.is_empty() {
        let (tag, wire_type) = decode_key(&mut buf)?;
        match tag {
            1 => uint64::merge(wire_type, &mut key, &mut buf, DecodeContext::default())?,
            2 => {
                // A generated message of numbers only: nothing is allocated.
                let reading = parse(&schema::Reading::decode(length_delimited(wire_type, &mut buf)?)?)?;
                at_most("readings", out.len() - first + 1, limits::READINGS_PER_FRAME)?;
                let message = FromCharger::Reading { session: SessionKey(key), reading };
                out.push(Received { channel: frame.channel, message });
            }
            _ => skip_field(wire_type, tag, &mut buf, DecodeContext::default())?,
        }
    }
    if out.len() == first {
        return Err(PayloadError::Missing("readings"));
    }
    // Fields come in any order: the key may have stood behind the readings.
    for received in &mut out[first..] {
        if let FromCharger::Reading { session, .. } = &mut received.message {
            *session = SessionKey(key);
        }
    }
    Ok(())
}

fn length_delimited<'a>(wire_type: WireType, buf: &mut &'a [u8]) -> Parsed<&'a [u8]> {
    check_wire_type(WireType::LengthDelimited, wire_type)?;
    let len = decode_varint(buf)?;
    match usize::try_from(len).ok().and_then(|len| buf.split_at_checked(len)) {
        Some((field, rest)) => {
            *buf = rest;
            Ok(field)
        }
        None => Err(PayloadError::Range { field: "readings", found: i128::from(len) }),
    }
}

fn parse(found: &schema::Reading) -> Parsed<MeterReading> {
    Ok(MeterReading {
        sequence: counted("readings.sequence", found.sequence)?,
        at: Timestamp::from_unix_ms(found.at_ms),
        register: energy("readings.register_uwh", found.register_uwh)?,
        power: found.power_mw.map(Power::from_milliwatts),
        current: found.current_ma.map(Current::from_milliamperes),
    })
}

/// Appends the payload of a MeterValues frame.
pub(super) fn write(session: SessionKey, readings: &[MeterReading], out: &mut Vec<u8>) {
    if session.0 != 0 {
        uint64::encode(1, &session.0, out);
    }
    for reading in readings {
        let message = schema::Reading {
            sequence: reading.sequence,
            at_ms: reading.at.unix_ms(),
            register_uwh: super::payload::write_energy(reading.register),
            power_mw: reading.power.map(Power::milliwatts),
            current_ma: reading.current.map(Current::milliamperes),
        };
        prost::encoding::message::encode(2, &message, out);
    }
}

/// The same by the generated code: the slow oracle for the hand-written reader.
#[cfg(test)]
fn read_generated(payload: &[u8]) -> Parsed<(SessionKey, Vec<MeterReading>)> {
    let found = schema::MeterValues::decode(payload)?;
    if found.readings.is_empty() {
        return Err(PayloadError::Missing("readings"));
    }
    at_most("readings", found.readings.len(), limits::READINGS_PER_FRAME)?;
    Ok((SessionKey(found.session_key), found.readings.iter().map(parse).collect::<Parsed<_>>()?))
}
