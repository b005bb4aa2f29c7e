//! The demonstration: a gate with its own PKI and data, a fleet of chargers, two processors and a few accounts, all on
//! this machine and over mutual TLS, on a clock that runs faster.

use super::Figures;
use super::data::Data;
use super::gate::{Gate, StartError};
use super::keys::{self, KeysError};
use super::ocpp_admission::{Access, OcppAdmission};
use super::ocpp_forwarding::Behind;
use super::settings::{ListenerSettings, OcppListener, Settings};
use super::tariff_resolver::Assigned;
use crate::account;
use crate::actors::directory::Directory;
use crate::api::Views;
use crate::config::reporting_url::ReportingUrl;
use crate::journal::{DataDir, Layout, Owner, OwnerMode};
use crate::message::Subject;
use crate::node::input::Input;
use crate::node::reply::Ordered;
use crate::ocpp::Version;
use crate::payment::{self, Credential, CredentialKind};
use crate::session::Policy;
use crate::sim::charger;
use crate::sim::driver::{Habits, Visitors};
use crate::sim::fleet::{Fleet, FleetReport, Line, Speaks};
use crate::sim::kept_clock::{KeptClock, PROMISED_EVERY};
use crate::sim::memory::ChargerMemories;
use crate::sim::ocpp::{Manners, OcppSettings as Spoken, version_of_share};
use crate::sim::pace::Pace;
use crate::sim::processor::{self, Lines, MemoryError, Rates, Service, ServiceReport};
use crate::sim::tls::{dialler, ocpp_dialler};
use crate::tariff::{Tariff, TariffError};
use crate::transport::files::{FileError, make_private_folder};
use crate::transport::pki::PkiError;
use crate::transport::pki_folder::PkiFolder;
use crate::transport::tls::{self, Source, Tls, TlsError};
use crate::transport::websocket::WebSocketUrl;
use crate::transport::{Bounds, ConnectError, Connector, Trust, identity};
use crate::units::{
    AccountId, Amount, ChargerId, Currency, PartitionId, PaymentId, Power, ProcessorId, TimeSpan, Timestamp,
};
use crate::web::{self, Answer, Console, Request};
use hdrhistogram::Histogram;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// What the demonstration is like.
#[derive(Clone, Debug)]
pub struct DemoSettings {
    /// Where PKI and data are kept.
    pub directory: PathBuf,
    /// Simulated chargers, each on its own connection.
    pub chargers: u16,
    /// How much faster the wall clock runs.
    pub speed: u32,
    /// Repeats the drivers and the processors' moods.
    pub seed: u64,
    /// Another tariff than the built-in one, and the file that it is from.
    pub tariff: Option<PathBuf>,
    /// Listeners for chargers that speak OCPP.
    pub ocpp: OcppSettings,
    /// The reporting database, if there is one.
    pub reporting: Option<ReportingUrl>,
}

/// The demonstration's listeners for chargers that speak OCPP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OcppSettings {
    /// Without TLS: every charger id is let in, with its password where there is a file `ocpp/<id>.password` (security
    /// profiles 0 and 1).
    pub plain: Option<SocketAddr>,
    /// With mutual TLS (security profile 3).
    pub tls: Option<SocketAddr>,
    /// The most power of a connector.
    pub power_max: Power,
    /// The management system behind the gate, reached by ws://.
    pub forward: Option<WebSocketUrl>,
    /// Percent of the simulated chargers that speak OCPP, each version as often as the others.
    pub share_percent: u8,
}

/// The share of simulated chargers that speak OCPP, in percent, unless another is wanted.
pub const OCPP_SHARE: u8 = 33;

/// The most power of a connector of an OCPP charger, in watts: the protocols do not tell it.
const OCPP_POWER_W: i64 = 350_000;

