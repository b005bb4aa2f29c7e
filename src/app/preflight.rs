//! Checks of the requirements of a gate and its first driver, before the start: the same for `serve`, `doctor` and
//! `config check`.
//!
//! They change nothing and report all faults at once. With a fault, the gate would refuse its first driver, or not
//! start at all.

use super::configured::{self, Tariffs, mac_key};
use super::keys;
use crate::config::{Config, Mode};
use crate::host::cannot_listen;
use crate::journal::{DataDir, Failure};
use crate::payment::CredentialKind;
use crate::payment::routing::{Registry, Wanted};
use crate::session::first_hold;
use crate::tariff::{self, Severity};
use crate::transport::files::read_secret;
use crate::transport::identity::ListenerKind;
use crate::transport::pki_folder::PkiFolder;
use crate::transport::tls::{Source, Tls};
use crate::units::{SiteId, TariffId, TimeSpan, Timestamp, counted};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The kind of entry.
    pub name: &'static str,
    /// Its severity.
    pub state: State,
    /// What was found, and where.
    pub detail: String,
    /// Advice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// No fault.
    Good,
    /// The gate runs, but an operator should act.
    Warning,
    /// The gate does not start, or refuses its first driver.
    Wrong,
}

impl Finding {
    /// A result without a fault.
    pub fn good(name: &'static str, detail: impl ToString) -> Finding {
        Finding { name, state: State::Good, detail: detail.to_string(), help: None }
    }

    /// A result on which an operator should act.
    pub fn warning(name: &'static str, detail: impl ToString, help: impl ToString) -> Finding {
        Finding { name, state: State::Warning, detail: detail.to_string(), help: Some(help.to_string()) }
    }

    /// The gate does not start, or refuses its first driver.
    pub fn wrong(name: &'static str, detail: impl ToString, help: impl ToString) -> Finding {
        Finding { name, state: State::Wrong, detail: detail.to_string(), help: Some(help.to_string()) }
    }
}

/// No gate ran before this.
const EARLIEST: Timestamp = Timestamp::from_unix_ms(1_760_000_000_000);
/// How far the system's clock may be behind the data: disks and machines round.
const CLOCK_BEHIND_MAX: TimeSpan = TimeSpan::from_secs(60);
const DAYS_WANTED: i64 = 30;
const DAY_MS: i64 = 86_400_000;

/// Runs all checks. With a gate `running` on the same data, its lock and its addresses are its own.
pub fn preflight(config: &Config, now: Timestamp, running: bool) -> Vec<Finding> {
    let mut found = files(config);
    found.extend(secrets(config));
    found.extend(certificates(config, now));
    match Tariffs::load(config) {
        Ok((tariffs, findings)) => {
            found.extend(assigned(config, &tariffs, now));
            found.extend(doubtful(&findings));
            found.extend(routes(config, &tariffs, now));
        }
        Err(error) => found.push(Finding::wrong("tariffs", error, "`wattstile tariff lint` shows the place")),
    }
    found.extend(ocpp(config));
    found.push(data(config, running));
    found.push(clock(&config.data_folder(), now, config.chargers.clock_ahead_max.0.is_some()));
    found.extend(ports(config, running));
    found
}

/// How far chargers that speak OCPP prove who they are.
fn ocpp(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(address) = config.ocpp.insecure_listen
        && config.ocpp.allow_insecure
    {
        let detail =
            format!("ocpp.insecure_listen = \"{address}\" lets chargers in without password and without encryption");
        found.push(Finding::warning("ocpp", detail, "set `ocpp.allow_insecure = false` outside of tests"));
    }
    if let Some(path) = config.ocpp.passwords_file.as_ref().filter(|path| path.exists()) {
        match super::passwords::chargers(path) {
            Ok(chargers) => found.push(Finding::good("ocpp", counted(chargers.len(), "password"))),
            Err(error) => found.push(Finding::wrong("ocpp", error, "`wattstile ocpp password` writes such lines")),
        }
    }
    found
}

/// Every file that is named and not there.
fn files(config: &Config) -> Vec<Finding> {
    let missing = config.missing_files();
    if missing.is_empty() {
        return vec![Finding::good("config", "every setting is valid, every file that it names is there")];
    }
    let report = |(section, key, path): &(&str, &str, std::path::PathBuf)| {
        let detail = format!("{section}.{key} names {}, which is not there", path.display());
        Finding::wrong("config", detail, "make the file, or change the setting")
    };
    missing.iter().map(report).collect()
}

