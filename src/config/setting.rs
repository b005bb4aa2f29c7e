//! Types of single settings: how each is read from a value, and written.

use super::reporting_url::{ReportingUrl, UrlFault};
use super::tree::Value;
use crate::limits;
use crate::payment::CredentialKind;
use crate::tariff::zone_named;
use crate::transport::resolve;
use crate::transport::websocket::{UrlError, WebSocketUrl};
use crate::units::screen::screen;
use crate::units::{Currency, ProcessorId, SiteId, TariffId, TimeSpan};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A kind of setting.
pub trait Setting: Sized {
    /// Reads it. The error states the expected form, as in `wanted …`.
    fn read(value: &Value) -> Result<Self, String>;

    /// Writes it as TOML; none for a setting that is not set.
    fn write(&self) -> Option<String>;
}

/// Kind of network that the gate serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Certificates of a development PKI are good enough, and one is made where none is.
    Development,
    /// Certificates of a development PKI are refused.
    Production,
}

/// The oldest version of TLS that is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MinTls {
    /// 1.2, for chargers that have no newer one.
    V12,
    /// 1.3
    V13,
}

/// Format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Scope of one invoice series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesScope {
    /// All documents of a currency.
    Currency,
    /// Documents of one partition and currency.
    Partition,
}

/// A pattern for ids: `*` stands for any characters, everything else for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

/// The name of a time zone that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneName(String);

/// A span of time that may be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub Option<TimeSpan>);

