//! Resources that a process uses, as Linux reports them in `/proc` (proc(5)).
//!
//! Read by hand: four figures of three files, in this module and [`listener`](super::listener) only. The crate `procfs` (0.18,
//! examined in November 2026) reads far more than these, by types of its own for each file.

use std::fs;

/// Processor time is counted in hundredths of a second (`sysconf(_SC_CLK_TCK)` on every Linux that Rust supports).
const MS_PER_TICK: u64 = 10;

/// Resources that a process uses at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessUsage {
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// Processor time of all threads since the process started, in milliseconds.
    pub cpu_ms: u64,
}

impl ProcessUsage {
    /// Usage of this process; zeros where the system does not report it.
    pub fn own() -> ProcessUsage {
        ProcessUsage::read("self").unwrap_or(ProcessUsage { resident_bytes: 0, cpu_ms: 0 })
    }

    /// Usage of another process; `None` when there is none, when it is a zombie, or when the system does not report
    /// it.
    pub fn of(pid: u32) -> Option<ProcessUsage> {
        ProcessUsage::read(&pid.to_string())
    }

    fn read(process: &str) -> Option<ProcessUsage> {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        ProcessUsage::parse(&status, &stat)
    }

    fn parse(status: &str, stat: &str) -> Option<ProcessUsage> {
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?;
        let resident_bytes = kib.parse::<u64>().ok()?.checked_mul(1_024)?;
        // The name in brackets may contain anything; fields 14 (user) and 15 (system) count from the state, field 3.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut ticks = fields.split_whitespace().skip(11).map(str::parse::<u64>);
        let (user, system) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
        Some(ProcessUsage { resident_bytes, cpu_ms: user.checked_add(system)?.checked_mul(MS_PER_TICK)? })
    }
}

/// Number of files that a process has open (`None`: this one); `None` where the system does not report it.
pub fn open_files(pid: Option<u32>) -> Option<u64> {
    let process = pid.map_or("self".to_owned(), |pid| pid.to_string());
    Some(fs::read_dir(format!("/proc/{process}/fd")).ok()?.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_whatever_the_name_of_the_process() {
        let status = "Name:\ta) R 1 b\nVmPeak:\t   9000 kB\nVmRSS:\t    2048 kB\n";
        let stat = "7 (a) R 1 b) S 1 7 7 0 -1 4194304 100 0 0 0 250 17 0 0 20 0 4 0 100 9000 512";
        let usage = ProcessUsage { resident_bytes: 2 << 20, cpu_ms: 2_670 };
        assert_eq!(ProcessUsage::parse(status, stat), Some(usage));
    }

    #[test]
    fn a_zombie_has_no_usage() {
        assert_eq!(ProcessUsage::parse("Name:\tx\nState:\tZ (zombie)\n", "7 (x) Z 1 7 7 0 -1 0 0 0 0 0 1 1"), None);
    }

    #[test]
    fn this_process_uses_memory_and_files() {
        assert!(ProcessUsage::own().resident_bytes > 1 << 20);
        assert!(ProcessUsage::of(std::process::id()).is_some());
        assert!(open_files(None).unwrap() >= 3);
    }
}
