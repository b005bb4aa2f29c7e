//! Invoices and credit notes: what a session came to gets its number in the same turn, and so in the same batch of the
//! log, as the fact that made it final.
//!
//! A series belongs to one partition, so that no number needs a message: `R-2026-07-EUR` numbers the invoices in euro of
//! partition 7 in 2026. After each fact about a session's money, what its documents come to is compared with what it was sold
//! for, and a difference makes a document:
//!
//! ```text
//!   settled with a price          ─▶ invoice
//!   given back                    ─▶ credit note, which names the invoice
//!   giving back failed after all  ─▶ another invoice over that amount
//!   corrected upwards             ─▶ another invoice over the difference
//! ```
//!
//! Where the difference is no document (a tax of another sign than the total, or more than it), what was documented is
//! taken back by one credit note, and documented anew by one invoice.

use super::delivery::Delivery;
use super::encoding::encode;
use super::hosted::Slot;
use super::house::SeriesNames;
use super::partition::Partition;
use super::{dossier, posting};
use crate::billing::BillingError;
use crate::billing::invoice::{self, Command, Document, Effect, Event, Series, SeriesId, SeriesKind};
use crate::journal::RecordKind;
use crate::ledger::Tax;
use crate::payment;
use crate::session::{self, Session};
use crate::tariff::Tariff;
use crate::units::{Amount, Currency, OpId, PartitionId, TimeSpan, Timestamp};
use std::collections::BTreeMap;

/// Numbers of documents that belong to no operation: above those of operations, below those of inquiries.
const FIRST_OWN_NUMBER: u16 = 0x4000;

impl Delivery<'_> {
    /// Numbers the documents that follow from these facts, if any do.
    pub(super) fn bill(&mut self, partition: &mut Partition, cell: Slot, events: &[session::Event]) {
        let matters =
            |event: &session::Event| matches!(event, session::Event::Payment(_) | session::Event::Corrected(_));
        if !events.iter().any(matters) {
            return;
        }
        let Some(hosted) = partition.sessions.get(cell) else { return };
        let (session, tariff) = (hosted.state(), hosted.tariff());
        let Some(due) = due(session) else { return };
        let taxes = taxes(session, tariff, billed(session).saturating_add(due.minor));
        match (due.minor, taxes.is_empty(), fits(due, &taxes)) {
            (0, true, _) => {}
            (_, _, true) => self.document(partition, cell, events, due, taxes),
            // What changed is no document of its own (a tax moved, and the price with it not, or the other way): what was
            // documented is taken back as a whole, and documented anew.
            (_, _, false) => {
                let before = Amount::new(billed(session), due.currency);
                let back = session.documents().iter().flat_map(|issued| &issued.document.taxes);
                let mut back_taxes: BTreeMap<Tax, i64> = BTreeMap::new();
                for (tax, amount) in back {
                    *back_taxes.entry(*tax).or_insert(0) -= amount.minor;
                }
                let anew = taxes.iter().map(|(tax, minor)| (*tax, minor - back_taxes.get(tax).copied().unwrap_or(0)));
                let anew: BTreeMap<Tax, i64> = anew.collect();
                let after = Amount::new(before.minor.saturating_add(due.minor), due.currency);
                let back = Amount::new(before.minor.saturating_neg(), due.currency);
                self.document(partition, cell, events, back, back_taxes);
                if after.minor > 0 {
                    self.document(partition, cell, &[], after, anew);
                }
            }
        }
    }

    /// Makes a document and has it numbered.
    fn document(
        &mut self,
        partition: &mut Partition,
        cell: Slot,
        events: &[session::Event],
        due: Amount,
        taxes: BTreeMap<Tax, i64>,
    ) {
        let Some(hosted) = partition.sessions.get(cell).filter(|_| due.minor != 0) else { return };
        let (session, tariff) = (hosted.state(), hosted.tariff());
        let id = document_id(session, events);
        let document = match document(session, tariff, id, due, taxes, self.now.wall) {
            Ok(document) => document,
            Err(error) => {
                debug_assert!(false, "the figures of session {} contradict each other: {error}", session.id);
                tracing::error!(session = %session.id, %error, "a session has no invoice");
                return;
            }
        };
        let kind = if due.minor < 0 { SeriesKind::CreditNote } else { SeriesKind::Invoice };
        self.finalize(partition, kind, document);
    }

    /// Gives a document the next number of its series, which is opened when it is the first of its year.
    fn finalize(&mut self, partition: &mut Partition, kind: SeriesKind, mut document: Document) {
        let currency = document.total.currency;
        let series = name(&self.house.series, kind, self.now.wall, partition.id, currency);
        if !partition.series.contains_key(&series) {
            let older: Vec<SeriesId> = open_of(partition, kind, currency).cloned().collect();
            for older in older {
                self.tell_series(partition, &older, Command::Close);
            }
            self.tell_series(partition, &series, Command::Open { series: series.clone(), kind, currency });
        }
        // A wall clock that was set back must not make a fresh document look like a forgotten one.
        if let Some(Series::Open(open)) = partition.series.get(&series) {
            let youngest = open.forgotten_until.map(|until| until.saturating_add(TimeSpan::from_ms(1)));
            document.final_at = document.final_at.max(youngest.unwrap_or(document.final_at));
        }
        let session = document.id.session();
        if let Some(Effect::Refused { rejection, .. }) =
            self.tell_series(partition, &series, Command::Finalize(document))
        {
            tracing::error!(%session, %series, %rejection, "a document has no number");
        }
    }

    fn tell_series(&mut self, partition: &mut Partition, series: &SeriesId, command: Command) -> Option<Effect> {
        let state = partition.series.entry(series.clone()).or_default();
        let decision = invoice::decide(state, command, self.now);
        for event in &decision.events {
            self.permit.append(partition.id, RecordKind::BillingEvent, |bytes| encode(&(series, event), bytes));
            partition.billed(series, event);
        }
        decision.effects.into_iter().next()
    }
}

