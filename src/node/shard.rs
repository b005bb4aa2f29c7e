//! A shard: many partitions run by one thread, without any runtime of its own.
//!
//! An input is delivered to a hosted actor; what the actor decides is journaled, and what it wants done waits behind the
//! gate. What waits for the journal, and the way out of the shard, are its driver's ([`super::driver`]).
//!
//! ```text
//!   input ─▶ reserve ─▶ charger ─▶ session ─▶ events ─▶ journal ─▶ (durable) ─▶ gate ─▶ output
//! ```

use super::channels::Channels;
use super::charger::{ConnectionId, Link};
use super::delivery::Delivery;
use super::handlers::{self, chargers, documents, sessions, settlements, top_ups};
use super::hosted::Slot;
use super::input::Input;
use super::node_config::NodeConfig;
use super::output::Output;
use super::partition::Partition;
#[cfg(test)]
use super::planted::{self, Bug};
use super::reference::{ChargerRef, TimerTarget};
use super::session::HostedSession;
use super::timer_wheel::{TimerWheel, Wake};
use crate::accounting::pages::Page;
use crate::charger::Charger;
use crate::journal::{Appender, Batch, Busy, OutputBuffer, Position, Sequence, Sequences};
use crate::limits;
use crate::message::{ChargerHello, FromCharger, Received};
use crate::payment;
use crate::session::Session;
use crate::units::{ChargerId, Mono, Now, PartitionId, PaymentId, SessionId, SessionKey, TimeSpan};
use hashbrown::HashMap;
use std::sync::Arc;

/// Messages whose sessions are prefetched together, before they are processed one by one.
pub const PREFETCH_DEPTH: usize = 16;

/// Senders of the next messages.
pub type Speakers = [Option<ChargerRef>; PREFETCH_DEPTH];

/// Partitions that are run by one thread.
pub struct Shard {
    node_config: Arc<NodeConfig>,
    /// Index of this shard among `node_config.shards`.
    index: u16,
    partitions: Vec<Partition>,
    appender: Appender,
    gate: OutputBuffer<Output>,
    timers: TimerWheel<TimerTarget>,
    /// Chargers of this shard by connection and channel.
    channels: HashMap<ConnectionId, Channels>,
    fired: Vec<Wake<TimerTarget>>,
    /// When the next check for overdue settlement batches is due.
    overdue_after: Mono,
}

impl Shard {
    /// A shard with empty partitions.
    pub fn new(node_config: Arc<NodeConfig>, index: u16, now: Now) -> Shard {
        let mine = (0..node_config.partitions).filter(|partition| partition % node_config.shards == index);
        let partitions = mine.map(|partition| Partition::new(PartitionId(partition), now)).collect();
        let appender = Appender::new(Sequences::new(node_config.partitions));
        Shard {
            node_config,
            index,
            partitions,
            appender,
            gate: OutputBuffer::new(),
            timers: TimerWheel::new(now.mono),
            channels: HashMap::new(),
            fired: Vec::new(),
            overdue_after: Mono(0),
        }
    }

    /// The shard that runs a partition.
    pub fn of(partition: PartitionId, shards: u16) -> u16 {
        partition.0 % shards
    }

    /// Its place among the shards.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// Its partitions.
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// Whether an input is for a partition of this shard.
    pub fn is_for(&self, input: &Input) -> bool {
        self.node_config.shard_of(input.partition(self.node_config.partitions)) == Some(self.index)
    }

    /// The rules of the house.
    pub fn node_config(&self) -> &Arc<NodeConfig> {
        &self.node_config
    }

    pub(super) fn partitions_mut(&mut self) -> &mut [Partition] {
        &mut self.partitions
    }

    pub(super) fn partition_mut(&mut self, partition: PartitionId) -> &mut Partition {
        let local = usize::from(self.local(partition));
        &mut self.partitions[local]
    }

    /// The last record of a partition.
    pub fn last(&self, partition: PartitionId) -> Sequence {
        self.appender.sequence(partition)
    }

