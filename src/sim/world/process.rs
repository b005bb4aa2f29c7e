//! The gate of a simulated world: the same shards, log, links and processors' actors as a real one, run by hand.
//!
//! What threads and mailboxes do in a real gate is done here by method calls, in an order that the agenda decides. The
//! process dies by being dropped; what it had on disk is all that the next one has.

use super::desk::{Desk, Outlet};
use super::estate::Estate;
use super::network::Peer;
use super::witness::Witness;
use crate::accounting::dossier::{self, Dossier};
use crate::actors::archivist::{self, Unread};
use crate::journal::{Batch, Busy, Damage, Failure, Log, Store, recover};
use crate::message::{
    Channel, Code, FromCharger, FromProcessor, GoAway, MeterAck, PeerIdentity, ProcessorHelloAck, ReceiptNotice,
    Received, Subject, Terms, ToCharger, ToProcessor,
};
use crate::node::house::House;
use crate::node::output::Output;
use crate::node::processor::{Callback, Callbacks, Connected, ProcessorActor};
use crate::node::replay::Rebuilding;
use crate::node::shard::{Input, Shard};
use crate::node::snapshot::Sweep;
use crate::node::{ConnectionId, Link};
use crate::payment::Credential;
use crate::session::{Session, Stage};
use crate::tariff::Tariff;
use crate::units::{Fingerprint, Now, PartitionId, ProcessorId, SessionId, SessionKey, TimeSpan};
use crate::wire::{ChargerLink, ProcessorLink};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// A gate that runs.
pub(super) struct Process {
    /// The life that this is, counted from 1.
    pub life: u32,
    /// Snapshots that were damaged when it began, and for which older ones stood in.
    pub damaged: Vec<Damage>,
    shards: Vec<Shard>,
    log: Log,
    estate: Arc<Estate>,
    house: Arc<House>,
    desk: Arc<Desk>,
    processors: BTreeMap<ProcessorId, ProcessorActor>,
    /// Looked up by number only.
    ends: HashMap<u64, End>,
    /// Messages and inputs that found the journal busy.
    turns: VecDeque<(u64, Received<FromCharger>)>,
    inputs: VecDeque<Input>,
    /// With the writer, of which shard; and what of that is being committed.
    queued: Vec<(usize, Batch)>,
    writing: Vec<(usize, Batch)>,
    /// Closed sessions that the archivist has not written yet.
    gathered: Vec<(Box<Session>, Arc<Tariff>)>,
    /// Whether the archivist was called already.
    archivist_called: bool,
    /// Partitions of which a snapshot is being taken.
    snapping: Vec<PartitionId>,
    /// What leaves: bytes by connection, and connections that are closed after them.
    told: Vec<(u64, Vec<u8>)>,
    closed: Vec<u64>,
}

/// The gate's end of a connection.
enum End {
    Charger { link: Box<ChargerLink>, shards: BTreeMap<Channel, u16> },
    Processor { link: Box<ProcessorLink>, id: ProcessorId },
}

impl Process {
    /// Starts on what a store has. Nothing has been asked again yet: that is [`Process::resume`].
    pub fn start(estate: &Arc<Estate>, store: Box<dyn Store>, life: u32, now: Now) -> Result<Process, Failure> {
        let house = Arc::new(estate.house());
        let workers = (0..house.shards).map(|index| Rebuilding { shard: Shard::new(house.clone(), index, now), now });
        let (log, workers, recovered) = recover(store, &estate.snapshots, workers.collect(), &|_| ())?;
        let mut shards: Vec<Shard> = workers.into_iter().map(|rebuilt| rebuilt.shard).collect();
        for shard in &mut shards {
            shard.continue_after(log.sequences().clone());
        }
        let desk = Arc::new(Desk::new(house.clone()));
        Ok(Process {
            life,
            damaged: recovered.damaged,
            shards,
            log,
            estate: estate.clone(),
            house,
            desk,
            processors: BTreeMap::new(),
            ends: HashMap::new(),
            turns: VecDeque::new(),
            inputs: VecDeque::new(),
            queued: Vec::new(),
            writing: Vec::new(),
            gathered: Vec::new(),
            archivist_called: false,
            snapping: Vec::new(),
            told: Vec::new(),
            closed: Vec::new(),
        })
    }

