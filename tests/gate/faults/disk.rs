//! The disk fails, or is full.

use super::{CHARGERS, LAYOUT, SEED, SETTINGS, TIMEOUT, settle, shim};
use crate::common::Served;
use crate::common::business::Business;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What serve ends with when a later start may succeed.
const TEMPORARY: i32 = 75;

/// The numbers that the system gives these failures on Linux.
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

#[test]
fn a_failed_sync_ends_the_process_and_nothing_is_lost() {
    a_disk_that_fails("sync", EIO, "Input/output error");
}

#[test]
fn a_failed_write_ends_the_process_and_nothing_is_lost() {
    a_disk_that_fails("write", EIO, "Input/output error");
}

#[test]
fn a_full_disk_by_the_systems_word_ends_the_process_and_nothing_is_lost() {
    a_disk_that_fails("write", ENOSPC, "No space left on device");
}

/// The gate's disk fails under load, three times; each time it ends, is started again, and business goes on.
fn a_disk_that_fails(call: &str, errno: i32, message: &str) {
    let folder = tempfile::tempdir().unwrap();
    let Some(shim) = shim(folder.path(), "disk") else { return };
    let order = folder.path().join("order");
    let mut gate = Served::stopped(folder, LAYOUT, &SETTINGS);
    gate.environment = vec![
        ("LD_PRELOAD".to_owned(), shim.display().to_string()),
        ("WATTSTILE_FAULT".to_owned(), order.display().to_string()),
        ("WATTSTILE_FAULT_BELOW".to_owned(), gate.data_dir().join("data").display().to_string()),
    ];
    gate.start_again();
    let business = Business::begin(&mut gate, CHARGERS, SEED);
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(1_500));
        fs::write(&order, format!("{call} {errno}")).unwrap();
        let ended = gate.ended(TIMEOUT);
        fs::remove_file(&order).unwrap();
        assert_eq!(ended, Some(TEMPORARY), "{}", gate.log());
        assert!(gate.log().contains(message), "{}", gate.log());
        gate.start_again();
    }
    settle(gate, business);
}

#[test]
fn on_a_small_file_system_that_runs_full_nothing_is_lost() {
    let Some(small) = SmallFileSystem::mount(160) else { return };
    let folder = tempfile::tempdir_in(&small.0).unwrap();
    let mut gate = Served::stopped(folder, LAYOUT, &SETTINGS);
    gate.start_again();
    let business = Business::begin(&mut gate, CHARGERS, SEED);
    let filler = small.0.join("filler");
    let mut ends = 0;
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(1_500));
        fill(&filler);
        // The log may still have space of its own that it let go before; then business goes on.
        let ended = gate.ended(Duration::from_secs(6));
        fs::remove_file(&filler).unwrap();
        if ended.is_some() {
            assert_eq!(ended, Some(TEMPORARY), "{}", gate.log());
            ends += 1;
            gate.start_again();
        }
    }
    assert!(ends > 0, "the disk was full, and nothing came of it");
    settle(gate, business);
}

/// The disk is full to the last byte, and nothing but the ballast may go: the next start has its room, and business goes on.
#[test]
fn without_the_ballast_a_gate_starts_on_a_disk_that_is_full() {
    let Some(small) = SmallFileSystem::mount(256) else { return };
    let folder = tempfile::tempdir_in(&small.0).unwrap();
    let mut gate = Served::stopped(folder, LAYOUT, &SETTINGS);
    gate.start_again();
    let ballast = gate.data_dir().join("data/ballast");
    assert!(ballast.exists());
    let business = Business::begin(&mut gate, CHARGERS, SEED);
    std::thread::sleep(Duration::from_millis(1_500));
    fill(&small.0.join("filler"));
    assert_eq!(gate.ended(TIMEOUT), Some(TEMPORARY), "{}", gate.log());
    fs::remove_file(&ballast).unwrap();
    gate.start_again();
    assert!(!ballast.exists(), "its room is the log's");
    settle(gate, business);
}

/// Takes all the space that is left.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    let block = vec![7; 64 * 1024];
    for size in [block.len(), 512, 1] {
        loop {
            match file.write_all(&block[..size]) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// A file system in memory; unmounted in the end.
struct SmallFileSystem(PathBuf);

impl SmallFileSystem {
    fn mount(megabytes: u32) -> Option<SmallFileSystem> {
        if std::env::var_os("WATTSTILE_TEST_MOUNTS").is_none() {
            eprintln!("skipped: WATTSTILE_TEST_MOUNTS=1 lets this test mount a small file system");
            return None;
        }
        let place = tempfile::tempdir().unwrap().keep();
        let options = format!("size={megabytes}m");
        match Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&place).output() {
            Ok(output) if output.status.success() => Some(SmallFileSystem(place)),
            other => {
                eprintln!("skipped: a small file system takes the right to mount one: {other:?}");
                let _ = fs::remove_dir(&place);
                None
            }
        }
    }
}

impl Drop for SmallFileSystem {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}
