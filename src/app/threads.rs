//! The threads of a gate, with the actors on each.

use super::gate::StartError;
use super::scrape::CommitDurations;
use crate::accounting::archive_record::Billing;
use crate::actors::archiver_actor::ArchiverActor;
use crate::actors::directory::Directory;
use crate::actors::hosting::Hosting;
use crate::actors::shard_actor::{self, OnBatch, ShardActor};
use crate::actors::snapshot_scheduler::{self, SnapshotScheduler};
use crate::actors::writer::{Commitment, JournalWriter};
use crate::journal::{Archive, DataDir, Failure, Log, Sequences, Snapshots};
use crate::metrics::Durations;
use crate::node::driver::Driver;
use crate::node::fact_tail::{FactTail, is_for_observers};
use crate::node::log_figures::LogFigures;
use crate::node::shard::Shard;
use crate::node::snapshot_policy::SnapshotPolicy;
use crate::units::Clock;
use actix::{Actor, Addr};
use actix_rt::{Arbiter, ArbiterHandle, System};
use hdrhistogram::Histogram;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

/// What the threads are started with.
pub(super) struct Parts {
    pub directory: Arc<Directory>,
    pub shards: Vec<Shard>,
    pub sequences: Sequences,
    pub log: Log,
    pub clock: Arc<dyn Clock>,
    pub on_failure: Arc<dyn Fn(&Failure) + Send + Sync>,
    pub commits: Arc<Mutex<Histogram<u64>>>,
    pub syncs: Arc<CommitDurations>,
    pub ticks: Arc<Durations>,
    pub away: Option<(Arc<Archive>, Arc<Billing>)>,
    pub kept: Kept,
    pub on_batch: OnBatch,
}

/// What snapshots are kept with.
pub(super) struct Kept {
    pub snapshots: Arc<Snapshots>,
    pub data: Option<DataDir>,
    pub figures: Arc<LogFigures>,
    pub snapshot_policy: SnapshotPolicy,
}

/// The threads of the actors.
pub(super) struct Running {
    pub system: System,
    pub threads: JoinHandle<()>,
    pub writer: Addr<JournalWriter>,
    pub tail: Arc<FactTail>,
    pub arbiters: Vec<ArbiterHandle>,
    pub io: ArbiterHandle,
    pub hosting: Hosting,
    pub archiver: Option<Addr<ArchiverActor>>,
    pub snapshot_scheduler: Addr<SnapshotScheduler>,
}

/// The actors, and the threads of those that serve connections.
struct Started {
    writer: Addr<JournalWriter>,
    tail: Arc<FactTail>,
    arbiters: Vec<ArbiterHandle>,
    io: ArbiterHandle,
    hosting: Hosting,
    archiver: Option<Addr<ArchiverActor>>,
    snapshot_scheduler: Addr<SnapshotScheduler>,
}

/// Starts the actors, each shard and the writer on a thread of its own.
pub(super) fn run(parts: Parts) -> Result<Running, StartError> {
    let (started, ready) = mpsc::channel();
    let threads = std::thread::Builder::new()
        .name("actors".to_owned())
        .spawn(move || {
            let runner = System::new();
            runner.block_on(async {
                let running = start_actors(parts);
                let _ = started.send((System::current(), running));
            });
            if let Err(error) = runner.run() {
                tracing::error!(%error, "the actors' system ended badly");
            }
        })
        .map_err(|error| StartError::System { what: "the actors' thread".to_owned(), error })?;
    let (system, started) = ready.recv().expect("the actors' thread says when it is ready");
    let Started { writer, tail, arbiters, io, hosting, archiver, snapshot_scheduler } = started;
    Ok(Running { system, threads, writer, tail, arbiters, io, hosting, archiver, snapshot_scheduler })
}

fn start_actors(parts: Parts) -> Started {
    let Parts { directory, shards, sequences, mut log, clock, on_failure, commits, syncs, ticks, away, kept, on_batch } =
        parts;
    let count = shards.len();
    let archiver = away.map(|(archive, billing)| {
        let (theirs, on_failure) = (directory.clone(), on_failure.clone());
        ArchiverActor::start_in_arbiter(&Arbiter::new().handle(), move |_| {
            ArchiverActor::new(archive, billing, theirs, Box::new(move |failure| on_failure(failure)))
        })
    });
    let Kept { snapshots, data, figures, snapshot_policy } = kept;
    let written = figures.clone();
    let tail = Arc::new(FactTail::new(log.next_block()));
    let theirs = tail.clone();
    let writer = JournalWriter::start_in_arbiter(&Arbiter::new().handle(), move |_| {
        let observe = move |commitment: Commitment| {
            let micros = u64::try_from(commitment.took.as_micros()).unwrap_or(u64::MAX);
            commits.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(micros);
            syncs.append.observe(commitment.took);
            syncs.sync.observe(commitment.synced);
        };
        log.keep(is_for_observers);
        JournalWriter::new(log, count, Box::new(move |failure| on_failure(failure)), observe, (written, theirs))
    });
    let arbiters: Vec<ArbiterHandle> = (0..count).map(|_| Arbiter::new().handle()).collect();
    let actors = arbiters.iter().map(|arbiter| {
        let parts = shard_actor::ShardActorParts {
            directory: directory.clone(),
            clock: clock.clone(),
            writer: writer.clone(),
            log: figures.clone(),
            ticks: ticks.clone(),
            archiver: archiver.clone(),
            on_batch: on_batch.clone(),
        };
        ShardActor::start_in_arbiter(arbiter, move |_| ShardActor::new(parts))
    });
    let hosting = Hosting::new(directory.clone(), actors.collect());
    for mut shard in shards {
        shard.continue_after(sequences.clone());
        let opened = hosting.open(Box::new(Driver::new(shard)));
        assert!(opened.is_ok(), "a mailbox that nothing was sent to has room");
    }
    let parts = snapshot_scheduler::SnapshotSchedulerParts {
        snapshots,
        data,
        directory: directory.clone(),
        writer: writer.clone(),
        figures,
    };
    let snapshot_scheduler = SnapshotScheduler::start_in_arbiter(&Arbiter::new().handle(), move |_| {
        SnapshotScheduler::new(parts, snapshot_policy)
    });
    Started { writer, tail, arbiters, io: Arbiter::new().handle(), hosting, archiver, snapshot_scheduler }
}