    /// Asks again what was in flight.
    pub fn resume(&mut self, now: Now, witness: &mut Witness) {
        for shard in &mut self.shards {
            shard.resume(now);
        }
        self.pump(now, witness);
    }

    /// Its shards.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// The shard of a partition.
    pub fn shard_of(&self, partition: PartitionId) -> &Shard {
        &self.shards[usize::from(Shard::of(partition, self.house.shards))]
    }

    /// By what it recognises a credential.
    pub fn mark(&self, credential: &Credential) -> Fingerprint {
        self.house.mark(credential)
    }

    /// A live session.
    pub fn session(&self, id: SessionId) -> Option<&Session> {
        if id.partition().0 >= self.house.partitions {
            return None;
        }
        self.shard_of(id.partition()).session(id).map(|hosted| hosted.state())
    }

    /// Whether everything that was decided is durable and has left.
    pub fn is_idle(&self) -> bool {
        self.queued.is_empty()
            && self.writing.is_empty()
            && self.inputs.is_empty()
            && self.turns.is_empty()
            && self.gathered.is_empty()
            && self.shards.iter().all(Shard::is_idle)
    }

    /// Bytes to be sent and connections to be closed since the last call, in this order.
    pub fn take_told(&mut self) -> (Vec<(u64, Vec<u8>)>, Vec<u64>) {
        (std::mem::take(&mut self.told), std::mem::take(&mut self.closed))
    }

    /// A peer's connection, whose handshake is done.
    pub fn accept(&mut self, line: u64, peer: Peer, subject: Subject, now: Now) {
        let identity = PeerIdentity { trust_domain: "world".into(), subject };
        let end = match (peer, &identity.subject) {
            (Peer::Bank(..), Subject::Processor(id)) => {
                let id = id.clone();
                let link = ProcessorLink::new(&identity, None, now.mono).expect("a processor may be one");
                if !self.processors.contains_key(&id) {
                    let actor = ProcessorActor::new(id.clone(), self.desk.clone());
                    self.processors.insert(id.clone(), actor);
                }
                End::Processor { link: Box::new(link), id }
            }
            _ => {
                let link = ChargerLink::new(identity, Arc::new(|_, _| true), now.mono);
                End::Charger { link: Box::new(link.expect("a charger may be one")), shards: BTreeMap::new() }
            }
        };
        self.ends.insert(line, end);
    }

    /// Bytes came on a connection.
    pub fn receive(&mut self, line: u64, bytes: &[u8], now: Now, witness: &mut Witness) {
        self.desk.left().now = Some(now);
        match self.ends.get_mut(&line) {
            None => return,
            Some(End::Charger { link, .. }) => {
                let (mut messages, mut reply) = (Vec::new(), Vec::new());
                let outcome = link.receive(bytes, now, &mut messages, &mut reply);
                self.tell(line, reply);
                for received in messages {
                    self.turn(line, received, now);
                }
                if outcome.is_err() {
                    self.drop_line(line);
                }
            }
            Some(End::Processor { link, id }) => {
                let (mut messages, mut reply) = (Vec::new(), Vec::new());
                let id = id.clone();
                let outcome = link.receive(bytes, now, &mut messages, &mut reply);
                self.tell(line, reply);
                self.hear(line, &id, messages, now);
                if outcome.is_err() {
                    self.drop_line(line);
                }
            }
        }
        self.pump(now, witness);
    }

    /// A connection is gone.
    pub fn ended(&mut self, line: u64, now: Now, witness: &mut Witness) {
        self.desk.left().now = Some(now);
        self.forget(line);
        self.pump(now, witness);
    }

