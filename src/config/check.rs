//! Checks of a configuration that involve several settings, files, or the names of variables.

use super::{Config, Mode, OTHER_VARIABLES, Operator, PREFIX, Problem, Table, place};
use crate::limits;
use crate::node::numbering::SeriesNames;
use crate::units::{TimeSpan, did_you_mean, visible};
use std::path::{Path, PathBuf};

impl Config {
    /// Checks that involve several settings.
    pub(super) fn check(&self, root: &Table, problems: &mut Vec<Problem>) {
        let mut wrong = |section: &str, key: &str, title: &str, label: String, help: &str| {
            let help = (!help.is_empty()).then(|| help.to_owned());
            problems.push(Problem { origin: place(root, section, key), title: title.to_owned(), label, help });
        };
        if self.gate.partitions == 0 {
            wrong("gate", "partitions", "there must be a partition", "wanted at least 1".to_owned(), "");
        }
        if self.gate.shards > self.gate.partitions {
            let label = format!("{} shards for {} partitions", self.gate.shards, self.gate.partitions);
            wrong("gate", "shards", "a shard without a partition has nothing to do", label, "");
        }
        for (section, key, connections) in [
            ("chargers", "connections_max", self.chargers.connections_max),
            ("chargers", "connections_each_max", self.chargers.connections_each_max),
            ("processors", "connections_max", self.processors.connections_max),
            ("processors", "connections_each_max", self.processors.connections_each_max),
        ] {
            if connections == 0 {
                wrong(section, key, "no peer could connect", "wanted at least 1".to_owned(), "");
            }
        }
        if !self.console.listen.ip().is_loopback() {
            let label = "an address that others can reach".to_owned();
            let help = "listen on 127.0.0.1; for probes and scrapers elsewhere set `console.probes_listen`";
            wrong("console", "listen", "the console is for this machine only", label, help);
        }
        let listeners = [
            ("chargers", "listen", Some(self.chargers.listen)),
            ("processors", "listen", Some(self.processors.listen)),
            ("console", "listen", Some(self.console.listen)),
            ("console", "probes_listen", self.console.probes_listen),
        ];
        for (index, (section, key, address)) in listeners.iter().enumerate() {
            let same =
                |other: &Option<std::net::SocketAddr>| other.is_some_and(|other| other.port() != 0) && other == address;
            if let Some((other, of, _)) = listeners[..index].iter().find(|(_, _, other)| same(other)) {
                let label = format!("`{other}.{of}` has the same address");
                wrong(section, key, "two listeners at one address", label, "");
            }
        }
        if self.journal.log_mib_max == 0 {
            wrong("journal", "log_mib_max", "a log needs room", "wanted at least 1".to_owned(), "");
        }
        if self.journal.snapshot_every <= TimeSpan::ZERO {
            wrong("journal", "snapshot_every", "no time between snapshots", "wanted more than 0".to_owned(), "");
        }
        for currency in self.payment.first_hold.iter().map(|amount| amount.currency) {
            let (first, most) = (self.payment.first_hold.minor(currency), self.payment.total_max.minor(currency));
            if first == Some(0) {
                let label = format!("0 {currency} pay for no energy");
                wrong("payment", "first_hold", "a first hold of nothing", label, "");
            }
            if most.is_some_and(|most| first.is_some_and(|first| most < first)) {
                let label = format!("less than `payment.first_hold` in {currency}");
                wrong("payment", "total_max", "a first hold that may not be reserved", label, "");
            }
        }
        for currency in self.payment.partial_min.iter().map(|amount| amount.currency) {
            let (least, most) = (self.payment.partial_min.minor(currency), self.payment.total_max.minor(currency));
            if least.zip(most).is_some_and(|(least, most)| least > most) {
                let label = format!("more than `payment.total_max` in {currency}");
                wrong("payment", "partial_min", "every partial approval would be released", label, "");
            }
        }
        for (section, key, time, title) in [
            ("chargers", "silence", self.chargers.silence, "every charger would be silent for too long"),
            ("chargers", "no_start", self.chargers.no_start, "no session would begin in time"),
            ("payment", "increment_horizon", self.payment.increment_horizon, "an increment would last for no time"),
            ("payment", "stop_latency", self.payment.stop_latency, "no charger stops in no time"),
            ("payment", "answer_authorize", self.payment.answer_authorize, "no processor answers in no time"),
            ("payment", "answer_increment", self.payment.answer_increment, "no processor answers in no time"),
            ("payment", "answer_capture", self.payment.answer_capture, "no processor answers in no time"),
            ("payment", "answer_void", self.payment.answer_void, "no processor answers in no time"),
            ("payment", "answer_refund", self.payment.answer_refund, "no processor answers in no time"),
        ] {
            if time <= TimeSpan::ZERO {
                wrong(section, key, title, "wanted more than 0".to_owned(), "");
            }
        }
        if crate::message::PeerIdentity::parse(&format!("spiffe://{}/gate/x", self.tls.trust_domain)).is_err() {
            let label = "wanted a-z, 0-9, dots, dashes and underscores".to_owned();
            wrong("tls", "trust_domain", "not a trust domain", label, "");
        }
        if !is_log_filter(&self.log.level) {
            let words = ["error", "warn", "info", "debug", "trace", "off"];
            let label = match did_you_mean(&self.log.level, words) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "wanted a level, or a list such as `info,wattstile::wire=debug`".to_owned(),
            };
            wrong("log", "level", "not a level", label, "");
        }
        for site in &self.sites {
            let capitals = site.country.bytes().all(|letter| letter.is_ascii_uppercase());
            let is_country = site.country.is_empty() || (capitals && site.country.len() == 3);
            if !is_country {
                wrong(
                    "site",
                    "country",
                    "not a country",
                    "wanted three capital letters, such as NLD or DEU".to_owned(),
                    "",
                );
            }
        }
        let prefixes = [&self.operator.invoice_prefix, &self.operator.credit_note_prefix];
        for (key, prefix) in ["invoice_prefix", "credit_note_prefix"].into_iter().zip(prefixes) {
            let fits = (1..=SeriesNames::MAX_LEN).contains(&prefix.len());
            if !fits || !prefix.chars().all(|letter| letter.is_ascii_alphanumeric()) {
                wrong("operator", key, "no series can be called so", "wanted 1 to 8 letters and digits".to_owned(), "");
            }
        }
        if prefixes[0] == prefixes[1] {
            let label = "the same as that of invoices".to_owned();
            wrong("operator", "credit_note_prefix", "credit notes have a series of their own", label, "");
        }
        if self.gate.mode == Mode::Production {
            if self.credentials.keys_file.is_none() {
                let label = "the keys would lie beside the data that they lock".to_owned();
                let help = "set `credentials.keys_file`; `wattstile keys init --file FILE` makes one";
                wrong("credentials", "keys_file", "production keeps its keys elsewhere", label, help);
            }
            if self.operator.name == Operator::default().name {
                let label = "receipts would name the built-in example".to_owned();
                let help = "set `operator.name`, `operator.address` and `operator.vat_id`";
                wrong("operator", "name", "production needs an operator", label, help);
            }
            if self.tls.crl_files.is_empty() && self.tls.folder.is_none() {
                let label = "without a list nothing can be revoked".to_owned();
                let help = "set `tls.crl_files`, or `tls.folder`";
                wrong("tls", "crl_files", "production needs revocation lists", label, help);
            }
        }
    }

    /// Files that are named and not there: section, key, path. In development a PKI may still be made.
    pub fn missing_files(&self) -> Vec<(&'static str, &'static str, PathBuf)> {
        let tls = &self.tls;
        let mut named: Vec<(&str, &str, Option<&Path>)> = vec![
            ("tls", "certificate_file", tls.certificate_file.as_deref()),
            ("tls", "key_file", tls.key_file.as_deref()),
            ("tls", "chargers_ca_file", tls.chargers_ca_file.as_deref()),
            ("tls", "processors_ca_file", tls.processors_ca_file.as_deref()),
            ("console", "token_file", self.console.token_file.as_deref()),
            ("tariffs", "folder", self.tariffs.folder.as_deref()),
        ];
        if self.gate.mode == Mode::Production {
            named.push(("credentials", "keys_file", self.credentials.keys_file.as_deref()));
        }
        named.extend(tls.crl_files.iter().map(|path| ("tls", "crl_files", Some(path.as_path()))));
        named.extend(self.registry.iter().map(|entry| ("processor", "mac_key_file", entry.mac_key_file.as_deref())));
        let missing = named.into_iter().filter_map(|(section, key, path)| Some((section, key, path?)));
        missing.filter(|(_, _, path)| !path.exists()).map(|(section, key, path)| (section, key, path.into())).collect()
    }
}

