//! The connections that are up: counted, listed, and cut when their certificates lose their worth.

use super::certificate::Presented;
use super::identity::Door;
use super::outgoing::{Ended, Outgoing};
use super::tls::Tls;
use crate::units::Timestamp;
use crate::wire::{PeerIdentity, Role};
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
    /// How many entries there are of each role: asked for with every connection that comes, so nobody counts then.
    roles: [usize; ROLES.len()],
}

struct Entry {
    door: Door,
    identity: Arc<PeerIdentity>,
    remote: SocketAddr,
    since: Timestamp,
    presented: Presented,
    outgoing: Outgoing,
}

/// A connection that is up, as the console shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LivePeer {
    /// Who it is.
    pub identity: Arc<PeerIdentity>,
    /// Where it comes from.
    pub remote: SocketAddr,
    /// Since when it is up.
    pub since: Timestamp,
    /// The serial number of its certificate.
    pub serial: String,
    /// When its certificate expires.
    pub not_after: Timestamp,
}

/// A connection's place in the table; dropping it takes the connection out.
pub(super) struct Registration {
    live: Live,
    number: u64,
}

/// The roles of peers with their words in metrics.
const ROLES: [(Role, &str); 3] = [(Role::Charger, "charger"), (Role::Site, "site"), (Role::Processor, "processor")];

impl Live {
    /// How many connections came through this door.
    pub fn count(&self, door: Door) -> usize {
        let (chargers, sites, processors) = self.lock().roles.into();
        match door {
            Door::Chargers => chargers + sites,
            Door::Processors => processors,
        }
    }

    /// How many connections there are of each role, by its word in metrics.
    pub fn roles(&self) -> [(&'static str, usize); ROLES.len()] {
        let roles = self.lock().roles;
        std::array::from_fn(|index| (ROLES[index].1, roles[index]))
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
            serial: entry.presented.serial(),
            not_after: entry.presented.not_after,
        };
        entries.into_iter().map(|(_, entry)| shown(entry)).collect()
    }

    /// Ends every connection after what is queued for it is written.
    pub fn close_all(&self, reason: &'static str) {
        for entry in self.lock().entries.values() {
            entry.outgoing.close(reason);
        }
    }

    /// Cuts the connections of this listener whose certificates would not be accepted any more, and counts them.
    pub fn cut_worthless(&self, tls: &Tls, now: Timestamp) -> usize {
        let mut cut = 0;
        for entry in self.lock().entries.values() {
            if entry.door == tls.door()
                && !entry.outgoing.is_closed()
                && let Some(refusal) = tls.worthless(&entry.presented, now)
            {
                tracing::warn!(
                    peer = %entry.identity.subject, remote = %entry.remote, serial = entry.presented.serial(),
                    "connection cut: {refusal}"
                );
                entry.outgoing.cut(Ended::Cut(refusal));
                cut += 1;
            }
        }
        cut
    }

    pub(super) fn enter(
        &self,
        door: Door,
        identity: Arc<PeerIdentity>,
        remote: SocketAddr,
        presented: Presented,
        outgoing: Outgoing,
        now: Timestamp,
    ) -> Registration {
        let mut table = self.lock();
        let number = table.next;
        table.next += 1;
        table.count(identity.role(), |count| count + 1);
        table.entries.insert(number, Entry { door, identity, remote, since: now, presented, outgoing });
        drop(table);
        Registration { live: self.clone(), number }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn count(&mut self, role: Role, change: impl FnOnce(usize) -> usize) {
        if let Some(index) = ROLES.iter().position(|(of, _)| *of == role) {
            self.roles[index] = change(self.roles[index]);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut table = self.live.lock();
        if let Some(entry) = table.entries.remove(&self.number) {
            table.count(entry.identity.role(), |count| count - 1);
        }
    }
}
