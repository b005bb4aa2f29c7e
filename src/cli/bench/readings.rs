//! How many readings a gate makes durable, and how long each waits for its acknowledgement.

use super::super::{CliError, Exit, Output};
use super::observers::Observed;
use super::{in_process, tls};
use crate::bench::load::{LoadReport, StormReport};
use crate::host::ProcessUsage;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

const SESSIONS_PER_CHARGER: u32 = 64;

/// How the load is made.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Over mutual TLS, from another process: the default
    #[arg(long)]
    tls: bool,
    /// Without connections, from the gate's own process
    #[arg(long, conflicts_with_all = ["tls", "connections", "window", "storm"])]
    in_process: bool,
    /// Chargers of OCPP 1.6 on connections of their own, one MeterValues for each reading; then native ones, as many, in the same run
    #[arg(long, conflicts_with_all = ["in_process", "sessions", "chargers"])]
    ocpp: bool,
    /// Live sessions
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) sessions: u32,
    /// Chargers, of at most 64 sessions each [default: 1000; in process one for each session]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    chargers: Option<u32>,
    /// Connections; fewer than chargers: of site controllers
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) connections: u32,
    /// Readings per second, or `max`
    #[arg(long, value_name = "R", default_value = "50000")]
    rate: String,
    /// How long it is measured
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub(super) duration: Duration,
    /// Unacknowledged readings per connection with `--rate max`
    #[arg(long, value_name = "N", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) window: u32,
    /// How long the gate may take to open the sessions, and for the last acknowledgements
    #[arg(long = "timeout", alias = "patience", value_name = "TIME", default_value = "120s", value_parser = humantime::parse_duration)]
    pub(super) timeout: Duration,
    /// Threads that run the gate's partitions
    #[arg(long, value_name = "N", default_value_t = super::default_shards(), value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) shards: u16,
    /// Partitions of the id space
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) partitions: u16,
    /// In process: below how many MiB the log is kept; snapshots that come less often leave more to the readings
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..=1_048_576), requires = "in_process")]
    pub(super) log_mib: u64,
    /// Keep the gate's data in this directory (new or empty)
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    #[command(flatten)]
    page: super::Page,
    /// In the end drop all connections at once, and measure until all are connected and served again
    #[arg(long)]
    pub(super) storm: bool,
    /// The same again in the same run, while a browser looks at the console, a program follows the events, and a reporting database is kept
    #[arg(long, conflicts_with_all = ["ocpp", "storm"])]
    observed: bool,
    /// Be the other process
    #[arg(long, hide = true)]
    generator: bool,
}

impl Args {
    pub(super) fn chargers(&self) -> u32 {
        let least = self.sessions.div_ceil(SESSIONS_PER_CHARGER);
        let usual = if self.in_process { self.sessions } else { least.max(1_000) };
        self.chargers.unwrap_or(usual)
    }
}

/// What a run came to, before anything is worked out.
pub(super) struct Measured {
    pub load: LoadReport,
    pub storm: Option<StormReport>,
    /// Readings in the gate's journal, by its own count.
    pub readings_recorded: u64,
    /// Bytes written to the log while it was measured.
    pub written: u64,
    /// The greatest size of the log among the samples.
    pub log_bytes: u64,
    /// Before the first session.
    pub before: ProcessUsage,
    /// With all sessions open, before the measurement.
    pub open: ProcessUsage,
    /// After the measurement, with everything still live.
    pub after: ProcessUsage,
    /// Microseconds of group commits.
    pub commits: Histogram<u64>,
    /// What those got who looked at it.
    pub observed: Option<Observed>,
}

/// How it is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    /// Readings per second; none: as many as possible.
    pub rate: Option<u32>,
    /// The chargers speak OCPP.
    pub is_ocpp: bool,
    /// People and programs look at it.
    pub is_observed: bool,
}

/// Native chargers beside those that speak OCPP, on as many connections.
#[derive(Debug, Serialize)]
struct Native {
    readings_durable_per_s: u64,
    ack_p99_us: u64,
    lost: u64,
    /// The OCPP chargers' rate as a share of this one.
    ocpp_percent: u64,
}

