//! What handlers give and take, with types: the same types answer requests and make the API's document.

use super::filters::RowFilter;
use super::paging::{cursor, wanted};
use super::problem::Problem;
use super::request::{Answer, Call};
use crate::api::feed::Event;
use crate::api::{Page, Paged};
use crate::limits::{LIST_ITEMS_MAX, LIST_ROUNDS_MAX};
use crate::units::shape::{Described, Shapes};
use crate::units::visible;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// Makes a schema.
pub(super) type ShapeOf = fn(&mut Shapes) -> Value;
/// Makes the schema of an answer in each of its media types.
pub(super) type MediaOf = fn(&mut Shapes) -> Vec<(&'static str, Value)>;

/// What a handler gives.
pub(super) trait Gives {
    /// The answer to a request.
    fn answer(self, call: &Call<'_>) -> Result<Answer, Problem>;

    /// Its media types, each with a schema.
    fn media(shapes: &mut Shapes) -> Vec<(&'static str, Value)>;
}

/// The body and the answer of a handler, as its signature states them.
pub(super) const fn takes_of<B: Described, G: Gives>(_: for<'a> fn(&Call<'a>, B) -> Result<G, Problem>) -> ShapeOf {
    B::shape
}

/// The answer of a handler of an order.
pub(super) const fn ordered_of<B, G: Gives>(_: for<'a> fn(&Call<'a>, B) -> Result<G, Problem>) -> MediaOf {
    G::media
}

/// The answer of a handler of a question.
pub(super) const fn gives_of<G: Gives>(_: for<'a> fn(&Call<'a>) -> Result<G, Problem>) -> MediaOf {
    G::media
}

const JSON: &str = "application/json";

/// A document that names its schema itself.
pub(super) struct Sheet<T>(pub T);

impl<T: Serialize + Described> Gives for Sheet<T> {
    fn answer(self, _: &Call<'_>) -> Result<Answer, Problem> {
        Ok(Answer::Json(serde_json::to_value(self.0).map_err(Problem::internal)?))
    }

    fn media(shapes: &mut Shapes) -> Vec<(&'static str, Value)> {
        vec![(JSON, T::shape(shapes))]
    }
}

