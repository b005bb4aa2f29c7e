//! The schedule of snapshots: which partition's snapshot is taken when, and how far the log may be trimmed behind them.
//!
//! It goes round the partitions, paced by the growth of the log: of n partitions one has its turn after every n-th part of the
//! bytes in which each has one. So shards never have more to do with snapshots than a little, and the log always ends at about
//! the same length. A shard has at most two snapshots under way, so memory holds no more than two partitions of each. Behind one
//! that is written, synced and read back the log is trimmed: no further than to the older of the two that are kept of each
//! partition, unless it takes more than half of what it may. Near its bound partitions have their turns at once, and at it the
//! shards take no more batches of chargers until it is shorter.
//!
//! ```text
//!   turn ─▶ take ─▶ shard: sweep ... durable ─▶ Taken ─▶ write, sync, rename, read back
//!        ─▶ trim below the snapshots of all partitions ─▶ writer
//! ```
//!
//! A closed session is put into the archive, synced, and only then forgotten by its shard: so a snapshot without it is
//! younger than the archive's copy, and its log is trimmed last.
//!
//! A round that fails (a full disk) is reported, and begun again later; the log only grows meanwhile.

use super::log_figures::LogFigures;
use super::shard::Shard;
use super::snapshot::Taken;
use super::snapshot_policy::{Growth, SnapshotPolicy};
use crate::journal::{Pace, Sequence, Sequences, Snapshots};
use crate::limits;
use crate::units::PartitionId;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often [`Schedule::go_on`] is to be called.
pub const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// How long after a round that failed the next one begins.
const RETRY: Duration = Duration::from_secs(10);

/// What a schedule has done.
pub trait Doing {
    /// Who waits for the end of a round.
    type Waiting;

    /// Has a shard take the snapshot of a partition, unless this is its last record.
    fn take(&mut self, partition: PartitionId, unless: Option<Sequence>) -> Asked;

    /// Has the log trimmed below these records. `false`: there is no writer any more.
    fn trim(&mut self, reach: Sequences) -> bool;

    /// Tells that a round is over, and the log trimmed; or that it failed.
    fn over(&mut self, waiting: Self::Waiting, whole: bool);
}

/// What became of a question to a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It will answer.
    Taken,
    /// It has no room now.
    Busy,
    /// The shard is not open here: its partitions keep the snapshots that they have, and the log goes no further than these.
    NotHere,
    /// It is gone.
    Gone,
}

/// The schedule.
pub struct Schedule<W> {
    snapshots: Arc<Snapshots>,
    figures: Arc<LogFigures>,
    snapshot_policy: SnapshotPolicy,
    partitions: u16,
    shards: u16,
    cycle: Option<Cycle<W>>,
    /// Snapshots that each shard has under way, by when they were asked for, the oldest first.
    under_way: Vec<VecDeque<Instant>>,
    /// What had been written to the log when the last round began that came to its end: all partitions have younger snapshots.
    covered: u64,
    trimming: Trimming,
    /// When a round is begun again after one that failed.
    retry_at: Option<Instant>,
    /// Who wants a round that begins when nothing is under way any more.
    wanted: Vec<W>,
    /// Who waits for the log to be trimmed after a round.
    untrimmed: Vec<W>,
}

/// Every partition once.
struct Cycle<W> {
    begun: Instant,
    /// What had been written to the log when it began.
    log_at: u64,
    /// Bytes of the log in which it is to come to its end.
    interval: u64,
    /// It is wanted now, however little the log has grown.
    hurried: bool,
    /// Who waits for it.
    waiting: Vec<W>,
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

impl<W> Schedule<W> {
    /// A schedule for so many partitions on so many shards. The log that was found at the start counts as written in its first
    /// round.
    pub fn new(
        snapshots: Arc<Snapshots>,
        figures: Arc<LogFigures>,
        snapshot_policy: SnapshotPolicy,
        (partitions, shards): (u16, u16),
    ) -> Schedule<W> {
        Schedule {
            snapshots,
            figures,
            snapshot_policy,
            partitions,
            shards,
            cycle: None,
            under_way: vec![VecDeque::new(); usize::from(shards)],
            covered: 0,
            trimming: Trimming::default(),
            retry_at: None,
            wanted: Vec::new(),
            untrimmed: Vec::new(),
        }
    }

