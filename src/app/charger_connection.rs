//! A charger's (or site controller's) connection: bytes in become batches for shards, messages out become bytes.

use super::connection;
use super::introduced::Introduced;
use super::shard_feed::{CountedOutlet, ShardFeed, Turns};
use crate::actors::directory::Directory;
use crate::actors::turn::ChargerOutlet;
use crate::message::{Channel, Code, FromCharger, Received, Subject, ToCharger};
use crate::node::ConnectionId;
use crate::node::connection::{ends_with, farewell};
use crate::transport::{Ended, Flow, Outgoing, PeerHandler};
use crate::units::{Clock, SiteId};
use crate::wire::ChargerLink;
use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The handler of one connection; it runs on the thread of its first shard.
pub struct ChargerConnection {
    feed: ShardFeed,
    clock: Arc<dyn Clock>,
    outlet: Arc<Outlet>,
    /// The site, for a site controller's connection, and the chargers that sites have introduced.
    of_site: Option<Box<(SiteId, Arc<Introduced>)>>,
}

/// Room for one read, and for what the link answers to it: one for all connections of a thread, since each is
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
    turns: Turns,
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
        let outlet = Arc::new(Outlet { link: Mutex::new(link), outgoing, turns: Turns::default() });
        ChargerConnection { feed: ShardFeed::new(id, directory), clock, outlet, of_site: of_site.map(Box::new) }
    }

    /// Hands what was received to its shards.
    fn hand_over(&mut self, received: &mut Vec<Received<FromCharger>>) {
        let (of_site, outlet) = (self.of_site.as_deref(), &self.outlet);
        self.feed.hand_over(received, outlet, |channel, hello| {
            let Some((site, _)) = of_site.filter(|(site, introduced)| !introduced.admits(site, &hello.charger)) else {
                return true;
            };
            let peer = Subject::Site(site.clone());
            tracing::warn!(%peer, charger = %hello.charger, "a site introduces more chargers than it may (chargers.per_site_max)");
            outlet.close(channel, Code::TooManyChargers);
            false
        });
    }
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
            Ok(()) if self.outlet.turns.any() => Flow::Pause,
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
        self.feed.detach();
    }
}

impl Outlet {
    fn link(&self) -> MutexGuard<'_, ChargerLink> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CountedOutlet for Outlet {
    fn turns(&self) -> &Turns {
        &self.turns
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
        self.turns.taken(&self.outgoing);
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
