//! Configuration: TOML with a default for everything, checked as a whole, all problems reported at once with their
//! lines.
//!
//! Layers, each over the one before: built-in values, the file, environment variables (`WATTSTILE_CHARGERS__LISTEN`
//! for `chargers.listen`), `--set chargers.listen=…`. Secrets are never values, only names of files. Values of all
//! layers are checked alike; files that they name (certificates, tariffs) are checked by [`Config::missing_files`]
//! and when they are opened.

mod check;
mod money;
mod problem;
pub mod reporting_url;
mod section;
mod sections;
mod setting;
mod tree;

pub use money::{Amounts, OldSpelling};
pub use problem::{ConfigError, Problem};
pub use section::{Field, Section};
pub use sections::{
    Assignment, Chargers, Console, Credentials, Gate, Journal, Log, Ocpp, Operator, Payment, Processor, Processors,
    Receipts, Reporting, Site, Tariffs, Tls, Webhooks,
};
pub use setting::{Limit, LogFormat, MinTls, Mode, Pattern, SeriesScope, Setting, ZoneName};
pub use tree::Origin;

use crate::billing::reconciliation::table::{Encoding, read_text};
use crate::journal::{Owner, OwnerMode};
use crate::limits;
use crate::payment::routing::Rule;
use crate::session;
use crate::transport::identity::ListenerKind;
use crate::transport::tls;
use crate::units::{ChargerId, TariffId};
use crate::wire::MaySpeakFor;
use section::{Reader, unknown};
use std::path::PathBuf;
use std::sync::Arc;
use tree::{Table, Value};

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `[gate]`
    pub gate: Gate,
    /// `[chargers]`
    pub chargers: Chargers,
    /// `[ocpp]`
    pub ocpp: Ocpp,
    /// `[processors]`
    pub processors: Processors,
    /// `[[processor]]`
    pub registry: Vec<Processor>,
    /// `[tls]`
    pub tls: Tls,
    /// `[console]`
    pub console: Console,
    /// `[webhooks]`
    pub webhooks: Webhooks,
    /// `[reporting]`
    pub reporting: Reporting,
    /// `[tariffs]`
    pub tariffs: Tariffs,
    /// `[[assignment]]`
    pub assignments: Vec<Assignment>,
    /// `[[site]]`
    pub sites: Vec<Site>,
    /// `[payment]`
    pub payment: Payment,
    /// `[credentials]`
    pub credentials: Credentials,
    /// `[operator]`
    pub operator: Operator,
    /// `[journal]`
    pub journal: Journal,
    /// `[receipts]`
    pub receipts: Receipts,
    /// `[log]`
    pub log: Log,
}

/// Sources of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The file.
    pub path: Option<PathBuf>,
    /// Its text.
    pub source: String,
    /// Names and values of environment variables; those of other programs are ignored.
    pub environment: Vec<(String, String)>,
    /// `section.key=value` from the command line.
    pub flags: Vec<String>,
}

/// A configuration with the origin of each value.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    old: Vec<OldSpelling>,
    root: Table,
    layers: Layers,
}

const SECTIONS: [&str; 18] = [
    Gate::KEY,
    Chargers::KEY,
    Ocpp::KEY,
    Processors::KEY,
    Processor::KEY,
    Tls::KEY,
    Console::KEY,
    Webhooks::KEY,
    Reporting::KEY,
    Tariffs::KEY,
    Assignment::KEY,
    Site::KEY,
    Payment::KEY,
    Credentials::KEY,
    Operator::KEY,
    Journal::KEY,
    Receipts::KEY,
    Log::KEY,
];

const PREFIX: &str = "WATTSTILE_";

/// Variables that are no settings: those of the command line, and those of the project's own tests and checks.
const OTHER_VARIABLES: [&str; 9] =
    ["CONFIG", "PKI", "RECEIPT_KEY", "DATA", "GATE", "GATE_NAME", "COMMIT", "PYTHON", "TEST_TOOLS"];

