//! From text to a compiled tariff: tolerant of spelling, strict about what decides a price.

use super::bound::{Ahead, Dearest};
use super::fields::{Fields, Reader, rounded};
use super::finding::{Finding, FindingKind};
use super::json::{self, Node, Value};
use super::model::{
    AltText, Component, Cuts, Dimension, Element, PriceLimit, Reservation, Restrictions, Tariff, TariffError,
    TariffFault, TaxIncluded,
};
use super::names::{COMPONENT_FIELDS, ELEMENT_FIELDS, LIMIT_FIELDS, RESTRICTION_FIELDS, TARIFF_FIELDS, TEXT_FIELDS};
use crate::limits::{TARIFF_BYTES_MAX, TARIFF_COMPONENTS_MAX};
use crate::units::{Amount, Cost, Currency, Rounding, TariffHash, TariffId, Timestamp};
use rust_decimal::{Decimal, RoundingStrategy};

const WEEKDAYS: [&str; 7] = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"];

/// Reads a tariff as far as possible: the tariff or all of its faults, with further findings. `pinned`: what earlier
/// versions accepted with a warning is no fault.
pub(super) fn examine(text: &str, pinned: bool) -> (Result<Tariff, TariffError>, Vec<Finding>) {
    let mut reader = Reader::new(text);
    let tariff = whole(&mut reader).map(Some);
    let tariff = reader.keep(tariff).flatten();
    let mut faults = reader.faults();
    faults.retain(|fault| !(pinned && fault.reason.was_taken()));
    let tariff = match (TariffError::of(faults), tariff) {
        (Some(error), _) => Err(error),
        (None, Some(tariff)) => Ok(tariff),
        (None, None) => Err(reader.fault("$", 0..0, TariffFault::NoPrice)),
    };
    (tariff, reader.findings())
}

/// `None` when a missing field was noted.
fn whole(reader: &mut Reader<'_>) -> Result<Option<Tariff>, TariffError> {
    let text = reader.text;
    if text.len() > TARIFF_BYTES_MAX {
        let what = format!("a text of {} bytes", text.len());
        return Err(reader.fault("$", 0..0, TariffFault::TooLarge { what, max: TARIFF_BYTES_MAX }));
    }
    let document = json::parse(text).map_err(|error| reader.fault("$", error.offset..error.offset, error.into()))?;
    reader.comments(&document);
    reader.doubled("$", &document.root);
    let root = reader.object("$", &document.root, TARIFF_FIELDS)?;
    compile(reader, &root)
}

