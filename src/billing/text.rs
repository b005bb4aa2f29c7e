//! The receipt as plain text: for terminals, mail and small printers.

use super::pricing::NOT_PAID_OUT;
use super::{Receipt, ReceiptLine};
use crate::units::{counted, visible};
use rust_decimal::{Decimal, RoundingStrategy};
use std::fmt::Write;

/// What a flag says to the driver.
fn note_of(flag: &str) -> &str {
    match flag {
        "estimated" => "the charger did not report the end: this is what it had reported before",
        "offline" => "the charger was offline, and reported this later",
        "gap" => "reports of the charger are missing; the energy is that of its meter at the start and at the end",
        "quarantined" => "readings that cannot be right were not billed, and are under review",
        "signed_verified" => "what the charger's meter signed is verified",
        "signed_unverified" => "what the charger's meter signed could not be verified",
        other => other,
    }
}

/// The width of a receipt, in characters; only a word that is longer than a line goes beyond.
const WIDTH: usize = 80;
/// The least width that is kept to.
const WIDTH_LEAST: usize = 32;
/// The least width of the column of names; with less room, figures stand below their names.
const TITLE_LEAST: usize = 12;
/// The width of names before their values.
const NAME: usize = 12;
/// Decimals of an exact cost that are shown. All of them stand in the JSON form.
const COST_DECIMALS: u32 = 4;
/// Decimals of kWh that are shown, so that a line still multiplies.
const ENERGY_DECIMALS: u32 = 6;

impl Receipt {
    /// The receipt as plain text, lines of at most 80 characters except where one word is longer. Control characters and
    /// marks of direction are written out.
    pub fn to_text(&self) -> String {
        self.to_text_within(WIDTH)
    }

    /// The same in lines of at most so many characters, for narrow terminals and printers; below 32 as for 32.
    pub fn to_text_within(&self, width: usize) -> String {
        let width = width.clamp(WIDTH_LEAST, WIDTH);
        let wrapped = |out: &mut String, name: &str, value: &str| wrapped(out, name, value, width);
        let mut out = String::new();
        push(&mut out, &self.headline());
        let vat_id =
            if self.issuer.vat_id.is_empty() { String::new() } else { format!("VAT id {}", self.issuer.vat_id) };
        for detail in [&self.issuer.name, &self.issuer.address, &vat_id].into_iter().filter(|text| !text.is_empty()) {
            wrapped(&mut out, "", detail);
        }
        push(&mut out, "");
        for (name, value) in self.facts() {
            wrapped(&mut out, name, &value);
        }
        push(&mut out, "");
        self.table(&mut out, width);
        push(&mut out, "");
        for (name, value) in self.payment_lines() {
            wrapped(&mut out, name, &value);
        }
        if let Some(link) = &self.link {
            wrapped(&mut out, "read again", link);
        }
        out
    }

    /// What it is: `Receipt R-2026-EUR-000001`.
    pub(super) fn headline(&self) -> String {
        match &self.number {
            Some(number) => format!("Receipt {number}"),
            None => "Receipt".to_owned(),
        }
    }

