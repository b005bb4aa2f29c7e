//! A running gate: started from settings, stopped in good order.

use super::charger_connection::ChargerConnection;
use super::connection::Connection;
use super::processor_connection::ProcessorConnection;
use super::receipts::Receipts;
use super::reconciler::Reconciler;
use super::scrape::{CommitDurations, Measured};
use crate::actors::archivist::{Archivist, Finish};
use crate::actors::directory::Directory;
use crate::actors::dossier::Billing;
use crate::actors::house::{ACCOUNT_PREFIX, House, Places, Routes};
use crate::actors::keeper::{self, Dismiss, Keeper, Rhythm, Round};
use crate::actors::processor::{Connected, ProcessorActor, ProcessorOutlet, Report};
use crate::actors::shard::Shard;
use crate::actors::shard_actor::{Drain, ShardActor};
use crate::actors::stand_ins::StandIns;
use crate::actors::writer::{CloseLog, Commitment, JournalWriter, LogFigures};
use crate::actors::{ConnectionId, Outside};
use crate::console::{Console, Views};
use crate::journal::{
    Archive, DataDir, Failure, Layout, Log, MemoryStore, Progress, Recovered, Sequences, SledStore, Snapshots, Store,
    recover_opening,
};
use crate::metrics::Durations;
use crate::payment::Capabilities;
use crate::payment::routing::{Registry, Rule};
use crate::payment::vault::Keyring;
use crate::session;
use crate::transport::tls::Tls;
use crate::transport::{Bounds, Edge, NoRoom, Peer, Reception};
use crate::units::{Clock, PartitionId, ProcessorId};
use crate::wire::{ChargerLink, MacKey, MaySpeakFor, ProcessorLink, Subject};
use actix::{Actor, Addr};
use actix_rt::{Arbiter, ArbiterHandle, System};
use arc_swap::ArcSwap;
use hdrhistogram::Histogram;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a gate is made of.
pub struct Settings {
    /// Where its facts are kept.
    pub data: Data,
    /// Threads that run partitions.
    pub shards: u16,
    /// How sessions are dealt with.
    pub policy: session::Policy,
    /// Which tariff applies where.
    pub places: Box<dyn Places>,
    /// The listener for chargers and site controllers.
    pub chargers: Option<Door>,
    /// The listener for processors.
    pub processors: Option<Door>,
    /// Which site speaks for which charger.
    pub may_speak_for: MaySpeakFor,
    /// The key of a processor's MAC, where one is agreed on.
    pub mac_of: MacOf,
    /// Which processor is asked for what. Without a rule, every one with a certificate for all that it takes; with some,
    /// no other may dial in.
    pub rules: Vec<Rule>,
    /// Beginnings of tokens of products that treat a hold as a purchase.
    pub no_holds: Vec<Box<str>>,
    /// The key under which credentials are shown.
    pub fingerprint_key: Vec<u8>,
    /// The keys under which tokens are kept.
    pub keys: Keyring,
    /// What receipts' addresses begin with.
    pub receipt_base: String,
    /// How closed sessions are put away; without it they stay in memory.
    pub receipts: Option<Receipts>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Bounds of the edge.
    pub bounds: Bounds,
    /// When snapshots are taken.
    pub rhythm: Rhythm,
    /// How recovery is shown.
    pub progress: Box<dyn Fn(Progress) + Send + Sync>,
    /// What happens when the disk fails; the default ends the process.
    pub on_failure: Arc<dyn Fn(&Failure) + Send + Sync>,
}

impl Settings {
    /// A gate without doors, tariffs and receipts: for measurements.
    pub fn bare(data: Data) -> Settings {
        Settings {
            data,
            shards: 1,
            policy: session::Policy::default(),
            places: Box::new(super::NoTariffs),
            chargers: None,
            processors: None,
            may_speak_for: Arc::new(|_, _| true),
            mac_of: Box::new(|_| None),
            rules: Vec::new(),
            no_holds: Vec::new(),
            fingerprint_key: b"bare".to_vec(),
            keys: Keyring::fixed([0x77; 32]),
            receipt_base: String::new(),
            receipts: None,
            clock: Arc::new(super::SystemClock::new()),
            bounds: Bounds::default(),
            rhythm: Rhythm::default(),
            progress: Box::new(|_| ()),
            on_failure: Arc::new(super::end_process),
        }
    }
}