/// Every field by itself: a fault in one leaves the others readable, so that all faults are reported at once.
fn compile(reader: &mut Reader<'_>, root: &Fields<'_, '_>) -> Result<Option<Tariff>, TariffError> {
    let mut seller = [None, None];
    for (known, (field, max)) in seller.iter_mut().zip([("country_code", 2), ("party_id", 3)]) {
        let text = reader.opt_text(root, field);
        if let Some(text) = reader.keep(text) {
            reader.upper(root, field, &text);
            reader.length(root, field, &text, max);
            *known = Some(text).filter(|text| !text.is_empty());
        } else {
            reader.missing(root, field);
        }
    }
    let updated = reader.opt_time(root, "last_updated");
    if reader.keep(updated).is_none() {
        reader.missing(root, "last_updated");
    }
    let [country, party] = seller;
    let id = id(reader, root).map(Some);
    let id = reader.keep(id);
    let currency = currency(reader, root).map(Some);
    let currency = reader.keep(currency);
    // Amounts are read in some currency also where it is not known, for the faults that they have besides.
    let amounts_in = currency.unwrap_or(Currency::EUR);
    let tax = tax_included(reader, root);
    let tax = reader.keep(tax);
    let rounding = rounding(reader, root);
    let rounding = reader.keep(rounding);
    let preauthorize_amount = preauthorize_amount(reader, root, amounts_in);
    let preauthorize_amount = reader.keep(preauthorize_amount);
    let min_price = price_limit(reader, root, "min_price", amounts_in);
    let min_price = reader.keep(min_price);
    let max_price = price_limit(reader, root, "max_price", amounts_in);
    let max_price = reader.keep(max_price);
    let valid_from = reader.opt_time(root, "start_date_time");
    let valid_from = reader.keep(valid_from);
    let valid_until = reader.opt_time(root, "end_date_time");
    let valid_until = reader.keep(valid_until);
    let (elements, components) = elements(reader, root)?;
    let (Some(id), Some(currency)) = (id, currency) else { return Ok(None) };
    let cuts = Cuts::of(&elements);
    let hash = ring::digest::digest(&ring::digest::SHA256, reader.text.as_bytes());
    let hash = TariffHash(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"));
    let mut tariff = Tariff {
        text: reader.text.to_owned(),
        hash,
        id,
        country: country.and_then(|text| text.as_bytes().try_into().ok()).unwrap_or(*b"XX"),
        party: party.map_or_else(|| "???".into(), Into::into),
        currency,
        tax,
        rounding,
        preauthorize_amount,
        min_price,
        max_price,
        valid_from,
        valid_until,
        alt_text: alt_texts(reader, root),
        elements,
        components,
        cuts,
        dearest: None,
        ahead: Ahead::default(),
    };
    tariff.dearest = Dearest::of(&tariff);
    Ok(Some(tariff))
}

/// The id in the characters that ids have here; real tariffs carry all sorts.
fn id(reader: &mut Reader<'_>, root: &Fields<'_, '_>) -> Result<TariffId, TariffError> {
    let text = match reader.opt_text(root, "id")? {
        Some(text) if !text.is_empty() => text,
        _ => {
            reader.missing(root, "id");
            "unnamed".to_owned()
        }
    };
    if let Ok(id) = TariffId::new(&text) {
        return Ok(id);
    }
    let changed = known_id(&text);
    reader.report(
        FindingKind::warning("id_changed"),
        (&root.path_of("id"), root.span_of("id")),
        format!("`{text}` is known as `{changed}` here"),
        Some("an id has at most 36 characters out of A-Z a-z 0-9 * + - . : = @ _ |"),
    );
    TariffId::new(&changed).map_err(|_| {
        reader.fault(&root.path_of("id"), root.span_of("id"), TariffFault::Value { value: text, expected: "an id" })
    })
}

/// An id as it is known here.
pub(super) fn known_id(text: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "*+-.:=@_|".contains(c) { c } else { '_' };
    text.chars().map(allowed).take(TariffId::MAX_LEN).collect()
}

fn currency(reader: &mut Reader<'_>, root: &Fields<'_, '_>) -> Result<Currency, TariffError> {
    let Some(code) = reader.opt_text(root, "currency")? else {
        return Err(reader.fault(&root.path, root.span.clone(), TariffFault::Missing("currency")));
    };
    reader.upper(root, "currency", &code);
    code.trim().parse().map_err(|error: crate::units::MoneyError| {
        reader.fault(&root.path_of("currency"), root.span_of("currency"), error.into())
    })
}

fn tax_included(reader: &mut Reader<'_>, root: &Fields<'_, '_>) -> Result<TaxIncluded, TariffError> {
    if let Some(Value::Bool(included)) = root.get("tax_included").map(|node| &node.value) {
        reader.report(
            FindingKind::warning("invalid_type"),
            (&root.path_of("tax_included"), root.span_of("tax_included")),
            "a boolean was read as YES or NO".to_owned(),
            Some("OCPI 2.3.0 has the texts YES, NO and N/A here"),
        );
        return Ok(if *included { TaxIncluded::Yes } else { TaxIncluded::No });
    }
    let Some(text) = reader.opt_text(root, "tax_included")? else { return Ok(TaxIncluded::No) };
    reader.upper(root, "tax_included", &text);
    match text.to_ascii_uppercase().as_str() {
        "YES" => Ok(TaxIncluded::Yes),
        "NO" => Ok(TaxIncluded::No),
        "N/A" | "NA" => Ok(TaxIncluded::NotApplicable),
        _ => Err(reader.value(root, "tax_included", &text, "YES, NO or N/A")),
    }
}

fn rounding(reader: &mut Reader<'_>, root: &Fields<'_, '_>) -> Result<Rounding, TariffError> {
    let Some(text) = reader.opt_text(root, "rounding")? else { return Ok(Rounding::default()) };
    match text.as_str() {
        "HALF_EVEN" => Ok(Rounding::HalfEven),
        "HALF_UP" => Ok(Rounding::HalfUp),
        "DOWN" => Ok(Rounding::Down),
        _ => Err(reader.value(root, "rounding", &text, "HALF_EVEN, HALF_UP or DOWN")),
    }
}

fn preauthorize_amount(
    reader: &mut Reader<'_>,
    root: &Fields<'_, '_>,
    currency: Currency,
) -> Result<Option<Amount>, TariffError> {
    let Some(number) = reader.opt_number(root, "preauthorize_amount")? else { return Ok(None) };
    if number.is_sign_negative() {
        return Err(reader.value(root, "preauthorize_amount", &number.to_string(), "an amount to reserve"));
    }
    // Finer than the smallest coin cannot be reserved; the next coin covers it.
    let exact = Cost::from_major(rounded(number, 9), currency);
    let amount = exact.and_then(Cost::ceiling);
    amount.map(Some).map_err(|error| {
        reader.fault(&root.path_of("preauthorize_amount"), root.span_of("preauthorize_amount"), error.into())
    })
}

/// `PriceLimit` of 2.3.0 (`before_taxes`, `after_taxes`), `Price` of 2.2.1 (`excl_vat`, `incl_vat`).
fn price_limit(
    reader: &mut Reader<'_>,
    root: &Fields<'_, '_>,
    field: &'static str,
    currency: Currency,
) -> Result<PriceLimit, TariffError> {
    let Some(node) = root.get(field) else { return Ok(PriceLimit::default()) };
    if !matches!(node.value, Value::Object(_)) {
        reader.report(
            FindingKind::warning("invalid_type"),
            (&root.path_of(field), node.span.clone()),
            format!("{} is read as the limit before tax", node.value.kind()),
            Some("write {\"before_taxes\": …, \"after_taxes\": …} (OCPI 2.2.1: excl_vat, incl_vat)"),
        );
        let excl_vat = reader.opt_number(root, field)?.map(|number| limit_of(reader, root, field, number, currency));
        return Ok(PriceLimit { excl_vat: excl_vat.transpose()?, incl_vat: None });
    }
    let path = root.path_of(field);
    let fields = reader.object(&path, node, LIMIT_FIELDS)?;
    let mut either = |new: &'static str, old: &'static str| -> Result<Option<Cost>, TariffError> {
        let name = if fields.get(new).is_some() { new } else { old };
        let Some(number) = reader.opt_number(&fields, name)? else { return Ok(None) };
        limit_of(reader, &fields, name, number, currency).map(Some)
    };
    let limit =
        PriceLimit { excl_vat: either("before_taxes", "excl_vat")?, incl_vat: either("after_taxes", "incl_vat")? };
    if let (true, Some(lost)) = (limit.is_none(), fields.members.iter().find(|member| member.node.value != Value::Null))
    {
        let reason = TariffFault::Misspelled { name: lost.name.to_string(), meant: "before_taxes" };
        let fault = reader.fault(&fields.path_of(&lost.name), lost.name_span.clone(), reason);
        reader.note(fault);
    }
    Ok(limit)
}

fn limit_of(
    reader: &Reader<'_>,
    fields: &Fields<'_, '_>,
    name: &str,
    number: Decimal,
    currency: Currency,
) -> Result<Cost, TariffError> {
    let cost = Cost::from_major(rounded(number, 9), currency);
    cost.map_err(|error| reader.fault(&fields.path_of(name), fields.span_of(name), error.into()))
}

fn alt_texts(reader: &mut Reader<'_>, root: &Fields<'_, '_>) -> Vec<AltText> {
    let Some(Node { value: Value::List(items), .. }) = root.get("tariff_alt_text") else { return Vec::new() };
    let mut texts = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = format!("{}[{index}]", root.path_of("tariff_alt_text"));
        let Ok(fields) = reader.object(&path, item, TEXT_FIELDS) else { continue };
        if let (Ok(Some(language)), Ok(Some(text))) =
            (reader.opt_text(&fields, "language"), reader.opt_text(&fields, "text"))
        {
            texts.push(AltText { language, text });
        }
    }
    texts
}

