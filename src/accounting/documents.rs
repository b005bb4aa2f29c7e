//! The documents of a session, invoices and credit notes, as they follow from its facts.

use super::{archive_record, posting};
use crate::billing::BillingError;
use crate::billing::invoice::{self, Document};
use crate::ledger::Tax;
use crate::payment;
use crate::session::{self, Session};
use crate::tariff::Tariff;
use crate::units::{Amount, OpId, Timestamp};
use std::collections::BTreeMap;

/// Numbers of documents that belong to no operation: above those of operations, below those of inquiries.
const FIRST_OWN_NUMBER: u16 = 0x4000;

/// What the documents of a session lack: above zero for an invoice, below zero for a credit note. Nothing before every
/// hold has ended for the first time.
pub fn due(session: &Session) -> Option<Amount> {
    session.settled_at()?;
    let payable = session.ended()?.payable;
    let lacking = posting::left(session).min(payable.minor).saturating_sub(billed(session));
    (payable.minor > 0).then(|| Amount::new(lacking, payable.currency))
}

/// Total of a session's documents, in minor units.
pub fn billed(session: &Session) -> i64 {
    session.documents().iter().map(|issued| issued.document.total.minor).fold(0, i64::saturating_add)
}

/// What the documents of a session lack of what it was sold for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The amount; below zero for a credit note.
    pub due: Amount,
    /// The taxes in it, in minor units.
    pub taxes: BTreeMap<Tax, i64>,
}

/// The document over a difference, after checking that what it is about agrees with itself.
///
/// # Errors
/// The figures of the session contradict each other, which is a defect.
pub fn document(
    session: &Session,
    tariff: &Tariff,
    id: OpId,
    Difference { due, taxes }: Difference,
    now: Timestamp,
) -> Result<Document, BillingError> {
    let closed = archive_record::closed(session, tariff)?;
    closed.check()?;
    let taxes = taxes.into_iter().filter(|(_, minor)| *minor != 0);
    let taxes = taxes.map(|(tax, minor)| (tax, Amount::new(minor, due.currency))).collect();
    let corrects = archive_record::invoice(session).filter(|_| due.minor < 0).map(|invoice| invoice.number.clone());
    Ok(Document { id, final_at: now, total: due, taxes, content: invoice::content(&closed, due), corrects })
}

/// The taxes of the next document: what the books have of them up to where the session's documents then are, less what
/// the earlier documents say. So all documents together say what the books and the last receipt say.
pub fn taxes(session: &Session, tariff: &Tariff, after: i64) -> BTreeMap<Tax, i64> {
    let mut taxes: BTreeMap<Tax, i64> = BTreeMap::new();
    for (tax, amount) in posting::taxes_upto(session, tariff, after) {
        let sum = taxes.entry(tax).or_insert(0);
        *sum = sum.saturating_add(amount.minor);
    }
    for (tax, amount) in session.documents().iter().flat_map(|issued| &issued.document.taxes) {
        let left = taxes.entry(*tax).or_insert(0);
        *left = left.saturating_sub(amount.minor);
    }
    taxes.retain(|_, minor| *minor != 0);
    taxes
}

/// Whether a document over this much can have these taxes: of its sign, and no more than it.
pub fn fits(due: Amount, taxes: &BTreeMap<Tax, i64>) -> bool {
    let sum: i128 = taxes.values().map(|minor| i128::from(*minor)).sum();
    let same_sign = taxes.values().all(|minor| minor.signum() == due.minor.signum());
    due.minor != 0 && same_sign && sum.abs() <= i128::from(due.minor).abs()
}

/// The operation that a document belongs to: the session itself for the first, the refund for a credit note.
pub fn document_id(session: &Session, events: &[session::Event]) -> OpId {
    if session.documents().is_empty() {
        return session.id.payment().operation(0);
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
        session.id.payment().operation(FIRST_OWN_NUMBER.saturating_add(count))
    };
    refund.filter(fresh).unwrap_or_else(own)
}
