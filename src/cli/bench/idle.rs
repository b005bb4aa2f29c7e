//! Cost of an idle connection: chargers that have connected and send nothing.
//!
//! The gate runs in this process, the chargers in another one that is started for it, so that only the gate's memory
//! is measured.

use super::super::own_gate::{OwnGate, Wishes};
use super::super::{CliError, Exit, Output};
use super::tls::Peer;
use crate::bench::load::Speech;
use crate::host::ProcessUsage;
use crate::limits;
use crate::message::{Channel, ChargerHello, ConnectorInfo, FromCharger, Subject, ToCharger};
use crate::ocpp::Version;
use crate::sim::pipe::{Duplex, Pipe, PipeEvent};
use crate::sim::tls::ocpp_dialler;
use crate::tariff::Tariff;
use crate::transport::Trust;
use crate::transport::websocket::{End, Incoming, WebSocket};
use crate::units::{Clock, ConnectorId, Power};
use crate::wire::ChargerClientLink;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Measure the memory of connections on which nothing happens
///
/// Chargers connect over mutual TLS from another process, send Hello, and fall silent. What the gate's resident memory grew
/// by, after the first few hundred, is divided by their number.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  wattstile bench idle --connections 5000\n  \
wattstile bench idle --ocpp --connections 5000\n\n\
Every connection takes an open file in each of the two processes: see `ulimit -n`.")]
pub struct Args {
    #[command(flatten)]
    page: super::Page,
    /// Connections to measure
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=19_000))]
    connections: u32,
    /// Chargers that speak OCPP 1.6: a WebSocket each, and a BootNotification
    #[arg(long)]
    ocpp: bool,
    /// How long they stand there before memory is looked at
    #[arg(long = "for", value_name = "TIME", default_value = "3s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Threads that run the gate's partitions
    #[arg(long, value_name = "N", default_value_t = super::default_shards(), value_parser = clap::value_parser!(u16).range(1..=256))]
    shards: u16,
    /// Be the other process
    #[arg(long, hide = true)]
    generator: bool,
}

/// The parameters of the other process, in JSON on its standard input.
#[derive(Serialize, Deserialize)]
struct Job {
    gate: SocketAddr,
    root: Vec<u8>,
    peers: Vec<Peer>,
    ocpp: bool,
    /// Number of connections before the first measurement.
    first: usize,
}

/// What came out.
#[derive(Debug, Serialize)]
struct Report {
    connections: u32,
    /// Resident memory before them, with some others connected already.
    rss_before_bytes: u64,
    /// Resident memory with them.
    rss_bytes: u64,
    /// The difference for each of them: the connection, its TLS, and its charger.
    bytes_per_connection: u64,
    /// How long they took to come in, one after another on a few threads, in milliseconds.
    connecting_ms: u64,
}

/// Come in before anything is measured: threads, buffers and tables are there then.
const FIRST: u32 = 400;
/// Dials under way at once.
const DIALS: usize = 16;

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: &Args, output: &Output) -> Result<Exit, CliError> {
    if args.generator {
        return generate();
    }
    let tariff = Tariff::parse(super::TARIFF).map_err(CliError::failed)?.tariff;
    let mut gate = OwnGate::start(Wishes {
        name: "wattstile-idle",
        tariff,
        zone: "UTC".to_owned(),
        policy: crate::session::Policy::default(),
        shards: args.shards,
        partitions: 64,
        rules: Vec::new(),
        data: None,
        is_reported: false,
    })?;
    let speech = if args.ocpp { Speech::Ocpp } else { Speech::Charger };
    let peers = (1..=FIRST + args.connections).map(|number| {
        let charger = format!("IDLE-{number:05}").parse().map_err(CliError::failed)?;
        let own = gate.issue(&Subject::Charger(charger))?;
        Ok(Peer::new(&own, vec![format!("IDLE-{number:05}").parse().map_err(CliError::failed)?], speech))
    });
    let peers = peers.collect::<Result<Vec<_>, CliError>>()?;
    let address = if args.ocpp { gate.gate().ocpp.first().copied() } else { gate.gate().chargers };
    let address = address.ok_or_else(|| CliError::failed("the gate has no listener for chargers"))?;
    let job = Job { gate: address, root: gate.root(), peers, ocpp: args.ocpp, first: FIRST as usize };
    let text = serde_json::to_vec(&job).map_err(CliError::failed)?;
    drop(job);
    let mut child = Command::new(std::env::current_exe().map_err(CliError::failed)?)
        .args(["bench", "idle", "--generator"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(CliError::failed)?;
    let looked = (|| {
        let none = || io::Error::other("no way to the other process");
        let mut input = child.stdin.take().ok_or_else(none)?;
        let mut lines = BufReader::new(child.stdout.take().ok_or_else(none)?).lines();
        let mut next = || lines.next().unwrap_or_else(|| Err(io::Error::other("the other process ended early")));
        input.write_all(&text)?;
        input.write_all(b"\n")?;
        drop(text);
        output.inform(format_args!("{FIRST} chargers come in first"));
        next()?;
        std::thread::sleep(args.duration);
        let before = ProcessUsage::own();
        output.inform(format_args!("{} chargers come in", args.connections));
        let begun = Instant::now();
        input.write_all(b"go\n")?;
        next()?;
        let connecting = begun.elapsed();
        std::thread::sleep(args.duration);
        Ok::<_, io::Error>((before, ProcessUsage::own(), connecting))
        // Its input ends here, and so does the other process.
    })();
    if looked.is_err() {
        let _ = child.kill();
    }
    let _ = child.wait();
    let (before, after, connecting) = looked.map_err(CliError::failed)?;
    gate.stop();
    let report = Report {
        connections: args.connections,
        rss_before_bytes: before.resident_bytes,
        rss_bytes: after.resident_bytes,
        bytes_per_connection: after.resident_bytes.saturating_sub(before.resident_bytes) / u64::from(args.connections),
        connecting_ms: u64::try_from(connecting.as_millis()).unwrap_or(u64::MAX),
    };
    args.page.write("wattstile bench idle", &report)?;
    output.answer("bench-idle/1", &report, |out| {
        writeln!(out, "{} bytes for each idle connection", report.bytes_per_connection)?;
        let grown = report.rss_bytes.saturating_sub(report.rss_before_bytes) >> 20;
        writeln!(
            out,
            "  gate       {} MiB resident, {grown} MiB of it for {}",
            report.rss_bytes >> 20,
            report.connections
        )?;
        writeln!(out, "  handshakes {} ms for all of them", report.connecting_ms)
    })?;
    Ok(Exit::Ok)
}

/// The other process: connects the first chargers, reports it and waits for a line, connects the rest, and keeps all
/// until its input ends.
fn generate() -> Result<Exit, CliError> {
    let mut lines = io::stdin().lines();
    let mut next = || lines.next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()));
    let job: Job = serde_json::from_str(&next().map_err(CliError::failed)?).map_err(CliError::failed)?;
    let trust = Trust::new(&[job.root.clone().into()], "localhost").map_err(CliError::failed)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(CliError::failed)?;
    let (first, rest) = job.peers.split_at(job.first.min(job.peers.len()));
    let mut connected = Vec::with_capacity(job.peers.len());
    for peers in [first, rest] {
        for several in peers.chunks(DIALS) {
            let dials = several.iter().map(|peer| {
                if job.ocpp {
                    booted(peer, &trust, job.gate).map(|dial| runtime.spawn(dial))
                } else {
                    greeted(peer, &trust, job.gate).map(|dial| runtime.spawn(dial))
                }
            });
            for dial in dials.collect::<Result<Vec<_>, CliError>>()? {
                connected.push(runtime.block_on(dial).map_err(CliError::failed)?.map_err(CliError::failed)?);
            }
        }
        super::tls::write_line("in")?;
        // The second time its input ends, and that is the end.
        if next().is_err() {
            break;
        }
    }
    drop(connected);
    Ok(Exit::Ok)
}

