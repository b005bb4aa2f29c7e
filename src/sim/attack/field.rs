//! Where attackers attack: the gate's addresses, certificates for any peer, the clock. Nothing else reaches the system.

use super::{Tally, Trouble};
use crate::message::Subject;
use crate::sim::pipe::{Dialler, Duplex};
use crate::sim::tls::dialler;
use crate::transport::pki::{Certified, Reason, Validity};
use crate::transport::pki_folder::PkiFolder;
use crate::transport::{Connector, Trust, tcp_from};
use crate::units::rng::Rng;
use crate::units::{Clock, Currency, Now, Timestamp};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

/// The gate, as peers and attackers reach it.
pub struct Ways {
    /// Where chargers connect.
    pub chargers: SocketAddr,
    /// Where processors connect.
    pub processors: SocketAddr,
    /// Where the console listens, if that is known.
    pub console: Option<ConsoleWay>,
    /// The clock of the chargers and processors.
    pub clock: Arc<dyn Clock>,
    /// By what the gate is recognised.
    pub trust: Trust,
    folder: Mutex<Certificates>,
}

/// The console, for attackers that use it.
#[derive(Clone, Debug)]
pub struct ConsoleWay {
    /// Its address.
    pub address: SocketAddr,
    /// The address of its probes: `/livez` and `/metrics`.
    pub probes: SocketAddr,
    /// Its token.
    pub token: String,
}

struct Certificates {
    folder: PkiFolder,
    issued: BTreeMap<String, Certified>,
}

/// Certificates are valid for so many days.
const CERTIFICATE_DAYS: u32 = 30;

impl Ways {
    /// With the folder of the PKI that signs for every peer.
    pub fn new(
        (chargers, processors): (SocketAddr, SocketAddr),
        console: Option<ConsoleWay>,
        folder: PkiFolder,
        trust: Trust,
        clock: Arc<dyn Clock>,
    ) -> Ways {
        let folder = Mutex::new(Certificates { folder, issued: BTreeMap::new() });
        Ways { chargers, processors, console, clock, trust, folder }
    }

    /// A good certificate of this peer; the same each time.
    ///
    /// # Errors
    /// [`Trouble`]: the gate cannot be reached, or refuses what must be accepted.
    pub fn certificate(&self, subject: &Subject) -> Result<Certified, Trouble> {
        let mut certificates = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("{}/{}", subject.role(), subject.id());
        if let Some(known) = certificates.issued.get(&name) {
            return Ok(known.clone());
        }
        let now = self.clock.now().wall;
        let own = certificates.folder.peer(subject, CERTIFICATE_DAYS, now).map_err(Trouble::of)?;
        certificates.issued.insert(name, own.clone());
        Ok(own)
    }

    /// A certificate that is valid from then until then.
    ///
    /// # Errors
    /// [`Trouble`]: the gate cannot be reached, or refuses what must be accepted.
    pub fn certificate_for(&self, subject: &Subject, validity: Validity) -> Result<Certified, Trouble> {
        let mut certificates = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        certificates.folder.issue(subject, validity).map_err(Trouble::of)
    }

    /// Revokes every certificate of a peer.
    ///
    /// # Errors
    /// [`Trouble`]: the gate cannot be reached, or refuses what must be accepted.
    pub fn revoke(&self, subject: &Subject) -> Result<(), Trouble> {
        let mut certificates = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now().wall;
        certificates.issued.remove(&format!("{}/{}", subject.role(), subject.id()));
        certificates.folder.revoke(subject, Reason::KeyCompromise, now).map(drop).map_err(Trouble::of)
    }

    /// The trust domain of the peers' names.
    pub fn trust_domain(&self) -> String {
        self.folder.lock().unwrap_or_else(PoisonError::into_inner).folder.trust_domain().to_owned()
    }

    /// The listener for this peer.
    pub fn listener(&self, subject: &Subject) -> SocketAddr {
        match subject {
            Subject::Processor(_) => self.processors,
            Subject::Charger(_) | Subject::Site(_) | Subject::Gate(_) => self.chargers,
        }
    }

