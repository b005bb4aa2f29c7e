//! A fast clock that continues where it stopped, however the process ended.
//!
//! Its wall clock is reserved ahead in a file, and never exceeds the reservation: all times that an earlier process
//! recorded are before the start of the next one.

use super::pace::{FastClock, Pace};
use crate::transport::files::{FileError, write_whole};
use crate::units::{Clock, Now, TimeSpan, Timestamp};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// A fast wall clock that is written down ahead, beside a monotonic clock of real time.
pub struct KeptClock {
    fast: FastClock,
    speed: u32,
    path: PathBuf,
    /// The latest time that may be shown, in Unix milliseconds.
    promised: AtomicI64,
}

/// Interval at which the reservation has to be renewed with [`KeptClock::promise`].
pub const PROMISED_EVERY: Duration = Duration::from_millis(500);

/// How far ahead of the real clock time is reserved. If the process is held up for longer, its clock stands still.
const AHEAD_MS: i64 = 2_000;

impl KeptClock {
    /// Goes on from the time in the file. With nothing `under_way` there, or without the file, it begins at the system's
    /// time if that is later.
    ///
    /// # Errors
    /// The file cannot be read or written, or has no time in it.
    pub fn open(path: &Path, speed: u32, under_way: bool) -> Result<KeptClock, FileError> {
        let fast = match stopped_at(path)? {
            Some(stopped) if under_way => FastClock::starting_at(stopped, speed),
            Some(stopped) => FastClock::starting_at(FastClock::new(speed).now().wall.max(stopped), speed),
            None => FastClock::new(speed),
        };
        let promised = AtomicI64::new(fast.now().wall.unix_ms());
        let clock = KeptClock { fast, speed: speed.max(1), path: path.to_owned(), promised };
        clock.promise()?;
        Ok(clock)
    }

    /// Promises the time of the next moments, durably.
    ///
    /// # Errors
    /// The file cannot be written: the clock will stand still.
    pub fn promise(&self) -> Result<(), FileError> {
        let ahead = TimeSpan::from_ms(AHEAD_MS.saturating_mul(i64::from(self.speed)));
        let until = self.fast.now().wall.saturating_add(ahead);
        write_whole(&self.path, until.to_rfc3339().as_bytes(), 0o600)?;
        self.promised.fetch_max(until.unix_ms(), Ordering::Release);
        Ok(())
    }

    /// Writes down the time that is shown now, when nothing will be written with a later one.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn stop(&self) -> Result<(), FileError> {
        write_whole(&self.path, self.now().wall.to_rfc3339().as_bytes(), 0o600)
    }

    /// The clock with its speed.
    pub fn pace(self: &Arc<Self>) -> Pace {
        Pace { clock: self.clone(), speed: self.speed }
    }
}

impl Clock for KeptClock {
    fn now(&self) -> Now {
        let now = self.fast.now();
        Now { wall: now.wall.min(Timestamp::from_unix_ms(self.promised.load(Ordering::Acquire))), ..now }
    }
}

fn stopped_at(path: &Path) -> Result<Option<Timestamp>, FileError> {
    let failed = |error| FileError::Io { path: path.to_owned(), error };
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
        Ok(text) => match Timestamp::parse_rfc3339(text.trim()) {
            Ok(at) => Ok(Some(at)),
            Err(error) => Err(FileError::Content { path: path.to_owned(), error: error.to_string() }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: TimeSpan = TimeSpan::from_secs(3_600);

    #[test]
    fn a_clock_begins_no_earlier_than_it_ever_showed() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("clock");
        let mut last = Timestamp::from_unix_ms(0);
        for _ in 0..5 {
            // Dropped without a last write, as by SIGKILL.
            let clock = KeptClock::open(&path, 3_600, true).unwrap();
            assert!(clock.now().wall >= last, "{} after {last}", clock.now().wall);
            std::thread::sleep(Duration::from_millis(3));
            last = clock.now().wall;
        }
        assert!(last > FastClock::new(1).now().wall, "it ran ahead of the system's clock");
    }

    #[test]
    fn without_a_new_promise_it_stands_still() {
        let place = tempfile::tempdir().unwrap();
        let clock = KeptClock::open(&place.path().join("clock"), 1, true).unwrap();
        clock.promised.store(0, Ordering::Release);
        assert_eq!(clock.now().wall, Timestamp::from_unix_ms(0));
        clock.promise().unwrap();
        assert!(clock.now().wall > Timestamp::from_unix_ms(0));
    }

    #[test]
    fn what_is_under_way_is_not_kept_waiting_for_the_systems_time() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("clock");
        let system = FastClock::new(1).now().wall;
        let earlier = system.saturating_add(TimeSpan::from_ms(-HOUR.ms()));
        std::fs::write(&path, earlier.to_rfc3339()).unwrap();
        assert!(KeptClock::open(&path, 1, true).unwrap().now().wall < system);
        std::fs::write(&path, earlier.to_rfc3339()).unwrap();
        assert!(KeptClock::open(&path, 1, false).unwrap().now().wall >= system);
        let later = system.saturating_add(HOUR);
        std::fs::write(&path, later.to_rfc3339()).unwrap();
        assert!(KeptClock::open(&path, 1, false).unwrap().now().wall >= later);
        std::fs::write(&path, "soon").unwrap();
        assert!(KeptClock::open(&path, 1, false).is_err());
    }
}
