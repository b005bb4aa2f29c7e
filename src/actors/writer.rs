//! The actor around the [`LogWriter`]: alone on its thread, because a commit blocks. What arrives while one commit runs is
//! written together by the next: with one message to itself, which comes after everything that waits in the mailbox already.

use crate::journal::{Batch, Failure, Log, LogView, Sequences};
use crate::limits;
use crate::node::fact_tail::FactTail;
use crate::node::log_figures::LogFigures;
use crate::node::log_writer::LogWriter;
use actix::{Actor, AsyncContext, Context, Handler, Message};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Records of one shard, to be made durable.
pub struct Append {
    /// The records.
    pub batch: Batch,
    /// Where the batch comes back when they are. Has room for every batch that a shard may have in progress.
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

/// Drop what the log no longer needs. Below these records every partition has its snapshots. When it is done it is
/// counted in the log's figures, and no more than one may be in progress.
pub struct Trim(pub Sequences);

impl Message for Trim {
    type Result = ();
}

/// The log as it is now, to be read by another thread; nothing may be trimmed meanwhile.
pub struct View(pub std::sync::mpsc::Sender<LogView>);

impl Message for View {
    type Result = ();
}

/// The log's last act: note how far it has come, and let go of the disk.
pub struct CloseLog(pub std::sync::mpsc::Sender<()>);

impl Message for CloseLog {
    type Result = ();
}

/// What the writer does when the disk fails: end the process. Memory is ahead of the disk then, and nothing may leave any more.
pub type OnFailure = Box<dyn Fn(&Failure) + Send>;

/// The writer.
pub struct JournalWriter {
    writer: Option<LogWriter<mpsc::Sender<Batch>>>,
    on_failure: OnFailure,
    observe: Box<dyn Fn(Commitment) + Send>,
    tail: Arc<FactTail>,
    mailbox: usize,
}

/// One group commit, for metrics.
#[derive(Clone, Copy, Debug)]
pub struct Commitment {
    /// How long it took.
    pub took: Duration,
    /// The part of it that waited for the disk.
    pub synced: Duration,
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
        (figures, tail): (Arc<LogFigures>, Arc<FactTail>),
    ) -> JournalWriter {
        // Batches of every shard, and what its keeper and the end of the process ask for.
        let mailbox = shards * (limits::BATCHES_IN_FLIGHT_MAX + 1) + 4;
        let writer = Some(LogWriter::new(log, figures));
        JournalWriter { writer, on_failure, observe: Box::new(observe), tail, mailbox }
    }

    fn fail(&mut self, failure: &Failure) {
        self.writer = None;
        (self.on_failure)(failure);
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
        if self.writer.as_mut().is_some_and(|writer| writer.add(append.batch, append.reply)) {
            context.notify(Commit);
        }
    }
}

impl Handler<Commit> for JournalWriter {
    type Result = ();

    fn handle(&mut self, _: Commit, _: &mut Context<JournalWriter>) {
        let Some(writer) = &mut self.writer else { return };
        let begun = Instant::now();
        match writer.commit() {
            Ok(durable) => {
                let (took, synced) = (begun.elapsed(), writer.synced());
                (self.observe)(Commitment { took, synced, records: durable.records, bytes: durable.bytes });
                let kept = writer.take_kept();
                if !kept.is_empty() {
                    self.tail.add(kept);
                }
                for (reply, batch) in writer.committed() {
                    // The shard may be gone; ignoring the send error is correct.
                    let _ = reply.try_send(batch);
                }
            }
            Err(failure) => self.fail(&failure),
        }
    }
}

impl Handler<Trim> for JournalWriter {
    type Result = ();

    fn handle(&mut self, Trim(reach): Trim, _: &mut Context<JournalWriter>) {
        let Some(writer) = &mut self.writer else { return };
        if let Err(failure) = writer.trim(&reach) {
            self.fail(&failure);
        }
    }
}

impl Handler<View> for JournalWriter {
    type Result = ();

    fn handle(&mut self, View(reply): View, _: &mut Context<JournalWriter>) {
        if let Some(writer) = &self.writer {
            // The receiver may have timed out; ignoring the send error is correct.
            let _ = reply.send(writer.view());
        }
    }
}

impl Handler<CloseLog> for JournalWriter {
    type Result = ();

    fn handle(&mut self, CloseLog(closed): CloseLog, _: &mut Context<JournalWriter>) {
        if let Some(writer) = self.writer.take()
            && let Err(failure) = writer.close()
        {
            (self.on_failure)(&failure);
        }
        // The receiver may have timed out; ignoring the send error is correct.
        let _ = closed.send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::MemoryStore;

    /// The schedule asks again when the count has come up with it, and an odd one would let two trims be under way.
    #[test]
    fn each_trim_is_counted_once_and_when_it_is_done() {
        let (log, recovered) =
            Log::open(Box::new(MemoryStore::new(4)), &Sequences::new(1), &mut |_| Ok(())).expect("an empty log");
        let figures = Arc::new(LogFigures::new(&recovered, &log, 1 << 20, Instant::now()));
        let counted = figures.clone();
        actix::System::new().block_on(async move {
            let on_failure: OnFailure = Box::new(|failure| panic!("{failure}"));
            let writer =
                JournalWriter::new(log, 1, on_failure, |_| {}, (counted.clone(), Arc::new(FactTail::new(0)))).start();
            for trims in 1..=3 {
                writer.send(Trim(Sequences::new(1))).await.expect("it lives");
                assert_eq!(counted.trims(), trims);
            }
        });
        assert_eq!(figures.trims(), 3);
    }
}
