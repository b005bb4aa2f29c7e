//! The thread that makes the log's databases, closes them, and takes away what was trimmed: none of that is for a commit to
//! wait for.

use super::closed_segments::ClosedSegment;
use super::database::Database;
use crate::journal::failure::Failure;
use crate::journal::files;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// The helper thread of a log. Dropping it waits for all of its jobs.
pub(super) struct Helper {
    jobs: Option<Sender<Job>>,
    done: Receiver<Result<Option<Database>, Failure>>,
    thread: Option<JoinHandle<()>>,
}

/// The jobs of the helper, done in the order in which they were queued.
pub(super) enum Job {
    /// Make this database: its directory, ordinal, first block, and the blocks of a generation.
    Make(PathBuf, u64, u64, u64),
    /// Close this one, which is durable.
    Close(Database),
    /// Remove the files of one that was closed, or that another process wrote.
    Remove(ClosedSegment),
}

impl Helper {
    /// Starts the thread.
    pub fn start() -> Helper {
        let (jobs, todo) = channel();
        let (results, done) = channel();
        let thread = std::thread::Builder::new().name("journal-helper".to_owned()).spawn(move || {
            for job in todo {
                // The receiver is gone when the log closes; queued jobs are done all the same.
                let _ = results.send(carry_out(job));
            }
        });
        Helper { jobs: Some(jobs), done, thread: Some(thread.expect("a thread at the start of the process")) }
    }

    /// Queues a job.
    ///
    /// # Errors
    /// The helper has failed.
    pub fn ask(&self, job: Job) -> Result<(), Failure> {
        let jobs = self.jobs.as_ref().expect("there until it is dropped");
        jobs.send(job).map_err(|_| gone())
    }

    /// Waits for the next database that is made. Returns the failure of an earlier job.
    ///
    /// # Errors
    /// An earlier job failed, or the helper has ended.
    pub fn wait(&self) -> Result<Database, Failure> {
        loop {
            if let Some(made) = self.done.recv().map_err(|_| gone())?? {
                return Ok(made);
            }
        }
    }
}

fn carry_out(job: Job) -> Result<Option<Database>, Failure> {
    match job {
        Job::Make(path, ordinal, begins, generation_blocks) => {
            let log = path.parent().expect("a database is in the log's directory").to_owned();
            let made = Database::make(path, ordinal, begins, generation_blocks)?;
            files::sync_dir(&log)?;
            return Ok(Some(made));
        }
        Job::Close(database) => drop(database),
        Job::Remove(segment) => segment.remove()?,
    }
    Ok(None)
}

impl Drop for Helper {
    fn drop(&mut self) {
        // Closing the queue ends the thread.
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the helper was reported already.
            let _ = thread.join();
        }
    }
}

fn gone() -> Failure {
    Failure::Store { doing: "waiting for its helper thread", what: "the thread has ended".to_owned() }
}
