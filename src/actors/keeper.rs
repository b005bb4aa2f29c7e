//! The actor that keeps snapshots: partition by partition, while the gate runs, and then lets the log go.
//!
//! It lives alone on its thread, because writing a snapshot blocks. A round takes every partition once. Each shard has
//! one snapshot under way at a time, so memory holds no more than one partition of each. Only when all of them are
//! written, synced and read back is the log trimmed: no further than to the older of the two that are kept, unless it takes
//! more than half of what it may. At its bound the shards take no more turns until it is shorter.
//!
//! ```text
//!   due ─▶ for each partition: TakeSnapshot ─▶ shard: sweep ... durable ─▶ Taken ─▶ write, sync, rename, read back
//!       ─▶ Trim below the older snapshots of all partitions ─▶ writer
//! ```
//!
//! A closed session is put into the archive, synced, and only then forgotten by its shard: so a snapshot without it is
//! younger than the archive's copy, and the log that told of it goes last of all.
//!
//! A round that fails (a full disk) is told, and tried again later; the log only grows meanwhile. Backups are taken
//! between two rounds, so that nothing is trimmed or replaced under them.

use super::directory::Directory;
use super::shard::Shard;
use super::shard_actor::TakeSnapshot;
use super::snapshot::Taken;
use super::writer::{JournalWriter, LogFigures, Trim, View};
use crate::journal::backup::Manifest;
use crate::journal::{DataDir, Failure, Snapshots};
use crate::limits;
use crate::units::PartitionId;
use actix::prelude::SendError;
use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// How often it is asked whether a round is due.
const LOOK: Duration = Duration::from_millis(100);
/// How long after a round that failed the next one begins.
const RETRY: Duration = Duration::from_secs(10);
/// How long the log's writer may take to show the log.
const PATIENCE: Duration = Duration::from_secs(30);

/// When snapshots are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// Bytes of the log since the last round began, after which the next one does.
    pub log_bytes: u64,
    /// Time after which the next round begins if the log has grown at all.
    pub every: Duration,
}

impl Rhythm {
    /// A rhythm that keeps the log below so many bytes: it holds two rounds, what is written during them, and the part of a
    /// generation (32 MiB) that cannot go yet, so a round begins after a sixth of that.
    pub const fn log_below(bytes: u64, every: Duration) -> Rhythm {
        Rhythm { log_bytes: bytes / 6, every }
    }

    /// Below how many bytes it keeps the log.
    pub const fn bound(&self) -> u64 {
        self.log_bytes.saturating_mul(6)
    }
}

impl Default for Rhythm {
    /// 512 MiB, and a quarter of an hour.
    fn default() -> Rhythm {
        Rhythm::log_below(512 * 1024 * 1024, Duration::from_secs(15 * 60))
    }
}

/// A backup is to be taken into this directory, beside the running gate.
pub struct Backup {
    /// A directory that is empty or not there.
    pub to: PathBuf,
    /// Who is told what it consists of.
    pub reply: mpsc::Sender<Result<Manifest, Failure>>,
}

impl Message for Backup {
    type Result = ();
}

/// A round begins now, if none is under way: and this one is told when it is over, and whether it came to its end.
pub struct Round {
    /// Who is told.
    pub over: mpsc::Sender<bool>,
    /// Not if the log has grown by less than so many bytes since the last round: then it is over at once.
    pub unless_below: u64,
}

impl Message for Round {
    type Result = ();
}

/// The gate ends: nothing more is kept, and the data directory is let go of.
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

/// What the keeper has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct UnderWay {
    snapshots: u64,
    bytes: u64,
}

struct Current {
    begun: Instant,
    /// What had been written to the log when it began.
    log_at: u64,
    /// Partitions of each shard that are still to come.
    left: Vec<VecDeque<PartitionId>>,
    /// Shards that have one under way.
    busy: usize,
    done: UnderWay,
    /// Something went wrong: nothing is trimmed.
    failed: bool,
}

/// The keeper.
pub struct Keeper {
    snapshots: Arc<Snapshots>,
    data: Option<DataDir>,
    directory: Arc<Directory>,
    writer: Addr<JournalWriter>,
    figures: Arc<LogFigures>,
    rhythm: Rhythm,
    round: Option<Current>,
    /// When the last one began, and what had been written to the log then.
    last: (Instant, u64),
    not_before: Instant,
    backups: VecDeque<Backup>,
    waiting: Vec<mpsc::Sender<bool>>,
}

/// Who a keeper works for.
pub struct Surroundings {
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

impl Keeper {
    /// A keeper. The log that was found at the start counts as written since the last round.
    pub fn new(around: Surroundings, rhythm: Rhythm) -> Keeper {
        let Surroundings { snapshots, data, directory, writer, figures } = around;
        let now = Instant::now();
        Keeper {
            snapshots,
            data,
            directory,
            writer,
            figures,
            rhythm,
            round: None,
            last: (now, 0),
            not_before: now,
            backups: VecDeque::new(),
            waiting: Vec::new(),
        }
    }

    fn is_due(&self) -> bool {
        let (begun, log_at) = self.last;
        let grown = self.figures.written().saturating_sub(log_at);
        let due = grown >= self.rhythm.log_bytes || (grown > 0 && begun.elapsed() >= self.rhythm.every);
        due && self.round.is_none() && Instant::now() >= self.not_before
    }

