//! The actor that keeps snapshots: it asks shards for them, partition by partition, writes them while the gate runs, and lets
//! the log go behind them. When whose turn is, is decided by the [`Schedule`].
//!
//! It lives alone on its thread, because writing a snapshot blocks. While a backup is copied it does nothing else, so that
//! nothing is trimmed or replaced under it.

use super::directory::Directory;
use super::shard_actor::TakeSnapshot;
use super::writer::{JournalWriter, Trim, View};
use crate::journal::backup::Manifest;
use crate::journal::{DataDir, Failure, Sequence, Sequences, Snapshots};
use crate::limits;
use crate::node::log_figures::LogFigures;
use crate::node::shard::Shard;
use crate::node::snapshot::Taken;
use crate::node::snapshot_policy::SnapshotPolicy;
use crate::node::snapshot_schedule::{Asked, CHECK_INTERVAL, Doing, Schedule};
use crate::units::PartitionId;
use actix::prelude::SendError;
use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// How long the log's writer may take to show the log.
const VIEW_TIMEOUT: Duration = Duration::from_secs(30);

/// A backup is to be taken into this directory, beside the running gate.
pub struct Backup {
    /// A directory that is empty or not there.
    pub to: PathBuf,
    /// Receives the manifest, or the failure.
    pub reply: mpsc::Sender<Result<Manifest, Failure>>,
}

impl Message for Backup {
    type Result = ();
}

/// Give all partitions their turn now, one after the other, and confirm when that is over and the log trimmed, and
/// whether it succeeded.
pub struct Cycle {
    /// Receives the result.
    pub over: mpsc::Sender<bool>,
    /// Least growth of the log, in bytes, since the last cycle began; below it the cycle ends at once.
    pub unless_below: u64,
}

impl Message for Cycle {
    type Result = ();
}

/// The gate ends: no more snapshots are taken, and the data directory is released.
pub struct Dismiss(pub mpsc::Sender<()>);

impl Message for Dismiss {
    type Result = ();
}

/// A shard's answer.
pub struct Swept {
    /// Which partition.
    pub partition: PartitionId,
    /// Its snapshot; none when nothing has happened since the last one.
    pub taken: Option<Taken>,
}

impl Message for Swept {
    type Result = ();
}

/// The keeper.
pub struct SnapshotScheduler {
    schedule: Schedule<mpsc::Sender<bool>>,
    data: Option<DataDir>,
    directory: Arc<Directory>,
    writer: Addr<JournalWriter>,
}

/// The actors and settings that a scheduler works with.
pub struct SnapshotSchedulerParts {
    /// The snapshots.
    pub snapshots: Arc<Snapshots>,
    /// The data directory, unless everything is in memory.
    pub data: Option<DataDir>,
    /// The shards.
    pub directory: Arc<Directory>,
    /// The log's writer.
    pub writer: Addr<JournalWriter>,
    /// How the log is.
    pub figures: Arc<LogFigures>,
}

/// What the schedule has the keeper do.
struct Errands<'a> {
    directory: &'a Directory,
    writer: &'a Addr<JournalWriter>,
    snapshot_scheduler: Addr<SnapshotScheduler>,
}

impl Doing for Errands<'_> {
    type Waiting = mpsc::Sender<bool>;

    fn take(&mut self, partition: PartitionId, unless: Option<Sequence>) -> Asked {
        let shard = Shard::of(partition, self.directory.node_config().shards);
        let places = self.directory.places();
        let Some(shard) = places.shard(shard) else { return Asked::NotHere };
        match shard.try_send(TakeSnapshot { partition, unless, reply: self.snapshot_scheduler.clone() }) {
            Ok(()) => Asked::Taken,
            Err(SendError::Full(_)) => Asked::Busy,
            Err(SendError::Closed(_)) => Asked::Gone,
        }
    }

    fn trim(&mut self, reach: Sequences) -> bool {
        // The writer's mailbox has room for one at a time.
        self.writer.try_send(Trim(reach)).is_ok()
    }

    fn over(&mut self, waiting: mpsc::Sender<bool>, whole: bool) {
        // The receiver may have timed out; ignoring the send error is correct.
        let _ = waiting.send(whole);
    }
}

