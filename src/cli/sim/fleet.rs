//! `wattstile sim fleet`: simulated chargers with their drivers.

use super::{Target, Ways, runtime, until_the_end};
use crate::cli::output::{BAD, GOOD};
use crate::cli::{CliError, Exit, Output};
use crate::message::{Code, Subject};
use crate::ocpp::Version;
use crate::sim::charger::Settings;
use crate::sim::driver::{Habits, Visitors};
use crate::sim::fleet::{Fleet, FleetReport, Line, Speaks, charger_names};
use crate::sim::ocpp::{Manners, OcppSettings, version_of_share};
use crate::sim::pace::Pace;
use crate::sim::tls::ocpp_dialler;
use crate::transport::resolve;
use crate::units::{Amount, ChargerId, Currency, Power, SiteId, TimeSpan, by_count, counted};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

/// Run simulated chargers with their drivers
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:\n  wattstile sim fleet --gate 127.0.0.1:7443 --chargers 100 --interval 5 --for 1m\n\n\
Ends by itself after --for, or on SIGINT or SIGTERM: no new drivers come, those that \
charge leave, and their receipts are waited for. Ends with 1 when the gate \
refused readings or every start, lost something that it had acknowledged, or owes a \
receipt; with 5 when no charger ever reached it.")]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// Chargers
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    chargers: u32,
    /// Site controllers that speak for them; 0: every charger has its own connection
    #[arg(long, value_name = "N", default_value_t = 0)]
    sites: u32,
    /// The gate's listener for OCPP: some of the chargers speak it, 2.1, 2.0.1 and, where there is --rfid, 1.6 in turn
    #[arg(value_parser = resolve, long, value_name = "ADDRESS", conflicts_with = "sites")]
    ocpp: Option<SocketAddr>,
    /// Percent of the chargers that speak OCPP
    #[arg(long, value_name = "PERCENT", default_value_t = 33, value_parser = clap::value_parser!(u8).range(0..=100), requires = "ocpp")]
    ocpp_share: u8,
    /// Connectors of each charger
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    connectors: u16,
    /// Most power of a connector, in kW
    #[arg(long, value_name = "KW", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    power: u32,
    /// What the chargers' names begin with
    #[arg(long, value_name = "TEXT", default_value = "SIM-")]
    prefix: String,
    /// Seconds between two readings of a session, by the chargers' clock
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    interval: u32,
    /// How much faster the chargers' clock runs; the gate's has to run as fast
    #[arg(long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    speed: u32,
    /// Most minutes between two drivers at a connector
    #[arg(long, value_name = "MINUTES", default_value_t = 30)]
    pause: u32,
    /// Repeats the drivers
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// A magic token that one driver in twenty presents (repeatable; see `sim tokens`)
    #[arg(long, value_name = "TOKEN")]
    magic: Vec<String>,
    /// The token of an account's card that one driver in three presents (repeatable)
    #[arg(long, value_name = "TOKEN")]
    rfid: Vec<String>,
    /// End by itself after this long
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// How long the last receipts are waited for
    #[arg(long = "grace", alias = "patience", value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let mut ways = args.target.open()?;
    let lines = args.lines(&mut ways)?;
    let line = output.live_lines();
    let report = runtime()?.block_on(async {
        let pace = Pace::new(args.speed);
        let within = Duration::from_millis(u64::from(args.chargers).min(5_000));
        let fleet = Fleet::start(lines, &pace, within, false);
        until_the_end(args.duration, || {
            let now = fleet.counts();
            line.set_message(format!(
                "{} of {} online · {} sessions · {} readings acknowledged · {} receipts",
                now.chargers_online, now.chargers, now.sessions_open, now.tally.readings_acked, now.tally.receipts
            ));
        })
        .await?;
        line.set_message("no new drivers; waiting for the last receipts");
        Ok::<_, CliError>(fleet.finish(args.timeout).await)
    })?;
    line.finish_and_clear();
    output.answer("fleet/1", &report, |out| text_of(&report, out))?;
    verdict(&report)
}