impl Partition {
    /// Folds a fact of a series, live and while replaying: the session that a document is about keeps it.
    pub(super) fn billed(&mut self, series: &SeriesId, event: &Event) {
        invoice::apply(self.series.entry(series.clone()).or_default(), event);
        let Event::Finalized(issued) = event else { return };
        let cell = self.find_session(issued.document.id.session());
        if let Some(hosted) = cell.and_then(|cell| self.sessions.get_mut(cell)) {
            hosted.document(invoice::Issued::clone(issued));
        }
    }
}

/// Series that still number documents of this kind.
fn open_of(partition: &Partition, kind: SeriesKind, currency: Currency) -> impl Iterator<Item = &SeriesId> {
    let open = move |series: &Series| match series {
        Series::Open(open) => open.kind == kind && open.currency == currency,
        Series::Unopened | Series::Closed(_) => false,
    };
    partition.series.iter().filter(move |(_, series)| open(series)).map(|(id, _)| id)
}

fn name(names: &SeriesNames, kind: SeriesKind, at: Timestamp, partition: PartitionId, currency: Currency) -> SeriesId {
    let prefix = match kind {
        SeriesKind::Invoice => &names.invoices,
        SeriesKind::CreditNote => &names.credit_notes,
    };
    let (date, partition) = (at.to_rfc3339(), partition.0);
    let year = date.get(..4).unwrap_or("0000");
    SeriesId::new(&format!("{prefix}-{year}-{partition:02}-{currency}"))
        .expect("a checked beginning, digits and a code")
}

/// What the documents of a session lack: above zero for an invoice, below zero for a credit note. Nothing before every
/// hold has ended for the first time.
fn due(session: &Session) -> Option<Amount> {
    session.settled_at()?;
    let payable = session.ended()?.payable;
    let lacking = posting::left(session).min(payable.minor).saturating_sub(billed(session));
    (payable.minor > 0).then(|| Amount::new(lacking, payable.currency))
}

/// What the documents of a session come to, in minor units.
fn billed(session: &Session) -> i64 {
    session.documents().iter().map(|issued| issued.document.total.minor).fold(0, i64::saturating_add)
}

/// The document over `due`, after checking that what it is about agrees with itself.
fn document(
    session: &Session,
    tariff: &Tariff,
    id: OpId,
    due: Amount,
    taxes: BTreeMap<Tax, i64>,
    now: Timestamp,
) -> Result<Document, BillingError> {
    let closed = dossier::closed(session, tariff)?;
    closed.check()?;
    let taxes = taxes.into_iter().filter(|(_, minor)| *minor != 0);
    let taxes = taxes.map(|(tax, minor)| (tax, Amount::new(minor, due.currency))).collect();
    let corrects = dossier::invoice(session).filter(|_| due.minor < 0).map(|invoice| invoice.number.clone());
    Ok(Document { id, final_at: now, total: due, taxes, content: invoice::content(&closed, due), corrects })
}

/// The taxes of the next document: what the books have of them up to where the session's documents then are, less what
/// the earlier documents say. So all documents together say what the books and the last receipt say.
fn taxes(session: &Session, tariff: &Tariff, after: i64) -> BTreeMap<Tax, i64> {
    let mut taxes: BTreeMap<Tax, i64> = BTreeMap::new();
    for (tax, amount) in posting::taxes_upto(session, tariff, after) {
        *taxes.entry(tax).or_insert(0) += amount.minor;
    }
    for (tax, amount) in session.documents().iter().flat_map(|issued| &issued.document.taxes) {
        let left = taxes.entry(*tax).or_insert(0);
        *left = left.saturating_sub(amount.minor);
    }
    taxes.retain(|_, minor| *minor != 0);
    taxes
}

/// Whether a document over this much can have these taxes: of its sign, and no more than it.
fn fits(due: Amount, taxes: &BTreeMap<Tax, i64>) -> bool {
    let sum: i128 = taxes.values().map(|minor| i128::from(*minor)).sum();
    let same_sign = taxes.values().all(|minor| minor.signum() == due.minor.signum());
    due.minor != 0 && same_sign && sum.abs() <= i128::from(due.minor).abs()
}

/// The operation that a document belongs to: the session itself for the first, the refund for a credit note.
fn document_id(session: &Session, events: &[session::Event]) -> OpId {
    if session.documents().is_empty() {
        return session.id.operation(0);
    }
    let refund = events.iter().find_map(|event| match event {
        session::Event::Payment(fact) => match &**fact {
            payment::Event::Refunded { operation, .. } | payment::Event::LateApproval { operation, .. } => {
                Some(session.payment.operation_id(*operation))
            }
            _ => None,
        },
        _ => None,
    });
    let fresh = |id: &OpId| session.documents().iter().all(|issued| issued.document.id != *id);
    let own = || {
        let count = u16::try_from(session.documents().len()).unwrap_or(u16::MAX >> 2);
        session.id.operation(FIRST_OWN_NUMBER.saturating_add(count))
    };
    refund.filter(fresh).unwrap_or_else(own)
}
