//! The writer of the log: the one place from which facts reach the disk. Batches that gather while one commit runs are written
//! together by the next.

use super::log_figures::LogFigures;
use crate::journal::{Batch, Durable, Failure, KeptRecord, Log, LogView, Sequences};
use std::sync::Arc;
use std::time::Duration;

/// The log with what is to be written next. A batch goes back to its owner when it is durable.
pub struct LogWriter<Owner> {
    log: Log,
    figures: Arc<LogFigures>,
    batches: Vec<Batch>,
    owners: Vec<Owner>,
}

impl<Owner> LogWriter<Owner> {
    /// The writer of a log, which keeps these figures.
    pub fn new(log: Log, figures: Arc<LogFigures>) -> LogWriter<Owner> {
        LogWriter { log, figures, batches: Vec::new(), owners: Vec::new() }
    }

    /// Adds records to the next commit. Returns whether they are its first.
    pub fn add(&mut self, batch: Batch, owner: Owner) -> bool {
        self.batches.push(batch);
        self.owners.push(owner);
        self.batches.len() == 1
    }

    /// Whether there is something to commit.
    pub fn has_gathered(&self) -> bool {
        !self.batches.is_empty()
    }

    /// Writes what has gathered and makes it durable. The batches are to be fetched next, by [`LogWriter::committed`].
    ///
    /// # Errors
    /// The disk fails; that is final. Nothing of this commit may be taken for durable.
    pub fn commit(&mut self) -> Result<Durable, Failure> {
        let durable = self.log.commit(&self.batches)?;
        self.figures.note_commit(&durable, &self.log);
        Ok(durable)
    }

    /// Records of the last commit that are kept for observers.
    pub fn take_kept(&mut self) -> Vec<KeptRecord> {
        self.log.take_kept()
    }

    /// The batches of the last commit, each for its owner.
    pub fn committed(&mut self) -> impl Iterator<Item = (Owner, Batch)> + '_ {
        self.owners.drain(..).zip(self.batches.drain(..))
    }

    /// Lets go of the log below these records, of which snapshots are kept. Returns how many generations were dropped.
    ///
    /// # Errors
    /// The disk fails; that is final.
    pub fn trim(&mut self, reach: &Sequences) -> Result<usize, Failure> {
        let dropped = self.log.trim(reach)?;
        self.figures.note_trim(&self.log);
        tracing::debug!(dropped, kept_bytes = self.log.used_bytes(), "the log is trimmed");
        Ok(dropped)
    }

    /// How much of the last commit was waiting for the disk.
    pub fn synced(&self) -> Duration {
        self.log.synced()
    }

    /// Everything that is durable by now, to be read beside further commits.
    pub fn view(&self) -> LogView {
        self.log.view()
    }

    /// An orderly end: notes how far the log has come and lets go of the store.
    ///
    /// # Errors
    /// The disk fails.
    pub fn close(self) -> Result<(), Failure> {
        self.log.close()
    }
}
