//! Everything that a peer can do wrong with bytes: each with its error, its code, and nothing that reaches a machine.

use super::charger::code_of;
use super::samples::*;
use wattstile::limits;
use wattstile::message::*;
use wattstile::units::{Mono, SessionKey};
use wattstile::wire::frame::{FrameHead, FrameType, HEADER, write_frame};
use wattstile::wire::*;

/// A frame of any type with any payload.
fn frame(kind: FrameType, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let append = |out: &mut Vec<u8>| out.extend_from_slice(payload);
    write_frame(&mut bytes, FrameHead::new(kind, Channel::ZERO), None, append).unwrap();
    bytes
}

/// What an open charger's link makes of these bytes.
fn to_open_charger_link(bytes: &[u8]) -> Result<Vec<Received<FromCharger>>, LinkError> {
    let mut link = charger_link(CHARGER_URI);
    link.receive(&charger_bytes(&[hello("NL*WST*E0007")]), now(0), &mut Vec::new(), &mut Vec::new()).unwrap();
    let (mut received, mut reply) = (Vec::new(), Vec::new());
    let outcome = link.receive(bytes, now(0), &mut received, &mut reply);
    match &outcome {
        Ok(()) => assert_eq!(link.phase(), Phase::Open),
        Err(error) => {
            assert_eq!(code_of(&reply), error.code(), "the peer learns why");
            assert_eq!(link.phase(), Phase::Closed(error.code()));
            assert_eq!(received, [], "nothing of it reaches a machine");
        }
    }
    outcome.map(|()| received)
}

fn to_open_processor_link(bytes: &[u8]) -> Result<Vec<FromProcessor>, LinkError> {
    let mut link = processor_link(None);
    let hello = processor_bytes(&[processor_hello("acme-pay")], None);
    link.receive(&hello, now(0), &mut Vec::new(), &mut Vec::new()).unwrap();
    let (mut received, mut reply) = (Vec::new(), Vec::new());
    let outcome = link.receive(bytes, now(0), &mut received, &mut reply);
    assert_eq!(outcome.is_err(), link.phase() != Phase::Open);
    assert!(outcome.is_ok() || received.is_empty());
    outcome.map(|()| received)
}

#[test]
fn what_is_wrong_is_named() {
    let long = [0, 1, 0, 1, 1, 3, 0, 0];
    let no_readings = frame(FrameType::MeterValues, &[0x08, 42]);
    let sequence_zero = frame(FrameType::MeterValues, &[0x08, 42, 0x12, 2, 0x10, 5]);
    let register_too_large =
        frame(FrameType::MeterValues, &[0x12, 13, 8, 1, 0x18, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]);
    let not_protobuf = frame(FrameType::StartSession, b"{\"connector\": 2}");
    let no_credential = frame(FrameType::StartSession, &[0x08, 42, 0x10, 2]);
    let unknown_kind = frame(FrameType::StartSession, &[0x08, 42, 0x10, 2, 0x1a, 5, 8, 99, 0x12, 1, b'x']);
    let empty_token = frame(FrameType::StartSession, &[0x08, 42, 0x10, 2, 0x1a, 2, 8, 1]);
    let connector_too_large =
        frame(FrameType::StartSession, &[0x08, 42, 0x10, 0x80, 0x80, 0x04, 0x1a, 5, 8, 1, 0x12, 1, 1]);
    let no_reason = frame(FrameType::StopSession, &[0x08, 42, 0x10, 2]);
    let second_hello = charger_bytes(&[hello("NL*WST*E0007")]);
    let from_a_processor = processor_bytes(&[processor_hello("acme-pay")], None);
    for (bytes, code, text) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], Code::FrameTooLong, "a frame of 1195725856 bytes, at most 65536 are allowed"),
        (&long, Code::FrameTooLong, "a frame of 65537 bytes, at most 65536 are allowed"),
        (&[0, 0, 0, 3, 1, 2, 3], Code::FrameTooShort, "a frame of 3 bytes, at least 20 are needed"),
        (&[0, 0, 0, 99, 9], Code::FrameVersion, "frame version 9"),
        (&no_readings, Code::Payload, "MeterValues on channel 0: `readings` is missing"),
        (&sequence_zero, Code::Payload, "`readings.sequence` is missing"),
        (&register_too_large, Code::Payload, "`readings.register_uwh` is 18446744073709551615, which is out of range"),
        (&not_protobuf, Code::Payload, "StartSession on channel 0: not a protobuf message of the schema"),
        (&no_credential, Code::Payload, "`credential` is missing"),
        (&unknown_kind, Code::Payload, "`credential.kind` has the value 99, which is not known"),
        (&empty_token, Code::Payload, "`credential.token` is missing"),
        (&connector_too_large, Code::Payload, "`connector` is 65536, which is out of range"),
        (&no_reason, Code::Payload, "`reason` is missing"),
        (&second_hello, Code::HelloTwice, "a second Hello on channel 0"),
        (&from_a_processor, Code::WrongDirection, "ProcessorHello is never sent from a charger"),
    ] {
        let error = to_open_charger_link(bytes).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(text), "`{error}` should contain `{text}`");
        assert_eq!(error.blame(), Blame::Peer);
    }
}