/// Tells the key of a processor's MAC.
pub type MacOf = Box<dyn Fn(&ProcessorId) -> Option<MacKey> + Send + Sync>;

/// Where facts are kept.
pub enum Data {
    /// In memory, gone with the process: for tests and measurements.
    Memory {
        /// Partitions of the id space.
        partitions: u16,
    },
    /// In a directory.
    Directory {
        /// Which.
        path: PathBuf,
        /// How it is laid out if it is to be made.
        layout: Layout,
    },
}

/// A listener.
pub struct Door {
    /// Where; port 0 means any.
    pub address: SocketAddr,
    /// Who may come in.
    pub tls: Arc<Tls>,
    /// Most connections at once.
    pub connections_max: usize,
}

/// Why a gate cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data.
    #[error(transparent)]
    Journal(#[from] Failure),
    /// A thread or a listener.
    #[error("{what}: {error}")]
    System {
        /// What was attempted.
        what: String,
        /// What the system said.
        error: std::io::Error,
    },
}

/// A gate that stops takes a last round of snapshots when the log has grown by so much since the one before, and waits no longer
/// than this for it.
const LAST_ROUND_BYTES: u64 = 1 << 20;
const LAST_ROUND: Duration = Duration::from_secs(5);

/// A running gate.
pub struct Gate {
    /// Where chargers connect.
    pub chargers: Option<SocketAddr>,
    /// Where processors dial in.
    pub processors: Option<SocketAddr>,
    /// What recovery found.
    pub recovered: Recovered,
    /// How long recovery took.
    pub recovery: Duration,
    /// Live sessions that it found.
    pub recovered_sessions: usize,
    directory: Arc<Directory>,
    archive: Option<Arc<Archive>>,
    writer: Addr<JournalWriter>,
    commits: Arc<Mutex<Histogram<u64>>>,
    syncs: Arc<CommitDurations>,
    ticks: Arc<Durations>,
    figures: Arc<LogFigures>,
    data: Option<PathBuf>,
    edge: Option<Edge>,
    reconciler: Option<Reconciler>,
    io: ArbiterHandle,
    system: System,
    threads: Option<JoinHandle<()>>,
}