fn elements(reader: &mut Reader<'_>, root: &Fields<'_, '_>) -> Result<(Vec<Element>, Vec<Component>), TariffError> {
    let items = reader.list(root, "elements")?;
    let mut elements = Vec::with_capacity(items.len().min(TARIFF_COMPONENTS_MAX));
    let mut components = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = format!("$.elements[{index}]");
        if components.len() > TARIFF_COMPONENTS_MAX || index > TARIFF_COMPONENTS_MAX {
            let what = "the number of price components".to_owned();
            let reason = TariffFault::TooLarge { what, max: TARIFF_COMPONENTS_MAX };
            return Err(reader.fault(&path, item.span.clone(), reason));
        }
        match element(reader, &path, item, index, &mut components) {
            Ok(element) => elements.push(element),
            Err(fault) => reader.note(fault),
        }
    }
    if components.len() > TARIFF_COMPONENTS_MAX {
        let what = "the number of price components".to_owned();
        let reason = TariffFault::TooLarge { what, max: TARIFF_COMPONENTS_MAX };
        return Err(reader.fault(&root.path_of("elements"), root.span_of("elements"), reason));
    }
    if components.is_empty() && !reader.has_faults() {
        return Err(reader.fault(&root.path_of("elements"), root.span_of("elements"), TariffFault::NoPrice));
    }
    Ok((elements, components))
}

