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
use crate::journal::{DataDir, Failure, Pace, Snapshots};
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

/// Rounds take no more than this part of the time, unless the log is in need of them.
const CALM: u32 = 10;

/// When snapshots are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// Bytes of the log since the last round began, after which the next one does.
    pub log_bytes: u64,
    /// Time after which the next round begins if the log has grown at all.
    pub every: Duration,
}

impl Rhythm {
    /// A rhythm that keeps the log below so many bytes. A round begins after a sixth of that: so the log has room for what is
    /// between the older of the two snapshots of each partition and now, for what is written during a round, and for the part
    /// of a generation (32 MiB) that cannot go yet. Under a load that makes the log grow so fast that rounds would follow one
    /// another, a round begins when the log would else outgrow its bound: a snapshot costs the same, however much it lets go.
    pub const fn log_below(bytes: u64, every: Duration) -> Rhythm {
        Rhythm { log_bytes: bytes / 6, every }
    }

    /// Below how many bytes it keeps the log.
    pub const fn bound(&self) -> u64 {
        self.log_bytes.saturating_mul(6)
    }

    /// Whether the next round is to begin.
    fn is_due(&self, log: Growth) -> bool {
        if log.since >= self.every {
            return log.grown > 0;
        }
        // What the log will take at the end of a round, if it grows during it as it did since the last one began.
        let rounds = log.round.as_millis() * u128::from(log.grown) / log.since.as_millis().max(1);
        let needed = u128::from(log.used) + rounds >= u128::from(self.bound() / 16 * 15);
        log.grown >= self.log_bytes && (log.round * CALM <= log.since || needed)
    }
}

/// What the log did since a round began.
#[derive(Clone, Copy, Debug)]
struct Growth {
    /// Bytes that were written.
    grown: u64,
    /// Bytes that it takes.
    used: u64,
    /// How long ago the last round began.
    since: Duration,
    /// How long that took.
    round: Duration,
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
    /// How long it took.
    took: Duration,
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
            took: Duration::ZERO,
            not_before: now,
            backups: VecDeque::new(),
            waiting: Vec::new(),
        }
    }

    fn is_due(&self) -> bool {
        let (begun, log_at) = self.last;
        let grown = self.figures.written().saturating_sub(log_at);
        let log = Growth { grown, used: self.figures.used(), since: begun.elapsed(), round: self.took };
        self.round.is_none() && Instant::now() >= self.not_before && self.rhythm.is_due(log)
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
        let Taken { partition, sequence, pieces } = taken;
        let pace = if self.figures.is_strained() { Pace::Fast } else { Pace::Gentle };
        let written = self.snapshots.write_pieces(*partition, *sequence, pieces, pace);
        let Some(round) = &mut self.round else { return };
        match written {
            Ok(()) => {
                round.done.snapshots += 1;
                round.done.bytes += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
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
        self.took = round.begun.elapsed();
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

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn is_due(grown_mib: u64, used_mib: u64, since_s: u64, round_ms: u64) -> bool {
        let rhythm = Rhythm::log_below(600 * MIB, Duration::from_secs(900));
        let (since, round) = (Duration::from_secs(since_s), Duration::from_millis(round_ms));
        rhythm.is_due(Growth { grown: grown_mib * MIB, used: used_mib * MIB, since, round })
    }

    #[test]
    fn a_round_begins_after_a_sixth_of_the_log_or_when_its_time_has_come() {
        assert!(!is_due(99, 250, 60, 500) && is_due(100, 250, 60, 500));
        assert!(!is_due(0, 32, 2_000, 500) && is_due(1, 32, 900, 500));
    }

    #[test]
    fn under_load_a_round_waits_until_the_log_is_in_need_of_it() {
        // 100 MiB/s, and a round takes a second: it begins when no more than what comes meanwhile fits.
        assert!(!is_due(100, 150, 1, 1_000) && !is_due(350, 400, 4, 1_000));
        assert!(is_due(420, 470, 4, 1_000));
        // A round that takes long begins early.
        assert!(is_due(100, 150, 1, 5_000));
    }
}