/// The same while people and programs look at it.
#[derive(Debug, Serialize)]
struct Beside {
    readings_durable_per_s: u64,
    ack_p50_us: u64,
    ack_p99_us: u64,
    lost: u64,
    /// The time to acknowledgement of the slowest in a hundred, as a share of that without them.
    ack_p99_percent: u64,
    #[serde(flatten)]
    observed: Option<Observed>,
}

/// The figures of a run.
#[derive(Debug, Serialize)]
struct Report {
    /// `tls`: over mutual TLS from another process; `ocpp`: the same, and OCPP 1.6; `in-process`: without connections.
    mode: &'static str,
    sessions: u32,
    chargers: u32,
    /// 0 in process.
    connections: u32,
    /// The requested readings per second; absent for as many as possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<u32>,
    #[serde(flatten)]
    load: LoadReport,
    /// What native chargers came to in the same run, where these speak OCPP.
    #[serde(skip_serializing_if = "Option::is_none")]
    native: Option<Native>,
    /// What it came to while people and programs looked at it.
    #[serde(skip_serializing_if = "Option::is_none")]
    observed: Option<Beside>,
    /// Result of the reconnection of all chargers.
    #[serde(skip_serializing_if = "Option::is_none")]
    storm: Option<StormReport>,
    /// Readings in the gate's journal, by its own count.
    readings_recorded: u64,
    /// Resident memory of the gate's process while everything is live; in process that of the load is in it.
    rss_bytes: u64,
    /// Its growth since before the first connection, per live session.
    bytes_per_session: u64,
    /// Processor time of the gate's process while it was measured, in milliseconds.
    cpu_ms: u64,
    /// The same in seconds.
    cpu_seconds: serde_json::Number,
    /// What was written to the log while it was measured, per acknowledged reading.
    journal_bytes_per_reading: u64,
    /// The most that the log took.
    log_bytes: u64,
    /// Group commits: how long the middle one took, in microseconds.
    commit_p50_us: u64,
    /// And the slowest in a hundred.
    commit_p99_us: u64,
}