/// What went wrong, as an exit code and a sentence with counts.
fn verdict(report: &FleetReport) -> Result<Exit, CliError> {
    let tally = &report.tally;
    if report.greetings == 0 {
        let why = report.last_error.as_deref().unwrap_or("it was ended before");
        return Err(CliError::new(Exit::Unreachable, format!("no charger ever reached the gate: {why}")));
    }
    let counts = |by_code: &std::collections::BTreeMap<u16, u64>| {
        let named = by_code.iter().map(|(code, count)| format!("{count} × {}", Code::from_number(*code)));
        named.collect::<Vec<_>>().join(", ")
    };
    let mut wrong = Vec::new();
    if !tally.rejected.is_empty() {
        wrong.push(format!("readings were refused: {}", counts(&tally.rejected)));
    }
    if tally.accepted == 0 && !tally.refused.is_empty() {
        wrong.push(format!("every start was refused: {}", counts(&tally.refused)));
    }
    if tally.readings_lost + tally.sessions_lost > 0 {
        let (readings, sessions) = (tally.readings_lost, tally.sessions_lost);
        wrong.push(format!(
            "the gate lost {} and {}",
            counted(readings, "acknowledged reading"),
            counted(sessions, "accepted session")
        ));
    }
    if report.sessions_open > 0 {
        wrong.push(format!(
            "{} {} no receipt",
            counted(report.sessions_open, "session"),
            by_count(report.sessions_open, "has", "have")
        ));
    }
    if wrong.is_empty() {
        Ok(Exit::Ok)
    } else {
        let clock = [Code::TimeImplausible, Code::TimeBackwards];
        let by_clock = clock.iter().any(|code| tally.rejected.contains_key(&code.number()));
        let error = CliError::failed(wrong.join("; "));
        let help = "the chargers' clock is not the gate's: with --speed the gate's has to run as fast";
        Err(if by_clock { error.help(help) } else { error })
    }
}

impl Args {
    fn lines(&self, ways: &mut Ways) -> Result<Vec<Line>, CliError> {
        let names = charger_names(&self.prefix, self.chargers).map_err(|error| CliError::new(Exit::Usage, error))?;
        if self.sites == 0 {
            let line = |(id, number): (&ChargerId, u32)| {
                let subject = Subject::Charger(id.clone());
                match self.ocpp.zip(self.version_of(number)) {
                    None => {
                        let dialler = ways.of(&subject)?;
                        Ok(Line { dialler, chargers: vec![self.settings(id)], speaks: Speaks::Native })
                    }
                    Some((address, version)) => {
                        let mut settings = self.settings(id);
                        if let (Version::V16, Visitors::Random(habits)) = (version, &mut settings.visitors) {
                            habits.rfid_per_ten_thousand = 10_000;
                        }
                        let dialler = ocpp_dialler(ways.connector(&subject)?, address, (id, version));
                        let spoken = OcppSettings { version, manners: Manners::GOOD, currency: Currency::EUR };
                        Ok(Line { dialler, chargers: vec![settings], speaks: Speaks::Ocpp(spoken) })
                    }
                }
            };
            return names.iter().zip(1..).map(line).collect();
        }
        let per_site = names.len().div_ceil(usize::try_from(self.sites).unwrap_or(1));
        names
            .chunks(per_site)
            .zip(1..)
            .map(|(names, number)| {
                let site = SiteId::new(&format!("{}site-{number}", self.prefix))
                    .map_err(|error| CliError::new(Exit::Usage, error))?;
                let dialler = ways.of(&Subject::Site(site))?;
                Ok(Line { dialler, chargers: names.iter().map(|id| self.settings(id)).collect(), speaks: Speaks::Site })
            })
            .collect()
    }

    /// What a charger speaks, by its number; none: the native protocol.
    fn version_of(&self, number: u32) -> Option<Version> {
        let versions = if self.rfid.is_empty() { 2 } else { 3 };
        version_of_share(number, self.ocpp_share, versions)
    }

