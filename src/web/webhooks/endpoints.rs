//! Endpoints: who is sent what, kept in a file, and how far each has come, in a file of its own.

use super::WebhookSecret;
use crate::api::feed::Cursor;
use crate::host::{Durability, replace_file, wall_clock};
use crate::limits::{PARKED_MAX, WEBHOOKS_MAX};
use crate::units::Timestamp;
use crate::units::shape::described;
use crate::web::access::secret;
use crate::web::problem::Problem;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The file of endpoints in the data directory, and the folder of their cursors.
const FILE: &str = "webhooks.json";
const FOLDER: &str = "webhooks";
const SCHEMA: &str = "wattstile.webhooks/1";

described! {
/// An endpoint that is to be made.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookWish {
    /// Where events are sent: https, or http where `webhooks.allow` names the host.
    pub url: String,
    /// Types of events with commas between; `capture.*` stands for all that begin so, `*` for all.
    pub types: String,
    /// `whsec_` and the base64 of 24 to 64 random bytes.
    pub secret: String,
}
}

described! {
/// An endpoint as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookRow {
    /// Its id.
    pub id: String,
    /// Where events are sent.
    pub url: String,
    /// Types of events.
    pub types: Vec<String>,
    /// `active`, `retrying`, or `stopped`: it answered 410, which means that it is gone.
    pub state: String,
    /// When it was made.
    pub created_at: String,
    /// Events that were delivered since the gate began with it.
    pub delivered: u64,
    /// Attempts at the present event that failed.
    pub attempts: u32,
    /// When the next attempt is made.
    pub next_attempt_at: Option<String>,
    /// Why the last attempt failed.
    pub last_fault: Option<String>,
    /// Whether two secrets are valid.
    pub rotating: bool,
    /// Events that could not be delivered for three days; `webhook replay --from` sends what comes from there on again.
    pub parked: Vec<Parked>,
}
}

described! {
/// An event that could not be delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// Its id.
    pub id: String,
    /// The cursor before it.
    pub from: String,
    /// When it was parked.
    pub at: String,
    /// Why the last attempt failed.
    pub fault: String,
}
}

#[derive(Serialize, Deserialize)]
struct Kept {
    schema: String,
    endpoints: Vec<KeptEndpoint>,
}

#[derive(Clone, Serialize, Deserialize)]
struct KeptEndpoint {
    id: String,
    url: String,
    types: Vec<String>,
    /// The newest first; two while one takes the place of the other.
    secrets: Vec<String>,
    created_at: Timestamp,
}

/// How far an endpoint has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Behind the last event that is done with.
    pub cursor: Cursor,
    /// Whether it answered that it is gone.
    pub stopped: bool,
    pub delivered: u64,
    /// Of the present event.
    pub attempts: u32,
    /// When its first attempt failed.
    pub failing_since: Option<Timestamp>,
    pub next_attempt_at: Option<Timestamp>,
    pub last_fault: Option<String>,
    pub parked: Vec<Parked>,
}

impl Progress {
    fn at(cursor: Cursor) -> Progress {
        Progress {
            cursor,
            stopped: false,
            delivered: 0,
            attempts: 0,
            failing_since: None,
            next_attempt_at: None,
            last_fault: None,
            parked: Vec::new(),
        }
    }

    /// Goes on behind an event that is done with.
    pub fn go_on(&mut self, cursor: Cursor) {
        (self.cursor, self.attempts) = (cursor, 0);
        (self.failing_since, self.next_attempt_at, self.last_fault) = (None, None, None);
    }

    /// Lets an event be, and goes on with the next one.
    pub fn park(&mut self, parked: Parked) {
        if self.parked.len() >= PARKED_MAX {
            self.parked.remove(0);
        }
        self.parked.push(parked);
        self.go_on(self.cursor);
    }
}

/// An endpoint, shared by its thread and those who look at it.
pub(super) struct Endpoint {
    file: PathBuf,
    kept: Mutex<KeptEndpoint>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    progress: Progress,
    removed: bool,
    /// Changes with each order to go elsewhere: what a thread was doing then counts nothing.
    moves: u64,
}

impl Endpoint {
    pub fn id(&self) -> String {
        self.kept().id.clone()
    }

    pub fn url(&self) -> String {
        self.kept().url.clone()
    }

    pub fn has(&self, kind: &str) -> bool {
        self.kept().types.iter().any(|wanted| crate::web::events::matches_type(wanted, kind))
    }