    /// Time passed.
    pub fn tick(&mut self, now: Now, witness: &mut Witness) {
        self.desk.left().now = Some(now);
        self.catch_up(now);
        for shard in &mut self.shards {
            shard.tick(now);
        }
        for actor in self.processors.values_mut() {
            actor.retry();
            actor.sweep();
        }
        self.pump(now, witness);
    }

    /// Links whose peers were silent for too long are closed.
    pub fn sweep(&mut self, lines: &[u64], now: Now, witness: &mut Witness) {
        self.desk.left().now = Some(now);
        for line in lines {
            let mut reply = Vec::new();
            let outcome = match self.ends.get_mut(line) {
                None => continue,
                Some(End::Charger { link, .. }) => match link.next_deadline() {
                    Some(at) if at <= now.mono => link.on_deadline(now.mono, &mut reply),
                    _ => Ok(()),
                },
                Some(End::Processor { link, .. }) => match link.next_deadline() {
                    Some(at) if at <= now.mono => link.on_deadline(now.mono, &mut reply),
                    _ => Ok(()),
                },
            };
            self.tell(*line, reply);
            if outcome.is_err() {
                self.drop_line(*line);
            }
        }
        self.pump(now, witness);
    }

    /// Connections, in the order of their numbers.
    pub fn lines(&self) -> Vec<u64> {
        let mut lines: Vec<u64> = self.ends.keys().copied().collect();
        lines.sort_unstable();
        lines
    }

    /// An input from outside of the network.
    pub fn order(&mut self, input: Input, now: Now, witness: &mut Witness) {
        self.inputs.push_back(input);
        self.pump(now, witness);
    }

    /// Hands what waits to the disk, if the disk is free: whether a commit is under way now that was not before.
    pub fn begin_commit(&mut self) -> bool {
        if !self.writing.is_empty() || self.queued.is_empty() {
            return false;
        }
        std::mem::swap(&mut self.writing, &mut self.queued);
        true
    }

    /// The disk does what was begun.
    pub fn commit(&mut self, now: Now, witness: &mut Witness) -> Result<(), Failure> {
        let (owners, batches): (Vec<usize>, Vec<Batch>) = self.writing.drain(..).unzip();
        self.log.commit(&batches)?;
        for (owner, batch) in owners.into_iter().zip(batches) {
            self.shards[owner].committed(batch);
        }
        self.catch_up(now);
        self.pump(now, witness);
        Ok(())
    }

    /// The archivist writes what has gathered.
    pub fn put_away(&mut self, now: Now, witness: &mut Witness) {
        self.archivist_called = false;
        for (session, tariff) in std::mem::take(&mut self.gathered) {
            let (id, at) = (session.id, dossier::settled_at(&session));
            let dossier = Dossier::new(*session, &tariff, &self.estate.billing);
            let bytes = dossier.to_bytes();
            witness.put_away(&dossier, &bytes);
            self.estate.archive.put(id, at, &bytes).expect("memory does not fail");
            self.inputs.push_back(Input::Archived(Box::new(dossier.session)));
        }
        self.pump(now, witness);
    }

    /// Whether the archivist has something to write, and was not called for it yet.
    pub fn archivist_wakes(&mut self) -> bool {
        !self.gathered.is_empty() && !std::mem::replace(&mut self.archivist_called, true)
    }

    /// Begins a snapshot of every partition, unless some are still being taken.
    pub fn begin_snapshots(&mut self) {
        if self.snapping.is_empty() {
            self.snapping = (0..self.house.partitions).map(PartitionId).collect();
            for partition in self.snapping.clone() {
                self.shards[usize::from(Shard::of(partition, self.house.shards))].begin_snapshot(partition);
            }
        }
    }

