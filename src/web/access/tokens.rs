//! Tokens of the API: a file in the data directory with their names, roles and hashes. It is read again when it has changed,
//! so that the command line makes and revokes tokens of a running gate.

use super::{Digest, Principal, Role, same, secret, sha256};
use crate::host::{Durability, replace_file, wall_clock};
use crate::limits::TOKENS_MAX;
use crate::units::shape::{Described, Shapes, described};
use crate::units::{TimeSpan, Timestamp};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The file in the data directory.
pub const TOKENS_FILE: &str = "tokens.json";

/// The name of the token in `console.json`, which no other token has.
pub const COMMAND_LINE: &str = "command-line";

const SCHEMA: &str = "wattstile.tokens/1";
/// What a token begins with, so that scanners of leaked secrets recognise it.
const PREFIX: &str = "wst_";
/// Longest name, in bytes.
const NAME_MAX: usize = 64;

/// Why tokens cannot be kept, or one cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// The file has another content than tokens.
    #[error("{}: no file of tokens: {error}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// Where, and what was wanted.
        error: serde_json::Error,
    },
    /// A name that is none.
    #[error("a token's name has 1 to {NAME_MAX} letters, digits, `.`, `_`, `-` or `@`, and is not `{COMMAND_LINE}`")]
    Name,
    /// A name that is taken.
    #[error("there is a token `{0}` already: revoke it first, or take another name")]
    Taken(String),
    /// A time that is over.
    #[error("the token would have expired at {0}, which is over")]
    Over(Timestamp),
    /// There are too many.
    #[error("there are {TOKENS_MAX} tokens, which is the most: revoke one first")]
    Many,
}

described! {
/// A token that is to be made.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenWish {
    /// Its name: what orders are attributed to.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it ends: a time (RFC 3339), or a span from now on such as `30d`; none: never.
    #[serde(default)]
    pub expires: Option<Expiry>,
}
}

/// The end of a token: a time, or a span from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Expiry(String);

impl Expiry {
    /// The time, counted from now.
    fn at(&self, now: Timestamp) -> Result<Timestamp, String> {
        let whole_day = format!("{}T00:00:00Z", self.0);
        if let Ok(at) = Timestamp::parse_rfc3339(&self.0).or_else(|_| Timestamp::parse_rfc3339(&whole_day)) {
            return Ok(at);
        }
        let span = humantime::parse_duration(&self.0).ok().and_then(|span| i64::try_from(span.as_millis()).ok());
        let wanted = "wanted a time such as 2027-01-01T00:00:00Z, or a span such as 30d";
        span.map(|ms| now.saturating_add(TimeSpan::from_ms(ms))).ok_or_else(|| wanted.to_owned())
    }
}

impl Described for Expiry {
    fn shape(shapes: &mut Shapes) -> Value {
        String::shape(shapes)
    }
}

impl FromStr for Expiry {
    type Err = String;

    fn from_str(text: &str) -> Result<Expiry, String> {
        let expiry = Expiry(text.trim().to_owned());
        expiry.at(wall_clock()).map(|_| expiry)
    }
}

impl TryFrom<String> for Expiry {
    type Error = String;

    fn try_from(text: String) -> Result<Expiry, String> {
        text.parse()
    }
}

impl From<Expiry> for String {
    fn from(expiry: Expiry) -> String {
        expiry.0
    }
}

described! {
/// A token that was made. Its secret is shown this once.
#[derive(Clone, Serialize, Deserialize)]
pub struct Created {
    /// `wattstile.token/1`
    pub schema: String,
    /// The secret.
    pub token: String,
    /// What is known of it later.
    #[serde(flatten)]
    pub row: TokenRow,
}
}

described! {
/// A token as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRow {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it was made.
    pub created_at: String,
    /// When it ends; none: never.
    pub expires_at: Option<String>,
    /// Whether it has ended.
    pub expired: bool,
}
}

#[derive(Default, Serialize, Deserialize)]
struct Kept {
    schema: String,
    tokens: Vec<KeptToken>,
}

#[derive(Clone, Serialize, Deserialize)]
struct KeptToken {
    name: String,
    role: Role,
    #[serde(serialize_with = "digest_as_text", deserialize_with = "digest_of_text")]
    sha256: Digest,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
}

fn digest_as_text<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(digest))
}

