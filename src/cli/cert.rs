//! `wattstile cert`: a development PKI, and a look into any certificate.

use super::output::{BAD, GOOD, WARNING};
use super::{CliError, Exit, Output};
use crate::host::wall_clock;
use crate::message::{PeerIdentity, Subject};
use crate::transport::certificate::{Certificate, Crl};
use crate::transport::files::{FileError, read_certificates, read_crls};
use crate::transport::pki::{CRL_DAYS, PkiError, Reason, Validity};
use crate::transport::pki_folder::{Bundle, PkiFolder};
use crate::units::{Timestamp, visible};
use clap::builder::PossibleValuesParser;
use clap::{Subcommand, ValueEnum};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Make, show, check and revoke certificates
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the PKI
    #[arg(long, global = true, value_name = "DIR", env = "WATTSTILE_PKI", default_value = ".wattstile/gate/pki")]
    pki: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Args)]
struct Issue {
    /// What the peer is
    role: PeerRole,
    /// The peer's id
    id: String,
    /// Days until it expires
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Folder for the bundle [default: ./ID]
    #[arg(long, short, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Signing request (PEM) of a key that never leaves the peer
    #[arg(long, value_name = "FILE")]
    csr: Option<PathBuf>,
    /// Replace a key and a certificate that are in the folder already
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a development PKI: root, authorities, server
    #[command(after_help = "Example: wattstile cert init --name gate.example --name 192.0.2.7")]
    Init {
        /// Trust domain in the names of all peers
        #[arg(long, default_value = DEFAULT_TRUST_DOMAIN)]
        trust_domain: String,
        /// DNS name or address of the gate, beside localhost (repeatable)
        #[arg(long = "name", value_name = "NAME")]
        names: Vec<String>,
    },
    /// Issue a certificate for a peer
    #[command(after_help = "Example: wattstile cert issue charger AMS-0007 --days 30 --out ./ams-0007")]
    Issue(Issue),
    /// Show the contents of certificates, and which peer they mean
    #[command(after_help = "Example: wattstile cert inspect ./ams-0007/charger.pem")]
    Inspect {
        /// PEM files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Check what expires soon; exit code 1 if anything does
    #[command(after_help = "Example: wattstile cert check --days 14")]
    Check {
        /// Days that must be left [default: 30 for certificates, 15 for revocation lists, which live for 30]
        #[arg(long)]
        days: Option<u32>,
        /// PEM files [default: those of the PKI itself, and its revocation lists]
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Revoke every certificate of a peer; the gate cuts its connection
    #[command(after_help = "Example: wattstile cert revoke AMS-0007 --reason keyCompromise")]
    Revoke {
        /// The peer's id
        id: String,
        /// What the peer is, when the id alone is not clear
        #[arg(long)]
        role: Option<PeerRole>,
        /// Why
        #[arg(long, default_value = "unspecified", value_parser = PossibleValuesParser::new(Reason::ALL.map(|(_, name)| name)))]
        reason: String,
    },
    /// Renew the gate's certificate and the revocation lists
    #[command(after_help = "Example: wattstile cert renew")]
    Renew,
}

/// Days that a certificate has left, unless set otherwise.
const CERTIFICATE_DAYS_LEFT: u32 = 30;

/// The default trust domain.
pub const DEFAULT_TRUST_DOMAIN: &str = "wattstile.local";

/// Kind of peer that a certificate can be issued for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PeerRole {
    /// A charging station
    Charger,
    /// A site controller
    Site,
    /// A payment processor
    Processor,
}

/// A certificate in an answer: its fields, and the peer that it identifies.
#[derive(Debug, Serialize)]
struct Shown {
    file: PathBuf,
    /// Place in the file, counted from 1.
    number: usize,
    /// `charger/AMS-0007`; none for what is no peer's.
    peer: Option<String>,
    /// Why its name identifies no peer.
    problem: Option<String>,
    days_left: i64,
    #[serde(flatten)]
    certificate: Certificate,
}

/// Something with an end, in an answer of `check`.
#[derive(Debug, Serialize)]
struct Expiry {
    file: PathBuf,
    what: String,
    until: Timestamp,
    days_left: i64,
    ok: bool,
}

/// Does one of the verbs.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let (pki, now) = (args.pki, wall_clock());
    match args.verb {
        Verb::Init { trust_domain, names } => init(&pki, &trust_domain, names, now, output),
        Verb::Issue(args) => issue(&pki, args, now, output),
        Verb::Inspect { files } => inspect(&files, now, output),
        Verb::Check { days, files } => check(&pki, days, files, now, output),
        Verb::Revoke { id, role, reason } => revoke(&pki, &Withdrawn { id, role, reason }, now, output),
        Verb::Renew => renew(&pki, now, output),
    }
}