    /// The signatures of a message, one with each valid secret.
    pub fn sign(&self, id: &str, seconds: &str, body: &str) -> String {
        let secrets = self.kept().secrets.clone();
        let signed = secrets.iter().filter_map(|text| WebhookSecret::read(text).ok());
        signed.map(|secret| secret.sign(id, seconds, body)).collect::<Vec<_>>().join(" ")
    }

    /// How far it has come, and the number of moves by then; none: it was removed.
    pub fn progress(&self) -> Option<(Progress, u64)> {
        let state = self.state();
        (!state.removed).then(|| (state.progress.clone(), state.moves))
    }

    /// Keeps how far it has come, unless it was moved meanwhile.
    pub fn keep(&self, progress: Progress, moves: u64) {
        let mut state = self.state();
        if state.moves == moves && !state.removed {
            state.progress = progress;
            self.write(&state.progress);
        }
    }

    /// Goes elsewhere.
    pub fn move_to(&self, cursor: Cursor) {
        let mut state = self.state();
        let delivered = state.progress.delivered;
        state.progress = Progress { delivered, ..Progress::at(cursor) };
        state.moves += 1;
        self.write(&state.progress);
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until it is moved or removed, at most so long.
    pub fn wait(&self, moves: u64, timeout: Duration) {
        let still = |state: &mut State| state.moves == moves && !state.removed;
        drop(self.changed.wait_timeout_while(self.state(), timeout, still));
    }

    pub fn row(&self) -> WebhookRow {
        let (kept, progress) = (self.kept().clone(), self.state().progress.clone());
        let state = match (progress.stopped, progress.attempts) {
            (true, _) => "stopped",
            (false, 0) => "active",
            (false, _) => "retrying",
        };
        WebhookRow {
            id: kept.id,
            url: kept.url,
            types: kept.types,
            state: state.to_owned(),
            created_at: kept.created_at.to_string(),
            delivered: progress.delivered,
            attempts: progress.attempts,
            next_attempt_at: progress.next_attempt_at.map(|at| at.to_string()),
            last_fault: progress.last_fault,
            rotating: kept.secrets.len() > 1,
            parked: progress.parked,
        }
    }

    /// An event is delivered again rather than not at all, so a power cut may take the last few of these.
    fn write(&self, progress: &Progress) {
        let text = serde_json::to_vec(progress).unwrap_or_default();
        let written = replace_file(&self.file, 0o600, Durability::Process, |file| file.write_all(&text));
        if let Err(error) = written {
            tracing::error!(%error, "how far a webhook has come is not kept: after a restart events come again");
        }
    }

    fn kept(&self) -> MutexGuard<'_, KeptEndpoint> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The endpoints of a data directory.
pub(super) struct Endpoints {
    data: PathBuf,
    all: Mutex<Vec<Arc<Endpoint>>>,
}

impl Endpoints {
    /// Those of a data directory; without a file there are none.
    ///
    /// # Errors
    /// A file cannot be read, or has another content.
    pub fn open(data: &Path) -> io::Result<Endpoints> {
        let endpoints = Endpoints { data: data.to_owned(), all: Mutex::default() };
        let file = data.join(FILE);
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(endpoints),
            Err(error) => return Err(error),
        };
        let wrong = |path: &Path, error: serde_json::Error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
        };
        let kept: Kept = serde_json::from_slice(&text).map_err(|error| wrong(&file, error))?;
        for kept in kept.endpoints {
            let path = endpoints.progress_file(&kept.id);
            let progress = match fs::read(&path) {
                Ok(text) => serde_json::from_slice(&text).map_err(|error| wrong(&path, error))?,
                Err(_) => Progress::at(Cursor::BEGINNING),
            };
            let endpoint = endpoints.endpoint(kept, progress);
            endpoints.list().push(Arc::new(endpoint));
        }
        Ok(endpoints)
    }

    pub fn all(&self) -> Vec<Arc<Endpoint>> {
        self.list().clone()
    }

    /// Adds one; it is durable when this returns.
    ///
    /// # Errors
    /// 409 where there are too many, 500 where a file cannot be written.
    pub fn add(
        &self,
        url: String,
        types: Vec<String>,
        secret: WebhookSecret,
        cursor: Cursor,
    ) -> Result<Arc<Endpoint>, Problem> {
        let mut all = self.list();
        if all.len() >= WEBHOOKS_MAX {
            return Err(Problem::new(409, format!("there are {WEBHOOKS_MAX} webhooks, which is the most")));
        }
        let random = secret_id().map_err(Problem::internal)?;
        let kept = KeptEndpoint {
            id: format!("wh_{random}"),
            url,
            types,
            secrets: vec![secret.text()],
            created_at: wall_clock(),
        };
        fs::create_dir_all(self.data.join(FOLDER)).map_err(Problem::internal)?;
        let endpoint = Arc::new(self.endpoint(kept, Progress::at(cursor)));
        endpoint.write(&endpoint.state().progress);
        all.push(Arc::clone(&endpoint));
        self.write(&all).inspect_err(|_| drop(all.pop()))?;
        Ok(endpoint)
    }