impl Gate {
    /// Recovers the state, starts the threads, opens the listeners. Ready when it returns.
    pub fn start(settings: Settings) -> Result<Gate, StartError> {
        let begun = Instant::now();
        let now = settings.clock.now();
        let Opened { store, snapshots, archive, partitions, directory: data } = open(&settings.data)?;
        let snapshots = Arc::new(snapshots);
        let random = SystemRandom::new();
        let registry = Registry { rules: settings.rules, no_holds: settings.no_holds, ..Registry::default() };
        let house = Arc::new(House {
            partitions,
            shards: settings.shards.clamp(1, partitions),
            policy: Arc::new(settings.policy),
            places: ArcSwap::from_pointee(settings.places),
            routes: ArcSwap::from_pointee(Routes { registry, ..Routes::default() }),
            stand_ins: StandIns::default(),
            dice: Box::new(move || {
                let mut bytes = [0; 8];
                random.fill(&mut bytes).expect("the system gives random numbers");
                u64::from_ne_bytes(bytes)
            }),
            fingerprint_key: hmac::Key::new(hmac::HMAC_SHA256, &settings.fingerprint_key),
            receipt_base: settings.receipt_base,
            series: settings.receipts.as_ref().map(|receipts| receipts.series.clone()).unwrap_or_default(),
            keys: settings.keys,
            links: Default::default(),
        });
        let shards = (0..house.shards).map(|index| Rebuilding { shard: Shard::new(house.clone(), index, now), now });
        let (log, shards, recovered) = recover_opening(store, &snapshots, shards.collect(), &settings.progress)?;
        for damage in &recovered.damaged {
            tracing::warn!(%damage, "the snapshot before it was used, and more of the log");
        }
        let sequences = log.sequences().clone();
        let figures = Arc::new(LogFigures::new(&recovered, &log, settings.rhythm.bound()));
        let recovery = begun.elapsed();
        let live =
            |rebuilt: &Rebuilding| rebuilt.shard.partitions().iter().map(|each| each.sessions.len()).sum::<usize>();
        let recovered_sessions = shards.iter().map(live).sum();

        let directory = Arc::new(Directory::new(house, settings.clock.clone()));
        let away = match settings.receipts {
            None => None,
            Some(receipts) => {
                let billing = receipts.billing(settings.data.path(), &directory.house().receipt_base);
                let billing =
                    billing.map_err(|error| StartError::System { what: "the receipts' key".to_owned(), error })?;
                Some((Arc::new(archive), Arc::new(billing)))
            }
        };
        let archive = away.as_ref().map(|(archive, _)| archive.clone());
        let commits = Arc::new(Mutex::new(histogram()));
        let (syncs, ticks) = (Arc::new(CommitDurations::default()), Arc::new(Durations::default()));
        let kept = Kept { snapshots, data, figures: figures.clone(), rhythm: settings.rhythm };
        let data = settings.data.path().map(std::path::Path::to_path_buf);
        let parts = Parts {
            directory: directory.clone(),
            shards: shards.into_iter().map(|rebuilt| rebuilt.shard).collect(),
            sequences,
            log,
            clock: settings.clock.clone(),
            on_failure: settings.on_failure,
            commits: commits.clone(),
            syncs: syncs.clone(),
            ticks: ticks.clone(),
            away,
            kept,
        };
        let Running { system, threads, writer, arbiters, io } = run(parts)?;

        let (mut chargers, mut processors, mut edge) = (None, None, None);
        if settings.chargers.is_some() || settings.processors.is_some() {
            let failed = |what: &str| {
                let what = what.to_owned();
                move |error| StartError::System { what, error }
            };
            let opened = Edge::new(settings.bounds, 2).map_err(failed("handshake threads"))?;
            let reception = Arc::new(Receiver {
                directory: directory.clone(),
                clock: settings.clock,
                arbiters,
                io: io.clone(),
                may_speak_for: settings.may_speak_for,
                mac_of: settings.mac_of,
                next: AtomicU64::new(1),
            });
            if let Some(door) = settings.chargers {
                chargers = Some(
                    reception
                        .listen(&opened, door, Receiver::take_in_charger)
                        .map_err(failed("the chargers' listener"))?,
                );
            }
            if let Some(door) = settings.processors {
                processors = Some(
                    reception
                        .listen(&opened, door, Receiver::take_in_processor)
                        .map_err(failed("the processors' listener"))?,
                );
            }
            edge = Some(opened);
        }
        let reconciler = Reconciler::start(directory.clone(), archive.clone())
            .map_err(|error| StartError::System { what: "the reconciler's thread".to_owned(), error })?;
        Ok(Gate {
            chargers,
            processors,
            recovered,
            recovery,
            recovered_sessions,
            directory,
            archive,
            writer,
            commits,
            syncs,
            ticks,
            figures,
            data,
            edge,
            reconciler: Some(reconciler),
            io,
            system,
            threads: Some(threads),
        })
    }

    /// The addresses of its actors.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// Lets a processor in that is part of this process. Ready when it returns.
    pub fn admit(
        &self,
        id: ProcessorId,
        outlet: Arc<dyn ProcessorOutlet>,
        capabilities: Capabilities,
    ) -> Addr<ProcessorActor> {
        let (name, directory) = (id.clone(), self.directory.clone());
        let start = || {
            let (id, directory) = (name.clone(), directory.clone());
            ProcessorActor::start_in_arbiter(&self.io, move |_| ProcessorActor::new(id, directory))
        };
        let actor = self.directory.processor(&id, start);
        let (listed, when) = mpsc::channel();
        let connected = Connected { connection: ConnectionId(u64::MAX), outlet, capabilities };
        let known = Report(Box::new(move |_| {
            // Whoever asked may have lost patience.
            let _ = listed.send(());
        }));
        if actor.try_send(connected).is_ok() && actor.try_send(known).is_ok() {
            let _ = when.recv_timeout(Duration::from_secs(10));
        }
        actor
    }

    /// Opens a console on a loopback address: the API, health and metrics. The command line finds it by a file in the
    /// data directory.
    pub fn console(&self, address: SocketAddr, token: Option<String>) -> std::io::Result<Console> {
        let mut console = Console::listen(address, token, Box::new(String::new))?;
        self.show_in(&mut console)?;
        Ok(console)
    }

