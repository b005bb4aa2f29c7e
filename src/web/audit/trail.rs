//! The file of the trail: a JSON text in each line, each with the hash of the one before. It is only ever appended to.

use super::super::access::Digest;
use crate::limits::{AUDIT_BODY_BYTES, AUDIT_SCAN_BYTES, IDEMPOTENCY_KEYS_MAX};
use crate::units::Timestamp;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The file in the data directory.
pub const AUDIT_FILE: &str = "audit.jsonl";

/// What the first line has as the hash of the one before.
pub(super) const NO_HASH: &str = "";

/// A line of the trail, without its hash.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Line {
    /// Counted from 1.
    pub seq: u64,
    /// When.
    pub at: String,
    /// `order`, `outcome` or `refused` (an order that the role of its sender does not permit).
    pub kind: String,
    /// Of an outcome: the line of its order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// Who: the name of a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// With which role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// From which address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What: the path of the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Its body, without secrets; none where it is long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// SHA-256 of the body without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_sha256: Option<String>,
    /// Its idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What a repetition takes instead of the body's members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<Map<String, Value>>,
    /// Of an outcome: HTTP's status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The code of a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The answer of an order with a key; none where it has a secret, or is long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
    /// The hash of the line before.
    pub prev: String,
}

/// What is known under a key.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    /// The digest of the order.
    pub order: Digest,
    /// What a repetition takes instead of the body's members.
    pub pinned: Map<String, Value>,
    /// How far it has come.
    pub state: State,
}

/// How far an order has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is being carried out.
    Running,
    /// It has no outcome that lasts: it may be carried out again.
    Open,
    /// It has one: the place of its line in the file.
    Done { at: u64, bytes: usize },
}

/// The trail of a gate, to be written to.
pub struct Trail {
    path: PathBuf,
    written: Mutex<Written>,
}

struct Written {
    file: File,
    len: u64,
    seq: u64,
    hash: String,
    keys: HashMap<Digest, Known>,
    /// The keys, the oldest first.
    by_age: VecDeque<Digest>,
}

impl Trail {
    /// Opens the trail of a data directory, or begins it. What was being written when the power failed is cut away.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(path: &Path) -> io::Result<Trail> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let whole = file.metadata()?.len();
        // What is older is not read at each start: keys are remembered as far as this goes back.
        let from = whole.saturating_sub(AUDIT_SCAN_BYTES);
        file.seek(SeekFrom::Start(from))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let begin = if from == 0 { 0 } else { text.iter().position(|byte| *byte == b'\n').map_or(end, |at| at + 1) };
        text.truncate(end);
        let len = from + end as u64;
        if len < whole {
            file.set_len(len)?;
        }
        let (keys, by_age) = (HashMap::new(), VecDeque::new());
        let mut written = Written { file, len, seq: 0, hash: NO_HASH.to_owned(), keys, by_age };
        let mut orders: HashMap<u64, Digest> = HashMap::new();
        let mut at = from + begin as u64;
        for line in text[begin.min(end)..].split_inclusive(|byte| *byte == b'\n') {
            written.note(line, at, &mut orders);
            at += line.len() as u64;
        }
        Ok(Trail { path: path.to_owned(), written: Mutex::new(written) })
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is known under a key; where nothing is, or its order may be carried out again, it is running from now on.
    pub(super) fn claim(&self, key: &Digest, order: &Digest) -> Option<Known> {
        let mut written = self.written();
        let known = written.keys.get(key).cloned();
        match &known {
            None => {
                let fresh = Known { order: *order, pinned: Map::new(), state: State::Running };
                written.remember(*key, fresh);
            }
            Some(open) if open.state == State::Open && open.order == *order => written.set(key, State::Running),
            Some(_) => {}
        }
        known
    }

    /// Writes an order; it is durable when this returns. Its place is to be named in its outcome.
    ///
    /// # Errors
    /// The file cannot be written; the order must not be carried out.
    pub(super) fn order(&self, key: Option<&Digest>, line: Line) -> io::Result<u64> {
        let mut written = self.written();
        let pinned = line.pinned.clone();
        let (seq, ..) = written.append(line)?;
        if let Some(known) = key.and_then(|key| written.keys.get_mut(key))
            && let Some(pinned) = pinned
        {
            known.pinned = pinned;
        }
        Ok(seq)
    }

