//! `wattstile sim attack`: attackers of every kind beside regular traffic, and checks of the gate's guarantees.

mod gate;
mod promises;
mod samples;

use super::super::own_gate::TemporaryFolder;
use super::until_the_end;
use crate::api::TrialView;
use crate::cli::gate_or_data::{Source, Which};
use crate::cli::ledger::trial_balance;
use crate::cli::tariff::one_tariff;
use crate::cli::{CliError, Exit, Output};
use crate::sim::attack::{
    ATTACKERS, AttackReport, Attacker, Attackers, Checker, Honest, HonestSettings, Trouble, Ways, named, reformed,
};
use crate::sim::pace::FastClock;
use crate::tariff::Tariff;
use crate::transport::pki_folder::PkiFolder;
use crate::transport::resolve;
use crate::transport::{Trust, descriptors};
use crate::units::TimeSpan;
use gate::OwnGate;
use jiff::tz::TimeZone;
use promises::{Bounds, Found, Report, Rest};
use samples::{Samples, Watched};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Attack a gate while honest drivers charge, and check what it promises
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n  wattstile sim attack --for 60m\n  \
wattstile sim attack --seed 7 --only hello-flood,half-open --for 5m --json\n  \
wattstile sim attack --gate 127.0.0.1:7443 --processors-at 127.0.0.1:7444 --certs .wattstile/gate/pki \
--data .wattstile/gate --tariff tariffs/one.json\n\n\
Without --gate everything runs by itself: a gate in a process of its own, with certificates and data in a temporary \
directory. Ends with 1 unless every promise holds: honest receipts exact, honest acknowledgements in time, memory and \
log bounded, the process never ends, every session settled, no hold left, the books in balance, and every attacker \
answered as it has to be. --list names the attackers.")]
pub struct Args {
    /// The chargers' listener of a gate that runs already
    #[arg(value_parser = resolve, long, value_name = "ADDR", requires_all = ["processors_at", "certs"], env = "WATTSTILE_GATE")]
    gate: Option<SocketAddr>,
    /// The processors' listener of that gate
    #[arg(value_parser = resolve, long, value_name = "ADDR", requires = "gate")]
    processors_at: Option<SocketAddr>,
    /// Folder of the development PKI that issues the peers' certificates
    #[arg(long, value_name = "DIR", requires = "gate", alias = "pki", env = "WATTSTILE_PKI")]
    certs: Option<PathBuf>,
    /// The gate's name in its certificate
    #[arg(long, value_name = "NAME", default_value = "localhost", env = "WATTSTILE_GATE_NAME")]
    gate_name: String,
    /// Data directory of that gate, on this machine: its memory, its log and its books are watched
    #[arg(long, value_name = "DIR", requires = "gate")]
    data: Option<PathBuf>,
    /// The tariff of that gate's chargers, by which receipts are computed again
    #[arg(long, value_name = "FILE", requires = "gate")]
    tariff: Option<PathBuf>,
    /// Repeats drivers and attackers
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How long the attack lasts
    #[arg(long = "for", value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Only these kinds of attackers
    #[arg(long, value_name = "KIND,...", value_delimiter = ',')]
    only: Vec<String>,
    /// Honest chargers, each on its own connection
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    chargers: u32,
    /// Time between two readings of an honest session
    #[arg(long, value_name = "DURATION", default_value = "500ms", value_parser = humantime::parse_duration)]
    interval: Duration,
    /// The longest that 99 of 100 honest acknowledgements may take
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = humantime::parse_duration)]
    p99_max: Duration,
    /// The most resident memory of the gate, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1_024)]
    memory_max: u64,
    /// The most that the gate's log of facts may take, in MiB: its journal.log_mib_max, and a quarter
    #[arg(long, value_name = "MIB", default_value_t = 640)]
    log_max: u64,
    /// How long everything has after the attack to come to its end
    #[arg(long, value_name = "DURATION", default_value = "3m", value_parser = humantime::parse_duration)]
    grace: Duration,
    /// Where the gate's data, certificates and log are kept (new or empty); without it, nothing is kept
    #[arg(long, value_name = "DIR", conflicts_with = "gate")]
    dir: Option<PathBuf>,
    /// List the kinds of attackers and end
    #[arg(long)]
    list: bool,
}