    /// The last record of a partition, and where it stands among those of the shard.
    pub(super) fn place_of(&self, partition: PartitionId) -> (Sequence, Position) {
        (self.appender.sequence(partition), self.appender.appended())
    }

    /// Up to where the shard has records.
    pub fn appended(&self) -> Position {
        self.appender.appended()
    }

    /// Up to where the records of the shard are durable.
    pub(super) fn durable(&self) -> Position {
        self.appender.durable()
    }

    /// After replay: the records that come now continue these.
    pub fn continue_after(&mut self, sequences: Sequences) {
        self.partitions.iter_mut().for_each(|partition| partition.sessions.sum_up());
        self.appender = Appender::new(sequences);
    }

    /// A charger sent Hello on a channel: the channel is its only address from now on. The earlier connection is
    /// returned, to be closed.
    ///
    /// # Errors
    /// [`Busy`]: the journal has no room; nothing has changed.
    pub fn hello(&mut self, link: Link, hello: &ChargerHello, now: Now) -> Result<Option<Link>, Busy> {
        let local = self.local(PartitionId::of(hello.charger.as_str(), self.node_config.partitions));
        let (partition, mut delivery) = self.begin_for(local, hello_effects(hello), now)?;
        let slot = partition.charger(&hello.charger);
        let replaced = chargers::hello(&mut delivery, partition, slot, link, hello);
        self.channels.entry(link.connection).or_default().insert(link.channel, ChargerRef { partition: local, slot });
        if let Some(before) = replaced.filter(|before| before.connection != link.connection) {
            if let Some(channels) = self.channels.get_mut(&before.connection) {
                channels.remove(before.channel);
            }
            return Ok(Some(before));
        }
        Ok(None)
    }

    /// A message from a charger, on a channel after its Hello. Messages from a channel that another connection has
    /// replaced are refused: that is `false`.
    ///
    /// # Errors
    /// [`Busy`]: the journal has no room; nothing has changed.
    pub fn on_charger_message(&mut self, link: Link, message: FromCharger, now: Now) -> Result<bool, Busy> {
        match self.charger_at(link) {
            Some(charger) => self.on_known_charger_message(charger, message, now).map(|()| true),
            None => Ok(false),
        }
    }

    /// A message from the charger that is bound to its channel.
    #[inline]
    pub(super) fn on_known_charger_message(
        &mut self,
        charger: ChargerRef,
        message: FromCharger,
        now: Now,
    ) -> Result<(), Busy> {
        let (partition, mut delivery) = self.begin(charger.partition, now)?;
        chargers::message(&mut delivery, partition, charger.slot, message);
        Ok(())
    }

    /// The charger on a channel.
    fn charger_at(&self, link: Link) -> Option<ChargerRef> {
        self.channels.get(&link.connection)?.get(link.channel)
    }

    /// Whether a charger is known, or its partition may remember one more.
    pub(super) fn has_room_for(&self, charger: &ChargerId) -> bool {
        let local = self.local(PartitionId::of(charger.as_str(), self.node_config.partitions));
        self.partitions[usize::from(local)].has_room_for(charger, limits::CHARGERS_PER_PARTITION)
    }

    /// Whether a start with this key would begin a session: it is neither open nor remembered, so that no answer
    /// was given for it.
    pub(super) fn is_new(&self, link: Link, key: SessionKey) -> bool {
        let charger = self.charger_at(link);
        let hosted = charger.and_then(|of| self.partitions[usize::from(of.partition)].chargers.get(of.slot));
        let known = |state: &Charger| state.open_session(key).is_some() || state.past_session(key).is_some();
        hosted.is_some_and(|hosted| !known(hosted.state()))
    }

