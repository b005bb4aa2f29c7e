//! The receipt as plain text: for terminals, mail and small printers.

use super::{Receipt, ReceiptLine};
use rust_decimal::Decimal;
use std::fmt::Write;

/// The width up to which tables are drawn, in characters.
const WIDTH: usize = 80;

impl Receipt {
    /// The receipt as plain text, lines of at most 80 characters except where a name is longer.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        let head = match &self.number {
            Some(number) => format!("Receipt {number}"),
            None => "Receipt".to_owned(),
        };
        push(&mut out, &format!("{head}  ·  {}", self.issuer.name));
        for detail in [&self.issuer.address, &self.issuer.vat_id] {
            if !detail.is_empty() {
                push(&mut out, detail);
            }
        }
        push(&mut out, "");
        for (name, value) in self.facts() {
            push(&mut out, &format!("  {name:<12}{value}"));
        }
        push(&mut out, "");
        self.table(&mut out);
        push(&mut out, "");
        for (name, value) in self.payment_lines() {
            push(&mut out, &format!("  {name:<12}{value}"));
        }
        if let Some(link) = &self.link {
            push(&mut out, &format!("  {:<12}{link}", "read again"));
        }
        out
    }

    /// What stands above the table, as pairs of name and value.
    pub(super) fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = vec![("session", self.session.clone())];
        if !self.place.is_empty() {
            facts.push(("place", self.place.clone()));
        }
        facts.push(("charger", format!("{}  connector {}", self.charger, self.connector)));
        facts.push(("from", moment(&self.started_at)));
        facts.push(("to", format!("{}  ({})", moment(&self.ended_at), duration(Decimal::from(self.duration_s)))));
        facts.push(("energy", format!("{} kWh", three(self.energy_kwh))));
        let (first, last) = (three(self.first_register_kwh), three(self.last_register_kwh));
        facts.push(("register", format!("{first} to {last} kWh  ({} readings)", self.readings)));
        facts.push(("tariff", format!("{}  (sha256 {}…)", self.tariff.id, &self.tariff.sha256[..12])));
        facts.push(("paid with", format!("{}  {}", self.credential.kind, self.credential.fingerprint)));
        facts
    }

    /// What stands below the table.
    pub(super) fn payment_lines(&self) -> Vec<(&'static str, String)> {
        let payment = &self.payment;
        let money = |amount: Decimal| format!("{} {amount}", self.currency);
        let mut lines = vec![("authorized", money(payment.authorized))];
        lines.push(("captured", money(payment.captured)));
        lines.push(("released", money(payment.released)));
        if !payment.shortfall.is_zero() {
            lines.push(("still owed", money(payment.shortfall)));
        }
        if let Some(overpaid) = payment.overpaid {
            lines.push(("given back", money(overpaid)));
        }
        if let Some(processor) = &payment.processor {
            let references = payment.references.join(", ");
            lines.push(("processor", format!("{processor}  {references}").trim_end().to_owned()));
        }
        for document in &self.documents {
            let name = if document.kind == "credit_note" { "credit note" } else { "invoice" };
            let day = document.issued_at.get(..10).unwrap_or(&document.issued_at);
            let vat = money(document.vat);
            lines.push((name, format!("{}  {day}  {}  (VAT {vat})", document.number, money(document.total))));
        }
        lines
    }

    fn table(&self, out: &mut String) {
        let mut rows: Vec<[String; 6]> = self.lines.iter().map(|line| self.row(line)).collect();
        let mut sums = self.sums();
        align(rows.iter_mut().map(|row| &mut row[5]).chain(sums.iter_mut().map(|(_, figure)| figure)));
        let head = ["element", "from", "to", "quantity", "price", "excl. VAT"].map(str::to_owned);
        let mut widths = [0; 6];
        for row in std::iter::once(&head).chain(&rows) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        widths[5] = sums.iter().map(|(_, figure)| figure.len()).fold(widths[5], usize::max);
        // The first column takes what the page has left, so that figures stand at its right edge.
        let others: usize = widths[1..].iter().map(|width| width + 2).sum();
        widths[0] = widths[0].max(WIDTH.saturating_sub(others + 2));
        for row in std::iter::once(&head).chain(&rows) {
            let mut line = format!("  {:<1$}", row[0], widths[0]);
            for (index, cell) in row.iter().enumerate().skip(1) {
                // Times to the left, figures to the right.
                let written = match index {
                    1 | 2 => write!(line, "  {cell:<0$}", widths[index]),
                    _ => write!(line, "  {cell:>0$}", widths[index]),
                };
                written.expect("writing to a String cannot fail");
            }
            push(out, line.trim_end());
        }
        let right = 2 + widths[0] + others;
        for (name, figure) in sums {
            let line = format!("{name:>0$}  {figure:>1$}", right - widths[5] - 2, widths[5]);
            push(out, line.trim_end());
        }
    }

    fn row(&self, line: &ReceiptLine) -> [String; 6] {
        let element = format!("{} {}", line.element, title(line));
        [element, clock(&line.from), clock(&line.to), quantity(line), price(line), four(line.net)]
    }

    /// The sums under the table, as pairs of name and figure.
    pub(super) fn sums(&self) -> Vec<(String, String)> {
        let mut sums = vec![("subtotal".to_owned(), four(self.net))];
        for rate in self.vat.iter().filter(|rate| !rate.vat.is_zero()) {
            let name = rate.percent.map_or_else(|| "VAT".to_owned(), |percent| format!("VAT {percent} %"));
            sums.push((name, four(rate.vat)));
        }
        sums.push(("total, exact".to_owned(), four(self.gross)));
        if !self.rounding_difference.is_zero() {
            sums.push((format!("rounded once, {}", self.rounding.replace('_', " ")), four(self.rounding_difference)));
        }
        sums.push((format!("to pay  {}", self.currency), self.total.to_string()));
        sums
    }
}

