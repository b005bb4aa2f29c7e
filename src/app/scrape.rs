//! Metrics of the process and its log, written into a scrape.

use crate::host::wall_clock;
use crate::metrics::{
    CONNECTIONS, Collector, Durations, RECOVERED_SESSIONS, RECOVERY_DURATION, SNAPSHOT_FAILURES, SNAPSHOT_TIME,
    TICK_DURATION, WAL_APPEND_DURATION, WAL_BOUND, WAL_LAST_SEQUENCE, WAL_RECORDS, WAL_SIZE, WAL_SYNC_DURATION,
};
use crate::node::log_figures::LogFigures;
use crate::transport::Live;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long group commits take: the whole, and its wait for the disk.
#[derive(Default)]
pub(super) struct CommitDurations {
    pub append: Durations,
    pub sync: Durations,
}

/// Where the figures are.
pub(super) struct Measured {
    pub commits: Arc<CommitDurations>,
    pub ticks: Arc<Durations>,
    pub figures: Arc<LogFigures>,
    pub recovery: Duration,
    pub recovered_sessions: usize,
    pub live: Option<Live>,
}

impl Measured {
    /// What writes them.
    pub fn collector(self) -> Collector {
        Arc::new(move |text| self.write(text))
    }

    fn write(&self, text: &mut String) {
        self.commits.append.write(&WAL_APPEND_DURATION, text);
        self.commits.sync.write(&WAL_SYNC_DURATION, text);
        self.ticks.write(&TICK_DURATION, text);
        WAL_SIZE.write_head(text);
        WAL_SIZE.write_series(text, &[], self.figures.used());
        WAL_BOUND.write_head(text);
        WAL_BOUND.write_series(text, &[], self.figures.bound());
        let since = i64::try_from(self.figures.since_snapshots(Instant::now()).as_millis()).unwrap_or(i64::MAX);
        SNAPSHOT_TIME.write_head(text);
        SNAPSHOT_TIME.write_series(text, &[], wall_clock().unix_ms().saturating_sub(since).max(0) / 1_000);
        SNAPSHOT_FAILURES.write_head(text);
        SNAPSHOT_FAILURES.write_series(text, &[], self.figures.snapshot_failures());
        WAL_LAST_SEQUENCE.write_head(text);
        WAL_LAST_SEQUENCE.write_series(text, &[], self.figures.last_sequence());
        WAL_RECORDS.write_head(text);
        WAL_RECORDS.write_series(text, &[], self.figures.records());
        RECOVERED_SESSIONS.write_head(text);
        RECOVERED_SESSIONS.write_series(text, &[], self.recovered_sessions);
        RECOVERY_DURATION.write_head(text);
        let ms = self.recovery.as_millis();
        RECOVERY_DURATION.write_series(text, &[], format_args!("{}.{:03}", ms / 1_000, ms % 1_000));
        CONNECTIONS.write_head(text);
        for (role, count) in self.live.iter().flat_map(Live::roles) {
            CONNECTIONS.write_series(text, &[role], count);
        }
    }
}
