//! The API: a path is answered by a document. The same for a running gate (over HTTP) and for data that is only read.

use super::ledger::ExportFormat;
use super::money::hold_id;
use super::paging::{self, Page, Paged};
use super::path::segments;
use super::sessions::{Filter, SESSION_STATES, SessionRow};
use super::settled::{GRACE, Report};
use super::views::{Unanswered, Views};
use crate::accounting::archive_record::ArchiveRecord;
use crate::billing::reconciliation::register::BatchKey;
use crate::billing::verify_receipt;
use crate::host::wall_clock;
use crate::units::{AccountId, OpId, ProcessorId, SessionId, TimeSpan, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::str::FromStr;

/// A request to the console.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The path, without `/api/` in front.
    pub path: String,
    /// What stands behind the question mark.
    pub query: BTreeMap<String, String>,
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A document.
    Json(Value),
    /// A text of this media type.
    Text(&'static str, String),
}

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// HTTP's status.
    pub status: u16,
    /// The message as text.
    pub message: String,
    /// The parameter of the request that is wrong, where it is one.
    pub parameter: Option<&'static str>,
}

impl Refused {
    /// With HTTP's status.
    pub fn new(status: u16, message: impl ToString) -> Refused {
        Refused { status, message: message.to_string(), parameter: None }
    }

    /// The same, because of this parameter.
    pub(super) fn about(self, parameter: &'static str) -> Refused {
        Refused { parameter: Some(parameter), ..self }
    }

    /// The request makes no sense.
    pub fn usage(message: impl ToString) -> Refused {
        Refused::new(400, message)
    }

    /// The requested item does not exist.
    pub fn not_found(message: impl ToString) -> Refused {
        Refused::new(404, message)
    }

    /// A rule is against it.
    pub fn conflict(message: impl ToString) -> Refused {
        Refused::new(409, message)
    }

    /// Too much to do at the moment.
    pub fn busy() -> Refused {
        Refused::new(503, "the gate is busy; ask again")
    }
}

impl From<Unanswered> for Refused {
    fn from(why: Unanswered) -> Refused {
        let status = match why {
            Unanswered::Silent { .. } => 504,
            Unanswered::Archive(_)
            | Unanswered::Archived { .. }
            | Unanswered::Tariff { .. }
            | Unanswered::Figures(_) => 500,
        };
        Refused::new(status, why)
    }
}

