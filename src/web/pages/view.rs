//! Templates, and how values are shown in them. Every text is escaped, and hidden characters are written out.

use super::super::path;
use super::charts;
use super::{Page, Visit};
use crate::units::{Amount, Currency, visible};
use minijinja::{Environment, Value, context};
use rust_decimal::Decimal;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::sync::LazyLock;

macro_rules! templates {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("templates/", $name)))),+]
    };
}

const TEMPLATES: &[(&str, &str)] = templates! {
    "frame.html", "parts.html", "overview.html", "sessions.html", "session.html", "operation.html", "confirm.html",
    "done.html", "message.html", "sign_in.html", "receipts.html", "receipt.html", "receipt_sheet.html", "invoices.html",
    "chargers.html", "charger.html", "processors.html", "processor.html", "accounts.html", "account.html",
    "reconciliation.html", "batch.html", "preview.html", "ledger.html", "tariffs.html", "tariff.html", "system.html",
    "search.html",
};

/// A template as it is written, for a document that another room fills.
pub(super) fn template(name: &str) -> &'static str {
    TEMPLATES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text).unwrap_or_default()
}

/// The entries of the navigation: name, address and title.
const TABS: &[(&str, &str, &str)] = &[
    ("overview", "/", "Overview"),
    ("sessions", "/sessions", "Sessions"),
    ("receipts", "/receipts", "Receipts"),
    ("chargers", "/chargers", "Chargers"),
    ("processors", "/processors", "Processors"),
    ("accounts", "/accounts", "Accounts"),
    ("reconciliation", "/reconciliation", "Reconciliation"),
    ("ledger", "/ledger", "Ledger"),
    ("tariffs", "/tariffs", "Tariffs"),
    ("system", "/system", "System"),
];

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_formatter(|out, state, value| match value.as_str() {
        Some(text) if !value.is_safe() => {
            minijinja::escape_formatter(out, state, &Value::from(visible(text).into_owned()))
        }
        _ => minijinja::escape_formatter(out, state, value),
    });
    environment.add_filter("money", |value: Value, currency: Value| money(&text(&value), &text(&currency)));
    environment.add_filter("about", |value: Value, currency: Value| about(&text(&value), &text(&currency)));
    environment.add_filter("minor", |value: Value, currency: Value| minor(&value, &text(&currency)));
    environment.add_filter("kwh", |value: Value| quantity(&text(&value), 3));
    environment.add_filter("sum_kwh", |value: Value| quantity(&text(&value), 1));
    environment.add_filter("count", |value: Value| Value::from_safe_string(grouped(&text(&value))));
    environment.add_filter("when", |value: Value| when(&text(&value)));
    environment.add_filter("clock", |value: Value| text(&value).get(11..19).unwrap_or_default().to_owned());
    environment.add_filter("day", |value: Value| text(&value).get(..10).unwrap_or_default().to_owned());
    environment.add_filter("short", |value: Value| short(&text(&value)));
    environment.add_filter("segment", |value: Value| path::segment(&text(&value)));
    environment.add_filter("is_above_zero", |value: Value| decimal(&text(&value)) > Decimal::ZERO);
    environment.add_filter("took", |value: Value| took(&text(&value)));
    environment.add_filter("tone", |value: Value| tone(&text(&value)));
    environment.add_filter("lines", |value: Value| Value::from_safe_string(lines(&text(&value))));
    environment.add_filter("exact", |value: Value| Value::from_safe_string(marks_escaped(&text(&value))));
    environment.add_filter("urlencoded", |value: Value| {
        percent_encoding::utf8_percent_encode(&text(&value), percent_encoding::NON_ALPHANUMERIC).to_string()
    });
    environment.add_filter("plain", |value: Value| text(&value).replace('_', " "));
    environment.add_filter("hold_bar", |cost: Value, held: Value| {
        charts::safe(charts::hold_bar(&decimal(&text(&cost)), &decimal(&text(&held))))
    });
    for (name, source) in TEMPLATES {
        environment.add_template(name, source).expect("the templates of the console can be read");
    }
    environment
});