fn init(path: &Path, trust_domain: &str, more: Vec<String>, now: Timestamp, output: &Output) -> Result<Exit, CliError> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.extend(more);
    // The trust domain is checked by the first name that is made with it: before anything is written.
    PeerIdentity::new(trust_domain, Subject::Gate("gate".parse().map_err(CliError::failed)?))
        .map_err(|error| CliError::new(Exit::Usage, error))?;
    PkiFolder::create(path, trust_domain, &names, now).map_err(pki_error)?;
    let made = serde_json::json!({ "pki": path, "trust_domain": trust_domain, "server_names": names });
    output.answer("cert-init/1", &made, |out| {
        writeln!(out, "{GOOD}✓{GOOD:#} {}  trust domain {trust_domain}  DEV - not for production", path.display())?;
        writeln!(out, "  root.pem         what peers trust")?;
        writeln!(out, "  chargers.pem     signs chargers and site controllers")?;
        writeln!(out, "  processors.pem   signs processors")?;
        writeln!(out, "  server.pem       the gate: {}", names.join(", "))?;
        writeln!(out, "next: wattstile cert issue charger AMS-0007 --out ./ams-0007")
    })?;
    Ok(Exit::Ok)
}

fn issue(path: &Path, args: Issue, now: Timestamp, output: &Output) -> Result<Exit, CliError> {
    let Issue { role, id, days, out, csr, force } = args;
    let subject = subject(role, &id)?;
    let out = out.unwrap_or_else(|| PathBuf::from(&id));
    let mut folder = PkiFolder::open(path).map_err(pki_error)?;
    // Before a certificate is issued: a key that is lost cannot be made again.
    let goes_to = Bundle::at(&out, &subject, csr.is_none());
    if let Some(there) = goes_to.key.iter().chain([&goes_to.certificate]).find(|file| !force && file.exists()) {
        let error = CliError::new(Exit::Refused, format!("{} is there already", there.display()));
        return Err(error.help("name another folder with --out, or replace what is there with --force"));
    }
    let validity = Validity::days(now, days);
    let bundle: Bundle = match csr {
        None => {
            let certified = folder.issue(&subject, validity).map_err(pki_error)?;
            folder.write_bundle(&out, &subject, &certified.chain, Some(&certified)).map_err(pki_error)?
        }
        Some(csr) => {
            let request = std::fs::read_to_string(&csr).map_err(|error| CliError::file(&csr, &error))?;
            let chain = folder
                .issue_for_request(&request, &subject, validity)
                .map_err(|error| CliError::failed(format!("{}: {error}", csr.display())))?;
            folder.write_bundle(&out, &subject, &chain, None).map_err(pki_error)?
        }
    };
    let serial = folder.index().last().map(|issued| issued.serial.clone()).unwrap_or_default();
    let issued = serde_json::json!({
        "peer": subject.to_string(), "serial": serial, "not_after": validity.not_after.to_rfc3339(), "days": days,
        "files": bundle,
    });
    output.answer("cert-issue/1", &issued, |text| {
        write!(text, "{GOOD}✓{GOOD:#} {}  ", bundle.certificate.display())?;
        if let Some(key) = &bundle.key {
            write!(text, "{} (0600)  ", key.display())?;
        }
        writeln!(text, "{}  expires {} ({days} d)", bundle.authority.display(), date(validity.not_after))?;
        writeln!(text, "  {subject}  serial {serial}")
    })?;
    Ok(Exit::Ok)
}