    /// Shows this gate in a console that listens already.
    pub fn show_in(&self, console: &mut Console) -> std::io::Result<()> {
        let views = Arc::new(Views::running(self.directory.clone(), self.archive.clone()));
        let measured = Measured {
            commits: self.syncs.clone(),
            ticks: self.ticks.clone(),
            figures: self.figures.clone(),
            recovery: self.recovery,
            recovered_sessions: self.recovered_sessions,
            live: self.edge.as_ref().map(Edge::live),
        };
        let collector = measured.collector();
        let expiries = self.edge.as_ref().map(Edge::expiry_collector);
        console.show(views, [collector].into_iter().chain(expiries).collect(), self.data.as_deref())
    }

    /// How its log is.
    pub fn log(&self) -> &LogFigures {
        &self.figures
    }

    /// Takes snapshots of all partitions now, and lets the log go behind the ones before them. Says whether that was done in
    /// time.
    pub fn take_snapshots(&self, patience: Duration) -> bool {
        self.round(0, patience)
    }

    fn round(&self, unless_below: u64, patience: Duration) -> bool {
        let (over, when) = mpsc::channel();
        let asked = |keeper: &Addr<Keeper>| keeper.try_send(Round { over, unless_below }).is_ok();
        self.directory.keeper().is_some_and(asked) && when.recv_timeout(patience) == Ok(true)
    }

    /// Where its closed sessions are, unless they stay in memory.
    pub fn archive(&self) -> Option<&Arc<Archive>> {
        self.archive.as_ref()
    }

    /// Its listeners.
    pub fn edge(&self) -> Option<&Edge> {
        self.edge.as_ref()
    }

    /// How long group commits took since the last call, in microseconds.
    pub fn take_commits(&self) -> Histogram<u64> {
        std::mem::replace(&mut *self.commits.lock().unwrap_or_else(PoisonError::into_inner), histogram())
    }

