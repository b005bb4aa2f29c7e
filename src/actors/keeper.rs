//! The actor that keeps snapshots: partition by partition, while the gate runs, and lets the log go behind them.
//!
//! It lives alone on its thread, because writing a snapshot blocks. It walks round the partitions, and the log's growth moves
//! its feet: of n partitions one has its turn after every n-th part of the bytes in which each has one. So shards never have
//! more to do with snapshots than a little, and the log always ends at about the same length. A shard has at most two snapshots
//! under way, so memory holds no more than two partitions of each. Behind one that is written, synced and read back the log
//! is trimmed: no further than to the older of the two that are kept of each partition, unless it takes more than half of what
//! it may. Near its bound partitions have their turns at once, and at it the shards take no more turns of chargers until it is
//! shorter.
//!
//! ```text
//!   turn ─▶ TakeSnapshot ─▶ shard: sweep ... durable ─▶ Taken ─▶ write, sync, rename, read back
//!        ─▶ Trim below the snapshots of all partitions ─▶ writer
//! ```
//!
//! A closed session is put into the archive, synced, and only then forgotten by its shard: so a snapshot without it is
//! younger than the archive's copy, and the log that told of it goes last of all.
//!
//! A round that fails (a full disk) is told, and begun again later; the log only grows meanwhile. While a backup is copied
//! the keeper does nothing else, so that nothing is trimmed or replaced under it.

use super::directory::Directory;
use super::shard_actor::TakeSnapshot;
use super::writer::{JournalWriter, LogFigures, Trim, View};
use crate::journal::backup::Manifest;
use crate::journal::{DataDir, Failure, Pace, Snapshots};
use crate::limits;
use crate::node::rhythm::{Growth, Rhythm};
use crate::node::shard::Shard;
use crate::node::snapshot::Taken;
use crate::units::PartitionId;
use actix::prelude::SendError;
use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// How often it is asked whose turn it is.
const LOOK: Duration = Duration::from_millis(20);
/// How long after a round that failed the next one begins.
const RETRY: Duration = Duration::from_secs(10);
/// How long the log's writer may take to show the log.
const PATIENCE: Duration = Duration::from_secs(30);

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

/// All partitions have their turn now, one after the other, and this one is told when that is over and the log trimmed, and
/// whether it came to its end.
pub struct Round {
    /// Who is told.
    pub over: mpsc::Sender<bool>,
    /// Not if the log has grown by less than so many bytes since the last round began: then it is over at once.
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

/// Every partition once.
struct Current {
    begun: Instant,
    /// What had been written to the log when it began.
    log_at: u64,
    /// Bytes of the log in which it is to come to its end.
    stride: u64,
    /// It is wanted now, however little the log has grown.
    hurried: bool,
    /// Who waits for it.
    waiting: Vec<mpsc::Sender<bool>>,
    /// Partitions of each shard that are still to come.
    left: Vec<VecDeque<PartitionId>>,
    /// Partitions that had their turn.
    turns: u64,
    /// Snapshots that were kept, and their bytes.
    kept: (u64, u64),
    /// How long all of them took, shards side by side.
    took: Duration,
    /// Something went wrong.
    failed: bool,
}

/// What the writer was asked to trim: one time after the other, and once more if something became free meanwhile.
#[derive(Debug, Default)]
struct Trimming {
    /// How many times it was asked.
    asked: u64,
    /// There is more to trim by now.
    again: bool,
}

/// How far the writer is with what it was asked to trim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    UnderWay,
    /// It has done what it was asked for, and more is free by now.
    MoreToDo,
    Done,
}

impl Trimming {
    /// Whether it may be asked when it has trimmed so many times. If not, there is more to do afterwards.
    fn may_ask(&mut self, done: u64) -> bool {
        self.again = done < self.asked;
        !self.again
    }

    fn asked(&mut self) {
        self.asked += 1;
    }

    fn progress(&self, done: u64) -> Progress {
        match (done < self.asked, self.again) {
            (true, _) => Progress::UnderWay,
            (false, true) => Progress::MoreToDo,
            (false, false) => Progress::Done,
        }
    }
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
    /// Snapshots that each shard has under way, by when they were asked for, the oldest first.
    under_way: Vec<VecDeque<Instant>>,
    /// What had been written to the log when the last round began that came to its end: all partitions have younger snapshots.
    covered: u64,
    trimming: Trimming,
    /// When a round is begun again after one that failed.
    retry_at: Option<Instant>,
    /// Who wants a round that begins when nothing is under way any more.
    wanted: Vec<mpsc::Sender<bool>>,
    /// Who waits for the log to be trimmed after a round.
    over: Vec<mpsc::Sender<bool>>,
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
    /// A keeper. The log that was found at the start counts as written in its first round.
    pub fn new(around: Surroundings, rhythm: Rhythm) -> Keeper {
        let Surroundings { snapshots, data, directory, writer, figures } = around;
        Keeper {
            snapshots,
            data,
            directory,
            writer,
            figures,
            rhythm,
            round: None,
            under_way: Vec::new(),
            covered: 0,
            trimming: Trimming::default(),
            retry_at: None,
            wanted: Vec::new(),
            over: Vec::new(),
        }
    }

