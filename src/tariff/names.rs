//! The names of OCPI's fields, and what a name that is none of them probably means.
//!
//! A field that is not known has no effect. Where a field that decides the price stands under another name
//! (`dayOfWeek`, `restriction`, `vat_rate`), money would be wrong, so that such a name is a fault and not a remark.

/// Fields of a Tariff; `rounding` is ours.
pub(super) const TARIFF_FIELDS: &[&str] = &[
    "country_code",
    "party_id",
    "id",
    "currency",
    "type",
    "tariff_alt_text",
    "tariff_alt_url",
    "min_price",
    "max_price",
    "preauthorize_amount",
    "elements",
    "tax_included",
    "start_date_time",
    "end_date_time",
    "energy_mix",
    "last_updated",
    "rounding",
];
/// Fields of a TariffElement.
pub(super) const ELEMENT_FIELDS: &[&str] = &["price_components", "restrictions"];
/// Fields of a PriceComponent.
pub(super) const COMPONENT_FIELDS: &[&str] = &["type", "price", "vat", "step_size"];
/// Fields of a Price (OCPI 2.2.1) and of a PriceLimit (2.3.0).
pub(super) const LIMIT_FIELDS: &[&str] = &["before_taxes", "after_taxes", "excl_vat", "incl_vat"];
/// Fields of a DisplayText.
pub(super) const TEXT_FIELDS: &[&str] = &["language", "text"];
/// Fields of TariffRestrictions.
pub(super) const RESTRICTION_FIELDS: &[&str] = &[
    "start_time",
    "end_time",
    "start_date",
    "end_date",
    "min_kwh",
    "max_kwh",
    "min_current",
    "max_current",
    "min_power",
    "max_power",
    "min_duration",
    "max_duration",
    "day_of_week",
    "reservation",
];
/// Fields of a CDR (2.1.1, 2.2.1 and 2.3.0) that a price or its check reads.
pub(super) const CDR_FIELDS: &[&str] = &[
    "start_date_time",
    "end_date_time",
    "stop_date_time",
    "currency",
    "tariffs",
    "charging_periods",
    "cdr_location",
    "location",
    "total_cost",
    "total_fixed_cost",
    "total_energy",
    "total_energy_cost",
    "total_time",
    "total_time_cost",
    "total_parking_time",
    "total_parking_cost",
    "total_reservation_cost",
    "credit",
    "credit_reference_id",
];
/// Other fields of a CDR: they are known, and decide nothing here.
pub(super) const CDR_OTHER_FIELDS: &[&str] = &[
    "country_code",
    "party_id",
    "id",
    "session_id",
    "cdr_token",
    "auth_id",
    "auth_method",
    "authorization_reference",
    "meter_id",
    "signed_data",
    "remark",
    "invoice_reference_id",
    "home_charging_compensation",
    "booking_id",
    "last_updated",
    "total_charging_time",
    "total_charging_cost",
    "total_flat_cost",
];
/// Fields of a ChargingPeriod.
pub(super) const PERIOD_FIELDS: &[&str] = &["start_date_time", "dimensions", "tariff_id"];
/// Fields of a CdrDimension.
pub(super) const DIMENSION_FIELDS: &[&str] = &["type", "volume"];
/// Fields of a list of readings, and of each reading.
pub(super) const READINGS_FIELDS: &[&str] = &[
    "timezone",
    "time_zone",
    "start",
    "start_date_time",
    "end",
    "end_date_time",
    "readings",
    "start_register_wh",
    "reservation",
];
/// Fields of a reading.
pub(super) const READING_FIELDS: &[&str] = &["at", "register_wh", "power_w", "current_a"];
/// Fields of a run.
pub(super) const RUN_FIELDS: &[&str] = &[
    "timezone",
    "time_zone",
    "start",
    "start_date_time",
    "end",
    "end_date_time",
    "max_power_supply_kw",
    "requested_kwh",
    "max_current_supply_amp",
    "reservation",
];

/// Fields that decide no price: their loss is a remark.
const DECIDE_NOTHING: &[&str] = &[
    "country_code",
    "party_id",
    "id",
    "type",
    "tariff_alt_text",
    "tariff_alt_url",
    "energy_mix",
    "last_updated",
    "language",
    "text",
    "reservation_id",
];