impl Default for OcppSettings {
    fn default() -> OcppSettings {
        let power_max = Power::from_watts(OCPP_POWER_W).expect("fits");
        OcppSettings { plain: None, tls: None, power_max, forward: None, share_percent: OCPP_SHARE }
    }
}

impl OcppSettings {
    /// What a simulated charger speaks, by its number; none: the native protocol.
    fn version_of(&self, number: u16) -> Option<Version> {
        version_of_share(u32::from(number), self.share_percent, Version::ALL.len())
    }

    /// Whether chargers that are not simulated are served.
    fn serves_others(&self) -> bool {
        self.plain.is_some() || self.tls.is_some()
    }
}

/// Why there is no demonstration.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The gate.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The PKI.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The listeners' certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The file with the clock's reserved time, or a folder of stored states.
    #[error(transparent)]
    File(#[from] FileError),
    /// The memory of a simulated processor.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The memories of the simulated chargers.
    #[error("{0}")]
    Chargers(String),
    /// A simulated peer's certificate.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The built-in tariff.
    #[error(transparent)]
    Tariff(#[from] TariffError),
    /// The tariff of a file.
    #[error("{}: {error}", path.display())]
    TariffFile {
        /// The file.
        path: PathBuf,
        /// The fault in it.
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The keys under which tokens are kept.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// Something of the system.
    #[error("{0}: {1}")]
    System(&'static str, #[source] std::io::Error),
}

/// A running demonstration.
pub struct Demo {
    /// The gate.
    pub gate: Gate,
    /// Its console, until it ends.
    pub console: Option<Console>,
    /// When it was started.
    pub started: Instant,
    fleet: Option<Fleet>,
    services: Vec<Service>,
    runtime: tokio::runtime::Runtime,
    first_receipt: Option<Duration>,
    commits: Histogram<u64>,
    /// The last figures of all shards.
    figures: Figures,
    /// Readings that were durable before this run.
    readings_before: u64,
    receipt_shown: bool,
    clock: Option<ClockSaver>,
}

/// The thread that promises the time ahead.
struct ClockSaver {
    clock: Arc<KeptClock>,
    stop: mpsc::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

/// How the demonstration stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The gate's figures.
    pub figures: Figures,
    /// Readings that became durable in this run.
    pub readings: u64,
    /// The fleet's.
    pub fleet: FleetReport,
    /// How long after the start the first receipt reached its charger.
    pub first_receipt: Option<Duration>,
    /// The slowest of a hundred group commits, in microseconds.
    pub sync_p99_us: u64,
}

impl Standing {
    /// Whether no session is open and no money held.
    fn is_settled(&self) -> bool {
        let Figures { sessions_charging, sessions_authorizing, sessions_settling, money, .. } = &self.figures;
        sessions_charging + sessions_authorizing + sessions_settling == 0
            && money.values().all(|money| money.held_minor == 0)
    }
}

const TRUST_DOMAIN: &str = "demo.wattstile";
const TARIFF: &str = include_str!("highway.json");
const ZONE: &str = "Europe/Amsterdam";
const PARTITIONS: u16 = 16;
const ACCOUNTS: u16 = 20;
const TOP_UP_MINOR: i64 = 100_000;
/// However fast the clock, simulated peers have this long to reconnect or to send a message.
const TIMEOUT_LEAST: TimeSpan = TimeSpan::from_secs(10);
/// How long a request to a simulated processor may be in progress.
const REQUEST_LIFE_MAX: TimeSpan = TimeSpan::from_secs(2);

impl Demo {
    /// Starts everything; energy flows a moment later.
    ///
    /// # Errors
    /// The folder cannot be used, or the gate, its certificates or its simulated peers do not start.
    pub fn start(settings: &DemoSettings) -> Result<Demo, DemoError> {
        let started = Instant::now();
        make_private_folder(&settings.directory)?;
        let at = |name: &str| settings.directory.join(name);
        // Before the first file is written: a demonstration that runs writes them too.
        DataDir::check_owner(&at("data"), &owner()).map_err(StartError::Journal)?;
        DataDir::check_free(&at("data")).map_err(StartError::Journal)?;
        let under_way = ChargerMemories::any(&at("chargers"), charger::has_sessions)
            .map_err(|error| DemoError::System("the chargers' memories", error))?;
        let clock = ClockSaver::start(KeptClock::open(&at("clock"), settings.speed, under_way)?)
            .map_err(|error| DemoError::System("the clock's thread", error))?;
        let pace = clock.clock.pace();
        let real = crate::host::SystemClock::new();
        let today = crate::units::Clock::now(&real).wall;
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        if at("pki").exists() && !at("pki/pki.json").exists() {
            // A start was killed while it made the PKI: no peer has a certificate of it yet.
            std::fs::remove_dir_all(at("pki")).map_err(|error| DemoError::System("a half-made PKI", error))?;
        }
        let mut pki = PkiFolder::open_or_create(&at("pki"), TRUST_DOMAIN, &names, today)?;
        let mut parts = gate_settings(settings, &pki, &pace)?;
        let has_ocpp = settings.ocpp.serves_others();
        parts.before_peers = Box::new(move |directory| {
            open_accounts(directory, 1, &drivers(), today);
            if has_ocpp {
                open_accounts(directory, 101, &ocpp_accounts(), today);
            }
        });
        let gate = Gate::start(parts)?;
        let figures = Figures::gather(gate.directory()).unwrap_or_default();
        let (chargers, processors) = gate.chargers.zip(gate.processors).expect("both listeners are asked for");

        let trust = Trust::new(&[pki.root().clone()], "localhost")?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("simulation")
            .enable_all()
            .build()
            .map_err(|error| DemoError::System("simulation threads", error))?;
        let _in_runtime = runtime.enter();
        let mut services = Vec::new();
        make_private_folder(&at("processors"))?;
        for (name, rates) in [("acme-cards", Rates::everyday()), ("wally-wallet", Rates::default())] {
            let id = ProcessorId::new(name).expect("a name that an id can have");
            let own = pki.peer(&Subject::Processor(id.clone()), 30, today)?;
            let dialler = dialler(Connector::new(&trust, own)?, processors);
            let mut behaviour = processor::Settings::new(id, settings.seed);
            behaviour.rates = rates;
            // It is part of this process: no request is in progress for longer, and none outlives the process.
            behaviour.capabilities.request_life_max = REQUEST_LIFE_MAX;
            behaviour.capabilities.inquiry_authoritative_after = Some(REQUEST_LIFE_MAX);
            let lines = Lines { dialler, connections: 2, mac: None };
            let memory = at("processors").join(format!("{name}.memory"));
            services.push(Service::start_remembering(behaviour, &lines, &pace, &memory)?);
        }
        let mut lines = Vec::new();
        for number in 1..=settings.chargers {
            let id = ChargerId::new(&format!("NL*WST*E{number:04}")).expect("a name that an id can have");
            let own = pki.peer(&Subject::Charger(id.clone()), 30, today)?;
            let connector = Connector::new(&trust, own)?;
            let version = settings.ocpp.version_of(number);
            let (dialler, speaks) = match version.zip(gate.ocpp.last()) {
                Some((version, address)) => {
                    let spoken = Spoken { version, manners: Manners::GOOD, currency: Currency::EUR };
                    (ocpp_dialler(connector, *address, (&id, version)), Speaks::Ocpp(spoken))
                }
                None => (dialler(connector, chargers), Speaks::Native),
            };
            lines.push(Line { dialler, chargers: vec![simulated(id, (number, version), settings.seed)], speaks });
        }
        let within = Duration::from_secs(1);
        let fleet = Fleet::start_remembering(lines, &pace, within, &at("chargers")).map_err(DemoError::Chargers)?;
        drop(_in_runtime);
        let commits = Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds that a histogram can have");
        let console = gate.console(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None);
        let console = console.map_err(|error| DemoError::System("the console", std::io::Error::other(error)))?;
        Ok(Demo {
            gate,
            console: Some(console),
            started,
            fleet: Some(fleet),
            services,
            runtime,
            first_receipt: None,
            commits,
            readings_before: figures.readings,
            figures,
            receipt_shown: false,
            clock: Some(clock),
        })
    }

    /// How it stands now.
    pub fn standing(&mut self) -> Standing {
        let fleet = self.fleet.as_ref().map(Fleet::counts).unwrap_or_default();
        if self.first_receipt.is_none() && fleet.tally.receipts > 0 {
            self.first_receipt = Some(self.started.elapsed());
        }
        // Histograms of the same bounds always add up.
        let _ = self.commits.add(self.gate.take_commits());
        match Figures::gather(self.gate.directory()) {
            Ok(figures) => self.figures = figures,
            Err(error) => tracing::warn!(%error, "the figures are those of a moment ago"),
        }
        Standing {
            figures: self.figures.clone(),
            readings: self.figures.readings.saturating_sub(self.readings_before),
            fleet,
            first_receipt: self.first_receipt,
            sync_p99_us: self.commits.value_at_quantile(0.99),
        }
    }

    /// The first receipt of this run as a driver reads it, once: a moment after it came. Its lines fit so many columns.
    pub fn first_receipt(&mut self, width: Option<usize>) -> Option<String> {
        if self.receipt_shown {
            return None;
        }
        let number = self.fleet.as_ref().and_then(|fleet| fleet.counts().receipt)?;
        let views = Views::running(self.gate.directory().clone(), self.gate.archive().cloned());
        let query = width.map(|width| ("width".to_owned(), width.to_string())).into_iter().collect();
        let request = Request { path: format!("receipts/{number}.txt"), query };
        // It is signed and archived a moment after the charger's receipt.
        let Ok(Answer::Text(_, text)) = web::get(&views, &request) else { return None };
        self.receipt_shown = true;
        Some(text)
    }

    /// Sends the drivers away, waits until every session is settled, and stops in good order.
    pub fn finish(mut self, timeout: Duration) -> (Standing, Vec<ServiceReport>) {
        let deadline = Instant::now() + timeout;
        let fleet = self.fleet.take().map(|fleet| self.runtime.block_on(fleet.finish(timeout))).unwrap_or_default();
        let mut standing = self.standing();
        // A start that was refused may have an authorization that is still being reversed: processors are there for it.
        while !standing.is_settled() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
            standing = self.standing();
        }
        standing.fleet = fleet;
        let services = std::mem::take(&mut self.services);
        let reports = self.runtime.block_on(async {
            let mut reports = Vec::new();
            for service in services {
                reports.push(service.stop(false).await);
            }
            reports
        });
        drop(self.console.take());
        self.gate.stop();
        if let Some(clock) = self.clock.take() {
            clock.stop();
        }
        (standing, reports)
    }
}

impl ClockSaver {
    fn start(clock: KeptClock) -> std::io::Result<ClockSaver> {
        let clock = Arc::new(clock);
        let (stop, stopped) = mpsc::channel();
        let promising = clock.clone();
        let thread = std::thread::Builder::new().name("clock".to_owned()).spawn(move || {
            while stopped.recv_timeout(PROMISED_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
                if let Err(error) = promising.promise() {
                    tracing::error!(%error, "the demonstration's clock stands still");
                }
            }
        })?;
        Ok(ClockSaver { clock, stop, thread })
    }

    /// Nothing is written down any more: the next start goes on from now.
    fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
        if let Err(error) = self.clock.stop() {
            tracing::warn!(%error, "the next start begins a little later");
        }
    }
}

/// The usual rules with short pauses: attempts are counted across starts, so that pauses of minutes would be reached soon.
fn with_short_pauses(usual: payment::Policy) -> payment::Policy {
    let schedule = |seconds: &[i64]| seconds.iter().copied().map(TimeSpan::from_secs).collect();
    payment::Policy {
        inquiry_schedule: schedule(&[2, 5]),
        repeat_schedule: schedule(&[5]),
        queue_schedule: schedule(&[1, 2]),
        void_again_schedule: schedule(&[3, 5]),
        capture_again_schedule: schedule(&[3, 5]),
        // An account with one euro may charge for it.
        partial_min_minor: 50,
        ..usual
    }
}

fn owner() -> Owner {
    Owner { mode: OwnerMode::Demo, trust_domain: TRUST_DOMAIN.to_owned() }
}

/// A span of the demonstration's clock on the real clock, with which the gate measures its time-outs.
fn in_real_time(span: TimeSpan, speed: u32) -> TimeSpan {
    TimeSpan::from_ms(span.ms() / i64::from(speed.max(1))).max(TIMEOUT_LEAST)
}

fn gate_settings(settings: &DemoSettings, pki: &PkiFolder, pace: &Pace) -> Result<Settings, DemoError> {
    let tls = |listener: identity::ListenerKind| {
        let policy = tls::Policy {
            trust_domain: TRUST_DOMAIN.to_owned(),
            listener,
            tls12: false,
            production: false,
            anonymous: false,
        };
        Tls::new(policy, Source::Files(pki.files(listener))).map(Arc::new)
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = |listener| {
        Ok::<_, TlsError>(ListenerSettings { address, tls: tls(listener)?, connections_max: 10_000, each_max: 16 })
    };
    let tariff = match &settings.tariff {
        None => Tariff::parse(TARIFF)?.tariff,
        Some(path) => {
            let failed = |error| DemoError::TariffFile { path: path.clone(), error };
            let text = std::fs::read_to_string(path).map_err(|error| failed(error.into()))?;
            Tariff::parse(&text).map_err(|error| failed(error.into()))?.tariff
        }
    };
    let usual = Policy::default();
    Ok(Settings {
        data: Data::Directory {
            path: settings.directory.join("data"),
            layout: Layout { partitions: PARTITIONS, generation_blocks: 256 },
            owner: Some(owner()),
        },
        shards: super::settings::shards_of(0, PARTITIONS),
        policy: Policy {
            silence: in_real_time(usual.silence, settings.speed),
            late_readings: in_real_time(usual.late_readings, settings.speed),
            no_start: in_real_time(usual.no_start, settings.speed),
            reconnect: TIMEOUT_LEAST,
            // Readings come every minute of a clock that runs faster.
            stop_latency: TimeSpan::from_secs(120),
            payment: with_short_pauses(usual.payment),
            ..usual
        },
        tariff_resolver: Box::new(Assigned::everywhere(tariff, ZONE).expect("the zone is in the built-in database")),
        chargers: Some(listener(identity::ListenerKind::Chargers)?),
        processors: Some(listener(identity::ListenerKind::Processors)?),
        ocpp: ocpp_listeners(settings, &tls)?,
        may_speak_for: Arc::new(|_, _| false),
        chargers_per_site_max: usize::MAX,
        mac_of: Box::new(|_| None),
        rules: Vec::new(),
        no_holds: Vec::new(),
        fingerprint_key: b"demonstration".to_vec(),
        keys: keys::kept(&settings.directory.join(keys::KEYS_FILE))?,
        receipt_base: String::new(),
        receipts: Some(super::Receipts::default()),
        reporting: settings.reporting.clone(),
        clock: pace.clock.clone(),
        snapshot_policy: crate::node::snapshot_policy::SnapshotPolicy::default(),
        bounds: Bounds::default(),
        before_peers: Box::new(|_| ()),
        progress: Box::new(|_| {}),
        on_failure: Arc::new(super::end_process),
    })
}

/// The listeners for chargers that speak OCPP: without TLS, with it, and the one of the simulated chargers.
fn ocpp_listeners(
    settings: &DemoSettings,
    tls: &impl Fn(identity::ListenerKind) -> Result<Arc<Tls>, TlsError>,
) -> Result<Vec<OcppListener>, TlsError> {
    let OcppSettings { plain, tls: secure, power_max, forward, .. } = settings.ocpp.clone();
    let behind = forward.map(|url| Arc::new(Behind { url, connector: None }));
    let listener = |address, tls, access, (power_max, behind)| {
        let admission = OcppAdmission { trust_domain: TRUST_DOMAIN.into(), access };
        OcppListener { address, tls, admission, connections_max: 10_000, power_max, behind }
    };
    let passwords = settings.directory.join("ocpp");
    let plain = plain.map(|address| {
        listener(
            address,
            None,
            Arc::new(move |charger: &ChargerId, shown: Option<&[u8]>| access_of(&passwords, charger, shown)),
            (power_max, behind.clone()),
        )
    });
    // Simulated chargers have a listener of their own, so the power of the others does not apply to them.
    let is_spoken = (1..=settings.chargers).any(|number| settings.ocpp.version_of(number).is_some());
    let own = is_spoken.then(|| {
        let power_max = Power::from_watts(OCPP_POWER_W).expect("fits");
        (SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), (power_max, None))
    });
    let mut listeners: Vec<OcppListener> = plain.into_iter().collect();
    for (address, more) in secure.map(|address| (address, (power_max, behind))).into_iter().chain(own) {
        let tls = tls(identity::ListenerKind::Ocpp)?;
        let access = Arc::new(|_: &ChargerId, _: Option<&[u8]>| Access::Unknown);
        listeners.push(listener(address, Some(tls), access, more));
    }
    Ok(listeners)
}

/// The password of a charger stands in a file of its name; without one, any charger is let in.
fn access_of(passwords: &Path, charger: &ChargerId, shown: Option<&[u8]>) -> Access {
    match (std::fs::read_to_string(passwords.join(format!("{charger}.password"))), shown) {
        (Err(error), _) if error.kind() == std::io::ErrorKind::NotFound => Access::Granted,
        (Ok(text), Some(shown)) if text.trim_end_matches(['\r', '\n']).as_bytes() == shown => Access::Granted,
        (Ok(_) | Err(_), _) => Access::WrongPassword,
    }
}

/// Opens prepaid accounts, whose orders are numbered from `first`. Opening, topping up and linking again is the same order again.
fn open_accounts(directory: &Arc<Directory>, first: u64, accounts: &[DemoAccount], today: Timestamp) {
    let mut askers = Vec::new();
    for (number, account) in (first..).zip(accounts) {
        let id = AccountId::new(&account.id).expect("a name that an id can have");
        let partition = PartitionId::of(id.as_str(), directory.node_config().partitions);
        // The same ids at every start: what was ordered once is not ordered twice.
        let order = PaymentId::new(Timestamp::from_unix_ms(1), partition, number);
        let mut ops = (1..).map(|step| order.operation(step));
        let mut op = move || ops.next().expect("there is always a next number");
        let mut commands = vec![account::Command::Open {
            op: op(),
            account: id.clone(),
            currency: Currency::EUR,
            credit_limit: Amount::zero(Currency::EUR),
        }];
        if account.minor > 0 {
            let amount = Amount::new(account.minor, Currency::EUR);
            commands.push(account::Command::TopUp { op: op(), amount, source: account::TopUpSource::Bank });
        }
        for card in &account.cards {
            let credential = directory.node_config().mark(card);
            commands.push(account::Command::LinkCredential { op: op(), credential });
        }
        if account.is_closed {
            commands.push(account::Command::Close { op: op() });
        }
        for command in commands {
            let order = |reply| Input::Order(id.clone(), Box::new(command), reply);
            askers.extend(directory.order::<Ordered>(Duration::from_secs(10), order).ok());
        }
    }
    for asker in askers {
        match asker.wait() {
            Ok(
                Ordered::Done(_)
                | Ordered::Asked(_)
                | Ordered::MoneyRefused(_)
                | Ordered::Ruled(_)
                | Ordered::NoSession
                | Ordered::NoCharger
                | Ordered::Noted
                | Ordered::Charger(_),
            ) => {}
            Ok(Ordered::Declined(reason)) => tracing::warn!(%reason, "a demonstration account"),
            Ok(Ordered::Refused(rejection)) => tracing::warn!(%rejection, %today, "a demonstration account"),
            Err(_) => return,
        }
    }
}

/// A prepaid account of the demonstration.
struct DemoAccount {
    id: String,
    /// Paid in, in cents.
    minor: i64,
    cards: Vec<Credential>,
    /// Its cards are refused.
    is_closed: bool,
}

/// The accounts of the simulated drivers, a card each.
fn drivers() -> Vec<DemoAccount> {
    let driver = |number| DemoAccount {
        id: format!("driver-{number:03}"),
        minor: TOP_UP_MINOR,
        cards: vec![card_of(number)],
        is_closed: false,
    };
    (1..=ACCOUNTS).map(driver).collect()
}

/// The accounts for OCPP chargers that are tried by hand: `ACCT-0001` to `ACCT-0020` with a thousand euro, `ACCT-POOR` with
/// one, `ACCT-NONE` with nothing; the cards of a group share one account; a card is blocked.
fn ocpp_accounts() -> Vec<DemoAccount> {
    let card = |token: &str| Credential { kind: CredentialKind::Rfid, token: token.as_bytes().into() };
    let account = |id: &str, minor, more: &[&str]| DemoAccount {
        id: id.to_owned(),
        minor,
        cards: std::iter::once(id).chain(more.iter().copied()).map(card).collect(),
        is_closed: false,
    };
    let mut accounts: Vec<DemoAccount> = (1..=ACCOUNTS)
        .map(|number| {
            let more: &[&str] = if number == 3 { &["GROUP-A-1", "GROUP-A-2"] } else { &[] };
            account(&format!("ACCT-{number:04}"), TOP_UP_MINOR, more)
        })
        .collect();
    accounts.push(account("ACCT-POOR", 100, &[]));
    accounts.push(account("ACCT-NONE", 0, &[]));
    accounts.push(DemoAccount { is_closed: true, ..account("RFID-BLOCKED", 0, &[]) });
    accounts
}

/// The RFID card of a demonstration account.
fn card_of(account: u16) -> Credential {
    Credential { kind: CredentialKind::Rfid, token: format!("04DE0000{account:06}").into_bytes().into() }
}

fn simulated(id: ChargerId, (number, version): (u16, Option<Version>), seed: u64) -> charger::Settings {
    let watts = [22_000, 50_000, 150_000][usize::from(number % 3)];
    charger::Settings {
        id,
        connectors: vec![Power::from_watts(watts).expect("fits")],
        interval: TimeSpan::from_secs(60),
        visitors: Visitors::Random(Habits {
            pause_max: TimeSpan::from_secs(60),
            idle_max: TimeSpan::from_secs(300),
            energy: (
                crate::units::Energy::from_watt_hours(500).expect("fits"),
                crate::units::Energy::from_watt_hours(30_000).expect("fits"),
            ),
            rfid: (1..=ACCOUNTS).map(|number| card_of(number).token).collect(),
            // A charger of OCPP 1.6 reads cards only, which belong to accounts.
            rfid_per_ten_thousand: if version == Some(Version::V16) { 10_000 } else { 3_000 },
            ..Habits::default()
        }),
        seed: seed.wrapping_add(u64::from(number)),
        kept_max: 10_000,
    }
}

/// The default directory of the demonstration.
pub fn default_directory() -> &'static Path {
    Path::new(".wattstile/demo")
}
