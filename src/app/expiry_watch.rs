//! Looks for certificates in use that expire soon, on a thread of its own, and has their partitions record it.

use crate::actors::directory::Directory;
use crate::host::wall_clock;
use crate::node::certificates::{self, EndsSoon};
use crate::node::input::Input;
use crate::transport::Edge;
use crate::transport::tls::InUse;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often it looks. It reads the table of connections, as the edge does in the same interval.
const INTERVAL: Duration = Duration::from_secs(5);

/// A running watch. Dropping it ends its thread.
pub(super) struct ExpiryWatch {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ExpiryWatch {
    /// Starts the thread, which looks at once.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(edge: &Edge, directory: Arc<Directory>) -> std::io::Result<ExpiryWatch> {
        let (expiring, (stop, stopped)) = (edge.expiring(), mpsc::channel());
        let thread = std::thread::Builder::new().name("expiry".to_owned()).spawn(move || {
            loop {
                let now = wall_clock();
                for InUse { name, not_before, not_after } in expiring(certificates::first_mark(now)) {
                    // One that finds no room is posted again at the next look.
                    if let Some(soon) = EndsSoon::at(now, &name, not_before, not_after) {
                        let _ = directory.post(Input::CertificateEnds(Box::new(soon)));
                    }
                }
                if stopped.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        })?;
        Ok(ExpiryWatch { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for ExpiryWatch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
