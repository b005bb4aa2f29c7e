//! The mailboxes of a simulated gate, and what surrounds the actors of its processors: what they want done is left here, and
//! fetched by the process before the step ends.

use crate::journal::Sequence;
use crate::message::ToProcessor;
use crate::node::ConnectionId;
use crate::node::driver::ReadBatch;
use crate::node::input::Input;
use crate::node::node_config::NodeConfig;
use crate::node::processor::{ProcessorOutlet, Reach};
use crate::node::reply::{Reply, ReplyTo};
use crate::node::shard::Shard;
use crate::payment::breaker::Breakers;
use crate::payment::routing::Listed;
use crate::units::{Mono, Now, PartitionId, ProcessorId, Timestamp};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

/// Where actors leave what they want done.
pub(super) struct Outbox {
    node_config: Arc<NodeConfig>,
    /// Mailboxes are full now and then, and questions and answers about numbers of documents are lost.
    loses: bool,
    left: Mutex<Left>,
}

#[derive(Default)]
pub(super) struct Left {
    /// The clocks of this step.
    pub now: Option<Now>,
    pub messages: VecDeque<(u64, ToProcessor)>,
    /// Connections of which a batch was taken.
    pub resumed: Vec<u64>,
    /// Replies to orders.
    pub replies: Vec<Reply>,
    mailboxes: Vec<VecDeque<Mail>>,
    /// Shards that are open.
    open: Vec<bool>,
}

/// Something for a shard.
pub(super) enum Mail {
    Input(Input),
    Read(ReadBatch),
    Gone(ConnectionId),
    Snapshot(PartitionId, Option<Sequence>),
}

/// One in so many times a mailbox is full.
const FULL: u64 = 16;
/// One in so many questions and answers about numbers of documents is lost.
const LOST: u64 = 8;

impl Outbox {
    pub fn new(node_config: Arc<NodeConfig>, loses: bool) -> Outbox {
        let mailboxes = (0..node_config.shards).map(|_| VecDeque::new()).collect();
        let open = vec![true; usize::from(node_config.shards)];
        Outbox { node_config, loses, left: Mutex::new(Left { mailboxes, open, ..Left::default() }) }
    }

    pub fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().expect("one thread runs a world")
    }

    /// Whether a mailbox is full at this moment.
    pub fn is_full(&self) -> bool {
        self.loses && (self.node_config.random)().is_multiple_of(FULL)
    }

    /// Enters whether a shard is open: the routing table.
    pub fn set_open(&self, shard: usize, open: bool) {
        self.left().open[shard] = open;
    }

    /// Whether a shard is open.
    pub fn is_open(&self, shard: usize) -> bool {
        self.left().open[shard]
    }

    /// Hands an input to its shard, unless that is not open or its mailbox is full.
    ///
    /// # Errors
    /// The shard is not open, or has no room; the input comes back.
    pub fn post(&self, input: Input) -> Result<(), Input> {
        if self.shard_of(&input).is_some_and(|shard| !self.is_open(usize::from(shard))) || self.is_full() {
            return Err(input);
        }
        let lost = self.loses
            && matches!(input, Input::AskNumber(_) | Input::Numbered(_))
            && (self.node_config.random)().is_multiple_of(LOST);
        if !lost {
            self.push(input);
        }
        Ok(())
    }

    /// The shard that an input is for.
    pub fn shard_of(&self, input: &Input) -> Option<u16> {
        self.node_config.shard_of(input.partition(self.node_config.partitions))
    }

    /// The same, and there is room. What is for a shard that is not open is refused, as an operator is.
    pub fn push(&self, input: Input) {
        if let Some(shard) = self.shard_of(&input).filter(|shard| self.is_open(usize::from(*shard))) {
            self.put(usize::from(shard), Mail::Input(input));
        }
    }

    pub fn read(&self, shard: usize, batch: ReadBatch) {
        self.put(shard, Mail::Read(batch));
    }

    pub fn snapshot(&self, partition: PartitionId, unless: Option<Sequence>) {
        let shard = usize::from(Shard::of(partition, self.node_config.shards));
        self.put(shard, Mail::Snapshot(partition, unless));
    }

    /// Every shard learns that a connection is gone, after what it has read.
    pub fn gone(&self, connection: ConnectionId) {
        for mailbox in &mut self.left().mailboxes {
            mailbox.push_back(Mail::Gone(connection));
        }
    }

    pub fn next(&self, shard: usize) -> Option<Mail> {
        self.left().mailboxes.get_mut(shard)?.pop_front()
    }

    pub fn has_mail(&self) -> bool {
        self.left().mailboxes.iter().any(|mailbox| !mailbox.is_empty())
    }

    fn put(&self, shard: usize, mail: Mail) {
        if let Some(mailbox) = self.left().mailboxes.get_mut(shard) {
            mailbox.push_back(mail);
        }
    }
}

impl Reach for Outbox {
    fn now(&self) -> Now {
        self.left().now.unwrap_or(Now { wall: Timestamp::default(), mono: Mono(0) })
    }

    fn random(&self) -> u64 {
        (self.node_config.random)()
    }

    fn shard_of(&self, input: &Input) -> Option<u16> {
        Outbox::shard_of(self, input)
    }

    fn post(&self, input: Input) -> Result<(), Input> {
        Outbox::post(self, input)
    }

    fn reply(&self, _: ReplyTo, reply: Reply) {
        self.left().replies.push(reply);
    }

    fn list(&self, id: &ProcessorId, listed: &Listed) {
        self.node_config.routing.list(id, listed);
    }

    fn judge(&self, id: &ProcessorId, breakers: &Breakers) {
        self.node_config.routing.judge(id, breakers);
    }
}

/// A processor's connection, as its actor uses it. Its end is reported to the actor before anything more is sent.
pub(super) struct Outlet {
    pub line: u64,
    pub outbox: Arc<Outbox>,
}

impl ProcessorOutlet for Outlet {
    fn send(&self, message: &ToProcessor) -> bool {
        self.outbox.left().messages.push_back((self.line, message.clone()));
        true
    }

    fn resume(&self) {
        self.outbox.left().resumed.push(self.line);
    }
}