    /// Prefetches the state for the next messages, at most [`PREFETCH_DEPTH`] of them. A million sessions fit no cache:
    /// processed one by one, each reading waits for memory several times; prefetched together, these waits overlap.
    /// Returns the sender of each; it is valid until the next Hello.
    pub fn prefetch(&self, connection: ConnectionId, messages: &[Received<FromCharger>]) -> Speakers {
        let mut speakers = [None; PREFETCH_DEPTH];
        let Some(channels) = self.channels.get(&connection) else { return speakers };
        for (speaker, Received { channel, .. }) in speakers.iter_mut().zip(messages) {
            *speaker = channels.get(*channel);
        }
        let mut cells = [None; PREFETCH_DEPTH];
        for ((cell, speaker), Received { message, .. }) in cells.iter_mut().zip(speakers).zip(messages) {
            if let (FromCharger::Reading { session, .. }, Some(ChargerRef { partition, slot })) = (message, speaker) {
                let charger = self.partitions[usize::from(partition)].chargers.get(slot);
                *cell = charger.and_then(|charger| Some((partition, charger.session(*session)?)));
            }
        }
        let touched = cells.iter().flatten().filter_map(|(local, cell)| {
            let partition: &Partition = &self.partitions[usize::from(*local)];
            partition.sessions.get(*cell)
        });
        std::hint::black_box(touched.fold(0, |all, session| all ^ session.prefetch_hot()));
        speakers
    }

    /// Says that outputs are about to be released: reads what the next [`PREFETCH_DEPTH`] of them will need, for the same reason.
    pub(super) fn prefetch_outputs(&self) {
        let outputs = self.gate.released(self.appender.durable()).take(PREFETCH_DEPTH);
        let links = outputs.filter_map(Output::charger).filter_map(|charger| self.link(charger));
        std::hint::black_box(links.fold(0, |all, link| all ^ link.connection.0));
    }

    /// A connection has ended.
    pub fn disconnected(&mut self, connection: ConnectionId) {
        for charger in self.channels.remove(&connection).iter().flat_map(Channels::chargers) {
            unlink(&mut self.partitions[usize::from(charger.partition)], charger.slot, connection);
        }
    }

    /// Forgets every connection, and returns the channels that chargers had on them, in their order.
    pub(super) fn unbind_all(&mut self) -> Vec<Link> {
        let mut links = Vec::new();
        for (connection, channels) in std::mem::take(&mut self.channels) {
            links.extend(channels.bound().map(|channel| Link { connection, channel }));
            for charger in channels.chargers() {
                unlink(&mut self.partitions[usize::from(charger.partition)], charger.slot, connection);
            }
        }
        links.sort_unstable_by_key(|link| (link.connection.0, link.channel.0));
        links
    }

    /// Any other input. When the journal is busy the input is returned, and nothing has changed.
    ///
    /// # Errors
    /// The input, when the journal has no room; nothing has changed.
    pub fn take(&mut self, input: Input, now: Now) -> Result<(), Input> {
        let local = self.local(input.partition(self.node_config.partitions));
        let Ok((partition, mut delivery)) = self.begin(local, now) else { return Err(input) };
        handlers::take(&mut delivery, partition, input);
        Ok(())
    }

    /// Runs the timers that are due. Those that find the journal busy run at the next tick.
    pub fn tick(&mut self, now: Now) {
        let mut fired = std::mem::take(&mut self.fired);
        self.timers.advance(now.mono, &mut fired);
        for wake in fired.drain(..) {
            let (local, due) = match wake.whom {
                TimerTarget::Session(local, slot) => {
                    (local, self.partitions[usize::from(local)].sessions.disarm(slot, wake.at))
                }
                TimerTarget::Account(local, slot) => {
                    (local, self.partitions[usize::from(local)].accounts.disarm(slot, wake.at))
                }
            };
            match due {
                None => {}
                #[cfg(test)]
                Some(_) if planted::loses_timer() => {}
                Some(deadline) if deadline > now.mono => self.rearm(wake.whom, deadline),
                Some(deadline) => match self.begin(local, now) {
                    Ok((partition, mut delivery)) => handlers::wake(&mut delivery, partition, wake.whom),
                    Err(_) => self.rearm(wake.whom, deadline.max(now.mono)),
                },
            }
        }
        self.fired = fired;
        self.ask_for_numbers(now);
        self.forget_overdue_batches(now);
        self.note_absent(now);
        for local in 0..self.partitions.len() {
            let due = self.partitions[local].top_ups.due(now.mono);
            let local = u16::try_from(local).expect("partitions are counted by a u16");
            for id in due {
                if let Ok((partition, mut delivery)) = self.begin(local, now) {
                    top_ups::command(&mut delivery, partition, id, payment::Command::Tick);
                }
            }
        }
    }

