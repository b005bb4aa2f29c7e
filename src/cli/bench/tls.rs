//! Over mutual TLS: how many readings a gate makes durable, and how long each waits for its acknowledgement.
//!
//! The gate runs in this process, the chargers in another one that is started for it, so that the gate's cost is
//! measured apart from that of its load. The other process reads its certificates from its standard input.

use super::super::own_gate::{OwnGate, Wishes};
use super::super::{CliError, Exit, Output};
use super::observers::Observers;
use super::readings::{Args, Course, Measured};
use crate::app::Figures;
use crate::bench::load::{Load, LoadPeer, LoadReport, LoadSettings, Speech};
use crate::host::ProcessUsage;
use crate::message::Subject;
use crate::ocpp::Version;
use crate::payment::CredentialKind;
use crate::payment::routing::Rule;
use crate::sim::pace::Pace;
use crate::sim::processor::{Lines, Service, Settings};
use crate::sim::tls::{dialler, ocpp_dialler};
use crate::tariff::Tariff;
use crate::transport::pki::Certified;
use crate::transport::{Connector, Trust};
use crate::units::{ChargerId, ProcessorId, SiteId};
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The parameters of the other process, in JSON on its standard input.
#[derive(Serialize, Deserialize)]
struct Job {
    gate: SocketAddr,
    root: Vec<u8>,
    peers: Vec<Peer>,
    sessions: u32,
    rate: Option<u32>,
    duration_ms: u64,
    timeout_ms: u64,
    window: u32,
    storm: bool,
}

/// A connection of the other process: its key and certificate, and its chargers.
#[derive(Serialize, Deserialize)]
pub(super) struct Peer {
    chain: Vec<Vec<u8>>,
    key: Vec<u8>,
    chargers: Vec<ChargerId>,
    speech: Speech,
}

impl Peer {
    pub fn new(own: &Certified, chargers: Vec<ChargerId>, speech: Speech) -> Peer {
        let chain = own.chain.iter().map(|certificate| certificate.to_vec()).collect();
        Peer { chain, key: own.key.secret_der().to_vec(), chargers, speech }
    }

    pub fn chargers(&self) -> &[ChargerId] {
        &self.chargers
    }

    /// How it connects.
    ///
    /// # Errors
    /// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
    pub fn connector(&self, trust: &Trust) -> Result<Connector, CliError> {
        let key = self.key.clone().try_into().map_err(CliError::failed)?;
        let chain = self.chain.iter().map(|certificate| certificate.clone().into()).collect();
        Connector::new(trust, Certified { chain, key }).map_err(CliError::failed)
    }
}

/// Measures.
pub(super) fn measure(args: &Args, course: Course, output: &Output) -> Result<Measured, CliError> {
    let Course { rate, is_ocpp, is_observed } = course;
    let tariff = Tariff::parse(super::TARIFF).map_err(CliError::failed)?.tariff;
    let processor = ProcessorId::new("bench-cards").map_err(CliError::failed)?;
    // Chargers of OCPP 1.6 read cards only, which a processor gets by a rule that names them.
    let rules = if is_ocpp { vec![rule_for_cards(&processor)] } else { Vec::new() };
    let mut gate = OwnGate::start(Wishes {
        name: "wattstile-bench",
        tariff,
        zone: "Europe/Amsterdam".to_owned(),
        policy: crate::session::Policy::default(),
        shards: args.shards,
        partitions: args.partitions,
        rules,
        data: args.data.clone(),
        is_reported: is_observed,
    })?;
    let job = job(args, rate, is_ocpp, &mut gate)?;
    let dialler = gate.processor(&processor)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(CliError::failed)?;
    let service = runtime.block_on(async {
        let lines = Lines { dialler, connections: 2, mac: None };
        let mut settings = Settings::instant(processor);
        if is_ocpp {
            settings.capabilities.credentials.push(CredentialKind::Rfid);
        }
        let service = Service::start(settings, &lines, &Pace::new(1));
        while service.report(false).connections_open == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        service
    });
    let before = ProcessUsage::own();
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
        output.inform(format_args!("opening {} sessions on {} connections", args.sessions, args.connections));
        let _opened = next()?;
        gate.gate().take_commits();
        let (open, written) = (ProcessUsage::own(), gate.gate().log().written());
        let observers =
            is_observed.then(|| Observers::start(gate.gate(), args.timeout)).transpose().map_err(io::Error::other)?;
        output.inform(format_args!("measuring for {}", humantime::format_duration(args.duration)));
        input.write_all(b"go\n")?;
        input.flush()?;
        let load: LoadReport = serde_json::from_str(&next()?)?;
        let after = ProcessUsage::own();
        let observed = observers.map(Observers::stop).transpose().map_err(io::Error::other)?;
        let written = gate.gate().log().written() - written;
        let log_bytes = gate.gate().log().used();
        let commits = gate.gate().take_commits();
        let figures = Figures::gather(gate.gate().directory()).map_err(io::Error::other)?;
        let storm = if args.storm {
            output.inform(format_args!("every connection is closed and opened again"));
            Some(serde_json::from_str(&next()?)?)
        } else {
            None
        };
        // The sessions stay live until the other process ends.
        drop(input);
        Ok::<_, io::Error>((load, open, after, commits, figures, storm, written, log_bytes, observed))
    })();
    if result.is_err() {
        let _ = child.kill();
    }
    let _ = child.wait();
    let (load, open, after, commits, figures, storm, written, log_bytes, observed) =
        result.map_err(CliError::failed)?;
    runtime.block_on(service.stop(false));
    gate.stop();
    let readings_recorded = figures.readings;
    Ok(Measured { load, storm, readings_recorded, written, log_bytes, before, open, after, commits, observed })
}

