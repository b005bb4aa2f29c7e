//! Takes connections after their handshake, and passes each to the thread that serves it.

use super::charger_connection::ChargerConnection;
use super::connection::Connection;
use super::introduced::Introduced;
use super::ocpp_connection::OcppConnection;
use super::ocpp_forwarding::{Behind, Forwarded};
use super::processor_connection::ProcessorConnection;
use super::settings::{ListenerSettings, MacOf, OcppListener};
use super::unknown::Unknown;
use crate::actors::directory::Directory;
use crate::message::Subject;
use crate::node::ConnectionId;
use crate::node::processor::ProcessorActor;
use crate::node::shard::Shard;
use crate::ocpp::{LinkSettings, OcppLink, Version};
use crate::transport::descriptors::Share;
use crate::transport::identity::ListenerKind;
use crate::transport::{Capacity, Edge, Entry, NoRoom, Peer, Reception, Upgrade};
use crate::units::{Clock, PartitionId, Power};
use crate::wire::{ChargerLink, MaySpeakFor, ProcessorLink};
use actix::Actor;
use actix_rt::ArbiterHandle;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Takes peers in from the handshake threads and puts their connections where they are served.
pub(super) struct Receiver {
    pub directory: Arc<Directory>,
    pub clock: Arc<dyn Clock>,
    /// Threads of the shards, in their order.
    pub arbiters: Vec<ArbiterHandle>,
    /// The thread of the processors.
    pub io: ArbiterHandle,
    pub may_speak_for: MaySpeakFor,
    pub introduced: Arc<Introduced>,
    pub mac_of: MacOf,
    pub next: AtomicU64,
}

impl Receiver {
    pub fn listen(
        self: &Arc<Self>,
        edge: &Edge,
        listener: ListenerSettings,
        share: Share,
        take_in: fn(&Receiver, Peer) -> Result<(), NoRoom>,
    ) -> std::io::Result<SocketAddr> {
        let receiver = Arc::clone(self);
        let reception: Reception = Arc::new(move |peer| take_in(&receiver, peer));
        edge.listen(
            listener.address,
            Entry::native(listener.tls),
            Capacity { share, each_max: listener.each_max },
            reception,
        )
    }

    /// Opens a listener for chargers that speak OCPP.
    ///
    /// # Errors
    /// The address cannot be listened at.
    pub fn listen_ocpp(
        self: &Arc<Self>,
        edge: &Edge,
        listener: OcppListener,
        share: Share,
    ) -> std::io::Result<SocketAddr> {
        let (receiver, power_max, behind) = (Arc::clone(self), listener.power_max, listener.behind);
        let reception: Reception = Arc::new(move |peer| receiver.take_in_ocpp(peer, power_max, behind.as_ref()));
        let upgrade: Option<Arc<dyn Upgrade>> = Some(Arc::new(listener.admission));
        let entry = Entry { listener: ListenerKind::Ocpp, tls: listener.tls, upgrade };
        // A newer connection of a charger takes the place of an older one, which was lost without notice.
        edge.listen(listener.address, entry, Capacity { share, each_max: 1 }, reception)
    }

    /// A charger's connection is served on the thread of its shard, so that a meter tick crosses no thread.
    ///
    /// # Errors
    /// The gate has as many connections of this peer, or in all, as it may have.
    pub fn take_in_charger(&self, peer: Peer) -> Result<(), NoRoom> {
        let node_config = self.directory.node_config();
        let home = match &peer.identity.subject {
            Subject::Charger(charger) => PartitionId::of(charger.as_str(), node_config.partitions),
            Subject::Site(site) => PartitionId::of(site.as_str(), node_config.partitions),
            Subject::Processor(_) | Subject::Gate(_) => return Err(NoRoom),
        };
        let Some(arbiter) = self.arbiters.get(usize::from(Shard::of(home, node_config.shards))) else {
            return Err(NoRoom);
        };
        let Ok(link) = ChargerLink::new((*peer.identity).clone(), self.may_speak_for.clone(), self.clock.now().mono)
        else {
            return Err(NoRoom);
        };
        let (directory, clock, id) = (self.directory.clone(), self.clock.clone(), self.next_id());
        let of_site = match &peer.identity.subject {
            Subject::Site(site) => Some((site.clone(), self.introduced.clone())),
            Subject::Charger(_) | Subject::Processor(_) | Subject::Gate(_) => None,
        };
        arbiter.spawn_fn(move || {
            let handler = ChargerConnection::new(id, link, peer.outgoing.clone(), (directory, clock), of_site);
            Connection::serve(peer, handler);
        });
        Ok(())
    }

