//! Damage to the files of a log, wherever it strikes: the log opens with everything that was confirmed, or with its
//! last group commits cut away cleanly, or the damage is reported with its position and the loss. It never panics,
//! and it never shows a record that was not recorded, or leaves one out in the middle.
//!
//! `WATTSTILE_DAMAGES` sets how many places are struck, `WATTSTILE_SEED` where.

use std::fs;
use std::path::{Path, PathBuf};
use wattstile::journal::{
    self, Appender, DataDir, Failure, Layout, Log, RecordKind, Sequence, Sequences, SledStore, Snapshots,
};
use wattstile::units::PartitionId;
use wattstile::units::rng::Rng;

const PARTITIONS: u16 = 4;
const LAYOUT: Layout = Layout { partitions: PARTITIONS, generation_blocks: 32 };

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

/// The text of a partition's record: distinct from every other one.
fn text(partition: u16, sequence: u64, length: usize) -> String {
    format!("{partition}/{sequence};").repeat(length / 8 + 1)
}

/// Three processes wrote this log; the last one was killed, or closed it. Returns what was confirmed before the last
/// group.
fn make(path: &Path, closed: bool, rng: &mut Rng) -> (Sequences, Sequences) {
    let dir = DataDir::create(path, LAYOUT).unwrap();
    let mut before_last = Sequences::new(PARTITIONS);
    let mut confirmed = before_last.clone();
    for life in 0..3 {
        let store = Box::new(SledStore::open(&dir).unwrap());
        let (mut log, _) = Log::open(store, &Sequences::new(PARTITIONS), &mut |_| Ok(())).unwrap();
        let mut appender = Appender::new(log.sequences().clone());
        for _ in 0..30 {
            for _ in 0..rng.between(1, 80) {
                let partition = PartitionId(u16::try_from(rng.between(0, i64::from(PARTITIONS) - 1)).unwrap());
                let sequence = appender.sequence(partition).0 + 1;
                let length = usize::try_from(rng.between(1, 2_000)).unwrap();
                let mut permit = appender.reserve().unwrap();
                permit.append(partition, RecordKind::SessionEvent, |out| {
                    out.extend(text(partition.0, sequence, length).bytes());
                });
            }
            before_last = log.sequences().clone();
            let batch = appender.take_batch().unwrap();
            log.commit(std::slice::from_ref(&batch)).unwrap();
            appender.committed(batch);
        }
        confirmed = log.sequences().clone();
        if life < 2 || closed {
            log.close().unwrap();
        }
    }
    Snapshots::open(&dir).unwrap().write(PartitionId(1), Sequence(40), b"state").unwrap();
    (before_last, confirmed)
}

/// The files of the log, the largest first.
fn files(data: &Path) -> Vec<PathBuf> {
    let databases = fs::read_dir(data.join("log")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        databases.flat_map(|dir| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path())).collect();
    files.retain(|path| path.is_file());
    files.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).unwrap().len()));
    files
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Blow {
    /// One bit, in bytes that are not zero: unwritten bytes do not matter.
    Bit,
    /// One bit in the last bytes that were written.
    LastBit,
    /// So many bytes of nonsense.
    Garbage(usize),
    /// So many zeros, as a lost write leaves them.
    Zeros(usize),
    /// The rest of the file is gone.
    Truncated,
    /// The file is gone.
    Removed,
}

fn strike(data: &Path, blow: Blow, rng: &mut Rng) -> String {
    let files = files(data);
    // Mostly where the blocks are; the others are small and sled's own.
    let databases = files.iter().filter(|path| path.ends_with("db")).count();
    let below = if rng.chance(1_250) { files.len() } else { databases };
    let path = match blow {
        Blow::LastBit => files.iter().filter(|path| path.ends_with("db")).max().unwrap(),
        _ => &files[usize::try_from(rng.between(0, i64::try_from(below).unwrap() - 1)).unwrap()],
    };
    if blow == Blow::Removed {
        fs::remove_file(path).unwrap();
        return format!("{} is removed", path.display());
    }
    let mut bytes = fs::read(path).unwrap();
    let written: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let among = if blow == Blow::LastBit { &written[written.len() - 200..] } else { &written[..] };
    let at = among[usize::try_from(rng.between(0, i64::try_from(among.len()).unwrap() - 1)).unwrap()];
    let end = |length: usize| (at + length).min(bytes.len());
    match blow {
        Blow::Bit | Blow::LastBit => bytes[at] ^= 1 << rng.between(0, 7),
        Blow::Garbage(length) => {
            let range = at..end(length);
            bytes[range].iter_mut().for_each(|byte| *byte = u8::try_from(rng.between(0, 255)).unwrap());
        }
        Blow::Zeros(length) => {
            let range = at..end(length);
            bytes[range].fill(0);
        }
        Blow::Truncated => bytes.truncate(at),
        Blow::Removed => unreachable!("dealt with"),
    }
    fs::write(path, bytes).unwrap();
    format!("{blow:?} at {at} of {}", path.display())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target)
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[derive(Debug, Default)]
struct Outcomes {
    whole: u64,
    cut: u64,
    named: u64,
    gone: u64,
}