/// Files with secrets that cannot be used. A missing one is reported elsewhere, or made at the first start.
fn secrets(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut wrong = |error: &dyn std::fmt::Display| {
        found.push(Finding::wrong("secrets", error, "a secret is a file that its owner alone can read (mode 0600)"));
    };
    if let Err(error) = configured::fingerprint_key_is_there(&config.gate.data_dir) {
        wrong(&error);
    }
    let keys_file = config.keys_file();
    if keys_file.exists()
        && let Err(error) = keys::read(&keys_file)
    {
        wrong(&error);
    }
    if let Some(path) = config.console.token_file.as_deref().filter(|path| path.exists())
        && let Err(error) = read_secret(path)
    {
        wrong(&error);
    }
    for path in config.registry.iter().filter_map(|entry| entry.mac_key_file.as_deref()).filter(|path| path.exists()) {
        if let Err(error) = mac_key(path) {
            wrong(&error);
        }
    }
    found
}

/// The certificates and lists of both listeners, each once.
fn certificates(config: &Config, now: Timestamp) -> Vec<Finding> {
    let folder = config.pki_folder();
    let own = config.gate.mode == Mode::Development && config.tls.certificate_file.is_none();
    if own && !folder.join("pki.json").exists() {
        let detail = "there are none yet; in development the first start makes them";
        return vec![Finding::warning("certificates", detail, "`wattstile cert init` makes them now")];
    }
    let mut found = Vec::new();
    if config.tls.certificate_file.is_none()
        && let Ok(pki) = PkiFolder::open(&folder)
        && pki.trust_domain() != config.tls.trust_domain
    {
        let (theirs, ours) = (pki.trust_domain(), &config.tls.trust_domain);
        let detail = format!("the PKI in {} is of trust domain `{theirs}`, not `{ours}`", folder.display());
        let help = "every peer would be refused: set `tls.trust_domain` or `tls.folder`";
        found.push(Finding::wrong("certificates", detail, help));
    }
    let mut expiries = BTreeSet::new();
    let mut report = BTreeSet::new();
    let ocpp = config.ocpp.listen.map(|_| ListenerKind::Ocpp);
    for listener in [ListenerKind::Chargers, ListenerKind::Processors].into_iter().chain(ocpp) {
        match Tls::new(config.tls_policy(listener), Source::Files(config.tls_files(listener))) {
            Ok(tls) => expiries.extend(tls.in_use().into_iter().map(|used| (used.not_after, used.name))),
            // What the next start renews by itself is no reason to refuse it.
            Err(error) if own && error.is_of_time() => {
                let help = "the next start renews it; `wattstile cert renew` does now";
                if report.insert(error.to_string()) {
                    found.push(Finding::warning("certificates", error, help));
                }
            }
            Err(error) => {
                if report.insert(error.to_string()) {
                    let detail = format!("the listener for {listener}: {error}");
                    found.push(Finding::wrong("certificates", detail, "`wattstile cert check` tells more"));
                }
            }
        }
    }
    found.extend(expiries.iter().filter(|(at, _)| *at < now).map(|(at, name)| {
        // Of a revocation list that has run out every peer of its authority is shut out.
        if own && name.contains("revocation list") {
            Finding::warning("certificates", format!("{name} expired at {at}"), "the next start renews it")
        } else {
            let help = "`wattstile cert renew`, or a new file";
            Finding::wrong("certificates", format!("{name} expired at {at}"), help)
        }
    }));
    if let Some((at, name)) = expiries.iter().find(|(at, _)| *at >= now) {
        found.push(expiry(name, *at, now));
    }
    found
}

/// The certificate or list that runs out first.
fn expiry(name: &str, at: Timestamp, now: Timestamp) -> Finding {
    let days = at.since(now).ms().div_euclid(DAY_MS);
    // A list is made anew often; a certificate is not.
    let wanted = if name.contains("revocation list") { 1 } else { DAYS_WANTED };
    match days {
        days if days < wanted => {
            let detail = format!("{name} expires in {days} days");
            Finding::warning("certificates", detail, "`wattstile cert renew`, or a new file")
        }
        days => Finding::good("certificates", format!("the first one to expire, {name}, does in {days} days")),
    }
}

