//! WebSockets are opened on real sockets, with TLS and without.

use super::*;
use crate::message::PeerIdentity;
use crate::transport::websocket::{Incoming, Request, WebSocket};
use crate::transport::{
    ConnectionTimeouts, Denial, Ended, Flow, Grant, Opened, Outgoing, PeerHandler, Upgrade, Wanted, open_websocket,
};
use std::sync::Mutex;

/// Serves chargers below /ocpp/, under their certificate or with the password `secret`.
struct Served;

impl Upgrade for Served {
    fn decide(&self, request: &Request, certificate: Option<&PeerIdentity>, _: SocketAddr) -> Result<Grant, Denial> {
        let named = request.path.strip_prefix("/ocpp/").ok_or(Denial::NotFound)?;
        let identity = PeerIdentity { trust_domain: DOMAIN.into(), subject: charger(named) };
        match (certificate, &request.basic) {
            (Some(shown), _) if *shown != identity => return Err(Denial::OtherPeer),
            (None, Some((user, password))) if user != named || password != b"secret" => {
                return Err(Denial::Unauthorized);
            }
            (None, None) => return Err(Denial::Unauthorized),
            (Some(_), _) | (None, Some(_)) => {}
        }
        let protocol =
            ["ocpp2.0.1", "ocpp1.6"].into_iter().find(|known| request.protocols.iter().any(|asked| asked == known));
        Ok(Grant { identity, protocol: protocol.ok_or(Denial::NoSubprotocol)?, compression: true })
    }

    fn message_max(&self) -> usize {
        1_000
    }
}

/// Sends every message back.
struct Echo {
    websocket: Box<WebSocket>,
    outgoing: Outgoing,
    over: Arc<Mutex<Option<Ended>>>,
}

impl PeerHandler for Echo {
    fn received(&mut self, bytes: &[u8]) -> Flow {
        let (mut reply, mut texts, mut closed) = (Vec::new(), Vec::new(), false);
        let outcome = self.websocket.receive(bytes, &mut reply, |incoming| match incoming {
            Incoming::Text(text) => texts.push(text.to_owned()),
            Incoming::Close(_) => closed = true,
            Incoming::Ping | Incoming::Pong => {}
        });
        texts.iter().for_each(|text| self.websocket.sender().text(text, &mut reply));
        self.outgoing.send(|out| out.append(&mut reply)).unwrap();
        if outcome.is_err() || closed { Flow::Close("closed".into()) } else { Flow::Continue }
    }

    fn wait(&self) -> Option<Duration> {
        None
    }

    fn deadline(&mut self) -> Flow {
        Flow::Continue
    }

    fn ended(&mut self, reason: &Ended) {
        *self.over.lock().unwrap() = Some(reason.clone());
    }
}

/// A gate whose chargers speak over WebSocket; peers that come in are echoed to, on a thread of their own.
fn echo(tls: Option<&Pki>, bounds: Bounds) -> (Edge, SocketAddr) {
    let listener = ListenerKind::Ocpp;
    let tls =
        tls.map(|pki| Arc::new(Tls::new(policy(listener, true), Source::Memory(material(pki, listener))).unwrap()));
    let edge = Edge::new(bounds, 1).unwrap();
    let reception: Reception = Arc::new(|peer: Peer| {
        std::thread::spawn(move || {
            let mut peer = peer;
            let upgraded = peer.websocket.take().expect("a WebSocket");
            assert_eq!(upgraded.protocol, "ocpp1.6");
            let websocket = Box::new(upgraded.websocket);
            let echo = Echo { websocket, outgoing: peer.outgoing.clone(), over: Arc::default() };
            in_runtime(async { peer.serve(echo, ConnectionTimeouts::default()).await })
        });
        Ok(())
    });
    let entry = Entry { listener, tls, upgrade: Some(Arc::new(Served)) };
    let address = edge.listen(([127, 0, 0, 1], 0).into(), entry, AMPLE, reception).unwrap();
    (edge, address)
}

fn wanted<'a>(path: &'a str, basic: Option<(&'a str, &'a str)>) -> Wanted<'a> {
    let protocols = &["ocpp2.1", "ocpp1.6"];
    Wanted { host: "localhost", path, protocols, basic, compression: true, nonce: [7; 16] }
}

async fn plain(address: SocketAddr) -> Socket {
    Socket::plain(tokio::net::TcpStream::connect(address).await.unwrap())
}

/// The next message that comes back.
async fn next(socket: &mut Socket, opened: &mut Opened) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut bytes = std::mem::take(&mut opened.early);
    loop {
        opened
            .websocket
            .receive(&bytes, &mut Vec::new(), |incoming| {
                if let Incoming::Text(text) = incoming {
                    texts.push(text.to_owned());
                }
            })
            .unwrap();
        if let Some(text) = texts.pop() {
            return text;
        }
        bytes.resize(4_096, 0);
        let fresh = tokio::time::timeout(TIMEOUT, socket.read(&mut bytes)).await.unwrap().unwrap();
        assert!(fresh > 0, "the gate closed");
        bytes.truncate(fresh);
    }
}

