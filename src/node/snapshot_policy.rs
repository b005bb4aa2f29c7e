//! When snapshots are taken: with the growth of the log, or with time.

use std::time::Duration;

/// Snapshots take no more than this part of the time, unless the log is in need of them.
const CALM: u32 = 10;

/// When snapshots are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotPolicy {
    /// Bytes of the log in which every partition has its turn.
    pub log_bytes: u64,
    /// Time in which every partition has its turn if the log has grown at all.
    pub every: Duration,
}

impl SnapshotPolicy {
    /// A rhythm that keeps the log below so many bytes. Every partition has its turn in a sixth of that: so the log has room for
    /// what is between the older of the two snapshots of each partition and now, and for the part of a generation (32 MiB) that
    /// cannot go yet. Where snapshots would take much of the time that way, it is three fifths of the bound instead, and the
    /// log goes up to the newer snapshots: one costs the same, however much it lets go.
    pub const fn log_below(bytes: u64, every: Duration) -> SnapshotPolicy {
        SnapshotPolicy { log_bytes: bytes / 6, every }
    }

    /// Below how many bytes it keeps the log.
    pub const fn bound(&self) -> u64 {
        self.log_bytes.saturating_mul(6)
    }

    /// Bytes in which every partition is to have its turn, after a round for which the snapshots took so much of the time.
    pub(super) fn interval(&self, snapshots: Duration, cycle: Duration) -> u64 {
        if snapshots * CALM <= cycle { self.log_bytes } else { self.bound() / 5 * 3 }
    }

    /// How many of so many partitions are to have had their turn in a round.
    pub(super) fn turns(&self, partitions: u16, log: Growth) -> u64 {
        let share = |part: u128, whole: u128| u128::from(partitions) * part / whole.max(1);
        let turns = match log.grown {
            0 => 0,
            _ if log.used >= self.bound() / 16 * 15 => u128::from(partitions),
            grown => share(grown.into(), log.interval.into()).max(share(log.since.as_millis(), self.every.as_millis())),
        };
        u64::try_from(turns).unwrap_or(u64::MAX)
    }
}

/// What the log did since a round began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Growth {
    /// Bytes that were written.
    pub grown: u64,
    /// Bytes that it takes.
    pub used: u64,
    /// How long ago the round began.
    pub since: Duration,
    /// Bytes in which every partition is to have its turn.
    pub interval: u64,
}

impl Default for SnapshotPolicy {
    /// 512 MiB, and a quarter of an hour.
    fn default() -> SnapshotPolicy {
        SnapshotPolicy::log_below(512 * 1024 * 1024, Duration::from_secs(15 * 60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn snapshot_policy() -> SnapshotPolicy {
        SnapshotPolicy::log_below(600 * MIB, Duration::from_secs(900))
    }

    fn turns(grown_mib: u64, used_mib: u64, since_s: u64, stride_mib: u64) -> u64 {
        let (grown, used, interval) = (grown_mib * MIB, used_mib * MIB, stride_mib * MIB);
        snapshot_policy().turns(64, Growth { grown, used, since: Duration::from_secs(since_s), interval })
    }

    #[test]
    fn turns_come_with_the_growth_of_the_log() {
        assert_eq!([0, 1, 2, 50, 99, 100].map(|grown| turns(grown, 250, 1, 100)), [0, 0, 1, 32, 63, 64]);
        assert_eq!([100, 450].map(|grown| turns(grown, 500, 4, 450)), [14, 64]);
    }

    #[test]
    fn turns_come_with_time_if_anything_happened() {
        assert_eq!([(0, 450), (1, 450), (1, 900)].map(|(grown, since)| turns(grown, 32, since, 100)), [0, 32, 64]);
    }

    #[test]
    fn near_the_bound_everybody_has_a_turn() {
        assert_eq!([(1, 562), (1, 563), (0, 563)].map(|(grown, used)| turns(grown, used, 1, 450)), [0, 64, 0]);
    }

    #[test]
    fn snapshots_that_take_much_of_the_time_are_taken_as_rarely_as_can_be() {
        let interval = |snapshots, cycle| {
            snapshot_policy().interval(Duration::from_secs(snapshots), Duration::from_secs(cycle)) / MIB
        };
        assert_eq!([interval(0, 1), interval(1, 10), interval(1, 9)], [100, 100, 360]);
    }
}