/// The tariffs that are assigned: each is there, and valid now.
pub(crate) fn assigned(config: &Config, tariffs: &Tariffs, now: Timestamp) -> Vec<Finding> {
    let folder = config.tariff_folder();
    let default = config.tariffs.default.iter().map(|id| ("tariffs.default".to_owned(), id));
    let named = config.assignments.iter().map(|each| (format!("the assignment for {}", each.chargers), &each.tariff));
    let assigned: Vec<(String, &TariffId)> = default.chain(named).collect();
    if assigned.is_empty() {
        let help = format!(
            "put a tariff into {} (OCPI, one JSON file each) and set `tariffs.default` to its id",
            folder.display()
        );
        return vec![Finding::wrong("tariffs", "no tariff is assigned to any charger: every driver is refused", help)];
    }
    let mut found = Vec::new();
    for (place, id) in &assigned {
        let Err(refusal) = tariffs.book().valid(id, now) else { continue };
        let known: Vec<&str> = tariffs.book().ids().map(TariffId::as_str).collect();
        let (detail, help) = match known.contains(&id.as_str()) {
            true => (format!("{place}: {refusal}"), "assign one that is valid now, or change its dates".to_owned()),
            false if known.is_empty() => (
                format!("{place} names {id}, and there is no tariff in {}", folder.display()),
                "put it there".to_owned(),
            ),
            false => (
                format!("{place} names {id}, which is in no file of {}", folder.display()),
                format!("known there: {}", known.join(", ")),
            ),
        };
        found.push(Finding::wrong("tariffs", detail, help));
    }
    if found.is_empty() {
        let ids: BTreeSet<&TariffId> = assigned.iter().map(|(_, id)| *id).collect();
        let several = if ids.len() == 1 { "tariff is assigned and valid" } else { "tariffs are assigned and valid" };
        found.push(Finding::good("tariffs", format!("{} {several} now", ids.len())));
    }
    found
}

/// What the linter warns of in the tariffs of the folder: a price that is probably not meant.
pub(crate) fn doubtful(findings: &[(String, tariff::Finding)]) -> Vec<Finding> {
    let warnings = findings.iter().filter(|(_, finding)| finding.severity != Severity::Note);
    let report = |(file, finding): &(String, tariff::Finding)| {
        let help = finding.help.as_deref().unwrap_or("`wattstile tariff lint` shows the place");
        Finding::warning("tariffs", format!("{file}: {finding}"), help)
    };
    warnings.map(report).collect()
}

/// Whether each kind of credential has a processor, or accounts.
pub(crate) fn routes(config: &Config, tariffs: &Tariffs, now: Timestamp) -> Vec<Finding> {
    let registry = Registry { rules: config.routing_rules(), ..Registry::default() };
    if registry.rules.is_empty() {
        return vec![Finding::good("processors", "every one with a certificate is asked for all that it takes")];
    }
    let ids: BTreeSet<&TariffId> =
        config.tariffs.default.iter().chain(config.assignments.iter().map(|each| &each.tariff)).collect();
    let policy = Arc::new(config.session_policy());
    let sites: Vec<Option<&SiteId>> = config.sites.iter().map(|site| Some(&site.id)).chain([None]).collect();
    let mut found = Vec::new();
    for id in ids {
        let Ok(tariff) = tariffs.book().valid(id, now) else { continue };
        let amount = first_hold(&tariff, &policy.of_tariff(&tariff));
        // Contracts and RFID cards are paid from accounts.
        for (credential, word) in
            [(CredentialKind::CardToken, "card-token"), (CredentialKind::WalletToken, "wallet-token")]
        {
            if config.credentials.not_taken.contains(&credential) {
                continue;
            }
            let applies = |site: &Option<&SiteId>| {
                registry.applies(Wanted { credential, amount, site: *site, except: &[], token: &[] })
            };
            if !sites.iter().any(applies) {
                let detail =
                    format!("no [[processor]] is asked for a {word} and a hold of {amount}, as tariff {id} wants");
                let help = format!("change its restrictions, or say so: `credentials.not_taken = [\"{word}\"]`");
                found.push(Finding::wrong("processors", detail, help));
            }
        }
    }
    if found.is_empty() {
        found.push(Finding::good("processors", "each kind of credential has one to ask, or an account"));
    }
    found
}

