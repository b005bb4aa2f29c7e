//! Memory is short.

use super::{CHARGERS, LAYOUT, SEED, SETTINGS, settle};
use crate::common::Served;
use crate::common::business::Business;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A control group with little memory, removed in the end. The kernel kills a process that exceeds it.
pub struct SmallRoom(PathBuf);

impl SmallRoom {
    /// `None` (with a message) where one cannot be made.
    pub fn of(name: &str, megabytes: u64) -> Option<SmallRoom> {
        let (first, second) = (Path::new("/sys/fs/cgroup/memory"), Path::new("/sys/fs/cgroup"));
        let base = if first.is_dir() { first } else { second };
        let place = base.join(format!("wattstile-{name}-{}", std::process::id()));
        let limit = if first.is_dir() { "memory.limit_in_bytes" } else { "memory.max" };
        let made = fs::create_dir(&place).and_then(|()| fs::write(place.join(limit), (megabytes << 20).to_string()));
        match made {
            Ok(()) => Some(SmallRoom(place)),
            Err(error) => {
                eprintln!("not limited: a control group takes the right to make one: {error}");
                let _ = fs::remove_dir(&place);
                None
            }
        }
    }

    /// What a program is started with, to live in it.
    pub fn enter(&self) -> Vec<String> {
        let into = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.0.display());
        ["sh", "-c", &into, "sh"].map(str::to_owned).to_vec()
    }
}

impl Drop for SmallRoom {
    fn drop(&mut self) {
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Far too little memory: the gate ends, and the data are intact.
#[test]
fn a_gate_that_is_refused_memory_ends_and_loses_nothing() {
    let mut gate = Served::start_on(LAYOUT, &SETTINGS);
    let business = Business::begin(&mut gate, CHARGERS, SEED);
    std::thread::sleep(Duration::from_millis(1_500));
    gate.kill();
    gate.started_by = ["sh", "-c", "ulimit -v 60000; exec \"$@\"", "sh"].map(str::to_owned).to_vec();
    assert!(!gate.attempt(), "60 MB of address space are enough for a gate?");
    gate.started_by.clear();
    gate.start_again();
    settle(gate, business);
}
