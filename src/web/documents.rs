//! Questions: each handler makes a document of what [`Views`](crate::api::Views) answer. Read-only.

use super::audit::{AuditRow, Trail, Verified, rows_before, verify};
use super::filters::RowFilter;
use super::gives::{Csv, Document, JsonLines, JsonText, List, Plain, ReceiptFile, Sheet, listed};
use super::problem::Problem;
use super::request::Call;
use crate::api::feed::Event;
use crate::api::{
    AccountRow, AccountSheet, BatchRow, BatchView, BooksSummary, ChargerRow, DiffersRow, EntryRow, ExportFormat,
    ExtraRow, FLAGS, Figures, Filter, GRACE, HoldRow, HoldSheet, InvoiceRow, LineRow, OperationListRow, OperationSheet,
    Page, Paged, ProcessorRow, ProcessorSheet, ReceiptRow, Report, ReportingStatus, SESSION_STATES, SeriesRow,
    SessionRow, SessionSheet, SettledRow, SettledSummary, SystemSheet, TariffPrice, TariffRow, TariffSession,
    TariffSheet, TrialRow, hold_id, not_another,
};
use crate::billing::reconciliation::register::BatchKey;
use crate::billing::verify_receipt;
use crate::host::wall_clock;
use crate::units::{AccountId, Energy, OpId, ProcessorId, TimeSpan};

type Asked<G> = Result<G, Problem>;

pub(super) fn openapi(_: &Call<'_>) -> Asked<JsonText> {
    Ok(JsonText("application/json", super::openapi::document().to_owned()))
}

pub(super) fn figures(call: &Call<'_>) -> Asked<Document<Figures>> {
    Ok(Document("figures/1", call.views.figures()?))
}

pub(super) fn reporting(call: &Call<'_>) -> Asked<Sheet<ReportingStatus>> {
    Ok(Sheet(call.views.reporting_status()))
}

pub(super) fn sessions(call: &Call<'_>) -> Asked<List<SessionRow>> {
    let text = |key: &str| call.parameter(key).map(str::to_owned);
    let filter = Filter {
        state: call.one_of("state", &SESSION_STATES)?.map(str::to_owned),
        charger: text("charger"),
        id: text("id"),
        flag: call.one_of("flag", &FLAGS)?.map(str::to_owned),
        processor: text("processor"),
        account: text("account"),
        since: call.time("since")?,
        until: call.time("until")?,
        q: text("q").map(|q| q.to_lowercase()),
    };
    let by_site = RowFilter::of(call, &["site"], None)?;
    listed(call, "session-list/1", &by_site, |page| call.views.sessions(&filter, page))
}

pub(super) fn session(call: &Call<'_>) -> Asked<Sheet<SessionSheet>> {
    let id = call.views.session_named(call.text("id"))?;
    found(call.views.session(id)?, || format!("there is no session {id}"))
}

pub(super) fn session_entries(call: &Call<'_>) -> Asked<List<EntryRow>> {
    let id = call.views.session_named(call.text("id"))?;
    listed(call, "session-entry-list/1", &RowFilter::none(call), |page| {
        call.views.session_entries(id, page)?.ok_or_else(|| Problem::not_found(format!("there is no session {id}")))
    })
}

pub(super) fn session_events(call: &Call<'_>) -> Asked<List<Event>> {
    let id = call.views.session_named(call.text("id"))?;
    listed(call, "session-event-list/1", &RowFilter::none(call), |page| {
        call.views.session_events(id, page)?.ok_or_else(|| Problem::not_found(format!("there is no session {id}")))
    })
}

pub(super) fn system(call: &Call<'_>) -> Asked<Sheet<SystemSheet>> {
    Ok(Sheet(call.views.system()?))
}

pub(super) fn chargers(call: &Call<'_>) -> Asked<List<ChargerRow>> {
    let prefix = call.parameter("prefix").or(call.parameter("charger")).unwrap_or("");
    call.one_of("state", &["online", "offline"])?;
    let filter = RowFilter::of(call, &["state", "site", "q"], None)?;
    listed(call, "charger-list/1", &filter, |page| call.views.chargers(prefix, page))
}

pub(super) fn accounts(call: &Call<'_>) -> Asked<List<AccountRow>> {
    call.one_of("state", &["open", "closed"])?;
    let filter = RowFilter::of(call, &["state", "q"], None)?;
    listed(call, "account-list/1", &filter, |page| call.views.accounts(page))
}

pub(super) fn account(call: &Call<'_>) -> Asked<Sheet<AccountSheet>> {
    let id: AccountId = call.segment("id")?;
    found(call.views.account(&id)?, || format!("there is no account {id}"))
}

