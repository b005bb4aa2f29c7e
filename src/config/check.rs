//! Checks of a configuration that involve several settings, files, or the names of variables.

use super::{
    Amounts, Assignment, Config, Mode, OTHER_VARIABLES, Operator, Origin, PREFIX, Problem, Processor, Site, Table,
    place,
};
use crate::limits;
use crate::node::numbering::SeriesNames;
use crate::units::{TimeSpan, did_you_mean, visible};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Notes problems with the place of the setting.
struct Checks<'a> {
    root: &'a Table,
    problems: &'a mut Vec<Problem>,
}

impl Checks<'_> {
    fn wrong(&mut self, (section, key): (&str, &str), title: &str, label: impl Into<String>, help: &str) {
        let (origin, title) = (place(self.root, section, key), title.to_owned());
        let help = (!help.is_empty()).then(|| help.to_owned());
        self.problems.push(Problem { origin, title, label: label.into(), help });
    }
}

impl Config {
    /// Checks that involve several settings.
    pub(super) fn check(&self, root: &Table, problems: &mut Vec<Problem>) {
        let checks = &mut Checks { root, problems };
        self.check_sizes(checks);
        self.check_listeners(checks);
        self.check_amounts(checks);
        self.check_times(checks);
        self.check_names(checks);
        self.check_production(checks);
    }

    /// Numbers of which there must be one, or which bound each other.
    fn check_sizes(&self, checks: &mut Checks) {
        if self.gate.partitions == 0 {
            checks.wrong(("gate", "partitions"), "there must be a partition", "wanted at least 1", "");
        }
        if self.gate.shards > self.gate.partitions {
            let label = format!("{} shards for {} partitions", self.gate.shards, self.gate.partitions);
            checks.wrong(("gate", "shards"), "a shard without a partition has nothing to do", label, "");
        }
        for (section, key, connections) in [
            ("chargers", "connections_max", self.chargers.connections_max),
            ("chargers", "connections_each_max", self.chargers.connections_each_max),
            ("processors", "connections_max", self.processors.connections_max),
            ("processors", "connections_each_max", self.processors.connections_each_max),
        ] {
            if connections == 0 {
                checks.wrong((section, key), "no peer could connect", "wanted at least 1", "");
            }
        }
        if self.journal.log_mib_max == 0 {
            checks.wrong(("journal", "log_mib_max"), "a log needs room", "wanted at least 1", "");
        }
        if self.journal.snapshot_every <= TimeSpan::ZERO {
            checks.wrong(("journal", "snapshot_every"), "no time between snapshots", "wanted more than 0", "");
        }
    }

    /// Listeners have addresses of their own, and the console one of this machine.
    fn check_listeners(&self, checks: &mut Checks) {
        if !self.console.listen.ip().is_loopback() {
            let label = "an address that others can reach";
            let help = "listen on 127.0.0.1; for probes and scrapers elsewhere set `console.probes_listen`";
            checks.wrong(("console", "listen"), "the console is for this machine only", label, help);
        }
        if let Some(insecure) = self.ocpp.insecure_listen
            && !self.ocpp.allow_insecure
        {
            let at = ("ocpp", "insecure_listen");
            if !insecure.ip().is_loopback() {
                let help = "use `ocpp.listen`, or end TLS in a proxy on this machine and listen on 127.0.0.1";
                checks.wrong(
                    at,
                    "passwords would go over the network as they are",
                    "an address that others can reach",
                    help,
                );
            }
            if self.ocpp.passwords_file.is_none() {
                let help = "name `ocpp.passwords_file`; `wattstile ocpp password` writes it";
                checks.wrong(at, "no charger could connect", "there are no passwords", help);
            }
        }
        if let Some(url) = &self.ocpp.forward
            && url.is_secure
            && self.ocpp.forward_ca_file.is_none()
        {
            let help = "name the certificates of its authority in `ocpp.forward_ca_file`";
            checks.wrong(
                ("ocpp", "forward"),
                "the management system could not be recognised",
                "wss:// needs them",
                help,
            );
        }
        if self.ocpp.power_max_kw == 0 {
            checks.wrong(("ocpp", "power_max_kw"), "every reading would be suspect", "wanted at least 1", "");
        }
        let listeners = [
            ("chargers", "listen", Some(self.chargers.listen)),
            ("ocpp", "listen", self.ocpp.listen),
            ("ocpp", "insecure_listen", self.ocpp.insecure_listen),
            ("processors", "listen", Some(self.processors.listen)),
            ("console", "listen", Some(self.console.listen)),
            ("console", "probes_listen", self.console.probes_listen),
        ];
        for (index, (section, key, address)) in listeners.iter().enumerate() {
            let same =
                |other: &Option<std::net::SocketAddr>| other.is_some_and(|other| other.port() != 0) && other == address;
            if let Some((other, of, _)) = listeners[..index].iter().find(|(_, _, other)| same(other)) {
                let label = format!("`{other}.{of}` has the same address");
                checks.wrong((section, key), "two listeners at one address", label, "");
            }
        }
    }

