//! The map of a settlement file: which of its columns is what. The manual's page on money describes each key.

use super::LineKind;
use super::table::{Encoding, Finder, shortened};
use crate::units::DecimalMark;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// Which column of a file is what. Columns are named by the file's line of names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnMap {
    /// Our operation's id.
    pub operation: Option<String>,
    /// The processor's reference.
    pub reference: Option<String>,
    /// What the line is about; without it, captures are positive and refunds negative.
    pub kind: Option<String>,
    /// The values of that column, with their meanings.
    #[serde(default)]
    pub kinds: BTreeMap<String, Meaning>,
    /// The amount before fees; without it, net and fee together.
    #[serde(default)]
    pub gross: Sum,
    /// The fee; without it, gross less net, or nothing.
    #[serde(default)]
    pub fee: Sum,
    /// The amount after fees; without it, gross less fee.
    #[serde(default)]
    pub net: Sum,
    /// The currency's code; without it or where it is empty, that of the batch.
    pub currency: Option<String>,
    /// What separates columns: one character.
    #[serde(default = "comma", deserialize_with = "one_character")]
    pub separator: char,
    /// What separates decimals.
    #[serde(default)]
    pub decimal_mark: DecimalMark,
    /// Whether amounts are in minor units.
    #[serde(default)]
    pub minor_units: bool,
    /// Decimals of the file's minor unit by currency code, where they are not those of ISO 4217.
    #[serde(default)]
    pub exponents: BTreeMap<String, u8>,
    /// Whether fees are written as negative figures.
    #[serde(default)]
    pub fees_negative: bool,
    /// How the bytes are text.
    #[serde(default)]
    pub encoding: Encoding,
    /// The line of the names, counted from 1; lines before it are left out.
    #[serde(default = "one")]
    pub header_line: u32,
    /// Lines to skip: those with one of these values in that column.
    #[serde(default)]
    pub skip: BTreeMap<String, Vec<String>>,
    /// Lines whose amounts are debits written without a sign: those that have one of these words in that column.
    #[serde(default)]
    pub debits: BTreeMap<String, Vec<String>>,
}

/// The meaning of a value in the column of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// A line of this kind.
    Line(LineKind),
    /// Nothing: the line is left out (`skip`).
    Skip,
}

/// What can be written for a kind.
const KINDS: [(&str, Meaning); 9] = [
    ("capture", Meaning::Line(LineKind::Capture)),
    ("refund", Meaning::Line(LineKind::Refund)),
    ("fee", Meaning::Line(LineKind::Fee)),
    ("chargeback", Meaning::Line(LineKind::Chargeback)),
    ("chargeback_reversal", Meaning::Line(LineKind::ChargebackReversal)),
    ("adjustment", Meaning::Line(LineKind::Adjustment)),
    ("payout", Meaning::Line(LineKind::Payout)),
    ("reserve", Meaning::Line(LineKind::Reserve)),
    ("skip", Meaning::Skip),
];

fn kind_names() -> String {
    KINDS.map(|(name, _)| name).join(", ")
}

impl<'de> Deserialize<'de> for Meaning {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Meaning, D::Error> {
        let word = String::deserialize(deserializer)?;
        let known = KINDS.iter().find(|(name, _)| *name == word).map(|(_, meaning)| *meaning);
        known.ok_or_else(|| serde::de::Error::custom(format!("`{word}` is no kind of line; known: {}", kind_names())))
    }
}

/// Columns that are added up; a name with `-` in front is subtracted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "OneOrMany")]
pub struct Sum(Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for Sum {
    fn from(names: OneOrMany) -> Sum {
        match names {
            OneOrMany::One(name) => Sum(vec![name]),
            OneOrMany::Many(names) => Sum(names),
        }
    }
}

impl ColumnMap {
    /// The separator as one byte, if the map can be used.
    pub(super) fn checked(&self) -> Result<u8, String> {
        if self.gross.0.is_empty() && self.net.0.is_empty() {
            let like = "write the column of the amounts, like gross = \"Gross\"";
            return Err(format!("it names neither `gross` nor `net`: {like}"));
        }
        if self.header_line == 0 {
            return Err("`header_line` counts from 1".to_owned());
        }
        for (code, exponent) in &self.exponents {
            code.parse::<crate::units::Currency>().map_err(|error| format!("`exponents`: {error}"))?;
            if *exponent > 9 || code.chars().any(|c| !c.is_ascii_uppercase()) {
                return Err(format!("`exponents`: `{code} = {exponent}`; expected is a code in capitals and 0 to 9"));
            }
        }
        let separator = u8::try_from(self.separator).ok().filter(u8::is_ascii);
        separator.ok_or_else(|| format!("`{}` cannot separate columns", self.separator))
    }

    /// The columns of a key, as the map has them.
    pub(super) fn columns_of(&self, key: &str) -> &[String] {
        match key {
            "gross" => &self.gross.0,
            "fee" => &self.fee.0,
            "net" => &self.net.0,
            _ => &[],
        }
    }

    /// Whether the map has columns for a key.
    pub(super) fn has(&self, key: &str) -> bool {
        !self.columns_of(key).is_empty()
    }

    /// The columns from which a line's amount comes.
    pub(super) fn amounts(&self) -> impl Iterator<Item = &str> {
        self.gross.0.iter().chain(&self.net.0).map(String::as_str)
    }

    /// What to do about a word that the map does not have.
    pub(super) fn unknown_kind(&self, word: &str) -> String {
        let known: Vec<String> = self.kinds.keys().take(50).map(|word| format!("`{word}`")).collect();
        let word = shortened(word);
        format!(
            "`{word}` is not among the kinds of the map ({}); add it to `kinds`, like \"{word}\" = \"adjustment\", as one of \
             {}",
            known.join(", "),
            kind_names()
        )
    }
}

/// Columns that are added up: name, index, and whether they are subtracted.
pub(super) type Figures<'m> = Vec<(&'m str, usize, bool)>;

