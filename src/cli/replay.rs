//! `wattstile replay`: sends recorded sessions to a gate and compares its bills with the recorded ones.

use super::output::{BAD, GOOD};
use super::own_gate::{OwnGate, Wishes};
use super::tariff::one_tariff;
use super::{CliError, Exit, Output};
use crate::billing::reconciliation::table::BadRows;
use crate::host::wall_clock;
use crate::message::Subject;
use crate::payment::{Credential, CredentialKind};
use crate::session::Policy;
use crate::sim::fleet::FleetReport;
use crate::sim::pace::Pace;
use crate::sim::pipe::Dialler;
use crate::sim::processor::{Lines, Service, Settings};
use crate::sim::recording::{RecordedSession, read_recording};
use crate::sim::replay::{ReplayReport, Telling, by_charger, replay};
use crate::sim::tls::dialler;
use crate::tariff::{Tariff, zone_named};
use crate::transport::pki_folder::PkiFolder;
use crate::transport::resolve;
use crate::transport::{Connector, Trust};
use crate::units::{ChargerId, Power, ProcessorId, TimeSpan, counted};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Send recorded sessions to a gate, and compare what it bills with what was billed
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The file has a header line and the columns session_id, charger_id, connector, \
start, end, inactive_s, energy_wh, billed (or billed_ and the code of the tariff's \
currency, like billed_eur), place. Every charger of the file \
connects under its own name with a certificate of its own.\n\n\
Example:\n  wattstile replay --sessions sessions.csv --tariff tariff.json --json\n\n\
Ends with 0 when every session was settled at exactly the recorded cost and no \
reading was lost, else with 1; also with 1 when rows were left out.")]
pub struct Args {
    /// Recorded sessions, in CSV
    #[arg(long, value_name = "FILE", env = "WATTSTILE_REPLAY_SESSIONS")]
    sessions: PathBuf,
    /// The tariff by which they were billed, as OCPI JSON
    #[arg(long, value_name = "FILE", env = "WATTSTILE_REPLAY_TARIFF")]
    tariff: PathBuf,
    /// The tariff's id, where its file is a list
    #[arg(long, value_name = "ID")]
    tariff_id: Option<String>,
    /// Time between two readings, in seconds of session time
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    interval: u32,
    /// The chargers' time zone (IANA)
    #[arg(long = "timezone", alias = "zone", value_name = "ZONE", default_value = "Europe/Paris")]
    zone: String,
    /// Send them to a running gate: its listener for chargers. It has to know the
    /// tariff, and must not doubt old readings
    #[arg(value_parser = resolve, long = "gate", alias = "connect", value_name = "ADDRESS", conflicts_with = "data")]
    connect: Option<SocketAddr>,
    /// Its listener for processors, when it has no processor yet
    #[arg(value_parser = resolve, long, value_name = "ADDRESS", requires = "connect")]
    processors: Option<SocketAddr>,
    /// The PKI of a running gate
    #[arg(long, value_name = "DIR", default_value = ".wattstile/gate/pki", env = "WATTSTILE_PKI")]
    pki: PathBuf,
    /// Keep the gate's data in this directory (new or empty)
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Go on without the rows that cannot be read: they are counted, and the verb ends with 1
    #[arg(long)]
    skip_invalid: bool,
    /// Most mean power of a session, in kilowatts: a row with more is wrong
    #[arg(long, value_name = "KW", default_value_t = 400)]
    power_max: u32,
    /// Give up when nothing has happened for this long
    #[arg(long = "timeout", alias = "patience", value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    zone_named(&args.zone).map_err(|error| CliError::new(Exit::Usage, error))?;
    let file = File::open(&args.sessions).map_err(|error| CliError::file(&args.sessions, &error))?;
    let tariff = one_tariff(&args.tariff, args.tariff_id.as_deref())?.tariff;
    let power_max = Power::from_milliwatts(i64::from(args.power_max) * 1_000_000);
    let unreadable = |error: &dyn std::fmt::Display| CliError::failed(format!("{}: {error}", args.sessions.display()));
    let found =
        read_recording(BufReader::new(file), tariff.currency(), power_max).map_err(|error| unreadable(&error))?;
    if !found.bad.is_empty() && !args.skip_invalid {
        return Err(unreadable(&found.bad).help("--skip-invalid goes on without these rows"));
    }
    if found.rows.is_empty() {
        return Err(unreadable(&found.bad).help("no row of the file can be read: there is nothing to replay"));
    }
    let (sessions, skipped) = (found.rows, found.bad);
    let total = u64::try_from(sessions.len()).unwrap_or(u64::MAX);
    let bar = output.progress(total, "sessions");
    let telling = Telling {
        interval: TimeSpan::from_secs(i64::from(args.interval)),
        credential: Credential { kind: CredentialKind::CardToken, token: (*b"replay").into() },
        timeout: args.timeout,
    };
    let progress = |fleet: &FleetReport| bar.set_position(fleet.tally.receipts);
    let report = match args.connect {
        Some(gate) => with_running_gate(sessions, gate, &args, &telling, progress),
        None => with_own_gate(sessions, tariff, &args, &telling, progress),
    }?;
    bar.finish_and_clear();
    let answer = Answer { report: &report, skipped: &skipped };
    output.answer("replay/1", &answer, |out| {
        text_of(&report, out)?;
        skipped_rows(&skipped, out)
    })?;
    Ok(if report.is_exact() && skipped.is_empty() { Exit::Ok } else { Exit::Failed })
}

/// The report, and the rows that were left out.
#[derive(serde::Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    report: &'a ReplayReport,
    #[serde(skip_serializing_if = "BadRows::is_empty")]
    skipped: &'a BadRows,
}

