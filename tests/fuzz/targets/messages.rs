//! Whole frames of any type with any payload, to all four ends: parsed or refused; and a parsed message survives a
//! round trip.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use wattstile::units::{Mono, Now, ProcessorId, Timestamp};
use wattstile::wire::frame::{FrameHead, FrameType, write_frame};
use wattstile::message::*;
use wattstile::wire::*;

const NOW: Now = Now { wall: Timestamp::from_unix_ms(0), mono: Mono(0) };

fn frame(kind: FrameType, payload: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let append = |out: &mut Vec<u8>| out.extend_from_slice(payload);
    write_frame(&mut bytes, FrameHead::new(kind, Channel(1)), None, append).ok()?;
    Some(bytes)
}

fn charger(bytes: &[u8]) -> Vec<FromCharger> {
    let peer = PeerIdentity::parse("spiffe://w/site/s").expect("a good identity");
    let mut link = ChargerLink::new(peer, Arc::new(|_, _| true), Mono(0)).expect("a site may speak");
    let hello = frame(FrameType::ChargerHello, &[8, 1, 18, 1, b'c']).expect("it fits");
    link.receive(&hello, NOW, &mut Vec::new(), &mut Vec::new()).expect("a good hello");
    let mut incoming = Vec::new();
    let _ = link.receive(bytes, NOW, &mut incoming, &mut Vec::new());
    incoming.into_iter().map(|received| received.message).collect()
}

fn gate(bytes: &[u8]) -> Vec<ToCharger> {
    let mut incoming = Vec::new();
    let _ = ChargerClientLink::new(Mono(0)).receive(bytes, NOW, &mut incoming);
    incoming.into_iter().map(|received| received.message).collect()
}

fn processor(bytes: &[u8]) -> Vec<FromProcessor> {
    let peer = PeerIdentity::parse("spiffe://w/processor/p").expect("a good identity");
    let mut link = ProcessorLink::new(&peer, None, Mono(0)).expect("a processor may speak");
    let mut incoming = Vec::new();
    let _ = link.receive(bytes, NOW, &mut incoming, &mut Vec::new());
    incoming
}

// The first byte chooses the type.
fuzz_target!(|data: &[u8]| {
    let Some((kind, payload)) = data.split_first() else { return };
    let kind = FrameType::ALL[usize::from(*kind) % FrameType::ALL.len()];
    let Some(mut bytes) = frame(kind, payload) else { return };

    let sent = charger(&bytes);
    let mut client = ChargerClientLink::new(Mono(0));
    let mut again = Vec::new();
    let hello = ChargerHello { numbering: Default::default(),
        charger: "c".parse().expect("an id"),
        connectors: Vec::new(),
        firmware: "".into(),
        clock: Timestamp::default(),
        sessions: Vec::new(),
    };
    client.send(Channel(1), &FromCharger::Hello(hello), Mono(0), &mut Vec::new()).expect("it fits");
    for message in &sent {
        client.send(Channel(1), message, Mono(0), &mut again).expect("what was received can be sent");
    }
    assert_eq!(charger(&again), sent);

    gate(&bytes);

    // Processors use channel 0 only, and Hello comes first.
    bytes[8..12].fill(0);
    let end = bytes.len() - 4;
    let crc = crc32fast::hash(&bytes[..end]);
    bytes[end..].copy_from_slice(&crc.to_be_bytes());
    processor(&bytes);
    let mut client = ProcessorClientLink::new(ProcessorId::new("p").expect("an id"), None, Mono(0));
    let _ = client.receive(&bytes, NOW, &mut Vec::new(), &mut Vec::new());
});
