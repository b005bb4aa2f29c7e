//! The rows that follow from the gate's states, events and entries: pure functions, the same for every database.

use super::batch::{Batch, Value, day};
use super::schema::{
    ACCOUNTS, CHARGERS, CURRENCIES, DISPUTES, EVENTS, HOLDS, INVOICE_TAXES, INVOICES, LEDGER_ENTRIES, LEDGER_LEGS,
    OPERATIONS, PROCESSORS, RECEIPTS, SESSION_TAXES, SESSIONS, SETTLEMENT_BATCHES, SETTLEMENT_LINES, TOP_UPS,
};
use crate::account::{TopUp, account_of};
use crate::accounting::archive_record::{self, in_words};
use crate::api::feed::Event;
use crate::api::observed::{KnownProcessor, WholeBatch, WholeSession};
use crate::api::{ChargerRow, hold_state, operations};
use crate::billing::invoice::Issued;
use crate::billing::{BillingError, ClosedSession};
use crate::ledger::{Debtor, Entry, Ledger, Name, Side, TaxRate};
use crate::node::query::{AccountSummary, SessionSummary};
use crate::payment::{DisputeState, Payment, Stage};
use crate::session::Session;
use crate::units::{Amount, Currency, PartitionId, Timestamp};
use rust_decimal::Decimal;

/// The currencies of the ledger.
pub fn currency(batch: &mut Batch, currency: Currency) {
    let exponent = i64::from(currency.exponent());
    batch.put(CURRENCIES, [("code", currency.code().into()), ("exponent", exponent.into())]);
}

/// A session with its money and its documents.
///
/// # Errors
/// The figures of the session contradict each other; its row is there without them.
pub fn session(batch: &mut Batch, WholeSession { session, tariff }: &WholeSession) -> Result<(), BillingError> {
    let closed = archive_record::closed(session, tariff);
    let priced = closed.as_ref().ok();
    session_row(batch, session, priced);
    batch.clear(SESSION_TAXES, [session.id.to_string().into()]);
    for (number, vat) in (1_u32..).zip(priced.iter().flat_map(|closed| &closed.vat)) {
        batch.put(
            SESSION_TAXES,
            [
                ("session", session.id.to_string().into()),
                ("number", number.into()),
                ("percent", vat.percent.map(|percent| percent.normalize()).into()),
                ("net", vat.net.into()),
                ("tax", vat.vat.into()),
                ("currency", vat.vat.currency().code().into()),
            ],
        );
    }
    payment(batch, &session.payment, "session");
    session.documents().iter().for_each(|issued| document(batch, issued));
    if let (Some(at), Some(ended)) = (session.settled_at(), session.ended()) {
        batch.put(
            RECEIPTS,
            [
                ("session", session.id.to_string().into()),
                ("issued_at", at.into()),
                ("issued_day", day(at)),
                ("charger", session.charger.as_str().into()),
                ("credential", session.fingerprint.to_string().into()),
                ("energy_uwh", session.meter.energy().microwatt_hours().into()),
                ("total_minor", ended.payable.into()),
                ("currency", ended.payable.currency.code().into()),
            ],
        );
    }
    closed.map(drop)
}

fn session_row(batch: &mut Batch, session: &Session, priced: Option<&ClosedSession>) {
    let summary = SessionSummary::of(session, None);
    let ended = session.ended();
    let payment = &session.payment;
    let first = payment.holds().iter().find(|hold| hold.authorized_minor > 0).or(payment.holds().first());
    let processor = first.map(|hold| hold.processor());
    currency(batch, payment.currency());
    batch.put(
        SESSIONS,
        [
            ("id", session.id.to_string().into()),
            ("state", summary.state.into()),
            ("is_refused", summary.is_refused.into()),
            ("charger", session.charger.as_str().into()),
            ("connector", session.connector.0.into()),
            ("credential", session.fingerprint.to_string().into()),
            ("protocol", summary.protocol.to_string().into()),
            ("transaction_id", summary.transaction.into()),
            ("started_at", session.opened_at.into()),
            ("started_day", day(session.opened_at)),
            ("ended_at", ended.map(|ended| ended.at).into()),
            ("end_reason", ended.map(|ended| in_words(ended.reason)).into()),
            ("settled_at", session.settled_at().into()),
            ("settled_day", session.settled_at().map_or(Value::Null, day)),
            ("energy_uwh", session.meter.energy().microwatt_hours().into()),
            ("energy_kwh", session.meter.energy().kwh().into()),
            ("quarantined_kwh", summary.kept.map(crate::units::Energy::kwh).into()),
            ("readings", session.meter.sequence.into()),
            ("currency", payment.currency().code().into()),
            ("net", priced.map(|closed| closed.net).into()),
            ("gross", priced.map(|closed| closed.gross).into()),
            ("payable_minor", priced.map(|closed| closed.payable).into()),
            ("held_minor", payment.authorized().into()),
            ("captured_minor", payment.captured().into()),
            ("released_minor", archive_record::released(payment).into()),
            ("refunded_minor", payment.refunded().into()),
            ("shortfall_minor", payment.shortfall().into()),
            ("processor", processor.map(|processor| processor.as_str()).into()),
            ("account", processor.and_then(account_of).map(|account| account.to_string()).into()),
            ("tariff", priced.map(|closed| closed.tariff.id.to_string()).into()),
            ("tariff_sha256", session.tariff.to_string().into()),
            ("zone", session.zone.to_string().into()),
            ("flags", summary.flags.join(" ").into()),
        ],
    );
}

