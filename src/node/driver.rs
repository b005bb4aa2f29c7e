//! The driver of a shard: the whole course of a shard's work, without a runtime.
//!
//! The actix actor around it ([`crate::actors::shard_actor`]) feeds it from mailboxes and timers; the simulated world
//! ([`crate::sim::world`]) feeds it from an event queue. Both only carry values in and out, so what is simulated is what runs.
//!
//! | in | out, by [`Ports`] |
//! |---|---|
//! | a [`ReadBatch`] of a connection, an [`Input`] | records for the log |
//! | a batch of records that is durable | messages to chargers, each behind its records |
//! | a tick of the clock, the start, the end of a connection | operations, acknowledgements, inputs for other shards |
//! | a wish for a snapshot | sessions and pages for the archive, snapshots, "read on" |
//!
//! Each call takes the clocks, and is one turn, in this order:
//!
//! 1. older work first: what found the journal busy is taken again;
//! 2. reserve: a message is taken only when the journal has room for whatever it may cause. Otherwise it waits here, and its
//!    connection reads no further. While the log is full no charger's message is taken;
//! 3. decide, apply, append, arm: by [`Shard`];
//! 4. append: the records that have gathered go to the log;
//! 5. release: outputs whose records are durable leave, in the order of the log; acknowledgements of one session in a row are
//!    one message;
//! 6. what came out of the shard for itself is taken in at once.

use super::archiver::ToArchive;
use super::charger::{ConnectionId, Link};
use super::input::Input;
use super::output::Output;
#[cfg(test)]
use super::planted::{self, Bug};
use super::ports::Ports;
use super::query::{self, Query};
use super::reference::ChargerRef;
use super::reply::{Reply, ReplyTo};
use super::shard::{PREFETCH_DEPTH, Shard};
use super::snapshot::Sweep;
use crate::journal::{Batch, Busy, Position, Sequence};
use crate::limits;
use crate::message::{Code, FromCharger, MeterAck, Received, ToCharger};
use crate::metrics::{MAILBOX_REJECTED, SESSIONS_DOUBTFUL, STARTS_REFUSED};
use crate::session::Session;
use crate::units::{Cost, Now, PartitionId, SessionId, SessionKey};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How often [`Driver::tick`] is to be called.
pub const TICK: Duration = Duration::from_millis(50);

/// A shard that is so far behind begins no new session. What has begun goes on, however late: readings wait, and money is
/// asked for before them.
const START_WAIT_MAX: Duration = Duration::from_millis(limits::START_WAIT_MAX.ms().unsigned_abs());

/// How long a shard does other things between two pieces of a snapshot.
const SWEEP_PAUSE: Duration = Duration::from_millis(1);

/// After each of so much time a shard writes a piece of a snapshot that is under way: a quarter of what it can.
const SWEEP_EVERY: Duration = Duration::from_micros(800);

/// So many pieces are written at once, however long there was something else to do: some 10 ms.
const SWEEP_PIECES_MAX: usize = 50;

/// The messages of one read of a connection's socket, as far as they are for one shard. The connection reads no further
/// until the shard has taken them: so there is at most one batch for each connection, whatever a peer sends.
pub struct ReadBatch {
    /// The connection.
    pub connection: ConnectionId,
    /// When they came.
    pub arrived: Instant,
    /// Its messages that are not taken yet, in order.
    pub messages: std::vec::IntoIter<Received<FromCharger>>,
}

