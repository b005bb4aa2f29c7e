//! Instants and spans in whole milliseconds, and the clock that is handed in from outside.

use crate::stored::stored;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::fmt;

/// An instant: milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
///
/// ```
/// use wattstile::units::{TimeSpan, Timestamp};
///
/// let start = Timestamp::parse_rfc3339("2026-03-29T01:30:00+01:00")?;
/// let end = start.saturating_add(TimeSpan::from_secs(3_600));
/// assert_eq!(end.to_rfc3339(), "2026-03-29T01:30:00Z");
/// assert_eq!(end.since(start), TimeSpan::from_ms(3_600_000));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(i64);

stored!(struct Timestamp(ms));

/// A span of time in milliseconds; negative when it points back.
///
/// ```
/// use wattstile::units::TimeSpan;
///
/// assert_eq!(TimeSpan::from_secs(90).ms(), 90_000);
/// assert_eq!(TimeSpan::from_ms(-1_999).whole_secs(), -1);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TimeSpan(i64);

stored!(struct TimeSpan(ms));

/// A reading of a monotonic clock, in milliseconds from an origin that is valid for this process only.
///
/// Time-outs are measured with it, so that setting the wall clock changes no duration.
///
/// ```
/// use wattstile::units::{Mono, TimeSpan};
///
/// let deadline = Mono(5).after(TimeSpan::from_secs(8));
/// assert_eq!(deadline, Mono(8_005));
/// assert_eq!(Mono(5).after(TimeSpan::from_secs(-8)), Mono(5), "no time-out lies in the past");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    /// A moment that is never reached.
    pub const NEVER: Mono = Mono(u64::MAX);
}

/// Both clocks at the moment a command is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The wall clock: written on receipts, and compared with a hold's expiry.
    pub wall: Timestamp,
    /// The monotonic clock: what time-outs are measured with.
    pub mono: Mono,
}

/// Source of `now`. The process has a system clock (at any speed); a simulation has a virtual one.
///
/// ```
/// use wattstile::units::{Clock, Mono, Now, Timestamp};
///
/// struct Stopped(Timestamp);
///
/// impl Clock for Stopped {
///     fn now(&self) -> Now {
///         Now { wall: self.0, mono: Mono(0) }
///     }
/// }
///
/// let clock = Stopped(Timestamp::from_unix_ms(1_796_000_000_000));
/// assert_eq!(clock.now(), clock.now());
/// ```
pub trait Clock: Send + Sync {
    /// Both clocks, read together.
    fn now(&self) -> Now;
}

/// A text that is not an instant, or an instant out of the calendar's range (years -9999 to 9999).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a time: {0}")]
pub struct TimeError(String);

impl Timestamp {
    /// From milliseconds since 1970-01-01T00:00:00Z.
    pub const fn from_unix_ms(ms: i64) -> Timestamp {
        Timestamp(ms)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn unix_ms(self) -> i64 {
        self.0
    }

    /// From RFC 3339 text with an offset (`2017-06-01T09:13:56+02:00`, `…Z`). Finer than a millisecond is cut.
    ///
    /// # Errors
    /// A text that is not RFC 3339 or has no offset; the error quotes it.
    pub fn parse_rfc3339(text: &str) -> Result<Timestamp, TimeError> {
        let instant: jiff::Timestamp = text.parse().map_err(|error| TimeError(format!("`{text}`: {error}")))?;
        Ok(Timestamp(instant.as_millisecond()))
    }

    /// RFC 3339 in UTC: `2026-11-22T17:45:00Z`, with milliseconds only where there are any.
    pub fn to_rfc3339(self) -> String {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(instant) => instant.to_string(),
            Err(_) => format!("{} ms", self.0),
        }
    }

    /// The same instant on the clocks of a time zone.
    ///
    /// # Errors
    /// An instant outside the years −9999 to 9999.
    pub fn in_zone(self, zone: &TimeZone) -> Result<jiff::Zoned, TimeError> {
        let instant =
            jiff::Timestamp::from_millisecond(self.0).map_err(|error| TimeError(format!("{}: {error}", self.0)))?;
        Ok(instant.to_zoned(zone.clone()))
    }

    /// This instant moved by a span, or `None` on overflow.
    pub const fn checked_add(self, span: TimeSpan) -> Option<Timestamp> {
        match self.0.checked_add(span.0) {
            Some(ms) => Some(Timestamp(ms)),
            None => None,
        }
    }

    /// This instant moved by a span, held at the ends of the range.
    pub const fn saturating_add(self, span: TimeSpan) -> Timestamp {
        Timestamp(self.0.saturating_add(span.0))
    }

    /// The span from `earlier` to this instant, held at the ends of the range.
    pub const fn since(self, earlier: Timestamp) -> TimeSpan {
        TimeSpan(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

impl TimeSpan {
    /// No time.
    pub const ZERO: TimeSpan = TimeSpan(0);

    /// From milliseconds.
    pub const fn from_ms(ms: i64) -> TimeSpan {
        TimeSpan(ms)
    }

    /// From seconds, held at the ends of the range.
    pub const fn from_secs(s: i64) -> TimeSpan {
        TimeSpan(s.saturating_mul(1_000))
    }

    /// In milliseconds.
    pub const fn ms(self) -> i64 {
        self.0
    }

    /// In whole seconds, rounded towards zero.
    pub const fn whole_secs(self) -> i64 {
        self.0 / 1_000
    }
}

impl Mono {
    /// This reading moved on by a span (a negative span counts as none).
    pub const fn after(self, span: TimeSpan) -> Mono {
        Mono(self.0.saturating_add(if span.0 > 0 { span.0.unsigned_abs() } else { 0 }))
    }

    /// The span from `earlier` to this reading.
    pub fn since(self, earlier: Mono) -> TimeSpan {
        TimeSpan(i64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_keeps_the_instant_whatever_the_offset() {
        let local = Timestamp::parse_rfc3339("2017-06-01T09:13:56+02:00").unwrap();
        assert_eq!(local, Timestamp::parse_rfc3339("2017-06-01T07:13:56Z").unwrap());
        assert_eq!(local.to_string(), "2017-06-01T07:13:56Z");
    }

    #[test]
    fn a_time_without_offset_is_refused_and_named() {
        let error = Timestamp::parse_rfc3339("2017-06-01T09:13:56").unwrap_err();
        assert!(error.to_string().contains("2017-06-01T09:13:56"), "{error}");
    }

    #[test]
    fn a_negative_span_never_moves_the_monotonic_clock_back() {
        assert_eq!(Mono(5).after(TimeSpan::from_ms(-3)), Mono(5));
        assert_eq!(Mono(5).since(Mono(9)), TimeSpan::ZERO);
    }
}