    /// Begins a round when one is wanted or there is none, and lets the partitions have their turns whose turn it is. Every
    /// [`CHECK_INTERVAL`].
    pub fn go_on(&mut self, now: Instant, doing: &mut impl Doing<Waiting = W>) {
        let (written, interval) = (self.figures.written(), self.snapshot_policy.log_bytes);
        self.check_trimmed(doing);
        if !self.has_some_under_way() {
            self.check_over(now, doing);
            match (&self.cycle, self.retry_at) {
                _ if !self.wanted.is_empty() => self.begin(written, interval, true, now),
                (Some(_), _) => {}
                (None, None) => self.begin(0, interval, false, now),
                (None, Some(at)) if at <= now => self.begin(written, interval, true, now),
                (None, Some(_)) => {}
            }
        }
        while self.wanted.is_empty()
            && let Some(shard) = self.next(now)
            && self.ask(shard, now, doing)
        {}
        self.figures.set_relief(self.has_some_under_way());
    }

    /// Has all partitions take their turns now, one after the other. `waiting` is notified when that is over and the log trimmed. Not
    /// if the log has grown by less than so many bytes since the last round began: then it is over at once. More than
    /// [`limits::SNAPSHOT_REQUESTS_WAITING`] may not wait: then it comes back.
    ///
    /// # Errors
    /// As many wait already as may; `waiting` comes back.
    pub fn want(
        &mut self,
        waiting: W,
        unless_below: u64,
        now: Instant,
        doing: &mut impl Doing<Waiting = W>,
    ) -> Result<(), W> {
        if self.figures.written().saturating_sub(self.covered) < unless_below {
            doing.over(waiting, true);
            return Ok(());
        }
        let joined = self.cycle.as_mut().filter(|cycle| cycle.hurried && !cycle.failed);
        let wanted = joined.map_or(&mut self.wanted, |cycle| &mut cycle.waiting);
        if wanted.len() >= limits::SNAPSHOT_REQUESTS_WAITING {
            return Err(waiting);
        }
        wanted.push(waiting);
        self.go_on(now, doing);
        Ok(())
    }

    /// Keeps a snapshot that a shard has taken, and has the log trimmed behind it. This blocks until it is written, synced and
    /// read back.
    pub fn keep(&mut self, taken: &Taken, doing: &mut impl Doing<Waiting = W>) {
        self.write(taken);
        self.trim(doing);
    }

    /// A shard has answered: its snapshot is kept, or nothing has happened in that partition since the last one.
    pub fn answered(&mut self, partition: PartitionId, now: Instant, doing: &mut impl Doing<Waiting = W>) {
        let begun = self.under_way[usize::from(Shard::of(partition, self.shards))].pop_front();
        if let Some((cycle, begun)) = self.cycle.as_mut().zip(begun) {
            cycle.took += now.saturating_duration_since(begun) / u32::from(self.shards);
        }
        self.go_on(now, doing);
    }

    /// Nothing makes the log shorter for a while, or any more.
    pub fn pause(&mut self) {
        self.figures.set_relief(false);
    }

    /// Begins a round in which the log grows by `interval`, unless it is hurried.
    fn begin(&mut self, log_at: u64, interval: u64, hurried: bool, now: Instant) {
        let mut left = vec![VecDeque::new(); usize::from(self.shards)];
        for partition in (0..self.partitions).map(PartitionId) {
            left[usize::from(Shard::of(partition, self.shards))].push_back(partition);
        }
        let waiting = std::mem::take(&mut self.wanted);
        let (turns, kept, took, failed) = (0, (0, 0), Duration::ZERO, false);
        self.cycle = Some(Cycle { begun: now, log_at, interval, hurried, waiting, left, turns, kept, took, failed });
    }

    /// The shard whose partition has its turn, if one has: of those that may have one more under way the one with the most to do.
    fn next(&self, now: Instant) -> Option<usize> {
        let cycle = self.cycle.as_ref().filter(|cycle| !cycle.failed)?;
        let log = Growth {
            grown: self.figures.written().saturating_sub(cycle.log_at),
            used: self.figures.used(),
            since: now.saturating_duration_since(cycle.begun),
            interval: cycle.interval,
        };
        if !cycle.hurried && cycle.turns >= self.snapshot_policy.turns(self.partitions, log) {
            return None;
        }
        let idle = |shard: &usize| {
            self.under_way[*shard].len() < limits::SNAPSHOTS_UNDER_WAY && !cycle.left[*shard].is_empty()
        };
        (0..cycle.left.len()).filter(idle).max_by_key(|shard| (cycle.left[*shard].len(), std::cmp::Reverse(*shard)))
    }

