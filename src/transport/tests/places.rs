//! How many may be in: of one peer, from one address, before and after a handshake.

use super::*;
use crate::transport::refusal::Refusal;
use crate::transport::{ConnectionTimeouts, Flow, PeerHandler};

fn bounds() -> Bounds {
    Bounds { failures_per_minute: 1000, ..Bounds::default() }
}

fn capacity(connections: usize, handshakes: usize, each_max: usize) -> Capacity {
    Capacity { share: Share { connections, handshakes }, each_max }
}

/// A handler that ignores all data.
struct Deaf;

impl PeerHandler for Deaf {
    fn received(&mut self, _: &[u8]) -> Flow {
        Flow::Continue
    }
    fn wait(&self) -> Option<Duration> {
        None
    }
    fn deadline(&mut self) -> Flow {
        Flow::Continue
    }
    fn ended(&mut self, _: &super::super::Ended) {}
}

/// A charger that lost its network comes back before the gate has noticed: it gets in, and its oldest connection goes. Others
/// keep their places, however often it comes.
#[test]
fn a_charger_that_comes_in_once_too_often_loses_its_oldest_connection() {
    let mut pki = new_pki();
    let (greedy, other) = (issue(&mut pki, &charger("AMS-0007")), issue(&mut pki, &charger("AMS-0008")));
    let gate =
        Gate::of(material(&pki, ListenerKind::Chargers), ListenerKind::Chargers, false, bounds(), capacity(4, 100, 2));
    in_runtime(async {
        let (greedy, other) = (connector(&pki, greedy), connector(&pki, other));
        let _other = other.connect(gate.address).await.unwrap();
        tokio::spawn(gate.admitted().serve(Deaf, ConnectionTimeouts::default()));
        let mut sockets = std::collections::VecDeque::new();
        for round in 0..10 {
            sockets.push_back(greedy.connect(gate.address).await.unwrap());
            tokio::spawn(gate.admitted().serve(Deaf, ConnectionTimeouts::default()));
            if round >= 2 {
                let mut oldest = sockets.pop_front().unwrap();
                let end = tokio::time::timeout(TIMEOUT, oldest.read(&mut [0])).await.expect("it is closed");
                assert!(!matches!(end, Ok(1..)));
            }
        }
        let names = |peers: Vec<super::super::LivePeer>| -> Vec<Subject> {
            peers.into_iter().map(|peer| peer.identity.subject.clone()).collect()
        };
        let [seven, eight] = ["AMS-0007", "AMS-0008"].map(charger);
        assert_eq!(names(gate.edge.live().list()), [eight, seven.clone(), seven]);
    });
}

/// A processor's connections have work on them: one more is refused, and another processor comes in.
#[test]
fn a_processor_that_comes_in_once_too_often_is_refused_and_another_has_room() {
    let mut pki = new_pki();
    let processor = |id: &str| Subject::Processor(id.parse().unwrap());
    let (greedy, other) = (issue(&mut pki, &processor("greedy")), issue(&mut pki, &processor("other")));
    let gate = Gate::of(
        material(&pki, ListenerKind::Processors),
        ListenerKind::Processors,
        false,
        bounds(),
        capacity(4, 100, 2),
    );
    in_runtime(async {
        let (greedy, other) = (connector(&pki, greedy), connector(&pki, other));
        let mut kept = Vec::new();
        for _ in 0..2 {
            kept.push((greedy.connect(gate.address).await.unwrap(), gate.admitted()));
        }
        for _ in 0..5 {
            if let Ok(socket) = greedy.connect(gate.address).await {
                assert!(is_turned_away(socket).await);
            }
        }
        let reasons: Vec<Refusal> = refusals(&gate.edge, 5).into_iter().map(|recent| recent.refused.reason).collect();
        assert!(reasons.iter().all(|reason| *reason == Refusal::TooManyOfPeer { most: 2 }), "{reasons:?}");
        let _socket = other.connect(gate.address).await.unwrap();
        let _other = gate.admitted();
        // When one of its connections ends, there is room for another one.
        kept.pop();
        let _socket = greedy.connect(gate.address).await.unwrap();
        let _peer = gate.admitted();
    });
}

/// One address has half of the places for handshakes at most, so that another one finds some.
#[test]
fn one_address_takes_half_of_the_handshakes() {
    let mut pki = new_pki();
    let own = issue(&mut pki, &charger("AMS-0007"));
    let gate =
        Gate::of(material(&pki, ListenerKind::Chargers), ListenerKind::Chargers, false, bounds(), capacity(100, 8, 4));
    in_runtime(async {
        let mut silent = Vec::new();
        for _ in 0..6 {
            silent.push(tokio::net::TcpStream::connect(gate.address).await.unwrap());
        }
        let reasons: Vec<Refusal> = refusals(&gate.edge, 2).into_iter().map(|recent| recent.refused.reason).collect();
        assert_eq!(reasons, [Refusal::CrowdedAddress, Refusal::CrowdedAddress]);
        // Another address of the same machine.
        let elsewhere = tokio::net::TcpSocket::new_v4().unwrap();
        elsewhere.bind(([127, 0, 0, 2], 0).into()).unwrap();
        let tcp = elsewhere.connect(gate.address).await.unwrap();
        let config = client_builder(&pki, &rustls::version::TLS13).with_client_auth_cert(own.chain, own.key).unwrap();
        let mut socket = Socket::client(tcp, Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        socket.handshake().await.unwrap();
        let _peer = gate.admitted();
    });
}

/// Handshakes that were begun while there was room do not all get in when there is none any more.
#[test]
fn a_listener_is_never_fuller_than_it_may_be() {
    let mut pki = new_pki();
    let own: Vec<_> = (0..12).map(|number| issue(&mut pki, &charger(&format!("AMS-{number:04}")))).collect();
    let gate =
        Gate::of(material(&pki, ListenerKind::Chargers), ListenerKind::Chargers, false, bounds(), capacity(3, 100, 4));
    in_runtime(async {
        let mut dials = tokio::task::JoinSet::new();
        for own in own {
            let (connector, address) = (connector(&pki, own), gate.address);
            dials.spawn(async move { connector.connect(address).await });
        }
        let _sockets: Vec<_> = dials.join_all().await;
        let reasons: Vec<Refusal> = refusals(&gate.edge, 9).into_iter().map(|recent| recent.refused.reason).collect();
        assert!(reasons.iter().all(|reason| *reason == Refusal::Full), "{reasons:?}");
        assert_eq!(gate.edge.live().count(ListenerKind::Chargers), 3);
    });
}
