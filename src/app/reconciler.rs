//! Matches settlement batches with captures and refunds, on a thread of its own: it reads every session.

use crate::actors::directory::Directory;
use crate::api::{Due, Views};
use crate::billing::reconciliation::lay::Verdict;
use crate::journal::Archive;
use crate::node::input::Input;
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

enum Wish {
    Look,
    Stop,
}

impl Reconciler {
    /// Starts the thread, which first handles batches left over, then those that become complete.
    pub fn start(directory: Arc<Directory>, archive: Option<Arc<Archive>>) -> std::io::Result<Reconciler> {
        // Several pending requests have the effect of one.
        let (wishes, wished) = mpsc::sync_channel(1);
        let theirs = wishes.clone();
        directory.set_on_batch(Box::new(move || drop(theirs.try_send(Wish::Look))));
        let views = Views::running(directory.clone(), archive);
        let thread = std::thread::Builder::new().name("reconciler".to_owned()).spawn(move || {
            let mut done = look(&views, &directory);
            loop {
                let wish = match done {
                    true => wished.recv().map_err(|_| RecvTimeoutError::Disconnected),
                    false => wished.recv_timeout(AGAIN),
                };
                match wish {
                    Ok(Wish::Look) | Err(RecvTimeoutError::Timeout) => done = look(&views, &directory),
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
fn look(views: &Views, directory: &Directory) -> bool {
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
                post(directory, Input::UnbookPart(key.clone(), part));
            }
            tracing::info!(%processor, %batch, parts, "a settlement batch is taken back");
            continue;
        }
        let (mut parts, mut settled, mut extra, mut set_aside) = (0_u64, 0_u64, 0_u64, 0_u64);
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
            post(directory, Input::Booked(Box::new(booking)));
        });
        match looked {
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

fn post(directory: &Directory, input: Input) {
    let mut input = input;
    while let Err(back) = directory.post(input) {
        input = back;
        std::thread::sleep(RETRY);
    }
}
