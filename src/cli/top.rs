//! `wattstile top`: a running gate on a terminal, for those without a browser. It asks the API, as any other client.

mod frame;

use super::gate_or_data::Which;
use super::live::columns;
use super::{CliError, Exit, Output};
use crate::api::feed::Event;
use crate::api::{ProcessorRow, SessionRow, SystemSheet};
use crate::limits::TOP_EVENTS;
use crate::units::{Amount, Currency, Timestamp};
use frame::Shown;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, KeyCode, KeyModifiers};
use ratatui::{Terminal, TerminalOptions, Viewport};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::Value;
use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Show a running gate live: sessions, power, money, processors, log, events
///
/// Keys: q, Escape or Ctrl-C ends it, space holds the picture.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  wattstile top\n  wattstile top --once > now.txt")]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Write one picture as plain text, and end
    #[arg(long)]
    once: bool,
    /// How often it asks the gate
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    every: Duration,
}

/// It asks no more often.
const EVERY_LEAST: Duration = Duration::from_millis(200);
/// Between the two looks of a single picture: power is the energy between them.
const BETWEEN: Duration = Duration::from_secs(1);
/// Lines and columns of a picture that goes to no terminal.
const PLAIN: (u16, u16) = (100, 40);
/// Sessions that are asked for.
const SESSIONS: u64 = 50;
/// Looks over which power is averaged: readings come every few seconds.
const LOOKS: usize = 15;

/// What one look at a gate found.
#[derive(Clone, Debug, Default, Serialize)]
struct Look {
    /// When, by the gate's clock.
    at: String,
    /// Sessions in which energy may flow.
    charging: u64,
    /// Sessions that wait for an authorization.
    authorizing: u64,
    /// Sessions whose hold is being captured or released.
    settling: u64,
    /// Sessions that were settled since the first record.
    settled: u64,
    /// Chargers with a connection.
    chargers_online: u64,
    /// Operations with an unknown outcome.
    in_doubt: u64,
    /// Readings recorded.
    readings: u64,
    /// Energy delivered.
    energy_wh: i64,
    /// The power since the earlier looks, in W; none: there was none before.
    power_w: Option<i64>,
    /// Difference of debits and credits.
    imbalance: String,
    /// Money by currency.
    money: Vec<MoneyRow>,
    /// Processors.
    processors: Vec<ProcessorRow>,
    /// The newest sessions in which energy may flow.
    sessions: Vec<SessionRow>,
    /// The gate as a machine.
    system: SystemSheet,
    /// The latest events, the latest first.
    events: Vec<Event>,
}

/// Money in one currency, in major units.
#[derive(Clone, Debug, Serialize)]
struct MoneyRow {
    currency: String,
    held: Decimal,
    captured: Decimal,
    released: Decimal,
    shortfall: Decimal,
}

/// Looks at a gate again and again.
struct Watch {
    which: Which,
    /// Where the feed of events goes on.
    after: String,
    events: VecDeque<Event>,
    /// Time by the gate's clock in milliseconds, and energy.
    energies: VecDeque<(i64, i64)>,
}

impl Watch {
    fn look(&mut self) -> Result<Look, CliError> {
        let source = self.which.running()?.ok_or_else(|| {
            let error = CliError::new(Exit::Unreachable, "no gate is running");
            error.help("start it with `wattstile serve`, or name its data directory with --data")
        })?;
        let figures = source.get("figures", &[])?;
        let (events, after) = source.events_behind(&self.after)?;
        self.after = after;
        self.events.extend(events);
        while self.events.len() > TOP_EVENTS {
            self.events.pop_front();
        }
        let count = |name: &str| figures[name].as_u64().unwrap_or(0);
        let (at, energy_wh) = (text(&figures["at"]), figures["energy_wh"].as_i64().unwrap_or(0));
        let sessions = [("state", "charging".to_owned())];
        Ok(Look {
            charging: count("sessions_charging"),
            authorizing: count("sessions_authorizing"),
            settling: count("sessions_settling"),
            settled: count("sessions_settled"),
            chargers_online: count("chargers_online"),
            in_doubt: count("operations_in_doubt"),
            readings: count("readings"),
            power_w: self.power(&at, energy_wh),
            energy_wh,
            imbalance: figures["books_imbalance_minor"].to_string(),
            money: money(&figures["money"]),
            processors: source.items("processors", &[], Some(SESSIONS))?,
            sessions: source.items("sessions", &sessions, Some(SESSIONS))?,
            system: serde_json::from_value(source.get("system", &[])?).map_err(CliError::failed)?,
            events: self.events.iter().rev().cloned().collect(),
            at,
        })
    }

