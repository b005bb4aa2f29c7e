//! Why bytes cannot be read.

use std::fmt;

/// Bytes that are not what was expected: which field of which type, and the fault in it.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredError(Box<Fault>);

#[derive(Clone, PartialEq, Eq)]
struct Fault {
    /// From the innermost type outwards.
    within: Vec<(&'static str, &'static str)>,
    what: What,
}

#[derive(Clone, PartialEq, Eq)]
enum What {
    Ends,
    Left(usize),
    Variant { of: &'static str, number: u64 },
    Missing { number: u64 },
    Invalid(String),
}

impl StoredError {
    fn new(what: What) -> StoredError {
        StoredError(Box::new(Fault { within: Vec::new(), what }))
    }

    /// The bytes end within a value.
    #[cold]
    pub(super) fn ends() -> StoredError {
        StoredError::new(What::Ends)
    }

    /// Bytes follow where none should.
    #[cold]
    pub(super) fn left(bytes: usize) -> StoredError {
        StoredError::new(What::Left(bytes))
    }

    /// A type has no variant with this number.
    #[cold]
    pub(crate) fn unknown_variant(of: &'static str, number: u64) -> StoredError {
        StoredError::new(What::Variant { of, number })
    }

    /// A field that every version wrote is not there.
    #[cold]
    pub(super) fn missing(number: u64) -> StoredError {
        StoredError::new(What::Missing { number })
    }

    /// The bytes can be read and are no value of the type.
    #[cold]
    pub fn invalid(why: impl fmt::Display) -> StoredError {
        StoredError::new(What::Invalid(why.to_string()))
    }

    /// Names the type and field that it happened in.
    #[cold]
    pub(crate) fn within(mut self, of: &'static str, field: &'static str) -> StoredError {
        self.0.within.push((of, field));
        self
    }
}

impl fmt::Display for StoredError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { within, what } = &*self.0;
        for (index, (of, field)) in within.iter().rev().enumerate() {
            match index {
                0 => write!(f, "{of}.{field}")?,
                _ => write!(f, ".{field}")?,
            }
        }
        if !within.is_empty() {
            f.write_str(": ")?;
        }
        match what {
            What::Ends => f.write_str("the bytes end within a value"),
            What::Left(bytes) => write!(f, "{bytes} bytes are left behind its end"),
            What::Variant { of, number } => {
                write!(f, "`{of}` has no number {number} in this version; a newer version may have written it")
            }
            What::Missing { number } => write!(f, "field {number} is missing"),
            What::Invalid(why) => f.write_str(why),
        }
    }
}

impl fmt::Debug for StoredError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for StoredError {}