/// A document with its schema in front.
pub(super) struct Document<T>(pub &'static str, pub T);

impl<T: Serialize + Described> Gives for Document<T> {
    fn answer(self, _: &Call<'_>) -> Result<Answer, Problem> {
        let mut document = Map::new();
        document.insert("schema".to_owned(), format!("wattstile.{}", self.0).into());
        if let Value::Object(members) = serde_json::to_value(&self.1).map_err(Problem::internal)? {
            document.extend(members);
        }
        Ok(Answer::Json(Value::Object(document)))
    }

    fn media(shapes: &mut Shapes) -> Vec<(&'static str, Value)> {
        let schema =
            json!({ "type": "object", "required": ["schema"], "properties": { "schema": { "type": "string" } } });
        vec![(JSON, json!({ "allOf": [schema, T::shape(shapes)] }))]
    }
}

/// A page of a list.
pub(super) struct List<T> {
    /// Its schema.
    pub schema: &'static str,
    /// Its items.
    pub items: Vec<T>,
    /// Where the list goes on.
    pub next: Option<String>,
}

impl<T: Serialize + Described> Gives for List<T> {
    fn answer(self, call: &Call<'_>) -> Result<Answer, Problem> {
        let List { schema, items, next } = self;
        let items = items.iter().map(serde_json::to_value).collect::<Result<Vec<Value>, _>>();
        let items = items.map_err(Problem::internal)?;
        match call.one_of("format", &["json", "jsonl", "csv"])? {
            Some("jsonl") => {
                let lines = items.iter().map(|item| format!("{item}\n")).collect();
                Ok(Answer::Page { media: "application/jsonl", text: lines, next })
            }
            Some("csv") => {
                let mut shapes = Shapes::default();
                let shape = T::shape(&mut shapes);
                let columns = shapes.resolved(&shape)["properties"].as_object().cloned().unwrap_or_default();
                let columns: Vec<&str> = columns.keys().map(String::as_str).collect();
                Ok(Answer::Page { media: "text/csv; charset=utf-8", text: csv(&columns, &items)?, next })
            }
            _ => Ok(Answer::Json(json!({ "schema": format!("wattstile.{schema}"), "items": items, "next": next }))),
        }
    }

    fn media(shapes: &mut Shapes) -> Vec<(&'static str, Value)> {
        let page = json!({
            "type": "object",
            "required": ["schema", "items", "next"],
            "properties": {
                "schema": { "type": "string" },
                "items": { "type": "array", "items": T::shape(shapes) },
                "next": { "type": ["string", "null"], "description": "The parameter `after` of the next page; null: the list ends here." },
            },
        });
        let text = json!({ "type": "string" });
        vec![(JSON, page), ("application/jsonl", text.clone()), ("text/csv", text)]
    }
}

/// Rows as comma-separated values, with the members of the list's items as columns.
fn csv(columns: &[&str], items: &[Value]) -> Result<String, Problem> {
    let mut table = ::csv::Writer::from_writer(Vec::new());
    table.write_record(columns).map_err(Problem::internal)?;
    for item in items {
        table.write_record(columns.iter().map(|column| cell(&item[*column]))).map_err(Problem::internal)?;
    }
    let bytes = table.into_inner().map_err(Problem::internal)?;
    String::from_utf8(bytes).map_err(Problem::internal)
}

/// A value as the text of a cell. A text that a spreadsheet would take for a formula begins with an apostrophe.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => {
            let is_number = text.parse::<rust_decimal::Decimal>().is_ok();
            let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number;
            let text = visible(text);
            if is_formula { format!("'{text}") } else { text.into_owned() }
        }
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(" "),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// Texts by their media types.
macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident: $($media:literal),+;)*) => {
        $(
            $(#[$doc])*
            pub(super) struct $name(pub &'static str, pub String);

            impl Gives for $name {
                fn answer(self, _: &Call<'_>) -> Result<Answer, Problem> {
                    Ok(Answer::Text(self.0, self.1))
                }

                fn media(_: &mut Shapes) -> Vec<(&'static str, Value)> {
                    vec![$(($media, json!({ "type": "string" }))),+]
                }
            }
        )*
    };
}

texts! {
    /// Lines of JSON.
    JsonLines: "application/jsonl";
    /// A table.
    Csv: "text/csv";
    /// A text.
    Plain: "text/plain";
    /// A receipt in one of its forms.
    ReceiptFile: "application/json", "text/plain", "text/html";
    /// A document that is kept as text.
    JsonText: "application/json";
}

/// Events, one in each line, and where the feed goes on.
pub(super) struct EventLines {
    /// The events.
    pub events: Vec<Event>,
    /// The cursor behind them.
    pub next: String,
}

impl Gives for EventLines {
    fn answer(self, _: &Call<'_>) -> Result<Answer, Problem> {
        let lines = self.events.iter().map(|event| serde_json::to_string(event).map(|line| line + "\n"));
        let text = lines.collect::<Result<String, _>>().map_err(Problem::internal)?;
        Ok(Answer::Page { media: "application/jsonl", text, next: Some(self.next) })
    }

    fn media(shapes: &mut Shapes) -> Vec<(&'static str, Value)> {
        Event::shape(shapes);
        let text =
            json!({ "type": "string", "description": "An `Event` in each line, or as the data of each message." });
        vec![("application/jsonl", text.clone()), ("text/event-stream", text)]
    }
}

/// A page of a list with the filters of the request: pages are asked for until enough rows fit, or enough were looked through.
///
/// # Errors
/// A parameter that is wrong, and whatever `ask` refuses.
pub(super) fn listed<K, T, E>(
    call: &Call<'_>,
    schema: &'static str,
    filter: &RowFilter<'_>,
    ask: impl Fn(&Page<K>) -> Result<Paged<K, T>, E>,
) -> Result<List<T>, Problem>
where
    K: Serialize + DeserializeOwned + Clone,
    T: Serialize,
    Problem: From<E>,
{
    let Page { mut after, limit } = wanted(call.query, schema)?;
    let made = |items, next: Option<K>| List { schema, items, next: next.map(|key| cursor(schema, &key)) };
    if filter.takes_all() {
        let Paged { items, next } = ask(&Page { after, limit })?;
        return Ok(made(items, next));
    }
    let mut items = Vec::new();
    for _ in 0..LIST_ROUNDS_MAX {
        let mut page = ask(&Page { after: after.clone(), limit: LIST_ITEMS_MAX })?;
        let mut left = limit - items.len();
        let full = page.items.iter().position(|row| {
            left -= usize::from(left > 0 && filter.fits(row));
            left == 0
        });
        if let Some(full) = full.filter(|full| full + 1 < page.items.len()) {
            // The page ends behind this row: asked once more, the list tells the key.
            page = ask(&Page { after, limit: full + 1 })?;
        }
        let Paged { items: rows, next } = page;
        items.extend(rows.into_iter().filter(|row| filter.fits(row)));
        items.truncate(limit);
        after = next;
        if after.is_none() || items.len() == limit {
            break;
        }
    }
    Ok(made(items, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Views;
    use crate::units::shape::described;
    use crate::web::request::Answer;
    use std::collections::BTreeMap;

    described! {
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    struct Row {
        number: u64,
        state: String,
        at: String,
    }
    }

    fn row(number: u64) -> Row {
        let state = if number.is_multiple_of(3) { "open" } else { "=closed" };
        Row { number, state: state.to_owned(), at: format!("2026-11-{:02}T00:00:00Z", number % 28 + 1) }
    }

    fn page(query: &[(&str, &str)]) -> List<Row> {
        let views = Views::opened(Vec::new(), None);
        let query: BTreeMap<String, String> =
            query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let call = Call::reading(&views, &query);
        let filter = RowFilter::of(&call, &["state", "q"], Some("at")).unwrap();
        let all: Vec<(u64, Row)> = (0..2_500).map(|number| (number, row(number))).collect();
        let ask = |page: &Page<u64>| {
            let behind = page.after.map_or(0, |after| usize::try_from(after).unwrap() + 1);
            let found: Vec<_> = all[behind..].iter().take(page.limit).map(|(_, row)| row.clone()).collect();
            let last = behind + found.len();
            Ok::<_, Problem>(Paged { items: found, next: (last < all.len()).then(|| all[last - 1].0) })
        };
        listed(&call, "row-list/1", &filter, ask).map_err(|problem| problem.message).unwrap()
    }

    #[test]
    fn a_filtered_list_has_each_row_that_fits_once() {
        let expected: Vec<u64> = (0..2_500).step_by(3).collect();
        for limit in ["7", "100", "1000"] {
            let (mut seen, mut after) = (Vec::new(), None::<String>);
            loop {
                let mut query = vec![("state", "open"), ("limit", limit)];
                query.extend(after.as_deref().map(|after| ("after", after)));
                let List { items, next, .. } = page(&query);
                assert!(items.len() <= limit.parse().unwrap());
                seen.extend(items.iter().map(|row| row.number));
                after = next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(seen, expected, "{limit}");
        }
        assert_eq!(page(&[("since", "2026-11-02T00:00:00Z"), ("until", "2026-11-03T00:00:00Z")]).items[0].number, 1);
        assert!(page(&[("q", "nothing has this")]).items.is_empty());
    }

    #[test]
    fn a_list_is_given_as_table_and_as_lines() {
        let views = Views::opened(Vec::new(), None);
        let given = |format: &str| {
            let query = [("format".to_owned(), format.to_owned())].into();
            let list = List { schema: "row-list/1", items: vec![row(3), row(4)], next: Some("n".to_owned()) };
            list.answer(&Call::reading(&views, &query))
        };
        let Ok(Answer::Page { text, next, .. }) = given("csv") else { panic!("no page") };
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines, ["number,state,at", "3,open,2026-11-04T00:00:00Z", "4,'=closed,2026-11-05T00:00:00Z"]);
        assert_eq!(next.as_deref(), Some("n"));
        let Ok(Answer::Page { text, .. }) = given("jsonl") else { panic!("no page") };
        assert_eq!(text.lines().count(), 2);
        assert!(text.starts_with("{\"number\":3,"), "{text}");
        assert_eq!(given("xml").map(|_| ()).unwrap_err().status, 400);
        assert_eq!(cell(&json!("-5.00")), "-5.00", "a negative amount is no formula");
    }
}