fn inspect(files: &[PathBuf], now: Timestamp, output: &Output) -> Result<Exit, CliError> {
    let mut all = Vec::new();
    for file in files {
        for (index, der) in read_certificates(file).map_err(file_error)?.iter().enumerate() {
            let certificate = Certificate::read(der)
                .map_err(|error| CliError::new(Exit::Corrupt, format!("{}: {error}", file.display())))?;
            let (peer, problem) = match certificate.uris.as_slice() {
                [] => (None, None),
                [uri] => match PeerIdentity::parse(uri) {
                    Ok(identity) => (Some(identity.subject.to_string()), None),
                    Err(error) => (None, Some(error.to_string())),
                },
                several => (None, Some(format!("{} URI names instead of one", several.len()))),
            };
            let days_left = certificate.days_left(now);
            all.push(Shown { file: file.clone(), number: index + 1, peer, problem, days_left, certificate });
        }
    }
    output.answer("cert-inspect/1", &all, |out| {
        for shown in &all {
            let certificate = &shown.certificate;
            writeln!(out, "{} [{}]", shown.file.display(), shown.number)?;
            let purpose = match (certificate.is_authority, certificate.for_clients, certificate.for_servers) {
                (true, _, _) => "an authority",
                (false, true, true) => "a TLS client and server",
                (false, true, false) => "a TLS client",
                (false, false, true) => "a TLS server",
                (false, false, false) => "neither TLS client nor server",
            };
            writeln!(out, "  subject      {}", certificate.subject)?;
            writeln!(out, "  issuer       {}", certificate.issuer)?;
            writeln!(out, "  for          {purpose}")?;
            for uri in &certificate.uris {
                writeln!(out, "  URI name     {}", visible(uri))?;
            }
            if let Some(peer) = &shown.peer {
                writeln!(out, "  peer         {GOOD}{peer}{GOOD:#}")?;
            }
            if let Some(problem) = &shown.problem {
                writeln!(out, "  peer         {BAD}none{BAD:#}: {problem}")?;
            }
            let names: Vec<&str> =
                certificate.dns_names.iter().chain(&certificate.addresses).map(String::as_str).collect();
            if !names.is_empty() {
                writeln!(out, "  names        {}", names.join(", "))?;
            }
            let (from, until) = (date(certificate.not_before), date(certificate.not_after));
            writeln!(out, "  valid        {from} to {until} ({})", days_words(shown.days_left))?;
            writeln!(out, "  serial       {}", certificate.serial)?;
            writeln!(out, "  fingerprint  {} (SHA-256)", certificate.fingerprint)?;
            if certificate.development {
                writeln!(out, "  {WARNING}development{WARNING:#}: a gate in production mode refuses it")?;
            }
        }
        Ok(())
    })?;
    Ok(Exit::Ok)
}

fn check(
    path: &Path,
    days: Option<u32>,
    mut files: Vec<PathBuf>,
    now: Timestamp,
    output: &Output,
) -> Result<Exit, CliError> {
    // A list is short-lived by nature: without a wish, half of its life is early enough.
    let [wanted, of_lists] = [CERTIFICATE_DAYS_LEFT, CRL_DAYS / 2].map(|usual| i64::from(days.unwrap_or(usual)));
    let mut found = Vec::new();
    if files.is_empty() {
        let folder = PkiFolder::open(path).map_err(pki_error)?;
        files = folder.own_files();
        let file = folder.crl_file();
        for list in read_crls(&file).map_err(file_error)? {
            let crl = Crl::read(&list, &[]).map_err(|error| CliError::new(Exit::Corrupt, error))?;
            let days_left = crl.next_update.since(now).whole_secs().div_euclid(86_400);
            let ok = days_left >= of_lists;
            let what = format!("revocation list of {}", crl.issuer);
            found.push(Expiry { file: file.clone(), what, until: crl.next_update, days_left, ok });
        }
    }
    for file in files {
        for der in read_certificates(&file).map_err(file_error)? {
            let certificate = Certificate::read(&der)
                .map_err(|error| CliError::new(Exit::Corrupt, format!("{}: {error}", file.display())))?;
            let days_left = certificate.days_left(now);
            let (what, until) = (certificate.subject, certificate.not_after);
            found.push(Expiry { file: file.clone(), what, until, days_left, ok: days_left >= wanted });
        }
    }
    found.sort_by_key(|expiry| expiry.until);
    output.answer("cert-check/1", &found, |out| {
        for expiry in &found {
            let (style, mark) = if expiry.ok { (GOOD, "✓") } else { (BAD, "✗") };
            let words = days_words(expiry.days_left);
            writeln!(out, "{style}{mark}{style:#} {words:>20}  {}  {}", expiry.file.display(), expiry.what)?;
        }
        Ok(())
    })?;
    Ok(if found.iter().all(|expiry| expiry.ok) { Exit::Ok } else { Exit::Failed })
}

