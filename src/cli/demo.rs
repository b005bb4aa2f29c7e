//! `wattstile demo`: a whole network on this machine, for a first impression.

use super::interrupts::{Interrupts, Wish};
use super::layout::{fitted, flow};
use super::{CliError, Exit, Output, shards};
use crate::app::demo::{Demo, DemoError, DemoSettings, OCPP_SHARE, OcppSettings, Standing, default_directory};
use crate::config::reporting_url::ReportingUrl;
use crate::sim::processor::ServiceReport;
use crate::transport::websocket::WebSocketUrl;
use crate::units::{Power, counted};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Run a gate with simulated chargers, drivers and processors
///
/// Everything is made on this machine: development certificates, data, 40 chargers on 40 mutual-TLS connections (a third of
/// them speaks OCPP), two payment processors that connect, twenty prepaid accounts. Started again, it goes on with the same data and the same
/// sessions, however it ended.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  wattstile demo --for 30s --json")]
pub struct Args {
    /// Where certificates and data are kept
    #[arg(long = "data", alias = "dir", value_name = "DIR", default_value_os_t = default_directory().to_owned(), env = "WATTSTILE_DEMO_DIR")]
    dir: PathBuf,
    /// End by itself after this long
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Simulated chargers
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u16).range(0..=2000))]
    chargers: u16,
    /// Keep a reporting database: `sqlite` (a file in the data directory), `sqlite:PATH` or `postgres://USER@HOST/DATABASE`
    #[arg(long, value_name = "URL")]
    reporting: Option<ReportingUrl>,
    /// Percent of them that speak OCPP over WebSocket: 2.1, 2.0.1 and 1.6 in turn
    #[arg(long, value_name = "PERCENT", default_value_t = OCPP_SHARE, value_parser = clap::value_parser!(u8).range(0..=100))]
    ocpp_share: u8,
    /// How much faster the clock runs
    #[arg(long, value_name = "TIMES", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=600))]
    speed: u32,
    /// Repeats drivers and processors
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Charge by the tariff of this file instead of the built-in one
    #[arg(long, value_name = "FILE")]
    tariff: Option<PathBuf>,
    /// Also serve chargers that speak OCPP: ws://ADDRESS/ocpp/CHARGER, any charger; with its password where DIR/ocpp/CHARGER.password is
    #[arg(long, value_name = "ADDRESS")]
    ocpp: Option<SocketAddr>,
    /// The same with mutual TLS: wss://, certificates by `wattstile cert issue charger ID --pki DIR/pki`
    #[arg(long, value_name = "ADDRESS")]
    ocpp_tls: Option<SocketAddr>,
    /// The most power of a connector of these chargers
    #[arg(long, value_name = "KW", default_value_t = 350, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    ocpp_power: u32,
    /// A management system behind the gate, such as ws://127.0.0.1:9100/ocpp: it gets what is not about money
    #[arg(long, value_name = "URL", value_parser = behind)]
    ocpp_forward: Option<WebSocketUrl>,
}

/// The demonstration has no authorities of others.
fn behind(text: &str) -> Result<WebSocketUrl, String> {
    match text.parse::<WebSocketUrl>() {
        Ok(url) if url.is_secure => Err("the demonstration reaches it by ws:// only".to_owned()),
        Ok(url) => Ok(url),
        Err(error) => Err(error.to_string()),
    }
}

/// Interval at which the live lines are drawn.
const BEAT: Duration = Duration::from_millis(500);

/// Interval of plain lines with the progress, for outputs where lines cannot be redrawn.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Most time that the last receipts are awaited.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What a demonstration came to.
#[derive(Debug, Serialize)]
struct Document {
    chargers: u64,
    /// How many of them speak OCPP.
    ocpp_chargers: u64,
    /// Sessions of theirs whose end was acknowledged in this run.
    ocpp_sessions_ended: u64,
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
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let interrupts = Interrupts::new().map_err(CliError::failed)?;
    if args.ocpp_forward.is_some() && args.ocpp.is_none() && args.ocpp_tls.is_none() {
        let why = "--ocpp-forward passes on what chargers at --ocpp or --ocpp-tls send: name one of them, too";
        return Err(CliError::new(Exit::Usage, why));
    }
    let power_max = Power::from_watts(i64::from(args.ocpp_power) * 1_000).expect("the argument is bounded");
    let settings = DemoSettings {
        directory: args.dir.clone(),
        chargers: args.chargers,
        speed: args.speed,
        seed: args.seed,
        tariff: args.tariff.clone(),
        ocpp: OcppSettings {
            plain: args.ocpp,
            tls: args.ocpp_tls,
            power_max,
            forward: args.ocpp_forward.clone(),
            share_percent: args.ocpp_share,
        },
        reporting: args.reporting.clone().map(|url| url.in_data(&args.dir.join("data"))),
    };
    let mut demo = Demo::start(&settings).map_err(|error| match &error {
        DemoError::Start(error) => CliError::start(error),
        error => CliError::caused(Exit::Failed, error),
    })?;
    banner(&demo, &args, output);
    let (recovered, recovery) = (demo.gate.recovered.records, demo.gate.recovery);

