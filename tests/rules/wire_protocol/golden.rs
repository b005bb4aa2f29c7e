//! Golden bytes: what version 1 looks like, for ever. Each line of `tests/golden/wire-v1.txt` is checked both ways.
//!
//! `UPDATE_GOLDEN=1 cargo test --test rules golden` writes the file anew; a changed line is a break of the
//! protocol, a new line is not.

use super::samples::*;
use std::collections::BTreeMap;
use std::fmt::Write;
use wattstile::message::*;
use wattstile::units::{Mono, SessionKey};
use wattstile::wire::*;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/wire-v1.txt");

/// 32 public bytes.
const KEY: [u8; 32] = *b"wattstile golden vectors' key 01";

/// Name and bytes of every sample.
fn frames() -> Vec<(String, Vec<u8>)> {
    let mut frames = Vec::new();
    let mut client = ChargerClientLink::new(Mono(0));
    for (name, message) in from_charger() {
        let mut bytes = Vec::new();
        client.send(Channel::ZERO, &message, Mono(0), &mut bytes).unwrap();
        frames.push((name.to_owned(), bytes));
    }
    let mut readings = Vec::new();
    let values = MeterValues { session: SessionKey(42), readings: &[reading(1), reading(2), reading(3)] };
    client.send_readings(Channel::ZERO, values, Mono(0), &mut readings).unwrap();
    frames.push(("meter_values_three".into(), readings));
    let mut heartbeat = Vec::new();
    client.receive(&hello_ack_bytes(), now(0), &mut Vec::new()).unwrap();
    client.on_deadline(now(15_000), &mut heartbeat).unwrap();
    frames.push(("heartbeat".into(), heartbeat));

    let mut link = charger_link(CHARGER_URI);
    link.receive(&charger_bytes(&[hello("NL*WST*E0007")]), now(0), &mut Vec::new(), &mut Vec::new()).unwrap();
    for (name, message) in to_charger().into_iter().chain([("charger_go_away", ToCharger::GoAway(go_away()))]) {
        let mut bytes = Vec::new();
        link.send(Channel::ZERO, &message, &mut bytes).unwrap();
        frames.push((name.to_owned(), bytes));
    }

    for (mac, suffix) in [(None, ""), (Some(MacKey::new(&KEY)), "_mac")] {
        let mut client = ProcessorClientLink::new(processor_id(), mac.clone(), Mono(0));
        for (name, message) in
            from_processor().into_iter().chain([("processor_leaves", FromProcessor::GoAway(go_away()))])
        {
            let mut bytes = Vec::new();
            client.send(&message, Mono(0), &mut bytes).unwrap();
            frames.push((format!("{name}{suffix}"), bytes));
        }
        let mut link = processor_link(mac.clone());
        let hello = processor_bytes(&[processor_hello("acme-pay")], mac.clone());
        link.receive(&hello, now(0), &mut Vec::new(), &mut Vec::new()).unwrap();
        frames.extend(pings(mac, suffix));
        for (name, message) in to_processor().into_iter().chain([("processor_go_away", ToProcessor::GoAway(go_away()))])
        {
            let mut bytes = Vec::new();
            link.send(&message, now(0), &mut bytes).unwrap();
            frames.push((format!("{name}{suffix}"), bytes));
        }
    }
    frames
}

/// Both sides' pings, and the other sides' pongs.
fn pings(mac: Option<MacKey>, suffix: &str) -> Vec<(String, Vec<u8>)> {
    let mut client = ProcessorClientLink::new(processor_id(), mac.clone(), Mono(0));
    let mut link = processor_link(mac);
    let [mut hello, mut ack] = [Vec::new(), Vec::new()];
    client.send(&processor_hello("acme-pay"), Mono(0), &mut hello).unwrap();
    link.receive(&hello, now(0), &mut Vec::new(), &mut Vec::new()).unwrap();
    link.send(&to_processor()[0].1, now(0), &mut ack).unwrap();
    client.receive(&ack, now(0), &mut Vec::new(), &mut Vec::new()).unwrap();
    let [mut processor_ping, mut processor_pong, mut gate_ping, mut gate_pong] = [const { Vec::new() }; 4];
    client.on_deadline(Mono(15_000), &mut processor_ping).unwrap();
    link.receive(&processor_ping, now(15_000), &mut Vec::new(), &mut gate_pong).unwrap();
    link.on_deadline(Mono(15_000), &mut gate_ping).unwrap();
    client.receive(&gate_ping, now(15_000), &mut Vec::new(), &mut processor_pong).unwrap();
    [
        ("processor_ping", processor_ping),
        ("gate_pong", gate_pong),
        ("gate_ping", gate_ping),
        ("processor_pong", processor_pong),
    ]
    .map(|(name, bytes)| (format!("{name}{suffix}"), bytes))
    .into()
}