/// The peer whose certificates are revoked.
struct Withdrawn {
    id: String,
    role: Option<PeerRole>,
    reason: String,
}

fn revoke(path: &Path, withdrawn: &Withdrawn, now: Timestamp, output: &Output) -> Result<Exit, CliError> {
    let Withdrawn { id, role, reason } = withdrawn;
    let mut folder = PkiFolder::open(path).map_err(pki_error)?;
    let subject = match role {
        Some(role) => subject(*role, id)?,
        None => {
            let mut subjects: Vec<Subject> = Vec::new();
            for peer in folder.index().iter().filter_map(|issued| PeerIdentity::parse(&issued.peer).ok()) {
                if peer.id() == id.as_str() && !subjects.contains(&peer.subject) {
                    subjects.push(peer.subject);
                }
            }
            match subjects.len() {
                0 => return Err(CliError::not_found(format!("no certificate was issued for `{id}`"))),
                1 => subjects.swap_remove(0),
                _ => {
                    let roles: Vec<String> = subjects.iter().map(|subject| subject.role().to_string()).collect();
                    return Err(CliError::new(Exit::Usage, format!("`{id}` is a {}", roles.join(" and a ")))
                        .help("name one with --role"));
                }
            }
        }
    };
    let reason =
        Reason::ALL.iter().find(|(_, name)| *name == reason.as_str()).map(|(reason, _)| *reason).unwrap_or_default();
    let serials = folder.revoke(&subject, reason, now).map_err(pki_error)?;
    let revoked = serde_json::json!({
        "peer": subject.to_string(), "serials": serials, "reason": reason, "crl": folder.crl_file(),
    });
    output.answer("cert-revoke/1", &revoked, |out| {
        writeln!(out, "{GOOD}✓{GOOD:#} {subject} revoked: serial {}", serials.join(", "))?;
        writeln!(out, "  {} written; a running gate sees it within seconds", folder.crl_file().display())
    })?;
    Ok(Exit::Ok)
}

fn renew(path: &Path, now: Timestamp, output: &Output) -> Result<Exit, CliError> {
    let folder = PkiFolder::open(path).map_err(pki_error)?;
    folder.renew_server(now).map_err(pki_error)?;
    folder.write_crls(now).map_err(pki_error)?;
    output.answer("cert-renew/1", &serde_json::json!({ "pki": path }), |out| {
        writeln!(out, "{GOOD}✓{GOOD:#} server certificate and revocation lists renewed in {}", path.display())
    })?;
    Ok(Exit::Ok)
}

fn subject(role: PeerRole, id: &str) -> Result<Subject, CliError> {
    let subject = match role {
        PeerRole::Charger => id.parse().map(Subject::Charger),
        PeerRole::Site => id.parse().map(Subject::Site),
        PeerRole::Processor => id.parse().map(Subject::Processor),
    };
    subject.map_err(|error| CliError::new(Exit::Usage, error))
}

fn pki_error(error: PkiError) -> CliError {
    match error {
        PkiError::File(error) => file_error(error),
        PkiError::Exists(_) => CliError::new(Exit::Refused, error),
        PkiError::Unknown(_) => CliError::not_found(error),
        PkiError::Name(_) => CliError::new(Exit::Usage, error),
        PkiError::Index { .. } | PkiError::Authorities { .. } => CliError::new(Exit::Corrupt, error),
        PkiError::Certificate(_) | PkiError::Random => CliError::caused(Exit::Failed, &error),
    }
}