pub(super) fn processors(call: &Call<'_>) -> Asked<List<ProcessorRow>> {
    call.one_of("state", &["up", "down", "draining"])?;
    let filter = RowFilter::of(call, &["state", "q"], None)?;
    listed(call, "processor-list/1", &filter, |page| call.views.processors(page))
}

pub(super) fn processor(call: &Call<'_>) -> Asked<Sheet<ProcessorSheet>> {
    let id: ProcessorId = call.segment("id")?;
    found(call.views.processor(&id)?, || format!("processor {id} has never connected"))
}

pub(super) fn holds(call: &Call<'_>) -> Asked<List<HoldRow>> {
    let filter = RowFilter::of(call, &["state", "processor", "account", "q"], None)?;
    listed(call, "hold-list/1", &filter, |page| call.views.holds(page))
}

pub(super) fn hold(call: &Call<'_>) -> Asked<Sheet<HoldSheet>> {
    let id = call.text("id");
    found(call.views.hold(hold_id(id)?)?, || format!("there is no hold {id}"))
}

pub(super) fn operations(call: &Call<'_>) -> Asked<List<OperationListRow>> {
    let filter = RowFilter::of(call, &["state", "processor", "account", "kind", "charger", "q"], Some("requested_at"))?;
    listed(call, "operation-list/1", &filter, |page| call.views.operations_page(page))
}

pub(super) fn operation(call: &Call<'_>) -> Asked<Sheet<OperationSheet>> {
    not_another("an operation", call.text("id"))?;
    let id: OpId = call.segment("id")?;
    found(call.views.operation(id)?, || format!("there is no operation {id}"))
}

pub(super) fn invoices(call: &Call<'_>) -> Asked<List<InvoiceRow>> {
    let series = call.views.series_named(call.parameter("series"))?;
    let filter = RowFilter::of(call, &["kind", "q"], Some("at"))?;
    listed(call, "invoice-list/1", &filter, |page| call.views.invoices(series, page))
}

pub(super) fn invoice_series(call: &Call<'_>) -> Asked<List<SeriesRow>> {
    let series = call.views.series_named(call.parameter("series"))?;
    let checks = call.one_of("check", &["true", "false"])? != Some("false");
    listed(call, "invoice-series-list/1", &RowFilter::none(call), |page| {
        if checks { call.views.check_series(series, page) } else { call.views.list_series(series, page) }
    })
}

pub(super) fn series_lines(call: &Call<'_>) -> Asked<JsonLines> {
    Ok(JsonLines("application/jsonl", call.views.series_lines(call.text("id"))?))
}

pub(super) fn invoice(call: &Call<'_>) -> Asked<Document<InvoiceRow>> {
    let number = call.text("number");
    let missing = || Problem::not_found(format!("there is no document {number}"));
    Ok(Document("invoice/1", call.views.invoice(number)?.ok_or_else(missing)?))
}

pub(super) fn receipts(call: &Call<'_>) -> Asked<List<ReceiptRow>> {
    let filter = RowFilter::of(call, &["charger", "site", "q"], Some("issued_at"))?;
    listed(call, "receipt-list/1", &filter, |page| call.views.receipts(page))
}

/// A receipt: `ID` or `ID.json`, `ID.txt`, `ID.html`.
pub(super) fn receipt(call: &Call<'_>) -> Asked<ReceiptFile> {
    let (width, file) = (call.number("width")?, call.text("file"));
    let (id, form) = file.rsplit_once('.').unwrap_or((file, "json"));
    let id = call.views.session_of_receipt(id)?;
    let missing = || Problem::not_found(format!("session {id} has no receipt (yet)"));
    let json = call.views.receipt(id)?.ok_or_else(missing)?;
    let signed = || verify_receipt(json.as_bytes(), None).map_err(Problem::internal);
    match form {
        "json" => Ok(ReceiptFile("application/json", json)),
        "txt" => {
            let receipt = signed()?.receipt;
            let text = width.map_or_else(|| receipt.to_text(), |width| receipt.to_text_within(width));
            Ok(ReceiptFile("text/plain; charset=utf-8", text))
        }
        "html" => Ok(ReceiptFile("text/html; charset=utf-8", signed()?.to_html().map_err(Problem::internal)?)),
        other => Err(Problem::usage(format!("unknown format `{other}` of a receipt; known: json, txt, html"))),
    }
}

pub(super) fn settlement(call: &Call<'_>) -> Asked<Document<SettledSummary>> {
    Ok(Document("settlement-summary/1", call.views.settled_kept(&report(call)?)?))
}

pub(super) fn settled_sessions(call: &Call<'_>) -> Asked<List<SettledRow>> {
    let report = report(call)?;
    let filter = RowFilter::of(call, &["state", "q"], None)?;
    listed(call, "settlement-session-list/1", &filter, |page| call.views.settled_sessions(&report, page))
}

