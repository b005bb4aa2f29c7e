//! The gate's process from outside: memory, open files, bytes of its log and of what it writes for people.

use crate::host::{ProcessUsage, bytes_below, open_files};
use serde::Serialize;
use std::path::PathBuf;

/// What is watched.
pub(super) struct Watched {
    pub pid: u32,
    /// Its data directory.
    pub data: PathBuf,
    /// The file that its log lines go to, where that is known.
    pub text_log: Option<PathBuf>,
}

/// A moment.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    memory: u64,
    files: u64,
    log: u64,
    archive: u64,
    text_log: u64,
}

/// Takes samples of a process.
pub(super) struct Samples {
    watched: Watched,
    taken: Vec<Sample>,
    gone: bool,
}

/// Results of the samples. Bytes, except for files.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Sampled {
    pub samples: u64,
    /// The process was missing at one of them.
    pub gone: bool,
    pub memory_first: u64,
    pub memory_most: u64,
    pub memory_last: u64,
    /// The median of the second quarter of the time, and that of the last one: memory that only grows shows here.
    pub memory_early: u64,
    pub memory_late: u64,
    pub files_most: u64,
    pub files_last: u64,
    /// The log of facts, which is trimmed.
    pub log_most: u64,
    pub log_last: u64,
    /// The archive, which keeps every closed session.
    pub archive_last: u64,
    /// What it wrote for people.
    pub text_log_last: u64,
}

impl Samples {
    pub fn new(watched: Watched) -> Samples {
        Samples { watched, taken: Vec::new(), gone: false }
    }

    /// Takes one.
    pub fn take(&mut self) {
        let Some(ProcessUsage { resident_bytes: memory, .. }) = ProcessUsage::of(self.watched.pid) else {
            self.gone = true;
            return;
        };
        let files = open_files(Some(self.watched.pid)).unwrap_or(0);
        let text_log = self.watched.text_log.as_deref().map_or(0, bytes_below);
        let [log, archive] = ["log", "archive"].map(|part| bytes_below(&self.watched.data.join(part)));
        self.taken.push(Sample { memory, files, log, archive, text_log });
    }

    /// Returns the results.
    pub fn done(mut self) -> Sampled {
        self.take();
        let most = |of: fn(&Sample) -> u64| self.taken.iter().map(of).max().unwrap_or(0);
        let (first, last) = (self.taken.first().copied(), self.taken.last().copied());
        let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
        let quarter = self.taken.len() / 4;
        let median = |from: usize, to: usize| {
            let mut part: Vec<u64> = self.taken[from..to].iter().map(|sample| sample.memory).collect();
            part.sort_unstable();
            part.get(part.len() / 2).copied().unwrap_or(last.memory)
        };
        Sampled {
            samples: self.taken.len() as u64,
            gone: self.gone,
            memory_first: first.memory,
            memory_most: most(|sample| sample.memory),
            memory_last: last.memory,
            memory_early: median(quarter, 2 * quarter),
            memory_late: median(3 * quarter, self.taken.len()),
            files_most: most(|sample| sample.files),
            files_last: last.files,
            log_most: most(|sample| sample.log),
            log_last: last.log,
            archive_last: last.archive,
            text_log_last: last.text_log,
        }
    }
}

/// Whether there is such a process that is not a zombie.
pub(super) fn is_alive(pid: u32) -> bool {
    ProcessUsage::of(pid).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_process_is_watched_until_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("log")).unwrap();
        fs::write(folder.path().join("log/segment"), [1; 700]).unwrap();
        fs::write(folder.path().join("ballast"), [1; 90_000]).unwrap();
        let watched = Watched { pid: std::process::id(), data: folder.path().to_owned(), text_log: None };
        let mut samples = Samples::new(watched);
        samples.take();
        let sampled = samples.done();
        assert_eq!((sampled.samples, sampled.gone), (2, false));
        assert!((700..90_000).contains(&sampled.log_most), "{}", sampled.log_most);
        assert!(sampled.memory_most > 1 << 20 && sampled.files_most > 2);
        let watched = Watched { pid: u32::MAX, data: folder.path().to_owned(), text_log: None };
        assert!(Samples::new(watched).done().gone);
    }
}