/// The data directory: ours, of this version, and not in use. What is in it is not read.
fn data(config: &Config, running: bool) -> Finding {
    let path = config.data_folder();
    let other = "name another `gate.data_dir`";
    if let Err(failure) = DataDir::check_owner(&path, &config.owner()) {
        return Finding::wrong("data", failure, other);
    }
    if running {
        return Finding::good("data", "a gate runs on it and answers");
    }
    let earlier = Path::new(".wattstile").join("data");
    if !path.exists() && config.gate.data_dir == Path::new(".wattstile/gate") && earlier.join("format.json").exists() {
        let detail = format!("{} has the data of an earlier release, which kept it there", earlier.display());
        let help = "set `gate.data_dir = \".wattstile\"` to go on with it, or move it away";
        return Finding::wrong("data", detail, help);
    }
    match DataDir::open(&path) {
        Ok(_) => Finding::good("data", path.display()),
        Err(Failure::Absent { .. }) if DataDir::is_fresh(&path).unwrap_or(false) => match can_make(&path) {
            Ok(()) => Finding::good("data", "none yet; the first start makes it"),
            Err((place, error)) => {
                let detail = format!("{} cannot be made: {}: {error}", path.display(), place.display());
                Finding::wrong("data", detail, other)
            }
        },
        Err(failure @ Failure::InUse { .. }) => {
            Finding::warning("data", failure, "a process that does not answer holds it")
        }
        Err(failure @ Failure::Older { .. }) => {
            Finding::wrong("data", failure, "the older data is kept as a backup beside it")
        }
        Err(failure) => {
            Finding::wrong("data", failure, "a newer program may have made it, or the wrong directory is named")
        }
    }
}

/// Whether a directory can be made: tried in the nearest one above it that exists, with one that is removed again.
fn can_make(path: &Path) -> Result<(), (PathBuf, std::io::Error)> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let existing = path.ancestors().find(|above| above.exists()).unwrap_or(Path::new("/"));
    let tried = existing.join(format!(".wattstile-check-{}", std::process::id()));
    let made = fs::create_dir(&tried).and_then(|()| fs::remove_dir(&tried));
    made.map_err(|error| (existing.to_owned(), error))
}

/// Whether the clock can be right: not before this program, and not before what was written here. Where chargers' clocks
/// are `compared` with it, a clock that was set back refuses every reading.
fn clock(data: &Path, now: Timestamp, compared: bool) -> Finding {
    let written = fs::metadata(data.join("mark")).and_then(|mark| mark.modified()).ok();
    let written = written.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let written = written.and_then(|at| i64::try_from(at.as_millis()).ok()).map(Timestamp::from_unix_ms);
    let help = "receipts and certificates depend on it; start a time service";
    match written {
        _ if now < EARLIEST => Finding::wrong("clock", format!("it says {now}, which cannot be"), help),
        Some(written) if written.since(now) > CLOCK_BEHIND_MAX => {
            let detail = format!("it says {now}, and the data was written until {written}: it was set back");
            if compared { Finding::wrong("clock", detail, help) } else { Finding::warning("clock", detail, help) }
        }
        _ => Finding::good("clock", now),
    }
}

