//! What happens on a connection: bytes both ways, back pressure, deadlines, and peers that behave badly.

use super::*;
use crate::transport::refusal::Refusal;
use crate::transport::{ConnectionTimeouts, Ended, Flow, Outgoing, PeerHandler, drive};
use std::sync::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};

/// Records what it receives, and answers as configured.
struct Recorder {
    incoming: Arc<Mutex<Vec<u8>>>,
    answer: Flow,
    echo: Option<Outgoing>,
    silent_at: Option<Instant>,
    ended: mpsc::Sender<Ended>,
}

impl PeerHandler for Recorder {
    fn received(&mut self, bytes: &[u8]) -> Flow {
        self.incoming.lock().unwrap().extend_from_slice(bytes);
        if let Some(outgoing) = &self.echo {
            outgoing.send(|buffer| buffer.extend_from_slice(bytes)).unwrap();
        }
        self.answer.clone()
    }
    fn wait(&self) -> Option<Duration> {
        self.silent_at.map(|at| at.saturating_duration_since(Instant::now()))
    }
    fn deadline(&mut self) -> Flow {
        Flow::Close("silent".into())
    }
    fn ended(&mut self, reason: &Ended) {
        let _ = self.ended.send(reason.clone());
    }
}

struct Scene {
    recorder: Recorder,
    outgoing: Outgoing,
    incoming: Arc<Mutex<Vec<u8>>>,
    endings: mpsc::Receiver<Ended>,
}

fn scene(limit: usize) -> Scene {
    let (ended, endings) = mpsc::channel();
    let incoming = Arc::default();
    let recorder =
        Recorder { incoming: Arc::clone(&incoming), answer: Flow::Continue, echo: None, silent_at: None, ended };
    Scene { recorder, outgoing: Outgoing::new(limit), incoming, endings }
}

fn run_here<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    stream: S,
    recorder: Recorder,
    outgoing: &Outgoing,
) -> tokio::task::JoinHandle<Ended> {
    let timeout = ConnectionTimeouts { write_stall: Duration::from_millis(50), farewell: TIMEOUT };
    tokio::task::spawn_local(drive(stream, recorder, (Vec::new(), outgoing.clone()), timeout))
}

fn on_one_thread<T>(future: impl Future<Output = T>) -> T {
    in_runtime(tokio::task::LocalSet::new().run_until(future))
}

#[test]
fn a_megabyte_goes_both_ways_over_mutual_tls() {
    let mut pki = new_pki();
    let own = issue(&mut pki, &charger("AMS-0007"));
    let gate = Gate::open(&pki, ListenerKind::Chargers);
    let Scene { mut recorder, incoming, endings, .. } = scene(0);
    in_runtime(async {
        let mut socket = connector(&pki, own).connect(gate.address).await.unwrap();
        let peer = gate.admitted();
        recorder.echo = Some(peer.outgoing.clone());
        let serving = tokio::spawn(peer.serve(recorder, ConnectionTimeouts::default()));
        let mut sent = Vec::new();
        for round in 0..64_u8 {
            let piece = vec![round; 16 * 1024 + usize::from(round)];
            socket.write_all(&piece).await.unwrap();
            let mut back = vec![0; piece.len()];
            socket.read_exact(&mut back).await.unwrap();
            assert_eq!(back, piece);
            sent.extend(piece);
        }
        assert!(*incoming.lock().unwrap() == sent);
        socket.shutdown().await.unwrap();
        assert_eq!(serving.await.unwrap(), Ended::ByPeer);
        assert_eq!(endings.recv(), Ok(Ended::ByPeer));
        assert_eq!(gate.edge.live().count(ListenerKind::Chargers), 0);
    });
}

#[test]
fn pause_stops_reading_until_resume() {
    let Scene { mut recorder, outgoing, incoming, .. } = scene(1000);
    recorder.answer = Flow::Pause;
    on_one_thread(async {
        let (ours, mut theirs) = tokio::io::duplex(8);
        run_here(ours, recorder, &outgoing);
        theirs.write_all(b"12345678").await.unwrap();
        // The pipe holds 8 bytes: what is not read stays in it, and then the peer waits.
        theirs.write_all(b"abcdefgh").await.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(20), theirs.write_all(b"!")).await.is_err());
        assert_eq!(*incoming.lock().unwrap(), b"12345678");
        outgoing.resume();
        theirs.write_all(b"?").await.unwrap();
        assert_eq!(*incoming.lock().unwrap(), b"12345678abcdefgh");
    });
}

#[test]
fn a_peer_that_never_reads_is_closed_when_its_time_is_up() {
    let Scene { recorder, outgoing, endings, .. } = scene(1000);
    on_one_thread(async {
        let (ours, _theirs) = tokio::io::duplex(8);
        let driver = run_here(ours, recorder, &outgoing);
        outgoing.send(|buffer| buffer.extend_from_slice(&[0; 100])).unwrap();
        assert_eq!(driver.await.unwrap(), Ended::SlowReader);
        assert_eq!(endings.recv(), Ok(Ended::SlowReader));
        assert!(outgoing.send(|_| ()).is_err());
    });
}

