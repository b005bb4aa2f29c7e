//! Tables from outside: text in several encodings, rows of which some are bad.

use crate::units::{counted, did_you_mean};
use std::io::Read;

/// Character encodings of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub enum Encoding {
    /// UTF-8; UTF-16 where the file begins with its byte order mark.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// ISO 8859-1, with what Windows-1252 has between 0x80 and 0x9F.
    #[serde(rename = "latin-1", alias = "windows-1252", alias = "iso-8859-1")]
    Latin1,
    /// UTF-16, little-endian without a byte order mark.
    #[serde(rename = "utf-16")]
    Utf16,
}

/// What Windows-1252 has from 0x80 to 0x9F.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘', '’',
    '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// Bytes that are no text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct TextFault {
    what: String,
    /// Whether another encoding would read them.
    pub of_encoding: bool,
}

fn fault(what: impl ToString) -> TextFault {
    TextFault { what: what.to_string(), of_encoding: false }
}

fn of_encoding(what: String) -> TextFault {
    TextFault { what, of_encoding: true }
}

/// Reads a whole file as text, at most `bytes_max`. Carriage returns become line feeds.
///
/// # Errors
/// Names the fault, with the byte's place and line where the encoding is.
pub fn read_text(file: impl Read, encoding: Encoding, bytes_max: u64) -> Result<String, TextFault> {
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(fault)?;
    if u64::try_from(bytes.len()).map_or(true, |length| length > bytes_max) {
        return Err(fault(format!("the file has more than {bytes_max} bytes")));
    }
    let utf16 = match (bytes.get(..2), encoding) {
        (Some([0xff, 0xfe]), _) => Some(false),
        (Some([0xfe, 0xff]), _) => Some(true),
        (_, Encoding::Utf16) => Some(false),
        _ => None,
    };
    let text = match (utf16, encoding) {
        (Some(big), _) => from_utf16(&bytes, big)?,
        (None, Encoding::Latin1) => bytes
            .iter()
            .map(|byte| match byte {
                0x80..=0x9f => WINDOWS_1252[usize::from(byte - 0x80)],
                _ => char::from(*byte),
            })
            .collect(),
        (None, _) => String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let bytes = error.as_bytes();
            let line = 1 + bytes[..at].iter().filter(|byte| **byte == b'\n').count();
            let byte = bytes.get(at).copied().unwrap_or_default();
            of_encoding(format!("line {line}: byte {} (0x{byte:02x}) is not UTF-8; save the file as UTF-8", at + 1))
        })?,
    };
    let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
    if let Some(at) = text.find('\0') {
        let line = 1 + text[..at].matches('\n').count();
        return Err(of_encoding(format!(
            "line {line}: character {} is NUL (U+0000), which no text has: the file is damaged, or UTF-16 without its mark; \
             save it as UTF-8",
            text[..at].chars().count() + 1
        )));
    }
    // Lines are counted by line feeds: with another one behind a carriage return the table's reader is one line behind.
    Ok(if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text })
}

fn from_utf16(bytes: &[u8], big: bool) -> Result<String, TextFault> {
    if !bytes.len().is_multiple_of(2) {
        return Err(fault(format!("the file ends in the middle of a UTF-16 character, after byte {}", bytes.len())));
    }
    let units = bytes.chunks_exact(2).map(|pair| {
        let pair = [pair[0], pair[1]];
        if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
    });
    let mut text = String::with_capacity(bytes.len() / 2);
    for (index, found) in char::decode_utf16(units).enumerate() {
        text.push(found.map_err(|_| of_encoding(format!("character {} is not UTF-16", index + 1)))?);
    }
    Ok(text)
}

/// A table of a file, behind its line of names.
pub type Table<'t> = (csv::Reader<&'t [u8]>, csv::StringRecord);

/// Opens a table: its rows, and the names of its columns.
///
/// # Errors
/// A line of names that is not there.
pub fn open(text: &str, separator: u8) -> Result<Table<'_>, String> {
    let mut builder = csv::ReaderBuilder::new();
    builder.delimiter(separator).trim(csv::Trim::All).flexible(true);
    let mut reader = builder.from_reader(text.as_bytes());
    let names = reader.headers().map_err(|error| error.to_string())?.clone();
    match names.iter().all(str::is_empty) {
        true if text.trim().is_empty() => {
            Err("the file is empty: expected is a line of names, and rows below".to_owned())
        }
        true => Err("the line of names is empty: expected are the names of the columns".to_owned()),
        false => Ok((reader, names)),
    }
}

/// Looks for columns in a line of names, and keeps the fault in it.
pub struct Finder<'h> {
    names: &'h csv::StringRecord,
    looked_for: usize,
    missing: Vec<String>,
    doubled: Vec<String>,
}

