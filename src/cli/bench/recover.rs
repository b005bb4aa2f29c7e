//! How long a gate takes from its start until it is ready, after it was killed under load.
//!
//! One process opens the sessions, has snapshots taken, and goes on ticking until it is killed with SIGKILL. Another one
//! starts on what it left. What was acknowledged to the first must be known to the second.

use crate::app::{Assigned, Data, Figures, Gate, Settings, ask_all};
use crate::bench::{InProcessLoad, InProcessSettings};
use crate::cli::{CliError, Exit, Output};
use crate::host::SystemClock;
use crate::host::{ProcessUsage, bytes_below};
use crate::journal::{Layout, Progress};
use crate::node::query::Alive;
use crate::session::Policy;
use crate::tariff::Tariff;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Measure how long a gate takes to start again after it was killed under load
///
/// Opens live sessions in a process of its own, ticks them, kills it, and starts
/// again on the same data.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  wattstile bench recover --sessions 1000000 --json")]
pub struct Args {
    #[command(flatten)]
    page: super::Page,
    /// Live sessions, each with its charger
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    sessions: u32,
    /// Readings per second while it runs; 0: as many as possible
    #[arg(long, value_name = "R", default_value_t = 33_000)]
    rate: u32,
    /// How long it ticks after the snapshots, until it is killed
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Threads that run partitions
    #[arg(long, value_name = "N", default_value_t = super::default_shards(), value_parser = clap::value_parser!(u16).range(1..=256))]
    shards: u16,
    /// Partitions of the id space
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    partitions: u16,
    /// Keep the data in this directory (new or empty)
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Be the process that is killed
    #[arg(long, hide = true, conflicts_with = "started")]
    killed: bool,
    /// Be the process that starts again
    #[arg(long, hide = true)]
    started: bool,
}

/// The figures.
#[derive(Debug, Serialize)]
struct Report {
    sessions: u32,
    /// Readings that had been acknowledged at the last report before the kill.
    readings_acknowledged: u64,
    #[serde(flatten)]
    start: Started,
    /// From the start of the process until it reported that it is ready.
    ready_ms: u64,
    /// Acknowledged readings that are not known after the start.
    lost: u64,
    /// What the data directory occupies.
    data_bytes: u64,
    /// Resident memory of the first process while all sessions were live.
    rss_loaded_bytes: u64,
    /// One round of snapshots of all partitions, while the gate ran.
    snapshots_ms: u64,
}

/// The report of the process that starts again.
#[derive(Debug, Serialize, Deserialize)]
struct Started {
    sessions_live: u64,
    readings_recorded: u64,
    /// Opening the store, snapshots, log.
    recovery_ms: u64,
    /// The same until every shard answers: operations in flight are requested again by then.
    answering_ms: u64,
    /// When the snapshots were taken in, from the beginning.
    snapshots_loaded_ms: u64,
    log_records: u64,
    log_bytes: u64,
    rss_bytes: u64,
}

/// The report of the process that is killed.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Word {
    durable: u64,
    rss_bytes: u64,
    snapshots_ms: u64,
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    if args.killed {
        return be_killed(&args);
    }
    if args.started {
        return be_started(&args);
    }
    let temporary;
    let data = match &args.data {
        Some(data) => data.clone(),
        None => {
            temporary = super::super::own_gate::TemporaryFolder::make("wattstile-recover", None)?;
            temporary.path().join("data")
        }
    };
    output.inform(format_args!("opening {} sessions", args.sessions));
    let word = load_and_kill(&args, &data, output)?;
    output.inform("killed; starting again");
    let begun = Instant::now();
    let mut child = again(&args, &data, "--started")?;
    let line = lines(&mut child)?.next().unwrap_or_else(|| Err(io::Error::other("the gate did not start again")));
    let ready_ms = millis(begun.elapsed());
    let start: Started = serde_json::from_str(&line.map_err(CliError::failed)?).map_err(CliError::failed)?;
    // Its report is complete.
    child.kill().and_then(|()| child.wait()).map_err(CliError::failed)?;
    let lost = word.durable.saturating_sub(start.readings_recorded)
        + u64::from(args.sessions).saturating_sub(start.sessions_live);
    let report = Report {
        sessions: args.sessions,
        readings_acknowledged: word.durable,
        start,
        ready_ms,
        lost,
        data_bytes: bytes_below(&data),
        rss_loaded_bytes: word.rss_bytes,
        snapshots_ms: word.snapshots_ms,
    };
    args.page.write("wattstile bench recover", &report)?;
    output.answer("bench-recover/1", &report, |out| text_of(&report, out))?;
    Ok(if report.lost == 0 { Exit::Ok } else { Exit::Failed })
}

fn load_and_kill(args: &Args, data: &Path, output: &Output) -> Result<Word, CliError> {
    let mut child = again(args, data, "--killed")?;
    let reported = (|| {
        let mut lines = lines(&mut child)?;
        let mut next = || {
            let line = lines.next().unwrap_or_else(|| Err(io::Error::other("the load process ended early")));
            serde_json::from_str::<Word>(&line.map_err(CliError::failed)?).map_err(CliError::failed)
        };
        // All sessions are open and the snapshots are taken: from now on it ticks.
        let mut word = next()?;
        output.inform(format_args!("ticking for {}", humantime::format_duration(args.duration)));
        let until = Instant::now() + args.duration;
        while Instant::now() < until {
            word = next()?;
        }
        Ok(word)
    })();
    let killed = child.kill().and_then(|()| child.wait());
    killed.map_err(CliError::failed)?;
    reported
}