    /// Begins a round in which the log grows by `stride`, unless it is hurried.
    fn begin(&mut self, log_at: u64, stride: u64, hurried: bool) {
        let house = self.directory.house();
        let shards = self.directory.shards().len();
        let mut left = vec![VecDeque::new(); shards];
        for partition in (0..house.partitions).map(PartitionId) {
            left[usize::from(Shard::of(partition, house.shards))].push_back(partition);
        }
        self.under_way.resize(shards, VecDeque::new());
        let (begun, waiting, took) = (Instant::now(), std::mem::take(&mut self.wanted), Duration::ZERO);
        let (turns, kept, failed) = (0, (0, 0), false);
        self.round = Some(Current { begun, log_at, stride, hurried, waiting, left, turns, kept, took, failed });
    }

    /// Begins a round when one is wanted or there is none, and lets the partitions have their turns whose turn it is.
    fn go_on(&mut self, context: &mut Context<Keeper>) {
        let (written, stride) = (self.figures.written(), self.rhythm.log_bytes);
        if self.directory.shards().is_empty() {
            return;
        }
        self.look_whether_trimmed();
        if !self.has_some_under_way() {
            self.look_whether_over();
            match (&self.round, self.retry_at) {
                _ if !self.wanted.is_empty() => self.begin(written, stride, true),
                (Some(_), _) => {}
                (None, None) => self.begin(0, stride, false),
                (None, Some(at)) if at <= Instant::now() => self.begin(written, stride, true),
                (None, Some(_)) => {}
            }
        }
        while self.wanted.is_empty()
            && let Some(shard) = self.next()
            && self.ask(shard, context)
        {}
        self.figures.set_relief(self.has_some_under_way());
    }

    /// The shard whose partition has its turn, if one has: of those that may have one more under way the one with the most to do.
    fn next(&self) -> Option<usize> {
        let round = self.round.as_ref().filter(|round| !round.failed)?;
        let log = Growth {
            grown: self.figures.written().saturating_sub(round.log_at),
            used: self.figures.used(),
            since: round.begun.elapsed(),
            stride: round.stride,
        };
        if !round.hurried && round.turns >= self.rhythm.turns(self.directory.house().partitions, log) {
            return None;
        }
        let idle = |shard: &usize| {
            self.under_way[*shard].len() < limits::SNAPSHOTS_UNDER_WAY && !round.left[*shard].is_empty()
        };
        (0..round.left.len()).filter(idle).max_by_key(|shard| (round.left[*shard].len(), std::cmp::Reverse(*shard)))
    }

    /// Asks a shard for its next partition. Not when it has more urgent things to do.
    fn ask(&mut self, shard: usize, context: &mut Context<Keeper>) -> bool {
        let Some(round) = &mut self.round else { return false };
        let Some(partition) = round.left[shard].pop_front() else { return false };
        let known = self.snapshots.verified().last(partition);
        let unless = self.snapshots.is_settled(partition, known).then_some(known);
        let wanted = TakeSnapshot { partition, unless, reply: context.address() };
        match self.directory.shards()[shard].try_send(wanted) {
            Ok(()) => {
                round.turns += 1;
                self.under_way[shard].push_back(Instant::now());
                return true;
            }
            Err(SendError::Full(_)) => round.left[shard].push_front(partition),
            Err(SendError::Closed(_)) => round.failed = true,
        }
        false
    }

    fn keep(&mut self, taken: &Taken) {
        let Taken { partition, sequence, pieces } = taken;
        let pace = if self.figures.is_strained() { Pace::Fast } else { Pace::Gentle };
        let written = self.snapshots.write_pieces(*partition, *sequence, pieces, pace);
        let Some(round) = &mut self.round else { return };
        match written {
            Ok(()) => {
                round.kept.0 += 1;
                round.kept.1 += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
            }
            Err(failure) => {
                tracing::error!(%partition, %failure, "a snapshot could not be kept; the log is not trimmed");
                round.failed = true;
            }
        }
    }