    /// Asks a shard for its next partition. Not when it has more urgent things to do.
    fn ask(&mut self, shard: usize, now: Instant, doing: &mut impl Doing<Waiting = W>) -> bool {
        let Some(cycle) = &mut self.cycle else { return false };
        let Some(partition) = cycle.left[shard].pop_front() else { return false };
        let known = self.snapshots.verified().last(partition);
        let unless = self.snapshots.is_settled(partition, known).then_some(known);
        match doing.take(partition, unless) {
            Asked::Taken => {
                cycle.turns += 1;
                self.under_way[shard].push_back(now);
                return true;
            }
            Asked::Busy => cycle.left[shard].push_front(partition),
            Asked::NotHere => return true,
            Asked::Gone => cycle.failed = true,
        }
        false
    }

    fn write(&mut self, taken: &Taken) {
        let Taken { partition, sequence, pieces } = taken;
        let pace = if self.figures.is_strained() { Pace::Fast } else { Pace::Gentle };
        let written = self.snapshots.write_pieces(*partition, *sequence, pieces, pace);
        let Some(cycle) = &mut self.cycle else { return };
        match written {
            Ok(()) => {
                cycle.kept.0 += 1;
                cycle.kept.1 += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
            }
            Err(failure) => {
                tracing::error!(%partition, %failure, "a snapshot could not be kept; the log is not trimmed");
                cycle.failed = true;
            }
        }
    }

    fn check_over(&mut self, now: Instant, doing: &mut impl Doing<Waiting = W>) {
        let over = |cycle: &mut Cycle<W>| cycle.failed || cycle.left.iter().all(VecDeque::is_empty);
        let Some(cycle) = self.cycle.take_if(over) else { return };
        self.figures.note_snapshots(!cycle.failed, now);
        if cycle.failed {
            self.retry_at = Some(now + RETRY);
            for waiting in cycle.waiting {
                doing.over(waiting, false);
            }
            return;
        }
        let (took, (snapshots, bytes)) = (now.saturating_duration_since(cycle.begun), cycle.kept);
        let log_bytes = self.figures.written().saturating_sub(cycle.log_at);
        let ms = |took: Duration| u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let (took_ms, work_ms) = (ms(took), ms(cycle.took));
        tracing::info!(snapshots, bytes, took_ms, work_ms, log_bytes, "all partitions have their snapshots");
        self.covered = cycle.log_at;
        self.untrimmed.extend(cycle.waiting);
        self.trim(doing);
        let interval = self.snapshot_policy.interval(cycle.took, took);
        self.begin(self.figures.written(), interval, false, now);
    }

    /// Lets the log go as far as the snapshots allow, when the writer has done so before.
    fn trim(&mut self, doing: &mut impl Doing<Waiting = W>) {
        if !self.trimming.may_ask(self.figures.trims()) {
            return;
        }
        // A log that could also begin at the older snapshots is a comfort: it goes first when there is little room.
        let reach = if self.figures.is_strained() { self.snapshots.verified() } else { self.snapshots.reach() };
        if doing.trim(reach) {
            self.trimming.asked();
        }
    }

    /// Trims again what became free meanwhile, or tells that the log is trimmed.
    fn check_trimmed(&mut self, doing: &mut impl Doing<Waiting = W>) {
        match self.trimming.progress(self.figures.trims()) {
            Progress::UnderWay => {}
            Progress::MoreToDo => self.trim(doing),
            Progress::Done => {
                for waiting in self.untrimmed.drain(..) {
                    doing.over(waiting, true);
                }
            }
        }
    }

    fn has_some_under_way(&self) -> bool {
        self.under_way.iter().any(|asked| !asked.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A round's end is reported when the log is trimmed below all of it, not when some earlier trim came to its end.
    #[test]
    fn one_trim_runs_at_a_time_and_a_later_bound_is_trimmed_before_the_report() {
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
