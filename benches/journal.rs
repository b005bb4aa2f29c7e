//! How many records the log makes durable: appended by a shard, packed, written and synced, in memory and on the disk.
//!
//! `cargo bench --bench journal`. Each record has a payload of 44 bytes and takes 64. A batch of the given number of
//! records is appended and committed, one after the other, so the figures are those of a single group under way.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use wattstile::journal::{
    Appender, DataDir, Layout, Log, MemoryStore, OutputBuffer, Permit, Position, Record, RecordKind, Replay, Sequence,
    Sequences, SledStore, Snapshots, recover,
};
use wattstile::units::PartitionId;

const PARTITIONS: u16 = 64;
const PAYLOAD: [u8; 60] = [7; 60];

fn append(permit: &mut Permit<'_>, number: u64) -> Position {
    let partition = PartitionId((number % u64::from(PARTITIONS)) as u16);
    permit.append(partition, RecordKind::SessionEvent, |out| out.extend_from_slice(black_box(&PAYLOAD)))
}

/// One turn after the other, each with one record and one effect, then one commit.
fn turn(log: &mut Log, appender: &mut Appender, gate: &mut OutputBuffer<u64>, records: u64) {
    for number in 0..records {
        let mut permit = appender.reserve_with(gate).expect("a batch of this size fits");
        let position = append(&mut permit, number);
        gate.push(position, number);
    }
    let batch = appender.take_batch().expect("records were appended");
    log.commit(std::slice::from_ref(&batch)).expect("the disk works");
    let durable = appender.committed(batch);
    assert_eq!(gate.release(durable).count() as u64, records);
    // Keep the log short, as snapshots do.
    if log.full_generations() > 2 {
        let verified = log.sequences().clone();
        log.trim(&verified).expect("the disk works");
    }
}

fn commit(criterion: &mut Criterion) {
    let place = tempfile::tempdir().expect("a temporary directory");
    for store in ["memory", "sled"] {
        let mut group = criterion.benchmark_group(format!("journal/commit/{store}"));
        group.sample_size(20);
        for records in [16, 256, 1024, 4096, 12_288] {
            let log = match store {
                "memory" => Log::open(Box::new(MemoryStore::new(256)), &Sequences::new(PARTITIONS), &mut |_| Ok(())),
                _ => {
                    let dir = DataDir::create(&place.path().join(records.to_string()), Layout::new(PARTITIONS));
                    let store = SledStore::open(&dir.expect("a new place")).expect("sled opens");
                    Log::open(Box::new(store), &Sequences::new(PARTITIONS), &mut |_| Ok(()))
                }
            };
            let (mut log, _) = log.expect("an empty log");
            let mut appender = Appender::new(log.sequences().clone());
            let mut gate = OutputBuffer::new();
            group.throughput(Throughput::Elements(records));
            group.bench_function(BenchmarkId::from_parameter(records), |bencher| {
                bencher.iter(|| turn(&mut log, &mut appender, &mut gate, records));
            });
        }
    }
}

fn record(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("journal/record");
    group.throughput(Throughput::Elements(1000));
    group.bench_function("append", |bencher| {
        let fresh = || Appender::new(Sequences::new(PARTITIONS));
        bencher.iter_batched_ref(
            fresh,
            |appender| (0..1000).fold(Position(0), |_, n| append(&mut appender.reserve().expect("room"), n)),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// Counts what it is shown.
#[derive(Default)]
struct Counter(u64);

impl Replay for Counter {
    fn snapshot(&mut self, _: PartitionId, _: Sequence, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn record(&mut self, record: Record<'_>) -> Result<(), String> {
        self.0 += u64::from(black_box(record.payload.len()) > 0);
        Ok(())
    }
}

/// A start on a log of 4 million records, 256 MiB: sled opened, everything verified, two workers.
fn recovery(criterion: &mut Criterion) {
    const RECORDS: u64 = 4_000_000;
    let place = tempfile::tempdir().expect("a temporary directory");
    let dir = DataDir::create(place.path(), Layout::new(PARTITIONS)).expect("a new place");
    let store = SledStore::open(&dir).expect("sled opens");
    let (mut log, _) = Log::open(Box::new(store), &Sequences::new(PARTITIONS), &mut |_| Ok(())).expect("an empty log");
    let mut appender = Appender::new(log.sequences().clone());
    for _ in 0..RECORDS / 8_000 {
        (0..8_000).fold(Position(0), |_, n| append(&mut appender.reserve().expect("room"), n));
        let batch = appender.take_batch().expect("records were appended");
        log.commit(std::slice::from_ref(&batch)).expect("the disk works");
        appender.committed(batch);
    }
    log.close().expect("the disk works");
    let mut group = criterion.benchmark_group("journal/recovery");
    group.sample_size(10);
    group.throughput(Throughput::Elements(RECORDS));
    group.bench_function("sled", |bencher| {
        bencher.iter(|| {
            let store = SledStore::open(&dir).expect("sled opens");
            let snapshots = Snapshots::in_memory(PARTITIONS);
            let workers = vec![Counter::default(), Counter::default()];
            let (_, workers, _) = recover(Box::new(store), &snapshots, workers, &|_| ()).expect("a whole log");
            assert_eq!(workers.iter().map(|worker| worker.0).sum::<u64>(), RECORDS);
        });
    });
    group.finish();
}

criterion_group!(benches, record, commit, recovery);
criterion_main!(benches);
