//! A development PKI in a folder: what `wattstile cert` works on, and what the demo makes for itself.
//!
//! ```text
//! pki.json              trust domain, and the names of the gate
//! root.pem, root.key    what peers trust
//! chargers.pem, .key    signs chargers and site controllers; the chargers' listener trusts it
//! processors.pem, .key  signs processors; the processors' listener trusts it
//! server.pem, .key      the gate's own
//! crl.pem               the revocation lists of all three authorities
//! index.jsonl           every certificate that was issued; a later line on the same serial number replaces an earlier
//! peers/                bundles that were made for peers of this machine
//! ```
//!
//! Keys are 0600. The index is only ever appended to.

use super::files::{
    FileError, chain_text, make_private_folder, pem_text, read_certificates, read_crls, read_key, write_whole,
};
use super::identity::ListenerKind;
use super::pki::{Certified, Issued, Pki, PkiError, Reason, SERVER_DAYS, Validity};
use super::tls::Files;
use crate::message::Subject;
use crate::transport::certificate::{Certificate, Crl};
use crate::units::Timestamp;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A PKI with the folder that stores it.
pub struct PkiFolder {
    path: PathBuf,
    about: About,
    pki: Pki,
}

/// `pki.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    trust_domain: String,
    server_names: Vec<String>,
}

/// The files of a bundle for a peer.
#[derive(Clone, Debug, Serialize)]
pub struct Bundle {
    /// The certificate and its chain, without the root.
    pub certificate: PathBuf,
    /// The private key; none when it never left the peer.
    pub key: Option<PathBuf>,
    /// The root by which the peer recognises the gate.
    pub authority: PathBuf,
}

impl Bundle {
    /// The names of a peer's files in a folder; with a key, unless the peer has it.
    pub fn at(folder: &Path, subject: &Subject, with_key: bool) -> Bundle {
        Bundle {
            certificate: folder.join(format!("{}.pem", subject.role())),
            key: with_key.then(|| folder.join("key.pem")),
            authority: folder.join("ca.pem"),
        }
    }
}

/// The gate's certificate and the lists are renewed when they have fewer days left than this.
const RENEWED_BELOW_DAYS: i64 = 15;

const AUTHORITIES: [&str; 3] = ["root", "chargers", "processors"];

impl PkiFolder {
    /// Makes a new PKI. There must be none in the folder.
    ///
    /// # Errors
    /// [`PkiError::Exists`], [`PkiError::File`], and those of [`Pki::new`].
    pub fn create(path: &Path, trust_domain: &str, names: &[String], now: Timestamp) -> Result<PkiFolder, PkiError> {
        if path.join("pki.json").exists() || path.join("root.key").exists() {
            return Err(PkiError::Exists(path.to_owned()));
        }
        let pki = Pki::new(trust_domain, now)?;
        make_private_folder(path)?;
        for (name, (certificate, key)) in AUTHORITIES.into_iter().zip(pki.authorities()) {
            write_certified(path, name, std::slice::from_ref(certificate), &key)?;
        }
        let about = About { trust_domain: trust_domain.to_owned(), server_names: names.to_vec() };
        let folder = PkiFolder { path: path.to_owned(), about, pki };
        folder.renew_server(now)?;
        folder.write_crls(now)?;
        // Last: a folder with this file is whole.
        let text = serde_json::to_string_pretty(&folder.about).map_err(|error| folder.index_error(0, error))?;
        write_whole(&path.join("pki.json"), text.as_bytes(), 0o644)?;
        Ok(folder)
    }

    /// Opens a PKI that is there.
    ///
    /// # Errors
    /// [`PkiError::File`], [`PkiError::Authorities`], [`PkiError::Index`].
    pub fn open(path: &Path) -> Result<PkiFolder, PkiError> {
        let file = path.join("pki.json");
        let text = fs::read(&file).map_err(|error| FileError::Io { path: file.clone(), error })?;
        let about: About = serde_json::from_slice(&text)
            .map_err(|error| FileError::Content { path: file, error: error.to_string() })?;
        let mut authorities = Vec::new();
        for name in AUTHORITIES {
            let certified = read_certified(path, name)?;
            let certificate = certified.chain.into_iter().next();
            authorities.push((certificate.unwrap_or_else(|| Vec::new().into()), certified.key));
        }
        let index = read_index(&path.join("index.jsonl"))?;
        let pki = Pki::with_authorities(&about.trust_domain, authorities, index)?;
        Ok(PkiFolder { path: path.to_owned(), about, pki })
    }