    let lines = output.live_or_plain_lines(PLAIN_EVERY);
    let end = args.duration.map(|duration| demo.started + duration);
    let mut last = None;
    loop {
        let beat = Instant::now() + BEAT;
        let until = end.map_or(beat, |end| end.min(beat));
        if interrupts.wait_until(until).is_some_and(|wish| wish != Wish::Reload) {
            break;
        }
        if let Some(receipt) = demo.first_receipt(output.columns()) {
            lines.suspend(|| inform_fitted(output, &first_receipt(&receipt, &args.dir)));
        }
        let standing = demo.standing();
        lines.set_message(live(&standing, args.speed, &mut last));
        if end.is_some_and(|end| Instant::now() >= end) {
            break;
        }
    }
    lines.finish_and_clear();
    inform_fitted(output, "No new drivers come; waiting for the last receipts (^C again ends at once).");
    end_at_once(interrupts)?;
    let started = demo.started;
    let (standing, processors) = demo.finish(TIMEOUT);
    let document = Document::new(standing, processors, recovered, recovery, started.elapsed());
    output.answer("demo/1", &document, |out| document.write(out))?;
    Ok(Exit::Ok)
}

/// Ends the process at the next signal: the data is whole at any moment, and a later run goes on with it.
fn end_at_once(interrupts: Interrupts) -> Result<(), CliError> {
    let wait = move || {
        while interrupts.wait() == Wish::Reload {}
        std::process::exit(i32::from(Exit::Interrupted.code()));
    };
    std::thread::Builder::new().name("interrupts".to_owned()).spawn(wait).map_err(CliError::failed)?;
    Ok(())
}

/// A message whose lines fit the terminal.
fn inform_fitted(output: &Output, text: &str) {
    match output.columns() {
        Some(width) => output.inform(fitted(text, width)),
        None => output.inform(text),
    }
}

fn banner(demo: &Demo, args: &Args, output: &Output) {
    let address =
        |address: Option<std::net::SocketAddr>| address.map_or_else(String::new, |address| address.to_string());
    let recovered = match demo.gate.recovered.records {
        0 => "new".to_owned(),
        records => format!("{} recovered in {} ms", counted(records, "record"), demo.gate.recovery.as_millis()),
    };
    let chargers = format!("{} simulated, clock {}×", args.chargers, args.speed);
    let mut facts = vec![
        ("data", vec![args.dir.display().to_string(), format!("{recovered}; delete it any time")]),
        ("chargers", vec![address(demo.gate.chargers), chargers]),
        ("ocpp", demo.gate.ocpp.iter().map(|at| format!("{at}/ocpp/CHARGER")).collect()),
        ("processors", vec![address(demo.gate.processors), "acme-cards, wally-wallet".to_owned()]),
        ("shards", vec![shards(demo.gate.shards())]),
    ];
    if let Some(console) = &demo.console {
        facts.push(("metrics", vec![format!("http://{}/metrics", console.address)]));
    }
    facts.retain(|(_, parts)| !parts.is_empty());
    let data = data_option(&args.dir);
    let commands = ["session ls", "receipt show --last", "ledger check"];
    facts.push(("look", commands.map(|command| format!("wattstile {command}{data}")).to_vec()));
    let title =
        format!("wattstile {}, payment gatekeeper of a charging network: a demonstration\n", env!("CARGO_PKG_VERSION"));
    inform_fitted(output, &title);
    for (name, parts) in facts {
        output.inform(fact(name, &parts, output.columns()));
    }
    if let Some(login) = demo.console.as_ref().and_then(|console| console.login().ok()) {
        let parts = ["a link for a browser; it works once, for five minutes:".to_owned()];
        output.inform(fact("console", &parts, output.columns()));
        // At the edge: it is long, and a link that is broken cannot be opened.
        output.inform(login);
    }
    output.inform("");
}