/// Answers a question.
pub fn get(views: &Views, request: &Request) -> Result<Answer, Refused> {
    let value = |key: &str| request.query.get(key).map(String::as_str);
    let parts = segments(&request.path);
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["figures"] => document("figures/1", &views.figures()?),
        ["sessions"] => {
            let filter = filter(request)?;
            listed(request, "session-list/1", |page| views.sessions(&filter, page))
        }
        ["sessions", id] => {
            let id = find(views, id)?;
            let sheet = views.session(id)?.ok_or_else(|| Refused::not_found(format!("there is no session {id}")))?;
            Ok(Answer::Json(serde_json::to_value(sheet).map_err(internal)?))
        }
        ["chargers"] => listed(request, "charger-list/1", |page| views.chargers(value("prefix").unwrap_or(""), page)),
        ["accounts"] => listed(request, "account-list/1", |page| views.accounts(page)),
        ["accounts", id] => {
            let id = AccountId::new(id).map_err(Refused::usage)?;
            let sheet = views.account(&id)?.ok_or_else(|| Refused::not_found(format!("there is no account {id}")))?;
            Ok(Answer::Json(serde_json::to_value(sheet).map_err(internal)?))
        }
        ["processors"] => listed(request, "processor-list/1", |page| views.processors(page)),
        ["processors", id] => {
            let id = ProcessorId::new(id).map_err(Refused::usage)?;
            let missing = || Refused::not_found(format!("processor {id} has never connected"));
            Ok(Answer::Json(serde_json::to_value(views.processor(&id)?.ok_or_else(missing)?).map_err(internal)?))
        }
        ["holds"] => listed(request, "hold-list/1", |page| views.holds(page)),
        ["holds", id] => {
            let sheet =
                views.hold(hold_id(id)?)?.ok_or_else(|| Refused::not_found(format!("there is no hold {id}")))?;
            Ok(Answer::Json(serde_json::to_value(sheet).map_err(internal)?))
        }
        ["operations", id] => {
            let id: OpId = id.parse().map_err(Refused::usage)?;
            let missing = || Refused::not_found(format!("there is no operation {id}"));
            Ok(Answer::Json(serde_json::to_value(views.operation(id)?.ok_or_else(missing)?).map_err(internal)?))
        }
        ["invoices"] => {
            let series = series(views, value("series"))?;
            listed(request, "invoice-list/1", |page| views.invoices(series, page))
        }
        ["invoices", "series"] => {
            let series = series(views, value("series"))?;
            listed(request, "invoice-series-list/1", |page| views.check_series(series, page))
        }
        ["invoices", "series", id] => Ok(Answer::Text("application/jsonl", views.series_lines(id)?)),
        ["invoices", number] => {
            let found = views.invoice(number)?;
            document("invoice/1", &found.ok_or_else(|| Refused::not_found(format!("there is no document {number}")))?)
        }
        ["settlement"] => document("settlement-summary/1", &views.settled(&report(request)?)?),
        ["settlement", "sessions"] => {
            let report = report(request)?;
            listed(request, "settlement-session-list/1", |page| views.settled_sessions(&report, page))
        }
        ["settlement", "differs"] => {
            let report = report(request)?;
            listed(request, "settlement-differs-list/1", |page| views.differing(&report, page))
        }
        ["settlement", "extra"] => {
            let report = report(request)?;
            listed(request, "settlement-extra-list/1", |page| views.extra(&report, page))
        }
        ["settlement", "batches"] => {
            let report = report(request)?;
            listed(request, "settlement-batch-list/1", |page| views.batches(&report, value("batch"), page))
        }
        ["settlement", "batch"] => {
            let key = batch_key(request)?;
            let view = views.batch_view(&key)?.ok_or_else(|| no_batch(&key))?;
            Ok(Answer::Json(serde_json::to_value(view).map_err(internal)?))
        }
        ["settlement", "batch", "lines"] => {
            let key = batch_key(request)?;
            listed(request, "settlement-line-list/1", |page| {
                views.batch_lines(&key, page)?.ok_or_else(|| no_batch(&key))
            })
        }
        ["settlement", "ours"] => {
            Ok(Answer::Text("text/csv", views.ours_csv(processor(value("processor"))?.as_ref())?))
        }
        ["ledger"] => document("books/1", &views.books_summary()?),
        ["ledger", "accounts"] => listed(request, "ledger-account-list/1", |page| views.ledger_accounts(page)),
        ["ledger", "export"] => {
            let format: ExportFormat = match value("format") {
                None => ExportFormat::default(),
                Some(name) => {
                    let name = one_of("format", name.to_owned(), &["hledger", "beancount", "csv"])?;
                    serde_json::from_value(name.into()).map_err(Refused::usage)?
                }
            };
            let since = value("since").map(Timestamp::parse_rfc3339).transpose().map_err(Refused::usage)?;
            Ok(Answer::Text("text/plain; charset=utf-8", views.export(format, since)?))
        }
        ["receipts", file] => receipt(views, file, request),
        _ => Err(Refused::not_found("there is nothing under this address")),
    }
}

/// A series that there is.
fn series<'a>(views: &Views, named: Option<&'a str>) -> Result<Option<&'a str>, Refused> {
    let Some(name) = named else { return Ok(None) };
    match views.known_series(name)? {
        Ok(()) => Ok(Some(name)),
        Err(known) if known.is_empty() => {
            Err(Refused::not_found(format!("there is no series `{name}`: no document has a number yet")))
        }
        Err(known) => Err(Refused::not_found(format!("there is no series `{name}`; known: {}", known.join(", ")))),
    }
}

fn processor(named: Option<&str>) -> Result<Option<ProcessorId>, Refused> {
    named.map(|id| ProcessorId::new(id).map_err(|error| Refused::usage(error).about("processor"))).transpose()
}

/// What of settlement is to be reported.
fn report(request: &Request) -> Result<Report, Refused> {
    let hours = number::<u32>(request, "grace_hours")?;
    let grace = hours.map_or(GRACE, |hours| TimeSpan::from_secs(i64::from(hours) * 3_600));
    let processor = processor(request.query.get("processor").map(String::as_str))?;
    Ok(Report { processor, grace, now: wall_clock() })
}

fn batch_key(request: &Request) -> Result<BatchKey, Refused> {
    let named = |name: &str| request.query.get(name).map(String::as_str);
    match (processor(named("processor"))?, named("batch")) {
        (Some(processor), Some(batch)) => Ok((processor, batch.into())),
        (None, _) => Err(Refused::usage("name a processor and a batch").about("processor")),
        (_, None) => Err(Refused::usage("name a processor and a batch").about("batch")),
    }
}

fn no_batch((processor, batch): &BatchKey) -> Refused {
    Refused::not_found(format!("{processor} has no batch {batch}"))
}

