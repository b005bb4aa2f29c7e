//! `wattstile demo`: a whole network on this machine, to look at.

use super::interrupts::{Interrupts, Wish};
use super::{CliError, Exit, Output, shards};
use crate::app::demo::{Demo, DemoSettings, Standing, default_directory};
use crate::sim::processor::ServiceReport;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Run a gate with simulated chargers, drivers and processors
///
/// Everything is made on this machine: development certificates, data, 40 chargers on 40 mutual-TLS connections, two
/// payment processors that dial in, twenty prepaid accounts. Started again, it goes on with the same data and the same
/// sessions, however it ended.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  wattstile demo --for 30s --json")]
pub struct Args {
    /// Where certificates and data are kept
    #[arg(long, value_name = "DIR", default_value_os_t = default_directory().to_owned(), env = "WATTSTILE_DEMO_DIR")]
    dir: PathBuf,
    /// End by itself after this long
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Simulated chargers
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u16).range(1..=2000))]
    chargers: u16,
    /// How much faster the clock runs
    #[arg(long, value_name = "TIMES", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=600))]
    speed: u32,
    /// Repeats drivers and processors
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// How often the live line is drawn.
const BEAT: Duration = Duration::from_millis(500);

/// Most time that the last receipts are awaited.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a demonstration came to.
#[derive(Debug, Serialize)]
struct Document {
    sessions_settled: u64,
    sessions_open: u64,
    sessions_refused: u64,
    /// Starts that the gate refused, by code, in this run.
    starts_refused: BTreeMap<u16, u64>,
    ticks_acked: u64,
    ticks_durable: u64,
    energy_wh: i64,
    captured_minor: i64,
    held_minor: i64,
    released_minor: i64,
    shortfall_minor: i64,
    books_imbalance_minor: i128,
    currency: &'static str,
    first_receipt_ms: Option<u128>,
    journal_sync_p99_us: u64,
    recovered_records: u64,
    recovery_ms: u128,
    seconds: f64,
    processors: Vec<ServiceReport>,
}

/// Runs the demonstration.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let interrupts = Interrupts::new().map_err(CliError::failed)?;
    let settings =
        DemoSettings { directory: args.dir.clone(), chargers: args.chargers, speed: args.speed, seed: args.seed };
    let mut demo = Demo::start(&settings).map_err(CliError::failed)?;
    banner(&demo, &args, output);
    let (recovered, recovery) = (demo.gate.recovered.records, demo.gate.recovery);

    let line = output.live_lines();
    let end = args.duration.map(|duration| demo.started + duration);
    let mut last = None;
    loop {
        let beat = Instant::now() + BEAT;
        let until = end.map_or(beat, |end| end.min(beat));
        if interrupts.wait_until(until).is_some_and(|wish| wish != Wish::Reload) {
            break;
        }
        if let Some(receipt) = demo.first_receipt() {
            line.suspend(|| output.say(first_receipt(&receipt, &args.dir)));
        }
        let standing = demo.standing();
        line.set_message(live(&standing, args.speed, &mut last));
        line.tick();
        if end.is_some_and(|end| Instant::now() >= end) {
            break;
        }
    }
    line.finish_and_clear();
    output.say("no new drivers come; the last receipts are awaited");
    let started = demo.started;
    let (standing, processors) = demo.finish(PATIENCE);
    let document = Document::new(standing, processors, recovered, recovery, started.elapsed());
    output.answer("demo/1", &document, |out| document.write(out))?;
    Ok(Exit::Ok)
}

fn banner(demo: &Demo, args: &Args, output: &Output) {
    let address =
        |address: Option<std::net::SocketAddr>| address.map_or_else(String::new, |address| address.to_string());
    output.say(format_args!(
        "wattstile {}, payment gatekeeper of a charging network: a demonstration",
        env!("CARGO_PKG_VERSION")
    ));
    output.say("");
    output.say(format_args!("  data        {}", args.dir.display()));
    match demo.gate.recovered.records {
        0 => output.say("              new; delete it any time"),
        records => output.say(format_args!(
            "              {records} records recovered in {} ms; delete it any time",
            demo.gate.recovery.as_millis()
        )),
    }
    output.say(format_args!(
        "  chargers    {}  {} simulated, clock {}×",
        address(demo.gate.chargers),
        args.chargers,
        args.speed
    ));
    output.say(format_args!("  processors  {}  acme-cards, wally-wallet", address(demo.gate.processors)));
    output.say(format_args!("  shards      {}", shards(demo.gate.shards())));
    if let Some(console) = &demo.console {
        output.say(format_args!("  metrics     http://{}/metrics", console.address));
        // On a line of its own: an address that is broken cannot be opened.
        output.say(format_args!("  api\n{}", console.url_with_token()));
    }
    output.say("");
}

/// A receipt between two rules, and how to see others.
fn first_receipt(text: &str, data: &Path) -> String {
    let shown = match data == default_directory() {
        true => "wattstile receipt show --last".to_owned(),
        false => format!("wattstile receipt show --last --data {}", data.display()),
    };
    let rule = "-".repeat(40);
    format!("the first receipt; `{shown}` shows the newest one\n{rule}\n{}\n{rule}\n", text.trim_end())
}

