//! The charging session's machine.