/// A shard with what waits for its journal, and what waits to leave it.
pub struct Driver {
    shard: Shard,
    /// Batches that found the journal busy or the log full. At most one for each connection.
    batches: VecDeque<ReadBatch>,
    /// Other inputs that found the journal busy; bounded by what processors and accounts may have in flight.
    inputs: VecDeque<Input>,
    /// Batches whose records are not durable yet: up to where, since when, and how many readings.
    under_way: VecDeque<(Position, Instant, u64)>,
    /// An acknowledgement that a later one of the same session may still replace.
    ack: Option<HeldAck>,
    /// Inputs of this shard for itself.
    own: VecDeque<Input>,
    /// Inputs for shards that had no room; at most [`limits::UNDELIVERED_MAX`].
    undelivered: VecDeque<Input>,
    /// Closed sessions for which the archiver had no room. They are live: no more than there are cells.
    unarchived: VecDeque<SessionId>,
    /// The same of pages of the books.
    unarchived_pages: VecDeque<(PartitionId, u64)>,
    /// Receipts of archived sessions that chargers are to get, while the archiver has no room.
    unfetched: VecDeque<(ChargerRef, SessionKey, SessionId)>,
    /// Partitions of which a snapshot is being taken; at most [`limits::SNAPSHOTS_UNDER_WAY`].
    snapshots: Vec<PartitionId>,
    /// When a piece of them was last written.
    swept: Option<Instant>,
    /// Answers that wait until what they tell is durable; at most [`limits::DURABLE_ANSWERS`].
    answers: VecDeque<(Position, ReplyTo, query::Answer)>,
    /// Starts that were refused because the shard is behind.
    refused: ::metrics::Counter,
    /// What was in flight when its last process ended was asked again.
    resumed: bool,
}

struct HeldAck {
    charger: ChargerRef,
    session: SessionKey,
    up_to: u32,
    running: Cost,
}

/// What goes into a driver.
impl Driver {
    /// A driver of a shard that is rebuilt from its records.
    pub fn new(shard: Shard) -> Driver {
        // Alerts on their rise need the zero that they rise from.
        SESSIONS_DOUBTFUL.counter(&[]).increment(0);
        for code in Code::ALL.iter().filter(|code| (300..400).contains(&code.number())) {
            STARTS_REFUSED.counter(&[&code.number().to_string()]).increment(0);
        }
        Driver {
            shard,
            batches: VecDeque::new(),
            inputs: VecDeque::new(),
            under_way: VecDeque::new(),
            ack: None,
            own: VecDeque::new(),
            undelivered: VecDeque::new(),
            unarchived: VecDeque::new(),
            unarchived_pages: VecDeque::new(),
            unfetched: VecDeque::new(),
            snapshots: Vec::new(),
            swept: None,
            answers: VecDeque::new(),
            refused: MAILBOX_REJECTED.counter(&["shard"]),
            resumed: false,
        }
    }

    /// The shard, to be looked at.
    pub fn shard(&self) -> &Shard {
        &self.shard
    }

    /// How many batches and inputs wait for the journal.
    pub fn waiting(&self) -> usize {
        self.batches.len() + self.inputs.len()
    }

    /// Whether everything that was decided is durable and has left, and nothing waits.
    pub fn is_idle(&self) -> bool {
        self.waiting() == 0
            && self.shard.is_idle()
            && self.undelivered.is_empty()
            && self.unarchived.is_empty()
            && self.unarchived_pages.is_empty()
            && self.unfetched.is_empty()
    }

    /// The shard is opened. If it was rebuilt from its records, whatever was in flight is asked again; one that was closed in
    /// this process has lost nothing.
    pub fn resume<P: Ports>(&mut self, now: Now, ports: &mut P) {
        if !std::mem::replace(&mut self.resumed, true) {
            self.shard.resume(now);
        }
        self.pump(now, ports);
    }

    /// A connection has read. When its batch is taken, now or later, it may read on ([`Ports::read_on`]).
    pub fn read<P: Ports>(&mut self, mut batch: ReadBatch, now: Now, ports: &mut P) {
        if !self.batches.is_empty() || self.take_batch(&mut batch, now, ports).is_err() {
            self.batches.push_back(batch);
        }
        self.pump(now, ports);
        // Behind many batches the next call of `sweep` may be long in coming.
        self.sweep_between(0, ports);
    }

    /// Anything else for the shard happened.
    pub fn input<P: Ports>(&mut self, input: Input, now: Now, ports: &mut P) {
        self.take(input, now);
        self.pump(now, ports);
    }

    /// An operator asks: the answer is what the shard knows by now, durable or not.
    pub fn ask<P: Ports>(&self, query: &Query, to: ReplyTo, ports: &mut P) {
        ports.reply(to, Reply::Answer(query.answer(&self.shard)));
    }

    /// An observer asks: the answer is what the shard knows by now, and it is given when all of that is durable. One more than
    /// may wait gets no answer.
    pub fn ask_durable<P: Ports>(&mut self, query: &Query, to: ReplyTo, ports: &mut P) {
        let position = self.shard.appended();
        if position <= self.shard.durable() {
            self.ask(query, to, ports);
        } else if self.answers.len() < limits::DURABLE_ANSWERS {
            self.answers.push_back((position, to, query.answer(&self.shard)));
        }
    }