    /// Goes on with the snapshots, a few cells of each, and trims the log behind them when all are kept. Says whether they
    /// were, and how many generations were dropped.
    pub fn go_on_with_snapshots(&mut self, cells: usize) -> Result<Option<usize>, Failure> {
        if self.snapping.is_empty() {
            return Ok(None);
        }
        for partition in std::mem::take(&mut self.snapping) {
            let shard = usize::from(Shard::of(partition, self.house.shards));
            match self.shards[shard].sweep(partition, cells) {
                Sweep::Going | Sweep::Waiting => self.snapping.push(partition),
                Sweep::Done(taken) => {
                    self.estate.snapshots.write(taken.partition, taken.sequence, &taken.state())?;
                }
            }
        }
        match self.snapping.is_empty() {
            true => self.log.trim(&self.estate.snapshots.reach()).map(Some),
            false => Ok(None),
        }
    }
}

impl Process {
    /// A message from a charger, in its turn.
    fn turn(&mut self, line: u64, received: Received<FromCharger>, now: Now) {
        if !self.turns.is_empty() || self.take_turn(line, &received, now).is_err() {
            self.turns.push_back((line, received));
        }
    }

    fn take_turn(&mut self, line: u64, received: &Received<FromCharger>, now: Now) -> Result<(), Busy> {
        let Some(End::Charger { shards, .. }) = self.ends.get_mut(&line) else { return Ok(()) };
        let link = Link { connection: ConnectionId(line), channel: received.channel };
        if let FromCharger::Hello(hello) = &received.message {
            let partition = PartitionId::of(hello.charger.as_str(), self.house.partitions);
            let shard = Shard::of(partition, self.house.shards);
            shards.insert(received.channel, shard);
            if let Some(replaced) = self.shards[usize::from(shard)].hello(link, hello, now)? {
                self.dismiss(replaced);
            }
            return Ok(());
        }
        let Some(shard) = shards.get(&received.channel).copied().map(usize::from) else { return Ok(()) };
        if !self.shards[shard].knows(link) {
            self.dismiss(link);
            return Ok(());
        }
        self.shards[shard].charger_says(link, received.message.clone(), now).map(drop)
    }

    /// What waited for the journal, older first.
    fn catch_up(&mut self, now: Now) {
        while let Some((line, received)) = self.turns.pop_front() {
            if self.take_turn(line, &received, now).is_err() {
                self.turns.push_front((line, received));
                return;
            }
        }
    }

    /// What came from a processor.
    fn hear(&mut self, line: u64, id: &ProcessorId, messages: Vec<FromProcessor>, now: Now) {
        let mut callbacks = Vec::with_capacity(messages.len());
        for message in messages {
            match message {
                FromProcessor::Hello(hello) => {
                    let ack = ProcessorHelloAck { terms: Terms::PROCESSOR, server_time: now.wall };
                    self.desk.left().messages.push_back((line, ToProcessor::HelloAck(ack)));
                    let outlet = Arc::new(Outlet { line, desk: self.desk.clone() });
                    let capabilities = hello.capabilities;
                    let connected = Connected { connection: ConnectionId(line), outlet, capabilities };
                    if let Some(actor) = self.processors.get_mut(id) {
                        actor.connect(connected);
                    }
                }
                FromProcessor::Answer(answer) => callbacks.push(Callback::Answer(answer)),
                FromProcessor::Notification(notification) => callbacks.push(Callback::Notification(notification)),
                FromProcessor::Credit { operations } => callbacks.push(Callback::Credit(operations)),
                FromProcessor::Drain(_) => callbacks.push(Callback::Drain),
                FromProcessor::Settlement(part) => callbacks.push(Callback::Settlement(Box::new(part))),
                FromProcessor::GoAway(_) => {}
            }
        }
        if let Some(actor) = self.processors.get_mut(id) {
            actor.hear(Callbacks { connection: ConnectionId(line), callbacks });
        }
    }