impl SnapshotScheduler {
    /// A keeper.
    pub fn new(parts: SnapshotSchedulerParts, snapshot_policy: SnapshotPolicy) -> SnapshotScheduler {
        let SnapshotSchedulerParts { snapshots, data, directory, writer, figures } = parts;
        let node_config = directory.node_config();
        let schedule = Schedule::new(snapshots, figures, snapshot_policy, (node_config.partitions, node_config.shards));
        SnapshotScheduler { schedule, data, directory, writer }
    }

    /// The schedule, and what it has to do its work with.
    fn parts<'a>(
        &'a mut self,
        context: &Context<SnapshotScheduler>,
    ) -> (&'a mut Schedule<mpsc::Sender<bool>>, Errands<'a>) {
        let snapshot_scheduler = context.address();
        (&mut self.schedule, Errands { directory: &self.directory, writer: &self.writer, snapshot_scheduler })
    }

    fn back_up(&mut self, Backup { to, reply }: Backup) {
        let begun = Instant::now();
        let taken = match (&self.data, self.view()) {
            (Some(data), Some(mut view)) => view.backup(data, &to),
            (None, _) => {
                let what = "this gate keeps everything in memory".to_owned();
                Err(Failure::Absent { path: to, what })
            }
            (Some(_), None) => Err(Failure::Dead),
        };
        match &taken {
            Ok(manifest) => {
                let (bytes, took_ms) = (manifest.bytes, u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
                tracing::info!(bytes, took_ms, "a backup is taken");
            }
            Err(failure) => tracing::error!(%failure, "no backup was taken"),
        }
        // The receiver may have timed out; ignoring the send error is correct.
        let _ = reply.send(taken);
    }

    fn view(&self) -> Option<crate::journal::LogView> {
        let (reply, shown) = mpsc::channel();
        self.writer.try_send(View(reply)).ok()?;
        shown.recv_timeout(VIEW_TIMEOUT).ok()
    }
}

impl Actor for SnapshotScheduler {
    type Context = Context<SnapshotScheduler>;

    fn started(&mut self, context: &mut Context<SnapshotScheduler>) {
        context.set_mailbox_capacity(
            limits::SNAPSHOT_SCHEDULER_MAILBOX.max(usize::from(self.directory.node_config().shards)),
        );
        context.run_interval(CHECK_INTERVAL, |snapshot_scheduler, context| {
            let (schedule, mut errands) = snapshot_scheduler.parts(context);
            schedule.go_on(Instant::now(), &mut errands);
        });
    }
}

impl Handler<Swept> for SnapshotScheduler {
    type Result = ();

    fn handle(&mut self, Swept { partition, taken }: Swept, context: &mut Context<SnapshotScheduler>) {
        let (schedule, mut errands) = self.parts(context);
        if let Some(taken) = taken {
            schedule.keep(&taken, &mut errands);
        }
        // Only now: writing a snapshot takes its time.
        schedule.answered(partition, Instant::now(), &mut errands);
    }
}

impl Handler<Backup> for SnapshotScheduler {
    type Result = ();

    fn handle(&mut self, backup: Backup, _: &mut Context<SnapshotScheduler>) {
        self.schedule.pause();
        self.back_up(backup);
    }
}

impl Handler<Dismiss> for SnapshotScheduler {
    type Result = ();

    fn handle(&mut self, Dismiss(dismissed): Dismiss, context: &mut Context<SnapshotScheduler>) {
        self.data = None;
        self.schedule.pause();
        context.stop();
        // The receiver may have timed out; ignoring the send error is correct.
        let _ = dismissed.send(());
    }
}

impl Handler<Cycle> for SnapshotScheduler {
    type Result = ();

    fn handle(&mut self, Cycle { over, unless_below }: Cycle, context: &mut Context<SnapshotScheduler>) {
        let (schedule, mut errands) = self.parts(context);
        // One that may not wait is dropped: its receiver learns that there will be no answer.
        let _ = schedule.want(over, unless_below, Instant::now(), &mut errands);
    }
}
