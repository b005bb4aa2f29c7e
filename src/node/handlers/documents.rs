//! Invoices and credit notes: what a session came to is written down as a document in the same turn, and so in the same batch
//! of the log, as the fact that made it final; the home of its series gives it a number.
//!
//! ```text
//!   session's partition: fact, document without number ──(durable) request──▶ home of the series
//!   session's partition: document with number          ◀──(durable) answer─── home: number and document, one record
//! ```
//!
//! The request is the same however often it is made, and is made again until it is answered. After each fact about a
//! session's money, what its documents come to is compared with what it was sold for, and a difference makes a document,
//! one at a time:
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

use super::archive;
use crate::accounting::documents::{self, Difference};
use crate::billing::invoice::{
    self, Command, Effect, Event, Issued, Request, RequestEvent, RequestNumbers, Series, SeriesFamily, SeriesId,
    SeriesKind,
};
use crate::journal::RecordKind;
use crate::ledger::Tax;
use crate::node::delivery::Delivery;
use crate::node::fact;
use crate::node::hosted::Slot;
use crate::node::output::Output;
use crate::node::partition::Partition;
use crate::session;
use crate::stored::Stored;
use crate::units::Amount;
use std::collections::BTreeMap;

/// Requests that one turn sends: a few, because they share its permit with whatever else it does.
const ASKED_AT_ONCE: usize = 8;

/// Makes the document that follows from these facts, if one does.
pub(super) fn bill(delivery: &mut Delivery<'_>, partition: &mut Partition, cell: Slot, events: &[session::Event]) {
    let matters = |event: &session::Event| matches!(event, session::Event::Payment(_) | session::Event::Corrected(_));
    if events.iter().any(matters) {
        bill_what_is_due(delivery, partition, cell, events);
    }
}

/// Makes the document that a session lacks. One at a time: a credit note names the number of its invoice, so
/// changes during the wait for a number are handled after it.
fn bill_what_is_due(delivery: &mut Delivery<'_>, partition: &mut Partition, cell: Slot, events: &[session::Event]) {
    let Some(hosted) = partition.sessions.get(cell) else { return };
    let (session, tariff) = (hosted.state(), hosted.tariff());
    let Some(due) = documents::due(session).filter(|_| !partition.requests.waits(session.id)) else { return };
    let taxes = documents::taxes(session, tariff, documents::billed(session).saturating_add(due.minor));
    match (due.minor, taxes.is_empty(), documents::fits(due, &taxes)) {
        (0, true, _) => {}
        (_, _, true) => request(delivery, partition, cell, events, Difference { due, taxes }),
        // What changed is no document of its own (a tax moved, and the price with it not, or the other way): what was
        // documented is taken back as a whole. Then everything is due, and documented anew.
        (_, _, false) => {
            let back = Amount::new(documents::billed(session).saturating_neg(), due.currency);
            let mut back_taxes: BTreeMap<Tax, i64> = BTreeMap::new();
            for (tax, amount) in session.documents().iter().flat_map(|issued| &issued.document.taxes) {
                let back = back_taxes.entry(*tax).or_insert(0);
                *back = back.saturating_sub(amount.minor);
            }
            request(delivery, partition, cell, events, Difference { due: back, taxes: back_taxes });
        }
    }
}

/// Makes a document, and writes it down without a number.
fn request(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    cell: Slot,
    events: &[session::Event],
    difference: Difference,
) {
    let due = difference.due;
    let Some(hosted) = partition.sessions.get(cell).filter(|_| due.minor != 0) else { return };
    let (session, tariff) = (hosted.state(), hosted.tariff());
    let id = documents::document_id(session, events);
    let document = match documents::document(session, tariff, id, difference, delivery.now.wall) {
        Ok(document) => document,
        Err(error) => {
            debug_assert!(false, "the figures of session {} contradict each other: {error}", session.id);
            tracing::error!(session = %session.id, %error, "a session has no invoice");
            return;
        }
    };
    let kind = if due.minor < 0 { SeriesKind::CreditNote } else { SeriesKind::Invoice };
    let family = delivery.node_config.series.family(kind, due.currency, partition.id);
    record(delivery, partition, &RequestEvent::Requested { family, document: Box::new(document) });
    ask_for_numbers(delivery, partition);
}

