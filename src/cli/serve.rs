//! `wattstile serve`: the gate itself.

use super::config::{ConfigArgs, ready};
use super::gate_or_data::Which;
use super::interrupts::{Interrupts, Wish};
use super::log::{Log, SETUP, plain};
use super::service_manager::ServiceManager;
use super::{CliError, Exit, Output, journal, shards};
use crate::app::Gate;
use crate::app::configured::{SetupError, Tariffs, make_pki, settings};
use crate::app::preflight::{State, assigned, doubtful, preflight, routes};
use crate::config::Config;
use crate::host::SystemClock;
use crate::journal::{DataDir, Progress};
use crate::tariff::TariffBook;
use crate::transport::Edge;
use crate::transport::files::read_secret;
use crate::units::{Clock, counted};
use crate::web::webhooks::WebhookSettings;
use crate::web::{Console, ENDPOINT_FILE, Listening};
use crate::wire::MaySpeakFor;
use arc_swap::ArcSwap;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Run the gate
///
/// Chargers and processors connect over mutual TLS. In development mode certificates are made where there are none.
/// SIGTERM or SIGINT end it in good order. SIGHUP loads certificates, revocation lists, keys of tokens and the
/// configuration with its tariffs again; the log names what changed, and what needs a restart.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  wattstile serve --config wattstile.toml")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
}

/// The message when the gate is ready.
#[derive(Debug, Serialize)]
struct Ready {
    chargers: Option<String>,
    processors: Option<String>,
    /// Where the console is; its token is never printed, because this goes to a log.
    console: String,
    /// Where health and metrics, and nothing else, are answered without a token.
    probes: Option<String>,
    /// The file with its token, readable by the gate's user only.
    console_token_in: String,
    /// Threads that run partitions.
    shards: u16,
    recovered_records: u64,
    recovery_ms: u128,
}

/// Runs until a signal ends it.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let (config, warnings) = args.config.load_with_warnings()?;
    let log = Log::start(&config.log)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    serve(args, config, &log, output).map_err(|error| log.failed(error))
}

