//! The time zone of a place that only names its country, as CDRs do.

use crate::units::did_you_mean;
use jiff::tz::TimeZone;

/// ISO 3166-1 alpha-3, alpha-2, IANA zone, and whether the country has that one zone only.
const COUNTRIES: &[(&str, &str, &str, bool)] = &[
    ("AND", "AD", "Europe/Andorra", true),
    ("ARE", "AE", "Asia/Dubai", true),
    ("ALB", "AL", "Europe/Tirane", true),
    ("ARG", "AR", "America/Argentina/Buenos_Aires", true),
    ("AUS", "AU", "Australia/Sydney", false),
    ("AUT", "AT", "Europe/Vienna", true),
    ("BEL", "BE", "Europe/Brussels", true),
    ("BGR", "BG", "Europe/Sofia", true),
    ("BIH", "BA", "Europe/Sarajevo", true),
    ("BRA", "BR", "America/Sao_Paulo", false),
    ("CAN", "CA", "America/Toronto", false),
    ("CHE", "CH", "Europe/Zurich", true),
    ("CHL", "CL", "America/Santiago", false),
    ("CHN", "CN", "Asia/Shanghai", true),
    ("COL", "CO", "America/Bogota", true),
    ("CYP", "CY", "Asia/Nicosia", true),
    ("CZE", "CZ", "Europe/Prague", true),
    ("DEU", "DE", "Europe/Berlin", true),
    ("DNK", "DK", "Europe/Copenhagen", true),
    ("ESP", "ES", "Europe/Madrid", false),
    ("EST", "EE", "Europe/Tallinn", true),
    ("FIN", "FI", "Europe/Helsinki", true),
    ("FRA", "FR", "Europe/Paris", true),
    ("GBR", "GB", "Europe/London", true),
    ("GEO", "GE", "Asia/Tbilisi", true),
    ("GIB", "GI", "Europe/Gibraltar", true),
    ("GRC", "GR", "Europe/Athens", true),
    ("HRV", "HR", "Europe/Zagreb", true),
    ("HUN", "HU", "Europe/Budapest", true),
    ("IND", "IN", "Asia/Kolkata", true),
    ("IRL", "IE", "Europe/Dublin", true),
    ("ISL", "IS", "Atlantic/Reykjavik", true),
    ("ISR", "IL", "Asia/Jerusalem", true),
    ("ITA", "IT", "Europe/Rome", true),
    ("JOR", "JO", "Asia/Amman", true),
    ("JPN", "JP", "Asia/Tokyo", true),
    ("KOR", "KR", "Asia/Seoul", true),
    ("LIE", "LI", "Europe/Vaduz", true),
    ("LTU", "LT", "Europe/Vilnius", true),
    ("LUX", "LU", "Europe/Luxembourg", true),
    ("LVA", "LV", "Europe/Riga", true),
    ("MAR", "MA", "Africa/Casablanca", true),
    ("MCO", "MC", "Europe/Monaco", true),
    ("MDA", "MD", "Europe/Chisinau", true),
    ("MEX", "MX", "America/Mexico_City", false),
    ("MKD", "MK", "Europe/Skopje", true),
    ("MLT", "MT", "Europe/Malta", true),
    ("MNE", "ME", "Europe/Podgorica", true),
    ("MYS", "MY", "Asia/Kuala_Lumpur", true),
    ("NLD", "NL", "Europe/Amsterdam", true),
    ("NOR", "NO", "Europe/Oslo", true),
    ("NZL", "NZ", "Pacific/Auckland", false),
    ("POL", "PL", "Europe/Warsaw", true),
    ("PRT", "PT", "Europe/Lisbon", false),
    ("ROU", "RO", "Europe/Bucharest", true),
    ("SRB", "RS", "Europe/Belgrade", true),
    ("RUS", "RU", "Europe/Moscow", false),
    ("SGP", "SG", "Asia/Singapore", true),
    ("SMR", "SM", "Europe/San_Marino", true),
    ("SVK", "SK", "Europe/Bratislava", true),
    ("SVN", "SI", "Europe/Ljubljana", true),
    ("SWE", "SE", "Europe/Stockholm", true),
    ("THA", "TH", "Asia/Bangkok", true),
    ("TUR", "TR", "Europe/Istanbul", true),
    ("TWN", "TW", "Asia/Taipei", true),
    ("UKR", "UA", "Europe/Kyiv", true),
    ("USA", "US", "America/New_York", false),
    ("VAT", "VA", "Europe/Vatican", true),
    ("ZAF", "ZA", "Africa/Johannesburg", true),
];

/// The time zone of this name.
///
/// # Errors
/// A name that the IANA database does not have, with the one that was probably meant.
pub fn zone_named(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| {
        let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
        let short: String = name.chars().take(60).collect();
        let meant = did_you_mean(&short, known.iter().map(String::as_str));
        let meant = meant.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
        format!("`{short}` is no time zone of the IANA database, such as Europe/Amsterdam{meant}")
    })
}

/// The zone of a country by its ISO 3166-1 code of two or three letters, and whether it is the only one there.
pub(super) fn of_country(code: &str) -> Option<(TimeZone, bool)> {
    let same = |other: &str| other.eq_ignore_ascii_case(code.trim());
    let (_, _, zone, only) = COUNTRIES.iter().find(|(three, two, ..)| same(three) || same(two))?;
    TimeZone::get(zone).ok().map(|zone| (zone, *only))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_that_is_not_there_is_told_with_the_one_that_was_meant() {
        let error = zone_named("Europe/Amsterdamm").unwrap_err();
        assert!(
            error.starts_with("`Europe/Amsterdamm` is no time zone") && error.contains("`Europe/Amsterdam`?"),
            "{error}"
        );
        assert!(!zone_named("Nowhere").unwrap_err().contains("did you mean"));
        assert!(zone_named(&"x".repeat(100_000)).unwrap_err().len() < 200);
    }

    #[test]
    fn every_zone_of_the_table_exists() {
        for (three, two, zone, only) in COUNTRIES {
            let (found, sole) = of_country(three).unwrap_or_else(|| panic!("{zone}"));
            assert_eq!((found.iana_name(), sole), (Some(*zone), *only));
            assert!(of_country(&two.to_lowercase()).is_some());
        }
        assert!(of_country("XXX").is_none());
    }
}