    /// Discards settlement batches that did not become complete in time. Called once a minute.
    fn forget_overdue_batches(&mut self, now: Now) {
        if now.mono < self.overdue_after {
            return;
        }
        self.overdue_after = now.mono.after(TimeSpan::from_secs(60));
        for local in 0..self.partitions.len() {
            let local = u16::try_from(local).expect("partitions are counted by a u16");
            while self.partitions[usize::from(local)].settlements.overdue(now.wall).is_some() {
                let Ok((partition, mut delivery)) = self.begin(local, now) else { return };
                settlements::forget_overdue(&mut delivery, partition);
            }
        }
    }

    /// Repeats requests for numbers without an answer. Those that find the journal busy are repeated at a later tick.
    fn ask_for_numbers(&mut self, now: Now) {
        for local in 0..self.partitions.len() {
            if self.partitions[local].requests.is_empty() {
                continue;
            }
            let local = u16::try_from(local).expect("partitions are counted by a u16");
            if let Ok((partition, mut delivery)) = self.begin(local, now) {
                documents::ask_for_numbers(&mut delivery, partition);
            }
        }
    }

    /// Records for the writer, when there are any and it can take them.
    pub fn take_batch(&mut self) -> Option<Batch> {
        self.appender.take_batch()
    }

    /// Takes a batch back from the writer: its records are durable.
    pub fn committed(&mut self, batch: Batch) -> Position {
        self.appender.committed(batch)
    }

    /// The next output whose records are durable.
    #[inline]
    pub fn release(&mut self) -> Option<Output> {
        let durable = self.appender.durable();
        #[cfg(test)]
        let durable = if planted::has(Bug::ReleaseBeforeSync) { self.appender.appended() } else { durable };
        self.gate.release(durable).next()
    }

    /// A session, if it is live.
    pub fn session(&self, id: SessionId) -> Option<&HostedSession> {
        let partition = self.partitions.get(usize::from(id.partition().0 / self.node_config.shards))?;
        partition.sessions.get(partition.find_session(id)?)
    }

    /// A live session that is still as it was.
    pub fn unchanged(&self, session: &Session) -> Option<&HostedSession> {
        self.session(session.id).filter(|hosted| hosted.state() == session)
    }

    /// A full page of the books of one of its partitions.
    pub fn page(&self, partition: PartitionId, number: u64) -> Option<&Page> {
        let partition = self.partitions.get(usize::from(partition.0 / self.node_config.shards))?;
        partition.books.pages.full(number)
    }

    /// The current connection of a charger.
    #[inline]
    pub fn link(&self, charger: ChargerRef) -> Option<Link> {
        self.partitions[usize::from(charger.partition)].chargers.get(charger.slot)?.link()
    }

    /// Number of connected chargers.
    pub fn chargers_online(&self) -> usize {
        self.channels.values().map(Channels::len).sum()
    }

    /// Whether this channel has a charger of this shard.
    pub fn knows(&self, link: Link) -> bool {
        self.charger_at(link).is_some()
    }