/// Text on the rows of a file that were skipped.
pub(super) fn skipped_rows(skipped: &BadRows, out: &mut dyn Write) -> io::Result<()> {
    if skipped.is_empty() {
        return Ok(());
    }
    writeln!(out, "  {BAD}left out{BAD:#}             {} that cannot be read", counted(skipped.count, "row"))?;
    skipped.listed_rows.iter().try_for_each(|row| writeln!(out, "    {row}"))
}

/// Recorded sessions are years old, so their times are compared with no clock.
fn policy() -> Policy {
    Policy { clock_ahead_max: None, backlog_max: None, ..Policy::default() }
}

fn with_own_gate(
    sessions: Vec<RecordedSession>,
    tariff: Tariff,
    args: &Args,
    telling: &Telling,
    progress: impl FnMut(&FleetReport),
) -> Result<ReplayReport, CliError> {
    let mut gate = OwnGate::start(Wishes {
        name: "wattstile-replay",
        tariff,
        zone: args.zone.clone(),
        policy: policy(),
        shards: 1,
        partitions: 64,
        rules: Vec::new(),
        data: args.data.clone(),
        is_reported: false,
    })?;
    let chargers = by_charger(sessions);
    let mut dials: BTreeMap<ChargerId, Dialler> = BTreeMap::new();
    for id in chargers.keys() {
        dials.insert(id.clone(), gate.charger(&Subject::Charger(id.clone()))?);
    }
    let processor = gate.processor(&processor_id()?)?;
    let report = tell(&chargers, &dials, Some(processor), telling, progress)?;
    gate.stop();
    Ok(report)
}