impl<'h> Finder<'h> {
    /// In this line.
    pub const fn of(names: &'h csv::StringRecord) -> Finder<'h> {
        Finder { names, looked_for: 0, missing: Vec::new(), doubled: Vec::new() }
    }

    /// Where the column stands; one that is not there, or there twice, is reported by [`Finder::done`].
    pub fn find(&mut self, name: &str) -> usize {
        self.find_by(name, |found| found == name)
    }

    /// The same, for a column that goes by several names.
    pub fn find_by(&mut self, name: &str, fits: impl Fn(&str) -> bool) -> usize {
        self.looked_for += 1;
        let mut places = self.names.iter().enumerate().filter(|(_, found)| fits(found)).map(|(place, _)| place);
        let (first, second) = (places.next(), places.next());
        match (first, second) {
            (Some(first), Some(second)) => {
                let (first, second) = (first + 1, second + 1);
                self.doubled
                    .push(format!("the column `{}` stands twice, as columns {first} and {second}", shortened(name)));
            }
            (None, _) if !self.missing.iter().any(|missing| missing == name) => self.missing.push(name.to_owned()),
            _ => {}
        }
        first.unwrap_or(0)
    }

    /// Whether there is a column of this name.
    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|found| found == name)
    }

    /// # Errors
    /// All columns that are not there or there twice, with the columns that are.
    pub fn done(mut self) -> Result<(), String> {
        let mut wrong = std::mem::take(&mut self.doubled);
        match self.missing.as_slice() {
            [] => {}
            [_, ..] if self.names.len() == 1 => wrong.push(self.one_column()),
            [one] => wrong.push(format!("there is no column {}; {}", self.with_likely(one), self.there())),
            several => {
                let names: Vec<String> = several.iter().map(|name| self.with_likely(name)).collect();
                let mut text = format!("there are no columns {}; {}", names.join(", "), self.there());
                if several.len() == self.looked_for {
                    text.push_str(": it does not seem to be a line of names");
                }
                wrong.push(text);
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }

    fn one_column(&self) -> String {
        let (name, only) = (shortened(&self.missing[0]), shortened(self.names.get(0).unwrap_or_default()));
        let seems = [';', '\t', ',', '|'].into_iter().find(|separator| only.contains(*separator));
        let seems = seems.map(|separator| format!("; its separator seems to be `{}`", separator.escape_default()));
        format!("there is no column `{name}`: the file has one column only, `{only}`{}", seems.unwrap_or_default())
    }

    fn there(&self) -> String {
        let names: Vec<String> = self.names.iter().take(50).map(|name| format!("`{}`", shortened(name))).collect();
        let more = if self.names.len() > names.len() { ", and more" } else { "" };
        format!("the columns are {}{more}", names.join(", "))
    }

    /// The name, and the one that was probably meant.
    fn with_likely(&self, name: &str) -> String {
        let plain = |name: &str| -> String {
            name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
        };
        let short = || self.names.iter().filter(|found| found.len() <= 100);
        let likely = match short().find(|found| plain(found) == plain(name)) {
            None if name.len() <= 100 => did_you_mean(name, short()),
            found => found,
        };
        match likely {
            Some(likely) => format!("`{name}` (did you mean `{likely}`?)"),
            None => format!("`{}`", shortened(name)),
        }
    }
}

/// The fault in a row that has another number of fields than the line of names.
pub fn wrong_fields(record: &csv::StringRecord, expected: usize) -> String {
    let found = record.len();
    let likely = if found > expected {
        "; a value that has the separator in it stands in double quotes"
    } else if record.iter().any(|field| field.contains('\n')) {
        "; a double quote in it is never closed, and takes in the lines behind it"
    } else {
        ""
    };
    format!("{}, expected {expected} as in the line of names{likely}", counted(found, "field"))
}

/// A text of a file as it stands in a message: bounded.
pub fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 200;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Bad rows that are reported one by one; the others are counted.
const BAD_ROWS_LISTED: usize = 100;

/// The rows of a file that cannot be read: the first hundred with their faults, and the total number.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct BadRows {
    /// Their number.
    pub count: u64,
    /// The first hundred, by line, column, value and expected form.
    #[serde(rename = "told")]
    pub listed_rows: Vec<String>,
    /// How many of them those are.
    #[serde(skip)]
    listed: u64,
    /// What would read some of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl BadRows {
    /// Adds a row.
    pub fn push(&mut self, row: impl ToString) {
        self.push_several(1, row);
    }

    /// Adds rows that are reported in one.
    pub fn push_several(&mut self, count: u64, row: impl ToString) {
        self.count = self.count.saturating_add(count);
        if self.listed_rows.len() < BAD_ROWS_LISTED {
            self.listed_rows.push(row.to_string());
            self.listed = self.listed.saturating_add(count);
        }
    }

    /// Whether every row could be read.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl std::fmt::Display for BadRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.listed_rows.join("\n"))?;
        match self.count.saturating_sub(self.listed) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more ({} bad rows in all)", self.count),
        }
    }
}
