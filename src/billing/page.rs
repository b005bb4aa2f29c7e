//! The receipt as a page to read and to print.

use super::text::{clock, four, price, quantity, title};
use super::{BillingError, Receipt, SignedReceipt};
use minijinja::{Environment, context};
use qrcode::QrCode;
use qrcode::render::svg;

/// The page that is used unless an operator brings their own.
const TEMPLATE: &str = include_str!("templates/receipt.html");

impl SignedReceipt {
    /// The receipt as one HTML page without anything from elsewhere: no script, no font, no picture but the QR code of
    /// its link. Every value is escaped.
    pub fn to_html(&self) -> Result<String, BillingError> {
        page(TEMPLATE, &self.receipt, Some(&self.signature.key_id))
    }

    /// The same with an operator's own template (minijinja), which gets the same values.
    pub fn to_html_with(&self, template: &str) -> Result<String, BillingError> {
        page(template, &self.receipt, Some(&self.signature.key_id))
    }
}

impl Receipt {
    /// The page of a receipt that is not signed.
    pub fn to_html(&self) -> Result<String, BillingError> {
        page(TEMPLATE, self, None)
    }
}

fn page(template: &str, receipt: &Receipt, key_id: Option<&str>) -> Result<String, BillingError> {
    let failed = |error: minijinja::Error| BillingError::Template(error.to_string());
    let lines = receipt.lines.iter().map(|line| {
        let vat = line.vat_percent.map(|percent| format!("{percent} %")).unwrap_or_default();
        context! {
            what => title(line), from => clock(&line.from), to => clock(&line.to), quantity => quantity(line),
            price => price(line), vat, net => four(line.net),
        }
    });
    let lines: Vec<minijinja::Value> = lines.collect();
    // A link that is too long for a QR code is still printed as text.
    let qr = receipt.link.as_deref().filter(|link| is_web_link(link)).and_then(qr_code);
    let issuer = &receipt.issuer;
    let values = context! {
        number => receipt.number.as_deref().unwrap_or_default(), currency => &receipt.currency,
        issuer => context! { name => &issuer.name, address => &issuer.address, vat_id => &issuer.vat_id },
        facts => receipt.facts(), lines, sums => receipt.sums(), payment => receipt.payment_lines(),
        link => receipt.link.as_deref().filter(|link| is_web_link(link)), qr, key_id,
    };
    let mut environment = Environment::new();
    // The name ends in .html, which switches escaping on.
    environment.add_template("receipt.html", template).map_err(failed)?;
    environment.get_template("receipt.html").and_then(|page| page.render(values)).map_err(failed)
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
