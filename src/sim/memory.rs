//! Stored state of a simulated peer, so that it continues where it was however its process ended.
//!
//! A charger's state is a file of its own that is replaced after every change, before a message follows from it. It
//! survives the end of the process, not that of the machine: after that the charger comes back like a replaced one.

use crate::host::{Durability, replace_file};
use crate::units::ChargerId;
use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The folder with the stored states of a fleet's chargers.
#[derive(Clone, Debug)]
pub struct ChargerMemories {
    folder: PathBuf,
    /// What was written last, to write nothing twice.
    written: HashMap<ChargerId, Box<[u8]>>,
}

impl ChargerMemories {
    /// In this folder, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(folder: &Path) -> io::Result<ChargerMemories> {
        fs::create_dir_all(folder)?;
        Ok(ChargerMemories { folder: folder.to_owned(), written: HashMap::new() })
    }

    /// What a charger wrote down last, if it ever did.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn recall(&self, charger: &ChargerId) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.file(charger)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the stored state of a charger, unless it is unchanged.
    ///
    /// # Errors
    /// It cannot be written; the file is as it was before.
    pub fn remember(&mut self, charger: &ChargerId, bytes: Vec<u8>) -> io::Result<()> {
        if self.written.get(charger).is_some_and(|written| **written == *bytes) {
            return Ok(());
        }
        let path = self.file(charger);
        replace_file(&path, 0o600, Durability::Process, |file| file.write_all(&bytes))?;
        self.written.insert(charger.clone(), bytes.into());
        Ok(())
    }

    /// Whether the stored state of any charger has a session.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn any(folder: &Path, has_session: impl Fn(&[u8]) -> bool) -> io::Result<bool> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") && has_session(&fs::read(&path)?) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn file(&self, charger: &ChargerId) -> PathBuf {
        let mut name = String::with_capacity(charger.as_str().len());
        for byte in charger.as_str().bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
                other => name.push_str(&format!("~{other:02x}")),
            }
        }
        self.folder.join(name + ".json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_charger_has_a_memory_of_its_own_whatever_its_name() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("made");
        let mut memories = ChargerMemories::open(&folder).unwrap();
        let ids = ["NL*WST*E0001", "NL~2aWST*E0001", "NL-WST-E0001"].map(ChargerId::new);
        let ids: Vec<ChargerId> = ids.into_iter().filter_map(Result::ok).collect();
        assert!(ids.len() >= 2);
        for (id, number) in ids.iter().zip(b'1'..) {
            assert_eq!(memories.recall(id).unwrap(), None);
            memories.remember(id, vec![number]).unwrap();
            memories.remember(id, vec![number]).unwrap();
        }
        for (id, number) in ids.iter().zip(b'1'..) {
            assert_eq!(ChargerMemories::open(&folder).unwrap().recall(id).unwrap(), Some(vec![number]));
        }
        assert!(ChargerMemories::any(&folder, |bytes| bytes == b"2").unwrap());
        assert!(!ChargerMemories::any(&folder, |bytes| bytes == b"9").unwrap());
        assert!(!ChargerMemories::any(&place.path().join("nowhere"), |_| true).unwrap());
    }
}