    /// What stands above the table, as pairs of name and value.
    pub(super) fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = Vec::new();
        if !self.place.is_empty() {
            facts.push(("place", self.place.clone()));
        }
        facts.push(("charger", format!("{}, connector {}", self.charger, self.connector)));
        facts.push(("from", moment(&self.started_at)));
        facts.push(("to", format!("{}  ({})", moment(&self.ended_at), duration(Decimal::from(self.duration_s)))));
        facts.push(("energy", format!("{} kWh", kwh(self.energy_kwh))));
        let (first, last) = (kwh(self.first_register_kwh), kwh(self.last_register_kwh));
        facts.push(("meter", format!("{first} to {last} kWh, {}", counted(self.readings, "reading"))));
        facts.push(("tariff", self.tariff.id.clone()));
        facts.push(("session", self.session.clone()));
        facts.extend(self.flags.iter().map(|flag| ("note", note_of(flag).to_owned())));
        facts
    }

    /// What stands below the table.
    pub(super) fn payment_lines(&self) -> Vec<(&'static str, String)> {
        let payment = &self.payment;
        let money = |amount: Decimal| self.money(amount);
        let means = format!("{}, {}", self.credential.kind, self.credential.fingerprint);
        let mut lines = Vec::new();
        if self.total.is_zero() {
            lines.push(("to pay", self.nothing_due()));
        }
        if payment.captured.is_zero() {
            lines.push(("presented", means));
        } else {
            let day = payment.captured_at.as_deref().map(|at| format!(", {}", moment(at))).unwrap_or_default();
            lines.push(("paid", format!("{} by {means}{day}", money(payment.captured))));
        }
        if !payment.shortfall.is_zero() {
            lines.push(("still to pay", money(payment.shortfall)));
        }
        if let Some(overpaid) = payment.overpaid {
            lines.push((
                "too much",
                format!("{} were taken beyond the total and are to be given back", money(overpaid)),
            ));
        }
        if !payment.authorized.is_zero() {
            let reserved = money(payment.authorized);
            lines.push(("reserved", format!("{reserved}, of which {} were released", money(payment.released))));
        }
        if let Some(processor) = &payment.processor {
            let references = match payment.references.join(", ") {
                none if none.is_empty() => none,
                some => format!(", reference {some}"),
            };
            lines.push(("paid through", format!("{processor}{references}")));
        }
        for document in &self.documents {
            let name = if document.kind == "credit_note" { "credit note" } else { "invoice" };
            let day = document.issued_at.get(..10).unwrap_or(&document.issued_at);
            let (total, vat) = (money(document.total), money(document.vat));
            lines.push((name, format!("{} of {day}: {total}, VAT {vat} in it", document.number)));
        }
        lines
    }

    /// Why nothing is to be paid.
    pub(super) fn nothing_due(&self) -> String {
        match self.below_zero() {
            Some(below) => {
                let below = self.money(cost(below, self.decimals()));
                format!("nothing; the prices come to {below} below zero, which is not paid out")
            }
            None => "nothing".to_owned(),
        }
    }

    /// What the prices come to below zero, without its sign.
    pub(super) fn below_zero(&self) -> Option<Decimal> {
        let lines = self.lines.iter().filter(|line| line.reason == NOT_PAID_OUT);
        lines.map(|line| line.gross).reduce(|sum, gross| sum.saturating_add(gross))
    }

    /// An amount with its currency.
    pub(super) fn money(&self, amount: impl std::fmt::Display) -> String {
        format!("{} {amount}", self.currency)
    }

    /// The decimals of the currency.
    pub(super) fn decimals(&self) -> u32 {
        self.total.scale()
    }

    /// What the column of amounts is, by the tariff's prices.
    pub(super) fn basis(&self) -> &'static str {
        if self.tariff.prices_include_vat { "incl. VAT" } else { "excl. VAT" }
    }

    fn table(&self, out: &mut String, width: usize) {
        let mut rows: Vec<[String; 6]> = self.lines.iter().map(|line| self.row(line)).collect();
        let mut sums = self.sums();
        align(rows.iter_mut().map(|row| &mut row[5]).chain(sums.iter_mut().map(|(_, figure)| figure)));
        let head = ["what", "from", "to", "quantity", "price", self.basis()].map(str::to_owned);
        let mut widths = [0; 6];
        for row in std::iter::once(&head).chain(&rows) {
            for (width, cell) in widths.iter_mut().zip(row).skip(1) {
                *width = (*width).max(cell.chars().count());
            }
        }
        widths[5] = sums.iter().map(|(_, figure)| figure.chars().count()).fold(widths[5], usize::max);
        // The first column takes what the page has left, so that figures stand at its right edge; what is longer wraps.
        let others: usize = widths[1..].iter().map(|width| width + 2).sum();
        let Some(room) = width.checked_sub(others + 2).filter(|room| *room >= TITLE_LEAST) else {
            return stacked(out, &rows, (&head[5], &sums), width);
        };
        widths[0] = room;
        for row in std::iter::once(&head).chain(&rows) {
            let mut names = words_in(&row[0], widths[0]).into_iter();
            let mut line = format!("  {:<1$}", names.next().unwrap_or_default(), widths[0]);
            for (index, cell) in row.iter().enumerate().skip(1) {
                // Times to the left, figures to the right.
                let written = match index {
                    1 | 2 => write!(line, "  {cell:<0$}", widths[index]),
                    _ => write!(line, "  {cell:>0$}", widths[index]),
                };
                written.expect("writing to a String cannot fail");
            }
            push(out, line.trim_end());
            names.for_each(|rest| push(out, &format!("    {rest}")));
        }
        let right = 2 + widths[0] + others;
        for (name, figure) in sums {
            let line = format!("{name:>0$}  {figure:>1$}", right.saturating_sub(widths[5] + 2), widths[5]);
            push(out, line.trim_end());
        }
    }

    fn row(&self, line: &ReceiptLine) -> [String; 6] {
        // Not the line's own field: receipts of older versions have none.
        let amount = cost(if self.tariff.prices_include_vat { line.gross } else { line.net }, self.decimals());
        [title(line), clock(&line.from), clock(&line.to), quantity(line), price(line), amount]
    }

    /// The sums under the table, as pairs of name and figure.
    pub(super) fn sums(&self) -> Vec<(String, String)> {
        let net = self.net_payable();
        let mut sums = Vec::new();
        let vat = || self.vat.iter().filter(|rate| !rate.vat.is_zero());
        if vat().next().is_some() {
            sums.push(("net".to_owned(), net.to_string()));
        }
        let mut rest = self.total.saturating_sub(net);
        for rate in vat() {
            let name = rate.percent.map_or_else(|| "VAT".to_owned(), |percent| format!("VAT {percent} %"));
            sums.push((name, rate.vat_amount.to_string()));
            rest = rest.saturating_sub(rate.vat_amount);
        }
        if !rest.is_zero() {
            sums.push(("rounding".to_owned(), rest.to_string()));
        }
        sums.push((format!("total {}", self.currency), self.total.to_string()));
        if !self.rounding_difference.is_zero() {
            sums.push(("before rounding".to_owned(), self.gross.normalize().to_string()));
        }
        sums
    }

    /// The total without VAT, as it is declared.
    pub(super) fn net_payable(&self) -> Decimal {
        let rounded = || self.net.round_dp_with_strategy(self.decimals(), RoundingStrategy::MidpointNearestEven);
        self.net_amount.unwrap_or_else(rounded)
    }
}