    /// Opens the PKI in this folder, or makes one; renews the gate's certificate and the lists where they run out.
    ///
    /// # Errors
    /// Those of [`PkiFolder::open`] and [`PkiFolder::create`].
    pub fn open_or_create(
        path: &Path,
        trust_domain: &str,
        names: &[String],
        now: Timestamp,
    ) -> Result<PkiFolder, PkiError> {
        if !path.join("pki.json").exists() {
            return PkiFolder::create(path, trust_domain, names, now);
        }
        let folder = PkiFolder::open(path)?;
        folder.renew(now)?;
        Ok(folder)
    }

    /// The trust domain of every peer.
    pub fn trust_domain(&self) -> &str {
        &self.about.trust_domain
    }

    /// The root, by which peers recognise the gate.
    pub fn root(&self) -> &CertificateDer<'static> {
        self.pki.root()
    }

    /// Every certificate that was issued to a peer.
    pub fn index(&self) -> &[Issued] {
        self.pki.index()
    }

    /// The files of a listener.
    pub fn files(&self, listener: ListenerKind) -> Files {
        let authorities = match listener {
            ListenerKind::Chargers | ListenerKind::Ocpp => "chargers.pem",
            ListenerKind::Processors => "processors.pem",
        };
        Files {
            certificate: self.path.join("server.pem"),
            key: self.path.join("server.key"),
            authorities: self.path.join(authorities),
            crls: vec![self.path.join("crl.pem")],
        }
    }

    /// The certificates and lists of the PKI itself, for a check of what runs out.
    pub fn own_files(&self) -> Vec<PathBuf> {
        ["root.pem", "chargers.pem", "processors.pem", "server.pem"].map(|name| self.path.join(name)).to_vec()
    }

    /// The file with the revocation lists.
    pub fn crl_file(&self) -> PathBuf {
        self.path.join("crl.pem")
    }

    /// A key and a certificate for a peer; kept in the index.
    ///
    /// # Errors
    /// Those of [`Pki::issue`]; [`PkiError::File`] when the index cannot be written.
    pub fn issue(&mut self, subject: &Subject, validity: Validity) -> Result<Certified, PkiError> {
        let certified = self.pki.issue(subject, validity)?;
        self.append_to_index(self.pki.index().len() - 1)?;
        Ok(certified)
    }

    /// A certificate for the key of a signing request; kept in the index.
    ///
    /// # Errors
    /// Those of [`Pki::issue_for_request`]; [`PkiError::File`] when the index cannot be written.
    pub fn issue_for_request(
        &mut self,
        request_pem: &str,
        subject: &Subject,
        validity: Validity,
    ) -> Result<Vec<CertificateDer<'static>>, PkiError> {
        let chain = self.pki.issue_for_request(request_pem, subject, validity)?;
        self.append_to_index(self.pki.index().len() - 1)?;
        Ok(chain)
    }

    /// The key and certificate of a peer on this machine: the stored ones, while they have some days left, or else
    /// new ones, which are stored.
    ///
    /// # Errors
    /// Those of [`PkiFolder::issue`]; [`PkiError::File`] when the stored ones cannot be read.
    pub fn peer(&mut self, subject: &Subject, days: u32, now: Timestamp) -> Result<Certified, PkiError> {
        let folder = self.path.join("peers");
        let name = file_name(subject);
        if folder.join(format!("{name}.key")).exists()
            && let Ok(kept) = read_certified(&folder, &name)
            && let Some(Ok(leaf)) = kept.chain.first().map(Certificate::read)
            && leaf.days_left(now) >= i64::from(days.min(2) / 2)
            && !self.pki.index().iter().any(|issued| issued.serial == leaf.serial && issued.revoked.is_some())
        {
            return Ok(kept);
        }
        make_private_folder(&folder)?;
        let certified = self.issue(subject, Validity::days(now, days))?;
        write_certified(&folder, &name, &certified.chain, &certified)?;
        Ok(certified)
    }

    /// Revokes every certificate of a peer, writes the lists again, and returns the serial numbers.
    ///
    /// # Errors
    /// [`PkiError::Unknown`]; [`PkiError::File`] when index or lists cannot be written.
    pub fn revoke(&mut self, subject: &Subject, reason: Reason, now: Timestamp) -> Result<Vec<String>, PkiError> {
        let serials = self.pki.revoke(subject, reason, now)?;
        for (number, issued) in self.pki.index().iter().enumerate() {
            if serials.contains(&issued.serial) {
                self.append_to_index(number)?;
            }
        }
        self.write_crls(now)?;
        Ok(serials)
    }

    /// Renews the gate's own certificate and the lists where they have few days left.
    ///
    /// # Errors
    /// [`PkiError::Certificate`], [`PkiError::File`].
    pub fn renew(&self, now: Timestamp) -> Result<(), PkiError> {
        let left = |certificate: &CertificateDer<'_>| Certificate::read(certificate).map(|read| read.days_left(now));
        let server = read_certificates(&self.path.join("server.pem"))?;
        if server.first().is_none_or(|leaf| left(leaf).unwrap_or(0) < RENEWED_BELOW_DAYS) {
            self.renew_server(now)?;
        }
        let lists = read_crls(&self.path.join("crl.pem"))?;
        let stale = |next: Timestamp| next.since(now).whole_secs() < RENEWED_BELOW_DAYS * 86_400;
        if lists.iter().any(|list| Crl::read(list, &[]).map_or(true, |crl| stale(crl.next_update))) {
            self.write_crls(now)?;
        }
        Ok(())
    }

    /// Gives the gate a new key and certificate.
    ///
    /// # Errors
    /// [`PkiError::Certificate`], [`PkiError::File`].
    pub fn renew_server(&self, now: Timestamp) -> Result<(), PkiError> {
        let server = self.pki.issue_server(&self.about.server_names, Validity::days(now, SERVER_DAYS))?;
        write_certified(&self.path, "server", &server.chain, &server)
    }

    /// Writes the revocation lists again, fresh from now.
    ///
    /// # Errors
    /// [`PkiError::Certificate`], [`PkiError::File`].
    pub fn write_crls(&self, now: Timestamp) -> Result<(), PkiError> {
        let text: String = self.pki.crls(now)?.iter().map(|list| pem_text("X509 CRL", list)).collect();
        Ok(write_whole(&self.crl_file(), text.as_bytes(), 0o644)?)
    }

    /// Writes what a peer needs into a folder: `ROLE.pem`, `key.pem` (unless the peer has it) and `ca.pem`.
    ///
    /// # Errors
    /// [`PkiError::File`].
    pub fn write_bundle(
        &self,
        out: &Path,
        subject: &Subject,
        chain: &[CertificateDer<'_>],
        key: Option<&Certified>,
    ) -> Result<Bundle, PkiError> {
        make_private_folder(out)?;
        let bundle = Bundle::at(out, subject, key.is_some());
        if let (Some(path), Some(certified)) = (&bundle.key, key) {
            write_whole(path, pem_text("PRIVATE KEY", certified.key.secret_der()).as_bytes(), 0o600)?;
        }
        write_whole(&bundle.certificate, chain_text(chain).as_bytes(), 0o644)?;
        write_whole(&bundle.authority, pem_text("CERTIFICATE", self.root()).as_bytes(), 0o644)?;
        Ok(bundle)
    }

    fn append_to_index(&self, number: usize) -> Result<(), PkiError> {
        let path = self.path.join("index.jsonl");
        let mut line = serde_json::to_string(&self.pki.index()[number]).map_err(|error| self.index_error(0, error))?;
        line.push('\n');
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| FileError::Io { path: path.clone(), error })?;
        file.write_all(line.as_bytes()).map_err(|error| FileError::Io { path, error })?;
        Ok(())
    }

    fn index_error(&self, line: usize, error: serde_json::Error) -> PkiError {
        PkiError::Index { path: self.path.join("index.jsonl"), line, error }
    }
}

