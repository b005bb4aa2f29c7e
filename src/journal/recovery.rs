//! Recovery: rebuilds the state of every partition from snapshots and log, on several threads.
//!
//! Each worker owns the partitions whose number, modulo the number of workers, is its place in the list. First all
//! workers take the snapshots of their partitions; then one thread reads and verifies the log and hands whole group
//! commits to every worker, and each takes the records of its own partitions above its snapshots, in order.

use super::appender::Sequences;
use super::block::Reader;
use super::failure::{Damage, Failure, Lost};
use super::log::{Log, Recovered, visit_blocks};
use super::record::{Assembly, Record, Sequence};
use super::scan::{self, Blocks};
use super::snapshot::{Snapshot, Snapshots};
use super::store::Store;
use crate::units::PartitionId;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, ScopedJoinHandle};

/// Bytes of records that go to the workers at a time, and how many such parcels may wait for each of them.
const PARCEL_BYTES: usize = 1024 * 1024;
const PARCELS_WAITING: usize = 4;

/// Whatever rebuilds state from what was recorded.
pub trait Replay: Send {
    /// Takes the state of a partition after `sequence`. Comes before any record of that partition, at most once.
    fn snapshot(&mut self, partition: PartitionId, sequence: Sequence, state: &[u8]) -> Result<(), String>;

    /// Takes the next record of its partition.
    fn record(&mut self, record: Record<'_>) -> Result<(), String>;
}

/// Progress of recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Snapshots taken.
    Snapshots {
        /// Partitions done.
        done: u16,
        /// Of so many.
        of: u16,
    },
    /// Blocks of the log read.
    Log {
        /// So many.
        blocks: u64,
        /// Of at least so many.
        of_at_least: u64,
    },
}