/// Connects, sends `Hello` and awaits the answer.
fn greeted(
    peer: &Peer,
    trust: &Trust,
    gate: SocketAddr,
) -> Result<impl Future<Output = io::Result<Pipe>> + Send + use<>, CliError> {
    let connector = peer.connector(trust)?;
    let charger = peer.chargers().first().cloned().ok_or_else(|| CliError::failed("a connection without a charger"))?;
    Ok(async move {
        let socket = connector.connect(gate).await.map_err(io::Error::other)?;
        let mut pipe = Pipe::new(Box::new(socket) as Box<dyn Duplex>);
        let now = crate::host::SystemClock::new().now();
        let mut link = ChargerClientLink::new(now.mono);
        let power_max = Power::from_milliwatts(22_000_000);
        let connectors = vec![ConnectorInfo { id: ConnectorId(1), power_max }];
        let firmware = concat!("wattstile-idle/", env!("CARGO_PKG_VERSION")).into();
        let hello = ChargerHello {
            numbering: Default::default(),
            charger,
            connectors,
            firmware,
            clock: now.wall,
            sessions: Vec::new(),
        };
        link.send(Channel::ZERO, &FromCharger::Hello(hello), now.mono, pipe.out()).map_err(io::Error::other)?;
        let mut messages = Vec::new();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        loop {
            match pipe.turn(deadline).await? {
                PipeEvent::Bytes(bytes) => link.receive(bytes, now, &mut messages).map_err(io::Error::other)?,
                PipeEvent::Sent => {}
                PipeEvent::Time => return Err(io::ErrorKind::TimedOut.into()),
            }
            if messages.iter().any(|received| matches!(received.message, ToCharger::HelloAck(_))) {
                return Ok(pipe);
            }
        }
    })
}

/// Connects, opens its WebSocket, sends a BootNotification and awaits the answer.
fn booted(
    peer: &Peer,
    trust: &Trust,
    gate: SocketAddr,
) -> Result<impl Future<Output = io::Result<Pipe>> + Send + use<>, CliError> {
    let connector = peer.connector(trust)?;
    let charger = peer.chargers().first().cloned().ok_or_else(|| CliError::failed("a connection without a charger"))?;
    let dialler = ocpp_dialler(connector, gate, (&charger, Version::V16));
    Ok(async move {
        let mut pipe = Pipe::new(dialler.dial().await?);
        let mut websocket = WebSocket::new(End::Client, false, limits::OCPP_MESSAGE_MAX, 1);
        let boot = r#"[2,"1","BootNotification",{"chargePointVendor":"wattstile","chargePointModel":"idle"}]"#;
        websocket.sender().text(boot, pipe.out());
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        let (mut reply, mut is_answered) = (Vec::new(), false);
        while !is_answered {
            match pipe.turn(deadline).await? {
                PipeEvent::Bytes(bytes) => websocket
                    .receive(bytes, &mut reply, |incoming| is_answered |= matches!(incoming, Incoming::Text(_)))
                    .map_err(io::Error::other)?,
                PipeEvent::Sent => {}
                PipeEvent::Time => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
        Ok(pipe)
    })
}
