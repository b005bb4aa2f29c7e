//! Every bound of the process: queues, tables, frames, retries.

use crate::units::TimeSpan;

/// Past sessions that a charger's machine remembers, to recognise repeated and stale starts.
pub const KEYS_REMEMBERED: usize = 16;

/// Refused credentials in a row after which a charger has to wait.
pub const REFUSALS_BEFORE_PAUSE: u16 = 5;

/// How long it has to wait then.
pub const REFUSAL_PAUSE: TimeSpan = TimeSpan::from_secs(60);