/// A page as HTML. `visit`: who asks; none: the reader is not signed in.
pub(super) fn html(page: &Page, tab: &str, visit: Option<&Visit<'_>>) -> Result<String, minijinja::Error> {
    let tabs: Vec<Value> =
        TABS.iter().map(|&(name, address, title)| context! { name, address, title, here => name == tab }).collect();
    let who = visit.map(|visit| {
        let principal = visit.asking.over.principal;
        context! { name => principal.name.clone(), role => principal.role.name() }
    });
    let q = visit.and_then(|visit| visit.parameter("q").filter(|_| tab.is_empty())).unwrap_or_default().to_owned();
    let mut values: BTreeMap<&str, Value> = page.values.clone();
    values.insert("title", page.title.clone().into());
    values.insert("tabs", tabs.into());
    values.insert("who", who.unwrap_or(Value::UNDEFINED));
    values.insert("searched", q.into());
    values.insert("style", super::assets::address("console.css").into());
    values.insert("script", super::assets::address("console.js").into());
    values.insert("version", crate::version::VERSION.into());
    ENVIRONMENT.get_template(page.template)?.render(values)
}

/// A JSON value for a template. Numbers with many digits stay as they are written.
pub(super) fn plain(value: &Json) -> Value {
    match value {
        Json::Null => Value::from(()),
        Json::Bool(value) => Value::from(*value),
        Json::Number(number) => number.as_i64().map_or_else(|| Value::from(number.to_string()), Value::from),
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(plain).collect(),
        Json::Object(members) => object(members.iter().map(|(name, value)| (name.clone(), plain(value)))),
    }
}

/// Members by their names.
pub(super) fn object(members: impl Iterator<Item = (String, Value)>) -> Value {
    members.collect::<BTreeMap<String, Value>>().into()
}

fn text(value: &Value) -> String {
    if value.is_none() || value.is_undefined() { String::new() } else { value.to_string() }
}

pub(super) fn decimal(text: &str) -> Decimal {
    text.parse().unwrap_or_default()
}

fn escaped(text: &str) -> String {
    marks_escaped(&visible(text))
}

/// A text in a form that comes back as it is.
fn marks_escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A text of several lines, as an element that keeps them shows it.
fn lines(text: &str) -> String {
    text.split('\n').map(|line| escaped(line.trim_end_matches('\r'))).collect::<Vec<_>>().join("\n")
}

/// A figure whose digits stand in groups of three by a small gap, which is not copied with it.
fn grouped(figure: &str) -> String {
    let (sign, rest) = figure.strip_prefix('-').map_or(("", figure), |rest| ("−", rest));
    let (whole, fraction) = rest.split_once('.').map_or((rest, None), |(whole, fraction)| (whole, Some(fraction)));
    if !whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return escaped(figure);
    }
    let mut shown = sign.to_owned();
    if whole.len() > 4 {
        let first = whole.len() % 3;
        let mut groups = Vec::new();
        if first > 0 {
            groups.push(&whole[..first]);
        }
        groups.extend((first..whole.len()).step_by(3).map(|at| &whole[at..at + 3]));
        let groups: Vec<String> = groups.iter().map(|group| format!("<i>{group}</i>")).collect();
        shown.push_str(&groups.concat());
    } else {
        shown.push_str(whole);
    }
    if let Some(fraction) = fraction {
        shown.push('.');
        shown.push_str(fraction);
    }
    shown
}

/// Money with at least the decimals of its currency, and none of its own left out.
fn money(value: &str, currency: &str) -> Value {
    if value.is_empty() {
        return Value::from_safe_string("<span class=\"none\">–</span>".to_owned());
    }
    let decimals = currency.parse::<Currency>().map_or(0, |currency| u32::from(currency.exponent()));
    let shown = value.parse::<Decimal>().map_or_else(
        |_| value.to_owned(),
        |value| {
            let mut value = value.normalize();
            value.rescale(value.scale().max(decimals));
            value.to_string()
        },
    );
    marked(&shown, currency)
}

/// Money rounded for a list; its title has every digit.
fn about(value: &str, currency: &str) -> Value {
    let Ok(exact) = value.parse::<Decimal>() else { return money(value, currency) };
    let decimals = currency.parse::<Currency>().map_or(0, |currency| u32::from(currency.exponent()));
    let mut rounded = exact.round_dp(decimals);
    rounded.rescale(decimals);
    if rounded == exact {
        return marked(&rounded.to_string(), currency);
    }
    let title = escaped(&format!("{} {currency}", exact.normalize()));
    Value::from_safe_string(format!("<span title=\"{title}\">{}</span>", marked(&rounded.to_string(), currency)))
}