/// What a line is for, in words.
pub(super) fn title(line: &ReceiptLine) -> String {
    let name = match line.dimension.as_str() {
        "energy" => "energy",
        "flat" => "start fee",
        "time" => "charging time",
        "parking_time" => "parking time",
        "reservation" => "reservation",
        "price_limit" if line.gross.is_sign_negative() => "highest price",
        "price_limit" => "lowest price",
        other => other,
    };
    match line.reason.is_empty() {
        true => name.to_owned(),
        false => format!("{name}, {}", line.reason),
    }
}

/// The quantity of a line; with what is billed for it, where a step made that more.
pub(super) fn quantity(line: &ReceiptLine) -> String {
    let show = |value: Decimal| match line.unit.as_str() {
        "kWh" => format!("{} kWh", three(value)),
        "s" => duration(value),
        _ => "1".to_owned(),
    };
    match line.measured == line.billed {
        true => show(line.measured),
        false => format!("{} → {}", show(line.measured), show(line.billed)),
    }
}

/// The price of a line with its unit.
pub(super) fn price(line: &ReceiptLine) -> String {
    match line.unit.as_str() {
        "kWh" => format!("{}/kWh", at_least(line.price, 2)),
        "s" => format!("{}/h", at_least(line.price, 2)),
        _ => at_least(line.price, 2),
    }
}

/// `2026-11-22T14:02:11+01:00` as `2026-11-22 14:02:11 +01:00`.
pub(super) fn moment(time: &str) -> String {
    match (time.get(..10), time.get(11..19), time.get(19..)) {
        (Some(day), Some(clock), Some(offset)) => format!("{day} {clock} {offset}"),
        _ => time.to_owned(),
    }
}

/// The hour and minute of a time.
pub(super) fn clock(time: &str) -> String {
    time.get(11..16).unwrap_or(time).to_owned()
}

/// Seconds as hours, minutes and seconds, without what is zero.
fn duration(seconds: Decimal) -> String {
    let whole = i64::try_from(seconds.trunc().mantissa()).unwrap_or(i64::MAX);
    let rest = seconds.fract();
    let mut parts = Vec::new();
    if whole >= 3_600 {
        parts.push(format!("{} h", whole / 3_600));
    }
    if whole / 60 % 60 > 0 {
        parts.push(format!("{} min", whole / 60 % 60));
    }
    let last = Decimal::from(whole % 60) + rest;
    if !last.is_zero() || parts.is_empty() {
        parts.push(format!("{} s", last.normalize()));
    }
    parts.join(" ")
}

/// At least three decimals.
fn three(value: Decimal) -> String {
    at_least(value, 3)
}

/// At least four decimals: exact costs are shown with all they have.
pub(super) fn four(value: Decimal) -> String {
    at_least(value, 4)
}

fn at_least(value: Decimal, decimals: u32) -> String {
    let mut value = value.normalize();
    if value.scale() < decimals {
        value.rescale(decimals);
    }
    value.to_string()
}

/// Puts the decimal points of a column of figures below each other, by blanks after the shorter ones.
fn align<'a>(figures: impl Iterator<Item = &'a mut String>) {
    let decimals = |figure: &str| figure.find('.').map_or(0, |point| figure.len() - point);
    let figures: Vec<&mut String> = figures.collect();
    let most = figures.iter().map(|figure| decimals(figure)).max().unwrap_or(0);
    for figure in figures {
        let missing = most - decimals(figure);
        figure.extend(std::iter::repeat_n(' ', missing));
    }
}

fn push(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}