impl Default for Config {
    fn default() -> Config {
        Config::read(&Table::new(), &mut Vec::new())
    }
}

impl Layers {
    /// Sources of this process: a file, environment variables, and flags.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn of_process(path: Option<PathBuf>, flags: Vec<String>) -> std::io::Result<Layers> {
        let read = |path: &PathBuf| {
            let file = std::fs::File::open(path)?;
            read_text(file, Encoding::Utf8, limits::CONFIG_BYTES_MAX)
                .map_err(|fault| std::io::Error::new(std::io::ErrorKind::InvalidData, fault))
        };
        let source = path.as_ref().map(read).transpose()?.unwrap_or_default();
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Ok(Layers { path, source, environment, flags })
    }

    /// Reads all layers and checks the whole.
    ///
    /// # Errors
    /// [`ConfigError`] with all problems.
    pub fn load(self) -> Result<Loaded, ConfigError> {
        let mut problems = Vec::new();
        if let Some(at) = check::too_deep(&self.source) {
            let label = format!("more than {} brackets are open here", limits::CONFIG_NESTING);
            let title = "this is not TOML".to_owned();
            problems.push(Problem { origin: Origin::File(at..at + 1), title, label, help: None });
            return Err(ConfigError { path: self.path, source: self.source, problems });
        }
        let (file, errors) = toml::de::DeTable::parse_recoverable(&self.source);
        for error in errors {
            let end = self.source.len();
            let span = error.span().map_or(end..end, |span| span.start.min(end)..span.end.min(end));
            let (title, label) = ("this is not TOML".to_owned(), error.message().to_owned());
            problems.push(Problem { origin: Origin::File(span), title, label, help: None });
        }
        let mut root = tree::of_file(file.get_ref());
        let mut environment: Vec<_> = self.environment.iter().filter(|(name, _)| name.contains("__")).collect();
        environment.sort();
        for (name, value) in environment {
            let Some(path) = name.strip_prefix(PREFIX) else { continue };
            let path = path.to_lowercase();
            let path: Vec<&str> = path.split("__").collect();
            tree::set(&mut root, &path, value, &Origin::Environment(name.clone()));
        }
        for flag in &self.flags {
            let origin = Origin::Flag(flag.clone());
            match flag.split_once('=') {
                Some((path, value)) if path.contains('.') => {
                    tree::set(&mut root, &path.split('.').collect::<Vec<_>>(), value, &origin);
                }
                _ => {
                    let label = "wanted section.key=value".to_owned();
                    problems.push(Problem { origin, title: "not a setting".to_owned(), label, help: None });
                }
            }
        }
        let old = money::modernize(&mut root, &mut problems);
        let config = Config::read(&root, &mut problems);
        if problems.is_empty() {
            config.check(&root, &mut problems);
        }
        if problems.is_empty() {
            Ok(Loaded { config, old, root, layers: self })
        } else {
            Err(ConfigError { path: self.path, source: self.source, problems })
        }
    }
}

impl Loaded {
    /// Where a setting came from: a file and line, a variable, a flag, or the built-in value.
    pub fn origin(&self, section: &str, key: &str) -> String {
        self.origin_text(place(&self.root, section, key))
    }

    /// Settings in a spelling of earlier versions: where each stands, how it was read, and what to write instead. And
    /// variables of the environment that look like settings and are none.
    pub fn warnings(&self) -> Vec<String> {
        let line = |old: &OldSpelling| format!("{}: {}", self.origin_text(old.origin.clone()), old.what);
        let names = self.layers.environment.iter().map(|(name, _)| name.as_str());
        self.old.iter().map(line).chain(check::unknown_variables(names)).collect()
    }

    fn origin_text(&self, origin: Origin) -> String {
        match origin {
            Origin::Default => "built in".to_owned(),
            Origin::Environment(name) => name,
            Origin::Flag(text) => format!("--set {text}"),
            Origin::File(span) => {
                let line = self.layers.source.get(..span.start).map_or(1, |before| before.matches('\n').count() + 1);
                let path = self.layers.path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
                format!("{path}:{line}")
            }
        }
    }

