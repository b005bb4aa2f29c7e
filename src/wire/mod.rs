//! The native protocol, without any input or output of its own.
