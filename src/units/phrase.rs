//! Numbers with their nouns, and nouns with their articles, for every text that people read.

use std::fmt::Display;

/// A number with its noun in the right form: `1 file`, `2 files`, `0 entries`. The noun is the last word of the phrase that
/// is given in the singular, so that `counted(2, "archived session")` is `2 archived sessions`.
pub fn counted<N: Display + Copy + TryInto<u128>>(count: N, noun: &str) -> String {
    match count.try_into() {
        Ok(1) => format!("{count} {noun}"),
        _ => format!("{count} {}", plural(noun)),
    }
}

/// The form of a verb or pronoun that agrees with a number: `is` or `are`.
pub fn by_count<'a, N: TryInto<u128>>(count: N, one: &'a str, more: &'a str) -> &'a str {
    if matches!(count.try_into(), Ok(1)) { one } else { more }
}

/// A phrase with its article: `a session`, `an operation`, `an EVSE`, `a UID`.
pub fn with_article(phrase: &str) -> String {
    let first = phrase.split(|letter: char| !letter.is_alphanumeric()).find(|word| !word.is_empty()).unwrap_or("");
    let is_initials = first.len() > 1 && first.chars().all(|letter| letter.is_ascii_uppercase() || letter.is_numeric());
    let sounds_like_vowel = match first.chars().next().map(|letter| letter.to_ascii_lowercase()) {
        // Initials are spelt out: an RFID card, an HTTP answer, a UID.
        Some(letter) if is_initials => "aefhilmnorsx".contains(letter),
        Some('u') => !["uni", "use", "usu", "uti", "eu"].iter().any(|start| first.to_lowercase().starts_with(start)),
        Some('h') => first.to_lowercase().starts_with("hour"),
        Some(letter) => "aeio".contains(letter),
        None => false,
    };
    format!("{} {phrase}", if sounds_like_vowel { "an" } else { "a" })
}

fn plural(noun: &str) -> String {
    let ends_in = |ends: &[&str]| ends.iter().any(|end| noun.ends_with(end));
    match noun.strip_suffix('y') {
        _ if ends_in(&["series", "kWh", "MiB", "GiB"]) => noun.to_owned(),
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ if ends_in(&["s", "x", "ch", "sh"]) => format!("{noun}es"),
        _ => format!("{noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_noun_has_the_form_of_its_number() {
        assert_eq!(counted(1_u64, "file"), "1 file");
        assert_eq!(counted(0_usize, "file"), "0 files");
        assert_eq!(counted(2, "entry"), "2 entries");
        assert_eq!(counted(3, "key"), "3 keys");
        assert_eq!(counted(2, "batch"), "2 batches");
        assert_eq!(counted(2, "currency"), "2 currencies");
        assert_eq!(counted(2, "series"), "2 series");
        assert_eq!(counted(-1, "minor unit"), "-1 minor units");
        assert_eq!(counted(12, "archived session"), "12 archived sessions");
        assert_eq!(by_count(1, "is", "are"), "is");
        assert_eq!(by_count(2, "is", "are"), "are");
    }

    #[test]
    fn an_article_goes_by_the_sound_that_follows() {
        for (phrase, right) in [
            ("operation id", "an operation id"),
            ("session", "a session"),
            ("account", "an account"),
            ("EVSE", "an EVSE"),
            ("RFID card", "an RFID card"),
            ("UID", "a UID"),
            ("unit", "a unit"),
            ("unknown key", "an unknown key"),
            ("hour", "an hour"),
            ("hold", "a hold"),
            ("`authorize`", "an `authorize`"),
        ] {
            assert_eq!(with_article(phrase), right);
        }
    }
}