    /// Chargers that speak OCPP are served like others, on the thread of their shard.
    ///
    /// # Errors
    /// The gate has as many connections of this peer, or in all, as it may have.
    pub fn take_in_ocpp(&self, mut peer: Peer, power_max: Power, behind: Option<&Arc<Behind>>) -> Result<(), NoRoom> {
        let node_config = self.directory.node_config();
        let (Subject::Charger(charger), Some(mut upgraded)) = (&peer.identity.subject, peer.websocket.take()) else {
            return Err(NoRoom);
        };
        let home = PartitionId::of(charger.as_str(), node_config.partitions);
        let shard = usize::from(Shard::of(home, node_config.shards));
        let version = Version::ALL.into_iter().find(|version| version.subprotocol() == upgraded.protocol);
        let (Some(arbiter), Some(version)) = (self.arbiters.get(shard), version) else { return Err(NoRoom) };
        let charger = charger.clone();
        let forwarded = Forwarded { charger: charger.clone(), version, password: upgraded.password.take() };
        let behind = behind.map(|behind| (Arc::clone(behind), forwarded));
        let heartbeat = crate::ocpp::heartbeat_of(&charger);
        let settings = LinkSettings { charger, version, power_max, heartbeat, is_forwarded: behind.is_some() };
        let link = OcppLink::new(settings, self.clock.now());
        let (directory, clock, id) = (self.directory.clone(), self.clock.clone(), self.next_id());
        arbiter.spawn_fn(move || {
            let ends = (Box::new(upgraded.websocket), peer.outgoing.clone());
            let handler = OcppConnection::new(id, link, ends, (directory, clock), behind);
            Connection::serve(peer, handler);
        });
        Ok(())
    }

    pub fn take_in_processor(&self, peer: Peer) -> Result<(), NoRoom> {
        let Subject::Processor(processor) = &peer.identity.subject else { return Err(NoRoom) };
        let mac = (self.mac_of)(processor);
        let Ok(link) = ProcessorLink::new(&peer.identity, mac, self.clock.now().mono) else { return Err(NoRoom) };
        if !self.directory.node_config().routing.routes().registry.admits(processor) {
            let (link, clock) = (link.unknown(), self.clock.clone());
            self.io.spawn_fn(move || {
                let outgoing = peer.outgoing.clone();
                Connection::serve(peer, Unknown { link, outgoing, clock });
            });
            return Ok(());
        }
        let (directory, clock, id, io) = (self.directory.clone(), self.clock.clone(), self.next_id(), self.io.clone());
        let processor = processor.clone();
        self.io.spawn_fn(move || {
            let start = || {
                let (id, directory) = (processor.clone(), directory.clone());
                ProcessorActor::start_in_arbiter(&io, move |_| ProcessorActor::new(id, directory))
            };
            let actor = directory.processor(&processor, start);
            let handler = ProcessorConnection::new(id, link, peer.outgoing.clone(), actor, clock);
            Connection::serve(peer, handler);
        });
        Ok(())
    }

    fn next_id(&self) -> ConnectionId {
        ConnectionId(self.next.fetch_add(1, Ordering::Relaxed))
    }
}