    /// A connection for a regular peer.
    ///
    /// # Errors
    /// [`Trouble`]: the gate cannot be reached, or refuses what must be accepted.
    pub fn dialler(&self, subject: &Subject) -> Result<Dialler, Trouble> {
        let connector = Connector::new(&self.trust, self.certificate(subject)?).map_err(Trouble::of)?;
        Ok(dialler(connector, self.listener(subject)))
    }
}

/// What one attacker works with.
#[derive(Clone)]
pub struct Field {
    /// The gate.
    pub ways: Arc<Ways>,
    /// What it counts.
    pub tally: Arc<Tally>,
    /// Random numbers of this round.
    pub rng: Rng,
    /// Counted from 0.
    pub round: u64,
    /// Its name.
    pub name: &'static str,
    /// What its own processors take and its own chargers charge.
    pub currency: Currency,
    /// The address that it connects from: its own, where the gate is on this machine.
    pub(super) source: Option<IpAddr>,
    pub(super) running: watch::Receiver<bool>,
}

impl Field {
    /// What time it is.
    pub fn now(&self) -> Now {
        self.ways.clock.now()
    }

    /// The name of its nth peer.
    pub fn peer_name(&self, number: u64) -> String {
        super::peer_name(self.name, number)
    }

    /// Whether it is to go on.
    pub fn goes_on(&self) -> bool {
        *self.running.borrow()
    }

    /// Waits, or until it is to stop.
    pub async fn pause(&self, wait: Duration) {
        let mut running = self.running.clone();
        let until = Instant::now() + wait;
        while *running.borrow_and_update() {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                changed = running.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Connects as this peer, with its good certificate.
    ///
    /// # Errors
    /// [`Trouble`]: the gate cannot be reached, or refuses what must be accepted.
    pub async fn dial(&self, subject: &Subject) -> Result<Box<dyn Duplex>, Trouble> {
        let own = self.ways.certificate(subject)?;
        self.dial_with(own, self.ways.listener(subject)).await
    }

    /// Connects with a certificate.
    ///
    /// # Errors
    /// [`Trouble`]: the gate cannot be reached, or refuses what must be accepted.
    pub async fn dial_with(&self, own: Certified, listener: SocketAddr) -> Result<Box<dyn Duplex>, Trouble> {
        let connector = Connector::new(&self.ways.trust, own).map_err(Trouble::of)?.from_address(self.source);
        let socket = connector.connect(listener).await.map_err(Trouble::of)?;
        Ok(Box::new(socket))
    }

    /// A TCP connection without more.
    ///
    /// # Errors
    /// [`Trouble`]: the gate cannot be reached, or refuses what must be accepted.
    pub async fn tcp(&self, listener: SocketAddr) -> Result<TcpStream, Trouble> {
        let connecting = tcp_from(self.source, listener);
        match tokio::time::timeout(Duration::from_secs(10), connecting).await {
            Ok(connected) => connected.map_err(|error| Trouble(format!("{listener}: {error}"))),
            Err(_) => Err(Trouble(format!("{listener}: no answer in time"))),
        }
    }

    /// A session key that was never used: they grow with time.
    pub fn fresh_key(&self, number: u64) -> u64 {
        self.now().wall.unix_ms().unsigned_abs().saturating_mul(1_000).saturating_add(number)
    }
}

/// A source address for each attacker, so that the gate's bounds per address do not affect regular peers.
pub(super) fn source_of(gate: SocketAddr, index: usize) -> Option<IpAddr> {
    let last = u8::try_from(index).unwrap_or(u8::MAX).checked_add(1)?;
    let local = gate.ip().is_ipv4() && gate.ip().is_loopback() && cfg!(target_os = "linux");
    local.then_some(IpAddr::V4(Ipv4Addr::new(127, 66, 6, last)))
}

/// A time so many seconds from another one.
pub fn seconds_from(at: Timestamp, seconds: i64) -> Timestamp {
    at.saturating_add(crate::units::TimeSpan::from_secs(seconds))
}
