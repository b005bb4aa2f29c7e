//! Matches settlement batches with captures and refunds, on a thread of its own: it reads every session.

use crate::actors::directory::Directory;
use crate::actors::shard_actor::OnBatch;
use crate::api::{Due, Views};
use crate::billing::reconciliation::lay::Verdict;
use crate::journal::Archive;
use crate::node::input::{Input, NotTaken, Undelivered};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a full mailbox is waited for before it is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// Interval of repetition after an incomplete run.
const AGAIN: Duration = Duration::from_secs(60);

/// A running reconciler; it ends when the channel to it does.
pub struct Reconciler {
    thread: Option<JoinHandle<()>>,
    stop: mpsc::SyncSender<Wish>,
}

/// A reconciler whose thread is not started yet: shards may call it, and are answered when it is.
pub struct Unstarted {
    wishes: mpsc::SyncSender<Wish>,
    wished: mpsc::Receiver<Wish>,
}

enum Wish {
    Reconcile,
    Stop,
}

impl Unstarted {
    /// A reconciler before the shards.
    pub fn new() -> Unstarted {
        // Several pending requests have the effect of one.
        let (wishes, wished) = mpsc::sync_channel(1);
        Unstarted { wishes, wished }
    }

    /// What a shard calls when a settlement batch is complete.
    pub fn on_batch(&self) -> OnBatch {
        let wishes = self.wishes.clone();
        Arc::new(move || drop(wishes.try_send(Wish::Reconcile)))
    }

    /// Starts the thread, which first handles batches left over, then those that become complete.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(self, directory: Arc<Directory>, archive: Option<Arc<Archive>>) -> std::io::Result<Reconciler> {
        let Unstarted { wishes, wished } = self;
        let views = Views::running(directory.clone(), archive);
        let thread = std::thread::Builder::new().name("reconciler".to_owned()).spawn(move || {
            let mut done = reconcile(&views, &directory);
            loop {
                let wish = if done {
                    wished.recv().map_err(|_| RecvTimeoutError::Disconnected)
                } else {
                    wished.recv_timeout(AGAIN)
                };
                match wish {
                    Ok(Wish::Reconcile) | Err(RecvTimeoutError::Timeout) => done = reconcile(&views, &directory),
                    Ok(Wish::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok(Reconciler { thread: Some(thread), stop: wishes })
    }
}

/// Ends the thread; what it had not booked it finds again at the next start.
impl Drop for Reconciler {
    fn drop(&mut self) {
        if self.stop.send(Wish::Stop).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

/// Books every unbooked part of every complete batch, and books the parts of reverted batches with exchanged sides.
/// Returns whether all sessions could be read: nothing is booked while some operations are unknown.
fn reconcile(views: &Views, directory: &Directory) -> bool {
    let due = match views.due() {
        Ok(due) => due,
        Err(error) => {
            tracing::error!(%error, "no settlement batch can be laid beside our operations");
            return false;
        }
    };
    let mut done = true;
    for Due { key, unreverted } in due {
        let (processor, batch) = &key;
        if !unreverted.is_empty() {
            let parts = unreverted.len();
            for part in unreverted {
                done &= post(directory, Input::UnbookPart(key.clone(), part));
            }
            tracing::info!(%processor, %batch, parts, "a settlement batch is taken back");
            continue;
        }
        let (mut parts, mut settled, mut extra, mut set_aside) = (0_u64, 0_u64, 0_u64, 0_u64);
        let mut handed = true;
        let looked = views.bookings(&key, &mut |booking| {
            parts += 1;
            for verdict in &booking.verdicts {
                match verdict {
                    Verdict::Matched(_) | Verdict::Differs { .. } => settled += 1,
                    Verdict::Extra(_) => extra += 1,
                    Verdict::SetAside(_) => set_aside += 1,
                    Verdict::Other => {}
                }
            }
            handed &= post(directory, Input::Booked(Box::new(booking)));
        });
        match looked {
            Ok(()) if !handed => done = false,
            Ok(()) => {
                tracing::info!(%processor, %batch, parts, settled, extra, set_aside, "a settlement batch is booked");
            }
            Err(error) => {
                tracing::error!(%processor, %batch, %error, "a settlement batch is not booked");
                done = false;
            }
        }
    }
    done
}

/// Hands over an input, and waits while its shard is busy. `false`: the shard is not open, and everything due is found again.
fn post(directory: &Directory, mut input: Input) -> bool {
    loop {
        match directory.post(input) {
            Ok(()) => return true,
            Err(Undelivered { why: NotTaken::Busy, input: back }) => input = back,
            Err(Undelivered { why: NotTaken::NotHere | NotTaken::NoShard, .. }) => return false,
        }
        std::thread::sleep(RETRY);
    }
}
