//! Parameters that addresses take.

use serde_json::{Value, json};

/// A parameter behind the question mark.
#[derive(Clone, Copy)]
pub(super) struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it selects.
    pub about: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Whole,
    Time,
    OneOf(&'static [&'static str]),
}

impl Parameter {
    /// Its JSON schema.
    pub fn shape(&self) -> Value {
        match self.kind {
            Kind::Text => json!({ "type": "string" }),
            Kind::Whole => json!({ "type": "integer", "minimum": 0 }),
            Kind::Time => json!({ "type": "string", "format": "date-time" }),
            Kind::OneOf(values) => json!({ "type": "string", "enum": values }),
        }
    }
}

macro_rules! parameters {
    ($($constant:ident: $name:literal, $kind:expr, $about:literal;)*) => {
        $(pub(super) const $constant: Parameter = Parameter { name: $name, about: $about, kind: $kind };)*
    };
}

parameters! {
    LIMIT: "limit", Kind::Whole, "Items of the page: 1 to 1000, 100 without it.";
    AFTER: "after", Kind::Text, "The `next` of the page before; without it, the first page.";
    FORMAT: "format", Kind::OneOf(&["json", "jsonl", "csv"]), "The form of the list; `json` without it.";
    STATE: "state", Kind::Text, "Only items in this state.";
    FLAG: "flag", Kind::Text, "Only sessions with this flag: `estimated`, `quarantined`.";
    CHARGER: "charger", Kind::Text, "Only of chargers whose id begins so.";
    SITE: "site", Kind::Text, "Only of chargers of this site.";
    PROCESSOR: "processor", Kind::Text, "Only of this processor.";
    ACCOUNT: "account", Kind::Text, "Only of this account.";
    KIND: "kind", Kind::Text, "Only operations of this kind.";
    SINCE: "since", Kind::Time, "Only from this time on.";
    UNTIL: "until", Kind::Time, "Only before this time.";
    Q: "q", Kind::Text, "Only items in which this text stands, in large or small letters.";
    ID: "id", Kind::Text, "Only sessions whose id begins so.";
    PREFIX: "prefix", Kind::Text, "Only chargers whose id begins so.";
    SERIES: "series", Kind::Text, "Only of this series.";
    CHECK: "check", Kind::OneOf(&["true", "false"]), "`false`: nothing is read but the series themselves.";
    BATCH: "batch", Kind::Text, "Only this batch.";
    GRACE_HOURS: "grace_hours", Kind::Whole, "An operation that is older is missing where no batch has it; 72 without it.";
    TYPES: "types", Kind::Text, "Only events of these types, with commas between; `capture.*` stands for all that begin so.";
    EVENTS_AFTER: "after", Kind::Text, "The `cursor` of the last event, or `now`; without it, the oldest event of the log.";
    FOLLOW: "follow", Kind::OneOf(&["true", "false"]), "`false`: a page as JSON Lines; else a stream of server-sent events.";
    START: "start", Kind::Time, "When the session begins; now without it.";
    KWH: "kwh", Kind::Text, "Its energy in kWh.";
    MINUTES: "minutes", Kind::Whole, "How long it lasts, in minutes.";
    IDLE_MINUTES: "idle_minutes", Kind::Whole, "How much of that, at its end, no energy flows, in minutes.";
    WIDTH: "width", Kind::Whole, "Columns of the text.";
    EXPORT: "format", Kind::OneOf(&["hledger", "beancount", "csv"]), "The program that reads it; `hledger` without it.";
}