/// The table where its columns do not stand beside each other: below its name a line's times, quantity and price, and at
/// the right edge its amount.
fn stacked(out: &mut String, rows: &[[String; 6]], (basis, sums): (&str, &[(String, String)]), width: usize) {
    push(out, &format!("{basis:>width$}"));
    for [title, from, to, quantity, price, amount] in rows {
        words_in(title, width - 2).iter().for_each(|line| push(out, &format!("  {line}")));
        let times = if from == to { from.clone() } else { format!("{from} to {to}") };
        let details = words_in(&format!("{times}  {quantity} × {price}"), width - 4);
        let last = details.len().saturating_sub(1);
        for (index, line) in details.iter().enumerate() {
            let room = width.saturating_sub(4 + line.chars().count());
            match (index == last, room > amount.chars().count()) {
                (false, _) => push(out, &format!("    {line}")),
                (true, true) => push(out, format!("    {line}{amount:>room$}").trim_end()),
                (true, false) => {
                    push(out, &format!("    {line}"));
                    push(out, format!("{amount:>width$}").trim_end());
                }
            }
        }
    }
    let figures = sums.iter().map(|(_, figure)| figure.chars().count()).max().unwrap_or(0);
    for (name, figure) in sums {
        push(out, format!("{name:>0$}  {figure:>figures$}", width.saturating_sub(figures + 2)).trim_end());
    }
}

/// The title of a line.
pub(super) fn title(line: &ReceiptLine) -> String {
    let name = match line.dimension.as_str() {
        "energy" => "energy",
        "flat" => "start fee",
        "time" => "charging time",
        "parking_time" => "parking time",
        "reservation" => "reservation",
        "price_limit" if line.reason == NOT_PAID_OUT => return NOT_PAID_OUT.to_owned(),
        "price_limit" if line.gross.is_sign_negative() => "highest price",
        "price_limit" => "lowest price",
        other => other,
    };
    if line.reason.is_empty() { name.to_owned() } else { format!("{name}, {}", line.reason) }
}

/// The quantity of a line; with the billed quantity, where a step made that more.
pub(super) fn quantity(line: &ReceiptLine) -> String {
    let show = |value: Decimal| match line.unit.as_str() {
        "kWh" => format!("{} kWh", kwh(value)),
        "s" => duration(value),
        _ => "1".to_owned(),
    };
    if line.measured == line.billed {
        show(line.measured)
    } else {
        format!("{} → {}", show(line.measured), show(line.billed))
    }
}

/// The price of a line with its unit.
pub(super) fn price(line: &ReceiptLine) -> String {
    per_unit(line, line.price)
}

/// A price in the unit of a line.
pub(super) fn per_unit(line: &ReceiptLine, price: Decimal) -> String {
    // What a price limit adds is a cost, not a price of the tariff.
    let price = match line.dimension.as_str() {
        "price_limit" => shown(price, 2, COST_DECIMALS),
        _ => at_least(price, 2),
    };
    match line.unit.as_str() {
        "kWh" => format!("{price}/kWh"),
        "s" => format!("{price}/h"),
        _ => price,
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
pub fn duration(seconds: Decimal) -> String {
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

/// Energy in kWh: three to six decimals.
pub(super) fn kwh(value: Decimal) -> String {
    shown(value, 3, ENERGY_DECIMALS)
}

/// A cost with at least the decimals of its currency, and no more than two beyond.
pub(super) fn cost(value: Decimal, decimals: u32) -> String {
    shown(value, decimals, decimals.max(COST_DECIMALS))
}

/// At least so many decimals, and at most so many: rounded to the nearest.
fn shown(value: Decimal, least: u32, most: u32) -> String {
    at_least(value.round_dp_with_strategy(most.max(least), RoundingStrategy::MidpointAwayFromZero), least)
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

/// A value behind its name, over as many lines as it takes.
fn wrapped(out: &mut String, name: &str, value: &str, width: usize) {
    let indent = if name.is_empty() { 0 } else { NAME + 4 };
    for (index, part) in words_in(&visible(value), width.saturating_sub(indent)).iter().enumerate() {
        match (index, indent) {
            (_, 0) => push(out, part),
            (0, _) => push(out, &format!("  {name:<NAME$}  {part}")),
            _ => push(out, &format!("{:indent$}{part}", "")),
        }
    }
}

/// The text in lines of at most so many characters, broken between words; a longer word has a line of its own.
fn words_in(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    // Two blanks in a row are part of the text.
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
}

fn push(out: &mut String, line: &str) {
    out.push_str(&visible(line));
    out.push('\n');
}