fn hello_ack_bytes() -> Vec<u8> {
    let mut link = charger_link(CHARGER_URI);
    link.receive(&charger_bytes(&[hello("NL*WST*E0007")]), now(0), &mut Vec::new(), &mut Vec::new()).unwrap();
    let mut bytes = Vec::new();
    link.send(Channel::ZERO, &to_charger()[0].1, &mut bytes).unwrap();
    bytes
}

fn golden() -> BTreeMap<String, Vec<u8>> {
    let text = std::fs::read_to_string(PATH).expect("the golden file is there");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let (name, bytes) = line.split_once(" = ").expect("name = hexadecimal bytes");
            (name.to_owned(), hex::decode(bytes).expect("hexadecimal bytes"))
        })
        .collect()
}

#[test]
fn what_is_written_is_what_was_always_written() {
    let frames = frames();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let mut text = String::from(
            "# Frames of the native protocol, version 1, whole and in hexadecimal. Names ending in _mac carry a MAC by the\n\
             # key \"wattstile golden vectors' key 01\" (32 bytes of ASCII).\n",
        );
        for (name, bytes) in &frames {
            writeln!(text, "{name} = {}", hex::encode(bytes)).unwrap();
        }
        std::fs::write(PATH, text).unwrap();
    }
    let golden = golden();
    assert_eq!(golden.len(), frames.len(), "one line for each sample");
    for (name, bytes) in frames {
        let kept = golden.get(&name).unwrap_or_else(|| panic!("no golden line for {name}"));
        assert_eq!(hex::encode(bytes), hex::encode(kept), "{name}");
    }
}

#[test]
fn what_was_always_written_is_still_understood() {
    let golden = golden();

    let mut link = charger_link(CHARGER_URI);
    for (name, expected) in from_charger() {
        let (mut messages, mut reply) = (Vec::new(), Vec::new());
        link.receive(&golden[name], now(0), &mut messages, &mut reply).unwrap();
        assert_eq!(messages, [Received { channel: Channel::ZERO, message: expected }], "{name}");
        assert!(reply.is_empty(), "{name}");
    }
    let mut messages = Vec::new();
    link.receive(&golden["meter_values_three"], now(0), &mut messages, &mut Vec::new()).unwrap();
    assert_eq!(messages.len(), 3);
    // Answered with the gate's own clock, which in these tests stands at the samples' time.
    let mut reply = Vec::new();
    link.receive(&golden["heartbeat"], now(0), &mut Vec::new(), &mut reply).unwrap();
    assert_eq!(reply, golden["heartbeat_ack"]);

    let mut client = ChargerClientLink::new(Mono(0));
    for (name, expected) in to_charger() {
        let mut messages = Vec::new();
        client.receive(&golden[name], now(0), &mut messages).unwrap();
        assert_eq!(messages, [Received { channel: Channel::ZERO, message: expected }], "{name}");
    }
    let farewell = client.receive(&golden["charger_go_away"], now(0), &mut Vec::new());
    assert_eq!(farewell, Err(LinkError::PeerLeft(go_away())));

    for (mac, suffix) in [(None, ""), (Some(MacKey::new(&KEY)), "_mac")] {
        let mut link = processor_link(mac.clone());
        for (name, expected) in from_processor() {
            let mut messages = Vec::new();
            link.receive(&golden[&format!("{name}{suffix}")], now(0), &mut messages, &mut Vec::new()).unwrap();
            assert_eq!(messages, [expected], "{name}{suffix}");
        }
        let farewell =
            link.receive(&golden[&format!("processor_leaves{suffix}")], now(0), &mut Vec::new(), &mut Vec::new());
        assert_eq!(farewell, Err(LinkError::PeerLeft(go_away())));

        let mut client = ProcessorClientLink::new(processor_id(), mac, Mono(0));
        for (name, expected) in to_processor() {
            let mut messages = Vec::new();
            client.receive(&golden[&format!("{name}{suffix}")], now(0), &mut messages, &mut Vec::new()).unwrap();
            assert_eq!(messages, [expected], "{name}{suffix}");
        }
    }
}

#[test]
fn every_type_of_frame_has_a_golden_line() {
    let types: std::collections::BTreeSet<u8> = golden().values().map(|bytes| bytes[5]).collect();
    let known: std::collections::BTreeSet<u8> = frame::FrameType::ALL.iter().map(|kind| kind.number()).collect();
    assert_eq!(types, known);
}
