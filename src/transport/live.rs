//! The open connections: counted, listed, and closed when their certificates expire or are revoked.

use super::certificate::Presented;
use super::identity::ListenerKind;
use super::outgoing::{Ended, Outgoing};
use super::refusal::Refusal;
use super::tls::Tls;
use crate::message::{PeerIdentity, Role};
use crate::units::Timestamp;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All connections of the gate's listeners.
#[derive(Clone, Default)]
pub struct Live {
    table: Arc<Mutex<Table>>,
}

#[derive(Default)]
struct Table {
    next: u64,
    entries: HashMap<u64, Entry>,
    /// The entries of each peer, the oldest first.
    peers: HashMap<Arc<PeerIdentity>, SmallVec<[u64; 2]>>,
    /// Number of entries by role, kept as a sum because every new connection reads it.
    roles: [usize; ROLES.len()],
    /// Number of entries by listener.
    listeners: [usize; ListenerKind::ALL.len()],
}

struct Entry {
    listener: ListenerKind,
    identity: Arc<PeerIdentity>,
    remote: SocketAddr,
    since: Timestamp,
    presented: Option<Arc<Presented>>,
    outgoing: Outgoing,
}

/// Bounds of a listener's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// At once.
    pub connections_max: usize,
    /// At once of one peer, by the name in its certificate.
    pub each_max: usize,
}

/// A new connection.
pub(super) struct Newcomer {
    pub listener: ListenerKind,
    pub identity: Arc<PeerIdentity>,
    pub remote: SocketAddr,
    pub presented: Option<Arc<Presented>>,
    pub outgoing: Outgoing,
}

/// A connection that is up, as the console shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LivePeer {
    /// Its identity.
    pub identity: Arc<PeerIdentity>,
    /// Its address.
    pub remote: SocketAddr,
    /// Since when it is up.
    pub since: Timestamp,
    /// The serial number of its certificate; empty if it has none.
    pub serial: String,
    /// When its certificate expires, if it has one.
    pub not_after: Option<Timestamp>,
}

/// A connection's place in the table; dropping it takes the connection out.
pub(super) struct Registration {
    live: Live,
    number: u64,
}

/// The roles of peers with their names in metrics.
const ROLES: [(Role, &str); 3] = [(Role::Charger, "charger"), (Role::Site, "site"), (Role::Processor, "processor")];

impl Live {
    /// How many connections came through this listener.
    pub fn count(&self, listener: ListenerKind) -> usize {
        self.lock().count_at(listener)
    }