/// The holds, operations and disputes of a payment.
pub fn payment(batch: &mut Batch, payment: &Payment, owner: &'static str) {
    let (id, currency) = (payment.id().to_string(), payment.currency());
    for hold in payment.holds() {
        batch.put(
            HOLDS,
            [
                ("id", payment.operation_id(hold.number).to_string().into()),
                ("payment", id.as_str().into()),
                ("owner", owner.into()),
                ("processor", hold.processor().as_str().into()),
                ("account", account_of(hold.processor()).map(|account| account.to_string()).into()),
                ("reference", hold.processor_ref.as_ref().map(|name| name.0.to_string()).into()),
                ("state", hold_state(hold.stage).into()),
                ("authorized_minor", hold.authorized_minor.into()),
                ("captured_minor", hold.captured_minor.into()),
                ("refunded_minor", hold.refunded_minor.into()),
                ("currency", currency.code().into()),
                ("expires_at", Some(hold.expires_at).filter(|_| !matches!(hold.stage, Stage::Closed(_))).into()),
            ],
        );
    }
    for row in operations(payment) {
        let answered_at = row.answered_at.as_deref().and_then(time);
        batch.put(
            OPERATIONS,
            [
                ("id", row.id.into()),
                ("payment", id.as_str().into()),
                ("hold", row.hold_id.into()),
                ("kind", row.kind.into()),
                ("processor", row.processor.into()),
                ("reference", row.reference.into()),
                ("state", row.state.into()),
                ("amount_minor", minor(row.amount, Some(currency))),
                ("currency", currency.code().into()),
                ("requested_at", row.requested_at.as_deref().and_then(time).into()),
                ("answered_at", answered_at.into()),
                ("answered_day", answered_at.map_or(Value::Null, day)),
            ],
        );
    }
    for (number, dispute) in (1_u32..).zip(payment.disputes()) {
        batch.put(
            DISPUTES,
            [
                ("hold", payment.operation_id(dispute.hold).to_string().into()),
                ("number", number.into()),
                ("payment", id.as_str().into()),
                ("processor", payment.hold(dispute.hold).map(|hold| hold.processor().as_str()).into()),
                ("amount_minor", dispute.amount_minor.into()),
                ("currency", currency.code().into()),
                (
                    "state",
                    match dispute.state {
                        DisputeState::Open => "open",
                        DisputeState::Won => "won",
                        DisputeState::Lost => "lost",
                    }
                    .into(),
                ),
            ],
        );
    }
}

/// An invoice or a credit note.
pub fn document(batch: &mut Batch, issued: &Issued) {
    let (document, number) = (&issued.document, issued.number.to_string());
    currency(batch, document.total.currency);
    batch.put(
        INVOICES,
        [
            ("number", number.as_str().into()),
            ("series", issued.number.series.as_str().into()),
            ("number_in_series", issued.number.number.into()),
            ("kind", if document.total.minor < 0 { "credit note" } else { "invoice" }.into()),
            ("issued_at", issued.at.into()),
            ("issued_day", day(issued.at)),
            ("session", document.id.payment().session().to_string().into()),
            ("total_minor", document.total.into()),
            ("currency", document.total.currency.code().into()),
            ("corrects", document.corrects.as_ref().map(ToString::to_string).into()),
            ("hash", issued.hash.to_string().into()),
        ],
    );
    for (tax, amount) in &document.taxes {
        batch.put(
            INVOICE_TAXES,
            [
                ("invoice", number.as_str().into()),
                ("country", tax.country().into()),
                ("percent", percent(tax.rate)),
                ("tax_minor", (*amount).into()),
                ("currency", amount.currency.code().into()),
                ("issued_day", day(issued.at)),
            ],
        );
    }
}