fn marked(figure: &str, currency: &str) -> Value {
    let negative = if figure.starts_with('-') { " minus" } else { "" };
    let currency = escaped(currency);
    Value::from_safe_string(format!("<span class=\"m{negative}\">{}<b> {currency}</b></span>", grouped(figure)))
}

fn minor(value: &Value, currency: &str) -> Value {
    let minor = i64::try_from(value.clone()).ok();
    match (minor, currency.parse::<Currency>()) {
        (Some(minor), Ok(known)) => money(&Amount::new(minor, known).major().to_string(), currency),
        _ => money(&text(value), currency),
    }
}

/// A quantity with so many decimals; its title has every digit.
fn quantity(value: &str, decimals: u32) -> Value {
    let Ok(exact) = value.parse::<Decimal>() else { return Value::from_safe_string(escaped(value)) };
    let mut rounded = exact.round_dp(decimals);
    rounded.rescale(decimals);
    let title = escaped(&exact.normalize().to_string());
    Value::from_safe_string(format!("<span title=\"{title}\">{}</span>", grouped(&rounded.to_string())))
}

fn when(value: &str) -> Value {
    if value.len() < 19 || !value.is_char_boundary(10) || !value.is_char_boundary(19) {
        return Value::from_safe_string(if value.is_empty() {
            "<span class=\"none\">–</span>".to_owned()
        } else {
            escaped(value)
        });
    }
    let (day, clock) = (escaped(&value[..10]), escaped(&value[11..19]));
    let whole = escaped(value);
    Value::from_safe_string(format!("<time datetime=\"{whole}\" title=\"{whole}\"><span>{day}</span> {clock}</time>"))
}

/// The beginning of an id that tells it from others; the title has it whole.
fn short(id: &str) -> Value {
    let (kind, digits) = id.split_once('_').map_or(("", id), |(kind, digits)| (kind, digits));
    let is_id = matches!(kind, "ses" | "op" | "hold" | "evt") && digits.len() > 16;
    if !is_id {
        return Value::from_safe_string(escaped(id));
    }
    let beginning: String = digits.chars().take(16).collect();
    let last: String = digits.chars().skip(28).collect();
    let last = if kind == "ses" { String::new() } else { format!("…{last}") };
    Value::from_safe_string(format!("<abbr title=\"{}\">{}{}</abbr>", escaped(id), escaped(&beginning), escaped(&last)))
}

/// A time that passed, from milliseconds.
fn took(ms: &str) -> String {
    let Ok(ms) = ms.parse::<i64>() else { return String::new() };
    match ms {
        ..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        60_000..3_600_000 => format!("{} min {:02} s", ms / 60_000, ms / 1_000 % 60),
        _ => format!("{} h {:02} min", ms / 3_600_000, ms / 60_000 % 60),
    }
}

