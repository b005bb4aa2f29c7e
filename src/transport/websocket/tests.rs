//! Both ends talk to each other, and the examples of the standards are met byte by byte.

use super::deflate::compress;
use super::frame::{Opcode, write};
use super::*;
use proptest::prelude::*;

const MOST: usize = 4_096;

fn server(compression: bool) -> WebSocket {
    WebSocket::new(End::Server, compression, MOST, 0)
}

fn client(compression: bool) -> WebSocket {
    WebSocket::new(End::Client, compression, MOST, 7)
}

/// What `end` makes of these bytes: its messages, what it answers, and the violation.
fn receive(end: &mut WebSocket, bytes: &[u8]) -> (Vec<String>, Vec<u8>, Result<(), Violation>) {
    let (mut messages, mut reply) = (Vec::new(), Vec::new());
    let outcome = end.receive(bytes, &mut reply, |incoming| match incoming {
        Incoming::Text(text) => messages.push(text.to_owned()),
        other => messages.push(format!("{other:?}")),
    });
    (messages, reply, outcome)
}

/// A client's frame.
fn masked(opcode: Opcode, compressed: bool, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write(opcode, compressed, Some([0x37, 0xfa, 0x21, 0x3d]), payload, &mut out);
    out
}

/// Not the last frame of its message.
fn open(mut frame: Vec<u8>) -> Vec<u8> {
    frame[0] &= 0x7f;
    frame
}

