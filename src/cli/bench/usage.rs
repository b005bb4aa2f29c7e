//! What a process uses, as Linux tells it, and what files do.

use std::path::Path;

/// What this process uses at a moment.
pub(super) struct Snapshot {
    /// Resident memory.
    pub rss_bytes: u64,
    /// Processor time used so far, in milliseconds.
    pub cpu_ms: u64,
}

impl Snapshot {
    pub fn take() -> Snapshot {
        let text = |path| std::fs::read_to_string(path).unwrap_or_default();
        let status = text("/proc/self/status");
        let rss_kb =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
        // After the name in brackets: fields 14 and 15 are user and system time, in hundredths of a second.
        let stat = text("/proc/self/stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |place: usize| fields.get(place).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        Snapshot { rss_bytes: rss_kb.unwrap_or(0_u64) * 1_024, cpu_ms: (ticks(11) + ticks(12)) * 10 }
    }
}

/// Bytes that the files below a folder occupy.
pub(super) fn bytes_below(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
            Ok(metadata) => metadata.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}
