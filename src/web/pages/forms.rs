//! Forms: each is an order of the API under the same path. An order that has a dry run is tried first; then its amount is typed
//! again, and only an amount that is that of the dry run lets the order go out.

use super::super::problem::Problem;
use super::super::routes;
use super::table::FoundPage;
use super::view::plain;
use super::{Page, Visit, import};
use crate::units::shape::Shapes;
use axum::http::Method;
use minijinja::{Value, context};
use percent_encoding::percent_decode_str;
use rust_decimal::Decimal;
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;

/// The fields of a form, by name.
pub(in crate::web) type Fields = BTreeMap<String, String>;

/// What a form does.
#[derive(Clone, Copy, Debug)]
pub(in crate::web) struct Form {
    /// What it is called.
    pub title: &'static str,
    /// The page behind it.
    pub back: &'static str,
    /// What has to be typed again; none: it is a settlement file.
    pub typed: Option<Typed>,
}

/// The amount that has to be typed again.
#[derive(Clone, Copy, Debug)]
pub(in crate::web) enum Typed {
    /// None: a second look is enough.
    Nothing,
    /// That of a member of the dry run's answer.
    Member(&'static str),
    /// The sum of the operations that the dry run lists.
    Operations,
}

impl Form {
    pub(super) const fn new(title: &'static str, back: &'static str, typed: Typed) -> Form {
        Form { title, back, typed: Some(typed) }
    }

    pub(super) const fn of_file(title: &'static str, back: &'static str) -> Form {
        Form { title, back, typed: None }
    }

    fn back(&self, named: &BTreeMap<String, String>) -> String {
        let id = named.get("id").map(|id| super::super::path::segment(id)).unwrap_or_default();
        self.back.replace("{id}", &id)
    }
}

/// Members of a form that are none of the order.
const CONFIRMED: &str = "confirmed";
const TYPED: &str = "typed";
const KEY: &str = "key";

/// Reads the body of a form.
///
/// # Errors
/// 400 for a body that is no form, and for a field that is there twice.
pub(in crate::web) fn read_fields(body: &[u8]) -> Result<Fields, Problem> {
    let text = std::str::from_utf8(body).map_err(|_| Problem::usage("the form is not text"))?;
    let mut fields = Fields::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let read = |text: &str| {
            let spaced = text.replace('+', " ");
            let decoded = percent_decode_str(&spaced).decode_utf8().map(|text| text.into_owned());
            decoded.map_err(|_| Problem::usage("a field of the form is not UTF-8"))
        };
        if fields.insert(read(name)?, read(value)?).is_some() {
            return Err(Problem::usage("a field of the form is there twice"));
        }
    }
    Ok(fields)
}

/// Carries a form out, step by step.
///
/// # Errors
/// What the order is refused with.
pub(super) fn carry_out(form: Form, found: &FoundPage, visit: &Visit<'_>, fields: &Fields) -> Result<Page, Problem> {
    let Some(typed) = form.typed else { return import::import(visit, fields) };
    let path = found.path.trim_start_matches('/');
    let (body, has_dry_run) = body_of(path, fields)?;
    let back = form.back(visit.named);
    let with = |dry_run: bool| {
        let mut body = body.clone();
        if has_dry_run {
            body.insert("dry_run".to_owned(), dry_run.into());
        }
        Json::Object(body)
    };
    let confirmed = fields.contains_key(CONFIRMED);
    let tried = if has_dry_run { Some(visit.asking.order(path, &with(true), None)?) } else { None };
    let amount = tried.as_ref().and_then(|tried| amount_of(tried, typed));
    let right = match (amount, fields.get(TYPED)) {
        (None, _) => true,
        (Some(amount), Some(text)) => text.trim().parse::<Decimal>().is_ok_and(|typed| typed == amount),
        (Some(_), None) => false,
    };
    if !confirmed || !right {
        let key = super::super::access::secret::<16>().map_err(Problem::internal)?;
        let kept: Vec<Value> = fields
            .iter()
            .filter(|(name, _)| ![CONFIRMED, TYPED, KEY].contains(&name.as_str()))
            .map(|(name, value)| context! { name, value })
            .collect();
        let currency = tried.as_ref().map_or("", |tried| tried["currency"].as_str().unwrap_or_default()).to_owned();
        let page = Page::new(form.title, "confirm.html")
            .with("action", found.path.clone())
            .with("back", back)
            .with("fields", Value::from(kept))
            .with("tried", tried.as_ref().map_or(Value::UNDEFINED, plain))
            .with("rows", Value::from(tried.as_ref().map(rows).unwrap_or_default()))
            .with("amount", amount.map_or(Value::UNDEFINED, |amount| amount.to_string().into()))
            .with("currency", currency)
            .with("key", key)
            .with("mistyped", confirmed && !right);
        return Ok(Page { status: if confirmed { 400 } else { 200 }, ..page });
    }
    let done = visit.asking.order(path, &with(false), fields.get(KEY).map(String::as_str))?;
    Ok(Page::new(form.title, "done.html")
        .with("back", back)
        .with("rows", Value::from(rows(&done)))
        .with("done", plain(&done)))
}

