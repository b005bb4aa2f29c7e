//! Filters of lists, by what the rows show.

use super::problem::Problem;
use super::request::Call;
use crate::account::account_of;
use crate::units::{ChargerId, ProcessorId, Timestamp};
use serde::Serialize;
use serde_json::Value;

/// Which rows are wanted.
pub(super) struct RowFilter<'a> {
    call: &'a Call<'a>,
    /// Parameters and their values.
    by: Vec<(&'static str, &'a str)>,
    /// The member with the time of a row.
    time: &'static str,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl<'a> RowFilter<'a> {
    /// All rows.
    pub fn none(call: &'a Call<'a>) -> RowFilter<'a> {
        RowFilter { call, by: Vec::new(), time: "", since: None, until: None }
    }

    /// By these parameters of the request and, where rows have a time, by `since` and `until`.
    ///
    /// # Errors
    /// 400 for a time that is none, and for a site where no gate runs.
    pub fn of(
        call: &'a Call<'a>,
        names: &[&'static str],
        time: Option<&'static str>,
    ) -> Result<RowFilter<'a>, Problem> {
        let by: Vec<_> = names.iter().filter_map(|name| Some((*name, call.parameter(name)?))).collect();
        if call.views.directory().is_none() && by.iter().any(|(name, _)| *name == "site") {
            return Err(Problem::usage("sites are known to a running gate only").about("site"));
        }
        let (since, until) = if time.is_some() { (call.time("since")?, call.time("until")?) } else { (None, None) };
        Ok(RowFilter { call, by, time: time.unwrap_or_default(), since, until })
    }

    /// The same, with `account` as the member of that name.
    pub fn by_member(mut self, name: &'static str) -> RowFilter<'a> {
        self.by.iter_mut().filter(|(known, _)| *known == name).for_each(|(known, _)| *known = "=account");
        self
    }

    /// Whether every row fits.
    pub fn takes_all(&self) -> bool {
        self.by.is_empty() && self.since.is_none() && self.until.is_none()
    }

    /// Whether a row fits.
    pub fn fits<T: Serialize>(&self, row: &T) -> bool {
        let Ok(row) = serde_json::to_value(row) else { return false };
        self.by.iter().all(|(name, wanted)| self.has(&row, name, wanted)) && self.is_within(&row)
    }

    fn is_within(&self, row: &Value) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let at = row[self.time].as_str().and_then(|at| Timestamp::parse_rfc3339(at).ok());
        at.is_some_and(|at| self.since.is_none_or(|since| since <= at) && self.until.is_none_or(|until| at < until))
    }

    fn has(&self, row: &Value, name: &str, wanted: &str) -> bool {
        let text = |member: &str| row[member].as_str().unwrap_or_default();
        let charger = || if row["charger"].is_string() { text("charger") } else { text("id") };
        match name {
            "state" => state_of(row) == wanted,
            "charger" => charger().starts_with(wanted),
            "site" => {
                let site = |id: &str| {
                    let directory = self.call.views.directory()?;
                    directory.node_config().tariffs.site(&ChargerId::new(id).ok()?)
                };
                site(charger()).is_some_and(|site| site.as_str() == wanted)
            }
            "processor" => {
                let listed = row["processors"].as_array().is_some_and(|all| all.iter().any(|each| each == wanted));
                listed || text("processor") == wanted
            }
            "account" => {
                let processor = ProcessorId::new(text("processor")).ok();
                processor.and_then(|id| account_of(&id)).is_some_and(|account| account.as_str() == wanted)
            }
            "=account" => text("account").contains(wanted),
            "q" => mentions(row, &wanted.to_lowercase()),
            _ => text(name) == wanted,
        }
    }
}

/// The state of a row: its own, or what follows from its connections.
fn state_of(row: &Value) -> &str {
    if let Some(state) = row["state"].as_str() {
        return state;
    }
    match (row["online"].as_bool(), row["draining"].as_bool(), row["connections"].as_u64()) {
        (Some(true), ..) => "online",
        (Some(false), ..) => "offline",
        (None, Some(true), _) => "draining",
        (None, _, Some(0)) => "down",
        (None, _, Some(_)) => "up",
        (None, _, None) => "",
    }
}

/// Whether a text of a row has these letters; `wanted` is in small letters.
fn mentions(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text.to_lowercase().contains(wanted),
        Value::Array(items) => items.iter().any(|item| mentions(item, wanted)),
        Value::Object(members) => members.values().any(|member| mentions(member, wanted)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Views;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[test]
    fn rows_are_told_apart_by_what_they_show() {
        let views = Views::opened(Vec::new(), None);
        let fits = |name: &str, value: &str, row: &Value| {
            let query: BTreeMap<String, String> = [(name.to_owned(), value.to_owned())].into();
            let call = Call::reading(&views, &query);
            let filter = RowFilter::of(&call, &["state", "charger", "processor", "account", "kind", "q"], None);
            filter.map_err(|problem| problem.message).unwrap().fits(row)
        };
        let hold = json!({ "id": "op_1", "state": "open", "processor": "account:driver-1", "charger": "AMS-7", "kind": "void" });
        for (name, right, wrong) in [
            ("state", "open", "closed"),
            ("charger", "AMS", "MS-7"),
            ("processor", "account:driver-1", "account"),
            ("account", "driver-1", "driver"),
            ("kind", "void", "capture"),
            ("q", "DRIVER", "acme"),
        ] {
            assert!(fits(name, right, &hold) && !fits(name, wrong, &hold), "{name}");
        }
        assert!(fits("state", "offline", &json!({ "online": false })));
        assert!(fits("state", "draining", &json!({ "draining": true, "connections": 2 })));
        assert!(fits("state", "down", &json!({ "draining": false, "connections": 0 })));
        assert!(fits("processor", "b", &json!({ "processors": ["a", "b"] })));
    }

    #[test]
    fn sites_need_a_gate() {
        let views = Views::opened(Vec::new(), None);
        let query: BTreeMap<String, String> = [("site".to_owned(), "AMS".to_owned())].into();
        let call = Call::reading(&views, &query);
        assert_eq!(RowFilter::of(&call, &["site"], None).map(|_| ()).unwrap_err().status, 400);
    }
}