    /// Amounts of one currency that bound each other.
    fn check_amounts(&self, checks: &mut Checks) {
        for currency in self.payment.first_hold.iter().map(|amount| amount.currency) {
            let (first, most) = (self.payment.first_hold.minor(currency), self.payment.total_max.minor(currency));
            if first == Some(0) {
                let label = format!("0 {currency} pay for no energy");
                checks.wrong(("payment", "first_hold"), "a first hold of nothing", label, "");
            }
            if most.is_some_and(|most| first.is_some_and(|first| most < first)) {
                let label = format!("less than `payment.first_hold` in {currency}");
                checks.wrong(("payment", "total_max"), "a first hold that may not be reserved", label, "");
            }
        }
        for currency in self.payment.partial_min.iter().map(|amount| amount.currency) {
            let (least, most) = (self.payment.partial_min.minor(currency), self.payment.total_max.minor(currency));
            if least.zip(most).is_some_and(|(least, most)| least > most) {
                let label = format!("more than `payment.total_max` in {currency}");
                checks.wrong(("payment", "partial_min"), "every partial approval would be released", label, "");
            }
        }
    }

    /// Times that must be above zero.
    fn check_times(&self, checks: &mut Checks) {
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
                checks.wrong((section, key), title, "wanted more than 0", "");
            }
        }
    }

    /// Texts with a form: the trust domain, the log filter, the series of invoices.
    fn check_names(&self, checks: &mut Checks) {
        if crate::message::PeerIdentity::parse(&format!("spiffe://{}/gate/x", self.tls.trust_domain)).is_err() {
            let label = "wanted a-z, 0-9, dots, dashes and underscores";
            checks.wrong(("tls", "trust_domain"), "not a trust domain", label, "");
        }
        if !is_log_filter(&self.log.level) {
            let words = ["error", "warn", "info", "debug", "trace", "off"];
            let label = match did_you_mean(&self.log.level, words) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "wanted a level, or a list such as `info,wattstile::wire=debug`".to_owned(),
            };
            checks.wrong(("log", "level"), "not a level", label, "");
        }
        let prefixes = [&self.operator.invoice_prefix, &self.operator.credit_note_prefix];
        for (key, prefix) in ["invoice_prefix", "credit_note_prefix"].into_iter().zip(prefixes) {
            let fits = (1..=SeriesNames::MAX_LEN).contains(&prefix.len());
            if !fits || !prefix.chars().all(|letter| letter.is_ascii_alphanumeric()) {
                checks.wrong(("operator", key), "no series can be called so", "wanted 1 to 8 letters and digits", "");
            }
        }
        if prefixes[0] == prefixes[1] {
            let label = "the same as that of invoices";
            checks.wrong(("operator", "credit_note_prefix"), "credit notes have a series of their own", label, "");
        }
    }

    /// Settings without which no gate in production starts.
    fn check_production(&self, checks: &mut Checks) {
        if self.gate.mode != Mode::Production {
            return;
        }
        if self.credentials.keys_file.is_none() {
            let label = "the keys would lie beside the data that they lock";
            let help = "set `credentials.keys_file`; `wattstile keys init --file FILE` makes one";
            checks.wrong(("credentials", "keys_file"), "production keeps its keys elsewhere", label, help);
        }
        if self.operator.name == Operator::default().name {
            let label = "receipts would name the built-in example";
            let help = "set `operator.name`, `operator.address` and `operator.vat_id`";
            checks.wrong(("operator", "name"), "production needs an operator", label, help);
        }
        if self.tls.crl_files.is_empty() && self.tls.folder.is_none() {
            let label = "without a list nothing can be revoked";
            let help = "set `tls.crl_files`, or `tls.folder`";
            checks.wrong(("tls", "crl_files"), "production needs revocation lists", label, help);
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
            ("ocpp", "passwords_file", self.ocpp.passwords_file.as_deref()),
            ("ocpp", "forward_ca_file", self.ocpp.forward_ca_file.as_deref()),
            ("console", "token_file", self.console.token_file.as_deref()),
            ("webhooks", "roots_file", self.webhooks.roots_file.as_deref()),
            ("reporting", "password_file", self.reporting.password_file.as_deref()),
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

/// Checks the entries of `[[processor]]`.
pub(super) fn processors(registry: &[(Processor, Origin)], problems: &mut Vec<Problem>) {
    no_id_twice("processor", registry.iter().map(|(processor, origin)| (processor.id.as_str(), origin)), problems);
    for (processor, origin) in registry {
        for least in processor.least.iter().flat_map(Amounts::iter) {
            let greatest = processor.greatest.as_ref().and_then(|amounts| amounts.minor(least.currency));
            if greatest.is_some_and(|greatest| greatest < least.minor) {
                problems.push(Problem {
                    origin: origin.clone(),
                    title: format!("`processor.least` of {} is above `processor.greatest`", processor.id),
                    label: format!("no hold in {} fits between them", least.currency),
                    help: None,
                });
            }
        }
    }
}

/// Checks the entries of `[[assignment]]`.
pub(super) fn assignments(assignments: &[(Assignment, Origin)], problems: &mut Vec<Problem>) {
    for (index, (assignment, origin)) in assignments.iter().enumerate() {
        let same = |(other, _): &&(Assignment, Origin)| other.chargers == assignment.chargers;
        let earlier = assignments[..index].iter().find(same).filter(|(other, _)| other.tariff != assignment.tariff);
        if let Some((other, _)) = earlier {
            problems.push(Problem {
                origin: origin.clone(),
                title: format!("two tariffs are assigned to the chargers `{}`", assignment.chargers),
                label: format!("{} here, {} before", assignment.tariff, other.tariff),
                help: Some("take one of them out".to_owned()),
            });
        }
    }
}

/// Checks the entries of `[[site]]`.
pub(super) fn sites(sites: &[(Site, Origin)], problems: &mut Vec<Problem>) {
    no_id_twice("site", sites.iter().map(|(site, origin)| (site.id.as_str(), origin)), problems);
    for (site, origin) in sites {
        let is_code = site.country.len() == 3 && site.country.bytes().all(|letter| letter.is_ascii_uppercase());
        if !site.country.is_empty() && !is_code {
            problems.push(Problem {
                origin: origin.clone(),
                title: format!("the country of site {} is not a country", site.id),
                label: "`site.country` wants three capital letters, such as NLD or DEU".to_owned(),
                help: None,
            });
        }
    }
}

fn no_id_twice<'a>(kind: &str, ids: impl Iterator<Item = (&'a str, &'a Origin)>, problems: &mut Vec<Problem>) {
    let mut seen = BTreeSet::new();
    for (id, origin) in ids.filter(|(id, _)| !seen.insert(*id)) {
        let label = "and here again".to_owned();
        problems.push(Problem {
            origin: origin.clone(),
            title: format!("two {kind}s are called `{id}`"),
            label,
            help: None,
        });
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
