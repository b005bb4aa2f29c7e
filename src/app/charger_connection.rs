//! A charger's (or site controller's) connection: bytes in become turns for shards, messages out become bytes.

use super::connection::{self, deliver};
use super::introduced::Introduced;
use crate::actors::directory::Directory;
use crate::actors::turn::{Attach, ChargerOutlet, Detach, Turn};
use crate::message::{Channel, Code, FromCharger, GoAway, Received, Subject, ToCharger};
use crate::node::ConnectionId;
use crate::node::shard::Shard;
use crate::transport::{Ended, Flow, Outgoing, PeerHandler};
use crate::units::{Clock, PartitionId, SiteId, TimeSpan};
use crate::wire::ChargerLink;
use smallvec::SmallVec;
use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The handler of one connection; lives on the thread of its first shard.
pub struct ChargerConnection {
    id: ConnectionId,
    directory: Arc<Directory>,
    clock: Arc<dyn Clock>,
    outlet: Arc<Outlet>,
    /// Whose connection it is, if a site controller's, and which chargers sites have introduced.
    of_site: Option<Box<(SiteId, Arc<Introduced>)>>,
    /// Which shard each channel's charger belongs to, in the order of the channels. Nearly every connection has one.
    shards: SmallVec<[(Channel, u16); 1]>,
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
    /// Turns that shards have not taken yet; nothing is read meanwhile.
    turns: AtomicUsize,
}

impl ChargerConnection {
    /// A connection whose handshake is done.
    pub fn new(
        id: ConnectionId,
        link: ChargerLink,
        outgoing: Outgoing,
        (directory, clock): (Arc<Directory>, Arc<dyn Clock>),
        of_site: Option<(SiteId, Arc<Introduced>)>,
    ) -> ChargerConnection {
        let outlet = Arc::new(Outlet { link: Mutex::new(link), outgoing, turns: AtomicUsize::new(0) });
        let (shards, attached) = (SmallVec::new(), SmallVec::new());
        ChargerConnection { id, directory, clock, outlet, of_site: of_site.map(Box::new), shards, attached }
    }

    fn place(&self, channel: Channel) -> Result<usize, usize> {
        self.shards.binary_search_by_key(&channel, |(of, _)| *of)
    }

    fn belongs(&mut self, channel: Channel, shard: u16) {
        match self.place(channel) {
            Ok(place) => self.shards[place].1 = shard,
            Err(place) => self.shards.insert(place, (channel, shard)),
        }
    }

    /// Hands what was received to its shards.
    fn hand_over(&mut self, received: &mut Vec<Received<FromCharger>>) {
        let mut turns: Vec<(u16, Vec<Received<FromCharger>>)> = Vec::with_capacity(1);
        for received in received.drain(..) {
            if let FromCharger::Hello(hello) = &received.message {
                if let Some((site, introduced)) = self.of_site.as_deref()
                    && !introduced.admits(site, &hello.charger)
                {
                    let peer = Subject::Site(site.clone());
                    tracing::warn!(%peer, charger = %hello.charger, "a site introduces more chargers than it may (chargers.per_site_max)");
                    self.outlet.close(received.channel, Code::TooManyChargers);
                    continue;
                }
                let house = self.directory.house();
                let partition = PartitionId::of(hello.charger.as_str(), house.partitions);
                self.belongs(received.channel, Shard::of(partition, house.shards));
            }
            let Ok(place) = self.place(received.channel) else { continue };
            let shard = self.shards[place].1;
            match turns.iter_mut().find(|(of, _)| *of == shard) {
                Some((_, messages)) => messages.push(received),
                None => turns.push((shard, vec![received])),
            }
        }
        self.outlet.turns.fetch_add(turns.len(), Ordering::AcqRel);
        for (shard, messages) in turns {
            let Some(address) = self.directory.shards().get(usize::from(shard)).cloned() else { continue };
            if !self.attached.contains(&shard) {
                self.attached.push(shard);
                deliver(&address, Attach { connection: self.id, outlet: self.outlet.clone() });
            }
            deliver(&address, Turn { connection: self.id, arrived: Instant::now(), messages: messages.into_iter() });
        }
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
        for shard in &self.attached {
            if let Some(address) = self.directory.shards().get(usize::from(*shard)) {
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
        // A closed link or a closed way out: the charger asks again when it is back.
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
        let farewell = GoAway { code, text: code.meaning().into(), reconnect_after: TimeSpan::ZERO };
        self.send(channel, &ToCharger::GoAway(farewell));
        let single = matches!(self.link().peer().subject, Subject::Charger(_));
        if single || channel == Channel::ZERO {
            tracing::warn!(peer = %self.link().peer(), code = code.number(), "a connection is closed: {code}");
            self.outgoing.close(code.meaning());
        }
    }
}