/// A top-up with its payment.
pub fn top_up(batch: &mut Batch, top_up: &TopUp) {
    currency(batch, top_up.amount.currency);
    batch.put(
        TOP_UPS,
        [
            ("id", top_up.id.to_string().into()),
            ("account", top_up.account.as_str().into()),
            ("amount_minor", top_up.amount.into()),
            ("currency", top_up.amount.currency.code().into()),
            ("credential", (&*top_up.fingerprint).into()),
            ("ordered_at", top_up.opened_at.into()),
            ("ordered_day", day(top_up.opened_at)),
            ("processor", top_up.processor().map(|processor| processor.as_str()).into()),
            ("credited_minor", top_up.credited_minor.into()),
            ("refunded_minor", top_up.undone.refunded_minor.into()),
            ("lost_minor", top_up.undone.lost_minor.into()),
            ("not_taken_minor", top_up.undone.not_taken_minor.into()),
        ],
    );
    payment(batch, &top_up.payment, "top-up");
}

/// A prepaid account.
pub fn account(batch: &mut Batch, account: &AccountSummary) {
    let balance = &account.balance;
    currency(batch, balance.currency);
    batch.put(
        ACCOUNTS,
        [
            ("id", account.id.as_str().into()),
            ("state", if account.is_closed { "closed" } else { "open" }.into()),
            ("currency", balance.currency.code().into()),
            ("paid_minor", balance.posted.paid.into()),
            ("promotional_minor", balance.posted.promotional.into()),
            ("held_minor", balance.held.total().into()),
            ("credit_limit_minor", balance.credit_limit.into()),
            ("available_minor", balance.available().into()),
            ("open_holds", account.open_holds.into()),
        ],
    );
}

/// A charger.
pub fn charger(batch: &mut Batch, charger: ChargerRow) {
    // The states of connectors are no facts: only number and power are.
    let connector = |text: &String| text.split(',').next().unwrap_or_default().to_owned();
    let connectors: Vec<String> = charger.connectors.iter().map(connector).collect();
    batch.put(
        CHARGERS,
        [
            ("id", charger.id.into()),
            ("firmware", charger.firmware.into()),
            ("connectors", connectors.join("; ").into()),
            ("meter_key", charger.meter_key.map(|key| key.id).into()),
        ],
    );
}

/// A processor.
pub fn processor(batch: &mut Batch, processor: KnownProcessor) {
    batch.put(
        PROCESSORS,
        [
            ("id", processor.id.into()),
            ("is_drained", processor.is_drained.into()),
            ("currencies", processor.currencies.into()),
        ],
    );
}

/// A settlement batch with its lines.
pub fn settlement(batch: &mut Batch, WholeBatch { row, lines }: WholeBatch) {
    let currency = row.currency.parse::<Currency>().ok();
    let at = time(&row.at);
    batch.put(
        SETTLEMENT_BATCHES,
        [
            ("processor", row.processor.as_str().into()),
            ("batch", row.batch.as_str().into()),
            ("revision", row.revision.into()),
            ("at", at.into()),
            ("day", at.map_or(Value::Null, day)),
            ("came_at", row.came_at.as_deref().and_then(time).into()),
            ("state", row.state.into()),
            ("lines", row.lines.into()),
            ("net_minor", minor(row.net, currency)),
            ("bank_minor", minor(row.bank, currency)),
            ("settled_minor", minor(row.settled, currency)),
            ("fees_minor", minor(row.fees, currency)),
            ("suspense_minor", minor(row.suspense, currency)),
            ("currency", row.currency.into()),
            ("reason", row.reason.into()),
            ("same_as", row.same_as.into()),
        ],
    );
    if !lines.is_empty() {
        // An earlier revision may have had more of them.
        batch.clear(SETTLEMENT_LINES, [row.processor.as_str().into(), row.batch.as_str().into()]);
    }
    for line in lines {
        let currency = line.currency.parse::<Currency>().ok();
        let kind = serde_json::to_value(line.kind).ok().and_then(|kind| kind.as_str().map(str::to_owned));
        batch.put(
            SETTLEMENT_LINES,
            [
                ("processor", row.processor.as_str().into()),
                ("batch", row.batch.as_str().into()),
                ("row_number", line.row.into()),
                ("kind", kind.into()),
                ("operation", line.operation.into()),
                ("reference", line.reference.into()),
                ("state", line.state.into()),
                ("why", line.why.into()),
                ("ours_minor", line.ours.map_or(Value::Null, |ours| minor(ours, currency))),
                ("gross_minor", minor(line.gross, currency)),
                ("fee_minor", minor(line.fee, currency)),
                ("net_minor", minor(line.net, currency)),
                ("currency", line.currency.into()),
            ],
        );
    }
}

