//! The edge of the gate: accepts connections, does their handshakes on threads of its own, and hands over peers.

use super::certificate::Presented;
use super::connection::{ConnectionTimeouts, PeerHandler, drive};
use super::descriptors::Share;
use super::failures::Failures;
use super::identity::ListenerKind;
use super::live::{ConnectionLimits, Live, Newcomer, Registration};
use super::outgoing::{Ended, Outgoing};
use super::refusal::{Refusal, Refused};
use super::socket::{HandshakeError, Parked, Socket};
use super::tls::{InUse, SHOWN, Shown, Tls, write_expiries};
use super::upgrade::{Upgrade, Upgraded, upgrade};
use crate::host::wall_clock;
use crate::limits;
use crate::message::PeerIdentity;
use crate::metrics;
use crate::units::Timestamp;
use socket2::{Domain, Protocol, Type};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A verified and identified peer that has sent no data yet.
pub struct Peer {
    /// Its identity.
    pub identity: Arc<PeerIdentity>,
    /// Its address.
    pub remote: SocketAddr,
    /// The serial number of its certificate, for the log.
    pub serial: String,
    /// The way out to it, also the handle that ends the connection.
    pub outgoing: Outgoing,
    /// The WebSocket, at a listener that has them.
    pub websocket: Option<Box<Upgraded>>,
    socket: Parked,
    /// Received behind the request for a WebSocket.
    early: Vec<u8>,
    registration: Registration,
}

impl Peer {
    /// Serves the connection until it ends, on the thread and runtime of its caller.
    pub fn serve<H: PeerHandler + Unpin>(
        self,
        mut handler: H,
        timeouts: ConnectionTimeouts,
    ) -> impl Future<Output = Ended> + use<H> {
        let Peer { identity, remote, outgoing, socket, early, registration, .. } = self;
        let driving = match socket.unpark() {
            Ok(socket) => Ok(Box::pin(drive(socket, handler, (early, outgoing), timeouts))),
            Err(error) => {
                let ended = Ended::Broken(error.to_string());
                outgoing.over();
                handler.ended(&ended);
                Err(ended)
            }
        };
        async move {
            // Kept until the connection is over.
            let _registration = registration;
            let reason = match driving {
                Ok(driving) => driving.await,
                Err(ended) => ended,
            };
            tracing::info!(peer = %identity.subject, %remote, %reason, "disconnected");
            reason
        }
    }
}

/// Takes a peer in, or has no room for it; then its connection is closed. Called on a handshake thread; must not block.
pub type Reception = Arc<dyn Fn(Peer) -> Result<(), NoRoom> + Send + Sync>;

/// The part of the gate that would serve a peer is too busy to take it in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

/// Bounds of the edge.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// From the connection to the end of its handshake.
    pub handshake: Duration,
    /// Failed handshakes per address and minute.
    pub failures_per_minute: u32,
    /// Bytes that a connection holds back for a slow reader.
    pub outgoing_bytes: usize,
    /// Interval of checks for changed files and for connections with expired certificates.
    pub sweep_interval: Duration,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            handshake: Duration::from_millis(limits::HANDSHAKE_DEADLINE.ms().unsigned_abs()),
            failures_per_minute: limits::FAILED_HANDSHAKES_PER_MINUTE_MAX,
            outgoing_bytes: limits::OUTGOING_BYTES_MAX,
            sweep_interval: Duration::from_secs(5),
        }
    }
}

/// The listeners with their threads. Dropping it stops accepting and aborts handshakes; peers that are in stay.
pub struct Edge {
    runtime: Option<Runtime>,
    shared: Arc<Shared>,
}

struct Shared {
    bounds: Bounds,
    live: Live,
    failures: Mutex<Failures>,
    listeners: Mutex<Vec<Arc<Tls>>>,
    /// Where each listener is.
    addresses: Mutex<Vec<(ListenerKind, SocketAddr)>>,
    recent: Mutex<VecDeque<RecentRefusal>>,
    /// How many peers were refused, by reason.
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

/// A recently refused peer, for the console.
#[derive(Clone, Debug)]
pub struct RecentRefusal {
    /// When.
    pub at: Timestamp,
    /// At which listener.
    pub listener: ListenerKind,
    /// The peer and the reason.
    pub refused: Refused,
}

/// Bounds of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Connections and handshakes at once.
    pub share: Share,
    /// Connections at once of one peer.
    pub each_max: usize,
}

/// How connections come in at a listener.
#[derive(Clone)]
pub struct Entry {
    /// Which peers it is for.
    pub listener: ListenerKind,
    /// Without it, nothing is encrypted and no certificate proves who a peer is.
    pub tls: Option<Arc<Tls>>,
    /// Grants WebSockets; without it, the peer's first message follows the handshake.
    pub upgrade: Option<Arc<dyn Upgrade>>,
}

