//! The prepaid account's machine: the built-in processor.