fn element(
    reader: &mut Reader<'_>,
    path: &str,
    item: &Node<'_>,
    index: usize,
    components: &mut Vec<Component>,
) -> Result<Element, TariffError> {
    let fields = reader.object(path, item, ELEMENT_FIELDS)?;
    let first = components.len();
    let prices = reader.list(&fields, "price_components");
    for (ordinal, node) in reader.keep(prices).iter().enumerate() {
        let path = format!("{path}.price_components[{ordinal}]");
        let component = price_component(reader, &path, node, index, ordinal);
        let Some(component) = reader.keep(component) else { continue };
        let earlier =
            components.iter().skip(first).find(|earlier: &&Component| earlier.dimension == component.dimension);
        if let Some(earlier) = earlier {
            let message = format!(
                "a second {} of one element is never charged: price_components[{}] stands earlier",
                component.dimension, earlier.ordinal
            );
            let help = "an element has one price component for each dimension: add the prices up, or write one element for each";
            reader.report(FindingKind::warning("same_dimension"), (&path, node.span.clone()), message, Some(help));
        }
        if components.len() > TARIFF_COMPONENTS_MAX {
            break;
        }
        components.push(component);
    }
    let restrictions = match fields.get("restrictions") {
        Some(node) => restrictions(reader, &fields.path_of("restrictions"), node)?,
        None => Restrictions::default(),
    };
    let range = u16_index(first)..u16_index(components.len());
    Ok(Element { restrictions, components: range, span: item.span.clone() })
}

fn u16_index(index: usize) -> u16 {
    u16::try_from(index).expect("components are counted against TARIFF_COMPONENTS_MAX")
}

/// A component, or `None` when its type is none that can be priced.
fn price_component(
    reader: &mut Reader<'_>,
    path: &str,
    node: &Node<'_>,
    element: usize,
    ordinal: usize,
) -> Result<Option<Component>, TariffError> {
    let fields = reader.object(path, node, COMPONENT_FIELDS)?;
    let Some(kind) = reader.opt_text(&fields, "type")? else {
        return Err(reader.fault(path, node.span.clone(), TariffFault::Missing("type")));
    };
    reader.upper(&fields, "type", &kind);
    let dimension = match kind.to_ascii_uppercase().as_str() {
        "ENERGY" => Dimension::Energy,
        "FLAT" => Dimension::Flat,
        "PARKING_TIME" => Dimension::ParkingTime,
        "TIME" => Dimension::Time,
        _ => {
            reader.report(
                FindingKind::warning("invalid_value"),
                (&fields.path_of("type"), fields.span_of("type")),
                format!("`{kind}` is no type of price component; the component is not priced"),
                Some("OCPI has ENERGY, FLAT, PARKING_TIME and TIME; nothing is charged for anything else"),
            );
            return Ok(None);
        }
    };
    let price_nano = price(reader, &fields);
    let price_nano = reader.keep(price_nano);
    let vat = vat(reader, &fields);
    let vat = reader.keep(vat);
    let step_size = step_size(reader, &fields);
    let step_size = reader.keep(step_size);
    let step = match dimension {
        Dimension::Energy => i64::from(step_size) * 1_000_000,
        Dimension::Time | Dimension::ParkingTime => i64::from(step_size) * 1_000,
        Dimension::Flat => 0,
    };
    let (element, ordinal) = (u16::try_from(element).unwrap_or(u16::MAX), u16::try_from(ordinal).unwrap_or(u16::MAX));
    Ok(Some(Component { element, ordinal, dimension, price_nano, vat, step, step_size, span: node.span.clone() }))
}