    /// A channel, or all of a single charger's connection, is closed because a newer one speaks for its charger.
    fn dismiss(&mut self, link: Link) {
        let line = link.connection.0;
        let Some(End::Charger { link: end, .. }) = self.ends.get_mut(&line) else { return };
        let code = Code::Replaced;
        let farewell = GoAway { code, text: code.meaning().into(), reconnect_after: TimeSpan::ZERO };
        let mut bytes = Vec::new();
        let _ = end.send(link.channel, &ToCharger::GoAway(farewell), &mut bytes);
        let single = matches!(end.peer().subject, Subject::Charger(_));
        self.tell(line, bytes);
        if single || link.channel == Channel::ZERO {
            self.drop_line(line);
        }
    }

    /// The gate closes a connection, after what was said on it.
    fn drop_line(&mut self, line: u64) {
        self.forget(line);
        self.closed.push(line);
    }

    fn forget(&mut self, line: u64) {
        self.turns.retain(|(of, _)| *of != line);
        match self.ends.remove(&line) {
            Some(End::Charger { .. }) => {
                for shard in &mut self.shards {
                    shard.disconnected(ConnectionId(line));
                }
            }
            Some(End::Processor { id, .. }) => {
                if let Some(actor) = self.processors.get_mut(&id) {
                    actor.disconnect(ConnectionId(line));
                }
            }
            None => {}
        }
    }

    /// Lets everything happen that can happen at this moment: records to the writer, what is durable to the outside,
    /// and what comes back from there.
    fn pump(&mut self, now: Now, witness: &mut Witness) {
        self.desk.left().now = Some(now);
        loop {
            let mut moved = false;
            for index in 0..self.shards.len() {
                while let Some(batch) = self.shards[index].take_batch() {
                    self.queued.push((index, batch));
                }
                while let Some(output) = self.shards[index].release() {
                    moved = true;
                    self.carry(index, output, witness);
                }
            }
            moved |= self.flush(now);
            let left: VecDeque<Input> = std::mem::take(&mut self.desk.left().inputs);
            self.inputs.extend(left);
            let mut waiting = std::mem::take(&mut self.inputs);
            while let Some(input) = waiting.pop_front() {
                moved = true;
                if let Err(input) = self.take(input, now) {
                    // No room now: this one and all behind it wait for a commit.
                    waiting.push_front(input);
                    moved = false;
                    break;
                }
            }
            waiting.append(&mut self.inputs);
            self.inputs = waiting;
            if !moved {
                break;
            }
        }
        witness.look_at_books(&self.shards);
    }

    fn take(&mut self, input: Input, now: Now) -> Result<(), Input> {
        let partition = input.partition(self.house.partitions);
        if partition.0 >= self.house.partitions {
            return Ok(());
        }
        self.shards[usize::from(Shard::of(partition, self.house.shards))].take(input, now)
    }

    /// Sends what processors' actors left.
    fn flush(&mut self, now: Now) -> bool {
        let messages = std::mem::take(&mut self.desk.left().messages);
        let any = !messages.is_empty();
        for (line, message) in messages {
            let Some(End::Processor { link, .. }) = self.ends.get_mut(&line) else { continue };
            let mut bytes = Vec::new();
            let _ = link.send(&message, now, &mut bytes);
            self.tell(line, bytes);
        }
        any
    }