/// An event of the feed.
pub fn event(batch: &mut Batch, event: Event) {
    let (at, currency) = (time(&event.at), event.currency.as_deref().and_then(|code| code.parse::<Currency>().ok()));
    let money = |amount: Option<Decimal>| amount.map_or(Value::Null, |amount| minor(amount, currency));
    batch.put(
        EVENTS,
        [
            ("id", event.id.into()),
            ("type", event.r#type.into()),
            ("at", at.into()),
            ("day", at.map_or(Value::Null, day)),
            ("partition_id", event.partition.into()),
            ("sequence", event.sequence.into()),
            ("session", event.session.into()),
            ("charger", event.charger.into()),
            ("operation", event.operation.into()),
            ("account", event.account.into()),
            ("processor", event.processor.into()),
            ("batch", event.batch.into()),
            ("number", event.number.into()),
            ("amount_minor", money(event.amount)),
            ("currency", event.currency.into()),
            ("shortfall_minor", money(event.shortfall)),
            ("lines", event.lines.into()),
            ("reason", event.reason.into()),
            ("code", event.code.into()),
        ],
    );
}

/// An entry of the books, the `place`th of its page.
pub fn entry(batch: &mut Batch, (partition, page, place): (PartitionId, i64, u64), entry: &Entry) {
    let operation = entry.id().cause;
    let id = || -> [(&'static str, Value); 3] {
        [("partition_id", partition.0.into()), ("page", page.into()), ("place", place.into())]
    };
    let [first, second, third] = id();
    batch.put(
        LEDGER_ENTRIES,
        [
            first,
            second,
            third,
            ("id", entry.id().to_string().into()),
            ("kind", entry.kind().to_string().into()),
            ("at", entry.at().into()),
            ("day", day(entry.at())),
            ("payment", operation.payment().to_string().into()),
            ("operation", (operation.ordinal() != 0).then(|| operation.to_string()).into()),
            ("corrects", entry.corrects().map(|corrects| corrects.to_string()).into()),
        ],
    );
    for (number, leg) in (0_u32..).zip(entry.legs()) {
        currency(batch, leg.amount.currency);
        let [first, second, third] = id();
        let (debit, credit) = match leg.side {
            Side::Debit => (leg.amount.minor, 0),
            Side::Credit => (0, leg.amount.minor),
        };
        let About { processor, account, operator, tax } = about(&leg.account);
        batch.put(
            LEDGER_LEGS,
            [
                first,
                second,
                third,
                ("leg", number.into()),
                ("day", day(entry.at())),
                ("kind", entry.kind().to_string().into()),
                ("code", leg.account.code().into()),
                ("account", leg.account.to_string().into()),
                (
                    "ledger",
                    match leg.account.ledger() {
                        Ledger::Main => "main",
                        Ledger::Memorandum => "memorandum",
                    }
                    .into(),
                ),
                ("currency", leg.amount.currency.code().into()),
                ("debit_minor", debit.into()),
                ("credit_minor", credit.into()),
                ("processor", processor.into()),
                ("account_id", account.into()),
                ("operator", operator.into()),
                ("tax_country", tax.as_ref().map(|(country, _)| country.as_str()).into()),
                ("tax_percent", tax.map_or(Value::Null, |(_, rate)| percent(rate))),
            ],
        );
    }
}

/// What an account of the books is about.
#[derive(Default)]
struct About {
    processor: Option<String>,
    account: Option<String>,
    operator: Option<String>,
    tax: Option<(String, TaxRate)>,
}

fn about(name: &Name) -> About {
    match name {
        Name::ProcessorReceivable(id)
        | Name::ProcessorReserve(id)
        | Name::DisputeReceivable(id)
        | Name::RefundInFlight(id)
        | Name::Suspense(id)
        | Name::ProcessorFee(id)
        | Name::Held(id)
        | Name::HeldContra(id) => About { processor: Some(id.to_string()), ..About::default() },
        Name::Prepaid(id) | Name::Promotional(id) | Name::Shortfall(Debtor::Account(id)) => {
            About { account: Some(id.to_string()), ..About::default() }
        }
        Name::OperatorPayable(id) => About { operator: Some(id.to_string()), ..About::default() },
        Name::Tax(tax) => About { tax: Some((tax.country(), tax.rate)), ..About::default() },
        Name::Shortfall(Debtor::Credential(_))
        | Name::Bank
        | Name::PrepaidClearing
        | Name::FeeRevenue
        | Name::Breakage
        | Name::Chargeback
        | Name::WriteOff
        | Name::Rounding
        | Name::Promotion => About::default(),
    }
}

/// A rate in percent.
fn percent(rate: TaxRate) -> Value {
    Decimal::new(i64::from(rate.0), 4).normalize().into()
}

fn time(text: &str) -> Option<Timestamp> {
    Timestamp::parse_rfc3339(text).ok()
}

/// An amount in minor units; none where it has no currency, or more digits than an amount can have.
fn minor(amount: Decimal, currency: Option<Currency>) -> Value {
    currency.and_then(|currency| Amount::from_major(amount, currency).ok()).into()
}