/// A line for each variable that begins like a setting and is none. `WATTSTILE_SECTION__KEY` is read with the settings.
pub(super) fn unknown_variables<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    // Kubernetes sets these for a service that is called wattstile.
    let of_service = |name: &str| ["SERVICE_", "PORT_"].iter().any(|start| name.starts_with(start)) || name == "PORT";
    let is_unknown = |name: &&str| {
        name.strip_prefix(PREFIX)
            .is_some_and(|rest| !rest.contains("__") && !OTHER_VARIABLES.contains(&rest) && !of_service(rest))
    };
    let mut unknown: Vec<&str> = names.filter(is_unknown).collect();
    unknown.sort_unstable();
    let known: Vec<String> = Config::default()
        .write()
        .iter()
        .filter(|section| !section.is_list)
        .flat_map(|section| section.settings.iter().map(|(key, _)| format!("{PREFIX}{}__{key}", section.key)))
        .map(|name| name.to_uppercase())
        .chain(OTHER_VARIABLES.iter().map(|name| format!("{PREFIX}{name}")))
        .collect();
    let line = |name: &str| {
        let shown: String = visible(name).chars().take(64).collect();
        // The usual slip is one underscore for two.
        let meant = known.iter().map(String::as_str).find(|known| known.replace("__", "_") == name);
        match meant.or_else(|| did_you_mean(name, known.iter().map(String::as_str))) {
            Some(meant) => format!("environment variable {shown} is no setting and is ignored; did you mean {meant}?"),
            None => format!(
                "environment variable {shown} is no setting and is ignored; settings are written {PREFIX}SECTION__KEY"
            ),
        }
    };
    unknown.into_iter().map(line).collect()
}

