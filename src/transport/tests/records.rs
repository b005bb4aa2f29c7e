//! TLS records however they are cut, and what a connection keeps of them: nothing, when nothing is in progress.

use super::*;
use crate::transport::records::{ROOM_BYTES, Records};
use tokio::io::ReadBuf;

/// The two ends of a connection, with nothing between them but the test.
struct Ends {
    gate: Records,
    peer: Records,
}

impl Ends {
    /// Does the handshake; ciphertext arrives in pieces of so many bytes.
    fn meet(version: &'static rustls::SupportedProtocolVersion, piece: usize) -> Ends {
        let mut pki = new_pki();
        let own = issue(&mut pki, &charger("AMS-0007"));
        let listener = ListenerKind::Chargers;
        let tls = Tls::new(policy(listener, true), Source::Memory(material(&pki, listener))).unwrap();
        let config = client_builder(&pki, version).with_client_auth_cert(own.chain, own.key).unwrap();
        let mut ends = Ends {
            gate: Records::server(tls.config().0).unwrap(),
            peer: Records::client(Arc::new(config), "localhost".try_into().unwrap()).unwrap(),
        };
        for _ in 0..4 {
            assert_eq!(take_in(&mut ends.gate, &take_sent(&mut ends.peer), piece).unwrap(), b"");
            assert_eq!(take_in(&mut ends.peer, &take_sent(&mut ends.gate), piece).unwrap(), b"");
        }
        assert!(!ends.gate.is_handshaking() && !ends.peer.is_handshaking());
        assert_eq!(ends.gate.peer_certificates().len(), 2);
        assert_eq!((ends.gate.held(), ends.peer.held()), (0, 0), "the handshake leaves no buffer");
        ends
    }
}

/// What waits to be sent.
fn take_sent(records: &mut Records) -> Vec<u8> {
    let ciphertext = records.unsent().to_vec();
    records.sent(ciphertext.len());
    ciphertext
}

/// A record of its own for each piece of plaintext.
fn encrypt(records: &mut Records, pieces: &[&[u8]]) -> Vec<u8> {
    let mut ciphertext = take_sent(records);
    let mut room = vec![0; ROOM_BYTES];
    for piece in pieces {
        let (taken, length) = records.send(piece, &mut room).unwrap();
        assert_eq!(taken, piece.len());
        ciphertext.extend_from_slice(&room[..length]);
    }
    ciphertext
}

/// Takes ciphertext as it comes, and gives what was in it. The room is full of rubbish before every call, as it is when
/// many connections share it.
fn take_in(records: &mut Records, ciphertext: &[u8], piece: usize) -> Result<Vec<u8>, rustls::Error> {
    let mut received = Vec::new();
    for bytes in ciphertext.chunks(piece) {
        let mut room = vec![0xAA; ROOM_BYTES];
        records.room_for_more(&mut room)[..bytes.len()].copy_from_slice(bytes);
        let mut plaintext = vec![0; ROOM_BYTES];
        let mut reader = ReadBuf::new(&mut plaintext);
        records.receive(&mut room, bytes.len(), &mut reader)?;
        // During the handshake there is no reader.
        records.read(&mut reader);
        received.extend_from_slice(reader.filled());
    }
    Ok(received)
}