/// A receipt: `ID` or `ID.json`, `ID.txt`, `ID.html`.
fn receipt(views: &Views, file: &str, request: &Request) -> Result<Answer, Refused> {
    let width = number(request, "width")?;
    let (id, form) = file.rsplit_once('.').unwrap_or((file, "json"));
    let id = find(views, id)?;
    let missing = || Refused::not_found(format!("session {id} has no receipt (yet)"));
    let Some(ArchiveRecord { receipt: Some(json), .. }) = views.archived(id)? else { return Err(missing()) };
    match form {
        "json" => Ok(Answer::Text("application/json", json)),
        "txt" | "html" => {
            let signed = verify_receipt(json.as_bytes(), None).map_err(internal)?;
            match form {
                "txt" => {
                    let text =
                        width.map_or_else(|| signed.receipt.to_text(), |width| signed.receipt.to_text_within(width));
                    Ok(Answer::Text("text/plain; charset=utf-8", text))
                }
                _ => Ok(Answer::Text("text/html; charset=utf-8", signed.to_html().map_err(internal)?)),
            }
        }
        other => Err(Refused::usage(format!("unknown format `{other}` of a receipt; known: json, txt, html"))),
    }
}

/// The session that an id, the unique beginning of one, or `last` names.
fn find(views: &Views, text: &str) -> Result<SessionId, Refused> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let (filter, limit) = match text {
        "last" => (Filter::default(), 1),
        start => (Filter { id: Some(start.to_owned()), ..Filter::default() }, CANDIDATES),
    };
    let found = views.sessions(&filter, &Page::first(limit))?;
    match found.items.as_slice() {
        [only] => only.id.parse().map_err(internal),
        [] => Err(Refused::not_found(match text {
            "last" => "there are no sessions yet".to_owned(),
            start => format!("no session's id begins with {start}"),
        })),
        several => Err(Refused::conflict(candidates(text, several, found.next.is_some()))),
    }
}

/// At most so many sessions are named where an id is only begun.
const CANDIDATES: usize = 10;

/// The sessions that may be meant.
fn candidates(start: &str, several: &[SessionRow], are_more: bool) -> String {
    let count = if are_more { format!("more than {CANDIDATES}") } else { several.len().to_string() };
    let mut text = format!("{count} sessions' ids begin with `{start}`; type more of the one that is meant:");
    for row in several {
        let at = row.started_at.get(..19).unwrap_or(&row.started_at).replace('T', " ");
        text.push_str(&format!("\n  {}  {}/{}  {at}Z  {}", row.id, row.charger, row.connector, row.shown_state()));
    }
    if are_more {
        text.push_str("\n  … and older ones");
    }
    text
}

/// A value of a closed list, or a refusal that names the list.
fn one_of(what: &'static str, value: String, known: &[&str]) -> Result<String, Refused> {
    match known.contains(&value.as_str()) {
        true => Ok(value),
        false => Err(Refused::usage(format!("unknown {what} `{value}`; known: {}", known.join(", "))).about(what)),
    }
}

/// A parameter that is a whole number.
fn number<N: FromStr>(request: &Request, name: &'static str) -> Result<Option<N>, Refused> {
    let Some(text) = request.query.get(name) else { return Ok(None) };
    let shown: String = text.escape_debug().take(32).collect();
    let wrong = || Refused::usage(format!("{name} = {shown}: wanted a whole number, 0 or more")).about(name);
    text.parse().map(Some).map_err(|_| wrong())
}

fn filter(request: &Request) -> Result<Filter, Refused> {
    let text = |key: &str| request.query.get(key).cloned();
    let state = text("state").map(|state| one_of("state", state, &SESSION_STATES)).transpose()?;
    Ok(Filter { state, charger: text("charger"), id: text("id") })
}

/// An object with its shape in front.
fn document<T: Serialize>(schema: &str, value: &T) -> Result<Answer, Refused> {
    let mut document = serde_json::Map::new();
    document.insert("schema".to_owned(), format!("wattstile.{schema}").into());
    if let Value::Object(members) = serde_json::to_value(value).map_err(internal)? {
        document.extend(members);
    }
    Ok(Answer::Json(Value::Object(document)))
}

/// A page of a list: every list has this shape, and takes `limit` and `after`.
fn listed<K, T, E>(
    request: &Request,
    schema: &str,
    ask: impl FnOnce(&Page<K>) -> Result<Paged<K, T>, E>,
) -> Result<Answer, Refused>
where
    K: Serialize + DeserializeOwned,
    T: Serialize,
    Refused: From<E>,
{
    let Paged { items, next } = ask(&paging::wanted(request, schema)?)?;
    let next = next.map(|key| paging::cursor(schema, &key));
    Ok(Answer::Json(json!({ "schema": format!("wattstile.{schema}"), "items": items, "next": next })))
}

fn internal(error: impl ToString) -> Refused {
    Refused::new(500, error)
}