/// Where more brackets are open than any setting needs. To read what is behind takes twice as long with every few more of them:
/// 700 bytes of brackets that do not match take a minute.
pub(super) fn too_deep(source: &str) -> Option<usize> {
    let (mut open, mut quote) = (Vec::new(), None);
    let mut letters = source.char_indices();
    while let Some((at, letter)) = letters.next() {
        match (letter, quote) {
            ('\n', _) => quote = None,
            ('\\', Some('"')) => drop(letters.next()),
            (_, Some(ends)) if letter == ends => quote = None,
            (_, Some(_)) => {}
            ('"' | '\'', None) => quote = Some(letter),
            ('#', None) => drop(letters.by_ref().find(|(_, letter)| *letter == '\n')),
            ('[', None) => open.push(']'),
            ('{', None) => open.push('}'),
            (_, None) => drop(open.pop_if(|closes| *closes == letter)),
        }
        if open.len() > limits::CONFIG_NESTING {
            return Some(at);
        }
    }
    None
}

/// A level, or levels for parts of the program: `info,wattstile::wire=debug`.
fn is_log_filter(text: &str) -> bool {
    let is_level = |word: &str| word.parse::<tracing_subscriber::filter::LevelFilter>().is_ok();
    let in_target = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | ':');
    text.split(',').all(|part| match part.split_once('=') {
        None => is_level(part),
        Some((target, level)) => !target.is_empty() && target.chars().all(in_target) && is_level(level),
    })
}