impl Entry {
    /// Mutual TLS, and the native protocol.
    pub fn native(tls: Arc<Tls>) -> Entry {
        Entry { listener: tls.listener(), tls: Some(tls), upgrade: None }
    }
}

/// The state of one accept loop.
struct Entrance {
    shared: Arc<Shared>,
    entry: Entry,
    places: ConnectionLimits,
    /// Most handshakes in progress.
    handshakes_max: usize,
    handshakes: Arc<Semaphore>,
    /// Handshakes in progress from each address.
    addresses: Mutex<HashMap<IpAddr, usize>>,
    reception: Reception,
    accepted: ::metrics::Counter,
}

/// A peer after its handshake.
struct Arrival {
    socket: Socket,
    identity: PeerIdentity,
    presented: Option<Presented>,
    websocket: Option<Box<Upgraded>>,
    early: Vec<u8>,
}

/// A handshake in progress; dropping it gives its place back.
struct Underway {
    entrance: Arc<Entrance>,
    address: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Underway {
    fn drop(&mut self) {
        let mut addresses = self.entrance.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

impl Edge {
    /// With so many handshake threads.
    ///
    /// # Errors
    /// The threads cannot be started.
    pub fn new(bounds: Bounds, threads: usize) -> io::Result<Edge> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("handshake")
            .enable_all()
            .build()?;
        let shared = Arc::new(Shared {
            bounds,
            live: Live::default(),
            failures: Mutex::new(Failures::new(bounds.failures_per_minute)),
            listeners: Mutex::new(Vec::new()),
            addresses: Mutex::default(),
            recent: Mutex::new(VecDeque::new()),
            refused: Mutex::new(BTreeMap::new()),
        });
        runtime.spawn(sweep_connections(Arc::clone(&shared)));
        Ok(Edge { runtime: Some(runtime), shared })
    }

    /// Opens a listener and returns its address (port 0 means any).
    ///
    /// # Errors
    /// The address cannot be listened at.
    pub fn listen(
        &self,
        address: SocketAddr,
        entry: Entry,
        capacity: Capacity,
        reception: Reception,
    ) -> io::Result<SocketAddr> {
        let Some(runtime) = &self.runtime else { return Err(io::ErrorKind::NotConnected.into()) };
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(limits::LISTEN_BACKLOG)?;
        let listener = {
            let _in_runtime = runtime.enter();
            TcpListener::from_std(socket.into())?
        };
        let local = listener.local_addr()?;
        self.shared.listeners.lock().unwrap_or_else(PoisonError::into_inner).extend(entry.tls.clone());
        self.shared.addresses.lock().unwrap_or_else(PoisonError::into_inner).push((entry.listener, local));
        let accepted = metrics::TLS_HANDSHAKES.counter(&[entry.listener.peer_role(), "accepted", ""]);
        let Capacity { share, each_max } = capacity;
        let entrance = Entrance {
            shared: Arc::clone(&self.shared),
            entry,
            places: ConnectionLimits { connections_max: share.connections, each_max },
            handshakes_max: share.handshakes,
            handshakes: Arc::new(Semaphore::new(share.handshakes)),
            addresses: Mutex::default(),
            reception,
            accepted,
        };
        runtime.spawn(accept(listener, Arc::new(entrance)));
        Ok(local)
    }

    /// The connections that are up.
    pub fn live(&self) -> Live {
        self.shared.live.clone()
    }

    /// The recently refused peers, the latest first.
    pub fn recent_refusals(&self) -> Vec<RecentRefusal> {
        self.shared.recent.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Returns a function that gives the recently refused peers, the latest first, and how many were refused since the start, by
    /// reason.
    pub fn refusals(&self) -> impl Fn() -> (Vec<RecentRefusal>, BTreeMap<&'static str, u64>) + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || {
            let recent = shared.recent.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
            (recent, shared.refused.lock().unwrap_or_else(PoisonError::into_inner).clone())
        }
    }

    /// Loads the files of every listener again and closes connections that would now be refused. A listener with
    /// faulty new files keeps the old ones and logs it. Returns false if there was one.
    pub fn reload(&self) -> bool {
        self.shared.reload(|_| true)
    }

    /// Returns a function that lists what is in use and expires: certificates of the gate and of its authorities, revocation
    /// lists, and those certificates of connected peers that expire before a time.
    pub fn expiring(&self) -> impl Fn(Timestamp) -> Vec<InUse> + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move |before| {
            let listeners = shared.listeners.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let own = listeners.iter().flat_map(|tls| tls.in_use());
            let peers = shared.live.expiring(before).into_iter().map(|(identity, not_before, not_after)| InUse {
                name: identity.subject.to_string(),
                not_before: Some(not_before),
                not_after,
            });
            let mut used: Vec<InUse> = own.chain(peers).collect();
            // Listeners share the gate's certificate.
            used.sort();
            used.dedup();
            used
        }
    }

    /// The collector of expiry times of certificates and lists.
    pub fn expiry_collector(&self) -> metrics::Collector {
        let shared = Arc::clone(&self.shared);
        Arc::new(move |text| {
            let listeners = shared.listeners.lock().unwrap_or_else(PoisonError::into_inner).clone();
            write_expiries(&listeners, text);
        })
    }
}

/// May be called from a thread of another runtime, so it does not wait for the handshake threads.
impl Drop for Edge {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    fn reload(&self, wanted: impl Fn(&Tls) -> bool) -> bool {
        let mut whole = true;
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for tls in listeners {
            if wanted(&tls) {
                match tls.reload() {
                    Ok(()) => {
                        tracing::info!(listener = %tls.listener(), "certificates and revocation lists loaded again")
                    }
                    Err(error) => {
                        whole = false;
                        tracing::error!(listener = %tls.listener(), "not loaded, the old ones stay in use: {error}");
                    }
                }
            }
            self.live.cut_worthless(&tls, wall_clock());
        }
        whole
    }