    /// Puts another secret in front of the present one.
    ///
    /// # Errors
    /// 404 for no endpoint, 500 where the file cannot be written.
    pub fn rotate(&self, id: &str, secret: WebhookSecret) -> Result<Arc<Endpoint>, Problem> {
        let all = self.list();
        let found = all.iter().find(|endpoint| endpoint.id() == id);
        let endpoint = found.cloned().ok_or_else(|| Problem::not_found(format!("there is no webhook {id}")))?;
        {
            let mut kept = endpoint.kept();
            kept.secrets.insert(0, secret.text());
            kept.secrets.truncate(2);
        }
        self.write(&all)?;
        Ok(endpoint)
    }

    /// Removes one.
    ///
    /// # Errors
    /// 500 where the file cannot be written.
    pub fn remove(&self, id: &str) -> Result<(), Problem> {
        let mut all = self.list();
        let Some(place) = all.iter().position(|endpoint| endpoint.id() == id) else { return Ok(()) };
        let removed = all.remove(place);
        self.write(&all)?;
        removed.state().removed = true;
        removed.changed.notify_all();
        let _ = fs::remove_file(&removed.file);
        Ok(())
    }

    fn endpoint(&self, kept: KeptEndpoint, progress: Progress) -> Endpoint {
        let state = State { progress, removed: false, moves: 0 };
        let file = self.progress_file(&kept.id);
        Endpoint { file, kept: Mutex::new(kept), state: Mutex::new(state), changed: Condvar::new() }
    }

    fn progress_file(&self, id: &str) -> PathBuf {
        self.data.join(FOLDER).join(format!("{id}.json"))
    }

    fn write(&self, all: &[Arc<Endpoint>]) -> Result<(), Problem> {
        let endpoints = all.iter().map(|endpoint| endpoint.kept().clone()).collect();
        let text = serde_json::to_string_pretty(&Kept { schema: SCHEMA.to_owned(), endpoints });
        let text = text.map_err(Problem::internal)?;
        let path = self.data.join(FILE);
        replace_file(&path, 0o600, Durability::Power, |file| file.write_all(text.as_bytes())).map_err(Problem::internal)
    }

    fn list(&self) -> MutexGuard<'_, Vec<Arc<Endpoint>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An id is typed, and stands in a file's name: letters and digits only.
fn secret_id() -> io::Result<String> {
    secret::<12>().map(|text| hex::encode(&text.as_bytes()[..8]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_and_how_far_they_have_come_outlive_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let secret = |byte: u8| WebhookSecret::read(&format!("whsec_{}", base64_of([byte; 24]))).unwrap();
        let endpoints = Endpoints::open(folder.path()).unwrap();
        let made = endpoints
            .add("https://1.1.1.1/x".to_owned(), vec!["capture.*".to_owned()], secret(1), Cursor::BEGINNING)
            .map_err(|problem| problem.message)
            .unwrap();
        let behind = Cursor::Log { block: 7, index: 3, at: 9 };
        let (mut progress, moves) = made.progress().unwrap();
        progress.go_on(behind);
        made.keep(progress, moves);
        assert!(made.has("capture.failed") && !made.has("session.started"));
        endpoints.rotate(&made.id(), secret(2)).map_err(|problem| problem.message).unwrap();

        let again = Endpoints::open(folder.path()).unwrap().all().remove(0);
        assert_eq!(again.progress().unwrap().0.cursor, behind);
        assert_eq!((again.row().id, again.row().rotating), (made.id(), true));
        assert_eq!(again.sign("i", "1", "b").split(' ').count(), 2, "both secrets are valid");
        // A move counts, and what the thread was doing then does not.
        let (mut late, moves) = again.progress().unwrap();
        again.move_to(Cursor::BEGINNING);
        late.go_on(behind);
        again.keep(late, moves);
        assert_eq!(again.progress().unwrap().0.cursor, Cursor::BEGINNING);
        endpoints.remove(&made.id()).map_err(|problem| problem.message).unwrap();
        assert!(made.progress().is_none() && Endpoints::open(folder.path()).unwrap().all().is_empty());
    }

    fn base64_of(bytes: [u8; 24]) -> String {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(bytes)
    }
}