/// Requests the numbers that are due: at most as many as one turn may send.
pub(in crate::node) fn ask_for_numbers(delivery: &mut Delivery<'_>, partition: &mut Partition) {
    for request in partition.requests.due(partition.id, delivery.now.mono, ASKED_AT_ONCE) {
        delivery.queue(Output::AskNumber(Box::new(request)));
    }
}

/// Handles a partition's request for a number of a family of this partition. A series is opened with the first
/// document of its year, and ends the one of the year before.
pub(super) fn number(delivery: &mut Delivery<'_>, partition: &mut Partition, request: Request) {
    let Request { family, numbers, document } = request;
    let of_family = |(id, series): (&SeriesId, &Series)| Some((family.year(id)?, id.clone(), series.is_open()));
    let known: Vec<(i16, SeriesId, bool)> = partition.series.iter().filter_map(of_family).collect();
    let asked_before = known.iter().find(|(_, id, _)| {
        let series = partition.series.get(id).and_then(Series::opened);
        series.is_some_and(|series| series.answered(numbers).is_some())
    });
    let series = match asked_before {
        Some((_, id, _)) => id.clone(),
        None => {
            // A clock that was set back over New Year does not open the old year again.
            let open = known.iter().filter(|(_, _, open)| *open).map(|(year, ..)| *year).max();
            let year = delivery.node_config.series.year(delivery.now.wall);
            let year = open.map_or(year, |open| open.max(year));
            let series = family.of_year(year);
            if !partition.series.contains_key(&series) {
                for (_, older, _) in known.iter().filter(|(_, _, open)| *open) {
                    command_series(delivery, partition, older, Command::Close);
                }
                let (kind, currency) = (family.kind(), family.currency());
                command_series(delivery, partition, &series, Command::Open { series: series.clone(), kind, currency });
            }
            series
        }
    };
    let id = document.id;
    match command_series(delivery, partition, &series, Command::Finalize { document: Box::new(document), numbers }) {
        Some(Effect::Numbered { issued, numbers }) => {
            delivery.queue(Output::Numbered(Box::new((family, numbers, issued))));
        }
        // The answer to a request that was answered, and recorded, before this repetition came.
        Some(Effect::Refused { rejection: invoice::Rejection::Recorded, .. }) => {}
        Some(Effect::Refused { rejection, .. }) => {
            tracing::error!(document = %id, %series, %rejection, "a document has no number");
        }
        Some(Effect::Opened(_) | Effect::Closed) | None => {}
    }
}

/// The home of a family has given a document its number: the session keeps it, and what it lacks by now is next.
pub(super) fn numbered(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    family: &SeriesFamily,
    numbers: RequestNumbers,
    issued: Box<Issued>,
) {
    let session = issued.document.id.payment().session();
    let Some(fact) = partition.requests.record(family, numbers, issued) else { return };
    record(delivery, partition, &fact);
    if let Some(cell) = partition.find_session(session) {
        bill_what_is_due(delivery, partition, cell, &[]);
        archive::archive_if_closed(delivery, partition, session);
    }
    ask_for_numbers(delivery, partition);
}

fn record(delivery: &mut Delivery<'_>, partition: &mut Partition, event: &RequestEvent) {
    delivery.permit.append(partition.id, RecordKind::DocumentEvent, |bytes| event.store(bytes));
    partition.requested(event);
}

fn command_series(
    delivery: &mut Delivery<'_>,
    partition: &mut Partition,
    series: &SeriesId,
    command: Command,
) -> Option<Effect> {
    let state = partition.series.entry(series.clone()).or_default();
    let decision = invoice::decide(state, command, delivery.now);
    for event in &decision.events {
        delivery.permit.append(partition.id, RecordKind::BillingEvent, |bytes| fact::write(series, event, bytes));
        partition.billed(series, event);
    }
    decision.effects.into_iter().next()
}

impl Partition {
    /// Applies a fact of a series, live and in replay.
    pub(in crate::node) fn billed(&mut self, series: &SeriesId, event: &Event) {
        invoice::apply(self.series.entry(series.clone()).or_default(), event);
    }

    /// Applies a fact of a document without or with its number, live and in replay: its session keeps the number.
    pub(in crate::node) fn requested(&mut self, event: &RequestEvent) {
        self.requests.apply(event);
        let RequestEvent::Recorded { issued, .. } = event else { return };
        let cell = self.find_session(issued.document.id.payment().session());
        if let Some(hosted) = cell.and_then(|cell| self.sessions.get_mut(cell)) {
            hosted.document(Issued::clone(issued));
        }
    }
}
