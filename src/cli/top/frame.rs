//! How a look at a gate is drawn.

use super::{Look, MoneyRow};
use crate::api::ProcessorRow;
use crate::units::visible;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph, Row, Table};

/// What is drawn.
pub(super) struct Shown<'a> {
    pub look: &'a Look,
    /// Why the look is not a new one.
    pub trouble: Option<&'a str>,
    pub is_held: bool,
}

const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const GOOD: Style = Style::new().fg(Color::Green);
const BAD: Style = Style::new().fg(Color::Red);
/// Lines of processors at most, with their frame.
const PROCESSORS_MAX: u16 = 8;
const EVENTS: u16 = 10;

impl Shown<'_> {
    /// Draws it, as far as there is room.
    pub fn draw(&self, frame: &mut Frame<'_>) {
        let look = self.look;
        let processors = u16::try_from(look.processors.len()).unwrap_or(u16::MAX).saturating_add(3);
        let money = u16::try_from(look.money.len()).unwrap_or(u16::MAX).max(3).saturating_add(2).min(6);
        let rows = [
            Constraint::Length(1),
            Constraint::Length(money),
            Constraint::Length(processors.min(PROCESSORS_MAX)),
            Constraint::Min(4),
            Constraint::Length(EVENTS),
        ];
        let [head, tiles, processors, sessions, events] = Layout::vertical(rows).areas(frame.area());
        frame.render_widget(self.head(), head);
        let thirds = [Constraint::Percentage(34), Constraint::Percentage(36), Constraint::Percentage(30)];
        let [charging, money, log] = Layout::horizontal(thirds).areas(tiles);
        frame.render_widget(paragraph("Charging", self.charging()), charging);
        frame.render_widget(paragraph("Money", self.money()), money);
        frame.render_widget(paragraph("Log", self.log()), log);
        self.processors(frame, processors);
        self.sessions(frame, sessions);
        frame.render_widget(paragraph("Events", self.events()), events);
    }

    fn head(&self) -> Line<'_> {
        let at = self.look.at.get(..19).unwrap_or_default().replace('T', " ");
        let (state, style) = match (self.trouble, self.is_held) {
            (Some(trouble), _) => (visible(trouble).into_owned(), BAD),
            (None, true) => ("held; space goes on".to_owned(), DIM),
            (None, false) => ("q ends, space holds".to_owned(), DIM),
        };
        Line::styled(format!("wattstile  {at} UTC  {state}"), style)
    }

    fn charging(&self) -> Vec<Line<'static>> {
        let look = self.look;
        let power = look.power_w.map_or_else(|| "– kW".to_owned(), |watts| format!("{} kW", tenths(watts)));
        let doubt = if look.in_doubt > 0 { BAD } else { DIM };
        vec![
            Line::raw(format!("{} charging  {power}", look.charging)),
            Line::styled(
                format!("{} authorizing, {} settling, {} settled", look.authorizing, look.settling, look.settled),
                DIM,
            ),
            Line::styled(
                format!("{} chargers, {} readings, {} in doubt", look.chargers_online, look.readings, look.in_doubt),
                doubt,
            ),
        ]
    }

    fn money(&self) -> Vec<Line<'static>> {
        let row = |row: &MoneyRow| {
            let MoneyRow { currency, held, captured, released, shortfall } = row;
            let owed = if shortfall.is_zero() { String::new() } else { format!(", owed {shortfall}") };
            Line::raw(format!("{currency} held {held}, captured {captured}, released {released}{owed}"))
        };
        let mut lines: Vec<Line<'static>> = self.look.money.iter().map(row).collect();
        lines.push(if self.look.imbalance == "0" {
            Line::styled("the books balance", GOOD)
        } else {
            Line::styled(format!("the books differ by {}", self.look.imbalance), BAD)
        });
        lines
    }

    fn log(&self) -> Vec<Line<'static>> {
        let system = &self.look.system;
        let silent = system.shards.iter().filter(|shard| !shard.answers).count();
        let shards = match silent {
            0 => Line::raw(format!("{} shards answer", system.shards.len())),
            silent => Line::styled(format!("{silent} of {} shards do not answer", system.shards.len()), BAD),
        };
        let Some(log) = &system.log else { return vec![shards] };
        let snapshots = log.snapshots_at.get(11..19).unwrap_or_default();
        vec![
            Line::raw(format!("{} of {} MiB, {} records", log.bytes >> 20, log.bytes_max >> 20, log.records)),
            Line::styled(format!("snapshots at {snapshots}, {} failed", log.snapshot_failures), DIM),
            shards,
        ]
    }

    fn processors(&self, frame: &mut Frame<'_>, area: Rect) {
        let row = |row: &ProcessorRow| {
            let (state, style) = match row {
                ProcessorRow { connections: 0, .. } => ("down".to_owned(), BAD),
                row if !row.breakers_open.is_empty() => {
                    (format!("not asked for {}", row.breakers_open.join(", ")), BAD)
                }
                ProcessorRow { draining: true, .. } => ("draining".to_owned(), DIM),
                ProcessorRow { .. } => ("up".to_owned(), GOOD),
            };
            let figures = [row.connections as u64, row.in_flight as u64, row.sent, row.answers];
            let cells =
                [visible(&row.id).into_owned(), state].into_iter().chain(figures.map(|figure| figure.to_string()));
            Row::new(cells.collect::<Vec<_>>()).style(style)
        };
        let heads = Row::new(["Processor", "State", "Connections", "In flight", "Sent", "Answers"]).style(DIM);
        let widths = [Constraint::Fill(2), Constraint::Fill(2)].into_iter().chain([Constraint::Length(11); 4]);
        let table = Table::new(self.look.processors.iter().map(row), widths).header(heads);
        frame.render_widget(table.block(Block::bordered().title("Processors")), area);
    }

    fn sessions(&self, frame: &mut Frame<'_>, area: Rect) {
        let rows = self.look.sessions.iter().map(|row| {
            let id: String = row.id.chars().take(16).collect();
            let held = format!("{} {}", row.held, row.currency);
            let (cost, energy) = (row.cost.round_dp(2).to_string(), row.energy_kwh.round_dp(3).to_string());
            Row::new([id, visible(&row.charger).into_owned(), energy, cost, held, row.readings.to_string()])
        });
        let heads = Row::new(["Session", "Charger", "kWh", "Cost", "Held", "Readings"]).style(DIM);
        let widths = [
            Constraint::Length(16),
            Constraint::Fill(2),
            Constraint::Length(10),
            Constraint::Length(9),
            Constraint::Length(13),
            Constraint::Length(8),
        ];
        let shown = format!("Charging now, the newest of {}", self.look.charging);
        frame.render_widget(Table::new(rows, widths).header(heads).block(Block::bordered().title(shown)), area);
    }

    fn events(&self) -> Vec<Line<'static>> {
        let lines = self.look.events.iter().map(|event| {
            let about =
                [&event.session, &event.charger, &event.processor, &event.account, &event.certificate, &event.batch];
            let about = about.into_iter().flatten().next().map(String::as_str).unwrap_or_default();
            let amount =
                event.amount.map(|amount| format!("{amount} {}", event.currency.as_deref().unwrap_or_default()));
            let why = event.reason.as_deref().or(event.code.as_deref()).unwrap_or_default();
            let clock = event.at.get(11..19).unwrap_or_default();
            let text = format!("{clock}  {:<24}  {about}  {}  {why}", event.r#type, amount.unwrap_or_default());
            let fails = ["failed", "declined", "unknown", "down", "offline", "faulted", "expiring", "differs"];
            let is_bad = fails.iter().any(|end| event.r#type.ends_with(end));
            Line::styled(visible(text.trim_end()).into_owned(), if is_bad { BAD } else { Style::new() })
        });
        lines.collect()
    }
}

fn paragraph<'a>(title: &'a str, lines: Vec<Line<'a>>) -> Paragraph<'a> {
    Paragraph::new(lines).block(Block::bordered().title(title))
}

/// Thousands with one digit behind the point.
fn tenths(value: i64) -> String {
    let tenths = value / 100;
    let sign = if tenths < 0 { "-" } else { "" };
    format!("{sign}{}.{}", (tenths / 10).unsigned_abs(), (tenths % 10).unsigned_abs())
}