fn with_running_gate(
    sessions: Vec<RecordedSession>,
    gate: SocketAddr,
    args: &Args,
    telling: &Telling,
    progress: impl FnMut(&FleetReport),
) -> Result<ReplayReport, CliError> {
    let mut folder = PkiFolder::open(&args.pki).map_err(|error| CliError::new(Exit::NotFound, error))?;
    let trust = Trust::new(std::slice::from_ref(folder.root()), "localhost").map_err(CliError::failed)?;
    let mut way = |subject: Subject, address: SocketAddr| {
        let own = folder.peer(&subject, 30, wall_clock()).map_err(CliError::failed)?;
        Ok::<_, CliError>(dialler(Connector::new(&trust, own).map_err(CliError::failed)?, address))
    };
    let chargers = by_charger(sessions);
    let mut dials: BTreeMap<ChargerId, Dialler> = BTreeMap::new();
    for id in chargers.keys() {
        dials.insert(id.clone(), way(Subject::Charger(id.clone()), gate)?);
    }
    let processor = match args.processors {
        Some(address) => Some(way(Subject::Processor(processor_id()?), address)?),
        None => None,
    };
    tell(&chargers, &dials, processor, telling, progress)
}

fn processor_id() -> Result<ProcessorId, CliError> {
    ProcessorId::new("replay-cards").map_err(CliError::failed)
}

/// Sends the recording, with an approving processor of its own where the gate has none.
fn tell(
    chargers: &BTreeMap<ChargerId, Vec<Arc<RecordedSession>>>,
    dials: &BTreeMap<ChargerId, Dialler>,
    processor: Option<Dialler>,
    telling: &Telling,
    progress: impl FnMut(&FleetReport),
) -> Result<ReplayReport, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("replay")
        .enable_all()
        .build()
        .map_err(CliError::failed)?;
    runtime.block_on(async {
        let mut service = None;
        if let Some(dialler) = processor {
            let lines = Lines { dialler, connections: 1, mac: None };
            let started = Service::start(Settings::instant(processor_id()?), &lines, &Pace::new(1));
            wait_for(&started, telling.timeout).await?;
            service = Some(started);
        }
        let report = replay(chargers, |id| Arc::clone(&dials[id]), telling, progress).await;
        if let Some(service) = service {
            service.stop(false).await;
        }
        Ok(report)
    })
}

/// Waits until the gate has answered the processor's `Hello`, so that the first start finds it connected.
async fn wait_for(service: &Service, timeout: Duration) -> Result<(), CliError> {
    let deadline = tokio::time::Instant::now() + timeout;
    loop {
        let report = service.report(false);
        if report.connections_open > 0 {
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            let why = report.last_error.unwrap_or_else(|| "the gate says nothing".to_owned());
            return Err(CliError::new(Exit::Unreachable, format!("the processor cannot reach the gate: {why}")));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl ReplayReport {
    /// Whether everything was settled as recorded and nothing was lost.
    pub fn is_exact(&self) -> bool {
        self.cost_equal_to_billed == self.sessions && self.settled == self.sessions && self.ticks_lost == 0
    }
}

fn text_of(report: &ReplayReport, out: &mut dyn Write) -> io::Result<()> {
    let style = if report.is_exact() { GOOD } else { BAD };
    writeln!(
        out,
        "{} of {} in {} s",
        counted(report.sessions, "session"),
        counted(report.chargers, "charger"),
        report.seconds
    )?;
    writeln!(out, "  settled              {}", report.settled)?;
    writeln!(out, "  cost equal to billed {style}{}{style:#}", report.cost_equal_to_billed)?;
    writeln!(out, "  largest difference   {}", report.max_difference)?;
    writeln!(out, "  readings             {}, lost {}", report.ticks, report.ticks_lost)?;
    for different in &report.different {
        writeln!(
            out,
            "  session {} of {}: billed {}, receipt {}",
            different.session, different.charger, different.billed, different.cost
        )?;
    }
    for (code, count) in &report.refused {
        writeln!(out, "  {} refused: {}", counted(*count, "start"), crate::message::Code::from_number(*code))?;
    }
    for (code, count) in &report.rejected {
        writeln!(out, "  {} refused: {}", counted(*count, "reading"), crate::message::Code::from_number(*code))?;
    }
    if let Some(error) = &report.last_error {
        writeln!(out, "  last broken connection: {error}")?;
    }
    Ok(())
}
