//! `wattstile sim chaos`: a fleet, processors that misbehave, and a gate that is killed; then the books are compared.

use super::super::gate_or_data::{Which, data_below};
use super::super::own_gate::TemporaryFolder;
use super::served::Served;
use super::settling::settling;
use super::until_the_end;
use crate::api::TrialView;
use crate::cli::ledger::trial_balance;
use crate::cli::output::{BAD, GOOD};
use crate::cli::{CliError, Exit, Output};
use crate::host::wall_clock;
use crate::message::Subject;
use crate::sim::charger;
use crate::sim::driver::{Habits, Visitors};
use crate::sim::fleet::{Fleet, FleetReport, Line, Speaks};
use crate::sim::pace::Pace;
use crate::sim::processor::{Lines, Misbehaviour, Rates, Service, ServiceReport, Settings, Totals};
use crate::sim::world;
use crate::units::rng::Rng;
use crate::units::{Amount, ChargerId, Energy, Power, ProcessorId, TimeSpan, counted};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::Serialize;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Kill a gate while its peers misbehave, and compare the books afterwards
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n  wattstile sim chaos --seed 7 --for 60s --json\n  \
wattstile sim chaos --seed 7 --for 6h --simulated --json\n\n\
The gate runs as a process of its own, with data and certificates in --data, and is \
killed with SIGKILL at random moments. Ends with 1 unless everything came out right. \
With --simulated everything happens on a virtual clock, a simulated disk and a simulated \
network, and the same seed gives the same ledger hash.")]
pub struct Args {
    /// Repeats drivers, misbehaviour and moments
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How long there is chaos [default: 60s; with --simulated 6h]
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// How long there is peace afterwards, for everything to come to its end
    #[arg(long, value_name = "DURATION", default_value = "150s", value_parser = humantime::parse_duration)]
    grace: Duration,
    /// How long drivers still come before that while nothing goes wrong any more, to measure how fast holds end
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = humantime::parse_duration)]
    calm: Duration,
    /// Chargers, each on its own connection
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    chargers: u32,
    /// Percent of the operations at which the worst of the three processors misbehaves
    #[arg(long, value_name = "PERCENT", default_value_t = 40, value_parser = clap::value_parser!(u8).range(0..=100))]
    misbehave: u8,
    /// Most seconds between two kills; 0: no kills
    #[arg(long, value_name = "SECONDS", default_value_t = 6)]
    kill_within: u32,
    /// Where data, certificates and the gate's log are kept (new or empty); without it, nothing is kept
    #[arg(long = "data", alias = "dir", value_name = "DIR")]
    dir: Option<PathBuf>,
    /// On the simulated clock: no process and no socket, everything that can go wrong, a hash of the books
    #[arg(long, conflicts_with_all = ["dir", "grace", "calm", "misbehave", "kill_within"])]
    simulated: bool,
}

/// What came out; the members from `readings_lost` to `processor_books_difference_minor` are 0 or something is wrong.
#[derive(Debug, Serialize)]
struct Report {
    seed: u64,
    kills: u32,
    receipts: u64,
    readings_acked: u64,
    holds: u64,
    misbehaved: u64,
    /// Acknowledged readings that the gate did not have any more.
    readings_lost: u64,
    /// Accepted sessions that the gate lost.
    sessions_lost: u64,
    /// Holds that are open in the processors' books.
    orphan_holds: u64,
    double_captures: u64,
    over_captures: u64,
    /// All other requests that a processor should never get.
    other_violations: u64,
    /// Sessions without a receipt, and callbacks that were never acknowledged.
    unresolved_after_grace: u64,
    /// How far the gate's books are from balance.
    books_imbalance_minor: i64,
    /// Captured minus refunded by the gate's books, against the processors' books; added up over processors.
    processor_books_difference_minor: i64,
    /// Refunds that were ordered and taken in.
    refunds_ordered: u64,
    /// How long it took until everything had come to its end, in milliseconds.
    settled_after_ms: u64,
    /// How long holds took to end; in calm: of sessions that ended while nothing went wrong any more.
    settling: world::Settling,
    fleet: FleetReport,
    processors: Vec<ServiceReport>,
}

