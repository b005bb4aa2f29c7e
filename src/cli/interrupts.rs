//! Signals for verbs that run until they are interrupted.

pub use crate::transport::Wish;

use crate::transport::Signals;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

/// The signals to the process, in order.
pub struct Interrupts {
    wishes: Receiver<Wish>,
}

impl Interrupts {
    /// Takes the signals over.
    ///
    /// # Errors
    /// The system refuses the signals.
    pub fn new() -> io::Result<Interrupts> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut signals = {
            let _in_runtime = runtime.enter();
            Signals::new()?
        };
        let (sender, wishes) = channel();
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                // Ends when the receiver is gone.
                while sender.send(signals.next().await).is_ok() {}
            });
        })?;
        Ok(Interrupts { wishes })
    }

    /// Waits for a signal until then.
    pub fn wait_until(&self, until: Instant) -> Option<Wish> {
        self.wishes.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
    }

    /// Waits for a signal, however long it takes.
    pub fn wait(&self) -> Wish {
        loop {
            match self.wishes.recv_timeout(std::time::Duration::from_secs(3_600)) {
                Ok(wish) => return wish,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Wish::Terminate,
            }
        }
    }
}
