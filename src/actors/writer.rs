//! The actor that owns the journal: the one place from which facts reach the disk.
//!
//! It lives alone on its thread, because a commit blocks. Batches that arrive while one commit runs are written
//! together by the next: with one message to itself, which comes after everything that waits in the mailbox already.

use crate::journal::{Batch, Failure, Log};
use actix::{Actor, AsyncContext, Context, Handler, Message};
use std::time::Instant;
use tokio::sync::mpsc;

/// Records of one shard, to be made durable.
pub struct Append {
    /// The records.
    pub batch: Batch,
    /// Where the batch comes back when they are. Has room for every batch that a shard may have under way.
    pub reply: mpsc::Sender<Batch>,
}

impl Message for Append {
    type Result = ();
}

/// Commit what has gathered.
struct Commit;

impl Message for Commit {
    type Result = ();
}

/// The log's last act: note how far it has come, and let go of the disk.
pub struct CloseLog(pub std::sync::mpsc::Sender<()>);

impl Message for CloseLog {
    type Result = ();
}

/// What the writer does when the disk fails: end the process. Memory is ahead of the disk then, and nobody may be told
/// anything any more.
pub type OnFailure = Box<dyn Fn(&Failure) + Send>;

/// The writer.
pub struct JournalWriter {
    log: Option<Log>,
    batches: Vec<Batch>,
    replies: Vec<mpsc::Sender<Batch>>,
    on_failure: OnFailure,
    observe: Box<dyn Fn(Commitment) + Send>,
    mailbox: usize,
}

/// One group commit, for metrics.
#[derive(Clone, Copy, Debug)]
pub struct Commitment {
    /// How long it took.
    pub took: std::time::Duration,
    /// Records in it.
    pub records: u64,
    /// Bytes that it wrote.
    pub bytes: u64,
}

impl JournalWriter {
    /// A writer to this log, for this many shards.
    pub fn new(
        log: Log,
        shards: usize,
        on_failure: OnFailure,
        observe: impl Fn(Commitment) + Send + 'static,
    ) -> JournalWriter {
        let mailbox = shards * (crate::limits::BATCHES_IN_FLIGHT_MAX + 1) + 1;
        let (batches, replies) = (Vec::new(), Vec::new());
        JournalWriter { log: Some(log), batches, replies, on_failure, observe: Box::new(observe), mailbox }
    }
}

impl Actor for JournalWriter {
    type Context = Context<JournalWriter>;

    fn started(&mut self, context: &mut Context<JournalWriter>) {
        context.set_mailbox_capacity(self.mailbox);
    }
}

impl Handler<Append> for JournalWriter {
    type Result = ();

    fn handle(&mut self, append: Append, context: &mut Context<JournalWriter>) {
        if self.batches.is_empty() {
            context.notify(Commit);
        }
        self.batches.push(append.batch);
        self.replies.push(append.reply);
    }
}

impl Handler<Commit> for JournalWriter {
    type Result = ();

    fn handle(&mut self, _: Commit, _: &mut Context<JournalWriter>) {
        let Some(log) = &mut self.log else { return };
        let begun = Instant::now();
        match log.commit(&self.batches) {
            Ok(durable) => {
                (self.observe)(Commitment { took: begun.elapsed(), records: durable.records, bytes: durable.bytes });
                for (batch, reply) in self.batches.drain(..).zip(self.replies.drain(..)) {
                    // A shard that is gone has nobody to tell.
                    let _ = reply.try_send(batch);
                }
            }
            Err(failure) => {
                self.log = None;
                (self.on_failure)(&failure);
            }
        }
    }
}

impl Handler<CloseLog> for JournalWriter {
    type Result = ();

    fn handle(&mut self, CloseLog(closed): CloseLog, _: &mut Context<JournalWriter>) {
        if let Some(log) = self.log.take()
            && let Err(failure) = log.close()
        {
            (self.on_failure)(&failure);
        }
        // Whoever asked may have lost patience.
        let _ = closed.send(());
    }
}