    fn settings(&self, id: &ChargerId) -> Settings {
        let tokens = |texts: &[String]| texts.iter().map(|text| text.as_bytes().into()).collect::<Vec<Box<[u8]>>>();
        let habits = Habits {
            pause_max: TimeSpan::from_secs(i64::from(self.pause) * 60),
            magic: tokens(&self.magic),
            magic_per_ten_thousand: if self.magic.is_empty() { 0 } else { 500 },
            rfid: tokens(&self.rfid),
            rfid_per_ten_thousand: if self.rfid.is_empty() { 0 } else { 3_333 },
            ..Habits::default()
        };
        let power = Power::from_milliwatts(i64::from(self.power) * 1_000_000);
        Settings {
            id: id.clone(),
            connectors: vec![power; usize::from(self.connectors)],
            interval: TimeSpan::from_secs(i64::from(self.interval)),
            visitors: Visitors::Random(habits),
            seed: self.seed,
            kept_max: 2_048,
        }
    }
}

fn text_of(report: &FleetReport, out: &mut dyn Write) -> io::Result<()> {
    let tally = &report.tally;
    writeln!(
        out,
        "{}, {}, {} accepted",
        counted(report.chargers, "charger"),
        counted(tally.visits, "driver"),
        counted(tally.accepted, "session")
    )?;
    writeln!(out, "  receipts   {}, {} without one", tally.receipts, counted(report.sessions_open, "session"))?;
    writeln!(out, "  energy     {} Wh with receipts", report.energy_wh)?;
    for (currency, minor) in &report.paid_minor {
        match currency.parse() {
            Ok(known) => writeln!(out, "  paid       {currency} {}", Amount::new(*minor, known).major())?,
            Err(_) => writeln!(out, "  paid       {} of {currency}", counted(*minor, "minor unit"))?,
        }
    }
    writeln!(out, "  readings   {} taken, {} acknowledged", tally.readings, tally.readings_acked)?;
    let lost = tally.readings_lost + tally.sessions_lost;
    let style = if lost == 0 { GOOD } else { BAD };
    writeln!(
        out,
        "  lost       {style}{}, {}{style:#}",
        counted(tally.readings_lost, "reading"),
        counted(tally.sessions_lost, "session")
    )?;
    for (code, count) in &tally.refused {
        writeln!(out, "  {} refused: {}", counted(*count, "start"), Code::from_number(*code))?;
    }
    for (code, count) in &tally.rejected {
        writeln!(out, "  {} refused: {}", counted(*count, "reading"), Code::from_number(*code))?;
    }
    writeln!(
        out,
        "  dials      {}, {} failed; {} broke",
        report.dials,
        report.dials_failed,
        counted(report.disconnects, "connection")
    )?;
    match &report.last_error {
        Some(error) => writeln!(out, "  the last: {error}"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_tells_what_went_wrong_and_how_often() {
        let unreached = FleetReport { last_error: Some("refused".to_owned()), ..FleetReport::default() };
        let error = verdict(&unreached).unwrap_err();
        assert_eq!(error.exit, Exit::Unreachable);
        assert!(error.message.contains("refused"), "{error}");

        let mut report = FleetReport { greetings: 1, ..FleetReport::default() };
        report.tally.refused.insert(Code::CredentialDeclined.number(), 3);
        report.tally.accepted = 1;
        assert_eq!(verdict(&report).unwrap(), Exit::Ok, "some drivers are declined");
        report.tally.rejected.insert(Code::TimeImplausible.number(), 12);
        let error = verdict(&report).unwrap_err();
        assert_eq!(error.exit, Exit::Failed);
        assert!(error.message.contains("12 ×") && error.help.is_some(), "{error}");
        report.tally.rejected.clear();
        report.tally.accepted = 0;
        assert!(verdict(&report).unwrap_err().message.contains("every start"));
        report.tally.refused.clear();
        report.sessions_open = 2;
        assert!(verdict(&report).unwrap_err().message.contains("2 sessions"));
    }
}