fn price(reader: &mut Reader<'_>, fields: &Fields<'_, '_>) -> Result<i64, TariffError> {
    let Some(price) = reader.opt_number(fields, "price")? else {
        return Err(reader.fault(&fields.path, fields.span.clone(), TariffFault::Missing("price")));
    };
    reader.scaled(fields, "price", price, 9)
}

fn vat(reader: &mut Reader<'_>, fields: &Fields<'_, '_>) -> Result<Option<u32>, TariffError> {
    let expected = "a percentage from 0 to 100";
    let Some(vat) = reader.opt_number(fields, "vat")? else { return Ok(None) };
    if vat < Decimal::ZERO || vat > Decimal::ONE_HUNDRED {
        return Err(reader.value(fields, "vat", &vat.to_string(), expected));
    }
    let scaled = reader.scaled(fields, "vat", vat, 4)?;
    u32::try_from(scaled).map(Some).map_err(|_| reader.value(fields, "vat", &vat.to_string(), expected))
}

fn step_size(reader: &mut Reader<'_>, fields: &Fields<'_, '_>) -> Result<u32, TariffError> {
    let Some(number) = reader.opt_number(fields, "step_size")? else {
        reader.missing(fields, "step_size");
        return Ok(1);
    };
    let whole = number.round_dp_with_strategy(0, RoundingStrategy::ToPositiveInfinity);
    if whole != number {
        reader.report(
            FindingKind::warning("invalid_type"),
            (&fields.path_of("step_size"), fields.span_of("step_size")),
            format!("{number} is no whole number; {whole} is used"),
            None,
        );
    }
    u32::try_from(whole)
        .map_err(|_| reader.value(fields, "step_size", &number.to_string(), "a whole number from 0 to 4294967295"))
}

fn restrictions(reader: &mut Reader<'_>, path: &str, node: &Node<'_>) -> Result<Restrictions, TariffError> {
    let fields = reader.object(path, node, RESTRICTION_FIELDS)?;
    let mut scaled = |name: &'static str, scale: u32| -> Option<i64> {
        let number = reader.opt_number(&fields, name);
        let number = reader.keep(number)?;
        let scaled = reader.scaled(&fields, name, number, scale).map(Some);
        reader.keep(scaled)
    };
    let mut restrictions = Restrictions {
        min_energy: scaled("min_kwh", 9),
        max_energy: scaled("max_kwh", 9),
        min_current: scaled("min_current", 3),
        max_current: scaled("max_current", 3),
        min_power: scaled("min_power", 6),
        max_power: scaled("max_power", 6),
        min_duration: scaled("min_duration", 3),
        max_duration: scaled("max_duration", 3),
        ..Restrictions::default()
    };
    let start = minute_of_day(reader, &fields, "start_time");
    restrictions.start_minute = reader.keep(start).map(|minute| minute % 1_440);
    // "To stop at end of the day use: 00:00."
    let end = minute_of_day(reader, &fields, "end_time");
    restrictions.end_minute = reader.keep(end).map(|minute| if minute == 0 { 1_440 } else { minute });
    let start = day(reader, &fields, "start_date");
    restrictions.start_day = reader.keep(start);
    let end = day(reader, &fields, "end_date");
    restrictions.end_day = reader.keep(end);
    let days = weekdays(reader, &fields);
    restrictions.weekdays = reader.keep(days);
    let reservation = reservation(reader, &fields);
    restrictions.reservation = reader.keep(reservation);
    Ok(restrictions)
}

