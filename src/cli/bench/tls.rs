//! Over mutual TLS: how many readings a gate makes durable, and how long each waits for its acknowledgement.
//!
//! The gate runs in this process, the chargers in another one that is started for it, so that what the gate costs can be
//! told apart from what its load costs. The other process is given its certificates on its standard input.

use super::super::own_gate::{OwnGate, Wishes};
use super::super::{CliError, Exit, Output};
use super::usage::Snapshot;
use crate::app::Figures;
use crate::sim::load::{Load, LoadPeer, LoadReport, LoadSettings, StormReport, html};
use crate::sim::pace::Pace;
use crate::sim::processor::{Lines, Service, Settings};
use crate::sim::tls::dialler;
use crate::tariff::Tariff;
use crate::transport::pki::Certified;
use crate::transport::{Connector, Trust};
use crate::units::{ChargerId, ProcessorId, SiteId};
use crate::wire::Subject;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How the load is made.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Live sessions
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    sessions: u32,
    /// Chargers, of at most 64 sessions each
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    chargers: u32,
    /// Connections; fewer than chargers: of site controllers
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Readings per second, or `max`
    #[arg(long, value_name = "R", default_value = "50000")]
    rate: String,
    /// How long it is measured
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Unacknowledged readings per connection with `--rate max`
    #[arg(long, value_name = "N", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..))]
    window: u32,
    /// How long the gate may take to open the sessions, and for the last acknowledgements
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = humantime::parse_duration)]
    patience: Duration,
    /// Threads that run the gate's partitions
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    shards: u16,
    /// Partitions of the id space
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    partitions: u16,
    /// Keep the gate's data in this directory (new or empty)
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Write a page with the figures to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// In the end drop all connections at once, and measure until everybody is back and served
    #[arg(long)]
    storm: bool,
    /// Be the other process
    #[arg(long, hide = true)]
    generator: bool,
}

/// What the other process is told, in JSON on its standard input.
#[derive(Serialize, Deserialize)]
struct Job {
    gate: SocketAddr,
    root: Vec<u8>,
    peers: Vec<Peer>,
    sessions: u32,
    rate: Option<u32>,
    duration_ms: u64,
    patience_ms: u64,
    window: u32,
    storm: bool,
}

#[derive(Serialize, Deserialize)]
struct Peer {
    chain: Vec<Vec<u8>>,
    key: Vec<u8>,
    chargers: Vec<ChargerId>,
    site: bool,
}

/// The figures of a run.
#[derive(Debug, Serialize)]
struct Report {
    /// `tls`: over mutual TLS from another process.
    mode: &'static str,
    sessions: u32,
    chargers: u32,
    connections: u32,
    /// Readings per second that were asked for; absent for as many as possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<u32>,
    #[serde(flatten)]
    load: LoadReport,
    /// How everybody came back.
    #[serde(skip_serializing_if = "Option::is_none")]
    storm: Option<StormReport>,
    /// Readings in the gate's journal, by its own count.
    readings_recorded: u64,
    /// Resident memory of the gate's process while everything is live.
    rss_bytes: u64,
    /// What that is more than before the first connection, per live session.
    bytes_per_session: u64,
    /// Processor time of the gate's process while it was measured, in milliseconds.
    cpu_ms: u64,
    /// The same in seconds.
    cpu_seconds: serde_json::Number,
    /// What the data directory grew by while it was measured, per reading.
    journal_bytes_per_reading: u64,
    /// Group commits: how long the middle one took, in microseconds.
    commit_p50_us: u64,
    /// And the slowest in a hundred.
    commit_p99_us: u64,
}

