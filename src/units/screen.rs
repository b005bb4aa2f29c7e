//! Checks of texts from outside: they must not contain the number of a payment card, or invisible characters.
//!
//! Every text that is stored, shown or sent on is checked here once, where it enters: ids, a charger's firmware, a
//! processor's references and codes, settings, what an operator types. A refusal never repeats the number.

use std::borrow::Cow;

/// Reason why a text is refused.
///
/// ```
/// use wattstile::units::screen::{TextFault, screen};
///
/// assert_eq!(screen("card 4111 1111 1111 1111"), Err(TextFault::CardNumber));
/// assert_eq!(screen("gate\u{202e}7"), Err(TextFault::Unseen('\u{202e}')));
/// assert_eq!(screen("Hall 7, left"), Ok(()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextFault {
    /// It contains a number that looks like a payment card's.
    #[error("it has what looks like a card's number in it (12 to 19 digits that pass the Luhn check)")]
    CardNumber,
    /// It has a character that changes how the text around it is shown, or is not shown itself.
    #[error("it has the character U+{:04X}, which is not shown", u32::from(*.0))]
    Unseen(char),
}

/// Checks a text.
///
/// # Errors
/// The first fault.
pub fn screen(text: &str) -> Result<(), TextFault> {
    if looks_like_card_number(text.as_bytes()) {
        return Err(TextFault::CardNumber);
    }
    match text.chars().find(|letter| is_unseen(*letter)) {
        Some(letter) => Err(TextFault::Unseen(letter)),
        None => Ok(()),
    }
}

/// Checks a reference of a peer, which is stored unchanged and sent back: many are numbers or UUIDs, so only a number
/// as card networks issue them counts.
///
/// # Errors
/// The first fault.
pub fn screen_reference(text: &str) -> Result<(), TextFault> {
    if has_issued_card_number(text.as_bytes()) {
        return Err(TextFault::CardNumber);
    }
    match text.chars().find(|letter| is_unseen(*letter)) {
        Some(letter) => Err(TextFault::Unseen(letter)),
        None => Ok(()),
    }
}

/// Control characters, line and paragraph separators, and the marks that turn the direction of a text.
pub fn is_unseen(letter: char) -> bool {
    let turns =
        matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    letter.is_control() || turns || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// The text with each unseen character as its escape, such as `\u{202e}`.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unseen) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_unseen(letter) { out.extend(letter.escape_default()) } else { out.push(letter) }
    }
    Cow::Owned(out)
}

/// The text with a star in the place of each digit of a card's number: for messages that quote what was typed. As long, in
/// bytes, as the text.
pub fn masked(text: &str) -> Cow<'_, str> {
    let mut stars: Vec<usize> = Vec::new();
    runs(text.as_bytes(), |digits| {
        if is_card_number(digits) && is_whole_word(text.as_bytes(), digits) {
            stars.extend(digits.iter().map(|(at, _)| *at));
        }
    });
    if stars.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut bytes = text.as_bytes().to_vec();
    stars.into_iter().for_each(|at| bytes[at] = b'*');
    Cow::Owned(String::from_utf8(bytes).expect("digits and stars are ASCII"))
}

/// Whether text or bytes contain what looks like a payment card's number: 12 to 19 digits that do not begin with 0 and pass
/// the Luhn check of ISO/IEC 7812-1. Single spaces, dashes and other separators between groups of digits are skipped.
///
/// One in ten runs of random digits passes as well: tokens that an issuer makes of digits alone have to avoid these
/// lengths or fail the check, as card networks' own tokenisation rules require.
pub fn looks_like_card_number(bytes: &[u8]) -> bool {
    let mut found = false;
    runs(bytes, |digits| found |= is_card_number(digits));
    found
}

/// The same for ids and references, many of which are numbers or UUIDs: only whole words of digits count, which begin as card
/// networks number their cards.
pub fn has_issued_card_number(bytes: &[u8]) -> bool {
    let mut found = false;
    runs(bytes, |digits| {
        found |= is_card_number(digits) && is_issued(digits) && is_whole_word(bytes, digits);
    });
    found
}

/// Whether no letter is adjacent to the digits: hexadecimal ids contain long runs of digits.
fn is_whole_word(bytes: &[u8], digits: &[Digit]) -> bool {
    let (Some((first, _)), Some((last, _))) = (digits.first(), digits.last()) else { return false };
    let beside = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_alphabetic);
    !beside(first.checked_sub(1)) && !beside(last.checked_add(1))
}

/// A digit and where it stands.
type Digit = (usize, u8);

/// Digits of a card's number.
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 12..=19;

/// Calls with each sequence of whole groups that is as long as a card's number: digits one separator before or behind it do
/// not hide it.
fn runs(bytes: &[u8], mut run: impl FnMut(&[Digit])) {
    let (mut digits, mut groups): (Vec<Digit>, Vec<usize>) = (Vec::new(), Vec::new());
    // Digits since the last separator, and whether the byte before was one.
    let (mut group, mut separated) = (0, false);
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let (separator, width) = separator(&bytes[at..], group);
        if byte.is_ascii_digit() {
            if group == 0 {
                groups.push(digits.len());
            }
            digits.push((at, byte - b'0'));
            (group, separated) = (group + 1, false);
        } else if separator && !digits.is_empty() && !separated {
            (group, separated) = (0, true);
        } else {
            windows(&digits, &groups, &mut run);
            digits.clear();
            groups.clear();
            (group, separated) = (0, false);
        }
        at += width;
    }
    windows(&digits, &groups, &mut run);
}