/// The key and chain in `NAME.key` and `NAME.pem` of a folder.
///
/// # Errors
/// [`PkiError::File`].
pub fn read_certified(folder: &Path, name: &str) -> Result<Certified, PkiError> {
    let chain = read_certificates(&folder.join(format!("{name}.pem")))?;
    let key = read_key(&folder.join(format!("{name}.key")))?;
    Ok(Certified { chain, key })
}

/// The key first: a certificate without its key is of no use.
fn write_certified(
    folder: &Path,
    name: &str,
    chain: &[CertificateDer<'_>],
    certified: &Certified,
) -> Result<(), PkiError> {
    let key = pem_text("PRIVATE KEY", certified.key.secret_der());
    write_whole(&folder.join(format!("{name}.key")), key.as_bytes(), 0o600)?;
    Ok(write_whole(&folder.join(format!("{name}.pem")), chain_text(chain).as_bytes(), 0o644)?)
}

fn read_index(path: &Path) -> Result<Vec<Issued>, PkiError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(FileError::Io { path: path.to_owned(), error }.into()),
    };
    let mut index: Vec<Issued> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        let issued: Issued = serde_json::from_str(line).map_err(|error| PkiError::Index {
            path: path.to_owned(),
            line: number + 1,
            error,
        })?;
        match places.get(&issued.serial) {
            Some(&place) => index[place] = issued,
            None => {
                places.insert(issued.serial.clone(), index.len());
                index.push(issued);
            }
        }
    }
    Ok(index)
}

