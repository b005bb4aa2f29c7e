//! Passwords of chargers without certificate (OCPP security profiles 1 and 2): a file of hashes, one line for each charger.

use super::ocpp_admission::Access;
use crate::units::ChargerId;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use ring::pbkdf2;
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// Why a file of passwords cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PasswordsError {
    /// The file.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The error of the system.
        error: std::io::Error,
    },
    /// A line that is none.
    #[error("{}, line {line}: wanted a charger's id, `pbkdf2-sha256`, a number of rounds, salt and hash", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
}

/// The hash of one password.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hashed {
    rounds: NonZeroU32,
    salt: Vec<u8>,
    hash: [u8; LENGTH],
}

const LENGTH: usize = 32;
const SCHEME: &str = "pbkdf2-sha256";
/// A guess costs some milliseconds. More would make the return of all chargers at once take minutes: that passwords are long
/// and random protects them (OCPP 1.6 security whitepaper, 2.0.1 A00.FR.205: 16 to 40 characters).
const ROUNDS: NonZeroU32 = NonZeroU32::new(10_000).expect("not zero");
/// Longest file, in bytes.
const FILE_MAX: u64 = 64 << 20;
/// Passwords that were right lately are recognised without the rounds; so many are kept.
const RECENT_MAX: usize = 65_536;

/// The passwords of a file, read again when it changes.
pub struct Passwords {
    path: PathBuf,
    state: Mutex<State>,
    /// The key of what is kept of passwords in memory: of no use outside this process.
    key: ring::hmac::Key,
}

#[derive(Default)]
struct State {
    modified: Option<SystemTime>,
    chargers: BTreeMap<ChargerId, Hashed>,
    recent: BTreeMap<ChargerId, [u8; LENGTH]>,
}

impl Passwords {
    /// The passwords of this file.
    ///
    /// # Errors
    /// [`PasswordsError`]: the file cannot be read, or a line is none.
    pub fn open(path: &Path) -> Result<Passwords, PasswordsError> {
        let mut key = [0; LENGTH];
        fill(&mut key);
        let state = State { modified: modified(path), chargers: read(path)?, recent: BTreeMap::new() };
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key);
        Ok(Passwords { path: path.to_owned(), state: Mutex::new(state), key })
    }

    /// Whether the charger is let in with what it shows.
    pub fn access(&self, charger: &ChargerId, shown: Option<&[u8]>) -> Access {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.renew(&self.path);
        let Some(hashed) = state.chargers.get(charger).cloned() else { return Access::Unknown };
        let Some(shown) = shown else { return Access::WrongPassword };
        let mark: [u8; LENGTH] = ring::hmac::sign(&self.key, shown).as_ref().try_into().unwrap_or_default();
        if state.recent.get(charger).is_some_and(|recent| *recent == mark) {
            return Access::Granted;
        }
        // Others do not wait for the rounds.
        drop(state);
        let right = pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA256, hashed.rounds, &hashed.salt, shown, &hashed.hash);
        if right.is_err() {
            return Access::WrongPassword;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.recent.len() >= RECENT_MAX {
            state.recent.clear();
        }
        // Not if the password was changed meanwhile.
        if state.chargers.get(charger) == Some(&hashed) {
            state.recent.insert(charger.clone(), mark);
        }
        Access::Granted
    }
}

impl State {
    /// Reads the file again if it has changed. When something is wrong with it, what was read before stays in use.
    fn renew(&mut self, path: &Path) {
        let now = modified(path);
        if now == self.modified {
            return;
        }
        self.modified = now;
        match read(path) {
            Ok(chargers) => {
                self.recent.retain(|charger, _| chargers.get(charger) == self.chargers.get(charger));
                self.chargers = chargers;
                tracing::info!(chargers = self.chargers.len(), "passwords of chargers loaded again");
            }
            Err(error) => tracing::error!("the passwords of before stay in use: {error}"),
        }
    }
}

/// Gives a charger a fresh password, and returns it: 40 hexadecimal digits, the most that OCPP 1.6 allows. Only its hash is kept.
///
/// # Errors
/// [`PasswordsError`]: the file cannot be read or written; nothing has changed.
pub fn set(path: &Path, charger: &ChargerId) -> Result<String, PasswordsError> {
    let mut secret = [0; 20];
    fill(&mut secret);
    let password = hex::encode(secret);
    let mut salt = vec![0; 16];
    fill(&mut salt);
    let mut hash = [0; LENGTH];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, &salt, password.as_bytes(), &mut hash);
    let mut chargers = if path.exists() { read(path)? } else { BTreeMap::new() };
    chargers.insert(charger.clone(), Hashed { rounds: ROUNDS, salt, hash });
    write(path, &chargers)?;
    Ok(password)
}