    /// Carries one output to where it belongs.
    fn carry(&mut self, index: usize, output: Output, witness: &mut Witness) {
        match output {
            Output::MeterAck { charger, session, up_to, running } => {
                witness.acknowledged(&self.shards[index], charger, session, up_to, running);
                let ack = MeterAck { session, up_to, cost: Some(running) };
                self.tell_charger(index, charger, &ToCharger::MeterAck(ack));
            }
            Output::Charger(charger, message) => {
                witness.told(&self.shards[index], charger, &message);
                self.tell_charger(index, charger, &message);
            }
            Output::Operation(operation) => {
                witness.sent(&self.shards[index], &operation);
                let (id, attempt) = (operation.id, operation.attempt);
                match self.processors.get_mut(&operation.processor) {
                    Some(actor) => actor.dispatch(*operation),
                    None => self.inputs.push_back(Input::NotSent(id, attempt)),
                }
            }
            Output::Account(ask) => {
                witness.sent(&self.shards[index], &ask.1);
                self.inputs.push_back(Input::AskAccount(ask.0, Box::new(ask.1)));
            }
            Output::AccountAnswer(answer) => self.inputs.push_back(Input::Answer(answer.0, Box::new(answer.1))),
            // Every eighth is lost, where anything may go wrong: whoever waits for it asks again.
            Output::AskNumber(_) | Output::Numbered(_)
                if self.estate.loses && (self.house.dice)().is_multiple_of(8) => {}
            Output::AskNumber(request) => self.inputs.push_back(Input::AskNumber(request)),
            Output::Numbered(numbered) => self.inputs.push_back(Input::Numbered(numbered)),
            Output::Callback { processor, callback, refused } => {
                witness.callback(refused);
                if let Some(actor) = self.processors.get_mut(&processor) {
                    actor.acknowledge(callback, refused);
                }
            }
            Output::Archive(id) => {
                let Some(hosted) = self.shards[index].session(id) else { return };
                witness.look(hosted.state());
                if matches!(hosted.state().stage, Stage::Closed(_)) {
                    self.gathered.push((Box::new(hosted.state().clone()), hosted.tariff().clone()));
                }
            }
            Output::ReceiptAgain(charger, key, id) => {
                if let Ok(Some(notice)) = self.receipt_again(key, id) {
                    self.inputs.push_back(Input::Tell(id, charger, Box::new(ToCharger::Receipt(notice))));
                }
            }
            Output::Recall(id, said) => match self.archived(id) {
                Ok(Some(dossier)) => {
                    self.inputs.push_back(Input::Revived(Box::new(dossier.session), dossier.tariff.into(), said));
                }
                Ok(None) => self.inputs.push_back(Input::NotArchived(said)),
                // It is damaged: who said something of it says it again, until it is mended.
                Err(_) => {}
            },
            // Nobody reads entries here: the balances are compared.
            Output::ArchivePage(partition, number) => self.inputs.push_back(Input::PageArchived(partition, number)),
            // Nobody keeps the books of settlements here: a batch stays whole and unbooked.
            Output::BatchDue(_) => {}
            Output::SettlementTold(told, refused) => (told.0)(refused),
            Output::Ordered(ordered) => (ordered.0.0)(ordered.1),
        }
    }

    fn archived(&self, id: SessionId) -> Result<Option<Dossier>, Unread> {
        archivist::read(&self.estate.archive, id)
    }

    fn receipt_again(&self, key: SessionKey, id: SessionId) -> Result<Option<ReceiptNotice>, Unread> {
        let Some(dossier) = self.archived(id)? else { return Ok(None) };
        let ended = dossier.session.ended().filter(|ended| ended.admitted);
        Ok(ended.map(|ended| {
            let (total, cost, receipt) = (ended.payable, ended.cost, id.to_string().into());
            ReceiptNotice { session: key, total, cost, receipt, url: Box::default() }
        }))
    }

    fn tell_charger(&mut self, index: usize, charger: crate::node::output::ChargerRef, message: &ToCharger) {
        let Some(link) = self.shards[index].link(charger) else { return };
        let line = link.connection.0;
        if let Some(End::Charger { link: end, .. }) = self.ends.get_mut(&line) {
            match self.told.last_mut() {
                Some((same, bytes)) if *same == line => drop(end.send(link.channel, message, bytes)),
                _ => {
                    let mut bytes = Vec::with_capacity(64);
                    let _ = end.send(link.channel, message, &mut bytes);
                    self.told.push((line, bytes));
                }
            }
        }
    }

    fn tell(&mut self, line: u64, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.told.push((line, bytes));
        }
    }
}
