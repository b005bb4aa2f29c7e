//! The actor that owns the journal: the one place from which facts reach the disk.
//!
//! It lives alone on its thread, because a commit blocks. Batches that arrive while one commit runs are written
//! together by the next: with one message to itself, which comes after everything that waits in the mailbox already.

use crate::journal::{Batch, Failure, Log, LogView, Recovered, Sequences};
use actix::{Actor, AsyncContext, Context, Handler, Message};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
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

/// Drop what the log no longer needs. Below these records every partition has its snapshots. When it is done it is counted in
/// the log's figures, and no more than one may be under way.
pub struct Trim(pub Sequences);

impl Message for Trim {
    type Result = ();
}

/// The log as it is now, to be read by another thread; nothing may be trimmed meanwhile.
pub struct View(pub std::sync::mpsc::Sender<LogView>);

impl Message for View {
    type Result = ();
}

/// What the log is like, for everybody who is interested: written by its writer, read without a lock.
#[derive(Debug, Default)]
pub struct LogFigures {
    /// Bytes written since the start, and those that were found at the start.
    written: AtomicU64,
    used: AtomicU64,
    records: AtomicU64,
    last_sequence: AtomicU64,
    trims: AtomicU64,
    /// What it may take.
    bound: u64,
    /// Snapshots are being taken that will let some of it go.
    relief: AtomicBool,
    /// When the figures were begun, and after how many milliseconds all partitions last had their snapshots.
    begun: Begun,
    snapshots_ms: AtomicU64,
    snapshot_failures: AtomicU64,
}

/// When something began to be counted.
#[derive(Debug)]
struct Begun(Instant);

impl Default for Begun {
    fn default() -> Begun {
        Begun(Instant::now())
    }
}

impl LogFigures {
    /// Figures of a log in which this was found, and which may take so many bytes.
    pub fn new(recovered: &Recovered, log: &Log, bound: u64) -> LogFigures {
        let last = log.sequences().iter().map(|(_, last)| last.0).sum();
        LogFigures {
            written: AtomicU64::new(recovered.bytes),
            used: AtomicU64::new(log.used_bytes()),
            last_sequence: AtomicU64::new(last),
            records: AtomicU64::new(recovered.records),
            trims: AtomicU64::new(0),
            bound,
            relief: AtomicBool::new(false),
            begun: Begun::default(),
            snapshots_ms: AtomicU64::new(0),
            snapshot_failures: AtomicU64::new(0),
        }
    }

    /// More than half of what it may take: snapshots come before comfort.
    pub fn is_strained(&self) -> bool {
        self.used() > self.bound / 2
    }

    /// As long as it may be but for what is under way already, and somebody is about to change that: what can wait waits until
    /// then. While snapshots fail (a full disk) the log grows beyond its bound rather than that nobody could charge any more.
    pub fn is_full(&self) -> bool {
        self.used() >= self.bound - self.bound / 32 && self.relief.load(Ordering::Relaxed)
    }

    /// Whether snapshots are being taken.
    pub(super) fn set_relief(&self, coming: bool) {
        self.relief.store(coming, Ordering::Relaxed);
    }

    /// What it may take, in bytes.
    pub fn bound(&self) -> u64 {
        self.bound
    }

