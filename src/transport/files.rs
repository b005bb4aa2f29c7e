//! Certificates, keys and revocation lists as PEM files. A private key that others can read is refused.

use crate::host::{Durability, replace_file};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A file that cannot be used, with its name.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        error: io::Error,
    },
    /// Not PEM, or PEM of something else.
    #[error("{}: no {wanted} in it: {error}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// The kind of content that was expected.
        wanted: &'static str,
        /// The error of the parser.
        error: pem::Error,
    },
    /// An item in the file does not match its label.
    #[error("{}: {error}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The fault.
        error: String,
    },
    /// A file with a secret (a private key, a token) that others than its owner can read.
    #[error("{}: its secret can be read by others (mode {mode:04o}); `chmod 600` makes it its owner's", path.display())]
    KeyExposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// The largest PEM file that is read, in bytes: a revocation list of 100,000 entries has about 5 MB.
const PEM_FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Reads every certificate of a PEM file; at least one must be in it.
///
/// # Errors
/// [`FileError::Io`], [`FileError::Pem`], [`FileError::Content`].
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    read_all(path, "certificate")
}

/// Reads every revocation list of a PEM file; at least one must be in it.
///
/// # Errors
/// [`FileError::Io`], [`FileError::Pem`], [`FileError::Content`].
pub fn read_crls(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, FileError> {
    read_all(path, "revocation list")
}

/// Reads a private key (PKCS#8, SEC1 or PKCS#1). Only its owner may be able to read the file.
///
/// # Errors
/// [`FileError::KeyExposed`], [`FileError::Io`], [`FileError::Pem`].
pub fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    let text = read_secret(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| FileError::Pem {
        path: path.to_owned(),
        wanted: "private key",
        error,
    })
}

/// Reads a file that only its owner may be able to read. The bytes are wiped when they are dropped.
///
/// # Errors
/// [`FileError::KeyExposed`], [`FileError::Io`].
pub fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let io = |error| FileError::Io { path: path.to_owned(), error };
    let file = File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.permissions().mode() & 0o777;
    if mode & 0o077 & !granted(path) != 0 {
        return Err(FileError::KeyExposed { path: path.to_owned(), mode });
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(PEM_FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

/// Permission bits beyond the owner's that expose nothing. A service manager hands credentials (`LoadCredential=`) to
/// one user by an access list, whose mask stands where the group's bits are; their folder is closed to others.
fn granted(path: &Path) -> u32 {
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty());
    let handed = folder.is_some_and(|folder| path.parent() == Some(Path::new(&folder)));
    if handed { 0o040 } else { 0 }
}

/// Writes a file as a whole or not at all: next to it, synced, then renamed over it.
///
/// # Errors
/// [`FileError::Io`]; the old file is as it was.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let io = |error| FileError::Io { path: path.to_owned(), error };
    replace_file(path, mode, Durability::Power, |file| file.write_all(bytes)).map_err(io)
}

/// Makes a folder and its parents; a folder that is made is its owner's alone.
///
/// # Errors
/// [`FileError::Io`].
pub fn make_private_folder(path: &Path) -> Result<(), FileError> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| FileError::Io { path: path.to_owned(), error })
}

/// PEM text of one object.
pub fn pem_text(label: &str, der: &[u8]) -> String {
    ::pem::encode_config(
        &::pem::Pem::new(label, der),
        ::pem::EncodeConfig::new().set_line_ending(::pem::LineEnding::LF),
    )
}

/// PEM text of a chain, the leaf first.
pub fn chain_text(chain: &[CertificateDer<'_>]) -> String {
    chain.iter().map(|certificate| pem_text("CERTIFICATE", certificate)).collect()
}

fn read_all<T: PemObject>(path: &Path, wanted: &'static str) -> Result<Vec<T>, FileError> {
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(PEM_FILE_BYTES_MAX).read_to_end(&mut text))
        .map_err(|error| FileError::Io { path: path.to_owned(), error })?;
    let pem = |error| FileError::Pem { path: path.to_owned(), wanted, error };
    let objects = T::pem_slice_iter(&text).collect::<Result<Vec<T>, pem::Error>>().map_err(pem)?;
    if objects.is_empty() { Err(pem(pem::Error::NoItemsFound)) } else { Ok(objects) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_others_can_read_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.key");
        write_whole(&path, b"secret", 0o644).unwrap();
        let error = read_key(&path).unwrap_err();
        assert!(matches!(error, FileError::KeyExposed { mode: 0o644, .. }), "{error}");
        assert!(error.to_string().contains("server.key"), "{error}");
    }

    #[test]
    fn writing_again_narrows_the_permissions() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.key");
        write_whole(&path, b"old", 0o644).unwrap();
        write_whole(&path, b"new", 0o600).unwrap();
        assert_eq!(&*read_secret(&path).unwrap(), b"new");
    }

    #[test]
    fn a_file_of_something_else_says_what_was_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        write_whole(&path, b"hello", 0o644).unwrap();
        let error = read_certificates(&path).unwrap_err().to_string();
        assert!(error.contains("ca.pem: no certificate in it"), "{error}");
    }

    #[test]
    fn pem_text_is_read_back() {
        let der: Vec<u8> = (0..=200).collect();
        let text = pem_text("CERTIFICATE", &der);
        assert!(text.lines().all(|line| line.len() <= 64));
        let read = CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
        assert_eq!(&*read, &der[..]);
    }
}