/// How long after the last fault everything counts as settled down: connections are dialled again, and breakers close.
const SETTLING_DOWN: Duration = Duration::from_secs(10);
/// So many of the sessions with receipts are refunded, and so many between two kills at most.
const REFUNDED_PER_TEN_THOUSAND: u16 = 2_500;
const REFUNDS_AT_ONCE: usize = 16;

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    if args.simulated {
        return simulated(&args, output);
    }
    let folder = TemporaryFolder::make("wattstile-chaos", args.dir.clone())?;
    let dir = folder.path();
    let duration = args.duration.unwrap_or(Duration::from_secs(60));
    let mut gate = Served::start(dir)?;
    let mut rng = Rng::of(args.seed, 1);
    let pace = Pace::new(1);
    let line = output.live_lines();
    let report = super::runtime()?.block_on(async {
        let mut services = Vec::new();
        for (name, percent) in [("chaos-a", args.misbehave), ("chaos-b", args.misbehave / 2), ("chaos-c", 0)] {
            let id = ProcessorId::new(name).map_err(CliError::failed)?;
            let dialler = gate.dialler(&Subject::Processor(id.clone()))?;
            let lines = Lines { dialler, connections: 2, mac: None };
            services.push(Service::start(processor(id, args.seed, percent), &lines, &pace));
        }
        let mut lines = Vec::new();
        for number in 1..=args.chargers {
            lines.push(charger_line(&mut gate, number, args.seed)?);
        }
        let fleet = Fleet::start(lines, &pace, Duration::from_millis(500), true);
        let (mut kills, mut refunds) = (0, 0);
        let end = Instant::now() + duration;
        while Instant::now() < end {
            let most = i64::from(args.kill_within) * 1_000;
            let wait = if most == 0 { duration } else { millis(rng.between(most.min(500), most)) };
            let wait = wait.min(end.saturating_duration_since(Instant::now()));
            until_the_end(Some(wait), || {
                let now = fleet.counts();
                line.set_message(format!(
                    "{kills} kills · {} sessions · {} receipts",
                    now.sessions_open, now.tally.receipts
                ));
            })
            .await?;
            refunds += refund_some(dir, &fleet, &mut rng);
            if most > 0 && Instant::now() < end {
                gate.kill();
                gate.start_again()?;
                kills += 1;
            }
        }
        line.set_message("quiet: drivers come, and nothing goes wrong any more");
        services.iter().for_each(Service::behave);
        until_the_end(Some(SETTLING_DOWN.min(args.calm)), || ()).await?;
        let quiet_from = wall_clock();
        until_the_end(Some(args.calm.saturating_sub(SETTLING_DOWN)), || ()).await?;
        let quiet = (quiet_from, wall_clock());
        line.set_message("peace: waiting for everything to come to its end");
        let peace = Instant::now();
        let fleet = fleet.finish(args.grace).await;
        while peace.elapsed() < args.grace && !services.iter().all(is_settled) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let settled_after_ms = u64::try_from(peace.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut processors = Vec::new();
        for service in services {
            processors.push(service.stop(false).await);
        }
        gate.terminate()?;
        let books = books(dir, output)?;
        let settling = settling(&data_below(dir)?, quiet)?;
        let mut report = Report::new(Run { seed: args.seed, kills, settled_after_ms }, fleet, processors, &books);
        (report.refunds_ordered, report.settling) = (refunds, settling);
        Ok::<_, CliError>(report)
    })?;
    line.finish_and_clear();
    output.answer("chaos/1", &report, |out| text_of(&report, out))?;
    Ok(if report.is_good() { Exit::Ok } else { Exit::Failed })
}

/// Refunds some of the sessions that got their receipts since the last call, fully or in part, as an operator would.
/// The gate may be killed before any of it was sent. Returns how many orders were accepted.
fn refund_some(dir: &Path, fleet: &Fleet, rng: &mut Rng) -> u64 {
    let paid = fleet.take_finished().into_iter().filter(|one| one.total.minor > 0);
    let chosen: Vec<_> = paid.filter(|_| rng.chance(REFUNDED_PER_TEN_THOUSAND)).take(REFUNDS_AT_ONCE).collect();
    let Some(source) = Which::at(dir).running().ok().flatten().filter(|_| !chosen.is_empty()) else { return 0 };
    let mut taken = 0;
    for one in chosen {
        let Some(session) = one.id else { continue };
        let part = Amount::new(rng.between(1, one.total.minor), one.total.currency).major();
        // A whole refund, or a part named by its total, so that repeating it refunds once.
        let wish =
            if rng.chance(5_000) { serde_json::json!({ "total": part }) } else { serde_json::json!({ "all": true }) };
        // One that is refused (a dispute was quicker, the capture failed) is refused.
        taken += u64::from(source.post(&format!("sessions/{session}/refund"), &wish).is_ok());
    }
    taken
}