    fn refused(&self, entrance: &Entrance, refused: Refused) {
        metrics::TLS_HANDSHAKES
            .counter(&[entrance.entry.listener.peer_role(), "refused", refused.reason.label()])
            .increment(1);
        let mut counts = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(refused.reason.label()).or_default() += 1;
        drop(counts);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.truncate(limits::RECENT_REFUSALS - 1);
        recent.push_front(RecentRefusal {
            at: wall_clock(),
            listener: entrance.entry.listener,
            refused: refused.clone(),
        });
        drop(recent);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.reason.blames_peer() {
            failures.count(refused.remote.ip(), Instant::now());
        }
        drop(failures);
        let Refused { remote, who, serial, reason } = refused;
        let help = self.wrong_listener(entrance.entry.listener, who.as_deref().unwrap_or_default());
        tracing::warn!(
            listener = %entrance.entry.listener, %remote, peer = who, serial, help,
            reason = reason.label(), "a connection is refused: {reason}"
        );
    }
}

impl Shared {
    /// The address of the right listener for a peer at the wrong one, by the role in its certificate.
    fn wrong_listener(&self, listener: ListenerKind, who: &str) -> Option<String> {
        let right = match who.split('/').next() {
            Some("charger" | "site") => ListenerKind::Chargers,
            Some("processor") => ListenerKind::Processors,
            _ => return None,
        };
        let addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, address) = addresses.iter().find(|(of, _)| *of == right && right != listener)?;
        Some(format!("this is the {listener}' listener; {right} connect to {address}"))
    }
}

async fn sweep_connections(shared: Arc<Shared>) {
    let mut beat = tokio::time::interval(shared.bounds.sweep_interval);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        shared.reload(Tls::is_outdated);
    }
}

async fn accept(listener: TcpListener, entrance: Arc<Entrance>) {
    let mut wait = ACCEPT_WAIT_MIN;
    loop {
        // Taken before accepting: when all are taken, peers wait in the kernel's backlog and cost nothing here.
        let Ok(permit) = Arc::clone(&entrance.handshakes).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((tcp, remote)) => {
                wait = ACCEPT_WAIT_MIN;
                match entrance.begin(remote, permit) {
                    Err(reason) => {
                        drop(tcp);
                        entrance.shared.refused(&entrance, Refused { remote, who: None, serial: None, reason });
                    }
                    Ok(underway) => drop(tokio::spawn(Arc::clone(&entrance).take_in(tcp, remote, underway))),
                }
            }
            // No descriptor or memory left, or the peer has disconnected already: both pass.
            Err(error) => {
                if error.kind() != io::ErrorKind::ConnectionAborted {
                    tracing::error!(listener = %entrance.entry.listener, wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), "cannot accept: {error}");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(ACCEPT_WAIT_MAX);
                }
            }
        }
    }
}

const ACCEPT_WAIT_MIN: Duration = Duration::from_millis(10);
const ACCEPT_WAIT_MAX: Duration = Duration::from_secs(1);

impl Entrance {
    /// Before a handshake costs anything.
    fn begin(self: &Arc<Self>, remote: SocketAddr, permit: OwnedSemaphorePermit) -> Result<Underway, Refusal> {
        let failures = self.shared.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.is_blocked(remote.ip(), Instant::now()) {
            return Err(Refusal::TooManyFailures);
        }
        drop(failures);
        if self.shared.live.count(self.entry.listener) >= self.places.connections_max {
            return Err(Refusal::Full);
        }
        let address = remote.ip();
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let count = addresses.entry(address).or_default();
        if *count >= self.handshakes_max.div_ceil(limits::HANDSHAKES_PER_ADDRESS_DIVISOR) {
            return Err(Refusal::CrowdedAddress);
        }
        *count += 1;
        drop(addresses);
        Ok(Underway { entrance: Arc::clone(self), address, _permit: permit })
    }