fn serve(args: Args, config: Config, log: &Log, output: &Output) -> Result<Exit, CliError> {
    let version = crate::version::text();
    let manager = Arc::new(ServiceManager::of_process());
    let (gate, data) = (&config.gate.name, config.data_folder());
    tracing::info!(version, gate, pid = std::process::id(), data = %data.display(), "the gate starts");
    if let Some(pid) = Which::at(&config.gate.data_dir).running()?.and_then(|gate| gate.pid()) {
        let data = config.data_folder();
        let text = format!("{} is in use by another process: gate {pid} runs on it and answers", data.display());
        let help = "stop it first, or name another `gate.data_dir`; other commands ask the gate that runs";
        return Err(CliError::new(Exit::Temporary, text).help(help));
    }
    let clock = Arc::new(SystemClock::new());
    DataDir::check_owner(&config.data_folder(), &config.owner()).map_err(|failure| journal::error(&failure))?;
    make_pki(&config, clock.now().wall).map_err(setup_error)?;
    ready(&preflight(&config, clock.now().wall, false), |warning| tracing::warn!("{}", plain(&warning)))?;
    let interrupts = Interrupts::new().map_err(CliError::failed)?;
    let token = config.console.token_file.as_deref().map(read_secret).transpose();
    let token = token.map_err(|error| CliError::caused(Exit::Config, &error))?;
    let token = token.map(|token| String::from_utf8_lossy(&token).trim().to_owned());
    let (tariffs, _) = Tariffs::load(&config).map_err(setup_error)?;
    let tariffs = tariffs.book().clone();
    let mut settings = settings(&config, clock).map_err(setup_error)?;
    // A reload may change the sites and their chargers.
    let speakers = Arc::new(ArcSwap::from_pointee(config.may_speak_for()));
    let sites = speakers.clone();
    settings.may_speak_for = Arc::new(move |site, charger| (sites.load())(site, charger));
    // Health is answered from the start: live, and not ready.
    let starting = Arc::new(Starting::new(manager.clone()));
    let how_far = starting.clone();
    let listening = Listening {
        address: config.console.listen,
        hosts: config.console.hosts.clone(),
        probes: config.console.probes_listen,
        token,
        webhooks: WebhookSettings {
            allow: config.webhooks.allow.clone(),
            roots_file: config.webhooks.roots_file.clone(),
        },
    };
    let console = Console::listen(listening, Box::new(move || how_far.to_string()));
    let mut console = console.map_err(CliError::failed)?;
    settings.progress = Box::new(move |progress| starting.note(progress));
    journal::end_when_the_store_cannot_write();
    let gate = Gate::start(settings).map_err(|error| CliError::start(&error))?;
    gate.show_in(&mut console).map_err(CliError::failed)?;
    let text = |address: Option<std::net::SocketAddr>| address.map(|address| address.to_string());
    let ready = Ready {
        chargers: text(gate.chargers),
        processors: text(gate.processors),
        console: format!("http://{}", console.address),
        probes: console.probes.map(|address| format!("http://{address}")),
        console_token_in: config
            .console
            .token_file
            .clone()
            .unwrap_or_else(|| config.gate.data_dir.join("data").join(ENDPOINT_FILE))
            .display()
            .to_string(),
        shards: gate.shards(),
        recovered_records: gate.recovered.records,
        recovery_ms: gate.recovery.as_millis(),
    };
    tracing::info!(
        chargers = ready.chargers,
        processors = ready.processors,
        console = ready.console,
        probes = ready.probes,
        shards = ready.shards,
        recovered_records = ready.recovered_records,
        recovery_ms = u64::try_from(ready.recovery_ms).unwrap_or(u64::MAX),
        "the gate is ready"
    );
    // The log consists of JSON documents with the same content; text would not fit among them.
    let answer = |text: &dyn Fn(&mut dyn std::io::Write) -> std::io::Result<()>| {
        if log.shares_stdout() && !output.is_json() { Ok(()) } else { output.answer("serve/1", &ready, text) }
    };
    answer(&|out| {
        writeln!(out, "chargers    mTLS  {}", ready.chargers.as_deref().unwrap_or("-"))?;
        writeln!(out, "processors  mTLS  {}", ready.processors.as_deref().unwrap_or("-"))?;
        writeln!(out, "console     {}   its token is in {}", ready.console, ready.console_token_in)?;
        if let Some(probes) = &ready.probes {
            writeln!(out, "probes      {probes}   /livez, /readyz and /metrics, without a token")?;
        }
        writeln!(out, "shards      {}", shards(ready.shards))?;
        writeln!(out, "recovered   {} in {} ms", counted(ready.recovered_records, "record"), ready.recovery_ms)
    })?;
    manager.ready("ready: peers can connect");
    let attending = manager.attend(gate.directory().clone(), gate.edge().map(Edge::live)).map_err(CliError::failed)?;
    let mut reload = Reload { args: args.config, in_force: config, tariffs, gate: &gate, log, speakers };
    while interrupts.wait() == Wish::Reload {
        manager.reloading();
        manager.reloaded(reload.run());
    }
    drop(attending);
    manager.stopping();
    tracing::info!("the gate stops: the journal is synced, and connections are closed");
    console.stop();
    gate.stop();
    tracing::info!("the gate has stopped");
    Ok(Exit::Ok)
}

/// What a reload changes, and with what.
struct Reload<'a> {
    args: ConfigArgs,
    /// The configuration as far as it is in force.
    in_force: Config,
    /// The tariffs in force.
    tariffs: TariffBook,
    gate: &'a Gate,
    log: &'a Log,
    speakers: Arc<ArcSwap<MaySpeakFor>>,
}