/// Takes a charger's password away; whether it had one.
///
/// # Errors
/// [`PasswordsError`]: the file cannot be read or written; nothing has changed.
pub fn remove(path: &Path, charger: &ChargerId) -> Result<bool, PasswordsError> {
    let mut chargers = read(path)?;
    let had = chargers.remove(charger).is_some();
    if had {
        write(path, &chargers)?;
    }
    Ok(had)
}

/// The chargers that have a password.
///
/// # Errors
/// [`PasswordsError`]: the file cannot be read, or a line is none.
pub fn chargers(path: &Path) -> Result<Vec<ChargerId>, PasswordsError> {
    Ok(read(path)?.into_keys().collect())
}

fn read(path: &Path) -> Result<BTreeMap<ChargerId, Hashed>, PasswordsError> {
    let failed = |error| PasswordsError::File { path: path.to_owned(), error };
    if std::fs::metadata(path).map_err(failed)?.len() > FILE_MAX {
        return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|(index, line)| parse(line).ok_or_else(|| PasswordsError::Line { path: path.to_owned(), line: index + 1 }))
        .collect()
}

fn parse(line: &str) -> Option<(ChargerId, Hashed)> {
    let mut parts = line.split_whitespace();
    let charger = ChargerId::new(parts.next()?).ok()?;
    parts.next().filter(|scheme| *scheme == SCHEME)?;
    let rounds = parts.next()?.parse().ok()?;
    let salt = BASE64.decode(parts.next()?).ok()?;
    let hash = BASE64.decode(parts.next()?).ok()?.try_into().ok()?;
    parts.next().is_none().then_some((charger, Hashed { rounds, salt, hash }))
}

fn write(path: &Path, chargers: &BTreeMap<ChargerId, Hashed>) -> Result<(), PasswordsError> {
    let mut text = String::new();
    for (charger, Hashed { rounds, salt, hash }) in chargers {
        let _ = writeln!(text, "{charger} {SCHEME} {rounds} {} {}", BASE64.encode(salt), BASE64.encode(hash));
    }
    crate::transport::files::write_whole(path, text.as_bytes(), 0o600)
        .map_err(|error| PasswordsError::File { path: path.to_owned(), error: std::io::Error::other(error) })
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn fill(bytes: &mut [u8]) {
    SystemRandom::new().fill(bytes).expect("the system has randomness");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ChargerId {
        ChargerId::new(text).unwrap()
    }

    #[test]
    fn a_password_is_right_until_it_is_replaced_or_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passwords");
        let first = set(&path, &id("CP-1")).unwrap();
        set(&path, &id("CP-2")).unwrap();
        assert_eq!(first.len(), 40);
        assert!(!std::fs::read_to_string(&path).unwrap().contains(&first), "only its hash is kept");
        let passwords = Passwords::open(&path).unwrap();
        let access = |charger, shown: Option<&str>| passwords.access(&id(charger), shown.map(str::as_bytes));
        for _ in 0..2 {
            assert_eq!(access("CP-1", Some(&first)), Access::Granted);
            assert_eq!(access("CP-1", Some("guess")), Access::WrongPassword);
            assert_eq!(access("CP-1", None), Access::WrongPassword);
            assert_eq!(access("CP-2", Some(&first)), Access::WrongPassword);
            assert_eq!(access("CP-3", Some(&first)), Access::Unknown);
        }
        let second = set(&path, &id("CP-1")).unwrap();
        touch(&path, 1);
        assert_eq!(access("CP-1", Some(&first)), Access::WrongPassword, "one that was right before");
        assert_eq!(access("CP-1", Some(&second)), Access::Granted);
        std::fs::write(&path, "CP-1 plain secret").unwrap();
        touch(&path, 2);
        assert_eq!(access("CP-1", Some(&second)), Access::Granted, "a broken file changes nothing");
        std::fs::remove_file(&path).unwrap();
        set(&path, &id("CP-1")).unwrap();
        assert!(remove(&path, &id("CP-1")).unwrap());
        assert!(!remove(&path, &id("CP-1")).unwrap());
        touch(&path, 3);
        assert_eq!(access("CP-1", Some(&second)), Access::Unknown);
    }

    /// Changes within one tick of the file system's clock would not be seen.
    fn touch(path: &Path, seconds: u64) {
        let later = SystemTime::now() + std::time::Duration::from_secs(seconds);
        std::fs::File::options().write(true).open(path).unwrap().set_modified(later).unwrap();
    }

    #[test]
    fn a_broken_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passwords");
        set(&path, &id("CP-1")).unwrap();
        let good = std::fs::read_to_string(&path).unwrap();
        for bad in
            ["CP-2", "CP-2 md5 1 AA AA", "CP-2 pbkdf2-sha256 0 AA AA", "CP-2 pbkdf2-sha256 1 AA AA", "a b c d e f"]
        {
            std::fs::write(&path, format!("# chargers\n\n{good}{bad}\n")).unwrap();
            let error = Passwords::open(&path).err().expect(bad).to_string();
            assert!(error.contains("passwords, line 4: wanted a charger's id"), "{error}");
        }
    }
}