    async fn take_in(self: Arc<Self>, tcp: TcpStream, remote: SocketAddr, underway: Underway) {
        let shown = RefCell::new(Shown::default());
        let (outcome, shown) = SHOWN
            .scope(shown, async {
                let outcome = self.shake_hands(tcp, remote).await;
                (outcome, SHOWN.with(RefCell::take))
            })
            .await;
        let reason = match outcome {
            Ok(arrival) => match self.hand_over(arrival, remote) {
                Ok(()) => return self.accepted.increment(1),
                Err(reason) => reason,
            },
            Err(refusal) => shown.reason.unwrap_or(refusal),
        };
        // Until here, so that handshakes and connections are never more than there are files for.
        drop(underway);
        self.shared.refused(&self, Refused { remote, who: shown.who, serial: shown.serial, reason });
    }

    async fn shake_hands(&self, tcp: TcpStream, remote: SocketAddr) -> Result<Arrival, Refusal> {
        let bounds = &self.shared.bounds;
        let deadline = tokio::time::Instant::now() + bounds.handshake;
        // When half of all places are taken, peers that send nothing are closed sooner.
        let crowded = self.handshakes.available_permits() < self.handshakes_max / 2;
        let first_byte = if crowded { bounds.handshake / 5 } else { bounds.handshake };
        let hung_up = |_| Refusal::HungUp;
        tokio::time::timeout(first_byte, tcp.readable()).await.map_err(|_| Refusal::TooSlow)?.map_err(hung_up)?;
        tcp.set_nodelay(true).map_err(hung_up)?;
        let (mut socket, certificate) = match &self.entry.tls {
            None => (Socket::plain(tcp), None),
            Some(tls) => {
                let (config, trust) = tls.config();
                let mut socket = Socket::server(tcp, config).map_err(|error| Refusal::of_tls(&error))?;
                match tokio::time::timeout_at(deadline, socket.handshake()).await {
                    Err(_) => return Err(Refusal::TooSlow),
                    Ok(Err(HandshakeError::Tls(error))) => return Err(Refusal::of_tls(&error)),
                    Ok(Err(HandshakeError::Io(_))) => return Err(Refusal::HungUp),
                    Ok(Ok(())) => {}
                }
                let certificate = tls.peer_if_known(socket.peer_certificates(), trust)?;
                (socket, certificate)
            }
        };
        let (shown, presented) = certificate.unzip();
        let Some(granting) = &self.entry.upgrade else {
            let identity = shown.ok_or(Refusal::NoCertificate)?;
            return Ok(Arrival { socket, identity, presented, websocket: None, early: Vec::new() });
        };
        let upgrading = upgrade(&mut socket, granting.as_ref(), shown.as_ref(), remote);
        match tokio::time::timeout_at(deadline, upgrading).await {
            Err(_) => Err(Refusal::TooSlow),
            Ok(Err(None)) => Err(Refusal::HungUp),
            Ok(Err(Some(error))) => Err(Refusal::Upgrade(error)),
            Ok(Ok((grant, upgraded, early))) => {
                let websocket = Some(Box::new(upgraded));
                Ok(Arrival { socket, identity: grant.identity, presented, websocket, early })
            }
        }
    }

    fn hand_over(&self, arrival: Arrival, remote: SocketAddr) -> Result<(), Refusal> {
        let Arrival { socket, identity, presented, websocket, early } = arrival;
        let (identity, now) = (Arc::new(identity), wall_clock());
        let outgoing = Outgoing::new(self.shared.bounds.outgoing_bytes);
        let presented = presented.map(Arc::new);
        let serial = presented.as_ref().map(|presented| presented.serial()).unwrap_or_default();
        let newcomer = Newcomer {
            listener: self.entry.listener,
            identity: Arc::clone(&identity),
            remote,
            presented: presented.clone(),
            outgoing: outgoing.clone(),
        };
        let registration = self.shared.live.enter(newcomer, self.places, now)?;
        // The lists may have changed since the handshake began: a change checks the connections in the table, and
        // this check covers those that were not in it yet.
        if let (Some(tls), Some(presented)) = (&self.entry.tls, &presented)
            && let Some(refusal) = tls.worthless(presented, now)
        {
            return Err(refusal);
        }
        let socket = socket.park().map_err(|_| Refusal::HungUp)?;
        let subject = identity.subject.clone();
        let peer = Peer { identity, remote, serial: serial.clone(), outgoing, websocket, socket, early, registration };
        (self.reception)(peer).map_err(|NoRoom| Refusal::Busy)?;
        tracing::info!(listener = %self.entry.listener, peer = %subject, %remote, serial, "connected");
        Ok(())
    }
}