/// The same in a world that is simulated as a whole.
fn simulated(args: &Args, output: &Output) -> Result<Exit, CliError> {
    let minutes = args.duration.map_or(6 * 60, |duration| duration.as_secs().div_ceil(60).max(1));
    let settings = world::Settings {
        seed: args.seed,
        minutes,
        chargers: args.chargers,
        ocpp_percent: world::OCPP_PERCENT,
        faults: world::Faults::ALL,
    };
    let mut reports = settings.worlds().into_iter().map(|world| world::simulate(&world));
    let mut report = reports.next().ok_or_else(|| CliError::failed("there is no world"))?;
    reports.for_each(|next| report.add(next));
    output.answer("chaos-simulated/1", &report, |out| crate::cli::simulate::describe(&report, out))?;
    Ok(if report.is_good() { Exit::Ok } else { Exit::Failed })
}

/// No hold is open and no money is expected.
fn is_settled(service: &Service) -> bool {
    service.is_idle() && !service.report(false).books.holds.contains_key("open")
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// A misbehaving processor whose delayed requests arrive soon.
fn processor(id: ProcessorId, seed: u64, percent: u8) -> Settings {
    let rates = if percent == 0 { Rates::default() } else { Rates::hostile(percent) };
    let mut settings = Settings { rates, ..Settings::new(id, seed) };
    settings.capabilities.request_life_max = TimeSpan::from_secs(15);
    settings.capabilities.inquiry_authoritative_after = Some(TimeSpan::from_secs(15));
    settings
}

fn charger_line(gate: &mut Served, number: u32, seed: u64) -> Result<Line, CliError> {
    let id = ChargerId::new(&format!("CHAOS-{number:04}")).map_err(CliError::failed)?;
    let dialler = gate.dialler(&Subject::Charger(id.clone()))?;
    let wh = |wh| Energy::from_watt_hours(wh).unwrap_or(Energy::ZERO);
    let habits = Habits {
        pause_max: TimeSpan::from_secs(2),
        energy: (wh(20), wh(200)),
        idle_max: TimeSpan::from_secs(1),
        magic: magic(),
        magic_per_ten_thousand: 2_000,
        fails_per_ten_thousand: 1_500,
        ..Habits::default()
    };
    let settings = charger::Settings {
        id,
        connectors: vec![Power::from_milliwatts(150_000_000)],
        interval: TimeSpan::from_ms(200),
        visitors: Visitors::Random(habits),
        seed,
        kept_max: 100_000,
    };
    Ok(Line { dialler, chargers: vec![settings], speaks: Speaks::Native })
}

/// A token for every misbehaviour at every operation that a session has, but for refusals of a capture or a void, which
/// end in a receivable and not in peace.
fn magic() -> Vec<Box<[u8]>> {
    let mut tokens = Vec::new();
    for misbehaviour in Misbehaviour::ALL {
        let name = misbehaviour.name();
        tokens.push(format!("tok_{name}"));
        if !name.starts_with("decline_") {
            tokens.extend([format!("tok_capture_{name}"), format!("tok_void_{name}")]);
        }
    }
    let others = [
        "partial_half",
        "partial_small",
        "balance_300",
        "capture_fails_later",
        "refund_fails_later",
        "dispute",
        "dispute_won",
        "dispute_lost",
    ];
    tokens.extend(others.map(|word| format!("tok_{word}")));
    tokens.into_iter().map(|token| token.into_bytes().into()).collect()
}

/// The gate's books, from its data.
fn books(dir: &Path, output: &Output) -> Result<TrialView, CliError> {
    let source = Which::at(dir).open(output)?;
    trial_balance(&source)
}

/// What was done to the gate.
struct Run {
    seed: u64,
    kills: u32,
    settled_after_ms: u64,
}

impl Report {
    fn new(run: Run, fleet: FleetReport, processors: Vec<ServiceReport>, books: &TrialView) -> Report {
        let Run { seed, kills, settled_after_ms } = run;
        let sum = |count: &dyn Fn(&ServiceReport) -> u64| processors.iter().map(count).sum::<u64>();
        let pending = sum(&|one| u64::try_from(one.callbacks_pending).unwrap_or(u64::MAX));
        Report {
            seed,
            kills,
            receipts: fleet.tally.receipts,
            readings_acked: fleet.tally.readings_acked,
            holds: sum(&|one| one.books.holds.values().sum()),
            misbehaved: sum(&|one| one.books.misbehaved.values().sum()),
            readings_lost: fleet.tally.readings_lost,
            sessions_lost: fleet.tally.sessions_lost,
            orphan_holds: sum(&|one| one.books.holds.get("open").copied().unwrap_or(0)),
            double_captures: sum(&|one| one.books.violations.double_captures),
            over_captures: sum(&|one| one.books.violations.over_captures),
            other_violations: sum(&|one| {
                let found = one.books.violations;
                found.over_refunds
                    + found.after_the_end
                    + found.other_bodies
                    + found.wrong_amounts
                    + found.double_holds
                    + found.wrong_processors
            }),
            unresolved_after_grace: fleet.sessions_open + pending,
            books_imbalance_minor: books.imbalance_minor,
            processor_books_difference_minor: processors.iter().map(|one| difference(books, one)).sum::<i64>()
                + charged_back_difference(books, &processors),
            refunds_ordered: 0,
            settled_after_ms,
            settling: world::Settling::default(),
            fleet,
            processors,
        }
    }

    fn is_good(&self) -> bool {
        self.readings_lost == 0
            && self.sessions_lost == 0
            && self.orphan_holds == 0
            && self.double_captures == 0
            && self.over_captures == 0
            && self.other_violations == 0
            && self.unresolved_after_grace == 0
            && self.books_imbalance_minor == 0
            && self.processor_books_difference_minor == 0
    }
}

/// Lost disputes by the gate's books, against what the processors charged back.
fn charged_back_difference(books: &TrialView, processors: &[ServiceReport]) -> i64 {
    let ours: Decimal = books.rows.iter().filter(|row| &*row.code == "5020").map(|row| row.balance).sum();
    let totals = processors.iter().flat_map(|one| one.books.totals.values());
    let theirs: i64 = totals.map(|sum| sum.charged_back_minor).sum();
    minor(ours).saturating_sub(theirs).saturating_abs()
}

/// The only currency here has a hundred minor units.
fn minor(major: Decimal) -> i64 {
    (major * Decimal::ONE_HUNDRED).to_i64().unwrap_or(i64::MAX)
}

/// Difference between the processor's debt in the gate's books, disputed money included, and the processor's own
/// figures.
fn difference(books: &TrialView, processor: &ServiceReport) -> i64 {
    let name = format!(":{}:", processor.books.processor);
    let owed = books.rows.iter().filter(|row| matches!(&*row.code, "1110" | "1140") && row.account.contains(&name));
    let owed: Decimal = owed.map(|row| row.balance).sum();
    let kept = |sum: &Totals| sum.captured_minor - sum.refunded_minor - sum.charged_back_minor;
    let taken: i64 = processor.books.totals.values().map(kept).sum();
    minor(owed).saturating_sub(taken).saturating_abs()
}

fn text_of(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "seed {}: {}, {}, {}, {}",
        report.seed,
        counted(report.kills, "kill"),
        counted(report.receipts, "receipt"),
        counted(report.holds, "hold"),
        counted(report.misbehaved, "misbehaviour")
    )?;
    let lines: [(&str, i128); 9] = [
        ("readings lost", report.readings_lost.into()),
        ("sessions lost", report.sessions_lost.into()),
        ("orphan holds", report.orphan_holds.into()),
        ("double captures", report.double_captures.into()),
        ("over captures", report.over_captures.into()),
        ("other violations", report.other_violations.into()),
        ("unresolved", report.unresolved_after_grace.into()),
        ("books off by", report.books_imbalance_minor.into()),
        ("processors' books", report.processor_books_difference_minor.into()),
    ];
    for (what, count) in lines {
        let style = if count == 0 { GOOD } else { BAD };
        writeln!(out, "  {what:<18} {style}{count}{style:#}")?;
    }
    writeln!(out, "  refunds ordered    {}", report.refunds_ordered)?;
    for (what, times) in [("capture", &report.settling.capture_in_calm), ("void", &report.settling.void_in_calm)] {
        writeln!(
            out,
            "  {:<18} p50 {} ms, p99 {} ms ({} in calm)",
            format!("time to {what}"),
            times.p50_ms,
            times.p99_ms,
            times.count
        )?;
    }
    writeln!(out, "  settled after      {} ms", report.settled_after_ms)
}