pub(super) fn settlement_differs(call: &Call<'_>) -> Asked<List<DiffersRow>> {
    let report = report(call)?;
    listed(call, "settlement-differs-list/1", &RowFilter::none(call), |page| call.views.differing(&report, page))
}

pub(super) fn settlement_extra(call: &Call<'_>) -> Asked<List<ExtraRow>> {
    let report = report(call)?;
    listed(call, "settlement-extra-list/1", &RowFilter::none(call), |page| call.views.extra(&report, page))
}

pub(super) fn settlement_batches(call: &Call<'_>) -> Asked<List<BatchRow>> {
    let report = report(call)?;
    let filter = RowFilter::of(call, &["state", "q"], Some("at"))?;
    let batch = call.parameter("batch");
    listed(call, "settlement-batch-list/1", &filter, |page| call.views.batches(&report, batch, page))
}

pub(super) fn settlement_batch(call: &Call<'_>) -> Asked<Sheet<BatchView>> {
    let key = batch_key(call)?;
    found(call.views.batch_view(&key)?, || no_batch(&key))
}

pub(super) fn batch_lines(call: &Call<'_>) -> Asked<List<LineRow>> {
    let key = batch_key(call)?;
    listed(call, "settlement-line-list/1", &RowFilter::none(call), |page| {
        call.views.batch_lines(&key, page)?.ok_or_else(|| Problem::not_found(no_batch(&key)))
    })
}

pub(super) fn our_operations(call: &Call<'_>) -> Asked<Csv> {
    Ok(Csv("text/csv", call.views.ours_csv(processor_asked(call)?.as_ref())?))
}

pub(super) fn ledger(call: &Call<'_>) -> Asked<Document<BooksSummary>> {
    Ok(Document("books/1", call.views.books_summary()?))
}

pub(super) fn ledger_accounts(call: &Call<'_>) -> Asked<List<TrialRow>> {
    let filter = RowFilter::of(call, &["account", "q"], None)?.by_member("account");
    listed(call, "ledger-account-list/1", &filter, |page| call.views.ledger_accounts(page))
}

pub(super) fn ledger_export(call: &Call<'_>) -> Asked<Plain> {
    let format: ExportFormat = match call.one_of("format", &["hledger", "beancount", "csv"])? {
        None => ExportFormat::default(),
        Some(name) => serde_json::from_value(name.into()).map_err(Problem::usage)?,
    };
    let since = call.time("since")?;
    Ok(Plain("text/plain; charset=utf-8", call.views.export(format, since)?))
}

pub(super) fn tariffs(call: &Call<'_>) -> Asked<List<TariffRow>> {
    Ok(List { schema: "tariff-list/1", items: call.views.tariffs(wall_clock()), next: None })
}

pub(super) fn tariff(call: &Call<'_>) -> Asked<Sheet<TariffSheet>> {
    Ok(Sheet(call.views.tariff(call.text("id"), wall_clock())?))
}

pub(super) fn tariff_price(call: &Call<'_>) -> Asked<Sheet<TariffPrice>> {
    let minutes = |name| Ok::<_, Problem>(TimeSpan::from_secs(60 * i64::from(call.number::<u32>(name)?.unwrap_or(0))));
    let energy = match call.parameter("kwh") {
        None => Energy::ZERO,
        Some(text) => text
            .trim()
            .parse()
            .ok()
            .and_then(Energy::from_kwh)
            .ok_or_else(|| Problem::usage("kwh: wanted an energy in kWh, such as 20 or 7.5").about("kwh"))?,
    };
    let session = TariffSession {
        start: call.time("start")?.unwrap_or_else(wall_clock),
        energy,
        lasts: minutes("minutes")?,
        idle: minutes("idle_minutes")?,
    };
    Ok(Sheet(call.views.tariff_price(call.text("id"), &session)?))
}

pub(super) fn audit(call: &Call<'_>) -> Asked<List<AuditRow>> {
    let trail = trail(call)?;
    listed(call, "audit-list/1", &RowFilter::none(call), |page: &Page<u64>| {
        let (items, next) = rows_before(trail.path(), page.after, page.limit).map_err(Problem::internal)?;
        Ok::<_, Problem>(Paged { items, next })
    })
}

pub(super) fn audit_check(call: &Call<'_>) -> Asked<Sheet<Verified>> {
    Ok(Sheet(verify(trail(call)?.path()).map_err(Problem::internal)?))
}

fn trail<'a>(call: &Call<'a>) -> Result<&'a Trail, Problem> {
    call.over()?.trail.ok_or_else(|| Problem::new(409, "this gate keeps no data directory, and so no audit trail"))
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

/// A sheet that is there.
fn found<T>(sheet: Option<T>, missing: impl FnOnce() -> String) -> Result<Sheet<T>, Problem> {
    sheet.map(Sheet).ok_or_else(|| Problem::not_found(missing()))
}
