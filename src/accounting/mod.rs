//! What follows from facts for the books and the archive: pure functions and folds, the same live, at replay and in a simulation.
//!
//! * [`posting`]: the entries of facts, and the books of a partition.
//! * [`pages`]: the entries themselves, page by page, on their way to the archive.
//! * [`archive_record`]: the record of a closed session, with its receipt.
//! * [`documents`]: invoices and credit notes of a session.
//! * [`settlement`]: parts of settlement batches, and the operations that they are laid beside.

pub mod archive_record;
pub mod documents;
pub mod pages;
pub mod posting;
pub mod settlement;