fn file_error(error: FileError) -> CliError {
    match &error {
        FileError::Io { path, error } => {
            let failed = CliError::file(path, error);
            if path.file_name().is_some_and(|name| name == "pki.json") {
                failed.help("make a PKI with `wattstile cert init`, or name its folder with --pki")
            } else {
                failed
            }
        }
        FileError::Pem { .. } | FileError::Content { .. } => CliError::new(Exit::Corrupt, error),
        FileError::KeyExposed { .. } => CliError::new(Exit::Refused, error),
    }
}

/// The day of an instant, in UTC.
fn date(at: Timestamp) -> String {
    at.to_rfc3339().chars().take(10).collect()
}

fn days_words(days: i64) -> String {
    match days {
        ..0 => format!("expired {} d ago", -days),
        _ => format!("{days} d left"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Color;

    fn quiet() -> Output {
        Output::new(false, true, Color::Never)
    }

    #[test]
    fn each_failure_has_its_exit_code() {
        let home = tempfile::tempdir().unwrap();
        let pki = home.path().join("pki");
        let run = |verb| run(Args { pki: pki.clone(), verb }, &quiet()).map_err(|error| error.exit);
        let init = || Verb::Init { trust_domain: "wattstile.test".to_owned(), names: Vec::new() };
        let out = Some(home.path().join("out"));
        let forced = |id: &str, csr, force| {
            Verb::Issue(Issue { role: PeerRole::Charger, id: id.to_owned(), days: 30, out: out.clone(), csr, force })
        };
        let issue = |id: &str, csr| forced(id, csr, false);
        let revoke = |id: &str| Verb::Revoke { id: id.to_owned(), role: None, reason: "superseded".to_owned() };
        assert_eq!(run(issue("AMS-0007", None)), Err(Exit::NotFound), "no PKI yet");
        assert_eq!(run(Verb::Init { trust_domain: "No Domain".to_owned(), names: Vec::new() }), Err(Exit::Usage));
        assert_eq!(run(init()), Ok(Exit::Ok));
        assert_eq!(run(init()), Err(Exit::Refused), "never over another");
        assert_eq!(run(issue("a b", None)), Err(Exit::Usage));
        assert_eq!(run(issue("AMS-0007", None)), Ok(Exit::Ok));
        let key = || std::fs::read(home.path().join("out/key.pem")).unwrap();
        let first = key();
        assert_eq!(run(issue("AMS-0007", None)), Err(Exit::Refused), "never over a key");
        assert_eq!(run(issue("AMS-0008", None)), Err(Exit::Refused), "nor over that of another peer");
        assert_eq!(key(), first);
        assert_eq!(run(forced("AMS-0007", None, true)), Ok(Exit::Ok));
        assert_ne!(key(), first);
        assert_eq!(run(forced("AMS-0007", Some(home.path().join("no.csr")), true)), Err(Exit::NotFound));
        assert_eq!(run(Verb::Inspect { files: vec![home.path().join("out/charger.pem")] }), Ok(Exit::Ok));
        assert_eq!(run(Verb::Inspect { files: vec![home.path().join("out/key.pem")] }), Err(Exit::Corrupt));
        assert_eq!(run(Verb::Check { days: None, files: Vec::new() }), Ok(Exit::Ok));
        assert_eq!(run(Verb::Check { days: Some(14), files: Vec::new() }), Ok(Exit::Ok));
        // The certificates have more than 35 days, the lists have 30.
        assert_eq!(run(Verb::Check { days: Some(35), files: Vec::new() }), Ok(Exit::Failed), "lists count");
        assert_eq!(run(Verb::Check { days: Some(365), files: Vec::new() }), Ok(Exit::Failed));
        assert_eq!(run(revoke("AMS-0008")), Err(Exit::NotFound));
        assert_eq!(run(revoke("AMS-0007")), Ok(Exit::Ok));
        assert_eq!(run(revoke("AMS-0007")), Err(Exit::NotFound), "revoked already");
    }
}