    /// Problems with what the configuration names: files that are not there.
    ///
    /// # Errors
    /// [`ConfigError`] with all missing files.
    pub fn check_files(&self) -> Result<(), ConfigError> {
        let missing = |(section, key, path): (&str, &str, PathBuf)| Problem {
            origin: place(&self.root, section, key),
            title: format!("`{section}.{key}` names a file that is not there"),
            label: format!("{} does not exist", path.display()),
            help: None,
        };
        let problems: Vec<Problem> = self.config.missing_files().into_iter().map(missing).collect();
        let Layers { path, source, .. } = self.layers.clone();
        if problems.is_empty() { Ok(()) } else { Err(ConfigError { path, source, problems }) }
    }
}

/// Position of a setting in the tree.
fn place(root: &Table, section: &str, key: &str) -> Origin {
    match root.get(section).map(|entry| &entry.value) {
        Some(Value::Table(table)) => table.get(key).map_or(Origin::Default, |entry| entry.place.clone()),
        _ => Origin::Default,
    }
}

impl Config {
    fn read(root: &Table, problems: &mut Vec<Problem>) -> Config {
        for (name, entry) in root {
            if !SECTIONS.contains(&name.as_str()) {
                problems.push(unknown(name, &entry.key, "the configuration", SECTIONS.into_iter()));
            }
        }
        let registry = Reader::sections::<Processor>(root, problems);
        let assignments = Reader::sections::<Assignment>(root, problems);
        let sites = Reader::sections::<Site>(root, problems);
        check::processors(&registry, problems);
        check::assignments(&assignments, problems);
        check::sites(&sites, problems);
        Config {
            gate: Reader::section(root, problems),
            chargers: Reader::section(root, problems),
            ocpp: Reader::section(root, problems),
            processors: Reader::section(root, problems),
            tls: Reader::section(root, problems),
            console: Reader::section(root, problems),
            webhooks: Reader::section(root, problems),
            reporting: Reader::section(root, problems),
            tariffs: Reader::section(root, problems),
            assignments: assignments.into_iter().map(|(assignment, _)| assignment).collect(),
            payment: Reader::section(root, problems),
            credentials: Reader::section(root, problems),
            operator: Reader::section(root, problems),
            journal: Reader::section(root, problems),
            receipts: Reader::section(root, problems),
            log: Reader::section(root, problems),
            registry: registry.into_iter().map(|(processor, _)| processor).collect(),
            sites: sites.into_iter().map(|(site, _)| site).collect(),
        }
    }

    /// The directory of the facts, below that of everything durable.
    pub fn data_folder(&self) -> PathBuf {
        self.gate.data_dir.join("data")
    }

    /// The owner of the data directory of a gate with this configuration.
    pub fn owner(&self) -> Owner {
        let mode = match self.gate.mode {
            Mode::Development => OwnerMode::Development,
            Mode::Production => OwnerMode::Production,
        };
        Owner { mode, trust_domain: self.tls.trust_domain.clone() }
    }

    /// The folder of the PKI.
    pub fn pki_folder(&self) -> PathBuf {
        self.tls.folder.clone().unwrap_or_else(|| self.gate.data_dir.join("pki"))
    }

    /// The file of the keys under which tokens are kept.
    pub fn keys_file(&self) -> PathBuf {
        self.credentials.keys_file.clone().unwrap_or_else(|| self.gate.data_dir.join("credential.keys"))
    }

    /// The folder of the tariffs.
    pub fn tariff_folder(&self) -> PathBuf {
        self.tariffs.folder.clone().unwrap_or_else(|| self.gate.data_dir.join("tariffs"))
    }