    /// A batch of records is durable.
    pub fn committed<P: Ports>(&mut self, batch: Batch, now: Now, ports: &mut P) {
        let durable = self.shard.committed(batch);
        if self.under_way.front().is_some_and(|(last, ..)| *last <= durable) {
            let instant = ports.instant();
            while let Some((_, arrived, readings)) = self.under_way.pop_front_if(|(last, ..)| *last <= durable) {
                ports.durable(readings, instant.saturating_duration_since(arrived));
            }
        }
        while let Some((_, to, answer)) = self.answers.pop_front_if(|(position, ..)| *position <= durable) {
            ports.reply(to, Reply::Answer(answer));
        }
        self.catch_up(now, ports);
        self.pump(now, ports);
        // A snapshot may have waited for these records.
        self.sweep(1, ports);
    }

    /// Time has passed; every [`TICK`].
    pub fn tick<P: Ports>(&mut self, now: Now, ports: &mut P) {
        self.catch_up(now, ports);
        self.shard.tick(now);
        self.retry(ports);
        self.pump(now, ports);
    }

    /// The process is to end: what waits is taken, and what may leave leaves. Returns [`Driver::is_idle`]; ask again until it is.
    pub fn drain<P: Ports>(&mut self, now: Now, ports: &mut P) -> bool {
        self.catch_up(now, ports);
        self.pump(now, ports);
        self.is_idle()
    }

    /// The shard is to be closed: what waits for the log is taken, and what may leave leaves. Returns whether everything that
    /// was decided is durable and has left; call it again until it is. What another shard or the archive has no room for stays
    /// with the shard.
    pub fn settle<P: Ports>(&mut self, now: Now, ports: &mut P) -> bool {
        self.catch_up(now, ports);
        self.pump(now, ports);
        self.is_settled()
    }

    /// Whether nothing waits for the log, and everything that was decided is durable and has left.
    pub fn is_settled(&self) -> bool {
        self.waiting() == 0 && self.shard.is_idle()
    }

    /// Takes leave of a settled shard's surroundings: its channels are closed with this code, and snapshots under way are given
    /// up. What is left is its state, which can be opened again.
    pub fn close<P: Ports>(&mut self, code: Code, ports: &mut P) {
        self.under_way.clear();
        self.answers.clear();
        self.swept = None;
        for partition in std::mem::take(&mut self.snapshots) {
            self.shard.give_up_snapshot(partition);
            ports.snapshot(partition, None);
        }
        for link in self.shard.unbind_all() {
            ports.close(link, code);
        }
    }

    /// A connection is gone, and what it has read and was not taken with it.
    pub fn disconnected(&mut self, connection: ConnectionId) {
        self.batches.retain(|batch| batch.connection != connection);
        self.shard.disconnected(connection);
    }

    /// Begins a snapshot of a partition, beside everything else; not if its last record is `unless`. Either way it is answered
    /// by [`Ports::snapshot`]. Returns whether one has begun: then [`Driver::go_on`] is to be called.
    pub fn begin_snapshot<P: Ports>(
        &mut self,
        partition: PartitionId,
        unless: Option<Sequence>,
        ports: &mut P,
    ) -> bool {
        if unless == Some(self.shard.last(partition)) {
            ports.snapshot(partition, None);
            return false;
        }
        self.shard.begin_snapshot(partition);
        if self.snapshots.is_empty() {
            self.swept = Some(ports.instant());
        }
        self.snapshots.push(partition);
        true
    }

    /// Goes on with the snapshots that are being taken. Returns after how long to call again; none when all cells are written.
    pub fn go_on<P: Ports>(&mut self, ports: &mut P) -> Option<Duration> {
        let pause = if ports.log().is_strained() { Duration::ZERO } else { SWEEP_PAUSE };
        self.sweep_between(1, ports).then_some(pause)
    }
}

/// What waits for the journal.
impl Driver {
    /// Takes an input, or lets it wait behind those that found the journal busy before.
    fn take(&mut self, input: Input, now: Now) {
        if !self.inputs.is_empty() {
            self.inputs.push_back(input);
        } else if let Err(input) = self.shard.take(input, now) {
            self.inputs.push_back(input);
        }
    }

