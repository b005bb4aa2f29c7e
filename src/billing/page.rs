//! The receipt as a page to read and to print.

use super::text::{clock, cost, duration, kwh, moment, per_unit, price, quantity, title};
use super::{BillingError, Receipt, SignedReceipt};
use crate::units::visible;
use minijinja::{Environment, context};
use qrcode::QrCode;
use qrcode::render::svg;
use rust_decimal::Decimal;

/// The page that is used unless an operator brings their own.
const TEMPLATE: &str = include_str!("templates/receipt.html");

impl SignedReceipt {
    /// The receipt as one HTML page without anything from elsewhere: no script, no font, no picture but the QR code of
    /// its link. Every value is escaped, and control characters and marks of direction are written out.
    ///
    /// # Errors
    /// [`BillingError::Template`].
    pub fn to_html(&self) -> Result<String, BillingError> {
        page(TEMPLATE, &self.receipt, Some(&self.signature.key_id))
    }

    /// The same with an operator's own template (minijinja), which gets the same values.
    ///
    /// # Errors
    /// [`BillingError::Template`]: the template has a fault, which the error describes with its line.
    pub fn to_html_with(&self, template: &str) -> Result<String, BillingError> {
        page(template, &self.receipt, Some(&self.signature.key_id))
    }
}

impl Receipt {
    /// The page of a receipt that is not signed.
    ///
    /// # Errors
    /// [`BillingError::Template`].
    pub fn to_html(&self) -> Result<String, BillingError> {
        page(TEMPLATE, self, None)
    }
}

fn page(template: &str, receipt: &Receipt, key_id: Option<&str>) -> Result<String, BillingError> {
    let failed = |error: minijinja::Error| BillingError::Template(error.to_string());
    let decimals = receipt.decimals();
    let lines = receipt.lines.iter().map(|line| {
        let vat = line.vat_percent.map(|percent| format!("{percent} %")).unwrap_or_default();
        let with_vat = line.price_incl_vat.unwrap_or(line.price);
        context! {
            what => title(line), from => clock(&line.from), to => clock(&line.to), quantity => quantity(line),
            price => price(line), vat, net => cost(line.net, decimals), amount => cost(line.gross, decimals),
            price_incl_vat => in_words(&per_unit(line, with_vat)), multiplies => line.dimension != "price_limit",
            // What the tariff states, where that is another price.
            stated => (!line.price_includes_vat && line.price != with_vat).then(|| in_words(&price(line))),
        }
    });
    let lines: Vec<minijinja::Value> = lines.collect();
    let mut rest = receipt.total;
    let mut rates = Vec::new();
    for rate in receipt.vat.iter().filter(|rate| !(rate.net.is_zero() && rate.vat.is_zero())) {
        let percent = rate.percent.map_or_else(|| "no rate".to_owned(), |percent| format!("{percent} %"));
        let mut net = rate.net.round_dp(decimals);
        net.rescale(decimals);
        let gross = net.saturating_add(rate.vat_amount);
        rest = rest.saturating_sub(gross);
        rates.push(context! {
            percent, net => net.to_string(), vat => rate.vat_amount.to_string(), gross => gross.to_string(),
        });
    }
    if !rates.is_empty() && !rest.is_zero() {
        rates.push(context! { percent => "rounding", net => "", vat => "", gross => rest.to_string() });
    }
    // A link that is too long for a QR code is still printed as text.
    let qr = receipt.link.as_deref().filter(|link| is_web_link(link)).and_then(qr_code);
    let (issuer, payment) = (&receipt.issuer, &receipt.payment);
    let paid = (!payment.captured.is_zero()).then(|| receipt.money(payment.captured));
    let state = match (receipt.total.is_zero(), payment.shortfall.is_zero()) {
        (true, _) => context! { kind => "nothing", text => format!("To pay: {}", receipt.nothing_due()) },
        (false, true) => context! { kind => "paid", text => "Paid" },
        (false, false) => context! {
            kind => "open", text => format!("Still to pay: {}", receipt.money(payment.shortfall)),
        },
    };
    let values = context! {
        number => receipt.number.as_deref().unwrap_or_default(), currency => &receipt.currency,
        issuer => context! { name => &issuer.name, address => &issuer.address, vat_id => &issuer.vat_id },
        facts => receipt.facts(), lines, sums => receipt.sums(), payment => receipt.payment_lines(),
        link => receipt.link.as_deref().filter(|link| is_web_link(link)), qr, key_id,
        headline => receipt.headline(), total => receipt.total.to_string(), state, paid, rates,
        place => &receipt.place, charger => &receipt.charger, connector => receipt.connector,
        day => receipt.started_at.get(..10), from => clock(&receipt.started_at), to => clock(&receipt.ended_at),
        until => receipt.ended_at.get(..10).filter(|day| receipt.started_at.get(..10) != Some(day)),
        duration => duration(Decimal::from(receipt.duration_s)), energy => kwh(receipt.energy_kwh),
        net => receipt.net_payable().to_string(), issued => moment(&receipt.issued_at),
        before_rounding =>
            (!receipt.rounding_difference.is_zero()).then(|| receipt.gross.normalize().to_string()),
    };
    let mut environment = Environment::new();
    // The name ends in .html, which switches escaping on.
    environment.set_formatter(|out, state, value| match value.as_str() {
        Some(text) if !value.is_safe() => {
            minijinja::escape_formatter(out, state, &minijinja::Value::from(visible(text).into_owned()))
        }
        _ => minijinja::escape_formatter(out, state, value),
    });
    environment.add_template("receipt.html", template).map_err(failed)?;
    environment.get_template("receipt.html").and_then(|page| page.render(values)).map_err(failed)
}

/// `0.59/kWh` as `0.59 per kWh`.
fn in_words(price: &str) -> String {
    price.replace('/', " per ")
}

/// Only such links become an `href`: escaping does not make a `javascript:` link harmless.
fn is_web_link(link: &str) -> bool {
    link.starts_with("https://") || link.starts_with("http://")
}

fn qr_code(link: &str) -> Option<String> {
    let code = QrCode::new(link.as_bytes()).ok()?;
    let picture = code.render::<svg::Color<'_>>().min_dimensions(160, 160).quiet_zone(true).build();
    // Inside HTML the XML declaration has no place.
    Some(picture.split_once("?>").map_or(picture.clone(), |(_, svg)| svg.to_owned()))
}