#[test]
fn the_examples_of_the_standards_are_met() {
    // RFC 6455, 5.7: "Hello", masked, in one frame.
    let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(masked(Opcode::Text, false, b"Hello"), hello);
    assert_eq!(receive(&mut server(false), &hello).0, ["Hello"]);
    // In two frames, unmasked; then 256 bytes, whose length takes 16 bits.
    assert_eq!(receive(&mut client(false), &[0x01, 3, b'H', b'e', b'l', 0x80, 2, b'l', b'o']).0, ["Hello"]);
    let mut long = vec![0x81, 0x7e, 0x01, 0x00];
    long.extend([b'a'; 256]);
    assert_eq!(receive(&mut client(false), &long).0, ["a".repeat(256)]);
    // RFC 7692, 7.2.3.1: "Hello", compressed; 7.2.3.4: with a final block.
    let small = [0xc1, 0x07, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    assert_eq!(receive(&mut client(true), &small).0, ["Hello"]);
    let last = [0xc1, 0x08, 0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    assert_eq!(receive(&mut client(true), &last).0, ["Hello"]);
    // RFC 6455, 1.3.
    let request = "GET /ocpp/A HTTP/1.1\r\nHost: gate\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let whole = request.len();
    let (request, length) = Request::read(request.as_bytes()).unwrap().unwrap();
    assert_eq!((request.path.as_str(), length), ("/ocpp/A", whole));
    let mut answer = Vec::new();
    request.accept(None, true, &mut answer);
    assert!(String::from_utf8(answer).unwrap().contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
}

#[test]
fn a_client_is_let_in_with_what_both_sides_know() {
    let mut asked = Vec::new();
    let response = request(
        ("gate:9020", "/ocpp/AMS%2F0007?x=1"),
        &["ocpp2.1", "ocpp1.6"],
        Some(("AMS/0007", "s3:cret")),
        (true, *b"0123456789abcdef"),
        &mut asked,
    );
    for cut in 0..asked.len() {
        assert_eq!(Request::read(&asked[..cut]), Ok(None), "cut at {cut}");
    }
    asked.extend(b"more");
    let (request, length) = Request::read(&asked).unwrap().unwrap();
    assert_eq!(&asked[length..], b"more");
    assert_eq!(request.path, "/ocpp/AMS/0007");
    assert_eq!(request.protocols, ["ocpp2.1", "ocpp1.6"]);
    assert_eq!(request.basic, Some(("AMS/0007".to_owned(), b"s3:cret".to_vec())));
    assert!(request.compression);

    let mut answer = Vec::new();
    request.accept(Some("ocpp2.1"), true, &mut answer);
    assert_eq!(response.read(&answer[..answer.len() - 1]), Ok(None));
    assert_eq!(response.read(&answer), Ok(Some((Some("ocpp2.1".to_owned()), true, answer.len()))));
    let mut refused = Vec::new();
    refuse((404, "Not Found"), "no such charger", &mut refused);
    assert_eq!(response.read(&refused), Err(HandshakeError::Status(404)));
}

#[test]
fn a_request_that_opens_nothing_is_told_apart() {
    let good = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let read = |line: &str, fields: &[(&str, &str)]| {
        let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        Request::read(format!("{line}\r\n{fields}\r\n").as_bytes())
    };
    let with = |name: &str, value| good.map(|(known, was)| (known, if known == name { value } else { was }));
    assert!(matches!(read("GET /a HTTP/1.1", &good), Ok(Some(_))));
    assert_eq!(read("POST /a HTTP/1.1", &good), Err(HandshakeError::Method));
    assert_eq!(read("GET /a HTTP/1.0", &good), Err(HandshakeError::NoUpgrade));
    assert_eq!(read("GET /a HTTP/1.1", &with("Upgrade", "h2c")), Err(HandshakeError::NoUpgrade));
    assert_eq!(read("GET /a HTTP/1.1", &with("Connection", "close")), Err(HandshakeError::NoUpgrade));
    assert_eq!(read("GET /a HTTP/1.1", &with("Sec-WebSocket-Version", "8")), Err(HandshakeError::Version));
    assert_eq!(read("GET /a HTTP/1.1", &with("Sec-WebSocket-Key", "c2hvcnQ=")), Err(HandshakeError::Key));
    assert_eq!(read("GET /%ff HTTP/1.1", &good), Err(HandshakeError::Encoding("the path")));
    assert_eq!(Request::read(b"\x16\x03\x01\x02\x00"), Err(HandshakeError::NotHttp));
    assert_eq!(Request::read(&[b'G'; HEAD_MAX]), Err(HandshakeError::TooLong));
    let padding = "y".repeat(HEAD_MAX);
    let long = [good.as_slice(), &[("X", &padding)]].concat();
    assert_eq!(read("GET /a HTTP/1.1", &long), Err(HandshakeError::TooLong));
    let many: Vec<_> = good.into_iter().chain(std::iter::repeat_n(("X", "y"), 100)).collect();
    assert_eq!(read("GET /a HTTP/1.1", &many), Err(HandshakeError::TooLong));
    let bearer = [good.as_slice(), &[("Authorization", "Bearer x")]].concat();
    assert_eq!(read("GET /a HTTP/1.1", &bearer), Err(HandshakeError::Encoding("the field Authorization")));
}

#[test]
fn compression_is_agreed_only_on_terms_that_hold() {
    let offered = |offer: &str| {
        let head = format!(
            "GET /a HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: {offer}\r\n\r\n"
        );
        Request::read(head.as_bytes()).unwrap().unwrap().0.compression
    };
    assert!(offered("permessage-deflate"));
    assert!(offered("permessage-deflate; client_max_window_bits"));
    assert!(offered("x-webkit, permessage-deflate;server_max_window_bits=10, permessage-deflate"));
    assert!(!offered("permessage-deflate; server_max_window_bits=10"));
    assert!(!offered("permessage-deflate; unheard_of"));
    assert!(!offered("x-webkit-deflate-frame"));
}

#[test]
fn pings_are_answered_between_the_pieces_of_a_message() {
    let mut end = server(false);
    let mut bytes = open(masked(Opcode::Text, false, b"one "));
    bytes.extend(masked(Opcode::Ping, false, b"there?"));
    bytes.extend(open(masked(Opcode::Continuation, false, b"two ")));
    assert!(!end.is_mid_message());
    let (messages, reply, outcome) = receive(&mut end, &bytes);
    assert_eq!((messages, outcome), (vec!["Ping".to_owned()], Ok(())));
    assert_eq!(reply, [&[0x8a, 6], b"there?".as_slice()].concat());
    assert!(end.is_mid_message());
    assert_eq!(receive(&mut end, &masked(Opcode::Continuation, false, b"three")).0, ["one two three"]);
    assert!(!end.is_mid_message());
    assert_eq!(receive(&mut end, &masked(Opcode::Pong, false, b"")).0, ["Pong"]);
}

#[test]
fn a_close_is_answered_and_nothing_is_read_behind_it() {
    let mut bytes = masked(Opcode::Close, false, &[0x03, 0xe9, b'b', b'y', b'e']);
    bytes.extend(masked(Opcode::Text, false, b"late"));
    let (messages, reply, outcome) = receive(&mut server(false), &bytes);
    assert_eq!((messages, outcome), (vec!["Close(Some(CloseCode(1001)))".to_owned()], Ok(())));
    assert_eq!(reply, [0x88, 2, 0x03, 0xe9]);
    assert_eq!(receive(&mut server(false), &masked(Opcode::Close, false, b"")).1, [0x88, 2, 0x03, 0xe8]);
    let mut frame_bytes = Vec::new();
    server(false).sender().close(CloseCode::POLICY, &"é".repeat(100), &mut frame_bytes);
    assert_eq!(frame_bytes.len(), 2 + 2 + 122, "a reason is cut between characters");
}

#[test]
fn each_broken_rule_closes_with_its_code() {
    let text = |compressed| masked(Opcode::Text, compressed, b"x");
    let with = |first: u8, second: u8| vec![first, second, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut endless = vec![0xff; 64];
    endless.splice(0..0, [0x06]);
    let cases: Vec<(Vec<u8>, Violation)> = vec![
        (text(true), Violation::Reserved),
        (with(0x91, 0x80), Violation::Reserved),
        (with(0x83, 0x80), Violation::Reserved),
        (with(0x82, 0x80), Violation::Binary),
        (with(0x81, 0x00), Violation::Mask),
        (with(0x81, 0xfe), Violation::Length),
        (with(0x81, 0xff), Violation::Length),
        ([0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].to_vec(), Violation::Length),
        ([0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0].to_vec(), Violation::TooLong(MOST)),
        (with(0x09, 0x80), Violation::Control),
        ([0x89, 0xfe, 0, 126, 0, 0, 0, 0].to_vec(), Violation::Control),
        (masked(Opcode::Continuation, false, b"x"), Violation::Order),
        ([open(text(false)), text(false)].concat(), Violation::Order),
        (masked(Opcode::Close, false, &[3]), Violation::CloseCode),
        (masked(Opcode::Close, false, &1005_u16.to_be_bytes()), Violation::CloseCode),
        (masked(Opcode::Close, false, &[3, 0xe8, 0xff]), Violation::CloseCode),
        (masked(Opcode::Text, false, &[0xc3, 0x28]), Violation::Text),
        (masked(Opcode::Text, false, &vec![b'x'; MOST + 1]), Violation::TooLong(MOST)),
        (
            [open(masked(Opcode::Text, false, &vec![b'x'; MOST])), masked(Opcode::Continuation, false, b"x")].concat(),
            Violation::TooLong(MOST),
        ),
    ];
    for (bytes, violation) in cases {
        let mut end = server(false);
        let (messages, reply, outcome) = receive(&mut end, &bytes);
        assert_eq!((messages.len(), outcome), (0, Err(violation)), "{bytes:x?}");
        assert_eq!(&reply[2..4], violation.code().0.to_be_bytes(), "{violation}");
        assert_eq!(receive(&mut end, &text(false)), (vec![], vec![], Ok(())), "nothing is read afterwards");
    }
    let damaged = masked(Opcode::Text, true, &endless);
    assert_eq!(receive(&mut server(true), &damaged).2, Err(Violation::Deflate));
}

#[test]
fn a_message_that_inflates_without_end_is_cut_off() {
    let mut small = Vec::new();
    compress(&vec![b' '; 1 << 19], &mut small);
    assert!(small.len() < MOST, "{}", small.len());
    let (messages, _, outcome) = receive(&mut server(true), &masked(Opcode::Text, true, &small));
    assert_eq!((messages.len(), outcome), (0, Err(Violation::TooLong(MOST))));
    let mut fits = Vec::new();
    compress(&[b' '; MOST], &mut fits);
    assert_eq!(receive(&mut server(true), &masked(Opcode::Text, true, &fits)).0, [" ".repeat(MOST)]);
}

#[test]
fn a_silent_connection_holds_no_buffer() {
    let mut end = server(true);
    let mut bytes = masked(Opcode::Text, false, &[b'x'; MOST]);
    bytes.extend(masked(Opcode::Ping, false, &[b'x'; 125]));
    assert_eq!(receive(&mut end, &bytes).2, Ok(()));
    assert_eq!(end.buffered(), 0);
    assert!(size_of::<WebSocket>() <= 160, "{}", size_of::<WebSocket>());
}

proptest! {
    #[test]
    fn whatever_is_sent_arrives_however_it_is_cut(
        texts in prop::collection::vec("(?s).{0,300}", 1..6),
        cuts in prop::collection::vec(1_usize..50, 1..20),
        (compression, to_server) in any::<(bool, bool)>(),
    ) {
        let (mut from, mut to) = if to_server {
            (client(compression), server(compression))
        } else {
            (server(compression), client(compression))
        };
        let mut bytes = Vec::new();
        for text in &texts {
            from.sender().text(text, &mut bytes);
            from.sender().ping(&mut bytes);
        }
        let mut arrived = Vec::new();
        let mut rest = bytes.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break; }
            let (part, behind) = rest.split_at((*cut).min(rest.len()));
            rest = behind;
            let (messages, _, outcome) = receive(&mut to, part);
            prop_assert_eq!(outcome, Ok(()));
            arrived.extend(messages.into_iter().filter(|message| message != "Ping"));
        }
        prop_assert!(!to.is_mid_message());
        prop_assert_eq!(arrived, texts.into_iter().filter(|text| text != "Ping").collect::<Vec<_>>());
    }

    #[test]
    fn no_bytes_break_an_end(bytes in prop::collection::vec(any::<u8>(), 0..300), compression in any::<bool>()) {
        let mut end = server(compression);
        let _ = receive(&mut end, &bytes);
        let _ = receive(&mut end, &bytes);
        let _ = receive(&mut client(compression), &bytes);
        let _ = Request::read(&bytes);
    }

    #[test]
    fn no_compressed_bytes_break_an_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = receive(&mut server(true), &masked(Opcode::Text, true, &bytes));
    }
}