/// The body of an order as its form has it, and whether the order can be tried. The order's own schema tells what is no text.
fn body_of(path: &str, fields: &Fields) -> Result<(Map<String, Json>, bool), Problem> {
    let mut shapes = Shapes::default();
    let shape = routes::body_shape(&Method::POST, &format!("/api/v1/{path}"), &mut shapes)?;
    let shape = shapes.resolved(&shape).clone();
    let known = shape["properties"].as_object().cloned().unwrap_or_default();
    let mut body = Map::new();
    for (name, value) in fields {
        if [CONFIRMED, TYPED, KEY].contains(&name.as_str()) || value.trim().is_empty() {
            continue;
        }
        let is_switch = known.get(name).is_some_and(|shape| shape["type"] == "boolean");
        let value = match value.as_str() {
            "true" | "on" if is_switch => true.into(),
            "false" if is_switch => false.into(),
            text => Json::from(text.trim()),
        };
        body.insert(name.clone(), value);
    }
    Ok((body, known.contains_key("dry_run")))
}

fn amount_of(tried: &Json, typed: Typed) -> Option<Decimal> {
    let read = |value: &Json| value.as_str().and_then(|text| text.parse::<Decimal>().ok());
    match typed {
        Typed::Nothing => None,
        Typed::Member(name) => read(&tried[name]),
        Typed::Operations => {
            let amounts = tried["operations"].as_array()?.iter().filter_map(|operation| read(&operation["amount"]));
            amounts.reduce(Decimal::saturating_add)
        }
    }
}

/// The plain members of an answer, with a name for people.
fn rows(answer: &Json) -> Vec<Value> {
    let members = answer.as_object().into_iter().flatten();
    let shown = members.filter(|(name, value)| {
        !["schema", "dry_run", "currency"].contains(&name.as_str()) && !value.is_null() && !value.is_array()
    });
    let rows = shown.filter(|(_, value)| !value.is_object()).map(|(name, value)| {
        let is_money = value.as_str().is_some_and(|text| text.parse::<Decimal>().is_ok()) && !name.contains("kwh");
        let text = match value {
            Json::String(text) => text.clone(),
            Json::Bool(true) => "yes".to_owned(),
            Json::Bool(false) => "no".to_owned(),
            other => other.to_string(),
        };
        context! { name => name.replace('_', " "), value => text, is_money }
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_body_of_a_form_is_read() {
        let fields = read_fields(b"amount=5.00&reason=late+%26+lost%21&empty=").unwrap();
        assert_eq!((fields["amount"].as_str(), fields["reason"].as_str()), ("5.00", "late & lost!"));
        for wrong in [&b"a=1&a=2"[..], b"a=%ff", b"\xff"] {
            assert_eq!(read_fields(wrong).unwrap_err().status, 400);
        }
    }

    #[test]
    fn the_schema_of_the_order_tells_what_is_no_text() {
        let fields = [("on", "true"), ("ignored", "")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (body, has_dry_run) = body_of("processors/a/drain", &fields.into()).unwrap();
        assert_eq!((Json::Object(body), has_dry_run), (json!({ "on": true }), true));
        let fields = [("amount", "5"), ("confirmed", "1"), ("typed", "5"), ("key", "k")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (body, has_dry_run) = body_of("accounts/a/topup", &fields.into()).unwrap();
        assert_eq!((Json::Object(body), has_dry_run), (json!({ "amount": "5" }), true));
        let (_, has_dry_run) = body_of("sessions/x/stop", &Fields::new()).unwrap();
        assert!(!has_dry_run);
    }

    #[test]
    fn the_amount_to_type_is_that_of_the_dry_run() {
        let tried =
            json!({ "operations": [{ "amount": "1.20" }, { "amount": "0.30" }, { "amount": null }], "held": "45.00" });
        assert_eq!(amount_of(&tried, Typed::Operations), "1.50".parse().ok());
        assert_eq!(amount_of(&tried, Typed::Member("held")), "45.00".parse().ok());
        assert_eq!(amount_of(&tried, Typed::Nothing), None);
    }
}