fn reservation(reader: &mut Reader<'_>, fields: &Fields<'_, '_>) -> Result<Option<Reservation>, TariffError> {
    let Some(text) = reader.opt_text(fields, "reservation")? else { return Ok(None) };
    match text.to_ascii_uppercase().as_str() {
        "RESERVATION" => Ok(Some(Reservation::Reserved)),
        "RESERVATION_EXPIRES" => Ok(Some(Reservation::Expires)),
        _ => Err(reader.value(fields, "reservation", &text, "RESERVATION or RESERVATION_EXPIRES")),
    }
}

/// `HH:MM`; seconds of zero and `24:00` are taken with a warning.
fn minute_of_day(
    reader: &mut Reader<'_>,
    fields: &Fields<'_, '_>,
    name: &'static str,
) -> Result<Option<u16>, TariffError> {
    let Some(text) = reader.opt_text(fields, name)? else { return Ok(None) };
    let mut parts = text.trim().splitn(3, ':');
    let mut number = |max: u16| -> Option<u16> {
        let digits = parts.next()?;
        let plain = (1..=2).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|value| plain && *value <= max)
    };
    let (hour, minute) = (number(24), number(59));
    let rest = parts.next();
    let (Some(hour), Some(minute)) = (hour, minute) else {
        return Err(reader.value(fields, name, &text, "a time of day (HH:MM)"));
    };
    let seconds_zero = rest.is_none_or(|rest| rest.bytes().all(|byte| matches!(byte, b'0' | b'.')));
    if !seconds_zero || hour * 60 + minute > 1_440 {
        return Err(reader.value(fields, name, &text, "a time of day (HH:MM)"));
    }
    if text != format!("{hour:02}:{minute:02}") || hour == 24 {
        let message = format!("`{text}` was read as {:02}:{minute:02}", hour % 24);
        reader.report(
            FindingKind::warning("time_format"),
            (&fields.path_of(name), fields.span_of(name)),
            message,
            Some("HH:MM"),
        );
    }
    Ok(Some(if hour == 24 { 0 } else { hour * 60 + minute }))
}

fn day(reader: &mut Reader<'_>, fields: &Fields<'_, '_>, name: &'static str) -> Result<Option<i32>, TariffError> {
    let Some(text) = reader.opt_text(fields, name)? else { return Ok(None) };
    let date_part = text.get(..10).unwrap_or(&text);
    let Ok(date) = date_part.parse::<jiff::civil::Date>() else {
        return Err(reader.value(fields, name, &text, "a date (YYYY-MM-DD)"));
    };
    if date_part.len() != text.len() {
        let message = format!("`{text}` was read as the date {date}");
        reader.report(
            FindingKind::warning("date_format"),
            (&fields.path_of(name), fields.span_of(name)),
            message,
            Some("YYYY-MM-DD"),
        );
    }
    let epoch = jiff::civil::date(1970, 1, 1);
    let days = epoch.until(date).map(|span| span.get_days());
    days.map(Some).map_err(|_| reader.value(fields, name, &text, "a date (YYYY-MM-DD)"))
}

fn weekdays(reader: &mut Reader<'_>, fields: &Fields<'_, '_>) -> Result<u8, TariffError> {
    let Some(node) = fields.get("day_of_week") else { return Ok(0) };
    let single = std::slice::from_ref(node);
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        Value::Text(_) => single,
        other => return Err(reader.wrong_type(fields, "day_of_week", "an array of days", other)),
    };
    let mut bits = 0;
    for item in items {
        let Value::Text(text) = &item.value else {
            return Err(reader.wrong_type(fields, "day_of_week", "an array of days", &item.value));
        };
        let Some(index) = WEEKDAYS.iter().position(|day| day.eq_ignore_ascii_case(text.trim())) else {
            return Err(reader.value(fields, "day_of_week", text, "a day of the week (MONDAY … SUNDAY)"));
        };
        bits |= 1 << index;
    }
    Ok(bits)
}

/// OCPI DateTime: RFC 3339, in UTC when no offset is written.
pub(super) fn date_time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(at) = Timestamp::parse_rfc3339(text) {
        return Some(at);
    }
    Timestamp::parse_rfc3339(&format!("{text}Z")).ok()
}

#[cfg(test)]
mod tests;
