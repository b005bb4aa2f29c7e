//! Lays settlement batches beside what was captured and refunded, on a thread of its own: it looks at every session.

use crate::actors::directory::Directory;
use crate::actors::shard::Input;
use crate::billing::reconciliation::register::Booking;
use crate::console::Views;
use crate::journal::Archive;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a full mailbox is waited for before it is tried again.
const RETRY: Duration = Duration::from_millis(50);

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
            look(&views, &directory);
            while let Ok(Wish::Look) = wished.recv() {
                look(&views, &directory);
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

/// Books every part of every whole batch that is not booked.
fn look(views: &Views, directory: &Directory) {
    for (processor, batch) in views.unbooked() {
        let bookings = match views.bookings(&processor, &batch) {
            Ok(bookings) => bookings,
            Err(error) => {
                tracing::error!(%processor, %batch, %error, "a settlement batch has no place in the books");
                continue;
            }
        };
        let (parts, settled) = (bookings.len(), bookings.iter().map(|booking| booking.settled.len()).sum::<usize>());
        for booking in bookings {
            post(directory, booking);
        }
        tracing::info!(%processor, %batch, parts, settled, "a settlement batch is laid beside our operations");
    }
}

fn post(directory: &Directory, booking: Booking) {
    let mut input = Input::Booked(Box::new(booking));
    while let Err(back) = directory.post(input) {
        input = back;
        std::thread::sleep(RETRY);
    }
}
