//! In process: machines, actors and journal on sled, without connections. One reading per message.

use super::super::own_gate::TemporaryFolder;
use super::super::{CliError, Output};
use super::observers::Observers;
use super::readings::{Args, Course, Measured};
use crate::app::{Assigned, Data, Figures, Gate, Settings, SnapshotPolicy};
use crate::bench::load::LoadReport;
use crate::bench::{InProcessLoad, InProcessSettings};
use crate::config::reporting_url::{FILE, ReportingUrl};
use crate::host::ProcessUsage;
use crate::host::SystemClock;
use crate::journal::Layout;
use crate::session::Policy;
use crate::tariff::Tariff;
use crate::units::TimeSpan;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The most readings in one turn; fewer at a low rate, at which a connection would not gather so many.
const PER_TURN_MAX: u32 = 512;
/// At a given rate a turn comes about so often, with so many readings at least.
const TURNS_PER_SECOND: u32 = 1_000;
const PER_TURN_MIN: u32 = 16;

/// Measures.
pub(super) fn measure(args: &Args, course: Course, output: &Output) -> Result<Measured, CliError> {
    let Course { rate, is_observed, .. } = course;
    let folder = TemporaryFolder::make("wattstile-bench", args.data.clone())?;
    let tariff = Tariff::parse(super::TARIFF).map_err(CliError::failed)?.tariff;
    let before = ProcessUsage::own();
    let gate = Gate::start(Settings {
        shards: args.shards,
        // Opening millions takes minutes, and the first ones send nothing until the last one is open.
        policy: Policy { no_start: TimeSpan::from_secs(3_600), ..Policy::default() },
        snapshot_policy: SnapshotPolicy::log_below(args.log_mib << 20, Duration::from_secs(15 * 60)),
        tariff_resolver: Box::new(Assigned::everywhere(tariff, "Europe/Amsterdam").map_err(CliError::failed)?),
        reporting: is_observed.then(|| ReportingUrl::Sqlite(folder.path().join(FILE))),
        ..Settings::bare(Data::Directory {
            path: folder.path().join("data"),
            layout: Layout::new(args.partitions),
            owner: None,
        })
    })
    .map_err(CliError::failed)?;
    let per_line = rate.map_or(PER_TURN_MAX, |rate| rate.div_ceil(TURNS_PER_SECOND).clamp(PER_TURN_MIN, PER_TURN_MAX));
    let load = InProcessSettings { sessions: args.sessions, chargers: args.chargers(), per_line };
    let mut in_process = InProcessLoad::new(&gate, load, Arc::new(SystemClock::new())).map_err(CliError::failed)?;
    output.inform(format_args!("opening {} sessions", args.sessions));
    let opening = Instant::now();
    in_process.open(&gate, args.timeout).map_err(CliError::failed)?;
    let opening = opening.elapsed();
    let observers = is_observed.then(|| Observers::start(&gate, args.timeout)).transpose()?;
    output.inform(format_args!("measuring for {}", humantime::format_duration(args.duration)));
    gate.take_commits();
    let (open, written) = (ProcessUsage::own(), gate.log().written());
    let mut log_bytes = 0;
    let mut gate_or_data = || log_bytes = gate.log().used().max(log_bytes);
    let sent = send(&mut in_process, rate, args.duration, &mut gate_or_data);
    let in_time = in_process.durable();
    let deadline = Instant::now() + args.timeout;
    while in_process.durable() < sent && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    let (after, written, commits) = (ProcessUsage::own(), gate.log().written() - written, gate.take_commits());
    gate_or_data();
    let observed = observers.map(Observers::stop).transpose()?;
    let acknowledged = in_process.durable();
    let load = LoadReport {
        sessions_live: u64::from(in_process.sessions()),
        opening_ms: u64::try_from(opening.as_millis()).unwrap_or(u64::MAX),
        readings_sent: sent,
        lost: sent.saturating_sub(acknowledged),
        ..LoadReport::of(&in_process.take_latencies(), in_time, args.duration)
    };
    let readings_recorded = Figures::gather(gate.directory()).map_err(CliError::failed)?.readings;
    gate.stop();
    Ok(Measured { load, storm: None, readings_recorded, written, log_bytes, before, open, after, commits, observed })
}

/// Sends readings for the time, and returns how many. At a rate the loop is open: a line is due when it is due, whatever
/// became of the lines before it.
fn send(in_process: &mut InProcessLoad, rate: Option<u32>, duration: Duration, gate_or_data: &mut dyn FnMut()) -> u64 {
    let begun = Instant::now();
    let lines = u32::try_from(in_process.lines()).unwrap_or(u32::MAX).max(1);
    let round =
        rate.map(|rate| Duration::from_secs(1).mul_f64(f64::from(in_process.sessions()) / f64::from(rate.max(1))));
    let (mut sent, mut rounds) = (0, 0_u32);
    while begun.elapsed() < duration {
        let (start, mut line) = (begun + round.map_or(Duration::ZERO, |round| round * rounds), 0_u32);
        sent += in_process.round(|_| {
            if line.is_multiple_of(64) {
                gate_or_data();
            }
            let Some(round) = round else { return (begun.elapsed() < duration).then(Instant::now) };
            let due = start + round.mul_f64(f64::from(line) / f64::from(lines));
            line += 1;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            (due.saturating_duration_since(begun) < duration).then_some(due)
        });
        rounds += 1;
    }
    sent
}