const VERSIONS: [&rustls::SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

#[test]
fn a_handshake_comes_byte_by_byte() {
    for version in VERSIONS {
        for piece in [1, 7, 4096] {
            Ends::meet(version, piece);
        }
    }
}

#[test]
fn records_are_cut_at_every_byte_and_several_come_at_once() {
    let pieces: [&[u8]; 4] = [b"meter", b"reading", b"8", b"9"];
    for version in VERSIONS {
        let Ends { mut gate, mut peer } = Ends::meet(version, 4096);
        let whole = encrypt(&mut peer, &pieces);
        assert_eq!(take_in(&mut gate, &whole, whole.len()).unwrap(), b"meterreading89");
        for cut in 1..whole.len() {
            let ciphertext = encrypt(&mut peer, &pieces);
            let mut received = take_in(&mut gate, &ciphertext[..cut], cut).unwrap();
            assert!(gate.held() <= cut, "{} bytes kept of {cut}", gate.held());
            received.extend(take_in(&mut gate, &ciphertext[cut..], whole.len()).unwrap());
            assert_eq!(received, b"meterreading89", "cut after {cut} bytes");
            assert_eq!((gate.held(), peer.held()), (0, 0), "nothing is kept when nothing is under way");
        }
        let ciphertext = encrypt(&mut peer, &pieces);
        assert_eq!(take_in(&mut gate, &ciphertext, 1).unwrap(), b"meterreading89");
    }
}

#[test]
fn new_keys_are_answered_however_the_records_are_cut() {
    let Ends { mut gate, mut peer } = Ends::meet(&rustls::version::TLS13, 4096);
    for piece in 1..60 {
        peer.renew_keys().unwrap();
        let ciphertext = encrypt(&mut peer, &[b"after"]);
        assert_eq!(take_in(&mut gate, &ciphertext, piece).unwrap(), b"after");
        let answer = encrypt(&mut gate, &[b"heard"]);
        assert_eq!(take_in(&mut peer, &answer, piece).unwrap(), b"heard");
    }
    assert_eq!((gate.held(), peer.held()), (0, 0));
}

#[test]
fn a_reader_with_little_room_gets_everything_in_order() {
    let Ends { mut gate, mut peer } = Ends::meet(&rustls::version::TLS13, 4096);
    let ciphertext = encrypt(&mut peer, &[b"receipt: ", b"9.60 ", b"EUR"]);
    let mut room = vec![0; ROOM_BYTES];
    gate.room_for_more(&mut room)[..ciphertext.len()].copy_from_slice(&ciphertext);
    let mut received = Vec::new();
    let mut little = [0; 4];
    let mut reader = ReadBuf::new(&mut little);
    gate.receive(&mut room, ciphertext.len(), &mut reader).unwrap();
    received.extend_from_slice(reader.filled());
    loop {
        let mut reader = ReadBuf::new(&mut little);
        if !gate.read(&mut reader) {
            break;
        }
        received.extend_from_slice(reader.filled());
    }
    assert_eq!(received, b"receipt: 9.60 EUR");
    assert_eq!(gate.held(), 0);
}

#[test]
fn a_record_that_promises_too_much_is_refused_with_an_alert() {
    for version in VERSIONS {
        let Ends { mut gate, .. } = Ends::meet(version, 4096);
        assert!(take_in(&mut gate, &[23, 3, 3, 0x48, 0x01], 5).is_err());
        assert!(!take_sent(&mut gate).is_empty(), "the peer is answered");
        assert!(gate.send(b"too late", &mut vec![0; ROOM_BYTES]).is_err());
        assert_eq!(gate.held(), 0);
    }
}

#[test]
fn after_goodbye_nothing_is_heard_and_everything_can_be_said() {
    for version in VERSIONS {
        let Ends { mut gate, mut peer } = Ends::meet(version, 4096);
        let mut ciphertext = encrypt(&mut peer, &[b"last"]);
        peer.send_goodbye(&mut vec![0; ROOM_BYTES]).unwrap();
        ciphertext.extend(take_sent(&mut peer));
        peer.send_goodbye(&mut vec![0; ROOM_BYTES]).unwrap();
        assert_eq!(take_sent(&mut peer), b"", "goodbye is sent once");
        ciphertext.extend_from_slice(b"rubbish");
        assert_eq!(take_in(&mut gate, &ciphertext, ciphertext.len()).unwrap(), b"last");
        assert!(gate.is_at_end());
        let answer = encrypt(&mut gate, &[b"receipt"]);
        assert_eq!(take_in(&mut peer, &answer, 3).unwrap(), b"receipt");
        assert_eq!((gate.held(), peer.held()), (0, 0));
    }
}
