//! `wattstile sim world`: whole worlds on a virtual clock, in which everything goes wrong, repeatable by seed.

use super::output::{BAD, GOOD};
use super::{CliError, Exit, Output};
use crate::host::ProcessUsage;
use crate::sim::world::{self, Faults, Report, Settings};
use crate::units::counted;
use serde::Serialize;
use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Simulate a gate, its chargers and its processors while everything goes wrong
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n  wattstile sim world --seed 7 --hours 24 --chargers 200\n  \
wattstile sim world --seed 7 --hours 4 --faults kill,torn-commit,delay --json\n  \
wattstile sim world --seed 7 --hours 4 --faults all,-clock\n\n\
A world lasts at most a day; more hours are more worlds, whose seeds count up. The same \
arguments give the same answer, to the hash of the books. Ends with 1 if any promise was \
broken, and shows with which seed and at which step.")]
pub struct Args {
    /// Repeats everything
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Simulated hours
    #[arg(long, value_name = "H", default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    hours: u64,
    /// Chargers in each world
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    chargers: u32,
    /// Percent of the chargers that speak OCPP: 1.6, 2.0.1 and 2.1 in turn
    #[arg(long, value_name = "PERCENT", default_value_t = world::OCPP_PERCENT, value_parser = clap::value_parser!(u8).range(0..=100))]
    ocpp: u8,
    /// What may go wrong: `all`, `none`, or names with commas between (a minus takes one away)
    #[arg(long, value_name = "FAULTS", default_value = "all", allow_hyphen_values = true)]
    faults: Faults,
    /// Worlds that are simulated side by side
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
}

/// The report, how to see the same again, and how fast it was.
#[derive(Debug, Serialize)]
struct Answer {
    #[serde(flatten)]
    report: Report,
    /// A command line for each world in which something went wrong that may not.
    repeat: Vec<String>,
    /// How fast it was: the only member that differs from run to run.
    speed: Speed,
}

#[derive(Debug, Serialize)]
struct Speed {
    cpu_ms: u64,
    wall_ms: u64,
    /// Simulated hours of the whole fleet for each minute of processor time.
    hours_per_cpu_minute: u64,
    /// The same, of one charger.
    charger_hours_per_cpu_minute: u64,
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let settings = Settings {
        seed: args.seed,
        minutes: args.hours * 60,
        chargers: args.chargers,
        ocpp_percent: args.ocpp,
        faults: args.faults,
    };
    let (report, speed) = simulate(&settings, args.threads, output);
    let repeat = repeat(&settings, &report);
    let good = report.is_good();
    let answer = Answer { report, repeat, speed };
    output.answer("simulate/1", &answer, |out| text_of(&answer, out))?;
    Ok(if good { Exit::Ok } else { Exit::Failed })
}

/// Simulates the worlds of these settings, several at a time, and puts their reports together in the order of their seeds.
fn simulate(settings: &Settings, threads: u16, output: &Output) -> (Report, Speed) {
    let worlds = settings.worlds();
    let (begun, cpu) = (Instant::now(), ProcessUsage::own().cpu_ms);
    let line = output.live_lines();
    let next = AtomicUsize::new(0);
    let reports: Mutex<Vec<Option<Report>>> = Mutex::new(vec![None; worlds.len()]);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(world) = worlds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let place = usize::try_from(world.seed.wrapping_sub(settings.seed)).unwrap_or(0);
                    let report = world::simulate(world);
                    let mut reports = reports.lock().expect("a world that panics ends the process");
                    reports[place] = Some(report);
                    let done = reports.iter().flatten().count();
                    line.set_message(format!("{done} of {} worlds", worlds.len()));
                }
            });
        }
    });
    line.finish_and_clear();
    let reports = reports.into_inner().expect("a world that panics ends the process");
    let mut reports = reports.into_iter().flatten();
    let mut report = reports.next().expect("there is a world");
    reports.for_each(|next| report.add(next));
    let (wall_ms, cpu_ms) = (millis(begun), ProcessUsage::own().cpu_ms.saturating_sub(cpu).max(1));
    let hours_per_cpu_minute = settings.minutes * 1_000 / cpu_ms;
    let charger_hours_per_cpu_minute = settings.minutes * 1_000 * u64::from(settings.chargers) / cpu_ms;
    (report, Speed { cpu_ms, wall_ms, hours_per_cpu_minute, charger_hours_per_cpu_minute })
}