/// Synonyms of fields, in the spelling of [`plain`], with the fields that they mean.
const OTHER_WORDS: &[(&str, &str)] = &[
    ("condition", "restrictions"),
    ("conditions", "restrictions"),
    ("constraint", "restrictions"),
    ("constraints", "restrictions"),
    ("tariffrestriction", "restrictions"),
    ("tariffrestrictions", "restrictions"),
    ("applicability", "restrictions"),
    ("component", "price_components"),
    ("components", "price_components"),
    ("pricingcomponents", "price_components"),
    ("prices", "price_components"),
    ("tariffelements", "elements"),
    ("priceelements", "elements"),
    ("step", "step_size"),
    ("stepwh", "step_size"),
    ("blocksize", "step_size"),
    ("billingincrement", "step_size"),
    ("tax", "vat"),
    ("taxes", "vat"),
    ("taxrate", "vat"),
    ("vatrate", "vat"),
    ("vatpercent", "vat"),
    ("vatpercentage", "vat"),
    ("taxpercentage", "vat"),
    ("minimumprice", "min_price"),
    ("mincost", "min_price"),
    ("minamount", "min_price"),
    ("pricemin", "min_price"),
    ("maximumprice", "max_price"),
    ("maxcost", "max_price"),
    ("maxamount", "max_price"),
    ("pricemax", "max_price"),
    ("pricecap", "max_price"),
    ("taxinclusive", "tax_included"),
    ("includestax", "tax_included"),
    ("includetax", "tax_included"),
    ("vatincluded", "tax_included"),
    ("preauthamount", "preauthorize_amount"),
    ("currencycode", "currency"),
    ("validfrom", "start_date_time"),
    ("startdatetime", "start_date_time"),
    ("startdate", "start_date_time"),
    ("validto", "end_date_time"),
    ("validuntil", "end_date_time"),
    ("enddatetime", "end_date_time"),
    ("enddate", "end_date_time"),
    ("stopdatetime", "end_date_time"),
    ("weekday", "day_of_week"),
    ("weekdays", "day_of_week"),
    ("days", "day_of_week"),
    ("day", "day_of_week"),
    ("dow", "day_of_week"),
    ("from", "start_time"),
    ("timefrom", "start_time"),
    ("fromtime", "start_time"),
    ("begintime", "start_time"),
    ("to", "end_time"),
    ("until", "end_time"),
    ("till", "end_time"),
    ("timeto", "end_time"),
    ("totime", "end_time"),
    ("stoptime", "end_time"),
    ("fromdate", "start_date"),
    ("datefrom", "start_date"),
    ("validfrom", "start_date"),
    ("todate", "end_date"),
    ("dateto", "end_date"),
    ("validto", "end_date"),
    ("validuntil", "end_date"),
    ("minenergy", "min_kwh"),
    ("energymin", "min_kwh"),
    ("maxenergy", "max_kwh"),
    ("energymax", "max_kwh"),
    ("minkw", "min_power"),
    ("powermin", "min_power"),
    ("maxkw", "max_power"),
    ("powermax", "max_power"),
    ("minampere", "min_current"),
    ("minamperage", "min_current"),
    ("minamps", "min_current"),
    ("maxampere", "max_current"),
    ("maxamperage", "max_current"),
    ("maxamps", "max_current"),
    ("minseconds", "min_duration"),
    ("minminutes", "min_duration"),
    ("mintime", "min_duration"),
    ("durationmin", "min_duration"),
    ("maxseconds", "max_duration"),
    ("maxminutes", "max_duration"),
    ("maxtime", "max_duration"),
    ("durationmax", "max_duration"),
    ("beforetax", "before_taxes"),
    ("excltax", "before_taxes"),
    ("excltaxes", "before_taxes"),
    ("net", "before_taxes"),
    ("aftertax", "after_taxes"),
    ("incltax", "after_taxes"),
    ("incltaxes", "after_taxes"),
    ("gross", "after_taxes"),
    ("periods", "charging_periods"),
    ("tariff", "tariffs"),
    ("creditreference", "credit_reference_id"),
    ("iscredit", "credit"),
    ("kind", "type"),
    ("value", "volume"),
    ("quantity", "volume"),
    ("meterreadings", "readings"),
    ("register", "register_wh"),
    ("energywh", "register_wh"),
    ("metervalue", "register_wh"),
    ("timestamp", "at"),
    ("time", "at"),
    ("power", "power_w"),
    ("powerkw", "power_w"),
    ("current", "current_a"),
];

/// What a name that is not known is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meant {
    /// A field that decides a price, under another name.
    Money(&'static str),
    /// A field that decides none, under another name.
    Plain(&'static str),
    /// A restriction, outside of `restrictions`.
    Restriction,
    /// A vendor's own field, or a remark of its writer.
    Own,
    /// No field that is known.
    Unknown,
}

/// What a name that is none of these fields means.
pub(super) fn meant(name: &str, known: &'static [&'static str]) -> Meant {
    let exact = known.iter().any(|field| plain(field) == plain(name));
    if has_own_prefix(name) || !exact && is_remark(name) {
        return Meant::Own;
    }
    if let Some(field) = nearest(name, known) {
        return if DECIDE_NOTHING.contains(&field) { Meant::Plain(field) } else { Meant::Money(field) };
    }
    let in_prices = [TARIFF_FIELDS, ELEMENT_FIELDS, COMPONENT_FIELDS].contains(&known);
    if !in_prices {
        return Meant::Unknown;
    }
    if restriction(name) {
        return Meant::Restriction;
    }
    // What belongs to an element or a component is lost on another level.
    let lost = ELEMENT_FIELDS.iter().chain(&["price", "vat", "step_size"]).copied();
    let lost: Vec<&'static str> = lost.collect();
    match nearest(name, &lost) {
        Some(field) => Meant::Money(field),
        None => Meant::Unknown,
    }
}

