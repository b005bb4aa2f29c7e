//! The actor of a charger: the shell around [`crate::charger`].

use super::hosted::{Hostable, Hosted, Slot};
use crate::charger::{self, Charger, Command, Effect, Event};
use crate::message::{Channel, ConnectorState, Numbering};
use crate::stored::Stored;
use crate::units::{ChargerId, ConnectorId, Mono, SessionKey};
use smallvec::SmallVec;

/// A charger, hosted in its partition.
pub struct HostedCharger {
    state: Charger,
    /// Reported states of its connectors; for operators only.
    statuses: Option<Box<Statuses>>,
    /// Its current connection, or [`NO_CONNECTION`].
    connection: ConnectionId,
    /// The channel on that connection.
    channel: Channel,
    /// Which side numbers its sessions, on that connection.
    numbering: Numbering,
}

/// Reported states of connectors.
type Statuses = SmallVec<[(ConnectorId, ConnectorState); 2]>;

/// No connection has this number. (An `Option` of a [`Link`] would take twelve bytes more, for every charger.)
const NO_CONNECTION: ConnectionId = ConnectionId(u64::MAX);

/// The address of a charger: a connection, and the channel on it. The connection's number is unique in a process, so
/// that messages of an older connection are distinct from the newer one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// The connection.
    pub connection: ConnectionId,
    /// The channel on it.
    pub channel: Channel,
}

/// A connection to a peer, numbered in the order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

impl HostedCharger {
    /// A charger without a connection.
    pub fn new(id: ChargerId) -> HostedCharger {
        HostedCharger::from_state(Charger::new(id))
    }

    /// A charger as it was archived.
    pub fn from_state(state: Charger) -> HostedCharger {
        HostedCharger {
            state,
            statuses: None,
            connection: NO_CONNECTION,
            channel: Channel::default(),
            numbering: Numbering::default(),
        }
    }

    /// Its known state.
    pub fn state(&self) -> &Charger {
        &self.state
    }

    /// Its current connection.
    pub fn link(&self) -> Option<Link> {
        (self.connection != NO_CONNECTION).then_some(Link { connection: self.connection, channel: self.channel })
    }

    /// Sets its connection, and returns the earlier one.
    pub fn set_link(&mut self, link: Option<Link>) -> Option<Link> {
        let before = self.link();
        let link = link.unwrap_or(Link { connection: NO_CONNECTION, channel: Channel::default() });
        (self.connection, self.channel) = (link.connection, link.channel);
        before
    }

    /// Which side numbers its sessions, on its current connection.
    pub fn numbering(&self) -> Numbering {
        self.numbering
    }

    /// Sets which side numbers its sessions.
    pub fn set_numbering(&mut self, numbering: Numbering) {
        self.numbering = numbering;
    }

    /// Sets the reported state of a connector. One outside the charger's description is ignored.
    pub fn set_status(&mut self, connector: ConnectorId, state: ConnectorState) {
        if !self.state.described.connectors.iter().any(|known| known.id == connector) {
            return;
        }
        let statuses = self.statuses.get_or_insert_default();
        match statuses.iter_mut().find(|(known, _)| *known == connector) {
            Some((_, known)) => *known = state,
            None => statuses.push((connector, state)),
        }
    }

    /// Reported states of its connectors.
    pub fn statuses(&self) -> &[(ConnectorId, ConnectorState)] {
        self.statuses.as_ref().map_or(&[], |statuses| statuses.as_slice())
    }

    /// The cell of one of its open sessions.
    pub fn session(&self, key: SessionKey) -> Option<Slot> {
        self.state.open_session(key)?.cell.get()
    }

    /// Cells of its open sessions.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionKey, Slot)> + '_ {
        self.state.open.iter().filter_map(|open| Some((open.key, open.cell.get()?)))
    }

    /// Sets the cell of one of its open sessions, while its state is restored.
    pub fn attach(&mut self, key: SessionKey, cell: Slot) {
        self.state.set_cell(key, cell);
    }

    /// Applies a fact of its own, while replaying.
    pub fn replay(&mut self, event: &Event) {
        charger::apply(&mut self.state, event);
    }

    /// Applies a fact of one of its sessions to the projection, live and in replay.
    pub fn project(&mut self, event: &Event, slot: Slot) {
        charger::apply(&mut self.state, event);
        if let Event::SessionOpened { key, .. } | Event::SessionContinued { key, .. } = event {
            self.attach(*key, slot);
        }
    }
}

impl Hostable for HostedCharger {
    type Message<'a> = Command;
    type Event = Event;
    type Effect = Effect;

    fn handle(&mut self, command: Command, context: &mut Hosted<HostedCharger>) {
        let decision = charger::decide(&self.state, command, context.now().wall);
        for event in &decision.events {
            charger::apply(&mut self.state, event);
        }
        context.commit(decision);
    }

    fn next_deadline(&self) -> Option<Mono> {
        None
    }

    fn prefetch(&self) -> u64 {
        let first = |text: &str| u64::from(text.as_bytes().first().copied().unwrap_or(0));
        first(self.state.id.as_str())
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        self.state.store(bytes);
    }
}
