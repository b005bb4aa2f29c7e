//! A finding in a document: position, severity, description, and advice.

use std::fmt;
use std::ops::Range;

/// A place in a text as editors count it: both numbers from 1, the column in characters.
///
/// ```
/// use wattstile::tariff::Position;
///
/// assert_eq!(Position::of("a\nbc", 3), Position { line: 2, column: 2 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl Position {
    /// The place of a byte offset.
    pub fn of(text: &str, offset: usize) -> Position {
        Position::of_bytes(text.as_bytes(), offset)
    }

    /// The place of an offset in bytes that may be no text.
    pub fn of_bytes(bytes: &[u8], offset: usize) -> Position {
        let (before, _) = bytes.split_at(offset.min(bytes.len()));
        // Bytes that continue a UTF-8 character are not columns of their own.
        let columns =
            before.iter().rev().take_while(|byte| **byte != b'\n').filter(|byte| **byte & 0xc0 != 0x80).count();
        let lines = before.iter().filter(|byte| **byte == b'\n').count();
        let counted = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).saturating_add(1);
        Position { line: counted(lines), column: counted(columns) }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// What kind of finding it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FindingKind {
    /// Its severity.
    pub severity: Severity,
    /// A stable name; the manual lists them.
    pub code: &'static str,
}

impl FindingKind {
    pub const fn note(code: &'static str) -> FindingKind {
        FindingKind { severity: Severity::Note, code }
    }

    pub const fn warning(code: &'static str) -> FindingKind {
        FindingKind { severity: Severity::Warning, code }
    }

    pub const fn error(code: &'static str) -> FindingKind {
        FindingKind { severity: Severity::Error, code }
    }
}

/// Severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Information; nothing is wrong.
    Note,
    /// The document can be used, but probably states something unintended.
    Warning,
    /// The document cannot be used.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// One finding in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its severity.
    pub severity: Severity,
    /// A stable name for the kind of finding; the manual lists them.
    pub code: &'static str,
    /// The field, as a path from the root `$`: `$.elements[1].restrictions.min_kwh`.
    pub path: String,
    /// Byte offsets in the text.
    pub span: Range<usize>,
    /// Line and column of the first byte.
    pub position: Position,
    /// The value found.
    pub message: String,
    /// Advice, where there is some.
    pub help: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}[{}] {}: {}", self.position, self.severity, self.code, self.path, self.message)
    }
}