    /// After replay: repeats requests that were in flight. Those that find the journal busy are repeated at their own
    /// deadline.
    pub fn resume(&mut self, now: Now) {
        self.miss_peers(now);
        for local in 0..self.partitions.len() {
            let cells: Vec<Slot> = self.partitions[local].sessions.iter().map(|(slot, _)| slot).collect();
            let local = u16::try_from(local).expect("partitions are counted by a u16");
            if let Ok((partition, mut delivery)) = self.begin(local, now) {
                delivery.archive_pages(partition);
            }
            // Each has a permit of its own; one that finds the journal busy is repeated at its own deadline.
            let top_ups: Vec<PaymentId> = self.partitions[usize::from(local)].top_ups.known.keys().copied().collect();
            for id in top_ups {
                match self.begin(local, now) {
                    Ok((partition, mut delivery)) => top_ups::resume(&mut delivery, partition, id),
                    Err(_) => self.partitions[usize::from(local)].top_ups.wake_at(id, now.mono),
                }
            }
            for cell in cells {
                match self.begin(local, now) {
                    Ok((partition, mut delivery)) => sessions::resume(&mut delivery, partition, cell),
                    Err(_) => self.rearm(TimerTarget::Session(local, cell), now.mono),
                }
            }
        }
        self.ask_for_numbers(now);
    }

    /// Whether everything that was decided is durable and has left.
    pub fn is_idle(&self) -> bool {
        self.appender.is_idle() && self.gate.is_empty()
    }

    /// Whether the next input finds room in the journal.
    ///
    /// # Errors
    /// [`Busy`]: the journal has no room.
    #[inline]
    pub fn has_room(&mut self) -> Result<(), Busy> {
        self.appender.reserve_with(&self.gate).map(drop)
    }

    /// Reserves room in the journal and behind the gate for whatever one input may cause.
    #[inline]
    pub(super) fn begin(&mut self, local: u16, now: Now) -> Result<(&mut Partition, Delivery<'_>), Busy> {
        self.begin_for(local, limits::PERMIT_EFFECTS_MAX, now)
    }

    /// Reserves room for an input that may cause this number of effects.
    #[inline]
    fn begin_for(&mut self, local: u16, effects: usize, now: Now) -> Result<(&mut Partition, Delivery<'_>), Busy> {
        let permit = self.appender.reserve_for(&self.gate, effects)?;
        let partition = &mut self.partitions[usize::from(local)];
        let delivery = Delivery {
            permit,
            gate: &mut self.gate,
            timers: &mut self.timers,
            node_config: &self.node_config,
            local,
            now,
        };
        Ok((partition, delivery))
    }

    fn rearm(&mut self, whom: TimerTarget, deadline: Mono) {
        let armed = match whom {
            TimerTarget::Session(local, slot) => self.partitions[usize::from(local)].sessions.arm(slot, deadline),
            TimerTarget::Account(local, slot) => self.partitions[usize::from(local)].accounts.arm(slot, deadline),
        };
        if armed {
            self.timers.insert(whom, deadline);
        }
    }

    /// The index of a partition in this shard.
    fn local(&self, partition: PartitionId) -> u16 {
        debug_assert_eq!(Shard::of(partition, self.node_config.shards), self.index, "an input for another shard");
        partition.0 / self.node_config.shards
    }
}

/// A charger has no connection any more, if it was this one.
fn unlink(partition: &mut Partition, slot: Slot, connection: ConnectionId) {
    if let Some(hosted) = partition.chargers.get_mut(slot)
        && hosted.link().is_some_and(|link| link.connection == connection)
    {
        hosted.set_link(None);
        partition.missing.chargers.gone(slot);
    }
}

/// Effects that a Hello may cause: its answer, what the end of an omitted session or a reminder makes for each connector,
/// and a receipt for each session that it names.
fn hello_effects(hello: &ChargerHello) -> usize {
    limits::PERMIT_EFFECTS_MAX + limits::CONNECTORS_PER_CHARGER * EFFECTS_PER_SESSION + hello.sessions.len()
}

/// Effects of the end of one session: an operation for each hold, the receipt, the archive, an order, an alarm.
const EFFECTS_PER_SESSION: usize = 16;

const _: () = assert!(
    limits::PERMIT_EFFECTS_MAX + limits::CONNECTORS_PER_CHARGER * EFFECTS_PER_SESSION + limits::SESSIONS_PER_HELLO
        <= limits::GATE_EFFECTS_MAX
);
