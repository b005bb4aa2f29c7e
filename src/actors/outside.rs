//! Where a shard's outputs go: to the connections of its chargers, to processors, to accounts and sessions of other
//! shards, to the archive.

use super::archivist::{PutAway, PutPage, Recall, SendReceipt};
use super::directory::Directory;
use super::turn::ChargerOutlet;
use crate::limits;
use crate::message::{Code, MeterAck, ToCharger};
use crate::metrics::{MAILBOX_REJECTED, SESSIONS_DOUBTFUL, STARTS_REFUSED};
use crate::node::charger::{ConnectionId, Link};
use crate::node::output::{ChargerRef, Output};
use crate::node::shard::{Input, Shard};
use crate::session::Stage;
use crate::units::{Cost, PartitionId, SessionId, SessionKey};
use actix::prelude::SendError;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// The outside of one shard.
pub struct Outside {
    directory: Arc<Directory>,
    shard: u16,
    connections: HashMap<ConnectionId, Arc<dyn ChargerOutlet>>,
    /// An acknowledgement that a later one of the same session may still replace.
    ack: Option<Ack>,
    /// Inputs for this very shard.
    looped: VecDeque<Input>,
    /// Inputs for shards whose mailbox was full.
    undelivered: VecDeque<Input>,
    /// Closed sessions that did not fit the archiver's mailbox. They are live: no more than there are cells.
    unarchived: VecDeque<SessionId>,
    /// The same of pages of the books.
    unarchived_pages: VecDeque<(PartitionId, u64)>,
    /// Starts that were refused because the shard is behind.
    refused: ::metrics::Counter,
}

struct Ack {
    charger: ChargerRef,
    session: SessionKey,
    up_to: u32,
    running: Cost,
}

impl Outside {
    /// The outside of a shard.
    pub fn new(directory: Arc<Directory>, shard: u16) -> Outside {
        // Alerts on their rise need the zero that they rise from.
        SESSIONS_DOUBTFUL.counter(&[]).increment(0);
        for code in Code::ALL.iter().filter(|code| (300..400).contains(&code.number())) {
            STARTS_REFUSED.counter(&[&code.number().to_string()]).increment(0);
        }
        Outside {
            directory,
            shard,
            connections: HashMap::new(),
            ack: None,
            looped: VecDeque::new(),
            undelivered: VecDeque::new(),
            unarchived: VecDeque::new(),
            unarchived_pages: VecDeque::new(),
            refused: MAILBOX_REJECTED.counter(&["shard"]),
        }
    }

    /// A connection of a charger of this shard.
    pub fn attach(&mut self, connection: ConnectionId, outlet: Arc<dyn ChargerOutlet>) {
        self.connections.insert(connection, outlet);
    }

    /// The connection has ended.
    pub fn detach(&mut self, connection: ConnectionId) {
        self.connections.remove(&connection);
    }

    /// Lets a connection read on.
    pub fn resume(&self, connection: ConnectionId) {
        if let Some(outlet) = self.connections.get(&connection) {
            outlet.resume();
        }
    }

    /// Closes a channel, or all of a single charger's connection.
    pub fn close(&self, link: Link, code: Code) {
        if let Some(outlet) = self.connections.get(&link.connection) {
            outlet.close(link.channel, code);
        }
    }

    /// Refuses a start before it was processed: no fact follows from it, so nothing has to be durable first.
    pub fn refuse_start(&self, link: Link, session: SessionKey, code: Code) {
        self.refused.increment(1);
        STARTS_REFUSED.counter(&[&code.number().to_string()]).increment(1);
        if let Some(outlet) = self.connections.get(&link.connection) {
            outlet.send(link.channel, &ToCharger::StartRejected { session, code, text: code.meaning().into() });
        }
    }