/// Whether the listeners' addresses can be taken; a gate that runs has taken them.
fn ports(config: &Config, running: bool) -> Vec<Finding> {
    if running {
        return vec![Finding::good("ports", "the running gate has them")];
    }
    let addresses = [
        ("chargers.listen", Some(config.chargers.listen)),
        ("ocpp.listen", config.ocpp.listen),
        ("ocpp.insecure_listen", config.ocpp.insecure_listen),
        ("processors.listen", Some(config.processors.listen)),
        ("console.listen", Some(config.console.listen)),
        ("console.probes_listen", config.console.probes_listen),
    ];
    let addresses: Vec<_> = addresses.into_iter().filter_map(|(setting, address)| Some((setting, address?))).collect();
    let mut found = Vec::new();
    for (setting, address) in &addresses {
        if let Err(error) = TcpListener::bind(address) {
            let detail = format!("{setting} = \"{address}\": {}", cannot_listen(*address, &error));
            let help = match error.kind() {
                ErrorKind::AddrInUse => format!("stop the other process, or set `{setting}` to another address"),
                ErrorKind::AddrNotAvailable => format!("set `{setting}` to an address of this machine, or to 0.0.0.0"),
                ErrorKind::PermissionDenied => {
                    format!("set `{setting}` to a port from 1024 on, or let the gate take low ones")
                }
                _ => format!("set `{setting}` to another address"),
            };
            found.push(Finding::wrong("ports", detail, help));
        }
    }
    if found.is_empty() {
        let addresses: Vec<String> = addresses.iter().map(|(_, address)| address.to_string()).collect();
        found.push(Finding::good("ports", addresses.join(", ")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;
    use crate::host::SystemClock;
    use crate::journal::Layout;
    use crate::units::Clock;
    use std::time::{Duration, SystemTime};

    const TARIFF: &str = r#"{
        "country_code": "NL", "party_id": "WST", "id": "TEST", "currency": "EUR",
        "start_date_time": "2026-01-01T00:00:00Z", "end_date_time": "2027-01-01T00:00:00Z",
        "elements": [{ "price_components": [{ "type": "ENERGY", "price": 0.29, "vat": 21, "step_size": 1 }] }],
        "last_updated": "2026-01-01T00:00:00Z"
    }"#;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_780_000_000_000);

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Folder {
            let place = tempfile::tempdir().unwrap();
            fs::create_dir(place.path().join("tariffs")).unwrap();
            fs::write(place.path().join("tariffs/test.json"), TARIFF).unwrap();
            Folder(place)
        }

        fn config(&self, more: &str) -> Config {
            let listen = "[chargers]\nlisten = \"127.0.0.1:0\"\n[processors]\nlisten = \"127.0.0.1:0\"\n\
                          [console]\nlisten = \"127.0.0.1:0\"\n";
            let source = format!("{listen}[gate]\ndata_dir = \"{}\"\n{more}", self.0.path().display());
            Layers { source, ..Layers::default() }.load().unwrap().config
        }

        fn wrong(&self, more: &str) -> Vec<Finding> {
            let found = preflight(&self.config(more), NOW, false);
            found.into_iter().filter(|finding| finding.state == State::Wrong).collect()
        }
    }

    #[track_caller]
    fn assert_one(found: &[Finding], name: &str, words: &[&str]) {
        let [one] = found else { panic!("{found:?}") };
        assert_eq!(one.name, name, "{one:?}");
        let text = format!("{} {}", one.detail, one.help.as_deref().unwrap_or_default());
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }

    #[test]
    fn a_gate_that_would_refuse_its_first_driver_fails() {
        let place = Folder::new();
        let tariffs = "[tariffs]\ndefault = \"TEST\"\n";
        assert_eq!(place.wrong(tariffs), []);
        assert_one(&place.wrong(""), "tariffs", &["no tariff is assigned", "tariffs.default"]);
        assert_one(&place.wrong("[tariffs]\ndefault = \"NOPE\"\n"), "tariffs", &["NOPE", "known there: TEST"]);
        let assignment = format!("{tariffs}[[assignment]]\nchargers = \"A*\"\ntariff = \"OTHER\"\n");
        assert_one(&place.wrong(&assignment), "tariffs", &["the assignment for A*", "OTHER"]);
        let later = preflight(&place.config(tariffs), NOW.saturating_add(TimeSpan::from_secs(400 * 86_400)), false);
        assert!(later.iter().any(|found| found.name == "tariffs" && found.state == State::Wrong), "{later:?}");

        let cards = format!("{tariffs}[[processor]]\nid = \"acme\"\ncredentials = [\"card-token\"]\n");
        assert_one(&place.wrong(&cards), "processors", &["wallet-token", "credentials.not_taken"]);
        let on_purpose = format!("{cards}[credentials]\nnot_taken = [\"wallet-token\"]\n");
        assert_eq!(place.wrong(&on_purpose), []);
        let dollars = format!("{tariffs}[[processor]]\nid = \"acme\"\ncurrencies = [\"USD\"]\n");
        let found = place.wrong(&dollars);
        assert!(found.len() == 2 && found.iter().all(|found| found.name == "processors"), "{found:?}");
    }

    #[test]
    fn every_fault_is_reported_at_once() {
        let place = Folder::new();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = place.config("[tariffs]\ndefault = \"NOPE\"\n");
        config.processors.listen = taken.local_addr().unwrap();
        fs::write(config.keys_file(), "1 00").unwrap();
        let found = preflight(&config, Timestamp::from_unix_ms(0), false);
        let wrong: Vec<&str> =
            found.iter().filter(|found| found.state == State::Wrong).map(|found| found.name).collect();
        assert_eq!(wrong, ["secrets", "tariffs", "clock", "ports"], "{found:?}");
        let ports = found.iter().find(|found| found.name == "ports").unwrap();
        assert!(
            ports.detail.contains("processors.listen") && ports.detail.contains(&config.processors.listen.to_string())
        );
        let running = preflight(&config, NOW, true);
        assert!(running.iter().all(|found| found.name != "ports" || found.state == State::Good));
    }

    #[test]
    fn restored_data_without_the_key_of_their_credentials_are_told() {
        let place = Folder::new();
        let config = place.config("[tariffs]\ndefault = \"TEST\"\n");
        let mut data = DataDir::create(&config.data_folder(), Layout::new(4)).unwrap();
        assert!(place.wrong("[tariffs]\ndefault = \"TEST\"\n").is_empty(), "no gate has used them yet");
        let mode = crate::journal::OwnerMode::Development;
        data.claim(&crate::journal::Owner { mode, trust_domain: config.tls.trust_domain.clone() }).unwrap();
        drop(data);
        let found = place.wrong("[tariffs]\ndefault = \"TEST\"\n");
        assert_one(&found, "secrets", &["fingerprint.key", "Put the file back", "keys init --fingerprint"]);
        let refused = configured::settings(&config, Arc::new(SystemClock::new())).err();
        assert!(matches!(refused, Some(configured::SetupError::NoFingerprintKey(_))), "{refused:?}");
        configured::make_fingerprint_key(&config.gate.data_dir.join(configured::FINGERPRINT_KEY)).unwrap();
        assert!(place.wrong("[tariffs]\ndefault = \"TEST\"\n").is_empty());
    }

    #[test]
    fn warnings_of_tariffs_are_warnings_of_the_check() {
        let place = Folder::new();
        let tariffs = "[tariffs]\ndefault = \"TEST\"\n";
        let report = |text: &str| {
            fs::write(place.0.path().join("tariffs/test.json"), text).unwrap();
            let found = preflight(&place.config(tariffs), NOW, false);
            assert!(found.iter().all(|found| found.state != State::Wrong), "{found:?}");
            let of_tariffs = found.into_iter().filter(|found| found.name == "tariffs" && found.state == State::Warning);
            of_tariffs.map(|found| found.detail).collect::<Vec<_>>()
        };
        assert_eq!(report(TARIFF), [] as [&str; 0]);
        let dear = report(&TARIFF.replace("0.29", "39.00").replace("\"vat\": 21", "\"vat\": 0.21"));
        assert_eq!(dear.len(), 2, "{dear:?}");
        assert!(dear.iter().all(|detail| detail.contains("test.json: line 4")), "{dear:?}");
        assert!(dear.iter().any(|detail| detail.contains("EUR 39.00 per kWh") || detail.contains("EUR 39 per kWh")));
        assert!(dear.iter().any(|detail| detail.contains("0.21 %")), "{dear:?}");
        let free = report(&TARIFF.replace("ENERGY", "FLAT"));
        assert!(free.iter().any(|detail| detail.contains("energy costs nothing")), "{free:?}");
    }

    #[test]
    fn a_data_directory_that_cannot_be_made_is_named() {
        let place = Folder::new();
        let mut config = place.config("[tariffs]\ndefault = \"TEST\"\n");
        assert_eq!(data(&config, false).state, State::Good);
        let file = place.0.path().join("file");
        fs::write(&file, "").unwrap();
        for folder in [file.join("below"), "/proc/x".into()] {
            config.gate.data_dir = folder.clone();
            let found = data(&config, false);
            assert!(found.state == State::Wrong && found.detail.contains(&*folder.to_string_lossy()), "{found:?}");
        }
        assert!(!place.0.path().join("data").exists(), "nothing is left behind");
    }

    #[test]
    fn a_bundle_of_authorities_with_another_certificate_is_refused() {
        let place = Folder::new();
        let mut config = place.config("[tariffs]\ndefault = \"TEST\"\n");
        let now = SystemClock::new().now().wall;
        let (folder, names) = (config.pki_folder(), ["localhost".to_owned()]);
        drop(PkiFolder::open_or_create(&folder, &config.tls.trust_domain, &names, now).unwrap());
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        let leaf = read("server.pem").split_inclusive("-----END CERTIFICATE-----\n").next().unwrap().to_owned();
        let bundle = place.0.path().join("bundle.pem");
        config.tls.chargers_ca_file = Some(bundle.clone());
        for (text, number) in [(leaf.clone() + &read("chargers.pem"), 1), (read("chargers.pem") + &leaf, 2)] {
            fs::write(&bundle, text).unwrap();
            let found = certificates(&config, now);
            let report = found.iter().find(|found| found.state == State::Wrong).expect("it is refused");
            assert!(report.detail.contains(&format!("certificate {number}")), "{report:?}");
        }
        fs::write(&bundle, read("chargers.pem")).unwrap();
        assert!(certificates(&config, now).iter().all(|found| found.state != State::Wrong));
    }

    #[test]
    fn data_of_a_demonstration_is_not_used_by_a_gate() {
        let place = Folder::new();
        let config = place.config("[tariffs]\ndefault = \"TEST\"\n");
        let mut data = DataDir::create(&config.data_folder(), Layout::new(4)).unwrap();
        let demo = crate::journal::OwnerMode::Demo;
        data.claim(&crate::journal::Owner { mode: demo, trust_domain: "demo.wattstile".to_owned() }).unwrap();
        drop(data);
        let key = config.gate.data_dir.join(configured::FINGERPRINT_KEY);
        configured::make_fingerprint_key(&key).unwrap();
        let found = place.wrong("[tariffs]\ndefault = \"TEST\"\n");
        assert_one(&found, "data", &["demo mode", "development mode", "gate.data_dir"]);
    }

    #[test]
    fn certificates_that_begin_later_or_are_of_another_domain_are_named() {
        let place = Folder::new();
        let mut config = place.config("[tariffs]\ndefault = \"TEST\"\n");
        let now = SystemClock::new().now().wall;
        let names = ["localhost".to_owned()];
        let later = now.saturating_add(TimeSpan::from_secs(10 * 86_400));
        drop(PkiFolder::open_or_create(&config.pki_folder(), "elsewhere.example", &names, later).unwrap());
        config.tls.certificate_file = Some(config.pki_folder().join("server.pem"));
        let found = certificates(&config, now);
        assert!(found.iter().any(|found| found.detail.contains("not valid before")), "{found:?}");
        config.tls.certificate_file = None;
        let found = certificates(&config, now);
        assert!(found.iter().any(|found| found.detail.contains("elsewhere.example")), "{found:?}");
    }

    #[test]
    fn expiry_is_reported_before_it_comes() {
        let at = |days: i64| NOW.saturating_add(TimeSpan::from_ms(days * DAY_MS));
        let state = |name, days| expiry(name, at(days), NOW).state;
        assert_eq!(state("the certificate of gate", 90), State::Good);
        assert_eq!(state("the certificate of gate", 6), State::Warning);
        assert_eq!(state("the revocation list of CA", 6), State::Good, "lists live for days");
        assert_eq!(state("the revocation list of CA", 0), State::Warning);
    }

    #[test]
    fn a_clock_that_was_set_back_is_noticed() {
        let place = tempfile::tempdir().unwrap();
        let now = SystemClock::new().now().wall;
        assert_eq!(clock(place.path(), now, true).state, State::Good);
        let mark = fs::File::create(place.path().join("mark")).unwrap();
        mark.set_modified(SystemTime::now() + Duration::from_secs(3_600)).unwrap();
        assert_eq!(clock(place.path(), now, true).state, State::Wrong);
        assert_eq!(clock(place.path(), now, false).state, State::Warning, "chargers are believed whatever it says");
    }
}
