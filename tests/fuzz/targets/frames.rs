//! A stream of bytes, cut in different ways: the same messages and the same end, and never a crash.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use wattstile::units::{Mono, Now, Timestamp};
use wattstile::message::{FromCharger, PeerIdentity, Received};
use wattstile::wire::{ChargerLink, LinkError};

const NOW: Now = Now { wall: Timestamp::from_unix_ms(0), mono: Mono(0) };

type Outcome = (Vec<Received<FromCharger>>, Result<(), LinkError>, Vec<u8>);

fn read(bytes: &[u8], piece: usize) -> Outcome {
    let peer = PeerIdentity::parse("spiffe://w/site/s").expect("a good identity");
    let mut link = ChargerLink::new(peer, Arc::new(|_, _| true), Mono(0)).expect("a site may speak");
    let (mut received, mut reply) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        if let Err(error) = link.receive(piece, NOW, &mut received, &mut reply) {
            return (received, Err(error), reply);
        }
    }
    (received, Ok(()), reply)
}

// The first byte is the length of the pieces; what follows is the stream. Checksums are mended, so that the fuzzer gets
// beyond them.
fuzz_target!(|data: &[u8]| {
    let Some((piece, stream)) = data.split_first() else { return };
    let mut stream = stream.to_vec();
    mend(&mut stream);
    let whole = read(&stream, stream.len().max(1));
    assert_eq!(whole, read(&stream, usize::from(*piece).max(1)));
    assert_eq!(whole, read(&stream, 1));
});

/// Gives every frame of the stream the checksum that it should have.
fn mend(stream: &mut [u8]) {
    let mut at = 0;
    while let Some(length) = stream.get(at..).and_then(|rest| rest.first_chunk()) {
        let end = at + 4 + u32::from_be_bytes(*length) as usize;
        if end > stream.len() || end < at + 24 {
            return;
        }
        let crc = crc32fast::hash(&stream[at..end - 4]);
        stream[end - 4..end].copy_from_slice(&crc.to_be_bytes());
        at = end;
    }
}