fn again(args: &Args, data: &Path, role: &str) -> Result<Child, CliError> {
    let mut command = Command::new(std::env::current_exe().map_err(CliError::failed)?);
    command.args(["bench", "recover", role, "--data"]).arg(data);
    for (name, value) in [
        ("--sessions", u64::from(args.sessions)),
        ("--rate", u64::from(args.rate)),
        ("--shards", u64::from(args.shards)),
        ("--partitions", u64::from(args.partitions)),
    ] {
        command.args([name, &value.to_string()]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(CliError::failed)
}

fn lines(child: &mut Child) -> Result<impl Iterator<Item = io::Result<String>> + use<>, CliError> {
    let out = child.stdout.take().ok_or_else(|| CliError::failed("no way from the other process"))?;
    Ok(BufReader::new(out).lines())
}

/// A gate without listeners on this data.
fn gate(args: &Args, progress: Box<dyn Fn(Progress) + Send + Sync>) -> Result<Gate, CliError> {
    let data = args.data.clone().ok_or_else(|| CliError::new(Exit::Usage, "--data is missing"))?;
    let tariff = Tariff::parse(super::TARIFF).map_err(CliError::failed)?.tariff;
    let settings = Settings {
        shards: args.shards,
        policy: Policy::default(),
        tariff_resolver: Box::new(Assigned::everywhere(tariff, "Europe/Amsterdam").map_err(CliError::failed)?),
        progress,
        ..Settings::bare(Data::Directory { path: data, layout: Layout::new(args.partitions), owner: None })
    };
    Gate::start(settings).map_err(|error| CliError::start(&error))
}

fn be_killed(args: &Args) -> Result<Exit, CliError> {
    let gate = gate(args, Box::new(|_| ()))?;
    let mut in_process =
        InProcessLoad::new(&gate, InProcessSettings::one_each(args.sessions), Arc::new(SystemClock::new()))
            .map_err(CliError::failed)?;
    in_process.open(&gate, Duration::from_secs(600)).map_err(CliError::failed)?;
    // A log in the middle of its life: every partition has its two snapshots, and the log is trimmed below them. A
    // cycle may be in progress that began before the last session was open.
    gate.take_snapshots(Duration::from_secs(600));
    gate.take_snapshots(Duration::from_secs(600));
    in_process.round(|_| Some(Instant::now()));
    let begun = Instant::now();
    gate.take_snapshots(Duration::from_secs(600));
    let snapshots_ms = millis(begun.elapsed());
    let word = |in_process: &InProcessLoad| {
        let rss_bytes = ProcessUsage::own().resident_bytes;
        write_line(&Word { durable: in_process.durable(), rss_bytes, snapshots_ms })
    };
    word(&in_process)?;
    let per_line = in_process.sessions().div_ceil(u32::try_from(in_process.lines()).unwrap_or(u32::MAX).max(1));
    let pause = Duration::from_secs(1).mul_f64(f64::from(per_line) / f64::from(args.rate.max(1)));
    let mut due = Instant::now();
    let mut reported = Instant::now();
    loop {
        let mut failed = Ok(());
        in_process.round(|in_process| {
            if args.rate > 0 {
                due += pause;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            if reported.elapsed() > Duration::from_millis(200) {
                reported = Instant::now();
                failed = word(in_process);
            }
            Some(Instant::now())
        });
        failed?;
    }
}

fn be_started(args: &Args) -> Result<Exit, CliError> {
    let begun = Instant::now();
    let loaded = Arc::new(Mutex::new(0));
    let last = loaded.clone();
    let gate = gate(
        args,
        Box::new(move |progress| {
            if let Progress::Snapshots { done, of } = progress
                && done == of
            {
                *last.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = millis(begun.elapsed());
            }
        }),
    )?;
    let recovery_ms = millis(begun.elapsed());
    ask_all(gate.directory(), &Alive).whole().map_err(CliError::failed)?;
    let answering_ms = millis(begun.elapsed());
    let figures = Figures::gather(gate.directory()).map_err(CliError::failed)?;
    let snapshots_loaded_ms = *loaded.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    write_line(&Started {
        sessions_live: figures.sessions_charging,
        readings_recorded: figures.readings,
        recovery_ms,
        answering_ms,
        snapshots_loaded_ms,
        log_records: gate.recovered.records,
        log_bytes: gate.recovered.bytes,
        rss_bytes: ProcessUsage::own().resident_bytes,
    })?;
    gate.stop();
    Ok(Exit::Ok)
}

fn write_line<T: Serialize>(word: &T) -> Result<(), CliError> {
    let text = serde_json::to_string(word).map_err(CliError::failed)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(CliError::failed)
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn text_of(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let start = &report.start;
    writeln!(out, "ready in {} ms, {} lost", report.ready_ms, report.lost)?;
    writeln!(out, "  sessions   {} live of {}", start.sessions_live, report.sessions)?;
    writeln!(out, "  readings   {} known of {} acknowledged", start.readings_recorded, report.readings_acknowledged)?;
    writeln!(
        out,
        "  recovery   snapshots in after {} ms, log after {} ms, shards answer after {} ms",
        start.snapshots_loaded_ms, start.recovery_ms, start.answering_ms
    )?;
    writeln!(out, "  log        {} records, {} MiB", start.log_records, start.log_bytes >> 20)?;
    writeln!(out, "  data       {} MiB on the disk", report.data_bytes >> 20)?;
    writeln!(out, "  snapshots  taken in {} ms beside the load", report.snapshots_ms)?;
    let (loaded, again) = (report.rss_loaded_bytes >> 20, start.rss_bytes >> 20);
    writeln!(out, "  memory     {loaded} MiB before the kill, {again} MiB after the start")
}