    /// A round of snapshots is over: all partitions have theirs, or it failed.
    pub(super) fn note_snapshots(&self, whole: bool) {
        if whole {
            let after = u64::try_from(self.begun.0.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.snapshots_ms.store(after, Ordering::Relaxed);
        } else {
            self.snapshot_failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How long ago all partitions last had their snapshots, or the gate started.
    pub fn since_snapshots(&self) -> Duration {
        self.begun.0.elapsed().saturating_sub(Duration::from_millis(self.snapshots_ms.load(Ordering::Relaxed)))
    }

    /// Rounds of snapshots that failed.
    pub fn snapshot_failures(&self) -> u64 {
        self.snapshot_failures.load(Ordering::Relaxed)
    }

    /// Bytes that were ever written to it, as far as they were still there at the start.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// How many times it was trimmed, whether anything could go or not.
    pub(super) fn trims(&self) -> u64 {
        self.trims.load(Ordering::Acquire)
    }

    /// Bytes that it takes.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Records of all partitions since the data directory was made, those that are in snapshots only included.
    pub fn last_sequence(&self) -> u64 {
        self.last_sequence.load(Ordering::Relaxed)
    }

    /// Records that were ever written to it, as far as they were still there at the start.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }
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
    figures: Arc<LogFigures>,
    mailbox: usize,
}

/// One group commit, for metrics.
#[derive(Clone, Copy, Debug)]
pub struct Commitment {
    /// How long it took.
    pub took: Duration,
    /// How much of that was waiting for the disk.
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
        figures: Arc<LogFigures>,
    ) -> JournalWriter {
        // Batches of every shard, and what its keeper and the end of the process ask for.
        let mailbox = shards * (crate::limits::BATCHES_IN_FLIGHT_MAX + 1) + 4;
        let (batches, replies) = (Vec::new(), Vec::new());
        JournalWriter { log: Some(log), batches, replies, on_failure, observe: Box::new(observe), figures, mailbox }
    }

    fn fail(&mut self, failure: &Failure) {
        self.log = None;
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
                let (took, synced) = (begun.elapsed(), log.synced());
                (self.observe)(Commitment { took, synced, records: durable.records, bytes: durable.bytes });
                self.figures.written.fetch_add(durable.bytes, Ordering::Relaxed);
                self.figures.records.fetch_add(durable.records, Ordering::Relaxed);
                self.figures.last_sequence.fetch_add(durable.records, Ordering::Relaxed);
                self.figures.used.store(log.used_bytes(), Ordering::Relaxed);
                for (batch, reply) in self.batches.drain(..).zip(self.replies.drain(..)) {
                    // A shard that is gone has nobody to tell.
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
        let Some(log) = &mut self.log else { return };
        match log.trim(&reach) {
            Ok(dropped) => {
                self.figures.used.store(log.used_bytes(), Ordering::Relaxed);
                self.figures.trims.fetch_add(1, Ordering::Release);
                tracing::debug!(dropped, kept_bytes = log.used_bytes(), "the log is trimmed");
            }
            Err(failure) => self.fail(&failure),
        }
    }
}

impl Handler<View> for JournalWriter {
    type Result = ();

    fn handle(&mut self, View(reply): View, _: &mut Context<JournalWriter>) {
        if let Some(log) = &self.log {
            // Whoever asked may have lost patience.
            let _ = reply.send(log.view());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::MemoryStore;

    /// The keeper asks again when the count has come up with it, and an odd one would let two trims be under way.
    #[test]
    fn each_trim_is_counted_once_and_when_it_is_done() {
        let (log, recovered) =
            Log::open(Box::new(MemoryStore::new(4)), &Sequences::new(1), &mut |_| Ok(())).expect("an empty log");
        let figures = Arc::new(LogFigures::new(&recovered, &log, 1 << 20));
        let counted = figures.clone();
        actix::System::new().block_on(async move {
            let on_failure: OnFailure = Box::new(|failure| panic!("{failure}"));
            let writer = JournalWriter::new(log, 1, on_failure, |_| {}, counted.clone()).start();
            for trims in 1..=3 {
                writer.send(Trim(Sequences::new(1))).await.expect("it lives");
                assert_eq!(counted.trims(), trims);
            }
        });
        assert_eq!(figures.trims(), 3);
    }

    #[test]
    fn a_log_is_full_only_while_somebody_makes_it_shorter() {
        let log = LogFigures { bound: 100, ..LogFigures::default() };
        let with = |used: u64| {
            log.used.store(used, Ordering::Relaxed);
            (log.is_strained(), log.is_full())
        };
        assert_eq!([with(50), with(51), with(97)], [(false, false), (true, false), (true, false)]);
        log.set_relief(true);
        assert_eq!([with(50), with(96), with(97)], [(false, false), (true, false), (true, true)]);
        log.set_relief(false);
        assert_eq!(with(1_000), (true, false), "it grows rather than that nobody could charge");
    }
}
