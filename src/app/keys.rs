//! The file with the keys under which tokens are kept: one line for each key, readable by its owner only.

use crate::payment::vault::{Keyring, Vault, key_line};
use crate::transport::files::{FileError, make_private_folder, read_secret, write_whole};
use ring::rand::{SecureRandom, SystemRandom};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The name of the file beside the data, where the configuration names no other.
pub const KEYS_FILE: &str = "credential.keys";

/// Why a file of keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The fault of its content.
    #[error("{}: {what}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// The fault.
        what: String,
    },
}

/// The keys of a file, made with a first key where there is none.
///
/// # Errors
/// The file cannot be read or made, or its content is no list of keys.
pub fn kept(path: &Path) -> Result<Keyring, KeysError> {
    if !path.exists() {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
            make_private_folder(folder)?;
        }
        write_whole(path, key_line(1, &fresh()).as_bytes(), 0o600)?;
    }
    read(path)?;
    let source = path.to_owned();
    let content = |what| KeysError::Content { path: path.to_owned(), what };
    Keyring::new(move || read(&source).map_err(|error| error.to_string())).map_err(content)
}

/// The keys of a file.
///
/// # Errors
/// The file cannot be read or made, or its content is no list of keys.
pub fn read(path: &Path) -> Result<Vault, KeysError> {
    let text = text(path)?;
    Vault::parse(&text).map_err(|error| KeysError::Content { path: path.to_owned(), what: error.to_string() })
}

/// Adds a fresh key, which seals from the next loading on; the number of that key.
///
/// # Errors
/// The file cannot be read or written, or no number is left.
pub fn rotate(path: &Path) -> Result<u32, KeysError> {
    let newest = read(path)?.ids().last().unwrap_or_default();
    let id = newest.checked_add(1).ok_or_else(|| KeysError::Content {
        path: path.to_owned(),
        what: "there are no more numbers for keys".to_owned(),
    })?;
    let mut text = text(path)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&key_line(id, &fresh()));
    write_whole(path, text.as_bytes(), 0o600)?;
    Ok(id)
}

/// Removes a key that is not the sealing one.
///
/// # Errors
/// The file cannot be read or written, or the key is not there or still seals.
pub fn retire(path: &Path, id: u32) -> Result<(), KeysError> {
    let ids: Vec<u32> = read(path)?.ids().collect();
    let wrong = |what: String| Err(KeysError::Content { path: path.to_owned(), what });
    match ids.last() {
        Some(newest) if *newest == id => return wrong(format!("key {id} seals; rotate first")),
        _ if !ids.contains(&id) => return wrong(format!("there is no key {id}")),
        _ => {}
    }
    let mut kept = Zeroizing::new(String::new());
    for line in text(path)?.lines() {
        let named = line.split_whitespace().next().and_then(|first| first.parse::<u32>().ok());
        if named != Some(id) {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    Ok(write_whole(path, kept.as_bytes(), 0o600)?)
}

fn text(path: &Path) -> Result<Zeroizing<String>, KeysError> {
    let secret = read_secret(path)?;
    Ok(Zeroizing::new(String::from_utf8_lossy(&secret).into_owned()))
}

fn fresh() -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(&mut *key).expect("the system gives random numbers");
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{Credential, CredentialKind};
    use crate::units::PaymentId;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn keys_are_made_once_rotated_and_retired() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("made").join(KEYS_FILE);
        let keys = kept(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let token = Credential { kind: CredentialKind::CardToken, token: b"tok_visa".as_slice().into() };
        let sealed = keys.vault().seal(PaymentId::from_u128(1 << 64), token.clone(), [0; 12]);

        assert_eq!(rotate(&path).unwrap(), 2);
        assert_eq!(keys.vault().ids().collect::<Vec<_>>(), [1], "not loaded yet");
        let loaded = keys.reload().unwrap();
        assert_eq!(loaded.ids().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(loaded.open(&sealed).unwrap().into_owned(), token);

        assert!(retire(&path, 2).is_err() && retire(&path, 7).is_err());
        retire(&path, 1).unwrap();
        assert!(keys.reload().unwrap().open(&sealed).is_err());

        std::fs::write(&path, "no keys at all").unwrap();
        assert!(keys.reload().unwrap_err().contains("line 1"));
        assert_eq!(keys.vault().ids().collect::<Vec<_>>(), [2], "the old ones stay in force");
    }

    #[test]
    fn keys_that_others_can_read_are_refused() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join(KEYS_FILE);
        drop(kept(&path).unwrap());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(kept(&path), Err(KeysError::File(FileError::KeyExposed { .. }))));
    }
}
