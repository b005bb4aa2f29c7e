//! Times as chargers write them: without an offset, with too many digits, of 1970, of the future, or not at all.

use crate::limits::READ_FROM;
use crate::units::Timestamp;
use std::borrow::Cow;

/// A time that a charger states, as far as it can be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stated {
    /// The instant: the gate's clock where the charger's cannot be right.
    pub at: Timestamp,
    /// The text, by which a repetition is recognised.
    pub text: Box<str>,
    /// Whether the gate's clock was used instead.
    pub corrected: bool,
}

/// Longest text of a time that is read, and kept, in characters.
const TEXT_MAX: usize = 64;

/// Reads a time. One that is missing, unreadable, before the year 2000 or later than now is taken to be now.
pub(super) fn read(text: Option<Cow<'_, str>>, now: Timestamp) -> Stated {
    let text = text.unwrap_or_default();
    let found = parse(&text).filter(|at| at.unix_ms() >= READ_FROM && *at <= now);
    let kept: String = text.chars().take(TEXT_MAX).collect();
    Stated { at: found.unwrap_or(now), text: kept.into(), corrected: found.is_none() }
}

/// The instant of a text, in UTC where it names no offset.
fn parse(text: &str) -> Option<Timestamp> {
    if text.len() > TEXT_MAX || !text.is_ascii() {
        return None;
    }
    if text.bytes().all(|digit| digit.is_ascii_digit()) {
        return match text.len() {
            // Seconds, or milliseconds, since 1970.
            9..=10 => text.parse::<i64>().ok()?.checked_mul(1_000).map(Timestamp::from_unix_ms),
            12..=13 => text.parse().ok().map(Timestamp::from_unix_ms),
            _ => None,
        };
    }
    let text = text.replacen(' ', "T", 1);
    let text = match text.split_once('.') {
        Some((seconds, rest)) => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            format!("{seconds}.{:0<1}{}", &rest[..digits.min(9)], &rest[digits..])
        }
        None => text,
    };
    Timestamp::parse_rfc3339(&text).or_else(|_| Timestamp::parse_rfc3339(&format!("{text}Z"))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_790_000_000_000);

    fn at(text: &str) -> Option<i64> {
        let stated = read(Some(text.into()), NOW);
        (!stated.corrected).then_some(stated.at.unix_ms())
    }

    #[test]
    fn times_are_read_with_and_without_offset_and_with_any_number_of_digits() {
        for text in [
            "2026-09-21T10:00:00Z",
            "2026-09-21T10:00:00",
            "2026-09-21 10:00:00",
            "2026-09-21T10:00:00.000Z",
            "2026-09-21T10:00:00.000000000Z",
            "2026-09-21T10:00:00.000000000000",
            "2026-09-21T12:00:00+02:00",
            "2026-09-21T12:00:00.0+0200",
            "2026-09-21t10:00:00z",
            "1789984800",
            "1789984800000",
        ] {
            assert_eq!(at(text), Some(1_789_984_800_000), "{text}");
        }
    }

    #[test]
    fn a_time_that_cannot_be_right_is_the_gates_and_keeps_its_text() {
        for text in ["1970-01-01T00:00:12Z", "2126-01-01T00:00:00Z", "yesterday", "", "2026-13-45T99:00:00Z", "0", "é"]
        {
            let stated = read(Some(text.into()), NOW);
            assert_eq!((stated.at, &*stated.text, stated.corrected), (NOW, text, true), "{text}");
        }
        assert!(read(None, NOW).corrected);
        assert!(read(Some("9".repeat(10_000).into()), NOW).text.len() <= TEXT_MAX);
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_odd(text in "\\PC{0,80}") {
            proptest::prop_assert!(read(Some(text.into()), NOW).at <= NOW);
        }
    }
}
