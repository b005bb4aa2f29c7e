//! A running gate: started from settings, stopped in good order.

use super::data::{Opened, open};
use super::expiry_watch::ExpiryWatch;
use super::introduced::Introduced;
use super::machine::machine;
use super::receiver::Receiver;
use super::reconciler::{Reconciler, Unstarted};
use super::scrape::{CommitDurations, Measured};
use super::settings::{ListenerSettings, Settings};
use super::threads::{Kept, Parts, Running, run};
use crate::actors::archiver_actor::{ArchiverActor, Finish};
use crate::actors::directory::Directory;
use crate::actors::hosting::{Hosting, HostingError, NotOpened};
use crate::actors::shard_actor::Drain;
use crate::actors::snapshot_scheduler::{Cycle, Dismiss, SnapshotScheduler};
use crate::actors::writer::{CloseLog, JournalWriter};
use crate::api::feed::Feed;
use crate::api::{ReportingDatabase, Views};
use crate::host::cannot_listen;
use crate::journal::{Archive, Ballast, DataDir, Failure, Recovered, recover_opening};
use crate::metrics::{Durations, REPORTING_LAG, REPORTING_ROWS};
use crate::node::ConnectionId;
use crate::node::credential_links::LocalCredentialLinks;
use crate::node::credentials::Credentials;
use crate::node::driver::Driver;
use crate::node::fact_tail::FactTail;
use crate::node::log_figures::LogFigures;
use crate::node::node_config::NodeConfig;
use crate::node::offline_authorizations::LocalOfflineAuthorizations;
use crate::node::processor::{Connected, ProcessorActor, ProcessorFigures, ProcessorOutlet, Report};
use crate::node::replay::Rebuilding;
use crate::node::routing::LocalProcessorRegistry;
use crate::node::routing::Routes;
use crate::node::shard::Shard;
use crate::node::tariff_assignment::TariffAssignments;
use crate::payment::Capabilities;
use crate::payment::routing::Registry;
use crate::reporting::Reporting;
use crate::transport::Edge;
use crate::transport::descriptors::{self, Plan, Scarce};
use crate::units::ProcessorId;
use crate::web::{Console, ConsoleError, Listening};
use actix::{Actor, Addr};
use actix_rt::{ArbiterHandle, System};
use hdrhistogram::Histogram;
use ring::rand::{SecureRandom, SystemRandom};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Why a gate cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data.
    #[error(transparent)]
    Journal(#[from] Failure),
    /// Too few open files are allowed.
    #[error(transparent)]
    Files(#[from] Scarce),
    /// A thread or a listener.
    #[error("{what}: {error}")]
    System {
        /// The attempted action.
        what: String,
        /// The error of the operating system.
        #[source]
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
    /// Where processors connect.
    pub processors: Option<SocketAddr>,
    /// Where chargers connect that speak OCPP, in the order of the settings.
    pub ocpp: Vec<SocketAddr>,
    /// What recovery found.
    pub recovered: Recovered,
    /// How long recovery took.
    pub recovery: Duration,
    /// Live sessions after recovery.
    pub recovered_sessions: usize,
    directory: Arc<Directory>,
    archive: Option<Arc<Archive>>,
    hosting: Hosting,
    archiver: Option<Addr<ArchiverActor>>,
    snapshot_scheduler: Addr<SnapshotScheduler>,
    writer: Addr<JournalWriter>,
    tail: Arc<FactTail>,
    commits: Arc<Mutex<Histogram<u64>>>,
    syncs: Arc<CommitDurations>,
    ticks: Arc<Durations>,
    figures: Arc<LogFigures>,
    data: Option<PathBuf>,
    edge: Option<Edge>,
    expiry_watch: Option<ExpiryWatch>,
    reconciler: Option<Reconciler>,
    reporting: Option<Arc<Reporting>>,
    io: ArbiterHandle,
    system: System,
    threads: Option<JoinHandle<()>>,
}

impl Gate {
    /// Recovers the state, starts the threads, opens the listeners. Ready when it returns.
    ///
    /// # Errors
    /// The data are damaged, in use or of another version, or a thread does not start; [`StartError`] says which.
    pub fn start(settings: Settings) -> Result<Gate, StartError> {
        let begun = Instant::now();
        let now = settings.clock.now();
        let Opened { store, snapshots, archive, partitions, directory: data } = open(&settings.data)?;
        let snapshots = Arc::new(snapshots);
        let random = SystemRandom::new();
        let registry = Registry { rules: settings.rules, no_holds: settings.no_holds, ..Registry::default() };
        let node_config = Arc::new(NodeConfig {
            partitions,
            shards: settings.shards.clamp(1, partitions),
            policy: Arc::new(settings.policy),
            tariffs: TariffAssignments::new(settings.tariff_resolver),
            routing: Box::new(LocalProcessorRegistry::new(Routes { registry, ..Routes::default() })),
            offline_authorizations: Box::new(LocalOfflineAuthorizations::default()),
            random: Box::new(move || {
                let mut bytes = [0; 8];
                random.fill(&mut bytes).expect("the system gives random numbers");
                u64::from_ne_bytes(bytes)
            }),
            credentials: Credentials::new(
                &settings.fingerprint_key,
                settings.keys,
                Box::new(LocalCredentialLinks::default()),
            ),
            receipt_base: settings.receipt_base,
            series: settings.receipts.as_ref().map(|receipts| receipts.series.clone()).unwrap_or_default(),
        });
        let shards =
            (0..node_config.shards).map(|index| Rebuilding { shard: Shard::new(node_config.clone(), index, now), now });
        let (log, shards, recovered) = recover_opening(store, &snapshots, shards.collect(), &settings.progress)?;
        for damage in &recovered.damaged {
            tracing::warn!(%damage, "the snapshot before it was used, and more of the log");
        }
        // Only now: on a full disk the log needs this room to be opened.
        if let Some(Ballast::NoRoom { free }) = data.as_ref().map(DataDir::place_ballast).transpose()? {
            tracing::warn!(
                free_mib = free >> 20,
                "the disk is nearly full: there is no room for the ballast; free some"
            );
        }
        let sequences = log.sequences().clone();
        let figures = Arc::new(LogFigures::new(&recovered, &log, settings.snapshot_policy.bound(), Instant::now()));
        let recovery = begun.elapsed();
        let live =
            |rebuilt: &Rebuilding| rebuilt.shard.partitions().iter().map(|each| each.sessions.len()).sum::<usize>();
        let recovered_sessions = shards.iter().map(live).sum();

        let clock = settings.clock.clone();
        let directory = Arc::new(Directory::new(node_config, clock.clone()));
        let away = match settings.receipts {
            None => None,
            Some(receipts) => {
                let billing = receipts.billing(settings.data.path(), &directory.node_config().receipt_base);
                let billing =
                    billing.map_err(|error| StartError::System { what: "the receipts' key".to_owned(), error })?;
                Some((Arc::new(archive), Arc::new(billing)))
            }
        };
        let archive = away.as_ref().map(|(archive, _)| archive.clone());
        let commits = Arc::new(Mutex::new(histogram()));
        let (syncs, ticks) = (Arc::new(CommitDurations::default()), Arc::new(Durations::default()));
        let kept = Kept { snapshots, data, figures: figures.clone(), snapshot_policy: settings.snapshot_policy };
        let data = settings.data.path().map(std::path::Path::to_path_buf);
        let unstarted = Unstarted::new();
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
            on_batch: unstarted.on_batch(),
        };
        let Running { system, threads, writer, tail, arbiters, io, hosting, archiver, snapshot_scheduler } =
            run(parts)?;

        (settings.before_peers)(&directory);
        let (mut chargers, mut processors, mut ocpp, mut edge) = (None, None, Vec::new(), None);
        if settings.chargers.is_some() || settings.processors.is_some() || !settings.ocpp.is_empty() {
            let failed = |what: &str| {
                let what = what.to_owned();
                move |error| StartError::System { what, error }
            };
            // The journal's threads run by now, with all that they keep open.
            let most =
                |listener: &Option<ListenerSettings>| listener.as_ref().map_or(0, |listener| listener.connections_max);
            let of_ocpp = settings.ocpp.iter().map(|listener| listener.connections_max).max().unwrap_or_default();
            let wanted = Plan::wanted(most(&settings.chargers).max(of_ocpp), most(&settings.processors));
            let (mut plan, scarce) = wanted.within(descriptors::raise_limit(), descriptors::in_use())?;
            if let Some(scarce) = scarce {
                let (chargers, processors) = (plan.chargers.connections, plan.processors.connections);
                tracing::warn!(chargers, processors, "fewer connections than configured are taken: {scarce}");
            }
            // Handshakes of chargers are divided among their listeners.
            let listeners = settings.ocpp.len() + usize::from(settings.chargers.is_some());
            plan.chargers.handshakes = plan.chargers.handshakes.div_ceil(listeners.max(1));
            let opened = Edge::new(settings.bounds, 2).map_err(failed("handshake threads"))?;
            let reception = Arc::new(Receiver {
                directory: directory.clone(),
                clock: settings.clock,
                arbiters,
                io: io.clone(),
                may_speak_for: settings.may_speak_for,
                introduced: Arc::new(Introduced::at_most(settings.chargers_per_site_max)),
                mac_of: settings.mac_of,
                next: AtomicU64::new(1),
            });
            if let Some(listener) = settings.chargers {
                let failed = cannot_open("chargers.listen", listener.address);
                chargers = Some(
                    reception.listen(&opened, listener, plan.chargers, Receiver::take_in_charger).map_err(failed)?,
                );
            }
            for listener in settings.ocpp {
                let failed = cannot_open("ocpp.listen", listener.address);
                ocpp.push(reception.listen_ocpp(&opened, listener, plan.chargers).map_err(failed)?);
            }
            if let Some(listener) = settings.processors {
                let failed = cannot_open("processors.listen", listener.address);
                processors = Some(
                    reception
                        .listen(&opened, listener, plan.processors, Receiver::take_in_processor)
                        .map_err(failed)?,
                );
            }
            edge = Some(opened);
        }
        let thread = |what: &str| {
            let what = what.to_owned();
            move |error| StartError::System { what, error }
        };
        let expiry_watch = edge.as_ref().map(|edge| ExpiryWatch::start(edge, directory.clone())).transpose();
        let expiry_watch = expiry_watch.map_err(thread("the thread that watches certificates"))?;
        let reconciler =
            unstarted.start(directory.clone(), archive.clone()).map_err(thread("the reconciler's thread"))?;
        // A scrape has every metric, also where there is no reporting database.
        REPORTING_LAG.gauge(&[]).set(0.0);
        REPORTING_ROWS.counter(&[]).increment(0);
        let reporting = match settings.reporting {
            None => None,
            Some(url) => {
                let views = Views::running(directory.clone(), archive.clone());
                let views = views.followed_by(Feed::new(tail.clone(), writer.clone()));
                let started = Reporting::start(url, views, clock);
                let failed =
                    |error| StartError::System { what: "the thread of the reporting database".to_owned(), error };
                Some(Arc::new(started.map_err(failed)?))
            }
        };
        Ok(Gate {
            chargers,
            processors,
            ocpp,
            recovered,
            recovery,
            recovered_sessions,
            directory,
            archive,
            hosting,
            archiver,
            snapshot_scheduler,
            writer,
            tail,
            commits,
            syncs,
            ticks,
            figures,
            data,
            edge,
            expiry_watch,
            reconciler: Some(reconciler),
            reporting,
            io,
            system,
            threads: Some(threads),
        })
    }

    /// Closes one of its shards, and returns the shard's state: what was decided is durable and has left, and its chargers are
    /// sent away. What comes for it is refused until it is opened again.
    ///
    /// # Errors
    /// [`HostingError`]: the shard is as it was before.
    pub fn close_shard(&self, index: u16, timeout: Duration) -> Result<Box<Driver>, HostingError> {
        self.hosting.close(index, timeout)
    }

    /// Opens a shard that was closed.
    ///
    /// # Errors
    /// [`NotOpened`]: the shard's state, and why.
    pub fn open_shard(&self, shard: Box<Driver>) -> Result<(), NotOpened> {
        self.hosting.open(shard)
    }

    /// The actor that takes snapshots, and backups.
    pub fn snapshot_scheduler(&self) -> &Addr<SnapshotScheduler> {
        &self.snapshot_scheduler
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
        let connected = Connected { connection: ConnectionId(u64::MAX), outlet, capabilities };
        // Its report comes after it is listed.
        let asker = self.directory.replies().asker::<ProcessorFigures>(Duration::from_secs(10));
        if actor.try_send(connected).is_ok()
            && let Ok(asker) = asker
            && actor.try_send(Report(asker.to())).is_ok()
        {
            let _ = asker.wait();
        }
        actor
    }

    /// Opens a console on a loopback address: the API, health and metrics. The command line finds it by a file in the
    /// data directory.
    ///
    /// # Errors
    /// The address is taken, or the listener cannot be opened.
    pub fn console(&self, address: SocketAddr, token: Option<String>) -> Result<Console, ConsoleError> {
        let mut console = Console::listen(Listening::on(address, token), Box::new(String::new))?;
        self.show_in(&mut console)?;
        Ok(console)
    }

    /// Connects this gate with a console that listens already.
    ///
    /// # Errors
    /// The file with the address cannot be written.
    pub fn show_in(&self, console: &mut Console) -> std::io::Result<()> {
        let views = Views::running(self.directory.clone(), self.archive.clone());
        let views = views.followed_by(Feed::new(self.tail.clone(), self.writer.clone()));
        let views = views.on_machine(machine(self.edge.as_ref(), self.figures.clone(), self.recovery));
        let reporting = self.reporting.clone().map(|reporting| reporting as Arc<dyn ReportingDatabase>);
        let views = Arc::new(views.backed_up_by(self.snapshot_scheduler.clone()).reported_by(reporting));
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

    /// Takes snapshots of all partitions now, and trims the log below the previous ones. Returns whether that was
    /// done in time.
    pub fn take_snapshots(&self, timeout: Duration) -> bool {
        self.round(0, timeout)
    }

    fn round(&self, unless_below: u64, timeout: Duration) -> bool {
        let (over, when) = mpsc::channel();
        self.snapshot_scheduler.try_send(Cycle { over, unless_below }).is_ok() && when.recv_timeout(timeout) == Ok(true)
    }

    /// Where its closed sessions are, unless they stay in memory.
    pub fn archive(&self) -> Option<&Arc<Archive>> {
        self.archive.as_ref()
    }

    /// Threads that run its partitions.
    pub fn shards(&self) -> u16 {
        self.directory.node_config().shards
    }

    /// Its listeners.
    pub fn edge(&self) -> Option<&Edge> {
        self.edge.as_ref()
    }

    /// How long group commits took since the last call, in microseconds.
    pub fn take_commits(&self) -> Histogram<u64> {
        std::mem::replace(&mut *self.commits.lock().unwrap_or_else(PoisonError::into_inner), histogram())
    }

    /// Stops in good order: new peers are refused, decided facts become durable and leave, connections are closed
    /// with a message, the log marks its end. Acknowledged facts survive even without this.
    pub fn stop(mut self) {
        if let Some(edge) = self.edge.take() {
            edge.live().close_all("the gate is shutting down");
            drop(edge);
        }
        drop((self.reconciler.take(), self.expiry_watch.take()));
        let deadline = Instant::now() + Duration::from_secs(10);
        for shard in &self.directory.shards() {
            while Instant::now() < deadline {
                let (done, idle) = mpsc::channel();
                if shard.try_send(Drain(done)).is_ok() && idle.recv_timeout(Duration::from_secs(5)) == Ok(true) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        if let Some(archiver) = &self.archiver {
            let (written, when) = mpsc::channel();
            if archiver.try_send(Finish(written)).is_ok() {
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
        if let Some(reporting) = self.reporting.take() {
            reporting.stop();
        }
        self.directory.replies().close();
        let (dismissed, when) = mpsc::channel();
        if self.snapshot_scheduler.try_send(Dismiss(dismissed)).is_ok() {
            let _ = when.recv_timeout(Duration::from_secs(10));
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
        self.expiry_watch.take();
        self.reconciler.take();
        self.end();
    }
}

/// A listener's setting and address, and which process has taken it.
fn cannot_open(setting: &str, address: SocketAddr) -> impl FnOnce(std::io::Error) -> StartError {
    let what = format!("{setting} = \"{address}\"");
    move |error| {
        let error = std::io::Error::new(error.kind(), cannot_listen(address, &error));
        StartError::System { what, error }
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds that a histogram can have")
}