/// Interval of the regular processors' settlement batches.
const SETTLED_EVERY: Duration = Duration::from_secs(20);
/// Time of regular traffic alone, before the attack and after it.
const ALONE: Duration = Duration::from_secs(2);

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    if args.list {
        return list(output);
    }
    let attackers = named(&args.only).map_err(|name| {
        let names: Vec<&str> = ATTACKERS.iter().map(|one| one.name).collect();
        CliError::new(Exit::Usage, format!("no attacker is called `{name}`"))
            .help(format!("there are: {}", names.join(", ")))
    })?;
    // Attackers hold hundreds of connections open.
    descriptors::raise_limit();
    match args.gate {
        None => own(&args, &attackers, output),
        Some(gate) => foreign(&args, gate, &attackers, output),
    }
}

fn list(output: &Output) -> Result<Exit, CliError> {
    let rows: Vec<Value> = ATTACKERS
        .iter()
        .map(|one| {
            serde_json::json!({
                "name": one.name, "findings": one.findings, "does": one.does, "expects": one.expects,
            })
        })
        .collect();
    output.answer("attackers/1", &rows, |out| {
        for one in ATTACKERS {
            writeln!(out, "{:<24} {:<9} {}\n{:34} {}", one.name, one.findings, one.does, "", one.expects)?;
        }
        Ok(())
    })?;
    Ok(Exit::Ok)
}

/// With a gate of its own.
fn own(args: &Args, attackers: &[Attacker], output: &Output) -> Result<Exit, CliError> {
    let folder = TemporaryFolder::make("wattstile-attack", args.dir.clone())?;
    let dir = folder.path();
    let mut gate = OwnGate::start(dir)?;
    let ways = gate.ways()?;
    let watched = Watched { pid: gate.pid(), data: dir.join("data"), text_log: Some(dir.join("gate.log")) };
    let tariff = gate::tariff()?;
    let source = Which::at(dir).running()?.ok_or_else(|| CliError::failed("the gate has no console"))?;
    let target = Target { ways: Arc::new(ways), tariff: Some(tariff), watched: Some(watched), source: Some(&source) };
    let mut attack = attack(args, attackers, target, output)?;
    attack.ended = gate.ended();
    if attack.ended.is_none() {
        attack.exit = Some(gate.terminate()?);
        gate.start_again()?;
        attack.restarted = Some(true);
        attack.exit_again = Some(gate.terminate()?);
    }
    answer(args, attack, output)
}

/// With a gate that runs already.
fn foreign(args: &Args, gate: SocketAddr, attackers: &[Attacker], output: &Output) -> Result<Exit, CliError> {
    let certs = args.certs.clone().unwrap_or_default();
    let folder = PkiFolder::open(&certs).map_err(|error| CliError::new(Exit::NotFound, error))?;
    let trust = Trust::new(std::slice::from_ref(folder.root()), &args.gate_name).map_err(CliError::failed)?;
    let processors = args.processors_at.unwrap_or(gate);
    let source = args.data.as_deref().map(|data| Which::at(data).running()).transpose()?.flatten();
    let data = args.data.as_deref().map(crate::cli::gate_or_data::data_below).transpose()?;
    let console = data.as_deref().map(gate::console_of).transpose()?;
    let watched = source.as_ref().and_then(Source::pid).zip(data);
    let watched = watched.map(|(pid, data)| Watched { pid, data, text_log: None });
    let tariff = args.tariff.as_deref().map(read_tariff).transpose()?;
    let ways = Ways::new((gate, processors), console, folder, trust, Arc::new(FastClock::new(1)));
    let target = Target { ways: Arc::new(ways), tariff, watched, source: source.as_ref() };
    let mut attack = attack(args, attackers, target, output)?;
    attack.ended = source.as_ref().and_then(Source::pid).filter(|pid| !samples::is_alive(*pid)).map(|_| None);
    answer(args, attack, output)
}

fn read_tariff(path: &Path) -> Result<Tariff, CliError> {
    Ok(one_tariff(path, None)?.tariff)
}

fn answer(args: &Args, found: Found, output: &Output) -> Result<Exit, CliError> {
    let bounds = Bounds { p99: args.p99_max, memory: args.memory_max << 20, log: args.log_max << 20 };
    let report = Report::of(args.seed, &bounds, found);
    output.answer("attack/1", &report, |out| report.text(out))?;
    Ok(if report.holds() { Exit::Ok } else { Exit::Failed })
}

fn trouble(Trouble(why): Trouble) -> CliError {
    CliError::failed(why)
}

/// The gate that is attacked, and its known state.
struct Target<'a> {
    ways: Arc<Ways>,
    /// The tariff of its chargers, if costs are to be checked.
    tariff: Option<Tariff>,
    /// Its process and data, if they are on this machine.
    watched: Option<Watched>,
    source: Option<&'a Source>,
}