/// How a state is coloured; the word itself always stands beside it.
fn tone(state: &str) -> &'static str {
    match state {
        "charging" | "online" | "up" | "open" | "approved" | "matched" | "booked" | "verified" | "answered" => "good",
        "closed" | "captured" | "settled" | "released" | "reverted" | "refunded" => "quiet",
        "authorizing" | "settling" | "in flight" | "draining" | "received" | "estimated" | "offline"
        | "quarantined" => "warn",
        "refused" | "declined" | "unknown" | "down" | "failed" | "differs" | "missing" | "amount differs"
        | "not covered" | "extra" | "lost" | "forged" | "in doubt" => "bad",
        _ => "plain",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_their_digits() {
        for (figure, shown) in [
            ("5.18", "5.18"),
            ("-1755.00", "−1755.00"),
            ("1234567.5", "<i>1</i><i>234</i><i>567</i>.5"),
            ("12345", "<i>12</i><i>345</i>"),
            ("<b>", "&lt;b&gt;"),
        ] {
            assert_eq!(grouped(figure), shown);
        }
        assert_eq!(money("5.1792356", "EUR").to_string(), "<span class=\"m\">5.1792356<b> EUR</b></span>");
        assert_eq!(money("3.9", "EUR").to_string(), "<span class=\"m\">3.90<b> EUR</b></span>");
        assert_eq!(money("40", "JPY").to_string(), "<span class=\"m\">40<b> JPY</b></span>");
        assert_eq!(minor(&Value::from(-120), "EUR").to_string(), "<span class=\"m minus\">−1.20<b> EUR</b></span>");
        assert!(about("5.1792356", "EUR").to_string().starts_with("<span title=\"5.1792356 EUR\">"));
    }

    #[test]
    fn what_peers_name_is_escaped() {
        for value in
            [short("<script>"), when("<script>alert(1)</script>"), money("<script>", "<b>"), quantity("<i>", 3)]
        {
            let shown = value.to_string();
            assert!(!shown.contains("<script") && !shown.contains("<b></b>") && !shown.contains("<i>"), "{shown}");
        }
        assert_eq!(escaped("\u{202e}x"), "\\u{202e}x");
    }

    #[test]
    fn long_ids_are_cut_and_kept_whole_in_their_title() {
        let shown = short("ses_01a22f2d11c2000639e42d418c3f0000").to_string();
        assert_eq!(shown, "<abbr title=\"ses_01a22f2d11c2000639e42d418c3f0000\">01a22f2d11c20006</abbr>");
        assert_eq!(short("NL*WST*E0001").to_string(), "NL*WST*E0001");
        assert_eq!([took("81"), took("5040"), took("445500")], ["81 ms", "5.0 s", "7 min 25 s"]);
    }

    /// A filter that there is not, or a member of nothing, shows only when a template is filled.
    #[test]
    fn a_session_is_shown_with_all_that_it_may_have() {
        let line = serde_json::json!({
            "element": 1, "dimension": "energy", "reason": "23:00-06:00", "from": "2026-12-01T02:16:52+01:00",
            "to": "2026-12-01T02:22:32+01:00", "unit": "kWh", "measured": "10.5", "billed": "10.501", "price": "0.36",
            "vat_percent": "21", "net": "3.78036", "gross": "4.5742356",
        });
        let session = serde_json::json!({
            "id": "ses_01a22f2d11c2000639e42d418c3f0000", "state": "charging", "charger": "NL*WST*E0032", "connector": 1,
            "credential": "card:<script>", "started_at": "2026-12-01T01:16:52.486Z", "energy_kwh": "10.500950366",
            "readings": 6, "suspects": 1, "cost": "5.1792356", "held": "45.00", "captured": "0.00", "currency": "EUR",
            "flags": ["estimated"], "protocol": "native", "transaction_id": "7", "tariff": "DAY", "tariff_sha256": "26fd4737abd36475",
            "zone": "Europe/Amsterdam", "register_kwh": ["1", "11.5"], "lines": [line], "net": "4.28", "vat": [["21", "0.89"]],
            "gross": "5.1792356", "payable": "5.18", "released": "0.00", "shortfall": "1.00", "limit": "45.00",
            "operations": [{ "id": "op_01a22f2d11c2000639e42d418c3f0001", "kind": "authorize", "processor": "acme",
                "amount": "45.00", "state": "approved", "requested_at": null }],
            "disputes": [{ "state": "open", "amount": "1.00" }], "receipt": true, "quarantine": { "cause": "late", "ruling": null },
            "signed_values": [{ "moment": "begin", "verification": "verified", "encoding": "OCMF" }],
        });
        let timeline = serde_json::json!({ "id": "op_1", "state": "open", "timeline_is_cut": true, "timeline": [
            { "at": "2026-12-01T01:16:52.546Z", "after_ms": 0, "by": "gate", "what": "asked", "text": "asks acme", "by_inquiry": false },
            { "at": "2026-12-01T01:16:58.606Z", "after_ms": 6060, "by": "acme", "what": "declined", "text": "no", "by_inquiry": true },
        ] });
        let page = Page::new("Session", "session.html").with("session", plain(&session)).with("hold", plain(&timeline));
        let page =
            ["may_stop", "may_refund", "may_release", "may_rule"].iter().fold(page, |page, name| page.with(name, true));
        let page = page.with("rounding", "0.0007644").with("raw", "{}\n<script>").with("is_open", false);
        let shown = html(&page, "sessions", None).map_err(|error| format!("{error:#}")).unwrap();
        for part in
            ["data-amount=\"5.18\"", "0.0007644", "Stop the session", "after 6.0 s, by inquiry", "card:&lt;script&gt;"]
        {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(!shown.contains("<script>"), "{shown}");
    }

    #[test]
    fn every_template_can_be_read() {
        assert_eq!(ENVIRONMENT.templates().count(), TEMPLATES.len());
    }
}
