//! Tests of peers and gates on real sockets.

mod conversations;
mod matrix;
mod places;
mod records;
mod reloads;
mod upgrades;

use super::descriptors::Share;
use super::identity::ListenerKind;
use super::pki::{Certified, Pki, Validity};
use super::tls::{Material, Policy, Source, Tls, provider};
use super::{Bounds, Capacity, Connector, Edge, Entry, NoRoom, Peer, RecentRefusal, Reception, Socket, Trust};
use crate::host::wall_clock;
use crate::message::Subject;
use rustls::ClientConfig;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const DOMAIN: &str = "wattstile.test";
/// Long enough that a busy machine never reaches it, short enough that a hanging test ends.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A gate with one listener, and the peers that came in.
struct Gate {
    edge: Edge,
    tls: Arc<Tls>,
    address: SocketAddr,
    peers: mpsc::Receiver<Peer>,
}

/// More than any test needs, where a test is not about it.
const AMPLE: Capacity = Capacity { share: Share { connections: 1000, handshakes: 1000 }, each_max: 1000 };

/// What a listener of a test asks of its peers.
fn policy(listener: ListenerKind, tls12: bool) -> Policy {
    Policy { trust_domain: DOMAIN.to_owned(), listener, tls12, production: false, anonymous: false }
}

impl Gate {
    fn open(pki: &Pki, listener: ListenerKind) -> Gate {
        Gate::with(material(pki, listener), listener, false, Bounds { failures_per_minute: 1000, ..Bounds::default() })
    }

    fn with(material: Material, listener: ListenerKind, tls12: bool, bounds: Bounds) -> Gate {
        Gate::of(material, listener, tls12, bounds, AMPLE)
    }

    fn of(material: Material, listener: ListenerKind, tls12: bool, bounds: Bounds, capacity: Capacity) -> Gate {
        let tls = Arc::new(Tls::new(policy(listener, tls12), Source::Memory(material)).unwrap());
        let edge = Edge::new(bounds, 1).unwrap();
        let (send, peers) = mpsc::channel();
        let reception: Reception = Arc::new(move |peer| send.send(peer).map_err(|_| NoRoom));
        let address =
            edge.listen(([127, 0, 0, 1], 0).into(), Entry::native(Arc::clone(&tls)), capacity, reception).unwrap();
        Gate { edge, tls, address, peers }
    }

    fn admitted(&self) -> Peer {
        self.peers.recv_timeout(TIMEOUT).expect("a peer that came in")
    }

    /// The one refusal since the gate opened or since the last call.
    fn refusal(&self, seen: &mut usize) -> RecentRefusal {
        *seen += 1;
        refusals(&self.edge, *seen).swap_remove(0)
    }
}

/// Waits for this many refusals in all; the latest is the first. A socket may be closed a little before its refusal
/// is written down.
fn refusals(edge: &Edge, count: usize) -> Vec<RecentRefusal> {
    let deadline = Instant::now() + TIMEOUT;
    while edge.recent_refusals().len() < count {
        assert!(Instant::now() < deadline, "no peer was refused");
        std::thread::sleep(Duration::from_millis(1));
    }
    let refusals = edge.recent_refusals();
    assert_eq!(refusals.len(), count, "one event per refusal: {refusals:?}");
    refusals
}

fn material(pki: &Pki, listener: ListenerKind) -> Material {
    let own = pki.issue_server(&["localhost".to_owned()], Validity::days(wall_clock(), 30)).unwrap();
    Material { own, authorities: vec![pki.authority(listener).clone()], crls: pki.crls(wall_clock()).unwrap().to_vec() }
}

fn new_pki() -> Pki {
    Pki::new(DOMAIN, wall_clock()).unwrap()
}

fn charger(id: &str) -> Subject {
    Subject::Charger(id.parse().unwrap())
}

fn issue(pki: &mut Pki, subject: &Subject) -> Certified {
    pki.issue(subject, Validity::days(wall_clock(), 30)).unwrap()
}

fn connector(pki: &Pki, own: Certified) -> Connector {
    Connector::new(&Trust::new(&[pki.root().clone()], "localhost").unwrap(), own).unwrap()
}

fn in_runtime<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Whether the gate refuses this client: it would echo nothing, but a refusal closes the connection.
async fn is_turned_away(mut socket: Socket) -> bool {
    let _ = socket.write_all(b"hello").await;
    let mut byte = [0];
    !matches!(tokio::time::timeout(TIMEOUT, socket.read(&mut byte)).await, Ok(Ok(1..)))
}

/// A client's end with any configuration.
async fn dial(address: SocketAddr, config: ClientConfig) -> Result<Socket, super::HandshakeError> {
    let tcp = tokio::net::TcpStream::connect(address).await?;
    let mut socket = Socket::client(tcp, Arc::new(config), "localhost".try_into().unwrap())?;
    socket.handshake().await?;
    Ok(socket)
}

fn client_builder(
    pki: &Pki,
    version: &'static rustls::SupportedProtocolVersion,
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(pki.root().clone()).unwrap();
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
}