#[test]
fn a_polite_end_writes_what_is_queued_first() {
    let Scene { recorder, outgoing, .. } = scene(1000);
    on_one_thread(async {
        let (ours, mut theirs) = tokio::io::duplex(8);
        let driver = run_here(ours, recorder, &outgoing);
        outgoing.send(|buffer| buffer.extend_from_slice(b"receipt: 9.60 EUR")).unwrap();
        outgoing.close("drain");
        let mut all = Vec::new();
        theirs.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"receipt: 9.60 EUR");
        assert_eq!(driver.await.unwrap(), Ended::ByGate("drain".into()));
    });
}

#[test]
fn the_handlers_deadline_is_told_to_it() {
    let Scene { mut recorder, outgoing, .. } = scene(1000);
    let silent_at = Instant::now() + Duration::from_millis(20);
    recorder.silent_at = Some(silent_at);
    on_one_thread(async {
        let (ours, _theirs) = tokio::io::duplex(8);
        assert_eq!(run_here(ours, recorder, &outgoing).await.unwrap(), Ended::ByGate("silent".into()));
        assert!(Instant::now() >= silent_at);
    });
}

#[test]
fn who_connects_and_keeps_silent_is_closed_and_others_are_served_meanwhile() {
    let mut pki = new_pki();
    let own = issue(&mut pki, &charger("AMS-0007"));
    let bounds = Bounds { handshake: Duration::from_millis(300), failures_per_minute: 1000, ..Bounds::default() };
    let gate = Gate::with(material(&pki, ListenerKind::Chargers), ListenerKind::Chargers, false, bounds);
    in_runtime(async {
        let mut silent = tokio::net::TcpStream::connect(gate.address).await.unwrap();
        let mut half = tokio::net::TcpStream::connect(gate.address).await.unwrap();
        // The head of a TLS record that promises 512 bytes and brings five.
        half.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3]).await.unwrap();
        let _good = connector(&pki, own).connect(gate.address).await.unwrap();
        gate.admitted();
        for stream in [&mut silent, &mut half] {
            let end = tokio::time::timeout(TIMEOUT, stream.read(&mut [0; 16])).await.unwrap();
            assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
        }
        let refusals = refusals(&gate.edge, 2);
        assert!(refusals.iter().all(|refusal| refusal.refused.reason == Refusal::TooSlow), "{refusals:?}");
    });
}

#[test]
fn garbage_is_garbage() {
    let pki = new_pki();
    let gate = Gate::open(&pki, ListenerKind::Processors);
    in_runtime(async {
        let mut stream = tokio::net::TcpStream::connect(gate.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
    });
    let refused = gate.refusal(&mut 0).refused;
    assert!(matches!(refused.reason, Refusal::Garbage(_)), "{refused}");
}

#[test]
fn an_address_that_fails_too_often_has_to_wait() {
    let mut pki = new_pki();
    let own = issue(&mut pki, &charger("AMS-0007"));
    let bounds = Bounds { failures_per_minute: 3, ..Bounds::default() };
    let gate = Gate::with(material(&pki, ListenerKind::Chargers), ListenerKind::Chargers, false, bounds);
    let mut seen = 0;
    in_runtime(async {
        for _ in 0..3 {
            let mut stream = tokio::net::TcpStream::connect(gate.address).await.unwrap();
            stream.write_all(b"nonsense").await.unwrap();
            let _ = stream.read(&mut [0; 16]).await;
            gate.refusal(&mut seen);
        }
        assert!(connector(&pki, own).connect(gate.address).await.is_err());
        assert_eq!(gate.refusal(&mut seen).refused.reason, Refusal::TooManyFailures);
    });
}

#[test]
fn a_full_listener_and_a_busy_gate_say_so() {
    let mut pki = new_pki();
    let own = issue(&mut pki, &charger("AMS-0007"));
    let tls = Arc::new(
        Tls::new(policy(ListenerKind::Chargers, false), Source::Memory(material(&pki, ListenerKind::Chargers)))
            .unwrap(),
    );
    let edge = Edge::new(Bounds::default(), 1).unwrap();
    let nobody_home: Reception = Arc::new(|_| Err(NoRoom));
    let busy =
        edge.listen(([127, 0, 0, 1], 0).into(), Entry::native(Arc::clone(&tls)), AMPLE, nobody_home.clone()).unwrap();
    let none = Capacity { share: Share { connections: 0, ..AMPLE.share }, ..AMPLE };
    let full = edge.listen(([127, 0, 0, 1], 0).into(), Entry::native(tls), none, nobody_home).unwrap();
    in_runtime(async {
        let connector = connector(&pki, own);
        for address in [busy, full] {
            if let Ok(socket) = connector.connect(address).await {
                assert!(is_turned_away(socket).await);
            }
        }
    });
    let reasons: Vec<Refusal> = refusals(&edge, 2).into_iter().map(|recent| recent.refused.reason).collect();
    assert_eq!(reasons, [Refusal::Full, Refusal::Busy]);
    assert_eq!(edge.live().count(ListenerKind::Chargers), 0);
}