    fn begin(&mut self, context: &mut Context<Keeper>) {
        let shards = self.directory.shards().len();
        if shards == 0 {
            return;
        }
        let house = self.directory.house();
        let mut left = vec![VecDeque::new(); shards];
        for partition in (0..house.partitions).map(PartitionId) {
            left[usize::from(Shard::of(partition, house.shards))].push_back(partition);
        }
        let (begun, log_at) = (Instant::now(), self.figures.written());
        self.last = (begun, log_at);
        self.figures.set_relief(true);
        self.round = Some(Current { begun, log_at, left, busy: 0, done: UnderWay::default(), failed: false });
        (0..shards).for_each(|shard| self.ask(shard, context));
        self.look_whether_over();
    }

    /// Asks a shard for its next partition.
    fn ask(&mut self, shard: usize, context: &mut Context<Keeper>) {
        let Some(round) = &mut self.round else { return };
        let Some(partition) = round.left[shard].pop_front() else { return };
        let known = self.snapshots.verified().last(partition);
        let unless = self.snapshots.is_settled(partition, known).then_some(known);
        let wanted = TakeSnapshot { partition, unless, reply: context.address() };
        match self.directory.shards()[shard].try_send(wanted) {
            Ok(()) => round.busy += 1,
            Err(SendError::Full(_)) => {
                // The shard has more urgent things to do.
                round.left[shard].push_front(partition);
                context.run_later(LOOK, move |keeper, context| keeper.ask(shard, context));
            }
            Err(SendError::Closed(_)) => round.failed = true,
        }
    }

    fn keep(&mut self, taken: &Taken) {
        let (Taken { partition, sequence, .. }, state) = (taken, taken.state());
        let written = self.snapshots.write(*partition, *sequence, &state);
        let Some(round) = &mut self.round else { return };
        match written {
            Ok(()) => {
                round.done.snapshots += 1;
                round.done.bytes += state.len() as u64;
            }
            Err(failure) => {
                tracing::error!(%partition, %failure, "a snapshot could not be kept; the log is not trimmed");
                round.failed = true;
            }
        }
    }

    fn look_whether_over(&mut self) {
        let over = |round: &mut Current| round.busy == 0 && (round.failed || round.left.iter().all(VecDeque::is_empty));
        let Some(round) = self.round.take_if(over) else { return };
        self.figures.set_relief(false);
        match round.failed {
            true => self.not_before = Instant::now() + RETRY,
            false => {
                let UnderWay { snapshots, bytes } = round.done;
                let (took_ms, log_bytes) = (round.begun.elapsed().as_millis(), self.figures.written() - round.log_at);
                tracing::info!(snapshots, bytes, took_ms, log_bytes, "all partitions have their snapshots");
                // A log that could also begin at the older snapshots is a comfort: it goes first when there is little room.
                let reach = match self.figures.is_strained() {
                    true => self.snapshots.verified(),
                    false => self.snapshots.reach(),
                };
                // The writer's mailbox has room for it; if the process is at its end, the next round will do.
                let _ = self.writer.try_send(Trim(reach));
            }
        }
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(!round.failed);
        }
        while let Some(backup) = self.backups.pop_front() {
            self.back_up(backup);
        }
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
                let (bytes, took_ms) = (manifest.bytes, begun.elapsed().as_millis());
                tracing::info!(bytes, took_ms, "a backup is taken");
            }
            Err(failure) => tracing::error!(%failure, "no backup was taken"),
        }
        // Whoever asked may have lost patience.
        let _ = reply.send(taken);
    }

    fn view(&self) -> Option<crate::journal::LogView> {
        let (reply, shown) = mpsc::channel();
        self.writer.try_send(View(reply)).ok()?;
        shown.recv_timeout(PATIENCE).ok()
    }
}

impl Actor for Keeper {
    type Context = Context<Keeper>;

    fn started(&mut self, context: &mut Context<Keeper>) {
        context.set_mailbox_capacity(crate::limits::KEEPER_MAILBOX.max(self.directory.shards().len()));
        context.run_interval(LOOK, |keeper, context| {
            if keeper.is_due() {
                keeper.begin(context);
            }
        });
    }
}

impl Handler<Swept> for Keeper {
    type Result = ();

    fn handle(&mut self, Swept { partition, taken }: Swept, context: &mut Context<Keeper>) {
        if let Some(taken) = taken {
            self.keep(&taken);
        }
        let shard = usize::from(Shard::of(partition, self.directory.house().shards));
        if let Some(round) = &mut self.round {
            round.busy -= 1;
            if !round.failed {
                self.ask(shard, context);
            }
        }
        self.look_whether_over();
    }
}

impl Handler<Backup> for Keeper {
    type Result = ();

    fn handle(&mut self, backup: Backup, _: &mut Context<Keeper>) {
        match self.round {
            None => self.back_up(backup),
            Some(_) if self.backups.len() < limits::KEEPER_WAITING => self.backups.push_back(backup),
            // Whoever asked is told that nobody will answer.
            Some(_) => drop(backup),
        }
    }
}

impl Handler<Dismiss> for Keeper {
    type Result = ();

    fn handle(&mut self, Dismiss(dismissed): Dismiss, context: &mut Context<Keeper>) {
        (self.data, self.round) = (None, None);
        self.figures.set_relief(false);
        context.stop();
        // Whoever asked may have lost patience.
        let _ = dismissed.send(());
    }
}

impl Handler<Round> for Keeper {
    type Result = ();

    fn handle(&mut self, Round { over, unless_below }: Round, context: &mut Context<Keeper>) {
        if self.round.is_none() && self.figures.written().saturating_sub(self.last.1) < unless_below {
            // Whoever asked may have lost patience.
            let _ = over.send(true);
            return;
        }
        if self.waiting.len() < limits::KEEPER_WAITING {
            self.waiting.push(over);
        }
        if self.round.is_none() {
            self.begin(context);
        }
    }
}
