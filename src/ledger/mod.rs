//! Double-entry books.