    /// The power since the first of the looks that are remembered.
    fn power(&mut self, at: &str, energy_wh: i64) -> Option<i64> {
        let at = Timestamp::parse_rfc3339(at).ok()?.unix_ms();
        let first = self.energies.front().copied();
        self.energies.push_back((at, energy_wh));
        while self.energies.len() > LOOKS {
            self.energies.pop_front();
        }
        let (since, before) = first.filter(|(since, _)| at > *since)?;
        let watts = i128::from(energy_wh.checked_sub(before)?) * 3_600_000 / i128::from(at.checked_sub(since)?);
        i64::try_from(watts).ok()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn money(found: &Value) -> Vec<MoneyRow> {
    let rows = found.as_object().into_iter().flatten().filter_map(|(code, row)| {
        let currency: Currency = code.parse().ok()?;
        let major = |name: &str| Amount::new(row[name].as_i64().unwrap_or(0), currency).major();
        Some(MoneyRow {
            currency: code.clone(),
            held: major("held_minor"),
            captured: major("captured_minor"),
            released: major("released_minor"),
            shortfall: major("shortfall_minor"),
        })
    });
    rows.collect()
}

/// Shows the gate until a key ends it, or once.
///
/// # Errors
/// [`CliError`] with its exit code: no gate runs, or standard output is no terminal.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let Args { which, once, every } = args;
    let mut watch = Watch { which, after: "now".to_owned(), events: VecDeque::new(), energies: VecDeque::new() };
    let first = watch.look()?;
    if once || output.is_json() {
        std::thread::sleep(BETWEEN);
        let look = watch.look()?;
        let width = columns(std::io::stdout()).and_then(|width| u16::try_from(width).ok()).unwrap_or(PLAIN.0);
        let picture = plain(&look, (width, PLAIN.1))?;
        output.answer("top/1", &look, |out| out.write_all(picture.as_bytes()))?;
        return Ok(Exit::Ok);
    }
    if !std::io::stdout().is_terminal() {
        let error = CliError::new(Exit::Usage, "standard output is no terminal");
        return Err(error.help("`--once` writes one picture as plain text, `--json` one document"));
    }
    let mut terminal = ratatui::try_init().map_err(CliError::failed)?;
    let ended = live(&mut terminal, &mut watch, first, every.max(EVERY_LEAST));
    ratatui::try_restore().map_err(CliError::failed)?;
    ended.map(|()| Exit::Ok)
}

fn live(
    terminal: &mut ratatui::DefaultTerminal,
    watch: &mut Watch,
    mut look: Look,
    every: Duration,
) -> Result<(), CliError> {
    let (mut trouble, mut is_held) = (None, false);
    let mut due = Instant::now() + every;
    loop {
        let shown = Shown { look: &look, trouble: trouble.as_deref(), is_held };
        terminal.draw(|frame| shown.draw(frame)).map_err(CliError::failed)?;
        if event::poll(due.saturating_duration_since(Instant::now())).map_err(CliError::failed)? {
            if let event::Event::Key(key) = event::read().map_err(CliError::failed)? {
                let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
                match key.code {
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                    KeyCode::Char('c') if is_control => return Ok(()),
                    KeyCode::Char(' ') => is_held = !is_held,
                    _ => {}
                }
            }
            continue;
        }
        due = Instant::now() + every;
        if !is_held {
            // A gate that is started again is found again; what was seen last stays until then.
            match watch.look() {
                Ok(found) => (look, trouble) = (found, None),
                Err(error) => trouble = Some(error.to_string()),
            }
        }
    }
}

/// One picture as text.
fn plain(look: &Look, (width, height): (u16, u16)) -> Result<String, CliError> {
    let options = TerminalOptions { viewport: Viewport::Fullscreen };
    let mut terminal = Terminal::with_options(TestBackend::new(width, height), options).map_err(CliError::failed)?;
    terminal.draw(|frame| Shown { look, trouble: None, is_held: false }.draw(frame)).map_err(CliError::failed)?;
    let buffer = terminal.backend().buffer();
    let line = |row: u16| {
        let symbols: String = (0..width).map(|column| buffer[(column, row)].symbol()).collect();
        symbols.trim_end().to_owned() + "\n"
    };
    Ok((0..height).map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look() -> Look {
        Look {
            at: "2026-12-01T09:30:00.000Z".to_owned(),
            charging: 40,
            power_w: Some(1_416_250),
            money: vec![MoneyRow {
                currency: "EUR".to_owned(),
                held: Decimal::new(180_000, 2),
                captured: Decimal::new(1_420, 2),
                released: Decimal::ZERO,
                shortfall: Decimal::ZERO,
            }],
            processors: vec![ProcessorRow {
                id: "acme-cards".to_owned(),
                connections: 2,
                in_flight: 1,
                sent: 7,
                answers: 6,
                not_sent: 0,
                draining: false,
                breakers_open: vec!["capture".to_owned()],
            }],
            events: vec![Event { r#type: "capture.succeeded\u{1b}[2J".to_owned(), ..Event::default() }],
            ..Look::default()
        }
    }

    #[test]
    fn a_picture_has_every_part_and_no_control_characters() {
        let picture = plain(&look(), (100, 40)).unwrap();
        for part in ["40 charging", "1416.2 kW", "1800.00", "acme-cards", "not asked for capture", "capture.succeeded"]
        {
            assert!(picture.contains(part), "{part}:\n{picture}");
        }
        assert!(!picture.contains('\u{1b}') && picture.lines().all(|line| line.chars().count() <= 100));
    }

    #[test]
    fn a_small_terminal_gets_a_smaller_picture() {
        for size in [(1, 1), (20, 5), (40, 12), (300, 100)] {
            let picture = plain(&look(), size).unwrap();
            assert_eq!(picture.lines().count(), usize::from(size.1), "{size:?}");
        }
    }

    #[test]
    fn power_is_the_energy_between_looks() {
        let which = Which::at(std::path::Path::new("nowhere"));
        let mut watch = Watch { which, after: String::new(), events: VecDeque::new(), energies: VecDeque::new() };
        assert_eq!(watch.power("2026-12-01T09:30:00Z", 1_000), None);
        assert_eq!(watch.power("2026-12-01T09:30:36Z", 1_100), Some(10_000));
        assert_eq!(watch.power("2026-12-01T09:30:36Z", 1_100), Some(10_000));
        assert_eq!(watch.power("no time", 1_100), None);
    }
}