/// How to repeat a world in which an invariant was violated.
fn repeat(settings: &Settings, report: &Report) -> Vec<String> {
    let mut broken: Vec<u64> = report.violations.iter().map(|violation| violation.seed).collect();
    broken.dedup();
    let world = |seed: u64| settings.worlds().into_iter().find(|world| world.seed == seed);
    let line = |world: Settings| {
        let Settings { seed, minutes, chargers, ocpp_percent, faults } = world;
        let ocpp = if ocpp_percent == world::OCPP_PERCENT { String::new() } else { format!(" --ocpp {ocpp_percent}") };
        let hours = minutes / 60;
        format!("wattstile sim world --seed {seed} --hours {hours} --chargers {chargers}{ocpp} --faults {faults}")
    };
    broken.into_iter().filter_map(world).map(line).collect()
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The report as text; also of `wattstile sim chaos --simulated`.
pub(super) fn describe(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let zero = &report.reckoning;
    writeln!(
        out,
        "{} of {} in {}, seed {}",
        counted(report.minutes / 60, "simulated hour"),
        counted(report.chargers, "charger"),
        counted(report.worlds, "world"),
        report.seed
    )?;
    writeln!(out, "  sessions           {} ({} receipts)", report.sessions, report.receipts)?;
    writeln!(
        out,
        "  OCPP               {}, {} ended",
        counted(report.ocpp_chargers, "charger"),
        counted(report.ocpp_sessions_ended, "session")
    )?;
    writeln!(out, "  readings           {} acknowledged of {}", report.readings_acked, report.readings)?;
    writeln!(
        out,
        "  gate               {} crashes, {} compared with their replay, {} failed starts, {} commits, {} snapshots",
        report.crashes, report.replays_compared, report.failed_starts, report.commits, report.snapshots
    )?;
    let listed = |counts: &std::collections::BTreeMap<String, u64>| {
        let listed: Vec<String> = counts.iter().map(|(what, count)| format!("{what} {count}")).collect();
        listed.join(", ")
    };
    writeln!(out, "  operations         {}", listed(&report.operations))?;
    writeln!(out, "  faults             {}", listed(&report.faults))?;
    let settling = [("capture", &report.settling.capture_in_calm), ("void", &report.settling.void_in_calm)];
    for (what, times) in settling {
        writeln!(
            out,
            "  {:<18} p50 {} ms, p99 {} ms ({} in calm weather)",
            format!("time to {what}"),
            times.p50_ms,
            times.p99_ms,
            times.count
        )?;
    }
    let lines = [
        ("violations", report.violations.len() as u64),
        ("readings lost", zero.readings_lost),
        ("sessions lost", zero.sessions_lost),
        ("orphan holds", zero.orphan_holds),
        ("double captures", zero.double_captures),
        ("over captures", zero.over_captures),
        ("other violations", zero.other_violations),
        ("unresolved", zero.unresolved_after_grace),
        ("books off by", zero.books_imbalance_minor),
        ("processors' books", zero.processor_books_difference_minor),
    ];
    for (what, count) in lines {
        let style = if count == 0 { GOOD } else { BAD };
        writeln!(out, "  {what:<18} {style}{count}{style:#}")?;
    }
    writeln!(out, "  ledger hash        {}", report.ledger_hash)?;
    for violation in &report.violations {
        let (seed, step, at) = (violation.seed, violation.step, violation.at_ms);
        writeln!(out, "  {BAD}broken{BAD:#} seed {seed}, step {step}, {at} ms: {}", violation.what)?;
    }
    Ok(())
}

fn text_of(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    describe(&answer.report, out)?;
    writeln!(
        out,
        "  speed              {} simulated hours per minute of processor time",
        answer.speed.hours_per_cpu_minute
    )?;
    for line in &answer.repeat {
        writeln!(out, "  again              {line}")?;
    }
    Ok(())
}