/// Where the name of a fact ends and its text begins.
const FACT: usize = 14;

/// A fact of the banner. Its parts stay whole; each stands on a line of its own where the line would be too long.
fn fact(name: &str, parts: &[String], width: Option<usize>) -> String {
    let mut parts = parts.to_vec();
    if let Some(first) = parts.first_mut() {
        *first = format!("  {name:<12}{first}");
    }
    flow(&parts, "  ", FACT, width.unwrap_or(80)).join("\n")
}

/// The option by which other commands find this demonstration.
fn data_option(directory: &Path) -> String {
    if directory == default_directory() { String::new() } else { format!(" --data {}", directory.display()) }
}

/// A receipt between two rules, and how to see others.
fn first_receipt(text: &str, directory: &Path) -> String {
    let data = data_option(directory);
    let rule = "-".repeat(40);
    let text = text.trim_end();
    format!("The first receipt (`wattstile receipt show --last{data}` shows the newest):\n{rule}\n{text}\n{rule}\n")
}

/// Three lines with the state of the network, each short enough for a terminal of 80 columns.
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
        "{} charging · {} settled · {kw} kW · {readings_per_s} readings/s\n\
         EUR {} held · {} captured · {} released · books {}\n\
         {} · journal sync p99 {sync_p99_us} µs",
        figures.sessions_charging,
        figures.sessions_settled,
        cents(money.held_minor),
        cents(money.captured_minor),
        cents(money.released_minor),
        balance(figures.books_imbalance_minor),
        refused(&fleet.tally.refused),
    )
}

/// How many starts the gate refused, with the codes of the most frequent reasons.
fn refused(by_code: &BTreeMap<u16, u64>) -> String {
    let sum: u64 = by_code.values().sum();
    let mut codes: Vec<(u64, u16)> = by_code.iter().map(|(code, count)| (*count, *code)).collect();
    codes.sort_unstable_by(|a, b| b.cmp(a));
    let shown: Vec<String> = codes.iter().take(2).map(|(count, code)| format!("{code}: {count}")).collect();
    if shown.is_empty() {
        "0 starts refused".to_owned()
    } else {
        format!("{} refused ({})", counted(sum, "start"), shown.join(", "))
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
            chargers: fleet.chargers,
            ocpp_chargers: fleet.ocpp_chargers,
            ocpp_sessions_ended: fleet.tally.ended,
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
            "chargers    {}, {} of them speak OCPP and ended {}",
            self.chargers,
            self.ocpp_chargers,
            counted(self.ocpp_sessions_ended, "session")
        )?;
        writeln!(
            out,
            "sessions    {} settled, {} open, {} refused",
            self.sessions_settled, self.sessions_open, self.sessions_refused
        )?;
        // Beside it, a count of durable data would look like a loss: it is a moment older or newer.
        writeln!(out, "readings    {} acknowledged in this run", self.ticks_acked)?;
        writeln!(
            out,
            "money       EUR {} captured, {} held, {} released",
            cents(self.captured_minor),
            cents(self.held_minor),
            cents(self.released_minor)
        )?;
        writeln!(out, "books       {}", balance(self.books_imbalance_minor))?;
        writeln!(out, "journal     99 of 100 syncs within {} µs", self.journal_sync_p99_us)
    }
}

fn balance(imbalance_minor: i128) -> String {
    match imbalance_minor {
        0 => "balanced".to_owned(),
        off => format!("off by EUR {}", cents_of(off)),
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
    use crate::api::{Figures, Money};
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
        assert_eq!(refused(&BTreeMap::from([(310, 1)])), "1 start refused (310: 1)");
    }

    #[test]
    fn banner_keeps_addresses_whole_and_has_no_longer_lines_than_the_terminal() {
        let parts = ["127.0.0.1:37085".to_owned(), "40 simulated, clock 60×".to_owned()];
        assert_eq!(fact("chargers", &parts, Some(80)), "  chargers    127.0.0.1:37085  40 simulated, clock 60×");
        assert_eq!(
            fact("chargers", &parts, Some(40)),
            "  chargers    127.0.0.1:37085\n              40 simulated, clock 60×"
        );
        assert_eq!(data_option(default_directory()), "");
        assert_eq!(data_option(Path::new("/tmp/there")), " --data /tmp/there");
    }
}