    /// Number of connections by role, with its name in metrics.
    pub fn roles(&self) -> [(&'static str, usize); ROLES.len()] {
        let roles = self.lock().roles;
        std::array::from_fn(|index| (ROLES[index].1, roles[index]))
    }

    /// Connections of peers of this role.
    pub fn of_role(&self, role: &str) -> usize {
        self.roles().into_iter().filter(|(name, _)| *name == role).map(|(_, count)| count).sum()
    }

    /// Every connection, in the order in which they came.
    pub fn list(&self) -> Vec<LivePeer> {
        let table = self.lock();
        let mut entries: Vec<_> = table.entries.iter().collect();
        entries.sort_by_key(|(number, _)| **number);
        let shown = |entry: &Entry| LivePeer {
            identity: Arc::clone(&entry.identity),
            remote: entry.remote,
            since: entry.since,
            serial: entry.presented.as_ref().map(|presented| presented.serial()).unwrap_or_default(),
            not_after: entry.presented.as_ref().map(|presented| presented.not_after),
        };
        entries.into_iter().map(|(_, entry)| shown(entry)).collect()
    }

    /// Peers with a certificate that expires before a time, since when it is valid, and when it expires.
    pub fn expiring(&self, before: Timestamp) -> Vec<(Arc<PeerIdentity>, Timestamp, Timestamp)> {
        let table = self.lock();
        let ends = table.entries.values().filter_map(|entry| {
            let presented = entry.presented.as_ref()?;
            let span = (presented.not_before, presented.not_after);
            (span.1 <= before).then(|| (Arc::clone(&entry.identity), span.0, span.1))
        });
        ends.collect()
    }

    /// Ends every connection after queued data for it is written.
    pub fn close_all(&self, reason: &'static str) {
        for entry in self.lock().entries.values() {
            entry.outgoing.close(reason);
        }
    }

    /// Closes the connections of this listener whose certificates would be refused now, and returns their number.
    /// Signatures may have to be verified again, so it runs outside the lock.
    pub fn cut_worthless(&self, tls: &Tls, now: Timestamp) -> usize {
        let table = self.lock();
        let here =
            table.entries.values().filter(|entry| entry.listener == tls.listener() && !entry.outgoing.is_closed());
        let here: Vec<_> = here
            .filter_map(|entry| {
                let presented = Arc::clone(entry.presented.as_ref()?);
                Some((entry.identity.clone(), entry.remote, presented, entry.outgoing.clone()))
            })
            .collect();
        drop(table);
        let mut cut = 0;
        for (identity, remote, presented, outgoing) in here {
            if let Some(refusal) = tls.worthless(&presented, now) {
                tracing::warn!(
                    peer = %identity.subject, %remote, serial = presented.serial(),
                    reason = refusal.label(), "a connection is cut: {refusal}"
                );
                outgoing.cut(Ended::Cut(refusal));
                cut += 1;
            }
        }
        cut
    }

    /// Adds a connection. One above the bound of a charger or site controller closes its oldest: its network was lost
    /// without notice. One above the bound of a processor is refused: its open ones carry operations.
    ///
    /// # Errors
    /// The listener is full, or the processor has as many as it may have.
    pub(super) fn enter(
        &self,
        newcomer: Newcomer,
        places: ConnectionLimits,
        now: Timestamp,
    ) -> Result<Registration, Refusal> {
        let Newcomer { listener, identity, remote, presented, outgoing } = newcomer;
        let mut table = self.lock();
        let of_this_peer = table.peers.get(&identity).map_or(0, SmallVec::len);
        if of_this_peer >= places.each_max && listener == ListenerKind::Processors {
            return Err(Refusal::TooManyOfPeer { most: places.each_max });
        }
        // Counted until it is closed: each takes a file.
        if table.count_at(listener) >= places.connections_max {
            return Err(Refusal::Full);
        }
        if of_this_peer >= places.each_max
            && let Some(numbers) = table.peers.get_mut(&identity)
        {
            let oldest = numbers.remove(0);
            if let Some(entry) = table.entries.get(&oldest) {
                entry.outgoing.cut(Ended::ByGate(REPLACED.into()));
            }
        }
        let number = table.next;
        table.next += 1;
        table.count(identity.role(), |count| count + 1);
        table.listeners[listener.index()] += 1;
        table.peers.entry(Arc::clone(&identity)).or_default().push(number);
        table.entries.insert(number, Entry { listener, identity, remote, since: now, presented, outgoing });
        drop(table);
        Ok(Registration { live: self.clone(), number })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a charger's connection ends when it comes in once more than it may.
const REPLACED: &str = "a newer connection of the same peer takes its place";

impl Table {
    fn count_at(&self, listener: ListenerKind) -> usize {
        // Chargers of either protocol share one bound.
        let [chargers, processors, ocpp] = self.listeners;
        match listener {
            ListenerKind::Chargers | ListenerKind::Ocpp => chargers + ocpp,
            ListenerKind::Processors => processors,
        }
    }

    fn leave(&mut self, number: u64) {
        let Some(entry) = self.entries.remove(&number) else { return };
        self.count(entry.identity.role(), |count| count - 1);
        self.listeners[entry.listener.index()] -= 1;
        if let Some(numbers) = self.peers.get_mut(&entry.identity) {
            numbers.retain(|of| *of != number);
            if numbers.is_empty() {
                self.peers.remove(&entry.identity);
            }
        }
    }

    fn count(&mut self, role: Role, change: impl FnOnce(usize) -> usize) {
        if let Some(index) = ROLES.iter().position(|(of, _)| *of == role) {
            self.roles[index] = change(self.roles[index]);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.live.lock().leave(self.number);
    }
}