/// A peer's name as a file name: what is not a letter, digit, dot, dash or underscore is written as its code.
fn file_name(subject: &Subject) -> String {
    let mut name = format!("{}-", subject.role());
    for character in subject.id().chars() {
        match character {
            'A'..='Z' | 'a'..='z' | '0'..='9' | '-' | '_' | '.' => name.push(character),
            other => name.push_str(&format!("%{:02X}", u32::from(other))),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_795_370_400_000);

    fn later(days: i64) -> Timestamp {
        Timestamp::from_unix_ms(NOW.unix_ms() + days * 86_400_000)
    }

    fn charger(id: &str) -> Subject {
        Subject::Charger(id.parse().unwrap())
    }

    fn create(path: &Path) -> PkiFolder {
        PkiFolder::create(path, "wattstile.test", &["localhost".to_owned(), "127.0.0.1".to_owned()], NOW).unwrap()
    }

    #[test]
    fn what_was_issued_and_revoked_is_known_when_opened_again() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("pki");
        let mut folder = create(&path);
        folder.issue(&charger("AMS-0007"), Validity::days(NOW, 30)).unwrap();
        folder.issue(&charger("NL*WST*E|8"), Validity::days(NOW, 30)).unwrap();
        folder.revoke(&charger("AMS-0007"), Reason::KeyCompromise, NOW).unwrap();
        let mut again = PkiFolder::open(&path).unwrap();
        assert_eq!(again.index(), folder.index());
        assert!(again.index()[0].revoked.is_some() && again.index()[1].revoked.is_none());
        // And the authorities still sign: a second certificate has the same issuer as the first.
        let leaf = again.issue(&charger("AMS-0009"), Validity::days(NOW, 30)).unwrap();
        let authority = read_certificates(&again.files(ListenerKind::Chargers).authorities).unwrap();
        assert_eq!(leaf.chain[1], authority[0]);
        let lists = read_crls(&again.crl_file()).unwrap();
        let revoked: usize = lists.iter().map(|list| Crl::read(list, &authority).unwrap().revoked.len()).sum();
        assert_eq!(revoked, 1);
    }

    #[test]
    fn nothing_is_overwritten_and_keys_are_private() {
        let home = tempfile::tempdir().unwrap();
        create(home.path());
        let again = PkiFolder::create(home.path(), "wattstile.test", &[], NOW);
        assert!(matches!(again, Err(PkiError::Exists(_))));
        for entry in fs::read_dir(home.path()).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            let expected = if entry.path().extension().is_some_and(|end| end == "key") { 0o600 } else { 0o644 };
            assert_eq!(mode, expected, "{}", entry.path().display());
        }
    }

    #[test]
    fn what_runs_out_is_renewed_and_what_does_not_is_left() {
        let home = tempfile::tempdir().unwrap();
        create(home.path());
        let server = || fs::read(home.path().join("server.pem")).unwrap();
        let lists = || fs::read(home.path().join("crl.pem")).unwrap();
        let (first_server, first_lists) = (server(), lists());
        let open = |now| PkiFolder::open_or_create(home.path(), "wattstile.test", &[], now).unwrap();
        open(later(5));
        assert_eq!((server(), lists()), (first_server.clone(), first_lists.clone()));
        open(later(20));
        assert!(server() == first_server && lists() != first_lists);
        open(later(80));
        assert_ne!(server(), first_server);
    }

    #[test]
    fn a_peer_of_this_machine_keeps_its_certificate_until_it_is_revoked() {
        let home = tempfile::tempdir().unwrap();
        let mut folder = create(home.path());
        let first = folder.peer(&charger("NL*WST*E0007"), 30, NOW).unwrap();
        assert_eq!(folder.peer(&charger("NL*WST*E0007"), 30, NOW).unwrap().chain, first.chain);
        folder.revoke(&charger("NL*WST*E0007"), Reason::Superseded, NOW).unwrap();
        assert_ne!(folder.peer(&charger("NL*WST*E0007"), 30, NOW).unwrap().chain, first.chain);
    }
}