/// Where the columns are: name and index.
pub(super) struct Columns<'m> {
    pub(super) operation: Option<(&'m str, usize)>,
    pub(super) reference: Option<(&'m str, usize)>,
    pub(super) kind: Option<(&'m str, usize)>,
    pub(super) gross: Figures<'m>,
    pub(super) fee: Figures<'m>,
    pub(super) net: Figures<'m>,
    pub(super) currency: Option<(&'m str, usize)>,
    skip: Vec<(usize, &'m [String])>,
    debits: Vec<(usize, &'m [String])>,
}

impl<'m> Columns<'m> {
    /// Finds the columns.
    ///
    /// # Errors
    /// The names that are not there, or there twice.
    pub(super) fn find(map: &'m ColumnMap, headers: &::csv::StringRecord) -> Result<Columns<'m>, String> {
        let mut finder = Finder::of(headers);
        let mut maybe = |name: &'m Option<String>| name.as_deref().map(|name| (name, finder.find(name)));
        let (operation, reference) = (maybe(&map.operation), maybe(&map.reference));
        let (kind, currency) = (maybe(&map.kind), maybe(&map.currency));
        let mut sum = |names: &'m Sum| -> Figures<'m> {
            let each = names.0.iter().map(|name| match name.strip_prefix('-').map(str::trim_start) {
                Some(bare) if !finder.has(name) => (bare, finder.find(bare), true),
                _ => (name.as_str(), finder.find(name), false),
            });
            each.collect()
        };
        let (gross, fee, net) = (sum(&map.gross), sum(&map.fee), sum(&map.net));
        let mut words = |by_column: &'m BTreeMap<String, Vec<String>>| -> Vec<(usize, &'m [String])> {
            by_column.iter().map(|(name, words)| (finder.find(name), words.as_slice())).collect()
        };
        let (skip, debits) = (words(&map.skip), words(&map.debits));
        finder.done()?;
        Ok(Columns { operation, reference, kind, gross, fee, net, currency, skip, debits })
    }

    /// The first column of figures, to name in a message about all of them.
    pub(super) fn first(&self) -> &'m str {
        self.gross.first().or(self.net.first()).map_or("", |(name, _, _)| name)
    }

    /// Whether the map leaves a line out.
    pub(super) fn skips(&self, record: &::csv::StringRecord, map: &ColumnMap) -> bool {
        let word = |index: usize| record.get(index).unwrap_or_default();
        if self.kind.is_some_and(|(_, index)| map.kinds.get(word(index)) == Some(&Meaning::Skip)) {
            return true;
        }
        has_word(&self.skip, record)
    }

    /// Whether the map says that a line's amounts are debits without a sign.
    pub(super) fn is_debit(&self, record: &::csv::StringRecord) -> bool {
        has_word(&self.debits, record)
    }
}

/// Whether a line has one of a column's words in it.
fn has_word(words: &[(usize, &[String])], record: &::csv::StringRecord) -> bool {
    words.iter().any(|(index, words)| words.iter().any(|word| record.get(*index) == Some(word)))
}

fn one_character<'de, D: Deserializer<'de>>(deserializer: D) -> Result<char, D::Error> {
    let text = String::deserialize(deserializer)?;
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(only), None) => Ok(only),
        _ => Err(serde::de::Error::custom(format!(
            "`separator` is one character, such as \";\", \",\", \"|\" or \"\\t\"; `{}` is not",
            shortened(&text)
        ))),
    }
}

const fn comma() -> char {
    ','
}

const fn one() -> u32 {
    1
}