/// Rebuilds the state of all partitions and opens the log for writing. The workers come back in their order.
///
/// The first failure of any worker or of the log ends it.
///
/// # Errors
/// A snapshot cannot be read, the log is damaged, the store fails, or a worker refuses a state or a record.
///
/// # Panics
/// When there is no worker.
pub fn recover<R: Replay>(
    store: Box<dyn Store>,
    snapshots: &Snapshots,
    workers: Vec<R>,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<(Log, Vec<R>, Recovered), Failure> {
    recover_opening(|| Ok(store), snapshots, workers, progress)
}

/// The same, and the store is opened while the workers take the snapshots: both read a lot.
///
/// # Errors
/// Those of [`recover`], and the failure of opening the store.
pub fn recover_opening<R: Replay>(
    open: impl FnOnce() -> Result<Box<dyn Store>, Failure> + Send,
    snapshots: &Snapshots,
    mut workers: Vec<R>,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<(Log, Vec<R>, Recovered), Failure> {
    assert!(!workers.is_empty(), "recovery takes at least one worker");
    let (mut store, instead_of) = thread::scope(|scope| {
        let opening = scope.spawn(open);
        let taken = take_snapshots(snapshots, &mut workers, progress);
        let store = opening.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok::<_, Failure>((store, taken?))
    })?;
    let mark = store.mark().unwrap_or_default();
    let base = snapshots.verified();
    let mut damaged = Vec::new();
    for (partition, mut damage) in instead_of {
        // An older snapshot (or the log from its beginning) stands in, unless the log above it is trimmed away.
        let (have, floor) = (base.last(partition).0, mark.floor.get(usize::from(partition.0)).copied().unwrap_or(0));
        if have < floor {
            damage.fault = format!("{}; no older one reaches the log, which was trimmed", damage.fault);
            damage.lost = vec![Lost { partition, first: have + 1, last: floor }];
            return Err(Box::new(damage).into());
        }
        damaged.push(damage);
    }
    let count = workers.len();
    let (end, workers) = thread::scope(|scope| {
        let (senders, running): (Vec<_>, Vec<_>) = workers
            .into_iter()
            .enumerate()
            .map(|(place, worker)| {
                let (sender, parcels) = sync_channel(PARCELS_WAITING);
                let base = &base;
                let share = Share { place, count };
                (sender, scope.spawn(move || replay(worker, share, base, parcels)))
            })
            .unzip();
        let end = read_log(store.as_mut(), &base, &senders, mark.next_block, progress);
        drop(senders);
        // A worker's own failure is reported before the closed channel that it causes.
        let workers = join(running)?;
        Ok::<_, Failure>((end?, workers))
    })?;
    let (log, recovered) = Log::continue_at(store, end)?;
    Ok((log, workers, Recovered { damaged, ..recovered }))
}

/// The partitions of one worker.
#[derive(Clone, Copy)]
struct Share {
    place: usize,
    count: usize,
}

impl Share {
    fn has(self, partition: PartitionId) -> bool {
        usize::from(partition.0) % self.count == self.place
    }
}

/// Each worker takes the snapshots of its partitions. Newer ones that were damaged come back by name.
fn take_snapshots<R: Replay>(
    snapshots: &Snapshots,
    workers: &mut [R],
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Vec<(PartitionId, Damage)>, Failure> {
    let (count, of) = (workers.len(), snapshots.verified().partitions());
    let done = std::sync::atomic::AtomicU16::new(0);
    thread::scope(|scope| {
        let running = workers.iter_mut().enumerate().map(|(place, worker)| {
            let done = &done;
            scope.spawn(move || {
                let mut instead_of = Vec::new();
                let share = Share { place, count };
                for partition in (0..of).map(PartitionId).filter(|partition| share.has(*partition)) {
                    let found = snapshots.load(partition)?;
                    instead_of.extend(found.instead_of.map(|damage| (partition, damage)));
                    if let Some(Snapshot { sequence, state }) = found.newest {
                        worker.snapshot(partition, sequence, &state).map_err(|what| Failure::Unreadable {
                            partition,
                            sequence: sequence.0,
                            what: format!("the snapshot after it: {what}"),
                        })?;
                    }
                    let done = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
                    progress(Progress::Snapshots { done, of });
                }
                Ok(instead_of)
            })
        });
        let running: Vec<_> = running.collect();
        Ok(join(running)?.concat())
    })
}

fn join<T>(running: Vec<ScopedJoinHandle<'_, Result<T, Failure>>>) -> Result<Vec<T>, Failure> {
    let finished: Vec<Result<T, Failure>> = running
        .into_iter()
        .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        .collect();
    finished.into_iter().collect()
}

fn read_log(
    store: &mut dyn Store,
    base: &Sequences,
    workers: &[SyncSender<Arc<Blocks>>],
    of_at_least: u64,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<scan::End, Failure> {
    let first_block = store.mark().map_or(0, |mark| mark.first_block);
    let of_at_least = of_at_least.saturating_sub(first_block);
    let mut blocks = 0;
    let mut hand_out = |parcel: &mut Blocks| {
        blocks += parcel.iter().count() as u64;
        progress(Progress::Log { blocks, of_at_least });
        let parcel = Arc::new(std::mem::take(parcel));
        // A receiver that is gone has failed, and its failure is reported when it is joined.
        workers.iter().try_for_each(|worker| worker.send(Arc::clone(&parcel)).map_err(|_| Failure::Dead))
    };
    let mut parcel = Blocks::default();
    let end = scan::scan(store, base, &mut |group| {
        parcel.take_from(group);
        if parcel.len() >= PARCEL_BYTES { hand_out(&mut parcel) } else { Ok(()) }
    })?;
    hand_out(&mut parcel)?;
    Ok(end)
}

fn replay<R: Replay>(
    mut worker: R,
    share: Share,
    base: &Sequences,
    parcels: Receiver<Arc<Blocks>>,
) -> Result<R, Failure> {
    let (mut assembly, mut reader) = (Assembly::default(), Reader::default());
    for parcel in parcels {
        let wanted = |record: &Record<'_>| share.has(record.partition) && record.sequence > base.last(record.partition);
        visit_blocks(&parcel, &mut reader, &mut assembly, wanted, &mut |record| worker.record(record))?;
    }
    Ok(worker)
}

#[cfg(test)]
mod tests {
    use super::super::{Appender, MemoryStore, RecordKind};
    use super::*;
    use std::collections::BTreeMap;

    /// Counts and sums the records of each partition.
    #[derive(Debug, Default, PartialEq)]
    struct Sums(BTreeMap<u16, (u64, u64)>);

    impl Replay for Sums {
        fn snapshot(&mut self, partition: PartitionId, sequence: Sequence, state: &[u8]) -> Result<(), String> {
            let sum = state.try_into().map(u64::from_le_bytes).map_err(|_| "not a sum".to_owned())?;
            assert_eq!(self.0.insert(partition.0, (sequence.0, sum)), None, "once, and before any record");
            Ok(())
        }

        fn record(&mut self, record: Record<'_>) -> Result<(), String> {
            let number = record.payload.try_into().map(u64::from_le_bytes).map_err(|_| "not a number".to_owned())?;
            let (count, sum) = self.0.entry(record.partition.0).or_default();
            assert_eq!(*count + 1, record.sequence.0, "in order and contiguous");
            (*count, *sum) = (*count + 1, *sum + number);
            Ok(())
        }
    }

    const PARTITIONS: u16 = 5;

    fn filled(records: u64) -> (MemoryStore, Sums) {
        let store = MemoryStore::new(8);
        let (mut log, _) = Log::open(Box::new(store.clone()), &Sequences::new(PARTITIONS), &mut |_| Ok(())).unwrap();
        let mut appender = Appender::new(log.sequences().clone());
        let mut live = Sums::default();
        for number in 0..records {
            let partition = PartitionId(u16::try_from(number % u64::from(PARTITIONS)).unwrap());
            appender
                .reserve()
                .unwrap()
                .append(partition, RecordKind::SessionEvent, |out| out.extend(number.to_le_bytes()));
            let (count, sum) = live.0.entry(partition.0).or_default();
            (*count, *sum) = (*count + 1, *sum + number);
            if number % 1000 == 999 || number + 1 == records {
                let batch = appender.take_batch().unwrap();
                log.commit(std::slice::from_ref(&batch)).unwrap();
                appender.committed(batch);
            }
        }
        log.close().unwrap();
        (store, live)
    }

    fn workers(count: usize) -> Vec<Sums> {
        (0..count).map(|_| Sums::default()).collect()
    }

    fn merged(workers: Vec<Sums>) -> Sums {
        Sums(workers.into_iter().flat_map(|worker| worker.0).collect())
    }

    #[test]
    fn the_state_is_the_same_whatever_the_number_of_workers() {
        let (store, live) = filled(40_000);
        for count in [1, 2, 3, 7] {
            let none = Snapshots::in_memory(PARTITIONS);
            let (log, found, recovered) = recover(Box::new(store.clone()), &none, workers(count), &|_| ()).unwrap();
            assert_eq!((merged(found), recovered.records), (Sums(live.0.clone()), 40_000));
            assert_eq!(log.sequences().last(PartitionId(4)), Sequence(8000));
        }
    }

    #[test]
    fn snapshots_stand_for_what_was_trimmed_and_progress_is_shown() {
        let (store, live) = filled(40_000);
        let snapshots = Snapshots::in_memory(PARTITIONS);
        for partition in 0..PARTITIONS {
            // The numbers of partition p are p, p + 5, p + 10, ...
            let (count, p) = (6000 + u64::from(partition), u64::from(partition));
            let sum: u64 = (0..count).map(|n| n * 5 + p).sum();
            snapshots.write(PartitionId(partition), Sequence(count), &sum.to_le_bytes()).unwrap();
        }
        let trimmed = {
            let (mut log, ..) = recover(Box::new(store.clone()), &snapshots, workers(1), &|_| ()).unwrap();
            log.trim(&snapshots.verified()).unwrap()
        };
        assert!(trimmed > 0 && store.block_len(0).is_none());
        let seen = std::sync::Mutex::new(Vec::new());
        let (_, found, recovered) =
            recover(Box::new(store), &snapshots, workers(2), &|step| seen.lock().unwrap().push(step)).unwrap();
        assert_eq!(merged(found), live);
        assert!(recovered.records < 40_000);
        let seen = seen.into_inner().unwrap();
        assert!(seen.contains(&Progress::Snapshots { done: PARTITIONS, of: PARTITIONS }));
        assert_eq!(seen.last(), Some(&Progress::Log { blocks: recovered.blocks, of_at_least: recovered.blocks }));
    }

    #[test]
    fn a_record_that_cannot_be_read_ends_recovery_and_is_named() {
        let (store, _) = filled(10);
        let (mut log, ..) =
            recover(Box::new(store.clone()), &Snapshots::in_memory(PARTITIONS), workers(2), &|_| ()).unwrap();
        let mut appender = Appender::new(log.sequences().clone());
        appender.reserve().unwrap().append(PartitionId(3), RecordKind::SessionEvent, |out| out.push(1));
        log.commit(&[appender.take_batch().unwrap()]).unwrap();
        let failed = recover(Box::new(store), &Snapshots::in_memory(PARTITIONS), workers(2), &|_| ()).err().unwrap();
        assert_eq!(failed.to_string(), "record 3 of partition 3: not a number");
        assert_eq!(failed.exit_code(), 65);
    }
}