impl Reload<'_> {
    /// Loads certificates, lists and keys of tokens again, then the configuration with its tariffs. Faults are
    /// reported, and the old values stay in force. Running sessions keep the tariff that they began with. Returns
    /// false if there were faults.
    fn run(&mut self) -> bool {
        let mut whole = self.gate.edge().is_none_or(Edge::reload);
        match self.gate.directory().node_config().credentials.keys().reload() {
            Ok(_) => tracing::info!("keys of tokens loaded again"),
            Err(error) => {
                whole = false;
                tracing::error!("keys of tokens not loaded, the old ones stay in force: {error}");
            }
        }
        let wanted = match self.args.load_with_warnings() {
            Ok((wanted, warnings)) => {
                warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                wanted
            }
            Err(error) => {
                whole = false;
                tracing::error!(
                    "the configuration is not loaded, the old one stays in force: {}",
                    plain(&error.message)
                );
                self.in_force.clone()
            }
        };
        let (mut changed, waiting) = changes(&self.in_force, &wanted);
        let next = with_reloadable(&self.in_force, &wanted);
        let now = SystemClock::new().now().wall;
        match Tariffs::load(&next) {
            Err(error) => {
                tracing::error!("tariffs not loaded, the old ones stay in force: {error}");
                return false;
            }
            Ok((tariffs, findings)) => {
                let wrong = assigned(&next, &tariffs, now).into_iter().chain(routes(&next, &tariffs, now));
                let wrong: Vec<String> =
                    wrong.filter(|found| found.state == State::Wrong).map(|found| found.detail).collect();
                if !wrong.is_empty() {
                    let wrong = wrong.join("; ");
                    tracing::error!("tariffs and routing not loaded, the old ones stay in force: {wrong}");
                    return false;
                }
                for finding in doubtful(&findings) {
                    let help = finding.help.unwrap_or_default();
                    tracing::warn!(target: SETUP, "{}: {} ({help})", finding.name, finding.detail);
                }
                changed.extend(changed_tariffs(&self.tariffs, tariffs.book()));
                self.tariffs = tariffs.book().clone();
                self.gate.directory().node_config().tariffs.replace(Box::new(tariffs));
            }
        }
        self.speakers.store(Arc::new(next.may_speak_for()));
        self.gate.directory().node_config().routing.change(&|routes| {
            routes.registry.rules = next.routing_rules();
            routes.registry.no_holds = next.payment.no_holds.iter().map(|start| start.as_str().into()).collect();
        });
        if let Err(error) = self.log.set_level(&next.log.level) {
            whole = false;
            tracing::error!("the log's level stays: {error}");
        }
        self.in_force = next;
        let changed = if changed.is_empty() { "nothing".to_owned() } else { changed.join(", ") };
        tracing::info!(changed, "tariffs, routing and sites loaded again");
        if !waiting.is_empty() {
            tracing::warn!(settings = waiting.join(", "), "changed in the configuration, in force after a restart");
        }
        whole
    }
}

/// The configuration that is in force, with the settings of another one that can change while the gate runs.
fn with_reloadable(in_force: &Config, wanted: &Config) -> Config {
    let mut next = in_force.clone();
    next.tariffs = wanted.tariffs.clone();
    next.assignments.clone_from(&wanted.assignments);
    next.sites.clone_from(&wanted.sites);
    next.payment.no_holds.clone_from(&wanted.payment.no_holds);
    next.credentials.not_taken.clone_from(&wanted.credentials.not_taken);
    next.log.level.clone_from(&wanted.log.level);
    // Keys of messages are read at a start.
    let key_of =
        |id| in_force.registry.iter().find(|known| known.id == id).and_then(|known| known.mac_key_file.clone());
    next.registry.clone_from(&wanted.registry);
    for entry in &mut next.registry {
        entry.mac_key_file = key_of(entry.id.clone());
    }
    next
}

/// The tariffs whose text is new, another one, or gone.
fn changed_tariffs(before: &TariffBook, after: &TariffBook) -> Vec<String> {
    let texts = |book: &TariffBook| -> BTreeMap<String, Vec<_>> {
        let mut texts: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for tariff in book.tariffs() {
            texts.entry(tariff.id().to_string()).or_default().push(tariff.hash().to_string());
        }
        texts
    };
    let (before, after) = (texts(before), texts(after));
    let ids: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let change_of = |id: &String| match (before.get(id), after.get(id)) {
        (None, _) => Some(format!("tariff {id} (new)")),
        (_, None) => Some(format!("tariff {id} (gone)")),
        (one, other) => (one != other).then(|| format!("tariff {id}")),
    };
    ids.into_iter().filter_map(change_of).collect()
}