fn rule_for_cards(processor: &ProcessorId) -> Rule {
    Rule {
        processor: processor.clone(),
        priority: 0,
        weight: 1,
        credentials: vec![CredentialKind::Rfid],
        currencies: Vec::new(),
        sites: Vec::new(),
        least: Vec::new(),
        greatest: Vec::new(),
    }
}

/// The peers with their certificates.
fn job(args: &Args, rate: Option<u32>, is_ocpp: bool, gate: &mut OwnGate) -> Result<Job, CliError> {
    let usage = |error: crate::units::IdError| CliError::new(Exit::Usage, error);
    let chargers: Vec<ChargerId> = (1..=args.chargers())
        .map(|number| ChargerId::new(&format!("LOAD-{number:07}")))
        .collect::<Result<_, _>>()
        .map_err(usage)?;
    let connections = usize::try_from(args.connections.min(args.chargers())).unwrap_or(1);
    let per_line = chargers.len().div_ceil(connections);
    let speech = match (is_ocpp, per_line) {
        (true, _) => Speech::Ocpp,
        (false, 1) => Speech::Charger,
        (false, _) => Speech::Site,
    };
    let mut peers = Vec::with_capacity(connections);
    for (chargers, number) in chargers.chunks(per_line).zip(1..) {
        let subject = match (speech, chargers) {
            (Speech::Charger | Speech::Ocpp, [charger]) => Subject::Charger(charger.clone()),
            _ => Subject::Site(SiteId::new(&format!("load-{number}")).map_err(usage)?),
        };
        let own = gate.issue(&subject)?;
        peers.push(Peer::new(&own, chargers.to_vec(), speech));
    }
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let address = if is_ocpp { gate.gate().ocpp.first().copied() } else { gate.gate().chargers };
    Ok(Job {
        gate: address.ok_or_else(|| CliError::failed("the gate has no listener for chargers"))?,
        root: gate.root(),
        peers,
        sessions: args.sessions,
        rate,
        duration_ms: ms(args.duration),
        timeout_ms: ms(args.timeout),
        window: args.window,
        storm: args.storm,
    })
}

/// The other process: opens the sessions, reports it, waits for a line, measures, reports, and stays until its input
/// ends.
pub(super) fn generate() -> Result<Exit, CliError> {
    let mut input = String::new();
    io::stdin().read_line(&mut input).map_err(CliError::failed)?;
    let job: Job = serde_json::from_str(&input).map_err(CliError::failed)?;
    let trust = Trust::new(&[job.root.into()], "localhost").map_err(CliError::failed)?;
    let mut peers = Vec::with_capacity(job.peers.len());
    for peer in job.peers {
        let connector = peer.connector(&trust)?;
        let dialler = match (peer.speech, peer.chargers.first()) {
            (Speech::Ocpp, Some(charger)) => ocpp_dialler(connector, job.gate, (charger, Version::V16)),
            _ => dialler(connector, job.gate),
        };
        peers.push(LoadPeer { dialler, chargers: peer.chargers, speech: peer.speech });
    }
    let settings = LoadSettings {
        sessions: job.sessions,
        rate: job.rate,
        duration: Duration::from_millis(job.duration_ms),
        timeout: Duration::from_millis(job.timeout_ms),
        window: job.window,
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(CliError::failed)?;
    runtime.block_on(async {
        let mut load = Load::open(settings, peers, |_| ()).await;
        write_line("open")?;
        let mut line = String::new();
        io::stdin().read_line(&mut line).map_err(CliError::failed)?;
        let report = load.measure(|_| ()).await;
        write_line(&serde_json::to_string(&report).map_err(CliError::failed)?)?;
        if job.storm {
            write_line(&serde_json::to_string(&load.storm().await).map_err(CliError::failed)?)?;
        }
        line.clear();
        io::stdin().read_line(&mut line).map_err(CliError::failed)?;
        load.close().await;
        Ok(Exit::Ok)
    })
}

pub(super) fn write_line(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(CliError::failed)
}