fn digest_of_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
    let mut digest = Digest::default();
    let text = String::deserialize(deserializer)?;
    hex::decode_to_slice(text, &mut digest).map_err(|_| D::Error::custom("wanted 64 hexadecimal digits"))?;
    Ok(digest)
}

impl KeptToken {
    fn is_valid(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|until| now < until)
    }

    fn row(&self, now: Timestamp) -> TokenRow {
        TokenRow {
            name: self.name.clone(),
            role: self.role,
            created_at: self.created_at.to_string(),
            expires_at: self.expires_at.map(|at| at.to_string()),
            expired: !self.is_valid(now),
        }
    }
}

/// What tells one state of the file from another.
type Stamp = Option<(u64, u64, i64, i64)>;

/// The tokens of a file.
pub struct Tokens {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    stamp: Stamp,
    tokens: Vec<KeptToken>,
}

impl Tokens {
    /// Those of this file; without a file there are none yet.
    pub fn open(path: &Path) -> Tokens {
        Tokens { path: path.to_owned(), state: Mutex::default() }
    }

    /// Makes a token.
    ///
    /// # Errors
    /// [`TokenError`]: its name is none or taken, its end is over, or the file cannot be written; nothing has changed.
    pub fn create(&self, wish: &TokenWish, now: Timestamp) -> Result<Created, TokenError> {
        let TokenWish { name, role, expires } = wish;
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
        if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(is_letter) || name == COMMAND_LINE {
            return Err(TokenError::Name);
        }
        let expires_at = expires.as_ref().and_then(|expires| expires.at(now).ok());
        if let Some(over) = expires_at.filter(|at| *at <= now) {
            return Err(TokenError::Over(over));
        }
        let secret = secret::<32>().map_err(|error| self.failed(error))?;
        let token = format!("{PREFIX}{secret}");
        let kept = KeptToken { name: name.clone(), role: *role, sha256: sha256(&token), created_at: now, expires_at };
        let row = kept.row(now);
        self.change(|tokens| {
            // Tokens that have ended make room for one of the same name.
            tokens.retain(|known| known.name != *name || known.is_valid(now));
            if tokens.iter().any(|known| known.name == *name) {
                return Err(TokenError::Taken(name.clone()));
            }
            if tokens.len() >= TOKENS_MAX {
                return Err(TokenError::Many);
            }
            tokens.push(kept);
            Ok(())
        })?;
        Ok(Created { schema: "wattstile.token/1".to_owned(), token, row })
    }

    /// Takes a token out of use. Returns whether there was one of this name.
    ///
    /// # Errors
    /// [`TokenError`]: the file cannot be read or written; nothing has changed.
    pub fn revoke(&self, name: &str) -> Result<bool, TokenError> {
        self.change(|tokens| {
            let before = tokens.len();
            tokens.retain(|token| token.name != name);
            Ok(tokens.len() < before)
        })
    }

    /// All of them, in the order of names.
    ///
    /// # Errors
    /// [`TokenError`]: the file cannot be read.
    pub fn rows(&self, now: Timestamp) -> Result<Vec<TokenRow>, TokenError> {
        let mut rows: Vec<TokenRow> = read(&self.path)?.iter().map(|token| token.row(now)).collect();
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(rows)
    }

    /// The holder of a token.
    pub(super) fn find(&self, shown: &Digest, now: Timestamp) -> Option<Principal> {
        let mut found = None;
        for token in &self.current().tokens {
            // Each is compared, wherever the right one is.
            if same(&token.sha256, shown) && token.is_valid(now) {
                found = Some(Principal { name: token.name.clone(), role: token.role });
            }
        }
        found
    }

    /// Whether there is a token of this name.
    pub(super) fn is_valid(&self, name: &str, now: Timestamp) -> bool {
        self.current().tokens.iter().any(|token| token.name == name && token.is_valid(now))
    }

    /// The tokens of the file as it is now. Where it cannot be read, those of before stay in use.
    fn current(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamp(&self.path);
        if now != state.stamp {
            state.stamp = now;
            match read(&self.path) {
                Ok(tokens) => state.tokens = tokens,
                Err(error) => tracing::error!("the tokens of before stay in use: {error}"),
            }
        }
        state
    }