    /// The files of a listener's TLS.
    pub fn tls_files(&self, listener: ListenerKind) -> tls::Files {
        let folder = self.pki_folder();
        let or = |named: &Option<PathBuf>, name: &str| named.clone().unwrap_or_else(|| folder.join(name));
        let authorities = match listener {
            ListenerKind::Chargers | ListenerKind::Ocpp => or(&self.tls.chargers_ca_file, "chargers.pem"),
            ListenerKind::Processors => or(&self.tls.processors_ca_file, "processors.pem"),
        };
        let crls =
            if self.tls.crl_files.is_empty() { vec![folder.join("crl.pem")] } else { self.tls.crl_files.clone() };
        let (certificate, key) = (or(&self.tls.certificate_file, "server.pem"), or(&self.tls.key_file, "server.key"));
        tls::Files { certificate, key, authorities, crls }
    }

    /// The rules of a listener's TLS.
    pub fn tls_policy(&self, listener: ListenerKind) -> tls::Policy {
        tls::Policy {
            trust_domain: self.tls.trust_domain.clone(),
            listener,
            tls12: self.tls.min_version == MinTls::V12,
            production: self.gate.mode == Mode::Production,
            anonymous: listener == ListenerKind::Ocpp && self.ocpp.passwords_file.is_some(),
        }
    }

    /// The rules for sessions and their money.
    pub fn session_policy(&self) -> session::Policy {
        let money = &self.payment;
        let built_in = session::Policy::default();
        let amounts = [&money.total_max, &money.partial_min, &money.floor_limit, &money.stand_in_exposure];
        let policy = session::Policy {
            clock_ahead_max: self.chargers.clock_ahead_max.0,
            backlog_max: self.chargers.backlog_max.0,
            silence: self.chargers.silence,
            late_readings: self.chargers.late_readings,
            no_start: self.chargers.no_start,
            reconnect: self.chargers.reconnect,
            stop_latency: money.stop_latency,
            increment_horizon: money.increment_horizon,
            closing: money.closing,
            stand_in: money.stand_in,
            one_session: money.one_session,
            bills_refused: self.ocpp.bill_refused_energy,
            release_early: money.release_early,
            payment: crate::payment::Policy {
                answer_authorize: money.answer_authorize,
                answer_increment: money.answer_increment,
                answer_capture: money.answer_capture,
                answer_void: money.answer_void,
                answer_refund: money.answer_refund,
                increments_max: money.increments_max,
                double_hold: money.double_hold,
                ..built_in.payment.clone()
            },
            ..built_in
        };
        policy.with_amounts(money::stated(&money.first_hold, amounts))
    }

    /// The sites with their chargers.
    pub fn may_speak_for(&self) -> MaySpeakFor {
        let sites = self.sites.clone();
        Arc::new(move |site, charger| {
            sites
                .iter()
                .any(|known| known.id == *site && known.chargers.iter().any(|pattern| pattern.fits(charger.as_str())))
        })
    }

    /// The tariff that is assigned to a charger.
    pub fn tariff_of(&self, charger: &ChargerId) -> Option<&TariffId> {
        let fitting = self.assignments.iter().filter(|assignment| assignment.chargers.fits(charger.as_str()));
        let closest = fitting.max_by_key(|assignment| assignment.chargers.specificity());
        closest.map(|assignment| &assignment.tariff).or(self.tariffs.default.as_ref())
    }

    /// The rules by which processors are chosen.
    pub fn routing_rules(&self) -> Vec<Rule> {
        let rule = |entry: &Processor| Rule {
            processor: entry.id.clone(),
            priority: u16::from(entry.priority),
            weight: entry.weight,
            credentials: entry.credentials.clone(),
            currencies: entry.currencies.clone(),
            sites: entry.sites.clone(),
            least: entry.least.iter().flat_map(Amounts::iter).collect(),
            greatest: entry.greatest.iter().flat_map(Amounts::iter).collect(),
        };
        self.registry.iter().map(rule).collect()
    }