/// Does what the arguments say.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    if args.generator {
        return generate();
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
    if u64::from(args.sessions) > u64::from(args.chargers) * 64 {
        return Err(CliError::new(Exit::Usage, "a charger has at most 64 sessions: more --chargers are needed"));
    }
    let report = measure(&args, rate, output)?;
    if let Some(path) = &args.html {
        let value = serde_json::to_value(&report).map_err(CliError::failed)?;
        std::fs::write(path, html("wattstile bench", &value)).map_err(|error| CliError::file(path, &error))?;
    }
    output.answer("bench/1", &report, |out| text_of(&report, out))?;
    Ok(
        if report.load.lost == 0
            && report.load.disconnects == 0
            && report.storm.is_none_or(|storm| storm.sessions_failed == 0)
        {
            Exit::Ok
        } else {
            Exit::Failed
        },
    )
}

fn measure(args: &Args, rate: Option<u32>, output: &Output) -> Result<Report, CliError> {
    let tariff = Tariff::parse(super::TARIFF).map_err(CliError::failed)?.tariff;
    let mut gate = OwnGate::start(Wishes {
        name: "wattstile-bench",
        tariff,
        zone: "Europe/Amsterdam".to_owned(),
        policy: crate::session::Policy::default(),
        shards: args.shards,
        partitions: args.partitions,
        data: args.data.clone(),
    })?;
    let job = job(args, rate, &mut gate)?;
    let processor = ProcessorId::new("bench-cards").map_err(CliError::failed)?;
    let dialler = gate.processor(&processor)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(CliError::failed)?;
    let service = runtime.block_on(async {
        let lines = Lines { dialler, connections: 2, mac: None };
        let service = Service::start(Settings::instant(processor), &lines, &Pace::new(1));
        while service.report(false).connections_open == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        service
    });
    let before = Snapshot::take(gate.data());
    let mut child = Command::new(std::env::current_exe().map_err(CliError::failed)?)
        .args(["bench", "--generator"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(CliError::failed)?;
    let result = (|| {
        let text = serde_json::to_vec(&job)?;
        let mut input = child.stdin.take().ok_or_else(|| io::Error::other("no way to the other process"))?;
        input.write_all(&text)?;
        input.write_all(b"\n")?;
        input.flush()?;
        let mut lines = io::BufRead::lines(io::BufReader::new(
            child.stdout.take().ok_or_else(|| io::Error::other("no way from the other process"))?,
        ));
        let mut next = || lines.next().unwrap_or_else(|| Err(io::Error::other("the load process ended early")));
        output.say(format_args!("opening {} sessions on {} connections", args.sessions, args.connections));
        let _opened = next()?;
        gate.gate().take_commits();
        let open = Snapshot::take(gate.data());
        output.say(format_args!("measuring for {}", humantime::format_duration(args.duration)));
        input.write_all(b"go\n")?;
        input.flush()?;
        let load: LoadReport = serde_json::from_str(&next()?)?;
        let after = Snapshot::take(gate.data());
        let commits = gate.gate().take_commits();
        let figures = Figures::gather(gate.gate().directory());
        let storm = match args.storm {
            true => {
                output.say(format_args!("everybody leaves, and comes back"));
                Some(serde_json::from_str(&next()?)?)
            }
            false => None,
        };
        // The sessions stay live until the other process is told to end.
        drop(input);
        Ok::<_, io::Error>((load, open, after, commits, figures, storm))
    })();
    if result.is_err() {
        let _ = child.kill();
    }
    let _ = child.wait();
    let (load, open, after, commits, figures, storm) = result.map_err(CliError::failed)?;
    runtime.block_on(service.stop(false));
    gate.stop();
    let cpu_ms = after.cpu_ms.saturating_sub(open.cpu_ms);
    let acknowledged = load.readings_sent - load.lost;
    let seconds = format!("{}.{:03}", cpu_ms / 1_000, cpu_ms % 1_000);
    Ok(Report {
        mode: "tls",
        sessions: args.sessions,
        chargers: args.chargers,
        connections: args.connections,
        rate,
        readings_recorded: figures.readings,
        rss_bytes: after.rss_bytes,
        bytes_per_session: after.rss_bytes.saturating_sub(before.rss_bytes) / load.sessions_live.max(1),
        cpu_ms,
        cpu_seconds: seconds.parse().expect("digits, a point and three digits are a JSON number"),
        journal_bytes_per_reading: after.data_bytes.saturating_sub(open.data_bytes) / acknowledged.max(1),
        commit_p50_us: commits.value_at_quantile(0.5),
        commit_p99_us: commits.value_at_quantile(0.99),
        storm,
        load,
    })
}

/// The peers with their certificates.
fn job(args: &Args, rate: Option<u32>, gate: &mut OwnGate) -> Result<Job, CliError> {
    let usage = |error: crate::units::IdError| CliError::new(Exit::Usage, error);
    let chargers: Vec<ChargerId> = (1..=args.chargers)
        .map(|number| ChargerId::new(&format!("LOAD-{number:07}")))
        .collect::<Result<_, _>>()
        .map_err(usage)?;
    let connections = usize::try_from(args.connections.min(args.chargers)).unwrap_or(1);
    let per_line = chargers.len().div_ceil(connections);
    let site = per_line > 1;
    let mut peers = Vec::with_capacity(connections);
    for (chargers, number) in chargers.chunks(per_line).zip(1..) {
        let subject = match (site, chargers) {
            (false, [charger]) => Subject::Charger(charger.clone()),
            _ => Subject::Site(SiteId::new(&format!("load-{number}")).map_err(usage)?),
        };
        let own = gate.issue(&subject)?;
        peers.push(Peer {
            chain: own.chain.iter().map(|certificate| certificate.to_vec()).collect(),
            key: own.key.secret_der().to_vec(),
            chargers: chargers.to_vec(),
            site,
        });
    }
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Ok(Job {
        gate: gate.gate().chargers.ok_or_else(|| CliError::failed("the gate has no listener for chargers"))?,
        root: gate.root(),
        peers,
        sessions: args.sessions,
        rate,
        duration_ms: ms(args.duration),
        patience_ms: ms(args.patience),
        window: args.window,
        storm: args.storm,
    })
}

/// The other process: opens the sessions, says so, waits for a line, measures, reports, and stays until its input ends.
fn generate() -> Result<Exit, CliError> {
    let mut input = String::new();
    io::stdin().read_line(&mut input).map_err(CliError::failed)?;
    let job: Job = serde_json::from_str(&input).map_err(CliError::failed)?;
    let trust = Trust::new(&[job.root.into()], "localhost").map_err(CliError::failed)?;
    let mut peers = Vec::with_capacity(job.peers.len());
    for peer in job.peers {
        let key = peer.key.try_into().map_err(CliError::failed)?;
        let chain = peer.chain.into_iter().map(Into::into).collect();
        let connector = Connector::new(&trust, Certified { chain, key }).map_err(CliError::failed)?;
        peers.push(LoadPeer { dialler: dialler(connector, job.gate), chargers: peer.chargers, site: peer.site });
    }
    let settings = LoadSettings {
        sessions: job.sessions,
        rate: job.rate,
        duration: Duration::from_millis(job.duration_ms),
        patience: Duration::from_millis(job.patience_ms),
        window: job.window,
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(CliError::failed)?;
    runtime.block_on(async {
        let mut load = Load::open(settings, peers, |_| ()).await;
        say_line("open")?;
        let mut line = String::new();
        io::stdin().read_line(&mut line).map_err(CliError::failed)?;
        let report = load.measure(|_| ()).await;
        say_line(&serde_json::to_string(&report).map_err(CliError::failed)?)?;
        if job.storm {
            say_line(&serde_json::to_string(&load.storm().await).map_err(CliError::failed)?)?;
        }
        line.clear();
        io::stdin().read_line(&mut line).map_err(CliError::failed)?;
        load.close().await;
        Ok(Exit::Ok)
    })
}

fn say_line(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(CliError::failed)
}

fn text_of(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let load = &report.load;
    writeln!(out, "{} readings/s durable, {} lost", load.readings_durable_per_s, load.lost)?;
    writeln!(out, "  sessions   {} live on {} connections", load.sessions_live, report.connections)?;
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
    writeln!(out, "  journal    {} bytes per reading", report.journal_bytes_per_reading)?;
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