/// `groups` are the places in `digits` where groups begin.
fn windows(digits: &[Digit], groups: &[usize], run: &mut impl FnMut(&[Digit])) {
    for (index, begin) in groups.iter().enumerate() {
        let ends = groups[index + 1..].iter().copied().chain([digits.len()]);
        for end in ends.take_while(|end| end - begin <= *CARD_DIGITS.end()) {
            if end - begin >= *CARD_DIGITS.start() {
                run(&digits[*begin..end]);
            }
        }
    }
}

/// Whether a separator of groups begins here, and how many bytes it takes. Dots, slashes and the like only after four digits
/// or more, as cards have them: addresses of hosts and dates are no cards.
fn separator(bytes: &[u8], group: usize) -> (bool, usize) {
    match bytes {
        [b' ' | b'-' | b'\t', ..] => (true, 1),
        // No-break space; narrow no-break space and the dashes of U+2010 to U+2015.
        [0xc2, 0xa0, ..] => (true, 2),
        [0xe2, 0x80, 0xaf | 0x90..=0x95, ..] => (true, 3),
        [b'.' | b'_' | b'/' | b'*' | b':' | b'|' | b'+' | b'=' | b',' | b'@' | b'\'', ..] => (group >= 4, 1),
        _ => (false, 1),
    }
}

fn is_card_number(digits: &[Digit]) -> bool {
    let doubled = |digit: u8| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let sum = digits.iter().rev().enumerate().map(|(place, (_, digit))| match place % 2 {
        0 => u32::from(*digit),
        _ => u32::from(doubled(*digit)),
    });
    CARD_DIGITS.contains(&digits.len()) && digits[0].1 != 0 && sum.sum::<u32>() % 10 == 0
}

/// Whether digits begin as the large networks number their cards, at the lengths that they use.
fn is_issued(digits: &[Digit]) -> bool {
    let first = |count: usize| digits.iter().take(count).fold(0_u32, |sum, (_, digit)| sum * 10 + u32::from(*digit));
    match digits.len() {
        13 => first(1) == 4 || is_maestro(first(2)),
        15 => matches!(first(2), 34 | 37) || matches!(first(4), 1800 | 2131) || is_maestro(first(2)),
        14 => matches!(first(2), 30 | 36 | 38 | 39) || is_maestro(first(2)),
        16..=19 => {
            matches!(first(1), 4 | 6)
                || matches!(first(2), 35 | 36 | 38 | 39 | 50..=59 | 81 | 82)
                || matches!(first(4), 2200..=2205 | 2221..=2720 | 9792)
        }
        _ => is_maestro(first(2)),
    }
}

const fn is_maestro(first_two: u32) -> bool {
    matches!(first_two, 50 | 56..=69)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The networks' published test numbers.
    #[test]
    fn card_numbers_are_seen_in_every_disguise() {
        for number in [
            "4111111111111111",
            "5555 5555 5555 4444",
            "3782-822463-10005",
            "tok:6011111111111117",
            "(30569309025904)",
            "4111.1111.1111.1111",
            "4111_1111_1111_1111",
            "4111*1111*1111*1111",
            "4111/1111/1111/1111",
            "4111\u{a0}1111\u{a0}1111\u{a0}1111",
            "4111\u{2011}1111\u{2011}1111\u{2011}1111",
            "NL*WST*4111111111111111",
            "2223003122003222",
            "1.2.3 4111 1111 1111 1111 9",
            "12 4111111111111111-7",
        ] {
            assert_eq!(screen(number), Err(TextFault::CardNumber), "{number}");
            assert!(has_issued_card_number(number.as_bytes()), "{number}");
            let hidden = masked(number);
            assert!(!looks_like_card_number(hidden.as_bytes()) && hidden.len() == number.len(), "{hidden}");
        }
        assert_eq!(masked("account 4111111111111111 is 7"), "account **************** is 7");
    }

    #[test]
    fn other_numbers_pass() {
        for text in [
            "4111111111111112",
            "http://192.168.100.101:8080/receipts/",
            "2026-11-30T12:00:00Z",
            "DE-8AA-C00000001-5",
            "1 Example Street, 00000 Exampletown",
            "ses_019aaaafcf800002c49fb01df0bb0000",
            "v1.0.12-2026.11",
            "4111111111111111000000",
            "0000000000000000",
        ] {
            assert_eq!(screen(text), Ok(()), "{text}");
        }
        // References of processors: numbers of other kinds, and UUIDs.
        for text in ["8515131751004933", "A4111111111111111", "5f0c3a9e-1d2b-4c3d-9e8f-411111111111"] {
            assert!(!has_issued_card_number(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn unseen_characters_are_refused_or_escaped() {
        for letter in ['\0', '\u{1b}', '\n', '\u{7f}', '\u{85}', '\u{202e}', '\u{2066}', '\u{200f}', '\u{2028}'] {
            let text = format!("a{letter}b");
            assert_eq!(screen(&text), Err(TextFault::Unseen(letter)));
            assert_eq!(screen(&escaped(&text)), Ok(()), "{letter:?}");
        }
        assert_eq!(escaped("Größe 中文"), "Größe 中文");
        assert_eq!(TextFault::Unseen('\u{202e}').to_string(), "it has the character U+202E, which is not shown");
    }
}
