//! A charger's (or site controller's) connection: bytes in become batches for shards, messages out become bytes.

use super::connection::{self, deliver};
use super::introduced::Introduced;
use crate::actors::directory::{Directory, PlacesSeen};
use crate::actors::turn::{Attach, ChargerOutlet, Detach};
use crate::message::{Channel, Code, FromCharger, Received, Subject, ToCharger};
use crate::node::ConnectionId;
use crate::node::connection::{ShardsOfChannels, ends_with, farewell};
use crate::node::driver::ReadBatch;
use crate::transport::{Ended, Flow, Outgoing, PeerHandler};
use crate::units::{Clock, SiteId};
use crate::wire::ChargerLink;
use smallvec::SmallVec;
use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The handler of one connection; it runs on the thread of its first shard.
pub struct ChargerConnection {
    id: ConnectionId,
    directory: Arc<Directory>,
    places: PlacesSeen,
    clock: Arc<dyn Clock>,
    outlet: Arc<Outlet>,
    /// The site, for a site controller's connection, and the chargers that sites have introduced.
    of_site: Option<Box<(SiteId, Arc<Introduced>)>>,
    shards: ShardsOfChannels,
    attached: SmallVec<[u16; 4]>,
}

/// Room for what is read at once, and for what the link answers to it: one for all connections of a thread, since each is
/// done with it before the next one reads.
#[derive(Default)]
struct Scratch {
    received: Vec<Received<FromCharger>>,
    reply: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The way back, shared with the shards.
struct Outlet {
    link: Mutex<ChargerLink>,
    outgoing: Outgoing,
    /// Batches that shards have not taken yet; nothing is read meanwhile.
    turns: AtomicUsize,
}

impl ChargerConnection {
    /// A connection after its handshake.
    pub fn new(
        id: ConnectionId,
        link: ChargerLink,
        outgoing: Outgoing,
        (directory, clock): (Arc<Directory>, Arc<dyn Clock>),
        of_site: Option<(SiteId, Arc<Introduced>)>,
    ) -> ChargerConnection {
        let outlet = Arc::new(Outlet { link: Mutex::new(link), outgoing, turns: AtomicUsize::new(0) });
        let (shards, attached) = (ShardsOfChannels::default(), SmallVec::new());
        let places = directory.places_seen();
        ChargerConnection { id, directory, places, clock, outlet, of_site: of_site.map(Box::new), shards, attached }
    }

    /// Hands what was received to its shards.
    fn hand_over(&mut self, received: &mut Vec<Received<FromCharger>>) {
        let (of_site, outlet) = (self.of_site.as_deref(), &self.outlet);
        let batches = self.shards.split(self.directory.node_config(), received, |channel, hello| {
            let Some((site, _)) = of_site.filter(|(site, introduced)| !introduced.admits(site, &hello.charger))
            else {
                return true;
            };
            let peer = Subject::Site(site.clone());
            tracing::warn!(%peer, charger = %hello.charger, "a site introduces more chargers than it may (chargers.per_site_max)");
            outlet.close(channel, Code::TooManyChargers);
            false
        });
        self.outlet.turns.fetch_add(batches.len(), Ordering::AcqRel);
        let places = self.places.load();
        for (shard, messages) in batches {
            let Some(address) = places.shard(shard) else {
                send_away(&self.outlet, messages);
                continue;
            };
            if !self.attached.contains(&shard) {
                self.attached.push(shard);
                deliver(address, Attach { connection: self.id, outlet: self.outlet.clone() });
            }
            deliver(
                address,
                ReadBatch { connection: self.id, arrived: Instant::now(), messages: messages.into_iter() },
            );
        }
    }
}

/// The shard of these messages is not open here: their chargers come back later, and repeat what is not acknowledged.
fn send_away(outlet: &Outlet, messages: Vec<Received<FromCharger>>) {
    let mut channels: Vec<Channel> = messages.into_iter().map(|received| received.channel).collect();
    channels.sort_unstable();
    channels.dedup();
    channels.into_iter().for_each(|channel| outlet.close(channel, Code::Overloaded));
    outlet.resume();
}

impl PeerHandler for ChargerConnection {
    fn received(&mut self, bytes: &[u8]) -> Flow {
        let now = self.clock.now();
        let outcome = SCRATCH.with_borrow_mut(|Scratch { received, reply }| {
            let outcome = self.outlet.link().receive(bytes, now, received, reply);
            connection::answer(&self.outlet.outgoing, reply);
            self.hand_over(received);
            outcome
        });
        match outcome {
            Err(error) => connection::close(self.outlet.link().peer(), &error),
            Ok(()) if self.outlet.turns.load(Ordering::Acquire) > 0 => Flow::Pause,
            Ok(()) => Flow::Continue,
        }
    }

    fn wait(&self) -> Option<Duration> {
        let due = self.outlet.link().next_deadline()?;
        Some(Duration::from_millis(due.0.saturating_sub(self.clock.now().mono.0)))
    }

    fn deadline(&mut self) -> Flow {
        let outcome = SCRATCH.with_borrow_mut(|Scratch { reply, .. }| {
            let outcome = self.outlet.link().on_deadline(self.clock.now().mono, reply);
            connection::answer(&self.outlet.outgoing, reply);
            outcome
        });
        outcome.map_or_else(|error| connection::close(self.outlet.link().peer(), &error), |()| Flow::Continue)
    }

    fn ended(&mut self, _: &Ended) {
        let places = self.places.load();
        for shard in &self.attached {
            if let Some(address) = places.actor(*shard) {
                deliver(address, Detach(self.id));
            }
        }
    }
}

impl Outlet {
    fn link(&self) -> MutexGuard<'_, ChargerLink> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChargerOutlet for Outlet {
    fn send(&self, channel: Channel, message: &ToCharger) {
        // The link or connection is closed: the charger repeats its request when it reconnects.
        let _ = self.outgoing.send(|out| {
            let _ = self.link().send(channel, message, out);
        });
    }

    fn resume(&self) {
        if self.turns.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.outgoing.resume();
        }
    }

    fn close(&self, channel: Channel, code: Code) {
        self.send(channel, &farewell(code));
        let ends = ends_with(self.link().peer(), channel);
        if ends {
            tracing::warn!(peer = %self.link().peer(), code = code.number(), "a connection is closed: {code}");
            self.outgoing.close(code.meaning());
        }
    }
}