    /// Takes what waited for the journal, as far as it has room again, in the order in which it came.
    fn catch_up<P: Ports>(&mut self, now: Now, ports: &mut P) {
        while let Some(input) = self.inputs.pop_front() {
            if let Err(input) = self.shard.take(input, now) {
                self.inputs.push_front(input);
                return;
            }
        }
        while let Some(mut batch) = self.batches.pop_front() {
            if self.take_batch(&mut batch, now, ports).is_err() {
                self.batches.push_front(batch);
                return;
            }
        }
    }

    /// Takes the messages of a batch. Busy: the rest waits, and its connection reads no further.
    fn take_batch<P: Ports>(&mut self, batch: &mut ReadBatch, now: Now, ports: &mut P) -> Result<(), Busy> {
        if ports.log().is_full() {
            return Err(Busy::Log);
        }
        let (mut readings, mut speakers, mut next) = (0, [None; PREFETCH_DEPTH], PREFETCH_DEPTH);
        loop {
            if next == PREFETCH_DEPTH {
                speakers = self.shard.prefetch(batch.connection, batch.messages.as_slice());
                next = 0;
            }
            // Before a message is taken, so that none is lost or copied.
            self.shard.has_room()?;
            let Some(Received { channel, message }) = batch.messages.next() else { break };
            let speaker = speakers[next];
            next += 1;
            let link = Link { connection: batch.connection, channel };
            match message {
                FromCharger::Hello(hello) if !self.shard.has_room_for(&hello.charger) => {
                    let most = limits::CHARGERS_PER_PARTITION;
                    tracing::warn!(charger = %hello.charger, most, "a charger is sent away: its partition has as many as it may have");
                    ports.close(link, Code::Overloaded);
                }
                FromCharger::Hello(hello) => {
                    if let Some(replaced) = self.shard.hello(link, &hello, now)? {
                        ports.close(replaced, Code::Replaced);
                    }
                    next = PREFETCH_DEPTH;
                }
                message => {
                    if let FromCharger::Start(start) = &message
                        && ports.instant().saturating_duration_since(batch.arrived) > START_WAIT_MAX
                        && self.shard.is_new(link, start.session)
                    {
                        self.refuse_start(link, start.session, ports);
                        continue;
                    }
                    readings += u64::from(matches!(message, FromCharger::Reading { .. }));
                    match speaker {
                        Some(charger) => self.shard.on_known_charger_message(charger, message, now)?,
                        // A newer connection speaks for this charger: what still comes on the older one is dropped.
                        None => ports.close(link, Code::Replaced),
                    }
                }
            }
        }
        // What only repeats has nothing to wait for.
        match self.shard.appended() {
            _ if readings == 0 => {}
            last if last <= self.shard.durable() => {
                ports.durable(readings, ports.instant().saturating_duration_since(batch.arrived));
            }
            last => self.under_way.push_back((last, batch.arrived, readings)),
        }
        ports.read_on(batch.connection);
        Ok(())
    }

    /// Refuses a start before anything is decided: nothing of it is known, so nothing has to be durable first.
    #[cold]
    fn refuse_start<P: Ports>(&self, link: Link, session: SessionKey, ports: &mut P) {
        let code = Code::Busy;
        self.refused.increment(1);
        STARTS_REFUSED.counter(&[&code.number().to_string()]).increment(1);
        ports.send(link, &ToCharger::StartRejected { session, code, text: code.meaning().into() });
    }
}

/// What leaves a driver.
impl Driver {
    /// Hands over the records that have gathered, and whatever is durable, until nothing comes back.
    fn pump<P: Ports>(&mut self, now: Now, ports: &mut P) {
        loop {
            if let Some(batch) = self.shard.take_batch()
                && !ports.append(batch)
            {
                // The process is at its end: nothing becomes durable any more, so nothing leaves any more.
                return;
            }
            self.release(ports);
            if self.own.is_empty() {
                return;
            }
            while let Some(input) = self.own.pop_front() {
                self.take(input, now);
            }
        }
    }

