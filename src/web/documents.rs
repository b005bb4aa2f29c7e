//! Questions: each handler makes a document of what [`Views`](crate::api::Views) answer. Read-only.

use super::paging::{cursor, wanted};
use super::problem::Problem;
use super::request::{Answer, Call};
use crate::api::{ExportFormat, FLAGS, Filter, GRACE, Page, Paged, Report, SESSION_STATES, hold_id, not_another};
use crate::billing::reconciliation::register::BatchKey;
use crate::billing::verify_receipt;
use crate::host::wall_clock;
use crate::units::{AccountId, OpId, ProcessorId, TimeSpan, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(super) fn figures(call: &Call<'_>) -> Result<Answer, Problem> {
    document("figures/1", &call.views.figures()?)
}

pub(super) fn sessions(call: &Call<'_>) -> Result<Answer, Problem> {
    let text = |key: &str| call.parameter(key).map(str::to_owned);
    let state = call.one_of("state", &SESSION_STATES)?.map(str::to_owned);
    let flag = call.one_of("flag", &FLAGS)?.map(str::to_owned);
    let filter = Filter { state, charger: text("charger"), id: text("id"), flag };
    listed(call, "session-list/1", |page| call.views.sessions(&filter, page))
}

pub(super) fn session(call: &Call<'_>) -> Result<Answer, Problem> {
    let id = call.views.session_named(call.text("id"))?;
    found(call.views.session(id)?, || format!("there is no session {id}"))
}

pub(super) fn chargers(call: &Call<'_>) -> Result<Answer, Problem> {
    let prefix = call.parameter("prefix").unwrap_or("");
    listed(call, "charger-list/1", |page| call.views.chargers(prefix, page))
}

pub(super) fn accounts(call: &Call<'_>) -> Result<Answer, Problem> {
    listed(call, "account-list/1", |page| call.views.accounts(page))
}

pub(super) fn account(call: &Call<'_>) -> Result<Answer, Problem> {
    let id: AccountId = call.segment("id")?;
    found(call.views.account(&id)?, || format!("there is no account {id}"))
}

pub(super) fn processors(call: &Call<'_>) -> Result<Answer, Problem> {
    listed(call, "processor-list/1", |page| call.views.processors(page))
}

pub(super) fn processor(call: &Call<'_>) -> Result<Answer, Problem> {
    let id: ProcessorId = call.segment("id")?;
    found(call.views.processor(&id)?, || format!("processor {id} has never connected"))
}

pub(super) fn holds(call: &Call<'_>) -> Result<Answer, Problem> {
    listed(call, "hold-list/1", |page| call.views.holds(page))
}

pub(super) fn hold(call: &Call<'_>) -> Result<Answer, Problem> {
    let id = call.text("id");
    found(call.views.hold(hold_id(id)?)?, || format!("there is no hold {id}"))
}

pub(super) fn operation(call: &Call<'_>) -> Result<Answer, Problem> {
    not_another("an operation", call.text("id"))?;
    let id: OpId = call.segment("id")?;
    found(call.views.operation(id)?, || format!("there is no operation {id}"))
}

pub(super) fn invoices(call: &Call<'_>) -> Result<Answer, Problem> {
    let series = call.views.series_named(call.parameter("series"))?;
    listed(call, "invoice-list/1", |page| call.views.invoices(series, page))
}

pub(super) fn invoice_series(call: &Call<'_>) -> Result<Answer, Problem> {
    let series = call.views.series_named(call.parameter("series"))?;
    listed(call, "invoice-series-list/1", |page| call.views.check_series(series, page))
}

pub(super) fn series_lines(call: &Call<'_>) -> Result<Answer, Problem> {
    Ok(Answer::Text("application/jsonl", call.views.series_lines(call.text("id"))?))
}

pub(super) fn invoice(call: &Call<'_>) -> Result<Answer, Problem> {
    let number = call.text("number");
    let missing = || Problem::not_found(format!("there is no document {number}"));
    document("invoice/1", &call.views.invoice(number)?.ok_or_else(missing)?)
}

/// A receipt: `ID` or `ID.json`, `ID.txt`, `ID.html`.
pub(super) fn receipt(call: &Call<'_>) -> Result<Answer, Problem> {
    let (width, file) = (call.number("width")?, call.text("file"));
    let (id, form) = file.rsplit_once('.').unwrap_or((file, "json"));
    let id = call.views.session_of_receipt(id)?;
    let missing = || Problem::not_found(format!("session {id} has no receipt (yet)"));
    let json = call.views.receipt(id)?.ok_or_else(missing)?;
    let signed = || verify_receipt(json.as_bytes(), None).map_err(Problem::internal);
    match form {
        "json" => Ok(Answer::Text("application/json", json)),
        "txt" => {
            let receipt = signed()?.receipt;
            let text = width.map_or_else(|| receipt.to_text(), |width| receipt.to_text_within(width));
            Ok(Answer::Text("text/plain; charset=utf-8", text))
        }
        "html" => Ok(Answer::Text("text/html; charset=utf-8", signed()?.to_html().map_err(Problem::internal)?)),
        other => Err(Problem::usage(format!("unknown format `{other}` of a receipt; known: json, txt, html"))),
    }
}

pub(super) fn settlement(call: &Call<'_>) -> Result<Answer, Problem> {
    document("settlement-summary/1", &call.views.settled(&report(call)?)?)
}

pub(super) fn settled_sessions(call: &Call<'_>) -> Result<Answer, Problem> {
    let report = report(call)?;
    listed(call, "settlement-session-list/1", |page| call.views.settled_sessions(&report, page))
}

pub(super) fn settlement_differs(call: &Call<'_>) -> Result<Answer, Problem> {
    let report = report(call)?;
    listed(call, "settlement-differs-list/1", |page| call.views.differing(&report, page))
}

pub(super) fn settlement_extra(call: &Call<'_>) -> Result<Answer, Problem> {
    let report = report(call)?;
    listed(call, "settlement-extra-list/1", |page| call.views.extra(&report, page))
}

pub(super) fn settlement_batches(call: &Call<'_>) -> Result<Answer, Problem> {
    let report = report(call)?;
    listed(call, "settlement-batch-list/1", |page| call.views.batches(&report, call.parameter("batch"), page))
}

pub(super) fn settlement_batch(call: &Call<'_>) -> Result<Answer, Problem> {
    let key = batch_key(call)?;
    found(call.views.batch_view(&key)?, || no_batch(&key))
}

pub(super) fn batch_lines(call: &Call<'_>) -> Result<Answer, Problem> {
    let key = batch_key(call)?;
    listed(call, "settlement-line-list/1", |page| {
        call.views.batch_lines(&key, page)?.ok_or_else(|| Problem::not_found(no_batch(&key)))
    })
}

pub(super) fn our_operations(call: &Call<'_>) -> Result<Answer, Problem> {
    Ok(Answer::Text("text/csv", call.views.ours_csv(processor_asked(call)?.as_ref())?))
}

pub(super) fn ledger(call: &Call<'_>) -> Result<Answer, Problem> {
    document("books/1", &call.views.books_summary()?)
}

pub(super) fn ledger_accounts(call: &Call<'_>) -> Result<Answer, Problem> {
    listed(call, "ledger-account-list/1", |page| call.views.ledger_accounts(page))
}

pub(super) fn ledger_export(call: &Call<'_>) -> Result<Answer, Problem> {
    let format: ExportFormat = match call.one_of("format", &["hledger", "beancount", "csv"])? {
        None => ExportFormat::default(),
        Some(name) => serde_json::from_value(name.into()).map_err(Problem::usage)?,
    };
    let since = call.parameter("since").map(Timestamp::parse_rfc3339).transpose().map_err(Problem::usage)?;
    Ok(Answer::Text("text/plain; charset=utf-8", call.views.export(format, since)?))
}

/// The processor that a report is limited to.
fn processor_asked(call: &Call<'_>) -> Result<Option<ProcessorId>, Problem> {
    let read = |id| ProcessorId::new(id).map_err(|error| Problem::usage(error).about("processor"));
    call.parameter("processor").map(read).transpose()
}

/// What of settlement is to be reported.
fn report(call: &Call<'_>) -> Result<Report, Problem> {
    let hours = call.number::<u32>("grace_hours")?;
    let grace = hours.map_or(GRACE, |hours| TimeSpan::from_secs(i64::from(hours) * 3_600));
    Ok(Report { processor: processor_asked(call)?, grace, now: wall_clock() })
}

fn batch_key(call: &Call<'_>) -> Result<BatchKey, Problem> {
    match (processor_asked(call)?, call.parameter("batch")) {
        (Some(processor), Some(batch)) => Ok((processor, batch.into())),
        (None, _) => Err(Problem::usage("name a processor and a batch").about("processor")),
        (_, None) => Err(Problem::usage("name a processor and a batch").about("batch")),
    }
}

fn no_batch((processor, batch): &BatchKey) -> String {
    format!("{processor} has no batch {batch}")
}

/// A sheet that names its schema itself.
fn found<T: Serialize>(sheet: Option<T>, missing: impl FnOnce() -> String) -> Result<Answer, Problem> {
    let sheet = sheet.ok_or_else(|| Problem::not_found(missing()))?;
    Ok(Answer::Json(serde_json::to_value(sheet).map_err(Problem::internal)?))
}

/// An object with its schema in front.
fn document<T: Serialize>(schema: &str, value: &T) -> Result<Answer, Problem> {
    let mut document = serde_json::Map::new();
    document.insert("schema".to_owned(), format!("wattstile.{schema}").into());
    if let Value::Object(members) = serde_json::to_value(value).map_err(Problem::internal)? {
        document.extend(members);
    }
    Ok(Answer::Json(Value::Object(document)))
}

/// A page of a list: every list has this shape, and takes `limit` and `after`.
fn listed<K, T, E>(
    call: &Call<'_>,
    schema: &str,
    ask: impl FnOnce(&Page<K>) -> Result<Paged<K, T>, E>,
) -> Result<Answer, Problem>
where
    K: Serialize + DeserializeOwned,
    T: Serialize,
    Problem: From<E>,
{
    let Paged { items, next } = ask(&wanted(call.query, schema)?)?;
    let next = next.map(|key| cursor(schema, &key));
    Ok(Answer::Json(json!({ "schema": format!("wattstile.{schema}"), "items": items, "next": next })))
}
