//! Decoder of the hot message, written by hand: it passes readings one by one to their consumer, without a list and
//! without any allocation. A test compares the result with the generated code's.

use super::frame::Frame;
use super::payload::{Parsed, PayloadError, at_most, counted, energy};
use super::schema;
use crate::limits;
use crate::message::{FromCharger, Received};
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Channel;
    use crate::wire::frame::FrameType;
    use proptest::prelude::*;

    /// The slow oracle: the same by the generated code.
    fn read_generated(payload: &[u8]) -> Parsed<Vec<FromCharger>> {
        let found = schema::MeterValues::decode(payload)?;
        if found.readings.is_empty() {
            return Err(PayloadError::Missing("readings"));
        }
        at_most("readings", found.readings.len(), limits::READINGS_PER_FRAME)?;
        let session = SessionKey(found.session_key);
        found.readings.iter().map(|found| Ok(FromCharger::Reading { session, reading: parse(found)? })).collect()
    }

    fn read_by_hand(payload: &[u8]) -> Parsed<Vec<FromCharger>> {
        let frame = Frame { kind: FrameType::MeterValues, channel: Channel::ZERO, correlation: 0, payload };
        let mut out = Vec::new();
        let outcome = read(&frame, &mut out);
        assert!(outcome.is_ok() || out.is_empty(), "an error leaves nothing behind");
        outcome.map(|()| out.into_iter().map(|received| received.message).collect())
    }

    fn reading() -> impl Strategy<Value = MeterReading> {
        let power = proptest::option::of(any::<i64>().prop_map(Power::from_milliwatts));
        let current = proptest::option::of(any::<i64>().prop_map(Current::from_milliamperes));
        (1..=u32::MAX, any::<i64>(), 0..=i64::MAX, power, current).prop_map(|(sequence, at, uwh, power, current)| {
            let register = crate::units::Energy::from_microwatt_hours(uwh);
            MeterReading { sequence, at: Timestamp::from_unix_ms(at), register, power, current }
        })
    }

    fn payload() -> impl Strategy<Value = (u64, Vec<MeterReading>, Vec<u8>)> {
        (any::<u64>(), proptest::collection::vec(reading(), 1..5)).prop_map(|(session, readings)| {
            let mut payload = Vec::new();
            write(SessionKey(session), &readings, &mut payload);
            (session, readings, payload)
        })
    }

    #[test]
    fn the_session_may_stand_behind_its_readings_and_unknown_fields_anywhere() {
        // reading{sequence 1, at 0, register 0, unknown field 9}, unknown field 15, session_key 7
        let payload = [0x12, 4, 0x08, 1, 0x48, 5, 0x7a, 2, 0xff, 0xff, 0x08, 7];
        let found = read_by_hand(&payload).unwrap();
        assert!(matches!(found[..], [FromCharger::Reading { session: SessionKey(7), .. }]), "{found:?}");
        assert_eq!(found, read_generated(&payload).unwrap());
    }

    #[test]
    fn too_many_readings_none_and_a_length_beyond_the_end_are_refused() {
        let one = [0x12, 2, 0x08, 1];
        assert_eq!(read_by_hand(&one.repeat(limits::READINGS_PER_FRAME)).unwrap().len(), limits::READINGS_PER_FRAME);
        assert!(read_by_hand(&one.repeat(limits::READINGS_PER_FRAME + 1)).is_err());
        assert_eq!(read_by_hand(&[0x08, 7]), Err(PayloadError::Missing("readings")));
        assert!(matches!(read_by_hand(&[0x12, 0x7f, 1]), Err(PayloadError::Range { found: 127, .. })));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read((session, readings, payload) in payload()) {
            let session = SessionKey(session);
            let expected: Vec<_> =
                readings.into_iter().map(|reading| FromCharger::Reading { session, reading }).collect();
            prop_assert_eq!(read_by_hand(&payload).unwrap(), expected);
            let generated = schema::MeterValues::decode(payload.as_slice()).unwrap().encode_to_vec();
            prop_assert_eq!(generated, payload, "the canonical form is the generated code's");
        }

        #[test]
        fn by_hand_and_by_generated_code_are_one(
            (_, _, mut payload) in payload(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in any::<prop::sample::Index>(),
            tail in proptest::collection::vec(any::<u8>(), 0..8),
        ) {
            for (at, value) in changes {
                let at = at.index(payload.len());
                payload[at] = value;
            }
            payload.truncate(cut.index(payload.len()) + 1);
            payload.extend(tail);
            match (read_by_hand(&payload), read_generated(&payload)) {
                (Ok(by_hand), Ok(generated)) => prop_assert_eq!(by_hand, generated),
                (by_hand, generated) => prop_assert_eq!(by_hand.is_err(), generated.is_err()),
            }
        }
    }
}