/// Opens the log as a gate does. What it shows is what was recorded, without gaps.
fn open(data: &Path) -> Result<Sequences, Failure> {
    let dir = DataDir::open(data)?;
    let base = {
        let snapshots = Snapshots::open(&dir)?;
        (0..PARTITIONS).for_each(|partition| drop(snapshots.load(PartitionId(partition)).unwrap()));
        snapshots.verified()
    };
    let mut next: Vec<u64> = base.iter().map(|(_, last)| last.0 + 1).collect();
    let (log, _) = Log::open(Box::new(SledStore::open(&dir)?), &base, &mut |record| {
        let (partition, sequence) = (record.partition.0, record.sequence.0);
        let next = &mut next[usize::from(partition)];
        assert_eq!(sequence, *next, "in order and without gaps");
        *next += 1;
        let payload_text = std::str::from_utf8(record.payload).unwrap();
        assert!(payload_text.starts_with(&format!("{partition}/{sequence};")), "{payload_text}");
        Ok(())
    })?;
    Ok(log.sequences().clone())
}

#[test]
fn damage_is_named_or_harmless_wherever_it_strikes() {
    let (damages, seed) = (from_environment("WATTSTILE_DAMAGES", 60), from_environment("WATTSTILE_SEED", 5));
    println!("WATTSTILE_DAMAGES={damages} WATTSTILE_SEED={seed}");
    let mut rng = Rng::of(seed, 1);
    let mut outcomes = Outcomes::default();
    for closed in [false, true] {
        let place = tempfile::tempdir().unwrap();
        let original = place.path().join("original");
        let (before_last, confirmed) = make(&original, closed, &mut rng);
        for number in 0..damages / 2 {
            let data = place.path().join("struck");
            copy(&original, &data);
            let blow = match number % 10 {
                0..3 => Blow::Bit,
                3 => Blow::LastBit,
                4 => Blow::Garbage(512),
                5 => Blow::Garbage(100_000),
                6 => Blow::Zeros(4_096),
                7 => Blow::Zeros(1_000_000),
                8 => Blow::Truncated,
                _ => Blow::Removed,
            };
            let what = strike(&data, blow, &mut rng);
            // Looking at it changes nothing, so it comes first.
            let looked_at = journal::verify(&data);
            match open(&data) {
                Ok(found) if found == confirmed => {
                    outcomes.whole += 1;
                    assert!(looked_at.unwrap().whole, "{what}");
                }
                Ok(found) => {
                    outcomes.cut += 1;
                    assert!(!closed, "{what}: a log that was closed has no torn end");
                    assert!(found.iter().all(|(partition, last)| last <= confirmed.last(partition)), "{what}");
                    if matches!(blow, Blow::Bit | Blow::LastBit) {
                        assert_eq!(found, before_last, "{what}: no more than the last group can be taken for torn");
                    }
                }
                Err(Failure::Damaged(damage)) => {
                    outcomes.named += 1;
                    let looked_at = looked_at.unwrap();
                    assert!(!looked_at.whole && !looked_at.damage.is_empty(), "{what}");
                    assert!(damage.is_of_the_log(), "{what}: {damage}");
                    assert!(!damage.left.is_empty() && !damage.holes.is_empty(), "{what}: {damage}");
                    rescue(&data, &place.path().join("rescued"), &damage.left, &what);
                }
                Err(Failure::Absent { .. }) => outcomes.gone += 1,
                Err(other) => panic!("{what}: {other}"),
            }
            fs::remove_dir_all(&data).unwrap();
        }
    }
    println!("{outcomes:?}");
    assert!(outcomes.whole > 0 && outcomes.cut > 0 && outcomes.named > 0, "{outcomes:?}");
}

/// Intact data comes over, and the new directory opens and goes no further than the old one was whole.
fn rescue(data: &Path, to: &Path, left: &[journal::Left], what: &str) {
    let rescued = journal::rescue(data, to).unwrap();
    let found = open(to).unwrap_or_else(|failure| panic!("{what}: {failure}"));
    for each in left {
        assert!(found.last(each.partition).0 >= each.good_to, "{what}: {each:?}, {found:?}");
    }
    assert!(journal::verify(to).unwrap().whole, "{what}");
    assert_eq!(rescued.partitions.len(), usize::from(PARTITIONS));
    fs::remove_dir_all(to).unwrap();
}
