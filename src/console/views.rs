//! Where views come from: the shards of a running gate, or those of a data directory that was opened to be read.

use crate::actors::directory::Directory;
use crate::actors::dossier::Dossier;
use crate::actors::shard::Shard;
use crate::actors::shard_actor::Look;
use crate::journal::Archive;
use crate::units::SessionId;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

/// What can be looked at.
pub struct Views {
    shards: Shards,
    archive: Option<Arc<Archive>>,
}

enum Shards {
    Running(Arc<Directory>),
    Opened(Mutex<Vec<Shard>>),
}

impl Views {
    /// Views of a running gate.
    pub fn running(directory: Arc<Directory>, archive: Option<Arc<Archive>>) -> Views {
        Views { shards: Shards::Running(directory), archive }
    }

    /// Views of shards that were rebuilt from a data directory and run nothing.
    pub fn opened(shards: Vec<Shard>, archive: Option<Arc<Archive>>) -> Views {
        Views { shards: Shards::Opened(Mutex::new(shards)), archive }
    }

    /// The running gate's actors; none when only data is read.
    pub fn directory(&self) -> Option<&Arc<Directory>> {
        match &self.shards {
            Shards::Running(directory) => Some(directory),
            Shards::Opened(_) => None,
        }
    }

    /// Asks every shard the same. A shard that does not answer in time is left out.
    pub(super) fn ask<T: Send + 'static>(&self, question: impl Fn(&Shard) -> T + Clone + Send + 'static) -> Vec<T> {
        match &self.shards {
            Shards::Running(directory) => ask_all(directory, question),
            Shards::Opened(shards) => {
                shards.lock().unwrap_or_else(PoisonError::into_inner).iter().map(question).collect()
            }
        }
    }

    /// An archived session.
    pub(super) fn archived(&self, session: SessionId) -> Option<Dossier> {
        let found = self.archive.as_ref()?.get(session);
        match found {
            Ok(archived) => match Dossier::from_bytes(&archived?.dossier) {
                Ok(dossier) => Some(dossier),
                Err(error) => {
                    tracing::error!(%session, %error, "an archived session cannot be read");
                    None
                }
            },
            Err(error) => {
                tracing::error!(%session, %error, "the archive cannot be read");
                None
            }
        }
    }

    /// The archive, where there is one.
    pub(super) fn archive(&self) -> Option<&Archive> {
        self.archive.as_deref()
    }
}

/// How long a shard may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks every shard the same, at the same time.
pub fn ask_all<T: Send + 'static>(
    directory: &Directory,
    question: impl Fn(&Shard) -> T + Clone + Send + 'static,
) -> Vec<T> {
    let (answers, answered) = mpsc::channel();
    for shard in directory.shards() {
        let (answers, question) = (answers.clone(), question.clone());
        let look = Look(Box::new(move |shard| {
            let _ = answers.send(question(shard));
        }));
        let _ = shard.try_send(look);
    }
    drop(answers);
    std::iter::from_fn(|| answered.recv_timeout(PATIENCE).ok()).collect()
}