    /// The site that names a charger most specifically.
    pub fn site_of(&self, charger: &ChargerId) -> Option<&Site> {
        let fitting = self.sites.iter().filter_map(|site| {
            let patterns = site.chargers.iter().filter(|pattern| pattern.fits(charger.as_str()));
            Some((patterns.map(Pattern::specificity).max()?, site))
        });
        fitting.max_by_key(|(specificity, _)| *specificity).map(|(_, site)| site)
    }

    /// The time zone of a charger: of the site that names it most specifically, or the common one.
    pub fn zone_of(&self, charger: &ChargerId) -> &ZoneName {
        let fitting = self.sites.iter().filter_map(|site| {
            let closest = site
                .chargers
                .iter()
                .filter(|pattern| pattern.fits(charger.as_str()))
                .max_by_key(|p| p.specificity())?;
            Some((closest.specificity(), site.time_zone.as_ref()?))
        });
        fitting.max_by_key(|(specificity, _)| *specificity).map_or(&self.tariffs.time_zone, |(_, zone)| zone)
    }

    /// Every setting as TOML.
    pub fn write(&self) -> Vec<Written> {
        fn one<S: Section>(section: &S) -> Written {
            Written { key: S::KEY, is_list: false, settings: section.write() }
        }
        fn each<S: Section>(sections: &[S]) -> impl Iterator<Item = Written> {
            sections.iter().map(|section| Written { is_list: true, ..one(section) })
        }
        let mut all = vec![one(&self.gate), one(&self.chargers), one(&self.ocpp), one(&self.processors)];
        all.extend(each(&self.registry));
        all.extend([one(&self.tls), one(&self.console), one(&self.webhooks)]);
        all.extend([one(&self.reporting), one(&self.tariffs)]);
        all.extend(each(&self.assignments));
        all.extend(each(&self.sites));
        all.extend([one(&self.payment), one(&self.credentials), one(&self.operator), one(&self.journal)]);
        all.extend([one(&self.receipts), one(&self.log)]);
        all
    }
}

/// A section as TOML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its key.
    pub key: &'static str,
    /// Whether there can be several of it.
    pub is_list: bool,
    /// Its keys and values; no value for what is not set.
    pub settings: Vec<(&'static str, Option<String>)>,
}

/// A file with every setting, its meaning and its built-in value, all commented out.
pub fn commented_file() -> String {
    fn section<S: Section>(text: &mut String, list: bool) {
        text.push('\n');
        for line in S::ABOUT {
            text.push_str(&format!("#{line}\n"));
        }
        text.push_str(&if list { format!("#[[{}]]\n", S::KEY) } else { format!("[{}]\n", S::KEY) });
        for (field, (_, built_in)) in S::FIELDS.iter().zip(S::built_in().write()) {
            for line in field.doc {
                text.push_str(&format!("#{line}\n"));
            }
            match built_in {
                None => text.push_str(&format!("#{} = \"...\"  # not set\n", field.name)),
                Some(value) => text.push_str(&format!("#{} = {value}\n", field.name)),
            }
        }
    }
    let mut text = String::from(
        "# wattstile. Everything is commented out and shows what is built in.\n\
         # Environment variables (WATTSTILE_CHARGERS__LISTEN) and --set chargers.listen=... override this file.\n",
    );
    section::<Gate>(&mut text, false);
    section::<Chargers>(&mut text, false);
    section::<Ocpp>(&mut text, false);
    section::<Processors>(&mut text, false);
    section::<Processor>(&mut text, true);
    section::<Tls>(&mut text, false);
    section::<Console>(&mut text, false);
    section::<Tariffs>(&mut text, false);
    section::<Assignment>(&mut text, true);
    section::<Site>(&mut text, true);
    section::<Payment>(&mut text, false);
    section::<Credentials>(&mut text, false);
    section::<Operator>(&mut text, false);
    section::<Journal>(&mut text, false);
    section::<Receipts>(&mut text, false);
    section::<Log>(&mut text, false);
    text
}

#[cfg(test)]
mod tests;
