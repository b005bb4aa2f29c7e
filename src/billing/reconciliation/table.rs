//! Tables from outside: text in several encodings, rows of which some are bad.

use std::io::Read;

/// How the bytes of a file are text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub enum Encoding {
    /// UTF-8; UTF-16 where the file begins with its byte order mark.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// ISO 8859-1, with what Windows-1252 has between 0x80 and 0x9F.
    #[serde(rename = "latin-1", alias = "windows-1252", alias = "iso-8859-1")]
    Latin1,
    /// UTF-16, little-endian unless a byte order mark says otherwise.
    #[serde(rename = "utf-16")]
    Utf16,
}

/// What Windows-1252 has from 0x80 to 0x9F.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘', '’',
    '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// Reads a whole file as text, at most `bytes_max`.
///
/// # Errors
/// Says what is wrong, with the byte's place and line where the encoding is.
pub fn read_text(file: impl Read, encoding: Encoding, bytes_max: u64) -> Result<String, String> {
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if u64::try_from(bytes.len()).map_or(true, |length| length > bytes_max) {
        return Err(format!("the file has more than {bytes_max} bytes"));
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
            format!(
                "line {line}: byte {} (0x{byte:02x}) is not UTF-8; save the file as UTF-8, or say encoding = \"latin-1\" in \
                 the map where a map is given",
                at + 1
            )
        })?,
    };
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

fn from_utf16(bytes: &[u8], big: bool) -> Result<String, String> {
    if !bytes.len().is_multiple_of(2) {
        return Err(format!("the file ends in the middle of a UTF-16 character, after byte {}", bytes.len()));
    }
    let units = bytes.chunks_exact(2).map(|pair| {
        let pair = [pair[0], pair[1]];
        if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
    });
    let mut text = String::with_capacity(bytes.len() / 2);
    for (index, found) in char::decode_utf16(units).enumerate() {
        text.push(found.map_err(|_| format!("character {} is not UTF-16", index + 1))?);
    }
    Ok(text)
}

/// A column that is needed and not there, with the columns that are.
pub fn missing_column(name: &str, header: &csv::StringRecord) -> String {
    let names: Vec<String> = header.iter().take(50).map(|name| format!("`{}`", shortened(name))).collect();
    match names.as_slice() {
        [only] => {
            let seems = [';', '\t', ',', '|'].into_iter().find(|separator| only.contains(*separator));
            let seems = seems.map(|separator| format!("; its separator seems to be `{}`", separator.escape_default()));
            format!("there is no column `{name}`: the file has one column only, {only}{}", seems.unwrap_or_default())
        }
        _ => format!("there is no column `{name}`; the columns are {}", names.join(", ")),
    }
}

/// A text of a file as it stands in a message: bounded.
pub fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 200;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Bad rows that are told one by one; of the others, the number.
const BAD_ROWS_TOLD: usize = 100;

/// The rows of a file that cannot be read: the first hundred in words, and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct BadRows {
    /// How many there are.
    pub count: u64,
    /// The first hundred, by line, column, value and what is expected.
    pub told: Vec<String>,
}

impl BadRows {
    /// Adds a row.
    pub fn push(&mut self, row: impl ToString) {
        self.count = self.count.saturating_add(1);
        if self.told.len() < BAD_ROWS_TOLD {
            self.told.push(row.to_string());
        }
    }

    /// Whether every row could be read.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl std::fmt::Display for BadRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.told.join("\n"))?;
        match self.count.saturating_sub(u64::try_from(self.told.len()).unwrap_or(u64::MAX)) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more ({} bad rows in all)", self.count),
        }
    }
}