    /// Lets everything leave whose records are durable.
    fn release<P: Ports>(&mut self, ports: &mut P) {
        let mut prefetched = 0;
        loop {
            if prefetched == 0 {
                self.shard.prefetch_outputs();
                prefetched = PREFETCH_DEPTH;
            }
            prefetched -= 1;
            let Some(output) = self.shard.release() else { break };
            ports.released(&self.shard, &output);
            self.carry(output, ports);
        }
        self.flush(ports);
    }

    /// Carries one output to where it belongs.
    fn carry<P: Ports>(&mut self, output: Output, ports: &mut P) {
        match output {
            Output::MeterAck { charger, session, up_to, running } => {
                let ack = HeldAck { charger, session, up_to, running };
                // Acknowledgements are cumulative: of several in a row for one session the last one is enough.
                let same = self.ack.as_ref().is_some_and(|ack| ack.charger == charger && ack.session == session);
                if !same {
                    self.flush(ports);
                }
                self.ack = Some(ack);
            }
            Output::Charger(charger, message) => {
                self.flush(ports);
                self.notify(charger, &message, ports);
            }
            Output::Operation(operation) => {
                let (id, attempt) = (operation.id, operation.attempt);
                if !ports.dispatch(*operation) {
                    self.own.push_back(Input::NotSent(id, attempt));
                }
            }
            Output::Account(ask) => {
                let (account, operation) = *ask;
                self.post(Input::AskAccount(account, Box::new(operation)), ports);
            }
            Output::AccountAnswer(answer) => {
                let (processor, answer) = *answer;
                self.post(Input::Answer(processor, Box::new(answer)), ports);
            }
            Output::AskFunds(query) => self.post(Input::AskFunds(query), ports),
            Output::Notify(notify) => {
                let (home, charger, message) = *notify;
                self.post(Input::Notify(home, charger, Box::new(message)), ports);
            }
            Output::AskNumber(request) => self.post(Input::AskNumber(request), ports),
            Output::Numbered(numbered) => self.post(Input::Numbered(numbered), ports),
            Output::Callback { processor, callback, refused } => ports.acknowledge(&processor, callback, refused),
            Output::Archive(session) => self.archive(session, ports),
            Output::ReceiptAgain(charger, key, session) => self.fetch_receipt(charger, key, session, ports),
            // No room: the processor repeats unacknowledged messages.
            Output::LoadArchived(session, waiting_input) if ports.has_archive() => {
                ports.archive(ToArchive::LoadArchived { session, waiting_input });
            }
            Output::LoadArchived(_, waiting_input) => self.own.push_back(Input::NotArchived(waiting_input)),
            Output::ArchivePage(partition, number) => self.archive_page(partition, number, ports),
            Output::BatchDue(_) => ports.batch_whole(),
            Output::SettlementAnswer(to, refused) => ports.reply(to, Reply::Settlement(refused)),
            Output::Ordered(ordered) => {
                let (to, ordered) = *ordered;
                ports.reply(to, Reply::Ordered(ordered));
            }
        }
    }

    /// Sends the acknowledgement that was held back.
    fn flush<P: Ports>(&mut self, ports: &mut P) {
        if let Some(HeldAck { charger, session, up_to, running }) = self.ack.take() {
            let ack = MeterAck { session, up_to, cost: Some(running) };
            self.notify(charger, &ToCharger::MeterAck(ack), ports);
        }
    }

    /// Sends a message to a charger, on whatever connection speaks for it now. With none it is lost: the charger asks
    /// again when it is back.
    fn notify<P: Ports>(&self, charger: ChargerRef, message: &ToCharger, ports: &mut P) {
        if let Some(link) = self.shard.link(charger) {
            ports.send(link, message);
        }
    }

    /// Hands an input to the shard that it is for. What finds no room waits; what finds none here either is asked again,
    /// under the same id, by the payment machine or the partition that waits for the answer.
    fn post<P: Ports>(&mut self, input: Input, ports: &mut P) {
        if self.shard.is_for(&input) {
            self.own.push_back(input);
        } else if let Err(input) = ports.post(input)
            && self.undelivered.len() < limits::UNDELIVERED_MAX
        {
            self.undelivered.push_back(input);
        }
    }