    /// Writes an outcome. One that lasts is given to each repetition.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn outcome(&self, key: Option<&Digest>, line: Line, lasts: bool) -> io::Result<()> {
        let mut written = self.written();
        let appended = written.append(line);
        if let Some(key) = key {
            let state = match &appended {
                Ok((_, at, bytes)) if lasts => State::Done { at: *at, bytes: *bytes },
                _ => State::Open,
            };
            written.set(key, state);
        }
        appended.map(|_| ())
    }

    /// Gives a claim up: nothing was written of it.
    pub(super) fn give_up(&self, key: &Digest) {
        let mut written = self.written();
        match written.keys.get(key) {
            Some(known) if known.pinned.is_empty() => drop(written.keys.remove(key)),
            Some(_) => written.set(key, State::Open),
            None => {}
        }
    }

    /// A line that was written.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn read(&self, at: u64, bytes: usize) -> io::Result<Line> {
        let mut text = vec![0; bytes];
        self.written().file.read_exact_at(&mut text, at)?;
        serde_json::from_slice(&text).map_err(io::Error::other)
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Written {
    /// Appends a line and syncs it. What could not be written whole is cut away.
    fn append(&mut self, mut line: Line) -> io::Result<(u64, u64, usize)> {
        line.seq = self.seq + 1;
        line.prev.clone_from(&self.hash);
        let (text, hash) = sealed(&line)?;
        let done = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        if let Err(error) = done {
            let _ = self.file.set_len(self.len);
            return Err(error);
        }
        let at = self.len;
        self.len += text.len() as u64;
        (self.seq, self.hash) = (line.seq, hash);
        Ok((line.seq, at, text.len()))
    }

    /// Takes a line of an earlier process into account.
    fn note(&mut self, text: &[u8], at: u64, orders: &mut HashMap<u64, Digest>) {
        let Ok(read) = serde_json::from_slice::<Line>(text) else { return };
        if let Some((_, hash)) = std::str::from_utf8(text).ok().and_then(|text| unsealed(text.trim_end())) {
            (self.seq, self.hash) = (read.seq, hash.to_owned());
        }
        match (read.kind.as_str(), &read.key, read.of) {
            ("order", Some(key), _) => {
                let Line { who, path, body_sha256, pinned, .. } = &read;
                let (who, path) = (who.as_deref().unwrap_or_default(), path.as_deref().unwrap_or_default());
                let key = key_digest(who, key);
                let order = order_digest(path, body_sha256.as_deref().unwrap_or_default());
                let known = Known { order, pinned: pinned.clone().unwrap_or_default(), state: State::Open };
                self.keys.remove(&key);
                self.remember(key, known);
                orders.insert(read.seq, key);
            }
            ("outcome", _, Some(of)) => {
                if let Some(key) = orders.remove(&of)
                    && read.status.is_some_and(lasts)
                {
                    self.set(&key, State::Done { at, bytes: text.len() });
                }
            }
            _ => {}
        }
    }

    fn remember(&mut self, key: Digest, known: Known) {
        while self.by_age.len() >= IDEMPOTENCY_KEYS_MAX {
            if let Some(oldest) = self.by_age.pop_front() {
                self.keys.remove(&oldest);
            }
        }
        self.by_age.push_back(key);
        self.keys.insert(key, known);
    }

    fn set(&mut self, key: &Digest, state: State) {
        if let Some(known) = self.keys.get_mut(key) {
            known.state = state;
        }
    }
}

/// Whether an outcome is final: what failed for a moment may be ordered again.
pub(super) fn lasts(status: u16) -> bool {
    status < 500
}

/// The text of a line with its hash as the last member, and the hash.
pub(super) fn sealed(line: &Line) -> io::Result<(String, String)> {
    let text = serde_json::to_string(line).map_err(io::Error::other)?;
    let hash = hex::encode(digest(&SHA256, text.as_bytes()));
    let open = text.strip_suffix('}').unwrap_or(&text);
    Ok((format!("{open},\"hash\":\"{hash}\"}}\n"), hash))
}

/// A line as it was before it got its hash, and the hash.
pub(super) fn unsealed(text: &str) -> Option<(String, &str)> {
    let (open, rest) = text.rsplit_once(",\"hash\":\"")?;
    let hash = rest.strip_suffix("\"}")?;
    Some((format!("{open}}}"), hash))
}

/// What a key is remembered by: keys of two senders are two keys.
pub(super) fn key_digest(who: &str, key: &str) -> Digest {
    of_parts(&[who, key])
}

/// What an order is recognised by.
pub(super) fn order_digest(path: &str, body_sha256: &str) -> Digest {
    of_parts(&[path, body_sha256])
}

fn of_parts(parts: &[&str]) -> Digest {
    let mut context = ring::digest::Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// A body without secrets, and its digest; none for a body that is no object.
pub(super) fn redacted(body: &[u8]) -> (Option<Value>, String) {
    let mut value = serde_json::from_slice::<Value>(body).ok().filter(Value::is_object);
    if let Some(members) = value.as_mut().and_then(Value::as_object_mut) {
        for name in ["credential", "token", "secret"] {
            if members.get(name).is_some_and(|member| !member.is_null()) {
                members.insert(name.to_owned(), "…".into());
            }
        }
    }
    let text = value.as_ref().map(Value::to_string).unwrap_or_default();
    let sha256 = hex::encode(digest(&SHA256, text.as_bytes()));
    (value.filter(|_| text.len() <= AUDIT_BODY_BYTES), sha256)
}

/// A line about an order.
pub(super) fn line(kind: &str, at: Timestamp) -> Line {
    Line { kind: kind.to_owned(), at: at.to_string(), ..Line::default() }
}