impl Pattern {
    /// Whether an id matches.
    pub fn fits(&self, id: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|first| id.strip_prefix(first)) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.len() >= last.len() && rest.ends_with(last)
    }

    /// Used where a pattern is required, until the problem that it is missing is reported.
    pub(super) fn placeholder() -> Pattern {
        Pattern("x".to_owned())
    }

    /// How many characters it pins down: of several that fit, the most specific counts.
    pub fn specificity(&self) -> usize {
        self.0.chars().filter(|character| *character != '*').count()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ZoneName {
    /// Universal time.
    pub(super) fn utc() -> ZoneName {
        ZoneName("UTC".to_owned())
    }

    /// The name, as the IANA database has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn text(value: &Value, wanted: &str) -> Result<String, String> {
    match value {
        Value::Text(text) | Value::Raw(text) => Ok(text.clone()),
        other => Err(format!("{wanted}, not {}", other.what())),
    }
}

fn quoted(text: &str) -> Option<String> {
    Some(toml::Value::from(text).to_string())
}

/// One of a few keywords.
fn one_of<T: Copy>(value: &Value, words: &[(&str, T)]) -> Result<T, String> {
    let names: Vec<String> = words.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let wanted = names.join(" or ");
    let found = text(value, &wanted)?;
    words.iter().find(|(name, _)| *name == found).map(|(_, meaning)| *meaning).ok_or(wanted)
}

impl Setting for String {
    fn read(value: &Value) -> Result<String, String> {
        let found = text(value, "a text")?;
        screen(&found).map_err(|fault| format!("a text that may be kept and shown: {fault}"))?;
        let (length, max) = (found.chars().count(), limits::SETTING_CHARS_MAX);
        if length > max {
            return Err(format!("a text of at most {max} characters, and this has {length}"));
        }
        Ok(found)
    }
    fn write(&self) -> Option<String> {
        quoted(self)
    }
}

impl Setting for PathBuf {
    fn read(value: &Value) -> Result<PathBuf, String> {
        let path = text(value, "a path")?;
        if path.is_empty() { Err("a path, not nothing".to_owned()) } else { Ok(path.into()) }
    }
    fn write(&self) -> Option<String> {
        quoted(&self.to_string_lossy())
    }
}

impl Setting for bool {
    fn read(value: &Value) -> Result<bool, String> {
        match value {
            Value::Switch(switch) => Ok(*switch),
            Value::Raw(text) => text.parse().map_err(|_| "true or false".to_owned()),
            other => Err(format!("true or false, not {}", other.what())),
        }
    }
    fn write(&self) -> Option<String> {
        Some(self.to_string())
    }
}

macro_rules! number_settings {
    ($($type:ty),*) => {$(
        impl Setting for $type {
            fn read(value: &Value) -> Result<$type, String> {
                let wanted = format!("a whole number from {} to {}", <$type>::MIN, <$type>::MAX);
                let number = match value {
                    Value::Number(number) => *number,
                    Value::Raw(text) => text.parse().map_err(|_| wanted.clone())?,
                    other => return Err(format!("{wanted}, not {}", other.what())),
                };
                <$type>::try_from(number).map_err(|_| wanted)
            }
            fn write(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )*};
}

number_settings!(u8, u16, u32, i64);

macro_rules! parsed_settings {
    ($($type:ty: $wanted:literal),* $(,)?) => {$(
        impl Setting for $type {
            fn read(value: &Value) -> Result<$type, String> {
                let found = text(value, $wanted)?;
                found.parse().map_err(|error| format!(concat!($wanted, ": {}"), error))
            }
            fn write(&self) -> Option<String> {
                quoted(&self.to_string())
            }
        }
    )*};
}

parsed_settings! {
    SiteId: "a site's id",
    TariffId: "a tariff's id",
    Currency: "a currency code such as \"EUR\"",
}

/// A name is resolved when the configuration is read.
impl Setting for SocketAddr {
    fn read(value: &Value) -> Result<SocketAddr, String> {
        const WANTED: &str = "an address and port such as \"127.0.0.1:7443\"";
        resolve(&text(value, WANTED)?).map_err(|error| format!("{WANTED}: {error}"))
    }
    fn write(&self) -> Option<String> {
        quoted(&self.to_string())
    }
}

impl Setting for ProcessorId {
    fn read(value: &Value) -> Result<ProcessorId, String> {
        let id = text(value, "a processor's id")?.parse().map_err(|error| format!("a processor's id: {error}"))?;
        if ProcessorId::is_of_account(&id) {
            Err(format!("another processor's id than `{id}`: names with `account:` stand for the gate's accounts"))
        } else {
            Ok(id)
        }
    }
    fn write(&self) -> Option<String> {
        quoted(&self.to_string())
    }
}

impl Setting for TimeSpan {
    fn read(value: &Value) -> Result<TimeSpan, String> {
        const WANTED: &str = "a span of time such as \"90s\", \"15min\" or \"7d\"";
        let found = text(value, WANTED)?;
        let span = humantime::parse_duration(&found).map_err(|_| WANTED.to_owned())?;
        i64::try_from(span.as_millis()).map(TimeSpan::from_ms).map_err(|_| WANTED.to_owned())
    }
    fn write(&self) -> Option<String> {
        // In the largest unit that needs no second one.
        const UNITS: [(i64, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
        let whole = UNITS.iter().find(|(unit, _)| self.ms() != 0 && self.ms() % unit == 0);
        let (unit, name) = whole.copied().unwrap_or((1, "ms"));
        quoted(&format!("{}{name}", self.ms() / unit))
    }
}

impl Setting for Limit {
    fn read(value: &Value) -> Result<Limit, String> {
        match value {
            Value::Text(text) | Value::Raw(text) if text == "off" => Ok(Limit(None)),
            other => {
                TimeSpan::read(other).map(|span| Limit(Some(span))).map_err(|wanted| format!("{wanted}, or \"off\""))
            }
        }
    }
    fn write(&self) -> Option<String> {
        self.0.map_or_else(|| quoted("off"), |span| span.write())
    }
}

impl Setting for Pattern {
    fn read(value: &Value) -> Result<Pattern, String> {
        const WANTED: &str = "an id, with * for any characters";
        let found = text(value, WANTED)?;
        // The rest without the stars must be allowed in an id.
        let rest = found.replace('*', "x");
        match crate::units::ChargerId::new(&rest) {
            Ok(_) => Ok(Pattern(found)),
            Err(error) => Err(format!("{WANTED}: {error}")),
        }
    }
    fn write(&self) -> Option<String> {
        quoted(&self.0)
    }
}

impl Setting for WebSocketUrl {
    fn read(value: &Value) -> Result<WebSocketUrl, String> {
        const WANTED: &str = "an address such as \"ws://csms.example:9000/ocpp\"";
        text(value, WANTED)?.parse().map_err(|error: UrlError| error.to_string())
    }
    fn write(&self) -> Option<String> {
        quoted(&self.to_string())
    }
}

/// Written without its password.
impl Setting for ReportingUrl {
    fn read(value: &Value) -> Result<ReportingUrl, String> {
        const WANTED: &str = "\"sqlite\", \"sqlite:PATH\" or \"postgres://USER@HOST/DATABASE\"";
        text(value, WANTED)?.parse().map_err(|error: UrlFault| error.to_string())
    }
    fn write(&self) -> Option<String> {
        quoted(&self.to_string())
    }
}

impl Setting for ZoneName {
    fn read(value: &Value) -> Result<ZoneName, String> {
        const WANTED: &str = "a time zone such as \"Europe/Amsterdam\"";
        let found = text(value, WANTED)?;
        match zone_named(&found) {
            Ok(_) => Ok(ZoneName(found)),
            Err(error) => Err(format!("{WANTED}: {error}")),
        }
    }
    fn write(&self) -> Option<String> {
        quoted(&self.0)
    }
}

impl<T: Setting> Setting for Option<T> {
    fn read(value: &Value) -> Result<Option<T>, String> {
        T::read(value).map(Some)
    }
    fn write(&self) -> Option<String> {
        self.as_ref().and_then(T::write)
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn read(value: &Value) -> Result<Vec<T>, String> {
        match value {
            Value::List(items) => items.iter().map(T::read).collect(),
            Value::Raw(text) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                items.map(|item| T::read(&Value::Raw(item.to_owned()))).collect()
            }
            other => Err(format!("a list, not {}", other.what())),
        }
    }
    fn write(&self) -> Option<String> {
        let items: Vec<String> = self.iter().filter_map(T::write).collect();
        Some(format!("[{}]", items.join(", ")))
    }
}

macro_rules! word_settings {
    ($($type:ty { $($word:literal = $variant:ident),* $(,)? })*) => {$(
        impl Setting for $type {
            fn read(value: &Value) -> Result<$type, String> {
                one_of(value, &[$(($word, <$type>::$variant)),*])
            }
            fn write(&self) -> Option<String> {
                match self {
                    $(<$type>::$variant => quoted($word)),*
                }
            }
        }
    )*};
}

word_settings! {
    Mode { "development" = Development, "production" = Production }
    MinTls { "1.2" = V12, "1.3" = V13 }
    SeriesScope { "currency" = Currency, "partition" = Partition }
    LogFormat { "auto" = Auto, "text" = Text, "json" = Json }
    CredentialKind {
        "card-token" = CardToken, "wallet-token" = WalletToken, "ev-account" = EvAccount, "rfid" = Rfid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_spans_are_written_as_they_are_read() {
        fn again<T: Setting + std::fmt::Debug + PartialEq>(value: &T) -> String {
            let written = value.write().unwrap();
            let parsed = toml::de::DeValue::parse(&written).unwrap_or_else(|error| panic!("{written}: {error}"));
            assert_eq!(T::read(&super::super::tree::of_value(parsed.get_ref())).as_ref(), Ok(value), "{written}");
            written
        }
        for text in ["plain", "W\u{fc}rzburg", "a \"b\"", "C:\\x", "it's", "\"'", ""] {
            again(&text.to_owned());
        }
        for (ms, written) in [
            (0, "0ms"),
            (1, "1ms"),
            (1_500, "1500ms"),
            (90_000, "90s"),
            (900_000, "15min"),
            (3_600_000, "1h"),
            (5_400_000, "90min"),
            (7 * 86_400_000, "7d"),
        ] {
            assert_eq!(again(&TimeSpan::from_ms(ms)), format!("\"{written}\""));
        }
    }

    #[test]
    fn a_pattern_fits_what_it_should() {
        let pattern = |text: &str| Pattern::read(&Value::Text(text.to_owned())).unwrap();
        for (text, fitting, other) in [
            ("AMS-0007", "AMS-0007", "AMS-00070"),
            ("AMS-*", "AMS-", "UTR-0001"),
            ("*", "anything", "\u{0}"),
            ("NL*WST*E0007", "NL*WST*E0007", "NL-WST-E0008"),
            ("*-DC-*1", "AMS-DC-01", "AMS-DC-02"),
            ("a*a", "aa", "a"),
        ] {
            assert!(pattern(text).fits(fitting), "{text} {fitting}");
            assert!(text == "*" || !pattern(text).fits(other), "{text} {other}");
        }
        assert!(pattern("AMS-DC-*").specificity() > pattern("AMS-*").specificity());
    }
}