    /// Hands a closed session to the archiver, as it is durable. Without an archive it stays where it is.
    fn archive<P: Ports>(&mut self, session: Box<Session>, ports: &mut P) {
        let Some(hosted) = self.shard.unchanged(&session).filter(|_| ports.has_archive()) else { return };
        let (id, tariff) = (session.id, hosted.tariff().clone());
        if !ports.archive(ToArchive::Session { session, tariff }) {
            self.unarchived.push_back(id);
        }
    }

    /// Has the archiver send a charger a receipt again. A charger that stays connected does not ask twice, so the request waits
    /// for room; where too many wait, the charger gets its receipt when it connects the next time.
    fn fetch_receipt<P: Ports>(&mut self, charger: ChargerRef, key: SessionKey, session: SessionId, ports: &mut P) {
        let fetched = !ports.has_archive() || ports.archive(ToArchive::Receipt { charger, key, session });
        if !fetched && self.unfetched.len() < limits::RECEIPTS_UNFETCHED {
            self.unfetched.push_back((charger, key, session));
        }
    }

    /// Hands a full page of the books to the archiver, which acknowledges it when it is durable there. Without an archive
    /// nothing could read it later: it is let go of.
    fn archive_page<P: Ports>(&mut self, partition: PartitionId, number: u64, ports: &mut P) {
        let keeps = ports.has_archive();
        #[cfg(test)]
        let keeps = keeps && !planted::has(Bug::PageNotArchived);
        if !keeps {
            return self.own.push_back(Input::PageArchived(partition, number));
        }
        let Some(page) = self.shard.page(partition, number) else { return };
        if !ports.archive(ToArchive::Page { partition, page: Box::new(page.clone()) }) {
            self.unarchived_pages.push_back((partition, number));
        }
    }

    /// Tries again what found no room.
    fn retry<P: Ports>(&mut self, ports: &mut P) {
        for _ in 0..self.unarchived.len().min(limits::ARCHIVE_MAILBOX) {
            // As an input, since what changed meanwhile may not be durable yet.
            if let Some(session) = self.unarchived.pop_front() {
                self.own.push_back(Input::ArchiveAgain(session));
            }
        }
        for _ in 0..self.unarchived_pages.len() {
            if let Some((partition, number)) = self.unarchived_pages.pop_front() {
                self.archive_page(partition, number, ports);
            }
        }
        for _ in 0..self.unfetched.len().min(limits::ARCHIVE_MAILBOX) {
            if let Some((charger, key, session)) = self.unfetched.pop_front() {
                self.fetch_receipt(charger, key, session, ports);
            }
        }
        for _ in 0..self.undelivered.len() {
            if let Some(input) = self.undelivered.pop_front() {
                self.post(input, ports);
            }
        }
    }
}

/// Snapshots, a few cells at a time.
impl Driver {
    /// Writes up to `cells` more cells of the first snapshot that is not written, and hands over those that may be kept.
    /// Returns whether there are more cells.
    fn sweep<P: Ports>(&mut self, cells: usize, ports: &mut P) -> bool {
        let mut going = false;
        let shard = &mut self.shard;
        self.snapshots.retain(|partition| match shard.sweep(*partition, if going { 0 } else { cells }) {
            Sweep::Going => {
                going = true;
                true
            }
            // Looked at again after the next commit.
            Sweep::Waiting => true,
            Sweep::Done(taken) => {
                ports.snapshot(*partition, Some(taken));
                false
            }
        });
        going
    }

    /// Writes as much of the snapshots as a shard does that has other things to do as well: a piece in [`SWEEP_EVERY`], and those
    /// that it did not come to; at least this many. Returns whether there is more.
    fn sweep_between<P: Ports>(&mut self, pieces_min: usize, ports: &mut P) -> bool {
        let Some(swept) = self.swept.filter(|_| !self.snapshots.is_empty()) else { return false };
        let instant = ports.instant();
        let pieces = instant.saturating_duration_since(swept).as_micros() / SWEEP_EVERY.as_micros();
        let pieces =
            usize::try_from(pieces).map_or(SWEEP_PIECES_MAX, |pieces| pieces.clamp(pieces_min, SWEEP_PIECES_MAX));
        if pieces == 0 {
            return true;
        }
        let going = self.sweep(pieces * limits::SNAPSHOT_CELLS_AT_ONCE, ports);
        self.swept = Some(ports.instant());
        going
    }
}
