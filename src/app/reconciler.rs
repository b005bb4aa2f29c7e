//! Lays settlement batches beside what was captured and refunded, on a thread of its own: it looks at every session.

use crate::actors::directory::Directory;
use crate::actors::shard::Input;
use crate::billing::reconciliation::register::Booking;
use crate::console::{Unbooked, Views};
use crate::journal::Archive;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a full mailbox is waited for before it is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// When it is looked again after something could not be looked at.
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
    /// Starts it, looks whether something was left over, and listens for batches that are whole.
    pub fn start(directory: Arc<Directory>, archive: Option<Arc<Archive>>) -> std::io::Result<Reconciler> {
        // One order to look is as good as many.
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

/// Books every part of every whole batch that is not booked. Says whether it could look at all of them: nothing is booked
/// beside operations of which some are not known.
fn look(views: &Views, directory: &Directory) -> bool {
    let unbooked = match views.unbooked() {
        Ok(unbooked) => unbooked,
        Err(error) => {
            tracing::error!(%error, "no settlement batch can be laid beside our operations");
            return false;
        }
    };
    let mut done = true;
    for (processor, batch) in unbooked {
        let bookings = match views.bookings(&processor, &batch) {
            Ok(bookings) => bookings,
            Err(error) => {
                tracing::error!(%processor, %batch, %error, "a settlement batch is not booked");
                done &= matches!(error, Unbooked::Entry(_));
                continue;
            }
        };
        let (parts, settled) = (bookings.len(), bookings.iter().map(|booking| booking.settled.len()).sum::<usize>());
        for booking in bookings {
            post(directory, booking);
        }
        tracing::info!(%processor, %batch, parts, settled, "a settlement batch is laid beside our operations");
    }
    done
}

fn post(directory: &Directory, booking: Booking) {
    let mut input = Input::Booked(Box::new(booking));
    while let Err(back) = directory.post(input) {
        input = back;
        std::thread::sleep(RETRY);
    }
}