/// The settings that differ: those that change at once, and those that a restart changes.
fn changes(in_force: &Config, wanted: &Config) -> (Vec<String>, Vec<String>) {
    let next = with_reloadable(in_force, wanted);
    (differing(in_force, &next), differing(&next, wanted))
}

/// The names of settings whose values differ; of lists the name of the section.
fn differing(one: &Config, other: &Config) -> Vec<String> {
    let names = |config: &Config| -> BTreeMap<String, Vec<Option<String>>> {
        let mut values: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
        for section in config.write() {
            for (key, value) in section.settings {
                values.entry(format!("{}.{key}", section.key)).or_default().push(value);
            }
        }
        values
    };
    let (one, other) = (names(one), names(other));
    let all: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    all.into_iter().filter(|name| one.get(*name) != other.get(*name)).cloned().collect()
}

/// The progress of the start, for health requests and, at intervals, for the log.
struct Starting {
    begun: Instant,
    manager: Arc<ServiceManager>,
    seen: Mutex<(String, Instant)>,
}

/// Interval of its lines in the log.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

impl Starting {
    fn new(manager: Arc<ServiceManager>) -> Starting {
        let now = Instant::now();
        manager.starting("the store is opened");
        Starting { begun: now, manager, seen: Mutex::new(("the store is opened".to_owned(), now)) }
    }

    fn note(&self, progress: Progress) {
        let now = match progress {
            Progress::Snapshots { done, of } => format!("{done} of {of} snapshots taken in"),
            Progress::Log { blocks, of_at_least } => format!("{blocks} of {of_at_least} blocks of the log read"),
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.0 = now;
        if seen.1.elapsed() >= STATUS_INTERVAL {
            seen.1 = Instant::now();
            self.manager.starting(&seen.0);
            tracing::info!(
                after_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
                "starting: {}",
                seen.0
            );
        }
    }
}

impl fmt::Display for Starting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.seen.lock().unwrap_or_else(PoisonError::into_inner).0)
    }
}

fn setup_error(error: SetupError) -> CliError {
    CliError::caused(Exit::Config, &error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    fn config(source: &str) -> Config {
        Layers { source: source.to_owned(), ..Layers::default() }.load().unwrap().config
    }

    #[test]
    fn a_reload_names_the_tariffs_that_changed() {
        let book = |tariffs: &[(&str, &str)]| {
            let text = |(id, price): &(&str, &str)| {
                let text = format!(
                    r#"{{"country_code": "NL", "party_id": "WST", "id": "{id}", "currency": "EUR",
                        "elements": [{{"price_components": [{{"type": "ENERGY", "price": {price}, "step_size": 1}}]}}],
                        "last_updated": "2026-01-01T00:00:00Z"}}"#
                );
                (format!("{id}.json"), text)
            };
            TariffBook::load(tariffs.iter().map(text), []).unwrap().0
        };
        let before = book(&[("A", "0.3"), ("B", "0.4"), ("C", "0.5")]);
        assert_eq!(changed_tariffs(&before, &before), [] as [String; 0]);
        let after = book(&[("A", "0.3"), ("B", "0.45"), ("D", "0.6")]);
        assert_eq!(changed_tariffs(&before, &after), ["tariff B", "tariff C (gone)", "tariff D (new)"]);
    }

    #[test]
    fn a_reload_says_what_changed_and_what_needs_a_restart() {
        let before = config("[tariffs]\ndefault = \"A\"\n[[processor]]\nid = \"acme\"\n");
        assert_eq!(changes(&before, &before), (Vec::new(), Vec::new()));
        let after = config(
            "[tariffs]\ndefault = \"B\"\n[log]\nlevel = \"debug\"\n[chargers]\nsilence = \"3min\"\n\
             [[processor]]\nid = \"acme\"\nweight = 5\nmac_key_file = \"acme.key\"\n",
        );
        let (at_once, after_a_restart) = changes(&before, &after);
        assert_eq!(at_once, ["log.level", "processor.weight", "tariffs.default"]);
        assert_eq!(after_a_restart, ["chargers.silence", "processor.mac_key_file"]);
        let next = with_reloadable(&before, &after);
        assert_eq!(next.chargers.silence, before.chargers.silence);
        assert_eq!(next.registry[0].mac_key_file, None);
    }
}