    fn look_whether_over(&mut self) {
        let over = |round: &mut Current| round.failed || round.left.iter().all(VecDeque::is_empty);
        let Some(round) = self.round.take_if(over) else { return };
        self.figures.note_snapshots(!round.failed);
        if round.failed {
            self.retry_at = Some(Instant::now() + RETRY);
            for waiting in round.waiting {
                // Whoever asked may have lost patience.
                let _ = waiting.send(false);
            }
            return;
        }
        let (took, (snapshots, bytes)) = (round.begun.elapsed(), round.kept);
        let log_bytes = self.figures.written().saturating_sub(round.log_at);
        let ms = |took: Duration| u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let (took_ms, work_ms) = (ms(took), ms(round.took));
        tracing::info!(snapshots, bytes, took_ms, work_ms, log_bytes, "all partitions have their snapshots");
        self.covered = round.log_at;
        self.over.extend(round.waiting);
        self.trim();
        let stride = self.rhythm.stride(round.took, took);
        self.begin(self.figures.written(), stride, false);
    }

    /// Lets the log go as far as the snapshots allow, when the writer has done so before.
    fn trim(&mut self) {
        if !self.trimming.may_ask(self.figures.trims()) {
            return;
        }
        // A log that could also begin at the older snapshots is a comfort: it goes first when there is little room.
        let reach = match self.figures.is_strained() {
            true => self.snapshots.verified(),
            false => self.snapshots.reach(),
        };
        // The writer's mailbox has room for one at a time. If the process is at its end, nobody waits any more.
        if self.writer.try_send(Trim(reach)).is_ok() {
            self.trimming.asked();
        }
    }

    /// Trims again what became free meanwhile, or says that the log is trimmed.
    fn look_whether_trimmed(&mut self) {
        match self.trimming.progress(self.figures.trims()) {
            Progress::UnderWay => {}
            Progress::MoreToDo => self.trim(),
            Progress::Done => {
                for over in self.over.drain(..) {
                    // Whoever asked may have lost patience.
                    let _ = over.send(true);
                }
            }
        }
    }

    fn has_some_under_way(&self) -> bool {
        self.under_way.iter().any(|asked| !asked.is_empty())
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
        context.run_interval(LOOK, Keeper::go_on);
    }
}

impl Handler<Swept> for Keeper {
    type Result = ();

    fn handle(&mut self, Swept { partition, taken }: Swept, context: &mut Context<Keeper>) {
        if let Some(taken) = taken {
            self.keep(&taken);
            self.trim();
        }
        let shard = usize::from(Shard::of(partition, self.directory.house().shards));
        let begun = self.under_way[shard].pop_front();
        if let Some((round, begun)) = self.round.as_mut().zip(begun) {
            round.took += begun.elapsed() / u32::from(self.directory.house().shards);
        }
        self.go_on(context);
    }
}

impl Handler<Backup> for Keeper {
    type Result = ();

    fn handle(&mut self, backup: Backup, _: &mut Context<Keeper>) {
        // Nobody makes the log shorter meanwhile.
        self.figures.set_relief(false);
        self.back_up(backup);
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
        let written = self.figures.written();
        if written.saturating_sub(self.covered) < unless_below {
            // Whoever asked may have lost patience.
            let _ = over.send(true);
            return;
        }
        let joined = self.round.as_mut().filter(|round| round.hurried && !round.failed);
        let wanted = joined.map_or(&mut self.wanted, |round| &mut round.waiting);
        if wanted.len() < limits::KEEPER_WAITING {
            wanted.push(over);
            self.go_on(context);
        }
        // Else whoever asked is told that nobody will answer.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever waits for a round is told when the log is trimmed below all of it, not when some earlier trim came to its end.
    #[test]
    fn one_trim_is_under_way_at_a_time_and_what_became_free_meanwhile_is_trimmed_before_anybody_is_told() {
        let mut trimming = Trimming::default();
        assert_eq!((trimming.progress(0), trimming.may_ask(0)), (Progress::Done, true));
        trimming.asked();
        assert_eq!(trimming.progress(0), Progress::UnderWay);
        assert!(!trimming.may_ask(0) && !trimming.may_ask(0), "the first is under way");
        assert_eq!(trimming.progress(0), Progress::UnderWay);
        assert_eq!(trimming.progress(1), Progress::MoreToDo);
        assert!(trimming.may_ask(1));
        trimming.asked();
        assert_eq!([1, 2].map(|done| trimming.progress(done)), [Progress::UnderWay, Progress::Done]);
    }
}