    /// Stops in good order: nobody new comes in, what was decided becomes durable and leaves, connections say goodbye,
    /// the log notes its end. What was acknowledged survives even if this never happens.
    pub fn stop(mut self) {
        if let Some(edge) = self.edge.take() {
            edge.live().close_all("the gate is shutting down");
            drop(edge);
        }
        drop(self.reconciler.take());
        let deadline = Instant::now() + Duration::from_secs(10);
        for shard in self.directory.shards() {
            while Instant::now() < deadline {
                let (done, idle) = mpsc::channel();
                if shard.try_send(Drain(done)).is_ok() && idle.recv_timeout(Duration::from_secs(5)) == Ok(true) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        if let Some(archivist) = self.directory.archivist() {
            let (written, when) = mpsc::channel();
            if archivist.try_send(Finish(written)).is_ok() {
                let _ = when.recv_timeout(Duration::from_secs(10));
            }
        }
        // With snapshots of now the next start has little to replay. Nothing depends on it: what is not done in time is not
        // done, and a log that is short is as good.
        if self.data.is_some() {
            self.round(LAST_ROUND_BYTES, LAST_ROUND);
        }
        self.end();
    }

    fn end(&mut self) {
        let Some(threads) = self.threads.take() else { return };
        if let Some(keeper) = self.directory.keeper() {
            let (dismissed, when) = mpsc::channel();
            if keeper.try_send(Dismiss(dismissed)).is_ok() {
                let _ = when.recv_timeout(Duration::from_secs(10));
            }
        }
        let (closed, when) = mpsc::channel();
        if self.writer.try_send(CloseLog(closed)).is_ok() {
            let _ = when.recv_timeout(Duration::from_secs(10));
        }
        self.system.stop();
        let _ = threads.join();
    }
}

/// A gate that is dropped ends its threads, without the goodbyes.
impl Drop for Gate {
    fn drop(&mut self) {
        self.edge.take();
        self.reconciler.take();
        self.end();
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds that a histogram can have")
}

impl Data {
    fn path(&self) -> Option<&std::path::Path> {
        match self {
            Data::Memory { .. } => None,
            Data::Directory { path, .. } => Some(path),
        }
    }
}

/// The data, opened.
struct Opened {
    /// Opens the log's store, which takes a while.
    store: Box<dyn FnOnce() -> Result<Box<dyn Store>, Failure> + Send>,
    snapshots: Snapshots,
    archive: Archive,
    partitions: u16,
    directory: Option<DataDir>,
}

fn open(data: &Data) -> Result<Opened, Failure> {
    match data {
        Data::Memory { partitions } => Ok(Opened {
            store: Box::new(|| Ok(Box::new(MemoryStore::new(4_096)))),
            snapshots: Snapshots::in_memory(*partitions),
            archive: Archive::in_memory(),
            partitions: *partitions,
            directory: None,
        }),
        Data::Directory { path, layout } => {
            let directory = DataDir::open_or_create(path, *layout)?;
            directory.place_ballast()?;
            let log = directory.clone();
            Ok(Opened {
                store: Box::new(move || Ok(Box::new(SledStore::open(&log)?))),
                snapshots: Snapshots::open(&directory)?,
                archive: Archive::open(&directory)?,
                partitions: directory.partitions(),
                directory: Some(directory),
            })
        }
    }
}

/// A shard while its records are replayed.
pub(super) struct Rebuilding {
    pub shard: Shard,
    pub now: crate::units::Now,
}

impl crate::journal::Replay for Rebuilding {
    fn snapshot(&mut self, partition: PartitionId, _: crate::journal::Sequence, state: &[u8]) -> Result<(), String> {
        self.shard.restore(partition, state, self.now)
    }

    fn record(&mut self, record: crate::journal::Record<'_>) -> Result<(), String> {
        self.shard.replay(record, self.now)
    }
}

/// What the threads are started with.
struct Parts {
    directory: Arc<Directory>,
    shards: Vec<Shard>,
    sequences: Sequences,
    log: Log,
    clock: Arc<dyn Clock>,
    on_failure: Arc<dyn Fn(&Failure) + Send + Sync>,
    commits: Arc<Mutex<Histogram<u64>>>,
    syncs: Arc<CommitDurations>,
    ticks: Arc<Durations>,
    away: Option<(Arc<Archive>, Arc<Billing>)>,
    kept: Kept,
}

/// What snapshots are kept with.
struct Kept {
    snapshots: Arc<Snapshots>,
    data: Option<DataDir>,
    figures: Arc<LogFigures>,
    rhythm: Rhythm,
}

/// The threads of the actors.
struct Running {
    system: System,
    threads: JoinHandle<()>,
    writer: Addr<JournalWriter>,
    arbiters: Vec<ArbiterHandle>,
    io: ArbiterHandle,
}

/// Starts the actors, each shard and the writer on a thread of its own.
fn run(parts: Parts) -> Result<Running, StartError> {
    let (started, ready) = mpsc::channel();
    let threads = std::thread::Builder::new()
        .name("actors".to_owned())
        .spawn(move || {
            let runner = System::new();
            runner.block_on(async {
                let running = start_actors(parts);
                let _ = started.send((System::current(), running));
            });
            if let Err(error) = runner.run() {
                tracing::error!(%error, "the actors' system ended badly");
            }
        })
        .map_err(|error| StartError::System { what: "the actors' thread".to_owned(), error })?;
    let (system, (writer, arbiters, io)) = ready.recv().expect("the actors' thread says when it is ready");
    Ok(Running { system, threads, writer, arbiters, io })
}

fn start_actors(parts: Parts) -> (Addr<JournalWriter>, Vec<ArbiterHandle>, ArbiterHandle) {
    let Parts { directory, shards, sequences, log, clock, on_failure, commits, syncs, ticks, away, kept } = parts;
    let count = shards.len();
    if let Some((archive, billing)) = away {
        let (theirs, on_failure) = (directory.clone(), on_failure.clone());
        let archivist = Archivist::start_in_arbiter(&Arbiter::new().handle(), move |_| {
            Archivist::new(archive, billing, theirs, Box::new(move |failure| on_failure(failure)))
        });
        directory.set_archivist(archivist);
    }
    let Kept { snapshots, data, figures, rhythm } = kept;
    let written = figures.clone();
    let writer = JournalWriter::start_in_arbiter(&Arbiter::new().handle(), move |_| {
        let observe = move |commitment: Commitment| {
            let micros = u64::try_from(commitment.took.as_micros()).unwrap_or(u64::MAX);
            commits.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(micros);
            syncs.append.observe(commitment.took);
            syncs.sync.observe(commitment.synced);
        };
        JournalWriter::new(log, count, Box::new(move |failure| on_failure(failure)), observe, written)
    });
    let mut arbiters = Vec::with_capacity(count);
    let mut addresses = Vec::with_capacity(count);
    for mut shard in shards {
        shard.continue_after(sequences.clone());
        let arbiter = Arbiter::new().handle();
        let outside = Outside::new(directory.clone(), shard.index());
        let (clock, writer, ticks, log) = (clock.clone(), writer.clone(), ticks.clone(), figures.clone());
        addresses.push(ShardActor::start_in_arbiter(&arbiter, move |_| {
            ShardActor::new(shard, outside, clock, writer, ticks, log)
        }));
        arbiters.push(arbiter);
    }
    directory.set_shards(addresses);
    let around =
        keeper::Surroundings { snapshots, data, directory: directory.clone(), writer: writer.clone(), figures };
    directory.set_keeper(Keeper::start_in_arbiter(&Arbiter::new().handle(), move |_| Keeper::new(around, rhythm)));
    (writer, arbiters, Arbiter::new().handle())
}

/// Takes peers in from the handshake threads and puts their connections where they are served.
struct Receiver {
    directory: Arc<Directory>,
    clock: Arc<dyn Clock>,
    /// Threads of the shards, in their order.
    arbiters: Vec<ArbiterHandle>,
    /// The thread of the processors.
    io: ArbiterHandle,
    may_speak_for: MaySpeakFor,
    mac_of: MacOf,
    next: AtomicU64,
}

impl Receiver {
    fn listen(
        self: &Arc<Self>,
        edge: &Edge,
        door: Door,
        take_in: fn(&Receiver, Peer) -> Result<(), NoRoom>,
    ) -> std::io::Result<SocketAddr> {
        let receiver = Arc::clone(self);
        let reception: Reception = Arc::new(move |peer| take_in(&receiver, peer));
        edge.listen(door.address, door.tls, door.connections_max, reception)
    }

    /// A charger's connection is served on the thread of its shard, so that a meter tick crosses no thread.
    fn take_in_charger(&self, peer: Peer) -> Result<(), NoRoom> {
        let house = self.directory.house();
        let home = match &peer.identity.subject {
            Subject::Charger(charger) => PartitionId::of(charger.as_str(), house.partitions),
            Subject::Site(site) => PartitionId::of(site.as_str(), house.partitions),
            Subject::Processor(_) | Subject::Gate(_) => return Err(NoRoom),
        };
        let Some(arbiter) = self.arbiters.get(usize::from(Shard::of(home, house.shards))) else { return Err(NoRoom) };
        let Ok(link) = ChargerLink::new((*peer.identity).clone(), self.may_speak_for.clone(), self.clock.now().mono)
        else {
            return Err(NoRoom);
        };
        let (directory, clock, id) = (self.directory.clone(), self.clock.clone(), self.next_id());
        arbiter.spawn_fn(move || {
            let handler = ChargerConnection::new(id, link, peer.outgoing.clone(), directory, clock);
            Connection::serve(peer, handler);
        });
        Ok(())
    }

    fn take_in_processor(&self, peer: Peer) -> Result<(), NoRoom> {
        let Subject::Processor(processor) = &peer.identity.subject else { return Err(NoRoom) };
        if processor.as_str().starts_with(ACCOUNT_PREFIX) {
            return Err(NoRoom);
        }
        if !self.directory.house().routes.load().registry.admits(processor) {
            return Err(NoRoom);
        }
        let mac = (self.mac_of)(processor);
        let Ok(link) = ProcessorLink::new(&peer.identity, mac, self.clock.now().mono) else { return Err(NoRoom) };
        let (directory, clock, id, io) = (self.directory.clone(), self.clock.clone(), self.next_id(), self.io.clone());
        let processor = processor.clone();
        self.io.spawn_fn(move || {
            let start = || {
                let (id, directory) = (processor.clone(), directory.clone());
                ProcessorActor::start_in_arbiter(&io, move |_| ProcessorActor::new(id, directory))
            };
            let actor = directory.processor(&processor, start);
            let handler = ProcessorConnection::new(id, link, peer.outgoing.clone(), actor, clock);
            Connection::serve(peer, handler);
        });
        Ok(())
    }

    fn next_id(&self) -> ConnectionId {
        ConnectionId(self.next.fetch_add(1, Ordering::Relaxed))
    }
}