#[test]
fn a_hello_in_somebody_elses_name_is_refused_before_anything_is_bound() {
    let mut link = charger_link(CHARGER_URI);
    let (mut received, mut reply) = (Vec::new(), Vec::new());
    let bytes = charger_bytes(&[hello("NL*WST*E0008")]);
    let error = link.receive(&bytes, now(0), &mut received, &mut reply).unwrap_err();
    assert_eq!(error.to_string(), "the Hello names `NL*WST*E0008`, the certificate `NL*WST*E0007`");
    assert_eq!((received.len(), link.charger(Channel::ZERO), code_of(&reply)), (0, None, Code::IdentityDiffers));
}

#[test]
fn a_hello_that_names_a_thing_twice_is_refused() {
    let FromCharger::Hello(mut twice) = hello("NL*WST*E0007") else { unreachable!() };
    twice.connectors[1].id = twice.connectors[0].id;
    let bytes = charger_bytes(&[FromCharger::Hello(twice)]);
    let error = charger_link(CHARGER_URI).receive(&bytes, now(0), &mut Vec::new(), &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("`connectors` names 1 twice"), "{error}");
}

#[test]
fn every_type_in_every_role_with_an_empty_payload() {
    for kind in FrameType::ALL {
        let bytes = frame(*kind, &[]);
        let charger = to_open_charger_link(&bytes).map(|received| received.len());
        let processor = to_open_processor_link(&bytes).map(|received| received.len());
        match kind.direction() {
            frame::Direction::ChargerToGate => {
                // An empty heartbeat is a heartbeat; all else lacks what it cannot do without.
                assert_eq!(charger.is_ok(), *kind == FrameType::Heartbeat, "{kind:?}");
                assert_eq!(processor.unwrap_err().code(), Code::WrongDirection);
            }
            frame::Direction::ProcessorToGate => {
                assert_eq!(charger.unwrap_err().code(), Code::WrongDirection);
                match kind {
                    FrameType::ProcessorPing | FrameType::ProcessorPong => assert_eq!(processor, Ok(0)),
                    FrameType::Credit | FrameType::ProcessorDrain => assert_eq!(processor, Ok(1)),
                    FrameType::ProcessorLeaves => assert_eq!(processor.unwrap_err().code(), Code::PeerLeaves),
                    FrameType::ProcessorHello => assert_eq!(processor.unwrap_err().code(), Code::HelloTwice),
                    _ => assert_eq!(processor.unwrap_err().code(), Code::Payload, "{kind:?}"),
                }
            }
            frame::Direction::GateToCharger | frame::Direction::GateToProcessor => {
                assert_eq!(charger.unwrap_err().code(), Code::WrongDirection);
                assert_eq!(processor.unwrap_err().code(), Code::WrongDirection);
            }
        }
    }
}

