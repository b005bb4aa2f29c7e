//! Weeks of load in minutes: sessions begin, tick, end and are archived, snapshots are taken, the log is trimmed. The
//! data directory contains the live state (twice), the archive, and a log of bounded size, however much was written.
//!
//! `WATTSTILE_GROWTH_MIB` sets how much goes through the log; the course is printed. A charging session of eight hours that
//! ticks every minute writes about 25 KB.

use std::path::Path;
use wattstile::journal::{Appender, Archive, DataDir, Layout, Log, RecordKind, Sequences, SledStore, Snapshots};
use wattstile::units::{PartitionId, SessionId, Timestamp};

const PARTITIONS: u16 = 8;
const TICK_BYTES: usize = 40;
const TICKS_PER_SESSION: u64 = 480;
const SESSIONS_LIVE: u64 = 2_000;
const STATE_BYTES: usize = 600;

fn bytes_below(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    // Whatever is below may be on its way out.
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                bytes_below(&entry.path())
            } else {
                // Occupied blocks, not the length of the file.
                entry.metadata().map_or(0, |found| found.blocks() * 512)
            }
        })
        .sum()
}

#[test]
fn the_data_directory_grows_by_the_archive_alone() {
    let through = std::env::var("WATTSTILE_GROWTH_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(96_u64) << 20;
    // In proportion to a node under load, whose generations are 128 MiB of a log of 512.
    let bound = (through / 8).clamp(8 << 20, 512 << 20);
    let generation_blocks = u32::try_from(bound / 4 / 32_768).unwrap();
    let place = tempfile::tempdir().unwrap();
    let dir = DataDir::create(place.path(), Layout { partitions: PARTITIONS, generation_blocks }).unwrap();
    let snapshots = Snapshots::open(&dir).unwrap();
    let archive = Archive::open(&dir).unwrap();
    let open = |base: &Sequences| Log::open(Box::new(SledStore::open(&dir).unwrap()), base, &mut |_| Ok(())).unwrap().0;
    let mut log = open(&Sequences::new(PARTITIONS));
    let mut appender = Appender::new(log.sequences().clone());
    let state = vec![7; STATE_BYTES * usize::try_from(SESSIONS_LIVE).unwrap() / usize::from(PARTITIONS)];
    let (mut written, mut since, mut ticks, mut ended, mut restarts) = (0, 0, 0_u64, 0_u64, 0);
    let (mut most_log, mut most_file) = (0, 0);
    let (mut next_line, mut sizes) = (0, Vec::new());
    while written < through {
        for _ in 0..2_000 {
            let partition = PartitionId(u16::try_from(ticks % u64::from(PARTITIONS)).unwrap());
            let mut permit = appender.reserve().unwrap();
            permit.append(partition, RecordKind::SessionEvent, |out| out.extend([ticks.to_le_bytes()[0]; TICK_BYTES]));
            ticks += 1;
        }
        let batch = appender.take_batch().unwrap();
        let durable = log.commit(std::slice::from_ref(&batch)).unwrap();
        appender.committed(batch);
        written += durable.bytes;
        since += durable.bytes;
        while ended < ticks / TICKS_PER_SESSION {
            ended += 1;
            let at = Timestamp::from_unix_ms(i64::try_from(ended).unwrap());
            let id = SessionId::new(at, PartitionId(u16::try_from(ended % 8).unwrap()), ended);
            archive
                .put(id, at, format!("{{\"session\":{ended},{}}}", "\"slice\":0.42,".repeat(40)).as_bytes())
                .unwrap();
        }
        most_log = most_log.max(log.used_bytes());
        // As the gate's snapshot scheduler does.
        if since >= bound / 6 {
            since = 0;
            archive.sync().unwrap();
            for partition in (0..PARTITIONS).map(PartitionId) {
                snapshots.write(partition, appender.sequence(partition), &state).unwrap();
            }
            log.trim(&snapshots.reach()).unwrap();
            most_file = most_file.max(bytes_below(&place.path().join("log")));
        }
        if written >= next_line {
            next_line += through / 8;
            let [log, snapshots, archive] =
                ["log", "snapshots", "archive"].map(|part| bytes_below(&place.path().join(part)) >> 10);
            println!(
                "{:>6} MiB written: log {log} KiB, snapshots {snapshots} KiB, archive {archive} KiB",
                written >> 20
            );
            sizes.push(log + snapshots);
        }
        if written > through * (restarts + 1) / 4 {
            // A process that is killed, and the one after it.
            restarts += 1;
            drop(log);
            log = open(&snapshots.verified());
            assert_eq!(appender.sequence(PartitionId(0)), log.sequences().last(PartitionId(0)), "nothing is lost");
        }
    }
    println!(
        "{ended} sessions archived, {} bytes each; log at most {} KiB, its files {} KiB, bound {} KiB",
        archive.used_bytes() / ended,
        most_log >> 10,
        most_file >> 10,
        bound >> 10
    );
    assert!(most_log <= bound, "{most_log} bytes of log");
    // sled takes room by segments of 4 MiB, in a database for each generation and for each restart.
    assert!(most_file <= bound * 2 + (32 << 20), "{most_file} bytes of files for a log of at most {bound}");
    let (early, late) = (sizes[sizes.len() / 2], sizes[sizes.len() - 1]);
    assert!(late <= early + (bound >> 10), "{sizes:?}");
}