/// Three lines that say how the network is, each short enough for a terminal of 80 columns.
fn live(standing: &Standing, speed: u32, last: &mut Option<(Instant, u64, i64)>) -> String {
    let Standing { figures, fleet, sync_p99_us, .. } = standing;
    let now = Instant::now();
    let (readings_per_s, kw) = match last.replace((now, figures.readings, figures.energy_wh)) {
        Some((before, readings, energy_wh)) => {
            let ms = i64::try_from(now.duration_since(before).as_millis()).unwrap_or(i64::MAX).max(1);
            let readings = i64::try_from(figures.readings.saturating_sub(readings)).unwrap_or(i64::MAX);
            let kw = (figures.energy_wh - energy_wh) * 3_600 / ms / i64::from(speed);
            (readings * 1_000 / ms, kw)
        }
        None => (0, 0),
    };
    let money = figures.money.get("EUR").copied().unwrap_or_default();
    format!(
        "{} charging · {} settled · {kw} kW · {readings_per_s} readings/s\n  \
         EUR {} held · {} captured · {} released · books ±{}\n  \
         {} · log sync p99 {sync_p99_us} µs",
        figures.sessions_charging,
        figures.sessions_settled,
        cents(money.held_minor),
        cents(money.captured_minor),
        cents(money.released_minor),
        cents_of(figures.books_imbalance_minor),
        refused(&fleet.tally.refused),
    )
}

/// How many starts the gate refused, with the codes of the most frequent reasons.
fn refused(by_code: &BTreeMap<u16, u64>) -> String {
    let sum: u64 = by_code.values().sum();
    let mut codes: Vec<(u64, u16)> = by_code.iter().map(|(code, count)| (*count, *code)).collect();
    codes.sort_unstable_by(|a, b| b.cmp(a));
    let shown: Vec<String> = codes.iter().take(2).map(|(count, code)| format!("{code}: {count}")).collect();
    match shown.is_empty() {
        true => "0 starts refused".to_owned(),
        false => format!("{sum} starts refused ({})", shown.join(", ")),
    }
}

impl Document {
    fn new(
        standing: Standing,
        processors: Vec<ServiceReport>,
        recovered_records: u64,
        recovery: Duration,
        ran: Duration,
    ) -> Document {
        let Standing { figures, readings, fleet, first_receipt, sync_p99_us } = standing;
        let money = figures.money.get("EUR").copied().unwrap_or_default();
        Document {
            sessions_settled: figures.sessions_settled,
            sessions_open: figures.sessions_charging + figures.sessions_authorizing + figures.sessions_settling,
            sessions_refused: figures.sessions_refused,
            starts_refused: fleet.tally.refused.clone(),
            ticks_acked: fleet.tally.readings_acked,
            ticks_durable: readings,
            energy_wh: fleet.energy_wh,
            captured_minor: money.captured_minor,
            held_minor: money.held_minor,
            released_minor: money.released_minor,
            shortfall_minor: money.shortfall_minor,
            books_imbalance_minor: figures.books_imbalance_minor,
            currency: "EUR",
            first_receipt_ms: first_receipt.map(|after| after.as_millis()),
            journal_sync_p99_us: sync_p99_us,
            recovered_records,
            recovery_ms: recovery.as_millis(),
            seconds: ran.as_secs_f64(),
            processors,
        }
    }

    fn write(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        writeln!(
            out,
            "sessions    {} settled, {} open, {} refused",
            self.sessions_settled, self.sessions_open, self.sessions_refused
        )?;
        writeln!(out, "readings    {} acknowledged, {} durable in this run", self.ticks_acked, self.ticks_durable)?;
        writeln!(
            out,
            "money       EUR {} captured, {} held, {} released",
            cents(self.captured_minor),
            cents(self.held_minor),
            cents(self.released_minor)
        )?;
        writeln!(out, "books       {} off balance", cents_of(self.books_imbalance_minor))?;
        writeln!(out, "log         99 of 100 syncs within {} µs", self.journal_sync_p99_us)
    }
}

fn cents_of(minor: i128) -> String {
    i64::try_from(minor).map_or_else(|_| minor.to_string(), cents)
}

/// Minor units of a currency with two decimals.
fn cents(minor: i64) -> String {
    crate::units::Amount::new(minor, crate::units::Currency::EUR).major().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::{Figures, Money};
    use crate::sim::fleet::FleetReport;

    #[test]
    fn the_live_lines_fit_80_columns_with_large_figures() {
        let money = Money {
            held_minor: 99_999_999,
            captured_minor: 999_999_999,
            released_minor: 999_999_999,
            shortfall_minor: 0,
        };
        let mut figures = Figures::default();
        (figures.sessions_charging, figures.sessions_settled, figures.readings) = (2_000, 10_000_000, 1);
        figures.money.insert("EUR", money);
        let mut fleet = FleetReport::default();
        fleet.tally.refused = BTreeMap::from([(302, 123_456), (310, 9_999), (201, 1_000), (1, 1)]);
        let standing = Standing { figures, readings: 1, fleet, first_receipt: None, sync_p99_us: 1_234_567 };
        let mut last = Some((Instant::now() - Duration::from_secs(1), 0, -400_000_000));
        let text = live(&standing, 1, &mut last);
        for line in text.lines() {
            assert!(line.chars().count() < 80, "{line}");
        }
        assert!(text.contains("134456 starts refused (302: 123456, 310: 9999)"), "{text}");
        assert_eq!(refused(&BTreeMap::new()), "0 starts refused");
    }
}
