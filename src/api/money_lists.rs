//! Lists of operations and of receipts, over live and archived sessions.

use super::paging::{First, Page, Paged};
use super::sessions::{Newest, OperationRow, operations};
use super::views::{Unanswered, Views};
use crate::journal::ById;
use crate::limits::LIST_SESSIONS_READ;
use crate::node::query::{self, OwnedPayment};
use crate::units::shape::described;
use crate::units::{OpId, PaymentId};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::cmp::Reverse;
use std::collections::BTreeMap;

described! {
/// One operation in a list. Money in major units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationListRow {
    /// Its session, or its top-up.
    pub session: String,
    /// The charger; none: a top-up.
    pub charger: Option<String>,
    /// The currency.
    pub currency: String,
    /// The operation.
    #[serde(flatten)]
    pub row: OperationRow,
}
}

described! {
/// One receipt in a list. Money in major units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptRow {
    /// Its number, where documents are numbered.
    pub number: Option<String>,
    /// Its session.
    pub session: String,
    /// When it was signed.
    pub issued_at: String,
    /// The charger.
    pub charger: String,
    /// Energy in kWh.
    pub energy_kwh: Decimal,
    /// What the driver pays.
    pub total: Decimal,
    /// The currency.
    pub currency: String,
    /// How the credential is shown.
    pub credential: String,
}
}

impl Views {
    /// Operations of all sessions and top-ups, the newest payment first.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn operations_page(
        &self,
        page: &Page<Reverse<OpId>>,
    ) -> Result<Paged<Reverse<OpId>, OperationListRow>, Unanswered> {
        // Of the payment of the last operation there may be more.
        let behind = page.after.map(|Reverse(op)| op.payment().as_u128().saturating_add(1 << 16));
        let behind = behind.map(PaymentId::from_u128);
        let wanted = Page { after: behind.map(Reverse), limit: page.limit };
        let live = self.first(&wanted, |part| query::Payments { part })?;
        // What is older than a page of live payments is not on the page.
        let oldest = live.get(page.limit).map(|(Reverse(id), _)| *id);
        let mut payments: BTreeMap<Reverse<PaymentId>, Box<OwnedPayment>> = live.into_iter().collect();
        let (mut until, mut archived) = (None, 0);
        for id in self.archived_ids(behind.map(PaymentId::session), ById::NewestFirst) {
            let id = id?.payment();
            if oldest.is_some_and(|oldest| id < oldest) {
                break;
            }
            if archived > page.limit {
                // Ordinals begin with 1: this is behind each operation of the last payment that was read.
                until = payments.last_key_value().map(|(Reverse(last), _)| Reverse(last.operation(0)));
                break;
            }
            archived += 1;
            if !payments.contains_key(&Reverse(id))
                && let Some(found) = self.archived(id.session())?
            {
                let charger = Some(found.session.charger.clone());
                payments.insert(Reverse(id), Box::new(OwnedPayment { payment: found.session.payment, charger }));
            }
        }
        let mut first = First::behind(page.after, page.limit);
        for OwnedPayment { payment, charger } in payments.values().map(|owned| &**owned) {
            for row in operations(payment) {
                let Ok(id) = row.id.parse::<OpId>() else { continue };
                first.offer(
                    Reverse(id),
                    OperationListRow {
                        session: payment.id().to_string(),
                        charger: charger.as_ref().map(ToString::to_string),
                        currency: payment.currency().code().to_owned(),
                        row,
                    },
                );
            }
        }
        Ok(Paged::cut(first.into_sorted(), page.limit, until))
    }

    /// Receipts of archived sessions, the newest session first.
    ///
    /// # Errors
    /// The archive cannot be read.
    pub fn receipts(&self, page: &Page<Newest>) -> Result<Paged<Newest, ReceiptRow>, Unanswered> {
        let (mut found, mut read, mut until) = (Vec::new(), 0, None);
        for id in self.archived_ids(page.after.map(|Reverse(id)| id), ById::NewestFirst) {
            let id = id?;
            if let Some(receipt) = self.receipt(id)? {
                found.push((Reverse(id), receipt_row(&receipt)));
            }
            read += 1;
            if found.len() > page.limit {
                break;
            }
            if read == LIST_SESSIONS_READ {
                until = Some(Reverse(id));
                break;
            }
        }
        Ok(Paged::cut(found, page.limit, until))
    }
}

/// A receipt was signed as text, and is read as it stands.
fn receipt_row(text: &str) -> ReceiptRow {
    let document: Value = serde_json::from_str(text).unwrap_or_default();
    let receipt = if document["receipt"].is_object() { &document["receipt"] } else { &document };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let decimal = |value: &Value| value.as_str().and_then(|text| text.parse().ok()).unwrap_or_default();
    ReceiptRow {
        number: receipt["number"].as_str().map(str::to_owned),
        session: text(&receipt["session"]),
        issued_at: text(&receipt["issued_at"]),
        charger: text(&receipt["charger"]),
        energy_kwh: decimal(&receipt["energy_kwh"]),
        total: decimal(&receipt["total"]),
        currency: text(&receipt["currency"]),
        credential: text(&receipt["credential"]["fingerprint"]),
    }
}