impl Report {
    fn new(args: &Args, rate: Option<u32>, measured: Measured) -> Report {
        let Measured { load, storm, readings_recorded, written, log_bytes, before, open, after, commits, .. } =
            measured;
        let cpu_ms = after.cpu_ms.saturating_sub(open.cpu_ms);
        let seconds = format!("{}.{:03}", cpu_ms / 1_000, cpu_ms % 1_000);
        Report {
            mode: match (args.in_process, args.ocpp) {
                (true, _) => "in-process",
                (false, true) => "ocpp",
                (false, false) => "tls",
            },
            sessions: args.sessions,
            chargers: args.chargers(),
            connections: if args.in_process { 0 } else { args.connections },
            rate,
            readings_recorded,
            rss_bytes: after.resident_bytes,
            bytes_per_session: after.resident_bytes.saturating_sub(before.resident_bytes) / load.sessions_live.max(1),
            cpu_ms,
            cpu_seconds: seconds.parse().expect("digits, a point and three digits are a JSON number"),
            journal_bytes_per_reading: written / (load.readings_sent - load.lost).max(1),
            log_bytes,
            commit_p50_us: commits.value_at_quantile(0.5),
            commit_p99_us: commits.value_at_quantile(0.99),
            native: None,
            observed: None,
            storm,
            load,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(mut args: Args, output: &Output) -> Result<Exit, CliError> {
    if args.generator {
        return tls::generate();
    }
    if args.ocpp {
        // A charger on each connection, and a session at each charger.
        (args.sessions, args.chargers) = (args.connections, Some(args.connections));
    }
    let rate = match args.rate.as_str() {
        "max" => None,
        text => Some(
            text.parse::<u32>()
                .ok()
                .filter(|rate| *rate > 0)
                .ok_or_else(|| CliError::new(Exit::Usage, format!("--rate `{text}` is neither a number nor `max`")))?,
        ),
    };
    if args.sessions.div_ceil(SESSIONS_PER_CHARGER) > args.chargers() {
        return Err(CliError::new(Exit::Usage, "a charger has at most 64 sessions: more --chargers are needed"));
    }
    let course = Course { rate, is_ocpp: args.ocpp, is_observed: false };
    let measure = if args.in_process { in_process::measure } else { tls::measure };
    let measured = measure(&args, course, output)?;
    let mut report = Report::new(&args, rate, measured);
    if args.ocpp {
        output.inform("the same with native chargers");
        (args.storm, args.data) = (false, None);
        let Measured { load, .. } = measure(&args, Course { is_ocpp: false, ..course }, output)?;
        report.native = Some(Native {
            readings_durable_per_s: load.readings_durable_per_s,
            ack_p99_us: load.ack_p99_us,
            lost: load.lost,
            ocpp_percent: report.load.readings_durable_per_s * 100 / load.readings_durable_per_s.max(1),
        });
    }
    if args.observed {
        output.inform("the same while it is looked at");
        args.data = None;
        let Measured { load, observed, .. } = measure(&args, Course { is_observed: true, ..course }, output)?;
        report.observed = Some(Beside {
            readings_durable_per_s: load.readings_durable_per_s,
            ack_p50_us: load.ack_p50_us,
            ack_p99_us: load.ack_p99_us,
            lost: load.lost,
            ack_p99_percent: load.ack_p99_us * 100 / report.load.ack_p99_us.max(1),
            observed,
        });
    }
    args.page.write("wattstile bench", &report)?;
    output.answer("bench/1", &report, |out| text_of(&report, out))?;
    Ok(
        if report.load.lost == 0
            && report.observed.is_none_or(|beside| beside.lost == 0)
            && report.load.disconnects == 0
            && report.storm.is_none_or(|storm| storm.sessions_failed == 0)
        {
            Exit::Ok
        } else {
            Exit::Failed
        },
    )
}

fn text_of(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let load = &report.load;
    writeln!(out, "{} readings/s durable, {} lost", load.readings_durable_per_s, load.lost)?;
    match report.connections {
        0 => writeln!(out, "  sessions   {} live of {} chargers, in process", load.sessions_live, report.chargers)?,
        lines => writeln!(out, "  sessions   {} live on {lines} connections", load.sessions_live)?,
    }
    writeln!(
        out,
        "  ack        p50 {} µs   p99 {} µs   p99.9 {} µs   max {} µs",
        load.ack_p50_us, load.ack_p99_us, load.ack_p999_us, load.ack_max_us
    )?;
    writeln!(out, "  commit     p50 {} µs   p99 {} µs", report.commit_p50_us, report.commit_p99_us)?;
    writeln!(
        out,
        "  gate       {} MiB resident, {} bytes per session, {} s of processor time",
        report.rss_bytes >> 20,
        report.bytes_per_session,
        report.cpu_seconds
    )?;
    let (each, most) = (report.journal_bytes_per_reading, report.log_bytes >> 20);
    writeln!(out, "  journal    {each} bytes per reading, the log takes {most} MiB")?;
    if let Some(native) = &report.native {
        writeln!(
            out,
            "  native     {} readings/s durable, ack p99 {} µs: these are {} % of it",
            native.readings_durable_per_s, native.ack_p99_us, native.ocpp_percent
        )?;
    }
    if let Some(Beside { readings_durable_per_s, ack_p99_us, ack_p99_percent, observed, .. }) = &report.observed {
        writeln!(
            out,
            "  observed   {readings_durable_per_s} readings/s durable, ack p99 {ack_p99_us} µs: {ack_p99_percent} % of the above"
        )?;
        if let Some(Observed { pages, page_p50_us, page_p99_us, events, reporting_lag_p99_ms }) = observed {
            writeln!(out, "             {pages} pages, p50 {page_p50_us} µs, p99 {page_p99_us} µs; {events} events")?;
            writeln!(out, "             reporting  {reporting_lag_p99_ms} ms behind, p99")?;
        }
    }
    if let Some(storm) = &report.storm {
        writeln!(
            out,
            "  storm      {} of {} connections back, all served after {} ms, p50 {} µs, {} sessions failed",
            storm.returned, storm.connections, storm.served_ms, storm.back_p50_us, storm.sessions_failed
        )?;
    }
    match &load.last_error {
        Some(error) => writeln!(out, "  last error {error}"),
        None => Ok(()),
    }
}