async fn converse(mut socket: Socket, basic: Option<(&str, &str)>) {
    let mut opened = open_websocket(&mut socket, wanted("/ocpp/AMS-0007", basic), 1_000).await.unwrap();
    assert_eq!(opened.protocol.as_deref(), Some("ocpp1.6"));
    for text in ["[2,\"1\",\"Heartbeat\",{}]".to_owned(), "x".repeat(900)] {
        let mut out = Vec::new();
        opened.websocket.sender().text(&text, &mut out);
        socket.write_all(&out).await.unwrap();
        socket.flush().await.unwrap();
        assert_eq!(next(&mut socket, &mut opened).await, text);
    }
}

#[test]
fn a_charger_speaks_over_tls_and_without() {
    let mut pki = new_pki();
    let own = issue(&mut pki, &charger("AMS-0007"));
    let (secure, secure_address) = echo(Some(&pki), Bounds::default());
    let (open, open_address) = echo(None, Bounds::default());
    in_runtime(async {
        converse(connector(&pki, own).connect(secure_address).await.unwrap(), None).await;
        converse(plain(open_address).await, Some(("AMS-0007", "secret"))).await;
    });
    assert!(secure.recent_refusals().is_empty() && open.recent_refusals().is_empty());
}

#[test]
fn what_comes_behind_the_request_is_not_lost() {
    let (_edge, address) = echo(None, Bounds::default());
    in_runtime(async {
        let mut socket = plain(address).await;
        let mut asked = Vec::new();
        let basic = Some(("AMS-0007", "secret"));
        let wanted = (true, [7; 16]);
        let response =
            crate::transport::websocket::request(("x", "/ocpp/AMS-0007"), &["ocpp1.6"], basic, wanted, &mut asked);
        let mut websocket = WebSocket::new(crate::transport::websocket::End::Client, true, 1_000, 1);
        websocket.sender().text("at once", &mut asked);
        socket.write_all(&asked).await.unwrap();
        let mut received = Vec::new();
        let (protocol, _, length) = loop {
            let mut room = [0; 512];
            let fresh = socket.read(&mut room).await.unwrap();
            received.extend_from_slice(&room[..fresh]);
            if let Some(read) = response.read(&received).unwrap() {
                break read;
            }
        };
        let mut opened = Opened { protocol, websocket, early: received.split_off(length) };
        assert_eq!(next(&mut socket, &mut opened).await, "at once");
    });
}

#[test]
fn each_denial_has_its_answer_and_its_label() {
    let mut pki = new_pki();
    let own = issue(&mut pki, &charger("AMS-0007"));
    let bounds = Bounds { failures_per_minute: 1_000, ..Bounds::default() };
    let (secure, secure_address) = echo(Some(&pki), bounds);
    let (open, open_address) = echo(None, bounds);
    let status = |error: std::io::Error| error.to_string();
    in_runtime(async {
        let cases = [
            ("/ocpp/AMS-0007", None, "401"),
            ("/ocpp/AMS-0007", Some(("AMS-0007", "guess")), "401"),
            ("/ocpp/AMS-0007", Some(("AMS-0008", "secret")), "401"),
            ("/", Some(("AMS-0007", "secret")), "404"),
        ];
        for (path, basic, code) in cases {
            let denied = open_websocket(&mut plain(open_address).await, wanted(path, basic), 1_000).await;
            assert!(denied.is_err_and(|error| status(error).ends_with(code)), "{path} {basic:?}");
        }
        let mut socket = plain(open_address).await;
        let unknown = Wanted { protocols: &["mqtt"], ..wanted("/ocpp/AMS-0007", Some(("AMS-0007", "secret"))) };
        let opened = open_websocket(&mut socket, unknown, 1_000).await.unwrap();
        assert_eq!(opened.protocol, None, "opened without a subprotocol");
        let mut rest = opened.early;
        let _ = socket.read_to_end(&mut rest).await;
        assert_eq!(rest[..4], [0x88, rest[1], 0x03, 0xea], "and closed at once");

        let mut other = connector(&pki, own).connect(secure_address).await.unwrap();
        let denied = open_websocket(&mut other, wanted("/ocpp/AMS-0008", None), 1_000).await;
        assert!(denied.is_err_and(|error| status(error).ends_with("403")));

        let mut garbage = plain(open_address).await;
        garbage.write_all(b"\x16\x03\x01\x00\xa5\x01\x00\x00").await.unwrap();
        let mut answer = Vec::new();
        let _ = garbage.read_to_end(&mut answer).await;
        assert!(answer.starts_with(b"HTTP/1.1 400 Bad Request\r\n"), "{}", String::from_utf8_lossy(&answer));
    });
    let labels: Vec<&str> = refusals(&open, 6).iter().rev().map(|recent| recent.refused.reason.label()).collect();
    let wrong = "wrong_password";
    assert_eq!(labels, [wrong, wrong, wrong, "unknown_charger", "no_subprotocol", "no_upgrade"]);
    assert_eq!(refusals(&secure, 1)[0].refused.reason.label(), "wrong_identity");
}

#[test]
fn a_request_that_does_not_end_gives_its_place_back() {
    let (edge, address) = echo(None, Bounds { handshake: Duration::from_millis(300), ..Bounds::default() });
    in_runtime(async {
        let mut slow = plain(address).await;
        slow.write_all(b"GET /ocpp/AMS-0007 HTTP/1.1\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(TIMEOUT, slow.read_to_end(&mut answer)).await.unwrap();
        assert!(answer.is_empty());
    });
    assert_eq!(refusals(&edge, 1)[0].refused.reason.label(), "too_slow");
}