/// Runs regular traffic and attackers, and gathers the figures for the checks.
fn attack(args: &Args, attackers: &[Attacker], target: Target<'_>, output: &Output) -> Result<Found, CliError> {
    let Target { ways, tariff, watched, source } = target;
    let line = output.live_lines();
    // Runtimes of their own: the attackers' computation must not delay the regular peers' clock.
    let (of_honest, of_attackers) = (super::runtime()?, super::runtime()?);
    let interval = TimeSpan::from_ms(i64::try_from(args.interval.as_millis()).unwrap_or(i64::MAX).max(1));
    let settings = HonestSettings { chargers: args.chargers, interval, seed: args.seed };
    let mut samples = watched.map(Samples::new);
    of_honest.block_on(async {
        let checker = Checker::new(tariff, TimeZone::UTC);
        let honest = Honest::start(settings, &ways, checker).map_err(trouble)?;
        until_the_end(Some(ALONE), || ()).await?;
        let began = Instant::now();
        let at_work = {
            let _on_their_runtime = of_attackers.enter();
            Attackers::start(attackers, &ways, args.seed)
        };
        let mut settled = Instant::now();
        until_the_end(Some(args.duration), || {
            if let Some(samples) = &mut samples {
                samples.take();
            }
            if settled.elapsed() >= SETTLED_EVERY {
                settled = Instant::now();
                honest.settle();
            }
            line.set_message(progress(&honest, &at_work.reports(), began.elapsed()));
        })
        .await?;
        let attacked = began.elapsed();
        line.set_message("the attackers end their rounds");
        let reports = of_attackers.spawn(at_work.stop()).await.map_err(CliError::failed)?;
        let reformed = reformed(attackers, &ways).map_err(trouble)?;
        until_the_end(Some(ALONE), || ()).await?;
        line.set_message("no new drivers; everything comes to its end");
        let quiet = Instant::now();
        let (fleet, honest, processors) = honest.finish(args.grace).await;
        let rest = source.map(|source| rest(source, args.grace.saturating_sub(quiet.elapsed()))).transpose()?;
        let books: Option<TrialView> = source.map(trial_balance).transpose()?;
        for service in reformed {
            service.stop(false).await;
        }
        line.finish_and_clear();
        Ok(Found {
            attacked,
            fleet,
            honest,
            processors,
            attackers: reports,
            samples: samples.map(Samples::done),
            rest,
            books,
            ended: None,
            exit: None,
            restarted: None,
            exit_again: None,
        })
    })
}

/// Work under way at the gate when the time is over, if any.
fn rest(source: &Source, within: Duration) -> Result<Rest, CliError> {
    let deadline = Instant::now() + within;
    loop {
        let rest = Rest::of(&source.get("figures", &[])?);
        if rest.is_nothing() || Instant::now() >= deadline {
            return Ok(rest);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn progress(honest: &Honest, attackers: &[AttackReport], elapsed: Duration) -> String {
    let (counts, seen) = (honest.counts(), honest.report());
    let rounds: u64 = attackers.iter().map(|one| one.counts.rounds).sum();
    let violations: u64 = attackers.iter().map(|one| one.counts.violations).sum();
    format!(
        "{} s · {} honest receipts, {} not exact · p99 {} ms · {} honest sessions · {rounds} rounds of {} attackers, \
         {violations} violations",
        elapsed.as_secs(),
        seen.receipts,
        seen.receipts - seen.receipts_exact,
        seen.ack_p99_us / 1_000,
        counts.sessions_open,
        attackers.len(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn a_gate_that_runs_needs_all_its_addresses() {
        assert!(Line::try_parse_from(["attack", "--gate", "127.0.0.1:1"]).is_err());
        let line = ["attack", "--gate", "127.0.0.1:1", "--processors-at", "127.0.0.1:2", "--certs", "pki"];
        assert!(Line::try_parse_from(line).is_ok());
        let only = Line::try_parse_from(["attack", "--only", "hello-flood,half-open"]).unwrap();
        assert_eq!(only.args.only.len(), 2);
    }

    #[test]
    fn an_unknown_attacker_is_named_with_those_that_there_are() {
        let line = Line::try_parse_from(["attack", "--only", "no-such"]).unwrap();
        let error = run(line.args, &Output::new(false, true, crate::cli::output::Color::Never)).unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        assert!(error.help.unwrap().contains("hello-flood"));
    }

    #[test]
    fn the_console_of_a_gate_is_found_by_its_data() {
        let folder = tempfile::tempdir().unwrap();
        assert!(gate::console_of(folder.path()).is_err());
    }
}