/// Whether a name is that of a restriction, in whatever spelling.
pub(super) fn restriction(name: &str) -> bool {
    RESTRICTION_FIELDS.iter().any(|known| plain(known) == plain(name))
}

/// The field that a name probably means: another spelling, a synonym, or one or two letters away.
pub(super) fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let word = plain(name);
    if let Some(field) = known.iter().find(|field| plain(field) == word) {
        return Some(field);
    }
    let other = OTHER_WORDS.iter().filter(|(other, _)| *other == word).map(|(_, field)| *field);
    if let Some(field) = other.into_iter().find(|field| known.contains(field)) {
        return Some(field);
    }
    let reach = match word.len() {
        0..4 => return None,
        4..7 => 1,
        _ => 2,
    };
    let distances = known.iter().map(|field| (strsim::osa_distance(&word, &plain(field)), *field));
    distances.filter(|(distance, _)| *distance <= reach).min().map(|(_, field)| field)
}

/// `x_…`, `_…`, or a name with a namespace.
fn has_own_prefix(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    ["x_", "x-", "_", "$", "@", "#", "//", "ext_", "vendor", "custom"].iter().any(|prefix| lower.starts_with(prefix))
        || name.contains([':', '.', '/'])
}

/// What people, editors and databases write beside the data.
fn is_remark(name: &str) -> bool {
    const REMARKS: [&str; 16] = [
        "comment",
        "comments",
        "note",
        "notes",
        "name",
        "title",
        "label",
        "description",
        "remark",
        "remarks",
        "created",
        "createdat",
        "updated",
        "updatedat",
        "lastupdated",
        "id",
    ];
    REMARKS.contains(&plain(name).as_str())
}

/// A name without what spellings differ in: `dayOfWeek`, `day_of_week`, `DAY-OF-WEEK`.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_spellings_of_a_field_are_recognised() {
        for (name, known, field) in [
            ("dayOfWeek", RESTRICTION_FIELDS, "day_of_week"),
            ("day_of_weeks", RESTRICTION_FIELDS, "day_of_week"),
            ("weekdays", RESTRICTION_FIELDS, "day_of_week"),
            ("maxKWh", RESTRICTION_FIELDS, "max_kwh"),
            ("max_energy", RESTRICTION_FIELDS, "max_kwh"),
            ("min_duraton", RESTRICTION_FIELDS, "min_duration"),
            ("restriction", ELEMENT_FIELDS, "restrictions"),
            ("Restrictions", ELEMENT_FIELDS, "restrictions"),
            ("restrcitions", ELEMENT_FIELDS, "restrictions"),
            ("conditions", ELEMENT_FIELDS, "restrictions"),
            ("price_component", ELEMENT_FIELDS, "price_components"),
            ("stepSize", COMPONENT_FIELDS, "step_size"),
            ("VAT", COMPONENT_FIELDS, "vat"),
            ("tax_rate", COMPONENT_FIELDS, "vat"),
            ("restrictions", COMPONENT_FIELDS, "restrictions"),
            ("vat", TARIFF_FIELDS, "vat"),
            ("minPrice", TARIFF_FIELDS, "min_price"),
            ("max_prices", TARIFF_FIELDS, "max_price"),
            ("valid_from", TARIFF_FIELDS, "start_date_time"),
            ("taxIncluded", TARIFF_FIELDS, "tax_included"),
            ("chargingPeriods", CDR_FIELDS, "charging_periods"),
            ("totalCost", CDR_FIELDS, "total_cost"),
            ("tariffId", PERIOD_FIELDS, "tariff_id"),
            ("exclVat", LIMIT_FIELDS, "excl_vat"),
        ] {
            assert_eq!(meant(name, known), Meant::Money(field), "{name}");
        }
        assert_eq!(meant("countryCode", TARIFF_FIELDS), Meant::Plain("country_code"));
        assert_eq!(meant("start_time", ELEMENT_FIELDS), Meant::Restriction);
        assert_eq!(meant("dayOfWeek", COMPONENT_FIELDS), Meant::Restriction);
    }

    #[test]
    fn a_vendors_field_means_nothing_else() {
        for name in ["x_restrictions", "_price", "com.vendor.vat", "vendor_data", "description", "x-max-price"] {
            assert_eq!(meant(name, ELEMENT_FIELDS), Meant::Own, "{name}");
        }
        for name in ["time", "season", "unit", "evses"] {
            assert_eq!(meant(name, COMPONENT_FIELDS), Meant::Unknown, "{name}");
        }
    }
}