#[test]
fn every_changed_bit_and_every_cut_of_every_frame_is_noticed() {
    for (name, message) in from_charger().split_off(1) {
        let bytes = charger_bytes(&[hello("NL*WST*E0007"), message]);
        let good = &bytes[charger_bytes(&[hello("NL*WST*E0007")]).len()..];
        each_damage(name, good, |damaged| to_open_charger_link(damaged).map(|received| received.len()));
    }
    for (name, message) in from_processor().split_off(1) {
        let bytes = processor_bytes(&[processor_hello("acme-pay"), message], None);
        let good = &bytes[processor_bytes(&[processor_hello("acme-pay")], None).len()..];
        each_damage(name, good, |damaged| to_open_processor_link(damaged).map(|received| received.len()));
    }
}

fn each_damage(name: &str, good: &[u8], read: impl Fn(&[u8]) -> Result<usize, LinkError>) {
    assert_eq!(read(good), Ok(1), "{name}");
    for cut in 0..good.len() {
        assert_eq!(read(&good[..cut]), Ok(0), "{name} cut at {cut}");
    }
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut damaged = good.to_vec();
            damaged[at] ^= 1 << bit;
            // A longer length waits for the rest of the frame; everything else is an error. Nothing gets through.
            assert_ne!(read(&damaged), Ok(1), "{name} byte {at} bit {bit}");
        }
    }
}

/// Payloads changed byte by byte inside a frame that is whole: the parsers' own view of garbage.
#[test]
fn every_changed_byte_of_every_payload_is_parsed_or_refused() {
    let (mut parsed, mut refused) = (0, 0);
    let mut count = |outcome: Result<usize, LinkError>| match outcome {
        Ok(_) => parsed += 1,
        Err(LinkError::Payload { .. } | LinkError::HelloTwice(_)) => refused += 1,
        Err(other) => panic!("{other}"),
    };
    for (_, message) in from_charger().split_off(1) {
        let bytes = charger_bytes(&[hello("NL*WST*E0007"), message]);
        let good = &bytes[charger_bytes(&[hello("NL*WST*E0007")]).len()..];
        let kind = FrameType::from_number(good[5]).unwrap();
        each_payload(&good[frame::HEADER..good.len() - 4], |payload| {
            count(to_open_charger_link(&frame(kind, payload)).map(|received| received.len()));
        });
    }
    for (_, message) in from_processor().split_off(1) {
        let bytes = processor_bytes(&[processor_hello("acme-pay"), message], None);
        let good = &bytes[processor_bytes(&[processor_hello("acme-pay")], None).len()..];
        let kind = FrameType::from_number(good[5]).unwrap();
        each_payload(&good[frame::HEADER..good.len() - 4], |payload| {
            count(to_open_processor_link(&frame(kind, payload)).map(|received| received.len()));
        });
    }
    assert!(parsed > 1_000 && refused > 1_000, "{parsed} parsed, {refused} refused");
}

fn each_payload(good: &[u8], mut visit: impl FnMut(&[u8])) {
    for at in 0..good.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff, good[at].wrapping_add(1), good[at] ^ 8] {
            let mut changed = good.to_vec();
            changed[at] = value;
            visit(&changed);
        }
        visit(&good[..at]);
    }
}