    /// Carries one output to where it belongs.
    pub fn carry(&mut self, shard: &Shard, output: Output) {
        match output {
            Output::MeterAck { charger, session, up_to, running } => {
                let ack = Ack { charger, session, up_to, running };
                // Acknowledgements are cumulative: the last one of several for a session replaces the others.
                let same = self.ack.as_ref().is_some_and(|ack| ack.charger == charger && ack.session == session);
                if !same {
                    self.flush(shard);
                }
                self.ack = Some(ack);
            }
            Output::Charger(charger, message) => {
                self.flush(shard);
                self.tell(shard, charger, &message);
            }
            Output::Operation(operation) => {
                let (id, attempt) = (operation.id, operation.attempt);
                if !self.directory.dispatch(*operation) {
                    self.looped.push_back(Input::NotSent(id, attempt));
                }
            }
            Output::Account(ask) => {
                let (account, operation) = *ask;
                self.post(Input::AskAccount(account, Box::new(operation)));
            }
            Output::AccountAnswer(answer) => {
                let (processor, answer) = *answer;
                self.post(Input::Answer(processor, Box::new(answer)));
            }
            Output::AskNumber(request) => self.post(Input::AskNumber(request)),
            Output::Numbered(numbered) => self.post(Input::Numbered(numbered)),
            Output::Callback { processor, callback, refused } => {
                self.directory.acknowledge(&processor, callback, refused);
            }
            Output::Archive(session) => self.put_away(shard, session),
            Output::ReceiptAgain(charger, key, session) => {
                if let Some(archivist) = self.directory.archivist() {
                    // A full mailbox: the charger repeats the request after it reconnects.
                    let _ = archivist.try_send(SendReceipt { charger, key, session });
                }
            }
            Output::Recall(session, said) => match self.directory.archivist() {
                // A full mailbox: the processor repeats an unacknowledged message.
                Some(archivist) => drop(archivist.try_send(Recall { session, said })),
                None => self.looped.push_back(Input::NotArchived(said)),
            },
            Output::ArchivePage(partition, number) => self.put_page_away(shard, partition, number),
            Output::BatchDue(_) => self.directory.batch_whole(),
            Output::SettlementTold(told, refused) => (told.0)(refused),
            Output::Ordered(ordered) => {
                let (reply, ordered) = *ordered;
                (reply.0)(ordered);
            }
        }
    }

    /// Sends the acknowledgement that was held back.
    pub fn flush(&mut self, shard: &Shard) {
        if let Some(Ack { charger, session, up_to, running }) = self.ack.take() {
            let ack = MeterAck { session, up_to, cost: Some(running) };
            self.tell(shard, charger, &ToCharger::MeterAck(ack));
        }
    }

    /// An input from this shard to itself.
    pub fn next_input(&mut self) -> Option<Input> {
        self.looped.pop_front()
    }

    /// Archives a closed session. Without an archive it stays in its cell.
    fn put_away(&mut self, shard: &Shard, id: SessionId) {
        let (Some(archivist), Some(hosted)) = (self.directory.archivist(), shard.session(id)) else { return };
        if !matches!(hosted.state().stage, Stage::Closed(_)) {
            return;
        }
        let session = Box::new(hosted.state().clone());
        if let Err(SendError::Full(_)) = archivist.try_send(PutAway { session, tariff: hosted.tariff().clone() }) {
            self.unarchived.push_back(id);
        }
    }

    /// Archives a page of the books. Without an archive it could not be read later and is dropped.
    fn put_page_away(&mut self, shard: &Shard, partition: PartitionId, number: u64) {
        let Some(archivist) = self.directory.archivist() else {
            return self.looped.push_back(Input::PageArchived(partition, number));
        };
        let Some(page) = shard.page(partition, number) else { return };
        let page = PutPage { partition, page: Box::new(page.clone()) };
        if let Err(SendError::Full(_)) = archivist.try_send(page) {
            self.unarchived_pages.push_back((partition, number));
        }
    }

    /// Tries again what found a full mailbox.
    pub fn retry(&mut self, shard: &Shard) {
        for _ in 0..self.unarchived.len().min(limits::ARCHIVE_MAILBOX) {
            if let Some(session) = self.unarchived.pop_front() {
                self.put_away(shard, session);
            }
        }
        for _ in 0..self.unarchived_pages.len() {
            if let Some((partition, number)) = self.unarchived_pages.pop_front() {
                self.put_page_away(shard, partition, number);
            }
        }
        for _ in 0..self.undelivered.len() {
            if let Some(input) = self.undelivered.pop_front() {
                self.post(input);
            }
        }
    }

    /// Sends an input to its shard. Inputs that do not fit wait; those beyond the bound are dropped and repeated
    /// under the same id by the payment machine or partition that waits for the answer.
    fn post(&mut self, input: Input) {
        if self.directory.shard_of(&input) == Some(self.shard) {
            self.looped.push_back(input);
            return;
        }
        if let Err(input) = self.directory.post(input)
            && self.undelivered.len() < limits::UNDELIVERED_MAX
        {
            self.undelivered.push_back(input);
        }
    }

    /// Sends a message to a charger on its current connection. Without one it is dropped: the charger repeats its
    /// request after it reconnects.
    fn tell(&self, shard: &Shard, charger: ChargerRef, message: &ToCharger) {
        let Some(link) = shard.link(charger) else { return };
        if let Some(outlet) = self.connections.get(&link.connection) {
            outlet.send(link.channel, message);
        }
    }
}