    /// Changes the file; another process that does the same waits.
    fn change<T>(&self, change: impl FnOnce(&mut Vec<KeptToken>) -> Result<T, TokenError>) -> Result<T, TokenError> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let held = File::open(folder).map_err(|error| self.failed(error))?;
        rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive)
            .map_err(|error| self.failed(error.into()))?;
        let mut tokens = read(&self.path)?;
        let changed = change(&mut tokens)?;
        let text = serde_json::to_string_pretty(&Kept { schema: SCHEMA.to_owned(), tokens });
        let text = text.map_err(|error| self.failed(error.into()))?;
        replace_file(&self.path, 0o600, Durability::Power, |file| file.write_all(text.as_bytes()))
            .map_err(|error| self.failed(error))?;
        Ok(changed)
    }

    fn failed(&self, error: io::Error) -> TokenError {
        TokenError::File { path: self.path.clone(), error }
    }
}

fn read(path: &Path) -> Result<Vec<KeptToken>, TokenError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(TokenError::File { path: path.to_owned(), error }),
    };
    let kept: Result<Kept, _> = serde_json::from_slice(&text);
    kept.map(|kept| kept.tokens).map_err(|error| TokenError::Content { path: path.to_owned(), error })
}

/// A file that is replaced is another one, also where the clock of the file system did not move.
fn stamp(path: &Path) -> Stamp {
    let file = fs::metadata(path).ok()?;
    Some((file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    fn wish(name: &str, expires: Option<&str>) -> TokenWish {
        let expires = expires.map(|text| Expiry(text.to_owned()));
        TokenWish { name: name.to_owned(), role: Role::Finance, expires }
    }

    #[test]
    fn a_token_is_taken_until_it_is_revoked_and_its_secret_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(TOKENS_FILE);
        // The gate and the command line are two processes with one file.
        let (gate, command_line) = (Tokens::open(&path), Tokens::open(&path));
        assert_eq!(gate.find(&sha256("x"), at(0)), None);
        let made = command_line.create(&wish("books", None), at(0)).unwrap();
        assert!(made.token.starts_with(PREFIX) && made.token.len() == PREFIX.len() + 43);
        let found = gate.find(&sha256(&made.token), at(1)).unwrap();
        assert_eq!((found.name.as_str(), found.role), ("books", Role::Finance));
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&made.token) && !text.contains(&made.token[PREFIX.len()..]), "{text}");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(gate.rows(at(1)).unwrap(), [made.row]);
        assert!(command_line.revoke("books").unwrap() && !command_line.revoke("books").unwrap());
        assert_eq!(gate.find(&sha256(&made.token), at(2)), None);
    }

    #[test]
    fn a_token_ends_when_it_expires() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(&folder.path().join(TOKENS_FILE));
        let made = tokens.create(&wish("a", Some("10s")), at(0)).unwrap();
        assert!(tokens.find(&sha256(&made.token), at(9_999)).is_some());
        assert!(tokens.find(&sha256(&made.token), at(10_000)).is_none());
        assert!(tokens.rows(at(10_000)).unwrap()[0].expired);
        assert!(matches!(tokens.create(&wish("b", Some("1970-01-01")), at(1)), Err(TokenError::Over(_))));
        assert!(matches!(tokens.create(&wish("a", None), at(9_999)), Err(TokenError::Taken(_))));
        tokens.create(&wish("a", None), at(10_000)).expect("the one that has ended makes room");
        for wrong in ["soon", "", "-5d", "2027-13-01"] {
            assert!(wrong.parse::<Expiry>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_that_would_mislead_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(&folder.path().join(TOKENS_FILE));
        for name in ["", " ", "a b", "ü", "a\n", COMMAND_LINE, &"a".repeat(65)] {
            assert!(matches!(tokens.create(&wish(name, None), at(0)), Err(TokenError::Name)), "{name:?}");
        }
    }

    #[test]
    fn a_damaged_file_leaves_the_tokens_of_before_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(TOKENS_FILE);
        let tokens = Tokens::open(&path);
        let made = tokens.create(&wish("a", None), at(0)).unwrap();
        assert!(tokens.find(&sha256(&made.token), at(0)).is_some());
        fs::write(&path, "{").unwrap();
        assert!(tokens.find(&sha256(&made.token), at(0)).is_some());
        assert!(matches!(tokens.create(&wish("b", None), at(0)), Err(TokenError::Content { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "{", "what an operator may still mend is left as it is");
    }
}