#[test]
fn how_the_bytes_are_cut_makes_no_difference() {
    let messages: Vec<FromCharger> = from_charger().into_iter().map(|(_, message)| message).collect();
    let mut bytes = charger_bytes(&messages);
    // Good messages, then garbage: the messages are delivered, then the link ends.
    bytes.extend_from_slice(b"garbage, at length");
    let whole = read_in_pieces(&bytes, &[bytes.len()]);
    assert_eq!(whole.0.len(), messages.len());
    assert!(matches!(whole.1, Err(LinkError::Frame(_))));
    for size in 1..=64 {
        assert_eq!(read_in_pieces(&bytes, &[size]), whole, "pieces of {size}");
    }
    for cut in 1..bytes.len() {
        assert_eq!(read_in_pieces(&bytes, &[cut, bytes.len()]), whole, "cut at {cut}");
    }
}

type Outcome = (Vec<Received<FromCharger>>, Result<(), LinkError>, Vec<u8>);

fn read_in_pieces(bytes: &[u8], sizes: &[usize]) -> Outcome {
    let mut link = charger_link(CHARGER_URI);
    let (mut received, mut reply) = (Vec::new(), Vec::new());
    let mut sizes = sizes.iter().copied().cycle();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(sizes.next().unwrap().min(rest.len()));
        rest = after;
        if let Err(error) = link.receive(piece, now(0), &mut received, &mut reply) {
            return (received, Err(error), reply);
        }
    }
    (received, Ok(()), reply)
}

#[test]
fn a_text_of_the_peers_cannot_break_a_line_of_the_log() {
    let mut client = ChargerClientLink::new(Mono(0));
    let mut link = charger_link(CHARGER_URI);
    link.receive(&charger_bytes(&[hello("NL*WST*E0007")]), now(0), &mut Vec::new(), &mut Vec::new()).unwrap();
    let go = GoAway { text: "bye\n\u{1b}[31mERROR all is lost".into(), ..go_away() };
    let mut bytes = Vec::new();
    link.send(Channel::ZERO, &ToCharger::GoAway(go), &mut bytes).unwrap();
    let error = client.receive(&bytes, now(0), &mut Vec::new()).unwrap_err().to_string();
    assert!(!error.contains(['\n', '\u{1b}']), "{error}");
}

/// The message determines the length of its lists; a message may be repeated into itself, which makes its lists
/// longer.
#[test]
fn lists_beyond_their_bounds_are_refused() {
    let sound = |messages: &[FromCharger]| {
        let bytes = charger_bytes(messages);
        let first = charger_bytes(&messages[..messages.len() - 1]).len();
        bytes[first + HEADER..bytes.len() - 4].to_vec()
    };
    let mut link = charger_link(CHARGER_URI);
    let mut refusal = |kind, payload: Vec<u8>| {
        let outcome = link.receive(&frame(kind, &payload), now(0), &mut Vec::new(), &mut Vec::new());
        link = charger_link(CHARGER_URI);
        outcome.unwrap_err()
    };
    let FromCharger::Hello(whole) = hello("NL*WST*E0007") else { unreachable!() };
    let one = ChargerHello { connectors: whole.connectors[..1].to_vec(), sessions: Vec::new(), ..whole.clone() };
    let none = ChargerHello { connectors: Vec::new(), ..whole };
    let reading = FromCharger::Reading { session: SessionKey(41), reading: reading(1) };
    for (message, times, field) in
        [(one, limits::CONNECTORS_PER_CHARGER, "connectors"), (none, limits::SESSIONS_PER_HELLO, "sessions")]
    {
        let piece = sound(&[FromCharger::Hello(message)]);
        let error = refusal(FrameType::ChargerHello, piece.repeat(times + 1));
        assert_eq!(error.code(), Code::Payload, "{error}");
        assert!(error.to_string().contains(&format!("`{field}` is {}", times + 1)), "{error}");
    }
    let piece = sound(&[hello("NL*WST*E0007"), reading]);
    let error = to_open_charger_link(&frame(FrameType::MeterValues, &piece.repeat(513))).unwrap_err();
    assert!(error.code() == Code::Payload && error.to_string().contains("`readings` is 513"), "{error}");
    assert_eq!(limits::READINGS_PER_FRAME, 512);
}
